//! `danlu score`: the log-probability of every next token.

use std::path::PathBuf;

use clap::Args;
use serde::{Serialize, Serializer};

use super::{generate::past_the_window, ids};
use crate::{
    cli::{Common, Outcome, output},
    data::{Ids, Rows},
    nn::{Evaluator, IGNORE_INDEX, Weights},
    train::model_folder,
};

/// Log-probabilities of every next token, and the loss
#[derive(Args)]
pub(in crate::cli) struct Score {
    /// Folder with config.json and model.safetensors
    #[arg(long)]
    model: PathBuf,
    /// File of {"input_ids": [[…]], "labels": [[…]]}
    #[arg(long)]
    ids: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Tokens per pass.
const TOKENS: usize = 8192;

impl Score {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        let (config, table, slab) = model_folder::load(&self.model)?;
        let ids = ids::read(&self.ids, config.vocab_size)?;
        past_the_window(ids.width(), config.max_position_embeddings);
        let mut device = common.device()?;
        let weights = Weights::alloc(&mut device, "params", &table.into())?;
        weights.write(&mut device, &slab)?;
        drop(slab);
        let width = ids.width();
        let rows = (TOKENS / width).clamp(1, ids.rows().len());
        let mut eval = Evaluator::new(&mut device, &config, &weights, rows, width)?;
        let (mut logprobs, mut total, mut trained) = (Rows::default(), 0.0_f64, 0_usize);
        for start in (0..ids.rows().len()).step_by(rows) {
            let end = (start + rows).min(ids.rows().len());
            if (start..end).all(|r| ids.rows().row(r).len() == 1) {
                // A row of one token has no next token.
                (start..end).for_each(|_| logprobs.push([]));
                continue;
            }
            let (mut block, mut targets) = ids.block(start..end, width);
            block.resize(rows * width, 0);
            targets.resize(rows * width, IGNORE_INDEX);
            // Every next token is scored, whatever the labels; the loss counts the labelled ones, for which a second
            // pass is needed only if a label differs from the text's token.
            let next = next_tokens(&ids, start..end, rows, width);
            let losses = eval.losses(&mut device, &block, &next, None)?;
            for r in start..end {
                let begin = (r - start) * width;
                logprobs.push(losses[begin..begin + ids.rows().row(r).len() - 1].iter().map(|x| Logprob(-x)));
            }
            let same = next.iter().zip(&targets).all(|(n, t)| *t == IGNORE_INDEX || n == t);
            let labelled = if same { losses } else { eval.losses(&mut device, &block, &targets, None)? };
            for (loss, target) in labelled.iter().zip(&targets) {
                if *target != IGNORE_INDEX {
                    total += f64::from(*loss);
                    trained += 1;
                }
            }
        }
        // Without labels null: a mean of nothing is not a number.
        let loss = (trained > 0).then(|| total / trained as f64);
        if self.json {
            output::json(&Scored { logprobs, loss });
            return Ok(());
        }
        for (r, row) in logprobs.iter().enumerate() {
            let mean = row.iter().map(|x| f64::from(x.0)).sum::<f64>() / row.len().max(1) as f64;
            output::text(&format!("row {r}: {} next tokens, mean log-probability {mean:.4}", row.len()));
        }
        output::text(&format!(
            "loss {}",
            loss.map_or("none: no label is trained on".to_owned(), |l| format!("{l:.6}"))
        ));
        Ok(())
    }
}

/// The object printed by `--json`.
#[derive(Serialize)]
struct Scored {
    logprobs: Rows<Logprob>,
    loss: Option<f64>,
}

/// A log-probability as f32, printed with all its digits.
#[derive(Clone, Copy, Debug)]
struct Logprob(f32);

impl Serialize for Logprob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.into())
    }
}

/// The text's next tokens as targets.
fn next_tokens(ids: &Ids, range: std::ops::Range<usize>, rows: usize, width: usize) -> Vec<i32> {
    let mut next = vec![IGNORE_INDEX; rows * width];
    for (at, r) in range.enumerate() {
        for (t, id) in ids.rows().row(r).iter().skip(1).enumerate() {
            next[at * width + t] = *id as i32;
        }
    }
    next
}
