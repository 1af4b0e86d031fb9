//! A fork: a new run that begins with a checkpoint of another one.
//!
//! It has its parent's run.toml with the changes asked for, the checkpoint and those it descends from, the tokenizer,
//! the prepared data, and the logs up to its step. Its sources are the parent's, by reference. The fork appears whole or
//! not at all; the parent is only read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use serde_json::Value;

use crate::{
    base::StageId,
    protocol::ForkPoint,
    store::{Checkpoint, CheckpointId, Log, Run, RunDraft, RunView, StoreError, each_record, refuse_name},
    train::{
        config::{RunConfig, toml_patch},
        error::TrainError,
        run::checkpoint::{State, forked, read_state},
    },
};

/// Files of `data/` that a fork gets a copy of.
const COPIED: [&str; 4] = ["tokenizer.json", "tokenizer_config.json", "marks.jsonl", "sft/by-hand.jsonl"];
/// The same, for a fork at fine-tuning or later.
const OWN_ANSWERS: &str = "reward-own.jsonl";

/// A stage and a step, as in `pretrain-400`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The stage.
    pub stage: StageId,
    /// The step.
    pub step: u64,
    /// Which save of the step; the last one if none is named.
    pub revision: Option<u32>,
}

/// A text that names no checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("--at is {text:?}; expected a stage and a step, such as pretrain-400")]
pub struct NoPoint {
    text: String,
}

impl FromStr for Point {
    type Err = NoPoint;

    fn from_str(text: &str) -> Result<Point, NoPoint> {
        let read = || {
            let (stage, step) = text.split_once('-')?;
            let (step, revision) = match step.split_once("-r") {
                Some((step, revision)) => (step, Some(revision.parse().ok()?)),
                None => (step, None),
            };
            Some(Point { stage: stage.parse().ok()?, step: step.parse().ok()?, revision })
        };
        read().ok_or_else(|| NoPoint { text: text.to_owned() })
    }
}

/// What a fork is asked to be.
#[derive(Clone, Debug)]
pub struct Forking {
    /// The checkpoint it begins with.
    pub at: Point,
    /// Its name; without one the next free one.
    pub name: Option<String>,
    /// Keys of run.toml with other values; a key without a table belongs to the checkpoint's stage.
    pub sets: Vec<(String, String)>,
}

/// Makes a fork beside its parent; returns its folder.
///
/// # Errors
/// If there is no such checkpoint, a setting or the name cannot be used, or a file cannot be written. Then nothing is
/// left of the fork.
pub fn fork(parent: &RunView, order: &Forking) -> Result<PathBuf, TrainError> {
    let disk = Arc::clone(parent.disk());
    let id = find(parent, &order.at)?;
    let (checkpoint, state) = loaded(parent, &id)?;
    let text = configured(parent, &order.sets, order.at.stage)?;
    let ancestors = ancestors(parent, &state)?;
    let runs = parent.dir().parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = match &order.name {
        Some(name) => {
            named_well(name)?;
            RunDraft::new(disk, &runs.join(name), &text)?
        }
        None => RunDraft::numbered(disk, runs, &text)?,
    };
    let run = draft.run()?;
    for ancestor in &ancestors {
        run.saver().adopt(ancestor, None)?;
    }
    let fork = ForkPoint { run: parent.name(), checkpoint: id.to_string(), digest: checkpoint.digest.clone() };
    run.saver().adopt(&checkpoint, Some(("state.json", forked(state, fork))))?;
    draft.take_prepared(parent)?;
    let late = order.at.stage != StageId::Pretrain;
    for name in COPIED.iter().chain(late.then_some(&OWN_ANSWERS)) {
        draft.copy_data(parent, name)?;
    }
    let past = Past::new(&id, &ancestors);
    past.copy_logs(parent, run, late)?;
    Ok(draft.publish()?)
}

/// Refuses a name that is not that of one folder beside the parent.
pub(super) fn named_well(name: &str) -> Result<(), TrainError> {
    refuse_name(name).map_or(Ok(()), |what| Err(TrainError::Input(format!("{name:?}: {what}"))))
}

/// The checkpoint at a point; of several saves the last.
fn find(parent: &RunView, at: &Point) -> Result<CheckpointId, TrainError> {
    let there = parent.checkpoints().list()?;
    let of: Vec<&CheckpointId> = there.iter().filter(|id| id.stage == at.stage).collect();
    let is = |id: &&&CheckpointId| id.step == at.step && at.revision.is_none_or(|r| r == id.revision);
    if let Some(id) = of.iter().rfind(is) {
        return Ok((*id).clone());
    }
    let (run, Point { stage, step, .. }) = (parent.dir().display(), at);
    let steps: Vec<String> = of.iter().map(|id| id.step.to_string()).collect();
    Err(TrainError::Input(if steps.is_empty() {
        format!("{run} has no checkpoint of {stage}; danlu runs lists what there is")
    } else {
        format!("{run} has no checkpoint {stage}-{step}; of {stage} there are the steps {}", steps.join(", "))
    }))
}

fn loaded(parent: &RunView, id: &CheckpointId) -> Result<(Checkpoint, State), TrainError> {
    let checkpoint = parent.checkpoints().verify(id)?;
    let state = read_state(&checkpoint)?;
    Ok((checkpoint, state))
}

/// The checkpoints of the run that one descends from: parents and reward models.
fn ancestors(parent: &RunView, state: &State) -> Result<Vec<Checkpoint>, TrainError> {
    let checkpoints = parent.checkpoints();
    let (mut found, mut open): (Vec<Checkpoint>, Vec<State>) = (Vec::new(), vec![state.clone()]);
    while let Some(state) = open.pop() {
        let reward = state.reward_model.as_ref().map(|(name, _)| name);
        for name in [state.parent.as_ref(), reward].into_iter().flatten() {
            // A folder outside the run, or a checkpoint that was removed since.
            let Some(id) = checkpoints.named(name)? else { continue };
            if found.iter().all(|other| other.id != id) {
                let (checkpoint, state) = loaded(parent, &id)?;
                found.push(checkpoint);
                open.push(state);
            }
        }
    }
    Ok(found)
}

/// The fork's run.toml: the parent's, its comments included, with the changes, and the place of its data.
fn configured(parent: &RunView, sets: &[(String, String)], stage: StageId) -> Result<String, TrainError> {
    let text = parent.config()?;
    let before = RunConfig::parse(&text, &[], stage)?;
    let after = RunConfig::parse_for(&text, sets, stage, |config| {
        if config.size != "auto" {
            config.model()?;
            config.plan(stage)?;
        }
        Ok(())
    })?;
    if after.seed != before.seed {
        return Err(TrainError::Input(format!(
            "--set seed={}: a fork continues a checkpoint that was trained with seed {}; leave it out, or start a new run",
            after.seed, before.seed
        )));
    }
    // A size that is not settled yet has no shape, and no checkpoint either.
    if let (Ok(ours), Ok(theirs)) = (after.model(), before.model()) {
        let same =
            crate::nn::ModelConfig { dropout: theirs.dropout, initializer_range: theirs.initializer_range, ..ours }
                == theirs;
        if !same {
            return Err(TrainError::Input(
                "--set changes the shape of the model, which its checkpoints have already; start a new run instead"
                    .to_owned(),
            ));
        }
    }
    let full = |key: &String| {
        let known = key.contains('.') || RunConfig::is_top_level(key);
        if known { key.clone() } else { format!("{stage}.{key}") }
    };
    let mut pairs: Vec<(String, String)> = sets.iter().map(|(key, value)| (full(key), value.clone())).collect();
    if after.names_relative_paths() {
        pairs.push(("root".to_owned(), format!("{:?}", root(parent, &before).display().to_string())));
    }
    Ok(toml_patch::keys(&text, &pairs)?)
}

/// The folder that the parent's relative paths start from, as its sibling names it.
fn root(parent: &RunView, config: &RunConfig) -> PathBuf {
    match config.root.as_ref().map(PathBuf::from) {
        None => Path::new("..").join(parent.name()),
        Some(above) if above.is_absolute() || above.starts_with("..") => above,
        Some(inside) => Path::new("..").join(parent.name()).join(inside),
    }
}

/// What of the parent's logs belongs to a fork's past: of every stage it descends from the steps up to its checkpoint.
struct Past(BTreeMap<StageId, u64>);

impl Past {
    fn new(id: &CheckpointId, ancestors: &[Checkpoint]) -> Past {
        let ids = ancestors.iter().map(|checkpoint| &checkpoint.id).chain([id]);
        let mut past = BTreeMap::new();
        for id in ids {
            if let Some(stage) = StageId::ALL.into_iter().find(|stage| id.stage == *stage) {
                let step = past.entry(stage).or_insert(id.step);
                *step = id.step.max(*step);
            }
        }
        Past(past)
    }

    /// The last step of the stage that a line names.
    fn end(&self, line: &Value) -> Option<u64> {
        let stage: StageId = line.get("stage")?.as_str()?.parse().ok()?;
        self.0.get(&stage).copied()
    }

    fn copy_logs(&self, parent: &RunView, run: &Run, late: bool) -> Result<(), TrainError> {
        let up_to = |key: &'static str, before: bool| {
            move |line: &Value| {
                let step = line.get(key).and_then(Value::as_u64)?;
                let end = self.end(line)?;
                (step < end || (step == end && !before)).then_some(())
            }
        };
        copy(parent, &parent.metrics_path(), || run.metrics(), up_to("step", false))?;
        copy(parent, &parent.events_path(), || run.events(), up_to("step", false))?;
        // An edit applies from its step on, counted from 0.
        copy(parent, &parent.edits_path(), || run.edits(), up_to("step", true))?;
        copy(parent, &parent.rollbacks_path(), || run.rollbacks(), up_to("spike", false))?;
        copy(parent, &parent.report_dir().join("answers.jsonl"), || run.answers(), up_to("step", false))?;
        if late {
            copy(parent, &parent.preferences_path(), || run.preferences(), |_| Some(()))?;
        }
        Ok(())
    }
}

/// Copies the lines of a log that `belongs` accepts. A log without any is not created.
fn copy(
    parent: &RunView,
    from: &Path,
    to: impl Fn() -> Result<Log, StoreError>,
    belongs: impl Fn(&Value) -> Option<()>,
) -> Result<(), StoreError> {
    let mut log: Option<Log> = None;
    let mut failed = Ok(());
    each_record(&**parent.disk(), from, |line| {
        if failed.is_err() || belongs(line).is_none() {
            return;
        }
        failed = match &mut log {
            Some(log) => log.append(line),
            None => to().and_then(|new| log.insert(new).append(line)),
        };
    })?;
    failed?;
    log.map_or(Ok(()), |mut log| log.sync().map(drop))
}
