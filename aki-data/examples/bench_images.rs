//! Milliseconds a picture from JPEG bytes to the vision tower's values, on one core.
//!
//!     cargo run --release -p aki-data --example bench_images -- 384 a.jpg b.jpg
//!
//! Prints a JSON line: for each picture the milliseconds of decoding, resizing and
//! normalising, and the mean of the values, by which `scripts/bench-images` sees
//! that its rival did the same work.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use aki_data::Picture;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let side: u32 = args
        .next()
        .ok_or("usage: bench_images SIDE JPEG..")?
        .parse()?;
    let files: Vec<_> = args
        .map(|file| std::fs::read(Path::new(&file)).map(|bytes| (file, bytes)))
        .collect::<Result<_, _>>()?;
    // The first round warms up: caches, and the memory that the allocator keeps.
    let mut lines = Vec::new();
    for _ in 0..2 {
        lines.clear();
        for (name, bytes) in &files {
            lines.push(one(bytes, name, side)?);
        }
    }
    println!("[{}]", lines.join(", "));
    Ok(())
}

fn one(bytes: &[u8], name: &str, side: u32) -> Result<String, aki_data::DataError> {
    let start = Instant::now();
    let picture = Picture::decode(bytes, name)?;
    let decoded = Instant::now();
    let picture = picture.resize(side, side);
    let resized = Instant::now();
    let values = black_box(picture.normalised_chw([0.5; 3], [0.5; 3]));
    let done = Instant::now();
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
    let ms = [decoded - start, resized - decoded, done - resized].map(|it| it.as_secs_f64() * 1e3);
    Ok(format!("[{}, {}, {}, {mean}]", ms[0], ms[1], ms[2]))
}
