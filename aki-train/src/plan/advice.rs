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
    /// Those that together make it fit, the least of a change to what is learned first; none if all of them
    /// do not.
    pub enough: Option<Vec<String>>,
    /// Bytes at the peak with them, or with all.
    pub then: u64,
}

/// A way to need less memory.
#[derive(Clone, Copy)]
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
            Self::HalfPrecision => (training.precision == Precision::F32).then(|| {
                training.precision = Precision::Bf16;
                "training.precision = \"bf16\"".to_owned()
            }),
            Self::FreezeTower => {
                let pattern = "vision_encoder.*".to_owned();
                (!stage.freeze.contains(&pattern)).then(|| {
                    stage.freeze.push(pattern);
                    format!("stage.{name}.freeze = [\"vision_encoder.*\"]")
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

impl Advice {
    pub(super) fn of(config: &RunConfig, index: usize, machine: &Machine) -> Self {
        let bytes = |config: &RunConfig| peak(config, &config.stage[index], machine);
        let now = bytes(config);
        let mut changes = Vec::new();
        for way in WAYS {
            let mut changed = config.clone();
            if let Some(setting) = way.apply(&mut changed, index, machine.ranks) {
                let saves = now.saturating_sub(bytes(&changed));
                changes.push(Change { setting, saves });
            }
        }
        changes.retain(|change| change.saves > 0);
        changes.sort_by_key(|change| std::cmp::Reverse(change.saves));

        let mut changed = config.clone();
        let (mut then, mut enough) = (now, Vec::new());
        for way in WAYS {
            if machine.fits(then) {
                break;
            }
            let mut further = changed.clone();
            let Some(setting) = way.apply(&mut further, index, machine.ranks) else {
                continue;
            };
            let smaller = bytes(&further);
            if smaller < then {
                (changed, then) = (further, smaller);
                enough.push((way, setting));
            }
        }
        let fits = machine.fits(then);
        // As many rows at a time as there is room for.
        for (way, setting) in &mut enough {
            if fits && matches!(way, Way::MicroBatch) {
                let mut rows = 2;
                while rows < config.stage[index].batch {
                    changed.stage[index].micro_batch = Some(rows);
                    let larger = bytes(&changed);
                    if !machine.fits(larger) {
                        break;
                    }
                    then = larger;
                    *setting = format!("stage.{}.micro_batch = {rows}", config.stage[index].name);
                    rows *= 2;
                }
            }
        }
        let settings = enough.into_iter().map(|(_, setting)| setting).collect();
        Self {
            changes,
            enough: fits.then_some(settings),
            then,
        }
    }
}
