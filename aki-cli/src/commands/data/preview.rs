//! `aki data preview`.

use std::io::Write;

use aki_data::shards::Skipped;
use aki_train::config::RunConfig;
use aki_train::preview::{Shown, Span, show};
use anyhow::Result;

use crate::commands::Done;
use crate::terminal::{self, Colour};

/// Samples of a source that cannot be used and are told one by one.
const TOLD: u64 = 5;

const LEARNED: Colour = [0x2a, 0x9d, 0x8f];
const PICTURE: Colour = [0xf4, 0x8c, 0x2a];

pub fn run(
    config: &RunConfig,
    stage: Option<&str>,
    sources: &[String],
    limit: u64,
    json: bool,
) -> Result<Done> {
    let stage = config.stage_to_look_at(stage)?;
    let names = config.names_to_look_at(stage, sources)?;
    let preparer = config.looking(stage)?;
    let mut out = std::io::stdout();
    let mut done = Done::Finished;
    for name in names {
        let (mut shown, mut skipped) = (0, 0);
        for example in config.examples(stage, &name)? {
            let sample = match example {
                Ok(example) => show(&preparer, &name, &example)?,
                Err(skipped) => Err(skipped),
            };
            match sample {
                Ok(sample) => {
                    if json {
                        writeln!(out, "{}", serde_json::to_string(&sample)?)?;
                    } else {
                        print(&sample, &mut out)?;
                    }
                    shown += 1;
                }
                Err(fault) => {
                    skipped += 1;
                    if skipped <= TOLD {
                        tell(&name, &fault);
                    }
                }
            }
            if shown == limit {
                break;
            }
        }
        if skipped > TOLD {
            say!("skipped {skipped} samples of {name} in all");
        }
        if shown == 0 {
            say!("{name} has no sample that can be used");
            done = Done::Unfit;
        }
    }
    Ok(done)
}

fn tell(source: &str, skipped: &Skipped) {
    say!(
        "skipped sample {} of {source} ({}): {}",
        terminal::plain(&skipped.key),
        skipped.shard.display(),
        terminal::plain(&skipped.reason.to_string())
    );
}

fn print(sample: &Shown, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{}  {}", sample.source, terminal::plain(&sample.key))?;
    let pictures = sample.images.iter().zip(&sample.pictures);
    for (number, (name, picture)) in (1..).zip(pictures) {
        let mark = terminal::coloured(&mark(number), PICTURE);
        let (width, height) = (picture.width, picture.height);
        writeln!(out, "{mark} {}  {width} x {height}", terminal::plain(name))?;
        terminal::show(picture)?;
    }
    let mut number = 0;
    for span in &sample.spans {
        match span {
            Span::Picture => {
                number += 1;
                write!(out, "{}", terminal::coloured(&mark(number), PICTURE))?;
            }
            Span::Given(text) => write!(out, "{}", terminal::plain(text))?,
            Span::Learned(text) => {
                write!(
                    out,
                    "{}",
                    terminal::coloured(&terminal::plain(text), LEARNED)
                )?;
            }
        }
    }
    let learned = sample.labels.iter().skip(1).filter(|&&label| label >= 0);
    let cut = match sample.cut {
        0 => String::new(),
        cut => format!(", {cut} more cut off"),
    };
    let places = sample.input_ids.len();
    writeln!(
        out,
        "\n{places} tokens, {} of them learned{cut}\n",
        learned.count()
    )?;
    Ok(())
}

fn mark(number: usize) -> String {
    format!("[picture {number}]")
}
