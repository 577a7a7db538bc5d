//! JPEG, by `zune-jpeg` or, with the feature `turbojpeg`, by libjpeg-turbo.
//!
//! Pillow decodes with libjpeg-turbo, so the feature makes every byte equal.
//! `zune-jpeg` rounds otherwise, mostly where it enlarges halved chroma planes: of
//! a photograph with such (4:2:0) some 28 % of the values differ, by 5 at most; with
//! whole chroma planes 1-2 %. `tests/pillow_modes.rs` holds it to that.

use ::image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::Picture;
use super::cmyk;
use super::decode::check_size;

/// Damage within is passed over, as Pillow does; the size is checked by the caller.
fn options() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
}

/// A decoder that has read the headers.
pub(super) fn headers(bytes: &[u8]) -> Result<JpegDecoder<ZCursor<&[u8]>>, String> {
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options());
    decoder.decode_headers().map_err(|e| e.to_string())?;
    Ok(decoder)
}

pub(super) fn decode(bytes: &[u8]) -> Result<(Picture, Orientation), String> {
    if !is_whole(bytes) {
        return Err("it is cut off: its end marker is missing".to_owned());
    }
    let mut decoder = headers(bytes)?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    check_size(width as u64, height as u64)?;
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let stored = decoder.input_colorspace().ok_or("it has no colours")?;
    let inks = matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK);
    let wanted = if inks { stored } else { ColorSpace::RGB };
    decoder.set_options(options().jpeg_set_out_colorspace(wanted));
    let pixels = if let Some(pixels) = turbo(bytes, width, height, inks) {
        pixels?
    } else {
        let mut pixels = decoder.decode().map_err(|e| e.to_string())?;
        if stored == ColorSpace::YCCK {
            cmyk::from_ycck(&mut pixels);
        }
        pixels
    };
    let rgb = if inks { cmyk::to_rgb(&pixels) } else { pixels };
    if rgb.len() != width * height * 3 {
        return Err(format!("colours of kind {stored:?} are not supported"));
    }
    let picture = Picture {
        width: width as u32,
        height: height as u32,
        rgb,
    };
    Ok((picture, orientation))
}

/// Whether an end marker follows the first scan's start. Without it Pillow takes
/// the file for cut off; decoders would fill up with grey.
fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    // Segments: marker, length of what follows with the length itself, content.
    while let [0xff, marker, tail @ ..] = rest {
        rest = match (marker, tail) {
            (0xda, _) => return has_end(tail),
            // Padding, and the markers that stand alone.
            (0xff, _) => &rest[1..],
            (0x01 | 0xd0..=0xd8, _) => tail,
            (_, [high, low, ..]) => {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                tail.get(len.max(2)..).unwrap_or_default()
            }
            _ => return false,
        };
    }
    // Bytes between the segments: the decoder looks for the next marker, so do we.
    has_end(rest)
}

/// Looks from the back, where the end marker should be.
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).rev().any(|pair| pair == [0xff, 0xd9])
}

#[cfg(not(feature = "turbojpeg"))]
fn turbo(_: &[u8], _: usize, _: usize, _: bool) -> Option<Result<Vec<u8>, String>> {
    None
}

/// The pixels, RGB or four `inks`, as libjpeg-turbo decodes them; nothing where
/// its header reader objects, which leaves the picture to `zune-jpeg`.
#[cfg(feature = "turbojpeg")]
fn turbo(bytes: &[u8], width: usize, height: usize, inks: bool) -> Option<Result<Vec<u8>, String>> {
    use turbojpeg::{Decompressor, Image, PixelFormat};

    /// Starts of the messages after which all pixels are there all the same.
    const WARNINGS: [&str; 5] = [
        "Corrupt JPEG data",
        "Inconsistent progression",
        "Invalid SOS parameters",
        "Unknown Adobe color transform",
        "Warning: unknown JFIF",
    ];
    let mut decoder = Decompressor::new().ok()?;
    // As many as `zune-jpeg` allows: each of them is a pass over the whole picture.
    decoder.set_scan_limit(100).ok()?;
    let header = decoder.read_header(bytes).ok()?;
    if (header.width, header.height) != (width, height) {
        return None;
    }
    let format = if inks {
        PixelFormat::CMYK
    } else {
        PixelFormat::RGB
    };
    let pitch = width * format.size();
    let mut image = Image {
        pixels: vec![0; pitch * height],
        width,
        pitch,
        height,
        format,
    };
    match decoder.decompress(bytes, image.as_deref_mut()) {
        Err(turbojpeg::Error::TurboJpegError(message))
            if !WARNINGS.iter().any(|start| message.starts_with(start)) =>
        {
            Some(Err(message))
        }
        Ok(()) | Err(turbojpeg::Error::TurboJpegError(_)) => Some(Ok(image.pixels)),
        Err(error) => Some(Err(error.to_string())),
    }
}
