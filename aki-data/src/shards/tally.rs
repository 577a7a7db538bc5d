//! Counts skipped samples, and stops when they are too many.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::sample::{SkipReason, Skipped};
use crate::DataError;

/// Samples to look at before a share means something.
const ENOUGH: u64 = 200;

/// Samples to look at before none is believed to be good.
const HOPELESS: u64 = 100;

/// Damaged shards from which on their share means something.
const ENOUGH_SHARDS: usize = 3;

/// How many samples were good and bad, the bad ones by reason.
///
/// A shard that is damaged or was given up is one bad sample, whatever it would have held. So
/// shards are counted by themselves too, each once however often it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    name: String,
    max_bad_share: f64,
    good: u64,
    bad: BTreeMap<&'static str, u64>,
    /// The shards seen, with what they are damaged by.
    shards: HashMap<PathBuf, Option<&'static str>>,
    last: Option<String>,
}

impl Tally {
    /// A tally of what errors call `name`, such as "samples of vqa". It stops when more than
    /// `max_bad_share` of them, 0 to 1, is bad.
    pub fn new(name: impl Into<String>, max_bad_share: f64) -> Self {
        Self {
            name: name.into(),
            max_bad_share,
            good: 0,
            bad: BTreeMap::new(),
            shards: HashMap::new(),
            last: None,
        }
    }

    /// Counts a good sample of a shard.
    pub fn good(&mut self, shard: &Path) {
        self.good += 1;
        self.see(shard, None);
    }

    /// Counts a bad one.
    ///
    /// # Errors
    /// [`DataError::TooManyBroken`]
    /// - if 200 samples or more were seen and too many are bad;
    /// - if 100 were and none is good: then an endless stream would never give one;
    /// - if 3 shards or more are damaged, and they are too many of the shards seen.
    pub fn bad(&mut self, skipped: &Skipped) -> Result<(), DataError> {
        let kind = skipped.reason.kind();
        *self.bad.entry(kind).or_default() += 1;
        self.last = Some(format!(
            "{:?} in {}: {}",
            skipped.key,
            skipped.shard.display(),
            skipped.reason
        ));
        let of_shard = matches!(
            skipped.reason,
            SkipReason::Tar { .. } | SkipReason::Remote { .. }
        );
        self.see(&skipped.shard, of_shard.then_some(kind));
        if of_shard {
            self.judge_shards()?;
        }
        if self.good == 0 && self.seen() >= HOPELESS {
            return Err(self.too_many());
        }
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

    /// Judges however few samples there were, at the end of the data.
    ///
    /// # Errors
    /// [`DataError::TooManyBroken`] if too many are bad.
    pub fn finish(&self) -> Result<(), DataError> {
        match self.is_too_much(self.skipped(), self.seen()) {
            true => Err(self.too_many()),
            false => Ok(()),
        }
    }

    fn see(&mut self, shard: &Path, damage: Option<&'static str>) {
        match self.shards.get_mut(shard) {
            Some(known) => *known = known.or(damage),
            None => {
                self.shards.insert(shard.to_owned(), damage);
            }
        }
    }

    fn judge_shards(&self) -> Result<(), DataError> {
        let mut damaged: BTreeMap<&'static str, u64> = BTreeMap::new();
        for kind in self.shards.values().flatten() {
            *damaged.entry(kind).or_default() += 1;
        }
        let (bad, seen) = (damaged.values().sum(), self.shards.len() as u64);
        if bad < ENOUGH_SHARDS as u64 || !self.is_too_much(bad, seen) {
            return Ok(());
        }
        Err(self.error(format!("shards with {}", self.name), bad, seen, &damaged))
    }

    fn is_too_much(&self, bad: u64, seen: u64) -> bool {
        bad as f64 > self.max_bad_share * seen as f64
    }

    fn too_many(&self) -> DataError {
        self.error(self.name.clone(), self.skipped(), self.seen(), &self.bad)
    }

    fn error(
        &self,
        name: String,
        bad: u64,
        seen: u64,
        reasons: &BTreeMap<&'static str, u64>,
    ) -> DataError {
        let reasons = reasons.iter().map(|(kind, n)| format!("{kind} {n}"));
        DataError::TooManyBroken {
            name,
            bad,
            seen,
            max_bad_share: self.max_bad_share,
            reasons: reasons.collect::<Vec<_>>().join(", "),
            last: self.last.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(shard: &str, reason: SkipReason) -> Skipped {
        Skipped {
            shard: shard.into(),
            key: "k".to_owned(),
            reason,
        }
    }

    #[test]
    fn too_large_a_share_is_an_error_once_enough_were_seen() {
        let mut tally = Tally::new("samples of mine", 0.1);
        let skipped = skipped("s.tar", SkipReason::NoPicture);
        for _ in 0..19 {
            tally.bad(&skipped).expect("too few to judge");
        }
        assert!(tally.finish().is_err());
        for _ in 0..180 {
            tally.good(Path::new("s.tar"));
        }
        tally.bad(&skipped).expect("20 of 200");
        let error = tally.bad(&skipped).expect_err("21 of 201");
        assert_eq!(
            error.to_string(),
            "21 of 201 samples of mine cannot be used (no picture 21), more than the share of 0.1 \
             allowed; the last was \"k\" in s.tar: no picture: a .jpg, .png, .webp, .gif, .bmp or \
             .tif member; mend the data, or raise the share"
        );
        assert!(Tally::new("entries", 0.0).finish().is_ok());
        let mut hopeless = Tally::new("entries", 1.0);
        let told = (0..200).position(|_| hopeless.bad(&skipped).is_err());
        assert_eq!(told, Some(99));
    }

    #[test]
    fn damaged_shards_are_counted_as_shards() {
        let damage = |shard: &str| {
            let reason = "cut off".to_owned();
            skipped(shard, SkipReason::Tar { reason })
        };
        let mut tally = Tally::new("samples of mine", 0.1);
        for shard in 0..29 {
            for _ in 0..1_000 {
                tally.good(Path::new(&format!("{shard}.tar")));
            }
        }
        for shard in ["0.tar", "1.tar", "1.tar", "29.tar"] {
            tally.bad(&damage(shard)).expect("3 of 30 at most");
        }
        // What came of a damaged shard before makes it no whole one, nor does a bad sample of it.
        tally.good(Path::new("1.tar"));
        tally
            .bad(&skipped("1.tar", SkipReason::NoPicture))
            .expect("no shard's fault");
        let reason = "gone".to_owned();
        let gone = skipped("30.tar", SkipReason::Remote { reason });
        let error = tally.bad(&gone).expect_err("4 of 31").to_string();
        assert_eq!(
            error,
            "4 of 31 shards with samples of mine cannot be used (damaged shard 3, remote store \
             failed 1), more than the share of 0.1 allowed; the last was \"k\" in 30.tar: the \
             shard cannot be read on: gone; mend the data, or raise the share"
        );
        // Two may be all there are, and a share of 1 allows any.
        let mut few = Tally::new("samples of mine", 0.0);
        for shard in ["0.tar", "1.tar"] {
            few.bad(&damage(shard)).expect("too few to judge");
        }
        assert!(few.bad(&damage("2.tar")).is_err());
        let mut any = Tally::new("samples of mine", 1.0);
        for shard in ["0.tar", "1.tar", "2.tar", "3.tar"] {
            any.bad(&damage(shard)).expect("allowed");
        }
    }
}
