//! A model with a scalar output per row in training: a reward model, a value net.

use std::sync::Arc;

use super::training::Training;
use crate::{
    compute::{ComputeError, DType, Device, Layout, Program, Recording, Tensor, Ticket, matmul, ops},
    nn::{
        config::ModelConfig,
        head::{Ending, Head, logit_rows},
        optimizer::AdamW,
        params::{ParamTable, Weights},
        rows::{MicroBatch, Shape, TokenRows},
    },
};

/// A trunk with a score head (`LlamaForSequenceClassification` with one label) in training.
///
/// score = `score.weight` · norm(x) for every row, so the caller chooses where to read it: a reward model at the last
/// token of an answer, a value net at the token before each action. There is no dropout: the scores come from the
/// forward pass that is differentiated.
///
/// A step is [`scores`](ScalarLearner::scores), a loss and its gradient on the host,
/// [`backward`](ScalarLearner::backward) for every micro-batch, [`update`](ScalarLearner::update).
pub struct ScalarLearner {
    training: Training,
    /// \[N, 1\].
    scores: Tensor,
    /// \[N, 1\].
    dscores: Tensor,
    read: Program,
    teach: Program,
    language: Option<Language>,
}

/// A language head on the trunk's embeddings, in addition to the score.
struct Language {
    /// \[N\] (i32).
    targets: Tensor,
    /// \[N\].
    weights: Tensor,
    /// \[N\].
    losses: Tensor,
    teach: Program,
}

impl ScalarLearner {
    /// Allocates and records everything for micro-batches of `batch` × `context`. The parameters have the layout of
    /// [`ParamTable::scalar`].
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        batch: usize,
        context: usize,
        adamw: AdamW,
    ) -> Result<ScalarLearner, ComputeError> {
        let config = ModelConfig { dropout: 0.0, ..config.clone() };
        let shape = Shape { b: batch, t: context };
        let training = Training::new(device, &config, ParamTable::scalar(&config), shape, adamw)?;
        let scores = device.alloc("scores", &[shape.rows(), 1], DType::F32)?;
        let dscores = device.alloc("dscores", &[shape.rows(), 1], DType::F32)?;
        let t = &training;
        let (weight, grad) = (t.params.score()?, t.back.grads.score()?);
        let mut rec = Recording::new(device);
        matmul(&mut rec, Layout::NT, &t.y, &weight, &scores, false)?;
        let read = rec.compile()?;
        // In f16 the gradients of scores are narrowed and multiplied by the loss scale S.
        let slopes = match t.y.dtype {
            DType::F16 => Some(device.alloc("slopes", &[shape.rows(), 1], DType::F16)?),
            DType::F32 | DType::U32 => None,
        };
        let mut rec = Recording::new(device);
        if let Some(slopes) = &slopes {
            ops::narrow(&mut rec, &dscores, slopes, Some(&t.control))?;
        }
        let slopes = slopes.as_ref().unwrap_or(&dscores);
        matmul(&mut rec, Layout::TN, slopes, &t.y, &grad, true)?;
        matmul(&mut rec, Layout::NN, slopes, &weight, &t.back.stream.dy, false)?;
        let teach = rec.compile()?;
        Ok(ScalarLearner { training, scores, dscores, read, teach, language: None })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.training.config
    }

    /// The parameter table.
    pub fn table(&self) -> &Arc<ParamTable> {
        &self.training.table
    }

    /// The live parameters, for evaluators on the same device.
    pub fn params(&self) -> &Weights {
        &self.training.params
    }

    /// Rows and positions of a micro-batch.
    pub fn shape(&self) -> (usize, usize) {
        (self.training.shape.b, self.training.shape.t)
    }

    /// The score of every row, B·T.
    pub fn scores(&mut self, device: &mut Device, rows: TokenRows<'_>) -> Result<Vec<f32>, ComputeError> {
        self.training.check("score", rows.ids, rows.starts)?;
        self.training.write_rows(device, rows.ids, rows.starts)?;
        self.training.read_off(device, &self.read)?;
        device.read(&self.scores)
    }

    /// Adds ∂L/∂θ to the gradients; `dscores` \[B·T\] is ∂L/∂score of every row, zero for rows whose score is not used.
    /// Directly after [`scores`](ScalarLearner::scores) of the same rows the forward pass is not run again.
    pub fn backward(&mut self, device: &mut Device, rows: TokenRows<'_>, dscores: &[f32]) -> Result<(), ComputeError> {
        self.training.check("score", rows.ids, rows.starts)?;
        let n = self.training.shape.rows();
        if dscores.len() != n {
            let what = format!("{} gradients were given, {n} are expected", dscores.len());
            return Err(ComputeError::Shape { op: "score", what });
        }
        self.training.write_rows(device, rows.ids, rows.starts)?;
        device.write(&self.dscores, dscores)?;
        self.training.gather(device, &self.teach)
    }

    /// Records a language head whose weights are the embeddings, as in a language model with tied ones. For
    /// [`ScalarLearner::imitate`].
    pub fn add_language_head(&mut self, device: &mut Device) -> Result<(), ComputeError> {
        let t = &self.training;
        let (n, v) = (t.shape.rows(), t.config.vocab_size);
        let targets = device.alloc("targets", &[n], DType::U32)?;
        let weights = device.alloc("weights", &[n], DType::F32)?;
        let losses = device.alloc("losses", &[n], DType::F32)?;
        let logits = device.alloc("logits", &[logit_rows(device, v, n), v], t.y.dtype)?;
        let mut rec = Recording::new(device);
        let head = Head { y: &t.y, weight: t.params.tied_head(), targets: &targets, hyper: &t.hyper, losses: &losses };
        let grad = t.back.grads.embed();
        let train = Ending::Train { weights: &weights, control: &t.control, grad: &grad, dy: &t.back.stream.dy };
        head.record(&mut rec, &logits, &train)?;
        let teach = rec.compile()?;
        self.language = Some(Language { targets, weights, losses, teach });
        Ok(())
    }

    /// Adds ∂L/∂θ of L = Σ weights\[r\] · (−log p(target of r)) to the gradients, with p by the language head; returns
    /// −log p of every row, B·T, 0 without a target. Directly after [`backward`](ScalarLearner::backward) of the same
    /// rows the forward pass is not run again.
    pub fn imitate(
        &mut self,
        device: &mut Device,
        batch: MicroBatch<'_>,
        weights: &[f32],
    ) -> Result<Vec<f32>, ComputeError> {
        let wrong = |what: String| ComputeError::Shape { op: "imitate", what };
        self.training.check("imitate", batch.ids, batch.starts)?;
        let n = self.training.shape.rows();
        if batch.targets.len() != n || weights.len() != n {
            let (targets, weights) = (batch.targets.len(), weights.len());
            return Err(wrong(format!("{targets} targets and {weights} weights were given, {n} are expected")));
        }
        let vocab = self.training.config.vocab_size;
        if let Some(t) = batch.targets.iter().find(|t| usize::try_from(**t).is_ok_and(|t| t >= vocab)) {
            return Err(wrong(format!("the target {t} is outside the vocabulary of {vocab}")));
        }
        let Some(language) = &self.language else {
            return Err(wrong("there is no language head".to_owned()));
        };
        self.training.write_rows(device, batch.ids, batch.starts)?;
        device.write(&language.targets, batch.targets)?;
        device.write(&language.weights, weights)?;
        self.training.gather(device, &language.teach)?;
        device.read(&language.losses)
    }

    /// Clips the accumulated gradients and takes an AdamW step at `rate`. `loss` is the caller's, for the outcome; if
    /// it or the gradient's norm is not finite, nothing is changed. Returns a ticket for the control block
    /// ([`crate::nn::StepOutcome::from_control`]).
    pub fn update(&mut self, device: &mut Device, rate: f32, loss: f32) -> Result<Ticket, ComputeError> {
        self.training.finish(device, rate, loss)
    }

    /// Writes the whole parameter slab.
    pub fn write_params(&mut self, device: &mut Device, slab: &[f32]) -> Result<(), ComputeError> {
        self.training.disturb();
        self.training.params.write(device, slab)
    }

    /// Reads parameters, first and second moments and the control block, in this order.
    pub fn read_state(&self, device: &mut Device) -> Result<[Vec<f32>; 4], ComputeError> {
        self.training.read_state(device)
    }

    /// Writes what [`ScalarLearner::read_state`] read; accumulated gradients are discarded.
    pub fn write_state(&mut self, device: &mut Device, state: &[Vec<f32>; 4]) -> Result<(), ComputeError> {
        self.training.disturb();
        self.training.write_state(device, state)
    }

    /// The gradients accumulated since the last update, or as that update left them.
    pub fn read_grads(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        self.training.read_grads(device)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::nn::Learner;

    /// The language head gives the same losses and gradients as the language model that the trunk came from.
    #[test]
    fn imitation_is_the_language_models_step() {
        let mut device = Device::cpu();
        let config = ModelConfig::llama(2, 32, 4, 2, 48, 70, 16);
        let adamw = AdamW { clip: 0.0, ..AdamW::default() };
        let (rows, context) = (3, 8);
        let n = rows * context;
        let ids: Vec<u32> = (0..n as u32).map(|i| (i * 31 + 7) % 70).collect();
        let targets: Vec<i32> = (0..n as i32).map(|i| if i % 3 == 0 { -100 } else { (i * 17 + 5) % 70 }).collect();
        let batch = MicroBatch { ids: &ids, targets: &targets, starts: None };
        let mut learner = Learner::new(&mut device, &config, rows, context, adamw).unwrap();
        let slab = learner.table().initial(5);
        learner.write_params(&mut device, &slab).unwrap();
        let mut scalar = ScalarLearner::new(&mut device, &config, rows, context, adamw).unwrap();
        let ours = scalar.table().from_language_model(learner.table(), &slab, 0.02, 5).unwrap();
        scalar.write_params(&mut device, &ours).unwrap();
        let rows = TokenRows { ids: &ids, starts: None };
        let zeros = vec![0.0; n];
        assert!(scalar.imitate(&mut device, batch, &zeros).is_err(), "no head was added");
        scalar.add_language_head(&mut device).unwrap();

        learner.step(&mut device, &[batch], 0.0, 0, 0).unwrap();
        let want = learner.read_grads(&mut device).unwrap();
        let trained = targets.iter().filter(|t| **t >= 0).count();
        // After a backward pass of the scores, which adds nothing here.
        scalar.scores(&mut device, rows).unwrap();
        scalar.backward(&mut device, rows, &zeros).unwrap();
        let losses = scalar.imitate(&mut device, batch, &vec![1.0 / trained as f32; n]).unwrap();
        let grads = scalar.read_grads(&mut device).unwrap();
        let by_learner = learner.losses(&mut device).unwrap();
        for (t, loss) in losses.iter().enumerate() {
            assert!(targets[t] < 0 && *loss == 0.0 || (loss - by_learner[t]).abs() < 1e-5, "{t}: {loss}");
        }
        let (ours, theirs) = (scalar.table(), learner.table());
        for t in ours.tensors.iter().filter(|t| t.name != "score.weight") {
            let other = theirs.tensors.iter().find(|o| o.name == t.name).unwrap();
            let (a, b) = (ours.slice(&grads, t), theirs.slice(&want, other));
            assert!(b.iter().any(|x| *x != 0.0), "{}", t.name);
            for (x, y) in a.iter().zip(b) {
                assert!((x - y).abs() < 1e-6 + 1e-4 * y.abs(), "{}: {x} where the learner has {y}", t.name);
            }
        }
    }
}
