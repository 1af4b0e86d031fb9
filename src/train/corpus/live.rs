//! Watches the text of a running stage and rereads it on a separate thread after a change.
//!
//! Meanwhile the stage continues with the current data. New data are handed over when they are complete; unusable ones
//! are reported, and the old version stays.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::{Corpus, Preparing, dropped, trial};
use crate::{
    base::StageId,
    data::{
        clean::Tally,
        read::{BAD_ENCODING, CUT_OFF, MALFORMED, TOO_DEEP},
    },
    protocol::{DroppedDocument, Trial},
    store::{Place, RunView, Watch, is_prepared},
    train::{
        config::{RunConfig, SourceConfig, Splits},
        error::TrainError,
    },
};

/// Quiet time after a change before it is read: programs save in several writes.
const STILL: Duration = Duration::from_millis(100);
/// With polling, time after which files are checked once more.
const AGAIN: Duration = Duration::from_millis(1500);
/// Maximum delay after the first change.
const LATEST: Duration = Duration::from_secs(2);

/// Rules under which records are rejected as broken.
const BROKEN: [&str; 4] = [MALFORMED, CUT_OFF, BAD_ENCODING, TOO_DEEP];
/// Broken records per rule that are searched for a new one.
const LOOKED_AT: usize = 1000;

/// The result of reading after a change.
pub(crate) enum Found {
    /// A new configuration or new text.
    Fresh(Box<Fresh>),
    /// The change cannot be used: where it is broken.
    Broken(String),
    /// What was broken is as before again.
    Mended,
}

/// A configuration and the data of its sources.
pub(crate) struct Fresh {
    /// The text of run.toml.
    pub text: String,
    pub config: RunConfig,
    pub corpus: Corpus,
    /// When the first change was noticed.
    pub since: Instant,
}

/// A threshold on trial.
pub(crate) struct Trying {
    /// The run's folder.
    pub dir: PathBuf,
    pub source: SourceConfig,
    pub splits: Splits,
    pub rule: String,
    pub threshold: f64,
}

impl Trying {
    fn run(&self, stop: &AtomicBool, report: &mut dyn FnMut(Trial)) -> Result<(), TrainError> {
        trial(&self.dir, (&self.source, self.splits), &self.rule, self.threshold, stop, report)
    }
}

/// Watches the places; wakes the reader after a change.
fn watch(config: &RunConfig, view: &RunView, wake: &Sender<Instant>) -> Watch {
    let (toml, wake) = (view.config_path(), wake.clone());
    Watch::start(&places(config, view.dir()), config.watch, move |path: &Path| {
        if path == toml || is_source(path) {
            // If the reader has ended, the watch is about to be dropped.
            let _gone = wake.send(Instant::now());
        }
    })
}

/// The folders of a run's sources and its run.toml.
fn places(config: &RunConfig, run_dir: &Path) -> Vec<Place> {
    let (mut places, mut above) = (vec![Place { folder: run_dir.to_owned(), deep: false }], Vec::new());
    let run_dir = &config.root(run_dir);
    for source in &config.source {
        let path = run_dir.join(&source.path);
        let is_pattern = |c: &std::path::Component<'_>| c.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        places.push(if path.is_dir() {
            // The folder may be removed and replaced by another one.
            above.extend(path.parent().map(|folder| Place { folder: folder.to_owned(), deep: false }));
            Place { folder: path, deep: true }
        } else if path.is_file() || !Path::new(&source.path).components().any(|c| is_pattern(&c)) {
            Place { folder: path.parent().map_or_else(|| run_dir.to_owned(), Path::to_owned), deep: false }
        } else {
            let root: PathBuf = Path::new(&source.path).components().take_while(|c| !is_pattern(c)).collect();
            Place { folder: run_dir.join(root), deep: true }
        });
    }
    places.append(&mut above);
    places.sort();
    places.dedup();
    // Folders below a recursively watched one are covered.
    let deep: Vec<PathBuf> = places.iter().filter(|p| p.deep).map(|p| p.folder.clone()).collect();
    places.retain(|p| !deep.iter().any(|d| p.folder.starts_with(d) && p.folder != *d));
    places
}

/// The watcher and its reader; both end when it is dropped.
pub(crate) struct LiveCorpus {
    wake: Sender<Instant>,
    /// Results of reading.
    pub found: Receiver<Found>,
    /// Progress of the newest trial.
    pub trials: Receiver<Trial>,
    trial_sender: Sender<Trial>,
    /// How files are watched.
    how: Arc<Mutex<&'static str>>,
    stop: Arc<AtomicBool>,
    /// Locked while data are read and handed over.
    busy: Arc<Mutex<()>>,
    reader: Option<JoinHandle<()>>,
    trial: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl LiveCorpus {
    /// Starts watching the sources and run.toml of a run whose data have been read as `corpus`.
    pub(crate) fn open(
        preparing: Preparing,
        sets: Vec<(String, String)>,
        stage: StageId,
        corpus: &Corpus,
    ) -> Result<LiveCorpus, TrainError> {
        let view = preparing.preparer.view().clone();
        let config = preparing.config.clone();
        let (wake, woken) = unbounded();
        let ((sender, found), (trial_sender, trials)) = (unbounded(), unbounded());
        let watch = watch(&config, &view, &wake);
        let how = Arc::new(Mutex::new(watch.how()));
        let stop = Arc::clone(&preparing.stop);
        let threads = thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| TrainError::no_thread("reading the sources", &e))?;
        let reader = Reader {
            pool,
            watch,
            wake: wake.clone(),
            how: Arc::clone(&how),
            text: view.config()?,
            view,
            preparing,
            sets,
            stage,
            faults: faults(corpus),
            failed: corpus.failed.clone(),
            unusable: None,
            version: corpus.version.clone(),
            config,
        };
        let (halt, busy) = (Arc::clone(&stop), Arc::new(Mutex::new(())));
        let held = Arc::clone(&busy);
        let thread =
            thread::Builder::new().name("reader".to_owned()).spawn(move || reader.work(&woken, &sender, &halt, &held));
        let reader = thread.map_err(|e| TrainError::no_thread("reading the sources", &e))?;
        Ok(LiveCorpus { wake, found, trials, trial_sender, how, stop, busy, reader: Some(reader), trial: None })
    }

    /// How files are watched.
    pub(crate) fn how(&self) -> &'static str {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the reader thread has ended unexpectedly; true only once.
    pub(crate) fn died(&mut self) -> bool {
        self.reader.take_if(|reader| reader.is_finished()).is_some()
    }

    /// Runs `work` if nothing is being read and all results have been taken; otherwise returns None.
    pub(crate) fn at_rest<E>(&self, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        match self.busy.try_lock() {
            Ok(_resting) if self.found.is_empty() => work(),
            _ => Ok(()),
        }
    }

    /// Rereads now, as after a change.
    pub(crate) fn reread(&self) {
        let _gone = self.wake.send(Instant::now());
    }

    /// Starts a trial of a threshold; replaces the previous one.
    pub(crate) fn try_rule(&mut self, trying: Trying) -> Result<(), TrainError> {
        self.end_trial();
        let stop = Arc::new(AtomicBool::new(false));
        let (halt, sender) = (Arc::clone(&stop), self.trial_sender.clone());
        let work = move || {
            let mut last = Trial {
                source: trying.source.name.clone(),
                rule: trying.rule.clone(),
                threshold: trying.threshold,
                ..Trial::default()
            };
            let done = trying.run(&halt, &mut |trial| {
                last = trial.clone();
                let _gone = sender.send(trial);
            });
            if done.is_err() && !halt.load(Ordering::Relaxed) {
                // Cancelled: report the counts so far.
                let _gone = sender.send(Trial { done: true, ..last });
            }
        };
        let thread = thread::Builder::new().name("trial".to_owned()).spawn(work);
        self.trial = Some((stop, thread.map_err(|e| TrainError::no_thread("a trial", &e))?));
        Ok(())
    }

    fn end_trial(&mut self) {
        if let Some((stop, thread)) = self.trial.take() {
            stop.store(true, Ordering::Relaxed);
            let _panicked = thread.join();
        }
        while self.trials.try_recv().is_ok() {}
    }
}

impl Drop for LiveCorpus {
    /// Waits for the threads: they write to the run's folder, which is locked only while the run is open.
    fn drop(&mut self) {
        self.end_trial();
        self.stop.store(true, Ordering::Relaxed);
        self.reread();
        if let Some(reader) = self.reader.take() {
            let _panicked = reader.join();
        }
    }
}

/// Whether a path may be a user's file: prepared data lie among them, and hidden files belong to editors.
fn is_source(path: &Path) -> bool {
    let ours = |name: &str| is_prepared(name) || name.starts_with('.') || name.ends_with('~');
    // Only the run's own logs are written at every step.
    let log = ["metrics.jsonl", "events.jsonl", "edits.jsonl", "preferences.jsonl", "lock"];
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        !ours(&name) && !log.contains(&&*name)
    }) && !path.components().any(|c| is_prepared(&c.as_os_str().to_string_lossy()))
}

/// The reader thread.
struct Reader {
    view: RunView,
    preparing: Preparing,
    sets: Vec<(String, String)>,
    stage: StageId,
    /// Renewed after every change: a folder may have been replaced or newly added to run.toml.
    watch: Watch,
    wake: Sender<Instant>,
    how: Arc<Mutex<&'static str>>,
    /// A pool with some of the cores: in the shared pool the stage's products would wait for cleaning.
    pool: rayon::ThreadPool,
    /// run.toml as last read, and its configuration.
    text: String,
    config: RunConfig,
    /// The version last read, and the number of broken records per source at that time.
    version: String,
    faults: Vec<(String, u64)>,
    /// Files that could not be read to their end at that time.
    failed: Vec<(String, String)>,
    /// The error reported since.
    unusable: Option<String>,
}

impl Reader {
    fn work(mut self, woken: &Receiver<Instant>, sender: &Sender<Found>, stop: &AtomicBool, busy: &Mutex<()>) {
        // A second write within the same second goes unnoticed by polling: check once more.
        let mut more = self.watch.how().contains("poll");
        loop {
            let since = if more {
                match woken.recv_timeout(AGAIN) {
                    Ok(since) => since,
                    Err(RecvTimeoutError::Timeout) => {
                        more = false;
                        Instant::now()
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                let Ok(since) = woken.recv() else { return };
                more = self.watch.how().contains("poll");
                since
            };
            while since.elapsed() < LATEST && !stop.load(Ordering::Relaxed) {
                match woken.recv_timeout(STILL) {
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            // Folders may have been replaced. Renew the watch before reading, so that no change is missed.
            self.rewatch();
            let before = places(&self.preparing.config, self.view.dir());
            let looked = self.look(since);
            if places(&self.preparing.config, self.view.dir()) != before {
                self.rewatch();
                let _gone = self.wake.send(Instant::now());
            }
            let found = match looked {
                Ok(fresh) => {
                    let mended = self.unusable.take().is_some();
                    match fresh {
                        Some(fresh) => Found::Fresh(Box::new(fresh)),
                        // The same as before it was broken.
                        None if mended => Found::Mended,
                        None => continue,
                    }
                }
                Err(TrainError::Stopped) => return,
                Err(e) => {
                    let words = format!("{e}; the old version stays in use");
                    if self.unusable.as_ref() == Some(&words) {
                        continue; // reported already
                    }
                    self.unusable = Some(words.clone());
                    Found::Broken(words)
                }
            };
            if sender.send(found).is_err() {
                return;
            }
        }
    }

    fn rewatch(&mut self) {
        self.watch = watch(&self.preparing.config, &self.view, &self.wake);
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = self.watch.how();
    }

    /// Reads run.toml and the sources; None if nothing changed.
    fn look(&mut self, since: Instant) -> Result<Option<Fresh>, TrainError> {
        let text = self.view.config()?;
        let saved = text != self.text;
        let config = if saved {
            let mut config = RunConfig::parse(&text, &self.sets, self.stage)?;
            if config.size == "auto" {
                config.size.clone_from(&self.config.size);
            }
            config
        } else {
            self.config.clone()
        };
        self.preparing.config = config.clone();
        let corpus = self.pool.install(|| self.preparing.run())?;
        if let Some((source, words)) = corpus.failed.iter().find(|f| !self.failed.contains(f)) {
            return Err(TrainError::Input(format!("source {source}: {words}")));
        }
        let faults = faults(&corpus);
        if let Some((source, more)) = worse(&self.faults, &faults) {
            let place = self.broken(&source, &corpus.version)?.map_or(String::new(), |place| format!(", {place}"));
            return Err(TrainError::Input(format!("source {source}: {more} more broken records than before{place}")));
        }
        let same = corpus.version == self.version;
        if same && config == self.config {
            self.text = text;
            return Ok(None);
        }
        self.version.clone_from(&corpus.version);
        (self.text, self.config, self.faults) = (text.clone(), config.clone(), faults);
        self.failed.clone_from(&corpus.failed);
        Ok(Some(Fresh { text, config, corpus, since }))
    }
}

/// Number of broken records per source.
fn faults(corpus: &Corpus) -> Vec<(String, u64)> {
    let count = |dropped: &BTreeMap<String, Tally>| {
        dropped.iter().filter(|(rule, _)| BROKEN.contains(&rule.as_str())).map(|(_, tally)| tally.documents).sum()
    };
    corpus.funnels.iter().map(|(name, _, funnel)| (name.clone(), count(&funnel.dropped))).collect()
}

impl Reader {
    /// The first broken record of a source that was not in the version read before.
    fn broken(&self, source: &str, version: &str) -> Result<Option<String>, TrainError> {
        let all = |version: &str, rule| -> Result<Vec<DroppedDocument>, TrainError> {
            Ok(dropped(&self.view, version, (Some(source), Some(rule)), 0, LOOKED_AT)?.items)
        };
        for rule in BROKEN {
            let (old, new) = (all(&self.version, rule)?, all(version, rule)?);
            if let Some(first) = new.into_iter().find(|d| !old.contains(d)) {
                let reason = first.text.unwrap_or(first.rule);
                return Ok(Some(format!("the first at {} of {}: {reason}", first.place, first.file)));
            }
        }
        Ok(None)
    }
}

/// The first source with more broken records than before, and how many more.
fn worse(before: &[(String, u64)], now: &[(String, u64)]) -> Option<(String, u64)> {
    now.iter().find_map(|(name, count)| {
        let old = before.iter().find(|(n, _)| n == name)?.1;
        (*count > old).then(|| (name.clone(), count - old))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_wakes_nobody() {
        for path in ["r/metrics.jsonl", "r/data/version-0123456789abcdef01234567/x", "r/data/.tmp-a", "r/poem.txt~"] {
            assert!(!is_source(&PathBuf::from(path)), "{path}");
        }
        for path in ["r/poems.jsonl", "r/data/sft/by-hand.jsonl", "诗.txt"] {
            assert!(is_source(&PathBuf::from(path)), "{path}");
        }
    }
}
