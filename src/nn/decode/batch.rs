//! Generates many texts at once: each row of a batch is a separate text at its own position.
//!
//! A row that ends takes the next prompt at once. The old contents of its cache are never read: a row at position i
//! attends to the cached positions 0..=i, all of which it has overwritten by then.

use std::{collections::VecDeque, time::Instant};

use rayon::prelude::*;

use super::{
    sample::{Drawn, Sampling, draw},
    steps::{Cache, MOST, QUEUED, Steps},
};
use crate::{
    compute::{ComputeError, Device, KernelTime, Ticket},
    nn::{config::ModelConfig, params::Weights},
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
    steps: Steps,
}

/// Submits of steps in flight.
const IN_FLIGHT: usize = 2;

/// A row at work: which prompt, its text so far, the places read, and steps submitted beyond those.
struct Row {
    prompt: usize,
    text: Vec<u32>,
    logprobs: Vec<f32>,
    read: usize,
    flying: usize,
}

/// Submitted steps, and the prompt that each row had.
struct Chunk {
    ticket: Ticket,
    n: usize,
    prompts: Vec<Option<usize>>,
}

/// The prompts of a call and their results.
struct Work<'a> {
    prompts: &'a [Prompt],
    end: Option<u32>,
    capacity: usize,
    /// Prompts that have no row yet; the next one is last.
    waiting: Vec<usize>,
    done: Vec<Completion>,
    /// Hears how many are begun whenever one begins; no more begin once it returns false.
    watch: &'a mut dyn FnMut(usize) -> bool,
}

impl Work<'_> {
    /// The next prompt as a row.
    fn next(&mut self) -> Option<Row> {
        let prompt = self.waiting.pop()?;
        if !(self.watch)(self.prompts.len() - self.waiting.len()) {
            self.waiting.clear();
        }
        Some(Row { prompt, text: self.prompts[prompt].ids.clone(), logprobs: Vec::new(), read: 0, flying: 0 })
    }

    /// Adds a sampled token; false if the row's text ended with it.
    fn take(&mut self, r: &mut Row, next: Drawn) -> bool {
        let (prompt, ended) = (&self.prompts[r.prompt], self.end == Some(next.id));
        r.logprobs.push(next.logprob);
        if !ended {
            r.text.push(next.id);
        }
        if !ended && self.left(r) > 0 {
            return true;
        }
        let logprobs = std::mem::take(&mut r.logprobs);
        self.done[r.prompt] = Completion { ids: r.text.split_off(prompt.ids.len()), logprobs, ended };
        false
    }

    /// Steps still to submit for a row: those that read its prompt, and those that sample.
    fn ahead(&self, r: &Row) -> (usize, usize) {
        let before = r.text.len() - r.read - 1;
        (before.saturating_sub(r.flying), (before + self.left(r)).saturating_sub(before.max(r.flying)))
    }

    /// Tokens that a row may still generate.
    fn left(&self, r: &Row) -> usize {
        let prompt = &self.prompts[r.prompt];
        let new = r.text.len() - prompt.ids.len();
        (prompt.max_new_tokens - new).min((self.capacity + 1).saturating_sub(r.text.len()))
    }
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
        let cache = Cache::alloc(device, config, rows, capacity)?;
        let steps = Steps::new(device, config, weights, &cache, rows, capacity)?;
        Ok(BatchDecoder { rows, capacity, vocab: config.vocab_size, steps })
    }

    /// Tokens a text may have, prompt and answer together.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Kernel calls for one more token in every row.
    pub fn calls(&self) -> usize {
        self.steps.calls()
    }

    /// Times every kernel over one more token in every row.
    pub fn profile(&mut self, device: &mut Device) -> Result<Vec<KernelTime>, ComputeError> {
        self.steps.profile(device)
    }

    /// Continues every prompt, sampling among the first `known` ids, until `end` is sampled, the prompt's limit is
    /// reached or the row is full. Completions are in the order of the prompts.
    pub fn complete(
        &mut self,
        device: &mut Device,
        prompts: &[Prompt],
        known: usize,
        end: Option<u32>,
    ) -> Result<Vec<Completion>, ComputeError> {
        self.complete_watched(device, prompts, known, end, &mut |_| true)
    }

    /// The same; `watch` hears how many of the prompts are begun whenever one begins. After it has returned false no more
    /// begin, and theirs are empty.
    pub fn complete_watched(
        &mut self,
        device: &mut Device,
        prompts: &[Prompt],
        known: usize,
        end: Option<u32>,
        watch: &mut dyn FnMut(usize) -> bool,
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
        let done = vec![Completion::default(); prompts.len()];
        // The longest first: the rows then end about together.
        let mut waiting: Vec<usize> = (0..prompts.len()).filter(|i| prompts[*i].max_new_tokens > 0).collect();
        waiting.sort_by_key(|i| prompts[*i].ids.len() + prompts[*i].max_new_tokens);
        let work = Work { prompts, end, capacity: self.capacity, waiting, done, watch };
        if prompts.iter().all(|p| self.steps.draws(&p.sampling)) {
            self.on_device(device, work, known)
        } else {
            self.on_host(device, work, known)
        }
    }

    /// Several tokens at a time, sampled on the device. While the host reads the tokens of one submit, the device
    /// computes the next; what it samples after a row's end is discarded.
    fn on_device(
        &mut self,
        device: &mut Device,
        mut work: Work<'_>,
        known: usize,
    ) -> Result<Vec<Completion>, ComputeError> {
        let mut rows: Vec<Option<Row>> = Vec::with_capacity(self.rows);
        for i in 0..self.rows {
            rows.push(self.refill(&mut work, i, known));
        }
        let (mut flying, mut since) = (VecDeque::new(), Instant::now());
        loop {
            // Steps to submit that each row needs before it samples, and after that.
            let ahead: Vec<(usize, usize)> = rows.iter().flatten().map(|r| work.ahead(r)).filter(|a| a.1 > 0).collect();
            if let Some(silent) = ahead.iter().map(|(before, _)| *before).min() {
                let to_sample = || ahead.iter().map(|(before, after)| before + after - silent);
                let stride = match work.end {
                    Some(_) => self.steps.stride(to_sample().max().unwrap_or(1), QUEUED, None),
                    // The first row to end is known.
                    None => to_sample().min().unwrap_or(1).clamp(1, MOST),
                };
                let n = silent + stride;
                let ticket = self.steps.submit(device, n, silent)?;
                let row = |r: &mut Row| {
                    r.flying += n;
                    r.prompt
                };
                let prompts = rows.iter_mut().map(|r| r.as_mut().map(row)).collect::<Vec<_>>();
                flying.push_back(Chunk { ticket, n, prompts });
                if flying.len() < IN_FLIGHT {
                    continue;
                }
            }
            let Some(Chunk { ticket, n, prompts }) = flying.pop_front() else { return Ok(work.done) };
            let ring = self.steps.collect(device, ticket)?;
            let now = Instant::now();
            self.steps.took(n, now - since);
            since = now;
            for (i, slot) in rows.iter_mut().enumerate() {
                // A row may have another prompt since.
                let Some(r) = slot.as_mut().filter(|r| Some(r.prompt) == prompts[i]) else { continue };
                r.flying -= n;
                for _ in 0..n {
                    r.read += 1;
                    if r.read == r.text.len() && !work.take(r, ring.at(i, r.read)) {
                        *slot = self.refill(&mut work, i, known);
                        break;
                    }
                }
            }
        }
    }

    /// Starts the next prompt in a row, if there is one.
    fn refill(&mut self, work: &mut Work<'_>, row: usize, known: usize) -> Option<Row> {
        let next = work.next();
        match &next {
            Some(r) => self.steps.start(row, (r.text[0], 0), &r.text, &work.prompts[r.prompt].sampling, known),
            None => self.steps.rest(row),
        }
        next
    }

    /// One token at a time, sampled on the host.
    fn on_host(
        &mut self,
        device: &mut Device,
        mut work: Work<'_>,
        known: usize,
    ) -> Result<Vec<Completion>, ComputeError> {
        let mut rows: Vec<Option<Row>> = (0..self.rows).map(|_| work.next()).collect();
        while rows.iter().any(Option::is_some) {
            let (ids, positions) = inputs(&rows);
            let drawing = rows.iter().flatten().any(|r| r.read + 1 == r.text.len());
            let reader = &self.steps.reader;
            reader.read(device, &ids, &positions, drawing)?;
            let logits = if drawing { device.read_floats(&reader.logits)? } else { Vec::new() };
            let drawn: Vec<Option<Drawn>> = rows
                .par_iter()
                .enumerate()
                .map(|(i, row)| {
                    let row = row.as_ref().filter(|r| r.read + 1 == r.text.len())?;
                    let logits = &logits[i * self.vocab..][..known];
                    Some(draw(logits, &row.text, &work.prompts[row.prompt].sampling, row.text.len() as u64))
                })
                .collect();
            for (row, next) in rows.iter_mut().zip(drawn) {
                let Some(r) = row else { continue };
                r.read += 1;
                if let Some(next) = next
                    && !work.take(r, next)
                {
                    *row = work.next();
                }
            }
        }
        Ok(work.done)
    }
}

/// The token that each row reads next, and its position; an idle row reads anything at position 0.
fn inputs(rows: &[Option<Row>]) -> (Vec<u32>, Vec<u32>) {
    rows.iter().map(|row| row.as_ref().map_or((0, 0), |r| (r.text[r.read], r.read as u32))).unzip()
}
