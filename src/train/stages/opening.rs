//! Opening a stage: its inputs, and the steps that all stages share, such as loading the newest checkpoint or the
//! parent's.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::stage_run::StageRun;
use crate::{
    base::StageId,
    compute::Device,
    data::{History, Tokenizer},
    nn::{ModelConfig, ParamTable},
    store::{Checkpoint, Found, Run, StoreError},
    train::{
        config::{RunConfig, Start, plan::StagePlan, setup::Setup},
        error::TrainError,
        run::{
            checkpoint::{self, Slabs, State, chat_template},
            lineage, model_folder,
            rollbacks::Chain,
            tokenizer::keeps_tokenizer,
        },
    },
};

/// Limit on the length of a checkpoint's tokenizer.json.
const TOKENIZER_LIMIT: u64 = 64 << 20;

/// The inputs of opening a stage.
pub(crate) struct Opening<'a> {
    pub run: &'a Run,
    pub device: &'a mut Device,
    pub config: &'a RunConfig,
    pub setup: &'a Setup,
    pub stage: StageId,
    pub plan: &'a StagePlan,
    /// The run's model; the tokenizer sets its end-of-text and padding tokens.
    pub model: ModelConfig,
    pub notes: &'a mut Vec<String>,
}

/// An opened stage.
pub(crate) struct Opened {
    pub work: Box<dyn StageRun + Send>,
    pub tokenizer: Tokenizer,
    pub state: State,
}

/// The checkpoint or weights that a stage continues or starts from.
pub(crate) struct Resumed {
    pub state: State,
    /// Parameters, moments and control block of the stage's own newest checkpoint.
    pub slabs: Option<Slabs>,
    /// Without one, the parameters to start from.
    pub params: Vec<f32>,
}

/// A counting device and the stage to count on it.
pub(crate) struct Counting<'a> {
    pub device: &'a mut Device,
    pub stage: StageId,
    pub config: &'a RunConfig,
    pub model: &'a ModelConfig,
    pub plan: &'a StagePlan,
    /// Whether the run has a reward model.
    pub rewards: bool,
    /// Whether the answers of the run's own model, which form pairs, exist already.
    pub drawn: bool,
}

impl Opening<'_> {
    /// The tokenizer of the run's earlier stages; of a new run that begins from outside weights, theirs.
    pub(crate) fn known_tokenizer(&self) -> Result<Tokenizer, TrainError> {
        let dir = self.run.view().data_dir();
        let from = self.tokenizer_dir();
        if from != dir {
            let theirs = model_folder::tokenizer(&from)?.ok_or_else(|| {
                TrainError::Input(format!(
                    "--from {}: it has no tokenizer.json, and {} learns from text; copy the model's tokenizer into the folder",
                    from.display(),
                    self.stage
                ))
            })?;
            return Ok(theirs.with_template(self.config.keeps_chat())?);
        }
        let tokenizer = model_folder::tokenizer(&dir)?.ok_or_else(|| {
            TrainError::Input(format!("{} has no tokenizer.json; train the stage before this one first", dir.display()))
        })?;
        keeps_tokenizer(self.config, &tokenizer, &self.run.view().config()?)?;
        Ok(tokenizer)
    }

    /// The stage's own newest checkpoint that verifies.
    pub(crate) fn own(
        &mut self,
        read: impl Fn(&Checkpoint) -> Result<(State, Vec<Slabs>), StoreError>,
    ) -> Result<Option<(State, Vec<Slabs>)>, TrainError> {
        let mut found = self.newest(|c| Ok((read(&c)?, Some(c))))?;
        if let Some(checkpoint) = found.found.as_mut().and_then(|(_, checkpoint)| checkpoint.take()) {
            same_words(&checkpoint, &self.known_tokenizer()?)?;
        }
        let skipped = found.skipped;
        self.accept(Found { found: found.found.map(|(read, _)| read), skipped })
    }

    /// The stage's newest checkpoint that can be read, except those before a spike that are excluded.
    fn newest<T>(&mut self, mut read: impl FnMut(Checkpoint) -> Result<T, StoreError>) -> Result<Found<T>, TrainError> {
        let chain = Chain::read(self.run.view(), self.stage)?;
        let mut found = self.run.view().checkpoints().newest_that(Some(self.stage), |c| {
            if chain.passes(&c.id) {
                return Err(StoreError::Input { path: c.path, what: "a spike followed it".to_owned() });
            }
            read(c)
        })?;
        let (left, skipped): (Vec<_>, Vec<_>) = found.skipped.into_iter().partition(|s| chain.passes(&s.id));
        found.skipped = skipped;
        if let (Some(newest), Some(spike)) = (left.first(), chain.spike()) {
            let more = if left.len() > 1 { format!(" and {} more", left.len() - 1) } else { String::new() };
            self.notes.push(format!("checkpoint {}{more}: left out since the spike at step {spike}", newest.id));
        }
        Ok(found)
    }

    /// Accepts what was found, with a note on each checkpoint passed over. If a newer danlu wrote one of them, or none
    /// is left, the stage is not trained: it would repeat or lose existing work.
    fn accept<T>(&mut self, found: Found<(State, T)>) -> Result<Option<(State, T)>, TrainError> {
        if let Some(newer) = found.skipped.iter().find(|s| s.error.is_newer()) {
            let (stage, id, error) = (self.stage, &newer.id, &newer.error);
            return Err(TrainError::Input(format!(
                "checkpoint {id} is newer than what {stage} would continue from: {error}; it is kept as it is"
            )));
        }
        self.notes.extend(found.notes());
        match (found.found, found.skipped.first()) {
            (None, Some(first)) => Err(TrainError::Input(format!(
                "cannot resume: no valid checkpoint in this run (newest, {}: {})",
                first.id, first.error
            ))),
            (Some((state, _)), _) if state.seed != self.config.seed => Err(TrainError::Input(format!(
                "the run's seed is {}, not {}; a run keeps its seed",
                state.seed, self.config.seed
            ))),
            (found, _) => Ok(found),
        }
    }

    /// The checkpoint of its parent that the stage begins from.
    fn start(&self) -> Start {
        self.config.settings(self.stage).start
    }

    /// The checkpoint of the parent stage to begin from, a language model.
    pub(crate) fn parent(
        &mut self,
        model: &ModelConfig,
        table: &ParamTable,
    ) -> Result<(Checkpoint, Vec<f32>), TrainError> {
        let (parent, weights) = lineage::parent(self.run.view(), (self.stage, self.start()), model, table, self.notes)?
            .ok_or_else(|| TrainError::Input(format!("{} has no stage to start from", self.stage)))?;
        same_words(&parent, &self.known_tokenizer()?)?;
        Ok((parent, weights))
    }

    /// The state and the weights that a stage without checkpoints begins with: those of its parent stage or of
    /// `--from`.
    pub(crate) fn begin(
        &mut self,
        model: &ModelConfig,
        table: &ParamTable,
        tokenizer: &Tokenizer,
        history: History,
    ) -> Result<(State, Vec<f32>), TrainError> {
        let Some(from) = &self.setup.from else {
            let (parent, weights) = self.parent(model, table)?;
            return Ok((self.begun_from(parent, history), weights));
        };
        same_tokenizer(&format!("--from {}", from.display()), from, tokenizer, self.notes)?;
        let weights = lineage::weights_of(from, model, table)?;
        let (parent, digest) = lineage::origin(self.run.view(), from)?;
        let mut state = State::new(self.stage, self.config.seed, history, String::new());
        // The reference is made of them again whenever the stage is opened.
        let digest = digest.unwrap_or_else(|| lineage::digest_of(&weights));
        (state.parent, state.parent_digest) = (Some(parent), Some(digest));
        Ok((state, weights))
    }

    /// The folder of the tokenizer that the run has, or that it gets from `--from`.
    pub(crate) fn tokenizer_dir(&self) -> PathBuf {
        let dir = self.run.view().data_dir();
        let begun = dir.join("tokenizer.json").is_file();
        self.setup.from.clone().filter(|_| !begun).unwrap_or(dir)
    }

    /// Writes the tokenizer of a run that began from outside weights, once its first stage is open.
    pub(crate) fn keep_new_tokenizer(&self, model: &ModelConfig, tokenizer: &Tokenizer) -> Result<(), TrainError> {
        if self.tokenizer_dir() == self.run.view().data_dir() {
            return Ok(());
        }
        self.keep_tokenizer(model, tokenizer)
    }

    /// Writes the tokenizer that the run's stages share.
    fn keep_tokenizer(&self, model: &ModelConfig, tokenizer: &Tokenizer) -> Result<(), TrainError> {
        self.run.write_data("tokenizer.json", tokenizer.json().as_bytes())?;
        let config = tokenizer.config_json(model.max_position_embeddings, chat_template(tokenizer));
        self.run.write_data("tokenizer_config.json", config.as_bytes())?;
        Ok(())
    }

    /// The state of a stage that starts from a checkpoint of the run.
    pub(crate) fn begun_from(&self, parent: Checkpoint, history: History) -> State {
        let mut state = State::new(self.stage, self.config.seed, history, String::new());
        (state.parent, state.parent_digest) = (Some(parent.id.to_string()), Some(parent.digest));
        state
    }

    /// Stores the hash of the data in the state, with a note if it has changed.
    pub(crate) fn same_data(&mut self, state: &mut State, digest: &str) {
        if state.step > 0 && state.data != digest {
            self.notes.push("the data have changed since the checkpoint: the batches differ from here on".to_owned());
        }
        digest.clone_into(&mut state.data);
    }

    /// The stage's newest checkpoint that verifies; else a new state with the weights of the parent stage, of `--from`,
    /// or random ones.
    pub(crate) fn resume(
        &mut self,
        model: &ModelConfig,
        table: &Arc<ParamTable>,
        tokenizer: &Tokenizer,
        history: History,
    ) -> Result<Resumed, TrainError> {
        let (run, stage) = (self.run, self.stage);
        let found = self.newest(|c| checkpoint::load(&c, model, table))?;
        if let Some((state, slabs)) = self.accept(found)? {
            return Ok(Resumed { state, slabs: Some(slabs), params: Vec::new() });
        }
        let new = |history| State::new(stage, self.config.seed, history, String::new());
        let (state, params) = if let Some(from) = &self.setup.from {
            same_tokenizer(&format!("--from {}", from.display()), from, tokenizer, self.notes)?;
            let (parent, parent_digest) = lineage::origin(run.view(), from)?;
            let state = State { parent: Some(parent), parent_digest, ..new(history) };
            (state, lineage::weights_of(from, model, table)?)
        } else {
            match lineage::parent(run.view(), (stage, self.start()), model, table, self.notes)? {
                Some((parent, params)) => (self.begun_from(parent, history), params),
                None => (new(history), table.initial(self.config.seed)),
            }
        };
        self.keep_tokenizer(model, tokenizer)?;
        Ok(Resumed { state, slabs: None, params })
    }
}

/// Rejects weights trained with a tokenizer in which the run's ids have other meanings; `what` names the folder.
pub(crate) fn same_tokenizer(
    what: &str,
    from: &Path,
    ours: &Tokenizer,
    notes: &mut Vec<String>,
) -> Result<(), TrainError> {
    let Some(theirs) = model_folder::tokenizer(from)? else {
        notes.push(format!(
            "{what}: it has no tokenizer.json; the run's tokenizer is used, and its ids may mean something else to these weights"
        ));
        return Ok(());
    };
    notes.extend(theirs.remark().map(|remark| format!("{what}: {remark}")));
    if ours.own_template().is_some() {
        notes.push(format!("{what}: the model keeps its own chat template"));
    } else if let Some(why) = theirs.refused_template() {
        notes.push(format!("{what}: its chat template is not used, since {why}; danlu's takes its place"));
    }
    // The run's tokenizer may have been extended by chat template tokens since.
    match other_word(&theirs, ours, theirs.vocab_size()) {
        Some(other) => Err(TrainError::Input(format!(
            "{what}: its tokenizer differs from the run's: {other}; start a new run from it"
        ))),
        None => Ok(()),
    }
}

/// The first of the ids that means another token, described.
fn other_word(theirs: &Tokenizer, ours: &Tokenizer, ids: usize) -> Option<String> {
    let differs = |id: &u32| theirs.token(*id) != ours.token(*id);
    let id = (0..ids as u32).find(differs)?;
    let (there, here) = (theirs.token(id).unwrap_or_default(), ours.token(id).unwrap_or_default());
    Some(format!("id {id} is {there:?} there and {here:?} here"))
}

/// Rejects a checkpoint of the run with another tokenizer than the run's: either was replaced from elsewhere.
pub(crate) fn same_words(checkpoint: &Checkpoint, ours: &Tokenizer) -> Result<(), TrainError> {
    let read = |name: &str| -> Result<String, TrainError> {
        Ok(String::from_utf8_lossy(&checkpoint.read(name, TOKENIZER_LIMIT)?).into_owned())
    };
    let theirs = Tokenizer::from_own_json(&read("tokenizer.json")?, Some(&read("tokenizer_config.json")?))?;
    match other_word(&theirs, ours, theirs.vocab_size().max(ours.vocab_size())) {
        Some(other) => Err(TrainError::Input(format!(
            "the tokenizer of {} differs from the run's data/tokenizer.json: {other}; restore the original one, or remove that checkpoint",
            checkpoint.id
        ))),
        None => Ok(()),
    }
}
