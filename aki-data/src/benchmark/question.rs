//! One question of a benchmark.

use serde::{Deserialize, Serialize};

/// A question, and what is right.
///
/// The prompt is `text[..at]`, the pictures (each with a newline behind it if
/// [`PromptStyle::newline`](super::PromptStyle::newline)), `text[at..]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The same in every run, and no other question of the benchmark has it.
    pub id: String,
    /// The prompt without its pictures.
    pub text: String,
    /// Byte of `text` before which the pictures stand; above 0 only where a text of MMMU has a
    /// mark for it, in the kit's prompt.
    pub at: usize,
    /// How many pictures are shown.
    pub pictures: usize,
    /// Rows with the same number are about the same picture, or the same question in other orders.
    /// What a bootstrap draws: a group that is scored as one lies in one cluster.
    pub cluster: usize,
    /// What the file calls the picture, if it says.
    pub path: String,
    /// Parts of the benchmark that it belongs to: categories, split, skills. In POPE it counts
    /// once in each.
    pub parts: Vec<String>,
    /// What is right.
    pub expected: Expected,
    /// Number of the group that is right or wrong as one: the orders of a question of `MMBench`,
    /// the two questions about a picture of MME. Else it is alone in its group.
    pub group: usize,
    /// Rows of the group in the file.
    pub group_len: usize,
}

/// What is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// One of the options, read out of the answer by the kit's rules.
    Option {
        /// Its letter.
        letter: char,
        /// Letters and texts.
        options: Vec<(char, String)>,
        /// Whether the answer must be the letter and nothing else, as in the original's CV-Bench.
        alone: bool,
        /// Whether a judge reads the answer if the rules cannot (`MathVista`).
        judged: bool,
    },
    /// Yes, or no.
    Yes(bool),
    /// A number; if the answer is more than a number, a judge finds it (`MathVista`).
    Number(f64),
    /// A text; if the answer is more than that, a judge finds it (`MathVista`).
    Text(String),
    /// A judge gives the answer 0 to 1, by this one (MM-Vet).
    Graded(String),
    /// A judge gives points to this answer of GPT-4's and to ours (LLaVA-Bench).
    Compared {
        /// What is in the picture, in words.
        caption: String,
        /// GPT-4's answer.
        answer: String,
    },
}

impl Default for Expected {
    fn default() -> Self {
        Self::Yes(true)
    }
}
