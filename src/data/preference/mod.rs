//! Human feedback: a prompt, the answer that was chosen and the one that was not.
//!
//! A record that does not parse, or prefers nothing, is counted, located and passed over, as
//! [`chat_reader`](super::chat_reader) does. Sets of ranked answers become all their pairs; votes that
//! prefer neither answer are counted and kept out.

mod forms;
mod pairs;

use std::{collections::BTreeMap, fmt, io::Read};

use serde_json::Value;

pub use pairs::{PairExample, PairsFitted, Side, encode_pairs, split_preferences};

use super::{
    chat::{self, Turn},
    error::DataError,
    read::{Format, json::each_record, lines::LONGEST_LINE},
    split::{self, Key},
};
use forms::Found;

/// Rejected records whose place and reason are kept.
const KEPT_REJECTS: usize = 20;

/// One answer preferred to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// What was asked: a conversation that ends with the user.
    pub prompt: Vec<Turn>,
    /// The better answer.
    pub chosen: String,
    /// The worse one.
    pub rejected: String,
    /// The kind of task, where the data name one.
    pub task: Option<String>,
    /// The same for all pairs about one prompt.
    pub group: u64,
    /// Whether it is a vote cast in this program.
    pub votes: bool,
}

impl Preference {
    /// A pair of answers.
    pub fn new(prompt: Vec<Turn>, chosen: String, rejected: String, task: Option<String>, votes: bool) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = prompt_key(&prompt);
        Self { prompt, chosen, rejected, task, group: u64::from_be_bytes([a, b, c, d, e, f, g, h]), votes }
    }

    /// The identity of its prompt, under which held-out pairs are chosen.
    pub fn key(&self) -> Key {
        prompt_key(&self.prompt)
    }
}

fn prompt_key(prompt: &[Turn]) -> Key {
    split::key(&chat::render(prompt, false))
}

/// How a record spells a preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PreferenceForm {
    /// `prompt`, `chosen`, `rejected`, strings or lists of messages, as TRL has them.
    PromptPair,
    /// `chosen` and `rejected`, whole lists of messages that differ in the last one (TRL, minimind).
    Messages,
    /// `instruction`, `input`, `chosen`, `rejected`, as LLaMA-Factory has them.
    Alpaca,
    /// `conversations`, and a message each as `chosen` and `rejected`, as LLaMA-Factory has them.
    ShareGpt,
    /// `chosen` and `rejected`, strings with `Human:` and `Assistant:` in them, as hh-rlhf has them.
    HhRlhf,
    /// `prompt` and `ranked`, answers from the best to the worst.
    Ranked,
    /// A vote cast in this program: as [`PreferenceForm::PromptPair`], with `choice`.
    Vote,
}

impl fmt::Display for PreferenceForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PromptPair => "prompt/chosen/rejected",
            Self::Messages => "messages",
            Self::Alpaca => "alpaca",
            Self::ShareGpt => "sharegpt",
            Self::HhRlhf => "hh-rlhf",
            Self::Ranked => "ranked",
            Self::Vote => "vote",
        })
    }
}

/// What a reading found.
#[derive(Clone, Debug, Default)]
pub struct PreferenceReading {
    /// The pairs, in the file's order; those of one ranking together.
    pub preferences: Vec<Preference>,
    /// Where each of them stands: the line, or the item of an array, from 1.
    pub places: Vec<u64>,
    /// How many records were written in each form.
    pub forms: BTreeMap<PreferenceForm, u64>,
    /// Votes for neither answer because they are as good as one another.
    pub ties: u64,
    /// Votes for neither answer because both are bad.
    pub both_bad: u64,
    /// Votes without an opinion.
    pub skipped: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records passed over.
    pub rejected: u64,
    /// Where (as in `places`) and why the first of them were.
    pub reasons: Vec<(u64, String)>,
    /// The votes that stand, oldest first, so that each can be taken back.
    votes: Vec<Found>,
}

impl PreferenceReading {
    fn reject(&mut self, place: u64, reason: String) {
        self.rejected += 1;
        if self.reasons.len() < KEPT_REJECTS {
            self.reasons.push((place, reason));
        }
    }

    /// Takes the newest vote back: the pair if it preferred one, else the count.
    fn unvote(&mut self) {
        match self.votes.pop() {
            Some(Found::Tie) => self.ties -= 1,
            Some(Found::BothBad) => self.both_bad -= 1,
            Some(Found::Skip) => self.skipped -= 1,
            Some(Found::Pairs(_)) => {
                if let Some(at) = self.preferences.iter().rposition(|p| p.votes) {
                    self.preferences.remove(at);
                    self.places.remove(at);
                }
            }
            Some(Found::Unvote) | None => {}
        }
    }

    /// Takes a record's text.
    fn take(&mut self, place: u64, text: &str) {
        let found = serde_json::from_str::<Value>(text)
            .map_err(|e| format!("not JSON: {e}"))
            .and_then(|record| forms::preference(&record));
        match found {
            Ok((form, found)) => {
                *self.forms.entry(form).or_default() += 1;
                let mut vote = |found| self.votes.extend((form == PreferenceForm::Vote).then_some(found));
                match found {
                    Found::Pairs(pairs) => {
                        vote(Found::Pairs(Vec::new()));
                        self.places.extend(std::iter::repeat_n(place, pairs.len()));
                        self.preferences.extend(pairs);
                    }
                    Found::Tie => {
                        vote(Found::Tie);
                        self.ties += 1;
                    }
                    Found::BothBad => {
                        vote(Found::BothBad);
                        self.both_bad += 1;
                    }
                    Found::Skip => {
                        vote(Found::Skip);
                        self.skipped += 1;
                    }
                    Found::Unvote => self.unvote(),
                }
            }
            Err(reason) => self.reject(place, reason),
        }
    }
}

/// Reads every preference of one input. An input without a single pair is an error.
pub fn read_preferences(format: Format, input: impl Read) -> Result<PreferenceReading, DataError> {
    if !matches!(format, Format::Json | Format::JsonLines) {
        return Err(DataError::Preferences(
            "a .txt file holds none; expected JSON Lines (.jsonl) or a JSON array (.json)".into(),
        ));
    }
    let mut reading = PreferenceReading::default();
    reading.bytes = each_record(format, input, LONGEST_LINE, |place, text| match text {
        Ok(text) => reading.take(place, text),
        Err(fault) => reading.reject(place, fault.reason),
    })?;
    if reading.preferences.is_empty() {
        return Err(DataError::NoPreference {
            rejected: reading.rejected,
            undecided: reading.ties + reading.both_bad + reading.skipped,
            first: reading.reasons.into_iter().next(),
        });
    }
    Ok(reading)
}
