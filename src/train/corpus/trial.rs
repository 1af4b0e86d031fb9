//! Counts the effect of another threshold of a rule on a source's files before it is applied.
//!
//! Every document is read again and judged with the current and the new threshold. Nothing is written, and only a chunk
//! of text is in memory. It runs beside training in a separate pool with half of the cores: in the shared pool matrix
//! products would wait for it.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use rayon::prelude::*;

use super::{
    files::{SourceFile, text_files},
    prepare::clean::{clipped, open, options},
};
use crate::{
    data::{
        DataError,
        clean::{self, Rule, judge, measured, simplified},
        document::Document,
        read::{Fault, documents},
    },
    protocol::Trial,
    store::ReadSeek,
    train::{
        config::{SourceConfig, Splits},
        error::TrainError,
    },
};

/// Examples reported of documents that would return, and of those that would go.
const SHOWN: usize = 8;
/// Interval between two reports.
const INTERVAL: Duration = Duration::from_millis(200);
/// Documents, and bytes of them, that are processed at a time.
const DOCUMENTS_AT_ONCE: usize = 1024;
const BYTES_AT_ONCE: usize = 1 << 20;

type Records = Vec<Result<Document, Fault>>;

/// The rules without the one on trial, and that one with both thresholds.
struct Tried {
    others: Vec<Rule>,
    /// None if it is switched off.
    now: Option<Rule>,
    then: Rule,
}

/// The effect on a document.
struct Effect {
    dropped_now: bool,
    dropped_then: bool,
    /// If the verdicts differ, the measured value and the beginning of the text.
    shown: Option<(f64, String)>,
}

/// Counts the effect of `threshold` for `rule` on a source. Reports several times per second, and at the end with
/// `done` set. Unreadable files are skipped, as in cleaning; records without text count as dropped either way. Setting
/// `stop` ends it with [`TrainError::Stopped`].
pub fn trial(
    run_dir: &Path,
    (source, splits): (&SourceConfig, Splits),
    rule: &str,
    threshold: f64,
    stop: &AtomicBool,
    report: &mut dyn FnMut(Trial),
) -> Result<(), TrainError> {
    let tried = Tried::new(source, rule, threshold)?;
    let files = text_files(run_dir, splits, source, &mut Vec::new())?;
    let threads = thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| TrainError::no_thread("a trial", &e))?;
    let mut counts = Trial { source: source.name.clone(), rule: rule.to_owned(), threshold, ..Trial::default() };
    let given_up = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| -> Result<(), TrainError> {
        // A small capacity: reading is faster than judging and would fill the memory.
        let (send, receive) = crossbeam_channel::bounded(2);
        let ends = Arc::clone(&given_up);
        thread::Builder::new()
            .spawn_scoped(scope, move || read_all(source, &files, &send, &ends))
            .map_err(|e| TrainError::no_thread("a trial", &e))?;
        let mut last = Instant::now();
        let counted = receive.iter().try_for_each(|records: Records| {
            if stop.load(Ordering::Relaxed) {
                return Err(TrainError::Stopped);
            }
            let effects: Result<Vec<Effect>, DataError> =
                pool.install(|| records.into_par_iter().map(|found| tried.effect(source.simplify, found)).collect());
            effects?.into_iter().for_each(|effect| effect.count(&mut counts));
            if last.elapsed() >= INTERVAL {
                last = Instant::now();
                report(counts.clone());
            }
            Ok(())
        });
        given_up.store(true, Ordering::Relaxed);
        counted
    })?;
    if stop.load(Ordering::Relaxed) {
        return Err(TrainError::Stopped);
    }
    report(Trial { done: true, ..counts });
    Ok(())
}

impl Tried {
    fn new(source: &SourceConfig, rule: &str, threshold: f64) -> Result<Self, TrainError> {
        let (table, profile) = (clean::rules(source.profile), source.profile.name());
        let Some(published) = table.iter().find(|r| r.name == rule) else {
            return Err(TrainError::Input(format!("profile {profile} has no rule {rule:?} with a bound to try")));
        };
        if !(threshold.is_finite() && threshold >= 0.0) {
            return Err(TrainError::Input(format!("the bound of {rule} is {threshold}; expected 0 or more")));
        }
        let (now, others) = source.rules().into_iter().partition::<Vec<_>, _>(|r| r.name == rule);
        let then = Rule { bound: published.bound.moved(threshold), ..*published };
        Ok(Self { others, now: now.first().copied(), then })
    }

    fn effect(&self, simplify: bool, found: Result<Document, Fault>) -> Result<Effect, DataError> {
        let Ok(mut document) = found else {
            return Ok(Effect { dropped_now: true, dropped_then: true, shown: None });
        };
        if simplify {
            document = document.mapped(simplified)?;
        }
        let value = measured(&self.then, &document);
        let mut dropped_now = self.now.is_some_and(|rule| !rule.bound.keeps(value));
        let mut dropped_then = !self.then.bound.keeps(value);
        // If both thresholds drop it, the other rules do not matter.
        if !(dropped_now && dropped_then) && judge(&self.others, &document).is_some() {
            (dropped_now, dropped_then) = (true, true);
        }
        let shown = (dropped_now != dropped_then).then(|| (value, clipped(document.text()).to_owned()));
        Ok(Effect { dropped_now, dropped_then, shown })
    }
}

impl Effect {
    fn count(self, trial: &mut Trial) {
        trial.documents += 1;
        trial.dropped_now += u64::from(self.dropped_now);
        trial.dropped_then += u64::from(self.dropped_then);
        let list = if self.dropped_now { &mut trial.back } else { &mut trial.gone };
        list.extend(self.shown.filter(|_| list.len() < SHOWN));
    }
}

/// Reads all files and sends the records.
fn read_all(source: &SourceConfig, files: &[SourceFile], send: &Sender<Records>, given_up: &Arc<AtomicBool>) {
    let options = options(source);
    let (mut records, mut bytes) = (Records::new(), 0);
    for file in files {
        let Ok(input) = open(&file.path) else { continue };
        let input = Ending { input, given_up: Arc::clone(given_up) };
        documents(file.kind, &options, input, &mut |_, found| {
            bytes += found.as_ref().map_or(0, |d| d.text().len());
            records.push(found);
            if records.len() >= DOCUMENTS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                bytes = 0;
                // Without a receiver the thread ends soon.
                let _ = send.send(std::mem::take(&mut records));
            }
        });
        if given_up.load(Ordering::Relaxed) {
            return;
        }
    }
    let _ = send.send(records);
}

/// A reader that ends when the trial is cancelled, so that nobody waits for the rest of a large file.
struct Ending {
    input: Box<dyn ReadSeek>,
    given_up: Arc<AtomicBool>,
}

impl Read for Ending {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(io::Error::other("the trial was cancelled"));
        }
        self.input.read(buffer)
    }
}

impl Seek for Ending {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}
