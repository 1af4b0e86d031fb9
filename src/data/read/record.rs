//! Makes a document from a record's fields.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    EMPTY, Fault, LOSS, MALFORMED, NO_TEXT_FIELD, ReadOptions, TOO_DEEP, Unread,
    mend::{DEEP, HALF},
};
use crate::data::document::{Document, mostly_han};

/// Names of the text field, in order of priority: `text` (FineWeb, nanochat, TinyStories), `content` (RefinedWeb, The
/// Stack), `paragraphs` (chinese-poetry), `body`, `story`.
const TEXT_FIELDS: [&str; 5] = ["text", "content", "paragraphs", "body", "story"];
/// The fields that name a poem: a 词 has the tune it is written to.
const TITLES: [&str; 2] = ["title", "rhythmic"];

/// The text column or field among those that exist.
pub(super) fn text_field(wanted: Option<&str>, there: impl Fn(&str) -> bool) -> Result<&str, Fault> {
    match wanted {
        Some(name) if there(name) => Ok(name),
        Some(name) => Err(Fault::new(NO_TEXT_FIELD, format!("no field {name:?}"))),
        None => TEXT_FIELDS.into_iter().find(|name| there(name)).ok_or_else(|| {
            Fault::new(NO_TEXT_FIELD, "no field \"text\", \"content\", \"paragraphs\", \"body\" or \"story\"")
        }),
    }
}

/// The document of a record. Its other fields are counted; a mark that excludes it from training is applied.
pub(super) fn of_json(record: &Value, options: &ReadOptions, unread: &mut Unread) -> Result<Document, Fault> {
    let Value::Object(fields) = record else {
        return Err(Fault::new(NO_TEXT_FIELD, "expected an object with \"text\""));
    };
    let document = document(fields, options.field.as_deref(), options.prose)?;
    for name in ["weight", "train", "trainable", "training", "loss_mask"] {
        if fields.get(name).is_some_and(|value| value == &Value::Bool(false) || value.as_f64() == Some(0.0)) {
            return Err(Fault::new(LOSS, format!("{name:?} marks it as not to be trained on")));
        }
    }
    let text = text_field(options.field.as_deref(), |name| fields.contains_key(name))?;
    for name in fields.keys().filter(|name| *name != text && !names_a_text(name)) {
        unread.add("", name, 1);
    }
    Ok(document)
}

/// The document in a record's fields, or why there is none. A source declared as prose has no poems, whatever fields a
/// record has.
pub(super) fn document(fields: &Map<String, Value>, field: Option<&str>, prose: bool) -> Result<Document, Fault> {
    let field = text_field(field, |name| fields.contains_key(name))?;
    let Some(text) = strings(&fields[field]) else {
        if fields[field].to_string().contains(DEEP) {
            return Err(Fault::new(TOO_DEEP, format!("{field:?} is nested brackets, not text")));
        }
        let reason = format!("{field:?} is neither a string nor an array of strings");
        return Err(Fault::new(NO_TEXT_FIELD, reason));
    };
    if text.trim().is_empty() {
        return Err(Fault::new(EMPTY, format!("{field:?} is empty")));
    }
    if text.contains(HALF) {
        return Err(Fault::new(MALFORMED, format!("{field:?} has an unpaired surrogate (such as \\ud83d alone)")));
    }
    let text = lines_of(&text);
    let name = |key: &str| fields.get(key).and_then(Value::as_str).map(str::trim).filter(|s| !s.is_empty());
    match (TITLES.into_iter().find_map(name), name("author")) {
        (Some(title), Some(author)) if field != "content" && !prose => {
            let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ");
            // Han verse has no spaces to lose; verse in other languages keeps its lines.
            let body = if mostly_han(&text) {
                text.lines().map(str::trim).collect()
            } else {
                text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
            };
            Ok(Document::poem(&title, author, &body))
        }
        _ => Ok(Document::plain(text.trim_matches('\n'))),
    }
}

/// A text with line ends converted to `\n`.
fn lines_of(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
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

/// Whether a column contains names of documents instead of text.
pub(super) fn names_a_text(column: &str) -> bool {
    column == "author" || TITLES.contains(&column)
}
