//! Reads conversations from JSON Lines, a JSON array or Parquet, each record in any of the usual forms.
//!
//! A record that does not parse, is no conversation to learn from, or needs a feature that is not supported, is
//! counted by reason, located and passed over; bad UTF-8 spoils only its own record. One record at a time is held
//! beside the conversations.

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

/// Rejected records whose place and reason are kept.
const KEPT_REJECTS: usize = 20;

/// What a reading found.
#[derive(Clone, Debug, Default)]
pub struct ChatReading {
    /// The conversations, in the file's order.
    pub conversations: Vec<Conversation>,
    /// The place of each: the line, or the item of an array, from 1.
    pub places: Vec<u64>,
    /// How many of them were written in each form.
    pub forms: BTreeMap<Form, u64>,
    /// Bytes read.
    pub bytes: u64,
    /// Records passed over.
    pub rejected: u64,
    /// Where (as in `places`) and why the first of them were.
    pub reasons: Vec<(u64, String)>,
    /// How many of them were for each kind of reason.
    pub rules: BTreeMap<&'static str, u64>,
    /// Fields of the others that are not read.
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

    /// Takes a record.
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

    /// What was read, when all of it was.
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

/// Reads every conversation of one input that is not packed. An input without a single one is an error.
pub fn read_chats(format: Format, input: impl Read) -> Result<ChatReading, DataError> {
    check(format, &[Format::Json, Format::JsonLines])?;
    let mut reading = ChatReading::default();
    let passed = read::decoded_records(format, input, &mut |place, record| reading.take(place, record));
    reading.finished(passed)
}

/// The same of a file, which may be packed or Parquet.
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
