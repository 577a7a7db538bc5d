//! Texts with pictures anywhere in them, for pre-training.

use super::encode::{Labels, Sequence};
use super::template::Template;
use super::tokenizer::{Piece, Tokenizer};
use crate::DataError;

/// A part of a pre-training text.
///
/// Marks are parts of their own, so that a text which spells one stays text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Ordinary text.
    Text(String),
    /// `<image>`: the next of the sample's pictures.
    Picture,
    /// `<|endofchunk|>`
    EndOfChunk,
}

impl Template {
    /// Ids of a text with pictures, between `<s>` and `<|endoftext|>`; the system line
    /// has no part in it.
    ///
    /// Labels: all tokens but the media positions.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the tokenizer fails.
    pub fn interleaved(
        &self,
        tokenizer: &Tokenizer,
        parts: &[Part],
        media_len: usize,
    ) -> Result<Sequence, DataError> {
        let special = tokenizer.special();
        let mut pieces: Vec<_> = special.bos.map(Piece::Special).into_iter().collect();
        pieces.extend(parts.iter().map(|part| match part {
            Part::Text(text) => Piece::Text(text),
            Part::Picture => Piece::Special(special.image),
            Part::EndOfChunk => Piece::Special(special.end_of_chunk),
        }));
        pieces.push(Piece::Special(special.eos));
        let ids = tokenizer.encode(&pieces)?;
        Ok(Sequence::new(&ids, special, media_len, Labels::Text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::easy_vqa;

    #[test]
    fn a_caption_gives_what_the_caption_template_gives() {
        let (tokenizer, template) = (easy_vqa(), Template::default());
        let text = "a blue circle, <image> and <|endofchunk|>";
        let parts = [Part::Picture, Part::Text(text.to_owned()), Part::EndOfChunk];
        let sequence = template.interleaved(&tokenizer, &parts, 3);
        let caption = template.caption(&tokenizer, text, 3).expect("caption");
        assert_eq!(caption.media.len(), 1);
        assert_eq!(sequence.expect("parts"), caption);
    }

    #[test]
    fn pictures_have_ranges_up_to_the_limit() {
        let (tokenizer, template) = (easy_vqa(), Template::default());
        let text = |text: &str| Part::Text(text.to_owned());
        let parts = [
            text("circle"),
            Part::EndOfChunk,
            Part::Picture,
            text("circle"),
            Part::EndOfChunk,
            Part::Picture,
            text("circle"),
        ];
        let whole = template
            .interleaved(&tokenizer, &parts, 4)
            .expect("sequence");
        assert_eq!(whole.media.len(), 2);
        assert_eq!(whole.media[1].len(), 4);
        let second = whole.media[1].start - 3;
        let mut cut = whole.clone();
        let all = whole.input_ids.len() - 6;
        assert_eq!(cut.truncate(second), all - second);
        assert_eq!(cut.media, whole.media[..1]);
        assert_eq!(cut.input_ids, whole.input_ids[..whole.media[1].start]);
        assert_eq!(cut.labels.len(), cut.input_ids.len());
        let mut cut = whole.clone();
        assert_eq!(cut.truncate(second + 1), all - second - 1);
        assert_eq!(cut.media, whole.media);
        assert_eq!(cut.input_ids.len(), whole.media[1].end);
        let mut cut = whole.clone();
        assert_eq!(cut.truncate(all), 0);
        assert_eq!(cut, whole);
    }
}
