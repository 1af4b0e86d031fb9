//! Opens a stage of an open run.

use super::{
    footprint::{Footprint, Wanted, fit},
    notices,
    open_run::OpenRun,
    precision,
};
use crate::{
    base::StageId,
    data::Tokenizer,
    protocol::{RunInfo, StageInfo},
    store::CheckpointId,
    train::{
        config::{RunConfig, plan::StagePlan, setup::Setup},
        corpus::conversations::count_by_hand,
        error::TrainError,
        run::{best::Figures, checkpoint::State, lineage, tokenizer::heal_tokenizer},
        stages::{
            self,
            opening::{Opened, Opening},
            reward::pairs,
            stage_run::StageRun,
        },
    },
};

/// Everything that a trainer works with.
pub(crate) struct Ready {
    pub stage: StageId,
    pub plan: StagePlan,
    pub tokenizer: Tokenizer,
    pub work: Box<dyn StageRun + Send>,
    pub state: State,
    pub info: RunInfo,
    /// The last step of the stage.
    pub target: usize,
    /// Checkpoints that other stages started from.
    pub pinned: Vec<CheckpointId>,
    /// The held-out figures and probes up to now.
    pub figures: Figures,
    pub notes: Vec<String>,
    /// The configuration of the run.
    pub config: RunConfig,
}

/// Reads the data, creates the model, and loads the newest checkpoint that verifies, or the parent's.
pub(crate) fn prepare(open: &mut OpenRun, config: RunConfig, setup: &Setup) -> Result<Ready, TrainError> {
    let (run, device) = (&open.run, &mut open.device);
    let stage = setup.stage;
    let model = config.model()?;
    let mut plan = config.plan(stage)?;
    let mut notes: Vec<String> =
        run.swept().iter().map(|name| format!("{name}, left by a killed save, was removed")).collect();
    notes.extend(run.unswept().iter().map(|e| format!("a leftover of a killed save could not be removed: {e}")));
    if let Some(missing) = lineage::missing(run.view(), stage, setup.from.is_some())? {
        return Err(TrainError::Input(missing));
    }
    heal_tokenizer(run, &mut notes)?;
    let precision = precision::settle(device, Some(run.view()), stage, &config, &mut notes)?;
    let rewards = run.view().checkpoints().list()?.iter().any(|id| id.stage == StageId::Reward);
    let drawn = pairs::has_own(run.view());
    let wanted = Wanted { stage, config: &config, rewards, drawn };
    fit(device, wanted)?;
    let footprint = Footprint::count(device, wanted)?;
    let mut opening =
        Opening { run, device: &mut *device, config: &config, setup, stage, plan: &plan, model, notes: &mut notes };
    let Opened { mut work, tokenizer, mut state } = stages::open(&mut opening)?;
    setup.monitor().check()?;
    opening.keep_new_tokenizer(work.model().config, &tokenizer)?;

    let engine = device.info().clone();
    let same =
        (state.engine.as_str(), &state.adapter, &state.driver) == (engine.engine, &engine.adapter, &engine.driver);
    if state.step > 0 && !same {
        notes.push(format!(
            "the checkpoint was made on {} ({}); on {} training continues, but not bit for bit",
            state.adapter, state.driver, engine.adapter
        ));
    } else if state.step > 0 && state.engine_revision != engine.revision {
        notes.push(format!(
            "the checkpoint was made by revision {} of the {} engine, and this is revision {}: sums are rounded differently, so training continues, but not bit for bit",
            state.engine_revision, engine.engine, engine.revision
        ));
    }
    state.engine_revision = engine.revision;
    engine.engine.clone_into(&mut state.engine);
    state.adapter.clone_from(&engine.adapter);
    state.driver.clone_from(&engine.driver);
    state.fork = lineage::fork_point(run.view())?;
    let done = state.step as usize;
    let figures = Figures::read(run.view(), stage, state.step)?;
    let target = match setup.steps {
        Some(n) if n > done => n,
        Some(n) => done + n,
        None => {
            // A fit to votes that was interrupted is completed.
            let fit = work.preference().and_then(|p| p.refit_at(done)).map_or(done, |span| span.end() as usize);
            let early = figures.ended_early() == Some(state.step);
            if early { fit } else { plan.steps.max(fit) }
        }
    };
    let stages = lineage::stages(run.view())?;
    let pinned = lineage::pinned(run.view())?;
    // A stage that is extended decays at its new end.
    plan.schedule.steps = plan.schedule.steps.max(target);
    notes.extend(notices::of_plan(&config, stage, &plan));
    notes.extend(notices::idle_pairs(&run.view().config()?, setup, stage));
    notes.extend(notices::of_rate(run.view(), stage, done, target, |step| work.rate(&plan, step)));
    let tasks = work.text().map(|text| text.tasks()).unwrap_or_default();
    let (trained, memory) = (work.model(), footprint.memory_use(device));
    let info = RunInfo {
        name: run.view().name(),
        path: run.view().dir().to_owned(),
        stage,
        size: config.size.clone(),
        engine: engine.engine.to_owned(),
        precision: precision.to_owned(),
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
        chat: stage.chat(),
        parent: state.parent.clone(),
        stages: with_this(stages, stage, done),
        tasks,
        demonstrations: count_by_hand(run.view().dir())?,
        memory: memory.device,
        host_memory: memory.host,
        sources: work.sources(),
        manner: config.manner(),
        read_only: false,
        watched: false,
    };
    Ok(Ready { stage, plan, tokenizer, work, state, info, target, pinned, figures, notes, config })
}

/// The stages, with the running one counted as started.
fn with_this(mut stages: Vec<StageInfo>, stage: StageId, done: usize) -> Vec<StageInfo> {
    for s in stages.iter_mut().filter(|s| s.stage == stage) {
        s.step = Some(s.step.unwrap_or(0).max(done));
    }
    stages
}
