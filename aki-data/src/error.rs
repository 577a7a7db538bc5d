//! What can go wrong between a file and a batch.

use std::path::PathBuf;

/// An error of this crate: what failed, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or its folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// Data cannot be packed into shards.
    #[error("cannot pack shards: {}: {reason}", path.display())]
    Pack {
        /// The data or the folder of the shards.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// Shards were being written when it was asked to stop.
    #[error(
        "stopped; the shards in {} are whole but not all, so there is no sizes.json; remove them \
         before you pack again",
        folder.display()
    )]
    Stopped {
        /// Folder of the shards.
        folder: PathBuf,
    },

    /// A picture could not be decoded.
    #[error(
        "cannot decode picture {name}: {reason}; is it a PNG, JPEG, WebP, GIF, BMP or TIFF, and whole?"
    )]
    Picture {
        /// The file, or the shard and the key.
        name: String,
        /// What the decoder said.
        reason: String,
    },

    /// A file of annotations is not what it should be.
    #[error(
        "cannot use annotations {} (line {line}, column {column}): {reason}; is it the file of \
         this kind of source, and whole?",
        path.display()
    )]
    Annotations {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },

    /// A benchmark's file is not what it should be.
    #[error("cannot use the benchmark {}: {place}: {reason}", path.display())]
    Benchmark {
        /// The file or its folder.
        path: PathBuf,
        /// Row and column, or what else of it.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// A shard is cut off or damaged.
    #[error(
        "damaged tar shard {} ({}): {reason}; copy or download it again",
        shard.display(),
        after(last_key.as_deref())
    )]
    Tar {
        /// The shard.
        shard: PathBuf,
        /// Key of the last sample read whole, if there was one.
        last_key: Option<String>,
        /// What is wrong.
        reason: String,
    },

    /// A tokenizer's file could not be read or does not fit.
    #[error("cannot use tokenizer {}: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// A tokenizer lacks a special token.
    #[error(
        "tokenizer {} has no special token `{token}`; add it to `added_tokens` with \
         `\"special\": true`, or open it as a language model's if it is one",
        path.display()
    )]
    MissingToken {
        /// The file.
        path: PathBuf,
        /// Text of the missing token.
        token: String,
    },

    /// A text with turns was to be made with a tokenizer without tags for them.
    #[error(
        "the tokenizer has no `<|system|>`, `<|user|>`, `<|assistant|>` and `<|end|>`, of which \
         AKI's turns are made; use the chat template of its folder, or captions"
    )]
    NoRoles,

    /// A chat template could not be used.
    #[error("cannot use the chat template: {reason}; check chat_template in tokenizer_config.json")]
    ChatTemplate {
        /// What is wrong, and where in the template.
        reason: String,
    },

    /// A text could not be turned into ids.
    #[error("cannot encode the text {text:?}: {reason}")]
    Encode {
        /// The text, shortened.
        text: String,
        /// What the tokenizer said.
        reason: String,
    },

    /// Ids could not be turned into text.
    #[error("cannot decode token ids: {reason}")]
    Decode {
        /// What is wrong with them.
        reason: String,
    },

    /// A sample lacks what the target of the batch needs.
    #[error(
        "sample {key} of {} has no {needs}; filter samples with Target::accepts before batching",
        shard.display()
    )]
    Target {
        /// The sample's shard.
        shard: PathBuf,
        /// The sample's key.
        key: String,
        /// What the target needs: a caption or a question.
        needs: &'static str,
    },

    /// A remote store failed, in spite of all attempts.
    #[error("cannot read {url}: {reason}")]
    Remote {
        /// The object, without the query of its URL.
        url: String,
        /// What the store said, or what became of the connection, and what to do.
        reason: String,
    },

    /// Names of shards, or what stands beside them, cannot be used.
    #[error("cannot use the shards {pattern}: {reason}")]
    Shards {
        /// The pattern or the file.
        pattern: String,
        /// What is wrong.
        reason: String,
    },

    /// A data source of a run file cannot be used.
    #[error("cannot use data source {name}: {reason}")]
    Source {
        /// The source's name.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// More samples, or more shards, than allowed were broken.
    #[error(
        "{bad} of {seen} {name} cannot be used ({reasons}), more than the share of \
         {max_bad_share} allowed; the last was {last}; mend the data, or raise the share"
    )]
    TooManyBroken {
        /// What they are, in the plural.
        name: String,
        /// Broken ones.
        bad: u64,
        /// All that were looked at.
        seen: u64,
        /// Share that is allowed.
        max_bad_share: f64,
        /// Counts by reason.
        reasons: String,
        /// The last broken sample, with shard, key and reason.
        last: String,
    },

    /// A stream of samples cannot be set up so.
    #[error("cannot stream the shards: {reason}")]
    Stream {
        /// What is wrong, and what to do.
        reason: String,
    },

    /// A stream cannot go on where it was.
    #[error("cannot resume the data stream: {reason}")]
    Resume {
        /// What differs, and what to do.
        reason: String,
    },

    /// A batch of no items was asked for.
    #[error("a batch needs at least one sample; check that the data set is not empty")]
    EmptyBatch,
}

/// Says how far a shard was good.
fn after(last_key: Option<&str>) -> String {
    last_key.map_or_else(
        || "no sample was read".to_owned(),
        |key| format!("last good sample: {key}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_shard_is_named_with_its_last_good_key() {
        let error = DataError::Tar {
            shard: PathBuf::from("a/00001.tar"),
            last_key: Some("000417".to_owned()),
            reason: "unexpected end".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "damaged tar shard a/00001.tar (last good sample: 000417): unexpected end; \
             copy or download it again"
        );
    }
}
