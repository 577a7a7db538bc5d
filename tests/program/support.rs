//! Starts the built program in a working folder of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Deserializer};
use tempfile::TempDir;

pub use crate::process::{Ended, Running, finish};

/// Both stages as short as they can be while they still are measured and checkpointed twice.
const TINY_STAGE: [&str; 5] = [
    "steps=6",
    "batch=4",
    "evaluate_every=3",
    "checkpoint_every=2",
    "optimizer.warmup_steps=2",
];

/// A network of 69,122 weights, and few pictures to measure on.
const TINY: [&str; 16] = [
    "model.vision.hidden_size=32",
    "model.vision.intermediate_size=64",
    "model.vision.num_hidden_layers=1",
    "model.vision.num_attention_heads=2",
    "model.resampler.depth=1",
    "model.resampler.heads=2",
    "model.resampler.head_dim=16",
    "model.resampler.num_latents=4",
    "model.language.hidden_size=32",
    "model.language.intermediate_size=64",
    "model.language.num_hidden_layers=1",
    "model.language.num_attention_heads=2",
    "model.language.num_key_value_heads=1",
    "data.valid_samples=8",
    "evaluation.samples=8",
    "evaluation.examples=2",
];

/// What makes a shipped run tiny.
pub fn tiny() -> impl Iterator<Item = String> {
    let stages = ["captions", "questions"]
        .into_iter()
        .flat_map(|stage| TINY_STAGE.map(|setting| format!("stage.{stage}.{setting}")));
    TINY.into_iter().map(str::to_owned).chain(stages)
}

/// The repository.
pub fn repository() -> PathBuf {
    // `..` is taken off, so that messages with paths read as a user's.
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().expect("a workspace").to_owned()
}

/// A file below `assets`, as an argument.
pub fn asset(name: &str) -> String {
    text(&repository().join("assets").join(name))
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// The program, to be started in `folder`.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aki"));
    command
        .current_dir(folder)
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
        .env_remove("CLICOLOR_FORCE")
        .env("NO_COLOR", "1")
        // These runs ask for the CPU, so they must do where there is no GPU.
        .env("VK_DRIVER_FILES", "none")
        .env("VK_ICD_FILENAMES", "none")
        // Help texts are wrapped to it.
        .env("COLUMNS", "100");
    command
}

/// A temporary working folder.
pub struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Something in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A message with the folder's own path, which differs each time, taken out.
    pub fn without_path(&self, message: &str) -> String {
        message.replace(&text(self.folder.path()), "[folder]")
    }

    /// The names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        contents(self.folder.path())
            .keys()
            .map(|path| text(path))
            .collect()
    }

    /// Runs `aki` with some arguments.
    pub fn aki<A: AsRef<OsStr>>(&self, args: &[A]) -> Ended {
        self.chat(args, "")
    }

    /// Runs `aki` and gives it lines to read.
    pub fn chat<A: AsRef<OsStr>>(&self, args: &[A], stdin: &str) -> Ended {
        let mut command = command(self.folder.path());
        command.args(args);
        finish(command, stdin)
    }

    /// The tiny run, with `settings` on top.
    pub fn training(&self, settings: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.args(["train", &asset("configs/easy-vqa.toml"), "--device", "cpu"]);
        let run_dir = std::iter::once("run_dir=run".to_owned());
        let settings = settings.iter().map(|&setting| setting.to_owned());
        for setting in tiny().chain(run_dir).chain(settings) {
            command.args(["--set", &setting]);
        }
        command
    }

    /// Carries out the tiny run, with `settings` on top, in the folder `run` unless they say
    /// otherwise.
    pub fn train(&self, settings: &[&str]) -> Ended {
        finish(self.training(settings), "")
    }

    /// As `train`, with arguments before the settings.
    pub fn train_with(&self, args: &[&str], settings: &[&str]) -> Ended {
        let mut training = self.training(settings);
        training.args(args);
        finish(training, "")
    }

    /// As `train`, where no file may have more than some bytes.
    #[cfg(unix)]
    pub fn train_limited(&self, settings: &[&str], bytes: usize) -> Ended {
        // Blocks of 512 bytes in the shells that POSIX describes, of 1024 in bash.
        let limit = format!(
            "trap '' XFSZ; ulimit -f {0}; [ -z \"$BASH_VERSION\" ] || ulimit -f {1}",
            bytes / 512,
            bytes / 1024,
        );
        finish(self.training_in_shell(settings, &limit), "")
    }

    /// The tiny run, in a process that a shell has made ready.
    #[cfg(unix)]
    pub fn training_in_shell(&self, settings: &[&str], ready: &str) -> Command {
        let training = self.training(settings);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{ready}; exec \"$@\""), "sh"])
            .arg(training.get_program())
            .args(training.get_args());
        shell.current_dir(self.folder.path());
        for (name, value) in training.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }

    /// As `train`, without waiting for its end.
    pub fn start(&self, settings: &[&str]) -> Running {
        Running::start(self.training(settings), Stdio::null())
    }

    /// Starts `aki` with some arguments, without waiting for its end.
    pub fn start_aki<A: AsRef<OsStr>>(&self, args: &[A]) -> Running {
        let mut command = command(self.folder.path());
        command.args(args);
        Running::start(command, Stdio::null())
    }

    /// As `start_aki`, with a standard input that stays open and empty.
    pub fn start_waiting<A: AsRef<OsStr>>(&self, args: &[A]) -> Running {
        let mut command = command(self.folder.path());
        command.args(args);
        Running::start(command, Stdio::piped())
    }

    /// The weights that a run ended with.
    #[track_caller]
    pub fn weights(&self, run: &str) -> Vec<u8> {
        std::fs::read(self.path(run).join("model/model.safetensors")).expect("weights")
    }

    /// The lines of a run's `metrics.jsonl`.
    #[track_caller]
    pub fn metrics(&self, run: &str) -> Vec<Line> {
        let path = self.path(run).join("metrics.jsonl");
        let text = std::fs::read_to_string(path).expect("metrics");
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// The steps of whole checkpoints of a stage, oldest first.
    pub fn checkpoints(&self, run: &str, stage: &str) -> Vec<usize> {
        let folder = self.path(run).join("checkpoints").join(stage);
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let whole = entry.path().join("manifest.json").is_file();
            let name = entry.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix("step-"));
            steps.extend(
                step.filter(|_| whole)
                    .and_then(|step| step.parse::<usize>().ok()),
            );
        }
        steps.sort_unstable();
        steps
    }
}

/// What `metrics.jsonl` promises to those who read it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub stage: String,
    pub step: usize,
    pub split: String,
    /// NaN where the file says null.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    pub accuracy: Option<f64>,
    pub lr: Option<f64>,
    pub samples_per_second: Option<f64>,
    pub tokens_per_second: Option<f64>,
    pub mfu: Option<f64>,
    pub data_wait: Option<f64>,
    pub grad_norm: Option<f64>,
    pub memory: Option<u64>,
    pub seconds: f64,
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Line {
    /// Which point of the curves it is.
    pub fn point(&self) -> (String, usize, String) {
        (self.stage.clone(), self.step, self.split.clone())
    }
}

/// The points of a stage that is trained and measured without a break, in order.
pub fn points(stage: &str, steps: usize, evaluate_every: usize) -> Vec<(String, usize, String)> {
    let mut points = Vec::new();
    for step in 1..=steps {
        let mut point = |split: &str| points.push((stage.to_owned(), step, split.to_owned()));
        point("train");
        if step.is_multiple_of(evaluate_every) || step == steps {
            point("valid");
        }
    }
    points
}

/// All files below a folder.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below it").to_owned();
                files.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

/// Cuts a file to half its length.
pub fn cut_in_half(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes.truncate(bytes.len() / 2);
    std::fs::write(path, bytes).expect("a file");
}

/// A shard with these members.
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).expect("memory");
    }
    tar.into_inner().expect("memory")
}
