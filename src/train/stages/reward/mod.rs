//! The stage that trains the reward model on which of two answers is preferred.
//!
//! It starts from the fine-tuned model, with a scalar head in place of the output layer, read at the token that ends
//! the answer. A step draws pairs, all of a prompt together; votes of this run are drawn from the step at which they
//! are cast.

mod draws;
pub(in crate::train) mod model;
pub(in crate::train) mod pairs;
pub(in crate::train) mod standby;
pub(in crate::train) mod taste;
pub(in crate::train) mod votes;

use std::{cell::RefCell, sync::Arc};

use self::{draws::Draws, model::RewardModel, pairs::Answers, taste::Taste};
use super::{
    given::{self, Given, GivenPairs, Taken, Work},
    opening::{Counting, Opened, Opening},
    stage_run::{Model, Preference, StageRun, Submitted},
};
use crate::{
    compute::Device,
    data::{History, Shape},
    nn::{Decoder, Head, ParamTable, Weights},
    protocol::{Event, SourceInfo, SourceUse},
    train::{
        config::RewardMode,
        error::TrainError,
        run::{
            checkpoint::{Part, State},
            lineage, model_folder,
        },
    },
};

/// A reward model under training.
pub(crate) struct Reward {
    learner: RewardModel,
    /// The fine-tuned model, which answers prompts meanwhile.
    decoder: Decoder,
    history: History,
}

pub(crate) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let tokenizer = o.known_tokenizer()?;
    let (mut model, plan, how) = (o.model.clone(), o.plan.clone(), o.config.reward_settings()?);
    model_folder::name_tokens(&mut model, &tokenizer);
    let lm_table = Arc::new(ParamTable::new(&model));
    // An invalid line is reported by the loop, which reads the votes too.
    let examples = votes::examples(&votes::read(o.run.view(), &mut Vec::new())?, &tokenizer, plan.context)?;
    let known = (examples, tokenizer.clone());
    let mut learner = RewardModel::new(o.device, &model, &plan, how, o.config.seed, known)?;
    let shape = Shape { rows: plan.batch_size, window: plan.context, micros: 1 };
    let history = History::new(&[1.0], shape)?;
    let table = Arc::clone(learner.table());
    let liked = RefCell::new(Taste::default());
    let found = o.own(|c| {
        let (state, slabs) = RewardModel::read(c, &model, &table)?;
        *liked.borrow_mut() = Taste::read(c)?;
        Ok((state, vec![slabs]))
    })?;
    let begins = found.is_none();
    let (mut state, lm) = if let Some((state, slabs)) = found {
        let (lm, _) = lineage::started_from(o.run.view(), &state, &model, &lm_table)?;
        if let Some(slabs) = slabs.first() {
            learner.resume(o.device, &state, slabs)?;
            learner.set_taste(liked.into_inner());
        }
        (state, lm)
    } else {
        let (state, lm) = o.begin(&model, &lm_table, &tokenizer, history.clone())?;
        learner.start(o.device, &lm_table, &lm)?;
        (state, lm)
    };
    let weights = Weights::alloc(o.device, "parent", &lm_table)?;
    weights.write(o.device, &lm)?;
    let decoder = Decoder::new(o.device, &model, &weights, model.max_position_embeddings)?;
    let parent = state.parent_digest.clone().unwrap_or_default();
    let answers = Answers::Drawn { model: &model, weights: &weights, parent: &parent, begins };
    let pairs = pairs::gather(o, &answers, &tokenizer)?;
    o.same_data(&mut state, &pairs.digest);
    learner.teach(pairs);
    let done = state.step as usize;
    let waiting = learner.waiting(done);
    let trains = learner.waits(done).is_none();
    if trains && waiting > 0 && done >= plan.steps && o.setup.steps.is_none() && learner.refit_at(done).is_none() {
        let span = learner.begin_refit(done);
        o.notes.push(format!("{waiting} votes are new: {} more steps", span.steps));
    }
    Ok(Opened { work: Box::new(Reward { learner, decoder, history }), tokenizer, state })
}

/// What the stage gives to another trainer, which draws the same pairs at the same steps.
pub(crate) fn give(o: &mut Opening<'_>) -> Result<Given, TrainError> {
    given::not_begun(o)?;
    let (how, seed, budget) = (o.config.reward_settings()?, o.config.seed, o.plan.batch_size);
    if how.mode != RewardMode::Standard || how.lm_coef > 0.0 {
        return Err(TrainError::Input(
            "reward.mode = \"book\" and reward.lm_coef have no counterpart in TRL's RewardTrainer; set reward.mode = \"standard\" and reward.lm_coef = 0, or train reward in danlu"
                .to_owned(),
        ));
    }
    let tokenizer = o.known_tokenizer()?;
    let mut model = o.model.clone();
    model_folder::name_tokens(&mut model, &tokenizer);
    let lm_table = Arc::new(ParamTable::new(&model));
    let table = Arc::new(ParamTable::scalar(&model));
    let history = History::new(&[1.0], Shape { rows: budget, window: o.plan.context, micros: 1 })?;
    let (mut state, lm) = o.begin(&model, &lm_table, &tokenizer, history)?;
    let params = table.from_language_model(&lm_table, &lm, model::STD, seed)?;
    let weights = Weights::alloc(o.device, "parent", &lm_table)?;
    weights.write(o.device, &lm)?;
    let parent = state.parent_digest.clone().unwrap_or_default();
    let answers = Answers::Drawn { model: &model, weights: &weights, parent: &parent, begins: true };
    let (pairs, texts) = pairs::gather_texts(o, &answers, &tokenizer)?;
    state.data.clone_from(&pairs.digest);
    if !votes::read(o.run.view(), &mut Vec::new())?.is_empty() {
        o.notes.push("the votes of this run stay in danlu: the hand-over has the pairs alone".to_owned());
    }
    let steps = given::target(o, 0)?;
    let mut draws = Draws::new(seed, &pairs.train);
    let order = (0..steps).map(|step| draws.step(step, |_| budget)).collect();
    let tokens = pairs.train.iter().map(|p| (p.chosen.ids.len() + p.rejected.ids.len()) as u64).sum();
    let work = Work::Pairs(GivenPairs::new(&pairs, &texts, order));
    Ok(Given { epoch_tokens: tokens, work, head: Head::Score, model, table, params, tokenizer, state, steps })
}

/// A reward model whose weights another trainer trained: measured on the run's held-out pairs, by which its scores get
/// their scale, and ready to be saved.
pub(crate) fn take(o: &mut Opening<'_>, mut state: State, params: Vec<f32>) -> Result<Taken, TrainError> {
    let tokenizer = o.known_tokenizer()?;
    let mut model = o.model.clone();
    model_folder::name_tokens(&mut model, &tokenizer);
    let lm_table = Arc::new(ParamTable::new(&model));
    let known = (Vec::new(), tokenizer.clone());
    let how = o.config.reward_settings()?;
    let mut learner = RewardModel::new(o.device, &model, o.plan, how, o.config.seed, known)?;
    let (lm, _) = lineage::started_from(o.run.view(), &state, &model, &lm_table)?;
    let weights = Weights::alloc(o.device, "parent", &lm_table)?;
    weights.write(o.device, &lm)?;
    let parent = state.parent_digest.clone().unwrap_or_default();
    let answers = Answers::Drawn { model: &model, weights: &weights, parent: &parent, begins: false };
    learner.teach(pairs::gather(o, &answers, &tokenizer)?);
    learner.adopt(o.device, &params, state.step)?;
    let (report, eval_loss) = learner.report(o.device, state.step as usize)?;
    let part = learner.part(o.device)?;
    learner.write_state(&mut state);
    let events = vec![held_out(state.step as usize, eval_loss), Event::Reward(report)];
    Ok(Taken { part, model, tokenizer, state, events })
}

/// The event of a loss on the held-out pairs.
fn held_out(step: usize, eval_loss: f64) -> Event {
    Event::Eval {
        step,
        source: "all".to_owned(),
        eval_loss,
        eval_bits_per_byte: f64::NAN,
        train_loss: None,
        sampled_loss: None,
    }
}

/// Counts what [`open`] allocates.
pub(crate) fn count(on: &mut Counting<'_>) -> Result<usize, TrainError> {
    let learner = RewardModel::learner(on.device, on.model, on.plan, &on.config.reward_settings()?)?;
    let weights = Weights::alloc(on.device, "parent", &Arc::new(ParamTable::new(on.model)))?;
    Decoder::new(on.device, on.model, &weights, on.model.max_position_embeddings)?;
    pairs::count(on, &weights)?;
    Ok(learner.table().slab_len)
}

impl StageRun for Reward {
    fn model(&self) -> Model<'_> {
        Model { config: &self.learner.model, table: self.learner.table() }
    }

    fn language_model(&self) -> Arc<ParamTable> {
        Arc::new(ParamTable::new(&self.learner.model))
    }

    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError> {
        self.learner.step(device, step, rate)
    }

    fn drawn(&mut self, step: usize) -> Vec<SourceUse> {
        let epoch = self.learner.epochs(step);
        vec![SourceUse { tokens: (epoch * self.epoch_tokens() as f64) as u64, epoch }]
    }

    fn epoch_tokens(&self) -> u64 {
        self.learner.tokens()
    }

    fn sources(&self) -> Vec<SourceInfo> {
        let (train, held_out) = self.learner.pairs().map_or((&[][..], &[][..]), |p| (&p.train, &p.held_out));
        vec![SourceInfo {
            name: "pairs".to_owned(),
            weight: 1.0,
            documents: train.len(),
            tokens: self.epoch_tokens() as usize,
            held_out_tokens: held_out.iter().map(|p| p.chosen.ids.len() + p.rejected.ids.len()).sum(),
        }]
    }

    fn validate(&mut self, device: &mut Device, done: usize, _whole: bool) -> Result<Vec<Event>, TrainError> {
        let (report, eval_loss) = self.learner.report(device, done)?;
        Ok(vec![held_out(done, eval_loss), Event::Reward(report)])
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError> {
        Ok(vec![self.learner.part(device)?])
    }

    fn write_state(&self, state: &mut State) {
        self.learner.write_state(state);
    }

    fn preference(&mut self) -> Option<&mut dyn Preference> {
        Some(&mut self.learner)
    }
}
