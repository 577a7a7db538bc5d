//! Decoding held to Pillow's, and what damaged files do.
//!
//! Fixtures by `tests/reference/pillow_modes.py` (Pillow 11.3.0): every colour
//! type and depth of PNG, and what JPEG, GIF, BMP, WebP and TIFF can hold.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use aki_data::Picture;
use proptest::prelude::*;

/// Largest distance of a value of a JPEG to Pillow's.
const JPEG_DISTANCE: u8 = if cfg!(feature = "turbojpeg") { 0 } else { 5 };

/// Largest share of a JPEG's values that differ.
const JPEG_SHARE: f64 = if cfg!(feature = "turbojpeg") {
    0.0
} else {
    0.30
};

/// The same where chroma planes are not halved.
const JPEG_444_SHARE: f64 = if cfg!(feature = "turbojpeg") {
    0.0
} else {
    0.02
};

struct Case {
    name: String,
    stored: (u32, u32),
    upright: (u32, u32),
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pillow_modes")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).expect("fixture")
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let list = std::fs::read_to_string(folder().join("cases.txt")).expect("list of cases");
    let case = |line: &str| {
        let (name, sizes) = line.split_once(' ').expect("name and sizes");
        let sizes: Vec<u32> = sizes
            .split(' ')
            .map(|size| size.parse().expect("number"))
            .collect();
        Case {
            name: name.to_owned(),
            stored: (sizes[0], sizes[1]),
            upright: (sizes[2], sizes[3]),
        }
    };
    list.lines().map(case).collect()
});

fn compare(name: &str, picture: &Picture, size: (u32, u32), expected: &[u8]) {
    assert_eq!((picture.width, picture.height), size, "{name}");
    assert_eq!(picture.rgb.len(), expected.len(), "{name}");
    let distances = picture
        .rgb
        .iter()
        .zip(expected)
        .map(|(a, b)| a.abs_diff(*b));
    let largest = distances.clone().max().expect("pixels");
    let different = distances.filter(|&distance| distance > 0).count();
    let share = different as f64 / expected.len() as f64;
    let is_jpeg = Path::new(name)
        .extension()
        .is_some_and(|kind| kind == "jpg");
    let (distance, limit) = match is_jpeg {
        true if name.starts_with("444") => (JPEG_DISTANCE, JPEG_444_SHARE),
        true => (JPEG_DISTANCE, JPEG_SHARE),
        false => (0, 0.0),
    };
    assert!(
        largest <= distance && share <= limit,
        "{name}: {different} values differ, by up to {largest}"
    );
}

#[test]
fn pictures_decode_as_pillow_decodes_them() {
    assert!(CASES.len() > 100);
    for case in CASES.iter() {
        let picture = Picture::decode(&read(&case.name), &case.name).expect("a picture");
        let expected = read(&format!("{}.rgb", case.name));
        compare(&case.name, &picture, case.stored, &expected);
    }
}

#[test]
fn exif_turns_only_when_asked_to() {
    let mut turned = 0;
    for case in CASES.iter() {
        let picture = Picture::decode_upright(&read(&case.name), &case.name).expect("a picture");
        let upright = folder().join(format!("{}.upright.rgb", case.name));
        turned += usize::from(upright.exists());
        let expected =
            std::fs::read(upright).unwrap_or_else(|_| read(&format!("{}.rgb", case.name)));
        compare(&case.name, &picture, case.upright, &expected);
    }
    assert!(
        turned >= 7,
        "{turned} of the eight orientations turn something"
    );
}

#[test]
fn a_picture_cut_short_is_an_error() {
    for name in ["420_61x47.jpg", "progressive.jpg", "restart.jpg"] {
        let bytes = read(name);
        for len in [bytes.len() - 1, bytes.len() - 2, bytes.len() * 2 / 3, 200] {
            Picture::decode(&bytes[..len], name).expect_err("cut off");
        }
    }
}

#[test]
fn damage_within_a_jpeg_and_what_follows_it_are_passed_over() {
    let mut bytes = read("444_61x47.jpg");
    let at = bytes.len() * 3 / 4;
    bytes[at..at + 4].copy_from_slice(&[0x12, 0x55, 0x12, 0x55]);
    bytes.extend_from_slice(&[7; 300]);
    let picture = Picture::decode(&bytes, "damaged").expect("Pillow decodes it too");
    assert_eq!((picture.width, picture.height), (61, 47));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0_usize..8) {
        let magic: [&[u8]; 8] = [
            b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM",
            b"RIFF\x20\0\0\0WEBPVP8L", b"RIFF\x20\0\0\0WEBPVP8 ", b"II*\0\x08\0\0\0",
        ];
        bytes.splice(0..0, magic[kind].iter().copied());
        let _ = Picture::decode_upright(&bytes, "random");
    }

    #[test]
    fn a_cut_or_damaged_file_never_panics(
        case in 0..CASES.len(), cut: prop::sample::Index, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = read(&CASES[case].name);
        let _ = Picture::decode_upright(&bytes[..cut.index(bytes.len())], "cut");
        for (at, with) in damage {
            // Headers are short; half of the damage should meet them.
            let at = if with % 2 == 0 { at.index(bytes.len()) } else { at.index(bytes.len().min(64)) };
            bytes[at] = with;
        }
        if let Ok(picture) = Picture::decode_upright(&bytes, "damaged") {
            prop_assert_eq!(picture.rgb.len() as u64, u64::from(picture.width) * u64::from(picture.height) * 3);
        }
    }
}
