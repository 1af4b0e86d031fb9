//! Bytes to documents, one at a time; one file per format.
//!
//! `unpack` decompresses gzip and zstd, `encoding` converts to UTF-8, a format's reader cuts records, `record` makes a
//! document of each; conversations and pairs use the records as JSON. A bad record is passed on as a [`Fault`] with its
//! rule; an error that ends a file early is reported after the records before it. No file is opened here, and only a
//! record and a buffer are in memory.

mod csv;
mod encoding;
pub(super) mod items;
pub(super) mod json;
mod known;
pub(super) mod lines;
pub(super) mod mend;
mod page;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "no_parquet.rs"]
mod parquet;
mod reading;
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
pub use reading::Reading;
pub(super) use reading::holds_records;
pub use unread::Unread;

/// Most bytes of a document, and of the record it is read from.
pub const LONGEST_DOCUMENT: usize = 16 << 20;
/// Most bytes of a file of conversations or preferences, decompressed.
pub const MOST_RECORDS: u64 = 512 << 20;

/// Why a record was rejected: the rule it is counted under, and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of the constants below.
    pub rule: &'static str,
    /// What was found.
    pub reason: String,
}

/// The record is not valid in its format: not JSON, or a row with another number of columns.
pub const MALFORMED: &str = "malformed";
/// Brackets are nested deeper than the parser allows.
pub const TOO_DEEP: &str = "too_deep";
/// It has no text field: a biography, a note, another schema.
pub const NO_TEXT_FIELD: &str = "no_text_field";
/// Its text is empty.
pub const EMPTY: &str = "empty";
/// It exceeds the limit on a record.
pub const TOO_LONG: &str = "too_long";
/// It contains bytes that are invalid in the file's encoding.
pub const BAD_ENCODING: &str = "bad_encoding";
/// It is marked as not to be trained on, or in an unsupported way.
pub const LOSS: &str = "loss";
/// It has none of the forms of a conversation or pair, or a field of it is not text.
pub const FORM: &str = "form";
/// The file ends in the middle of it.
pub const CUT_OFF: &str = "cut_off";

impl Fault {
    pub(super) fn new(rule: &'static str, reason: impl Into<String>) -> Self {
        Self { rule, reason: reason.into() }
    }

    /// The same fault with the position inside the record in front of the reason.
    pub(super) fn within(self, place: &str) -> Self {
        Self { reason: format!("{place}: {}", self.reason), ..self }
    }

    /// A line, row or record longer than `limit` bytes.
    pub(super) fn too_long(what: &str, limit: usize) -> Self {
        Self::new(TOO_LONG, format!("the {what} has more than {limit} bytes"))
    }
}

impl From<String> for Fault {
    /// A record whose form is not supported.
    fn from(reason: String) -> Self {
        Self { rule: FORM, reason }
    }
}

/// A supported format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Documents separated by blank lines, or the whole file as one document.
    Text,
    /// The whole file as one document, without front matter.
    Markdown,
    /// One JSON object per line.
    JsonLines,
    /// An array of objects, or concatenated objects.
    Json,
    /// Rows of comma-separated fields; the first row names them.
    Csv,
    /// The same with tabs.
    Tsv,
    /// Apache Parquet.
    Parquet,
}

/// The compression of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// None.
    #[default]
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The supported extensions, for error messages.
pub const ENDINGS: &str = ".txt, .md, .jsonl, .json, .csv, .tsv and .parquet, each also as .gz or .zst";
/// Those of them that conversations and preferences are read from.
pub const RECORD_ENDINGS: &str = ".jsonl, .json, .csv, .tsv and .parquet, each also as .gz or .zst";

impl Format {
    /// The format for a file extension.
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

    /// The usual file extension.
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

    /// Format and compression by a file's name.
    pub fn of_name(name: &str) -> Option<(Self, Packing)> {
        let (rest, ending) = name.rsplit_once('.')?;
        let packing = match ending.to_ascii_lowercase().as_str() {
            "gz" => Packing::Gzip,
            "zst" | "zstd" => Packing::Zstd,
            _ => return Some((Self::of_extension(ending)?, Packing::Plain)),
        };
        Some((Self::of_extension(rest.rsplit_once('.')?.1)?, packing))
    }
}

/// Options for reading a source's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The text field; by default it is found by name.
    pub field: Option<String>,
    /// Whether a text file is one document instead of being split at blank lines.
    pub whole: bool,
    /// Whether the source is prose or programs, so that a record with title and author is not a poem.
    pub prose: bool,
}

/// The result of reading a file.
#[derive(Debug, Default)]
pub struct Passed {
    /// Bytes of text read, decompressed.
    pub bytes: u64,
    /// The encoding it was converted from, if it was not UTF-8.
    pub encoding: Option<&'static str>,
    /// Unread fields of the documents' records.
    pub unread: Unread,
    /// The error that ended reading early. Records passed on before it are valid.
    pub ended: Option<DataError>,
}

impl From<DataError> for Passed {
    fn from(e: DataError) -> Passed {
        Passed { ended: Some(e), ..Passed::default() }
    }
}

/// Passes on every record, as a document or a fault, with its place: the line, row or item, from 1.
pub fn documents<R: Read + Seek + Send + 'static>(
    (format, packing): (Format, Packing),
    options: &ReadOptions,
    mut input: R,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    if format == Format::Parquet {
        return match itself_at(&mut input) {
            Ok(()) if packing == Packing::Plain => parquet::read(options, input, take),
            Ok(()) => whole(packing, input).map_or_else(Passed::from, |input| parquet::read(options, input, take)),
            Err(e) => e.into(),
        };
    }
    match unpacked(packing, input) {
        Ok(input) => decoded(format, options, input, take),
        Err(e) => e.into(),
    }
}

/// Passes on every record of conversations or preferences, as JSON or a fault, with its place.
pub(super) fn records<R: Read + Seek + Send + 'static>(
    (format, packing): (Format, Packing),
    mut input: R,
    take: &mut dyn FnMut(u64, Result<Value, Fault>),
) -> Passed {
    if format == Format::Parquet {
        return match itself_at(&mut input) {
            Ok(()) if packing == Packing::Plain => parquet::records(LONGEST_LINE, MOST_RECORDS, input, take),
            Ok(()) => whole(packing, input)
                .map_or_else(Passed::from, |input| parquet::records(LONGEST_LINE, MOST_RECORDS, input, take)),
            Err(e) => e.into(),
        };
    }
    match unpacked(packing, input) {
        Ok(input) => decoded_records(format, Limited { input, left: MOST_RECORDS, too_large }, take),
        Err(e) => e.into(),
    }
}

/// The same for an input that is neither compressed nor Parquet.
pub(super) fn decoded_records(
    format: Format,
    input: impl Read,
    take: &mut dyn FnMut(u64, Result<Value, Fault>),
) -> Passed {
    let Utf8 { input, bytes, encoding } = match utf8(format, input) {
        Ok(found) => found,
        Err(e) => return e.into(),
    };
    let mut checked = |place: u64, found: Result<Value, Fault>| {
        let replaced =
            |value: &Value| encoding.get().filter(|_| value.to_string().contains(char::REPLACEMENT_CHARACTER));
        match found {
            Ok(value) => take(place, replaced(&value).map_or(Ok(value), |name| Err(undecodable(name)))),
            Err(fault) => take(place, Err(fault)),
        }
    };
    let done = match format {
        Format::Csv => csv::records(input, b',', LONGEST_LINE, &mut checked),
        Format::Tsv => csv::records(input, b'\t', LONGEST_LINE, &mut checked),
        _ => json::each_record(format, input, LONGEST_LINE, checked).map(drop),
    };
    Passed { bytes: bytes.get(), encoding: encoding.get(), ended: done.err(), ..Passed::default() }
}

/// Reading after decompression.
fn decoded(
    format: Format,
    options: &ReadOptions,
    input: impl Read,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    let Utf8 { input, bytes, encoding } = match utf8(format, input) {
        Ok(found) => found,
        Err(e) => return e.into(),
    };
    let mut checked = |place: u64, found: Result<Document, Fault>| {
        let found = found.and_then(|document| match encoding.get() {
            // The decoder replaced invalid bytes; such a document is rejected.
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

/// An input converted to UTF-8.
struct Utf8<R> {
    input: R,
    /// Bytes read so far.
    bytes: Rc<Cell<u64>>,
    /// The original encoding.
    encoding: encoding::Name,
}

/// Converts an input to UTF-8; an error page of a server is refused.
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

/// Bytes at the beginning that identify a file.
const FIRST: u64 = 1024;

/// Decompresses an input and checks its beginning. Actual compression has priority over the file name (some browsers
/// decompress without renaming).
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
    if let Some(what) = known::no_text(&head) {
        return Err(DataError::Shape(what.to_owned()));
    }
    Ok(unpack::unpacked(packing, io::Cursor::new(head).chain(Rest { failed, input }))?)
}

/// The same check for a seekable file.
fn itself_at(input: &mut (impl Read + Seek)) -> Result<(), DataError> {
    let mut head = Vec::new();
    input.by_ref().take(FIRST).read_to_end(&mut head)?;
    input.seek(SeekFrom::Start(0))?;
    itself(&head, true)
}

/// Refuses a file that replaces the real one: a Git LFS pointer or a web page. A web page is accepted as text to learn
/// from where no structured format is expected.
fn itself(head: &[u8], other: bool) -> Result<(), DataError> {
    if is_pointer(head) {
        return Err(DataError::Pointer);
    }
    match page::of(head).filter(|_| other) {
        Some(page) => Err(DataError::WebPage(page.title)),
        None => Ok(()),
    }
}

/// The input after its first bytes, or the error that ended them.
struct Rest<R> {
    failed: Option<io::Error>,
    input: R,
}

impl<R: Read> Read for Rest<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.failed.take().map_or_else(|| self.input.read(buffer), Err)
    }
}

/// A packed Parquet file in memory, since it is read from its end.
fn whole(packing: Packing, input: impl Read + 'static) -> Result<io::Cursor<Vec<u8>>, DataError> {
    let too_large = || DataError::TooLarge { what: "a packed Parquet file".into(), limit: MOST_RECORDS };
    let mut bytes = Vec::new();
    Limited { input: unpacked(packing, input)?, left: MOST_RECORDS, too_large }.read_to_end(&mut bytes)?;
    Ok(io::Cursor::new(bytes))
}

/// Fails when the input exceeds the limit on memory.
struct Limited<R> {
    input: R,
    left: u64,
    /// The error then.
    too_large: fn() -> DataError,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other((self.too_large)()))?;
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

/// Reads every document of one input into memory. An input without a single document is an error.
pub fn read(format: Format, input: impl Read) -> Result<Reading<Document>, DataError> {
    let mut reading = Reading::default();
    let passed = decoded(format, &ReadOptions::default(), input, &mut |place, found| match found {
        Ok(document) => reading.add(place, (), [document]),
        Err(fault) => reading.reject(place, fault),
    });
    reading.end(passed)?;
    if reading.items.is_empty() {
        return Err(DataError::Empty { rejected: reading.rejected, first: reading.reasons.into_iter().next() });
    }
    Ok(reading)
}
