//! Apache Parquet: the text column, and the columns that name a document.
//!
//! Only the needed columns are read, a page at a time, and no page is decompressed beyond its declared size.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::{
        metadata::RowGroupMetaData,
        reader::{ChunkReader, FileReader, Length, SerializedFileReader},
    },
    record::{Field, Row},
    schema::types::Type,
};
use serde_json::{Map, Value};

use super::{Fault, LONGEST_DOCUMENT, Passed, ReadOptions, record};
use crate::{
    base::panics,
    data::{document::Document, error::DataError},
};

/// Most bytes of a column chunk of a row group; chunks are decompressed page by page, and a page is smaller.
const LARGEST_CHUNK: i64 = 4 << 30;

/// Reads one document per row. The place is the row number.
pub(super) fn read<R: Read + Seek + Send + 'static>(
    options: &ReadOptions,
    input: R,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    guarded(|passed| rows(options, input, passed, take))
}

/// Reads one record per row with all of its columns. The place is the row number.
pub(super) fn records<R: Read + Seek + Send + 'static>(
    limit: usize,
    most: u64,
    input: R,
    take: &mut dyn FnMut(u64, Result<Value, Fault>),
) -> Passed {
    guarded(|passed| {
        let reader = SerializedFileReader::new(File::new(input)?).map_err(broken)?;
        check_chunks(&reader, |_| true)?;
        for (place, row) in (1..).zip(reader.get_row_iter(None).map_err(broken)?) {
            let record = Value::Object(fields_of(&row.map_err(broken)?, &Value::Null));
            let length = length(&record);
            passed.bytes += length;
            if passed.bytes > most {
                return Err(super::too_large());
            }
            take(place, if length <= limit as u64 { Ok(record) } else { Err(Fault::too_long("record", limit)) });
        }
        Ok(())
    })
}

fn guarded(read: impl FnOnce(&mut Passed) -> Result<(), DataError>) -> Passed {
    let mut passed = Passed::default();
    // The crate checks most of its input and panics on the rest.
    let outcome = panics::caught(|| read(&mut passed));
    passed.ended = match outcome {
        Ok(done) => done.err(),
        Err(panics::Panicked) => Some(DataError::Shape("is damaged: its pages contradict its header".into())),
    };
    passed
}

#[allow(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn broken(e: ParquetError) -> DataError {
    DataError::Shape(format!("cannot be read as Parquet: {e}"))
}

/// Refuses implausibly large columns.
fn check_chunks(reader: &impl FileReader, wanted: impl Fn(&str) -> bool) -> Result<(), DataError> {
    for column in reader.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let of = column.column_path().parts().first();
        if of.is_some_and(|name| wanted(name)) && column.uncompressed_size() > LARGEST_CHUNK {
            return Err(DataError::TooLarge { what: "a column of one row group".into(), limit: LARGEST_CHUNK as u64 });
        }
    }
    Ok(())
}

fn rows<R: Read + Seek + Send + 'static>(
    options: &ReadOptions,
    input: R,
    passed: &mut Passed,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Result<(), DataError> {
    let reader = SerializedFileReader::new(File::new(input)?).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema();
    let names: Vec<&str> = schema.get_fields().iter().map(|f| f.name()).collect();
    let text = record::text_field(options.field.as_deref(), |name| names.contains(&name))
        .map_err(|fault| DataError::Shape(format!("{}; its columns are {names:?}", fault.reason)))?
        .to_owned();
    let wanted = |name: &str| name == text || record::names_a_text(name);
    let fields = schema.get_fields().iter().filter(|f| wanted(f.name())).cloned().collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(fields).build().map_err(broken)?;
    check_chunks(&reader, wanted)?;
    let rows = reader.get_row_iter(Some(projection)).map_err(broken)?;
    let mut taken = 0;
    for (place, row) in (1..).zip(rows) {
        let fields = fields_of(&row.map_err(broken)?, &Value::String(String::new()));
        passed.bytes += fields.values().map(length).sum::<u64>();
        let found = record::document(&fields, Some(&text), options.prose).and_then(|document| {
            let fits = document.text().len() <= LONGEST_DOCUMENT;
            if fits { Ok(document) } else { Err(Fault::too_long("document", LONGEST_DOCUMENT)) }
        });
        taken += u64::from(found.is_ok());
        take(place, found);
    }
    for name in schema.get_fields().iter().map(|f| f.name()).filter(|name| taken > 0 && !wanted(name)) {
        passed.unread.add("", name, taken);
    }
    Ok(())
}

/// The fields of a row; missing ones are `absent`. Numbers keep only their value; dates are not read.
fn fields_of(row: &Row, absent: &Value) -> Map<String, Value> {
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field, absent))).collect()
}

fn value(field: &Field, absent: &Value) -> Value {
    match field {
        Field::Str(text) => Value::String(text.clone()),
        // Text columns without a string annotation.
        Field::Bytes(bytes) => bytes.as_utf8().map_or(Value::Null, |text| Value::String(text.to_owned())),
        Field::ListInternal(list) => list.elements().iter().map(|field| value(field, absent)).collect(),
        Field::Group(row) => Value::Object(fields_of(row, absent)),
        Field::Null => absent.clone(),
        Field::Bool(is) => Value::Bool(*is),
        Field::Byte(n) => Value::from(*n),
        Field::Short(n) => Value::from(*n),
        Field::Int(n) => Value::from(*n),
        Field::Long(n) => Value::from(*n),
        Field::UByte(n) => Value::from(*n),
        Field::UShort(n) => Value::from(*n),
        Field::UInt(n) => Value::from(*n),
        Field::ULong(n) => Value::from(*n),
        Field::Float(n) => Value::from(*n),
        Field::Double(n) => Value::from(*n),
        _ => Value::Null,
    }
}

fn length(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(parts) => parts.iter().map(length).sum(),
        Value::Object(fields) => fields.values().map(length).sum(),
        _ => 0,
    }
}

/// An input as the crate needs it: random access by several readers.
struct File<R> {
    input: Arc<Mutex<R>>,
    length: u64,
}

impl<R: Read + Seek> File<R> {
    fn new(mut input: R) -> io::Result<Self> {
        let length = input.seek(SeekFrom::End(0))?;
        Ok(Self { input: Arc::new(Mutex::new(input)), length })
    }
}

impl<R: Send> Length for File<R> {
    fn len(&self) -> u64 {
        self.length
    }
}

impl<R: Read + Seek + Send> ChunkReader for File<R> {
    type T = io::BufReader<Part<R>>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(io::BufReader::new(Part { input: Arc::clone(&self.input), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // Check before allocating.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.length)));
        }
        let mut bytes = vec![0; length];
        Part { input: Arc::clone(&self.input), at: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// A reader with its own position in the shared input.
struct Part<R> {
    input: Arc<Mutex<R>>,
    at: u64,
}

impl<R: Read + Seek> Read for Part<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.seek(SeekFrom::Start(self.at))?;
        let read = input.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}
