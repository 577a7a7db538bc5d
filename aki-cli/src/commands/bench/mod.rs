//! `aki bench`.

pub mod attention;
pub mod generate;
