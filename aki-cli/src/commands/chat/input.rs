//! Lines from a person at a terminal, or from a pipe.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustyline::Editor;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;

/// Lines that are remembered from one chat to the next.
const REMEMBERED: usize = 1000;

pub enum Input {
    Person {
        editor: Box<Editor<(), FileHistory>>,
        /// Where lines are remembered, if there is a place.
        file: Option<PathBuf>,
        /// Whether the line before was ended by Ctrl-C.
        cleared: bool,
    },
    Pipe,
}

/// What came.
pub enum Line {
    Text(String),
    /// Ctrl-C, for the first time.
    Cleared,
    End,
}

impl Input {
    /// # Errors
    ///
    /// If the terminal cannot be used.
    pub fn open(person: bool) -> Result<Self> {
        if !person {
            return Ok(Self::Pipe);
        }
        let config = Config::builder()
            .max_history_size(REMEMBERED)?
            .history_ignore_space(true)
            .build();
        let mut editor = Editor::with_config(config)?;
        let file = state_folder()
            .filter(|folder| private_folder(folder).is_ok())
            .map(|folder| folder.join("chat-history"));
        if let Some(file) = &file {
            // There is none before the first chat.
            editor.load_history(file).ok();
        }
        Ok(Self::Person {
            editor: Box::new(editor),
            file,
            cleared: false,
        })
    }

    /// The next line. A second Ctrl-C ends as Ctrl-D does.
    ///
    /// # Errors
    ///
    /// If the terminal, or the pipe, fails.
    pub fn next(&mut self) -> Result<Line> {
        let Self::Person {
            editor,
            file,
            cleared,
        } = self
        else {
            return from_pipe();
        };
        let was_cleared = std::mem::take(cleared);
        match editor.readline("> ") {
            Ok(line) => {
                // What cannot be remembered is no reason to end a chat.
                if editor.add_history_entry(&line).unwrap_or(false)
                    && let Some(file) = file
                {
                    editor.append_history(file).ok();
                }
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) if !was_cleared => {
                *cleared = true;
                Ok(Line::Cleared)
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error.into()),
        }
    }
}

fn from_pipe() -> Result<Line> {
    let mut line = Vec::new();
    if std::io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
        return Ok(Line::End);
    }
    // A byte that is no UTF-8 is a slip, not a reason to end the chat.
    Ok(Line::Text(String::from_utf8_lossy(&line).into_owned()))
}

/// Where a user's programs keep what they remember.
fn state_folder() -> Option<PathBuf> {
    let named = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute())
    };
    let folder = if cfg!(windows) {
        named("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        std::env::home_dir().map(|home| home.join("Library/Application Support"))
    } else {
        named("XDG_STATE_HOME")
            .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))
    };
    folder.map(|folder| folder.join("aki"))
}

/// Makes a folder that others cannot look into.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
