//! Rows of fields between commas or tabs (RFC 4180), the first row naming the columns.
//!
//! The parser's core is used without its reader, so that a row without an end takes no more memory than a
//! document may have.

use std::io::{BufRead, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::{BAD_ENCODING, Fault, LONGEST_DOCUMENT, MALFORMED, lines::buffered, record};
use crate::data::{document::Document, error::DataError};

/// Columns a row may have.
const MOST_COLUMNS: usize = 4096;

/// Reads a document a row. The place is the line on which the row ends.
pub(super) fn read(
    input: impl Read,
    delimiter: u8,
    field: Option<&str>,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Result<(), DataError> {
    let mut rows = Rows::new(input, delimiter);
    let Some(header) = rows.next()? else { return Ok(()) };
    let names: Vec<String> = match header {
        Ok(fields) => fields.iter().map(|f| String::from_utf8_lossy(f).trim().to_owned()).collect(),
        Err(fault) => return Err(DataError::Shape(format!("its first row names no columns: {}", fault.reason))),
    };
    let text = record::text_field(field, |name| names.iter().any(|n| n == name))
        .map_err(|fault| DataError::Shape(format!("{}; its columns are {names:?}", fault.reason)))?
        .to_owned();
    loop {
        let Some(row) = rows.next()? else { return Ok(()) };
        let found = row.and_then(|fields| {
            if fields.len() != names.len() {
                return Err(Fault::new(MALFORMED, format!("{} fields under {} names", fields.len(), names.len())));
            }
            let mut record = Map::new();
            for (name, value) in names.iter().zip(fields) {
                if *name == text || record::names_a_text(name) {
                    let value = std::str::from_utf8(value)
                        .map_err(|e| Fault::new(BAD_ENCODING, super::lines::not_utf8(e.valid_up_to())))?;
                    record.insert(name.clone(), Value::String(value.to_owned()));
                }
            }
            record::document(&record, Some(&text))
        });
        let place = rows.line;
        take(place, found);
    }
}

/// A row's fields, or the reason there are none.
type Row<'a> = Result<Vec<&'a [u8]>, Fault>;

struct Rows<I> {
    input: std::io::BufReader<I>,
    parser: Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
    /// The line on which the newest row ended.
    line: u64,
}

impl<I: Read> Rows<I> {
    fn new(input: I, delimiter: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        Self { input: buffered(input), parser, output: vec![0; 1 << 12], ends: vec![0; 64], line: 0 }
    }

    /// The next row's fields.
    fn next(&mut self) -> Result<Option<Row<'_>>, DataError> {
        let (mut written, mut ended) = (0, 0);
        let mut fault = None;
        loop {
            let chunk = self.input.fill_buf()?;
            let (result, read, out, ends) =
                self.parser.read_record(chunk, &mut self.output[written..], &mut self.ends[ended..]);
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
                // Too much: what follows of the row is parsed, and written over.
                ReadRecordResult::OutputFull => {
                    fault.get_or_insert_with(|| Fault::too_long("row", LONGEST_DOCUMENT));
                    written = 0;
                }
                ReadRecordResult::OutputEndsFull => {
                    let reason = format!("a row of more than {MOST_COLUMNS} fields");
                    fault.get_or_insert_with(|| Fault::new(MALFORMED, reason));
                    ended = 0;
                }
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        self.line = self.parser.line().saturating_sub(1).max(1);
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
