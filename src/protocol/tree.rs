//! The runs of a folder with their checkpoints, as `danlu runs` prints and the screen draws them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::StageName;

/// The checkpoint that a run was forked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkPoint {
    /// The parent run's name when it was forked.
    pub run: String,
    /// The checkpoint there.
    pub checkpoint: String,
    /// The digest of that checkpoint.
    pub digest: String,
}

/// A checkpoint: a line of `danlu runs --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TreeCheckpoint {
    /// Its run.
    pub run: String,
    /// Its name.
    pub checkpoint: String,
    /// The stage.
    pub stage: StageName,
    /// Steps in it.
    pub step: u64,
    /// Whether it has the best held-out figure of its stage.
    pub best: bool,
    /// Whether it is the newest of its stage.
    pub newest: bool,
    /// Whether the user keeps it.
    pub pinned: bool,
    /// The checkpoint that its stage started from.
    pub parent: Option<String>,
    /// The reward model's checkpoint that its stage learns from.
    pub reward_model: Option<String>,
    /// The name of its stage's held-out figure.
    pub metric: &'static str,
    /// That figure, if it was saved at a step with an evaluation.
    pub figure: Option<f64>,
    /// The same where the figure is a loss.
    pub eval_loss: Option<f64>,
    /// What names it: later stages of its run, forks.
    pub needed_by: Vec<String>,
    /// What trained it: `cpu`, `wgpu`, or the trainer that a stage was handed over to.
    pub engine: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its folder.
    pub path: PathBuf,
    /// The digest that others name it by.
    pub digest: String,
    /// Where its run was forked from.
    pub fork: Option<ForkPoint>,
    /// What differs in run.toml from the parent run, or from the defaults.
    pub changed: Vec<String>,
    /// Why it cannot be read.
    pub error: Option<String>,
}

impl TreeCheckpoint {
    /// Why it is not removed, if something keeps it.
    pub fn kept(&self) -> Option<String> {
        let name = &self.checkpoint;
        if !self.needed_by.is_empty() {
            let by = self.needed_by.join(", ");
            return Some(format!("{name} is not removed: {by} began from it or learns from it"));
        }
        self.pinned.then(|| format!("{name} is not removed: it is pinned; unpin it first"))
    }
}

/// The newest completion of a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TreeProbe {
    /// The stage that completed it.
    pub stage: StageName,
    /// After this step.
    pub step: u64,
    /// The prompt.
    pub prompt: String,
    /// The continuation.
    pub text: String,
    /// Leading characters that are right.
    #[serde(rename = "match")]
    pub matched: usize,
    /// Characters expected.
    pub length: usize,
}

/// The held-out figures of a stage by step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TreeCurve {
    /// The stage.
    pub stage: StageName,
    /// The figure's name.
    pub metric: &'static str,
    /// Steps and figures.
    pub points: Vec<(u64, f64)>,
}

/// The training loss of a stage: the answer to [`Command::ShowTrained`](super::Command::ShowTrained).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainedCurve {
    /// The stage.
    pub stage: StageName,
    /// Steps that a point stands for.
    pub every: u64,
    /// The step in the middle of each so many, and the mean loss there.
    pub points: Vec<(u64, f64)>,
}

/// The training losses of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainedRun {
    /// Its folder.
    pub path: PathBuf,
    /// By stage.
    pub curves: Vec<TrainedCurve>,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TreeRun {
    /// Its name.
    pub run: String,
    /// Its folder.
    pub path: PathBuf,
    /// The model's size.
    pub size: String,
    /// The seed.
    pub seed: u64,
    /// The engine of its newest checkpoint.
    pub engine: String,
    /// Unix seconds of its last change.
    pub used: f64,
    /// The process that uses it.
    pub used_by: Option<u32>,
    /// Where it was forked from.
    pub fork: Option<ForkPoint>,
    /// What differs in run.toml from the parent run, or from the defaults.
    pub changed: Vec<String>,
    /// Bytes of its folder that its removal frees.
    pub bytes: u64,
    /// Its checkpoints by stage and step.
    pub checkpoints: Vec<TreeCheckpoint>,
    /// The newest completion of every probe.
    pub probes: Vec<TreeProbe>,
    /// The held-out figures of its stages.
    pub curves: Vec<TreeCurve>,
    /// What of it cannot be read.
    pub errors: Vec<String>,
}

/// For each run the place in `all` of the run that it was forked from, if that is there: the one of that name with that
/// checkpoint, else one with that checkpoint (it was renamed), else the one of that name (the checkpoint was removed).
/// Runs that were trained alike have the same checkpoints.
pub fn fork_parents(all: &[TreeRun]) -> Vec<Option<usize>> {
    let parent = |(at, run): (usize, &TreeRun)| {
        let fork = run.fork.as_ref()?;
        let named = |other: &usize| all[*other].run == fork.run;
        let has = |other: &usize| all[*other].checkpoints.iter().any(|line| line.digest == fork.digest);
        let sibling = |other: &usize| all[*other].fork.as_ref().is_some_and(|of| of.run == fork.run);
        let others = || (0..all.len()).filter(|other| *other != at);
        others()
            .find(|other| named(other) && has(other))
            // Renamed: another fork of the same parent has its checkpoint as well, and is not the parent.
            .or_else(|| others().find(|other| has(other) && !sibling(other)))
            .or_else(|| others().find(has))
            .or_else(|| others().find(named))
    };
    let mut parents: Vec<Option<usize>> = all.iter().enumerate().map(parent).collect();
    // A run that was removed and whose name another one took may close a circle.
    for run in 0..all.len() {
        let mut line = std::iter::successors(parents[run], |at| parents[*at]).take(all.len());
        if line.any(|at| at == run) {
            parents[run] = None;
        }
    }
    parents
}

/// Why the run at a place in `all` is not removed, if forks of it are there.
pub fn run_kept(all: &[TreeRun], at: usize) -> Option<String> {
    let parents = fork_parents(all);
    let forks: Vec<&str> =
        all.iter().zip(parents).filter(|(_, parent)| *parent == Some(at)).map(|(run, _)| run.run.as_str()).collect();
    let (path, by) = (all.get(at)?.path.display(), forks.join(", "));
    (!forks.is_empty()).then(|| format!("{path} is not removed: {by} was forked from it; remove that first"))
}

/// A setting that differs between runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Differing {
    /// Its key in run.toml.
    pub key: String,
    /// Its value in each run; none where there is none.
    pub values: Vec<Option<String>>,
}

/// The held-out figures of a stage at one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SameStep {
    /// The stage.
    pub stage: StageName,
    /// The figure's name.
    pub metric: &'static str,
    /// The step.
    pub step: u64,
    /// The figure of each run.
    pub values: Vec<Option<f64>>,
}

/// The best held-out figure of a stage in each run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestOf {
    /// The stage.
    pub stage: StageName,
    /// The figure's name.
    pub metric: &'static str,
    /// Step and figure of each run.
    pub values: Vec<Option<(u64, f64)>>,
}

/// The same probe in each run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SameProbe {
    /// The prompt.
    pub prompt: String,
    /// The newest completion in each run.
    pub values: Vec<Option<TreeProbe>>,
}

/// Up to four runs side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Their names.
    pub runs: Vec<String>,
    /// Settings that differ.
    pub settings: Vec<Differing>,
    /// Figures at steps that at least two of them have.
    pub figures: Vec<SameStep>,
    /// Their best figures.
    pub best: Vec<BestOf>,
    /// Their probes.
    pub probes: Vec<SameProbe>,
}

/// What is in the weights of a checkpoint, from their headers: the answer to
/// [`Command::Inspect`](super::Command::Inspect).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The folder.
    pub path: PathBuf,
    /// The outline of the tensors.
    pub rows: Vec<InspectedRow>,
    /// The number of tensors.
    pub tensors: u64,
    /// Their elements.
    pub parameters: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Other files of tensors: name, number of tensors, bytes.
    pub others: Vec<(String, u64, u64)>,
}

/// A row of the outline: a tensor, or a part of the names of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InspectedRow {
    /// How deep it is, from 0.
    pub depth: usize,
    /// The part of the name, `0–11 (12×)` for layers that are alike.
    pub name: String,
    /// Dimensions and element type of a tensor; empty for what only has parts.
    pub what: String,
    /// Elements of it and of all below it.
    pub elements: u64,
    /// Their bytes.
    pub bytes: u64,
}
