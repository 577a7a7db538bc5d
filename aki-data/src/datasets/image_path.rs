//! Paths of pictures that annotation files name.

/// Whether `path` stays within the folder it is relative to, on any system.
pub(crate) fn is_inside(path: &str) -> bool {
    let mut parts = path.split('/');
    // A drive or the scheme of an address; an absolute path begins with an empty part.
    let relative = parts
        .next()
        .is_some_and(|first| !first.is_empty() && !first.contains(':'));
    relative
        && !path.contains(['\\', '\0'])
        && !path.ends_with('/')
        && path.split('/').all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_paths_below_the_folder_are_inside() {
        for path in ["a.jpg", "a/b.jpg", "./a", "a..b/c.", "a//b", "x/c:d"] {
            assert!(is_inside(path), "{path}");
        }
        for path in [
            "",
            "/a",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "C:a",
            "C:/a",
            "http://h/a.jpg",
            "data:,x",
            "a\\b",
            "\\\\host\\a",
            "a\0b",
            "a/",
        ] {
            assert!(!is_inside(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn nothing_leads_out(path in "[./\\\\a:]{0,8}") {
            let out = |part| !matches!(part, Component::Normal(_) | Component::CurDir);
            prop_assert!(!is_inside(&path) || !Path::new(&path).components().any(out));
        }
    }
}
