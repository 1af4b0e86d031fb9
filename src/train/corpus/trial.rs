//! What another bound of a rule would do, counted on the source's own files before it is applied.
//!
//! Every document is read again and taken through the rules as they stand and with the new bound. Nothing is
//! written, and a piece of text is held no longer than it takes. It runs beside training, so it has threads of its
//! own, on half of the cores: in the shared pool a matrix product would wait for its pieces.

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
    files::{TextFile, text_files},
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
    train::{config::SourceConfig, error::TrainError},
};

/// Texts that are told of those that come back, and of those that go.
const SHOWN: usize = 8;
/// Between two tellings.
const INTERVAL: Duration = Duration::from_millis(200);
/// Documents, and bytes of them, that are worked on at once.
const DOCUMENTS_AT_ONCE: usize = 1024;
const BYTES_AT_ONCE: usize = 1 << 20;

type Records = Vec<Result<Document, Fault>>;

/// The rules as they stand without the one that is tried, and that one with both of its bounds.
struct Tried {
    others: Vec<Rule>,
    /// None where it is switched off.
    now: Option<Rule>,
    then: Rule,
}

/// A document under both bounds.
struct Effect {
    dropped_now: bool,
    dropped_then: bool,
    /// Where the two differ, what the rule measured and the beginning of the text.
    shown: Option<(f64, String)>,
}

/// Counts what `threshold` as the bound of `rule` would do to a source. Tells what was counted some times a second, and
/// at the end with `done` set. Files that cannot be read are passed over, as they are when the source is cleaned;
/// records without a text count as dropped either way. Where `stop` is set meanwhile, it ends with
/// [`TrainError::Stopped`].
pub fn trial(
    run_dir: &Path,
    source: &SourceConfig,
    rule: &str,
    threshold: f64,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Trial),
) -> Result<(), TrainError> {
    let tried = Tried::new(source, rule, threshold)?;
    let files = text_files(run_dir, source, &mut Vec::new())?;
    let threads = thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| TrainError::no_thread("a trial", &e))?;
    let mut told = Trial { source: source.name.clone(), rule: rule.to_owned(), threshold, ..Trial::default() };
    let given_up = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| -> Result<(), TrainError> {
        // Few pieces wait: what is read faster than it is judged would fill the memory.
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
            effects?.into_iter().for_each(|effect| effect.count(&mut told));
            if last.elapsed() >= INTERVAL {
                last = Instant::now();
                tell(told.clone());
            }
            Ok(())
        });
        given_up.store(true, Ordering::Relaxed);
        counted
    })?;
    if stop.load(Ordering::Relaxed) {
        return Err(TrainError::Stopped);
    }
    tell(Trial { done: true, ..told });
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
        // What both bounds drop need not be asked further.
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

/// Reads every file, and sends what it finds.
fn read_all(source: &SourceConfig, files: &[TextFile], send: &Sender<Records>, given_up: &Arc<AtomicBool>) {
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
                // Where nobody listens, the end of the thread is near.
                let _ = send.send(std::mem::take(&mut records));
            }
        });
        if given_up.load(Ordering::Relaxed) {
            return;
        }
    }
    let _ = send.send(records);
}

/// A file that ends where the trial was cancelled: nobody waits for the rest of a large one.
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
