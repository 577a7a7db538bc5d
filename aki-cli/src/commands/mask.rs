//! `aki mask`: who may look at whom, as a picture.

use std::io::{Cursor, Write};
use std::path::Path;

use aki_data::{Sequence, Template, Tokenizer};
use aki_model::attention::{AttentionLayout, Document};
use aki_train::files::write_whole;
use anyhow::{Context, Result};
use image::{Rgb, RgbImage};

use crate::args::{PolicyArg, name_of};
use crate::terminal::{Colour, coloured};

const CAUSAL: Colour = [0x2a, 0x9d, 0x8f];
const UNLOCKED: Colour = [0xf4, 0x8c, 0x2a];
const HIDDEN: Colour = [0xe9, 0xe6, 0xdf];
const MEDIA: Colour = [0x6d, 0x59, 0x7a];
const QUESTION: Colour = [0xb5, 0x1c, 0x4a];
const TEXT: Colour = [0x8d, 0x99, 0xae];

/// What a token is, for the picture's margin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    System,
    Image,
    Question,
    Answer,
}

impl Kind {
    fn mark(self) -> (&'static str, Colour) {
        match self {
            Self::System => ("s", TEXT),
            Self::Image => ("i", MEDIA),
            Self::Question => ("q", QUESTION),
            Self::Answer => ("a", TEXT),
        }
    }
}

pub fn run(
    policy: Option<PolicyArg>,
    prompt: &str,
    answer: &str,
    media_len: usize,
    png: Option<&Path>,
    tokenizer: &Path,
) -> Result<()> {
    let tokenizer = Tokenizer::from_file(tokenizer)?;
    let template = Template {
        system: "Answer the question about the picture.".to_owned(),
        ..Template::default()
    };
    let sequence = template.training(&tokenizer, prompt, answer, Some(media_len))?;
    let policies = match policy {
        Some(policy) => vec![policy],
        None => vec![PolicyArg::Causal, PolicyArg::Prefix, PolicyArg::Mma],
    };
    let kinds = kinds(&sequence);
    let mut layouts = Vec::new();
    for policy in policies {
        let document = Document {
            tokens: 0..sequence.input_ids.len(),
            media: sequence.media.clone(),
            question_end: sequence.question_end,
        };
        let len = sequence.input_ids.len();
        let layout = AttentionLayout::from_spans(policy.into(), len, &[vec![document]])?;
        print(&name_of(policy), &layout, &kinds)?;
        layouts.push(layout);
    }
    let mut out = std::io::stdout();
    writeln!(
        out,
        "rows look at columns: {} causal, {} unlocked;  s system  i image  q question  a answer",
        coloured("■", CAUSAL),
        coloured("□", UNLOCKED)
    )?;
    if let Some(file) = png {
        let mut png = Cursor::new(Vec::new());
        draw(&layouts, &kinds).write_to(&mut png, image::ImageFormat::Png)?;
        write_whole(file, png.get_ref())
            .with_context(|| format!("cannot write {}", file.display()))?;
        writeln!(out, "wrote {}", file.display())?;
    }
    Ok(())
}

fn kinds(sequence: &Sequence) -> Vec<Kind> {
    let end = sequence.question_end.unwrap_or(0);
    let image = sequence.media.first().cloned().unwrap_or_default();
    let kind = |at| match at {
        at if image.contains(&at) => Kind::Image,
        at if at < image.start => Kind::System,
        at if at < end => Kind::Question,
        _ => Kind::Answer,
    };
    (0..sequence.input_ids.len()).map(kind).collect()
}

fn print(name: &str, layout: &AttentionLayout, kinds: &[Kind]) -> Result<()> {
    let mut out = std::io::stdout();
    let mark = |kind: &Kind| {
        let (letter, colour) = kind.mark();
        coloured(letter, colour)
    };
    let header: Vec<String> = kinds.iter().map(mark).collect();
    writeln!(out, "{name}\n  {}", header.join(" "))?;
    for (i, kind) in kinds.iter().enumerate() {
        write!(out, "{}", mark(kind))?;
        for j in 0..kinds.len() {
            let cell = match (layout.visible(0, i, j), j <= i) {
                (true, true) => coloured("■", CAUSAL),
                (true, false) => coloured("□", UNLOCKED),
                (false, _) => coloured("·", HIDDEN),
            };
            write!(out, " {cell}")?;
        }
        writeln!(out)?;
    }
    writeln!(out)?;
    Ok(())
}

/// The masks side by side, each with a margin that tells the kinds of its tokens.
fn draw(layouts: &[AttentionLayout], kinds: &[Kind]) -> RgbImage {
    const CELL: u32 = 10;
    const MARGIN: u32 = 14;
    const GAP: u32 = 24;
    let side = kinds.len() as u32 * CELL + MARGIN;
    let count = layouts.len() as u32;
    let mut image = RgbImage::from_pixel(
        count * side + (count + 1) * GAP,
        side + 2 * GAP,
        Rgb([255; 3]),
    );
    let mut fill = |x: u32, y: u32, width: u32, height: u32, colour: Colour| {
        // One pixel is left free on the right and below, as a grid.
        for (dx, dy) in (0..width - 1).flat_map(|dx| (0..height - 1).map(move |dy| (dx, dy))) {
            image.put_pixel(x + dx, y + dy, Rgb(colour));
        }
    };
    for (layout, left) in layouts.iter().zip((GAP..).step_by((side + GAP) as usize)) {
        let (left, top) = (left + MARGIN, GAP + MARGIN);
        for (i, kind) in (0u32..).zip(kinds) {
            let (_, colour) = kind.mark();
            fill(left + i * CELL, GAP, CELL, MARGIN - 3, colour);
            fill(left - MARGIN, top + i * CELL, MARGIN - 3, CELL, colour);
            for j in 0..kinds.len() as u32 {
                let colour = match (layout.visible(0, i as usize, j as usize), j <= i) {
                    (true, true) => CAUSAL,
                    (true, false) => UNLOCKED,
                    (false, _) => HIDDEN,
                };
                fill(left + j * CELL, top + i * CELL, CELL, CELL, colour);
            }
        }
    }
    image
}
