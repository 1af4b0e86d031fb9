//! The command line options that concern a stage.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use super::{run_config::RunConfig, start::Start, table::Value as _};
use crate::{
    base::StageId,
    compute::Precision,
    protocol::{Monitor, Progress},
};

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
    /// Whether the stage waits for its user once it is open, because it waited when it was left.
    pub waits: bool,
    /// Set by a signal: cancels the preparation before the first step.
    pub stop: Arc<AtomicBool>,
    /// Set by the user: gives up a stage that is being opened, for the one before it.
    pub back: Arc<AtomicBool>,
    /// Where the preparation reports its progress.
    pub progress: Progress,
}

impl Setup {
    /// What the preparation of a stage reports to, and what ends it before the first step.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(vec![Arc::clone(&self.stop), Arc::clone(&self.back)], self.progress.clone())
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
        Setup { stage, sets, from: None, steps: None, alone: false, waits: false, ..self.clone() }
    }
}
