//! Reading an option, or yes or no, out of what a model says.

/// What a model says that will not answer, in lower case.
const REFUSALS: [&str; 4] = [
    "i can't help with images of people",
    "i can't process this file",
    "cannot determine the answer",
    "without the image provided",
];

/// Taken for blanks before an answer is cut into words.
const PUNCTUATION: &str = ".()[],:;!*#{}";

/// The option that an answer names, by the kit's rules, in this order:
///
/// 1. a refusal names none;
/// 2. of all options' letters exactly one stands by itself as a word, for the first time among the
///    last four words;
/// 3. `answer is X`;
/// 4. exactly one option's text is contained, in whatever case, and the answer is at most twice as
///    long as all options' texts.
pub(super) fn option(answer: &str, options: &[(char, String)]) -> Option<char> {
    let lower = answer.to_lowercase();
    let straight = lower.replace('\u{2019}', "'");
    if REFUSALS.iter().any(|it| straight.contains(it)) {
        return None;
    }
    by_letter(answer, options)
        .or_else(|| answer_is(answer, options))
        .or_else(|| by_text(&lower, options))
}

fn by_letter(answer: &str, options: &[(char, String)]) -> Option<char> {
    let blank = |c: char| c.is_whitespace() || PUNCTUATION.contains(c);
    let words: Vec<&str> = answer
        .split(blank)
        .filter(|word| !word.is_empty())
        .collect();
    let mut found = options.iter().filter_map(|(letter, _)| {
        let is_it = |word: &&str| only(word) == Some(*letter);
        Some((*letter, words.iter().position(is_it)?))
    });
    match (found.next(), found.next()) {
        (Some((letter, at)), None) if at + 4 >= words.len() => Some(letter),
        _ => None,
    }
}

/// The character that a text is, if it is one.
fn only(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// A small letter counts only where the sentence ends with it: `the answer is a dog` names none.
fn answer_is(answer: &str, options: &[(char, String)]) -> Option<char> {
    // ASCII alone is put into lower case, so that places in both are the same.
    let lower = answer.to_ascii_lowercase();
    let phrase = "answer is";
    lower.match_indices(phrase).find_map(|(at, _)| {
        let rest = answer[at + phrase.len()..].trim_start_matches([' ', '*', '(', ':', '"', '\'']);
        let letter = rest.chars().next()?;
        let behind = rest[letter.len_utf8()..].chars().next();
        let ends = match letter.is_ascii_uppercase() {
            true => behind.is_none_or(|c| !c.is_alphanumeric()),
            false => behind.is_none_or(|c| ".,;:!)*\"'\n".contains(c)),
        };
        let letter = letter.to_ascii_uppercase();
        (ends && options.iter().any(|it| it.0 == letter)).then_some(letter)
    })
}

fn by_text(lower: &str, options: &[(char, String)]) -> Option<char> {
    let texts: usize = options.iter().map(|(_, text)| text.chars().count()).sum();
    if lower.chars().count() > 2 * texts {
        return None;
    }
    let mut found = options
        .iter()
        .filter(|(_, text)| lower.contains(&text.to_lowercase()));
    match (found.next(), found.next()) {
        (Some((letter, _)), None) => Some(*letter),
        _ => None,
    }
}

/// Yes or no, if exactly one of the two words is in the answer.
pub(super) fn yes_or_no(answer: &str) -> Option<bool> {
    let lower = answer.to_lowercase();
    let said = |wanted| {
        let mut words = lower.split(|c: char| !c.is_alphanumeric());
        words.any(|word| word == wanted)
    };
    match (said("yes"), said("no")) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// A number and nothing else.
pub(super) fn number(text: &str) -> Option<f64> {
    text.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(texts: &[&str]) -> Vec<(char, String)> {
        let texts = texts.iter().map(|&text| text.to_owned());
        ('A'..).zip(texts).collect()
    }

    #[test]
    fn options_are_read_as_the_kit_reads_them() {
        let options = options(&["a red cat", "two dogs", "The sky", "none of these"]);
        for (answer, expected) in [
            ("B", Some('B')),
            (" (B) ", Some('B')),
            ("B.", Some('B')),
            ("**C**", Some('C')),
            ("{D}", Some('D')),
            ("B. two dogs", Some('B')),
            ("Answer: B", Some('B')),
            ("The answer is B", Some('B')),
            ("I think that the right one must be C.", Some('C')),
            // The letter for the first time before the last four words.
            ("B is what I would say here", None),
            ("A cat sits on the mat in it", None),
            ("B says it all", Some('B')),
            // Two letters; then what is said to be the answer.
            ("A or B", None),
            ("Not A: the answer is B, for it is two", Some('B')),
            ("A and B are wrong, the correct answer is **C**.", Some('C')),
            ("the answer is c.", Some('C')),
            ("either A or B; the answer is a dog", None),
            ("the answer is E", None),
            // By text.
            ("There are two dogs.", Some('B')),
            ("THE SKY", Some('C')),
            ("two dogs and the sky", None),
            ("dogs", None),
            // Small letters by themselves are words.
            ("a", None),
            ("Sorry, I can't help with images of people yet. B", None),
            ("I can\u{2019}t process this file: A", None),
            ("Cannot determine the answer", None),
            ("", None),
        ] {
            assert_eq!(option(answer, &options), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_long_answer_names_no_option_by_its_text() {
        let options = options(&["red", "blue"]);
        // 14 characters are twice the texts' 7.
        assert_eq!(option("well, it's red", &options), Some('A'));
        assert_eq!(option("well, it is red", &options), None);
    }

    #[test]
    fn a_text_with_a_curly_apostrophe_is_found() {
        let options = options(&["the dog\u{2019}s", "the cat\u{2019}s"]);
        assert_eq!(option("The cat\u{2019}s", &options), Some('B'));
        let options = self::options(&["a house", "a frame without the image"]);
        assert_eq!(option("a frame without the image", &options), Some('B'));
    }

    #[test]
    fn yes_and_no_are_words() {
        for (answer, expected) in [
            ("Yes", Some(true)),
            ("yes, it is.", Some(true)),
            ("No", Some(false)),
            ("NO!", Some(false)),
            ("There is no dog", Some(false)),
            ("Yes and no", None),
            ("I know nothing of yesterday", None),
            ("Nobody", None),
            ("", None),
        ] {
            assert_eq!(yes_or_no(answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn numbers_stand_alone() {
        assert_eq!(number(" 14 "), Some(14.0));
        assert_eq!(number("-0.50"), Some(-0.5));
        for text in ["", "14 cats", "$14", "nan", "inf", "1,000"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_one_of_the_options(answer in "([A-E]|answer is|[ .(:*]|\\PC){0,12}") {
            let options = options(&["one", "two", "three"]);
            if let Some(letter) = option(&answer, &options) {
                prop_assert!(('A'..='C').contains(&letter));
            }
            let _ = yes_or_no(&answer);
        }

        #[test]
        fn a_letter_alone_is_read_whatever_stands_around_it(
            at in 0..3_usize, before in "[ .(\\[*#{]{0,4}", after in "[ .)\\]*:;!}]{0,4}",
        ) {
            let options = options(&["one", "two", "three"]);
            let letter = options[at].0;
            prop_assert_eq!(option(&format!("{before}{letter}{after}"), &options), Some(letter));
        }
    }
}
