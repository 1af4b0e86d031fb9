//! Helpers for the JSON values of a record.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::data::read::mend::HALF;

/// How the text of turns is read from a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TurnText {
    /// `\r\n` becomes `\n`, and an empty system turn is removed.
    #[default]
    Tidy,
    /// As the record has it. A chat template may insert a system turn of its own where the messages have none, so that
    /// an empty one is another conversation than none.
    AsWritten,
}

impl TurnText {
    /// Converts the line ends of a record's strings before its form is parsed; with `structured` returning whether the
    /// lines of a string are the form's, those are converted in any case.
    pub(in crate::data) fn convert(self, record: &mut Value, structured: fn(&str) -> bool) {
        match (self, record) {
            (Self::Tidy, record) => unix_lines(record),
            (Self::AsWritten, Value::Object(fields)) => {
                fields.values_mut().filter(|value| value.as_str().is_some_and(structured)).for_each(unix_lines);
            }
            (Self::AsWritten, _) => {}
        }
    }

    /// Whether a turn of the system with this content is kept.
    pub(in crate::data) fn keeps_system(self, content: &str) -> bool {
        self == Self::AsWritten || !content.trim().is_empty()
    }
}

/// Converts `\r\n` to `\n` in every string.
fn unix_lines(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\r') => *text = text.replace("\r\n", "\n"),
        Value::Array(parts) => parts.iter_mut().for_each(unix_lines),
        Value::Object(fields) => fields.values_mut().for_each(unix_lines),
        _ => {}
    }
}

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

/// A string.
pub(in crate::data) fn text(value: &Value, what: &str) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains(HALF) => {
            Err(format!("{what} has an unpaired surrogate (such as \\ud83d alone)"))
        }
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
