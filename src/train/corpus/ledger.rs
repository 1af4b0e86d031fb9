//! What came of every document and every file: the funnel of each source, and the verdicts.

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::files::TextFile;
use crate::{
    data::{
        DataError,
        clean::{Funnel, Verdict},
        read::Passed,
    },
    store::{Draft, DraftFile, StoreError},
    train::{config::SourceConfig, error::TrainError},
};

/// Dropped documents of a source and rule whose text is kept beside the verdict, and bytes of it.
const SHOWN: u64 = 1000;
const SHOWN_BYTES: usize = 600;
/// Notes of one source that are kept.
const NOTES: usize = 20;

/// A source and its files.
pub(super) type Listed<'a> = (&'a SourceConfig, Vec<TextFile>);

/// What came of one source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SourceMeta {
    /// In, out, and what each rule took.
    pub funnel: Funnel,
    /// Files that were not read to their end, and why; what stood out.
    pub notes: Vec<String>,
    /// Where and why the first record was no document, and how many were none.
    pub first: Option<String>,
}

/// What came of all of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meta {
    /// One a source.
    pub sources: Vec<SourceMeta>,
    /// Whether a file failed in a way that it may not fail in again; then the work is done anew.
    pub again: bool,
}

/// A record's place: its source, its file, and where in that.
pub(super) type Place = (usize, usize, u64);

/// How many records of a source are no documents, and the first: its file, where in that, and why.
type Faults = (u64, Option<(usize, u64, String)>);

/// The books of one cleaning.
pub(super) struct Ledger<'a> {
    pub listed: &'a [Listed<'a>],
    pub draft: &'a Draft,
    pub metas: Vec<SourceMeta>,
    dropped: DraftFile,
    again: bool,
    faults: Vec<Faults>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(listed: &'a [Listed<'a>], draft: &'a Draft) -> Result<Self, TrainError> {
        let metas = listed.iter().map(|_| SourceMeta::default()).collect();
        Ok(Self {
            listed,
            draft,
            metas,
            dropped: draft.create("dropped.jsonl")?,
            again: false,
            faults: vec![(0, None); listed.len()],
        })
    }

    /// Writes a verdict down; of the first ones of a rule the text, or the reason that there is none.
    pub(super) fn tell(
        &mut self,
        place: Place,
        verdict: &Verdict,
        of: Option<Place>,
        text: impl FnOnce() -> Result<String, DataError>,
    ) -> Result<(), TrainError> {
        let located = |(source, file, place): Place| {
            let (config, files) = &self.listed[source];
            json!({"source": config.name, "file": files[file].path.display().to_string(), "place": place})
        };
        let mut line = located(place);
        line["rule"] = verdict.rule.as_str().into();
        line["value"] = verdict.value.into();
        line["threshold"] = verdict.threshold.into();
        if let Some(of) = of {
            line["of"] = located(of);
        }
        let counted = self.metas[place.0].funnel.dropped.get(&verdict.rule);
        if counted.is_none_or(|t| t.documents <= SHOWN) {
            line["text"] = clipped(&text()?).into();
        }
        let written = writeln!(self.dropped, "{line}");
        Ok(written.map_err(|e| self.draft.failed("dropped.jsonl", "write", e))?)
    }

    /// Counts a record that is no document.
    pub(super) fn fault(&mut self, (source, file, place): Place, reason: &str) {
        let (count, first) = &mut self.faults[source];
        *count += 1;
        first.get_or_insert_with(|| (file, place, reason.to_owned()));
    }

    /// Notes what came of a file.
    pub(super) fn end(&mut self, source: usize, file: usize, records: u64, passed: Result<Passed, StoreError>) {
        let (config, files) = &self.listed[source];
        let meta = &mut self.metas[source];
        let mut note = |text: String| {
            if meta.notes.len() < NOTES {
                meta.notes.push(format!("source {}: {} {text}", config.name, files[file].path.display()));
            }
        };
        match passed {
            Ok(passed) => {
                if let Some(encoding) = passed.encoding {
                    note(format!("is converted from {encoding}"));
                }
                if records == 0 && passed.ended.is_none() {
                    note("holds no document; expected text in it".to_owned());
                }
                if let Some(e) = passed.ended {
                    // What the system refuses it may allow the next time; what is in a file stays.
                    self.again |= matches!(&e, DataError::Io(e) if e.raw_os_error().is_some());
                    note(e.to_string());
                }
                meta.funnel.bytes_read += passed.bytes;
            }
            Err(e) => {
                self.again = true;
                note(format!("is not read: {e}"));
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<Meta, TrainError> {
        for (source, (count, first)) in self.faults.into_iter().enumerate() {
            self.metas[source].first = first.map(|(file, place, reason)| {
                let path = self.listed[source].1[file].path.display();
                format!("{path}: {count} records were rejected, the first at {place}: {reason}")
            });
        }
        self.draft.finish("dropped.jsonl", self.dropped)?;
        Ok(Meta { sources: self.metas, again: self.again })
    }
}

/// The beginning of a text.
pub(super) fn clipped(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
