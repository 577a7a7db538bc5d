//! Accuracy on a test set, and how likely the true answers were, by kind of question.

use std::collections::{BTreeMap, HashMap};

use aki_data::{Sample, Turn};
use aki_model::Aki;
use burn::data::dataloader::DataLoader;
use burn::train::Interrupter;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::data::{Loader, Samples};
use crate::progress::Progress;
use crate::score::score;

/// How many questions of a kind were answered right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Questions answered exactly right.
    pub right: usize,
    /// Questions asked.
    pub asked: usize,
}

impl Tally {
    /// Share of right answers, 0 to 1; 0 where nothing was asked.
    pub fn accuracy(self) -> f64 {
        if self.asked == 0 {
            0.0
        } else {
            self.right as f64 / self.asked as f64
        }
    }

    fn count(&mut self, right: bool) {
        self.right += usize::from(right);
        self.asked += 1;
    }
}

/// Accuracy by kind of question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    /// By kind, in alphabetical order.
    pub kinds: BTreeMap<String, Tally>,
}

impl Accuracy {
    /// Over all kinds.
    pub fn all(&self) -> Tally {
        let sum = |sum: Tally, tally: &Tally| Tally {
            right: sum.right + tally.right,
            asked: sum.asked + tally.asked,
        };
        self.kinds.values().fold(Tally::default(), sum)
    }
}

/// How likely true answers were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// The sum of their tokens' cross entropies, those of the tokens that end them among them.
    pub loss: f64,
    /// Their tokens.
    pub tokens: usize,
}

impl Likelihood {
    /// The mean number of tokens that would have been as likely; 1 is certainty.
    pub fn perplexity(self) -> f64 {
        (self.loss / self.tokens.max(1) as f64).exp()
    }
}

/// What a model's answers to a test set come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// How many were right.
    pub accuracy: Accuracy,
    /// How likely the true ones were, by kind.
    pub likelihood: BTreeMap<String, Likelihood>,
    /// Each question in the order of asking: whether it was answered right, and how likely the true answer was.
    pub each: Vec<(bool, Likelihood)>,
}

impl Evaluation {
    /// How likely the true answers were, over all kinds.
    pub fn likelihood_of_all(&self) -> Likelihood {
        let sum = |sum: Likelihood, kind: &Likelihood| Likelihood {
            loss: sum.loss + kind.loss,
            tokens: sum.tokens + kind.tokens,
        };
        let kinds = self.likelihood.values();
        kinds.fold(Likelihood::default(), sum)
    }
}

/// Asks every question of the loader, whose pictures are so many. An answer is right if greedy decoding
/// gives exactly the true one and stops. [`Progress`] that is named `what` tells how far it is.
///
/// Returns nothing if the interrupter stopped it.
///
/// # Errors
///
/// [`TrainError::Learner`] if a batch cannot be made.
pub fn evaluate(
    what: &str,
    aki: &Aki,
    loader: &Loader<Samples>,
    pictures: usize,
    interrupter: &Interrupter,
) -> Result<Option<Evaluation>, TrainError> {
    let progress = Progress::new(what, Some(pictures as u64), "pictures");
    let evaluation = evaluate_beside(&progress, aki, loader, interrupter);
    progress.finish();
    evaluation
}

fn evaluate_beside(
    progress: &Progress,
    aki: &Aki,
    loader: &Loader<Samples>,
    interrupter: &Interrupter,
) -> Result<Option<Evaluation>, TrainError> {
    let mut evaluation = Evaluation::default();
    let mut batches = loader.iter();
    while let Some(batch) = batches.next() {
        if interrupter.should_stop() {
            return Ok(None);
        }
        let batch = batch.map_err(|error| TrainError::Learner(error.to_string()))?;
        let scores = score(aki, &batch, 1.0);
        let losses = scores.tokens.losses.clone().into_data();
        let mut losses = losses.iter::<f64>();
        let (documents, exact) = (&batch.batch.documents, scores.exact());
        for ((document, right), &labels) in documents.iter().zip(exact).zip(&scores.document_labels)
        {
            let kind = || document.kind.clone();
            let tally = evaluation.accuracy.kinds.entry(kind()).or_default();
            tally.count(right);
            let own = Likelihood {
                loss: losses.by_ref().take(labels).sum(),
                tokens: labels,
            };
            let likelihood = evaluation.likelihood.entry(kind()).or_default();
            likelihood.loss += own.loss;
            likelihood.tokens += own.tokens;
            evaluation.each.push((right, own));
        }
        progress.set(batches.progress().items_processed as u64);
    }
    Ok(Some(evaluation))
}

/// What one gets by answering every question with the most frequent answer in `train` to those that
/// are alike `by` something: their kind, or their text. Of equally frequent answers the alphabetically
/// first is taken; a text that `train` has not is answered by its kind.
pub fn majority(train: &[Sample], test: &[Sample], by: fn(&Turn) -> &str) -> Accuracy {
    let mut counts: HashMap<&str, BTreeMap<&str, usize>> = HashMap::new();
    for turn in train.iter().flat_map(|sample| &sample.turns) {
        for alike in [&turn.kind, by(turn)] {
            let answers = counts.entry(alike).or_default();
            *answers.entry(&turn.answer).or_default() += 1;
        }
    }
    let favourite = |alike: &str| {
        let answers = counts.get(alike)?;
        let most = answers.values().max()?;
        answers
            .iter()
            .find(|(_, count)| *count == most)
            .map(|(answer, _)| *answer)
    };
    let mut accuracy = Accuracy::default();
    for turn in test.iter().flat_map(|sample| &sample.turns) {
        let answer = favourite(by(turn)).or_else(|| favourite(&turn.kind));
        let right = answer == Some(turn.answer.as_str());
        accuracy
            .kinds
            .entry(turn.kind.clone())
            .or_default()
            .count(right);
    }
    accuracy
}

#[cfg(test)]
mod tests {
    use aki_data::scenes::{Scenes, Split};

    use super::*;

    fn sample(turns: &[(&str, &str)]) -> Sample {
        let turns = turns.iter().map(|(kind, answer)| Turn {
            question: String::new(),
            answer: (*answer).to_owned(),
            kind: (*kind).to_owned(),
        });
        Sample {
            key: String::new(),
            shard: std::path::PathBuf::new(),
            picture: Vec::new(),
            caption: None,
            turns: turns.collect(),
        }
    }

    #[test]
    fn the_majority_is_counted_by_kind() {
        let train = [sample(&[
            ("color", "red"),
            ("color", "blue"),
            ("color", "blue"),
            ("yes/no", "no"),
        ])];
        let test = [sample(&[
            ("color", "blue"),
            ("color", "red"),
            ("yes/no", "no"),
            ("shape", "circle"),
        ])];
        let accuracy = majority(&train, &test, |turn| &turn.kind);
        assert_eq!(accuracy.kinds["color"], Tally { right: 1, asked: 2 });
        assert_eq!(accuracy.kinds["yes/no"], Tally { right: 1, asked: 1 });
        assert_eq!(accuracy.kinds["shape"], Tally { right: 0, asked: 1 });
        assert_eq!(accuracy.all(), Tally { right: 2, asked: 4 });
        assert!((accuracy.all().accuracy() - 0.5).abs() < 1e-12);
    }

    /// Chance is 1/6 for colours, 1/4 for shapes and counts, 1/2 for yes and no. Some 570 questions of a
    /// kind are asked, so that half of them scatter by 2 points.
    #[test]
    fn who_does_not_look_at_scenes_gets_what_chance_gives() {
        let samples = |split, count| -> Vec<Sample> {
            let scenes = Scenes {
                seed: 1,
                split,
                questions: 4,
            };
            (0..count).map(|index| scenes.sample(index)).collect()
        };
        let (train, test) = (samples(Split::Train, 4000), samples(Split::Test, 1000));
        let by_kind = majority(&train, &test, |turn| &turn.kind);
        let by_text = majority(&train, &test, |turn| &turn.question);
        for (kind, answers) in [
            ("beside", 6.0),
            ("color", 6.0),
            ("count", 4.0),
            ("existence", 2.0),
            ("relation", 2.0),
            ("shape", 4.0),
        ] {
            for accuracy in [&by_kind, &by_text] {
                let tally = accuracy.kinds[kind];
                assert!(tally.asked > 500, "{kind}: {tally:?}");
                let away = tally.accuracy() - 1.0 / answers;
                assert!(away.abs() < 0.05, "{kind}: {tally:?}");
            }
        }
        assert_eq!(by_kind.kinds.len(), 6);
    }
}
