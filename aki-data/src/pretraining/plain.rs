//! BLIP3-Kale, CC3M and CC12M: the text is the caption.

/// The caption, less the white space around it. CC12M's `<PERSON>` in place of names
/// is text like any other.
///
/// # Errors
/// If nothing is left.
pub(super) fn caption(text: &str) -> Result<String, String> {
    let caption = text.trim();
    if caption.is_empty() {
        return Err("the caption is empty".to_owned());
    }
    Ok(caption.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_caption_goes() {
        assert_eq!(
            caption(" <PERSON> on a hill \n"),
            Ok("<PERSON> on a hill".to_owned())
        );
        assert!(caption(" \n").is_err());
    }
}
