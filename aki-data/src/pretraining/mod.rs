//! The sets that AKI is pre-trained on: captions and interleaved web pages.
//!
//! | kind | members | text |
//! |---|---|---|
//! | `blip3-kale`, `cc3m`, `cc12m` | picture, `txt` | the caption itself |
//! | `blip3-ocr` | picture, `txt` with JSON | what is to be read in the picture, of granularity 1 |
//! | `blip3-grounding` | picture, `txt` with a Python list | item `[0][0]` |
//! | `mmc4` | `json` with texts and pictures | sentences, pictures before those that fit them |
//!
//! A caption becomes `<image>{caption}<|endofchunk|>`.

mod assignment;
mod grounding;
mod kind;
pub mod literal;
mod literal_text;
mod mmc4;
mod ocr;
mod plain;
mod sample;

pub use self::kind::{CaptionKind, PretrainingKind};
pub use self::mmc4::Mmc4;
pub use self::sample::PretrainingSample;
