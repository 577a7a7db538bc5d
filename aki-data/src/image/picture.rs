//! A decoded picture and what is done to it on the way to the vision tower.

use std::io::Cursor;
use std::path::Path;

use ::image::{DynamicImage, ImageDecoder, ImageReader};

use super::resize;
use crate::DataError;

/// Largest picture decoded: 8192 x 8192. A header of a few bytes can claim any
/// size, so it is checked before the 200 MB that this many pixels take.
const MAX_PIXELS: u64 = 1 << 26;

/// Bytes a decoder may allocate: `MAX_PIXELS` at four 16-bit channels.
const MAX_DECODER_BYTES: u64 = MAX_PIXELS * 8;

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
    /// Decodes an encoded picture (BMP, GIF, JPEG, PNG, WebP) to RGB.
    ///
    /// As Pillow's `convert("RGB")`: alpha is dropped, not blended; grey is
    /// replicated; of 16-bit channels the high byte is kept; no EXIF rotation.
    /// `name` (a file, or shard and key) is for the error only.
    ///
    /// # Errors
    /// [`DataError::Picture`] if the bytes are no picture or it has more than
    /// 2^26 pixels.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self, DataError> {
        let broken = |reason: String| DataError::Picture {
            name: name.to_owned(),
            reason,
        };
        let decoder = decoder(bytes).map_err(broken)?;
        let image = DynamicImage::from_decoder(decoder).map_err(|e| broken(e.to_string()))?;
        Ok(Self {
            width: image.width(),
            height: image.height(),
            rgb: to_rgb(image),
        })
    }

    /// Reads and decodes a picture file.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be read, else as [`Picture::decode`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).map_err(|source| DataError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::decode(&bytes, &path.display().to_string())
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

    /// The pixels as the vision tower wants them: `(x / 255 - mean) / std`.
    ///
    /// # Shapes
    /// Output: `[3, height, width]`, row-major.
    pub fn normalised_chw(&self, mean: f32, std: f32) -> Vec<f32> {
        // 256 values are possible: a table is exact and spares two divisions a value.
        let table: [f32; 256] = std::array::from_fn(|x| (x as f32 / 255.0 - mean) / std);
        let mut planes = Vec::with_capacity(self.rgb.len());
        for channel in 0..3 {
            planes.extend(
                self.rgb
                    .iter()
                    .skip(channel)
                    .step_by(3)
                    .map(|&x| table[usize::from(x)]),
            );
        }
        planes
    }
}

/// A decoder whose header was read and whose size is allowed.
fn decoder(bytes: &[u8]) -> Result<impl ImageDecoder + '_, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| e.to_string())?;
    let mut limits = ::image::Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("the header says {width} x {height} pixels"));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "{width} x {height} pixels are more than the {MAX_PIXELS} allowed"
        ));
    }
    Ok(decoder)
}

/// Three bytes a pixel, whatever the picture came as.
fn to_rgb(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => {
            // Pillow keeps the high byte; the `image` crate would round instead.
            let wide = image.into_rgb16().into_raw();
            wide.into_iter().map(|x| (x >> 8) as u8).collect()
        }
        other => other.into_rgb8().into_raw(),
    }
}

#[cfg(test)]
mod tests {
    use ::image::{GrayAlphaImage, ImageBuffer, ImageFormat, LumaA, Rgb, RgbImage, RgbaImage};
    use proptest::prelude::*;

    use super::*;

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image
            .into()
            .write_to(&mut bytes, ImageFormat::Png)
            .expect("writing to memory");
        bytes.into_inner()
    }

    fn decode(bytes: &[u8]) -> Vec<u8> {
        Picture::decode(bytes, "test").expect("a picture").rgb
    }

    #[test]
    fn alpha_is_dropped_and_grey_replicated() {
        let transparent = RgbaImage::from_raw(1, 1, vec![10, 20, 30, 0]).expect("4 bytes");
        assert_eq!(decode(&png(transparent)), [10, 20, 30]);
        let grey = GrayAlphaImage::from_pixel(1, 1, LumaA([77, 5]));
        assert_eq!(decode(&png(grey)), [77, 77, 77]);
    }

    #[test]
    fn of_sixteen_bits_the_high_byte_is_kept() {
        let wide = ImageBuffer::from_pixel(1, 1, Rgb([0x12ff_u16, 0x3400, 0xffff]));
        assert_eq!(decode(&png(wide)), [0x12, 0x34, 0xff]);
    }

    #[test]
    fn a_huge_header_is_refused_before_memory_is_taken() {
        let mut bytes = png(RgbImage::new(1, 1));
        // Width and height in IHDR, then its checksum, which covers type and content.
        bytes[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let error = Picture::decode(&bytes, "huge.png").expect_err("too large");
        assert!(error.to_string().contains("65535 x 65535"), "{error}");
        assert!(error.to_string().contains("huge.png"), "{error}");
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
        let planes = picture.normalised_chw(0.5, 0.5);
        assert_eq!(planes, [-1.0, 1.0, 1.0, -1.0, -0.6, 0.6]);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0_usize..6) {
            let magic: [&[u8]; 6] = [
                b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"RIFF\x20\0\0\0WEBPVP8L",
            ];
            bytes.splice(0..0, magic[kind].iter().copied());
            let _ = Picture::decode(&bytes, "random");
        }

        #[test]
        fn a_truncated_or_damaged_png_never_panics(cut in 0_usize..1000, at in 0_usize..1000, with: u8) {
            let whole = png(RgbImage::from_fn(9, 7, |x, y| Rgb([(x * 20) as u8, (y * 30) as u8, 3])));
            let cut = cut % whole.len();
            let _ = Picture::decode(&whole[..cut], "cut");
            let mut damaged = whole;
            let at = at % damaged.len();
            damaged[at] = with;
            let _ = Picture::decode(&damaged, "damaged");
        }
    }
}
