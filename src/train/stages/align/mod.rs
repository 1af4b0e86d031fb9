//! Stages that optimise a policy against preferences: the parts that PPO, GRPO and DPO share.
//!
//! All three start from the fine-tuned model, which is kept as the reference; [`roles`] computes the log-probabilities
//! and scores of answers. [`rollouts`] samples answers, [`passes`] does the clipped passes over them, [`sanity`] checks
//! that sampling, scoring and learning agree, [`guard`] watches for collapse, [`rollout_view`] shows one answer token
//! by token, and [`judge`] evaluates on held-out prompts. A [`Method`] is the update.

pub(super) mod dpo;
mod episode;
pub(super) mod grpo;
mod guard;
mod judge;
mod passes;
pub(super) mod ppo;
mod ptx;
mod roles;
mod rollout_view;
mod rollouts;
mod sanity;
#[cfg(test)]
mod toy;

use std::sync::Arc;

use self::{
    episode::Episode,
    guard::Guard,
    judge::Judge,
    passes::Passed,
    roles::{Measured, Roles, Scorer, Split},
    rollout_view::RolloutTrace,
    rollouts::{Prompts, Sampler, asked},
};
use super::{
    given,
    opening::{Counting, Opened, Opening},
    reward::taste::Taste,
    stage_run::{Halt, Health, Model, Rollouts, StageRun, Submitted},
};
use crate::{
    base::{StageId, shell},
    compute::{Device, Ticket, rng::AnswerSeed},
    data::{self, History, Shape, Tokenizer},
    nn::{Decoder, ModelConfig, ParamTable, PolicyLearner, Weights},
    protocol::{Event, RolloutView, SanityCheck, SourceInfo, SourceUse},
    store::{Checkpoint, StoreError},
    train::{
        error::TrainError,
        run::{
            checkpoint::{self, Part, Slabs, State},
            lineage, model_folder,
        },
    },
};

/// The state that all methods work with.
pub(crate) struct Shared {
    pub model: ModelConfig,
    pub seed: u64,
    pub stage: StageId,
    pub tokenizer: Tokenizer,
    pub roles: Roles,
    /// None if the method needs no reward model and the run has none.
    pub reward: Option<Scorer>,
    pub sampler: Sampler,
    pub prompts: Prompts,
    judge: Judge,
    pub guard: Guard,
    decoder: Decoder,
    history: History,
    health: Health,
    /// Whether the next update is the first since the stage was opened.
    pub opening: bool,
    trace: Option<RolloutTrace>,
}

/// An opened stage with the state for its method.
pub(crate) struct Restored {
    pub shared: Shared,
    pub state: State,
    /// The other models of the checkpoint, if there is one.
    pub beside: Option<Vec<Slabs>>,
    /// The reference's parameters.
    pub reference: Vec<f32>,
}

/// The update of PPO, GRPO or DPO.
pub(crate) trait Method {
    /// Update `step` (counted from 0) with a learning rate.
    fn update(
        &mut self,
        shared: &mut Shared,
        device: &mut Device,
        step: usize,
        rate: f32,
    ) -> Result<Submitted, TrainError>;

    /// The training data, and the passes over them before a step.
    fn source(&self, shared: &Shared, step: usize) -> (SourceInfo, f64);

    /// Tokens per pass over the training data.
    fn epoch_tokens(&self, shared: &Shared) -> u64;

    /// Held-out figures in addition to the judge's.
    fn validate(&mut self, _shared: &mut Shared, _device: &mut Device, _done: usize) -> Result<Vec<Event>, TrainError> {
        Ok(Vec::new())
    }

    /// The models other than the policy that a checkpoint contains.
    fn parts(&mut self, _device: &mut Device) -> Result<Vec<Part>, TrainError> {
        Ok(Vec::new())
    }

    /// Writes the method's state, apart from tensors.
    fn write_state(&self, _state: &mut State) {}

    /// The coefficient of the KL term of the reward, if it has one.
    fn kl_coef(&self) -> Option<f64> {
        None
    }

    /// Sets that coefficient.
    fn set_kl_coef(&mut self, _coefficient: f64) {}
}

impl Shared {
    /// Opens the shared parts for `rollouts` answers sampled at a time and passes of `rows` rows; `beside` reads the
    /// other models of a checkpoint. Nothing is written before everything is known to fit.
    pub(crate) fn open(
        o: &mut Opening<'_>,
        (rollouts, rows): (usize, usize),
        beside: impl Fn(&Checkpoint, &ModelConfig) -> Result<Vec<Slabs>, StoreError>,
    ) -> Result<Restored, TrainError> {
        let tokenizer = o.known_tokenizer()?;
        let end = tokenizer
            .turn_end()
            .ok_or_else(|| TrainError::Input("the tokenizer has no tokens of the chat template".to_owned()))?;
        let (mut model, plan) = (o.model.clone(), o.plan);
        model_folder::name_tokens(&mut model, &tokenizer);
        let frame = (rows, plan.context, model.pad_token_id.unwrap_or(0));
        let mut policy = PolicyLearner::new(o.device, &model, frame.0, frame.1, plan.adamw)?;
        let table = Arc::clone(policy.table());
        let history = History::new(&[1.0], Shape { rows: frame.0, window: frame.1, micros: 1 })?;
        let found = o.own(|c| {
            let (state, slabs) = checkpoint::load(c, &model, &table)?;
            let mut all = vec![slabs];
            all.extend(beside(c, &model)?);
            Ok((state, all))
        })?;
        let (state, reference, beside) = if let Some((state, mut slabs)) = found {
            policy.write_state(o.device, &slabs.remove(0))?;
            (state.clone(), lineage::started_from(o.run.view(), &state, &model, &table)?.0, Some(slabs))
        } else {
            let (state, slab) = o.begin(&model, &table, &tokenizer, history.clone())?;
            policy.write_params(o.device, &slab)?;
            (state, slab, None)
        };
        let reward = reward_model(o, &model, state.reward_model.as_ref(), frame)?;
        let roles = Roles::new(o.device, policy, &reference, frame.2)?;
        let weights = roles.policy.params();
        let how = (end, o.config.settings(o.stage).response_length, o.config.seed);
        let sampler = Sampler::new(o.device, &model, weights, rollouts, plan.context, how)?;
        let decoder = Decoder::new(o.device, &model, weights, model.max_position_embeddings)?;
        let judged = data::builtin_judge_prompts()?;
        let prompts = Prompts::new(data::builtin_prompts()?, &judged, o.config.seed);
        let judge = Judge { prompts: judged, stage: o.stage, seed: o.config.seed, log: None };
        let shared = Shared {
            model,
            seed: o.config.seed,
            stage: o.stage,
            tokenizer,
            roles,
            reward,
            sampler,
            prompts,
            judge,
            guard: Guard::new(o.config.guard_settings(), state.guard),
            decoder,
            history,
            health: Health::default(),
            opening: true,
            trace: None,
        };
        Ok(Restored { shared, state, beside, reference })
    }

    /// Samples answers to questions from the current policy.
    pub(crate) fn draw(
        &mut self,
        device: &mut Device,
        prompts: &[String],
        first: usize,
    ) -> Result<Vec<Episode>, TrainError> {
        self.sampler.answers(device, asked(prompts, &self.tokenizer)?, AnswerSeed::Learned(first).number())
    }

    /// The reward model's scores of answers.
    pub(crate) fn scores(&mut self, device: &mut Device, all: &[Episode]) -> Result<Vec<f32>, TrainError> {
        let Some(reward) = &mut self.reward else {
            return Err(TrainError::Work(format!("{} has no reward model", self.stage)));
        };
        reward.scores(device, all)
    }

    /// How this update's answers are split into passes and minibatches.
    pub(crate) fn split(&self, step: usize, epochs: usize, minibatches: usize) -> Split {
        Split { seed: self.seed, step, epochs, minibatches }
    }

    /// Passes an update's answers to the guard; returns the figures it measured.
    pub(crate) fn guarded(&mut self, measured: &Measured) -> Vec<(&'static str, f64)> {
        let text = |e: &Episode| (self.tokenizer.decode_turn(&e.ids[..e.start], &e.ids[e.start..], true), e.ended);
        let answers: Vec<(String, bool)> = measured.episodes.iter().map(text).collect();
        let kl = measured.kl();
        let seen = self.guard.look(&answers, kl.iter().sum::<f64>() / kl.len().max(1) as f64);
        if let Some(why) = seen.verdict {
            self.health.halt.get_or_insert(Halt::Guarded(why));
        }
        seen.figures
    }

    /// Ends an update on sampled answers: its sanity checks, the guard, and its trace for the rollout inspector.
    /// `extra` are its metrics.
    pub(crate) fn finish(
        &mut self,
        passed: &Passed,
        ticket: Ticket,
        mut extra: Vec<(&'static str, f64)>,
        trace: RolloutTrace,
    ) -> Submitted {
        let measured = &trace.measured;
        self.check(trace.step - 1, |fresh| {
            let kl = fresh.then(|| sanity::kl(measured));
            kl.into_iter().chain(sanity::first(passed.first)).chain([sanity::sampler(measured)]).collect()
        });
        extra.extend(self.guarded(measured));
        let tokens = measured.episodes.iter().map(Episode::actions).sum();
        self.trace = Some(trace);
        Submitted { tokens, ticket, loss: Some(passed.loss), extra }
    }

    /// The sanity checks of the first update since the stage was opened.
    pub(crate) fn check(&mut self, step: usize, checks: impl FnOnce(bool) -> Vec<SanityCheck>) {
        if !std::mem::take(&mut self.opening) {
            return;
        }
        let checks = checks(step == 0);
        if let Some(why) = sanity::broken(self.stage, &checks) {
            self.health.halt = Some(Halt::Broken(why));
        }
        self.health.events.push(Event::SanityChecks { step: step + 1, checks });
    }

    /// The prompts as a source, and the passes over them before a step with `each` prompts per step.
    pub(crate) fn questions_asked(&self, step: usize, each: usize) -> (SourceInfo, f64) {
        let documents = self.prompts.len();
        let source = SourceInfo { name: "prompts".to_owned(), weight: 1.0, documents, tokens: 0, held_out_tokens: 0 };
        (source, (step * each) as f64 / documents.max(1) as f64)
    }
}

/// Counts what [`Shared::open`] allocates: parameters with optimiser state, and the policy's weights.
pub(crate) fn count(on: &mut Counting<'_>, (rollouts, rows): (usize, usize)) -> Result<(usize, Weights), TrainError> {
    let (model, context) = (on.model, on.plan.context);
    let policy = PolicyLearner::new(on.device, model, rows, context, on.plan.adamw)?;
    let trained = policy.table().slab_len;
    if on.rewards {
        roles::eye(on.device, model, &Arc::new(ParamTable::scalar(model)), (rows, context))?;
    }
    let roles = Roles::new(on.device, policy, &[], 0)?;
    let weights = roles.policy.params().clone();
    let response_length = on.config.settings(on.stage).response_length;
    Sampler::new(on.device, model, &weights, rollouts, context, (0, response_length, 0))?;
    Decoder::new(on.device, model, &weights, model.max_position_embeddings)?;
    Ok((trained, weights))
}

/// The beginning of a stage of preferences, for another trainer.
struct Begun {
    tokenizer: Tokenizer,
    model: ModelConfig,
    table: Arc<ParamTable>,
    params: Vec<f32>,
    state: State,
}

/// The policy with which a stage begins that another trainer takes over.
fn begin_to_give(o: &mut Opening<'_>) -> Result<Begun, TrainError> {
    given::not_begun(o)?;
    let tokenizer = o.known_tokenizer()?;
    let mut model = o.model.clone();
    model_folder::name_tokens(&mut model, &tokenizer);
    let table = Arc::new(ParamTable::new(&model));
    // As in `Shared::open`: the rows of a pass are no part of what is learned.
    let history = History::new(&[1.0], Shape { rows: o.plan.batch_size, window: o.plan.context, micros: 1 })?;
    let (state, params) = o.begin(&model, &table, &tokenizer, history)?;
    Ok(Begun { tokenizer, model, table, params, state })
}

/// The reward model of a stage that another trainer takes over: the newest of the run.
fn judge_to_give(o: &mut Opening<'_>) -> Result<Checkpoint, TrainError> {
    let found = o.run.view().checkpoints().newest_verified(Some(StageId::Reward))?;
    o.notes.extend(found.notes());
    let checkpoint = found.found.ok_or_else(|| no_judge(o))?;
    if checkpoint::read_state(&checkpoint)?.normaliser().is_none() {
        return Err(TrainError::Input(format!(
            "{} was never measured on held-out pairs; train the reward model to its end",
            checkpoint.id
        )));
    }
    if !Taste::read(&checkpoint)?.likings.is_empty() {
        o.notes.push(format!(
            "what votes add to the scores of {} (taste.json) stays in danlu; TRL scores by the network alone",
            checkpoint.id
        ));
    }
    Ok(checkpoint)
}

/// The error for a stage that needs a reward model in a run without one.
fn no_judge(o: &Opening<'_>) -> TrainError {
    TrainError::Input(format!(
        "{} learns from a reward model, and this run has none; train it first: danlu train --stage reward --run {}",
        o.stage,
        shell::path(o.run.view().dir())
    ))
}

/// The stage, once everything is known to fit. Now the log of judged answers is opened; answers after the checkpoint
/// are moved out of it (all of them if the stage starts over).
pub(crate) fn ready<M: Method + Send + 'static>(
    o: &mut Opening<'_>,
    mut shared: Shared,
    method: M,
    state: State,
) -> Result<Opened, TrainError> {
    let mut log = o.run.answers()?;
    let cut =
        if state.step > 0 { log.truncate_after_step(Some(o.stage), state.step)? } else { log.truncate_stage(o.stage)? };
    if let Some((lines, path)) = cut {
        o.notes.push(format!("{lines} judged answers past step {} were moved to {}", state.step, path.display()));
    }
    shared.judge.log = Some(log);
    let tokenizer = shared.tokenizer.clone();
    Ok(Opened { work: Box::new(Aligned { shared, method }), tokenizer, state })
}

/// The reward model, if the stage needs one or the run has a usable one.
fn reward_model(
    o: &mut Opening<'_>,
    model: &ModelConfig,
    known: Option<&(String, String)>,
    frame: (usize, usize, u32),
) -> Result<Option<Scorer>, TrainError> {
    let needed = o.stage.needs().is_some();
    match Scorer::find(o, model, known, frame) {
        Ok(None) if needed => Err(no_judge(o)),
        Err(e) if !needed => {
            o.notes.push(format!("the reports have no rewards: {e}"));
            Ok(None)
        }
        found => found,
    }
}

/// A stage with its method.
struct Aligned<M> {
    shared: Shared,
    method: M,
}

impl<M: Method> StageRun for Aligned<M> {
    fn model(&self) -> Model<'_> {
        Model { config: &self.shared.model, table: self.shared.roles.policy.table() }
    }

    fn language_model(&self) -> Arc<ParamTable> {
        Arc::clone(self.shared.roles.policy.table())
    }

    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError> {
        self.shared.health = Health::default();
        self.method.update(&mut self.shared, device, step, rate)
    }

    fn health(&mut self) -> Health {
        std::mem::take(&mut self.shared.health)
    }

    fn drawn(&mut self, step: usize) -> Vec<SourceUse> {
        let (_, epoch) = self.method.source(&self.shared, step);
        vec![SourceUse { tokens: (epoch * self.epoch_tokens() as f64) as u64, epoch }]
    }

    fn epoch_tokens(&self) -> u64 {
        self.method.epoch_tokens(&self.shared)
    }

    fn sources(&self) -> Vec<SourceInfo> {
        vec![self.method.source(&self.shared, 0).0]
    }

    fn validate(&mut self, device: &mut Device, done: usize, _whole: bool) -> Result<Vec<Event>, TrainError> {
        let mut events = self.method.validate(&mut self.shared, device, done)?;
        let Shared { judge, roles, reward, sampler, tokenizer, .. } = &mut self.shared;
        let reports = judge.report(device, roles, reward.as_mut(), sampler, tokenizer, done)?;
        events.extend(reports.into_iter().map(Event::Policy));
        Ok(events)
    }

    fn history(&self) -> &History {
        &self.shared.history
    }

    fn decoder(&mut self) -> &mut Decoder {
        &mut self.shared.decoder
    }

    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError> {
        if let Some(log) = &mut self.shared.judge.log {
            log.sync()?;
        }
        let policy = &self.shared.roles.policy;
        let mut all = vec![Part {
            folder: "",
            config: self.shared.model.to_json(),
            table: Arc::clone(policy.table()),
            slabs: policy.read_state(device)?,
            also: None,
            divisor: None,
        }];
        all.extend(self.method.parts(device)?);
        Ok(all)
    }

    fn write_state(&self, state: &mut State) {
        state.reward_model = self.shared.reward.as_ref().map(|r| r.id.clone());
        state.guard = Some(self.shared.guard.state);
        self.method.write_state(state);
    }

    fn kl_coef(&self) -> Option<f64> {
        self.method.kl_coef()
    }

    fn set_kl_coef(&mut self, coefficient: f64) {
        self.method.set_kl_coef(coefficient);
    }

    fn rollouts(&self) -> Option<&dyn Rollouts> {
        Some(&self.shared)
    }
}

impl Rollouts for Shared {
    fn rollout(&self, which: usize) -> Result<RolloutView, TrainError> {
        match &self.trace {
            Some(trace) => Ok(trace.view(which, &self.tokenizer)),
            None if self.stage == StageId::Dpo => {
                TrainError::refused("dpo learns from pairs and samples no answers; ppo and grpo do")
            }
            None => TrainError::refused("no update in this launch yet; look again after the next"),
        }
    }
}
