//! Counts skipped samples, and stops when they are too many.

use std::collections::BTreeMap;

use super::sample::Skipped;
use crate::DataError;

/// Samples to look at before a share means something.
const ENOUGH: u64 = 200;

/// How many samples were good and bad, the bad ones by reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    max_bad_share: f64,
    good: u64,
    bad: BTreeMap<&'static str, u64>,
    last: Option<String>,
}

impl Tally {
    /// A tally that stops when more than `max_bad_share` of the samples, 0 to 1, is bad.
    pub fn new(max_bad_share: f64) -> Self {
        Self {
            max_bad_share,
            good: 0,
            bad: BTreeMap::new(),
            last: None,
        }
    }

    /// Counts a good sample.
    pub fn good(&mut self) {
        self.good += 1;
    }

    /// Counts a bad one.
    ///
    /// # Errors
    /// [`DataError::TooManyBroken`] if 200 samples or more were seen and too many are bad.
    pub fn bad(&mut self, skipped: &Skipped) -> Result<(), DataError> {
        *self.bad.entry(skipped.reason.kind()).or_default() += 1;
        self.last = Some(format!(
            "{:?} in {}: {}",
            skipped.key,
            skipped.shard.display(),
            skipped.reason
        ));
        if self.seen() < ENOUGH {
            return Ok(());
        }
        self.finish()
    }

    /// Samples counted.
    pub fn seen(&self) -> u64 {
        self.good + self.skipped()
    }

    /// Bad samples counted.
    pub fn skipped(&self) -> u64 {
        self.bad.values().sum()
    }

    /// Bad samples by [`SkipReason::kind`](super::SkipReason::kind).
    pub fn by_reason(&self) -> &BTreeMap<&'static str, u64> {
        &self.bad
    }

    /// Judges however few samples there were, at the end of the data.
    ///
    /// # Errors
    /// [`DataError::TooManyBroken`] if too many are bad.
    pub fn finish(&self) -> Result<(), DataError> {
        if self.skipped() as f64 <= self.max_bad_share * self.seen() as f64 {
            return Ok(());
        }
        let reasons = self.bad.iter().map(|(kind, n)| format!("{kind} {n}"));
        Err(DataError::TooManyBroken {
            bad: self.skipped(),
            seen: self.seen(),
            max_bad_share: self.max_bad_share,
            reasons: reasons.collect::<Vec<_>>().join(", "),
            last: self.last.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::SkipReason;
    use super::*;

    #[test]
    fn too_large_a_share_is_an_error_once_enough_were_seen() {
        let mut tally = Tally::new(0.1);
        let skipped = Skipped {
            shard: "s.tar".into(),
            key: "k".to_owned(),
            reason: SkipReason::NoPicture,
        };
        for _ in 0..19 {
            tally.bad(&skipped).expect("too few to judge");
        }
        assert!(tally.finish().is_err());
        for _ in 0..180 {
            tally.good();
        }
        tally.bad(&skipped).expect("20 of 200");
        let error = tally.bad(&skipped).expect_err("21 of 201");
        assert_eq!(
            error.to_string(),
            "21 of 201 samples cannot be used (no picture 21), more than the share of 0.1 allowed; \
             the last was \"k\" in s.tar: no .png, .jpg or .jpeg member; mend the data, or raise \
             the share"
        );
        assert!(Tally::new(0.0).finish().is_ok());
    }
}
