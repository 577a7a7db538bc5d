//! A shard as a stream of samples: members grouped by key.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::blocks::{Member, TarReader};
use super::limits::Limits;
use super::sample::{MemberKind, RawSample, SkipReason, Skipped};

/// Samples of one shard in the order of its members. It holds the members of one
/// key, whatever the shard's size.
///
/// A member `a/0001.txt` has the key `a/0001`, which ends at the first dot of the
/// file name; members of one key follow each other. Several pictures of a key are
/// `a/0001.0.jpg`, `a/0001.1.png` and so on, in any order and without a gap. What is no
/// plain file (folders, links) and extensions that mean nothing here are passed over.
///
/// What is wrong with a sample is an item, `Err`, and the next one follows. Damage
/// to the archive is the last item: [`SkipReason::Tar`] with the key that it was
/// found in, or after; and so is a store that fails, as [`SkipReason::Remote`].
pub struct SampleReader<R> {
    tar: TarReader<R>,
    shard: Arc<Path>,
    limits: Limits,
    open: Option<Group>,
    last_key: String,
    /// Damage found after a group that is still to be handed out.
    damage: Option<SkipReason>,
    ended: bool,
}

/// A sample whose members are still coming.
struct Group {
    sample: RawSample,
    /// By their numbers; that of `KEY.jpg` has none.
    pictures: BTreeMap<Option<u16>, Vec<u8>>,
    picture_bytes: u64,
    fault: Option<SkipReason>,
}

impl Group {
    /// The sample, or what is wrong with it.
    fn finish(mut self) -> Result<RawSample, (String, SkipReason)> {
        let fault = self.fault.or_else(|| wrong_numbers(&self.pictures));
        self.sample.pictures = self.pictures.into_values().collect();
        match fault {
            None => Ok(self.sample),
            Some(reason) => Err((self.sample.key, reason)),
        }
    }
}

/// One picture has no number, or they are numbered from 0 without a gap.
fn wrong_numbers(pictures: &BTreeMap<Option<u16>, Vec<u8>>) -> Option<SkipReason> {
    if pictures.contains_key(&None) {
        return (pictures.len() > 1).then_some(SkipReason::Twice { kind: "picture" });
    }
    let mut expected = (0..).zip(pictures.keys());
    let (number, _) = expected.find(|(number, key)| **key != Some(*number))?;
    Some(SkipReason::Gap { number })
}

impl<R: Read> SampleReader<R> {
    /// Samples of the tar archive that `reader` gives; `shard` is its name in errors.
    pub fn new(reader: R, shard: Arc<Path>, limits: Limits) -> Self {
        Self {
            tar: TarReader::new(reader),
            shard,
            limits,
            open: None,
            last_key: String::new(),
            damage: None,
            ended: false,
        }
    }

    /// The next group that is complete; at the archive's end the last, if there is one.
    fn group(&mut self) -> Result<Option<Group>, SkipReason> {
        if let Some(reason) = self.damage.take() {
            return Err(reason);
        }
        while let Some(member) = self.tar.next()? {
            let Some((key, extension)) = split_name(&member.name).filter(|_| member.is_file) else {
                continue;
            };
            let done = self.open.take_if(|open| open.sample.key != key);
            let kind = MemberKind::of(extension);
            if self.open.is_none() {
                key.clone_into(&mut self.last_key);
                self.open = Some(Group {
                    sample: RawSample::new(self.shard.clone(), key.to_owned()),
                    pictures: BTreeMap::new(),
                    picture_bytes: 0,
                    fault: (!is_inside(key)).then_some(SkipReason::Name),
                });
            }
            let added = kind.map_or(Ok(()), |kind| self.add(kind, &member));
            match (done, added) {
                (Some(done), added) => {
                    self.damage = added.err();
                    return Ok(Some(done));
                }
                (None, added) => added?,
            }
        }
        // Behind its end an archive is not read on.
        self.ended = true;
        Ok(self.open.take())
    }

    /// Reads a member into the open group, if it may be held.
    fn add(&mut self, kind: MemberKind, member: &Member) -> Result<(), SkipReason> {
        let Some(group) = &mut self.open else {
            return Ok(());
        };
        let (size, limit) = match kind {
            MemberKind::Picture(_) => {
                group.picture_bytes = group.picture_bytes.saturating_add(member.size);
                (group.picture_bytes, self.limits.picture_bytes)
            }
            MemberKind::Text => (member.size, self.limits.text_bytes),
            MemberKind::Json => (member.size, self.limits.json_bytes),
        };
        if size > limit {
            let what = kind.name();
            let reason = SkipReason::TooLarge { what, size, limit };
            group.fault.get_or_insert(reason);
            return Ok(());
        }
        let content = self.tar.content();
        let content = content.map_err(|reason| match reason {
            SkipReason::Tar { reason } => SkipReason::Tar {
                reason: format!("member {:?}: {reason}", member.name),
            },
            other => other,
        })?;
        let before = match kind {
            MemberKind::Picture(number) => group.pictures.insert(number, content),
            MemberKind::Text => group.sample.text.replace(content),
            MemberKind::Json => group.sample.json.replace(content),
        };
        if before.is_some() {
            let kind = kind.name();
            group.fault.get_or_insert(SkipReason::Twice { kind });
        }
        Ok(())
    }

    fn skipped(&self, key: String, reason: SkipReason) -> Skipped {
        Skipped {
            shard: self.shard.to_path_buf(),
            key,
            reason,
        }
    }
}

impl<R: Read> Iterator for SampleReader<R> {
    type Item = Result<RawSample, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.group() {
            Ok(Some(group)) => {
                let sample = group.finish();
                Some(sample.map_err(|(key, reason)| self.skipped(key, reason)))
            }
            Ok(None) => None,
            Err(reason) => {
                self.ended = true;
                let key = self.last_key.clone();
                Some(Err(self.skipped(key, reason)))
            }
        }
    }
}

/// Key and extension of a member: the key ends at the first dot of the file name.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let file_start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file_start + name[file_start..].find('.')?;
    (dot > file_start).then(|| (&name[..dot], &name[dot + 1..]))
}

/// Keys become names of files elsewhere, so one that leads out of a folder is none.
fn is_inside(key: &str) -> bool {
    let mut parts = key.split(['/', '\\']);
    !key.starts_with(['/', '\\']) && parts.all(|part| part != "..") && !key.contains('\0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        picture_bytes: 10,
        text_bytes: 5,
        json_bytes: 5,
        picture_pixels: 1,
    };

    fn read(bytes: &[u8]) -> Vec<Result<RawSample, Skipped>> {
        SampleReader::new(bytes, Path::new("s.tar").into(), LIMITS).collect()
    }

    fn told(items: Vec<Result<RawSample, Skipped>>) -> Vec<(String, &'static str)> {
        let told = |item: Result<RawSample, Skipped>| match item {
            Ok(sample) => (sample.key, "good"),
            Err(skipped) => (skipped.key, skipped.reason.kind()),
        };
        items.into_iter().map(told).collect()
    }

    fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_entry_type(match name.ends_with(".link.txt") {
                true => tar::EntryType::Symlink,
                false => tar::EntryType::Regular,
            });
            // As it stands: `append_data` would refuse what leads out.
            let place = &mut header.as_mut_bytes()[..name.len()];
            place.copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).expect("writing to memory");
        }
        builder.into_inner().expect("writing to memory")
    }

    #[test]
    fn one_bad_sample_leaves_the_others() {
        let bytes = shard(&[
            ("a.txt", b"one"),
            ("a.jpg", b"0123456789"),
            ("b.txt", b"too long"),
            ("b.png", b"png"),
            ("../c.txt", b"out"),
            ("/d.txt", b"out"),
            ("e/../../f.txt", b"out"),
            ("g.link.txt", b"link"),
            ("h..txt", b"in"),
            ("i.txt", b"in"),
            ("i.TXT", b"in"),
            ("j.cls", b"no member that counts"),
        ]);
        let expected = [
            ("a", "good"),
            ("b", "too large"),
            ("../c", "unsafe name"),
            ("/d", "unsafe name"),
            ("e/../../f", "unsafe name"),
            ("h", "good"),
            ("i", "member twice"),
            ("j", "good"),
        ];
        let expected = expected.map(|(key, kind)| (key.to_owned(), kind));
        assert_eq!(told(read(&bytes)), expected);
    }

    #[test]
    fn numbered_pictures_come_in_their_order() {
        let bytes = shard(&[
            ("a.10.png", b"k"),
            ("a.txt", b"text"),
            ("a.0.jpg", b"a"),
            ("a.02.gif", b"c"),
            ("a.1.PNG", b"b"),
            ("b.0.jpg", b"a"),
            ("b.0.png", b"b"),
            ("c.jpg", b"a"),
            ("c.0.jpg", b"b"),
            ("d.1.jpg", b"b"),
            ("e.0.jpg", b"a"),
            ("e.1.jpg", b"b"),
            ("f.0.jpg", b"012345"),
            ("f.1.jpg", b"012345"),
            ("g.0.json", b"no member"),
            ("g.seg.png", b"no member"),
        ]);
        let items = read(&bytes);
        let Err(a) = &items[0] else {
            panic!("3 to 9 are missing");
        };
        assert_eq!(a.reason, SkipReason::Gap { number: 3 });
        let Ok(e) = &items[4] else {
            panic!("a whole sample");
        };
        assert_eq!(e.pictures, [b"a", b"b"]);
        let expected = [
            ("a", "missing member"),
            ("b", "member twice"),
            ("c", "member twice"),
            ("d", "missing member"),
            ("e", "good"),
            ("f", "too large"),
            ("g", "good"),
        ];
        let expected = expected.map(|(key, kind)| (key.to_owned(), kind));
        assert_eq!(told(items), expected);
    }

    #[test]
    fn damage_is_told_after_what_was_whole() {
        let bytes = shard(&[("a.txt", b"one"), ("b.txt", b"two"), ("b.png", b"png")]);
        let cut = |at: usize| told(read(&bytes[..at]));
        let good = |key: &str| (key.to_owned(), "good");
        let damaged = |key: &str| (key.to_owned(), "damaged shard");
        assert_eq!(cut(0), [damaged("")]);
        assert_eq!(cut(300), [damaged("")]);
        assert_eq!(cut(1024), [damaged("a")]);
        assert_eq!(cut(3 * 512 + 2), [good("a"), damaged("b")]);
        assert_eq!(cut(6 * 512), [good("a"), damaged("b")]);
        assert_eq!(cut(7 * 512), [good("a"), good("b")]);
    }

    #[test]
    fn a_member_above_its_limit_is_never_held() {
        /// Zeros without end, of which no more than 64 KiB are asked for at once.
        struct Zeros(u64);
        impl Read for Zeros {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                assert!(buffer.len() <= 1 << 16);
                let len = (buffer.len() as u64).min(self.0) as usize;
                buffer[..len].fill(0);
                self.0 -= len as u64;
                Ok(len)
            }
        }
        let size = 1 << 30;
        let mut header = tar::Header::new_gnu();
        header.set_path("a.png").expect("short");
        header.set_size(size);
        header.set_cksum();
        let reader = header.as_bytes().chain(Zeros(size + 1024));
        let items = SampleReader::new(reader, Path::new("s.tar").into(), LIMITS).collect();
        assert_eq!(told(items), [("a".to_owned(), "too large")]);
    }

    #[test]
    fn long_names_of_both_kinds_are_read_and_limited() {
        let long = format!("{}/x.txt", "d".repeat(200));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        builder
            .append_data(&mut header, &long, &b"g"[..])
            .expect("writing");
        builder
            .append_pax_extensions([("path", b"pax.txt".as_slice()), ("size", b"3")])
            .expect("writing");
        let mut header = tar::Header::new_ustar();
        header.set_path("short.txt").expect("short");
        // What the attributes say counts; the tar crate goes by the header to write.
        header.set_size(3);
        header.set_cksum();
        builder.append(&header, &b"pax"[..]).expect("writing");
        let bytes = builder.into_inner().expect("writing");
        let key = long.strip_suffix(".txt").expect("a text").to_owned();
        assert_eq!(
            told(read(&bytes)),
            [(key, "good"), ("pax".to_owned(), "good")]
        );

        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let items = told(read(header.as_bytes()));
        assert_eq!(items, [(String::new(), "damaged shard")]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let _ = read(&bytes);
        }

        #[test]
        fn damaged_shards_are_walked_to_an_end(at: usize, with: u8, fix: bool) {
            let mut bytes = shard(&[("a.txt", b"one"), ("b.png", b"png"), ("b.txt", b"two")]);
            let at = at % bytes.len();
            bytes[at] = with;
            if fix {
                let start = at / 512 * 512;
                let block = &mut bytes[start..start + 512];
                let mut header = tar::Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
            prop_assert!(read(&bytes).len() <= 4);
        }
    }
}
