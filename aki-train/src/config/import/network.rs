//! The `[model]` tables of the run file.

use aki_model::AkiConfig;
use aki_model::language::LanguageConfig;
use aki_model::resampler::ResamplerConfig;
use aki_model::vision::VisionConfig;

use super::ImportError;
use super::settings::{Settings, or};

/// The `[model]` tables of the two models that the configuration names.
pub(super) fn network(
    settings: &mut Settings,
    language: &str,
    notices: &mut Vec<String>,
) -> Result<String, ImportError> {
    let key = "vision_encoder_path";
    let usual = "siglip-so400m-patch14-384".to_owned();
    let model = or(settings.text(key)?, usual, key, notices);
    let maker = settings.text("vision_encoder_pretrained")?;
    let vision = match maker.as_deref() {
        _ if model.contains('/') => model,
        Some(maker) => format!("{maker}/{model}"),
        None => format!("google/{model}"),
    };
    let Some(tower) = VisionConfig::known(&vision) else {
        let reason = format!(
            "{vision} is not known here; name google/siglip-so400m-patch14-384 and change \
             [model.vision] afterwards"
        );
        return Err(settings.fault(key, &reason));
    };
    let Some(language) = LanguageConfig::known(language) else {
        let reason = format!(
            "{language} is not known here; name microsoft/Phi-3.5-mini-instruct and change \
             [model.language] afterwards"
        );
        return Err(settings.fault("lm_path", &reason));
    };
    let config = AkiConfig {
        vision: tower,
        resampler: Some(ResamplerConfig::default()),
        projector: None,
        language: LanguageConfig {
            // <image> and <|endofchunk|>.
            added_tokens: 2,
            ..language
        },
    };
    toml::Table::try_from(&config)
        .map(|config| toml::Table::from_iter([("model".to_owned(), config.into())]))
        .and_then(|model| toml::to_string(&model))
        .map_err(|error| ImportError::Toml {
            reason: error.to_string(),
        })
}
