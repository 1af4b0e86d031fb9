//! The runs as a tree: rows, cursor, and the runs that are compared.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    base::StageName,
    protocol::{Comparison, Inspection, TrainedRun, TreeCheckpoint, TreeRun, fork_parents},
    ui::{editor::Editor, series::Series},
};

/// Most runs that are compared at a time.
pub const MOST: usize = 4;

/// A row of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The run, an index into [`Tree::runs`].
    pub run: usize,
    /// How deep it is: 0, or one more than the run it was forked from.
    pub depth: usize,
    /// The stage whose checkpoints it has; none for the run itself.
    pub stage: Option<StageName>,
}

/// What a typed line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The new name of a run.
    Rename(PathBuf),
    /// The settings of a fork of this checkpoint of a run.
    Fork(PathBuf, String),
}

/// Steps after which a moving average has forgotten what was before, to a fourth part.
const FORGOTTEN: u64 = 64;

/// A run that is laid over the charts.
#[derive(Clone, Copy, Debug)]
pub struct Overlaid<'t> {
    /// Its place in the comparison.
    pub number: usize,
    /// The run.
    pub run: &'t TreeRun,
    /// Its held-out curve.
    pub held_out: Option<&'t Series>,
    /// Its training loss.
    pub trained: Option<&'t Series>,
}

/// The tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Whether it is in view.
    pub open: bool,
    /// The runs; none before the trainer's answer.
    pub runs: Option<Vec<TreeRun>>,
    /// Why folders beside the runs cannot be read.
    pub unread: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// The chosen row, and the checkpoint in it.
    pub row: usize,
    /// See `row`.
    pub place: usize,
    /// The folders of the runs that are compared.
    pub picked: Vec<PathBuf>,
    /// Their comparison.
    pub comparison: Option<Comparison>,
    /// The held-out curves by run and stage.
    curves: BTreeMap<(PathBuf, String), Series>,
    /// The training losses of the picked runs by run and stage.
    trained: BTreeMap<(PathBuf, String), Series>,
    /// Whether the tensors of the chosen checkpoint are shown.
    pub inspecting: bool,
    /// The newest tensors that came, and rows scrolled in them.
    pub inspected: Option<Inspection>,
    /// See `inspected`.
    pub inspected_from: usize,
    /// The typed line, while one is asked for.
    pub naming: Option<(Naming, Editor)>,
    /// A run to open once this one is closed.
    pub next: Option<PathBuf>,
}

impl Tree {
    /// Takes in the runs; the cursor stays on its checkpoint, or goes to the newest one of the run `here`.
    pub fn set(&mut self, runs: Vec<TreeRun>, here: Option<&PathBuf>) {
        let held = self.checkpoint().map(|c| (c.run.clone(), c.checkpoint.clone()));
        let held_run = self.run().map(|run| run.run.clone());
        let first = self.runs.is_none();
        self.curves = runs
            .iter()
            .flat_map(|run| run.curves.iter().map(move |curve| (run, curve)))
            .map(|(run, curve)| {
                let mut series = Series::default();
                curve.points.iter().for_each(|(step, figure)| series.push(*step as usize, *figure));
                ((run.path.clone(), curve.stage.to_string()), series)
            })
            .collect();
        self.rows = rows(&runs);
        self.picked.retain(|path| runs.iter().any(|run| run.path == *path));
        self.runs = Some(runs);
        (self.row, self.place) = (self.row.min(self.rows.len().saturating_sub(1)), self.place);
        let found = (0..self.rows.len()).find_map(|row| {
            let checkpoints = self.checkpoints(row);
            if let Some((run, name)) = &held {
                let at = checkpoints.iter().position(|c| c.run == *run && c.checkpoint == *name)?;
                Some((row, at))
            } else {
                let run = &self.runs.as_ref()?[self.rows[row].run];
                let of = if first { Some(&run.path) == here } else { Some(&run.run) == held_run.as_ref() };
                (of && self.rows[row].stage.is_none()).then_some((row, 0))
            }
        });
        if let Some((row, place)) = found {
            (self.row, self.place) = (row, place);
        }
        self.hold();
    }

    /// Renames a run, so that the cursor stays on it when the list comes again.
    pub fn rename(&mut self, path: &Path, name: &str) {
        for run in self.runs.iter_mut().flatten().filter(|run| run.path == path) {
            name.clone_into(&mut run.run);
            run.path = path.with_file_name(name);
            run.checkpoints.iter_mut().for_each(|c| name.clone_into(&mut c.run));
        }
    }

    /// The run of the chosen row.
    pub fn run(&self) -> Option<&TreeRun> {
        self.runs.as_ref()?.get(self.rows.get(self.row)?.run)
    }

    /// The checkpoints of a row, oldest first.
    pub fn checkpoints(&self, row: usize) -> Vec<&TreeCheckpoint> {
        let (Some(runs), Some(row)) = (&self.runs, self.rows.get(row)) else { return Vec::new() };
        let Some(stage) = &row.stage else { return Vec::new() };
        runs[row.run].checkpoints.iter().filter(|c| c.stage == *stage).collect()
    }

    /// The chosen checkpoint.
    pub fn checkpoint(&self) -> Option<&TreeCheckpoint> {
        self.checkpoints(self.row).get(self.place).copied()
    }

    /// The held-out curve of a stage of a run.
    pub fn curve(&self, run: &Path, stage: &StageName) -> Option<&Series> {
        self.curves.get(&(run.to_owned(), stage.to_string()))
    }

    /// Takes in training losses; those of runs that are no longer picked are forgotten.
    pub fn set_trained(&mut self, runs: &[TrainedRun]) {
        self.trained.retain(|(path, _), _| self.picked.contains(path));
        for run in runs.iter().filter(|run| self.picked.contains(&run.path)) {
            for curve in &run.curves {
                let mut series = Series::default();
                for (step, loss) in &curve.points {
                    // The moving average counts steps; beyond so many it has forgotten all before.
                    (0..curve.every.clamp(1, FORGOTTEN)).for_each(|_| series.push(*step as usize, *loss));
                }
                self.trained.insert((run.path.clone(), curve.stage.to_string()), series);
            }
        }
    }

    /// The other runs that are compared, with their curves of a stage, as far as they have any: the training loss, and
    /// the held-out curve if it is of this metric.
    pub fn overlaid<'t>(
        &'t self,
        stage: &'t StageName,
        metric: &'t str,
        here: Option<&'t PathBuf>,
    ) -> impl Iterator<Item = Overlaid<'t>> {
        let runs = self.runs.iter().flatten();
        let others = self.picked.iter().enumerate().filter(move |(_, path)| Some(*path) != here);
        others.filter_map(move |(number, path)| {
            let run = runs.clone().find(|run| run.path == *path)?;
            let is_of = run.curves.iter().any(|c| c.stage == *stage && c.metric == metric);
            let held_out = self.curve(path, stage).filter(|_| is_of);
            let trained = self.trained.get(&(path.clone(), stage.to_string()));
            (held_out.is_some() || trained.is_some()).then_some(Overlaid { number, run, held_out, trained })
        })
    }

    /// The stage whose curves are drawn: that of the chosen row, or the furthest of its run.
    pub fn stage(&self) -> Option<StageName> {
        let of_row = self.rows.get(self.row).and_then(|row| row.stage.clone());
        of_row.or_else(|| self.run()?.curves.last().map(|curve| curve.stage.clone()))
    }

    /// Moves the cursor up or down by rows.
    pub fn move_row(&mut self, to: usize) {
        let step = self.checkpoint().map(|c| c.step);
        self.row = to.min(self.rows.len().saturating_sub(1));
        // To the checkpoint at about the same step.
        let there = self.checkpoints(self.row);
        self.place = match step {
            Some(step) => there.iter().rposition(|c| c.step <= step).unwrap_or(0),
            None => there.len().saturating_sub(1),
        };
        self.hold();
    }

    /// Moves the cursor to another checkpoint of its row.
    pub fn move_place(&mut self, on: bool) {
        self.place = if on { self.place + 1 } else { self.place.saturating_sub(1) };
        self.hold();
    }

    fn hold(&mut self) {
        self.place = self.place.min(self.checkpoints(self.row).len().saturating_sub(1));
    }

    /// Closes the typed line, or the tree; false if neither is open.
    pub fn back(&mut self) -> bool {
        self.naming.take().is_some() || std::mem::take(&mut self.inspecting) || std::mem::take(&mut self.open)
    }

    /// Adds the chosen run to the comparison, or takes it out; false if there are too many already.
    pub fn pick(&mut self) -> bool {
        let Some(path) = self.run().map(|run| run.path.clone()) else { return true };
        if let Some(at) = self.picked.iter().position(|other| *other == path) {
            self.picked.remove(at);
        } else if self.picked.len() < MOST {
            self.picked.push(path);
        } else {
            return false;
        }
        self.comparison = None;
        true
    }
}

/// The rows of all runs, each fork below the run it came from.
fn rows(runs: &[TreeRun]) -> Vec<Row> {
    let parents = fork_parents(runs);
    let mut all = Vec::new();
    let mut open: Vec<(usize, usize)> =
        (0..runs.len()).rev().filter(|at| parents[*at].is_none()).map(|at| (at, 0)).collect();
    let mut seen = vec![false; runs.len()];
    while let Some((run, depth)) = open.pop() {
        if std::mem::replace(&mut seen[run], true) {
            continue;
        }
        all.push(Row { run, depth, stage: None });
        let mut stages: Vec<StageName> = Vec::new();
        for checkpoint in &runs[run].checkpoints {
            if !stages.contains(&checkpoint.stage) {
                stages.push(checkpoint.stage.clone());
            }
        }
        all.extend(stages.into_iter().map(|stage| Row { run, depth, stage: Some(stage) }));
        open.extend((0..runs.len()).rev().filter(|at| parents[*at] == Some(run)).map(|at| (at, depth + 1)));
    }
    all
}
