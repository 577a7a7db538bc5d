//! Which shards there are: files, globs, braces, remote stores, standard input.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::braces;
use super::groups::SampleReader;
use super::limits::Limits;
use super::remote::{self, RemoteConfig, RemoteShard};
use super::sample::{SkipReason, Skipped};
use crate::DataError;

/// Read at once from a file: tens of small samples, or one picture.
const READ_AHEAD: usize = 1 << 20;

/// Where a shard is read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shard {
    /// A tar file.
    File(Arc<Path>),
    /// A tar in a remote store.
    Remote(RemoteShard),
    /// A tar that is piped in, and so can be read once.
    Stdin,
}

impl Shard {
    /// The shard's name in messages: a path, or a URL without its query.
    pub fn name(&self) -> Arc<Path> {
        match self {
            Self::File(path) => path.clone(),
            Self::Remote(shard) => shard.name(),
            Self::Stdin => Path::new("-").into(),
        }
    }

    /// A file beside it; none beside standard input.
    pub(super) fn beside(&self, file: &str) -> Option<Self> {
        match self {
            Self::File(path) => Some(Self::File(path.with_file_name(file).into())),
            Self::Remote(shard) => Some(Self::Remote(shard.beside(file))),
            Self::Stdin => None,
        }
    }

    /// Opens it and walks its samples. A remote store is first asked for the first of
    /// them, as `remote` says.
    ///
    /// # Errors
    /// [`SkipReason::Tar`] if a file cannot be opened.
    pub fn samples(
        &self,
        limits: Limits,
        remote: &RemoteConfig,
    ) -> Result<SampleReader<Box<dyn Read + Send>>, Skipped> {
        let reader: Box<dyn Read + Send> = match self {
            Self::File(path) => match File::open(path) {
                Ok(file) => Box::new(BufReader::with_capacity(READ_AHEAD, file)),
                Err(error) => {
                    return Err(Skipped {
                        shard: path.to_path_buf(),
                        key: String::new(),
                        reason: SkipReason::Tar {
                            reason: format!("it cannot be opened: {error}"),
                        },
                    });
                }
            },
            Self::Remote(shard) => shard.open(remote),
            Self::Stdin => Box::new(BufReader::with_capacity(READ_AHEAD, std::io::stdin())),
        };
        Ok(SampleReader::new(reader, self.name(), limits))
    }
}

/// All shards that the patterns stand for, in their order, each once.
///
/// A pattern is a file, a glob (`*`, `?`, `[..]`, sorted by name), braces
/// (`{00000..01000}`, `{a,b}`, nested and several), or `-` for standard input. A
/// file of exactly that name is taken before the pattern is looked at.
///
/// With the feature `remote`, a pattern may begin with `http://`, `https://`,
/// `s3://BUCKET/`, `gs://BUCKET/` or `az://CONTAINER/`. Braces are the same there, and
/// so are globs, for which the folder is listed, as `remote` says; a web server
/// cannot list its files. Credentials and endpoints come from the environment:
///
/// - S3: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, ..;
///   `AWS_SKIP_SIGNATURE=true` for a public bucket; for other makes of S3
///   `AWS_ENDPOINT_URL`, and `AWS_ALLOW_HTTP=true` if it begins with `http://`.
/// - Google: `GOOGLE_SERVICE_ACCOUNT` (a file), `GOOGLE_SKIP_SIGNATURE`, ..
/// - Azure: `AZURE_STORAGE_ACCOUNT_NAME` with `AZURE_STORAGE_ACCOUNT_KEY` or
///   `AZURE_STORAGE_SAS_KEY`, `AZURE_SKIP_SIGNATURE`, ..
///
/// # Errors
/// [`DataError::Shards`] if a pattern is wrong, a file it names is not there, or a
/// store cannot be listed. Whether a remote shard is there is seen when it is read,
/// unless a glob found it.
pub fn expand_shards(patterns: &[String], remote: &RemoteConfig) -> Result<Vec<Shard>, DataError> {
    let mut shards = Vec::new();
    for pattern in patterns {
        let fault = |reason| DataError::Shards {
            pattern: pattern.clone(),
            reason,
        };
        if pattern == "-" {
            shards.push(Shard::Stdin);
        } else if pattern.contains("://") {
            let found = remote::expand(pattern, remote).map_err(fault)?;
            shards.extend(found.into_iter().map(Shard::Remote));
        } else if Path::new(pattern).is_file() {
            shards.push(Shard::File(Path::new(pattern).into()));
        } else {
            for name in braces::expand(pattern).map_err(fault)? {
                shards.extend(files(&name).map_err(fault)?.into_iter().map(Shard::File));
            }
        }
    }
    // A shard named twice would come twice in a pass.
    let mut seen = std::collections::HashSet::new();
    shards.retain(|shard| seen.insert(shard.clone()));
    if shards.is_empty() {
        return Err(DataError::Shards {
            pattern: patterns.join(" "),
            reason: "it stands for no shard".to_owned(),
        });
    }
    Ok(shards)
}

/// The files that a name without braces stands for.
fn files(name: &str) -> Result<Vec<Arc<Path>>, String> {
    if Path::new(name).is_file() {
        return Ok(vec![Path::new(name).into()]);
    }
    if !name.contains(['*', '?', '[']) {
        return Err(format!("there is no file {name}"));
    }
    let paths = glob::glob(name).map_err(|error| error.to_string())?;
    let paths: Vec<PathBuf> = paths
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let files: Vec<_> = paths.into_iter().filter(|path| path.is_file()).collect();
    if files.is_empty() {
        return Err(format!("no file is like {name}"));
    }
    Ok(files.into_iter().map(Arc::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_globs_and_braces_are_found_once() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["00.tar", "01.tar", "02.tar", "x{1}.tar", "note.txt"] {
            std::fs::write(folder.path().join(name), b"").expect("writing");
        }
        let names = |patterns: &[&str]| {
            let patterns: Vec<_> = patterns
                .iter()
                .map(|pattern| folder.path().join(pattern).display().to_string())
                .collect();
            let shards = expand_shards(&patterns, &RemoteConfig::default())?;
            let file = |shard: &Shard| {
                let name = shard.name();
                name.file_name()
                    .expect("file")
                    .to_string_lossy()
                    .into_owned()
            };
            Ok::<_, DataError>(shards.iter().map(file).collect::<Vec<_>>())
        };
        let all = names(&["{02..00}.tar", "0*.tar", "x{1}.tar"]).expect("shards");
        assert_eq!(all, ["02.tar", "01.tar", "00.tar", "x{1}.tar"]);
        let error = names(&["{00..03}.tar"]).expect_err("03 is missing");
        assert!(error.to_string().contains("03.tar"), "{error}");
        let error = names(&["y*.tar"]).expect_err("none");
        assert!(error.to_string().contains("y*.tar"), "{error}");
        let stdin = expand_shards(&["-".to_owned()], &RemoteConfig::default());
        assert_eq!(stdin.expect("stdin"), [Shard::Stdin]);
        assert!(expand_shards(&[], &RemoteConfig::default()).is_err());
    }

    #[cfg(not(feature = "remote"))]
    #[test]
    fn a_program_without_remote_stores_says_so() {
        let name = "s3://bucket/{0..9}.tar".to_owned();
        let error = expand_shards(&[name], &RemoteConfig::default()).expect_err("remote");
        assert!(error.to_string().contains("`--features remote`"), "{error}");
    }
}
