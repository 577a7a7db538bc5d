//! What a line means.

use std::path::{Path, PathBuf};

#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    Nothing,
    Question(String),
    /// `:image` alone.
    Pictures,
    Show(Vec<PathBuf>),
    Save {
        file: PathBuf,
        replace: bool,
    },
    Reset,
    Help,
    Quit,
    /// A mistake, with what is told.
    Wrong(String),
}

/// Reads a line: a command begins with a colon and a letter, anything else is a question.
pub fn parse(line: &str) -> Typed {
    let line = line.trim();
    if line.is_empty() {
        return Typed::Nothing;
    }
    let (name, rest) = match line.split_once(char::is_whitespace) {
        Some((name, rest)) => (name, rest.trim()),
        None => (line, ""),
    };
    if name == "/image" {
        return Typed::Wrong(":image FILE adds a picture to the next question".to_owned());
    }
    let command = name.strip_prefix(':');
    let Some(command) = command.filter(|it| it.starts_with(|c: char| c.is_ascii_alphabetic()))
    else {
        return Typed::Question(line.to_owned());
    };
    match (command, rest) {
        ("image", "") => Typed::Pictures,
        ("image", files) => Typed::Show(paths(files)),
        ("save" | "save!", file) => match &paths(file)[..] {
            [file] => Typed::Save {
                file: file.clone(),
                replace: command == "save!",
            },
            _ => Typed::Wrong(format!(":{command} takes one file: :{command} FILE.jsonl")),
        },
        ("reset", "") => Typed::Reset,
        ("help", "") => Typed::Help,
        ("quit" | "exit", "") => Typed::Quit,
        ("reset" | "help" | "quit" | "exit", _) => {
            Typed::Wrong(format!(":{command} stands alone on its line"))
        }
        _ => Typed::Wrong(format!("no command :{command}; :help lists them")),
    }
}

/// Files as they are typed, or as terminals write those that are dropped on them: in quotes, or with
/// backslashes before blanks.
fn paths(text: &str) -> Vec<PathBuf> {
    // A name with blanks, as it is.
    if Path::new(text).exists() {
        return vec![text.into()];
    }
    words(text).into_iter().map(at_home).collect()
}

/// Words as a shell has them.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        // Windows has backslashes in paths.
        let escapes = c == '\\' && quote != Some('\'') && !cfg!(windows);
        match c {
            _ if escapes => word.get_or_insert_default().extend(chars.next()),
            _ if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && quote.is_none() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// `~` is the user's folder.
fn at_home(word: String) -> PathBuf {
    let below = word.strip_prefix('~').filter(|rest| {
        rest.is_empty() || rest.starts_with('/') || cfg!(windows) && rest.starts_with('\\')
    });
    match (below, std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest.trim_start_matches(['/', '\\'])),
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_a_question() {
        assert_eq!(parse("  "), Typed::Nothing);
        assert_eq!(parse(":) hi"), Typed::Question(":) hi".to_owned()));
        assert_eq!(parse(" a\nb \n"), Typed::Question("a\nb".to_owned()));
        assert_eq!(parse(":quit"), Typed::Quit);
        for wrong in [
            "/image a.png",
            ":images",
            ":save",
            ":save a b",
            ":reset now",
        ] {
            assert!(matches!(parse(wrong), Typed::Wrong(_)), "{wrong}");
        }
        let save = Typed::Save {
            file: "a b.json".into(),
            replace: true,
        };
        assert_eq!(parse(":save! 'a b.json'"), save);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_read_as_terminals_write_them() {
        let files = |text: &str| -> Vec<String> {
            let paths = paths(text).into_iter();
            paths.map(|path| path.display().to_string()).collect()
        };
        assert_eq!(files("'my file.png'"), ["my file.png"]);
        assert_eq!(files(r"my\ file.png b.png "), ["my file.png", "b.png"]);
        assert_eq!(
            files(r#"'it'\''s.png' "a \"b\".png""#),
            ["it's.png", "a \"b\".png"]
        );
        assert_eq!(files("'äöü 🙂.png"), ["äöü 🙂.png"]);
        assert_eq!(files("''"), [""]);
        let home = std::env::home_dir().expect("a home");
        assert_eq!(paths("~/a.png"), [home.join("a.png")]);
        assert_eq!(files("~other/a"), ["~other/a"]);
    }
}
