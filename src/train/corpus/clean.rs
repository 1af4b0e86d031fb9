//! Files to cleaned documents on disk: read, judged, freed of duplicates, each with its verdict.
//!
//! A thread reads; the others clean, hash and sign what was read, some documents at a time, and what stays goes to
//! one file in the sources' order. Then the duplicates are found, and a table is written of what is left:
//!
//! ```text
//! data/text-<key>/ texts           the documents' text, one after the other
//!                  documents       48 bytes each: where, how long, how long the head is, key (split.rs)
//!                  dropped.jsonl   what was dropped: place, rule, value, threshold, the document it repeats
//!                  meta.json       the funnel of every source, and what a person should know
//! ```
//! The text is never held whole: a document costs 32 bytes of memory.

use std::{
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    num::NonZeroU128,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use super::{
    files::{key, text_files},
    ledger::{Ledger, Listed, Meta},
};
use crate::{
    data::{
        DataError,
        clean::{Masked, Rule, Verdict, judge, mask, simplified},
        dedup::{
            BANDS, Bands, Dedup, EXACT_DUPLICATE, LEAST, NEAR_DUPLICATE, Shingling,
            bands::{self as band_store, Spill},
            exact, fingerprint, minhash, verified,
        },
        document::Document,
        read::{Fault, Passed, ReadOptions, documents},
        split,
    },
    store::{Draft, DraftFile, Fs as _, Links, ReadSeek, RealFs, Run, StoreError},
    train::{
        config::{Documents, RunConfig, SourceConfig},
        error::TrainError,
    },
};
use rayon::prelude::*;

/// Changes when the same files would come out otherwise.
const VERSION: &str = "1";
/// Documents, and bytes of them, that are worked on at once.
const DOCUMENTS_AT_ONCE: usize = 4096;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Bytes of a record of a document while it may still be a duplicate, and afterwards.
const RECORD: usize = 64;
pub(super) const ENTRY: usize = 48;
/// Cleaned documents.
pub(super) struct Cleaned {
    /// The folder.
    pub dir: PathBuf,
    /// The hash of what they were made of.
    pub key: String,
    /// What came of the sources.
    pub meta: Meta,
}

/// The cleaned documents of a run's sources: those that are there, if nothing has changed, or new ones.
pub(super) fn cleaned(run: &Run, config: &RunConfig, stop: &AtomicBool) -> Result<Cleaned, TrainError> {
    let mut listed = Vec::new();
    let mut notes = Vec::new();
    for source in &config.source {
        let mut passed_over = Vec::new();
        listed.push((source, text_files(run.view().dir(), source, &mut passed_over)?));
        notes.push(passed_over);
    }
    let key = key(VERSION, &listed);
    let name = format!("text-{key}");
    let dir = run.view().data_dir().join(&name);
    let there = read_meta(&dir).filter(|meta| !meta.again && meta.sources.len() == listed.len());
    let mut meta = if let Some(meta) = there {
        meta
    } else {
        let draft = run.draft(&name)?;
        let meta = Cleaner::new(&listed, &draft)?.run(stop)?;
        let mut file = draft.create("meta.json")?;
        let written = serde_json::to_writer(&mut file, &meta).map_err(io::Error::from);
        written.map_err(|e| draft.failed("meta.json", "write", e))?;
        draft.finish("meta.json", file)?;
        run.clear_prepared("text-")?;
        draft.publish()?;
        meta
    };
    for (meta, passed_over) in meta.sources.iter_mut().zip(notes) {
        meta.notes.splice(0..0, passed_over);
    }
    Ok(Cleaned { dir, key, meta })
}

/// What an earlier run left, if it is whole.
fn read_meta(dir: &Path) -> Option<Meta> {
    let (file, _) = RealFs.open(&dir.join("meta.json"), Links::Refuse).ok()?;
    let meta: Meta = serde_json::from_reader(BufReader::new(file.take(16 << 20))).ok()?;
    let (_, length) = RealFs.open(&dir.join("documents"), Links::Refuse).ok()?;
    let kept: u64 = meta.sources.iter().map(|s| s.funnel.kept.documents).sum();
    (length == kept * ENTRY as u64).then_some(meta)
}

/// What the reading thread hands over.
enum Message {
    /// Records of a source's file.
    Records { source: usize, file: usize, records: Vec<(u64, Result<Document, Fault>)> },
    /// A file's end, or what ended it, and how many records it had.
    End { source: usize, file: usize, records: u64, passed: Result<Passed, StoreError> },
}

/// A record's way through the rules.
struct Judged {
    place: u64,
    /// Bytes of the text as it was read.
    bytes: u64,
    /// Whether there was no document in it.
    fault: bool,
    outcome: Result<Kept, (Verdict, String)>,
}

struct Kept {
    document: Document,
    key: split::Key,
    fingerprint: Option<NonZeroU128>,
    bands: Option<[u64; BANDS]>,
    masked: Masked,
}

struct Cleaner<'a> {
    ledger: Ledger<'a>,
    texts: DraftFile,
    records: DraftFile,
    fingerprints: Vec<Option<NonZeroU128>>,
    /// Where each document's text begins, and the last one's ends.
    offsets: Vec<u64>,
    /// Bytes of each document's head.
    heads: Vec<u32>,
    /// The first document of each source.
    firsts: Vec<u32>,
    bands: Bands,
    spill: Spilled<'a>,
}

impl<'a> Cleaner<'a> {
    fn new(listed: &'a [Listed<'a>], draft: &'a Draft) -> Result<Self, TrainError> {
        Ok(Self {
            ledger: Ledger::new(listed, draft)?,
            texts: draft.create("texts")?,
            records: draft.create("records")?,
            fingerprints: Vec::new(),
            offsets: vec![0],
            heads: Vec::new(),
            firsts: Vec::new(),
            bands: Bands::new(band_store::HELD),
            spill: Spilled { draft, files: Vec::new() },
        })
    }

    fn run(mut self, stop: &AtomicBool) -> Result<Meta, TrainError> {
        let listed = self.ledger.listed;
        let given_up = AtomicBool::new(false);
        let stopped = || stop.load(Ordering::Relaxed) || given_up.load(Ordering::Relaxed);
        thread::scope(|scope| -> Result<(), TrainError> {
            // Few pieces wait: what is read faster than it is cleaned would fill the memory.
            let (send, receive) = mpsc::sync_channel(2);
            let given_up = &given_up;
            scope.spawn(move || read_all(listed, &send, given_up));
            let taken = receive.iter().try_for_each(|message| {
                if stopped() {
                    return Err(TrainError::Stopped);
                }
                self.take(message)
            });
            given_up.store(true, Ordering::Relaxed);
            taken
        })?;
        while self.firsts.len() <= listed.len() {
            self.firsts.push(self.heads.len() as u32);
        }
        self.settle()
    }

    /// Cleans what was read, in parallel, and writes it down, in order.
    fn take(&mut self, message: Message) -> Result<(), TrainError> {
        let (source, file, records) = match message {
            Message::End { source, file, records, passed } => {
                self.ledger.end(source, file, records, passed);
                return Ok(());
            }
            Message::Records { source, file, records } => (source, file, records),
        };
        let config = self.ledger.listed[source].0;
        let rules = config.rules();
        let judged: Result<Vec<Judged>, DataError> =
            records.into_par_iter().map(|(place, found)| judged(config, &rules, place, found)).collect();
        while self.firsts.len() <= source {
            self.firsts.push(self.heads.len() as u32);
        }
        for one in judged? {
            self.write(source, file, one)?;
        }
        Ok(())
    }

    fn write(&mut self, source: usize, file: usize, one: Judged) -> Result<(), TrainError> {
        let draft = self.ledger.draft;
        let funnel = &mut self.ledger.metas[source].funnel;
        let kept = match one.outcome {
            Ok(kept) => kept,
            Err((verdict, text)) => {
                funnel.drop_new(&verdict.rule, one.bytes);
                if one.fault {
                    self.ledger.fault((source, file, one.place), &text);
                }
                return self.ledger.tell((source, file, one.place), &verdict, None, || Ok(text));
            }
        };
        funnel.keep(one.bytes, kept.masked);
        let (document, text) = (self.heads.len() as u32, kept.document.text());
        if document == u32::MAX {
            return Err(TrainError::Input(format!("the sources hold more than {document} documents; use fewer")));
        }
        let head = kept.document.head().len() as u32;
        let mut record = Vec::with_capacity(RECORD);
        record.extend_from_slice(&kept.key);
        record.extend_from_slice(&(text.len() as u32).to_le_bytes());
        record.extend_from_slice(&head.to_le_bytes());
        for n in [file as u64, one.place, one.bytes] {
            record.extend_from_slice(&n.to_le_bytes());
        }
        self.records.write_all(&record).map_err(|e| draft.failed("records", "write", e))?;
        self.texts.write_all(text.as_bytes()).map_err(|e| draft.failed("texts", "write", e))?;
        self.offsets.push(self.offsets[document as usize] + text.len() as u64);
        self.heads.push(head);
        self.fingerprints.push(kept.fingerprint);
        if let Some(bands) = &kept.bands {
            self.bands.push(document, bands, &mut self.spill).map_err(|e| draft.failed("bands", "write", e))?;
        }
        Ok(())
    }

    /// Finds the duplicates and writes the table of what is left.
    fn settle(self) -> Result<Meta, TrainError> {
        let Self { mut ledger, fingerprints, offsets, heads, firsts, bands, mut spill, .. } = self;
        let (draft, listed) = (ledger.draft, ledger.listed);
        draft.finish("texts", self.texts)?;
        draft.finish("records", self.records)?;
        let source_of = |document: u32| firsts.partition_point(|first| *first <= document) - 1;
        let mut pairs: Vec<(u32, u32, Option<f64>)> =
            exact::duplicates(&fingerprints).into_iter().map(|(d, k)| (d, k, None)).collect();
        drop(fingerprints);
        let same: Vec<u32> = pairs.iter().map(|p| p.0).collect();
        let candidates = bands
            .candidates(&|document| same.binary_search(&document).is_ok(), &mut spill)
            .map_err(|e| draft.failed("bands", "read", e))?;
        spill.remove()?;
        let texts = Mutex::new(draft.open("texts")?);
        let text_of = |document: u32| -> Result<String, DataError> {
            let at = document as usize;
            read_text(&texts, offsets[at], (offsets[at + 1] - offsets[at]) as usize)
        };
        let near = verified(&candidates, |document| {
            let text = text_of(document)?;
            let body = &text[heads[document as usize] as usize..];
            Ok(Shingling::of(listed[source_of(document)].0.profile).shingles(body))
        })?;
        drop(candidates);
        pairs.extend(near.iter().map(|p| (p.dropped, p.kept, Some(p.similarity))));
        pairs.sort_unstable_by_key(|p| p.0);

        // A second look at the records, now that it is known which of them go.
        let mut table = draft.create("documents")?;
        let mut records = BufReader::with_capacity(1 << 18, draft.open("records")?);
        let mut originals = draft.open("records")?;
        let mut gone = pairs.iter().peekable();
        let mut record = [0; RECORD];
        for document in 0..heads.len() as u32 {
            records.read_exact(&mut record).map_err(|e| draft.failed("records", "read", e))?;
            let Some((_, kept, similarity)) = gone.next_if(|p| p.0 == document) else {
                let mut entry = Vec::with_capacity(ENTRY);
                entry.extend_from_slice(&offsets[document as usize].to_le_bytes());
                entry.extend_from_slice(&record[32..40]);
                entry.extend_from_slice(&record[..32]);
                table.write_all(&entry).map_err(|e| draft.failed("documents", "write", e))?;
                continue;
            };
            let (rule, value, threshold) = match similarity {
                Some(similarity) => (NEAR_DUPLICATE, *similarity, LEAST),
                None => (EXACT_DUPLICATE, 1.0, 1.0),
            };
            let mut original = [0; RECORD];
            originals
                .seek(SeekFrom::Start(u64::from(*kept) * RECORD as u64))
                .and_then(|_| originals.read_exact(&mut original))
                .map_err(|e| draft.failed("records", "read", e))?;
            let place = |source: usize, r: &[u8]| (source, number(&r[40..48]) as usize, number(&r[48..56]));
            let source = source_of(document);
            ledger.metas[source].funnel.drop_kept(rule, number(&record[56..]));
            let verdict = Verdict { rule: rule.to_owned(), value, threshold };
            let of = Some(place(source_of(*kept), &original));
            ledger.tell(place(source, &record), &verdict, of, || text_of(document))?;
        }
        draft.finish("documents", table)?;
        draft.remove("records")?;
        ledger.finish()
    }
}

/// A document's text.
pub(super) fn read_text(texts: &Mutex<Box<dyn ReadSeek>>, offset: u64, length: usize) -> Result<String, DataError> {
    let mut bytes = vec![0; length];
    {
        let mut file = texts.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
    }
    String::from_utf8(bytes)
        .map_err(|_| DataError::Shape("the cleaned text on disk is damaged; remove data/text-*".into()))
}

/// A little-endian number.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// Reads every file of every source, and sends what it finds.
fn read_all(listed: &[Listed<'_>], send: &mpsc::SyncSender<Message>, given_up: &AtomicBool) {
    for (source, (config, files)) in listed.iter().enumerate() {
        let options = ReadOptions { field: config.field.clone(), whole: config.documents == Documents::File };
        for (file, entry) in files.iter().enumerate() {
            let mut count = 0;
            let passed = match open(&entry.path) {
                Err(e) => Err(e),
                Ok(input) => {
                    let (mut records, mut bytes) = (Vec::new(), 0);
                    let passed = documents(entry.kind, &options, input, &mut |place, found| {
                        if given_up.load(Ordering::Relaxed) {
                            return;
                        }
                        count += 1;
                        bytes += found.as_ref().map_or(0, |d| d.text().len());
                        records.push((place, found));
                        if records.len() >= DOCUMENTS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                            bytes = 0;
                            // Where nobody listens, the end of the thread is near.
                            let _ = send.send(Message::Records { source, file, records: std::mem::take(&mut records) });
                        }
                    });
                    let _ = send.send(Message::Records { source, file, records });
                    Ok(passed)
                }
            };
            let end = Message::End { source, file, records: count, passed };
            if given_up.load(Ordering::Relaxed) || send.send(end).is_err() {
                return;
            }
        }
    }
}

/// Opens a file of the user's: a link is followed, a pipe or a device is not a file.
pub(super) fn open(path: &Path) -> Result<Box<dyn ReadSeek>, StoreError> {
    let opened = RealFs.open(path, Links::Follow);
    opened.map(|(file, _)| file).map_err(|source| StoreError::Io { doing: "open", path: path.to_owned(), source })
}

/// Takes a record through the rules of its source.
fn judged(
    config: &SourceConfig,
    rules: &[Rule],
    place: u64,
    found: Result<Document, Fault>,
) -> Result<Judged, DataError> {
    let mut document = match found {
        Ok(document) => document,
        Err(fault) => {
            // A record that is none has nothing to measure; the reason stands where its text would.
            let verdict = Verdict { rule: fault.rule.to_owned(), value: 0.0, threshold: 0.0 };
            return Ok(Judged { place, bytes: 0, fault: true, outcome: Err((verdict, fault.reason)) });
        }
    };
    let bytes = document.text().len() as u64;
    if config.simplify {
        document = document.mapped(simplified)?;
    }
    if let Some(verdict) = judge(rules, &document) {
        return Ok(Judged { place, bytes, fault: false, outcome: Err((verdict, document.text().to_owned())) });
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
    Ok(Judged { place, bytes, fault: false, outcome: Ok(Kept { document, key, fingerprint, bands, masked }) })
}

/// Bands that went to disk.
struct Spilled<'a> {
    draft: &'a Draft,
    files: Vec<Option<DraftFile>>,
}

impl Spilled<'_> {
    fn name(band: usize) -> String {
        format!("band-{band}")
    }

    fn remove(self) -> Result<(), StoreError> {
        (0..self.files.len()).try_for_each(|band| self.draft.remove(&Self::name(band)))
    }
}

impl Spill for Spilled<'_> {
    fn append(&mut self, band: usize, bytes: &[u8]) -> io::Result<()> {
        while self.files.len() <= band {
            let name = Self::name(self.files.len());
            self.files.push(Some(self.draft.create(&name).map_err(io::Error::other)?));
        }
        match &mut self.files[band] {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::other("the band is being read")),
        }
    }

    fn open(&mut self, band: usize) -> io::Result<Box<dyn Read>> {
        // It is removed before it is of use to anybody after a power cut, so it is not synced.
        if let Some(mut file) = self.files.get_mut(band).and_then(Option::take) {
            file.flush()?;
        }
        Ok(self.draft.open(&Self::name(band)).map_err(io::Error::other)?)
    }
}
