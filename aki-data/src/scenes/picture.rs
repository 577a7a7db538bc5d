//! Scenes as pictures, in whole numbers throughout.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::scene::{Colour, SIDE, Scene, Shape};

/// Pixels a side: 16 to a cell, so that patches of 8 or 16 end where cells do.
pub const PIXELS: usize = 48;

/// Steps of a pixel's side in which places and sizes are counted.
const STEPS: i32 = 8;
/// Points of a pixel, a side, at which it is asked what is there.
const POINTS: i32 = 4;
const CELL: i32 = STEPS * PIXELS as i32 / SIDE as i32;
/// From an object's middle to its end.
const REACH: std::ops::RangeInclusive<i32> = 44..=56;
/// How far its middle may lie from its cell's. With the largest reach it stays in its cell.
const SHIFT: i32 = 7;
/// How far a channel may lie from its colour's.
const SHADE: i32 = 16;

/// Pixels from top to bottom and left to right, three channels each.
pub(super) type Pixels = [u8; 3 * PIXELS * PIXELS];

impl Colour {
    fn channels(self) -> [i32; 3] {
        match self {
            Self::Black => [30, 30, 30],
            Self::Blue => [45, 80, 220],
            Self::Gray => [140, 140, 140],
            Self::Green => [40, 160, 60],
            Self::Red => [220, 40, 40],
            Self::Yellow => [235, 200, 30],
        }
    }
}

impl Shape {
    /// Whether a point belongs to it, counted from its middle; `reach` is half its height.
    fn holds(self, x: i32, y: i32, reach: i32) -> bool {
        match self {
            Self::Circle => x * x + y * y <= reach * reach,
            Self::Square => x.abs().max(y.abs()) * 8 <= reach * 7,
            // As high as wide, on its base.
            Self::Triangle => y <= reach && 2 * x.abs() <= y + reach,
            Self::Cross => {
                let (thin, long) = (x.abs().min(y.abs()), x.abs().max(y.abs()));
                long <= reach && thin * 3 <= reach
            }
        }
    }
}

/// Draws a scene; places, sizes and shades vary a little.
pub(super) fn draw(scene: &Scene, rng: &mut ChaCha8Rng) -> Pixels {
    let mut pixels: Pixels = [0; 3 * PIXELS * PIXELS];
    let ground: [u8; 3] = std::array::from_fn(|_| rng.random_range(226..=255));
    for pixel in pixels.as_chunks_mut().0 {
        *pixel = ground;
    }
    for (object, row, column) in scene.objects() {
        let reach = rng.random_range(REACH);
        let mut middle =
            |cell: usize| cell as i32 * CELL + CELL / 2 + rng.random_range(-SHIFT..=SHIFT);
        let (y, x) = (middle(row), middle(column));
        let shade = object.colour.channels();
        let shade = shade.map(|it| (it + rng.random_range(-SHADE..=SHADE)).clamp(0, 255));
        let lines = |middle: i32| (middle - reach) / STEPS..=(middle + reach) / STEPS;
        for line in lines(y) {
            for place in lines(x) {
                let covered = covered(object.shape, place * STEPS - x, line * STEPS - y, reach);
                let at = 3 * (line as usize * PIXELS + place as usize);
                for (value, shade) in pixels[at..at + 3].iter_mut().zip(shade) {
                    let all = POINTS * POINTS;
                    let mixed = shade * covered + i32::from(*value) * (all - covered);
                    *value = ((mixed + all / 2) / all) as u8;
                }
            }
        }
    }
    pixels
}

/// How many points of the pixel whose corner lies at `x` and `y` belong to a shape.
fn covered(shape: Shape, x: i32, y: i32, reach: i32) -> i32 {
    let points = (0..POINTS).map(|point| (2 * point + 1) * STEPS / (2 * POINTS));
    let inside = points
        .clone()
        .flat_map(|dy| points.clone().map(move |dx| (dx, dy)))
        .filter(|(dx, dy)| shape.holds(x + dx, y + dy, reach));
    inside.count() as i32
}

/// The file of a picture.
pub(super) fn png(pixels: &Pixels) -> Vec<u8> {
    let mut bytes = Vec::new();
    let side = PIXELS as u32;
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::NoFilter)
        .write_image(pixels, side, side, ExtendedColorType::Rgb8)
        .expect("memory takes a picture of the right size");
    bytes
}
