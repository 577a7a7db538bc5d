//! Reads tar shards whole.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::groups::SampleReader;
use super::limits::Limits;
use super::sample::{RawSample, Sample, SkipReason, Skipped};
use crate::DataError;

/// What was found in a list of shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardContents {
    /// The good samples, in the order of the shards and of their members.
    pub samples: Vec<Sample>,
    /// The broken ones.
    pub skipped: Vec<Skipped>,
}

/// Reads all samples of the shards into memory, shards in parallel.
///
/// A member `a/0001.txt` has the key `a/0001`, which ends at the first dot of the
/// file name; members of one key follow each other. Of each key, `jpg`, `png`, `webp`,
/// `gif`, `bmp` or `tif` is the picture, `txt` (optional) the caption, and `json` (optional)
/// a `LLaVA` record with `conversations`; other members are ignored. A sample that
/// cannot be used is put in [`ShardContents::skipped`], with the reason.
///
/// # Errors
/// - [`DataError::Io`] if a shard cannot be opened.
/// - [`DataError::Tar`] if one is cut off or damaged. A shard must end with the
///   usual block of zeros, since one cut between two members has no other sign.
pub fn read_shards(paths: &[PathBuf]) -> Result<ShardContents, DataError> {
    let shards: Vec<_> = paths.par_iter().map(|path| read_shard(path)).collect();
    let mut all = ShardContents::default();
    for shard in shards {
        let shard = shard?;
        all.samples.extend(shard.samples);
        all.skipped.extend(shard.skipped);
    }
    Ok(all)
}

fn read_shard(path: &Path) -> Result<ShardContents, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mut contents = ShardContents::default();
    for raw in SampleReader::new(BufReader::new(file), path.into(), Limits::default()) {
        match raw.and_then(RawSample::into_sample) {
            Ok(sample) => contents.samples.push(sample),
            Err(Skipped {
                reason: SkipReason::Tar { reason },
                ..
            }) => {
                return Err(DataError::Tar {
                    shard: path.to_owned(),
                    last_key: contents.samples.pop().map(|sample| sample.key),
                    reason,
                });
            }
            Err(skipped) => contents.skipped.push(skipped),
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::tests::tiny_png;
    use super::*;

    #[test]
    fn a_member_twice_is_told() {
        let png = tiny_png();
        let contents = read(&shard(&[("a.png", &png), ("a.jpg", &png)])).expect("a good shard");
        assert_eq!(
            contents.skipped[0].reason,
            SkipReason::Twice { kind: "picture" }
        );
    }

    fn header(name: &str, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).expect("short name");
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let header = header(name, bytes.len() as u64);
            builder.append(&header, *bytes).expect("writing to memory");
        }
        builder.into_inner().expect("writing to memory")
    }

    fn read(bytes: &[u8]) -> Result<ShardContents, DataError> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), bytes).expect("writing");
        read_shards(&[file.path().to_owned()])
    }

    fn three_samples() -> Vec<u8> {
        let png = tiny_png();
        shard(&[
            ("a.png", &png),
            ("a.txt", b"one"),
            ("b.jpg", &png),
            ("b.cls", b"ignored"),
            ("d/c.v2.txt", b"no picture: the extension is v2.txt"),
            ("e.jpeg", &png),
        ])
    }

    #[test]
    fn members_are_grouped_and_broken_samples_counted() {
        let contents = read(&three_samples()).expect("a good shard");
        let keys: Vec<_> = contents.samples.iter().map(|s| s.key.as_str()).collect();
        assert_eq!(keys, ["a", "b", "e"]);
        assert_eq!(contents.samples[0].caption.as_deref(), Some("one"));
        assert_eq!(contents.skipped.len(), 1);
        assert_eq!(contents.skipped[0].key, "d/c");
        assert_eq!(contents.skipped[0].reason, SkipReason::NoPicture);
    }

    #[test]
    fn a_shard_without_its_end_is_an_error_with_the_last_good_key() {
        let whole = three_samples();
        // Two members of a block each, with their headers, then that of `b`.
        let error = read(&whole[..5 * 512]).expect_err("cut off");
        assert!(error.to_string().contains("last good sample: a"), "{error}");
        let error = read(&whole[..whole.len() - 1024]).expect_err("no zeros at the end");
        assert!(error.to_string().contains("zeros"), "{error}");
        assert!(read(&[]).is_err());
    }

    #[test]
    fn a_claimed_size_takes_no_memory() {
        for size in [513, 1 << 40, u64::MAX / 2, u64::MAX] {
            let mut bytes = header("a.png", size).as_bytes().to_vec();
            bytes.resize(1024, 0);
            let error = read(&bytes).expect_err("too large");
            assert!(matches!(error, DataError::Tar { .. }), "{error}");
        }
    }

    #[test]
    fn a_missing_shard_is_named() {
        let error = read_shards(&[PathBuf::from("no/such.tar")]).expect_err("missing");
        assert!(error.to_string().contains("no/such.tar"), "{error}");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let _ = read(&bytes);
        }

        #[test]
        fn every_truncation_is_an_error(cut in 0_usize..100_000) {
            let whole = three_samples();
            // One block of zeros is enough of an end.
            let cut = cut % (whole.len() - 1024);
            prop_assert!(read(&whole[..cut]).is_err());
        }

        #[test]
        fn a_damaged_header_never_panics(
            at in 0_usize..512, with: u8, block in 0_usize..13, fix_checksum: bool,
        ) {
            let mut bytes = three_samples();
            bytes[block * 512 + at] = with;
            if fix_checksum {
                let start = block * 512;
                let mut header = tar::Header::from_byte_slice(&bytes[start..start + 512]).clone();
                header.set_cksum();
                bytes[start..start + 512].copy_from_slice(header.as_bytes());
            }
            let _ = read(&bytes);
        }
    }
}
