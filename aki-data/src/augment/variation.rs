//! Drawing a change.

use rand::{Rng, RngExt};

use super::change::Change;
use super::crop::Crop;
use super::permits::Permits;
use super::setting::Amounts;
use crate::Region;

/// An [`Augmentation`](super::Augmentation) for one kind of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variation {
    amounts: Amounts,
    careful: bool,
}

impl Variation {
    pub(super) fn careful(amounts: Amounts) -> Self {
        Self {
            amounts,
            careful: true,
        }
    }

    pub(super) fn careless(amounts: Amounts) -> Self {
        Self {
            amounts,
            careful: false,
        }
    }

    /// Draws the change of a picture of `width` and `height` pixels, of which `region` is asked.
    ///
    /// The crop is moved, and where it is too small enlarged, so that it holds all of the region
    /// that the picture shows; the aspect then may be any. A region outside the picture lets no
    /// crop be. Pictures with a region, and those that may not be cropped, are not shifted.
    ///
    /// Takes the same random numbers from `rng` whatever is allowed and whether or not they lead
    /// to a change: first that of the flip, then those of the shift, then, if pictures are to be
    /// cropped, those of the crop.
    ///
    /// `permits` and `region` mean nothing to [`Augmentation::Reference`](super::Augmentation).
    pub fn draw(
        &self,
        (width, height): (u32, u32),
        permits: Permits,
        region: Option<Region>,
        rng: &mut impl Rng,
    ) -> Change {
        let flip = rng.random::<f32>() < self.amounts.flip;
        let reach = i64::from(self.amounts.shift);
        let shift = [(); 2].map(|()| rng.random_range(-reach..=reach));
        let crop = self.amounts.crop;
        let crop = crop.map(|least| Crop::draw((width, height), least, rng));
        if !self.careful {
            return Change {
                crop: crop.filter(|crop| !crop.is_whole()),
                flip,
                shift,
                follow: false,
            };
        }
        let crop = match region {
            _ if !permits.crop => None,
            Some(region) => crop.and_then(|crop| crop.around(region)),
            None => crop,
        };
        let still = !permits.crop || region.is_some();
        Change {
            crop: crop.filter(|crop| !crop.is_whole()),
            flip: flip && permits.flip,
            shift: if still { [0; 2] } else { shift },
            follow: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::augment::Augmentation;
    use crate::item_rng;

    const FREE: Permits = Permits {
        flip: true,
        crop: true,
    };
    const FORBIDDEN: Permits = Permits {
        flip: false,
        crop: false,
    };
    const REGION: Region = Region {
        x1: 0.1,
        y1: 0.2,
        x2: 0.8,
        y2: 0.4,
    };

    fn draws(variation: Variation, permits: Permits, region: Option<Region>) -> Vec<Change> {
        let draw = |item| variation.draw((300, 200), permits, region, &mut item_rng(4, item));
        (0..400).map(draw).collect()
    }

    #[test]
    fn the_reference_heeds_nothing() {
        let half = |changes: &[Change]| {
            let flips = changes.iter().filter(|change| change.flip).count();
            (150..250).contains(&flips)
        };
        let pretraining = Augmentation::Reference.for_pretraining();
        let changes = draws(pretraining, FORBIDDEN, None);
        assert!(half(&changes));
        assert!(changes.iter().all(|change| change.crop.is_none()));
        let tuning = Augmentation::Reference.for_tuning();
        let changes = draws(tuning, FORBIDDEN, Some(REGION));
        assert!(half(&changes));
        assert!(changes.iter().all(|change| change.crop.is_some()));
        assert!(changes.iter().all(|change| change.region(REGION) == REGION));
        assert_eq!(changes, draws(tuning, FREE, None));
    }

    #[test]
    fn what_is_forbidden_is_left_out_and_moves_nothing_else() {
        let amounts = Amounts {
            flip: 0.5,
            shift: 3,
            crop: Some(0.5),
        };
        let variation = Augmentation::Careful(amounts).for_tuning();
        let free = draws(variation, FREE, None);
        assert!(free.iter().any(|change| change.shift != [0; 2]));
        for (still, free) in draws(variation, FORBIDDEN, None).iter().zip(&free) {
            assert_eq!((still.crop, still.flip, still.shift), (None, false, [0; 2]));
            assert_eq!(still.follow, free.follow);
        }
        let no_crop = Permits {
            flip: true,
            crop: false,
        };
        for (flipped, free) in draws(variation, no_crop, None).iter().zip(&free) {
            assert_eq!((flipped.crop, flipped.shift), (None, [0; 2]));
            assert_eq!(flipped.flip, free.flip);
        }
        let uncropped = Augmentation::Careful(Amounts {
            crop: None,
            ..amounts
        });
        for (uncropped, free) in draws(uncropped.for_tuning(), FREE, None).iter().zip(&free) {
            assert_eq!((uncropped.flip, uncropped.shift), (free.flip, free.shift));
        }
    }

    /// Pinned so that an update of `rand` cannot silently change everyone's runs.
    #[test]
    fn the_changes_of_seed_four_are_pinned() {
        let amounts = Amounts {
            flip: 0.5,
            shift: 8,
            crop: Some(0.5),
        };
        let variation = Augmentation::Careful(amounts).for_tuning();
        let changes = draws(variation, FREE, None);
        let told = changes[2..5].iter().map(|change| {
            let crop = change.crop.expect("a crop");
            let place = [crop.left, crop.top, crop.width, crop.height];
            (change.flip, change.shift, place)
        });
        let expected = [
            (false, [-5, 6], [41, 6, 159, 193]),
            (true, [5, 7], [60, 3, 225, 195]),
            (true, [4, -5], [39, 3, 164, 196]),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn as_many_numbers_are_taken_whatever_is_allowed(
            item: usize, flip in 0_f32..=1.0, shift in 0_u32..20, crop in 0.1..1.0_f64,
            size in (1_u32..2000, 1_u32..2000), permits: (bool, bool), asked: bool,
        ) {
            let crop = Some(crop);
            let variation = Augmentation::Careful(Amounts { flip, shift, crop }).for_tuning();
            let after = |size, permits, region| {
                let mut rng = item_rng(3, item);
                let change = variation.draw(size, permits, region, &mut rng);
                (change, rng.next_u64())
            };
            let permits = Permits { flip: permits.0, crop: permits.1 };
            let region = asked.then_some(REGION);
            let (change, next) = after(size, permits, region);
            prop_assert_eq!((change, next), after(size, permits, region));
            prop_assert_eq!(next, after((50, 50), FREE, None).1);
            prop_assert!(permits.flip || !change.flip);
            prop_assert!(permits.crop || (change.crop.is_none() && change.shift == [0; 2]));
        }
    }
}
