//! The first frame of a GIF, on its screen.
//!
//! What a frame leaves free is the transparent colour if there is one, else the
//! first of the palette; a frame that hangs over enlarges the screen. So does
//! Pillow, and a transparent pixel keeps the colour of its index.

use std::num::NonZeroU64;

use ::gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::Picture;
use super::decode::check_size;

/// Bytes of one frame at most: far above what [`check_size`] lets through.
const MAX_FRAME_BYTES: NonZeroU64 = NonZeroU64::new(1 << 28).expect("not zero");

pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(MAX_FRAME_BYTES));
    let mut decoder = options.read_info(bytes).map_err(|e| e.to_string())?;
    let screen = (usize::from(decoder.width()), usize::from(decoder.height()));
    let frame = decoder
        .next_frame_info()
        .map_err(|e| e.to_string())?
        .ok_or("it has no frame")?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (columns, rows) = (usize::from(frame.width), usize::from(frame.height));
    let free = frame.transparent.unwrap_or(0);
    let width = screen.0.max(left + columns);
    let height = screen.1.max(top + rows);
    check_size(width as u64, height as u64)?;
    check_size(columns as u64, rows as u64)?;
    let mut frame = vec![0; columns * rows];
    decoder
        .read_into_buffer(&mut frame)
        .map_err(|e| e.to_string())?;
    let colours = colours(decoder.palette().map_err(|e| e.to_string())?);
    let mut indices = vec![free; width * height];
    for (row, indices) in frame
        .chunks_exact(columns)
        .zip(indices.chunks_exact_mut(width).skip(top))
    {
        indices[left..left + columns].copy_from_slice(row);
    }
    Ok(Picture {
        width: width as u32,
        height: height as u32,
        rgb: indices
            .into_iter()
            .flat_map(|index| colours[usize::from(index)])
            .collect(),
    })
}

/// The colour of every index. Pillow takes a palette in which each colour is its
/// own index for no palette but grey; of others the missing colours are black.
fn colours(palette: &[u8]) -> [[u8; 3]; 256] {
    let grey: [[u8; 3]; 256] = std::array::from_fn(|index| [index as u8; 3]);
    let (entries, _) = palette.as_chunks::<3>();
    if entries.iter().eq(grey.iter().take(entries.len())) {
        return grey;
    }
    std::array::from_fn(|index| entries.get(index).copied().unwrap_or_default())
}
