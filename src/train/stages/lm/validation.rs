//! Held-out losses by source.

use crate::{
    compute::Device,
    data::{self, Windows},
    nn::{Evaluator, IGNORE_INDEX, ModelConfig, Weights},
    protocol::Event,
    train::{corpus::Corpus, error::TrainError},
};

/// Rows per source in a validation during training; the final one uses all.
pub(super) const ROWS: usize = 32;
/// Rows of training text for comparison.
const SAMPLE: usize = 16;
/// Most rows per source in the final validation: more would take longer than training a small model.
pub(super) const MOST_ROWS: usize = 4096;
/// Tokens per pass.
const TOKENS: usize = 2048;

/// Recorded passes over the held-out windows.
pub(crate) struct Validation {
    evaluator: Evaluator,
    context: usize,
    pad: u32,
}

/// A source's held-out loss.
pub(crate) struct Measured {
    pub source: String,
    pub loss: f64,
    pub bits_per_byte: f64,
    pub scored: usize,
    /// The loss on a sample of its training text.
    pub train: Option<f64>,
}

impl Validation {
    pub(crate) fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        context: usize,
    ) -> Result<Validation, TrainError> {
        let rows = (TOKENS / context).max(1);
        let evaluator = Evaluator::new(device, config, weights, rows, context)?;
        Ok(Validation { evaluator, context, pad: config.pad_token_id.unwrap_or(0) })
    }

    /// The held-out loss of every source that has held-out text; of all of it with `whole`. With `trained` also the
    /// loss on a sample of training text.
    pub(crate) fn measure(
        &mut self,
        device: &mut Device,
        corpus: &Corpus,
        whole: bool,
        trained: bool,
    ) -> Result<Vec<Measured>, TrainError> {
        let mut all = Vec::new();
        for source in corpus.packed.iter() {
            let w = data::windows(&source.held_out, self.context, self.pad, if whole { MOST_ROWS } else { ROWS })?;
            if w.scored == 0 {
                continue;
            }
            let loss = self.mean_loss(device, &w)?;
            let bits_per_byte = data::bits_per_byte(loss, &source.held_out);
            let sample = data::spread(&source.train, self.context, if trained { SAMPLE } else { 0 })?;
            let train = if sample.scored > 0 { Some(self.mean_loss(device, &sample)?) } else { None };
            all.push(Measured { source: source.name.clone(), loss, bits_per_byte, scored: w.scored, train });
        }
        Ok(all)
    }

    /// Tokens in a row.
    pub(crate) fn context(&self) -> usize {
        self.context
    }

    /// −ln p of every token of each row except the first, at most as many as the context.
    pub(crate) fn losses(&mut self, device: &mut Device, rows: &[&[u32]]) -> Result<Vec<Vec<f32>>, TrainError> {
        let (together, context) = (self.evaluator.shape().0, self.context);
        let mut all = Vec::with_capacity(rows.len());
        for rows in rows.chunks(together) {
            let (mut ids, mut targets) = (Vec::with_capacity(together * context), Vec::new());
            for (at, row) in rows.iter().enumerate() {
                let scored = row.len().saturating_sub(1).min(context);
                ids.extend(&row[..scored]);
                targets.extend(row.iter().skip(1).take(scored).map(|id| *id as i32));
                ids.resize((at + 1) * context, self.pad);
                targets.resize((at + 1) * context, IGNORE_INDEX);
            }
            ids.resize(together * context, self.pad);
            targets.resize(together * context, IGNORE_INDEX);
            let losses = self.evaluator.losses(device, &ids, &targets, None)?;
            let of = |(at, row): (usize, &&[u32])| {
                losses[at * context..][..row.len().saturating_sub(1).min(context)].to_vec()
            };
            all.extend(rows.iter().enumerate().map(of));
        }
        Ok(all)
    }

    fn mean_loss(&mut self, device: &mut Device, w: &Windows) -> Result<f64, TrainError> {
        let rows = self.evaluator.shape().0;
        let mut total = 0.0;
        for start in (0..w.rows).step_by(rows) {
            let cut = start * w.window..((start + rows) * w.window).min(w.ids.len());
            let (mut ids, mut targets) = (w.ids[cut.clone()].to_vec(), w.targets[cut].to_vec());
            ids.resize(rows * w.window, self.pad);
            targets.resize(rows * w.window, IGNORE_INDEX);
            let losses = self.evaluator.losses(device, &ids, &targets, None)?;
            total += losses.iter().map(|x| f64::from(*x)).sum::<f64>();
        }
        Ok(total / w.scored as f64)
    }
}

/// The mean over sources, weighted by tokens; none without a held-out token.
pub(crate) fn mean(measured: &[Measured]) -> Option<f64> {
    let scored: usize = measured.iter().map(|m| m.scored).sum();
    (scored > 0).then(|| measured.iter().map(|m| m.loss * m.scored as f64).sum::<f64>() / scored as f64)
}

/// The events of a validation: one per source, and `all` weighted by tokens.
pub(crate) fn events(step: usize, measured: &[Measured]) -> Vec<Event> {
    let event = |source: &str, eval_loss: f64, eval_bits_per_byte: f64, train_loss: Option<f64>| Event::Eval {
        step,
        source: source.to_owned(),
        eval_loss,
        eval_bits_per_byte,
        train_loss,
        sampled_loss: None,
    };
    let scored: usize = measured.iter().map(|m| m.scored).sum();
    let mean = |f: fn(&Measured) -> f64| measured.iter().map(|m| f(m) * m.scored as f64).sum::<f64>() / scored as f64;
    let mut all: Vec<Event> = measured.iter().map(|m| event(&m.source, m.loss, m.bits_per_byte, m.train)).collect();
    if scored > 0 {
        all.push(event("all", mean(|m| m.loss), mean(|m| m.bits_per_byte), None));
    }
    all
}
