//! What makes a stage that does not fit smaller.

use serde::Serialize;

use super::Machine;
use super::stage::peak;
use crate::config::{LoraBase, LoraConfig, Moments, Precision, RunConfig};

/// A change of the run file.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// What to write.
    pub setting: String,
    /// Bytes that it saves alone.
    pub saves: u64,
}

/// Changes of the run file.
#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    /// Each by itself, the most effective first.
    pub changes: Vec<Change>,
    /// The fewest that together make it fit, of as many those that change least of what is learned; none if
    /// none do.
    pub enough: Option<Vec<String>>,
    /// Bytes at the peak with them, or else the fewest that any of them leave.
    pub then: u64,
}

/// A way to need less memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Recompute,
    MicroBatch,
    Shard,
    EightBit,
    HalfPrecision,
    FreezeTower,
    Lora,
    FourBits,
}

/// In the order in which they change what is learned: the first three do not.
const WAYS: [Way; 8] = [
    Way::Recompute,
    Way::MicroBatch,
    Way::Shard,
    Way::EightBit,
    Way::HalfPrecision,
    Way::FreezeTower,
    Way::Lora,
    Way::FourBits,
];

/// Adapters that are proposed: a usual rank.
fn adapters() -> LoraConfig {
    LoraConfig {
        rank: 64,
        alpha: 128.0,
        targets: LoraConfig::all_targets(),
        base: LoraBase::Same,
    }
}

impl Way {
    /// Makes the change; what to write for it, or nothing if it is made already.
    fn apply(self, config: &mut RunConfig, index: usize, ranks: usize) -> Option<String> {
        let (training, stage) = (&mut config.training, &mut config.stage[index]);
        let name = stage.name.clone();
        match self {
            Self::Recompute => (!training.recompute).then(|| {
                training.recompute = true;
                "training.recompute = true".to_owned()
            }),
            Self::MicroBatch => {
                let now = stage.micro_batch.unwrap_or(stage.batch);
                (now > 1).then(|| {
                    stage.micro_batch = Some(1);
                    format!("stage.{name}.micro_batch = 1")
                })
            }
            Self::Shard => (ranks > 1 && !training.shard_optimizer).then(|| {
                training.shard_optimizer = true;
                "training.shard_optimizer = true".to_owned()
            }),
            Self::EightBit => (training.moments != Moments::EightBit).then(|| {
                training.moments = Moments::EightBit;
                "training.moments = \"8bit\"".to_owned()
            }),
            Self::HalfPrecision => (training.precision != Precision::Bf16).then(|| {
                training.precision = Precision::Bf16;
                "training.precision = \"bf16\"".to_owned()
            }),
            Self::FreezeTower => {
                let pattern = "vision_encoder.*".to_owned();
                (!stage.freeze.contains(&pattern)).then(|| {
                    stage.freeze.push(pattern);
                    format!("stage.{name}.freeze = {:?}", stage.freeze)
                })
            }
            Self::Lora => training.lora.is_none().then(|| {
                training.lora = Some(adapters());
                "training.lora = { rank = 64, alpha = 128.0 }".to_owned()
            }),
            Self::FourBits => {
                let lora = training.lora.as_mut()?;
                (lora.base != LoraBase::Int4).then(|| {
                    lora.base = LoraBase::Int4;
                    "training.lora.base = \"int4\"".to_owned()
                })
            }
        }
    }
}

/// The run file with some changes.
struct Trial {
    config: RunConfig,
    /// What to write for each.
    settings: Vec<(Way, String)>,
    /// Bytes at the peak.
    bytes: u64,
}

impl Trial {
    /// With the ways whose bits are set; nothing if one of them is gone already, or if no such run can be.
    fn new(config: &RunConfig, index: usize, machine: &Machine, bits: u32) -> Option<Self> {
        let mut config = config.clone();
        let mut settings = Vec::new();
        for (bit, way) in WAYS.into_iter().enumerate() {
            if bits >> bit & 1 == 1 {
                settings.push((way, way.apply(&mut config, index, machine.ranks)?));
            }
        }
        config.validate().ok()?;
        Some(Self {
            bytes: peak(&config, &config.stage[index], machine)?,
            settings,
            config,
        })
    }

    /// The same, with as many rows at a time as there is room for.
    fn widened(mut self, index: usize, machine: &Machine) -> Self {
        let mut settings = self.settings.iter_mut();
        let Some((_, setting)) = settings.find(|(way, _)| *way == Way::MicroBatch) else {
            return self;
        };
        let mut rows = 2;
        while rows < self.config.stage[index].batch {
            self.config.stage[index].micro_batch = Some(rows);
            let stage = &self.config.stage[index];
            match peak(&self.config, stage, machine) {
                Some(bytes) if machine.fits(bytes) => self.bytes = bytes,
                _ => break,
            }
            *setting = format!("stage.{}.micro_batch = {rows}", stage.name);
            rows *= 2;
        }
        self
    }
}

impl Advice {
    /// For a stage that takes `now` bytes.
    pub(super) fn of(config: &RunConfig, index: usize, machine: &Machine, now: u64) -> Self {
        let mut sets: Vec<u32> = (1..1 << WAYS.len()).collect();
        // Of sets as large, that goes first whose harshest way is the gentlest: the smallest number.
        sets.sort_by_key(|bits| (bits.count_ones(), *bits));
        let trials = sets.into_iter();
        let trials = trials.filter_map(|bits| Trial::new(config, index, machine, bits));
        let trials: Vec<Trial> = trials.collect();

        let mut changes = Vec::new();
        for trial in &trials {
            if let [(_, setting)] = &trial.settings[..]
                && trial.bytes < now
            {
                changes.push(Change {
                    setting: setting.clone(),
                    saves: now - trial.bytes,
                });
            }
        }
        changes.sort_by_key(|change| std::cmp::Reverse(change.saves));

        let least = trials.iter().map(|trial| trial.bytes).fold(now, u64::min);
        let mut trials = trials.into_iter();
        let enough = trials
            .find(|trial| machine.fits(trial.bytes))
            .map(|trial| trial.widened(index, machine));
        Self {
            changes,
            then: enough.as_ref().map_or(least, |trial| trial.bytes),
            enough: enough.map(|trial| {
                let settings = trial.settings.into_iter();
                settings.map(|(_, setting)| setting).collect()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn machine(gib: u64) -> Machine {
        Machine {
            memory: Some(gib << 30),
            flops: None,
            utilisation: 0.4,
            ranks: 1,
            text: 64,
        }
    }

    fn sft(set: &[&str]) -> RunConfig {
        let set: Vec<String> = set.iter().map(|&it| it.to_owned()).collect();
        RunConfig::load(Path::new("../assets/configs/sft.toml"), &set).expect("a run")
    }

    #[test]
    fn no_smaller_set_of_changes_is_enough() {
        let whole = "stage.sft.micro_batch=32";
        for set in [&[][..], &["training.precision='f32'", whole]] {
            let run = sft(set);
            let trials = (1..256_u32).filter_map(|bits| Trial::new(&run, 0, &machine(1), bits));
            let trials: Vec<Trial> = trials.collect();
            for gib in [4, 12, 24, 40] {
                let machine = machine(gib);
                let fit = trials.iter().filter(|trial| machine.fits(trial.bytes));
                let fewest = fit.map(|trial| trial.settings.len()).min();
                let advice = Advice::of(&run, 0, &machine, u64::MAX);
                let named = advice.enough.as_ref().map(Vec::len);
                assert_eq!(named, fewest, "{gib} GiB, {set:?}: {advice:?}");
                assert_eq!(machine.fits(advice.then), named.is_some());
            }
        }
    }

    #[test]
    fn a_change_that_no_run_can_have_is_not_named() {
        // Nothing but the tower is trained.
        let run = sft(&["stage.sft.freeze=['lang_model.*', 'vision_tokenizer.*']"]);
        let advice = Advice::of(&run, 0, &machine(1), u64::MAX);
        let settings = advice.changes.iter().map(|change| &change.setting);
        let frozen = settings.filter(|it| it.contains("vision_encoder")).count();
        assert_eq!((frozen, advice.enough), (0, None));
    }

    #[test]
    fn patterns_that_freeze_already_stay() {
        let run = sft(&["stage.sft.freeze=['vision_tokenizer.*']"]);
        let mut config = run.clone();
        let setting = Way::FreezeTower.apply(&mut config, 0, 1);
        let expected = r#"stage.sft.freeze = ["vision_tokenizer.*", "vision_encoder.*"]"#;
        assert_eq!(setting.as_deref(), Some(expected));
    }
}
