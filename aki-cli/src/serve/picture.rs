//! Pictures in data URIs, or at addresses, looked at before anything is decoded.

use aki_data::{DataError, Picture};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use image::ImageFormat;
use reqwest::Url;

use super::ApiError;

/// The largest picture, by its header: what a decoder takes memory for.
const MAX_PIXELS: u64 = 50_000_000;
/// The pixels of a request's pictures together: what decoders take time for.
const MAX_PIXELS_IN_ALL: u64 = 2 * MAX_PIXELS;
/// The longest side: resizing takes memory by it, however narrow a picture is.
const MAX_SIDE: u32 = 16_384;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a PNG, JPEG, WebP, GIF or BMP, which may be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Which parameter it came in.
    pub param: String,
    /// Where it is to be fetched from, if it has not been yet; there are no bytes then.
    pub url: Option<Url>,
    bytes: Vec<u8>,
    pixels: u64,
    /// Whether it is turned as its EXIF tags say.
    pub upright: bool,
}

impl Encoded {
    /// The picture in `data:image/png;base64,...`.
    ///
    /// # Errors
    ///
    /// 400 if it is another kind of address, or no base64, or begins like none of these formats, or has too
    /// many pixels.
    pub fn from_uri(uri: &str, param: &str, upright: bool) -> Result<Self, ApiError> {
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
        Self::of(bytes, param.to_owned(), upright)
    }

    /// The picture at an address, to be fetched: [`Fetcher::fetch`](super::fetch::Fetcher::fetch).
    pub fn at(url: Url, param: &str, upright: bool) -> Self {
        Self {
            param: param.to_owned(),
            url: Some(url),
            bytes: Vec::new(),
            pixels: 0,
            upright,
        }
    }

    /// The picture of which these are the bytes.
    ///
    /// # Errors
    ///
    /// 400 if they begin like none of these formats, or it has too many pixels.
    pub fn of(bytes: Vec<u8>, param: String, upright: bool) -> Result<Self, ApiError> {
        let fault = |message: String| ApiError::param(&*param, format!("{param}: {message}"));
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
        let (width, height) = Picture::size(&bytes, &param)
            .map_err(|error| fault(reason(error)).code("invalid_image"))?;
        let pixels = u64::from(width) * u64::from(height);
        if pixels > MAX_PIXELS || width.max(height) > MAX_SIDE {
            return Err(fault(format!(
                "{width} x {height} pixels are more than the {MAX_PIXELS} allowed, or than {MAX_SIDE} a side"
            ))
            .code("image_too_large"));
        }
        Ok(Self {
            param,
            url: None,
            bytes,
            pixels,
            upright,
        })
    }

    /// Refuses pictures that are too much together.
    ///
    /// # Errors
    ///
    /// 400 if so.
    pub fn check_all(pictures: &[Self]) -> Result<(), ApiError> {
        let pixels: u64 = pictures.iter().map(|picture| picture.pixels).sum();
        if pixels <= MAX_PIXELS_IN_ALL {
            return Ok(());
        }
        let message = format!(
            "the pictures have {pixels} pixels together, which is more than the {MAX_PIXELS_IN_ALL} allowed"
        );
        Err(ApiError::param("messages", message).code("image_too_large"))
    }

    /// The pictures at a model's size, `side` x `side`: one after the other, so that no two are held as large
    /// as they came.
    ///
    /// # Errors
    ///
    /// 400 if one is damaged, 503 if it shall not go on.
    pub fn decode_all(
        pictures: &[Self],
        side: usize,
        going_on: impl Fn() -> bool,
    ) -> Result<Vec<Picture>, ApiError> {
        let decode = |picture: &Self| match going_on() {
            true => Ok(picture.decode()?.resize(side as u32, side as u32)),
            false => Err(ApiError::no_time()),
        };
        pictures.iter().map(decode).collect()
    }

    /// The picture.
    ///
    /// # Errors
    ///
    /// 400 if it is damaged.
    pub fn decode(&self) -> Result<Picture, ApiError> {
        let decode = match self.upright {
            true => Picture::decode_upright,
            false => Picture::decode,
        };
        decode(&self.bytes, &self.param).map_err(|error| {
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
