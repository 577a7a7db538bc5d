//! A data set for which one has to look: some coloured shapes on a grid, and questions that alone say
//! nothing of their answers.
//!
//! A sample is a function of seed, split and number. First its questions' kinds and answers are drawn,
//! each answer of a kind as likely as the others; then scenes, until one has a question of each kind
//! with that answer. Scenes prefer no colour, no shape and no direction, so that neither do the
//! questions that an answer gets: whatever the question says, all answers remain equally likely.
//!
//! | kind | question | answers |
//! |---|---|---|
//! | count | how many red shapes are there? how many circles are there? | 0, 1, 2, 3 |
//! | existence | is there a blue square? | yes, no |
//! | relation | is the red square above the green circle? | yes, no |
//! | color | what color is the triangle? | six colours |
//! | shape | what is the red shape? | four shapes |
//! | beside | what color is the shape directly left of the blue circle? | six colours |
//!
//! What is not there has its colour and its shape on other objects. Above, below, left and right are
//! asked of rows and columns that differ; "directly" is the next cell.

mod picture;
mod question;
mod scene;
mod sheet;
mod write;

use std::path::Path;

pub use self::picture::PIXELS;
use self::question::{Demand, Kind};
pub use self::scene::{Colour, Object, SIDE, Scene, Shape};
pub use self::sheet::sheet;
pub use self::write::{Written, write_scenes};
use crate::order::{keyed_rng, shuffle};
use crate::shards::{Sample, Turn};

/// A tokenizer in which each word of these texts is one token.
pub const TOKENIZER: &[u8] = include_bytes!("../../../assets/scenes/tokenizer.json");

/// Most questions of a scene: one of each kind, two of counts.
pub const MOST_QUESTIONS: usize = Kind::ALL.len();

/// Keeps scenes apart from other random numbers of the same seed.
const DOMAIN: u64 = 0x616b_692d_7363_656e; // "aki-scen"

/// A set of scenes, with no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenes {
    /// Another seed is another set.
    pub seed: u64,
    /// What the scenes are for.
    pub split: Split,
    /// Questions of each, [`MOST_QUESTIONS`] at most.
    pub questions: usize,
}

/// What scenes are for. One that is for training is never one for testing, whatever the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To be asked about.
    Test,
}

impl Scenes {
    /// Sample number `index`: a PNG of [`PIXELS`] x [`PIXELS`], a caption that names all objects row by
    /// row, and questions. The same on every machine.
    pub fn sample(&self, index: usize) -> Sample {
        let (scene, turns, picture) = self.made(index);
        Sample {
            key: format!("{index:06}"),
            shard: Path::new("scenes").to_owned(),
            picture: picture::png(&picture),
            caption: Some(scene.caption()),
            turns,
        }
    }

    fn made(&self, index: usize) -> (Scene, Vec<Turn>, picture::Pixels) {
        let rng = &mut keyed_rng(self.seed, DOMAIN, index as u64, self.split as u64);
        let mut kinds = Kind::ALL;
        shuffle(&mut kinds, rng);
        let kinds = &mut kinds[..self.questions.min(MOST_QUESTIONS)];
        // So that a scene that will not do is known as such soon.
        kinds.sort_unstable();
        let demands: Vec<Demand> = kinds.iter().map(|&kind| Demand::draw(kind, rng)).collect();
        loop {
            let scene = Scene::draw(rng);
            if scene.is_test() != (self.split == Split::Test) {
                continue;
            }
            let asked: Option<Vec<Turn>> = demands.iter().map(|it| it.ask(&scene, rng)).collect();
            if let Some(mut turns) = asked {
                shuffle(&mut turns, rng);
                let picture = picture::draw(&scene, rng);
                return (scene, turns, picture);
            }
        }
    }
}

#[cfg(test)]
mod tests;
