//! What can be typed after `aki eval`.

use std::path::{Path, PathBuf};

use aki_data::benchmark::{Benchmark, PromptStyle};
use aki_train::benchmark::EASY_VQA;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Subcommand, ValueEnum};

use super::bench::count;
use super::values::Dtype;
use crate::device::DeviceChoice;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EvalArgs {
    /// What to measure on
    #[arg(value_name = "NAME", required_unless_present = "list", value_parser = named())]
    pub benchmarks: Vec<Named>,
    /// Tell the benchmarks there are: their files, their scores, and which need a judge
    #[arg(long)]
    pub list: bool,
    /// A model folder, a run folder, or a checkpoint of a run
    #[arg(long, short, value_name = "DIR", required_unless_present = "list")]
    pub model: Option<PathBuf>,
    /// The folder with the benchmarks' files; may be given several times
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Where answers and scores are written; eval in a run's folder, or eval/NAME here, if left out
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Whose prompts the questions are put into
    #[arg(long, value_name = "STYLE", default_value = "aki")]
    pub prompt: TypedStyle,
    /// Ask everything anew; answers that are in the folder already are renamed to NAME.old-1
    #[arg(long)]
    pub fresh: bool,
    /// Ask the first so many questions alone, in whole groups where several are scored as one; of easy-vqa, about
    /// the first so many pictures
    #[arg(long, value_name = "N", value_parser = count())]
    pub limit: Option<usize>,
    /// Questions that are answered together
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count())]
    pub batch: usize,
    /// What numbers are computed in; those of the file if left out
    #[arg(long)]
    pub dtype: Option<Dtype>,
    /// Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1; several, as cuda:0,cuda:1, share the questions
    #[arg(
        long,
        value_name = "DEVICE,..",
        default_value = "auto",
        value_delimiter = ','
    )]
    pub device: Vec<DeviceChoice>,
    /// One JSON object a benchmark in place of tables
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(subcommand)]
    pub command: Option<EvalCommand>,
}

impl EvalArgs {
    /// The model's folder, which must be typed wherever one is asked for.
    pub fn model(&self) -> &Path {
        self.model.as_deref().unwrap_or(Path::new(""))
    }
}

#[derive(Debug, clap::Args)]
pub struct JudgeArgs {
    /// An OpenAI-compatible address whose model judges answers, such as `https://api.openai.com/v1`
    ///
    /// The key is read from `AKI_JUDGE_KEY`. For `https://api.openai.com` `OPENAI_API_KEY` does as well; it is sent to no
    /// other address.
    #[arg(long = "judge", value_name = "URL", requires = "model_name")]
    pub url: Option<String>,
    /// The judge's model
    #[arg(
        id = "model_name",
        long = "judge-model",
        value_name = "NAME",
        requires = "url"
    )]
    pub model: Option<String>,
    /// What a million tokens to the judge and of it cost, as 2.5,10, to count the cost
    #[arg(long = "judge-price", value_name = "IN,OUT", requires = "url", value_parser = price)]
    pub price: Option<[f64; 2]>,
}

#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Two models' scores on the questions that both were asked, and whether they differ by chance
    ///
    /// Intervals are those of a bootstrap, p-values those of a permutation test; both draw pictures (or groups of questions that are
    /// scored as one), and the same ones for both models.
    Compare {
        /// The first folder that `aki eval` wrote
        #[arg(value_name = "A")]
        first: PathBuf,
        /// The second
        #[arg(value_name = "B")]
        second: PathBuf,
        /// One JSON object a benchmark in place of a table
        #[arg(long)]
        json: bool,
    },
}

/// What a model can be measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The built-in test questions.
    EasyVqa,
    /// A published benchmark.
    Published(Benchmark),
    /// All published ones whose files are there.
    All,
}

fn named() -> impl TypedValueParser<Value = Named> {
    let of = |benchmark: Benchmark| PossibleValue::new(benchmark.name()).help(benchmark.title());
    let easy = PossibleValue::new(EASY_VQA).help("The 9,673 built-in test questions of easy-VQA");
    let all = PossibleValue::new("all").help("All but easy-vqa whose files are in --data");
    let published = Benchmark::ALL.into_iter().map(of);
    let names = std::iter::once(easy).chain(published).chain([all]);
    PossibleValuesParser::new(names).map(|name| match Benchmark::named(&name) {
        Some(benchmark) => Named::Published(benchmark),
        None if name == EASY_VQA => Named::EasyVqa,
        None => Named::All,
    })
}

/// Whose prompts questions are put into.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TypedStyle {
    /// As in training, `<image>` on a line of its own; every picture
    Aki,
    /// As `VLMEvalKit` asks AKI: no newline behind `<image>`, the first picture only
    #[value(name = "vlmevalkit")]
    VlmEvalKit,
}

impl From<TypedStyle> for PromptStyle {
    fn from(style: TypedStyle) -> Self {
        match style {
            TypedStyle::Aki => Self::Aki,
            TypedStyle::VlmEvalKit => Self::VlmEvalKit,
        }
    }
}

fn price(text: &str) -> Result<[f64; 2], String> {
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|it| *it >= 0.0 && it.is_finite())
    };
    let prices = text.split_once(',');
    prices
        .and_then(|(asked, answered)| Some([number(asked)?, number(answered)?]))
        .ok_or_else(|| "two prices are expected, as 2.5,10".to_owned())
}
