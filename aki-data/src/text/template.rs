//! AKI's turn texts.

use serde::{Deserialize, Serialize};

use super::conversation::{Message, Role, turn};
use super::encode::{Labels, Sequence};
use super::tokenizer::{Piece, Tokenizer};
use crate::DataError;

/// The system line of AKI-4B.
const AKI_SYSTEM: &str = "A chat between a curious user and an artificial intelligence assistant. \
     The assistant gives helpful, detailed, and polite answers to the user's questions.";

/// Puts questions, answers and captions into the texts that AKI is trained on.
///
/// ```text
/// training  <s><|system|>\n{system}<|end|>\n<|user|>\n<image>\n{question}<|end|>\n<|assistant|>\n{answer}<|endoftext|>
/// prompt    <s> <|system|>\n{system}<|end|>\n<|user|>\n<image>\n{question}<|end|>\n<|assistant|>\n
/// caption   <s><image>{caption}<|endofchunk|><|endoftext|>
/// ```
///
/// The blank after `<s>` in the prompt is the reference's: its training text has
/// none. With a tokenizer whose `<s>` has `rstrip`, as in easy-VQA's, it vanishes
/// and a prompt is exactly the head of its training text.
///
/// Without a picture the line `<image>\n` is left out. This is [`PictureOrder::ImageText`]; the other
/// order has
///
/// ```text
/// question  <|user|>\n{question}\n<image><|end|>\n<|assistant|>\n{answer}<|endoftext|>
/// caption   <s>{caption}<image><|endofchunk|><|endoftext|>
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What the assistant is told before the first question.
    pub system: String,
    /// Where pictures stand.
    pub order: PictureOrder,
}

/// Whether a picture comes before its text or after it.
///
/// The rule of visibility is the same for both. A picture after its question sees it anyway, and what
/// MMA unlocks besides are the tags behind it; a caption before its picture is learned without seeing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PictureOrder {
    /// `<image>\n{text}`, and captions after their pictures.
    #[default]
    ImageText,
    /// `{text}\n<image>`, and captions before their pictures.
    TextImage,
}

impl PictureOrder {
    /// Its name in files and pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageText => "image-text",
            Self::TextImage => "text-image",
        }
    }

    /// A message's text with the lines of its pictures.
    pub(super) fn message(self, image: u32, pictures: usize, text: &str) -> Vec<Piece<'_>> {
        let (image, newline) = (Piece::Special(image), Piece::Text("\n"));
        match self {
            Self::ImageText => {
                let mut lines = [image, newline].repeat(pictures);
                lines.push(Piece::Text(text));
                lines
            }
            Self::TextImage => {
                let mut lines = vec![Piece::Text(text)];
                lines.extend([newline, image].repeat(pictures));
                lines
            }
        }
    }
}

impl Default for Template {
    fn default() -> Self {
        Self {
            system: AKI_SYSTEM.to_owned(),
            order: PictureOrder::default(),
        }
    }
}

impl Template {
    /// Ids up to and including `<|assistant|>\n`, with no labels set.
    /// `media_len` is the number of embeddings a picture has, or none for text only.
    ///
    /// # Errors
    /// [`DataError::NoRoles`], or [`DataError::Encode`] if the tokenizer fails.
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        question: &str,
        media_len: Option<usize>,
    ) -> Result<Sequence, DataError> {
        let question = Message {
            role: Role::User,
            text: question.to_owned(),
            pictures: usize::from(media_len.is_some()),
        };
        self.conversation(tokenizer, &[question], media_len.unwrap_or(0))
    }

    /// Ids of a question and its answer. Labels: the answer and `<|endoftext|>`;
    /// everything up to and including `<|assistant|>` is ignored, as are `<image>`
    /// and `<|endofchunk|>` wherever they stand.
    ///
    /// # Errors
    /// [`DataError::NoRoles`], or [`DataError::Encode`] if the tokenizer fails.
    pub fn training(
        &self,
        tokenizer: &Tokenizer,
        question: &str,
        answer: &str,
        media_len: Option<usize>,
    ) -> Result<Sequence, DataError> {
        let special = tokenizer.special();
        let roles = special.roles()?;
        let pictures = usize::from(media_len.is_some());
        let asked = self.order.message(special.image, pictures, question);
        let mut pieces: Vec<_> = special.bos.map(Piece::Special).into_iter().collect();
        pieces.extend(turn(roles, roles.system, &[Piece::Text(&self.system)]));
        pieces.extend(turn(roles, roles.user, &asked));
        pieces.extend([
            Piece::Special(roles.assistant),
            Piece::Text("\n"),
            Piece::Text(answer),
            Piece::Special(special.eos),
        ]);
        let ids = tokenizer.encode(&pieces)?;
        Ok(Sequence::new(
            &ids,
            special,
            media_len.unwrap_or(0),
            Labels::Answer,
        ))
    }

    /// Ids of a picture and its caption, for pre-training; the system line has no
    /// part in it. Labels: all tokens but the media positions, since the picture's
    /// embeddings replace them and there is no token to be predicted.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the tokenizer fails.
    pub fn caption(
        &self,
        tokenizer: &Tokenizer,
        caption: &str,
        media_len: usize,
    ) -> Result<Sequence, DataError> {
        let special = tokenizer.special();
        let mut pieces: Vec<_> = special.bos.map(Piece::Special).into_iter().collect();
        let shown = [Piece::Special(special.image), Piece::Text(caption)];
        pieces.extend(match self.order {
            PictureOrder::ImageText => shown,
            PictureOrder::TextImage => [shown[1], shown[0]],
        });
        pieces.extend([
            Piece::Special(special.end_of_chunk),
            Piece::Special(special.eos),
        ]);
        let ids = tokenizer.encode(&pieces)?;
        Ok(Sequence::new(&ids, special, media_len, Labels::Text))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;
    use crate::text::IGNORE;
    use crate::text::tokenizer::tests::{easy_vqa, easy_vqa_path};

    const QUESTION: &str = "what color is the circle?";

    fn template() -> Template {
        Template {
            system: "Answer the question about the picture.".to_owned(),
            ..Template::default()
        }
    }

    #[test]
    fn the_answer_and_the_end_are_labelled() {
        let tokenizer = easy_vqa();
        let special = tokenizer.special();
        let sequence = template()
            .training(&tokenizer, QUESTION, "blue", Some(16))
            .expect("sequence");
        let end = sequence.question_end.expect("a question");
        assert_eq!(
            sequence.input_ids[end - 1],
            special.roles.expect("roles").assistant
        );
        assert_eq!(
            sequence.input_ids[end - 2],
            special.roles.expect("roles").end
        );
        assert_eq!(sequence.labels.len(), sequence.input_ids.len());
        assert!(sequence.labels[..end].iter().all(|&label| label == IGNORE));
        let answer: Vec<i64> = sequence.input_ids[end..]
            .iter()
            .map(|&id| i64::from(id))
            .collect();
        assert_eq!(sequence.labels[end..], answer);
        assert_eq!(answer.len(), 2, "\"blue\" and <|endoftext|>: {answer:?}");
        let media = sequence.media[0].clone();
        assert_eq!(media.len(), 16);
        assert!(
            sequence.input_ids[media]
                .iter()
                .all(|&id| id == special.image)
        );
    }

    #[test]
    fn pieces_give_what_the_whole_text_gives() {
        let reference = tokenizers::Tokenizer::from_file(easy_vqa_path()).expect("tokenizer");
        let whole = |text: &str| {
            reference
                .encode(text, false)
                .expect("ids")
                .get_ids()
                .to_vec()
        };
        let tokenizer = easy_vqa();
        let head = "<|system|>\nAnswer the question about the picture.<|end|>\n<|user|>\n";
        let tail = "what color is the circle?<|end|>\n<|assistant|>\n";
        let template = template();
        let with = |media| {
            template
                .training(&tokenizer, QUESTION, "blue", media)
                .expect("ids")
        };
        let expected = whole(&format!("<s>{head}<image>\n{tail}blue<|endoftext|>"));
        assert_eq!(with(Some(1)).input_ids, expected);
        let expected = whole(&format!("<s>{head}{tail}blue<|endoftext|>"));
        assert_eq!(with(None).input_ids, expected);
        let prompt = template.prompt(&tokenizer, QUESTION, Some(1)).expect("ids");
        assert_eq!(
            prompt.input_ids,
            whole(&format!("<s> {head}<image>\n{tail}"))
        );
        let caption = template
            .caption(&tokenizer, "a blue circle", 1)
            .expect("ids");
        let expected = whole("<s><image>a blue circle<|endofchunk|><|endoftext|>");
        assert_eq!(caption.input_ids, expected);
    }

    #[test]
    fn pictures_may_come_after_their_texts() {
        let tokenizer = easy_vqa();
        let template = Template {
            order: PictureOrder::TextImage,
            ..template()
        };
        let marked = |text: &str| tokenizer.encode_marked(text).expect("ids");
        let head = "<|system|>\nAnswer the question about the picture.<|end|>\n<|user|>\n";
        let asked = "what color is the circle?\n<image><|end|>\n<|assistant|>\n";
        let training = template.training(&tokenizer, QUESTION, "blue", Some(1));
        let training = training.expect("ids");
        let expected = marked(&format!("<s>{head}{asked}blue<|endoftext|>"));
        assert_eq!(training.input_ids, expected);
        // The tags that are left behind the picture, then the answer.
        let end = training.question_end.expect("a question");
        assert_eq!(training.media[0].end, end - 2);
        let labelled = training.labels.iter().filter(|&&label| label != IGNORE);
        assert_eq!(labelled.count(), 2);
        assert!(training.labels[end..].iter().all(|&label| label != IGNORE));

        let bare = template.training(&tokenizer, QUESTION, "blue", None);
        let expected = marked(&format!(
            "<s>{head}{QUESTION}<|end|>\n<|assistant|>\nblue<|endoftext|>"
        ));
        assert_eq!(bare.expect("ids").input_ids, expected);
        let prompt = template.prompt(&tokenizer, QUESTION, Some(1)).expect("ids");
        assert_eq!(prompt.input_ids, marked(&format!("<s> {head}{asked}")));

        let caption = template.caption(&tokenizer, "a blue circle", 3);
        let caption = caption.expect("ids");
        let mut one = caption.input_ids.clone();
        one.drain(caption.media[0].start + 1..caption.media[0].end);
        let text = "<s>a blue circle<image><|endofchunk|><|endoftext|>";
        assert_eq!(one, marked(text));
        assert_eq!(caption.media, [4..7]);
        let mut labels: Vec<i64> = caption.input_ids.iter().copied().map(i64::from).collect();
        labels[4..7].fill(IGNORE);
        assert_eq!(caption.labels, labels);
        assert_eq!(caption.question_end, None);
    }

    #[test]
    fn a_prompt_is_the_head_of_its_training_text_without_labels() {
        let tokenizer = easy_vqa();
        for order in [PictureOrder::ImageText, PictureOrder::TextImage] {
            let template = Template {
                order,
                ..template()
            };
            let prompt = template.prompt(&tokenizer, QUESTION, Some(4)).expect("ids");
            let training = template.training(&tokenizer, QUESTION, "blue", Some(4));
            let training = training.expect("ids");
            assert!(training.input_ids.starts_with(&prompt.input_ids));
            assert_eq!(prompt.question_end, Some(prompt.input_ids.len()));
            assert_eq!(prompt.question_end, training.question_end);
            assert!(prompt.labels.iter().all(|&label| label == IGNORE));
        }
    }

    #[test]
    fn a_caption_is_labelled_but_for_the_picture() {
        let tokenizer = easy_vqa();
        let caption = template()
            .caption(&tokenizer, "a blue circle", 5)
            .expect("ids");
        assert_eq!(caption.media, vec![Range { start: 1, end: 6 }]);
        assert_eq!(caption.question_end, None);
        assert!(caption.labels[1..6].iter().all(|&label| label == IGNORE));
        let special = tokenizer.special();
        let last_two = [special.end_of_chunk, special.eos].map(i64::from);
        assert!(caption.labels.ends_with(&last_two));
        assert_eq!(
            caption
                .labels
                .iter()
                .filter(|&&label| label == IGNORE)
                .count(),
            5
        );
    }

    proptest! {
        #[test]
        fn nothing_typed_moves_the_picture_or_the_question_end(
            question in "(<image>|<\\|assistant\\|>|<\\|end\\|>|\\PC){0,12}",
            answer in "(<image>|<\\|endoftext\\|>|\\PC){0,6}",
        ) {
            let tokenizer = easy_vqa();
            let special = tokenizer.special();
            let sequence = template().training(&tokenizer, &question, &answer, Some(3)).expect("ids");
            let count = |wanted| sequence.input_ids.iter().filter(|&&id| id == wanted).count();
            prop_assert_eq!(count(special.image), 3);
            prop_assert_eq!(count(special.roles.expect("roles").assistant), 1);
            prop_assert_eq!(count(special.eos), 1);
            prop_assert_eq!(count(special.roles.expect("roles").end), 2);
            let end = sequence.question_end.expect("a question");
            prop_assert_eq!(sequence.input_ids[end - 1], special.roles.expect("roles").assistant);
            prop_assert!(sequence.labels[end..].iter().all(|&label| label != IGNORE));
        }
    }
}
