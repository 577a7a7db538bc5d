//! The first picture of a TIFF: grey, RGB or four inks. Palettes are not supported.
//!
//! Unlike in other formats, Pillow always turns a TIFF as its tag says.

use std::io::Cursor;

use ::image::metadata::Orientation;
use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError};

use super::Picture;
use super::cmyk;
use super::decode::{MAX_DECODER_BYTES, check_size, clipped, high_byte};

/// The picture as it is stored, and how to turn it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Picture, Orientation), String> {
    let told = |error: TiffError| error.to_string();
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_DECODER_BYTES as usize;
    let mut decoder = Decoder::new(Cursor::new(bytes))
        .map_err(told)?
        .with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(told)?;
    check_size(width.into(), height.into())?;
    let kind = decoder.colortype().map_err(told)?;
    let mut tag = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).map_err(told);
    let first = |values: Option<Vec<u16>>| values.and_then(|values| values.first().copied());
    let orientation = first(tag(Tag::Orientation)?)
        .and_then(|value| Orientation::from_exif(value.try_into().ok()?))
        .unwrap_or(Orientation::NoTransforms);
    if kind.num_samples() > 1 && first(tag(Tag::PlanarConfiguration)?) == Some(2) {
        return Err("a TIFF with its channels apart is not supported".to_owned());
    }
    if first(tag(Tag::ExtraSamples)?) == Some(1) {
        return Err("a TIFF with its alpha multiplied in is not supported".to_owned());
    }
    let samples = decoder.read_image().map_err(told)?;
    let rgb =
        to_rgb(kind, samples).ok_or_else(|| format!("a TIFF of kind {kind:?} is not supported"))?;
    if rgb.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err("its pixels are not as many as its header says".to_owned());
    }
    let picture = Picture { width, height, rgb };
    Ok((picture, orientation))
}

/// Three bytes a pixel; nothing for kinds that are not supported.
fn to_rgb(kind: ColorType, samples: DecodingResult) -> Option<Vec<u8>> {
    const GREY_AND_MORE: ColorType = ColorType::Multiband {
        bit_depth: 8,
        num_samples: 2,
    };
    let replicated = |grey: u8| [grey; 3];
    Some(match (kind, samples) {
        (ColorType::Gray(8), DecodingResult::U8(it)) => {
            it.into_iter().flat_map(replicated).collect()
        }
        (ColorType::Gray(16), DecodingResult::U16(it)) => {
            it.into_iter().map(clipped).flat_map(replicated).collect()
        }
        // Grey and a further sample, whether or not it is marked as alpha.
        (GREY_AND_MORE | ColorType::GrayA(8), DecodingResult::U8(it)) => {
            it.into_iter().step_by(2).flat_map(replicated).collect()
        }
        (ColorType::RGB(8), DecodingResult::U8(it)) => it,
        (ColorType::RGB(16), DecodingResult::U16(it)) => it.into_iter().map(high_byte).collect(),
        (ColorType::RGBA(8), DecodingResult::U8(it)) => {
            let (pixels, _) = it.as_chunks::<4>();
            pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()
        }
        (ColorType::RGBA(16), DecodingResult::U16(it)) => {
            let (pixels, _) = it.as_chunks::<4>();
            let colours = pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]);
            colours.map(high_byte).collect()
        }
        (ColorType::CMYK(8), DecodingResult::U8(mut it)) => {
            // A JPEG stores inks inverted, a TIFF as they are.
            for ink in &mut it {
                *ink = 255 - *ink;
            }
            cmyk::to_rgb(&it)
        }
        _ => return None,
    })
}
