//! Vision towers: pixels in, one vector a patch out.

mod config;
mod hugging_face;
mod pooling;
mod tower;

pub use config::{VisionActivation, VisionConfig, VisionType};
pub use tower::VisionTower;
