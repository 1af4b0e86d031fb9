//! A fork: a new run that begins with a checkpoint of another one.
//!
//! It has its parent's run.toml with the changes asked for, the checkpoint and those it descends from, the tokenizer,
//! the prepared data, and the logs up to its step. Its sources are the parent's, by reference: relative paths start from
//! the parent's folder, which `root` in its run.toml names. The fork appears whole or not at all; the parent is only read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use serde_json::Value;

use crate::{
    base::{StageId, StageKind},
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

/// A fork that was made.
#[derive(Clone, Debug)]
pub struct Forked {
    /// Its folder.
    pub dir: PathBuf,
    /// What it lacks, a sentence each: checkpoints of its parent that cannot be read and that its stage does not need.
    pub notes: Vec<String>,
}

/// Makes a fork beside its parent.
///
/// # Errors
/// If there is no such checkpoint, a setting or the name cannot be used, or a file cannot be read or written. Then
/// nothing is left of the fork.
pub fn fork(parent: &RunView, order: &Forking) -> Result<Forked, TrainError> {
    let disk = Arc::clone(parent.disk());
    let id = find(parent, &order.at)?;
    let (checkpoint, state) = loaded(parent, &id)?;
    let text = configured(parent, &order.sets, order.at.stage)?;
    let mut notes = Vec::new();
    let ancestors = ancestors(parent, &state, &mut notes)?;
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
    Ok(Forked { dir: draft.publish()?, notes })
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
    let (run, stage) = (parent.dir().display(), at.stage);
    let saves: Vec<String> = of.iter().map(|id| save(id.step, Some(id.revision).filter(|r| *r > 0))).collect();
    Err(TrainError::Input(if saves.is_empty() {
        format!("{run} has no checkpoint of {stage}; danlu runs lists what there is")
    } else {
        let asked = save(at.step, at.revision);
        format!("{run} has no checkpoint {stage}-{asked}; of {stage} there are the steps {}", saves.join(", "))
    }))
}

/// A step, and which of its saves, as `--at` names them: `6-r1`.
fn save(step: u64, revision: Option<u32>) -> String {
    revision.map_or_else(|| step.to_string(), |revision| format!("{step}-r{revision}"))
}

fn loaded(parent: &RunView, id: &CheckpointId) -> Result<(Checkpoint, State), TrainError> {
    let checkpoint = parent.checkpoints().verify(id)?;
    let state = read_state(&checkpoint)?;
    Ok((checkpoint, state))
}

/// The checkpoints of the run that one descends from: parents and reward models. One that cannot be read is left out
/// and noted, unless the fork's own stage continues from it.
fn ancestors(parent: &RunView, state: &State, notes: &mut Vec<String>) -> Result<Vec<Checkpoint>, TrainError> {
    let checkpoints = parent.checkpoints();
    let (mut found, mut open): (Vec<Checkpoint>, Vec<State>) = (Vec::new(), vec![state.clone()]);
    let mut own = true;
    while let Some(state) = open.pop() {
        let reward = state.reward_model.as_ref().map(|(name, _)| name);
        // A reward model and a policy read their parent again, as their base and as their reference.
        let reads = state.stage.kind() != StageKind::Answers;
        for (name, needed) in [(state.parent.as_ref(), own && reads), (reward, own)] {
            // A folder outside the run, or a checkpoint that was removed since.
            let Some(id) = name.map_or(Ok(None), |name| checkpoints.named(name))? else { continue };
            if found.iter().any(|other| other.id == id) {
                continue;
            }
            match loaded(parent, &id) {
                Ok((checkpoint, state)) => {
                    found.push(checkpoint);
                    open.push(state);
                }
                Err(e) if !needed => notes.push(format!("the fork has no {id}, which cannot be read: {e}")),
                Err(e) => return Err(e),
            }
        }
        own = false;
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
    let full = |key: &String| {
        let known = key.contains('.') || RunConfig::is_top_level(key);
        if known { key.clone() } else { format!("{stage}.{key}") }
    };
    for pair in sets {
        let changed = RunConfig::parse(&text, std::slice::from_ref(pair), stage).is_ok_and(|one| one != before);
        if let Some(why) = settled(&full(&pair.0), stage, before.seed).filter(|_| changed) {
            let option = match pair.0.as_str() {
                "seed" => format!("--seed {}", pair.1),
                key => format!("--set {key}={}", pair.1),
            };
            return Err(TrainError::Input(format!("{option}: {why}; leave it out, or start a new run")));
        }
    }
    if !after.has_shape_of(&before) {
        return Err(TrainError::Input(
            "--set changes the shape of the model, which its checkpoints have already; start a new run instead"
                .to_owned(),
        ));
    }
    let mut pairs: Vec<(String, String)> = sets.iter().map(|(key, value)| (full(key), value.clone())).collect();
    if after.names_relative_paths() && after.root == before.root {
        pairs.push(("root".to_owned(), toml::Value::String(root(parent, &before)?).to_string()));
    }
    Ok(toml_patch::keys(&text, &pairs)?)
}

/// Why a key has no effect on what a fork at `stage` trains, if so: what it sets is done at the checkpoint.
fn settled(key: &str, stage: StageId, seed: u64) -> Option<String> {
    let of_line =
        |name: &str| std::iter::successors(Some(stage), |of| of.parent()).find(|of: &StageId| of.name() == name);
    match key.split_once('.') {
        None if key == "seed" => Some(format!("a fork continues a checkpoint that was trained with seed {seed}")),
        None if key == "tokenizer" => Some("a fork has the tokenizer of its checkpoint".to_owned()),
        Some(("model", "initializer_range")) => Some("a fork has the weights of its checkpoint".to_owned()),
        Some((table, "start")) => {
            of_line(table).map(|of| format!("{of} began before the checkpoint that the fork begins with"))
        }
        // Later stages may be trained again, and read settings of fine-tuning and of the reward model.
        Some((table, _)) if stage.parent().is_some() && table == StageId::Pretrain.name() => {
            Some(format!("a fork at {stage} begins after {table}"))
        }
        _ => None,
    }
}

/// The folder that the parent's relative paths start from, as an absolute path: the fork may be moved.
fn root(parent: &RunView, config: &RunConfig) -> Result<String, TrainError> {
    let there = config.root(parent.dir());
    let whole = there.canonicalize().or_else(|_| std::path::absolute(&there)).unwrap_or(there);
    whole.into_os_string().into_string().map_err(|path| {
        TrainError::Input(format!(
            "{} is not UTF-8, so that run.toml cannot name it; rename that folder first",
            path.display()
        ))
    })
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
