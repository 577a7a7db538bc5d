//! The benchmarks there are.

use std::path::Path;

use super::style::PromptStyle;

/// A benchmark: a set of questions about pictures, and how answers to it are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Benchmark {
    /// MME: yes or no, two questions a picture; gives `MMEp` and `MMEc`.
    Mme,
    /// `MMBench`, the English development set, circular.
    MmBench,
    /// SEED-Bench's questions about pictures.
    SeedI,
    /// LLaVA-Bench (in the wild), judged beside GPT-4's answers.
    LlavaW,
    /// MMMU, development and validation.
    Mmmu,
    /// `MathVista`, testmini.
    MathVista,
    /// POPE: yes or no, three samplings.
    Pope,
    /// MM-Vet, judged from 0 to 1.
    MmVet,
    /// `RealWorldQA`.
    RealWorldQa,
    /// CV-Bench; gives CV-2D and CV-3D.
    CvBench,
}

impl Benchmark {
    /// All of them, in the order of Table 1.
    pub const ALL: [Self; 10] = [
        Self::Mme,
        Self::MmBench,
        Self::SeedI,
        Self::LlavaW,
        Self::Mmmu,
        Self::MathVista,
        Self::Pope,
        Self::MmVet,
        Self::RealWorldQa,
        Self::CvBench,
    ];

    /// What is typed for it: `mme`, `mmbench`, `seed-i`, ..
    pub fn name(self) -> &'static str {
        match self {
            Self::Mme => "mme",
            Self::MmBench => "mmbench",
            Self::SeedI => "seed-i",
            Self::LlavaW => "llava-w",
            Self::Mmmu => "mmmu",
            Self::MathVista => "mathvista",
            Self::Pope => "pope",
            Self::MmVet => "mm-vet",
            Self::RealWorldQa => "realworldqa",
            Self::CvBench => "cv-bench",
        }
    }

    /// The one that is typed so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// What its makers call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mme => "MME",
            Self::MmBench => "MMBench (dev, English)",
            Self::SeedI => "SEED-Bench (images)",
            Self::LlavaW => "LLaVA-Bench (in the wild)",
            Self::Mmmu => "MMMU (dev and validation)",
            Self::MathVista => "MathVista (testmini)",
            Self::Pope => "POPE",
            Self::MmVet => "MM-Vet",
            Self::RealWorldQa => "RealWorldQA",
            Self::CvBench => "CV-Bench",
        }
    }

    /// Files that it is read from, in its data folder. Each list is one way in which it is
    /// published, and has all the files that this takes.
    pub fn files(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Mme => &[&["MME.tsv"]],
            Self::MmBench => &[&["MMBench_DEV_EN.tsv"]],
            Self::SeedI => &[&["SEEDBench_IMG.tsv"]],
            Self::LlavaW => &[&["LLaVABench.tsv"]],
            Self::Mmmu => &[&["MMMU_DEV_VAL.tsv"]],
            Self::MathVista => &[&["MathVista_MINI.tsv"]],
            Self::Pope => &[&["POPE.tsv"]],
            Self::MmVet => &[&["MMVet.tsv"]],
            Self::RealWorldQa => &[&["RealWorldQA.tsv"]],
            Self::CvBench => &[&["test_2d.parquet", "test_3d.parquet"], &["test.parquet"]],
        }
    }

    /// [`Self::files`] in words, with `or` between the lists.
    pub fn files_told(self, or: &str) -> String {
        let ways = self.files().iter().map(|files| files.join(" and "));
        ways.collect::<Vec<_>>().join(or)
    }

    /// Of [`Self::files`] the first list that is in `folder` whole.
    pub fn files_in(self, folder: &Path) -> Option<&'static [&'static str]> {
        let whole = |files: &&[&str]| files.iter().all(|file| folder.join(file).is_file());
        self.files().iter().copied().find(whole)
    }

    /// Its headline scores, as Table 1 names them; [`Score::columns`](super::Score) has the same
    /// order.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Mme => &["MMEp", "MMEc"],
            Self::MmBench => &["MMB"],
            Self::SeedI => &["SEED-I"],
            Self::LlavaW => &["LLaVA-W"],
            Self::Mmmu => &["MMMU"],
            Self::MathVista => &["MathV-mini"],
            Self::Pope => &["POPE"],
            Self::MmVet => &["MM-Vet"],
            Self::RealWorldQa => &["RealWorldQA"],
            Self::CvBench => &["CV-2D", "CV-3D"],
        }
    }

    /// Whether there is no score without a judge.
    pub fn needs_judge(self) -> bool {
        matches!(self, Self::LlavaW | Self::MathVista | Self::MmVet)
    }

    /// What differs between the two [`PromptStyle`]s for this benchmark, in words for the output.
    pub fn differs(self) -> &'static str {
        match self {
            Self::CvBench => {
                "aki: `<image>`, a newline, the original's instruction, 256 new tokens, the answer \
                 must be the letter; vlmevalkit: no newline, the kit's text for options, 512 new \
                 tokens, an option is read out of the answer"
            }
            Self::Mmmu | Self::MathVista => {
                "aki: every picture, a newline behind each, before the text; vlmevalkit: the first \
                 picture only, where the text has its mark, no newline"
            }
            _ => "aki: a newline between `<image>` and the text; vlmevalkit: none",
        }
    }

    /// Most tokens of an answer.
    pub fn max_new_tokens(self, style: PromptStyle) -> usize {
        match (self, style) {
            (Self::CvBench, PromptStyle::Aki) => 256,
            _ => 512,
        }
    }
}
