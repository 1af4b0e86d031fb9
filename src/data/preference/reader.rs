//! Reads preferences from JSON Lines, a JSON array, CSV, TSV or Parquet, each record in any of the common forms.

use std::io::{Read, Seek};

use serde_json::Value;

use super::{
    Preference,
    forms::{self, Found, PreferenceForm, Rated},
};
use crate::data::{
    chat::{fields::count_unread, value::TurnText},
    error::DataError,
    read::{self, Fault, Format, Packing, Passed, Reading, holds_records},
};

/// The result of reading a file of preferences.
#[derive(Clone, Debug, Default)]
pub struct PreferenceReading {
    /// The pairs; those of one ranking are adjacent.
    pub pairs: Reading<Preference, PreferenceForm>,
    /// Votes for neither: both equally good.
    pub ties: u64,
    /// Votes for neither answer because both are bad.
    pub both_bad: u64,
    /// Votes without an opinion.
    pub skipped: u64,
    /// Votes that were not taken back, oldest first, without their pairs.
    votes: Vec<Found>,
    /// Rated answers to one prompt, each with its place, until an answer to another one follows.
    rated: Vec<(u64, Rated)>,
}

/// Most rated answers to one prompt that are compared with each other.
const MOST_RATED: usize = 64;

impl PreferenceReading {
    /// Takes the newest vote back: the pair if it preferred one, else the count.
    fn unvote(&mut self) {
        match self.votes.pop() {
            Some(Found::Pairs(_)) => {
                if let Some(at) = self.pairs.items.iter().rposition(|p| p.votes) {
                    self.pairs.items.remove(at);
                    self.pairs.places.remove(at);
                }
            }
            Some(undecided) => self.count(&undecided, -1),
            None => {}
        }
    }

    /// Counts a vote for neither answer.
    fn count(&mut self, vote: &Found, by: i64) {
        let count = match vote {
            Found::Tie => &mut self.ties,
            Found::BothBad => &mut self.both_bad,
            Found::Skip => &mut self.skipped,
            Found::Pairs(_) | Found::Rated(_) | Found::Unvote => return,
        };
        *count = count.saturating_add_signed(by);
    }

    /// Adds a record.
    fn take(&mut self, place: u64, record: Result<Value, Fault>, text: TurnText) {
        let parsed = record.and_then(|mut record| {
            text.convert(&mut record, forms::opens_spoken);
            Ok((forms::preference(&record, text)?, record))
        });
        let ((form, found), record) = match parsed {
            Ok(read) => read,
            Err(fault) => return self.pairs.reject(place, fault),
        };
        let is_vote = form == PreferenceForm::Vote;
        let found = match found {
            Found::Rated(rated) => {
                count_unread(&mut self.pairs.unread, &record, &forms::read(), &forms::LISTS);
                return self.rate(place, rated);
            }
            found => found,
        };
        if !is_vote {
            count_unread(&mut self.pairs.unread, &record, &forms::read(), &forms::LISTS);
        }
        self.count(&found, 1);
        let (vote, pairs) = match found {
            Found::Pairs(pairs) => (Found::Pairs(Vec::new()), pairs),
            other => (other, Vec::new()),
        };
        self.pairs.add(place, form, pairs);
        match vote {
            Found::Unvote => self.unvote(),
            vote => self.votes.extend(is_vote.then_some(vote)),
        }
    }

    /// Adds a rated answer; one to another prompt ends the comparison of those before it.
    fn rate(&mut self, place: u64, rated: Rated) {
        let same = self.rated.first().is_none_or(|(_, first)| first.prompt == rated.prompt);
        if !same || self.rated.len() >= MOST_RATED {
            self.compare();
        }
        self.rated.push((place, rated));
    }

    /// Compares the rated answers to one prompt with each other.
    fn compare(&mut self) {
        let rated = std::mem::take(&mut self.rated);
        if let [(place, _)] = rated.as_slice() {
            let why =
                "\"helpfulness\" rates an answer, and no neighbouring record has another answer to the same prompt";
            self.pairs.reject(*place, Fault::from(why.to_owned()));
        }
        for (at, (_, one)) in rated.iter().enumerate() {
            for (place, other) in &rated[at + 1..] {
                match one.against(other) {
                    Some(Ok(pair)) => self.pairs.add(*place, PreferenceForm::Rated, [pair]),
                    Some(Err(fault)) => self.pairs.reject(*place, fault),
                    None => self.ties += 1,
                }
            }
        }
    }

    /// The result after the last record.
    fn finished(mut self, passed: Passed) -> Result<Self, DataError> {
        self.compare();
        self.pairs.end(passed)?;
        if self.pairs.items.is_empty() {
            return Err(DataError::NoPreference {
                rejected: self.pairs.rejected,
                undecided: self.ties + self.both_bad + self.skipped,
                first: self.pairs.reasons.into_iter().next(),
            });
        }
        Ok(self)
    }
}

/// Reads all preferences of an uncompressed input, tidied. An input without any pair is an error.
pub fn read_preferences(format: Format, input: impl Read) -> Result<PreferenceReading, DataError> {
    holds_records(format, false).map_err(DataError::Preferences)?;
    let mut reading = PreferenceReading::default();
    let tidy = TurnText::Tidy;
    let passed = read::decoded_records(format, input, &mut |place, record| reading.take(place, record, tidy));
    reading.finished(passed)
}

/// The same for a file, which may be compressed or Parquet, with the text of turns read as `text` says.
pub fn read_preference_file<R: Read + Seek + Send + 'static>(
    kind: (Format, Packing),
    input: R,
    text: TurnText,
) -> Result<PreferenceReading, DataError> {
    holds_records(kind.0, true).map_err(DataError::Preferences)?;
    let mut reading = PreferenceReading::default();
    let passed = read::records(kind, input, &mut |place, record| reading.take(place, record, text));
    reading.finished(passed)
}
