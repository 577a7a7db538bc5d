//! `judge-cache.jsonl`: what a judge has said is not asked again.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aki_train::files::{append_after, whole_lines};
use anyhow::{Context, Result};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Reply;

const FILE: &str = "judge-cache.jsonl";

/// A line.
#[derive(Serialize, Deserialize)]
struct Line {
    /// Of the address, the model and the messages.
    key: String,
    model: String,
    #[serde(flatten)]
    reply: Reply,
}

/// Replies by what was asked.
pub struct Cache {
    path: PathBuf,
    kept: Mutex<(File, HashMap<String, Reply>)>,
}

impl Cache {
    /// That of a folder. Lines that are none are left out, and counted in a warning.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let shown = path.display();
        let bytes = match path.exists() {
            true => whole_lines(&path).with_context(|| format!("cannot read {shown}"))?,
            false => Vec::new(),
        };
        let (mut replies, mut broken) = (HashMap::new(), 0);
        for line in bytes
            .split(|&byte| byte == b'\n')
            .filter(|it| !it.is_empty())
        {
            match serde_json::from_slice::<Line>(line) {
                Ok(line) => drop(replies.insert(line.key, line.reply)),
                Err(_) => broken += 1,
            }
        }
        if broken > 0 {
            say!("warning: {broken} lines of {shown} are damaged; their questions are asked again");
        }
        let file = append_after(&path, bytes.len());
        let file = file.with_context(|| format!("cannot write {shown}"))?;
        Ok(Self {
            path,
            kept: Mutex::new((file, replies)),
        })
    }

    /// By what a conversation with a model is known. Another address may have another model under the same name.
    pub fn key(url: &Url, model: &str, messages: &Value) -> String {
        let asked = serde_json::json!([url.as_str(), model, messages]).to_string();
        blake3::hash(asked.as_bytes()).to_string()
    }

    pub fn get(&self, key: &str) -> Option<Reply> {
        self.lock().1.get(key).cloned()
    }

    pub fn keep(&self, key: String, model: &str, reply: &Reply) -> Result<()> {
        let line = Line {
            key: key.clone(),
            model: model.to_owned(),
            reply: reply.clone(),
        };
        let line = serde_json::to_string(&line)? + "\n";
        let (file, replies) = &mut *self.lock();
        let written = file.write_all(line.as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        replies.insert(key, reply.clone());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, (File, HashMap<String, Reply>)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
