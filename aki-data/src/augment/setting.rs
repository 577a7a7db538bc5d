//! What a run file says of augmentation.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::variation::Variation;

/// How training pictures are varied. The default changes nothing.
///
/// In a run file `"reference"`, `"none"`, or a table such as
/// `{ flip = 0.5, shift = 0, crop = 0.5 }`, which may lack `crop`. What is read from `"none"` is
/// written as the table of zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Augmentation {
    /// As the original: half of all pictures are flipped, and instruction tuning crops them too,
    /// to half of their area or more. Texts and boxes stay as they are, so that "left" and
    /// boxes become wrong and writing is mirrored.
    Reference,
    /// So much, where the texts allow it.
    Careful(Amounts),
}

/// How much pictures are varied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// Probability of a horizontal flip, 0 to 1.
    pub flip: f32,
    /// Largest shift in pixels after resizing, each way on both axes; the edge is replicated.
    pub shift: u32,
    /// Least share of its area that a picture is cropped to, more than 0 and at most 1; absent
    /// for no crop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<f64>,
}

/// The reference's probability of a flip, and its least share of a picture.
const REFERENCE: Amounts = Amounts {
    flip: 0.5,
    shift: 0,
    crop: Some(0.5),
};

impl Augmentation {
    /// What it means for captions and interleaved texts.
    pub fn for_pretraining(&self) -> Variation {
        match *self {
            Self::Careful(amounts) => Variation::careful(amounts),
            Self::Reference => Variation::careless(Amounts {
                crop: None,
                ..REFERENCE
            }),
        }
    }

    /// What it means for questions and conversations.
    pub fn for_tuning(&self) -> Variation {
        match *self {
            Self::Careful(amounts) => Variation::careful(amounts),
            Self::Reference => Variation::careless(REFERENCE),
        }
    }

    /// The key whose value is out of range, if one is, and what it must be.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let Self::Careful(amounts) = self else {
            return None;
        };
        if !(0.0..=1.0).contains(&amounts.flip) {
            return Some(("flip", "is a probability, from 0 to 1"));
        }
        match amounts.crop {
            Some(crop) if !(crop > 0.0 && crop <= 1.0) => Some((
                "crop",
                "is a share of the picture's area, more than 0 and at most 1",
            )),
            _ => None,
        }
    }
}

impl Default for Augmentation {
    fn default() -> Self {
        Self::Careful(Amounts::default())
    }
}

impl Serialize for Augmentation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reference => serializer.serialize_str("reference"),
            Self::Careful(amounts) => amounts.serialize(serializer),
        }
    }
}

// By hand: serde's untagged enums do not say which key of the table is wrong.
impl<'de> Deserialize<'de> for Augmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Augmentation;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(r#""reference", "none" or a table with flip, shift and maybe crop"#)
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Augmentation, E> {
                match name {
                    "reference" => Ok(Augmentation::Reference),
                    "none" => Ok(Augmentation::default()),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Augmentation, A::Error> {
                Amounts::deserialize(MapAccessDeserializer::new(map)).map(Augmentation::Careful)
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Augmentation, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_read_is_written_as_it_was() {
        for json in [
            r#""reference""#,
            r#"{"flip":0.5,"shift":8}"#,
            r#"{"flip":0.0,"shift":0,"crop":0.6}"#,
        ] {
            let read = read(json).expect(json);
            assert_eq!(serde_json::to_string(&read).expect("json"), json);
        }
        assert_eq!(read(r#""none""#), Ok(Augmentation::default()));
        assert_eq!(
            read(r#"{"flip":0.0,"shift":0}"#),
            Ok(Augmentation::default())
        );
    }

    #[test]
    fn what_is_neither_is_named() {
        for (json, named) in [
            (r#"{"flip":0.5,"shift":8,"zoom":1}"#, "zoom"),
            (r#"{"flip":0.5}"#, "shift"),
            (r#"{"flip":"x","shift":8}"#, "\"x\""),
            (r#""original""#, "\"reference\", \"none\" or a table"),
            ("0.5", "\"reference\", \"none\" or a table"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn only_sound_amounts_have_no_fault() {
        let fault = |flip, crop| {
            let shift = 0;
            Augmentation::Careful(Amounts { flip, shift, crop })
                .fault()
                .map(|(key, _)| key)
        };
        assert_eq!(fault(1.0, None), None);
        assert_eq!(fault(0.0, Some(1.0)), None);
        assert_eq!(fault(1.5, None), Some("flip"));
        assert_eq!(fault(f32::NAN, None), Some("flip"));
        for crop in [0.0, -0.5, 1.01, f64::NAN] {
            assert_eq!(fault(0.5, Some(crop)), Some("crop"), "{crop}");
        }
        assert_eq!(Augmentation::Reference.fault(), None);
    }
}
