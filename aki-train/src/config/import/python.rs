//! Values in texts, as Python writes them.

use serde_json::Value;

/// A value as Python writes it in a text, if it is a single one.
pub(super) fn in_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => python_float(float),
            None => number.to_string(),
        },
        Value::Array(_) | Value::Object(_) => return None,
    })
}

/// Python's shortest form: `2e-05`, `0.0001`, `1e+16`.
fn python_float(float: f64) -> String {
    let size = float.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{float:?}");
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_pythons() {
        for (float, expected) in [
            (2e-5, "2e-05"),
            (1e-4, "0.0001"),
            (1.5, "1.5"),
            (3.0, "3.0"),
            (1e16, "1e+16"),
            (-1.25e-7, "-1.25e-07"),
            (0.0, "0.0"),
        ] {
            assert_eq!(python_float(float), expected);
        }
    }
}
