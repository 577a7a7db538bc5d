//! Cutting out a part of a picture.

use rand::{Rng, RngExt};

use crate::{Picture, Region};

/// Draws of a size before the middle of the picture is taken.
const ATTEMPTS: usize = 10;

/// Widest aspect of a crop; the inverse is the narrowest.
const WIDEST: f64 = 4.0 / 3.0;

/// A rectangle of a picture's pixels. It has an area and lies within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Columns left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its columns.
    pub width: u32,
    /// Its rows.
    pub height: u32,
    /// Width and height of the picture.
    pub of: (u32, u32),
}

impl Crop {
    /// Draws as torchvision's `RandomResizedCrop` does by default: a share of the area from
    /// `least` to 1, evenly, an aspect from 3/4 to 4/3, evenly in its logarithm, and any place;
    /// what does not fit is drawn again, and after 10 times the middle is taken, as large as the
    /// aspects allow.
    ///
    /// Takes the same number of random numbers however many sizes do not fit.
    pub(super) fn draw((width, height): (u32, u32), least: f64, rng: &mut impl Rng) -> Self {
        let place: [f64; 2] = [rng.random(), rng.random()];
        let area = f64::from(width) * f64::from(height);
        let sizes: [_; ATTEMPTS] = std::array::from_fn(|_| {
            let share = least + (1.0 - least) * rng.random::<f64>();
            let aspect = WIDEST.powf(2.0 * rng.random::<f64>() - 1.0);
            (
                (area * share * aspect).sqrt().round_ties_even() as u32,
                (area * share / aspect).sqrt().round_ties_even() as u32,
            )
        });
        let fits = |&(w, h): &(u32, u32)| (1..=width).contains(&w) && (1..=height).contains(&h);
        let found = sizes.into_iter().find(fits);
        let (w, h) = found.unwrap_or_else(|| largest(width, height));
        let left = |room: u32, place: f64| match found {
            Some(_) => ((place * (f64::from(room) + 1.0)) as u32).min(room),
            None => room / 2,
        };
        Self {
            left: left(width - w, place[0]),
            top: left(height - h, place[1]),
            width: w,
            height: h,
            of: (width, height),
        }
    }

    /// The nearest crop that holds what the picture shows of `region`: moved no further than it
    /// must be, and enlarged only on an axis on which it is smaller than the region. None if
    /// the region lies outside the picture.
    pub(super) fn around(self, region: Region) -> Option<Self> {
        let (width, height) = self.of;
        let (left, columns) = stretch(self.left, self.width, width, region.x1, region.x2)?;
        let (top, rows) = stretch(self.top, self.height, height, region.y1, region.y2)?;
        Some(Self {
            left,
            top,
            width: columns,
            height: rows,
            ..self
        })
    }

    /// Whether it is all of the picture.
    pub(super) fn is_whole(self) -> bool {
        (self.width, self.height) == self.of
    }

    /// Where `region` lies in the crop; it may reach over the edges.
    pub(super) fn within(self, region: Region) -> Region {
        let across = |x| (x * f64::from(self.of.0) - f64::from(self.left)) / f64::from(self.width);
        let down = |y| (y * f64::from(self.of.1) - f64::from(self.top)) / f64::from(self.height);
        Region {
            x1: across(region.x1),
            y1: down(region.y1),
            x2: across(region.x2),
            y2: down(region.y2),
        }
    }

    /// The part of the picture, in the picture's own memory.
    ///
    /// # Panics
    /// If the picture is of another size than the one it was drawn for.
    pub(super) fn cut(self, mut picture: Picture) -> Picture {
        assert_eq!(
            (picture.width, picture.height),
            self.of,
            "a crop is drawn for its picture"
        );
        let (from, to) = (self.of.0 as usize * 3, self.width as usize * 3);
        let (left, top) = (self.left as usize * 3, self.top as usize);
        let height = self.height as usize;
        for row in 0..height {
            let start = (top + row) * from + left;
            picture.rgb.copy_within(start..start + to, row * to);
        }
        picture.rgb.truncate(height * to);
        Picture {
            width: self.width,
            height: self.height,
            rgb: picture.rgb,
        }
    }
}

/// The largest size of an aspect that is allowed.
fn largest(width: u32, height: u32) -> (u32, u32) {
    let other = |side: u32| (f64::from(side) * WIDEST).round_ties_even() as u32;
    (width.min(other(height)), height.min(other(width)))
}

/// One axis of [`Crop::around`]: `start` and `len` of a crop of `size` pixels that holds the
/// shares `low` to `high`. Whole pixels are held.
fn stretch(start: u32, len: u32, size: u32, low: f64, high: f64) -> Option<(u32, u32)> {
    let pixel = |share: f64| (share * f64::from(size)).clamp(0.0, f64::from(size));
    let (low, high) = (pixel(low).floor() as u32, pixel(high).ceil() as u32);
    if low >= high {
        return None;
    }
    let len = len.max(high - low);
    Some((start.clamp(high.saturating_sub(len), low), len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::item_rng;

    fn region(x1: f64, y1: f64, x2: f64, y2: f64) -> Region {
        Region { x1, y1, x2, y2 }
    }

    /// The expected values are integrals over what is drawn, given that it fits into a square:
    /// a share `s` does with the probability `min(-ln s, ln 4/3) / (ln 4/3)`.
    #[test]
    fn shares_aspects_and_places_are_those_of_random_resized_crop() {
        let draws = 20_000;
        let crops: Vec<_> = (0..draws)
            .map(|item| Crop::draw((600, 600), 0.5, &mut item_rng(1, item)))
            .collect();
        let share = |crop: &Crop| f64::from(crop.width * crop.height) / 360_000.0;
        let mean = |value: &dyn Fn(&Crop) -> f64| {
            crops.iter().map(value).sum::<f64>() / f64::from(draws as u32)
        };
        let near = |value: &dyn Fn(&Crop) -> f64, expected: f64| {
            let mean = mean(value);
            assert!((mean - expected).abs() < 0.015, "{mean}, not {expected}");
        };
        near(&share, 0.6916);
        near(&|crop| f64::from(u8::from(share(crop) < 0.75)), 0.6775);
        near(&|crop| f64::from(u8::from(crop.width > crop.height)), 0.5);
        near(
            &|crop| f64::from(crop.left) / f64::from((600 - crop.width).max(1)),
            0.5,
        );
        near(
            &|crop| f64::from(crop.top) / f64::from((600 - crop.height).max(1)),
            0.5,
        );
        assert!(crops.iter().any(|crop| crop.left == 0 && crop.width < 600));
        let right = |crop: &Crop| crop.left + crop.width == 600 && crop.left > 0;
        assert!(crops.iter().any(right));
    }

    #[test]
    fn of_what_is_too_long_the_middle_is_taken() {
        let crop = |size| Crop::draw(size, 0.5, &mut item_rng(0, 0));
        let wide = crop((1000, 100));
        assert_eq!((wide.left, wide.width), (433, 133));
        assert_eq!((wide.top, wide.height), (0, 100));
        let high = crop((90, 900));
        assert_eq!((high.left, high.width), (0, 90));
        assert_eq!((high.top, high.height), (390, 120));
        assert!(crop((1, 1)).is_whole());
    }

    #[test]
    fn a_crop_moves_or_grows_to_hold_a_region() {
        let crop = Crop {
            left: 60,
            top: 10,
            width: 100,
            height: 50,
            of: (200, 100),
        };
        let places = |x1, x2| {
            crop.around(region(x1, 0.2, x2, 0.5))
                .map(|crop| (crop.left, crop.width, crop.top, crop.height))
        };
        assert_eq!(places(0.4, 0.5), Some((60, 100, 10, 50)));
        assert_eq!(places(0.25, 0.5), Some((50, 100, 10, 50)));
        assert_eq!(places(0.5, 0.9), Some((80, 100, 10, 50)));
        assert_eq!(places(0.25, 0.9), Some((50, 130, 10, 50)));
        assert_eq!(places(0.5, 1.01), Some((100, 100, 10, 50)));
        assert_eq!(places(-0.01, 0.3), Some((0, 100, 10, 50)));
        assert_eq!(places(1.1, 1.2), None);
        assert_eq!(places(0.5, 0.4), None);
        assert_eq!(places(0.3, f64::NAN), None);
    }

    proptest! {
        #[test]
        fn a_crop_lies_within_and_holds_its_region(
            size in (1_u32..900, 1_u32..900), least in 0.05..1.0_f64, item: usize,
            x in (-0.1..1.1, -0.1..1.1), y in (-0.1..1.1, -0.1..1.1),
        ) {
            let crop = Crop::draw(size, least, &mut item_rng(5, item));
            let bounded = |crop: Crop| {
                crop.width > 0 && crop.height > 0
                    && crop.left + crop.width <= size.0 && crop.top + crop.height <= size.1
            };
            prop_assert!(bounded(crop), "{:?}", crop);
            let region = region(x.0, y.0, x.1, y.1);
            if let Some(around) = crop.around(region) {
                prop_assert!(bounded(around), "{:?}", around);
                prop_assert!(around.width >= crop.width && around.height >= crop.height);
                let inside = |share: f64, n: u32| (share * f64::from(n)).clamp(0.0, n.into());
                let (left, top) = (f64::from(around.left), f64::from(around.top));
                prop_assert!(inside(x.0, size.0) >= left);
                prop_assert!(inside(x.1, size.0) <= left + f64::from(around.width));
                prop_assert!(inside(y.0, size.1) >= top);
                prop_assert!(inside(y.1, size.1) <= top + f64::from(around.height));
            }
        }

        #[test]
        fn a_cut_has_the_pixels_of_its_place(size in (1_u32..40, 1_u32..40), item: usize) {
            let crop = Crop::draw(size, 0.3, &mut item_rng(6, item));
            let pixels = (0..size.1).flat_map(|y| (0..size.0).flat_map(move |x| [x as u8, y as u8, 7]));
            let picture = Picture { width: size.0, height: size.1, rgb: pixels.collect() };
            let cut = crop.cut(picture);
            prop_assert_eq!((cut.width, cut.height), (crop.width, crop.height));
            let (left, top) = (crop.left, crop.top);
            let expected = (top..top + crop.height).flat_map(|y| {
                (left..left + crop.width).flat_map(move |x| [x as u8, y as u8, 7])
            });
            prop_assert_eq!(cut.rgb, expected.collect::<Vec<_>>());
        }
    }
}
