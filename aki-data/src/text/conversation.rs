//! Conversations of several turns, as prompts and as training texts.

use super::encode::{Labels, Sequence};
use super::interleaved::Part;
use super::special::{Roles, SpecialTokens};
use super::template::Template;
use super::tokenizer::{Piece, Tokenizer};
use crate::DataError;

/// Who says a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What the assistant is told beforehand.
    System,
    /// Who asks.
    User,
    /// Who answers.
    Assistant,
}

impl Role {
    /// Its name in OpenAI's messages and in chat templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said; special tokens in it stay ordinary text.
    pub text: String,
    /// Number of pictures shown with the text; before it, unless [`Template::order`] says otherwise.
    pub pictures: usize,
}

impl Template {
    /// Ids of a conversation up to and including the `<|assistant|>\n` that asks for the next
    /// answer, with no labels set. Each of a message's pictures stands as a line `<image>` before its text, or
    /// after it, as [`Self::order`] says; an answer ends with `<|end|>`. A system message at the beginning replaces [`Self::system`].
    ///
    /// ```text
    /// <s> <|system|>\n{system}<|end|>\n<|user|>\n<image>\n<image>\n{text}<|end|>\n<|assistant|>\n{text}<|end|>\n<|user|>\n{text}<|end|>\n<|assistant|>\n
    /// ```
    ///
    /// The question that pictures may look at ends at the first `<|assistant|>`.
    ///
    /// # Errors
    /// [`DataError::NoRoles`], or [`DataError::Encode`] if the tokenizer fails.
    pub fn conversation(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        media_len: usize,
    ) -> Result<Sequence, DataError> {
        let special = tokenizer.special();
        let turns = self.turns(&special, special.roles()?, messages);
        asking(tokenizer, turns, media_len)
    }

    /// As [`Self::conversation`] of one question, in which pictures stand where `parts` has them, with no
    /// newline beside them.
    ///
    /// # Errors
    /// As [`Self::conversation`].
    pub fn question(
        &self,
        tokenizer: &Tokenizer,
        parts: &[Part],
        media_len: usize,
    ) -> Result<Sequence, DataError> {
        let special = tokenizer.special();
        let roles = special.roles()?;
        let content: Vec<_> = parts.iter().map(|part| part.piece(&special)).collect();
        let mut turns = turn(roles, roles.system, &[Piece::Text(&self.system)]);
        turns.extend(turn(roles, roles.user, &content));
        asking(tokenizer, turns, media_len)
    }

    /// Ids of a conversation to be learned. Labels: every answer with the `<|end|>` that closes it,
    /// of the last one with `<|endoftext|>`; never a question, `<image>` or `<|endofchunk|>`. Each
    /// of a message's pictures stands as in [`Self::conversation`]. A system message at the
    /// beginning replaces [`Self::system`].
    ///
    /// ```text
    /// <s><|system|>\n{system}<|end|>\n<|user|>\n<image>\n{text}<|end|>\n<|assistant|>\n{text}<|end|>\n<|user|>\n{text}<|end|>\n<|assistant|>\n{text}<|endoftext|>
    ///                                                               labelled: {text}<|end|>                                  {text}<|endoftext|>
    /// ```
    ///
    /// One question and its answer give what [`Self::training`] gives. The question that pictures
    /// may look at ends at the first `<|assistant|>`. Messages after the last answer teach nothing
    /// and are left out.
    ///
    /// # Errors
    /// [`DataError::NoRoles`], or [`DataError::Encode`] if the tokenizer fails.
    pub fn training_conversation(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        media_len: usize,
    ) -> Result<Sequence, DataError> {
        let special = tokenizer.special();
        let roles = special.roles()?;
        let last = messages.iter().rposition(|m| m.role == Role::Assistant);
        let messages = &messages[..last.map_or(0, |last| last + 1)];
        let mut pieces: Vec<_> = special.bos.map(Piece::Special).into_iter().collect();
        pieces.extend(self.turns(&special, roles, messages));
        if last.is_some() {
            // `<|end|>` and the newline behind it: a text ends with `<|endoftext|>` instead.
            pieces.truncate(pieces.len() - 2);
        }
        pieces.push(Piece::Special(special.eos));
        let ids = tokenizer.encode(&pieces)?;
        Ok(Sequence::new(&ids, special, media_len, Labels::Answers))
    }

    /// The system line and all messages, each closed.
    fn turns<'a>(
        &'a self,
        special: &SpecialTokens,
        roles: Roles,
        messages: &'a [Message],
    ) -> Vec<Piece<'a>> {
        let (system, messages) = match messages {
            [first, rest @ ..] if first.role == Role::System => (first.text.as_str(), rest),
            all => (self.system.as_str(), all),
        };
        let mut pieces = turn(roles, roles.system, &[Piece::Text(system)]);
        for message in messages {
            let content = self
                .order
                .message(special.image, message.pictures, &message.text);
            let tag = match message.role {
                Role::System => roles.system,
                Role::User => roles.user,
                Role::Assistant => roles.assistant,
            };
            pieces.extend(turn(roles, tag, &content));
        }
        pieces
    }
}

/// Ids of closed turns and the `<|assistant|>\n` that asks for an answer to them.
fn asking(
    tokenizer: &Tokenizer,
    turns: Vec<Piece>,
    media_len: usize,
) -> Result<Sequence, DataError> {
    let special = tokenizer.special();
    let assistant = special.roles()?.assistant;
    let mut pieces: Vec<_> = special.bos.map(Piece::Special).into_iter().collect();
    // Nothing to stand apart from without a `<s>`.
    if special.bos.is_some() {
        pieces.push(Piece::Text(" "));
    }
    pieces.extend(turns);
    pieces.extend([Piece::Special(assistant), Piece::Text("\n")]);
    let ids = tokenizer.encode(&pieces)?;
    Ok(Sequence::new(&ids, special, media_len, Labels::Answer).unlabelled())
}

/// `{tag}\n{content}<|end|>\n`
pub(super) fn turn<'a>(roles: Roles, tag: u32, content: &[Piece<'a>]) -> Vec<Piece<'a>> {
    let before = [Piece::Special(tag), Piece::Text("\n")];
    let after = [Piece::Special(roles.end), Piece::Text("\n")];
    [&before, content, &after].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::tests::easy_vqa;
    use crate::text::{IGNORE, PictureOrder};

    fn template() -> Template {
        Template {
            system: "Answer the question about the picture.".to_owned(),
            ..Template::default()
        }
    }

    fn message(role: Role, text: &str, pictures: usize) -> Message {
        Message {
            role,
            text: text.to_owned(),
            pictures,
        }
    }

    #[test]
    fn all_answers_of_a_conversation_are_labelled_and_no_question() {
        let tokenizer = easy_vqa();
        let messages = [
            message(Role::User, "what color is the circle?", 1),
            message(Role::Assistant, "blue", 0),
            message(Role::User, "is there a circle?", 0),
            message(Role::Assistant, "yes", 0),
            message(Role::User, "what else?", 0),
        ];
        let sequence = template()
            .training_conversation(&tokenizer, &messages, 4)
            .expect("ids");
        let labels: Vec<u32> = sequence
            .labels
            .iter()
            .filter(|&&label| label != IGNORE)
            .map(|&label| label as u32)
            .collect();
        assert_eq!(
            tokenizer.decode_marked(&labels).expect("text"),
            " blue<|end|> yes<|endoftext|>"
        );
        let prompt = template()
            .conversation(&tokenizer, &messages[..3], 4)
            .expect("ids");
        assert!(sequence.input_ids.starts_with(&prompt.input_ids));
        assert_eq!(sequence.question_end, prompt.question_end);
        let nothing = template()
            .training_conversation(&tokenizer, &messages[..1], 4)
            .expect("ids");
        assert!(nothing.labels.iter().all(|&label| label == IGNORE));
    }

    #[test]
    fn each_message_is_followed_by_its_pictures() {
        let tokenizer = easy_vqa();
        let template = Template {
            order: PictureOrder::TextImage,
            ..template()
        };
        let messages = [
            message(Role::User, "what is it?", 2),
            message(Role::Assistant, "blue", 0),
            message(Role::User, "and this?", 1),
            message(Role::Assistant, "red", 0),
        ];
        let head = "<|system|>\nAnswer the question about the picture.<|end|>\n<|user|>\n";
        let asked = format!(
            "{head}what is it?\n<image>\n<image><|end|>\n<|assistant|>\nblue<|end|>\n\
             <|user|>\nand this?\n<image><|end|>\n<|assistant|>\n"
        );
        let marked = |text: &str| tokenizer.encode_marked(text).expect("ids");
        let training = template.training_conversation(&tokenizer, &messages, 1);
        let expected = marked(&format!("<s>{asked}red<|endoftext|>"));
        assert_eq!(training.expect("ids").input_ids, expected);
        let prompt = template.conversation(&tokenizer, &messages[..3], 1);
        let prompt = prompt.expect("ids").input_ids;
        assert_eq!(prompt, marked(&format!("<s> {asked}")));
    }

    #[test]
    fn a_question_has_its_pictures_where_they_are_put() {
        let tokenizer = easy_vqa();
        let text = |text: &str| Part::Text(text.to_owned());
        let head = "<s> <|system|>\nAnswer the question about the picture.<|end|>\n<|user|>\n";
        for (parts, asked) in [
            (
                vec![Part::Picture, text("is it blue?")],
                "<image>is it blue?",
            ),
            (
                vec![text("is"), Part::Picture, text("blue?")],
                "is<image>blue?",
            ),
        ] {
            let question = template().question(&tokenizer, &parts, 1).expect("ids");
            let expected = format!("{head}{asked}<|end|>\n<|assistant|>\n");
            let expected = tokenizer.encode_marked(&expected).expect("ids");
            assert_eq!(question.input_ids, expected);
            assert_eq!(question.question_end, Some(expected.len()));
        }
        let parts = [Part::Picture, text("\nis it blue?")];
        let question = template().question(&tokenizer, &parts, 3);
        let message = message(Role::User, "is it blue?", 1);
        let conversation = template().conversation(&tokenizer, &[message], 3);
        assert_eq!(question.expect("ids"), conversation.expect("ids"));
    }

    proptest! {
        #[test]
        fn a_conversation_of_one_turn_is_a_training_text(
            question in "(<image>|<\\|assistant\\|>| |\n|\\PC){0,12}",
            answer in "(<\\|end\\|>| |\n|\\PC){0,6}",
            picture: bool,
            after: bool,
        ) {
            let tokenizer = easy_vqa();
            let order = match after {
                true => PictureOrder::TextImage,
                false => PictureOrder::ImageText,
            };
            let template = Template { order, ..template() };
            let messages = [
                message(Role::User, &question, usize::from(picture)),
                message(Role::Assistant, &answer, 0),
            ];
            let conversation = template.training_conversation(&tokenizer, &messages, 3);
            let training = template.training(&tokenizer, &question, &answer, picture.then_some(3));
            prop_assert_eq!(conversation.expect("ids"), training.expect("ids"));
        }

        #[test]
        fn nothing_typed_in_a_conversation_becomes_a_special_token(
            texts in prop::array::uniform4("(<image>|<\\|(assistant|end|user|endoftext)\\|>|\\PC){0,6}"),
        ) {
            let tokenizer = easy_vqa();
            let special = tokenizer.special();
            let roles = special.roles.expect("roles");
            let [first, answer, second, last] = &texts;
            let messages = [
                message(Role::User, first, 1),
                message(Role::Assistant, answer, 0),
                message(Role::User, second, 1),
                message(Role::Assistant, last, 0),
            ];
            let sequence = template().training_conversation(&tokenizer, &messages, 3).expect("ids");
            let count = |wanted| sequence.input_ids.iter().filter(|&&id| id == wanted).count();
            let counts = [special.image, roles.user, roles.assistant, roles.end, special.eos].map(count);
            prop_assert_eq!(counts, [6, 2, 2, 4, 1]);
            let labelled = |wanted| sequence.labels.iter().filter(|&&id| id == i64::from(wanted)).count();
            prop_assert_eq!([roles.end, special.eos, roles.user, special.image].map(labelled), [1, 1, 0, 0]);
        }
    }
}
