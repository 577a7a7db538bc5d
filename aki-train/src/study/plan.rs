//! The runs of a study.

use std::path::PathBuf;

use aki_data::{Sample, ShardContents, read_shards};

use super::rows::{Phase, Row};
use super::{DataSet, Study, measure};
use crate::TrainError;
use crate::config::{RunConfig, StageConfig, StageTarget};

/// A run of a study.
pub(super) struct StudyRun {
    pub data: DataSet,
    pub seed: u64,
    pub part: Part,
    pub config: RunConfig,
    /// Shards with the test questions. The study asks them, in each order that a model knows; the run itself
    /// has none.
    test: Vec<PathBuf>,
}

/// What a run of a study does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Pre-training on captions, for all rows that have it in common.
    Pretraining(Phase),
    /// Tuning on questions, from there.
    Tuning(Row),
}

impl StudyRun {
    /// Its folder below the study's, which is its name.
    pub fn name(&self) -> String {
        name(self.data, self.seed, self.part)
    }

    /// Optimizer steps of its stages.
    pub fn steps(&self) -> usize {
        self.config.stage.iter().map(|stage| stage.steps).sum()
    }

    /// What a tuned model is asked.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if it cannot be read.
    pub fn test_samples(&self) -> Result<Vec<Sample>, TrainError> {
        let ShardContents {
            mut samples,
            skipped,
        } = read_shards(&self.test)?;
        // Asked fewer questions, a model is not to be compared.
        if let Some(skipped) = skipped.first() {
            return Err(TrainError::Request(format!(
                "sample {} of {}, which has test questions, is broken: {}",
                skipped.key,
                skipped.shard.display(),
                skipped.reason
            )));
        }
        if self.config.evaluation.samples > 0 {
            samples.truncate(self.config.evaluation.samples);
        }
        Ok(samples)
    }

    /// Whether it is trained, and measured if it is to be.
    pub fn is_done(&self) -> bool {
        let run_dir = &self.config.run_dir;
        let measured = || run_dir.join(measure::FILE).exists();
        run_dir.join("report.json").exists()
            && (matches!(self.part, Part::Pretraining(_)) || measured())
    }
}

fn name(data: DataSet, seed: u64, part: Part) -> String {
    let part = match part {
        Part::Pretraining(phase) => format!("pretraining-{}", phase.name()),
        Part::Tuning(row) => row.to_string(),
    };
    format!("{data}/seed-{seed}/{part}")
}

/// All runs of a study, each after the one that it begins with. What rows have in common is trained once.
///
/// # Errors
///
/// [`TrainError`] if the base file or a setting makes no run.
pub(super) fn plan(study: &Study) -> Result<Vec<StudyRun>, TrainError> {
    let base = base(study)?;
    let mut runs = Vec::new();
    for &data in &study.data {
        for seed in 1..=study.seeds {
            let of = |part: Part, start: Option<Part>| -> Result<StudyRun, TrainError> {
                let folder = |part: Part| study.out.join("runs").join(name(data, seed, part));
                let mut config = RunConfig {
                    run_dir: folder(part),
                    seed,
                    start: start.map(folder),
                    stage: stages(&base, part)?,
                    ..base.clone()
                };
                data.lay_into(&mut config, &study.out);
                let test = std::mem::take(&mut config.data.test);
                config.validate()?;
                Ok(StudyRun {
                    data,
                    seed,
                    part,
                    config,
                    test,
                })
            };
            let mut phases: Vec<Phase> = Vec::new();
            for row in &study.rows {
                let phase = row.pretraining();
                if !phases.contains(&phase) {
                    phases.push(phase);
                    runs.push(of(Part::Pretraining(phase), None)?);
                }
            }
            for &row in &study.rows {
                let start = Part::Pretraining(row.pretraining());
                runs.push(of(Part::Tuning(row), Some(start))?);
            }
        }
    }
    Ok(runs)
}

/// The base file with the study's settings.
fn base(study: &Study) -> Result<RunConfig, TrainError> {
    let base = RunConfig::load(&study.base, &study.settings)?;
    let plain = RunConfig::load(&study.base, &[])?;
    if decided(&base) != decided(&plain) {
        return Err(TrainError::Request(
            "--set cannot change what the study itself decides: run_dir, seed, start, data.train, data.test, \
             text.tokenizer, and each stage's name, target, attention and order; see --out, --seeds, --data and --rows"
                .to_owned(),
        ));
    }
    Ok(base)
}

/// What rows, data sets and seeds decide, in a form to compare.
fn decided(config: &RunConfig) -> String {
    let RunConfig {
        run_dir,
        seed,
        start,
        text,
        data,
        stage,
        ..
    } = config;
    let kept = |stage: &StageConfig| {
        let StageConfig {
            name,
            target,
            attention,
            order,
            ..
        } = stage;
        format!("{name} {target:?} {attention:?} {order:?}")
    };
    let stages: Vec<String> = stage.iter().map(kept).collect();
    let files = (&text.tokenizer, &data.train, &data.test);
    let run_dir = run_dir.display();
    format!("{run_dir} {seed} {start:?} {files:?} {stages:?}")
}

fn stages(base: &RunConfig, part: Part) -> Result<Vec<StageConfig>, TrainError> {
    let (phase, target) = match part {
        Part::Pretraining(phase) => (phase, StageTarget::Captions),
        Part::Tuning(row) => (row.tuning(), StageTarget::Questions),
    };
    let whole = base.stage.iter().filter(|stage| stage.target == target);
    let stages: Vec<StageConfig> = whole.flat_map(|whole| phase.stages(whole)).collect();
    // A phase may be left out, but not one of its orders alone.
    let left_out = stages.iter().filter(|stage| stage.steps == 0).count();
    if left_out > 0 && left_out < stages.len() {
        return Err(TrainError::Request(format!(
            "the orders of {} share {} steps, of which one of them gets none",
            phase.name(),
            stages.iter().map(|stage| stage.steps).sum::<usize>()
        )));
    }
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aki_data::PictureOrder;

    use super::*;

    fn study(settings: &[&str]) -> Study {
        Study {
            rows: Row::ALL.to_vec(),
            data: DataSet::ALL.to_vec(),
            seeds: 2,
            base: "../assets/configs/table1/small.toml".into(),
            settings: settings.iter().map(|&it| it.to_owned()).collect(),
            out: "/study".into(),
        }
    }

    #[test]
    fn what_rows_have_in_common_is_trained_once() {
        let runs = plan(&study(&[])).expect("runs");
        let names: Vec<String> = runs.iter().map(StudyRun::name).collect();
        let expected = [
            "pretraining-causal",
            "pretraining-cca",
            "pretraining-text-image",
            "pretraining-dual",
            "causal",
            "cca",
            "dot-no-ti-pt",
            "dot-no-it-pt",
            "dot-no-ti-sft",
            "dot-no-it-sft",
            "dot",
            "mma",
        ]
        .map(|part| format!("easy-vqa/seed-1/{part}"));
        assert_eq!(names[..12], expected);
        assert_eq!(names.len(), 2 * 2 * 12);
        assert_eq!(names[47], "scenes/seed-2/mma");
        // Each begins where its row's pre-training ended, which comes before it.
        for (index, run) in runs.iter().enumerate() {
            let Part::Tuning(row) = run.part else {
                assert_eq!(run.config.start, None);
                continue;
            };
            let start = runs[..index].iter().find(|start| {
                (start.data, start.seed) == (run.data, run.seed)
                    && start.part == Part::Pretraining(row.pretraining())
            });
            let start = start.map(|start| start.config.run_dir.clone());
            assert!(start.is_some());
            assert_eq!(run.config.start, start, "{}", run.name());
        }
    }

    #[test]
    fn runs_differ_in_what_their_rows_say_alone() {
        let runs = plan(&study(&["model.resampler.num_latents=9"])).expect("runs");
        let whole = |part: fn(&Part) -> bool| -> usize {
            let steps = runs
                .iter()
                .filter(|run| part(&run.part))
                .map(StudyRun::steps);
            let steps: std::collections::BTreeSet<usize> = steps.collect();
            assert_eq!(steps.len(), 1, "{steps:?}");
            steps.into_iter().sum()
        };
        whole(|part| matches!(part, Part::Pretraining(_)));
        whole(|part| matches!(part, Part::Tuning(_)));
        for run in &runs {
            assert_eq!(run.config.model, runs[0].config.model);
            assert_eq!(run.config.model.media_len(), 9);
            assert_eq!(run.config.seed, run.seed);
            let scenes = Path::new("/study/scenes").to_owned();
            assert_eq!(
                run.config.data.train[0].starts_with(&scenes),
                run.data == DataSet::Scenes
            );
        }
        let dot = runs.iter().find(|run| run.part == Part::Tuning(Row::Dot));
        let stages = &dot.expect("a row").config.stage;
        assert_eq!(stages[0].name, "questions-image-text");
        assert_eq!(stages[1].order, PictureOrder::TextImage);
    }

    #[test]
    fn what_the_study_decides_cannot_be_set() {
        for setting in [
            "seed=3",
            "run_dir=x",
            "stage.questions.attention=mma",
            "data.test=[]",
        ] {
            let error = plan(&study(&[setting])).err().expect(setting).to_string();
            assert!(error.starts_with("--set cannot change what"), "{error}");
        }
        let error = plan(&study(&[
            "stage.questions.steps=1",
            "stage.questions.optimizer.warmup_steps=0",
        ]));
        let error = error.err();
        let error = error.expect("one step for two orders").to_string();
        assert_eq!(
            error,
            "the orders of dual share 1 steps, of which one of them gets none"
        );
        let error = plan(&study(&["model.resampler.num_latents=5"])).err();
        let error = error.expect("no square").to_string();
        assert!(
            error.contains("stage.captions.attention: cca needs"),
            "{error}"
        );
    }
}
