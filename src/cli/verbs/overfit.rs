//! `danlu overfit`: the one-batch sanity check.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{generate::past_the_window, ids};
use crate::{
    cli::{Common, Failure, Outcome, output},
    data::MOST_TOKENS,
    nn::{AdamW, Learner, MicroBatch, StepOutcome},
    train::model_folder,
};

/// Train on one batch at a constant rate: loss and gradient norms, each before that step's update
#[derive(Args)]
pub(in crate::cli) struct Overfit {
    /// Folder with config.json and model.safetensors
    #[arg(long)]
    model: PathBuf,
    /// File of {"input_ids": [[…]], "labels": [[…]]}
    #[arg(long)]
    ids: PathBuf,
    /// Steps
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Learning rate
    #[arg(long, default_value_t = 1e-3)]
    lr: f32,
    /// Weight decay on tensors of two dimensions
    #[arg(long, default_value_t = 0.1)]
    weight_decay: f32,
    /// Largest global gradient norm; 0 for none
    #[arg(long, default_value_t = 1.0)]
    clip: f32,
    /// One JSON object a step
    #[arg(long)]
    json: bool,
}

impl Overfit {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        for (name, value) in [("--lr", self.lr), ("--weight-decay", self.weight_decay), ("--clip", self.clip)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Failure::usage(format!("{name} is {value}; expected 0 or more")));
            }
        }
        let (config, _, slab) = model_folder::load(&self.model)?;
        let ids = ids::read(&self.ids, config.vocab_size)?;
        let mut device = common.device()?;
        let (rows, width) = (ids.rows().len(), ids.width());
        if rows.checked_mul(width).is_none_or(|tokens| tokens > MOST_TOKENS) {
            return Err(Failure::usage(format!(
                "{}: {rows} rows of up to {width} tokens make a batch of more than {MOST_TOKENS} tokens; give fewer or shorter rows",
                self.ids.display()
            )));
        }
        let adamw = AdamW { weight_decay: self.weight_decay, clip: self.clip, ..AdamW::default() };
        past_the_window(ids.width(), config.max_position_embeddings);
        let mut learner = Learner::new(&mut device, &config, ids.rows().len(), width, adamw)?;
        learner.write_params(&mut device, &slab)?;
        drop(slab);
        let (block, targets) = ids.block(0..ids.rows().len(), width);
        if targets.iter().all(|t| *t == crate::nn::IGNORE_INDEX) {
            return Err(Failure::usage(format!(
                "{}: no label is trained on (all are -100, or rows have one token)",
                self.ids.display()
            )));
        }
        for step in 0..self.steps {
            let batch = MicroBatch { ids: &block, targets: &targets, starts: None };
            let got = loop {
                let mut ticket = learner.step(&mut device, &[batch], self.lr, common.seed.unwrap_or(0), step)?;
                let control = device.collect(&mut ticket, true)?.unwrap_or_default();
                let got = StepOutcome::from_control(&control);
                // A step on which the loss scale was lowered does not count.
                if !got.lowered {
                    break got;
                }
            };
            let mut line = json!({"step": step + 1, "loss": got.loss, "grad_norm": got.grad_norm});
            if step == 0 {
                line["grad_norms"] = Value::Object(norms(&learner, &learner.read_grads(&mut device)?));
            }
            if self.json {
                output::json(&line);
            } else {
                output::text(&format!("step {:>4}  loss {:.6}  grad_norm {:.6}", step + 1, got.loss, got.grad_norm));
            }
            if !got.applied {
                return Err(Failure::work(format!(
                    "step {}: loss or gradient is not finite; nothing was changed. Try a lower --lr",
                    step + 1
                )));
            }
        }
        Ok(())
    }
}

/// The L2 norm of every tensor's gradient.
fn norms(learner: &Learner, grads: &[f32]) -> Map<String, Value> {
    let norm = |g: &[f32]| g.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    learner.table().tensors.iter().map(|t| (t.name.clone(), json!(norm(learner.table().slice(grads, t))))).collect()
}
