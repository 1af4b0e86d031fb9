//! From an open run to everything that a stage steps with.

use std::{path::Path, sync::Arc};

use super::{
    chats::{Chats, count_by_hand},
    checkpoint::{self, State, chat_template},
    config::RunConfig,
    corpus::Corpus,
    error::TrainError,
    event::{RunInfo, SourceInfo, StageInfo, TaskInfo},
    lineage, model_folder,
    plan::StagePlan,
    setup::{Setup, fit},
    stage::Stage,
    tasks,
    workshop::Workshop,
};
use crate::{
    data::{Batcher, ChatRows, History, Shape, Tokenizer, chat_rows::BY_HAND},
    nn::{Decoder, Learner, ModelConfig},
    store::CheckpointId,
};

/// Everything a trainer works with, made and loaded.
pub(super) struct Ready {
    pub stage: &'static Stage,
    pub config: RunConfig,
    pub model: ModelConfig,
    pub plan: StagePlan,
    pub corpus: Corpus,
    /// The conversations of a stage that has some.
    pub chats: Option<Chats>,
    pub learner: Learner,
    pub decoder: Decoder,
    pub batcher: Batcher,
    pub state: State,
    pub info: RunInfo,
    /// Step at which the stage ends.
    pub target: usize,
    /// Checkpoints that other stages started from.
    pub pinned: Vec<CheckpointId>,
    pub notes: Vec<String>,
}

/// Reads data, makes the model, and loads the newest checkpoint that verifies, or the parent's.
pub(super) fn prepare(shop: &mut Workshop, config: RunConfig, setup: &Setup) -> Result<Ready, TrainError> {
    let (run, device) = (&shop.run, &mut shop.device);
    let stage = Stage::named(&setup.stage)?;
    let mut model = config.model()?;
    let plan = config.plan(stage)?;
    let mut notes: Vec<String> =
        run.swept().iter().map(|name| format!("{name}, left by a killed save, was removed")).collect();
    if setup.from.is_none()
        && let Some(missing) = lineage::missing_parent(run.view(), stage)?
    {
        return Err(TrainError::Input(missing));
    }
    let data_dir = run.view().data_dir();
    let begun = data_dir.join("tokenizer.json").is_file();
    let known = setup.from.as_deref().filter(|_| !begun).unwrap_or(&data_dir);
    let corpus = Corpus::load(&config, run.view().dir(), known, model.vocab_size, stage.chat)?;
    notes.extend(corpus.notes.iter().cloned());
    model.eos_token_id = corpus.tokenizer.end_of_text();
    model.pad_token_id = corpus.tokenizer.pad();
    fit(device, &model, &plan)?;
    let chats =
        if stage.chat { Some(Chats::load(&config, run.view().dir(), &corpus.tokenizer, plan.context)?) } else { None };
    notes.extend(chats.iter().flat_map(|c| c.notes.iter().cloned()));

    let learner = Learner::new(device, &model, plan.batch_size, plan.context, plan.adamw)?;
    let decoder = Decoder::new(device, &model, learner.params(), model.max_position_embeddings)?;
    let found =
        run.view().checkpoints().newest_that(Some(stage.name), |c| checkpoint::load(&c, &model, learner.table()))?;
    for s in &found.skipped {
        notes.push(format!("checkpoint {} was passed over: {}", s.id, s.error));
    }
    if let (None, Some(first)) = (&found.found, found.skipped.first()) {
        return Err(TrainError::Input(format!(
            "no checkpoint of this run can be gone on from; the newest, {}: {}",
            first.id, first.error
        )));
    }
    let shape = Shape { rows: plan.batch_size, window: plan.context, micros: plan.accumulation };
    let shares = Shares::new(&corpus, chats.as_ref(), &plan);
    let digest = digest(&corpus, chats.as_ref());
    let mut state = State::new(stage.name, config.seed, History::new(&shares.of(false), shape)?, digest.clone());
    if let Some((saved, slabs)) = found.found {
        learner.write_state(device, &slabs)?;
        if saved.data != digest {
            notes.push("the data have changed since the checkpoint: from here on the batches are others".to_owned());
        }
        if saved.seed != config.seed {
            return Err(TrainError::Input(format!(
                "the run's seed is {}, {} was asked for; a run keeps its seed",
                saved.seed, config.seed
            )));
        }
        if setup.from.is_some() {
            notes.push(format!(
                "{} goes on from its own checkpoint; --from starts only a stage that has none",
                stage.name
            ));
        }
        state = saved;
    } else {
        let slab = match &setup.from {
            Some(from) => {
                same_tokenizer(from, &corpus.tokenizer, &mut notes)?;
                let (parent, digest) = lineage::origin(run.view(), from)?;
                (state.parent, state.parent_digest) = (Some(parent), digest);
                lineage::weights_of(from, &model, learner.table(), config.seed)?
            }
            None => match lineage::parent(run.view(), stage, &model, learner.table(), &mut notes)? {
                Some((parent, params)) => {
                    state.parent = Some(parent.id.to_string());
                    state.parent_digest = Some(parent.digest);
                    params
                }
                None => learner.table().initial(config.seed),
            },
        };
        learner.write_params(device, &slab)?;
        run.write_data("tokenizer.json", corpus.tokenizer.json().as_bytes())?;
        let template = chat_template(&corpus.tokenizer);
        run.write_data(
            "tokenizer_config.json",
            corpus.tokenizer.config_json(model.max_position_embeddings, template).as_bytes(),
        )?;
    }
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
    state.data = digest;
    let first_by_hand = chats.as_ref().and_then(|c| c.by_hand.first()).map(|(step, _)| *step);
    let history = mixed(&state, &shares, first_by_hand, shape, &mut notes)?;
    let rows = match &chats {
        Some(c) => {
            let pad = model.pad_token_id.unwrap_or(0);
            let mut rows = ChatRows::new(&c.sets, config.seed, plan.context, plan.packing, pad)?;
            c.by_hand.iter().for_each(|(step, example)| rows.demonstrate(*step, example.clone()));
            Some(rows)
        }
        None => None,
    };
    let batcher = Batcher::with_chats(Arc::clone(&corpus.packed), rows, config.seed, history)?;

    let done = state.step as usize;
    let target = match setup.steps {
        Some(n) if n > done => n,
        Some(n) => done + n,
        None => plan.steps,
    };
    let stages = lineage::stages(run.view())?;
    let pinned = lineage::pinned(run.view())?;
    // A stage taken past its length decays at its new end.
    let mut plan = plan;
    plan.schedule.steps = plan.schedule.steps.max(target);
    let info = RunInfo {
        name: run.view().name(),
        path: run.view().dir().to_owned(),
        stage: stage.name.to_owned(),
        size: config.size.clone(),
        engine: engine.engine.to_owned(),
        adapter: engine.adapter,
        parameters: learner.table().parameters(),
        vocab_size: model.vocab_size,
        layers: model.num_hidden_layers,
        hidden_size: model.hidden_size,
        heads: model.num_attention_heads,
        batch: plan.batch_size * plan.accumulation,
        context: plan.context,
        learning_rate: plan.schedule.peak,
        steps: target,
        resumed_at: done,
        chat: stage.chat,
        parent: state.parent.clone(),
        stages: with_this(stages, stage, done),
        tasks: chats.as_ref().map(|c| task_infos(&c.sets)).unwrap_or_default(),
        demonstrations: match &chats {
            Some(c) => c.by_hand.len(),
            None => count_by_hand(run.view().dir())?,
        },
        memory: device.memory().0,
        sources: source_infos(&corpus, chats.as_ref(), &batcher.history().newest().weights),
    };
    Ok(Ready {
        stage,
        config,
        model,
        plan,
        corpus,
        chats,
        learner,
        decoder,
        batcher,
        state,
        info,
        target,
        pinned,
        notes,
    })
}

/// The stages, with the one that runs counted as begun.
fn with_this(mut stages: Vec<StageInfo>, stage: &Stage, done: usize) -> Vec<StageInfo> {
    for s in stages.iter_mut().filter(|s| s.name == stage.name) {
        s.step = Some(s.step.unwrap_or(0).max(done));
    }
    stages
}

/// Tasks with their held-out examples; a source's examples are counted for each of its tasks.
fn task_infos(sets: &[crate::data::ExampleSet]) -> Vec<TaskInfo> {
    tasks::by_task(sets)
        .into_iter()
        .map(|(name, set, held_out)| TaskInfo { name, examples: sets[set].examples.len(), held_out: held_out.len() })
        .collect()
}

/// Texts, then conversations, then what was written by hand.
fn source_infos(corpus: &Corpus, chats: Option<&Chats>, shares: &[f64]) -> Vec<SourceInfo> {
    let texts = corpus.packed.iter().map(|s| SourceInfo {
        name: s.name.clone(),
        weight: 0.0,
        documents: s.train.documents(),
        tokens: s.train.tokens().len(),
        held_out_tokens: s.held_out.tokens().len(),
    });
    let mut all: Vec<SourceInfo> = texts.collect();
    if let Some(c) = chats {
        all.extend(c.sets.iter().map(|s| SourceInfo {
            name: s.name.clone(),
            weight: 0.0,
            documents: s.examples.len(),
            tokens: s.fitted.tokens as usize,
            held_out_tokens: s.held_out_fitted.tokens as usize,
        }));
        all.push(SourceInfo {
            name: BY_HAND.to_owned(),
            weight: 0.0,
            documents: c.by_hand.len(),
            tokens: c.by_hand.iter().map(|(_, e)| e.ids.len()).sum(),
            held_out_tokens: 0,
        });
    }
    for (info, share) in all.iter_mut().zip(shares) {
        info.weight = *share;
    }
    all
}

/// The hash of everything that batches are drawn from, demonstrations aside: those are known by step.
fn digest(corpus: &Corpus, chats: Option<&Chats>) -> String {
    let Some(chats) = chats else { return corpus.digest.clone() };
    let mut hash = blake3::Hasher::new();
    hash.update(corpus.digest.as_bytes());
    for set in &chats.sets {
        hash.update(set.name.as_bytes());
        for e in &set.examples {
            hash.update(&(e.ids.len() as u64).to_le_bytes());
            hash.update(bytemuck::cast_slice(&e.ids));
            hash.update(bytemuck::cast_slice(&e.labels));
        }
    }
    hash.finalize().to_hex().to_string()
}

/// What share each source has, before and after there are demonstrations by hand.
pub(super) struct Shares {
    texts: Vec<f64>,
    chats: Vec<f64>,
    pretrain: f64,
    by_hand: f64,
    fine_tuning: bool,
}

impl Shares {
    pub(super) fn new(corpus: &Corpus, chats: Option<&Chats>, plan: &StagePlan) -> Shares {
        let normal = |weights: Vec<f64>| {
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(|w| w / sum.max(f64::MIN_POSITIVE)).collect::<Vec<f64>>()
        };
        let weight = |s: &crate::data::ExampleSet| if s.examples.is_empty() { 0.0 } else { s.weight };
        Shares {
            texts: match chats {
                Some(_) => normal(corpus.packed.iter().map(|s| s.weight).collect()),
                None => corpus.packed.iter().map(|s| s.weight).collect(),
            },
            chats: normal(chats.iter().flat_map(|c| c.sets.iter().map(weight)).collect()),
            pretrain: plan.pretrain_share,
            by_hand: plan.by_hand_share,
            fine_tuning: chats.is_some(),
        }
    }

    /// The weights of a history: texts, conversations, demonstrations.
    pub(super) fn of(&self, by_hand: bool) -> Vec<f64> {
        if !self.fine_tuning {
            return self.texts.clone();
        }
        let hand = if by_hand { self.by_hand } else { 0.0 };
        let rest = 1.0 - self.pretrain - hand;
        let texts = self.texts.iter().map(|w| w * self.pretrain);
        texts.chain(self.chats.iter().map(|w| w * rest)).chain([hand]).collect()
    }
}

/// The history of a state, with today's weights and shape from its step on if they differ, and with the
/// share of demonstrations from the first one on.
fn mixed(
    state: &State,
    shares: &Shares,
    first_by_hand: Option<u64>,
    shape: Shape,
    notes: &mut Vec<String>,
) -> Result<History, TrainError> {
    let mut history = state.history.clone();
    let (without, with) = (shares.of(false), shares.of(true));
    let from = first_by_hand.map(|step| step.max(state.step));
    if history.sources() == without.len() {
        let is_today = |w: &[f64]| -> Result<bool, TrainError> {
            let now = History::new(w, shape)?;
            let then = history.at(state.step);
            Ok(then.weights == now.newest().weights && then.shape == shape)
        };
        if !is_today(&without)? && !is_today(&with)? {
            notes.push(format!("mix and batch of run.toml hold from step {}", state.step + 1));
        }
        let now = if from == Some(state.step) { &with } else { &without };
        history.turn_to(state.step, now, shape)?;
    } else {
        // Other sources: counts of old ones mean nothing for them.
        notes.push("the sources have changed since the checkpoint: the mix starts anew".to_owned());
        history = History::new(&without, shape)?;
    }
    if let Some(from) = from {
        history.turn_to(from, &with, shape)?;
    }
    Ok(history)
}

/// Refuses weights for whom the run's ids would mean other words.
fn same_tokenizer(from: &Path, ours: &Tokenizer, notes: &mut Vec<String>) -> Result<(), TrainError> {
    let Some(json) = model_folder::read_text(from, "tokenizer.json")? else {
        notes.push(format!(
            "--from {}: it has no tokenizer.json; the run's own is used, and whether its ids mean the same to these weights cannot be told",
            from.display()
        ));
        return Ok(());
    };
    let settings = model_folder::read_text(from, "tokenizer_config.json")?;
    let theirs = Tokenizer::from_json(&json, settings.as_deref())?;
    match (0..theirs.vocab_size() as u32).find(|id| theirs.token(*id) != ours.token(*id)) {
        Some(id) => Err(TrainError::Input(format!(
            "--from {}: its tokenizer is another one than the run's: id {id} is {:?} there and {:?} here; start a new run from it",
            from.display(),
            theirs.token(id).unwrap_or_default(),
            ours.token(id).unwrap_or_default()
        ))),
        None => Ok(()),
    }
}
