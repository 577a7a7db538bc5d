//! The keys that a run file may have.

use std::path::PathBuf;

use aki_data::Augmentation;
use aki_data::augment::Amounts;
use aki_data::pretraining::CaptionKind;
use aki_data::shards::RemoteConfig;
use aki_data::sources::{SourceConfig, SourceKind};
use aki_model::AkiConfig;
use aki_model::projector::ProjectorConfig;

use super::training::{LoraBase, LoraConfig};
use super::{RateConfig, RunConfig};

impl RunConfig {
    /// Every key, from which the known ones are learned.
    pub(super) fn known() -> toml::Value {
        let mut known = toml::Value::try_from(Self::example()).expect("a run is plain tables");
        // Its keys depend on its kind; serde alone judges them.
        known["model"]["language"]
            .as_table_mut()
            .expect("the language model is a table")
            .insert("rope_scaling".to_owned(), toml::Table::new().into());
        known
    }

    /// A run with every key but those that exclude each other.
    fn example() -> Self {
        let mut example: Self =
            toml::from_str(include_str!("../../../assets/configs/easy-vqa.toml"))
                .expect("the built-in run is whole");
        // What most runs leave out.
        example.start = Some(PathBuf::new());
        let AkiConfig {
            vision,
            projector,
            language,
            ..
        } = &mut example.model;
        vision.hidden_act = Some(vision.activation());
        *projector = Some(ProjectorConfig { hidden_size: 1 });
        language.head_dim = Some(2);
        language.max_position_embeddings = Some(1);
        example.data.workers = Some(1);
        example.data.max_bad_share = Some(0.0);
        example.data.remote = Some(RemoteConfig::default());
        example.data.source = vec![SourceConfig {
            name: Some(String::new()),
            shards: vec![String::new()],
            caption: Some(CaptionKind::Txt),
            max_pictures: Some(1),
            min_similarity: Some(0.0),
            resample: Some(false),
            buffer: Some(1),
            questions: Some(PathBuf::new()),
            annotations: Some(PathBuf::new()),
            image_data: Some(PathBuf::new()),
            images: Some(PathBuf::new()),
            weight: Some(1.0),
            valid: Some(false),
            ..SourceConfig::new(SourceKind::Jsonl)
        }];
        example.stage[0].augmentation = Augmentation::Careful(Amounts {
            flip: 0.0,
            shift: 0,
            crop: Some(0.5),
        });
        example.training.ema = Some(0.5);
        example.training.lora = Some(LoraConfig {
            rank: 1,
            alpha: 1.0,
            targets: Vec::new(),
            base: LoraBase::Same,
        });
        example.stage[0].micro_batch = Some(1);
        example.stage[0].freeze = vec![String::new()];
        example.stage[0].optimizer.no_decay = vec![String::new()];
        example.stage[0].optimizer.rates = vec![RateConfig {
            params: vec![String::new()],
            factor: 1.0,
        }];
        example.stage[0].sources = Some(vec![String::new()]);
        example.stage[0].max_text_len = Some(2);
        example.stage[0].packing = Some(2);
        example
    }
}
