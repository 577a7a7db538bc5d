//! Pictures in data URIs, looked at before anything is decoded.

use aki_data::{DataError, Picture};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use image::ImageFormat;

use super::ApiError;

/// The largest picture, by its header: what a decoder takes memory for.
const MAX_PIXELS: u64 = 50_000_000;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a PNG, JPEG, WebP, GIF or BMP, which may be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Which parameter it came in.
    pub param: String,
    bytes: Vec<u8>,
}

impl Encoded {
    /// The picture in `data:image/png;base64,...`.
    ///
    /// # Errors
    ///
    /// 400 if it is another kind of address, or no base64, or begins like none of these formats, or has too
    /// many pixels.
    pub fn from_uri(uri: &str, param: &str) -> Result<Self, ApiError> {
        let fault = |message: String| ApiError::param(param, format!("{param}: {message}"));
        let head = uri.get(..5).unwrap_or_default();
        if !head.eq_ignore_ascii_case("data:") {
            let begins: String = uri.chars().take(40).collect();
            return Err(fault(format!(
                "{begins:?} is not fetched; send the picture itself as data:image/png;base64,..."
            ))
            .code("invalid_image_url"));
        }
        let Some((kind, data)) = uri[5..].split_once(',') else {
            return Err(fault("a data URI has a comma before its data".to_owned())
                .code("invalid_image_url"));
        };
        let kind = kind.to_ascii_lowercase();
        if !kind.starts_with("image/") || !kind.ends_with(";base64") {
            return Err(fault(
                "data:image/png;base64,... is expected, or another format's".to_owned(),
            )
            .code("invalid_image_url"));
        }
        let bytes = BASE64.decode(data).map_err(|error| {
            fault(format!("the data is not base64: {error}")).code("invalid_base64")
        })?;
        let known = matches!(
            image::guess_format(&bytes),
            Ok(ImageFormat::Png
                | ImageFormat::Jpeg
                | ImageFormat::WebP
                | ImageFormat::Gif
                | ImageFormat::Bmp)
        );
        if !known {
            return Err(
                fault("the data is no PNG, JPEG, WebP, GIF or BMP".to_owned())
                    .code("invalid_image"),
            );
        }
        let (width, height) = Picture::size(&bytes, param)
            .map_err(|error| fault(reason(error)).code("invalid_image"))?;
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(fault(format!(
                "{width} x {height} pixels are more than the {MAX_PIXELS} allowed"
            ))
            .code("image_too_large"));
        }
        Ok(Self {
            param: param.to_owned(),
            bytes,
        })
    }

    /// The picture.
    ///
    /// # Errors
    ///
    /// 400 if it is damaged.
    pub fn decode(&self) -> Result<Picture, ApiError> {
        Picture::decode(&self.bytes, &self.param).map_err(|error| {
            let message = format!("{}: {}", self.param, reason(error));
            ApiError::param(&*self.param, message).code("invalid_image")
        })
    }
}

fn reason(error: DataError) -> String {
    match error {
        DataError::Picture { reason, .. } => reason,
        other => other.to_string(),
    }
}
