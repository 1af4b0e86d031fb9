//! The checkpoints that appear beside a log: which are new, which probes they have not completed, and which cannot be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    asks::{Ask, asks},
    history::History,
    place::{self, Source, Watched},
};
use crate::{
    base::{StageId, StageName},
    protocol::Event,
    store::{CheckpointId, Fs, Links, read_limited},
    train::{config::RunConfig, error::TrainError, tree},
};

/// Interval at which the folders are listed.
const AGAIN: Duration = Duration::from_secs(1);
/// A folder that cannot be read is tried so many times, at this interval.
const TRIES: usize = 3;
const BETWEEN: Duration = Duration::from_secs(1);
/// A checkpoint of Trainer is written when it has a trainer_state.json; one that has none after this time is tried, too.
const WRITTEN: Duration = Duration::from_mins(1);
/// Limit on the description in a checkpoint.
const MOST: u64 = 16 << 20;

/// A checkpoint whose probes are to be completed.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its folder.
    pub folder: PathBuf,
    /// Folders with its tokenizer, if it has none itself.
    pub(super) tokenizers: Vec<PathBuf>,
    pub(super) stage: StageId,
    pub(super) step: usize,
    pub(super) asks: Vec<Ask>,
}

/// A job's completions, or why there are none.
pub struct Done {
    /// The job.
    pub job: Job,
    /// Its probes.
    pub result: Result<Vec<Event>, TrainError>,
}

/// The folders of a training's checkpoints.
#[derive(Debug)]
pub(super) struct Folders {
    /// When they were listed.
    listed: Option<Instant>,
    found: BTreeMap<PathBuf, Found>,
    /// When each was seen first.
    begun: BTreeMap<PathBuf, Instant>,
    /// Why folders could not be read: each is said once.
    said: BTreeSet<String>,
}

/// A checkpoint.
#[derive(Debug)]
struct Found {
    stage: StageId,
    step: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Its probes are to be completed, from a time on; it was tried so many times.
    Due(Instant, usize),
    /// They are being completed.
    Working(usize),
    /// They are completed, or cannot be.
    Over,
}

impl Folders {
    pub(super) fn new() -> Folders {
        Folders { listed: None, found: BTreeMap::new(), begun: BTreeMap::new(), said: BTreeSet::new() }
    }

    /// Lists the folders, at most once a second; returns what is said of new ones.
    pub(super) fn look(&mut self, watched: &Watched, stage: Option<StageId>, history: &History) -> Vec<Event> {
        if self.listed.is_some_and(|at| at.elapsed() < AGAIN) {
            return Vec::new();
        }
        self.listed = Some(Instant::now());
        let mut events = Vec::new();
        for (stage, step, folder) in checkpoints(watched, stage, history) {
            if self.found.contains_key(&folder) {
                continue;
            }
            let of_danlu = matches!(watched.source, Source::Run(_));
            let numbered = folder.join(place::STATE).is_file();
            let begun = *self.begun.entry(folder.clone()).or_insert_with(Instant::now);
            let last = folder.join("config.json").is_file() && history.over;
            if !of_danlu && !numbered && !last && begun.elapsed() < WRITTEN {
                continue;
            }
            if !of_danlu && numbered && !history.has_saved(stage, step) {
                let bytes = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                let bytes = bytes.filter_map(|file| file.metadata().ok()).filter(std::fs::Metadata::is_file);
                let bytes = bytes.map(|file| file.len()).sum();
                // How long it took to write is not known.
                events.push(Event::Saved { step, path: folder.clone(), seconds: f64::NAN, bytes, best: false });
            }
            // danlu's trainer completes its probes itself; the line about them may come a moment later.
            let wait = if of_danlu { AGAIN } else { Duration::ZERO };
            let state = State::Due(Instant::now() + wait, 0);
            self.found.insert(folder, Found { stage, step, state });
        }
        events
    }

    /// The newest checkpoint with probes that were not completed.
    pub(super) fn next(&mut self, watched: &Watched, history: &History) -> Option<Job> {
        let now = Instant::now();
        loop {
            let due = self.found.iter_mut().filter(|(_, found)| matches!(found.state, State::Due(at, _) if at <= now));
            let (folder, found) = due.max_by_key(|(_, found)| (found.stage, found.step))?;
            let tries = if let State::Due(_, tries) = found.state { tries } else { 0 };
            let (stage, step) = (found.stage, found.step);
            let mut missing = asks(config_of(watched).as_ref(), stage, matches!(watched.source, Source::State(_)));
            missing.retain(|ask| !history.has_probe(stage, step, &ask.prompt));
            if missing.is_empty() {
                found.state = State::Over;
                continue;
            }
            found.state = State::Working(tries);
            let mut tokenizers = Vec::new();
            if let Source::Run(view) = &watched.source {
                tokenizers.push(view.data_dir());
            }
            tokenizers.extend(watched.handover.as_ref().map(|h| h.home.join("model")));
            tokenizers.extend(watched.dir.clone());
            return Some(Job { folder: folder.clone(), tokenizers, stage, step, asks: missing });
        }
    }

    /// Takes the outcome of a job; returns why the folder cannot be read, once.
    pub(super) fn done(&mut self, folder: &Path, result: Result<(), &TrainError>) -> Option<String> {
        let found = self.found.get_mut(folder)?;
        let State::Working(tries) = found.state else { return None };
        found.state = State::Over;
        let error = result.err()?;
        if !folder.exists() {
            // Removed for a newer one.
            return None;
        }
        if tries + 1 < TRIES {
            found.state = State::Due(Instant::now() + BETWEEN, tries + 1);
            return None;
        }
        let (text, name) = (error.to_string(), folder.display().to_string());
        let new = self.said.insert(text.replace(&name, ""));
        let step = found.step;
        new.then(|| format!("the probes of step {step} are not completed: {text}"))
    }
}

/// run.toml as it is now, if there is one that can be read.
fn config_of(watched: &Watched) -> Option<RunConfig> {
    let Source::Run(view) = &watched.source else { return None };
    tree::config_of(view).ok()
}

/// The checkpoints of a training with stage and step. What cannot be listed now is listed the next time.
fn checkpoints(watched: &Watched, stage: Option<StageId>, history: &History) -> Vec<(StageId, usize, PathBuf)> {
    let disk = &*watched.disk;
    if let Source::Run(view) = &watched.source {
        let all = view.checkpoints();
        let known = |id: &CheckpointId| if let StageName::Known(stage) = id.stage { Some(stage) } else { None };
        let ids = all.list().unwrap_or_default().into_iter();
        let ids =
            ids.filter_map(|id| Some((known(&id).filter(|stage| stage.speaks())?, id.step as usize, all.path(&id))));
        return ids.collect();
    }
    let (Some(dir), Some(stage)) = (&watched.dir, stage.filter(|stage| stage.speaks())) else { return Vec::new() };
    let step_of = |(n, folder): (usize, PathBuf)| (stage, handed_over(disk, &folder).unwrap_or(n), folder);
    let mut found: Vec<_> = place::numbered(disk, dir).into_iter().map(step_of).collect();
    // The final weights are those of the newest step.
    let done = history.done(stage);
    for folder in [dir.join("model"), dir.clone()] {
        let there = folder.join("config.json").is_file() && folder.join("model.safetensors").is_file();
        if there && done > 0 && found.iter().all(|(_, step, _)| *step < done) && history.over {
            found.push((stage, handed_over(disk, &folder).unwrap_or(done), folder));
            break;
        }
    }
    found
}

/// The step that the description in a checkpoint of `danlu export --for trl` names.
fn handed_over(disk: &dyn Fs, folder: &Path) -> Option<usize> {
    let text = read_limited(disk, &folder.join("handover.json"), MOST, Links::Follow).ok()?;
    let fields: Value = serde_json::from_slice(&text).ok()?;
    fields.get("result")?.get("step")?.as_u64().map(|step| step as usize)
}
