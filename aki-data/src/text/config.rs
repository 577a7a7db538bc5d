//! The JSON files that a tokenizer has beside its vocabulary.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::DataError;

pub(super) const CONFIG: &str = "tokenizer_config.json";
pub(super) const SPECIAL_MAP: &str = "special_tokens_map.json";
pub(super) const ADDED: &str = "added_tokens.json";
pub(super) const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// The largest of these files that is read, in bytes; real ones have some 10 to 100 thousand.
const MAX_FILE: u64 = 16 << 20;

/// The names under which a special token can be given, in the order in which `transformers` adds
/// those that have no id yet.
const NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// A token that is found in a text as it stands, before the text is cut into pieces.
#[expect(clippy::struct_excessive_bools, reason = "the flags of the files")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AddedToken {
    pub(super) content: String,
    /// Swallows white space to its left.
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    /// Swallows white space to its right.
    #[serde(default)]
    pub(super) rstrip: bool,
    /// Is no token within a word.
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) special: bool,
}

impl AddedToken {
    pub(super) fn special(content: &str) -> Self {
        Self {
            content: content.to_owned(),
            lstrip: false,
            normalized: false,
            rstrip: false,
            single_word: false,
            special: true,
        }
    }
}

/// What the files say, put together as `transformers` 4.57 does for its slow tokenizers.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// Tokens with an id of their own.
    pub(super) added: BTreeMap<u32, AddedToken>,
    /// Special tokens with a name (`bos_token`, ..); none where the files say `null`.
    pub(super) named: Vec<(&'static str, Option<AddedToken>)>,
    /// `additional_special_tokens`.
    pub(super) additional: Vec<AddedToken>,
    /// `legacy`; absent means true.
    pub(super) legacy: Option<bool>,
    /// `add_prefix_space`; absent means true.
    pub(super) add_prefix_space: Option<bool>,
    /// The chat template's source.
    pub(super) chat_template: Option<String>,
    /// All that the files say, to be written again; none if there are no files.
    json: Option<serde_json::Map<String, Value>>,
}

impl Config {
    /// Reads the files of a folder; each may be absent.
    ///
    /// If `tokenizer_config.json` has an `added_tokens_decoder`, the two older files have no say.
    pub(super) fn read(folder: &Path) -> Result<Self, DataError> {
        let file = folder.join(CONFIG);
        let fault = |reason: String| DataError::Tokenizer {
            path: file.clone(),
            reason,
        };
        let json = read_json(&file)?;
        let found = json.is_some();
        let mut json = json.unwrap_or_default();
        let mut added = BTreeMap::new();
        if let Some(decoder) = json.remove("added_tokens_decoder") {
            added = serde_json::from_value(decoder)
                .map_err(|error| fault(format!("added_tokens_decoder: {error}")))?;
        } else {
            json.extend(read_json(&folder.join(SPECIAL_MAP))?.unwrap_or_default());
        }
        let mut config = Self {
            legacy: json.get("legacy").and_then(Value::as_bool),
            add_prefix_space: json.get("add_prefix_space").and_then(Value::as_bool),
            chat_template: chat_template(folder, &json)?,
            ..Self::default()
        };
        for name in NAMES {
            let Some(value) = json.get(name) else {
                continue;
            };
            let bad = || fault(format!("{name} is no token"));
            let token = match value {
                Value::Null => None,
                value => Some(token(value).ok_or_else(bad)?),
            };
            config.named.push((name, token));
        }
        if let Some(Value::Array(list)) = json.get("additional_special_tokens") {
            for value in list {
                let bad =
                    || fault("additional_special_tokens has an entry that is no token".to_owned());
                config.additional.push(token(value).ok_or_else(bad)?);
            }
        }
        if added.is_empty() {
            added = config.old_added_tokens(&folder.join(ADDED))?;
        }
        // A named token has the flags that it was added with.
        for token in config
            .named
            .iter_mut()
            .filter_map(|(_, token)| token.as_mut())
        {
            if let Some(found) = added.values().find(|found| found.content == token.content) {
                token.clone_from(found);
            }
        }
        config.added = added;
        config.json = (found || !json.is_empty()).then_some(json);
        Ok(config)
    }

    /// The text of a named token.
    pub(super) fn name(&self, name: &str) -> Option<&str> {
        let found = self.named.iter().find(|(found, _)| *found == name);
        found.and_then(|(_, token)| Some(token.as_ref()?.content.as_str()))
    }

    /// Whether the files say something of a name, be it `null`.
    pub(super) fn speaks_of(&self, name: &str) -> bool {
        self.named.iter().any(|(found, _)| *found == name)
    }

    /// Whether the files say something of any name.
    pub(super) fn names_tokens(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether there is a configuration.
    pub(super) fn exists(&self) -> bool {
        self.json.is_some()
    }

    /// Names the token that begins a text.
    pub(super) fn begin_with(&mut self, content: &str) {
        let token = Some(AddedToken::special(content));
        self.named.push(("bos_token", token));
    }

    /// Adds a special token: `<pad>` as the one to pad with, others as additional ones.
    pub(super) fn add(&mut self, id: u32, content: &str, pads: bool) {
        let token = AddedToken::special(content);
        if pads {
            self.named.retain(|(name, _)| *name != "pad_token");
            self.named.push(("pad_token", Some(token.clone())));
        } else {
            self.additional.push(token.clone());
        }
        self.added.insert(id, token);
    }

    /// The text of `tokenizer_config.json`.
    pub(super) fn to_text(&self, class: &str) -> String {
        let mut json = self.json.clone().unwrap_or_default();
        json.entry("tokenizer_class")
            .or_insert_with(|| class.into());
        json.insert(
            "added_tokens_decoder".to_owned(),
            serde_json::json!(self.added),
        );
        let additional: Vec<_> = self
            .additional
            .iter()
            .map(|token| token.content.as_str())
            .collect();
        json.insert("additional_special_tokens".to_owned(), additional.into());
        for (name, token) in &self.named {
            let content = token.as_ref().map(|token| token.content.as_str());
            json.insert((*name).to_owned(), content.into());
        }
        if let Some(template) = &self.chat_template {
            json.insert("chat_template".to_owned(), template.as_str().into());
        }
        format!("{:#}", Value::Object(json))
    }

    /// The text of a `special_tokens_map.json`.
    pub(super) fn special_map(&self) -> String {
        let mut map = serde_json::Map::new();
        if !self.additional.is_empty() {
            let names = self.additional.iter().map(|token| token.content.as_str());
            let key = "additional_special_tokens".to_owned();
            map.insert(key, names.collect::<Vec<_>>().into());
        }
        for (name, token) in &self.named {
            if let Some(token) = token {
                map.insert((*name).to_owned(), token.content.as_str().into());
            }
        }
        format!("{:#}", Value::Object(map))
    }

    /// `added_tokens.json` has ids only.
    fn old_added_tokens(&self, file: &Path) -> Result<BTreeMap<u32, AddedToken>, DataError> {
        let named = self.named.iter().filter_map(|(_, token)| token.as_ref());
        let special: Vec<_> = named
            .chain(&self.additional)
            .map(|token| &token.content)
            .collect();
        let mut added = BTreeMap::new();
        for (content, id) in read_json(file)?.unwrap_or_default() {
            let id = id
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| {
                    let reason = format!("the id of {content:?} is no number of 32 bits");
                    DataError::Tokenizer {
                        path: file.to_owned(),
                        reason,
                    }
                })?;
            let special = special.contains(&&content);
            let token = AddedToken {
                special,
                normalized: !special,
                ..AddedToken::special(&content)
            };
            added.insert(id, token);
        }
        Ok(added)
    }
}

/// A token is a string or an object with its `content` and flags.
fn token(value: &Value) -> Option<AddedToken> {
    match value {
        Value::String(content) => Some(AddedToken::special(content)),
        Value::Object(_) => {
            let token: AddedToken = serde_json::from_value(value.clone()).ok()?;
            Some(AddedToken {
                special: true,
                ..token
            })
        }
        _ => None,
    }
}

/// `chat_template.jinja`, else the `chat_template` of the configuration: a string, or a list of
/// named ones of which `default` counts.
fn chat_template(
    folder: &Path,
    json: &serde_json::Map<String, Value>,
) -> Result<Option<String>, DataError> {
    if let Some(bytes) = read_limited(&folder.join(CHAT_TEMPLATE))? {
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(match json.get("chat_template") {
        Some(Value::String(source)) => Some(source.clone()),
        Some(Value::Array(list)) => list
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(str::to_owned),
        _ => None,
    })
}

fn read_json(file: &Path) -> Result<Option<serde_json::Map<String, Value>>, DataError> {
    let Some(bytes) = read_limited(file)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| DataError::Tokenizer {
            path: file.to_owned(),
            reason: error.to_string(),
        })
}

fn read_limited(file: &Path) -> Result<Option<Vec<u8>>, DataError> {
    read_file(file, MAX_FILE)
}

/// Bytes of a file, none if it is absent.
///
/// # Errors
/// [`DataError::Tokenizer`] if it is larger than `max`, [`DataError::Io`] if it cannot be read.
pub(super) fn read_file(file: &Path, max: u64) -> Result<Option<Vec<u8>>, DataError> {
    let fault = |source| DataError::Io {
        path: file.to_owned(),
        source,
    };
    let len = match std::fs::metadata(file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    if len > max {
        return Err(DataError::Tokenizer {
            path: file.to_owned(),
            reason: format!("it has {len} bytes; no more than {max} are read"),
        });
    }
    std::fs::read(file).map(Some).map_err(fault)
}
