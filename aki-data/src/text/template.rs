//! AKI's turn texts.

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
/// Without a picture the line `<image>\n` is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What the assistant is told before the first question.
    pub system: String,
}

impl Default for Template {
    fn default() -> Self {
        Self {
            system: AKI_SYSTEM.to_owned(),
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
        let mut asked = vec![];
        if media_len.is_some() {
            asked.extend([Piece::Special(special.image), Piece::Text("\n")]);
        }
        asked.push(Piece::Text(question));
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
        pieces.extend([
            Piece::Special(special.image),
            Piece::Text(caption),
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
    fn a_prompt_is_the_head_of_its_training_text_without_labels() {
        let tokenizer = easy_vqa();
        let prompt = template()
            .prompt(&tokenizer, QUESTION, Some(4))
            .expect("ids");
        let training = template()
            .training(&tokenizer, QUESTION, "blue", Some(4))
            .expect("ids");
        assert!(training.input_ids.starts_with(&prompt.input_ids));
        assert_eq!(prompt.question_end, Some(prompt.input_ids.len()));
        assert_eq!(prompt.question_end, training.question_end);
        assert!(prompt.labels.iter().all(|&label| label == IGNORE));
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
