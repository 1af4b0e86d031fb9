//! Direct preference optimisation (Rafailov et al. 2023): learning from pairs without a reward model.
//!
//! The policy itself is the reward model: β·(log π − log π_ref) of the chosen answer should exceed that of the rejected
//! one. If the run has a reward model, only the reports use it. No answers are sampled for training; some are sampled
//! for the guard.

use std::sync::Arc;

use super::{
    Begun, Method, Restored, Shared,
    episode::{Actions, Episode, pack, scatter, zeros},
    roles::{Measured, Roles, largest},
    sanity,
};
use crate::{
    compute::{Device, rng::Stream},
    data::{PairExample, tokens::shuffle::permute},
    nn::{
        Head, ParamTable, Weights,
        feedback::{DpoLoss, DpoPair, dpo_loss},
    },
    protocol::{Event, SourceInfo},
    train::{
        config::StageSettings,
        error::TrainError,
        stages::{
            given::{self, Given, GivenPairs, Work},
            opening::{Counting, Opened, Opening},
            packed_rows::Micro,
            reward::pairs::{self, Answers, Pairs},
            stage_run::Submitted,
        },
    },
};

/// Rows per pass.
const ROWS: usize = 8;
/// Answers sampled for the guard, and the steps between two samplings.
const WATCHED: usize = 128;
const WATCH_STEPS: usize = 10;

/// DPO as a stage.
struct Dpo {
    how: StageSettings,
    pairs: Pairs,
    /// Pairs per step.
    each: usize,
}

/// Scored pairs: chosen and rejected alternating.
struct Scored {
    sides: Vec<Episode>,
    micros: Vec<Micro>,
    loss: DpoLoss,
    /// Mean log π of the chosen and of the rejected answers.
    logps: (f64, f64),
    /// The largest |margin| of the pairs.
    margin: f64,
}

pub(crate) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let how = o.config.settings(o.stage);
    let Restored { shared, mut state, reference, .. } = Shared::open(o, (WATCHED, ROWS), |_, _| Ok(Vec::new()))?;
    let weights = Weights::alloc(o.device, "parent", shared.roles.policy.table())?;
    weights.write(o.device, &reference)?;
    let parent = state.parent_digest.clone().unwrap_or_default();
    let answers = Answers::Drawn { model: &shared.model, weights: &weights, parent: &parent, begins: state.step == 0 };
    let pairs = pairs::gather(o, &answers, &shared.tokenizer)?;
    o.same_data(&mut state, &pairs.digest);
    let each = o.plan.batch_size;
    let method = Dpo { how, pairs, each };
    super::ready(o, shared, method, state)
}

/// Counts what [`open`] allocates.
pub(crate) fn count(on: &mut Counting<'_>) -> Result<usize, TrainError> {
    let (trained, policy) = super::count(on, (WATCHED, ROWS))?;
    // Pairs are sampled from the parent model, in addition to the reference.
    Weights::alloc(on.device, "parent", &Arc::new(ParamTable::new(on.model)))?;
    pairs::count(on, &policy)?;
    Ok(trained)
}

/// What the stage gives to another trainer, which draws the same pairs at the same steps.
pub(crate) fn give(o: &mut Opening<'_>) -> Result<Given, TrainError> {
    let how = o.config.settings(o.stage);
    if how.label_smoothing > 0.0 {
        return Err(TrainError::Input(format!(
            "dpo.label_smoothing is {}, and the sigmoid loss of TRL has no label smoothing; set dpo.label_smoothing = 0, or train dpo in danlu",
            how.label_smoothing
        )));
    }
    let Begun { tokenizer, model, table, params, mut state } = super::begin_to_give(o)?;
    let weights = Weights::alloc(o.device, "parent", &table)?;
    weights.write(o.device, &params)?;
    let parent = state.parent_digest.clone().unwrap_or_default();
    let answers = Answers::Drawn { model: &model, weights: &weights, parent: &parent, begins: true };
    let (pairs, texts) = pairs::gather_texts(o, &answers, &tokenizer)?;
    state.data.clone_from(&pairs.digest);
    let (steps, n) = (given::target(o, 0)?, pairs.train.len());
    let order = (0..steps).map(|step| drawn(o.config.seed, step, o.plan.batch_size, n)).collect();
    let given = Work::Pairs(GivenPairs::new(&pairs, &texts, order));
    Ok(Given {
        epoch_tokens: tokens(&pairs.train),
        work: given,
        head: Head::Language,
        model,
        table,
        params,
        tokenizer,
        state,
        steps,
    })
}

impl Dpo {
    /// The pairs of a step.
    fn draw(&self, seed: u64, step: usize) -> Vec<PairExample> {
        let drawn = drawn(seed, step, self.each, self.pairs.train.len());
        drawn.into_iter().map(|at| self.pairs.train[at].clone()).collect()
    }

    /// Log-probabilities of pairs under policy and reference.
    fn score(&self, roles: &mut Roles, device: &mut Device, pairs: &[PairExample]) -> Result<Scored, TrainError> {
        let sides: Vec<Episode> =
            pairs.iter().flat_map(|p| [Episode::of_side(&p.chosen), Episode::of_side(&p.rejected)]).collect();
        let which: Vec<usize> = (0..sides.len()).collect();
        let micros = pack(&sides, &which, roles.frame)?;
        let (mut ours, mut theirs) = (zeros(&sides), zeros(&sides));
        roles.logprobs(device, &sides, &micros, &mut ours)?;
        roles.reference(device, &sides, &micros, &mut theirs)?;
        let sum = |of: &Actions, i: usize| of[i].iter().map(|x| f64::from(*x)).sum::<f64>() as f32;
        let pair = |i: usize| DpoPair {
            chosen: sum(&ours, 2 * i),
            rejected: sum(&ours, 2 * i + 1),
            chosen_reference: sum(&theirs, 2 * i),
            rejected_reference: sum(&theirs, 2 * i + 1),
        };
        let all: Vec<DpoPair> = (0..pairs.len()).map(pair).collect();
        let loss = dpo_loss(&all, self.how.beta, self.how.label_smoothing);
        let n = all.len().max(1) as f64;
        let mean = |f: &dyn Fn(&DpoPair) -> f32| all.iter().map(|p| f64::from(f(p))).sum::<f64>() / n;
        let logps = (mean(&|p| p.chosen), mean(&|p| p.rejected));
        let lead = |p: &DpoPair| {
            let [w, l, rw, rl] = [p.chosen, p.rejected, p.chosen_reference, p.rejected_reference].map(f64::from);
            (f64::from(self.how.beta) * ((w - rw) - (l - rl))).abs()
        };
        let margin = all.iter().map(lead).fold(0.0, largest);
        Ok(Scored { sides, micros, loss, logps, margin })
    }
}

/// Which of `n` pairs a step draws with `each` pairs per step: in shuffled order, epoch after epoch.
fn drawn(seed: u64, step: usize, each: usize, n: usize) -> Vec<usize> {
    let place = |at: usize| permute(seed, Stream::DpoPairs((at / n) as u64), n, at % n);
    (0..each.min(n)).map(|i| place(step * each + i)).collect()
}

/// Samples answers to some questions, for the guard and the sanity checks.
fn answers(shared: &mut Shared, device: &mut Device, step: usize) -> Result<Measured, TrainError> {
    let prompts = shared.prompts.take(step * WATCHED, WATCHED);
    let episodes = shared.draw(device, &prompts, step * WATCHED)?;
    shared.roles.measure(device, episodes, shared.split(step, 1, 1))
}

impl Method for Dpo {
    fn update(
        &mut self,
        shared: &mut Shared,
        device: &mut Device,
        step: usize,
        rate: f32,
    ) -> Result<Submitted, TrainError> {
        let looks = step.is_multiple_of(WATCH_STEPS);
        let drawn = if looks || shared.opening { Some(answers(shared, device, step)?) } else { None };
        let pairs = self.draw(shared.seed, step);
        let scored = self.score(&mut shared.roles, device, &pairs)?;
        let Scored { sides, micros, loss, logps, margin } = scored;
        shared.check(step, |fresh| {
            // After a resume the policy differs from its reference.
            let first = fresh.then(|| sanity::dpo(loss.loss, margin));
            let kl = drawn.as_ref().filter(|_| fresh).map(sanity::kl);
            let sampler = drawn.as_ref().map(sanity::sampler);
            first.into_iter().flatten().chain(kl).chain(sampler).collect()
        });
        let both = loss.chosen_weights.iter().zip(&loss.rejected_weights).flat_map(|(w, l)| [*w, *l]);
        let weights: Actions = both.zip(&sides).map(|(w, side)| vec![w; side.actions()]).collect();
        for micro in &micros {
            shared.roles.policy.backward(device, micro.batch(), &scatter(&sides, micro, &weights))?;
        }
        let ticket = shared.roles.policy.update(device, rate, loss.loss as f32)?;
        let mut extra = vec![
            ("rewards/chosen", loss.chosen),
            ("rewards/rejected", loss.rejected),
            ("rewards/accuracies", loss.accuracies),
            ("rewards/margins", loss.margins),
            ("logps/chosen", logps.0),
            ("logps/rejected", logps.1),
        ];
        if let Some(measured) = drawn.filter(|_| looks) {
            let kl = measured.kl();
            extra.push(("objective/kl", kl.iter().sum::<f64>() / kl.len().max(1) as f64));
            extra.extend(shared.guarded(&measured));
        }
        let tokens = sides.iter().map(|s| s.ids.len()).sum();
        Ok(Submitted { tokens, ticket, loss: Some(loss.loss), extra })
    }

    fn source(&self, _shared: &Shared, step: usize) -> (SourceInfo, f64) {
        let documents = self.pairs.train.len();
        let held_out_tokens = self.pairs.held_out.iter().map(|p| p.chosen.ids.len() + p.rejected.ids.len()).sum();
        let source = SourceInfo {
            name: "pairs".to_owned(),
            weight: 1.0,
            documents,
            tokens: tokens(&self.pairs.train) as usize,
            held_out_tokens,
        };
        (source, (step * self.each) as f64 / documents.max(1) as f64)
    }

    fn epoch_tokens(&self, _shared: &Shared) -> u64 {
        tokens(&self.pairs.train)
    }

    /// The loss on held-out pairs.
    fn validate(&mut self, shared: &mut Shared, device: &mut Device, done: usize) -> Result<Vec<Event>, TrainError> {
        let held = self.pairs.held_out.clone();
        let loss = self.score(&mut shared.roles, device, &held)?.loss;
        Ok(vec![
            Event::Eval {
                step: done,
                source: "all".to_owned(),
                eval_loss: loss.loss,
                eval_bits_per_byte: f64::NAN,
                train_loss: None,
                sampled_loss: None,
            },
            Event::Note {
                step: done,
                text: format!(
                    "held-out pairs: the policy prefers the better answer more than its reference does in {:.1} %",
                    100.0 * loss.accuracies
                ),
            },
        ])
    }
}

/// Tokens of both sides of pairs.
fn tokens(pairs: &[PairExample]) -> u64 {
    pairs.iter().map(|p| (p.chosen.ids.len() + p.rejected.ids.len()) as u64).sum()
}
