//! What a scene holds.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::fingerprint::fnv1a;
use crate::order::shuffle;

/// Cells of the grid in a row, and rows.
pub const SIDE: usize = 3;
/// Objects of a scene.
const OBJECTS: std::ops::RangeInclusive<u32> = 2..=6;
/// One scene in so many is kept for testing.
const TEST_SHARE: u64 = 8;

/// What an object looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its colour.
    pub colour: Colour,
    /// Its shape.
    pub shape: Shape,
}

/// The colour of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are their names")]
pub enum Colour {
    Black,
    Blue,
    Gray,
    Green,
    Red,
    Yellow,
}

/// The shape of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are their names")]
pub enum Shape {
    Circle,
    Cross,
    Square,
    Triangle,
}

/// Objects in the cells of a grid, row by row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scene {
    /// An object or nothing in each.
    pub cells: [Option<Object>; SIDE * SIDE],
}

impl Colour {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Black,
        Self::Blue,
        Self::Gray,
        Self::Green,
        Self::Red,
        Self::Yellow,
    ];

    /// As texts have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::Blue => "blue",
            Self::Gray => "gray",
            Self::Green => "green",
            Self::Red => "red",
            Self::Yellow => "yellow",
        }
    }
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Circle, Self::Cross, Self::Square, Self::Triangle];

    /// As texts have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Cross => "cross",
            Self::Square => "square",
            Self::Triangle => "triangle",
        }
    }

    /// Several of them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Circle => "circles",
            Self::Cross => "crosses",
            Self::Square => "squares",
            Self::Triangle => "triangles",
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.colour.name(), self.shape.name())
    }
}

impl Scene {
    /// Draws one in which no cell, colour or shape is preferred: the balance of the questions rests on
    /// that. Half of the objects have the colour of one before, and half the shape of one, since
    /// otherwise hardly any would have to be counted.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut order: [usize; SIDE * SIDE] = std::array::from_fn(|cell| cell);
        shuffle(&mut order, rng);
        let count = rng.random_range(OBJECTS) as usize;
        let mut objects: Vec<Object> = Vec::with_capacity(count);
        for _ in 0..count {
            let mut before = || match objects.len() as u32 {
                0 => None,
                len => rng
                    .random_bool(0.5)
                    .then(|| objects[rng.random_range(0..len) as usize]),
            };
            let (colour, shape) = (before(), before());
            let colour = colour.map_or_else(|| choose(&Colour::ALL, rng), |it| it.colour);
            let shape = shape.map_or_else(|| choose(&Shape::ALL, rng), |it| it.shape);
            objects.push(Object { colour, shape });
        }
        let mut cells = [None; SIDE * SIDE];
        for (cell, object) in order.into_iter().zip(objects) {
            cells[cell] = Some(object);
        }
        Self { cells }
    }

    /// Objects with their row and column, row by row.
    pub fn objects(&self) -> impl Iterator<Item = (Object, usize, usize)> + Clone {
        let cells = self.cells.iter().enumerate();
        cells.filter_map(|(cell, object)| Some(((*object)?, cell / SIDE, cell % SIDE)))
    }

    /// How many objects are such.
    pub fn count(&self, such: impl Fn(Object) -> bool) -> usize {
        self.objects().filter(|&(object, ..)| such(object)).count()
    }

    /// Names all objects, row by row.
    pub fn caption(&self) -> String {
        let named: Vec<String> = self.objects().map(|(it, ..)| format!("a {it}")).collect();
        match &named[..] {
            [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            named => named.concat(),
        }
    }

    /// Whether it is kept for testing: a scene is on the same side whatever seed it comes of.
    pub fn is_test(&self) -> bool {
        // The last two cells do not reach its bits 32 to 34: scenes that differ in these cells alone are
        // on the same side.
        let byte =
            |cell: &Option<Object>| cell.map_or(0, |it| 1 + it.colour as u8 * 4 + it.shape as u8);
        (fnv1a(self.cells.iter().map(byte)) >> 32).is_multiple_of(TEST_SHARE)
    }
}

/// One of some things.
pub(super) fn choose<T: Copy>(things: &[T], rng: &mut ChaCha8Rng) -> T {
    // Of 32 bits, as on every machine.
    things[rng.random_range(0..things.len() as u32) as usize]
}
