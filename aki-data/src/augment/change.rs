//! A change to a picture and to what is said of it.

use super::crop::Crop;
use crate::{Picture, Record, Region};

/// What [`Variation::draw`](super::Variation::draw) drew for a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What is kept of the picture; none for all.
    pub crop: Option<Crop>,
    /// Whether left and right are swapped.
    pub flip: bool,
    /// Pixels that the flipped picture moves to the right and down after resizing.
    pub shift: [i64; 2],
    /// Whether regions follow; those of the reference stay where they were.
    pub(super) follow: bool,
}

impl Change {
    /// Crops the picture, resizes it to `side` x `side` as [`Picture::resize`] does, then flips
    /// and shifts it.
    ///
    /// # Panics
    /// If there is a crop and the picture is of another size than the one it was drawn for.
    pub fn apply(&self, picture: Picture, side: u32) -> Picture {
        let kept = match self.crop {
            Some(crop) => crop.cut(picture),
            None => picture,
        };
        self.mirrored(kept.resize(side, side))
    }

    /// Where `region` lies in the changed picture. It is cut off at the edges if anything
    /// changes; if not, it stays as it is, though the sources have some that reach over the
    /// edge a little.
    pub fn region(&self, region: Region) -> Region {
        if !self.follow || (self.crop.is_none() && !self.flip) {
            return region;
        }
        let kept = self.crop.map_or(region, |crop| crop.within(region));
        let [x1, y1, x2, y2] =
            [kept.x1, kept.y1, kept.x2, kept.y2].map(|corner| corner.clamp(0.0, 1.0));
        let (x1, x2) = if self.flip {
            (1.0 - x2, 1.0 - x1)
        } else {
            (x1, x2)
        };
        Region { x1, y1, x2, y2 }
    }

    /// The record that goes with the changed picture: its region, if it has one, moved with it,
    /// in the question too.
    pub fn record(&self, record: Record) -> Record {
        match record.region {
            Some(region) => record.with_region(self.region(region)),
            None => record,
        }
    }

    fn mirrored(&self, picture: Picture) -> Picture {
        let [right, down] = self.shift;
        if !self.flip && right == 0 && down == 0 {
            return picture;
        }
        let columns = sources(picture.width, right, self.flip);
        let rows = sources(picture.height, down, false);
        let width = columns.len();
        let mut rgb = Vec::with_capacity(picture.rgb.len());
        for y in rows {
            for &x in &columns {
                let start = (y * width + x) * 3;
                rgb.extend_from_slice(&picture.rgb[start..start + 3]);
            }
        }
        Picture { rgb, ..picture }
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
    use crate::augment::{Amounts, Augmentation, Permits};
    use crate::item_rng;

    const FREE: Permits = Permits {
        flip: true,
        crop: true,
    };

    const NOTHING: Change = Change {
        crop: None,
        flip: false,
        shift: [0; 2],
        follow: true,
    };

    fn picture(width: u32, height: u32) -> Picture {
        let pixels = (0..width * height).flat_map(|i| [i as u8, (i >> 8) as u8, 7]);
        Picture {
            width,
            height,
            rgb: pixels.collect(),
        }
    }

    #[test]
    fn nothing_changes_nothing() {
        let before = picture(5, 5);
        assert_eq!(NOTHING.apply(before.clone(), 5), before);
        assert_eq!(NOTHING.apply(before.clone(), 8), before.resize(8, 8));
    }

    #[test]
    fn a_flip_mirrors_rows_and_undoes_itself() {
        let flip = Change {
            flip: true,
            ..NOTHING
        };
        let once = flip.mirrored(picture(3, 1));
        assert_eq!(once.rgb, [2, 0, 7, 1, 0, 7, 0, 0, 7]);
        assert_eq!(flip.mirrored(once), picture(3, 1));
    }

    #[test]
    fn a_shift_replicates_the_edge() {
        assert_eq!(sources(4, 1, false), [0, 0, 1, 2]);
        assert_eq!(sources(4, -2, false), [2, 3, 3, 3]);
        assert_eq!(sources(3, 9, false), [0, 0, 0]);
        assert_eq!(sources(4, 1, true), [3, 3, 2, 1]);
    }

    /// A picture of 200 x 100, of which columns 40 to 140 and rows 30 to 90 are kept. The region
    /// spans columns 50 to 100 and rows 40 to 80.
    #[test]
    fn a_region_moves_with_crop_and_flip() {
        let region = Region {
            x1: 0.25,
            y1: 0.4,
            x2: 0.5,
            y2: 0.8,
        };
        let crop = Crop {
            left: 40,
            top: 30,
            width: 100,
            height: 60,
            of: (200, 100),
        };
        let asked = |change: Change| change.region(region).question();
        let ends = |change, corners: &str| {
            let question = asked(change);
            assert!(question.ends_with(corners), "{question}, not {corners}");
        };
        ends(NOTHING, "<bbox>[0.250, 0.400][0.500, 0.800]</bbox>");
        let cropped = Change {
            crop: Some(crop),
            ..NOTHING
        };
        ends(cropped, "<bbox>[0.100, 0.167][0.600, 0.833]</bbox>");
        let flipped = Change {
            flip: true,
            ..NOTHING
        };
        ends(flipped, "<bbox>[0.500, 0.400][0.750, 0.800]</bbox>");
        let both = Change {
            flip: true,
            ..cropped
        };
        ends(both, "<bbox>[0.400, 0.167][0.900, 0.833]</bbox>");
        let halved = Crop { left: 60, ..crop };
        let cut = Change {
            crop: Some(halved),
            ..both
        };
        ends(cut, "<bbox>[0.600, 0.167][1.000, 0.833]</bbox>");
        let reference = Change {
            follow: false,
            ..both
        };
        ends(reference, "<bbox>[0.250, 0.400][0.500, 0.800]</bbox>");
    }

    #[test]
    fn a_region_over_the_edge_is_cut_off_once_something_changes() {
        let over = Region {
            x1: 0.9,
            y1: -0.002,
            x2: 1.003,
            y2: 0.5,
        };
        assert_eq!(NOTHING.region(over), over);
        let flipped = Change {
            flip: true,
            ..NOTHING
        };
        let expected = Region {
            x1: 0.0,
            y1: 0.0,
            x2: 1.0 - 0.9,
            y2: 0.5,
        };
        assert_eq!(flipped.region(over), expected);
    }

    /// Rows and columns of the first and behind the last bright pixel.
    fn bright(picture: &Picture) -> [f64; 4] {
        let (mut low, mut high) = ([u32::MAX; 2], [0; 2]);
        let (pixels, _) = picture.rgb.as_chunks::<3>();
        for (at, pixel) in (0..).zip(pixels) {
            if pixel[0] > 127 {
                let place = [at % picture.width, at / picture.width];
                for axis in 0..2 {
                    low[axis] = low[axis].min(place[axis]);
                    high[axis] = high[axis].max(place[axis] + 1);
                }
            }
        }
        [low[0], low[1], high[0], high[1]].map(f64::from)
    }

    proptest! {
        #[test]
        fn what_is_marked_is_where_the_region_says(
            size in (8_u32..48, 8_u32..48), share in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
            item: usize,
        ) {
            // A rectangle of at least 2 x 2 pixels anywhere.
            let (width, height) = size;
            let along = |n: u32, at: f64, len: f64| {
                let len = 2 + (f64::from(n - 2) * len) as u32;
                let start = (f64::from(n - len) * at) as u32;
                start..start + len
            };
            let (columns, rows) = (along(width, share.0, share.1), along(height, share.2, share.3));
            let mark = |x, y| if columns.contains(&x) && rows.contains(&y) { 255 } else { 0 };
            let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x, y); 3]));
            let rgb = rgb.map(|(x, y)| mark(x, y)).collect();
            let (w, h) = (f64::from(width), f64::from(height));
            let region = Region {
                x1: f64::from(columns.start) / w,
                y1: f64::from(rows.start) / h,
                x2: f64::from(columns.end) / w,
                y2: f64::from(rows.end) / h,
            };
            let amounts = Amounts { flip: 0.5, shift: 5, crop: Some(0.5) };
            let variation = Augmentation::Careful(amounts).for_tuning();
            let change = variation.draw(size, FREE, Some(region), &mut item_rng(2, item));
            let moved = change.region(region);
            let found = bright(&change.apply(Picture { width, height, rgb }, 64));
            let said = [moved.x1, moved.y1, moved.x2, moved.y2].map(|corner| corner * 64.0);
            for (found, said) in found.into_iter().zip(said) {
                prop_assert!((found - said).abs() <= 1.0, "{change:?}: {found}, not {said}");
            }
            // Nothing of the region is cut off: its size in pixels of the picture stays.
            let kept = change.crop.map_or(size, |crop| (crop.width, crop.height));
            let columns = (moved.x2 - moved.x1) * f64::from(kept.0);
            prop_assert!((columns - (region.x2 - region.x1) * w).abs() < 1e-9);
            let rows = (moved.y2 - moved.y1) * f64::from(kept.1);
            prop_assert!((rows - (region.y2 - region.y1) * h).abs() < 1e-9);
        }
    }
}
