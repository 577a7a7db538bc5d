//! `aki chat`.

mod conversation;
mod input;
mod typed;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aki_model::generate::{Ended, Kept};
use anyhow::{Result, bail, ensure};

use self::conversation::{Conversation, Shown, Turn};
use self::input::{Input, Line};
use self::typed::Typed;
use super::session::{Answered, Ends, Session};
use crate::args::ModelArgs;
use crate::{signals, terminal};

const HELP: &str = "\
:image FILE       add a picture to the next question; several FILEs, several pictures
:image            list the pictures
:save FILE        write the conversation to a new FILE.jsonl (a message a line) or FILE.json
:save! FILE       the same, and replace the file if there is one
:reset            begin anew, without what was said and shown
:help             this list
:quit             end, as Ctrl-D does
Ctrl-C stops an answer; what was said of it stays. A picture's file may be dropped behind :image.
The arrow keys bring back lines of earlier chats; one that begins with a blank is not remembered.";

/// A conversation with a model.
struct Chat {
    session: Session,
    model: PathBuf,
    said: Conversation,
    /// Whether somebody sits there, or a program reads and writes.
    person: bool,
    /// Set by Ctrl-C.
    stop: Arc<AtomicBool>,
}

/// Answers what is typed, line by line, until there is no more.
pub fn run(args: &ModelArgs) -> Result<()> {
    let mut session = Session::open(args)?;
    let person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let pictures = args.image.iter().zip(std::mem::take(&mut session.pictures));
    let mut chat = Chat {
        said: Conversation::showing(pictures.map(|(file, picture)| Shown::new(file, picture))),
        session,
        model: args.model.clone(),
        person,
        // A program that reads answers has Ctrl-C end the chat.
        stop: match person {
            true => signals::ctrl_c()?,
            false => Arc::default(),
        },
    };
    let mut input = Input::open(person)?;
    if person {
        chat.greet()?;
    }
    let mut mistakes = 0;
    loop {
        let line = input.next()?;
        // One at the prompt is the line's, and no answer's.
        chat.stop.store(false, Ordering::Relaxed);
        match line {
            Line::Text(line) => match typed::parse(&line) {
                Typed::Nothing => {}
                Typed::Quit => break,
                // A mistake is told, and the chat goes on.
                typed => match chat.take(typed) {
                    Err(error) if !is_broken_pipe(&error) => {
                        say!("{error:#}");
                        mistakes += 1;
                    }
                    taken => taken?,
                },
            },
            Line::Cleared => chat.dim("Ctrl-C again, or Ctrl-D, ends")?,
            Line::End => break,
        }
    }
    // A program that counts on an answer a line has to know.
    ensure!(
        person || mistakes == 0,
        "{mistakes} lines of the input were not carried out, for the reasons above"
    );
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

impl Chat {
    fn greet(&self) -> Result<()> {
        let mut out = std::io::stdout();
        writeln!(out, "{} on {}", self.model.display(), self.session.device)?;
        for shown in self.said.waiting() {
            terminal::show(&shown.picture)?;
        }
        self.dim(
            ":image FILE shows a picture, :help tells more, Ctrl-C stops an answer, Ctrl-D ends",
        )
    }

    fn take(&mut self, typed: Typed) -> Result<()> {
        let mut out = std::io::stdout();
        match typed {
            Typed::Question(question) => self.ask(&question)?,
            Typed::Pictures => write!(out, "{}", self.said.pictures())?,
            Typed::Show(files) => {
                for file in files {
                    self.show(&file)?;
                }
            }
            Typed::Save { file, replace } => {
                self.said.save(&self.model, &file, replace)?;
                self.dim(&format!(
                    "{} turns are in {}",
                    self.said.len(),
                    file.display()
                ))?;
            }
            Typed::Reset => {
                self.said = Conversation::default();
                self.session.kept = Kept::default();
                self.dim("a new conversation, without pictures")?;
            }
            Typed::Help => writeln!(out, "{HELP}")?,
            Typed::Wrong(told) => bail!(told),
            Typed::Nothing | Typed::Quit => {}
        }
        Ok(())
    }

    fn show(&mut self, file: &Path) -> Result<()> {
        let picture = (self.session.open)(file)?;
        self.said.show(Shown::new(file, picture));
        match (self.person, self.said.waiting().last()) {
            (true, Some(shown)) => terminal::show(&shown.picture),
            _ => Ok(()),
        }
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        let left_out = self.said.left_out();
        let prompt = self.said.prompt(&self.session, question)?;
        let len = prompt.input_ids.len();
        if self.said.left_out() > left_out {
            say!(
                "the conversation outgrew the model: its first {} turns are left out from here, their pictures are not",
                self.said.left_out()
            );
        }
        let ends = Ends {
            tokens: self.session.model.tokenizer.special().stops(),
            texts: &[],
        };
        let going_on = || !self.stop.load(Ordering::Relaxed);
        let mut out = std::io::stdout();
        let answer = self
            .session
            .answer(prompt, &ends, false, &going_on, |new| {
                match self.person {
                    true => write!(out, "{}", terminal::plain(new))?,
                    false => write!(out, "{new}")?,
                }
                out.flush()?;
                Ok(going_on())
            })?;
        writeln!(out)?;
        answer.check()?;
        let stopped = answer.generated.ended == Ended::Caller;
        let text = answer.text.trim();
        if stopped && text.is_empty() {
            self.dim("stopped before a word was said; the question is taken back")?;
            return Ok(());
        }
        self.dim(&self.told(&answer, len))?;
        self.said.add(Turn {
            question: question.to_owned(),
            answer: text.to_owned(),
            stopped,
            ..Turn::default()
        });
        Ok(())
    }

    /// How an answer to a prompt of `len` tokens came.
    fn told(&self, answer: &Answered, len: usize) -> String {
        let tokens = answer.generated.token_ids.len();
        let how = match answer.generated.ended {
            Ended::Caller => "stopped; ".to_owned(),
            Ended::Length => format!("cut off at {tokens} tokens; "),
            _ => String::new(),
        };
        let first = answer.first.as_secs_f64();
        let known = match answer.known {
            0 => String::new(),
            known => format!(" ({known} of {len} tokens were known)"),
        };
        let rate = answer.rate();
        let rate = rate.map_or_else(String::new, |rate| format!(", then {rate:.1} tokens/s"));
        let longest = self.session.longest();
        let longest = longest.map_or_else(String::new, |longest| format!(" of {longest}"));
        let len = len + tokens;
        format!("{how}first token after {first:.2} s{known}{rate}, {len} tokens{longest}")
    }

    /// A line beside the conversation, for a person alone.
    fn dim(&self, text: &str) -> Result<()> {
        if !self.person {
            return Ok(());
        }
        let mut out = std::io::stdout();
        match std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
            true => writeln!(out, "\x1b[2m{text}\x1b[0m")?,
            false => writeln!(out, "{text}")?,
        }
        Ok(())
    }
}
