//! `aki bench`.

pub mod attention;
pub mod generate;
pub mod train;
