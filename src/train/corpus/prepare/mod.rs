//! From files to streams: existing prepared data are used, the rest is made.

pub(super) mod clean;
pub(super) mod duplicates;
pub(super) mod library;
pub(super) mod quality;
pub(super) mod select;
pub(super) mod stamps;
pub(super) mod tokens;
pub(super) mod units;
pub(super) mod version;

use std::collections::HashSet;

use self::{
    library::{Library, open_unit, unit_name},
    quality::Filter,
    select::{select, selection_key},
    tokens::{encode, tokenizer_key, trained_name},
    units::{Planned, plan},
    version::{PROBE, SourceMeta, Version, version_key},
};
use super::{CHAT_WEIGHT, Effort, conversations, fits};
use crate::{
    data::{self, DataError, Packed, TextGroup, Tokenizer, clean::Funnel},
    protocol::{Monitor, Work},
    store::{Kind, Preparer},
    train::{
        config::{ProbeConfig, RunConfig, SourceConfig},
        error::TrainError,
        run::model_folder::read_text,
    },
};

/// The preparation of a run's text.
pub(super) struct Text<'a> {
    pub config: &'a RunConfig,
    pub preparer: &'a Preparer,
    pub probes: &'a [ProbeConfig],
    pub vocab_size: usize,
    pub monitor: &'a Monitor,
}

/// The result of the preparation.
pub(super) struct Prepared {
    pub packed: Vec<Packed>,
    pub tokenizer: Tokenizer,
    pub funnels: Vec<(String, f64, Funnel)>,
    /// Files that could not be read to their end: source, and file with the reason.
    pub failed: Vec<(String, String)>,
    pub notes: Vec<String>,
    pub version: String,
    pub effort: Effort,
}

impl Text<'_> {
    /// Prepares the text. Without a `known` tokenizer one is trained on it.
    pub(super) fn run(&self, known: Option<Tokenizer>) -> Result<Prepared, TrainError> {
        let plan = plan(self.config, self.preparer, self.monitor)?;
        let conversations = if known.is_none() {
            conversations::conversations(self.config, self.preparer.view().dir(), false, self.monitor)?
        } else {
            Vec::new()
        };
        let all: f64 = self.config.source.iter().map(|s| s.weight).sum();
        let chats = data::chat_texts(&conversations, CHAT_WEIGHT * all);
        let mut effort = Effort::default();
        let done = self.streams(&plan.units, known.as_ref(), &chats, false, &mut effort);
        let (version, key, tokenizer, packed) = match done {
            // Damaged data are removed and made again.
            Err(TrainError::Data(DataError::Damaged(_))) => {
                self.remove_damaged()?;
                self.streams(&plan.units, known.as_ref(), &chats, true, &mut effort)?
            }
            done => done?,
        };
        let mut notes = self.notes(plan.notes, &version.header.sources)?;
        notes.extend(Some(version.header.quality.note).filter(|note| !note.is_empty()));
        let fails = |m: &SourceMeta| m.failed.iter().map(|f| (m.name.clone(), f.clone())).collect::<Vec<_>>();
        let failed = version.header.sources.iter().flat_map(fails).collect();
        let metas = self.config.source.iter().zip(version.header.sources);
        let funnels = metas.map(|(source, meta)| (meta.name, source.weight, meta.funnel)).collect();
        Ok(Prepared { packed, tokenizer, funnels, failed, notes, version: key, effort })
    }

    /// The streams: opened if their version exists, else made.
    fn streams(
        &self,
        planned: &[Vec<Planned>],
        known: Option<&Tokenizer>,
        chats: &TextGroup<'_>,
        again: bool,
        effort: &mut Effort,
    ) -> Result<(Version, String, Tokenizer, Vec<Packed>), TrainError> {
        let view = self.preparer.view();
        let keys: Vec<Vec<String>> =
            planned.iter().map(|units| units.iter().map(|unit| unit.key.clone()).collect()).collect();
        let filter = Filter::of(self.config, view)?;
        let filter_key = filter.as_ref().map(Filter::key).unwrap_or_default();
        let selection = selection_key(self.config, &keys, self.probes, &filter_key);
        let tokenizer = match known {
            Some(tokenizer) => Some(tokenizer.clone()),
            None => self.trained_before(&selection, chats)?,
        };
        if let Some(tokenizer) = tokenizer
            && !again
        {
            let key = version_key(&selection, &tokenizer_key(&tokenizer), self.config);
            if let Some(version) = Version::read(view, &key)
                && let Ok(packed) = self.opened(&version, &tokenizer, effort)
            {
                return Ok((version, key, tokenizer, packed));
            }
        }

        let keys = self.cleaned(planned, effort)?;
        self.monitor.report(Work::Select, 0, 0);
        let library = Library::open(view, &keys)?;
        let selection = selection_key(self.config, &keys, self.probes, &filter_key);
        let before = self.newest();
        let named: Vec<bool> = planned.iter().flatten().map(|unit| unit.held_out).collect();
        let mut version = match before {
            Some(before) if before.header.selection == selection => before,
            before => {
                let judged = filter.map(|f| f.judge(&library, self.preparer, before.as_ref())).transpose()?;
                let (judged, selection) = (judged.unwrap_or_default(), selection.clone());
                let (version, compared) =
                    select(&library, self.config, selection, self.probes, judged, before.as_ref(), &named)?;
                effort.compared += compared;
                version
            }
        };
        self.check_left(&version.header.sources)?;
        self.monitor.check()?;
        let there = match known {
            Some(tokenizer) => Some(tokenizer.clone()),
            None => self.trained_before(&selection, chats)?,
        };
        let tokenizer = if let Some(tokenizer) = there {
            tokenizer
        } else {
            let name = trained_name(self.config, &selection, self.vocab_size, chats);
            self.monitor.report(Work::Tokenizer, 0, 0);
            let tokenizer = tokens::train(&library, self.config, &version, self.vocab_size, chats)?;
            self.preparer.clear(|old| !old.starts_with("tokenizer-"))?;
            self.preparer.write(&name, tokenizer.json().as_bytes())?;
            tokenizer
        };
        let tokenizer = fits(tokenizer, self.vocab_size)?;
        let units: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
        effort.tokenised += encode(self.preparer, &units, &tokenizer, again, self.monitor)?;
        version.header.tokenizer = tokenizer_key(&tokenizer);
        version.header.vocab_size = tokenizer.vocab_size();
        for (meta, source) in version.header.sources.iter_mut().zip(&self.config.source) {
            meta.name.clone_from(&source.name);
        }
        let key = version_key(&selection, &version.header.tokenizer, self.config);
        // Find damage in existing shards before the version is published.
        let packed = self.opened(&version, &tokenizer, effort)?;
        version.write(self.preparer, &key)?;
        Ok((version, key, tokenizer, packed))
    }

    /// The streams of a version. Missing or damaged shards of intact units are made again.
    fn opened(&self, version: &Version, tokenizer: &Tokenizer, effort: &mut Effort) -> Result<Vec<Packed>, TrainError> {
        match version.streams(self.preparer.view(), self.config) {
            Err(DataError::Damaged(_)) => {
                let units: Vec<&str> = version.units().map(|(unit, _)| unit.key.as_str()).collect();
                effort.tokenised += encode(self.preparer, &units, tokenizer, true, self.monitor)?;
                Ok(version.streams(self.preparer.view(), self.config)?)
            }
            opened => Ok(opened?),
        }
    }

    /// The tokenizer that was trained on this selection, if it exists.
    fn trained_before(&self, selection: &str, chats: &TextGroup<'_>) -> Result<Option<Tokenizer>, TrainError> {
        let name = trained_name(self.config, selection, self.vocab_size, chats);
        let json = read_text(&self.preparer.view().data_dir(), &name)?;
        Ok(json.and_then(|json| Tokenizer::from_json(&json, None).ok()))
    }

    /// Cleans missing units; returns the keys of all.
    fn cleaned(&self, planned: &[Vec<Planned>], effort: &mut Effort) -> Result<Vec<Vec<String>>, TrainError> {
        let view = self.preparer.view();
        let (mut work, mut seen) = (Vec::new(), HashSet::new());
        for (source, units) in self.config.source.iter().zip(planned) {
            for unit in units {
                if !view.has_prepared(&unit_name(&unit.key)) && seen.insert(unit.key.as_str()) {
                    work.push((source, unit));
                }
            }
        }
        let made = if work.is_empty() { Vec::new() } else { clean::clean(&work, self.preparer, self.monitor)? };
        effort.cleaned += made.len();
        let other: std::collections::HashMap<&str, &String> =
            work.iter().zip(&made).map(|((_, unit), key)| (unit.key.as_str(), key)).collect();
        let key = |unit: &Planned| other.get(unit.key.as_str()).map_or_else(|| unit.key.clone(), |key| (*key).clone());
        self.monitor.check()?;
        Ok(planned.iter().map(|units| units.iter().map(key).collect()).collect())
    }

    /// The most recently written version.
    fn newest(&self) -> Option<Version> {
        let view = self.preparer.view();
        let entries = view.disk().list(&view.data_dir()).ok()?;
        let versions = entries.iter().filter(|e| e.kind == Kind::File && e.text().starts_with("version-"));
        let newest = versions.max_by_key(|e| e.modified)?;
        Version::read(view, newest.text().strip_prefix("version-")?)
    }

    /// Removes all damaged units and shards.
    fn remove_damaged(&self) -> Result<(), TrainError> {
        let view = self.preparer.view();
        let whole = |name: &str| {
            let Some(key) = name.strip_prefix("unit-") else { return true };
            open_unit(view, key).and_then(|mut unit| unit.check()).is_ok()
        };
        Ok(self.preparer.clear(whole)?)
    }

    /// Rejects sources with no document left.
    fn check_left(&self, metas: &[SourceMeta]) -> Result<(), TrainError> {
        if metas.iter().any(|meta| meta.funnel.kept.documents > 0) {
            return Ok(());
        }
        let sources = || self.config.source.iter().zip(metas);
        let words = sources().map(|(source, meta)| nothing_left(source, meta)).next_back();
        Err(TrainError::Input(words.unwrap_or_else(|| "no source holds a document".to_owned())))
    }

    /// Notes about the sources for the user.
    fn notes(&self, listed: Vec<Vec<String>>, metas: &[SourceMeta]) -> Result<Vec<String>, TrainError> {
        let mut notes: Vec<String> = Vec::new();
        for ((source, meta), passed_over) in self.config.source.iter().zip(metas).zip(listed) {
            notes.extend(passed_over);
            notes.extend(meta.notes.iter().map(|note| format!("source {}: {note}", source.name)));
        }
        for (source, meta) in self.config.source.iter().zip(metas) {
            if meta.funnel.kept.documents == 0 {
                notes.push(nothing_left(source, meta));
            } else {
                notes.extend(meta.first.iter().map(|first| format!("source {}: {first}", source.name)));
            }
        }
        self.check_left(metas)?;
        Ok(notes)
    }
}

/// The error for a source with no document left, with the reason.
fn nothing_left(source: &SourceConfig, meta: &SourceMeta) -> String {
    let name = &source.name;
    if let Some(note) = meta.notes.last().filter(|_| meta.funnel.documents_in == 0) {
        return format!("source {name}: {note}");
    }
    let by_rule: Vec<String> =
        meta.funnel.dropped.iter().map(|(rule, tally)| format!("{} by {rule}", tally.documents)).collect();
    if meta.funnel.dropped.contains_key(PROBE) && meta.funnel.dropped.len() == 1 {
        return format!("source {name}: every remaining document contains a probe; set recall = true in [[probe]]");
    }
    let why = if by_rule.is_empty() { "expected text in it".to_owned() } else { by_rule.join(", ") };
    let first = meta.first.as_ref().map_or(String::new(), |first| format!("; {first}"));
    format!(
        "source {name}: {:?} has no document left after cleaning ({}): {why}{first}; set another profile, or correct the files",
        source.path,
        source.profile.name()
    )
}
