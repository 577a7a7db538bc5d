//! How many samples shards are said to hold, by files beside them.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use super::names::Shard;
use crate::DataError;

/// 2^20 shards with names of 64 bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Samples in the shards, as said by `sizes.json` (`{"00000.tar": 10000, ..}`) or
/// else `__len__` (one number for all shards there) in the folder of each; none if
/// a folder has neither or standard input is among the shards.
///
/// It is what the writer of the shards counted; broken samples are among them.
///
/// # Errors
/// [`DataError::Shards`] if such a file cannot be understood, or `sizes.json` lacks
/// a shard; [`DataError::Io`] if it cannot be read.
pub fn declared_samples(shards: &[Shard]) -> Result<Option<u64>, DataError> {
    let mut folders: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for shard in shards {
        let Shard::File(path) = shard else {
            return Ok(None);
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        folders.entry(folder).or_default().push(path);
    }
    let mut total = 0_u64;
    for (folder, shards) in folders {
        let Some(samples) = in_folder(folder, &shards)? else {
            return Ok(None);
        };
        total = total.saturating_add(samples);
    }
    Ok(Some(total))
}

fn in_folder(folder: &Path, shards: &[&Path]) -> Result<Option<u64>, DataError> {
    let path = folder.join("sizes.json");
    let fault = |path: &Path, reason: String| DataError::Shards {
        pattern: path.display().to_string(),
        reason,
    };
    if let Some(text) = read(&path)? {
        let sizes: HashMap<String, u64> =
            serde_json::from_str(&text).map_err(|error| fault(&path, error.to_string()))?;
        let mut total = 0_u64;
        for shard in shards {
            let name = shard.file_name().unwrap_or_default().to_string_lossy();
            let size = sizes
                .get(&*name)
                .ok_or_else(|| fault(&path, format!("it has no entry {name}")))?;
            total = total.saturating_add(*size);
        }
        return Ok(Some(total));
    }
    let path = folder.join("__len__");
    let Some(text) = read(&path)? else {
        return Ok(None);
    };
    let number = text.trim().parse();
    let number = number.map_err(|_| fault(&path, "it is not one whole number".to_owned()))?;
    Ok(Some(number))
}

/// The text of a file that may be missing.
fn read(path: &Path) -> Result<Option<String>, DataError> {
    let io = |source| DataError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
    Ok(Some(text))
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
