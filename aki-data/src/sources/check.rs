//! Whether a source has the keys of its kind.

use super::config::{SourceConfig, SourceKind};
use crate::DataError;

/// A key that some kinds have and others do not.
struct Key {
    name: &'static str,
    there: bool,
    needed: &'static [SourceKind],
    allowed: &'static [SourceKind],
}

impl SourceConfig {
    /// Whether it has the keys of its kind, and values that make sense.
    ///
    /// # Errors
    /// [`DataError::Source`] naming the first key that is wrong.
    pub fn check(&self) -> Result<(), DataError> {
        let fault = |reason: String| {
            Err(DataError::Source {
                name: self.name(),
                reason,
            })
        };
        let kind = self.kind.name();
        for key in self.keys() {
            if !key.there && key.needed.contains(&self.kind) {
                return fault(format!("kind {kind:?} needs the key {:?}", key.name));
            }
            if key.there && !key.allowed.contains(&self.kind) {
                return fault(format!("kind {kind:?} has no key {:?}", key.name));
            }
        }
        let drawn = [
            ("weight", self.weight.is_some()),
            ("resample", self.resample.is_some()),
            ("buffer", self.buffer.is_some()),
        ];
        if let Some((key, _)) = drawn.iter().find(|(_, there)| self.is_valid() && *there) {
            return fault(format!(
                "nothing is drawn from it with valid = true, so it has no {key:?}; remove one of \
                 the two"
            ));
        }
        if !(self.weight() > 0.0 && self.weight().is_finite()) {
            return fault("its weight must be more than 0".to_owned());
        }
        if self.buffer == Some(0) {
            return fault("its buffer must hold at least 1 sample".to_owned());
        }
        if self.max_pictures == Some(0) {
            return fault("max_pictures must be at least 1".to_owned());
        }
        Ok(())
    }

    fn keys(&self) -> [Key; 10] {
        use SourceKind::{Mmc4, Vg, Vqa, WebDataset};
        const SHARDS: &[SourceKind] = &SourceKind::OF_SHARDS;
        const FILES: &[SourceKind] = &SourceKind::OF_FILES;
        let key = |name, there, needed, allowed| Key {
            name,
            there,
            needed,
            allowed,
        };
        [
            key("shards", !self.shards.is_empty(), SHARDS, SHARDS),
            key("caption", self.caption.is_some(), &[], &[WebDataset]),
            key(
                "max_pictures",
                self.max_pictures.is_some(),
                &[Mmc4],
                &[Mmc4],
            ),
            key(
                "min_similarity",
                self.min_similarity.is_some(),
                &[Mmc4],
                &[Mmc4],
            ),
            key("resample", self.resample.is_some(), &[], SHARDS),
            key("buffer", self.buffer.is_some(), &[], SHARDS),
            key("questions", self.questions.is_some(), &[Vqa], &[Vqa]),
            key("annotations", self.annotations.is_some(), FILES, FILES),
            key("image_data", self.image_data.is_some(), &[Vg], &[Vg]),
            key("images", self.images.is_some(), FILES, FILES),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretraining::CaptionKind;

    #[test]
    fn keys_that_do_not_fit_the_kind_are_named() {
        let message = |change: &dyn Fn(&mut SourceConfig)| {
            let mut source = SourceConfig {
                annotations: Some("a.json".into()),
                images: Some("images".into()),
                ..SourceConfig::new(SourceKind::Gqa)
            };
            change(&mut source);
            source.check().map_err(|error| error.to_string())
        };
        assert_eq!(message(&|_| ()), Ok(()));
        let error = |change| message(change).expect_err("it does not fit");
        let told = error(&|source| source.images = None);
        assert_eq!(
            told,
            "cannot use data source gqa: kind \"gqa\" needs the key \"images\""
        );
        let told = error(&|source| source.caption = Some(CaptionKind::Txt));
        assert!(
            told.contains("source txt: kind \"gqa\" has no key \"caption\""),
            "{told}"
        );
        let told = error(&|source| source.kind = SourceKind::Vqa);
        assert!(told.contains("\"questions\""), "{told}");
        let told = error(&|source| source.kind = SourceKind::WebDataset);
        assert!(told.contains("\"shards\""), "{told}");
        let told = error(&|source| source.weight = Some(f64::NAN));
        assert!(told.contains("weight"), "{told}");
        for key in ["weight", "resample", "buffer"] {
            let set = |source: &mut SourceConfig| match key {
                "weight" => source.weight = Some(1.0),
                "resample" => source.resample = Some(false),
                _ => source.buffer = Some(9),
            };
            let shards = |source: &mut SourceConfig| {
                *source = SourceConfig {
                    shards: vec!["a.tar".to_owned()],
                    ..SourceConfig::new(SourceKind::WebDataset)
                };
                set(source);
            };
            assert_eq!(message(&shards), Ok(()));
            let valid = |source: &mut SourceConfig| {
                shards(source);
                source.valid = Some(true);
            };
            let told = message(&valid).expect_err(key);
            assert!(
                told.contains("valid = true") && told.contains(&format!("{key:?}")),
                "{told}"
            );
        }
    }
}
