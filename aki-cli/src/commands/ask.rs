//! `aki generate` and `aki chat`.

use std::io::{BufRead, IsTerminal, Write};

use aki_data::Picture;
use aki_model::generate::{Sampler, Sampling, generate as decode};
use aki_train::folder::ModelFolder;
use anyhow::{Result, ensure};

use crate::args::ModelArgs;

/// A model, a picture and how answers are drawn.
struct Session {
    model: ModelFolder,
    picture: Option<Picture>,
    sampler: Sampler,
    max_new_tokens: usize,
}

pub fn generate(args: &ModelArgs, prompt: &str) -> Result<()> {
    Session::open(args)?.answer(prompt)
}

pub fn chat(args: &ModelArgs) -> Result<()> {
    let mut session = Session::open(args)?;
    let person = std::io::stdin().is_terminal();
    if person {
        writeln!(
            std::io::stdout(),
            "Ask about the picture. /image FILE takes another one, Ctrl-D ends."
        )?;
    }
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
            match Picture::open(file.trim().as_ref()) {
                Ok(picture) => session.picture = Some(picture),
                Err(error) => eprintln!("{:#}", anyhow::Error::from(error)),
            }
        } else if line.starts_with('/') {
            eprintln!("no command {line}; there is /image FILE");
        } else if !line.is_empty() {
            session.answer(line)?;
        }
    }
    Ok(())
}

impl Session {
    fn open(args: &ModelArgs) -> Result<Self> {
        ensure!(
            args.max_new_tokens > 0,
            "--max-new-tokens must be at least 1"
        );
        let picture = args.image.as_deref().map(Picture::open).transpose()?;
        let (device, _) = args.device.open()?;
        let model = ModelFolder::load(&args.model, &device)?;
        let ModelArgs {
            temperature,
            top_p,
            seed,
            max_new_tokens,
            ..
        } = *args;
        let sampler = Sampler::new(Sampling {
            temperature,
            top_p,
            seed,
        });
        Ok(Self {
            model,
            picture,
            sampler,
            max_new_tokens,
        })
    }

    /// Prints the answer while it is made. Each question stands alone.
    fn answer(&mut self, question: &str) -> Result<()> {
        let prompt = self.model.prompt(question, self.picture.as_ref())?;
        let tokenizer = &self.model.tokenizer;
        let special = tokenizer.special();
        let mut out = std::io::stdout();
        // A token may be part of a word or of a character, so the whole answer is decoded anew and
        // what is new of it is printed.
        let (mut ids, mut printed, mut fault) = (Vec::new(), String::new(), None);
        decode(
            &self.model.aki,
            prompt,
            &[special.eos, special.end],
            self.max_new_tokens,
            &mut self.sampler,
            |id| {
                ids.push(id);
                let mut print = || -> Result<()> {
                    let text = tokenizer.decode(&ids)?;
                    let text = text.trim_start().trim_end_matches('\u{fffd}');
                    if let Some(new) = text.strip_prefix(printed.as_str()) {
                        write!(out, "{new}")?;
                        out.flush()?;
                        text.clone_into(&mut printed);
                    }
                    Ok(())
                };
                fault = print().err();
                fault.is_none()
            },
        );
        if let Some(error) = fault {
            return Err(error);
        }
        // What was held back as part of a character, and never became one.
        let text = tokenizer.decode(&ids)?;
        let rest = text.trim_start().strip_prefix(printed.as_str());
        writeln!(out, "{}", rest.unwrap_or_default())?;
        Ok(())
    }
}
