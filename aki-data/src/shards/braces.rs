//! Braces in names: `{00000..01000}` and `{a,b{1..3}}`, as a shell expands them.

/// Names that one pattern may stand for. A pass over more shards than this is a
/// mistyped range.
const MAX_NAMES: usize = 1 << 20;

/// Braces within braces.
const MAX_DEPTH: usize = 16;

/// All names that a pattern stands for, leftmost braces varying slowest.
///
/// Numbers are as wide as the wider end where one begins with a zero, and count
/// down where the first is the greater. Braces without a comma or a range stay.
///
/// # Errors
/// If a brace is not closed, or there are too many names.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    expand_at(pattern, 0)
}

fn expand_at(pattern: &str, depth: usize) -> Result<Vec<String>, String> {
    if depth > MAX_DEPTH {
        return Err(format!("braces are nested more than {MAX_DEPTH} deep"));
    }
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let close = closing(&rest[open..]).ok_or("a { is not closed")? + open;
        let choices = choices(&rest[open + 1..close], depth)?;
        let len = names.len().saturating_mul(choices.len());
        if len > MAX_NAMES {
            return Err(format!("it stands for more than {MAX_NAMES} names"));
        }
        let before = &rest[..open];
        names = names
            .iter()
            .flat_map(|name| {
                choices
                    .iter()
                    .map(move |choice| format!("{name}{before}{choice}"))
            })
            .collect();
        rest = &rest[close + 1..];
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

/// Where the brace that opens a text is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1)?,
            _ => continue,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// What the content of a pair of braces stands for.
fn choices(content: &str, depth: usize) -> Result<Vec<String>, String> {
    let parts = split_outside(content);
    if parts.len() > 1 {
        let mut all = Vec::new();
        for part in parts {
            all.extend(expand_at(part, depth + 1)?);
            if all.len() > MAX_NAMES {
                return Err(format!("it stands for more than {MAX_NAMES} names"));
            }
        }
        return Ok(all);
    }
    if let Some(numbers) = range(content)? {
        return Ok(numbers);
    }
    let inner = expand_at(content, depth + 1)?;
    Ok(inner.into_iter().map(|it| format!("{{{it}}}")).collect())
}

/// Cut at the commas that are in no inner braces.
fn split_outside(content: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in content.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&content[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&content[start..]);
    parts
}

/// `first..last`, if it is that.
fn range(content: &str) -> Result<Option<Vec<String>>, String> {
    let Some((first, last)) = content.split_once("..") else {
        return Ok(None);
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Ok(None);
    }
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("{text} is too large a number"))
    };
    let (from, to) = (number(first)?, number(last)?);
    if from.abs_diff(to) >= MAX_NAMES as u64 {
        return Err(format!("{{{content}}} is more than {MAX_NAMES} names"));
    }
    let padded = |text: &str| text.len() > 1 && text.starts_with('0');
    let width = if padded(first) || padded(last) {
        first.len().max(last.len())
    } else {
        0
    };
    let name = |number: u64| format!("{number:0width$}");
    Ok(Some(if from <= to {
        (from..=to).map(name).collect()
    } else {
        (to..=from).rev().map(name).collect()
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn braces_expand_as_in_a_shell() {
        let is = |pattern: &str, names: &[&str]| {
            assert_eq!(expand(pattern).expect("names"), names, "{pattern}");
        };
        is("a.tar", &["a.tar"]);
        is("s/{008..010}.tar", &["s/008.tar", "s/009.tar", "s/010.tar"]);
        is("{9..11}", &["9", "10", "11"]);
        is("{3..1}", &["3", "2", "1"]);
        is("{a,b}{0..1}", &["a0", "a1", "b0", "b1"]);
        is("{a{0..1},,b{x,{y,z}}}", &["a0", "a1", "", "bx", "by", "bz"]);
        is("{a}-{}", &["{a}-{}"]);
        is("a}b", &["a}b"]);
    }

    #[test]
    fn too_many_names_and_open_braces_are_told() {
        for pattern in [
            "{0..99999999}",
            "{0..9999}{0..9999}",
            "{0..99999999999999999999999}",
        ] {
            assert!(expand(pattern).is_err(), "{pattern}");
        }
        assert!(expand("a{b").is_err());
        assert!(expand(&"{a,".repeat(40)).is_err());
        let deep = format!("{}{}", "{a,".repeat(40), "}".repeat(40));
        assert!(expand(&deep).expect_err("deep").contains("nested"));
    }

    proptest! {
        #[test]
        fn any_pattern_is_expanded_or_refused(pattern in r"[{},.0-2aä]{0,24}") {
            let _ = expand(&pattern);
        }
    }
}
