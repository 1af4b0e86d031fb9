//! Bytes to conversations: JSON Lines or a JSON array, a record in any of the usual forms.
//!
//! A record that does not parse, or is no conversation that can be learned from, is counted, located
//! and passed over; bad UTF-8 spoils only its own record. Only one record is held at a time beside
//! what was read.

pub(super) mod forms;
mod records;

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead, Read},
};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    chat::Conversation,
    error::DataError,
    reader::{Format, LONGEST_LINE, Line, Lines, buffered},
};
use records::{Record, Records};

/// Rejected records whose place and reason are kept.
const KEPT_REJECTS: usize = 20;

/// How a record spells a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `instruction`, `input`, `output`, `system`, `history`.
    Alpaca,
    /// `conversations` of `from` and `value`, or of `role` and `content`.
    ShareGpt,
    /// `messages` of `role` and `content`, as OpenAI and TRL have them.
    Messages,
    /// `prompt` and `completion`, strings or lists of messages, as TRL has them.
    PromptCompletion,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alpaca => "alpaca",
            Self::ShareGpt => "sharegpt",
            Self::Messages => "messages",
            Self::PromptCompletion => "prompt/completion",
        })
    }
}

/// What a reading found.
#[derive(Clone, Debug, Default)]
pub struct ChatReading {
    /// The conversations, in the file's order.
    pub conversations: Vec<Conversation>,
    /// Where each of them stands: the line, or the item of an array, from 1.
    pub places: Vec<u64>,
    /// How many of them were written in each form.
    pub forms: BTreeMap<Form, u64>,
    /// Bytes read.
    pub bytes: u64,
    /// Records passed over.
    pub rejected: u64,
    /// Where (as in `places`) and why the first of them were.
    pub reasons: Vec<(u64, String)>,
}

impl ChatReading {
    fn reject(&mut self, place: u64, reason: impl Into<String>) {
        self.rejected += 1;
        if self.reasons.len() < KEPT_REJECTS {
            self.reasons.push((place, reason.into()));
        }
    }

    /// Takes a record's text.
    fn take(&mut self, place: u64, text: &str) {
        let found = serde_json::from_str::<Value>(text)
            .map_err(|e| format!("not JSON: {e}"))
            .and_then(|record| forms::conversation(&record));
        match found {
            Ok((form, conversation)) => {
                *self.forms.entry(form).or_default() += 1;
                self.conversations.push(conversation);
                self.places.push(place);
            }
            Err(reason) => self.reject(place, reason),
        }
    }
}

/// Reads every conversation of one input. An input without a single one is an error.
pub fn read_chats(format: Format, input: impl Read) -> Result<ChatReading, DataError> {
    if format == Format::Text {
        return Err(DataError::Conversations(
            "a .txt file holds none; expected JSON Lines (.jsonl) or a JSON array (.json)".into(),
        ));
    }
    let mut reading = ChatReading::default();
    reading.bytes = each_record(format, input, |place, text| match text {
        Ok(text) => reading.take(place, text),
        Err(reason) => reading.reject(place, reason),
    })?;
    if reading.conversations.is_empty() {
        return Err(DataError::NoConversation {
            rejected: reading.rejected,
            first: reading.reasons.into_iter().next(),
        });
    }
    Ok(reading)
}

/// Hands over the text of every record of JSON Lines or of a JSON array, or the reason there is none,
/// each with its place: the line, or the item, from 1. Returns the bytes read.
pub(super) fn each_record(
    format: Format,
    input: impl Read,
    take: impl FnMut(u64, Result<&str, String>),
) -> Result<u64, DataError> {
    let mut input = buffered(input);
    let head = head(&mut input)?;
    let start = head.trim_ascii_start();
    // What many tools call .json is JSON Lines, and the other way round; the first line tells.
    let items = match format {
        Format::Json => start.first() != Some(&b'{') || serde_json::from_slice::<IgnoredAny>(start).is_err(),
        Format::JsonLines | Format::Text => start.first() == Some(&b'['),
    };
    let input = buffered(head.as_slice().chain(input));
    if items { each_item(input, take) } else { each_line(Lines::new(input), take) }
}

/// The input up to the end of its first line that is not blank, without a byte order mark.
fn head(input: &mut impl BufRead) -> Result<Vec<u8>, DataError> {
    let mut head = Vec::new();
    while head.len() < LONGEST_LINE {
        let from = head.len();
        let room = (LONGEST_LINE - from) as u64;
        if input.take(room).read_until(b'\n', &mut head)? == 0 {
            break;
        }
        if from == 0 && head.starts_with("\u{FEFF}".as_bytes()) {
            head.drain(..3);
        }
        if !head[from.min(head.len())..].trim_ascii().is_empty() {
            break;
        }
    }
    Ok(head)
}

fn each_line<R: Read>(mut lines: Lines<R>, mut take: impl FnMut(u64, Result<&str, String>)) -> Result<u64, DataError> {
    loop {
        // The number of the line about to be read; the borrow of its text forbids asking later.
        let place = lines.line + 1;
        match lines.next()? {
            None => return Ok(lines.offset),
            Some(Line::TooLong) => take(place, Err(format!("the line has more than {LONGEST_LINE} bytes"))),
            Some(Line::NotUtf8(at)) => take(place, Err(not_utf8(at))),
            Some(Line::Text(line)) if line.trim().is_empty() => {}
            Some(Line::Text(line)) => take(place, Ok(line)),
        }
    }
}

fn each_item(input: impl BufRead, mut take: impl FnMut(u64, Result<&str, String>)) -> Result<u64, DataError> {
    let mut records = Records::new(input);
    let mut place = 0;
    while let Some(record) = records.next()? {
        place += 1;
        match record {
            Record::Whole(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => take(place, Ok(text)),
                Err(e) => take(place, Err(not_utf8(e.valid_up_to()))),
            },
            Record::TooLong => take(place, Err(format!("the record has more than {LONGEST_LINE} bytes"))),
            Record::Unfinished => {
                take(place, Err("the file ends in the middle of this record; it may have been cut off".into()));
            }
            Record::Unclosed => {
                take(place, Err("the file ends before the array does (no ]); it may have been cut off".into()));
            }
        }
    }
    Ok(records.offset())
}

fn not_utf8(at: usize) -> String {
    format!("not UTF-8: byte {} of it does not continue a character", at + 1)
}
