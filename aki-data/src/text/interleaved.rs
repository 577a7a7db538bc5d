//! Texts with pictures anywhere in them, for pre-training.

use super::encode::{Labels, Sequence};
use super::special::SpecialTokens;
use super::template::{PictureOrder, Template};
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

impl Part {
    pub(super) fn piece(&self, special: &SpecialTokens) -> Piece<'_> {
        match self {
            Self::Text(text) => Piece::Text(text),
            Self::Picture => Piece::Special(special.image),
            Self::EndOfChunk => Piece::Special(special.end_of_chunk),
        }
    }
}

impl Template {
    /// Ids of a text with pictures, between `<s>` and `<|endoftext|>`; the system line
    /// has no part in it.
    ///
    /// Labels: all tokens but the media positions. Where [`Self::order`] puts pictures after their
    /// texts, each stands behind the text that follows it, up to the next picture or
    /// [`Part::EndOfChunk`].
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
        let shown = parts.iter().map(|part| part.piece(&special));
        match self.order {
            PictureOrder::ImageText => pieces.extend(shown),
            PictureOrder::TextImage => {
                pieces.extend(after_their_texts(shown, Piece::Special(special.image)));
            }
        }
        pieces.push(Piece::Special(special.eos));
        let ids = tokenizer.encode(&pieces)?;
        Ok(Sequence::new(&ids, special, media_len, Labels::Text))
    }
}

/// Moves each `image` behind the texts that follow it. A blank keeps apart what it stood between.
fn after_their_texts<'a>(
    pieces: impl Iterator<Item = Piece<'a>>,
    image: Piece<'a>,
) -> Vec<Piece<'a>> {
    let mut moved = Vec::new();
    let mut waiting = 0;
    let mut read = false;
    for piece in pieces {
        if matches!(piece, Piece::Text(_)) {
            if waiting > 0 && !read && matches!(moved.last(), Some(Piece::Text(_))) {
                moved.push(Piece::Text(" "));
            }
            read = true;
            moved.push(piece);
            continue;
        }
        if piece != image || read {
            moved.extend(std::iter::repeat_n(image, waiting));
            waiting = 0;
        }
        read = false;
        match piece == image {
            true => waiting += 1,
            false => moved.push(piece),
        }
    }
    moved.extend(std::iter::repeat_n(image, waiting));
    moved
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
    fn pictures_may_come_after_their_texts() {
        let tokenizer = easy_vqa();
        let template = Template {
            order: PictureOrder::TextImage,
            ..Template::default()
        };
        let text = |text: &str| Part::Text(text.to_owned());
        let (picture, end) = (Part::Picture, Part::EndOfChunk);
        for (parts, expected) in [
            (
                vec![picture.clone(), text("a circle"), end.clone()],
                "<s>a circle<image><|endofchunk|><|endoftext|>",
            ),
            (
                vec![
                    text("see"),
                    picture.clone(),
                    text("red"),
                    end.clone(),
                    picture.clone(),
                    picture.clone(),
                    text("blue"),
                    picture.clone(),
                    end.clone(),
                ],
                "<s>see red<image><|endofchunk|>blue<image><image><image><|endofchunk|><|endoftext|>",
            ),
            (
                vec![picture.clone(), text("red"), picture.clone(), text("blue")],
                "<s>red<image>blue<image><|endoftext|>",
            ),
        ] {
            let sequence = template.interleaved(&tokenizer, &parts, 1).expect("ids");
            assert_eq!(
                sequence.input_ids,
                tokenizer.encode_marked(expected).expect("ids")
            );
            assert_eq!(sequence.media.len(), expected.matches("<image>").count());
        }
        let parts = [picture, text("a blue circle"), end];
        let sequence = template.interleaved(&tokenizer, &parts, 3);
        let caption = template.caption(&tokenizer, "a blue circle", 3);
        assert_eq!(sequence.expect("parts"), caption.expect("caption"));
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
