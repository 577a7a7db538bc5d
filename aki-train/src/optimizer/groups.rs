//! Which of a network's parameters a stage trains, and how.

use aki_model::Aki;
use aki_model::weights::{Parameter, parameters};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::tensor::Tensor;

use super::adamw;
use super::adamw::AdamW;
use super::pattern::{fits, nearest};
use crate::TrainError;
use crate::config::{Moments, OptimizerConfig, StageConfig};
use crate::learner::LearningRate;

/// The field of [`Trainee`](crate::learner::Trainee) that the network is in: what its parameters'
/// paths begin with for the optimizer.
const FIELD: &str = "aki";

/// The language model, and what the tables of added tokens are called in it.
const LANGUAGE: &str = "lang_model.";
const ADDED: &str = ".additional_";

/// Nothing is computed with these, so they get no gradient.
const UNUSED: &str = "vision_encoder.head.";

/// Whether a parameter is trained where nothing is frozen. Beside adapters, only they and the rows of added
/// tokens are in the language model.
pub(crate) fn learns(parameter: &Parameter, beside_adapters: bool) -> bool {
    let Parameter { path, adapter, .. } = parameter;
    let held = beside_adapters && path.starts_with(LANGUAGE) && !path.contains(ADDED);
    *adapter || !(held || path.starts_with(UNUSED))
}

/// Which of a network's parameters a stage trains, and how.
pub struct Groups {
    optimizer: OptimizerConfig,
    steps: usize,
    frozen: Vec<ParamId>,
    /// Paths as the optimizer knows them.
    no_decay: Vec<String>,
    /// Factors of the learning rate, and whose.
    rates: Vec<(f64, Vec<String>)>,
}

/// A parameter under all of its names.
struct Named {
    id: ParamId,
    /// In the trainee.
    path: String,
    /// In the network.
    name: String,
    /// In a checkpoint, which may hold it in parts.
    parts: Vec<String>,
    /// Whether it is trained unless it is frozen.
    learns: bool,
}

impl Groups {
    /// Finds the parameters that the patterns of a stage mean. They are held against the names that
    /// parameters have in a checkpoint, and against our own.
    ///
    /// # Errors
    ///
    /// [`TrainError::Setting`] if a pattern fits no parameter, or a part of one alone, or nothing is
    /// left to train.
    pub fn new(stage: &StageConfig, aki: &Aki) -> Result<Self, TrainError> {
        let all = named(aki);
        let key = |key: &str| format!("stage.{}.{key}", stage.name);
        let StageConfig {
            freeze, optimizer, ..
        } = stage;
        let frozen: Vec<ParamId> = found(&key("freeze"), freeze, &all)?
            .iter()
            .map(|parameter| parameter.id)
            .collect();
        if !all.iter().any(|it| it.learns && !frozen.contains(&it.id)) {
            let reason = match aki.language().has_adapters() {
                false => "leaves no parameter to train",
                true => {
                    "leaves no parameter to train: beside adapters all of the language model but them \
                     and the rows of added tokens is frozen already"
                }
            };
            return Err(TrainError::Setting {
                key: key("freeze"),
                reason: reason.to_owned(),
            });
        }
        let paths = |name: &str, patterns: &[String]| -> Result<Vec<String>, TrainError> {
            let found = found(&key(name), patterns, &all)?;
            Ok(found
                .iter()
                .map(|parameter| parameter.path.clone())
                .collect())
        };
        let rates = optimizer.rates.iter().map(|rate| {
            let paths = paths("optimizer.rates", &rate.params)?;
            Ok((rate.factor, paths))
        });
        Ok(Self {
            no_decay: paths("optimizer.no_decay", &optimizer.no_decay)?,
            rates: rates.collect::<Result<_, TrainError>>()?,
            frozen,
            optimizer: optimizer.clone(),
            steps: stage.steps,
        })
    }

    /// The network with all parameters to be trained but those that are frozen, whatever an earlier
    /// stage froze, and those under adapters.
    #[must_use]
    pub fn freeze(&self, aki: Aki) -> Aki {
        let frozen = ParamGroup::from_ids(self.frozen.clone());
        aki.set_require_grad(true)
            .frozen_under_adapters()
            .set_require_grad_group(frozen, false)
    }

    /// The optimizer of the trainee.
    pub fn optimizer(&self, moments: Moments) -> ModuleOptimizer {
        let optimizer = adamw(self.optimizer.weight_decay, moments);
        if self.no_decay.is_empty() {
            return optimizer;
        }
        let group = ParamGroup::from_paths(self.no_decay.clone());
        optimizer.with_group(group, AdamW::new(0.0, moments), None)
    }

    /// The learning rates of the trainee's parameters.
    pub(crate) fn schedule(&self) -> ModuleLrScheduler {
        let rate = LearningRate::new(&self.optimizer, self.steps);
        let groups = self.rates.iter();
        groups.fold(
            rate.clone().into(),
            |schedule: ModuleLrScheduler, (factor, paths)| {
                let group = ParamGroup::from_paths(paths.clone());
                schedule.with_group(group, rate.clone().times(*factor))
            },
        )
    }
}

/// The parameters that some of the patterns fit.
fn found<'a>(
    key: &str,
    patterns: &[String],
    all: &'a [Named],
) -> Result<Vec<&'a Named>, TrainError> {
    let fault = |reason: String| {
        let key = key.to_owned();
        Err(TrainError::Setting { key, reason })
    };
    for pattern in patterns {
        let names = || all.iter().flat_map(|parameter| parameter.parts.iter());
        let fits_one = |parameter: &Named| {
            fits(pattern, &parameter.name) || parameter.parts.iter().any(|part| fits(pattern, part))
        };
        if !all.iter().any(fits_one) {
            let mut reason = format!("{pattern:?} fits no parameter");
            if let Some(nearest) = nearest(pattern, names().map(String::as_str)) {
                reason = format!("{reason}; the nearest is {nearest}");
            }
            return fault(reason);
        }
    }
    let mut found = Vec::new();
    for parameter in all {
        let fitted = |name: &String| patterns.iter().any(|pattern| fits(pattern, name));
        let missing = parameter.parts.iter().find(|part| !fitted(part));
        match missing {
            _ if fitted(&parameter.name) => found.push(parameter),
            None => found.push(parameter),
            Some(missing) => {
                if let Some(part) = parameter.parts.iter().find(|part| fitted(part)) {
                    return fault(format!(
                        "{part} and {missing} are trained as one, {}; name all of it or nothing",
                        parameter.name
                    ));
                }
            }
        }
    }
    Ok(found)
}

/// All parameters, in the order of the network's fields.
fn named(aki: &Aki) -> Vec<Named> {
    let mut paths = Paths::default();
    aki.visit(&mut paths);
    let parameters = parameters(aki, &aki.projections(), "").into_iter();
    // Packed matrices are frozen integers, which neither walk meets.
    let both = paths
        .found
        .into_iter()
        .zip(parameters.filter(|it| !it.packed));
    let beside_adapters = aki.language().has_adapters();
    both.map(|((id, path), parameter)| Named {
        id,
        path,
        learns: learns(&parameter, beside_adapters),
        name: parameter.path,
        parts: parameter
            .tensors
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
    })
    .collect()
}

/// The paths of parameters as the optimizer walks: enums' variants are parts of them.
#[derive(Default)]
struct Paths {
    place: Vec<String>,
    found: Vec<(ParamId, String)>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = format!("{FIELD}.{}", self.place.join("."));
        self.found.push((param.id, path));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use aki_model::AkiConfig;
    use aki_model::adapters::{AdapterConfig, Base};
    use aki_model::language::LanguageType;
    use burn::module::ModuleMapper;
    use burn::optim::GradientsParams;
    use burn::tensor::Device;

    use super::*;
    use crate::config::{RateConfig, RunConfig};
    use crate::learner::{StepConfig, Trainee};

    fn aki() -> Aki {
        let config = AkiConfig::preset("aki-tiny").unwrap();
        config.undrawn(510, &Device::flex().autodiff())
    }

    fn stage(change: impl FnOnce(&mut StageConfig)) -> StageConfig {
        let path = Path::new("../assets/configs/easy-vqa.toml");
        let mut stage = RunConfig::load(path, &[]).unwrap().stage.remove(0);
        change(&mut stage);
        stage
    }

    fn patterns(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|&it| it.to_owned()).collect()
    }

    /// A number of each parameter, by its name in a checkpoint.
    struct Measured<'a, F> {
        names: std::vec::IntoIter<Named>,
        measure: F,
        found: BTreeMap<String, f32>,
        grads: &'a GradientsParams,
    }

    impl<F: Fn(bool, Option<f32>, f32) -> f32> ModuleVisitor for Measured<'_, F> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let first = |tensor: Tensor<D>| tensor.into_data().iter::<f32>().next().unwrap();
            let grad = self.grads.get::<D>(param.id).map(first);
            let value = (self.measure)(param.is_require_grad(), grad, first(param.val()));
            let name = self.names.next().unwrap().parts.remove(0);
            self.found.insert(name, value);
        }
    }

    fn measured(
        aki: &Aki,
        grads: &GradientsParams,
        measure: impl Fn(bool, Option<f32>, f32) -> f32,
    ) -> BTreeMap<String, f32> {
        let mut measured = Measured {
            names: named(aki).into_iter(),
            measure,
            found: BTreeMap::new(),
            grads,
        };
        aki.visit(&mut measured);
        measured.found
    }

    fn trained(aki: &Aki) -> Vec<String> {
        let all = measured(aki, &GradientsParams::new(), |trained, _, _| trained.into());
        let trained = all.into_iter().filter(|(_, trained)| *trained > 0.0);
        trained.map(|(name, _)| name).collect()
    }

    struct Ones(GradientsParams);

    impl ModuleMapper for Ones {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let param = param.map(|it| it.ones_like().detach().set_require_grad(true));
            self.0.register(param.id, param.val().inner());
            param
        }
    }

    #[test]
    fn decay_and_rate_are_those_of_the_last_group_that_fits() {
        let stage = stage(|stage| {
            let optimizer = &mut stage.optimizer;
            (optimizer.lr, optimizer.min_lr, optimizer.warmup_steps) = (1e-2, 1e-2, 0);
            optimizer.weight_decay = 0.5;
            optimizer.no_decay = patterns(&["*.bias", "vision_tokenizer.latents"]);
            let rate = |params, factor| RateConfig {
                params: patterns(params),
                factor,
            };
            optimizer.rates = vec![rate(&["vision_*"], 0.5), rate(&["*.bias"], 0.25)];
        });
        let groups = Groups::new(&stage, &aki()).unwrap();
        let mut ones = Ones(GradientsParams::new());
        let aki = aki().map(&mut ones);
        let trainee = Trainee::new(aki, StepConfig::default());
        let mut optimizer = groups.optimizer(Moments::F32);
        let rate = groups.schedule().step();
        let aki = optimizer.step(rate, trainee, ones.0).into_aki();
        let weights = measured(&aki, &GradientsParams::new(), |_, _, weight| weight);
        for (name, weight) in weights {
            let bias = fits("*.bias", &name);
            let rate = match (bias, name.starts_with("vision_")) {
                (true, _) => 0.25e-2,
                (false, true) => 0.5e-2,
                (false, false) => 1e-2,
            };
            let decay = if bias || name == "vision_tokenizer.latents" {
                0.0
            } else {
                0.5
            };
            let expected = 1.0 - rate * decay - rate;
            assert!((weight - expected).abs() < 1e-6, "{name}: {weight}");
        }
    }

    #[test]
    fn what_is_frozen_stays_so_in_forks_and_resumed_runs() {
        let frozen = patterns(&["vision_encoder.*", "*norm*"]);
        let stage = stage(|stage| stage.freeze = frozen.clone());
        let device = Device::flex().autodiff();
        let aki = aki();
        let groups = Groups::new(&stage, &aki).unwrap();
        let fitted = |name: &String| frozen.iter().any(|pattern| fits(pattern, name));
        let kept = named(&aki).into_iter();
        let kept = kept.filter(|it| !fitted(&it.name) && !fitted(&it.parts[0]));
        let mut expected: Vec<String> = kept.map(|mut it| it.parts.remove(0)).collect();
        expected.sort();
        assert!(expected.iter().all(|name| !name.contains("norm")));
        let config = StepConfig {
            threads: 2,
            ..StepConfig::default()
        };
        let trainee = Trainee::new(groups.freeze(aki), config).train();
        let record = trainee.clone().into_record();
        assert_eq!(trained(&trainee.clone().fork(&device).into_aki()), expected);
        assert_eq!(trained(&trainee.valid().train().into_aki()), expected);
        let resumed = trainee.load_record(record);
        assert_eq!(trained(&resumed.clone().into_aki()), expected);
        // The next stage does not freeze.
        let stage = super::tests::stage(|_| ());
        let aki = resumed.valid().into_aki();
        let aki = Groups::new(&stage, &aki).unwrap().freeze(aki).train();
        assert_eq!(trained(&aki).len(), named(&aki).len());
    }

    /// Parameters with gradients of what `encode` gives, and whether it has any.
    fn encoded(freeze: &[&str]) -> (bool, Vec<String>) {
        let stage = stage(|stage| stage.freeze = patterns(freeze));
        let aki = aki();
        let aki = Groups::new(&stage, &aki).unwrap().freeze(aki);
        let device = Device::flex().autodiff();
        let pixels = Tensor::ones([1, 3, 64, 64], &device);
        let media = aki.encode(pixels);
        if !media.is_require_grad() && !media.clone().sum().is_autodiff() {
            return (false, Vec::new());
        }
        let grads = GradientsParams::from_grads(media.sum().backward(), &aki);
        let found = measured(&aki, &grads, |_, grad, _| grad.is_some().into());
        let found = found.into_iter().filter(|(_, found)| *found > 0.0);
        (true, found.map(|(name, _)| name).collect())
    }

    #[test]
    fn a_tower_in_part_frozen_still_learns() {
        let (_, all) = encoded(&["lang_model.*"]);
        assert!(all.iter().any(|name| name.starts_with("vision_encoder.")));
        let (_, rest) = encoded(&["lang_model.*", "vision_encoder.*embedding*"]);
        let kept = all.iter().filter(|name| !name.contains("embedding"));
        assert_eq!(rest, kept.cloned().collect::<Vec<_>>());
        assert!(rest.iter().any(|name| name.starts_with("vision_encoder.")));
        let (_, none) = encoded(&["vision_encoder.*"]);
        assert!(!none.is_empty());
        assert!(
            none.iter()
                .all(|name| name.starts_with("vision_tokenizer."))
        );
    }

    #[test]
    fn a_pattern_at_fault_is_told() {
        let fault = |stage: StageConfig, aki: &Aki| match Groups::new(&stage, aki) {
            Err(TrainError::Setting { key, reason }) => format!("{key}: {reason}"),
            _ => panic!("it is taken"),
        };
        let aki = aki();
        let told = fault(stage(|it| it.freeze = patterns(&["vision_encodr.*"])), &aki);
        let expected = "stage.captions.freeze: \"vision_encodr.*\" fits no parameter; the nearest \
                        is vision_encoder.embeddings.patch_embedding.weight";
        assert_eq!(told, expected);
        let no_decay = |it: &mut StageConfig| it.optimizer.no_decay = patterns(&["*.bias", "bias"]);
        let told = fault(stage(no_decay), &aki);
        let expected = "stage.captions.optimizer.no_decay: \"bias\" fits no parameter; the nearest";
        assert!(told.starts_with(expected), "{told}");
        let told = fault(stage(|it| it.freeze = patterns(&["*"])), &aki);
        assert_eq!(told, "stage.captions.freeze: leaves no parameter to train");

        let adapters = AdapterConfig {
            rank: 2,
            alpha: 4.0,
            targets: vec!["o_proj".to_owned()],
            base: Base::Int8,
        };
        let aki = aki.with_adapters(&adapters);
        let parts = ["vision_*", "*.lora_*", "*.additional_*"];
        let told = fault(stage(|it| it.freeze = patterns(&parts)), &aki);
        let expected = "stage.captions.freeze: leaves no parameter to train: beside adapters all";
        assert!(told.starts_with(expected), "{told}");
        for left in 0..parts.len() {
            let mut parts = parts.to_vec();
            parts.remove(left);
            Groups::new(&stage(|it| it.freeze = patterns(&parts)), &aki).unwrap();
        }
    }

    #[test]
    fn fused_matrices_are_named_whole() {
        let mut config = AkiConfig::preset("aki-tiny").unwrap();
        config.language.model_type = LanguageType::Llama;
        let aki = config.undrawn(510, &Device::flex().autodiff());
        let frozen = |freeze: &[&str]| {
            let groups = Groups::new(&stage(|it| it.freeze = patterns(freeze)), &aki)?;
            Ok::<_, TrainError>(groups.frozen.len())
        };
        let layer = "lang_model.model.layers.0.self_attn";
        let parts = ["q", "k", "v"].map(|part| format!("{layer}.{part}_proj.weight"));
        assert_eq!(frozen(&[&format!("{layer}.qkv_proj.weight")]).unwrap(), 1);
        assert_eq!(frozen(&[&parts[0], &parts[1], &parts[2]]).unwrap(), 1);
        let Err(error) = frozen(&[&parts[1]]) else {
            panic!("a part is taken");
        };
        let expected = format!(
            "stage.captions.freeze: {} and {} are trained as one, {layer}.qkv_proj.weight; name all \
             of it or nothing",
            parts[1], parts[0]
        );
        assert_eq!(error.to_string(), expected);
    }
}
