//! Pictures: decoding, resizing, augmentation.

mod augment;
mod picture;
mod resize;

pub use self::augment::Augmentation;
pub use self::picture::Picture;
