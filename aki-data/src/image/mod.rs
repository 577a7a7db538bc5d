//! Pictures: decoding, resizing, augmentation.

mod augment;
mod cmyk;
mod decode;
mod gif;
mod jpeg;
mod picture;
mod resize;
mod size;
mod tiff;

pub use self::augment::Augmentation;
pub use self::picture::Picture;
