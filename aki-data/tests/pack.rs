//! Data of one's own, packed into shards and read back.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use aki_data::datasets::read_conversation;
use aki_data::pretraining::{CaptionKind, PretrainingKind};
use aki_data::shards::{
    Limits, PackOptions, Packed, RawSample, RemoteConfig, Shard, declared_samples, pack_shards,
};
use aki_data::{DataError, Dataset};
use image::{ImageFormat, RgbImage};

/// A picture of one colour.
fn picture(format: ImageFormat, red: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(3, 2, image::Rgb([red, 0, 0]))
        .write_to(&mut bytes, format)
        .expect("writing to memory");
    bytes.into_inner()
}

const TURNS: &str = r#"[{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."},
    {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "It is."}]"#;

/// Lines, with the pictures that they name.
fn data(folder: &Path) -> PathBuf {
    std::fs::create_dir_all(folder.join("sub")).expect("a folder");
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("writing");
    write(
        "a.jpg",
        include_bytes!("fixtures/pillow_modes/420_16x16.jpg"),
    );
    // The name is wrong, and the extension in the shard is not.
    write("sub/b.jpg", &picture(ImageFormat::Png, 1));
    write("c.webp", &picture(ImageFormat::WebP, 2));
    write("d.bmp", &picture(ImageFormat::Bmp, 3));
    write("cut.png", &picture(ImageFormat::Png, 4)[..60]);
    write("no.png", b"no picture");
    let turns = TURNS.replace('\n', " ");
    let two = turns.replacen("Why?", "<image>\\nWhy?", 1);
    let lines = [
        format!(r#"{{"id": "x", "image": "a.jpg", "conversations": {turns}}}"#),
        format!(r#"{{"image": ["sub/b.jpg", "c.webp"], "conversations": {two}}}"#),
        String::new(),
        format!(r#"{{"image": "d.bmp", "conversations": {turns}}}"#),
        r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#
            .to_owned(),
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "d.bmp"},
            {"type": "text", "text": "What?"}]}, {"role": "assistant", "content": "Red."}]}"#
            .replace('\n', ""),
    ];
    write("data.jsonl", lines.join("\n").as_bytes());
    folder.join("data.jsonl")
}

/// Captions of the same pictures.
fn captions(folder: &Path) -> PathBuf {
    data(folder);
    let lines = [
        r#"{"image": "d.bmp", "caption": " A red field.\n"}"#,
        r#"{"image": "a.jpg", "caption": "A blue one."}"#,
    ];
    let file = folder.join("captions.jsonl");
    std::fs::write(&file, lines.join("\n")).expect("writing");
    file
}

fn with_broken_lines(folder: &Path) -> PathBuf {
    let file = captions(folder);
    let mut text = std::fs::read_to_string(&file).expect("lines");
    text += concat!(
        "\n{\"image\": \n",
        r#"{"image": "missing.png", "caption": "a"}"#,
        "\n",
        r#"{"image": "no.png", "caption": "a"}"#,
        "\n",
        r#"{"image": "cut.png", "caption": "a"}"#,
        "\n",
        r#"{"image": "sub", "caption": "a"}"#,
        "\n",
        r#"{"image": "../a.jpg", "caption": "a"}"#,
    );
    std::fs::write(&file, text).expect("writing");
    file
}

fn pack(input: &Path, out: &Path, options: &PackOptions) -> Result<Packed, DataError> {
    pack_shards(input, out, options, &mut |_| true)
}

fn samples(out: &Path) -> Vec<RawSample> {
    shards(out)
        .iter()
        .flat_map(|shard| {
            shard
                .samples(Limits::default(), &RemoteConfig::default())
                .expect("a shard")
        })
        .map(|sample| sample.expect("a good sample"))
        .collect()
}

fn shards(out: &Path) -> Vec<Shard> {
    let pattern = out.join("*.tar").display().to_string();
    aki_data::shards::expand_shards(&[pattern], &RemoteConfig::default()).expect("shards")
}

/// Names and contents.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = folder.read_dir().expect("a folder");
    let paths = files.map(|file| file.expect("a file").path());
    let mut files: Vec<_> = paths
        .map(|path| {
            let name = path.file_name().expect("a name").into();
            (name, std::fs::read(&path).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn what_is_packed_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (data(folder.path()), folder.path().join("out"));
    let options = PackOptions {
        decode: true,
        max_samples: 2,
        ..PackOptions::default()
    };
    let packed = pack(&input, &out, &options).expect("shards");
    assert_eq!((packed.entries, packed.samples, packed.shards), (5, 5, 3));
    assert_eq!(packed.skipped, []);
    let shards = shards(&out);
    assert_eq!(
        declared_samples(&shards, &RemoteConfig::default()).expect("sizes.json"),
        Some(5)
    );
    let written = files(&out);
    assert_eq!(written.len(), 4);
    let bytes: usize = written[..3].iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(packed.bytes, bytes as u64);

    let samples = samples(&out);
    let keys: Vec<_> = samples.iter().map(|sample| sample.key.as_str()).collect();
    let expected = [
        "000000001",
        "000000002",
        "000000004",
        "000000005",
        "000000006",
    ];
    assert_eq!(keys, expected);
    let dataset = Dataset::jsonl(&input).expect("lines");
    for (index, raw) in samples.into_iter().enumerate() {
        let (pictures, record) = read_conversation(raw, &Limits::default()).expect("a record");
        let expected = dataset.get(index);
        assert_eq!(record.messages, expected.messages);
        let files: Vec<_> = expected
            .images
            .iter()
            .map(|image| std::fs::read(folder.path().join(image)).expect("a picture"))
            .collect();
        assert_eq!(pictures, files);
    }
}

#[test]
fn captions_are_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (captions(folder.path()), folder.path().join("out"));
    let packed = pack(&input, &out, &PackOptions::default()).expect("shards");
    assert_eq!((packed.entries, packed.samples, packed.shards), (2, 2, 1));
    let samples = samples(&out);
    let kind = PretrainingKind::Caption(CaptionKind::Txt);
    let caption = kind
        .read(samples[0].clone(), &Limits::default())
        .expect("a caption");
    assert_eq!(caption.spelled(), "<image>A red field.<|endofchunk|>");
    assert_eq!(samples[0].text.as_deref(), Some(&b" A red field.\n"[..]));
    let picture = std::fs::read(folder.path().join("a.jpg")).expect("a picture");
    assert_eq!(samples[1].pictures, [picture]);
}

#[test]
fn captions_and_conversations_are_not_packed_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |file: PathBuf| std::fs::read_to_string(file).expect("lines");
    let (said, shown) = (read(data(folder.path())), read(captions(folder.path())));
    for (name, first, second, told) in [
        (
            "a",
            &said,
            &shown,
            "entry 7 is a caption, and those before it were conversations",
        ),
        (
            "b",
            &shown,
            &said,
            "entry 3 is a conversation, and those before it were captions",
        ),
    ] {
        let input = folder.path().join(format!("{name}.jsonl"));
        std::fs::write(&input, format!("{first}\n{second}")).expect("writing");
        let error = pack(&input, &folder.path().join(name), &PackOptions::default());
        let error = error.expect_err("two kinds").to_string();
        assert!(
            error.contains(told) && error.contains("split the file"),
            "{error}"
        );
    }
}

#[test]
fn members_are_named_by_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (data(folder.path()), folder.path().join("out"));
    pack(&input, &out, &PackOptions::default()).expect("shards");
    let file = std::fs::File::open(out.join("00000.tar")).expect("a shard");
    let mut archive = tar::Archive::new(file);
    let names: Vec<_> = archive
        .entries()
        .expect("members")
        .map(|entry| {
            let entry = entry.expect("a member");
            let header = entry.header();
            assert_eq!((header.mtime().ok(), header.uid().ok()), (Some(0), Some(0)));
            entry.path().expect("a path").display().to_string()
        })
        .collect();
    let expected = [
        "000000001.jpg",
        "000000001.json",
        "000000002.0.png",
        "000000002.1.webp",
        "000000002.json",
        "000000004.bmp",
        "000000004.json",
        "000000005.json",
        "000000006.bmp",
        "000000006.json",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_same_data_makes_the_same_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = data(folder.path());
    let made = |name: &str, shuffle| {
        let out = folder.path().join(name);
        let options = PackOptions {
            shuffle,
            max_samples: 3,
            ..PackOptions::default()
        };
        pack(&input, &out, &options).expect("shards");
        files(&out)
    };
    assert_eq!(made("a", None), made("b", None));
    let shuffled = made("c", Some(1));
    assert_eq!(shuffled, made("d", Some(1)));
    assert_ne!(shuffled, made("e", None));
    let keys = |name: &str| {
        let samples = samples(&folder.path().join(name));
        samples
            .into_iter()
            .map(|sample| sample.key)
            .collect::<Vec<_>>()
    };
    let (mut sorted, ordered) = (keys("c"), keys("a"));
    // Pinned so that an update of `rand` cannot silently change everyone's shards.
    assert_eq!(sorted.join(" "), PINNED);
    sorted.sort();
    assert_eq!(sorted, ordered);
}

const PINNED: &str = "000000002 000000004 000000005 000000006 000000001";

#[test]
fn a_list_is_as_good_as_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = data(folder.path());
    let text = std::fs::read_to_string(&input).expect("lines");
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let list = folder.path().join("list.json");
    std::fs::write(&list, format!("[\n{}\n]", lines.join(",\n"))).expect("writing");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    pack(&input, &a, &PackOptions::default()).expect("shards");
    pack(&list, &b, &PackOptions::default()).expect("shards");
    let content = |out: &Path| {
        let samples = samples(out).into_iter();
        samples
            .map(|it| (it.pictures, it.json, it.text))
            .collect::<Vec<_>>()
    };
    assert_eq!(content(&a), content(&b));
}

#[test]
fn what_is_broken_is_counted_and_too_much_of_it_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (with_broken_lines(folder.path()), folder.path().join("out"));
    let options = PackOptions {
        decode: true,
        max_bad_share: 0.8,
        ..PackOptions::default()
    };
    let packed = pack(&input, &out, &options).expect("shards");
    assert_eq!((packed.entries, packed.samples), (8, 2));
    let skipped: Vec<_> = packed
        .skipped
        .iter()
        .map(|it| (it.first.reason.kind(), it.count, it.first.key.as_str()))
        .collect();
    let expected = [
        ("not JSON", 1, "3"),
        ("missing picture", 2, "4"),
        ("broken picture", 2, "5"),
        ("picture outside", 1, "8"),
    ];
    assert_eq!(skipped, expected);
    // Without decoding, a picture behind its header is not looked at.
    let loose = PackOptions {
        decode: false,
        ..options
    };
    let packed = pack(&input, &folder.path().join("loose"), &loose).expect("shards");
    assert_eq!(packed.samples, 3);

    let strict = folder.path().join("strict");
    let error = pack(&input, &strict, &PackOptions::default()).expect_err("too many");
    assert!(
        matches!(error, DataError::TooManyBroken { bad: 5, .. }),
        "{error}"
    );
    let told = error.to_string();
    assert!(
        told.contains("5 of 8 entries") && told.contains("\"8\""),
        "{told}"
    );
    assert_eq!(files(&strict), []);
}

#[test]
fn a_run_that_is_stopped_leaves_whole_shards_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (data(folder.path()), folder.path().join("out"));
    let options = PackOptions {
        max_samples: 1,
        ..PackOptions::default()
    };
    let error = pack_shards(&input, &out, &options, &mut |packed| packed.samples < 3);
    let error = error.expect_err("stopped");
    assert!(matches!(error, DataError::Stopped { .. }), "{error}");
    let names: Vec<_> = files(&out).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [Path::new("00000.tar"), Path::new("00001.tar")]);
    assert_eq!(samples(&out).len(), 2);
    let error = pack(&input, &out, &options).expect_err("not empty");
    assert!(error.to_string().contains("not empty"), "{error}");
}

#[test]
fn pictures_may_lie_elsewhere_and_nothing_is_no_shard() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = data(folder.path());
    let moved = folder.path().join("sub/data.jsonl");
    std::fs::rename(&input, &moved).expect("moving");
    let options = PackOptions {
        images: Some(folder.path().to_owned()),
        ..PackOptions::default()
    };
    let packed = pack(&moved, &folder.path().join("out"), &options).expect("shards");
    assert_eq!(packed.samples, 5);
    std::fs::write(&moved, "\n").expect("writing");
    let error = pack(&moved, &folder.path().join("none"), &options).expect_err("nothing");
    assert!(matches!(error, DataError::Pack { .. }), "{error}");
}

#[test]
fn what_is_too_large_to_be_read_again_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = data(folder.path());
    let size = |name: &str| {
        std::fs::metadata(folder.path().join(name))
            .expect("a file")
            .len()
    };
    let options = PackOptions {
        max_bad_share: 1.0,
        limits: Limits {
            // Either of the two pictures of a sample, but not both.
            picture_bytes: size("sub/b.jpg") + size("c.webp") - 1,
            ..Limits::default()
        },
        ..PackOptions::default()
    };
    let packed = pack(&input, &folder.path().join("out"), &options).expect("shards");
    assert_eq!(packed.skipped.len(), 1);
    assert_eq!(packed.skipped[0].first.reason.kind(), "too large");
    let out = folder.path().join("out");
    let keys: Vec<_> = samples(&out).into_iter().map(|sample| sample.key).collect();
    // The JPEG is larger than both.
    assert_eq!(keys, ["000000004", "000000005", "000000006"]);
    let shown = PackOptions {
        limits: Limits {
            text_bytes: "A blue one.".len() as u64,
            ..Limits::default()
        },
        ..options
    };
    let out = folder.path().join("shown");
    let packed = pack(&captions(folder.path()), &out, &shown).expect("shards");
    assert_eq!(packed.skipped[0].first.key, "1", "the longer caption");
    assert_eq!(samples(&out)[0].key, "000000002");
}
