//! Helpers for the JSON values of a record.

use serde_json::{Map, Value};

use crate::data::read::mend::HALF;

/// The fields of a record or of a message.
pub(in crate::data) type Fields = Map<String, Value>;

/// A field that exists and is not null.
pub(in crate::data) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|v| !v.is_null())
}

/// The type of a value, for error messages.
pub(in crate::data) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A string with line ends converted to `\n`.
pub(in crate::data) fn text(value: &Value, what: &str) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains(HALF) => {
            Err(format!("{what} has an unpaired surrogate (such as \\ud83d alone)"))
        }
        Value::String(text) if text.contains('\r') => Ok(text.replace("\r\n", "\n")),
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{what} is {}, not a string", kind(other))),
    }
}

/// Whether a value is empty. Some tools write empty lists as text.
pub(in crate::data) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.trim(), "" | "[]" | "{}" | "null"),
        Value::Array(parts) => parts.iter().all(is_empty),
        Value::Object(fields) => fields.is_empty(),
    }
}
