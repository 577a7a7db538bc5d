//! Which adapters a language model gets.

use crate::language::LanguageConfig;
use crate::linear::{BLOCK, Bits};
use crate::sizes::positive;

/// Which adapters a language model gets.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Columns of `A` and rows of `B`.
    pub rank: usize,
    /// Scale of what the adapters add, divided by the rank.
    pub alpha: f64,
    /// The matrices of each block that get one, of [`AdapterConfig::TARGETS`].
    pub targets: Vec<String>,
    /// What these matrices are held in.
    pub base: Base,
}

/// What the matrices under adapters are held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// As they are.
    #[default]
    Same,
    /// 8 bits a number, in blocks of 32 inputs with a scale each: 8.5 bits in all.
    Int8,
    /// 4 bits a number, in blocks of 32 inputs with a scale each: 4.5 bits in all.
    Int4,
}

impl Base {
    pub(super) fn bits(self) -> Option<Bits> {
        match self {
            Self::Same => None,
            Self::Int8 => Some(Bits::Eight),
            Self::Int4 => Some(Bits::Four),
        }
    }
}

impl AdapterConfig {
    /// The matrices of a decoder block.
    pub const TARGETS: [&str; 4] = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"];

    /// What is wrong with the numbers for a language model, if anything: the key at fault and why.
    ///
    /// # Errors
    ///
    /// The first key at fault, and a clause about it.
    pub fn validate(&self, language: &LanguageConfig) -> Result<(), (&'static str, String)> {
        let hidden = language.hidden_size;
        if self.rank == 0 || self.rank > hidden {
            let reason = format!("must be from 1 to model.language.hidden_size, which is {hidden}");
            return Err(("rank", reason));
        }
        positive("alpha", self.alpha).map_err(|_| ("alpha", "must be more than 0".to_owned()))?;
        let known = Self::TARGETS.join(", ");
        if self.targets.is_empty() {
            return Err(("targets", format!("name at least one of {known}")));
        }
        for (index, target) in self.targets.iter().enumerate() {
            let Some(from) = from(target, language) else {
                let reason = format!("{target:?} is none of the matrices of a block: {known}");
                return Err(("targets", reason));
            };
            if self.targets[..index].contains(target) {
                return Err(("targets", format!("{target} is named twice")));
            }
            if self.base != Base::Same && !from.is_multiple_of(BLOCK) {
                let reason = format!(
                    "int8 and int4 hold {BLOCK} inputs in a block, and {target} has {from}; \
                     leave it out of the targets, or base out"
                );
                return Err(("base", reason));
            }
        }
        Ok(())
    }
}

/// Inputs of a matrix.
fn from(target: &str, language: &LanguageConfig) -> Option<usize> {
    match target {
        "qkv_proj" | "gate_up_proj" => Some(language.hidden_size),
        "o_proj" => Some(language.num_attention_heads * language.head_dim()),
        "down_proj" => Some(language.intermediate_size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AkiConfig;

    #[test]
    fn what_is_wrong_is_named() {
        let tiny = AkiConfig::preset("aki-tiny").unwrap().language;
        let odd = LanguageConfig {
            intermediate_size: 40,
            ..tiny.clone()
        };
        let good = AdapterConfig {
            rank: 4,
            alpha: 8.0,
            targets: AdapterConfig::TARGETS.map(str::to_owned).to_vec(),
            base: Base::Int4,
        };
        assert_eq!(good.validate(&tiny), Ok(()));
        let (key, reason) = good.validate(&odd).unwrap_err();
        assert_eq!(key, "base");
        assert!(reason.contains("down_proj has 40"), "{reason}");
        let with = |change: fn(&mut AdapterConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.validate(&tiny).unwrap_err()
        };
        assert_eq!(with(|it| it.rank = 0).0, "rank");
        assert_eq!(with(|it| it.rank = 193).0, "rank");
        assert_eq!(with(|it| it.alpha = f64::INFINITY).0, "alpha");
        assert_eq!(with(|it| it.alpha = -1.0).0, "alpha");
        assert_eq!(with(|it| it.targets.clear()).0, "targets");
        let (key, reason) = with(|it| it.targets.push("q_proj".to_owned()));
        assert_eq!(key, "targets");
        assert!(reason.contains("\"q_proj\" is none of"), "{reason}");
        let (_, reason) = with(|it| it.targets.push("o_proj".to_owned()));
        assert_eq!(reason, "o_proj is named twice");
    }
}
