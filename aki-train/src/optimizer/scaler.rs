//! The factor by which the loss is multiplied in f16, so that small gradients are not lost.

use serde::{Deserialize, Serialize};

/// Steps with finite gradients after which the scale is doubled.
const PATIENCE: usize = 2000;

/// A scale that is halved after a step without finite gradients, and doubled after 2000 with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    scale: f64,
    /// Steps with finite gradients since it was changed.
    good: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            scale: 65536.0,
            good: 0,
        }
    }
}

impl LossScale {
    /// What the loss is multiplied by, and the gradients are divided by.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Takes note of whether a step's gradients were finite.
    pub fn update(&mut self, finite: bool) {
        self.good += 1;
        if !finite {
            self.scale = (self.scale / 2.0).max(1.0);
        } else if self.good == PATIENCE {
            // An infinite scale would never come back.
            self.scale = (self.scale * 2.0).min(f64::from(f32::MAX));
        } else {
            return;
        }
        self.good = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_halved_at_once_and_doubled_in_time() {
        let mut scale = LossScale::default();
        scale.update(false);
        assert_eq!(scale.scale() as u64, 1 << 15);
        for _ in 1..PATIENCE {
            scale.update(true);
        }
        assert_eq!(scale.scale() as u64, 1 << 15);
        let text = serde_json::to_string(&scale).unwrap();
        let mut scale: LossScale = serde_json::from_str(&text).unwrap();
        scale.update(true);
        assert_eq!(scale.scale() as u64, 1 << 16);
        // What was good before a bad step does not count.
        scale.update(true);
        scale.update(false);
        for _ in 1..PATIENCE {
            scale.update(true);
        }
        assert_eq!(scale.scale() as u64, 1 << 15);
    }

    #[test]
    fn it_stays_between_1_and_what_f32_holds() {
        let mut scale = LossScale::default();
        (0..100).for_each(|_| scale.update(false));
        assert_eq!(scale.scale() as u64, 1);
        (0..200 * PATIENCE).for_each(|_| scale.update(true));
        assert!((scale.scale() as f32).is_finite());
    }
}
