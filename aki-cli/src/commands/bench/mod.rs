//! `aki bench`.

pub mod attention;
pub mod generate;
pub mod train;

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;

/// Seconds until the device has done `work`, and what comes of it.
fn clock<T>(device: &Device, work: impl FnOnce() -> T) -> Result<(f64, T)> {
    device.sync()?;
    let begun = Instant::now();
    let done = work();
    device.sync()?;
    Ok((begun.elapsed().as_secs_f64(), done))
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted = Vec::from_iter(values);
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}
