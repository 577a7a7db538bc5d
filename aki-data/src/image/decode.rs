//! From the bytes of a file to what Pillow's `convert("RGB")` gives.
//!
//! Held to version 11.3.0 by `tests/pillow_modes.rs`. Where "as Pillow" is not
//! what one would guess: alpha is dropped, not blended; grey of 16 bits is
//! clipped at 255, while of all other 16-bit samples the high byte is kept; the
//! 5 and 6 bits of a BMP are widened by a division that rounds down.

use std::io::Cursor;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{Picture, gif, jpeg, tiff};

/// Largest picture decoded: 8192 x 8192. A header of a few bytes can claim any
/// size, so it is checked before the 200 MB that this many pixels take.
const MAX_PIXELS: u64 = 1 << 26;

/// Bytes a decoder may allocate: `MAX_PIXELS` at four 16-bit channels.
pub(super) const MAX_DECODER_BYTES: u64 = MAX_PIXELS * 8;

/// The picture as it is stored, and how its EXIF tags say to turn it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Picture, Orientation), String> {
    match ::image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes),
        Ok(ImageFormat::Gif) => gif::decode(bytes).map(|it| (it, Orientation::NoTransforms)),
        Ok(ImageFormat::Tiff) => {
            let (picture, orientation) = tiff::decode(bytes)?;
            Ok((picture.turned(orientation), Orientation::NoTransforms))
        }
        _ => other(bytes),
    }
}

/// Refuses empty and huge pictures.
pub(super) fn check_size(width: u64, height: u64) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("the header says {width} x {height} pixels"));
    }
    if width * height > MAX_PIXELS {
        return Err(format!(
            "{width} x {height} pixels are more than the {MAX_PIXELS} allowed"
        ));
    }
    Ok(())
}

/// PNG, WebP and BMP.
fn other(bytes: &[u8]) -> Result<(Picture, Orientation), String> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| e.to_string())?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    // Damaged tags turn nothing; the pixels may be whole.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    // The colour type in a PNG's header. The `image` crate adds alpha where a grey
    // value is marked transparent, but Pillow goes by what is stored.
    let is_grey = format == Some(ImageFormat::Png) && bytes.get(25) == Some(&0);
    let mut rgb = to_rgb(image, is_grey);
    if format == Some(ImageFormat::Bmp) && bytes.get(28..30) == Some(&[16, 0]) {
        // The masks follow the header of 40 bytes; without them it is 5, 5 and 5 bits.
        let green: u16 = match (bytes.get(30), bytes.get(58..62)) {
            (Some(3), Some([0xe0, 0x07, 0, 0])) => 63,
            _ => 31,
        };
        for [r, g, b] in rgb.as_chunks_mut::<3>().0 {
            (*r, *g, *b) = (
                rounded_down(*r, 31),
                rounded_down(*g, green),
                rounded_down(*b, 31),
            );
        }
    }
    let picture = Picture { width, height, rgb };
    Ok((picture, orientation))
}

/// What becomes of a 16-bit sample.
pub(super) fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}

/// What becomes of a 16-bit sample of a picture that is grey and nothing else.
pub(super) fn clipped(sample: u16) -> u8 {
    sample.min(255) as u8
}

/// Three bytes a pixel, whatever the picture came as.
fn to_rgb(image: DynamicImage, is_grey: bool) -> Vec<u8> {
    let grey: fn(u16) -> u8 = if is_grey { clipped } else { high_byte };
    match image {
        DynamicImage::ImageLuma16(image) => {
            let samples = image.into_raw().into_iter();
            samples.flat_map(|sample| [grey(sample); 3]).collect()
        }
        DynamicImage::ImageLumaA16(image) => {
            let pixels = image.pixels();
            pixels.flat_map(|pixel| [grey(pixel.0[0]); 3]).collect()
        }
        DynamicImage::ImageRgb16(image) => image.into_raw().into_iter().map(high_byte).collect(),
        DynamicImage::ImageRgba16(image) => {
            let pixels = image.pixels();
            pixels
                .flat_map(|pixel| [0, 1, 2].map(|channel| high_byte(pixel.0[channel])))
                .collect()
        }
        other => other.into_rgb8().into_raw(),
    }
}

/// A sample of 0 to `most` that was widened to a byte and rounded to nearest, as
/// if it had been rounded down.
fn rounded_down(byte: u8, most: u16) -> u8 {
    let sample = (u16::from(byte) * most + 127) / 255;
    (sample * 255 / most) as u8
}
