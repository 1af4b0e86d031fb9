//! What a path is: a run, a folder that `danlu export --for trl` made, an output folder of Trainer or TRL, or a log.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{lines::Lines, python, reader::Reader};
use crate::{
    base::StageId,
    store::{Follow, Fs, Kind, Links, RunView, StoreError, read_limited},
    train::error::TrainError,
};

/// The log of Trainer's state.
pub(super) const STATE: &str = "trainer_state.json";
/// The description of a stage that another trainer trains.
const HANDOVER: &str = "handover.json";
/// Limits on what is read at once.
const MOST_STATE: u64 = 1 << 30;
const MOST_HANDOVER: u64 = 16 << 20;
/// Bytes of a log in which one of its lines must be.
const HEAD: usize = 4 << 20;
/// What can be watched, for the message about a path that cannot.
const EXPECTED: &str = "expected a run, a folder of `danlu export --for trl`, an output folder of Trainer or TRL with a checkpoint-N/trainer_state.json, a trainer_state.json, or a log with one JSON object or printed dictionary a line";

/// A log to watch.
#[derive(Debug)]
pub struct Watched {
    pub(super) disk: Arc<dyn Fs>,
    pub(super) source: Source,
    /// The folder that is watched and never written to.
    pub(super) dir: Option<PathBuf>,
    pub(super) name: String,
    pub(super) handover: Option<Handover>,
}

/// Where the lines are.
#[derive(Debug)]
pub(super) enum Source {
    /// A run of danlu.
    Run(RunView),
    /// Files that lines are appended to: danlu's two, or one of another trainer.
    Files(Vec<PathBuf>),
    /// A trainer_state.json, or the newest one of an output folder.
    State(PathBuf),
    /// Standard input.
    Stream,
}

/// What handover.json says about a training.
#[derive(Debug, Default)]
pub(super) struct Handover {
    pub(super) stage: StageId,
    /// The exported folder, whose model/ has the tokenizer.
    pub(super) home: PathBuf,
    fields: Map<String, Value>,
}

impl Handover {
    /// A text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }

    /// A number of the plan.
    pub(super) fn plan(&self, key: &str) -> Option<f64> {
        self.fields.get("plan")?.get(key)?.as_f64()
    }
}

impl Watched {
    /// What the path is.
    ///
    /// # Errors
    /// If it is nothing that can be watched, in a sentence that names what can.
    pub fn open(disk: Arc<dyn Fs>, path: &Path) -> Result<Watched, TrainError> {
        let path = &if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
        let found = match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => folder(&disk, path)?,
            Ok(there) if there.is_file() => Some(file(&disk, path)?),
            Ok(_) => {
                let what = "it is neither a file nor a folder; pipe it in: danlu watch - < PATH";
                return Err(StoreError::input(path, what).into());
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => beside(&disk, path)?,
            Err(e) => return Err(StoreError::input(path, format!("it cannot be read: {e}")).into()),
        };
        let none = || {
            let what = if path.is_dir() { "the folder holds no training" } else { "there is no such file or folder" };
            TrainError::from(StoreError::input(path, format!("{what}; {EXPECTED}")))
        };
        found.ok_or_else(none)
    }

    /// A log that arrives on standard input.
    pub fn stream(disk: Arc<dyn Fs>) -> Watched {
        Watched { disk, source: Source::Stream, dir: None, name: "stdin".to_owned(), handover: None }
    }

    fn of(disk: &Arc<dyn Fs>, source: Source, dir: &Path, handover: Option<Handover>) -> Watched {
        let named = handover.as_ref().and_then(|h| h.text("run")).map(str::to_owned);
        let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let last = || whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
        let name = named.unwrap_or_else(last);
        Watched { disk: Arc::clone(disk), source, dir: Some(dir.to_owned()), name, handover }
    }

    fn run(disk: &Arc<dyn Fs>, dir: &Path) -> Result<Watched, TrainError> {
        let view = RunView::open(Arc::clone(disk), dir)?;
        Ok(Watched::of(disk, Source::Run(view), dir, None))
    }

    fn pair(disk: &Arc<dyn Fs>, dir: &Path, handover: Option<Handover>) -> Watched {
        let files = ["metrics.jsonl", "events.jsonl"].map(|name| dir.join(name)).into();
        Watched::of(disk, Source::Files(files), dir, handover)
    }
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}

fn above(path: &Path) -> PathBuf {
    match path.parent() {
        Some(above) if above.as_os_str().is_empty() => PathBuf::from("."),
        Some(above) => above.to_owned(),
        // `.` and `..` have a folder above them, too.
        None => path.join(".."),
    }
}

/// What a folder is; None if nothing in it is a training's.
fn folder(disk: &Arc<dyn Fs>, dir: &Path) -> Result<Option<Watched>, TrainError> {
    if is_file(&dir.join("run.toml")) {
        return Watched::run(disk, dir).map(Some);
    }
    let (metrics, events) = (is_file(&dir.join("metrics.jsonl")), is_file(&dir.join("events.jsonl")));
    let logs = metrics || events;
    if is_file(&dir.join(HANDOVER)) && !logs {
        let handover = handover(disk, dir)?;
        return Ok(Some(Watched::pair(disk, &dir.join("out"), Some(handover))));
    }
    let home = above(&dir.canonicalize().unwrap_or_else(|_| dir.to_owned()));
    let given = is_file(&home.join(HANDOVER));
    if given && (logs || dir.ends_with("out")) {
        return Ok(Some(Watched::pair(disk, dir, Some(handover(disk, &home)?))));
    }
    let state = newest_state(&**disk, dir);
    // A metrics.jsonl alone, beside a trainer_state.json, may be any tool's.
    if logs && (events || state.is_none()) {
        return Ok(Some(Watched::pair(disk, dir, None)));
    }
    Ok(state.map(|_| Watched::of(disk, Source::State(dir.to_owned()), dir, None)))
}

/// What a file is.
fn file(disk: &Arc<dyn Fs>, path: &Path) -> Result<Watched, TrainError> {
    let (dir, name) = (above(path), path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let danlus = name == "metrics.jsonl" || name == "events.jsonl";
    if (danlus || name == "run.toml" || name == HANDOVER)
        && let Some(found) = folder(disk, &dir)?
    {
        return Ok(found);
    }
    let refused = |what: &str| Err(TrainError::from(StoreError::input(path, format!("{what}; {EXPECTED}"))));
    if path.extension().is_some_and(|ending| ending == "json") {
        return match entries(&**disk, path)? {
            Some(_) => {
                // The folder of the checkpoints, if it is one of them.
                let whole = dir.canonicalize().unwrap_or(dir);
                let one = whole.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-"));
                let dir = if one { above(&whole) } else { whole };
                Ok(Watched::of(disk, Source::State(path.to_owned()), &dir, None))
            }
            None => refused("it has no log_history, so it is no trainer_state.json"),
        };
    }
    let (mut lines, mut reader, mut found) = (Lines::default(), Reader::default(), 0);
    let head = Follow::new(path.to_owned()).read(&**disk, HEAD)?.bytes;
    let mut take = |line: &[u8]| found += reader.line(line).len();
    lines.push(&head, &mut take);
    if let Some(last) = lines.last(super::reader::is_whole) {
        take(&last);
    }
    found += reader.rest(false).len() + reader.waits();
    match found {
        0 if head.is_empty() => refused("the file is empty"),
        0 => refused("no line of the file is a training log's"),
        _ => Ok(Watched { name, ..Watched::of(disk, Source::Files(vec![path.to_owned()]), &dir, None) }),
    }
}

/// A file that does not exist yet, of a training that does.
fn beside(disk: &Arc<dyn Fs>, path: &Path) -> Result<Option<Watched>, TrainError> {
    let (dir, name) = (above(path), path.file_name().unwrap_or_default());
    let log = name == "metrics.jsonl" || name == "events.jsonl";
    if log && is_file(&dir.join("run.toml")) {
        return Watched::run(disk, &dir).map(Some);
    }
    let home = if log { above(&dir) } else { dir.clone() };
    if (log || name == "out") && is_file(&home.join(HANDOVER)) {
        let out = if log { dir } else { path.to_owned() };
        return Ok(Some(Watched::pair(disk, &out, Some(handover(disk, &home)?))));
    }
    Ok(None)
}

fn handover(disk: &Arc<dyn Fs>, home: &Path) -> Result<Handover, TrainError> {
    let path = home.join(HANDOVER);
    let text = read_limited(&**disk, &path, MOST_HANDOVER, Links::Follow)?;
    let wrong = |what: String| TrainError::from(StoreError::input(&path, what));
    let fields: Map<String, Value> = serde_json::from_slice(&text)
        .map_err(|e| wrong(format!("it is no JSON object ({e}); export the stage again: danlu export --for trl")))?;
    let stage = fields.get("stage").and_then(Value::as_str).unwrap_or_default();
    let stage = stage.parse().map_err(|e| wrong(format!("\"stage\": {e}")))?;
    Ok(Handover { stage, home: home.to_owned(), fields })
}

/// The folders `checkpoint-<N>` in a folder, by N.
pub(super) fn numbered(disk: &dyn Fs, dir: &Path) -> Vec<(usize, PathBuf)> {
    let entries = disk.list(dir).unwrap_or_default();
    let mut found: Vec<(usize, PathBuf)> = entries
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::Dir | Kind::Link))
        .filter_map(|entry| Some((entry.text().strip_prefix("checkpoint-")?.parse().ok()?, dir.join(&entry.name))))
        .collect();
    found.sort();
    found
}

/// The newest trainer_state.json of an output folder, or of one of its checkpoints.
pub(super) fn newest_state(disk: &dyn Fs, dir: &Path) -> Option<PathBuf> {
    if dir.is_file() {
        return Some(dir.to_owned());
    }
    let written = |path: &PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let newest =
        numbered(disk, dir).into_iter().rev().map(|(_, folder)| folder.join(STATE)).find(|path| path.is_file());
    // The one in the folder itself is written at the end; a training that was resumed since has newer checkpoints.
    let own = Some(dir.join(STATE)).filter(|path| path.is_file());
    match (own, newest) {
        (Some(own), Some(newest)) if written(&newest) > written(&own) => Some(newest),
        (own, newest) => own.or(newest),
    }
}

/// The fields of a trainer_state.json, and the entries of its log.
type Entries = (Map<String, Value>, Vec<Value>);

/// The entries of a trainer_state.json, with its fields; None if it is none. A file that is half written is none, too.
pub(super) fn entries(disk: &dyn Fs, path: &Path) -> Result<Option<Entries>, TrainError> {
    let bytes = read_limited(disk, path, MOST_STATE, Links::Follow)?;
    let text = String::from_utf8_lossy(&bytes);
    let Some(Value::Object(mut fields)) = serde_json::from_str(&text).ok().or_else(|| python::value(&text)) else {
        return Ok(None);
    };
    let Some(Value::Array(entries)) = fields.remove("log_history") else { return Ok(None) };
    Ok(Some((fields, entries)))
}
