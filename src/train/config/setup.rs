//! What the command line asks of a stage.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use super::run_config::RunConfig;
use crate::base::StageId;

/// What the command line asks of a stage.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The stage.
    pub stage: StageId,
    /// `--size`.
    pub size: Option<String>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--set` pairs.
    pub sets: Vec<(String, String)>,
    /// `--from`: the folder whose weights and tokenizer a stage without checkpoints starts from.
    pub from: Option<PathBuf>,
    /// `--steps`: up to this step, or as many more where the stage is already there.
    pub steps: Option<usize>,
    /// Whether no other stage follows in this launch.
    pub alone: bool,
    /// Whether the user watches: then a failed save pauses, and the end waits.
    pub interactive: bool,
    /// Set by a signal: what is prepared before the first step is given up.
    pub stop: Arc<AtomicBool>,
}

impl Setup {
    /// All pairs: those given, and the options that are keys of run.toml as well.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = self.sets.clone();
        pairs.extend(self.size.iter().map(|s| ("size".to_owned(), format!("{s:?}"))));
        pairs.extend(self.seed.iter().map(|s| ("seed".to_owned(), s.to_string())));
        pairs
    }

    /// The same for another stage of the same launch: what was asked of one stage alone is not
    /// asked of the next, and short keys of `--set` still mean the stage they were given for.
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
