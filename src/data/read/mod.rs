//! Bytes to documents, one at a time: a format a file.
//!
//! The way of a file: `unpack` undoes gzip and zstd, `encoding` makes UTF-8 of it, a format's reader cuts it
//! into records, `record` makes a document of each. A record that is none is handed over as a [`Fault`] with
//! its rule; what ends a file early is told with what was read until then. Nothing is opened here, and no more
//! is held than a record and a buffer.

mod csv;
mod encoding;
pub(super) mod items;
pub(super) mod json;
pub(super) mod lines;
mod parquet;
mod record;
mod text;
mod unpack;

use std::{
    cell::Cell,
    io::{self, Read, Seek},
    rc::Rc,
};

use super::{document::Document, error::DataError};
use encoding::Utf8Reader;

pub use encoding::{Text, is_pointer, to_text};

/// Bytes that a document, and the record it is read from, may have.
pub const LONGEST_DOCUMENT: usize = 16 << 20;
/// Rejected records whose place and reason a [`Reading`] keeps.
const KEPT_REJECTS: usize = 20;

/// Why a record is no document: the rule it is counted under, and the case in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of the names below.
    pub rule: &'static str,
    /// What was found.
    pub reason: String,
}

/// The record is not what its format says: no JSON, a row of another length.
pub const MALFORMED: &str = "malformed";
/// Brackets within brackets, deeper than a parser follows.
pub const TOO_DEEP: &str = "too_deep";
/// It has no field of text: a biography, a note, another shape.
pub const NO_TEXT_FIELD: &str = "no_text_field";
/// Its field of text is empty.
pub const EMPTY: &str = "empty";
/// Longer than a record may be.
pub const TOO_LONG: &str = "too_long";
/// Bytes that are no character of the file's encoding.
pub const BAD_ENCODING: &str = "bad_encoding";
/// The file ends in the middle of it.
pub const CUT_OFF: &str = "cut_off";

impl Fault {
    pub(super) fn new(rule: &'static str, reason: impl Into<String>) -> Self {
        Self { rule, reason: reason.into() }
    }

    /// A line, row or record longer than `limit` bytes.
    pub(super) fn too_long(what: &str, limit: usize) -> Self {
        Self::new(TOO_LONG, format!("the {what} has more than {limit} bytes"))
    }
}

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Documents separated by blank lines, or the whole file as one.
    Text,
    /// The whole file as one document, without the settings at its head.
    Markdown,
    /// One JSON object a line.
    JsonLines,
    /// An array of objects, or objects one after the other.
    Json,
    /// Rows of fields between commas, the first row naming them.
    Csv,
    /// The same between tabs.
    Tsv,
    /// Apache Parquet.
    Parquet,
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    #[default]
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The endings that are read, as an error names them.
pub const ENDINGS: &str = ".txt, .md, .jsonl, .json, .csv, .tsv, .parquet, and each but the last as .gz or .zst";

impl Format {
    /// The format a file's ending names.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "txt" | "text" => Some(Self::Text),
            "md" | "markdown" => Some(Self::Markdown),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// Format and packing of a file by its name.
    pub fn of_name(name: &str) -> Option<(Self, Packing)> {
        let (rest, ending) = name.rsplit_once('.')?;
        let packing = match ending.to_ascii_lowercase().as_str() {
            "gz" => Packing::Gzip,
            "zst" | "zstd" => Packing::Zstd,
            _ => return Some((Self::of_extension(ending)?, Packing::Plain)),
        };
        let format = Self::of_extension(rest.rsplit_once('.')?.1)?;
        // A parquet file is read from its end, and packs its own pages.
        (format != Self::Parquet).then_some((format, packing))
    }
}

/// How a source's files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The field that holds the text; found by its name where none is given.
    pub field: Option<String>,
    /// Whether a text file is one document, rather than one between blank lines.
    pub whole: bool,
}

/// What came of a file as a whole.
#[derive(Debug, Default)]
pub struct Passed {
    /// Bytes of text that were read, after unpacking.
    pub bytes: u64,
    /// The encoding it was converted from, if it was not UTF-8.
    pub encoding: Option<&'static str>,
    /// What ended the reading before the file's end. What was handed over before stands.
    pub ended: Option<DataError>,
}

/// Hands every record over, as a document or a fault, with its place: the line, row or item, from 1.
pub fn documents<R: Read + Seek + Send + 'static>(
    (format, packing): (Format, Packing),
    options: &ReadOptions,
    input: R,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    if format == Format::Parquet {
        return parquet::read(options, input, take);
    }
    match unpack::unpacked(packing, input) {
        Ok(input) => decoded(format, options, input, take),
        Err(e) => Passed { ended: Some(e.into()), ..Passed::default() },
    }
}

/// Everything behind the unpacking.
fn decoded(
    format: Format,
    options: &ReadOptions,
    input: impl Read,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    let input = Utf8Reader::new(input);
    let encoding = input.name();
    let bytes = Rc::new(Cell::new(0));
    let input = Counted { input, bytes: Rc::clone(&bytes) };
    // What a decoder could not make sense of it has replaced; such a document is not the author's.
    let mut checked = |place: u64, found: Result<Document, Fault>| match (encoding.get(), found) {
        (Some(name), Ok(document)) if document.text().contains(char::REPLACEMENT_CHARACTER) => {
            take(place, Err(Fault::new(BAD_ENCODING, format!("bytes that are no {name}"))));
        }
        (_, found) => take(place, found),
    };
    let done = match format {
        Format::Text => text::read(input, options.whole, &mut checked),
        Format::Markdown => text::read_markdown(input, &mut checked),
        Format::JsonLines | Format::Json => json::each_record(format, input, LONGEST_DOCUMENT, |place, record| {
            checked(place, record.and_then(|text| record::parse(text, options.field.as_deref())));
        })
        .map(drop),
        Format::Csv => csv::read(input, b',', options.field.as_deref(), &mut checked),
        Format::Tsv => csv::read(input, b'\t', options.field.as_deref(), &mut checked),
        Format::Parquet => Ok(()),
    };
    Passed { bytes: bytes.get(), encoding: encoding.get(), ended: done.err() }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    bytes: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

/// What a reading into memory found.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The documents, in the file's order.
    pub documents: Vec<Document>,
    /// Bytes of text read.
    pub bytes: u64,
    /// Records passed over.
    pub rejected: u64,
    /// Where (the line, or the item of an array, from 1) and why the first of them were.
    pub reasons: Vec<(u64, String)>,
}

/// Reads every document of one input into memory. An input without a single document is an error.
pub fn read(format: Format, input: impl Read) -> Result<Reading, DataError> {
    let mut reading = Reading::default();
    let passed = decoded(format, &ReadOptions::default(), input, &mut |place, found| match found {
        Ok(document) => reading.documents.push(document),
        Err(fault) => {
            reading.rejected += 1;
            if reading.reasons.len() < KEPT_REJECTS {
                reading.reasons.push((place, fault.reason));
            }
        }
    });
    reading.bytes = passed.bytes;
    match passed.ended {
        Some(e) => Err(e),
        None if reading.documents.is_empty() => {
            Err(DataError::Empty { rejected: reading.rejected, first: reading.reasons.into_iter().next() })
        }
        None => Ok(reading),
    }
}
