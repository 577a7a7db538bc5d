//! Which changes the texts about a picture allow.

use crate::Record;
use crate::datasets::{LETTER, SHORT};
use crate::text::Role;

/// Which changes of a picture leave what is said of it true.
///
/// Words decide, whole ones in either case, in English, so it is a guess that errs on the side
/// of leaving pictures alone: "right" forbids a flip where it means correct, and "left" where
/// somebody has left. What no word tells is not found: a flip may mirror writing, a clock or a
/// map that no text mentions, and a crop may cut away what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// Left and right may be swapped.
    pub flip: bool,
    /// The edges may be cut off, and the picture shifted over them.
    pub crop: bool,
}

/// Sides and directions. A crop may move what is on the left of a picture to its right.
#[rustfmt::skip] // One line a word otherwise.
const SIDES: &[&str] = &[
    "left", "lefts", "leftmost", "leftward", "leftwards", "lefthand", "right", "rights",
    "rightmost", "rightward", "rightwards", "righthand", "clockwise", "counterclockwise",
    "anticlockwise", "east", "eastern", "eastward", "west", "western", "westward", "northeast",
    "northwest", "southeast", "southwest", "mirrored", "reversed", "backward", "backwards",
];

/// What is read, writing and what else a mirror makes wrong. A crop cuts it off.
#[rustfmt::skip] // One line a word otherwise.
const READING: &[&str] = &[
    "text", "texts", "written", "write", "writes", "writing", "handwriting", "handwritten",
    "printed", "read", "reads", "reading", "letter", "letters", "number", "numbers", "digit",
    "digits", "title", "titled", "author", "authors", "sign", "signs", "say", "says", "word",
    "words", "spell", "spelled", "spells", "spelling", "label", "labels", "labeled", "labelled",
    "logo", "logos", "brand", "name", "names", "license", "licence", "ocr", "clock", "clocks",
    "time", "map", "maps", "wrote", "authored", "published", "publisher", "year", "date", "dated",
    "price", "prices", "phone", "website", "page", "pages", "cover", "headline", "caption",
    "captions", "subtitle", "subtitles", "menu", "poster", "posters",
];

/// Places in a picture, and counts of what it shows.
const PLACES: &[&str] = &[
    "top", "bottom", "upper", "lower", "middle", "center", "centre", "corner", "corners", "edge",
    "edges", "many", "count", "counted", "total",
];

/// How boxes begin that stand in a text.
const BOXES: &[&str] = &["<bbox>", "<box>", "[0.", "[0,", "(0.", "(0,"];

impl Permits {
    /// What all of `texts` allow: question, options and answers, or the caption.
    ///
    /// | words of | flip | crop |
    /// |---|---|---|
    /// | sides (left, clockwise, east) | no | no |
    /// | reading (text, sign, clock), boxes as numbers | no | no |
    /// | places and counts (top, how many) | yes | no |
    ///
    /// `ocr` says that the source's pictures are there to be read (OCR-VQA, BLIP3-OCR; maps and
    /// diagrams as `ScienceQA`'s too): they are left alone whatever is said. The two
    /// instructions that ask for a word or a letter are not looked at.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>, ocr: bool) -> Self {
        let mut permits = Self {
            flip: !ocr,
            crop: !ocr,
        };
        let asked = texts.into_iter().flat_map(|text| text.split(SHORT));
        for text in asked.flat_map(|text| text.split(LETTER)) {
            let said = |list| words(text).any(|word| is_one(word, list));
            if said(SIDES) || said(READING) || BOXES.iter().any(|start| text.contains(start)) {
                permits.flip = false;
                permits.crop = false;
            }
            permits.crop &= !said(PLACES);
        }
        permits
    }
}

impl Record {
    /// What its texts allow, see [`Permits::of`]. The question that names its region is not
    /// looked at, as it follows the picture.
    pub fn permits(&self, ocr: bool) -> Permits {
        let mut messages = self.messages.iter();
        let first_question = messages.position(|message| message.role == Role::User);
        let follows = first_question.filter(|_| self.region.is_some());
        let texts = self.messages.iter().map(|message| message.text.as_str());
        let others = texts.enumerate().filter(|(at, _)| Some(*at) != follows);
        Permits::of(others.map(|(_, text)| text), ocr)
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
}

fn is_one(word: &str, list: &[&str]) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Region;
    use crate::text::Message;

    const ALL: (bool, bool) = (true, true);
    const CROP_ONLY_FORBIDDEN: (bool, bool) = (true, false);
    const NONE: (bool, bool) = (false, false);

    fn of(texts: &[&str], ocr: bool) -> (bool, bool) {
        let Permits { flip, crop } = Permits::of(texts.iter().copied(), ocr);
        (flip, crop)
    }

    #[test]
    fn words_decide_what_is_allowed() {
        for (text, allowed) in [
            ("", ALL),
            (
                "a dog on a bright, well-lit cleft of a Brightonian rock",
                ALL,
            ),
            ("What colour is the leftover copyright?", ALL),
            ("the dog to the LEFT", NONE),
            ("his left-hand glove", NONE),
            ("Turn it counter-clockwise.", NONE),
            ("That's right!", NONE),
            ("What does the sign say?", NONE),
            ("Who is the author", NONE),
            ("It's four o'clock", NONE),
            ("Who wrote this book?", NONE),
            ("In which year is it dated", NONE),
            ("which one is at [0.10, 0.20, 0.30, 0.40]", NONE),
            ("How many dogs?", CROP_ONLY_FORBIDDEN),
            ("the top shelf", CROP_ONLY_FORBIDDEN),
        ] {
            assert_eq!(of(&[text], false), allowed, "{text}");
            assert_eq!(of(&[text, "a dog"], false), allowed, "{text}");
            assert_eq!(of(&["a dog", "How many?", text], true), NONE, "{text}");
        }
        assert_eq!(of(&["How many dogs?", "two, one is left"], false), NONE);
    }

    #[test]
    fn instructions_forbid_nothing_but_the_question_with_them_does() {
        for instruction in [SHORT, LETTER] {
            assert_eq!(of(&[&format!("{instruction} What is it?")], false), ALL);
            assert_eq!(of(&[&format!("What is it?\n{instruction}")], false), ALL);
            let reading = format!("{instruction} Which word is it?");
            assert_eq!(of(&[&reading], false), NONE);
        }
        assert_eq!(of(&["a single word"], false), NONE);
    }

    #[test]
    fn the_question_of_a_region_is_no_obstacle_but_a_box_that_stays_is() {
        let region = Region {
            x1: 0.1,
            y1: 0.2,
            x2: 0.3,
            y2: 0.4,
        };
        let record = |phrase: &str, region: Option<Region>, question: String| {
            let message = |role, text| Message {
                role,
                text,
                pictures: 0,
            };
            let record = Record {
                key: String::new(),
                images: Vec::new(),
                messages: vec![
                    message(Role::User, question),
                    message(Role::Assistant, phrase.to_owned()),
                ],
                region,
            };
            let Permits { flip, crop } = record.permits(false);
            (flip, crop)
        };
        let question = region.question();
        assert_eq!(record("a man", Some(region), question.clone()), ALL);
        assert_eq!(record("left man", Some(region), question.clone()), NONE);
        assert_eq!(record("a man", None, question), NONE);
    }
}
