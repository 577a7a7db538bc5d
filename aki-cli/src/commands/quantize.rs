//! `aki quantize`.

use std::fmt::Write as _;
use std::io::Write;

use aki_data::Tokenizer;
use aki_model::weights::{Quantization, Quantize, Quantized};
use aki_train::folder::{FolderConfig, ModelFolder, Stored, find};
use anyhow::{Result, bail};

use super::new_folder::NewFolder;
use crate::args::QuantizeArgs;

pub fn run(args: &QuantizeArgs) -> Result<()> {
    NewFolder::check(&args.out)?;
    let folder = match Stored::find(&args.model)? {
        Stored::Folder(folder) => folder,
        Stored::Checkpoint(_) => bail!(
            "{0} is no finished model; write one of the run's checkpoint first: aki convert {0} PLAIN",
            args.model.display()
        ),
    };
    let mut config = FolderConfig::read(&find(&args.model)?)?;
    let tokenizer = Tokenizer::open(&folder)?;
    let source = config.open_weights(&folder)?;
    let how = Quantization::new(args.bits.into());
    let new = NewFolder::begin(&args.out)?;
    let quantize = Quantize {
        config: &config.model,
        source: &source,
        how,
        shard_size: args.shard_size,
    };
    let quantized = quantize.write(new.path())?;
    config.quantization = Some(how);
    ModelFolder::begin(new.path(), &config, &tokenizer)?;
    new.finish()?;
    let mut out = std::io::stdout();
    write!(out, "{}", table(&quantized))?;
    if config.model.language.tie_word_embeddings {
        writeln!(out, "the head is the embedding, which is kept as it is")?;
    }
    writeln!(
        out,
        "written to {0}; ask it: aki generate --model {0} --image FILE --prompt TEXT",
        args.out.display()
    )?;
    Ok(())
}

fn table(quantized: &Quantized) -> String {
    let mut text = String::from(
        "part                      bits        numbers       before        after    error\n",
    );
    let [mut before, mut after] = [quantized.kept; 2];
    for part in quantized.packed.iter().filter(|part| part.numbers > 0) {
        before += part.bytes_before;
        after += part.bytes;
        writeln!(
            text,
            "{:<24} {:>5} {:>14} {:>12} {:>12} {:>6.2} %",
            part.name.trim_end_matches('.'),
            part.bits.count(),
            super::inspect::grouped(part.numbers),
            megabytes(part.bytes_before),
            megabytes(part.bytes),
            100.0 * part.relative_error,
        )
        .ok();
    }
    let line = |name: &str, before, after| {
        format!(
            "{name:<45} {:>12} {:>12}\n",
            megabytes(before),
            megabytes(after)
        )
    };
    text + &line("all else, as it was", quantized.kept, quantized.kept)
        + &line("all", before, after)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
