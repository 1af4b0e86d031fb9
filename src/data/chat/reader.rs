//! Reads conversations from JSON Lines, a JSON array or Parquet, each record in any of the common forms.
//!
//! A record that does not parse, is not a valid conversation or needs an unsupported feature is counted by reason,
//! located and skipped; bad UTF-8 costs only its own record. Apart from the conversations only one record is in memory.

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use serde_json::Value;

use super::{
    Conversation, fields,
    forms::{self, Form},
};
use crate::data::{
    error::DataError,
    read::{self, Fault, Format, Packing, Passed, Unread},
};

/// Rejected records for which place and reason are kept.
const KEPT_REJECTS: usize = 20;

/// The result of reading a file of conversations.
#[derive(Clone, Debug, Default)]
pub struct ChatReading {
    /// The conversations, in the file's order.
    pub conversations: Vec<Conversation>,
    /// The place of each: the line, or the item of an array, from 1.
    pub places: Vec<u64>,
    /// The number of records in each form.
    pub forms: BTreeMap<Form, u64>,
    /// Bytes read.
    pub bytes: u64,
    /// Skipped records.
    pub rejected: u64,
    /// Place (as in `places`) and reason of the first skipped records.
    pub reasons: Vec<(u64, String)>,
    /// Number of skipped records by rule.
    pub rules: BTreeMap<&'static str, u64>,
    /// Unread fields of the accepted records.
    pub unread: Unread,
    /// The encoding the file was converted from, if it was not UTF-8.
    pub encoding: Option<&'static str>,
}

impl ChatReading {
    fn reject(&mut self, place: u64, fault: Fault) {
        self.rejected += 1;
        *self.rules.entry(fault.rule).or_default() += 1;
        if self.reasons.len() < KEPT_REJECTS {
            self.reasons.push((place, fault.reason));
        }
    }

    /// Adds a record.
    fn take(&mut self, place: u64, record: Result<Value, Fault>) {
        let found = record.and_then(|record| Ok((forms::conversation(&record)?, record)));
        match found {
            Ok(((form, conversation), record)) => {
                let (read, lists) = form.fields();
                fields::count_unread(&mut self.unread, &record, read, lists);
                *self.forms.entry(form).or_default() += 1;
                self.conversations.push(conversation);
                self.places.push(place);
            }
            Err(fault) => self.reject(place, fault),
        }
    }

    /// The result after the last record.
    fn finished(mut self, passed: Passed) -> Result<Self, DataError> {
        if let Some(e) = passed.ended {
            return Err(e);
        }
        if self.conversations.is_empty() {
            return Err(DataError::NoConversation { rejected: self.rejected, first: self.reasons.into_iter().next() });
        }
        (self.bytes, self.encoding) = (passed.bytes, passed.encoding);
        Ok(self)
    }
}

/// Reads all conversations of an uncompressed input. An input without any is an error.
pub fn read_chats(format: Format, input: impl Read) -> Result<ChatReading, DataError> {
    check(format, &[Format::Json, Format::JsonLines])?;
    let mut reading = ChatReading::default();
    let passed = read::decoded_records(format, input, &mut |place, record| reading.take(place, record));
    reading.finished(passed)
}

/// The same for a file, which may be compressed or Parquet.
pub fn read_chat_file<R: Read + Seek + Send + 'static>(
    kind: (Format, Packing),
    input: R,
) -> Result<ChatReading, DataError> {
    check(kind.0, &[Format::Json, Format::JsonLines, Format::Parquet])?;
    let mut reading = ChatReading::default();
    let passed = read::records(kind, input, &mut |place, record| reading.take(place, record));
    reading.finished(passed)
}

fn check(format: Format, read: &[Format]) -> Result<(), DataError> {
    if read.contains(&format) {
        return Ok(());
    }
    Err(DataError::Conversations(format!(
        "a .{} file holds none; expected JSON Lines (.jsonl), a JSON array (.json) or .parquet",
        format.ending()
    )))
}
