//! Cleans files into units on disk: documents are read, judged, hashed and signed.
//!
//! One thread reads; the others clean one block at a time, and the results for a unit's files are written to one file
//! (`data/stored/unit.rs`) in order. A text is in memory only as long as its block.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crossbeam_channel::Sender;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    library::unit_name,
    stamps::stamp,
    units::{Planned, short},
};
use crate::{
    data::{
        DataError,
        clean::{Masked, Profile, Rule, Verdict, judge, mask, simplified},
        dedup::{Dedup, Shingling, fingerprint, minhash},
        document::Document,
        read::{Fault, Passed, ReadOptions, documents},
        split,
        stored::unit::{Cleaned, Summary, UnitWriter},
    },
    protocol::{Monitor, Work},
    store::{Draft, Fs as _, Links, Preparer, ReadSeek, RealFs, StoreError},
    train::{
        config::{Documents, SourceConfig},
        error::TrainError,
    },
};

/// Documents, and bytes of them, that form a block and are processed at a time.
const DOCUMENTS_AT_ONCE: usize = 4096;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Dropped documents per unit and rule for which the beginning is kept with the verdict, and bytes of it.
const SHOWN: u64 = 1000;
const SHOWN_BYTES: usize = 600;
/// Notes kept per unit.
const NOTES: usize = 20;

/// A dropped document in a unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// The index of its file in the unit.
    pub file: u32,
    /// The record's place in the file.
    pub place: u64,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The beginning of its text, or why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A message of the reader thread.
enum Message {
    /// Records of a unit, each with file and place.
    Records(Vec<(u32, u64, Result<Document, Fault>)>),
    /// The end of a file, or its error, with the number of records and of those taken as poems (`verse`).
    End { file: u32, records: u64, verse: u64, passed: Result<Passed, StoreError>, changed: bool },
    /// The end of the unit.
    Whole,
}

/// Cleans units, each of a source; returns their keys in order. A unit with a file whose error may be temporary gets a
/// different key than planned, so that it is cleaned again next time.
pub(crate) fn clean(
    work: &[(&SourceConfig, &Planned)],
    preparer: &Preparer,
    monitor: &Monitor,
) -> Result<Vec<String>, TrainError> {
    let (given_up, read) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    let stamps = work.iter().flat_map(|(_, unit)| &unit.files).filter_map(|(_, stamp)| stamp.as_ref());
    let all: u64 = stamps.map(|stamp| stamp.length).sum();
    let mut keys = Vec::with_capacity(work.len());
    thread::scope(|scope| {
        // A small capacity: reading is faster than cleaning and would fill the memory.
        let (send, receive) = crossbeam_channel::bounded(2);
        let (given_up, read) = (&given_up, &read);
        thread::Builder::new()
            .spawn_scoped(scope, move || read_all(work, &send, given_up, read))
            .map_err(|e| TrainError::no_thread("reading the sources", &e))?;
        let mut making = None;
        let taken: Result<(), TrainError> = receive.iter().try_for_each(|message| {
            monitor.check()?;
            monitor.report(Work::Clean, read.load(Ordering::Relaxed), all);
            let Some((source, planned)) = work.get(keys.len()) else { return Ok(()) };
            let mut unit = match making.take() {
                Some(unit) => unit,
                None => Making::new(source, planned, preparer)?,
            };
            match message {
                Message::Records(records) => unit.take(records)?,
                Message::End { file, records, verse, passed, changed } => {
                    unit.end(file, (records, verse), passed, changed);
                }
                Message::Whole => {
                    keys.push(unit.finish(preparer)?);
                    return Ok(());
                }
            }
            making = Some(unit);
            Ok(())
        });
        given_up.store(true, Ordering::Relaxed);
        taken
    })?;
    preparer.sync()?;
    Ok(keys)
}

/// A unit being made.
struct Making<'a> {
    source: &'a SourceConfig,
    rules: Vec<Rule>,
    planned: &'a Planned,
    writer: UnitWriter<Draft>,
    summary: Summary,
    /// Whether a file had an error that may be temporary.
    again: bool,
}

impl<'a> Making<'a> {
    fn new(source: &'a SourceConfig, planned: &'a Planned, preparer: &Preparer) -> Result<Self, TrainError> {
        let name = unit_name(&planned.key);
        let writer = UnitWriter::new(preparer.draft(&name)?).map_err(|e| failed(preparer, &name, e))?;
        let files = planned.files.iter().map(|(file, _)| file.path.display().to_string()).collect();
        let summary = Summary { files, ..Summary::default() };
        Ok(Self { source, rules: source.rules(), planned, writer, summary, again: false })
    }

    /// Cleans records in parallel and writes them in order.
    fn take(&mut self, records: Vec<(u32, u64, Result<Document, Fault>)>) -> Result<(), TrainError> {
        let (source, rules) = (self.source, &self.rules);
        let judged: Result<Vec<Judged>, DataError> =
            records.into_par_iter().map(|(file, place, found)| judged(source, rules, (file, place), found)).collect();
        let (mut kept, mut verdicts) = (Vec::new(), Vec::new());
        let summary = &mut self.summary;
        for one in judged? {
            match one {
                Judged::Kept(document, masked) => {
                    summary.funnel.keep(document.bytes, masked);
                    kept.push(*document);
                }
                Judged::Dropped { mut dropped, bytes, fault } => {
                    summary.funnel.drop_new(&dropped.verdict.rule, bytes);
                    if fault {
                        summary.faults += 1;
                        let reason = || dropped.text.clone().unwrap_or_default();
                        summary.first_fault.get_or_insert_with(|| (dropped.file, dropped.place, reason()));
                    }
                    let counted = summary.funnel.dropped.get(&dropped.verdict.rule);
                    dropped.text = dropped.text.filter(|_| counted.is_none_or(|t| t.documents <= SHOWN));
                    serde_json::to_writer(&mut verdicts, &dropped).map_err(|e| DataError::Io(e.into()))?;
                    verdicts.push(b'\n');
                }
            }
        }
        if kept.is_empty() && verdicts.is_empty() {
            return Ok(());
        }
        let path = || Path::new(&unit_name(&self.planned.key)).to_owned();
        let written = self.writer.push(&kept, &verdicts);
        Ok(written.map_err(|source| StoreError::Io { doing: "write", path: path(), source })?)
    }

    /// Adds notes on a file.
    fn end(&mut self, file: u32, (records, verse): (u64, u64), passed: Result<Passed, StoreError>, changed: bool) {
        let path = &self.summary.files[file as usize];
        let (notes, failed) = (&mut self.summary.notes, &mut self.summary.failed);
        let mut note = |text: String| {
            if notes.len() < NOTES {
                notes.push(format!("{path} {text}"));
            }
        };
        if changed {
            self.again = true;
            note("changed while it was read; it will be read again next time".to_owned());
        }
        if verse > 0 && self.source.profile == Profile::None {
            note(format!(
                "has {verse} records with a title and an author, which are read as verse: their lines of Chinese are joined; profile = \"prose-zh\" keeps lines apart"
            ));
        }
        match passed {
            Ok(passed) => {
                if let Some(encoding) = passed.encoding {
                    note(format!("converted from {encoding}"));
                }
                if records == 0 && passed.ended.is_none() {
                    note("holds no document; expected text in it".to_owned());
                }
                if let Some(e) = passed.ended {
                    // An error of the system may be temporary; the contents of a file are not.
                    self.again |= matches!(&e, DataError::Io(e) if e.raw_os_error().is_some());
                    failed.push(format!("{path} {e}"));
                    note(if records > 0 {
                        format!("is used up to record {records}; after it the file {e}")
                    } else {
                        e.to_string()
                    });
                }
                self.summary.funnel.bytes_read += passed.bytes;
                self.summary.unread.join(passed.unread);
            }
            Err(e) => {
                self.again = true;
                failed.push(format!("{path} is not read: {e}"));
                note(format!("is not read: {e}"));
            }
        }
    }

    fn finish(self, preparer: &Preparer) -> Result<String, TrainError> {
        let name = unit_name(&self.planned.key);
        let (draft, hash) = self.writer.finish(self.summary).map_err(|e| failed(preparer, &name, e))?;
        if !self.again {
            draft.publish(&name)?;
            return Ok(self.planned.key.clone());
        }
        let mut key = blake3::Hasher::new();
        key.update(self.planned.key.as_bytes()).update(hash.as_bytes());
        let key = short(&key);
        draft.publish(&unit_name(&key))?;
        Ok(key)
    }
}

fn failed(preparer: &Preparer, name: &str, source: io::Error) -> StoreError {
    StoreError::Io { doing: "write", path: preparer.view().data_dir().join(name), source }
}

/// Read options of a source. A source whose profile is prose or code has no poems, whatever fields its records have.
pub(crate) fn options(source: &SourceConfig) -> ReadOptions {
    ReadOptions {
        field: source.field.clone(),
        whole: source.documents == Documents::File,
        prose: matches!(source.profile, Profile::ProseEn | Profile::ProseZh | Profile::Code),
    }
}

/// A file of which the bytes that are read are counted.
struct Counted {
    file: Box<dyn ReadSeek>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Reads all files of all units and sends the records; counts the bytes.
fn read_all(work: &[(&SourceConfig, &Planned)], send: &Sender<Message>, given_up: &AtomicBool, read: &Arc<AtomicU64>) {
    for (source, unit) in work {
        let options = options(source);
        let (mut records, mut bytes) = (Vec::new(), 0);
        for (file, (entry, stamped)) in (0..).zip(&unit.files) {
            let (mut count, mut verse) = (0, 0);
            let passed = open(&entry.path).map(|opened| {
                let input = Counted { file: opened, count: Arc::clone(read) };
                documents(entry.kind, &options, input, &mut |place, found| {
                    if given_up.load(Ordering::Relaxed) {
                        return;
                    }
                    count += 1;
                    verse += u64::from(found.as_ref().is_ok_and(Document::is_joined_verse));
                    bytes += found.as_ref().map_or(0, |d| d.text().len());
                    records.push((file, place, found));
                    if records.len() >= DOCUMENTS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                        bytes = 0;
                        // Without a receiver the thread ends soon.
                        let _ = send.send(Message::Records(std::mem::take(&mut records)));
                    }
                })
            });
            let changed = passed.is_ok() && stamp(&entry.path) != *stamped;
            let end = Message::End { file, records: count, verse, passed, changed };
            if given_up.load(Ordering::Relaxed) || send.send(end).is_err() {
                return;
            }
        }
        let rest = Message::Records(std::mem::take(&mut records));
        if send.send(rest).is_err() || send.send(Message::Whole).is_err() {
            return;
        }
    }
}

/// Opens a user's file: links are followed, pipes and devices rejected.
pub(crate) fn open(path: &Path) -> Result<Box<dyn ReadSeek>, StoreError> {
    let opened = RealFs.open(path, Links::Follow);
    opened.map(|(file, _)| file).map_err(|source| StoreError::Io { doing: "open", path: path.to_owned(), source })
}

/// The result of judging a record.
enum Judged {
    Kept(Box<Cleaned>, Masked),
    Dropped {
        dropped: Dropped,
        /// Bytes of the text before cleaning.
        bytes: u64,
        /// Whether the record had no document.
        fault: bool,
    },
}

/// Applies the rules of a source to a record.
fn judged(
    config: &SourceConfig,
    rules: &[Rule],
    (file, place): (u32, u64),
    found: Result<Document, Fault>,
) -> Result<Judged, DataError> {
    let mut document = match found {
        Ok(document) => document,
        Err(fault) => {
            // A rejected record has nothing to measure; its reason is stored in place of the text.
            let verdict = Verdict { rule: fault.rule.to_owned(), value: 0.0, threshold: 0.0 };
            let dropped = Dropped { file, place, verdict, text: Some(clipped(&fault.reason).to_owned()) };
            return Ok(Judged::Dropped { dropped, bytes: 0, fault: true });
        }
    };
    let bytes = document.text().len() as u64;
    if config.simplify {
        document = document.mapped(simplified)?;
    }
    if let Some(verdict) = judge(rules, &document) {
        let dropped = Dropped { file, place, verdict, text: Some(clipped(document.text()).to_owned()) };
        return Ok(Judged::Dropped { dropped, bytes, fault: false });
    }
    let mut masked = Masked::default();
    if config.profile.masks() {
        document =
            document.mapped(|part| Ok::<_, DataError>(mask(part, &mut masked).unwrap_or_else(|| part.to_owned())))?;
    }
    let dedup = config.dedup();
    let body = document.body();
    let fingerprint = (dedup != Dedup::Off).then(|| fingerprint(config.profile, body));
    let bands = match dedup {
        Dedup::Near => minhash::bands(&Shingling::of(config.profile).shingles(body)),
        Dedup::Off | Dedup::Exact => None,
    };
    let key = split::key(body);
    let kept = Cleaned { document, key, fingerprint, bands, file, place, bytes };
    Ok(Judged::Kept(Box::new(kept), masked))
}

/// The beginning of a text.
pub(crate) fn clipped(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Number of documents dropped, by rule.
pub(crate) fn by_rule(summary: &Summary) -> BTreeMap<String, u64> {
    summary.funnel.dropped.iter().map(|(rule, tally)| (rule.clone(), tally.documents)).collect()
}
