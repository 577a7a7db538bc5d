//! A decoded picture and what is done to it on the way to the vision tower.

use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, RgbImage};

use super::{decode, resize, size};
use crate::DataError;

/// An RGB picture of 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue of each pixel, rows from top to bottom.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Decodes an encoded picture (BMP, GIF, JPEG, PNG, TIFF, WebP) to RGB.
    ///
    /// As Pillow's `convert("RGB")`, equal in every byte: alpha is dropped, not
    /// blended; grey is replicated; of a GIF or an animated WebP the first frame is
    /// taken; no EXIF rotation. JPEG is equal with the feature `turbojpeg`; without
    /// it up to 30 % of the values are off, most by 1 and none by more than 5.
    /// `name` (a file, or shard and key) is for the error only.
    ///
    /// # Errors
    /// [`DataError::Picture`] if the bytes are no picture, are cut off, or it has
    /// more than 2^26 pixels.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self, DataError> {
        Ok(decoded(bytes, name)?.0)
    }

    /// As [`Picture::decode`], then turned and mirrored as its EXIF tags say: what
    /// Pillow's `ImageOps.exif_transpose` gives. The reference model saw pictures
    /// as they are stored.
    ///
    /// # Errors
    /// As [`Picture::decode`]. Damaged tags turn nothing.
    pub fn decode_upright(bytes: &[u8], name: &str) -> Result<Self, DataError> {
        let (picture, orientation) = decoded(bytes, name)?;
        Ok(picture.turned(orientation))
    }

    /// Width and height of an encoded picture, by its header; of a GIF its screen's.
    ///
    /// # Errors
    /// [`DataError::Picture`] if the bytes begin like no picture.
    pub fn size(bytes: &[u8], name: &str) -> Result<(u32, u32), DataError> {
        size::size(bytes).map_err(|reason| DataError::Picture {
            name: name.to_owned(),
            reason,
        })
    }

    /// The extension of a picture's file by what it begins with; none if it is no picture
    /// that can be decoded.
    pub(crate) fn extension(bytes: &[u8]) -> Option<&'static str> {
        size::extension(bytes)
    }

    /// Reads and decodes a picture file.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be read, else as [`Picture::decode`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::decode(&read(path)?, &path.display().to_string())
    }

    /// As [`Picture::open`], turned as [`Picture::decode_upright`] turns it.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open_upright(path: &Path) -> Result<Self, DataError> {
        Self::decode_upright(&read(path)?, &path.display().to_string())
    }

    /// Resizes with Pillow's antialiased bicubic filter, equal in every byte.
    /// The same size gives a copy.
    ///
    /// # Panics
    /// If `rgb` does not hold `width * height * 3` bytes.
    #[must_use]
    pub fn resize(&self, width: u32, height: u32) -> Self {
        resize::bicubic(self, width, height)
    }

    /// The pixels as the vision tower wants them: `(x / 255 - mean) / std`, each channel by its own.
    ///
    /// # Shapes
    /// Output: `[3, height, width]`, row-major.
    pub fn normalised_chw(&self, mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
        let mut planes = vec![0.0; self.rgb.len()];
        self.normalise_into(mean, std, &mut planes);
        planes
    }

    /// As [`Picture::normalised_chw`], into the picture's place in a batch.
    ///
    /// # Panics
    /// If `planes` does not hold `3 * height * width` values.
    pub fn normalise_into(&self, mean: [f32; 3], std: [f32; 3], planes: &mut [f32]) {
        // 256 values are possible: a table is exact and spares two divisions a value.
        let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
            std::array::from_fn(|x| (x as f32 / 255.0 - mean[channel]) / std[channel])
        });
        assert_eq!(planes.len(), self.rgb.len(), "three values a pixel");
        let (pixels, _) = self.rgb.as_chunks::<3>();
        let (red, rest) = planes.split_at_mut(pixels.len());
        let (green, blue) = rest.split_at_mut(pixels.len());
        for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
            for (channel, value) in [red, green, blue].into_iter().enumerate() {
                *value = tables[channel][usize::from(pixel[channel])];
            }
        }
    }

    pub(super) fn turned(self, orientation: Orientation) -> Self {
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let image = RgbImage::from_raw(self.width, self.height, self.rgb)
            .expect("a picture has three bytes a pixel");
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(orientation);
        Self {
            width: image.width(),
            height: image.height(),
            rgb: image.into_rgb8().into_raw(),
        }
    }
}

fn decoded(bytes: &[u8], name: &str) -> Result<(Picture, Orientation), DataError> {
    decode::decode(bytes).map_err(|reason| DataError::Picture {
        name: name.to_owned(),
        reason,
    })
}

/// The largest picture file read: more than any of `MAX_PIXELS` pixels needs.
const MAX_FILE: u64 = 1 << 30;

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let io = |source| DataError::Io {
        path: path.to_owned(),
        source,
    };
    let about = std::fs::metadata(path).map_err(io)?;
    if !about.is_file() || about.len() > MAX_FILE {
        return Err(DataError::Picture {
            name: path.display().to_string(),
            reason: "no file, or one of more than 1 GiB".to_owned(),
        });
    }
    std::fs::read(path).map_err(io)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ::image::ImageFormat;

    use super::*;

    #[test]
    fn a_huge_header_is_refused_before_memory_is_taken() {
        let mut png = Cursor::new(Vec::new());
        RgbImage::new(1, 1)
            .write_to(&mut png, ImageFormat::Png)
            .expect("writing to memory");
        let mut bytes = png.into_inner();
        // Width and height in IHDR, then its checksum, which covers type and content.
        bytes[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let error = Picture::decode(&bytes, "huge.png").expect_err("too large");
        assert!(error.to_string().contains("65535 x 65535"), "{error}");
        assert!(error.to_string().contains("huge.png"), "{error}");
        let size = Picture::size(&bytes, "huge.png").expect("a sound header");
        assert_eq!(size, (65_535, 65_535));
        assert!(Picture::size(b"no picture", "a").is_err());
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
            })
        })
    }

    #[test]
    fn normalised_planes_follow_each_other() {
        let picture = Picture {
            width: 2,
            height: 1,
            rgb: vec![0, 255, 51, 255, 0, 204],
        };
        let planes = picture.normalised_chw([0.5; 3], [0.5; 3]);
        assert_eq!(planes, [-1.0, 1.0, 1.0, -1.0, -0.6, 0.6]);
    }
}
