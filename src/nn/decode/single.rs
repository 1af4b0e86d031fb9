//! Generation with a key/value cache: tokens in, logits of the next one out.

use std::time::{Duration, Instant};

use super::{
    sample::{Drawn, Sampling, draw},
    steps::{Cache, READ_BACK, Reader, Steps},
};
use crate::{
    compute::{ComputeError, Device},
    nn::{config::ModelConfig, params::Weights, rows::Shape},
};

/// Rows that a prompt is read in at a time.
const CHUNK: usize = 16;

/// One sequence under generation over live weights.
pub struct Decoder {
    steps: Steps,
    chunk: Reader,
    vocab: usize,
    capacity: usize,
    length: usize,
}

impl Decoder {
    /// Records passes over `weights` for texts of at most `capacity` tokens.
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        capacity: usize,
    ) -> Result<Decoder, ComputeError> {
        let cache = Cache::alloc(device, config, 1, capacity)?;
        let steps = Steps::new(device, config, weights, &cache, 1, 1)?;
        let chunk = Reader::new(device, config, weights, &cache, Shape { b: 1, t: CHUNK })?;
        Ok(Decoder { steps, chunk, vocab: config.vocab_size, capacity, length: 0 })
    }

    /// Forgets the text.
    pub fn reset(&mut self) {
        self.length = 0;
    }

    /// Tokens read so far.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True before the first token.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tokens there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Kernel calls for one more token.
    pub fn calls(&self) -> usize {
        self.steps.calls()
    }

    /// Reads more tokens and returns the logits \[V\] after the last of them.
    pub fn feed(&mut self, device: &mut Device, tokens: &[u32]) -> Result<Vec<f32>, ComputeError> {
        let vocab = self.vocab;
        let (reader, at) = self.read(device, tokens, true)?;
        device.read_floats(&reader.logits.part("logits", at * vocab, &[vocab]))
    }

    /// Samples tokens after `text` among the first `known` ids, as [`draw`] does: at least one, at most `most`, and
    /// about as many as fit into `within`. Only the part of the text that is new since the last call is read: until
    /// [`Decoder::reset`] every text must continue the previous one, as far as that was kept. If the device samples,
    /// several tokens are returned at a time.
    pub fn draw(
        &mut self,
        device: &mut Device,
        text: &[u32],
        how: &Sampling,
        known: usize,
        most: usize,
        within: Option<Duration>,
    ) -> Result<Vec<Drawn>, ComputeError> {
        let known = known.min(self.vocab);
        self.length = self.length.min(text.len().saturating_sub(1));
        if !self.steps.draws(how) {
            let logits = self.feed(device, &text[self.length..])?;
            return Ok(vec![draw(&logits[..known], text, how, text.len() as u64)]);
        }
        let Some((last, before)) = text.split_last() else { return Err(self.misfit(0)) };
        self.check(&text[self.length..])?;
        if before.len() > self.length {
            self.read(device, &before[self.length..], false)?;
        }
        let room = most.clamp(1, self.capacity + 1 - text.len());
        let n = self.steps.stride(room, READ_BACK, within);
        let begun = Instant::now();
        self.steps.start(0, (*last, before.len()), &[], how, known);
        let ticket = self.steps.submit(device, n, 0)?;
        let ring = self.steps.collect(device, ticket)?;
        self.steps.took(n, begun.elapsed());
        self.length = before.len() + n;
        Ok((text.len()..text.len() + n).map(|place| ring.at(0, place)).collect())
    }

    fn misfit(&self, tokens: usize) -> ComputeError {
        let what = format!("{tokens} tokens after {} do not fit in {}", self.length, self.capacity);
        ComputeError::Shape { op: "decode", what }
    }

    /// Rejects tokens for which there is no room, and invalid ids.
    fn check(&self, tokens: &[u32]) -> Result<(), ComputeError> {
        if tokens.is_empty() || self.length + tokens.len() > self.capacity {
            return Err(self.misfit(tokens.len()));
        }
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.vocab) {
            let what = format!("token id {id} is outside the vocabulary of {}", self.vocab);
            return Err(ComputeError::Shape { op: "decode", what });
        }
        Ok(())
    }

    /// Reads more tokens; returns the pass that read the last of them, and its row there.
    fn read(&mut self, device: &mut Device, tokens: &[u32], logits: bool) -> Result<(&Reader, usize), ComputeError> {
        self.check(tokens)?;
        let mut rest = tokens;
        loop {
            let (pass, rows) = if rest.len() == 1 { (&self.steps.reader, 1) } else { (&self.chunk, CHUNK) };
            let (now, later) = rest.split_at(rows.min(rest.len()));
            // A short chunk is filled with its last token; the positions past the text lie past what
            // any row sees, and are overwritten by the tokens that come there.
            let mut ids = now.to_vec();
            ids.resize(rows, now[now.len() - 1]);
            let positions: Vec<u32> = (0..rows).map(|i| (self.length + i) as u32).collect();
            pass.read(device, &ids, &positions, logits && later.is_empty())?;
            self.length += now.len();
            if later.is_empty() {
                return Ok((pass, now.len() - 1));
            }
            rest = later;
        }
    }
}
