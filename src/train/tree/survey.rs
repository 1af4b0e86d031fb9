//! Reads every run of a folder: checkpoints, figures, probes, and what names what.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    base::{StageId, StageName},
    data::TurnText,
    protocol::{TreeCheckpoint, TreeCurve, TreeProbe, TreeRun, fork_parents},
    store::{Checkpoint, CheckpointId, Fs, RunView, holder, last_used, own_bytes, runs_in},
    train::{
        config::{RunConfig, written},
        error::TrainError,
        run::{
            best::{Figures, figure_of},
            checkpoint::{State, read_state},
            lineage, pins,
        },
    },
};

/// The runs of a folder.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The runs by name. What of a run cannot be read is an entry in its `errors`.
    pub runs: Vec<TreeRun>,
    /// Why folders in it cannot be read, which may be runs.
    pub unread: Vec<String>,
}

/// Reads the runs in the folder `runs`; a missing folder has none.
///
/// # Errors
/// If `runs` is no folder or cannot be listed.
pub fn survey(disk: &Arc<dyn Fs>, runs: &Path) -> Result<Survey, TrainError> {
    let (dirs, unread) = runs_in(&**disk, runs)?;
    let mut survey = Survey { unread: unread.iter().map(ToString::to_string).collect(), ..Survey::default() };
    for dir in dirs {
        match RunView::open(Arc::clone(disk), &dir) {
            Ok(view) => survey.runs.push(survey_run(&view)),
            Err(e) => survey.unread.push(e.to_string()),
        }
    }
    let all = &mut survey.runs;
    let parents = fork_parents(all);
    note_changes(all, &parents, disk);
    note_forks(all, &parents);
    Ok(survey)
}

/// One run by itself: forks of it and changes against its parent are unknown.
pub fn survey_run(view: &RunView) -> TreeRun {
    let disk = &**view.disk();
    let mut run = TreeRun {
        run: view.name(),
        path: view.dir().to_owned(),
        size: String::new(),
        seed: 0,
        engine: String::new(),
        used: last_used(disk, view.dir()).map_or(0.0, unix),
        used_by: holder(disk, view.dir()),
        fork: None,
        changed: Vec::new(),
        bytes: 0,
        checkpoints: Vec::new(),
        probes: Vec::new(),
        curves: Vec::new(),
        errors: Vec::new(),
    };
    match own_bytes(disk, view.dir()) {
        Ok(bytes) => run.bytes = bytes,
        Err(e) => run.errors.push(e.to_string()),
    }
    match config(view) {
        Ok(config) => {
            (run.size, run.seed) = (config.size.clone(), config.seed);
            run.changed = chosen(&config);
        }
        Err(e) => run.errors.push(e.to_string()),
    }
    match lineage::fork_point(view) {
        Ok(fork) => run.fork = fork,
        Err(e) => run.errors.push(e.to_string()),
    }
    let figures = Figures::of_all(view).unwrap_or_else(|e| {
        run.errors.push(e.to_string());
        BTreeMap::new()
    });
    for (stage, figures) in &figures {
        let (metric, _) = figure_of(*stage);
        run.curves.push(TreeCurve { stage: (*stage).into(), metric, points: figures.all().collect() });
        run.probes.extend(figures.probes().map(|asked| TreeProbe {
            stage: (*stage).into(),
            step: asked.step,
            prompt: asked.prompt.clone(),
            text: asked.text.clone(),
            matched: asked.matched,
            length: asked.length,
        }));
    }
    match checkpoints(view, &figures, &run) {
        Ok((checkpoints, engine)) => (run.checkpoints, run.engine) = (checkpoints, engine),
        Err(e) => run.errors.push(e.to_string()),
    }
    run
}

/// A run's configuration. A size that is not settled yet has the defaults of the smallest.
pub(in crate::train) fn config(view: &RunView) -> Result<RunConfig, TrainError> {
    let text = view.config()?;
    let config = RunConfig::parse(&text, &[], StageId::default())?;
    if config.size != "auto" {
        return Ok(config);
    }
    Ok(RunConfig::parse(&text, &[("size".to_owned(), "\"1m\"".to_owned())], StageId::default())?)
}

/// A key of run.toml with its value.
pub(super) struct Setting {
    pub key: String,
    pub value: Option<String>,
    /// Whether run.toml has another value than the default.
    pub set: bool,
}

impl Setting {
    fn words(&self) -> String {
        format!("{} = {}", self.key, self.value.as_deref().unwrap_or("–"))
    }
}

/// What the user chose: neither the size, which every run has, nor what a new run gets.
fn chosen(config: &RunConfig) -> Vec<String> {
    let mut new = RunConfig { size: config.size.clone(), turns: Some(TurnText::AsWritten), ..RunConfig::default() };
    new.begin();
    let given: BTreeSet<(String, Option<String>)> =
        settings(&new).into_iter().filter(|s| s.set).map(|s| (s.key, s.value)).collect();
    let all = settings(config).into_iter().filter(|s| s.set && s.key != "size");
    all.filter(|s| !given.contains(&(s.key.clone(), s.value.clone()))).map(|s| s.words()).collect()
}

/// All keys of a configuration, without the place of its data.
pub(super) fn settings(config: &RunConfig) -> Vec<Setting> {
    let entries = config.entries().unwrap_or_default();
    let all = entries.into_iter().filter(|entry| entry.path() != "root");
    all.map(|entry| Setting { key: entry.path(), value: entry.value().map(written), set: entry.set.is_some() })
        .collect()
}

/// The settings of a run that differ from another's: key, here, there.
pub(super) fn differing(ours: &RunConfig, theirs: &RunConfig) -> Vec<(String, Option<String>, Option<String>)> {
    let theirs: BTreeMap<String, Option<String>> = settings(theirs).into_iter().map(|s| (s.key, s.value)).collect();
    let ours = settings(ours).into_iter();
    let pairs = ours.map(|s| {
        let there = theirs.get(&s.key).cloned().flatten();
        (s.key, s.value, there)
    });
    pairs.filter(|(_, here, there)| here != there).collect()
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The checkpoints by stage and step, and the engine of the newest.
fn checkpoints(
    view: &RunView,
    figures: &BTreeMap<StageId, Figures>,
    run: &TreeRun,
) -> Result<(Vec<TreeCheckpoint>, String), TrainError> {
    let there = view.checkpoints();
    let ids = there.list()?;
    let pinned = pins::read(view)?;
    let best: Vec<&CheckpointId> = figures.values().filter_map(|of| of.best(&ids)).collect();
    let (mut all, mut engine) = (Vec::with_capacity(ids.len()), (0, String::new()));
    for id in &ids {
        let newest = !ids.iter().any(|other| other.stage == id.stage && other > id);
        let known = StageId::ALL.into_iter().find(|stage| id.stage == *stage);
        let metric = known.map_or("", |stage| figure_of(stage).0);
        let figure = known.and_then(|stage| figures.get(&stage)?.at(id.step));
        let mut line = TreeCheckpoint {
            run: run.run.clone(),
            checkpoint: id.to_string(),
            stage: id.stage.clone(),
            step: id.step,
            best: best.contains(&id),
            newest,
            pinned: pinned.contains(id),
            parent: None,
            reward_model: None,
            metric,
            figure,
            eval_loss: figure.filter(|_| metric == "eval_loss"),
            needed_by: Vec::new(),
            engine: String::new(),
            bytes: 0,
            path: there.path(id),
            digest: String::new(),
            fork: run.fork.clone(),
            changed: run.changed.clone(),
            error: None,
        };
        match there.look(id).and_then(|checkpoint| Ok((read_state(&checkpoint)?, checkpoint))) {
            Ok((state, checkpoint)) => {
                engine = engine.max((checkpoint.serial, state.engine.clone()));
                fill(&mut line, state, &checkpoint);
            }
            Err(e) => line.error = Some(e.to_string()),
        }
        all.push(line);
    }
    note_stages(&mut all);
    Ok((all, engine.1))
}

fn fill(line: &mut TreeCheckpoint, state: State, checkpoint: &Checkpoint) {
    line.parent = state.parent;
    line.engine = state.engine;
    line.reward_model = state.reward_model.map(|(name, _)| name);
    line.bytes = checkpoint.files.values().map(|file| file.bytes).sum();
    line.digest.clone_from(&checkpoint.digest);
}

/// Notes which stages of a run name a checkpoint.
fn note_stages(all: &mut [TreeCheckpoint]) {
    let mut named: BTreeMap<String, Vec<StageName>> = BTreeMap::new();
    for line in all.iter() {
        for name in [&line.parent, &line.reward_model].into_iter().flatten() {
            let by = named.entry(name.clone()).or_default();
            if !by.contains(&line.stage) {
                by.push(line.stage.clone());
            }
        }
    }
    for line in all {
        line.needed_by = named.remove(&line.checkpoint).unwrap_or_default().iter().map(ToString::to_string).collect();
    }
}

/// Notes which runs were forked from a checkpoint.
fn note_forks(runs: &mut [TreeRun], parents: &[Option<usize>]) {
    for (at, parent) in parents.iter().enumerate() {
        let (Some(parent), Some(fork)) = (*parent, runs[at].fork.clone()) else { continue };
        let name = runs[at].run.clone();
        for line in runs[parent].checkpoints.iter_mut().filter(|line| line.digest == fork.digest) {
            line.needed_by.push(name.clone());
        }
    }
}

/// Describes a fork by what differs from its parent, if that still exists.
fn note_changes(runs: &mut [TreeRun], parents: &[Option<usize>], disk: &Arc<dyn Fs>) {
    let configs: Vec<Option<RunConfig>> = runs
        .iter()
        .map(|run| RunView::open(Arc::clone(disk), &run.path).ok().and_then(|view| config(&view).ok()))
        .collect();
    for ((run, parent), ours) in runs.iter_mut().zip(parents).zip(&configs) {
        let Some((theirs, ours)) = parent.and_then(|at| configs[at].as_ref()).zip(ours.as_ref()) else { continue };
        let words = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let changed = differing(ours, theirs).into_iter();
        run.changed = changed.map(|(key, here, there)| format!("{key} {} → {}", words(there), words(here))).collect();
        for line in &mut run.checkpoints {
            line.changed.clone_from(&run.changed);
        }
    }
}
