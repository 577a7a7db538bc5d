//! How many samples shards are said to hold, by files beside them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};

use super::names::Shard;
use super::remote::{RemoteConfig, RemoteError};
use crate::DataError;

/// 2^20 shards with names of 64 bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Samples in the shards, as said by `sizes.json` (`{"00000.tar": 10000, ..}`) or
/// else `__len__` (one number for all shards there) in the folder of each; none if
/// a folder has neither or standard input is among the shards.
///
/// It is what the writer of the shards counted; broken samples are among them.
/// Remote stores are asked as `remote` says. One that shows no such file to this user
/// has none.
///
/// # Errors
/// [`DataError::Shards`] if such a file cannot be understood, or `sizes.json` lacks
/// a shard; [`DataError::Io`] or [`DataError::Remote`] if it cannot be read.
pub fn declared_samples(shards: &[Shard], remote: &RemoteConfig) -> Result<Option<u64>, DataError> {
    let mut folders: BTreeMap<Shard, Vec<&Shard>> = BTreeMap::new();
    for shard in shards {
        let Some(sizes) = shard.beside("sizes.json") else {
            return Ok(None);
        };
        folders.entry(sizes).or_default().push(shard);
    }
    let mut total = 0_u64;
    for (sizes, shards) in folders {
        let Some(samples) = in_folder(&sizes, &shards, remote)? else {
            return Ok(None);
        };
        total = total.saturating_add(samples);
    }
    Ok(Some(total))
}

/// Samples in shards that stand beside the file `sizes`.
fn in_folder(
    sizes: &Shard,
    shards: &[&Shard],
    remote: &RemoteConfig,
) -> Result<Option<u64>, DataError> {
    let fault = |file: &Shard, reason: String| DataError::Shards {
        pattern: file.name().display().to_string(),
        reason,
    };
    if let Some(text) = read(sizes, remote)? {
        let by_name: HashMap<String, u64> =
            serde_json::from_str(&text).map_err(|error| fault(sizes, error.to_string()))?;
        let mut total = 0_u64;
        for shard in shards {
            let path = shard.name();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let size = by_name
                .get(&*name)
                .ok_or_else(|| fault(sizes, format!("it has no entry {name}")))?;
            total = total.saturating_add(*size);
        }
        return Ok(Some(total));
    }
    let Some(len) = sizes.beside("__len__") else {
        return Ok(None);
    };
    let Some(text) = read(&len, remote)? else {
        return Ok(None);
    };
    let number = text.trim().parse();
    let number = number.map_err(|_| fault(&len, "it is not one whole number".to_owned()))?;
    Ok(Some(number))
}

/// The text of a file that may be missing.
fn read(file: &Shard, remote: &RemoteConfig) -> Result<Option<String>, DataError> {
    let (name, reader): (_, Box<dyn Read>) = match file {
        Shard::File(path) => match File::open(path) {
            Ok(open) => (path.clone(), Box::new(open)),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.to_path_buf();
                return Err(DataError::Io { path, source });
            }
        },
        Shard::Remote(object) => (object.name(), object.open(remote)),
        Shard::Stdin => return Ok(None),
    };
    let mut text = String::new();
    let Err(source) = reader.take(MAX_BYTES).read_to_string(&mut text) else {
        return Ok(Some(text));
    };
    match source.downcast::<RemoteError>() {
        Ok(error) if error.missing => Ok(None),
        Ok(error) => Err(DataError::Remote {
            url: name.display().to_string(),
            reason: error.reason,
        }),
        Err(source) => {
            let path = name.to_path_buf();
            Err(DataError::Io { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_summed_and_len_is_second_choice() {
        let folder = tempfile::tempdir().expect("folder");
        let shards: Vec<_> = ["0.tar", "1.tar"]
            .map(|name| Shard::File(folder.path().join(name).into()))
            .into();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("writing");
        };
        let declared_samples =
            |shards: &[Shard]| super::declared_samples(shards, &RemoteConfig::default());
        assert_eq!(declared_samples(&shards).expect("none"), None);
        write("__len__", "70\n");
        assert_eq!(declared_samples(&shards).expect("len"), Some(70));
        write("sizes.json", r#"{"0.tar": 3, "1.tar": 4, "2.tar": 9}"#);
        assert_eq!(declared_samples(&shards).expect("sizes"), Some(7));
        write("sizes.json", r#"{"0.tar": 3}"#);
        let error = declared_samples(&shards).expect_err("1.tar is missing");
        assert!(error.to_string().contains("1.tar"), "{error}");
        write("sizes.json", r#"{"0.tar": -3, "1.tar": 4}"#);
        assert!(declared_samples(&shards).is_err());
        assert_eq!(declared_samples(&[Shard::Stdin]).expect("stdin"), None);
    }
}
