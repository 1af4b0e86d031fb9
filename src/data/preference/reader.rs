//! Reads preferences from JSON Lines, a JSON array or Parquet, each record in any of the common forms.

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use serde_json::Value;

use super::{
    Preference,
    forms::{self, Found, PreferenceForm},
};
use crate::data::{
    chat::fields::count_unread,
    error::DataError,
    read::{self, Fault, Format, Packing, Passed, Unread},
};

/// Rejected records for which place and reason are kept.
const KEPT_REJECTS: usize = 20;

/// The result of reading a file of preferences.
#[derive(Clone, Debug, Default)]
pub struct PreferenceReading {
    /// The pairs, in the file's order; those of one ranking together.
    pub preferences: Vec<Preference>,
    /// The place of each: the line, or the item of an array, from 1.
    pub places: Vec<u64>,
    /// How many records were written in each form.
    pub forms: BTreeMap<PreferenceForm, u64>,
    /// Votes for neither: both equally good.
    pub ties: u64,
    /// Votes for neither: both bad.
    pub both_bad: u64,
    /// Votes without an opinion.
    pub skipped: u64,
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
    /// Votes that were not taken back, oldest first.
    votes: Vec<Found>,
}

impl PreferenceReading {
    fn reject(&mut self, place: u64, fault: Fault) {
        self.rejected += 1;
        *self.rules.entry(fault.rule).or_default() += 1;
        if self.reasons.len() < KEPT_REJECTS {
            self.reasons.push((place, fault.reason));
        }
    }

    /// Removes the newest vote: its pair if it preferred one, else its count.
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

    /// Adds a record.
    fn take(&mut self, place: u64, record: Result<Value, Fault>) {
        let found = record.and_then(|record| Ok((forms::preference(&record)?, record)));
        match found {
            Ok(((form, found), record)) => {
                if form != PreferenceForm::Vote {
                    count_unread(&mut self.unread, &record, &forms::READ, &forms::LISTS);
                }
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
            Err(fault) => self.reject(place, fault),
        }
    }

    /// The result after the last record.
    fn finished(mut self, passed: Passed) -> Result<Self, DataError> {
        if let Some(e) = passed.ended {
            return Err(e);
        }
        if self.preferences.is_empty() {
            return Err(DataError::NoPreference {
                rejected: self.rejected,
                undecided: self.ties + self.both_bad + self.skipped,
                first: self.reasons.into_iter().next(),
            });
        }
        (self.bytes, self.encoding) = (passed.bytes, passed.encoding);
        Ok(self)
    }
}

/// Reads all preferences of an uncompressed input. An input without any pair is an error.
pub fn read_preferences(format: Format, input: impl Read) -> Result<PreferenceReading, DataError> {
    check(format, &[Format::Json, Format::JsonLines])?;
    let mut reading = PreferenceReading::default();
    let passed = read::decoded_records(format, input, &mut |place, record| reading.take(place, record));
    reading.finished(passed)
}

/// The same for a file, which may be compressed or Parquet.
pub fn read_preference_file<R: Read + Seek + Send + 'static>(
    kind: (Format, Packing),
    input: R,
) -> Result<PreferenceReading, DataError> {
    check(kind.0, &[Format::Json, Format::JsonLines, Format::Parquet])?;
    let mut reading = PreferenceReading::default();
    let passed = read::records(kind, input, &mut |place, record| reading.take(place, record));
    reading.finished(passed)
}

fn check(format: Format, read: &[Format]) -> Result<(), DataError> {
    if read.contains(&format) {
        return Ok(());
    }
    Err(DataError::Preferences(format!(
        "a .{} file holds none; expected JSON Lines (.jsonl), a JSON array (.json) or .parquet",
        format.ending()
    )))
}
