//! Random changes to a training picture.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::Picture;

/// How training pictures are varied. The default changes nothing.
///
/// Flipping makes "left" and "right" wrong and writing unreadable, so it must be
/// asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Probability of a horizontal flip, 0 to 1.
    pub flip: f32,
    /// Largest shift in pixels, each way on both axes; the edge is replicated.
    pub shift: u32,
}

impl Augmentation {
    /// A varied copy of `picture`, of the same size.
    ///
    /// Takes the same random numbers from `rng` whether or not they lead to a
    /// change, so that one setting does not move the draws of another.
    pub fn apply(&self, picture: &Picture, rng: &mut impl Rng) -> Picture {
        let flip = rng.random::<f32>() < self.flip;
        let reach = i64::from(self.shift);
        let right = rng.random_range(-reach..=reach);
        let down = rng.random_range(-reach..=reach);
        if !flip && right == 0 && down == 0 {
            return picture.clone();
        }
        let columns = sources(picture.width, right, flip);
        let rows = sources(picture.height, down, false);
        let width = columns.len();
        let mut rgb = Vec::with_capacity(picture.rgb.len());
        for y in rows {
            for &x in &columns {
                let start = (y * width + x) * 3;
                rgb.extend_from_slice(&picture.rgb[start..start + 3]);
            }
        }
        Picture {
            width: picture.width,
            height: picture.height,
            rgb,
        }
    }
}

/// For each position of an axis, the position that it is copied from.
fn sources(len: u32, shift: i64, flip: bool) -> Vec<usize> {
    let last = i64::from(len) - 1;
    (0..=last)
        .map(|to| {
            let from = (to - shift).clamp(0, last);
            (if flip { last - from } else { from }) as usize
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::item_rng;

    fn picture(width: u32, height: u32) -> Picture {
        let pixels = (0..width * height).flat_map(|i| [i as u8, (i >> 8) as u8, 7]);
        Picture {
            width,
            height,
            rgb: pixels.collect(),
        }
    }

    #[test]
    fn the_default_changes_nothing() {
        let before = picture(5, 4);
        let after = Augmentation::default().apply(&before, &mut item_rng(0, 0));
        assert_eq!(after, before);
    }

    #[test]
    fn a_certain_flip_mirrors_rows_and_undoes_itself() {
        let flip = Augmentation {
            flip: 1.0,
            shift: 0,
        };
        let before = picture(3, 1);
        let once = flip.apply(&before, &mut item_rng(0, 0));
        assert_eq!(once.rgb, [2, 0, 7, 1, 0, 7, 0, 0, 7]);
        assert_eq!(flip.apply(&once, &mut item_rng(0, 1)), before);
    }

    #[test]
    fn a_shift_replicates_the_edge() {
        assert_eq!(sources(4, 1, false), [0, 0, 1, 2]);
        assert_eq!(sources(4, -2, false), [2, 3, 3, 3]);
        assert_eq!(sources(3, 9, false), [0, 0, 0]);
        assert_eq!(sources(4, 1, true), [3, 3, 2, 1]);
    }

    proptest! {
        #[test]
        fn size_is_kept_and_the_item_decides(
            size in (1_u32..9, 1_u32..9), flip in 0_f32..=1.0, shift in 0_u32..20, item: usize,
        ) {
            let augmentation = Augmentation { flip, shift };
            let before = picture(size.0, size.1);
            let after = augmentation.apply(&before, &mut item_rng(3, item));
            prop_assert_eq!(after.rgb.len(), before.rgb.len());
            prop_assert_eq!(after, augmentation.apply(&before, &mut item_rng(3, item)));
        }
    }
}
