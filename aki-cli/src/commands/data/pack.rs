//! `aki data pack-shards`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aki_data::DataError;
use aki_data::shards::{PackOptions, Packed, pack_shards};
use aki_train::progress::Progress;
use anyhow::{Context, Result};

use crate::commands::Done;
use crate::{signals, terminal};

pub fn run(input: &Path, out: &Path, options: &PackOptions) -> Result<Done> {
    let stopped = Arc::new(AtomicBool::new(false));
    let asked = stopped.clone();
    signals::on_first(move || asked.store(true, Ordering::Relaxed))
        .context("cannot wait for Ctrl-C")?;
    let progress = Progress::new("packing", None, "samples");
    let mut go_on = |packed: &Packed| {
        progress.set_length(packed.entries);
        progress.inc(1);
        !stopped.load(Ordering::Relaxed)
    };
    let packed = pack_shards(input, out, options, &mut go_on);
    progress.finish();
    match packed {
        Ok(packed) => show(&packed, out)?,
        Err(error @ DataError::Stopped { .. }) => {
            say!("{error}");
            return Ok(Done::Interrupted);
        }
        Err(error) => return Err(aki_train::TrainError::from(error).into()),
    }
    Ok(Done::Finished)
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
