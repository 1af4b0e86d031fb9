//! A record's fields to a document.

use serde_json::{Map, Value};

use super::{EMPTY, Fault, MALFORMED, NO_TEXT_FIELD, TOO_DEEP};
use crate::data::document::{Document, mostly_han};

/// The fields that hold a record's text where none is named, first come first served: `text` (FineWeb, nanochat,
/// TinyStories), `content` (RefinedWeb, The Stack), `paragraphs` (chinese-poetry), `body`, `story`.
const TEXT_FIELDS: [&str; 5] = ["text", "content", "paragraphs", "body", "story"];
/// The fields that name a poem: a 词 has the tune it is written to.
const TITLES: [&str; 2] = ["title", "rhythmic"];

/// The column or field that holds the text, out of those there are.
pub(super) fn text_field(wanted: Option<&str>, there: impl Fn(&str) -> bool) -> Result<&str, Fault> {
    match wanted {
        Some(name) if there(name) => Ok(name),
        Some(name) => Err(Fault::new(NO_TEXT_FIELD, format!("no field {name:?}"))),
        None => TEXT_FIELDS.into_iter().find(|name| there(name)).ok_or_else(|| {
            Fault::new(NO_TEXT_FIELD, "no field \"text\", \"content\", \"paragraphs\", \"body\" or \"story\"")
        }),
    }
}

/// The document of a record's JSON.
pub(super) fn parse(text: &str, field: Option<&str>) -> Result<Document, Fault> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => document(&fields, field),
        Ok(_) => Err(Fault::new(NO_TEXT_FIELD, "expected an object with \"text\"")),
        Err(e) if e.to_string().starts_with("recursion limit") => {
            Err(Fault::new(TOO_DEEP, "JSON of more than 128 brackets within one another"))
        }
        Err(e) => Err(Fault::new(MALFORMED, format!("not JSON: {e}"))),
    }
}

/// The document that fields stand for, or the reason there is none.
pub(super) fn document(fields: &Map<String, Value>, field: Option<&str>) -> Result<Document, Fault> {
    let field = text_field(field, |name| fields.contains_key(name))?;
    let Some(text) = strings(&fields[field]) else {
        let reason = format!("{field:?} is neither a string nor an array of strings");
        return Err(Fault::new(NO_TEXT_FIELD, reason));
    };
    if text.trim().is_empty() {
        return Err(Fault::new(EMPTY, format!("{field:?} is empty")));
    }
    let name = |key: &str| fields.get(key).and_then(Value::as_str).map(str::trim).filter(|s| !s.is_empty());
    match (TITLES.into_iter().find_map(name), name("author")) {
        (Some(title), Some(author)) if field != "content" => {
            let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ");
            // Han verse has no spaces to lose; other languages keep their lines.
            let body = if mostly_han(&text) {
                text.lines().map(str::trim).collect()
            } else {
                text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
            };
            Ok(Document::poem(&title, author, &body))
        }
        _ => Ok(Document::plain(text.replace("\r\n", "\n").trim_matches('\n'))),
    }
}

/// A string, or an array of strings as lines.
fn strings(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let parts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            parts.map(|p| p.join("\n"))
        }
        _ => None,
    }
}

/// Whether a column names a document rather than being it.
pub(super) fn names_a_text(column: &str) -> bool {
    column == "author" || TITLES.contains(&column)
}
