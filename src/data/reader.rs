//! Bytes to documents: `.txt`, `.jsonl` and `.json`.
//!
//! Bad UTF-8 ends the reading, since everything behind it is in doubt; a record that does not parse
//! or holds no text is counted, located and passed over, since the others stand by themselves.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use crate::data::{
    document::{Document, mostly_han},
    error::DataError,
};

/// Bytes a line may have.
pub const LONGEST_LINE: usize = 1 << 20;
/// Bytes a `.json` file may have, which is held in memory as a whole.
pub const LARGEST_JSON: u64 = 1 << 30;
/// Rejected records whose place and reason are kept.
const KEPT_REJECTS: usize = 20;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Documents separated by blank lines.
    Text,
    /// One JSON object a line.
    JsonLines,
    /// An array of objects, or objects one after the other.
    Json,
}

impl Format {
    /// The format a file's ending names.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "txt" => Some(Self::Text),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What a reading found.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The documents, in the file's order.
    pub documents: Vec<Document>,
    /// Bytes read.
    pub bytes: u64,
    /// Records passed over.
    pub rejected: u64,
    /// Where (the line, or the item of an array, from 1) and why the first of them were.
    pub reasons: Vec<(u64, String)>,
}

impl Reading {
    fn reject(&mut self, place: u64, reason: impl Into<String>) {
        self.rejected += 1;
        if self.reasons.len() < KEPT_REJECTS {
            self.reasons.push((place, reason.into()));
        }
    }

    fn take(&mut self, place: u64, record: &Value) {
        match document(record) {
            Ok(found) => self.documents.push(found),
            Err(reason) => self.reject(place, reason),
        }
    }

    fn finish(self) -> Result<Self, DataError> {
        if self.documents.is_empty() {
            return Err(DataError::Empty { rejected: self.rejected, first: self.reasons.into_iter().next() });
        }
        Ok(self)
    }
}

/// Reads every document of one input. An input without a single document is an error.
pub fn read(format: Format, input: impl Read) -> Result<Reading, DataError> {
    match format {
        Format::Text => read_text(input),
        Format::JsonLines => read_json_lines(input),
        Format::Json => read_json(input),
    }
}

/// The buffer of a reading.
pub(super) fn buffered<R: Read>(input: R) -> BufReader<R> {
    BufReader::with_capacity(1 << 16, input)
}

/// Lines of UTF-8 with the place of the first bad byte, in bounded memory.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    /// Bytes read.
    pub(super) offset: u64,
    /// Lines read.
    pub(super) line: u64,
    buffer: Vec<u8>,
}

/// One line, or the reason it cannot be taken.
pub(super) enum Line<'a> {
    Text(&'a str),
    TooLong,
    /// With the offset of the first bad byte within the line, from 0.
    NotUtf8(usize),
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: BufReader<R>) -> Self {
        Self { input, offset: 0, line: 0, buffer: Vec::new() }
    }

    /// The error of a line that is not UTF-8, where that ends the reading.
    fn not_utf8(&self, at: usize) -> DataError {
        DataError::InvalidUtf8 { offset: self.offset - self.buffer.len() as u64 + at as u64, line: self.line }
    }

    /// The next line without its ending (`\n` or `\r\n`) and without a leading byte order mark.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, DataError> {
        self.buffer.clear();
        let start = self.offset;
        let limit = LONGEST_LINE as u64 + 2;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.offset += read as u64;
        self.line += 1;
        if read as u64 == limit && self.buffer.last() != Some(&b'\n') {
            self.skip_line()?;
            return Ok(Some(Line::TooLong));
        }
        let mut line: &[u8] = &self.buffer;
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(e) => return Ok(Some(Line::NotUtf8(e.valid_up_to()))),
        };
        let text = if start == 0 { text.strip_prefix('\u{FEFF}').unwrap_or(text) } else { text };
        Ok(Some(Line::Text(text)))
    }

    /// Reads on to the end of an overlong line without keeping it.
    fn skip_line(&mut self) -> Result<(), DataError> {
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(());
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let used = end.map_or(chunk.len(), |at| at + 1);
            self.input.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

fn read_text(input: impl Read) -> Result<Reading, DataError> {
    let mut reading = Reading::default();
    let mut lines = Lines::new(buffered(input));
    let mut text = String::new();
    loop {
        let line = match lines.next()? {
            None => break,
            Some(Line::TooLong) => {
                reading.reject(lines.line, format!("a line of more than {LONGEST_LINE} bytes"));
                continue;
            }
            Some(Line::NotUtf8(at)) => return Err(lines.not_utf8(at)),
            Some(Line::Text(line)) => line,
        };
        if line.trim().is_empty() {
            if !text.is_empty() {
                reading.documents.push(Document::plain(std::mem::take(&mut text)));
            }
        } else {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        }
    }
    if !text.is_empty() {
        reading.documents.push(Document::plain(text));
    }
    reading.bytes = lines.offset;
    reading.finish()
}

fn read_json_lines(input: impl Read) -> Result<Reading, DataError> {
    let mut reading = Reading::default();
    let mut lines = Lines::new(buffered(input));
    loop {
        // The number of the line about to be read; the borrow of its text forbids asking later.
        let place = lines.line + 1;
        match lines.next()? {
            None => break,
            Some(Line::TooLong) => reading.reject(place, format!("a line of more than {LONGEST_LINE} bytes")),
            Some(Line::NotUtf8(at)) => return Err(lines.not_utf8(at)),
            Some(Line::Text(line)) if line.trim().is_empty() => {}
            Some(Line::Text(line)) => match serde_json::from_str::<Value>(line) {
                Ok(record) => reading.take(place, &record),
                Err(e) => reading.reject(place, format!("not JSON: {e}")),
            },
        }
    }
    reading.bytes = lines.offset;
    reading.finish()
}

fn read_json(input: impl Read) -> Result<Reading, DataError> {
    let mut bytes = Vec::new();
    input.take(LARGEST_JSON + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_JSON {
        return Err(DataError::TooLarge { what: "a .json file".into(), limit: LARGEST_JSON });
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let offset = e.valid_up_to();
        let line = bytes[..offset].split(|b| *b == b'\n').count() as u64;
        DataError::InvalidUtf8 { offset: offset as u64, line }
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut reading = Reading { bytes: bytes.len() as u64, ..Reading::default() };
    let mut place = 0;
    // An array of records, or records one after the other (what many tools call .json).
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.map_err(|e| DataError::Json { reason: e.to_string(), line: e.line(), column: e.column() })?;
        let records = if let Value::Array(items) = value { items } else { vec![value] };
        for record in &records {
            place += 1;
            reading.take(place, record);
        }
    }
    reading.finish()
}

/// A string, or an array of strings joined by `glue`.
fn strings(value: &Value, glue: &str) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let parts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            parts.map(|p| p.join(glue))
        }
        _ => None,
    }
}

/// The document a record stands for, or the reason there is none.
fn document(record: &Value) -> Result<Document, String> {
    let Value::Object(fields) = record else {
        return Err("expected an object with \"text\"".into());
    };
    let Some(field) = ["text", "content", "paragraphs"].into_iter().find(|name| fields.contains_key(*name)) else {
        return Err("no field \"text\", \"content\" or \"paragraphs\"".into());
    };
    let Some(text) = strings(&fields[field], "\n") else {
        return Err(format!("{field:?} is neither a string nor an array of strings"));
    };
    if text.trim().is_empty() {
        return Err(format!("{field:?} is empty"));
    }
    let name = |key: &str| fields.get(key).and_then(Value::as_str).map(str::trim).filter(|s| !s.is_empty());
    match (name("title"), name("author")) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(format: Format, bytes: &[u8]) -> Vec<String> {
        read(format, bytes).unwrap().documents.iter().map(|d| d.text().to_owned()).collect()
    }

    #[test]
    fn text_splits_at_blank_lines() {
        let bytes = "\u{FEFF}甲\r\n乙\r\n\r\n \t\r\n丙\n\n\n丁".as_bytes();
        assert_eq!(texts(Format::Text, bytes), ["甲\n乙", "丙", "丁"]);
    }

    #[test]
    fn poems_become_one_document() {
        let lines = r#"{"title":"春晓","author":"孟浩然","form":"五言绝句","text":"春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。"}
{"title":"A","author":"B","paragraphs":["床前明月光，","疑是地上霜。"]}"#;
        assert_eq!(
            texts(Format::JsonLines, lines.as_bytes()),
            ["春晓　孟浩然\n春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", "A　B\n床前明月光，疑是地上霜。"]
        );
        let array = format!("[{}]", lines.replace("}\n", "},\n"));
        assert_eq!(texts(Format::Json, array.as_bytes()).len(), 2);
        assert_eq!(texts(Format::Json, lines.as_bytes()).len(), 2);
    }

    #[test]
    fn plain_records() {
        let lines =
            "{\"text\":\"a\\nb\"}\n\n{\"text\":[\"c\",\"d\"]}\n{\"content\":\"e\",\"title\":\"t\",\"author\":\"u\"}\n";
        assert_eq!(texts(Format::JsonLines, lines.as_bytes()), ["a\nb", "c\nd", "e"]);
    }

    #[test]
    fn bad_records_are_counted_and_located() {
        let lines =
            "{\"text\":\"a\"}\n{broken\n[1]\n{\"text\":7}\n{\"text\":\" \"}\n{\"text\":\"\\ud800\"}\n{\"text\":\"b\"}";
        let reading = read(Format::JsonLines, lines.as_bytes()).unwrap();
        assert_eq!(reading.documents.len(), 2);
        assert_eq!(reading.rejected, 5);
        assert_eq!(reading.reasons.iter().map(|r| r.0).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert_eq!(reading.bytes, lines.len() as u64);
    }

    #[test]
    fn bad_utf8_is_located() {
        for format in [Format::Text, Format::JsonLines, Format::Json] {
            let error = read(format, &b"{\"text\":\n\"a\xFFb\"}"[..]).unwrap_err();
            assert!(matches!(error, DataError::InvalidUtf8 { offset: 11, line: 2 }), "{format:?}: {error}");
        }
        let cut = &"春".as_bytes()[..2];
        assert!(matches!(read(Format::Text, cut).unwrap_err(), DataError::InvalidUtf8 { offset: 0, line: 1 }));
    }

    #[test]
    fn emptiness_is_an_error() {
        for format in [Format::Text, Format::JsonLines, Format::Json] {
            for bytes in ["", " \n\r\n", "\u{FEFF}"] {
                assert!(matches!(read(format, bytes.as_bytes()), Err(DataError::Empty { .. })), "{format:?} {bytes:?}");
            }
        }
        let error = read(Format::JsonLines, &b"{}\n"[..]).unwrap_err().to_string();
        assert!(error.contains("1 records were rejected, the first at 1"), "{error}");
    }

    #[test]
    fn long_lines_are_passed_over() {
        let mut bytes = "x".repeat(LONGEST_LINE + 3);
        bytes.push_str("\nshort");
        let reading = read(Format::Text, bytes.as_bytes()).unwrap();
        assert_eq!(reading.documents, [Document::plain("short")]);
        assert_eq!(reading.reasons[0].0, 1);
        assert_eq!(reading.bytes, bytes.len() as u64);
        let fits = "x".repeat(LONGEST_LINE);
        assert_eq!(texts(Format::Text, fits.as_bytes()), [fits]);
    }

    #[test]
    fn broken_json_names_the_place() {
        let error = read(Format::Json, &b"[{\"text\":\"a\"},\n oops]"[..]).unwrap_err();
        assert!(matches!(error, DataError::Json { line: 2, .. }), "{error}");
        let deep = "[".repeat(100_000);
        assert!(matches!(read(Format::Json, deep.as_bytes()), Err(DataError::Json { .. })));
    }
}
