//! Reads conversations from JSON Lines, a JSON array, CSV, TSV or Parquet, each record in any of the common forms.
//!
//! A record that does not parse, is not a valid conversation or needs an unsupported feature is counted by reason,
//! located and skipped; bad UTF-8 costs only its own record. Apart from the conversations only one record is in memory.

use std::io::{Read, Seek};

use serde_json::Value;

use super::{
    Conversation, fields,
    forms::{self, Form},
    value::TurnText,
};
use crate::data::{
    error::DataError,
    read::{self, Fault, Format, Packing, Passed, Reading, holds_records},
};

/// The result of reading a file of conversations.
pub type ChatReading = Reading<Conversation, Form>;

/// Adds a record.
fn take(reading: &mut ChatReading, place: u64, record: Result<Value, Fault>, text: TurnText) {
    let parsed = record.and_then(|mut record| {
        text.convert(&mut record, forms::is_chat_ml);
        Ok((forms::conversation(&record, text)?, record))
    });
    match parsed {
        Ok(((form, conversation), record)) => {
            let (read, lists) = form.fields();
            fields::count_unread(&mut reading.unread, &record, read, lists);
            reading.add(place, form, [conversation]);
        }
        Err(fault) => reading.reject(place, fault),
    }
}

/// The result after the last record.
fn finished(mut reading: ChatReading, passed: Passed) -> Result<ChatReading, DataError> {
    reading.end(passed)?;
    if reading.items.is_empty() {
        let first = reading.reasons.into_iter().next();
        return Err(DataError::NoConversation { rejected: reading.rejected, first });
    }
    Ok(reading)
}

/// Reads all conversations of an uncompressed input, tidied. An input without any is an error.
pub fn read_chats(format: Format, input: impl Read) -> Result<ChatReading, DataError> {
    read_chats_as(TurnText::Tidy, format, input)
}

/// The same with the text of turns read as `text` says.
pub fn read_chats_as(text: TurnText, format: Format, input: impl Read) -> Result<ChatReading, DataError> {
    holds_records(format, false).map_err(DataError::Conversations)?;
    let mut reading = ChatReading::default();
    let passed = read::decoded_records(format, input, &mut |place, record| take(&mut reading, place, record, text));
    finished(reading, passed)
}

/// The same for a file, which may be compressed or Parquet.
pub fn read_chat_file<R: Read + Seek + Send + 'static>(
    kind: (Format, Packing),
    input: R,
    text: TurnText,
) -> Result<ChatReading, DataError> {
    holds_records(kind.0, true).map_err(DataError::Conversations)?;
    let mut reading = ChatReading::default();
    let passed = read::records(kind, input, &mut |place, record| take(&mut reading, place, record, text));
    finished(reading, passed)
}
