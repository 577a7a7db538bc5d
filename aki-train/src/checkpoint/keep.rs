//! Which checkpoints of a stage stay.

use std::collections::{BTreeMap, BTreeSet};

use super::saved::Checkpoint;
use crate::log::{Record, Split};

/// What the run file asks for, and when it can be decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// So many of the newest.
    pub(super) last: usize,
    /// So many with the lowest validation loss.
    pub(super) best: usize,
    /// Steps between evaluations, and of the whole stage; none if nothing is evaluated.
    pub(super) evaluated: Option<(usize, usize)>,
}

impl Keep {
    /// Those of `steps` that nothing keeps, where `losses` are known.
    pub(super) fn superfluous(
        self,
        steps: &BTreeSet<usize>,
        losses: &BTreeMap<usize, f64>,
    ) -> Vec<usize> {
        let newest = steps.iter().rev().take(self.last);
        let best = ranked(steps, losses).into_iter().take(self.best);
        let kept: BTreeSet<usize> = newest.copied().chain(best).collect();
        let measured = losses.last_key_value().map_or(0, |(step, _)| *step);
        // An evaluation comes after its checkpoint; until its loss is known it may be the best.
        let awaited = |step: usize| {
            let due = |(every, all)| step.is_multiple_of(every) || step == all;
            self.best > 0 && step > measured && self.evaluated.is_some_and(due)
        };
        let goes = |step: &usize| !kept.contains(step) && !awaited(*step);
        steps.iter().copied().filter(goes).collect()
    }
}

/// The steps with a known loss, best first; of two that are as good the newer.
fn ranked(steps: &BTreeSet<usize>, losses: &BTreeMap<usize, f64>) -> Vec<usize> {
    let known = |step: &usize| Some((*losses.get(step)?, *step));
    let mut known: Vec<(f64, usize)> = steps.iter().filter_map(known).collect();
    known.retain(|(loss, _)| !loss.is_nan());
    known.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    known.into_iter().map(|(_, step)| step).collect()
}

/// The validation losses of a stage by step.
pub(super) fn losses(stage: &str, records: &[Record]) -> BTreeMap<usize, f64> {
    let valid = |record: &&Record| record.split == Split::Valid && record.stage == stage;
    let valid = records.iter().filter(valid);
    valid.map(|record| (record.step, record.loss)).collect()
}

/// Which of a stage's checkpoints has the lowest validation loss in the logs, and that loss.
pub(crate) fn best(
    checkpoints: &[Checkpoint],
    stage: &str,
    records: &[Record],
) -> Option<(usize, f64)> {
    let losses = losses(stage, records);
    let steps = checkpoints
        .iter()
        .map(|checkpoint| checkpoint.step)
        .collect();
    let step = *ranked(&steps, &losses).first()?;
    let index = checkpoints
        .iter()
        .position(|checkpoint| checkpoint.step == step)?;
    Some((index, losses[&step]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep {
        last: 2,
        best: 1,
        evaluated: Some((2, 9)),
    };

    fn goes(keep: Keep, steps: &[usize], losses: &[(usize, f64)]) -> Vec<usize> {
        let (steps, losses) = (
            steps.iter().copied().collect(),
            losses.iter().copied().collect(),
        );
        keep.superfluous(&steps, &losses)
    }

    #[test]
    fn the_newest_and_the_best_stay() {
        let steps = [2, 4, 6, 8];
        let losses = [(2, 3.0), (4, 1.0), (6, 2.0), (8, 2.5)];
        assert_eq!(goes(KEEP, &steps, &losses), [2]);
        assert_eq!(goes(Keep { best: 0, ..KEEP }, &steps, &losses), [2, 4]);
        assert_eq!(goes(Keep { last: 1, ..KEEP }, &steps, &losses), [2, 6]);
        assert_eq!(goes(Keep { best: 9, ..KEEP }, &steps, &losses), [0; 0]);
    }

    #[test]
    fn one_whose_loss_is_awaited_stays() {
        let keep = Keep { last: 1, ..KEEP };
        assert_eq!(goes(keep, &[2, 3, 4], &[]), [3]);
        assert_eq!(goes(keep, &[2, 3, 4], &[(2, 1.0)]), [3]);
        // The evaluation of 2 was cut off and never made up for.
        assert_eq!(goes(keep, &[2, 3, 4], &[(4, 1.0)]), [2, 3]);
        let unmeasured = Keep {
            evaluated: None,
            ..keep
        };
        assert_eq!(goes(unmeasured, &[2, 3, 4], &[]), [2, 3]);
        let keep = Keep { best: 0, ..keep };
        assert_eq!(goes(keep, &[2, 3, 4], &[]), [2, 3]);
    }

    #[test]
    fn a_loss_that_is_no_number_is_never_the_best() {
        let steps = [2, 4, 6, 8];
        let losses = [(2, f64::NAN), (4, 5.0), (6, f64::INFINITY)];
        assert_eq!(goes(KEEP, &steps, &losses), [2]);
        assert_eq!(ranked(&steps.into(), &losses.into()), [4, 6]);
        assert_eq!(ranked(&steps.into(), &[(2, 1.0), (4, 1.0)].into()), [4, 2]);
    }
}
