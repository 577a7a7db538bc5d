//! From files to a [`Tokenizer`]: which are there, and which ids the special tokens have.

use std::path::{Path, PathBuf};

use super::config::{self, Config};
use super::json::Json;
use super::llama::Llama;
use super::sentencepiece::Model;
use super::special::{Roles, SpecialTokens};
use super::tokenizer::{Engine, JSON, MODEL, Tokenizer};
use crate::DataError;

/// The largest of either file that is read, in bytes; Llama 3's and Gemma's JSON have 9 and 33
/// million, Gemma's model 4.
const MAX_JSON: u64 = 256 << 20;
const MAX_MODEL: u64 = 16 << 20;

/// A tokenizer whose special tokens are not known yet.
pub(super) struct Source {
    path: PathBuf,
    engine: Engine,
    model: Vec<u8>,
}

impl Source {
    pub(super) fn open(folder: &Path) -> Result<(Self, Config), DataError> {
        let config = Config::read(folder)?;
        let file = folder.join(JSON);
        if file.is_file() {
            return Ok((Self::json(&file, &config)?, config));
        }
        let path = folder.join(MODEL);
        let fault = |reason: String| DataError::Tokenizer {
            path: path.clone(),
            reason,
        };
        let model = config::read_file(&path, MAX_MODEL)?
            .ok_or_else(|| fault(format!("it is missing, and so is {JSON}")))?;
        let read = Model::read(&model).map_err(&fault)?;
        let engine = Engine::Llama(Box::new(Llama::new(read, &config).map_err(&fault)?));
        let path = folder.to_owned();
        Ok((
            Self {
                path,
                engine,
                model,
            },
            config,
        ))
    }

    pub(super) fn json(path: &Path, config: &Config) -> Result<Self, DataError> {
        let bytes = config::read_file(path, MAX_JSON)?;
        let bytes = bytes.ok_or_else(|| DataError::Tokenizer {
            path: path.to_owned(),
            reason: "it is missing".to_owned(),
        })?;
        Self::json_text(path, &bytes, config)
    }

    /// As [`Self::json`], from the file's text.
    pub(super) fn json_text(path: &Path, text: &[u8], config: &Config) -> Result<Self, DataError> {
        let json = Json::read(text, config).map_err(|error| DataError::Tokenizer {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            engine: Engine::Json(Box::new(json)),
            model: Vec::new(),
        })
    }

    /// Adds the tokens that a language model lacks.
    pub(super) fn extended(mut self, mut config: Config) -> Result<Tokenizer, DataError> {
        // A tokenizer.json alone may have `<s>` among its pieces only.
        if !config.exists() && self.id("<s>").is_none() && self.has("<s>") {
            config.begin_with("<s>");
            self = self.rebuilt(&config)?;
        }
        let lacking = [
            ("<pad>", true),
            ("<image>", false),
            ("<|endofchunk|>", false),
        ];
        for (content, pads) in lacking {
            if self.id(content).is_none() {
                config.add(self.len() as u32, content, pads);
                self = self.rebuilt(&config)?;
            }
        }
        self.finish(config)
    }

    /// The same with what has come into the configuration.
    fn rebuilt(self, config: &Config) -> Result<Self, DataError> {
        let path = self.path.clone();
        let fault = |reason| DataError::Tokenizer { path, reason };
        let engine = match self.engine {
            Engine::Json(json) => match json.extended(config) {
                Ok(json) => Engine::Json(Box::new(json)),
                Err(error) => return Err(fault(error.to_string())),
            },
            Engine::Llama(llama) => {
                Engine::Llama(Box::new(Llama::new(llama.model, config).map_err(fault)?))
            }
        };
        Ok(Self { engine, ..self })
    }

    /// Looks the special tokens up.
    pub(super) fn finish(self, mut config: Config) -> Result<Tokenizer, DataError> {
        let find = |token: &str| {
            self.id(token).ok_or_else(|| DataError::MissingToken {
                path: self.path.clone(),
                token: token.to_owned(),
            })
        };
        let bos = match config.name("bos_token") {
            Some(name) => Some(find(name)?),
            None if config.speaks_of("bos_token") => None,
            None if config.exists() && matches!(self.engine, Engine::Json(_)) => {
                // The silence of one that names others means that there is none.
                let usual = || self.id("<s>");
                (!config.names_tokens()).then(usual).flatten()
            }
            None => Some(find("<s>")?),
        };
        if bos.is_some() && !config.speaks_of("bos_token") {
            // Or the files written would be silent about it.
            config.begin_with("<s>");
        }
        let eos = match config.name("eos_token") {
            Some(name) => find(name)?,
            None => find("<|endoftext|>").or_else(|error| find("</s>").map_err(|_| error))?,
        };
        let role = |token: &str| self.id(token);
        let roles = [
            role("<|system|>"),
            role("<|user|>"),
            role("<|assistant|>"),
            role("<|end|>"),
        ];
        let roles = match roles {
            [Some(system), Some(user), Some(assistant), Some(end)] => Some(Roles {
                system,
                user,
                assistant,
                end,
            }),
            [None, None, None, None] => None,
            // Some, but not all: a mistake rather than another kind of tokenizer.
            _ => {
                let tags = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"];
                return Err(tags
                    .into_iter()
                    .find_map(|tag| find(tag).err())
                    .unwrap_or(DataError::NoRoles));
            }
        };
        let special = SpecialTokens {
            bos,
            eos,
            pad: find("<pad>")?,
            roles,
            image: find("<image>")?,
            end_of_chunk: find("<|endofchunk|>")?,
        };
        let vocab = self.len();
        if special.image as usize + 2 != vocab || special.end_of_chunk as usize + 1 != vocab {
            return Err(DataError::Tokenizer {
                path: self.path,
                reason: format!(
                    "`<image>` and `<|endofchunk|>` have ids {} and {} but must be the last two of \
                     {vocab}; add them after all other tokens",
                    special.image, special.end_of_chunk
                ),
            });
        }
        Ok(Tokenizer {
            engine: self.engine,
            config,
            special,
            vocab,
            model: self.model,
        })
    }

    fn len(&self) -> usize {
        match &self.engine {
            Engine::Json(json) => json.len(),
            Engine::Llama(llama) => llama.len(),
        }
    }

    /// Whether there is such a token, special or not.
    fn has(&self, content: &str) -> bool {
        match &self.engine {
            Engine::Json(json) => json.has(content),
            Engine::Llama(llama) => llama.id(content).is_some(),
        }
    }

    /// Id of a special token.
    fn id(&self, content: &str) -> Option<u32> {
        match &self.engine {
            Engine::Json(json) => json.special(content),
            Engine::Llama(llama) => llama.added_id(content),
        }
    }
}
