//! What was said and shown so far.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aki_data::{Message, Picture, Role};
use aki_model::generate::Prompt;
use aki_train::files::{folder_of, write_new, write_whole};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::commands::session::Session;

/// A picture and where it came from.
pub struct Shown {
    file: PathBuf,
    pub picture: Picture,
}

impl Shown {
    pub fn new(file: &Path, picture: Picture) -> Self {
        Self {
            // The conversation may be read from another folder.
            file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            picture,
        }
    }
}

/// A question, what was shown with it, and its answer.
#[derive(Default)]
pub struct Turn {
    pub question: String,
    pub pictures: Vec<Shown>,
    pub answer: String,
    /// Whether the answer was stopped before its end.
    pub stopped: bool,
}

#[derive(Default)]
pub struct Conversation {
    turns: Vec<Turn>,
    /// Pictures for the next question.
    waiting: Vec<Shown>,
    /// The first turns, which have no room in the model any more.
    left_out: usize,
}

impl Conversation {
    /// One that begins with pictures.
    pub fn showing(pictures: impl Iterator<Item = Shown>) -> Self {
        Self {
            waiting: pictures.collect(),
            ..Self::default()
        }
    }

    pub fn show(&mut self, shown: Shown) {
        self.waiting.push(shown);
    }

    /// The pictures for the next question.
    pub fn waiting(&self) -> &[Shown] {
        &self.waiting
    }

    pub fn len(&self) -> usize {
        self.turns.len()
    }

    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Adds a turn, which takes the pictures that waited.
    pub fn add(&mut self, turn: Turn) {
        let pictures = std::mem::take(&mut self.waiting);
        self.turns.push(Turn { pictures, ..turn });
    }

    /// The conversation with one more question. As many of the oldest turns are left out as have no room
    /// beside an answer; their pictures are shown with the first question that stays, since they are what
    /// is talked about.
    ///
    /// # Errors
    ///
    /// If not even the question has room.
    pub fn prompt(&mut self, session: &Session, question: &str) -> Result<Prompt> {
        let model = &session.model;
        // A quarter of a small model is enough for an answer.
        let longest = session.longest().unwrap_or(usize::MAX);
        let room = session.max_new_tokens.min(longest / 4);
        for left_out in self.left_out..=self.turns.len() {
            let messages = self.messages(left_out, question);
            let sequence = model.sequence(&messages)?;
            let len = sequence.input_ids.len();
            let last = left_out == self.turns.len();
            if len.saturating_add(if last { 1 } else { room }) > longest {
                continue;
            }
            let pictures = self.turns.iter().flat_map(|turn| &turn.pictures);
            let pictures = pictures.chain(&self.waiting).map(|it| &it.picture);
            let prompt = model.prepared(sequence, &pictures.collect::<Vec<_>>())?;
            self.left_out = left_out;
            return Ok(prompt);
        }
        bail!(
            "the question and the pictures so far have no room in the model, which takes {longest} tokens; ask something shorter, or begin anew with :reset"
        )
    }

    /// The turns behind the first `left_out`, and a question.
    fn messages(&self, left_out: usize, question: &str) -> Vec<Message> {
        let count = |turns: &[Turn]| turns.iter().map(|turn| turn.pictures.len()).sum::<usize>();
        let message = |role, text: &str, pictures| Message {
            role,
            text: text.to_owned(),
            pictures,
        };
        let mut messages = Vec::new();
        for turn in &self.turns[left_out..] {
            messages.push(message(Role::User, &turn.question, turn.pictures.len()));
            messages.push(message(Role::Assistant, &turn.answer, 0));
        }
        messages.push(message(Role::User, question, self.waiting.len()));
        messages[0].pictures += count(&self.turns[..left_out]);
        messages
    }

    /// The pictures, a line each.
    pub fn pictures(&self) -> String {
        let shown = self.turns.iter().enumerate();
        let shown = shown.flat_map(|(at, turn)| {
            let of_turn = move |shown| (format!("question {}", at + 1), shown);
            turn.pictures.iter().map(of_turn)
        });
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|shown| ("next question".to_owned(), shown));
        let mut list = String::new();
        for (place, Shown { file, picture }) in shown.chain(waiting) {
            let (width, height) = (picture.width, picture.height);
            writeln!(list, "{place}: {} ({width} x {height})", file.display()).ok();
        }
        match list.is_empty() {
            true => "no picture was shown\n".to_owned(),
            false => list,
        }
    }

    /// Writes the conversation, pictures by their paths: an object with its messages, or (`.jsonl`) a
    /// message a line. It is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// If the file is there and not to be replaced, or cannot be written.
    pub fn save(&self, model: &Path, file: &Path, replace: bool) -> Result<()> {
        let messages: Vec<Value> = self.turns.iter().flat_map(saved).collect();
        let extension = file.extension().and_then(std::ffi::OsStr::to_str);
        let text = match extension {
            Some("jsonl") => {
                let lines = messages.iter().map(|message| format!("{message}\n"));
                lines.collect::<String>()
            }
            Some("json") => {
                let model = model.display().to_string();
                let object = json!({"model": model, "messages": messages});
                format!("{object:#}\n")
            }
            _ => bail!("{} ends neither in .jsonl nor in .json", file.display()),
        };
        let folder = folder_of(file);
        ensure!(
            folder.is_dir(),
            "no folder {} to write the conversation to",
            folder.display()
        );
        let write = if replace { write_whole } else { write_new };
        match write(file, text.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!(
                    "{0} is there already; :save! {0} replaces it",
                    file.display()
                )
            }
            written => written.with_context(|| format!("cannot write {}", file.display())),
        }
    }
}

/// A turn's two messages.
fn saved(turn: &Turn) -> [Value; 2] {
    let mut question = json!({"role": "user", "content": turn.question});
    if !turn.pictures.is_empty() {
        let files = turn.pictures.iter().map(|it| it.file.display().to_string());
        question["images"] = files.collect();
    }
    let mut answer = json!({"role": "assistant", "content": turn.answer});
    if turn.stopped {
        answer["stopped"] = true.into();
    }
    [question, answer]
}
