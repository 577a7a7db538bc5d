//! Vision towers: pixels in, one vector a patch out.

mod siglip;

pub use siglip::{SiglipConfig, SiglipVision};
