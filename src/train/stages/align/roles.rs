//! The models beside the policy, and the log-probabilities and scores that they give to answers.

use std::sync::Arc;

use super::episode::{Actions, Episode, gather, pack, zeros};
use crate::{
    base::StageId,
    compute::{DType, Device, rng::Stream},
    data::{Example, Tokenizer, tokens::shuffle::permute},
    nn::{Evaluator, ModelConfig, ParamTable, PolicyLearner, ScalarEvaluator, Weights},
    train::{
        error::TrainError,
        run::checkpoint,
        stages::{
            opening::{Opening, same_words},
            packed_rows::{self, Micro},
            reward::{
                model::scored,
                taste::{self, Taste},
            },
        },
    },
};

/// The policy and its reference.
pub(crate) struct Roles {
    pub policy: PolicyLearner,
    reference: Evaluator,
    /// Rows and tokens of a micro-batch, and the padding id.
    pub frame: (usize, usize, u32),
}

/// Episodes that are processed together.
pub(crate) struct Minibatch {
    /// Their indices in the update.
    pub which: Vec<usize>,
    pub micros: Vec<Micro>,
}

/// How an update's answers are split into passes and minibatches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    pub seed: u64,
    pub step: usize,
    pub epochs: usize,
    pub minibatches: usize,
}

/// An update's answers with their log-probabilities before it.
pub(crate) struct Measured {
    pub episodes: Vec<Episode>,
    /// The minibatches of each pass. `old` is scored in exactly the rows of the first pass that the update
    /// differentiates, so that the first ratio is 1.
    pub minibatches: Vec<Vec<Minibatch>>,
    pub old: Actions,
    pub reference: Actions,
    /// The dtype of logits on the device.
    pub act: DType,
}

impl Measured {
    /// Σ (log π − log π_ref) of each answer, in nats.
    pub(crate) fn kl(&self) -> Vec<f64> {
        let kl = |(old, reference): (&Vec<f32>, &Vec<f32>)| {
            old.iter().zip(reference).map(|(a, b)| f64::from(*a) - f64::from(*b)).sum()
        };
        self.old.iter().zip(&self.reference).map(kl).collect()
    }

    /// The largest difference between the sampler's and the scoring pass's log-probabilities.
    pub(crate) fn sampler_gap(&self) -> f64 {
        let gap = |(e, old): (&Episode, &Vec<f32>)| {
            let of = e.sampled.iter().zip(old).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
            of.fold(0.0, largest)
        };
        self.episodes.iter().zip(&self.old).map(gap).fold(0.0, largest)
    }
}

/// The larger of two numbers; NaN if either is NaN.
pub(crate) fn largest(a: f64, b: f64) -> f64 {
    if a >= b { a } else { b }
}

impl Roles {
    /// The policy with its reference, whose parameters are `slab`.
    pub(crate) fn new(
        device: &mut Device,
        policy: PolicyLearner,
        reference: &[f32],
        pad: u32,
    ) -> Result<Roles, TrainError> {
        let (rows, context) = policy.shape();
        let weights = Weights::alloc(device, "reference", policy.table())?;
        weights.write(device, reference)?;
        let reference = Evaluator::new(device, policy.config(), &weights, rows, context)?;
        Ok(Roles { policy, reference, frame: (rows, context, pad) })
    }

    /// The minibatches of a pass, in order.
    fn minibatches(&self, all: &[Episode], split: Split, epoch: usize) -> Result<Vec<Minibatch>, TrainError> {
        let n = all.len();
        let pass = Stream::Minibatches((split.step * split.epochs + epoch) as u64);
        let order: Vec<usize> = (0..n).map(|at| permute(split.seed, pass, n, at)).collect();
        let batch = |which: &[usize]| Ok(Minibatch { which: which.to_vec(), micros: pack(all, which, self.frame)? });
        order.chunks(n.div_ceil(split.minibatches).max(1)).map(batch).collect()
    }

    /// log π of the actions in a micro-batch.
    pub(crate) fn logprobs(
        &mut self,
        device: &mut Device,
        all: &[Episode],
        micros: &[Micro],
        into: &mut Actions,
    ) -> Result<(), TrainError> {
        for micro in micros {
            let rows = self.policy.logprobs(device, micro.batch())?;
            gather(all, micro, &rows, into);
        }
        Ok(())
    }

    /// log π_ref of the actions in a micro-batch.
    pub(crate) fn reference(
        &mut self,
        device: &mut Device,
        all: &[Episode],
        micros: &[Micro],
        into: &mut Actions,
    ) -> Result<(), TrainError> {
        for micro in micros {
            let losses = self.reference.losses(device, &micro.ids, &micro.targets, Some(&micro.starts))?;
            gather(all, micro, &losses.into_iter().map(|loss| -loss).collect::<Vec<f32>>(), into);
        }
        Ok(())
    }

    /// Log-probabilities of answers under policy and reference, in the rows of the first pass.
    pub(crate) fn measure(
        &mut self,
        device: &mut Device,
        episodes: Vec<Episode>,
        split: Split,
    ) -> Result<Measured, TrainError> {
        let pass = |epoch| self.minibatches(&episodes, split, epoch);
        let minibatches: Vec<Vec<Minibatch>> = (0..split.epochs).map(pass).collect::<Result<_, _>>()?;
        let (mut old, mut reference) = (zeros(&episodes), zeros(&episodes));
        for batch in minibatches.iter().take(1).flatten() {
            self.logprobs(device, &episodes, &batch.micros, &mut old)?;
            self.reference(device, &episodes, &batch.micros, &mut reference)?;
        }
        Ok(Measured { episodes, minibatches, old, reference, act: device.traits().act })
    }
}

/// A reward model's uninitialised weights, and the pass over them.
pub(crate) fn eye(
    device: &mut Device,
    model: &ModelConfig,
    table: &Arc<ParamTable>,
    (rows, context): (usize, usize),
) -> Result<(Weights, ScalarEvaluator), TrainError> {
    let weights = Weights::alloc(device, "reward model", table)?;
    let eye = ScalarEvaluator::new(device, model, &weights, rows, context)?;
    Ok((weights, eye))
}

/// A reward model that scores whole answers.
pub(crate) struct Scorer {
    eye: ScalarEvaluator,
    /// What votes taught beside it.
    taste: Taste,
    tokenizer: Tokenizer,
    /// Mean and standard deviation of its scores of reference answers.
    scale: (f64, f64),
    /// Its checkpoint and digest.
    pub id: (String, String),
    /// Subtracted from the score of an answer that does not end.
    missing_end: f32,
    frame: (usize, usize, u32),
}

impl Scorer {
    /// The reward model that a stage has used so far; for a new stage the newest of the run. None if the run has none.
    pub(crate) fn find(
        o: &mut Opening<'_>,
        model: &ModelConfig,
        known: Option<&(String, String)>,
        frame: (usize, usize, u32),
    ) -> Result<Option<Scorer>, TrainError> {
        let stage = o.stage;
        let table = Arc::new(ParamTable::scalar(model));
        let checkpoints = o.run.view().checkpoints();
        let found = if let Some((name, digest)) = known {
            let lost = |why: &str| {
                TrainError::Input(format!(
                    "{stage} learns from {name}, {why}; a stage keeps its reward model: start a new run for another"
                ))
            };
            let found = checkpoints.verify(&checkpoints.named(name)?.ok_or_else(|| lost("which no longer exists"))?)?;
            if found.digest != *digest {
                return Err(lost("which has changed"));
            }
            Some(found)
        } else {
            let found = checkpoints.newest_verified(Some(StageId::Reward))?;
            if let (None, Some(first)) = (&found.found, found.skipped.first()) {
                return Err(TrainError::Input(format!(
                    "{stage} learns from a reward model, and this run has no valid one (newest, {}: {})",
                    first.id, first.error
                )));
            }
            o.notes.extend(found.notes());
            found.found
        };
        let Some(found) = found else { return Ok(None) };
        let (state, [params, ..]) = checkpoint::load_as(&found, model, &table, crate::nn::Head::Score)?;
        let (tokenizer, taste) = (o.known_tokenizer()?, Taste::read(&found)?);
        same_words(&found, &tokenizer)?;
        let scale = state.normaliser().ok_or_else(|| {
            TrainError::Input(format!(
                "{} was never measured on held-out pairs; train the reward model to its end",
                found.id
            ))
        })?;
        let (weights, eye) = eye(o.device, model, &table, (frame.0, frame.1))?;
        weights.write(o.device, &params)?;
        let (id, missing_end) = ((found.id.to_string(), found.digest), o.config.settings(stage).missing_eos_penalty);
        Ok(Some(Scorer { eye, taste, tokenizer, scale, id, missing_end, frame }))
    }

    /// The normalised score of each answer, read at its last token, less the penalty for a missing end.
    pub(crate) fn scores(&mut self, device: &mut Device, all: &[Episode]) -> Result<Vec<f32>, TrainError> {
        let (rows, context, pad) = self.frame;
        let examples: Vec<Example> = all.iter().map(|e| scored(&e.ids, pad)).collect();
        let mut scores = vec![0.0; all.len()];
        for micro in packed_rows::micros(&examples, rows, context, pad)? {
            let output = self.eye.scores(device, micro.rows())?;
            for (i, place) in &micro.spans {
                let raw = f64::from(output[place + examples[*i].ids.len() - 2]);
                scores[*i] = ((raw - self.scale.0) / self.scale.1) as f32;
            }
        }
        if !self.taste.likings.is_empty() {
            for (score, e) in scores.iter_mut().zip(all) {
                let (prompt, answer) = taste::texts(&self.tokenizer, &e.ids, e.start);
                *score = match self.taste.leak {
                    Some(_) => self.taste.reward(f64::from(*score), &prompt, &answer) as f32,
                    // Added in f32, as it was in earlier versions.
                    None => *score + self.taste.of(&prompt, &answer) as f32,
                };
            }
        }
        for (score, _) in scores.iter_mut().zip(all).filter(|(_, e)| !e.ended) {
            *score -= self.missing_end;
        }
        Ok(scores)
    }
}
