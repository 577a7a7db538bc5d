//! `<image>` marks, with which LLaVA's texts say where a picture stands.

const MARK: &str = "<image>";

/// The text without its marks, and how many it had. A mark is at the very beginning or a line of
/// its own; within a sentence it is what the sentence is about and stays.
pub(crate) fn without_marks(text: &str) -> (String, usize) {
    let mut marks = 0;
    let mut rest = text;
    while let Some(after) = rest.strip_prefix(MARK) {
        marks += 1;
        rest = after
            .strip_prefix('\n')
            .unwrap_or_else(|| after.trim_start_matches(' '));
    }
    let is_mark = |line: &&str| line.trim() == MARK;
    marks += rest.split('\n').filter(is_mark).count();
    let kept: Vec<_> = rest.split('\n').filter(|line| !is_mark(line)).collect();
    (kept.join("\n"), marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_wherever_they_stand() {
        for (text, expected, marks) in [
            ("<image>\nwhat?", "what?", 1),
            ("what?\n<image>", "what?", 1),
            ("<image>what?", "what?", 1),
            ("<image> what?", "what?", 1),
            ("<image>\n<image>\nwhich?", "which?", 2),
            ("<image><image>\nwhich?", "which?", 2),
            (
                "one:\n<image>\ntwo:\n<image>\nwhich?",
                "one:\ntwo:\nwhich?",
                2,
            ),
            ("<image>", "", 1),
            ("<image>\n\nwhat?\n", "\nwhat?\n", 1),
            (
                "what does the <image> tag do?",
                "what does the <image> tag do?",
                0,
            ),
            ("", "", 0),
        ] {
            assert_eq!(
                without_marks(text),
                (expected.to_owned(), marks),
                "{text:?}"
            );
        }
    }
}
