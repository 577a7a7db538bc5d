//! Samples as they are, to look at and to check.

use super::prepare::Preparer;
use crate::shards::{SkipReason, Skipped};
use crate::sources::{Encoded, Example};
use crate::text::Sequence;
use crate::{DataError, Picture};

/// A sample that could be learned from, with what was made of its pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined<P> {
    /// Ids and labels.
    pub sequence: Sequence,
    /// Tokens that were cut off.
    pub cut: usize,
    /// One a media range.
    pub pictures: Vec<P>,
}

impl Preparer {
    /// Encodes an example as [`Self::ready`] does, and hands each picture's bytes and
    /// name to `look`: nothing is resized, nothing augmented.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn examine<P>(
        &self,
        example: &Example,
        look: impl Fn(&[u8], &str) -> Result<P, DataError>,
    ) -> Result<Result<Examined<P>, Skipped>, DataError> {
        let (sequence, cut) = self.encode(example)?;
        let seen = |sequence: &Sequence| -> Result<Vec<P>, SkipReason> {
            self.usable(sequence)?;
            let shown = example.pictures.iter().take(sequence.media.len());
            let look = |picture: &Encoded| {
                let (bytes, name) = (picture.bytes()?, picture.name(&example.key));
                look(&bytes, &name).map_err(|error| SkipReason::Picture {
                    reason: error.to_string(),
                })
            };
            shown.map(look).collect()
        };
        Ok(match seen(&sequence) {
            Ok(pictures) => Ok(Examined {
                sequence,
                cut,
                pictures,
            }),
            Err(reason) => Err(Skipped {
                shard: example.origin.to_path_buf(),
                key: example.key.clone(),
                reason,
            }),
        })
    }

    /// A picture of its own size, turned if EXIF tags count. `name` is for the error.
    ///
    /// # Errors
    /// [`DataError::Picture`].
    pub fn decode(&self, bytes: &[u8], name: &str) -> Result<Picture, DataError> {
        if self.exif_orientation {
            Picture::decode_upright(bytes, name)
        } else {
            Picture::decode(bytes, name)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::shards::tests::tiny_png;
    use crate::sources::Text;
    use crate::text::tests::easy_vqa;
    use crate::text::{Part, Template};

    fn preparer(max_text_len: Option<usize>, packing: Option<usize>) -> Preparer {
        Preparer {
            tokenizer: Arc::new(easy_vqa()),
            template: Template::default(),
            media_len: 4,
            max_text_len,
            packing,
            image_size: 8,
            exif_orientation: false,
            mean: [0.5; 3],
            std: [0.5; 3],
            augmentation: None,
            seed: 0,
            timings: Arc::default(),
        }
    }

    fn example(pictures: Vec<Encoded>) -> Example {
        Example {
            origin: Path::new("a.tar").into(),
            key: "k".to_owned(),
            pictures,
            text: Text::Parts(vec![Part::Picture, Part::Text("circle".to_owned())]),
        }
    }

    #[test]
    fn pictures_keep_their_size() {
        let good = example(vec![Encoded::Bytes(tiny_png())]);
        let examined = preparer(None, None).examine(&good, Picture::size);
        let examined = examined.expect("a tokenizer").expect("a good sample");
        assert_eq!((&examined.pictures[..], examined.cut), (&[(1, 1)][..], 0));
        assert_eq!(examined.sequence.media[0].len(), 4);
    }

    #[test]
    fn what_is_wrong_is_told_as_in_training() {
        let reason = |example: &Example, limit, packing| {
            let examined = preparer(limit, packing).examine(example, Picture::size);
            let skipped = examined.expect("a tokenizer").expect_err("a bad sample");
            assert_eq!(
                (skipped.shard.as_path(), &*skipped.key),
                (Path::new("a.tar"), "k")
            );
            skipped.reason.kind()
        };
        let missing = example(vec![Encoded::File("no/such.png".into())]);
        assert_eq!(reason(&missing, None, None), "missing picture");
        let broken = example(vec![Encoded::Bytes(b"no picture".to_vec())]);
        assert_eq!(reason(&broken, None, None), "broken picture");
        // Without a look at the picture.
        assert_eq!(reason(&broken, Some(2), None), "nothing to learn");
        assert_eq!(reason(&broken, None, Some(4)), "too long");
    }
}
