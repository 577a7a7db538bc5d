//! SentencePiece's compiled character map: a double-array trie from strings to replacements.

/// `precompiled_charsmap`: the trie's size in bytes (little-endian `u32`), its units (`u32`), then
/// the replacements, each ended by a zero byte. The trie is that of Darts-clone: a unit has a
/// label in its low byte, a leaf flag at bit 8, and the offset to its children above.
#[derive(Clone, Debug, Default)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

impl Charsmap {
    /// Takes a map apart; an empty one maps nothing.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let damaged = || "its precompiled_charsmap is damaged".to_owned();
        let (size, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let size = u32::from_le_bytes(*size) as usize;
        let (trie, replacements) = rest.split_at_checked(size).ok_or_else(damaged)?;
        let (units, odd) = trie.as_chunks();
        if !odd.is_empty() {
            return Err(damaged());
        }
        Ok(Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: replacements.to_vec(),
        })
    }

    /// The replacement of the longest mapped head of `text`, and that head's length.
    pub(super) fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let unit = |at: usize| self.units.get(at).copied();
        let mut at = offset(unit(0)?);
        let mut longest = None;
        for (index, &byte) in text.as_bytes().iter().enumerate() {
            at ^= byte as usize;
            let Some(here) = unit(at).filter(|here| here & 0x8000_00FF == u32::from(byte)) else {
                break;
            };
            at ^= offset(here);
            if here >> 8 & 1 == 1 {
                longest = unit(at).map(|leaf| ((leaf & 0x7FFF_FFFF) as usize, index + 1));
            }
        }
        let (start, len) = longest.filter(|&(_, len)| text.is_char_boundary(len))?;
        let replacement = self.replacements.get(start..)?;
        let end = replacement.iter().position(|&byte| byte == 0)?;
        Some((std::str::from_utf8(&replacement[..end]).ok()?, len))
    }
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 0x200) >> 6)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_map_maps_nothing() {
        assert_eq!(Charsmap::read(&[]).expect("empty").longest("abc"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, text: String) {
            if let Ok(map) = Charsmap::read(&bytes) {
                map.longest(&text);
            }
        }

        #[test]
        fn any_trie_is_walked_without_a_panic(units: Vec<u32>, tail: Vec<u8>, text: String) {
            let map = Charsmap { units, replacements: tail };
            map.longest(&text);
        }
    }
}
