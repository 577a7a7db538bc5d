//! Questions about a scene, whose answers cannot be guessed.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::scene::{Colour, Object, Scene, Shape, choose};
use crate::shards::Turn;

/// What is asked. Those that fewest scenes have an answer for come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Beside,
    Colour,
    Shape,
    CountOfColour,
    CountOfShape,
    Existence,
    Relation,
}

/// Which way one thing lies of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Left,
    Right,
    Above,
    Below,
}

/// What a question is to be answered with. A scene that has no such question is drawn anew; the answer
/// stays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    kind: Kind,
    answer: Answer,
    /// Colour of the object in the question of what lies beside it. That it is drawn apart from the
    /// answer makes neither tell of the other.
    anchor: Colour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Count(usize),
    Truth(bool),
    Colour(Colour),
    Shape(Shape),
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Beside(Way, Object),
    Colour(Shape),
    Shape(Colour),
    CountOfColour(Colour),
    CountOfShape(Shape),
    Existence(Object),
    Relation(Object, Way, Object),
}

/// Highest count that is asked for.
const MOST: u32 = 3;

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Beside,
        Self::Colour,
        Self::Shape,
        Self::CountOfColour,
        Self::CountOfShape,
        Self::Existence,
        Self::Relation,
    ];

    /// As samples have it.
    fn name(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Colour => "color",
            Self::Shape => "shape",
            Self::CountOfColour | Self::CountOfShape => "count",
            Self::Existence => "existence",
            Self::Relation => "relation",
        }
    }
}

impl Way {
    const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    fn name(self) -> &'static str {
        match self {
            Self::Left => "left of",
            Self::Right => "right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// How far `from` lies that way of `to`, in cells; places are rows and columns.
    fn distance(self, from: (usize, usize), to: (usize, usize)) -> isize {
        let (down, right) = (
            from.0.cast_signed() - to.0.cast_signed(),
            from.1.cast_signed() - to.1.cast_signed(),
        );
        match self {
            Self::Left => -right,
            Self::Right => right,
            Self::Above => -down,
            Self::Below => down,
        }
    }
}

impl Demand {
    /// An answer of a kind, each as likely as the others.
    pub(super) fn draw(kind: Kind, rng: &mut ChaCha8Rng) -> Self {
        let answer = match kind {
            Kind::Beside | Kind::Colour => Answer::Colour(choose(&Colour::ALL, rng)),
            Kind::Shape => Answer::Shape(choose(&Shape::ALL, rng)),
            Kind::CountOfColour | Kind::CountOfShape => {
                Answer::Count(rng.random_range(0..=MOST) as usize)
            }
            Kind::Existence | Kind::Relation => Answer::Truth(rng.random_bool(0.5)),
        };
        Self {
            kind,
            answer,
            anchor: choose(&Colour::ALL, rng),
        }
    }

    /// A question about the scene with this answer; none if the scene has none.
    pub(super) fn ask(&self, scene: &Scene, rng: &mut ChaCha8Rng) -> Option<Turn> {
        let mut fitting = Vec::new();
        each_question(self.kind, scene, |question, answer| {
            let anchored = match question {
                Question::Beside(_, object) => object.colour == self.anchor,
                _ => true,
            };
            if answer == self.answer && anchored {
                fitting.push(question);
            }
        });
        (!fitting.is_empty()).then(|| Turn {
            question: choose(&fitting, rng).text(),
            answer: self.answer.text(),
            kind: self.kind.name().to_owned(),
        })
    }
}

/// All questions of a kind that the scene has one answer for.
fn each_question(kind: Kind, scene: &Scene, mut tell: impl FnMut(Question, Answer)) {
    let objects = || scene.objects();
    let unique = |object: Object| scene.count(|it| it == object) == 1;
    match kind {
        Kind::Beside => {
            for (object, row, column) in objects().filter(|it| unique(it.0)) {
                for way in Way::ALL {
                    let beside = |&(_, y, x): &(Object, usize, usize)| {
                        way.distance((y, x), (row, column)) == 1 && (y == row || x == column)
                    };
                    if let Some((other, ..)) = objects().find(beside) {
                        tell(Question::Beside(way, object), Answer::Colour(other.colour));
                    }
                }
            }
        }
        Kind::Colour => {
            for (object, ..) in objects() {
                if scene.count(|it| it.shape == object.shape) == 1 {
                    tell(
                        Question::Colour(object.shape),
                        Answer::Colour(object.colour),
                    );
                }
            }
        }
        Kind::Shape => {
            for (object, ..) in objects() {
                if scene.count(|it| it.colour == object.colour) == 1 {
                    tell(Question::Shape(object.colour), Answer::Shape(object.shape));
                }
            }
        }
        Kind::CountOfColour => {
            for colour in Colour::ALL {
                let count = scene.count(|it| it.colour == colour);
                tell(Question::CountOfColour(colour), Answer::Count(count));
            }
        }
        Kind::CountOfShape => {
            for shape in Shape::ALL {
                let count = scene.count(|it| it.shape == shape);
                tell(Question::CountOfShape(shape), Answer::Count(count));
            }
        }
        Kind::Existence => {
            for (colour, shape) in things() {
                let object = Object { colour, shape };
                let there = scene.count(|it| it == object) > 0;
                // What is not there has its colour and its shape on others: neither alone tells.
                let parts = scene.count(|it| it.colour == colour) > 0
                    && scene.count(|it| it.shape == shape) > 0;
                if parts {
                    tell(Question::Existence(object), Answer::Truth(there));
                }
            }
        }
        Kind::Relation => {
            for (a, a_row, a_column) in objects().filter(|it| unique(it.0)) {
                for (b, b_row, b_column) in objects().filter(|it| unique(it.0)) {
                    for way in Way::ALL {
                        // Where neither lies that way of the other, nothing is asked.
                        let distance = way.distance((a_row, a_column), (b_row, b_column));
                        if distance != 0 {
                            tell(Question::Relation(a, way, b), Answer::Truth(distance > 0));
                        }
                    }
                }
            }
        }
    }
}

fn things() -> impl Iterator<Item = (Colour, Shape)> {
    let shapes = |colour| Shape::ALL.map(|shape| (colour, shape));
    Colour::ALL.into_iter().flat_map(shapes)
}

impl Question {
    fn text(self) -> String {
        match self {
            Self::Beside(way, object) => {
                format!(
                    "what color is the shape directly {} the {object}?",
                    way.name()
                )
            }
            Self::Colour(shape) => format!("what color is the {}?", shape.name()),
            Self::Shape(colour) => format!("what is the {} shape?", colour.name()),
            Self::CountOfColour(colour) => {
                format!("how many {} shapes are there?", colour.name())
            }
            Self::CountOfShape(shape) => format!("how many {} are there?", shape.plural()),
            Self::Existence(object) => format!("is there a {object}?"),
            Self::Relation(a, way, b) => format!("is the {a} {} the {b}?", way.name()),
        }
    }
}

impl Answer {
    fn text(self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Truth(true) => "yes".to_owned(),
            Self::Truth(false) => "no".to_owned(),
            Self::Colour(colour) => colour.name().to_owned(),
            Self::Shape(shape) => shape.name().to_owned(),
        }
    }
}
