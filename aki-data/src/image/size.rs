//! The size of a picture by its header.

use std::io::Cursor;

use ::image::{ImageFormat, ImageReader};

use super::jpeg;

/// As files of its format are usually named.
pub(super) fn extension(bytes: &[u8]) -> Option<&'static str> {
    Some(match ::image::guess_format(bytes).ok()? {
        ImageFormat::Bmp => "bmp",
        ImageFormat::Gif => "gif",
        ImageFormat::Jpeg => "jpg",
        ImageFormat::Png => "png",
        ImageFormat::Tiff => "tif",
        ImageFormat::WebP => "webp",
        _ => return None,
    })
}

/// Width and height in pixels. Reads headers only and takes no memory for pixels.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), String> {
    match ::image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            let decoder = jpeg::headers(bytes)?;
            let (width, height) = decoder.dimensions().ok_or("it has no size")?;
            Ok((width as u32, height as u32))
        }
        Ok(ImageFormat::Gif) => {
            let decoder = ::gif::DecodeOptions::new().read_info(bytes);
            let decoder = decoder.map_err(|e| e.to_string())?;
            Ok((decoder.width().into(), decoder.height().into()))
        }
        Ok(ImageFormat::Tiff) => {
            let decoder = ::tiff::decoder::Decoder::new(Cursor::new(bytes));
            let dimensions = decoder.and_then(|mut decoder| decoder.dimensions());
            dimensions.map_err(|e| e.to_string())
        }
        _ => {
            let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
            let reader = reader.map_err(|e| e.to_string())?;
            reader.into_dimensions().map_err(|e| e.to_string())
        }
    }
}
