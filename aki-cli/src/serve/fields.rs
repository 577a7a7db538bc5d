//! A JSON object whose members are taken out one by one, so that what is left is what nobody knows.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::ApiError;

/// Values of a body at most: each takes many times the bytes it is written in.
const MAX_VALUES: usize = 100_000;

/// An object of a request. A member that is null counts as absent.
pub struct Fields {
    members: Map<String, Value>,
    /// Where it stands, as `messages[0]`; empty for the whole request.
    path: String,
}

impl Fields {
    /// The members of a request's body.
    ///
    /// # Errors
    ///
    /// 400 if it is no JSON object, or has too many values.
    pub fn of_body(body: &[u8]) -> Result<Self, ApiError> {
        if values(body) > MAX_VALUES {
            let message = format!("the body has more than the {MAX_VALUES} values allowed");
            return Err(ApiError::bad(message));
        }
        let value = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad(format!("the body is not JSON: {error}")))?;
        Self::new(value, "")
    }

    /// The members of an object.
    ///
    /// # Errors
    ///
    /// 400 if it is none.
    pub fn new(value: Value, path: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(members) => Ok(Self {
                members,
                path: path.to_owned(),
            }),
            _ if path.is_empty() => Err(ApiError::bad("the body must be a JSON object")),
            _ => Err(ApiError::param(path, format!("{path} must be an object"))),
        }
    }

    /// Where a member stands.
    pub fn path(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        }
    }

    /// 400, a member being at fault.
    pub fn fault(&self, name: &str, why: &str) -> ApiError {
        let path = self.path(name);
        let message = format!("{path} {why}");
        ApiError::param(path, message)
    }

    /// A member of any kind.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members
            .shift_remove(name)
            .filter(|value| !value.is_null())
    }

    /// A string.
    ///
    /// # Errors
    ///
    /// 400 if it is something else; so with the others.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.fault(name, "must be a string")),
        }
    }

    /// True or false.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.fault(name, "must be true or false")),
        }
    }

    /// A number within a range.
    pub fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|number| range.contains(number));
        let why = format!("must be a number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| self.fault(name, &why))
    }

    /// A whole number within a range.
    pub fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_i64().filter(|number| range.contains(number));
        let why = match *range.end() {
            i64::MAX => format!("must be a whole number from {} up", range.start()),
            end => format!("must be a whole number from {} to {end}", range.start()),
        };
        number.map(Some).ok_or_else(|| self.fault(name, &why))
    }

    /// A list.
    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.fault(name, "must be a list")),
        }
    }

    /// An object within.
    pub fn object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        let path = self.path(name);
        self.take(name)
            .map(|value| Self::new(value, &path))
            .transpose()
    }

    /// Refuses what is left.
    pub fn end(self) -> Result<(), ApiError> {
        let mut left = self.members.iter().filter(|(_, value)| !value.is_null());
        let Some((name, _)) = left.next() else {
            return Ok(());
        };
        let name: String = name.chars().take(100).collect();
        Err(self
            .fault(&name, "is not known here")
            .code("unknown_parameter"))
    }
}

/// About how many values a JSON text has: what stands before or behind a comma, or in brackets.
fn values(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_so_many_values_and_no_more() {
        assert_eq!(values(br#"{"a,[": "\\\",{", "b": [1, 2]}"#), 4);
        let list = |values: usize| format!("{{\"a\": [{}1]}}", "1,".repeat(values));
        assert!(Fields::of_body(list(MAX_VALUES - 2).as_bytes()).is_ok());
        let refused = Fields::of_body(list(MAX_VALUES - 1).as_bytes()).map(drop);
        assert_eq!(refused.expect_err("too many").status, 400);
    }

    #[test]
    fn members_that_are_null_are_none() {
        let left = |body: &[u8]| Fields::of_body(body).and_then(Fields::end);
        assert!(left(br#"{"function_call": null}"#).is_ok());
        assert!(left(br#"{"a": null, "b": 0}"#).is_err());
    }
}
