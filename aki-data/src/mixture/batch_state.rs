//! Where a stream of batches stands, to be written down.

use serde::{Deserialize, Serialize};

use super::config::BatchConfig;
use super::state::MixtureState;
use crate::DataError;
use crate::fingerprint::fnv1a;

/// What it takes to go on after a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchState {
    /// Where the mixture stands; with packing, before the samples that are packed together.
    pub mixture: MixtureState,
    /// Rows of those samples that are used up; 0 without packing.
    pub rows: usize,
    /// Tokens of a packed row, as in [`BatchConfig::packing`].
    pub packing: Option<usize>,
    /// Fingerprint of the lengths of the samples that are packed together, by which they are
    /// known again; 0 if no row of them is used up.
    pub window: u64,
}

impl BatchState {
    /// Used rows of the first window and its fingerprint, if the state fits `config`.
    pub(super) fn used(&self, config: &BatchConfig) -> Result<Option<(usize, u64)>, DataError> {
        let fault = |reason: String| Err(DataError::Resume { reason });
        let told = |packing: Option<usize>| match packing {
            Some(tokens) => format!("rows of {tokens} tokens"),
            None => "no packing".to_owned(),
        };
        if self.packing != config.packing {
            return fault(format!(
                "it was written with {}, and this run has {}; resume with the same packing",
                told(self.packing),
                told(config.packing)
            ));
        }
        match (self.rows, self.packing) {
            (0, _) => Ok(None),
            (rows, Some(_)) => Ok(Some((rows, self.window))),
            (rows, None) => fault(format!(
                "{rows} packed rows cannot be used up without packing; the state is damaged"
            )),
        }
    }
}

/// Of the lengths of the samples that are packed together, which must be the same when
/// it goes on within them.
pub(super) fn fingerprint(lengths: &[usize]) -> u64 {
    fnv1a(lengths.iter().flat_map(|&len| (len as u64).to_le_bytes()))
}

/// What is said if they are not.
pub(super) fn others(used: usize, rows: usize) -> DataError {
    DataError::Resume {
        reason: format!(
            "the samples that were packed together are others now: {used} rows of them were used \
             up, and now they fill {rows} in another way; put data, tokenizer and template back \
             as they were, or begin anew"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_their_order_make_the_fingerprint() {
        let prints = [&[][..], &[0], &[1, 2], &[2, 1], &[1, 2, 0], &[258]].map(fingerprint);
        let mut different = prints.to_vec();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), prints.len());
        // States that were written must be known again.
        assert_eq!(prints[2], 0x7717_9803_63c8_e066);
    }
}
