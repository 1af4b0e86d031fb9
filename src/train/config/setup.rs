//! The command line options that concern a stage.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{run_config::RunConfig, start::Start, table::Value as _};
use crate::{base::StageId, compute::Precision};

/// Where the opening of a stage reports what takes long: items begun, and how many there are.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(usize, usize) + Send + Sync>>);

impl Progress {
    /// Reports to this function.
    pub fn to(report: impl Fn(usize, usize) + Send + Sync + 'static) -> Progress {
        Progress(Some(Arc::new(report)))
    }

    /// Reports.
    pub(crate) fn report(&self, begun: usize, of: usize) {
        if let Some(report) = &self.0 {
            report(begun, of);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(reported)" } else { "Progress(silent)" })
    }
}

/// The command line options that concern a stage.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The stage.
    pub stage: StageId,
    /// `--size`.
    pub size: Option<String>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--precision`.
    pub precision: Option<Precision>,
    /// `--set` pairs.
    pub sets: Vec<(String, String)>,
    /// `--from`: the folder with the weights and tokenizer for a stage without checkpoints.
    pub from: Option<PathBuf>,
    /// `--start`: the checkpoint of its parent that a stage without checkpoints begins from.
    pub start: Option<Start>,
    /// `--steps`: train up to this step, or this many more if the stage is already there.
    pub steps: Option<usize>,
    /// Whether no other stage follows in this launch.
    pub alone: bool,
    /// Whether the workbench is open: then a failed save pauses the stage, and its end waits.
    pub interactive: bool,
    /// Set by a signal: cancels the preparation before the first step.
    pub stop: Arc<AtomicBool>,
    /// Set by the user: gives up a stage that is being opened, for the one before it.
    pub back: Arc<AtomicBool>,
    /// Where the preparation reports its progress.
    pub progress: Progress,
}

impl Setup {
    /// Whether the preparation of a stage is to end before its first step.
    pub(crate) fn is_given_up(&self) -> bool {
        [&self.stop, &self.back].iter().any(|flag| flag.load(Ordering::Acquire))
    }

    /// All `--set` pairs, including options that are also keys of run.toml.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = self.sets.clone();
        pairs.extend(self.size.iter().map(|s| ("size".to_owned(), format!("{s:?}"))));
        pairs.extend(self.precision.iter().map(|p| ("precision".to_owned(), p.toml().to_string())));
        let begins = self.start.filter(|_| self.stage.parent().is_some());
        pairs.extend(begins.map(|start| (format!("{}.start", self.stage), start.toml().to_string())));
        pairs.extend(self.seed.iter().map(|s| ("seed".to_owned(), s.to_string())));
        pairs
    }

    /// The options for another stage of the same launch: those that concern a single stage are dropped, and short keys
    /// of `--set` keep the stage they were given for.
    #[must_use]
    pub fn for_stage(&self, stage: StageId) -> Setup {
        let full = |key: &String| {
            let known = key.contains('.') || RunConfig::is_top_level(key);
            if known { key.clone() } else { format!("{}.{key}", self.stage) }
        };
        let sets = self.sets.iter().map(|(key, value)| (full(key), value.clone())).collect();
        Setup { stage, sets, from: None, steps: None, alone: false, ..self.clone() }
    }
}
