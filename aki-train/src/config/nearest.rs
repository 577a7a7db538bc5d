//! What was meant by a name that is not there.

/// The one of `known` that `name` is most like; none if none is like it.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters: "stpes" is "steps", but "z" isn't "x".
    let allowed = (name.chars().count() + 1) / 3;
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_third_of_the_letters_may_differ() {
        let near = |name| nearest(name, ["vqa", "gqa", "captions"].into_iter());
        assert_eq!(near("vqs"), Some("vqa"));
        assert_eq!(near("capitons"), Some("captions"));
        assert_eq!(near("refcoco"), None);
        assert_eq!(nearest("vqa", [].into_iter()), None);
    }
}
