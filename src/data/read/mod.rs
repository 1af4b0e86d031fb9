//! Bytes to documents, one at a time; one file per format.
//!
//! `unpack` undoes gzip and zstd, `encoding` converts to UTF-8, a format's reader cuts records, `record` makes a
//! document of each; conversations and pairs take the records as JSON. A bad record is handed over as a [`Fault`] with
//! its rule; an error that ends a file early is reported after the records before it. Nothing is opened here, and only
//! a record and a buffer are held.

mod csv;
mod encoding;
pub(super) mod items;
pub(super) mod json;
pub(super) mod lines;
pub(super) mod mend;
mod page;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "no_parquet.rs"]
mod parquet;
mod record;
mod text;
mod unpack;
mod unread;

use std::{
    cell::Cell,
    io::{self, BufRead, Read, Seek, SeekFrom},
    rc::Rc,
};

use serde_json::Value;

use super::{document::Document, error::DataError};
pub(super) use encoding::Utf8Reader;
use lines::LONGEST_LINE;

pub use encoding::{Text, is_pointer, to_text};
pub use unread::Unread;

/// Bytes that a document, and the record it is read from, may have.
pub const LONGEST_DOCUMENT: usize = 16 << 20;
/// Bytes of conversations or preferences that a file may have, unpacked.
pub const MOST_RECORDS: u64 = 512 << 20;
/// Rejected records whose place and reason a [`Reading`] keeps.
const KEPT_REJECTS: usize = 20;

/// Why a record is no document: the rule it is counted under, and the reason as text.
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
/// It is marked as not to be trained on, or in a way that is not supported.
pub const LOSS: &str = "loss";
/// It is in none of the forms of a conversation or a pair, or a field of it is no text.
pub const FORM: &str = "form";
/// The file ends in the middle of it.
pub const CUT_OFF: &str = "cut_off";

impl Fault {
    pub(super) fn new(rule: &'static str, reason: impl Into<String>) -> Self {
        Self { rule, reason: reason.into() }
    }

    /// The same with the place inside the record before the reason.
    pub(super) fn within(self, place: &str) -> Self {
        Self { reason: format!("{place}: {}", self.reason), ..self }
    }

    /// A line, row or record longer than `limit` bytes.
    pub(super) fn too_long(what: &str, limit: usize) -> Self {
        Self::new(TOO_LONG, format!("the {what} has more than {limit} bytes"))
    }
}

impl From<String> for Fault {
    /// A record in a form that is not read.
    fn from(reason: String) -> Self {
        Self { rule: FORM, reason }
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

    /// The usual ending of its files.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Markdown => "md",
            Self::JsonLines => "jsonl",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
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
    /// Whether it is known to be prose or a program, so that a record with title and author is no poem.
    pub prose: bool,
}

/// What came of a file as a whole.
#[derive(Debug, Default)]
pub struct Passed {
    /// Bytes of text that were read, after unpacking.
    pub bytes: u64,
    /// The encoding it was converted from, if it was not UTF-8.
    pub encoding: Option<&'static str>,
    /// Fields of the documents' records that are not read.
    pub unread: Unread,
    /// What ended the reading before the file's end. What was handed over before it stays valid.
    pub ended: Option<DataError>,
}

/// Hands every record over, as a document or a fault, with its place: the line, row or item, from 1.
pub fn documents<R: Read + Seek + Send + 'static>(
    (format, packing): (Format, Packing),
    options: &ReadOptions,
    mut input: R,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    let opened = match format {
        Format::Parquet => match itself_at(&mut input) {
            Ok(()) => return parquet::read(options, input, take),
            Err(e) => Err(e),
        },
        _ => unpacked(packing, input),
    };
    match opened {
        Ok(input) => decoded(format, options, input, take),
        Err(e) => Passed { ended: Some(e), ..Passed::default() },
    }
}

/// Hands every record of conversations or preferences over, as JSON or a fault, with its place.
pub(super) fn records<R: Read + Seek + Send + 'static>(
    (format, packing): (Format, Packing),
    mut input: R,
    take: &mut dyn FnMut(u64, Result<Value, Fault>),
) -> Passed {
    let opened = match format {
        Format::Parquet => match itself_at(&mut input) {
            Ok(()) => return parquet::records(LONGEST_LINE, MOST_RECORDS, input, take),
            Err(e) => Err(e),
        },
        _ => unpacked(packing, input),
    };
    match opened {
        Ok(input) => decoded_records(format, Limited { input, left: MOST_RECORDS }, take),
        Err(e) => Passed { ended: Some(e), ..Passed::default() },
    }
}

/// The same of an input that is neither packed nor Parquet.
pub(super) fn decoded_records(
    format: Format,
    input: impl Read,
    take: &mut dyn FnMut(u64, Result<Value, Fault>),
) -> Passed {
    let Utf8 { input, bytes, encoding } = match utf8(format, input) {
        Ok(found) => found,
        Err(e) => return Passed { ended: Some(e), ..Passed::default() },
    };
    let done = json::each_record(format, input, LONGEST_LINE, |place, found| {
        let replaced =
            |value: &Value| encoding.get().filter(|_| value.to_string().contains(char::REPLACEMENT_CHARACTER));
        match found {
            Ok(value) => take(place, replaced(&value).map_or(Ok(value), |name| Err(undecodable(name)))),
            Err(fault) => take(place, Err(fault)),
        }
    });
    Passed { bytes: bytes.get(), encoding: encoding.get(), ended: done.err(), ..Passed::default() }
}

/// Everything behind the unpacking.
fn decoded(
    format: Format,
    options: &ReadOptions,
    input: impl Read,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    let Utf8 { input, bytes, encoding } = match utf8(format, input) {
        Ok(found) => found,
        Err(e) => return Passed { ended: Some(e), ..Passed::default() },
    };
    let mut checked = |place: u64, found: Result<Document, Fault>| {
        let found = found.and_then(|document| match encoding.get() {
            // What a decoder could not make sense of it has replaced; such a document is not the author's.
            Some(name) if document.text().contains(char::REPLACEMENT_CHARACTER) => Err(undecodable(name)),
            _ if document.text().contains('\0') => {
                Err(Fault::new(BAD_ENCODING, "a zero byte, which text cannot contain"))
            }
            _ => Ok(document),
        });
        take(place, found);
    };
    let mut unread = Unread::default();
    let done = match format {
        Format::Text => text::read(input, options.whole, &mut checked),
        Format::Markdown => text::read_markdown(input, &mut checked),
        Format::JsonLines | Format::Json => json::each_record(format, input, LONGEST_DOCUMENT, |place, found| {
            checked(place, found.and_then(|value| record::of_json(&value, options, &mut unread)));
        })
        .map(drop),
        Format::Csv => csv::read(input, b',', options, &mut unread, &mut checked),
        Format::Tsv => csv::read(input, b'\t', options, &mut unread, &mut checked),
        Format::Parquet => Ok(()),
    };
    Passed { bytes: bytes.get(), encoding: encoding.get(), unread, ended: done.err() }
}

fn undecodable(encoding: &str) -> Fault {
    Fault::new(BAD_ENCODING, format!("bytes that are not {encoding}"))
}

/// An input as text.
struct Utf8<R> {
    input: R,
    /// Bytes read of it so far.
    bytes: Rc<Cell<u64>>,
    /// What it is converted from.
    encoding: encoding::Name,
}

/// The text of an input. What a server answered in the place of a file is none.
fn utf8(format: Format, input: impl Read) -> Result<Utf8<impl BufRead>, DataError> {
    let input = Utf8Reader::new(input);
    let (bytes, encoding) = (Rc::<Cell<u64>>::default(), input.name());
    let mut input = lines::buffered(Counted { input, bytes: Rc::clone(&bytes) });
    let head = input.fill_buf()?;
    match page::of(&head[..head.len().min(4096)]) {
        Some(page) if page.is_error() || !matches!(format, Format::Text | Format::Markdown) => {
            Err(DataError::WebPage(page.title))
        }
        _ => Ok(Utf8 { input, bytes, encoding }),
    }
}

/// Bytes that tell what a file is.
const FIRST: u64 = 1024;

/// The unpacked input, unless it is not the file itself. What is packed and not named so, or named so and not packed (as
/// some browsers leave it), goes by what it is.
fn unpacked<R: Read + 'static>(named: Packing, mut input: R) -> Result<Box<dyn Read>, DataError> {
    let mut head = Vec::new();
    let failed = input.by_ref().take(FIRST).read_to_end(&mut head).err();
    let packing = match head.as_slice() {
        [0x1F, 0x8B, ..] => Packing::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Packing::Zstd,
        head if named != Packing::Plain && encoding::is_text(head) => Packing::Plain,
        _ => named,
    };
    itself(&head, named != Packing::Plain)?;
    Ok(unpack::unpacked(packing, io::Cursor::new(head).chain(Rest { failed, input }))?)
}

/// The same of a file that is read at any place.
fn itself_at(input: &mut (impl Read + Seek)) -> Result<(), DataError> {
    let mut head = Vec::new();
    input.by_ref().take(FIRST).read_to_end(&mut head)?;
    input.seek(SeekFrom::Start(0))?;
    itself(&head, true)
}

/// Refuses a file that replaces the real one: a Git LFS pointer or a web page. A page may also be a text to learn from, where no other form is expected.
fn itself(head: &[u8], other: bool) -> Result<(), DataError> {
    if is_pointer(head) {
        return Err(DataError::Pointer);
    }
    match page::of(head).filter(|_| other) {
        Some(page) => Err(DataError::WebPage(page.title)),
        None => Ok(()),
    }
}

/// What follows the first bytes, or the failure that they ended with.
struct Rest<R> {
    failed: Option<io::Error>,
    input: R,
}

impl<R: Read> Read for Rest<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.failed.take().map_or_else(|| self.input.read(buffer), Err)
    }
}

/// Ends with an error where more comes than is held in memory.
struct Limited<R> {
    input: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(too_large()))?;
        Ok(read)
    }
}

fn too_large() -> DataError {
    DataError::TooLarge {
        what: "a file of conversations or pairs, which are held in memory,".into(),
        limit: MOST_RECORDS,
    }
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
