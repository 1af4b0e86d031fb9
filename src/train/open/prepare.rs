//! From an open run to everything that a stage steps with.

use std::{path::Path, sync::Arc};

use super::{
    chats::count_by_hand,
    checkpoint::{self, Slabs, State, chat_template},
    config::RunConfig,
    error::TrainError,
    footprint::{Footprint, Wanted, fit},
    heal::heal_tokenizer,
    lineage, model_folder, notices, pairs,
    plan::StagePlan,
    rollbacks::Chain,
    setup::Setup,
    stage::Stage,
    work::Work,
    workshop::Workshop,
};
use crate::{
    compute::Device,
    data::{History, Tokenizer},
    nn::{ModelConfig, ParamTable, Schedule},
    protocol::{RunInfo, StageInfo},
    store::{Checkpoint, CheckpointId, Found, Run, StoreError},
};

/// Largest tokenizer.json that is read from a checkpoint.
const TOKENIZER_LIMIT: u64 = 64 << 20;

/// Everything a trainer works with, made and loaded.
pub(super) struct Ready {
    pub stage: &'static Stage,
    pub plan: StagePlan,
    pub tokenizer: Tokenizer,
    pub work: Box<dyn Work + Send>,
    pub state: State,
    pub info: RunInfo,
    /// Step at which the stage ends.
    pub target: usize,
    /// Checkpoints that other stages started from.
    pub pinned: Vec<CheckpointId>,
    pub notes: Vec<String>,
    /// What the run is configured to.
    pub config: RunConfig,
}

/// What a stage is opened with.
pub(super) struct Opening<'a> {
    pub run: &'a Run,
    pub device: &'a mut Device,
    pub config: &'a RunConfig,
    pub setup: &'a Setup,
    pub stage: &'static Stage,
    pub plan: &'a StagePlan,
    /// The run's model; the tokenizer settles its end-of-text and padding tokens.
    pub model: ModelConfig,
    pub notes: &'a mut Vec<String>,
}

/// An opened stage.
pub(super) struct Opened {
    pub work: Box<dyn Work + Send>,
    pub tokenizer: Tokenizer,
    pub state: State,
}

/// Where a stage goes on, or what it starts from.
pub(super) struct Resumed {
    pub state: State,
    /// Parameters, moments and control block of the stage's own newest checkpoint.
    pub slabs: Option<Slabs>,
    /// Else the parameters to start from.
    pub params: Vec<f32>,
}

/// Reads data, makes the model, and loads the newest checkpoint that verifies, or the parent's.
pub(super) fn prepare(shop: &mut Workshop, config: RunConfig, setup: &Setup) -> Result<Ready, TrainError> {
    let (run, device) = (&shop.run, &mut shop.device);
    let stage = Stage::named(&setup.stage)?;
    let model = config.model()?;
    let mut plan = config.plan(stage)?;
    let mut notes: Vec<String> =
        run.swept().iter().map(|name| format!("{name}, left by a killed save, was removed")).collect();
    notes.extend(run.unswept().iter().map(|e| format!("what a killed save left is still there and takes room: {e}")));
    if setup.from.is_none()
        && let Some(missing) = lineage::missing_parent(run.view(), stage)?
    {
        return Err(TrainError::Input(missing));
    }
    heal_tokenizer(run, &mut notes)?;
    let rewards = run.view().checkpoints().list()?.iter().any(|id| id.stage == "reward");
    let drawn = pairs::has_own(run.view());
    let wanted = Wanted { stage, config: &config, rewards, drawn };
    fit(device, wanted)?;
    let footprint = Footprint::count(device, wanted)?;
    let mut opening =
        Opening { run, device: &mut *device, config: &config, setup, stage, plan: &plan, model, notes: &mut notes };
    let Opened { work, tokenizer, mut state } = (stage.open)(&mut opening)?;

    let engine = device.info().clone();
    let same =
        (state.engine.as_str(), &state.adapter, &state.driver) == (engine.engine, &engine.adapter, &engine.driver);
    if state.step > 0 && !same {
        notes.push(format!(
            "the checkpoint was made on {} ({}); on {} the losses go on, but not to the bit",
            state.adapter, state.driver, engine.adapter
        ));
    }
    engine.engine.clone_into(&mut state.engine);
    state.adapter.clone_from(&engine.adapter);
    state.driver.clone_from(&engine.driver);
    let done = state.step as usize;
    let target = match setup.steps {
        Some(n) if n > done => n,
        Some(n) => done + n,
        None => plan.steps.max(done + work.due(done)),
    };
    let stages = lineage::stages(run.view())?;
    let pinned = lineage::pinned(run.view())?;
    // A stage taken past its length decays at its new end.
    plan.schedule.steps = plan.schedule.steps.max(target);
    notes.extend(notices::of_plan(&config, stage, &plan));
    notes.extend(notices::idle_pairs(&run.view().config()?, setup, stage));
    let peak = Schedule { peak: work.peak().unwrap_or(plan.schedule.peak), ..plan.schedule };
    notes.extend(notices::of_rate(run.view(), stage, done, target, |step| {
        work.rate(step).unwrap_or_else(|| peak.rate(step))
    }));
    let (trained, told) = (work.model(), footprint.told(device));
    let info = RunInfo {
        name: run.view().name(),
        path: run.view().dir().to_owned(),
        stage: stage.name.to_owned(),
        size: config.size.clone(),
        engine: engine.engine.to_owned(),
        adapter: engine.adapter,
        parameters: trained.table.parameters(),
        vocab_size: trained.config.vocab_size,
        layers: trained.config.num_hidden_layers,
        hidden_size: trained.config.hidden_size,
        heads: trained.config.num_attention_heads,
        batch: plan.batch_size * plan.accumulation,
        context: plan.context,
        learning_rate: plan.schedule.peak,
        steps: target,
        resumed_at: done,
        chat: stage.chat,
        parent: state.parent.clone(),
        stages: with_this(stages, stage, done),
        tasks: work.tasks(),
        demonstrations: count_by_hand(run.view().dir())?,
        memory: told.device,
        host_memory: told.host,
        sources: work.sources(),
        manner: config.manner(),
    };
    Ok(Ready { stage, plan, tokenizer, work, state, info, target, pinned, notes, config })
}

impl Opening<'_> {
    /// The tokenizer that the run's earlier stages made.
    pub(super) fn known_tokenizer(&self) -> Result<Tokenizer, TrainError> {
        let dir = self.run.view().data_dir();
        let tokenizer = model_folder::tokenizer(&dir)?.ok_or_else(|| {
            TrainError::Input(format!("{} has no tokenizer.json; train the stage before this one first", dir.display()))
        })?;
        notices::keeps_tokenizer(self.config, &tokenizer, &self.run.view().config()?)?;
        Ok(tokenizer)
    }

    /// The newest checkpoint of the stage itself that verifies.
    pub(super) fn own(
        &mut self,
        read: impl Fn(&Checkpoint) -> Result<(State, Vec<Slabs>), StoreError>,
    ) -> Result<Option<(State, Vec<Slabs>)>, TrainError> {
        let mut taken = None;
        let found = self.newest(|c| {
            let state = read(&c)?;
            taken = Some(c);
            Ok(state)
        })?;
        if let Some(checkpoint) = taken.filter(|_| found.found.is_some()) {
            same_words(&checkpoint, &self.known_tokenizer()?)?;
        }
        self.passed_over(&found)?;
        if let Some((state, _)) = &found.found
            && state.seed != self.config.seed
        {
            return Err(TrainError::Input(format!(
                "the run's seed is {}, {} was asked for; a run keeps its seed",
                state.seed, self.config.seed
            )));
        }
        Ok(found.found)
    }

    /// The newest checkpoint of the stage that is read, those left out that a spike has followed.
    fn newest<T>(&mut self, mut read: impl FnMut(Checkpoint) -> Result<T, StoreError>) -> Result<Found<T>, TrainError> {
        let chain = Chain::read(self.run.view(), self.stage.name)?;
        let mut found = self.run.view().checkpoints().newest_that(Some(self.stage.name), |c| {
            if chain.passes(&c.id) {
                return Err(StoreError::Input { path: c.path, what: "a spike has followed it".to_owned() });
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

    /// Notes which checkpoints of the stage were passed over for the one that was found. Where a newer danlu wrote one
    /// of them, or nothing is left, the stage is not trained: it would repeat or lose work that exists.
    fn passed_over<T>(&mut self, found: &Found<T>) -> Result<(), TrainError> {
        if let Some(newer) = found.skipped.iter().find(|s| s.error.is_newer()) {
            let (stage, id, error) = (self.stage.name, &newer.id, &newer.error);
            return Err(TrainError::Input(format!(
                "checkpoint {id} is newer than what {stage} would continue from: {error}; it is kept as it is"
            )));
        }
        for s in &found.skipped {
            self.notes.push(format!("checkpoint {} was passed over: {}", s.id, s.error));
        }
        match (&found.found, found.skipped.first()) {
            (None, Some(first)) => Err(TrainError::Input(format!(
                "no checkpoint of this run can be gone on from; the newest, {}: {}",
                first.id, first.error
            ))),
            _ => Ok(()),
        }
    }

    /// The newest checkpoint of the parent stage, a language model.
    pub(super) fn parent(
        &mut self,
        model: &ModelConfig,
        table: &ParamTable,
    ) -> Result<(Checkpoint, Vec<f32>), TrainError> {
        let (parent, weights) = lineage::parent(self.run.view(), self.stage, model, table, self.notes)?
            .ok_or_else(|| TrainError::Input(format!("{} has no stage to start from", self.stage.name)))?;
        same_words(&parent, &self.known_tokenizer()?)?;
        Ok((parent, weights))
    }

    /// Notes in the state what it is drawn from, and tells where that has changed.
    pub(super) fn same_data(&mut self, state: &mut State, digest: &str) {
        if state.step > 0 && state.data != digest {
            self.notes
                .push("the data have changed since the checkpoint: from here on the batches are others".to_owned());
        }
        digest.clone_into(&mut state.data);
    }

    /// The stage's newest checkpoint that verifies; else a new state, with the weights of the parent stage,
    /// of `--from`, or of nobody.
    pub(super) fn resume(
        &mut self,
        model: &ModelConfig,
        table: &Arc<ParamTable>,
        tokenizer: &Tokenizer,
        history: History,
    ) -> Result<Resumed, TrainError> {
        let (run, stage) = (self.run, self.stage);
        let found = self.newest(|c| checkpoint::load(&c, model, table))?;
        self.passed_over(&found)?;
        if let Some((state, slabs)) = found.found {
            if state.seed != self.config.seed {
                return Err(TrainError::Input(format!(
                    "the run's seed is {}, {} was asked for; a run keeps its seed",
                    state.seed, self.config.seed
                )));
            }
            return Ok(Resumed { state, slabs: Some(slabs), params: Vec::new() });
        }
        let mut state = State::new(stage.name, self.config.seed, history, String::new());
        let params = match &self.setup.from {
            Some(from) => {
                same_tokenizer(from, tokenizer, self.notes)?;
                let (parent, digest) = lineage::origin(run.view(), from)?;
                (state.parent, state.parent_digest) = (Some(parent), digest);
                lineage::weights_of(from, model, table, self.config.seed)?
            }
            None => match lineage::parent(run.view(), stage, model, table, self.notes)? {
                Some((parent, params)) => {
                    state.parent = Some(parent.id.to_string());
                    state.parent_digest = Some(parent.digest);
                    params
                }
                None => table.initial(self.config.seed),
            },
        };
        run.write_data("tokenizer.json", tokenizer.json().as_bytes())?;
        let template = chat_template(tokenizer);
        run.write_data(
            "tokenizer_config.json",
            tokenizer.config_json(model.max_position_embeddings, template).as_bytes(),
        )?;
        Ok(Resumed { state, slabs: None, params })
    }
}

/// The stages, with the one that runs counted as begun.
fn with_this(mut stages: Vec<StageInfo>, stage: &Stage, done: usize) -> Vec<StageInfo> {
    for s in stages.iter_mut().filter(|s| s.name == stage.name) {
        s.step = Some(s.step.unwrap_or(0).max(done));
    }
    stages
}

/// Refuses weights for whom the run's ids would mean other words.
fn same_tokenizer(from: &Path, ours: &Tokenizer, notes: &mut Vec<String>) -> Result<(), TrainError> {
    let Some(theirs) = model_folder::tokenizer(from)? else {
        notes.push(format!(
            "--from {}: it has no tokenizer.json; the run's own is used, and whether its ids mean the same to these weights cannot be told",
            from.display()
        ));
        return Ok(());
    };
    notes.extend(theirs.remark().map(|remark| format!("--from {}: {remark}", from.display())));
    // Ours may have grown by the template's tokens since.
    match other_word(&theirs, ours, theirs.vocab_size()) {
        Some(other) => Err(TrainError::Input(format!(
            "--from {}: its tokenizer is another one than the run's: {other}; start a new run from it",
            from.display()
        ))),
        None => Ok(()),
    }
}

/// The first of so many ids that means another token, in words.
fn other_word(theirs: &Tokenizer, ours: &Tokenizer, ids: usize) -> Option<String> {
    let differs = |id: &u32| theirs.token(*id) != ours.token(*id);
    let id = (0..ids as u32).find(differs)?;
    let (there, here) = (theirs.token(id).unwrap_or_default(), ours.token(id).unwrap_or_default());
    Some(format!("id {id} is {there:?} there and {here:?} here"))
}

/// Refuses a checkpoint of the run whose tokenizer is another one than the run's: it was brought here from
/// elsewhere, or the run's own was.
pub(super) fn same_words(checkpoint: &Checkpoint, ours: &Tokenizer) -> Result<(), TrainError> {
    let read = |name: &str| -> Result<String, TrainError> {
        Ok(String::from_utf8_lossy(&checkpoint.read(name, TOKENIZER_LIMIT)?).into_owned())
    };
    let theirs = Tokenizer::from_own_json(&read("tokenizer.json")?, Some(&read("tokenizer_config.json")?))?;
    match other_word(&theirs, ours, theirs.vocab_size().max(ours.vocab_size())) {
        Some(other) => Err(TrainError::Input(format!(
            "the tokenizer of {} is another one than the run's in data/tokenizer.json: {other}; put back the one that the run was made with, or remove that checkpoint",
            checkpoint.id
        ))),
        None => Ok(()),
    }
}
