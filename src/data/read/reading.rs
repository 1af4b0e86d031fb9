//! The result of reading records into memory.

use std::{collections::BTreeMap, fmt::Display};

use super::{Fault, Format, Passed, RECORD_ENDINGS, Unread};
use crate::data::error::DataError;

/// Rejected records for which place and reason are kept.
const KEPT_REJECTS: usize = 20;

/// Records read into memory as items `T`, each with the form `F` it was written in.
#[derive(Clone, Debug)]
pub struct Reading<T, F = ()> {
    /// The items, in the file's order.
    pub items: Vec<T>,
    /// The place of each: the line, or the item of an array, from 1.
    pub places: Vec<u64>,
    /// The number of records in each form.
    pub forms: BTreeMap<F, u64>,
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

impl<T, F> Default for Reading<T, F> {
    fn default() -> Reading<T, F> {
        Reading {
            items: Vec::new(),
            places: Vec::new(),
            forms: BTreeMap::new(),
            bytes: 0,
            rejected: 0,
            reasons: Vec::new(),
            rules: BTreeMap::new(),
            unread: Unread::default(),
            encoding: None,
        }
    }
}

impl<T, F: Ord> Reading<T, F> {
    /// Adds the items of a record.
    pub(in crate::data) fn add(&mut self, place: u64, form: F, items: impl IntoIterator<Item = T>) {
        *self.forms.entry(form).or_default() += 1;
        self.items.extend(items);
        self.places.resize(self.items.len(), place);
    }

    /// Skips a record.
    pub(in crate::data) fn reject(&mut self, place: u64, fault: Fault) {
        self.rejected += 1;
        *self.rules.entry(fault.rule).or_default() += 1;
        if self.reasons.len() < KEPT_REJECTS {
            self.reasons.push((place, fault.reason));
        }
    }

    /// Ends the reading; an error if the file ended early.
    pub(in crate::data) fn end(&mut self, passed: Passed) -> Result<(), DataError> {
        (self.bytes, self.encoding) = (passed.bytes, passed.encoding);
        passed.ended.map_or(Ok(()), Err)
    }

    /// Notes for the user about a file.
    pub fn notes(&self, file: &str) -> Vec<String>
    where
        F: Display,
    {
        let listed = |all: Vec<String>| all.join(", ");
        let converted = self.encoding.map_or(String::new(), |name| format!(" (converted from {name})"));
        let forms = listed(self.forms.iter().map(|(form, n)| format!("{n} {form}")).collect());
        let mut notes = vec![format!("{file}: {forms}{converted}")];
        notes.extend(self.reasons.first().map(|(place, why)| {
            let rules = listed(self.rules.iter().map(|(rule, n)| format!("{rule} {n}")).collect());
            format!("{file}: {} records skipped, the first at {place}: {why} [{rules}]", self.rejected)
        }));
        notes
    }
}

/// Whether conversations and pairs can be read from this format; otherwise the formats that can. Parquet needs a file.
pub(in crate::data) fn holds_records(format: Format, file: bool) -> Result<(), String> {
    match format {
        Format::Text | Format::Markdown => {}
        Format::Parquet if !file => {}
        _ => return Ok(()),
    }
    Err(format!("a .{} file holds none; expected {RECORD_ENDINGS}", format.ending()))
}
