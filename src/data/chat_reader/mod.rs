//! Bytes to conversations: JSON Lines or a JSON array, a record in any of the usual forms.
//!
//! A record that does not parse, or is no conversation that can be learned from, is counted, located
//! and passed over; bad UTF-8 spoils only its own record. Only one record is held at a time beside
//! what was read.

pub(super) mod forms;

use std::{collections::BTreeMap, fmt, io::Read};

use serde_json::Value;

use super::{
    chat::Conversation,
    error::DataError,
    read::{Format, json::each_record, lines::LONGEST_LINE},
};

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
    if !matches!(format, Format::Json | Format::JsonLines) {
        return Err(DataError::Conversations(
            "a .txt file holds none; expected JSON Lines (.jsonl) or a JSON array (.json)".into(),
        ));
    }
    let mut reading = ChatReading::default();
    reading.bytes = each_record(format, input, LONGEST_LINE, |place, text| match text {
        Ok(text) => reading.take(place, text),
        Err(fault) => reading.reject(place, fault.reason),
    })?;
    if reading.conversations.is_empty() {
        return Err(DataError::NoConversation {
            rejected: reading.rejected,
            first: reading.reasons.into_iter().next(),
        });
    }
    Ok(reading)
}
