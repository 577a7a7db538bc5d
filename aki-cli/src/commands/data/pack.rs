//! `aki data pack-shards`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aki_data::DataError;
use aki_data::shards::{PackOptions, Packed, pack_shards};
use anyhow::{Context, Result};

use super::progress;
use crate::commands::Done;
use crate::terminal;

pub fn run(input: &Path, out: &Path, options: &PackOptions) -> Result<Done> {
    let stopped = stop_on_ctrl_c()?;
    let bar = progress::bar("packing", None);
    let mut go_on = |packed: &Packed| {
        bar.set_length(packed.entries);
        bar.inc(1);
        !stopped.load(Ordering::Relaxed)
    };
    let packed = pack_shards(input, out, options, &mut go_on);
    bar.finish_and_clear();
    match packed {
        Ok(packed) => show(&packed, out)?,
        Err(error @ DataError::Stopped { .. }) => {
            eprintln!("{error}");
            return Ok(Done::Interrupted);
        }
        Err(error) => return Err(aki_train::TrainError::from(error).into()),
    }
    Ok(Done::Finished)
}

/// The first Ctrl-C ends it behind a sample, a second one at once.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let pressed = stopped.clone();
    let handler = move || {
        if pressed.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::INTERRUPTED));
        }
    };
    ctrlc::set_handler(handler).context("cannot wait for Ctrl-C")?;
    Ok(stopped)
}

fn show(packed: &Packed, folder: &Path) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} samples of {} in {} {}, {:.1} MB, in {}",
        packed.samples,
        packed.entries,
        packed.shards,
        if packed.shards == 1 {
            "shard"
        } else {
            "shards"
        },
        packed.bytes as f64 / 1e6,
        folder.display()
    )?;
    for left in &packed.skipped {
        let (kind, first) = (left.first.reason.kind(), &left.first);
        let text = format!(
            "left out {}: {kind}; the first is number {}: {}",
            left.count, first.key, first.reason
        );
        writeln!(out, "{}", terminal::plain(&text))?;
    }
    Ok(())
}
