//! The rows of Table 1: what each system is, and the stages that make it.

use std::fmt;
use std::str::FromStr;

use aki_data::PictureOrder;
use aki_model::attention::Policy;
use serde::Serialize;

use crate::TrainError;
use crate::config::{OptimizerConfig, StageConfig, nearest};

/// Pictures before their texts.
const IT: PictureOrder = PictureOrder::ImageText;
/// Pictures after their texts.
const TI: PictureOrder = PictureOrder::TextImage;

/// A system of Table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// `(I&T)PT + (I&T)SFT`: picture, then text, under a causal mask.
    Causal,
    /// Concentric causal attention.
    Cca,
    /// Dual order training without text-image in pre-training: `(w/o T&I)PT`.
    DotNoTiPt,
    /// `(w/o I&T)PT`.
    DotNoItPt,
    /// `(w/o T&I)SFT`.
    DotNoTiSft,
    /// `(w/o I&T)SFT`.
    DotNoItSft,
    /// Dual order training: image-text and then text-image, in pre-training and in tuning.
    Dot,
    /// Causal in pre-training, modality-mutual attention in tuning.
    Mma,
}

/// How one phase of training, pre-training or tuning, shows a model its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Who may look at whom.
    pub attention: Policy,
    /// Where pictures stand, one after the other; the phase's steps are shared out evenly.
    pub orders: &'static [PictureOrder],
}

impl Row {
    /// All of them, in the table's order.
    pub const ALL: [Self; 8] = [
        Self::Causal,
        Self::Cca,
        Self::DotNoTiPt,
        Self::DotNoItPt,
        Self::DotNoTiSft,
        Self::DotNoItSft,
        Self::Dot,
        Self::Mma,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Causal => "causal",
            Self::Cca => "cca",
            Self::DotNoTiPt => "dot-no-ti-pt",
            Self::DotNoItPt => "dot-no-it-pt",
            Self::DotNoTiSft => "dot-no-ti-sft",
            Self::DotNoItSft => "dot-no-it-sft",
            Self::Dot => "dot",
            Self::Mma => "mma",
        }
    }

    /// Its name in the paper's table.
    pub fn published_name(self) -> &'static str {
        match self {
            Self::Causal => "(I&T)PT + (I&T)SFT",
            Self::Cca => "CCA",
            Self::DotNoTiPt => "(w/o T&I)PT",
            Self::DotNoItPt => "(w/o I&T)PT",
            Self::DotNoTiSft => "(w/o T&I)SFT",
            Self::DotNoItSft => "(w/o I&T)SFT",
            Self::Dot => "DOT",
            Self::Mma => "MMA",
        }
    }

    /// How it is trained on captions.
    pub fn pretraining(self) -> Phase {
        match self {
            Self::Causal | Self::Mma | Self::DotNoTiPt => Phase::causal(&[IT]),
            Self::DotNoItPt => Phase::causal(&[TI]),
            Self::Dot | Self::DotNoTiSft | Self::DotNoItSft => Phase::causal(&[IT, TI]),
            Self::Cca => Phase::image_text(Policy::Cca),
        }
    }

    /// How it is trained on questions.
    pub fn tuning(self) -> Phase {
        match self {
            Self::Causal | Self::DotNoTiSft => Phase::causal(&[IT]),
            Self::DotNoItSft => Phase::causal(&[TI]),
            Self::Dot | Self::DotNoTiPt | Self::DotNoItPt => Phase::causal(&[IT, TI]),
            Self::Cca => Phase::image_text(Policy::Cca),
            Self::Mma => Phase::image_text(Policy::Mma),
        }
    }
}

impl FromStr for Row {
    type Err = TrainError;

    fn from_str(name: &str) -> Result<Self, TrainError> {
        let found = Self::ALL.into_iter().find(|row| row.name() == name);
        found.ok_or_else(|| unknown("row", name, &Self::ALL.map(Self::name)))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is told of a name that is none of `known`.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> TrainError {
    let meant = nearest(name, known.iter().copied());
    let advice = match meant {
        Some(meant) => format!("did you mean {meant:?}? There are"),
        None => "there are".to_owned(),
    };
    let known = known.join(", ");
    TrainError::Request(format!("no {what} {name:?}; {advice} {known}"))
}

impl Phase {
    const fn causal(orders: &'static [PictureOrder]) -> Self {
        Self {
            attention: Policy::Causal,
            orders,
        }
    }

    const fn image_text(attention: Policy) -> Self {
        Self {
            attention,
            orders: &[IT],
        }
    }

    /// Its name in files: what differs from causal image-text.
    pub fn name(self) -> &'static str {
        match (self.attention, self.orders) {
            (Policy::Causal, [_, _, ..]) => "dual",
            (Policy::Causal, [PictureOrder::TextImage]) => "text-image",
            (attention, _) => attention.name(),
        }
    }

    /// The stages of this phase: a stage for each order, made of `whole`, whose steps and warm-up they share.
    /// Two or more are named after their orders. Each begins with the run's first sample, so that the second
    /// order is learned from the samples of the first.
    pub fn stages(self, whole: &StageConfig) -> Vec<StageConfig> {
        let count = self.orders.len();
        // What cannot be shared evenly goes to the first.
        let share = |all: usize, index: usize| all / count + usize::from(index < all % count);
        let stage = |(index, &order): (usize, &PictureOrder)| StageConfig {
            name: match count {
                1 => whole.name.clone(),
                _ => format!("{}-{}", whole.name, order.name()),
            },
            attention: self.attention,
            order,
            steps: share(whole.steps, index),
            optimizer: OptimizerConfig {
                warmup_steps: whole.optimizer.warmup_steps / count,
                ..whole.optimizer.clone()
            },
            ..whole.clone()
        };
        self.orders.iter().enumerate().map(stage).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aki_data::sources::SourceConfig;

    use super::*;
    use crate::config::RunConfig;

    fn run(name: &str) -> RunConfig {
        let path = format!("../assets/configs/table1/{name}.toml");
        RunConfig::load(Path::new(&path), &[]).expect(name)
    }

    #[test]
    fn all_rows_have_the_same_steps_in_each_phase() {
        let base = run("small");
        for whole in &base.stage {
            for phase in Row::ALL
                .into_iter()
                .flat_map(|row| [row.pretraining(), row.tuning()])
            {
                let stages = phase.stages(whole);
                let steps: usize = stages.iter().map(|stage| stage.steps).sum();
                assert_eq!(steps, whole.steps, "{phase:?}");
                assert_eq!(stages.len(), phase.orders.len());
            }
        }
        let odd = StageConfig {
            steps: 7,
            ..base.stage[0].clone()
        };
        let stages = Row::Dot.pretraining().stages(&odd);
        assert_eq!([stages[0].steps, stages[1].steps], [4, 3]);
    }

    #[test]
    fn rows_are_those_of_the_paper() {
        let causal = Phase::causal(&[IT]);
        assert_eq!(
            [Row::Causal.pretraining(), Row::Causal.tuning()],
            [causal; 2]
        );
        assert_eq!(Row::Mma.pretraining(), causal);
        assert_eq!(Row::Mma.tuning(), Phase::image_text(Policy::Mma));
        let dual = Phase::causal(&[IT, TI]);
        assert_eq!([Row::Dot.pretraining(), Row::Dot.tuning()], [dual; 2]);
        // Each of these is DOT less one order in one phase.
        let less = |row: Row| {
            let left_out = |phase: Phase| {
                let mut left_out = dual.orders.to_vec();
                left_out.retain(|order| !phase.orders.contains(order));
                left_out
            };
            (left_out(row.pretraining()), left_out(row.tuning()))
        };
        assert_eq!(less(Row::DotNoTiPt), (vec![TI], vec![]));
        assert_eq!(less(Row::DotNoItPt), (vec![IT], vec![]));
        assert_eq!(less(Row::DotNoTiSft), (vec![], vec![TI]));
        assert_eq!(less(Row::DotNoItSft), (vec![], vec![IT]));
    }

    /// The files for a cluster and the study have one source of truth.
    #[test]
    fn the_full_scale_runs_are_the_rows() {
        let causal = run("causal");
        let [pretrain, sft] = &causal.stage[..] else {
            panic!("two stages: {:?}", causal.stage);
        };
        for row in Row::ALL {
            let run = run(row.name());
            let stages = [row.pretraining().stages(pretrain), row.tuning().stages(sft)].concat();
            assert_eq!(run.stage, stages, "{row}");
            let expected = RunConfig {
                run_dir: format!("runs/table1-{row}").into(),
                stage: stages,
                ..causal.clone()
            };
            assert_eq!(run, expected, "{row}");
        }
        // They are made of the runs of AKI-4B.
        let [first, second] = ["pretrain", "sft"].map(|name| {
            let path = format!("../assets/configs/{name}.toml");
            RunConfig::load(Path::new(&path), &[]).expect(name)
        });
        let sources = [&first.data.source[..], &second.data.source[..]].concat();
        assert_eq!(causal.data.source, sources);
        assert_eq!(causal.model, first.model);
        assert_eq!(causal.start, first.start);
        assert_eq!(causal.training, second.training);
        for (stage, run) in [(pretrain, &first), (sft, &second)] {
            let names = run.data.source.iter().map(SourceConfig::name);
            let expected = StageConfig {
                attention: Policy::Causal,
                sources: Some(names.collect()),
                ..run.stage[0].clone()
            };
            assert_eq!(*stage, expected);
        }
    }

    #[test]
    fn names_are_read_back() {
        for row in Row::ALL {
            assert_eq!(row.name().parse::<Row>().expect("a row"), row);
        }
        let error = "dto".parse::<Row>().expect_err("no row").to_string();
        assert_eq!(
            error,
            "no row \"dto\"; did you mean \"dot\"? There are causal, cca, dot-no-ti-pt, dot-no-it-pt, \
             dot-no-ti-sft, dot-no-it-sft, dot, mma"
        );
    }
}
