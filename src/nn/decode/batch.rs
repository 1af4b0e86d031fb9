//! Generation of many texts at once: every row of a batch is a text of its own, at its own position.
//!
//! A row that ends takes the next prompt at once. What its cache held before is never seen, since a row
//! at position i sees the cached places 0..=i and has by then written all of them anew.

use rayon::prelude::*;

use super::sample::{Drawn, Sampling, draw};
use crate::{
    compute::{ComputeError, DType, Device, Layout, Program, Recording, Tensor, matmul},
    nn::{
        config::ModelConfig,
        params::Weights,
        rows::{Attend, Pass, Shape},
        trunk::{Trunk, rope_table},
    },
};

/// What to write for one prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its ids, at least one.
    pub ids: Vec<u32>,
    /// Most ids to draw.
    pub max_new_tokens: usize,
    /// How to draw them. The draws of a prompt are a function of its ids and this, of nothing beside it.
    pub sampling: Sampling,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// The drawn ids, the one that ends the text left out.
    pub ids: Vec<u32>,
    /// The log-probability of each draw, as the sampler had it ([`Drawn::logprob`]); one more than ids
    /// where the text ended: that of its end.
    pub logprobs: Vec<f32>,
    /// Whether the text ended by itself.
    pub ended: bool,
}

/// Texts under generation over live weights, B rows of at most P places.
pub struct BatchDecoder {
    rows: usize,
    capacity: usize,
    vocab: usize,
    ids: Tensor,
    positions: Tensor,
    logits: Tensor,
    program: Program,
}

/// A row at work: which prompt, its text so far, the places read.
struct Row {
    prompt: usize,
    text: Vec<u32>,
    logprobs: Vec<f32>,
    read: usize,
}

impl BatchDecoder {
    /// Records a pass over one new token for each of `rows` texts of at most `capacity` tokens.
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        rows: usize,
        capacity: usize,
    ) -> Result<BatchDecoder, ComputeError> {
        let act = device.traits().act;
        let rope = rope_table(device, config, capacity)?;
        let width = 2 * config.num_key_value_heads * config.head_dim;
        let caches = (0..config.num_hidden_layers)
            .map(|i| device.alloc(&format!("rows.cache.{i}"), &[rows, capacity, width], act))
            .collect::<Result<Vec<_>, _>>()?;
        let shape = Shape { b: rows, t: 1 };
        let ids = device.alloc("rows.ids", &[rows], DType::U32)?;
        let positions = device.alloc("rows.positions", &[rows], DType::U32)?;
        let logits = device.alloc("rows.logits", &[rows, config.vocab_size], act)?;
        let trunk = Trunk::alloc(device, config, weights, shape, false)?;
        let mut rec = Recording::new(device);
        let attend = Attend::Cache(&caches);
        let pass = Pass { shape, positions: &positions, rope: &rope, attend, dropout: None };
        trunk.forward(&mut rec, &ids, &pass)?;
        matmul(&mut rec, Layout::NT, trunk.output(), &weights.head(), &logits, false)?;
        let program = rec.compile()?;
        Ok(BatchDecoder { rows, capacity, vocab: config.vocab_size, ids, positions, logits, program })
    }

    /// Tokens a text may have, prompt and answer together.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes on from every prompt, choosing among the first `known` ids, until `end` is drawn, the
    /// prompt's limit is reached or the row is full. Completions stand in the order of the prompts.
    pub fn complete(
        &mut self,
        device: &mut Device,
        prompts: &[Prompt],
        known: usize,
        end: Option<u32>,
    ) -> Result<Vec<Completion>, ComputeError> {
        let wrong = |what: String| ComputeError::Shape { op: "generate", what };
        for (i, p) in prompts.iter().enumerate() {
            if p.ids.is_empty() || p.ids.len() > self.capacity {
                let (n, most) = (p.ids.len(), self.capacity);
                return Err(wrong(format!("prompt {i} has {n} tokens; expected 1 to {most}")));
            }
            if let Some(id) = p.ids.iter().find(|id| **id as usize >= self.vocab) {
                return Err(wrong(format!("token id {id} is outside the vocabulary of {}", self.vocab)));
            }
        }
        let known = known.min(self.vocab);
        let mut done = vec![Completion::default(); prompts.len()];
        // The longest first: the rows then end about together.
        let mut waiting: Vec<usize> = (0..prompts.len()).filter(|i| prompts[*i].max_new_tokens > 0).collect();
        waiting.sort_by_key(|i| prompts[*i].ids.len() + prompts[*i].max_new_tokens);
        let mut start = || {
            let prompt = waiting.pop()?;
            Some(Row { prompt, text: prompts[prompt].ids.clone(), logprobs: Vec::new(), read: 0 })
        };
        let mut rows: Vec<Option<Row>> = (0..self.rows).map(|_| start()).collect();
        let (mut ids, mut positions) = (vec![0_u32; self.rows], vec![0_u32; self.rows]);
        while rows.iter().any(Option::is_some) {
            for (i, row) in rows.iter().enumerate() {
                // An idle row reads anything at its first place.
                (ids[i], positions[i]) = row.as_ref().map_or((0, 0), |r| (r.text[r.read], r.read as u32));
            }
            device.write(&self.ids, &ids)?;
            device.write(&self.positions, &positions)?;
            device.replay(&[&self.program])?;
            let drawing = rows.iter().flatten().any(|r| r.read + 1 == r.text.len());
            let logits = if drawing { device.read_floats(&self.logits)? } else { Vec::new() };
            let drawn: Vec<Option<Drawn>> = rows
                .par_iter()
                .enumerate()
                .map(|(i, row)| {
                    let row = row.as_ref().filter(|r| r.read + 1 == r.text.len())?;
                    let logits = &logits[i * self.vocab..][..known];
                    Some(draw(logits, &row.text, &prompts[row.prompt].sampling, row.text.len() as u64))
                })
                .collect();
            for (row, next) in rows.iter_mut().zip(drawn) {
                let Some(r) = row else { continue };
                r.read += 1;
                let Some(next) = next else { continue };
                let (prompt, ended) = (&prompts[r.prompt], end == Some(next.id));
                r.logprobs.push(next.logprob);
                if !ended {
                    r.text.push(next.id);
                }
                let new = r.text.len() - prompt.ids.len();
                if ended || new == prompt.max_new_tokens || r.text.len() > self.capacity {
                    let logprobs = std::mem::take(&mut r.logprobs);
                    done[r.prompt] = Completion { ids: r.text.split_off(prompt.ids.len()), logprobs, ended };
                    *row = start();
                }
            }
        }
        Ok(done)
    }
}
