//! Pictures in the fields of a table.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::row::list;
use super::tsv::Row;
use crate::DataError;
use crate::fingerprint::fnv1a;

/// Longest field that is the index of another row and no picture.
const LONGEST_INDEX: usize = 64;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a row says of its pictures.
#[derive(Debug)]
pub(super) enum Field {
    /// Nothing.
    Empty,
    /// Those of the row with this index.
    Same(String),
    /// They are in the field `image`, so many.
    Here {
        count: usize,
        /// Of the field; the same pictures have the same.
        hash: u64,
    },
    /// Files, of the field `image_path`.
    Files(Vec<String>),
}

impl Field {
    /// Looks at a row, and decodes nothing.
    pub(super) fn of(row: &Row<'_>) -> Result<Self, DataError> {
        let image = row.bytes("image").trim_ascii();
        if image.is_empty() || image == b"[]" || image.eq_ignore_ascii_case(b"nan") {
            let paths = row.maybe("image_path")?.map(|text| paths(row, text));
            return Ok(paths
                .transpose()?
                .filter(|it| !it.is_empty())
                .map_or(Self::Empty, Self::Files));
        }
        if image.len() <= LONGEST_INDEX && image[0] != b'[' {
            return Ok(Self::Same(String::from_utf8_lossy(image).into_owned()));
        }
        Ok(Self::Here {
            count: items(image).count(),
            hash: fnv1a(image.iter().copied()),
        })
    }

    /// How many pictures; none of another row's.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Empty | Self::Same(_) => 0,
            Self::Here { count, .. } => *count,
            Self::Files(files) => files.len(),
        }
    }
}

/// The paths of the field `image_path`.
fn paths(row: &Row<'_>, text: &str) -> Result<Vec<String>, DataError> {
    if !text.starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    list(text).ok_or_else(|| row.fault("image_path", format!("{text:?} is no list of paths")))
}

/// The pictures of the field `image`, in base64: one, or a list as Python or JSON writes it. Nothing
/// that base64 has needs escaping there.
fn items(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inner = field
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"));
    let is_list = inner.is_some();
    let items = inner
        .unwrap_or(field)
        .split(move |byte| is_list && *byte == b',');
    items.map(|item| {
        let item = item.trim_ascii();
        let open = |quote| item.strip_prefix(quote)?.strip_suffix(quote);
        open(b"'").or_else(|| open(b"\"")).unwrap_or(item)
    })
}

/// The pictures of a row's field `image`, or one of them.
pub(super) fn decode(row: &Row<'_>, only: Option<usize>) -> Result<Vec<Vec<u8>>, DataError> {
    let field = row.bytes("image").trim_ascii();
    let (skipped, taken) = only.map_or((0, usize::MAX), |which| (which, 1));
    items(field)
        .skip(skipped)
        .take(taken)
        .map(|item| {
            let mut item = std::borrow::Cow::Borrowed(item);
            if item.iter().any(u8::is_ascii_whitespace) {
                item.to_mut().retain(|byte| !byte.is_ascii_whitespace());
            }
            BASE64.decode(&item).map_err(|error| {
                let reason =
                    format!("a picture's base64 is damaged ({error}); download the file again");
                row.fault("image", reason)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_picture_or_a_list() {
        let cut = |field: &'static [u8]| {
            let items = items(field).map(|it| String::from_utf8_lossy(it).into_owned());
            items.collect::<Vec<_>>()
        };
        assert_eq!(cut(b"abc="), ["abc="]);
        assert_eq!(cut(b"['abc=', 'de/+']"), ["abc=", "de/+"]);
        assert_eq!(cut(b"[\"abc=\",\"de/+\"]"), ["abc=", "de/+"]);
        assert_eq!(cut(b"['abc=' , ]"), ["abc=", ""]);
    }
}
