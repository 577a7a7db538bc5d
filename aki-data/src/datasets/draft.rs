//! What a source says of one record, before it is put into words.

use rand::RngExt;

use super::record::{Record, Region};
use super::skipped::SkipReason;
use crate::item_rng;
use crate::text::{Message, Role};

pub(crate) const SHORT: &str = "Answer the question using a single word or phrase.";
pub(crate) const LETTER: &str = "Answer with the option's letter from the given choices directly.";

/// Keeps the order of the options apart from an item's other random numbers.
const OPTIONS_DOMAIN: u64 = 0x616b_692d_6f70_7469; // "aki-opti"

/// A record of a source.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) images: Vec<String>,
    pub(super) content: Content,
}

/// The kinds of records.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// A question with a short answer.
    Short { question: String, answer: String },
    /// A question with options, and which of them is right.
    Choice {
        question: String,
        context: Option<String>,
        options: Vec<String>,
        right: usize,
    },
    /// A region and what is in it.
    Region { region: Region, phrase: String },
    /// A conversation as it is.
    Conversation(Vec<Message>),
}

impl Draft {
    /// Why it cannot be used, if so.
    pub(super) fn check(&self) -> Result<(), SkipReason> {
        if !self
            .images
            .iter()
            .all(|path| super::image_path::is_inside(path))
        {
            return Err(SkipReason::ImagePath);
        }
        let blank = |text: &String| text.trim().is_empty();
        let empty = match &self.content {
            Content::Short { question, answer } => blank(question) || blank(answer),
            Content::Choice {
                question,
                options,
                right,
                ..
            } => {
                if *right >= options.len() || options.len() > 26 {
                    return Err(SkipReason::Options);
                }
                blank(question)
            }
            Content::Region { phrase, .. } => blank(phrase),
            Content::Conversation(messages) => {
                by_turns(messages)?;
                let mut said = messages.iter().filter(|m| m.role != Role::System);
                said.any(|message| blank(&message.text) && message.pictures == 0)
            }
        };
        if empty {
            Err(SkipReason::Empty)
        } else {
            Ok(())
        }
    }

    /// Puts the options in another order, a function of `seed` and `item`.
    pub(super) fn shuffle(&mut self, seed: u64, item: usize) {
        if let Content::Choice { options, right, .. } = &mut self.content {
            let mut rng = item_rng(seed ^ OPTIONS_DOMAIN, item);
            for last in (1..options.len()).rev() {
                let other = rng.random_range(0..=last);
                options.swap(last, other);
                if *right == last {
                    *right = other;
                } else if *right == other {
                    *right = last;
                }
            }
        }
    }

    /// The record in words.
    pub(super) fn into_record(self, key: String) -> Record {
        let mut region = None;
        let pictures = self.images.len();
        let messages = match self.content {
            Content::Short { question, answer } => {
                exchange(format!("{SHORT} {question}"), answer, pictures)
            }
            Content::Choice {
                question,
                context,
                options,
                right,
            } => {
                let mut text = format!("{LETTER} {question}\n");
                if let Some(context) = context {
                    text.extend(["Context: ", &context, "\n"]);
                }
                text += "Options:\n";
                for (letter, option) in ('A'..).zip(&options) {
                    text.push(letter);
                    text.extend([". ", option, "\n"]);
                }
                let letter = ('A'..).nth(right).map(String::from);
                exchange(text, letter.unwrap_or_default(), pictures)
            }
            Content::Region { region: at, phrase } => {
                region = Some(at);
                exchange(at.question(), phrase, pictures)
            }
            Content::Conversation(messages) => messages,
        };
        Record {
            key,
            images: self.images,
            messages,
            region,
        }
    }
}

/// A question about all the pictures, and its answer.
pub(super) fn exchange(question: String, answer: String, pictures: usize) -> Vec<Message> {
    let message = |role, text, pictures| Message {
        role,
        text,
        pictures,
    };
    vec![
        message(Role::User, question, pictures),
        message(Role::Assistant, answer, 0),
    ]
}

/// Maybe a system message, then questions and answers, at least one of each.
fn by_turns(messages: &[Message]) -> Result<(), SkipReason> {
    let turns = match messages {
        [first, rest @ ..] if first.role == Role::System => rest,
        all => all,
    };
    let pairs = turns.chunks(2).all(|pair| match pair {
        [asked, answered] => asked.role == Role::User && answered.role == Role::Assistant,
        _ => false,
    });
    if pairs && !turns.is_empty() {
        Ok(())
    } else {
        Err(SkipReason::Turns)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn choice(options: usize, right: usize) -> Draft {
        Draft {
            images: Vec::new(),
            content: Content::Choice {
                question: "which?".to_owned(),
                context: None,
                options: (0..options).map(|option| option.to_string()).collect(),
                right,
            },
        }
    }

    #[test]
    fn every_order_of_options_comes_about_as_often_and_the_letter_follows() {
        let mut seen = BTreeMap::new();
        for item in 0..2400 {
            let mut draft = choice(4, 2);
            draft.shuffle(9, item);
            let mut again = choice(4, 2);
            again.shuffle(9, item);
            assert_eq!(draft, again);
            let Content::Choice { options, right, .. } = draft.content else {
                unreachable!("a choice stays one");
            };
            assert_eq!(options[right], "2");
            *seen.entry(options).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 24);
        assert!(
            seen.values().all(|count| (50..160).contains(count)),
            "{seen:?}"
        );
    }

    /// Pinned so that an update of `rand` cannot silently change everyone's runs.
    #[test]
    fn the_order_of_seed_one_is_pinned() {
        let order = |item| {
            let mut draft = choice(5, 0);
            draft.shuffle(1, item);
            match draft.content {
                Content::Choice { options, .. } => options.concat(),
                _ => String::new(),
            }
        };
        assert_eq!([order(0), order(1), order(2)], ["13420", "13024", "34012"]);
    }

    #[test]
    fn what_has_no_letter_is_no_option() {
        for (options, right, good) in [(26, 25, true), (27, 0, false), (3, 3, false), (0, 0, false)]
        {
            let checked = choice(options, right).check();
            assert_eq!(checked.is_ok(), good, "{options} {right}");
        }
    }
}
