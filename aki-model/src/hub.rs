//! Values of a Hugging Face `config.json`.

use serde_json::Value;

/// Takes `config[key]`, or the default where the key is missing or null.
fn value<T>(
    config: &Value,
    key: &str,
    default: Option<T>,
    wanted: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, String> {
    match config.get(key).filter(|value| !value.is_null()) {
        None => default.ok_or_else(|| format!("{key} is missing")),
        Some(value) => read(value).ok_or_else(|| format!("{key} is {value} and must be {wanted}")),
    }
}

/// A count or a width.
pub(crate) fn size(config: &Value, key: &str, default: Option<usize>) -> Result<usize, String> {
    value(config, key, default, "a whole number from 0 up", |value| {
        value.as_u64().and_then(|size| usize::try_from(size).ok())
    })
}

/// A number.
pub(crate) fn number(config: &Value, key: &str, default: Option<f64>) -> Result<f64, String> {
    value(config, key, default, "a number", Value::as_f64)
}

/// True or false.
pub(crate) fn flag(config: &Value, key: &str, default: bool) -> Result<bool, String> {
    value(config, key, Some(default), "true or false", Value::as_bool)
}

/// A list of numbers.
pub(crate) fn numbers(config: &Value, key: &str) -> Result<Vec<f64>, String> {
    value(config, key, None, "a list of numbers", |value| {
        value.as_array()?.iter().map(Value::as_f64).collect()
    })
}
