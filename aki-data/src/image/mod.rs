//! Pictures: decoding and resizing.

mod cmyk;
mod decode;
mod gif;
mod jpeg;
mod picture;
mod resize;
mod size;
mod tiff;

pub use self::picture::Picture;
