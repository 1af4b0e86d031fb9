//! Rows of fields separated by commas or tabs (RFC 4180); the first row names the columns.
//!
//! Only the core of the `csv` parser is used, not its reader, so that a row without an end takes no more memory than
//! the limit on documents.

use std::io::{BufRead, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::{BAD_ENCODING, CUT_OFF, Fault, LONGEST_DOCUMENT, MALFORMED, ReadOptions, Unread, lines::buffered, record};
use crate::data::{document::Document, error::DataError};

/// Most columns of a row.
const MOST_COLUMNS: usize = 4096;

/// Reads one document per row. The place is the line on which the row begins, or the line of the quotation mark that
/// makes it invalid.
pub(super) fn read(
    input: impl Read,
    delimiter: u8,
    options: &ReadOptions,
    unread: &mut Unread,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Result<(), DataError> {
    let Some(mut table) = Table::open(input, delimiter)? else { return Ok(()) };
    let there = |name: &str| table.names.iter().any(|n| n == name);
    let text = record::text_field(options.field.as_deref(), there)
        .map_err(|fault| DataError::Shape(format!("{}; its columns are {:?}", fault.reason, table.names)))?
        .to_owned();
    let wanted = |name: &str| *name == text || record::names_a_text(name);
    let mut taken = 0;
    while let Some((place, row)) = table.next(wanted)? {
        let found = row.and_then(|record| record::document(&record, Some(&text), options.prose));
        taken += u64::from(found.is_ok());
        take(place, found);
    }
    for name in table.names.iter().filter(|name| taken > 0 && !wanted(name)) {
        unread.add("", name, taken);
    }
    Ok(())
}

/// Columns in which a cell may be a list of messages, written as JSON.
const LISTS: [&str; 6] = ["messages", "conversations", "prompt", "completion", "chosen", "rejected"];

/// Reads one record per row with all of its columns; an empty cell is a missing field. The place is as in [`read`].
pub(super) fn records(
    input: impl Read,
    delimiter: u8,
    limit: usize,
    take: &mut dyn FnMut(u64, Result<Value, Fault>),
) -> Result<(), DataError> {
    let Some(mut table) = Table::open(input, delimiter)? else { return Ok(()) };
    while let Some((place, row)) = table.next(|_| true)? {
        let found = row.and_then(|mut record| {
            if record.values().map(|cell| cell.as_str().map_or(0, str::len)).sum::<usize>() > limit {
                return Err(Fault::too_long("row", limit));
            }
            record.retain(|_, cell| cell.as_str().is_some_and(|text| !text.is_empty()));
            for name in LISTS {
                if let Some(cell) = record.get_mut(name)
                    && let Some(messages) = cell.as_str().and_then(messages)
                {
                    *cell = messages;
                }
            }
            Ok(Value::Object(record))
        });
        take(place, found);
    }
    Ok(())
}

/// The list of messages in a cell, if it is one.
fn messages(cell: &str) -> Option<Value> {
    let list: Value = cell.trim_start().starts_with('[').then(|| serde_json::from_str(cell).ok())??;
    let is_message = |item: &Value| item.get("role").or_else(|| item.get("from")).is_some_and(Value::is_string);
    list.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(is_message)).then_some(list)
}

/// Rows under the names of their columns.
struct Table<I> {
    rows: Rows<I>,
    names: Vec<String>,
}

impl<I: Read> Table<I> {
    /// Reads the first row; None in an empty input.
    fn open(input: I, delimiter: u8) -> Result<Option<Self>, DataError> {
        let mut rows = Rows::new(input, delimiter);
        let names = match rows.next()? {
            None => return Ok(None),
            Some(Ok(fields)) => fields.iter().map(|f| String::from_utf8_lossy(f).trim().to_owned()).collect(),
            Some(Err(fault)) => {
                return Err(DataError::Shape(format!("its first row names no columns: {}", fault.reason)));
            }
        };
        Ok(Some(Self { rows, names }))
    }

    /// The wanted fields of the next row, with its place. A repeated header row, from joined files, is skipped.
    fn next(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Option<Placed>, DataError> {
        loop {
            let Some(row) = self.rows.next()? else { return Ok(None) };
            let names = &self.names;
            let is_name = |(cell, name): &(&&[u8], &String)| **cell == name.as_bytes();
            if row.as_ref().is_ok_and(|row| row.iter().zip(names).filter(is_name).count() == names.len()) {
                continue;
            }
            let found = row.and_then(|fields| {
                if fields.len() != names.len() {
                    return Err(Fault::new(MALFORMED, format!("{} fields under {} names", fields.len(), names.len())));
                }
                let mut record = Map::new();
                for (name, value) in names.iter().zip(fields).filter(|(name, _)| wanted(name)) {
                    let value = std::str::from_utf8(value)
                        .map_err(|e| Fault::new(BAD_ENCODING, super::lines::not_utf8(e.valid_up_to())))?;
                    record.insert(name.clone(), Value::String(value.to_owned()));
                }
                Ok(record)
            });
            return Ok(Some((self.rows.place, found)));
        }
    }
}

/// The place of a row, and its fields by name or why it is invalid.
type Placed = (u64, Result<Map<String, Value>, Fault>);

/// The fields of a row, or why it is invalid.
type Row<'a> = Result<Vec<&'a [u8]>, Fault>;

struct Rows<I> {
    input: std::io::BufReader<I>,
    parser: Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
    quotes: Quotes,
    /// The line reported for the newest row.
    place: u64,
}

/// Tracks lines and quotation marks.
struct Quotes {
    delimiter: u8,
    /// The line of the next byte.
    line: u64,
    /// The byte before it.
    last: u8,
    /// The line on which the row begins.
    begins: Option<u64>,
    /// The line of the open quotation mark.
    open: Option<u64>,
    /// The line of a quotation mark closed by the previous byte.
    closed: Option<u64>,
    /// The line of the row's first quotation mark that closes in the middle of a field.
    wrong: Option<u64>,
}

impl Quotes {
    fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let ends_line = matches!(byte, b'\n' | b'\r');
            if !ends_line {
                self.begins.get_or_insert(self.line);
            }
            let closed = self.closed.take();
            match (byte, self.open) {
                (b'"', Some(line)) => (self.open, self.closed) = (None, Some(line)),
                (b'"', None) if closed.is_some() => self.open = closed,
                (b'"', None) if self.last == self.delimiter || matches!(self.last, b'\n' | b'\r') => {
                    self.open = Some(self.line);
                }
                (b' ' | b'\t', None) if *byte != self.delimiter => self.closed = closed,
                (_, None) if !ends_line && *byte != self.delimiter => self.wrong = self.wrong.or(closed),
                _ => {}
            }
            self.line += u64::from(*byte == b'\r' || *byte == b'\n' && self.last != b'\r');
            self.last = *byte;
        }
    }
}

impl<I: Read> Rows<I> {
    fn new(input: I, delimiter: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        let quotes = Quotes { delimiter, line: 1, last: b'\n', begins: None, open: None, closed: None, wrong: None };
        Self { input: buffered(input), parser, output: vec![0; 1 << 12], ends: vec![0; 64], quotes, place: 0 }
    }

    /// The next row's fields.
    fn next(&mut self) -> Result<Option<Row<'_>>, DataError> {
        let (mut written, mut ended) = (0, 0);
        let mut fault = None;
        self.quotes.begins = None;
        loop {
            let chunk = self.input.fill_buf()?;
            let at_end = chunk.is_empty();
            let (result, read, out, ends) =
                self.parser.read_record(chunk, &mut self.output[written..], &mut self.ends[ended..]);
            self.quotes.pass(&chunk[..read]);
            self.input.consume(read);
            written += out;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() < LONGEST_DOCUMENT => {
                    let longer = (self.output.len() * 2).min(LONGEST_DOCUMENT);
                    self.output.resize(longer, 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MOST_COLUMNS => {
                    let more = (self.ends.len() * 2).min(MOST_COLUMNS);
                    self.ends.resize(more, 0);
                }
                // Too long: the rest of the row is parsed into the same buffer and discarded.
                ReadRecordResult::OutputFull => {
                    fault.get_or_insert_with(|| Fault::too_long("row", LONGEST_DOCUMENT));
                    written = 0;
                }
                ReadRecordResult::OutputEndsFull => {
                    let reason = format!("a row of more than {MOST_COLUMNS} fields");
                    fault.get_or_insert_with(|| Fault::new(MALFORMED, reason));
                    ended = 0;
                }
                ReadRecordResult::Record => {
                    self.place = self.quotes.begins.unwrap_or(self.quotes.line);
                    if let Some(line) = self.quotes.open.take().filter(|_| at_end) {
                        self.place = line;
                        fault = Some(Fault::new(CUT_OFF, "a quotation mark opens here and is not closed"));
                    } else if let Some(line) = self.quotes.wrong.take() {
                        self.place = line;
                        let reason = "a quotation mark that opens here closes in the middle of a field";
                        fault.get_or_insert_with(|| Fault::new(MALFORMED, reason));
                    }
                    break;
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
        if let Some(fault) = fault {
            return Ok(Some(Err(fault)));
        }
        let mut from = 0;
        let fields = self.ends[..ended].iter().map(|end| {
            let field = &self.output[from..*end];
            from = *end;
            field
        });
        Ok(Some(Ok(fields.collect())))
    }
}
