//! The texts that questions are asked with.

use crate::datasets::LETTER;

/// Options as the kit asks for them; without options their part is left out.
///
/// ```text
/// Hint: {hint}
/// Question: {question}
/// Options:
/// A. ..
/// B. ..
/// Please select the correct answer from the options above.
/// ```
///
/// The last line ends with a blank.
pub(super) fn multiple_choice(
    hint: Option<&str>,
    question: &str,
    options: &[(char, String)],
) -> String {
    let mut text = hint.map_or_else(String::new, |hint| format!("Hint: {hint}\n"));
    text.extend(["Question: ", question, "\n"]);
    if !options.is_empty() {
        text += &lines(options);
        text += "Please select the correct answer from the options above. \n";
    }
    text
}

/// Options as AKI's own evaluation asks for them, and as its tuning had them.
pub(super) fn letter(question: &str, options: &[(char, String)]) -> String {
    format!("{LETTER} {question}\n{}", lines(options))
}

fn lines(options: &[(char, String)]) -> String {
    let mut text = "Options:\n".to_owned();
    for (letter, option) in options {
        text.push(*letter);
        text.extend([". ", option, "\n"]);
    }
    text
}

/// A text whose marks `<image 1>`, `<image 2>`, .. say where the row's pictures stand, as the kit's
/// wrapper of AKI shows it: the picture of the first mark in its place, and nothing in that of the
/// others.
///
/// Gives the text without marks, the place of the picture in it, and which picture it is. Without
/// marks the first picture stands in front.
pub(super) fn at_first_mark(text: &str, pictures: usize) -> (String, usize, usize) {
    let mut pieces = text.split("<image ");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    let mut first = None;
    for piece in pieces {
        let number = piece
            .find('>')
            .and_then(|end| piece[..end].parse::<usize>().ok());
        match number.filter(|number| (1..=pictures).contains(number)) {
            Some(number) => {
                first.get_or_insert((plain.len(), number - 1));
                plain += piece.split_once('>').map_or("", |(_, rest)| rest);
            }
            None => plain.extend(["<image ", piece]),
        }
    }
    let (at, which) = first.unwrap_or_default();
    (plain, at, which)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> Vec<(char, String)> {
        vec![('A', "red".to_owned()), ('C', "blue".to_owned())]
    }

    #[test]
    fn options_are_asked_for_as_the_kit_does_it() {
        assert_eq!(
            multiple_choice(Some("Look up."), "Which?", &options()),
            "Hint: Look up.\nQuestion: Which?\nOptions:\nA. red\nC. blue\nPlease select the \
             correct answer from the options above. \n"
        );
        assert_eq!(
            multiple_choice(None, "How many?", &[]),
            "Question: How many?\n"
        );
    }

    #[test]
    fn options_are_asked_for_as_in_training() {
        assert_eq!(
            letter("Which?", &options()),
            "Answer with the option's letter from the given choices directly. \
             Which?\nOptions:\nA. red\nC. blue\n"
        );
    }

    #[test]
    fn the_first_marks_picture_stands_where_the_mark_is() {
        let cut = |text, pictures| {
            let (text, at, which) = at_first_mark(text, pictures);
            (text[..at].to_owned(), text[at..].to_owned(), which)
        };
        let own = |head: &str, rest: &str, which| (head.to_owned(), rest.to_owned(), which);
        assert_eq!(cut("Q: is <image 1> red?", 1), own("Q: is ", " red?", 0));
        assert_eq!(
            cut("<image 2> or <image 1>: A. <image 1>", 2),
            own("", " or : A. ", 1)
        );
        assert_eq!(cut("no mark", 3), own("", "no mark", 0));
        // There is no such picture: it is no mark.
        assert_eq!(
            cut("a <image 3> b <image 1>", 2),
            own("a <image 3> b ", "", 0)
        );
        assert_eq!(cut("<image x> <image ", 2), own("", "<image x> <image ", 0));
    }

    proptest! {
        #[test]
        fn the_place_is_within_the_text(text in "(<image [0-9]>|<image |\\PC){0,8}", pictures in 1..9_usize) {
            let (text, at, which) = at_first_mark(&text, pictures);
            prop_assert!(text.is_char_boundary(at));
            prop_assert!(which < pictures);
        }
    }
}
