//! PPO with four roles: policy, reference, reward model and value net.
//!
//! An update samples answers, scores them, and makes several passes over them. The KL to the reference is part of the
//! reward, token by token; the advantage of a token is what it was worth beyond the value net's estimate.

use std::sync::Arc;

use super::{
    Method, Restored, Shared,
    episode::{Actions, Episode, flat, gather, scatter, unflat, zeros},
    passes::{Passed, Passes, mean, mismatch},
    ptx::Ptx,
    roles::{Measured, Minibatch, Roles, Split},
    rollout_view::RolloutTrace,
};
use crate::{
    compute::{Device, Ticket},
    nn::{
        Head, ModelConfig, ParamTable, ScalarLearner,
        feedback::{AdaptiveKl, Objective, gae, kl_rewards, value_loss, whiten},
    },
    protocol::SourceInfo,
    train::{
        config::StageSettings,
        error::TrainError,
        run::checkpoint::{self, Part, State},
        stages::{
            opening::{Counting, Opened, Opening},
            stage_run::Submitted,
        },
    },
};

/// The folder of the value net in a checkpoint.
const VALUE: &str = "value/";
/// Episodes of an update over which an adaptive β may change by about a factor of e^0.2.
const HORIZON: f64 = 10.0;

/// PPO as a stage.
struct Ppo {
    model: ModelConfig,
    learner: Learner,
    ptx: Option<Ptx>,
}

/// The update: scored answers in, policy and value net changed. Independent of text.
pub(crate) struct Learner {
    how: StageSettings,
    value: ScalarLearner,
    kl: AdaptiveKl,
}

/// The result of an update.
pub(crate) struct Learned {
    ticket: Ticket,
    passed: Passed,
    measured: Measured,
    values: Actions,
    rewards: Actions,
    advantages: Actions,
    value_loss: f64,
    value_clipped: f64,
    /// The β of its rewards.
    beta: f64,
    /// Mean score of an answer, the same minus the KL penalty, and mean KL.
    pub score: f64,
    reward: f64,
    mean_kl: f64,
}

pub(crate) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let how = o.config.settings(o.stage);
    let answers = (how.rollouts, o.plan.batch_size);
    let Restored { shared, mut state, beside, reference } = Shared::open(o, answers, |c, model| {
        Ok(vec![checkpoint::load_part(c, VALUE, model, &ParamTable::scalar(model), Head::Score)?])
    })?;
    let (model, frame) = (shared.model.clone(), shared.roles.frame);
    let mut value = ScalarLearner::new(o.device, &model, frame.0, frame.1, o.plan.adamw)?;
    if let Some([of_value]) = beside.as_deref() {
        value.write_state(o.device, of_value)?;
    } else {
        // It starts with the policy's trunk and a zero head, so that all values are 0.
        let table = Arc::clone(value.table());
        let language = shared.roles.policy.table();
        value.write_params(o.device, &table.from_language_model(language, &reference, 0.0, shared.seed)?)?;
    }
    let ptx = if how.ptx_coef > 0.0 { Some(Ptx::open(o, &shared.tokenizer, how.ptx_coef, frame)?) } else { None };
    o.same_data(&mut state, &shared.prompts.digest());
    // Fixed KL coefficient: from run.toml. Adaptive: restored from the checkpoint.
    let coefficient = how.target_kl.and(state.kl_coef).unwrap_or(how.kl_coef);
    let method = Ppo { model, learner: Learner::new(how, value, coefficient), ptx };
    super::ready(o, shared, method, state)
}

/// Counts what [`open`] allocates.
pub(crate) fn count(on: &mut Counting<'_>) -> Result<usize, TrainError> {
    let rows = on.plan.batch_size;
    let (policy, _) = super::count(on, (on.config.settings(on.stage).rollouts, rows))?;
    let value = ScalarLearner::new(on.device, on.model, rows, on.plan.context, on.plan.adamw)?;
    Ok(policy + value.table().slab_len)
}

impl Learner {
    /// A learner with the current β `coefficient`.
    pub(crate) fn new(how: StageSettings, value: ScalarLearner, coefficient: f64) -> Learner {
        let target = how.target_kl.unwrap_or(f64::INFINITY);
        let kl = AdaptiveKl { coefficient, target, horizon: HORIZON * how.rollouts as f64 };
        Learner { how, value, kl }
    }

    /// One update on scored answers.
    pub(crate) fn update(
        &mut self,
        device: &mut Device,
        roles: &mut Roles,
        ptx: Option<&mut Ptx>,
        (split, rate): (Split, f32),
        (episodes, scores): (Vec<Episode>, &[f32]),
    ) -> Result<Learned, TrainError> {
        let measured = roles.measure(device, episodes, split)?;
        let all = &measured.episodes;
        let mut values = zeros(all);
        for micro in measured.minibatches.iter().take(1).flatten().flat_map(|b| &b.micros) {
            let rows = self.value.scores(device, micro.rows())?;
            gather(all, micro, &rows, &mut values);
        }
        let lengths: Vec<usize> = all.iter().map(Episode::actions).collect();
        let beta = self.kl.coefficient;
        let mut given = kl_rewards(&measured.old.concat(), &measured.reference.concat(), scores, &lengths, beta as f32)
            .map_err(mismatch)?;
        let reward = given.rewards.iter().map(|r| f64::from(*r)).sum::<f64>() / all.len().max(1) as f64;
        if self.how.whiten_rewards {
            whiten(&mut given.rewards, false);
        }
        let mut targets =
            gae(&given.rewards, &values.concat(), &lengths, self.how.gamma, self.how.lam).map_err(mismatch)?;
        whiten(&mut targets.advantages, true);
        let each: Vec<usize> = (0..all.len()).collect();
        let back = |flat: &[f32]| {
            let mut of = zeros(all);
            unflat(flat, all, &each, &mut of);
            of
        };
        let (rewards, advantages, returns) = (back(&given.rewards), back(&targets.advantages), back(&targets.returns));
        let passes = Passes {
            split,
            objective: Objective::ppo(self.how.cliprange),
            advantages: &advantages,
            max_approx_kl: Some(self.how.max_approx_kl),
            hold: split.step < self.how.value_warmup_steps,
            rate,
        };
        let mut passed = passes.run(device, roles, &measured, ptx)?;
        let (of_value, value_loss, value_clipped) = self.fit(device, &measured, &values, &returns)?;
        let ticket = passed.ticket(of_value)?;
        let mean_kl = mean(&given.kl);
        if self.how.target_kl.is_some() {
            self.kl.update(mean_kl, all.len());
        }
        let score = mean(scores);
        Ok(Learned {
            ticket,
            passed,
            measured,
            values,
            rewards,
            advantages,
            value_loss,
            value_clipped,
            beta,
            score,
            reward,
            mean_kl,
        })
    }

    /// Fits the value net to the returns: its last ticket, mean loss and share of clipped values.
    fn fit(
        &mut self,
        device: &mut Device,
        measured: &Measured,
        values: &Actions,
        returns: &Actions,
    ) -> Result<(Option<Ticket>, f64, f64), TrainError> {
        let all = &measured.episodes;
        let (mut now, mut slopes) = (values.clone(), zeros(all));
        let (mut ticket, mut loss, mut clipped, mut n) = (None, 0.0, 0.0, 0.0);
        for Minibatch { which, micros } in measured.minibatches.iter().flatten() {
            for micro in micros {
                let rows = self.value.scores(device, micro.rows())?;
                gather(all, micro, &rows, &mut now);
            }
            let (now, old) = (flat(&now, which), flat(values, which));
            let fit = value_loss(&now, &old, &flat(returns, which), self.how.cliprange_value).map_err(mismatch)?;
            unflat(&fit.dvalues, all, which, &mut slopes);
            for micro in micros {
                self.value.backward(device, micro.rows(), &scatter(all, micro, &slopes))?;
            }
            ticket = Some(self.value.update(device, self.how.value_learning_rate as f32, fit.loss as f32)?);
            (loss, clipped, n) = (loss + fit.loss, clipped + fit.clip_fraction, n + 1.0);
        }
        Ok((ticket, loss / f64::max(n, 1.0), clipped / f64::max(n, 1.0)))
    }
}

impl Ppo {
    /// An update's prompts, and how many of them the policy generated.
    fn questions(
        &self,
        shared: &mut Shared,
        device: &mut Device,
        step: usize,
    ) -> Result<(Vec<String>, usize), TrainError> {
        let n = self.learner.how.rollouts;
        let most = (self.learner.how.self_prompts * n as f64).round() as usize;
        let Shared { prompts, sampler, tokenizer, .. } = shared;
        let mut all = prompts.own(device, sampler, tokenizer, most, step * n)?;
        let own = all.len();
        all.extend(prompts.take(step * n, n - own));
        Ok((all, own))
    }
}

impl Method for Ppo {
    fn update(
        &mut self,
        shared: &mut Shared,
        device: &mut Device,
        step: usize,
        rate: f32,
    ) -> Result<Submitted, TrainError> {
        let (prompts, own) = self.questions(shared, device, step)?;
        let how = &self.learner.how;
        let (n, clip) = (how.rollouts, how.cliprange);
        let split = shared.split(step, how.num_ppo_epochs, how.num_mini_batches);
        let episodes = shared.draw(device, &prompts, step * n)?;
        let scores = shared.scores(device, &episodes)?;
        let learned =
            self.learner.update(device, &mut shared.roles, self.ptx.as_mut(), (split, rate), (episodes, &scores))?;
        let Learned { passed, measured, .. } = learned;
        let ended = measured.episodes.iter().filter(|e| e.ended).count();
        let entropy = -measured.old.concat().iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64;
        let mut extra = vec![
            ("objective/kl", learned.mean_kl),
            ("objective/entropy", entropy),
            ("objective/non_score_reward", learned.reward - learned.score),
            ("objective/rlhf_reward", learned.reward),
            ("objective/scores", learned.score),
            ("policy/approxkl_avg", passed.approx_kl),
            ("policy/clipfrac_avg", passed.clip_fraction),
            ("policy/entropy_avg", passed.entropy),
            ("policy/updates", passed.updates as f64),
            ("loss/policy_avg", passed.loss),
            ("loss/value_avg", learned.value_loss),
            ("val/clipfrac_avg", learned.value_clipped),
            ("val/ratio", passed.ratio),
            ("val/ratio_var", passed.ratio_var),
            ("val/ratio_gap", passed.first.0),
            ("val/num_eos_tokens", ended as f64),
            ("kl_coef", learned.beta),
        ];
        if self.ptx.is_some() {
            extra.push(("loss/ptx_avg", passed.ptx));
        }
        if self.learner.how.self_prompts > 0.0 {
            extra.push(("self_prompts", own as f64));
        }
        let trace = RolloutTrace {
            step: step + 1,
            prompts,
            measured,
            scores,
            values: Some(learned.values),
            rewards: learned.rewards,
            advantages: learned.advantages,
            newest: passed.newest.clone(),
            clip: (clip, clip),
        };
        Ok(shared.finish(&passed, learned.ticket, extra, trace))
    }

    fn source(&self, shared: &Shared, step: usize) -> (SourceInfo, f64) {
        shared.questions_asked(step, self.learner.how.rollouts)
    }

    fn epoch_tokens(&self, shared: &Shared) -> u64 {
        (shared.prompts.len() * self.learner.how.response_length) as u64
    }

    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError> {
        let value = &self.learner.value;
        Ok(vec![Part {
            folder: VALUE,
            config: self.model.to_json_as(Head::Score),
            table: Arc::clone(value.table()),
            slabs: value.read_state(device)?,
            also: None,
            divisor: None,
        }])
    }

    fn write_state(&self, state: &mut State) {
        state.kl_coef = Some(self.learner.kl.coefficient);
    }

    fn kl_coef(&self) -> Option<f64> {
        Some(self.learner.kl.coefficient)
    }

    fn set_kl_coef(&mut self, coefficient: f64) {
        self.learner.kl.coefficient = coefficient;
    }
}
