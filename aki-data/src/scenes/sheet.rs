//! Samples to be looked at.

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::PIXELS;
use crate::shards::Sample;

/// Pixels of a picture on the sheet, a side.
const SHOWN: usize = 3 * PIXELS;
/// Room of a sample: its picture with its questions beside it, and its caption below.
const WIDTH: usize = 640;
const LINE: usize = 16;
const COLUMNS: usize = 2;

/// An SVG of samples with what is asked and said about them. Questions and captions hold nothing that
/// XML escapes.
pub fn sheet(samples: &[Sample]) -> String {
    let lines = samples.iter().map(|sample| sample.turns.len()).max();
    let height = SHOWN.max(lines.unwrap_or(0) * LINE) + 3 * LINE;
    let (columns, rows) = (COLUMNS.min(samples.len()), samples.len().div_ceil(COLUMNS));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        columns * WIDTH + LINE,
        rows * height + LINE
    );
    for (number, sample) in samples.iter().enumerate() {
        let (x, y) = (
            LINE + number % COLUMNS * WIDTH,
            LINE + number / COLUMNS * height,
        );
        let png = BASE64_STANDARD.encode(&sample.picture);
        // Writing to a string cannot fail.
        writeln!(
            svg,
            "<image x=\"{x}\" y=\"{y}\" width=\"{SHOWN}\" height=\"{SHOWN}\" \
             image-rendering=\"pixelated\" href=\"data:image/png;base64,{png}\"/>"
        )
        .ok();
        let mut text = |x: usize, y: usize, text: &str| {
            writeln!(svg, "<text x=\"{x}\" y=\"{y}\">{text}</text>").ok();
        };
        for (turn, line) in sample.turns.iter().zip(1..) {
            let asked = format!(
                "{} <tspan font-weight=\"bold\">{}</tspan>",
                turn.question, turn.answer
            );
            text(x + SHOWN + LINE, y + line * LINE, &asked);
        }
        let caption = sample.caption.as_deref().unwrap_or_default();
        text(x, y + height - 2 * LINE, caption);
    }
    svg + "</svg>\n"
}
