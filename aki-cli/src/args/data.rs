//! What can be typed after `aki data`.

use std::path::PathBuf;

use clap::Subcommand;

use super::bench::count;
use super::convert::size;

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show a source's first samples as training takes them
    ///
    /// Pictures where the output is a terminal, and the text with its special tokens; what is learned is
    /// green. Samples come in the order of the files and without augmentation. Those that cannot be used
    /// are told and passed over. A stage that learns from no sources is shown "train" and "test".
    Preview {
        /// The run file; the built-in easy-VQA run if left out
        file: Option<PathBuf>,
        #[command(flatten)]
        run: RunArgs,
        /// A source's name; all of them if left out
        #[arg(long, value_name = "NAME")]
        source: Vec<String>,
        /// Samples of each source
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// One JSON object a sample, with its text, ids and labels
        #[arg(long)]
        json: bool,
    },
    /// Read all data of a run once, and count what is good, broken, long and padded
    ///
    /// Ends with 0 if no source has more broken samples than the run file allows, and with 1 otherwise.
    Check {
        /// The run file
        file: PathBuf,
        #[command(flatten)]
        run: RunArgs,
        /// A source's name; all of them if left out
        #[arg(long, value_name = "NAME")]
        source: Vec<String>,
        /// Read pictures' headers and do not decode them
        #[arg(long)]
        no_decode: bool,
        /// One JSON object in place of a table
        #[arg(long)]
        json: bool,
    },
    /// How fast batches are made, and where the time goes
    ///
    /// The very batches that training reads, and nothing else. The clock starts at the first, when the
    /// buffers that samples are drawn from are filled. scripts/bench-data puts Python's webdataset beside it.
    Bench(DataBench),
    /// Make a data set of coloured shapes, with questions that alone say nothing of their answers
    ///
    /// OUT, which must be new or empty, gets train/00000.tar and test/00000.tar with pictures, captions and
    /// questions, the tokenizer.json of their words, and sheet.svg, which shows some of them. The same seed
    /// makes the same files; no scene is in train and in test, whatever their seeds.
    Scenes(ScenesArgs),
    /// Pack conversations or captions and their pictures into tar shards
    ///
    /// IN has one JSON object a line, as a source of kind "jsonl", or with a "caption" in place of the
    /// conversation. OUT, which must be new or empty, gets 00000.tar, 00001.tar and so on, and sizes.json.
    /// Pictures are copied byte by byte. What cannot be used is left out and told.
    PackShards {
        /// Conversations or captions
        #[arg(value_name = "IN.jsonl")]
        input: PathBuf,
        /// The folder of the shards
        out: PathBuf,
        /// The folder of the pictures; that of IN if left out
        #[arg(long, value_name = "DIR")]
        images: Option<PathBuf>,
        /// Samples of a shard at most
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
        samples: u64,
        /// Bytes of a shard at most, as 1GB or 500MB
        #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = size)]
        bytes: u64,
        /// Put the samples into another order, drawn with this seed; a stream mixes only what stands
        /// close together
        #[arg(long, value_name = "SEED")]
        shuffle: Option<u64>,
        /// The share of entries, 0 to 1, that may be unusable
        #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
        max_bad_share: f64,
    },
}

#[derive(Debug, clap::Args)]
pub struct ScenesArgs {
    /// The folder of the data set
    pub out: PathBuf,
    /// Scenes to train on
    #[arg(long, value_name = "N", default_value = "10000", value_parser = count())]
    pub samples: usize,
    /// Scenes to test on
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count())]
    pub test: usize,
    /// Another seed is another set
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Questions of each scene, 1 to 7, all of different kinds
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub questions_per_scene: u8,
}

#[derive(Debug, clap::Args)]
pub struct DataBench {
    /// The run file
    pub file: PathBuf,
    #[command(flatten)]
    pub run: RunArgs,
    /// Batches that count
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = count())]
    pub batches: Option<usize>,
    /// Seconds that count
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Threads that decode pictures, in place of the run file's
    #[arg(long, value_name = "N", value_parser = count())]
    pub workers: Option<usize>,
    /// One JSON object in place of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Change a value of the run file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The stage whose limits count; the one that learns from sources if left out
    #[arg(long, value_name = "NAME")]
    pub stage: Option<String>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is expected".to_owned()),
    }
}
