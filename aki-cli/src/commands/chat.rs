//! `aki chat`.

use std::io::{BufRead, IsTerminal, Write};

use aki_data::Picture;
use anyhow::Result;

use super::generate::{Ends, Session};
use crate::args::ModelArgs;

/// Answers the lines that are typed. Each question stands alone.
pub fn run(args: &ModelArgs) -> Result<()> {
    let mut session = Session::open(args)?;
    let person = std::io::stdin().is_terminal();
    if person {
        writeln!(
            std::io::stdout(),
            "Ask about the picture. /image FILE takes another one, Ctrl-D ends."
        )?;
    }
    let ends = Ends {
        tokens: session.model.tokenizer.special().stops(),
        texts: &[],
    };
    let mut input = std::io::stdin().lock();
    loop {
        if person {
            write!(std::io::stdout(), "> ")?;
            std::io::stdout().flush()?;
        }
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // A byte that is no UTF-8 is a slip of the terminal, not a reason to end the chat.
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        if let Some(file) = line.strip_prefix("/image ") {
            match (session.open)(file.trim().as_ref()) {
                Ok(picture) => session.pictures = vec![picture],
                Err(error) => eprintln!("{:#}", anyhow::Error::from(error)),
            }
        } else if line.starts_with('/') {
            eprintln!("no command {line}; there is /image FILE");
        } else if !line.is_empty() {
            let pictures: Vec<&Picture> = session.pictures.iter().collect();
            match session.model.prompt(line, &pictures) {
                Ok(prompt) => {
                    session.answer(prompt, &ends, false, true)?;
                }
                Err(error) => eprintln!("{:#}", anyhow::Error::from(error)),
            }
        }
    }
    Ok(())
}
