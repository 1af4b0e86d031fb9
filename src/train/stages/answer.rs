//! Completes texts with the live weights: probes at once, prompts a few tokens between steps.

use std::time::{Duration, Instant};

use crate::{
    compute::Device,
    data::{StreamDecoder, Tokenizer, Words, read_in},
    nn::{Decoder, Drawn},
    protocol::{Event, Sampling, Who},
    train::error::TrainError,
};

/// A prompt being answered.
pub(crate) struct Answer {
    pub id: u64,
    /// The prompt's ids as the reward model reads them, if the answer is to be scored.
    pub asked: Option<Vec<u32>>,
    who: Who,
    seen: Vec<u32>,
    /// Whether the decoder's cache contains the part of this text that was read.
    read: bool,
    /// Tokens that end it.
    ends: Vec<u32>,
    sampling: Sampling,
    left: usize,
    /// The index in `seen` at which the answer starts.
    start: usize,
    /// log p of each sampled token, including the one that ended the answer.
    logprobs: Vec<f32>,
    text: StreamDecoder,
    /// Time spent sampling, including waiting between steps.
    started: Instant,
}

impl Answer {
    /// An answer that ends with end-of-text or, for a model with the template (`chat`), with its turn.
    pub(crate) fn new(
        id: u64,
        tokens: Vec<u32>,
        who: Who,
        sampling: Sampling,
        max_new_tokens: usize,
        chat: bool,
        tokenizer: &Tokenizer,
    ) -> Answer {
        let mut ends: Vec<u32> = tokenizer.end_of_text().into_iter().collect();
        if chat {
            ends.extend(tokenizer.turn_end());
            ends.extend(tokenizer.turn_starts());
        }
        Answer {
            id,
            asked: None,
            who,
            text: tokenizer.stream_rest(&tokens, true),
            start: tokens.len(),
            seen: tokens,
            read: false,
            ends,
            sampling,
            left: max_new_tokens,
            logprobs: Vec::new(),
            started: Instant::now(),
        }
    }

    /// Whose weights answer.
    pub(crate) fn who(&self) -> Who {
        self.who
    }

    /// The tokens sampled so far, without the one that ended the answer.
    pub(crate) fn drawn(&self) -> &[u32] {
        &self.seen[self.start..]
    }

    /// The text so far.
    pub(crate) fn words(&self, tokenizer: &Tokenizer) -> String {
        tokenizer.decode_turn(&self.seen[..self.start], self.drawn(), true)
    }

    /// Mean log p of the sampled tokens, including the one that ended the answer.
    pub(crate) fn logprob(&self) -> f64 {
        let sum: f64 = self.logprobs.iter().map(|p| f64::from(*p)).sum();
        sum / self.logprobs.len().max(1) as f64
    }

    /// Samples tokens for about `budget` (at least one); returns their text, and the reason if the answer has ended.
    pub(crate) fn advance(
        &mut self,
        device: &mut Device,
        decoder: &mut Decoder,
        tokenizer: &Tokenizer,
        budget: Duration,
    ) -> Result<(String, Option<&'static str>), TrainError> {
        let (begun, known) = (Instant::now(), tokenizer.vocab_size());
        let mut piece = String::new();
        if !std::mem::replace(&mut self.read, true) {
            decoder.reset();
        }
        let reason = loop {
            if self.left == 0 || self.seen.len() >= decoder.capacity() {
                break Some("length");
            }
            let within = Some(budget.saturating_sub(begun.elapsed()));
            let drawn = decoder.draw(device, &self.seen, &self.sampling, known, self.left, within)?;
            let ended = drawn.into_iter().any(|next| self.take(next, &mut piece));
            if ended {
                break Some("stop");
            }
            if begun.elapsed() >= budget {
                break None;
            }
        };
        if reason.is_some()
            && let Some(rest) = self.text.finish()
        {
            piece.push_str(&rest);
        }
        Ok((piece, reason))
    }

    /// Adds a sampled token and its text; true if it ends the answer.
    fn take(&mut self, Drawn { id, logprob }: Drawn, piece: &mut String) -> bool {
        self.logprobs.push(logprob);
        if self.ends.contains(&id) {
            return true;
        }
        self.seen.push(id);
        self.left -= 1;
        piece.extend(self.text.push(id));
        false
    }

    /// Makes the decoder read the whole text again, after it was used for another one.
    pub(crate) fn reread(&mut self) {
        self.read = false;
    }

    /// The event for its end, with the reward model's score if there is one.
    pub(crate) fn end(&self, step: Option<usize>, reason: &str, score: Option<f64>) -> Event {
        Event::PromptDone {
            id: self.id,
            step,
            tokens: self.drawn().len(),
            seconds: self.started.elapsed().as_secs_f64(),
            finish_reason: reason.to_owned(),
            score,
        }
    }
}

/// Completes a probe greedily, with as many tokens as the expected text has, or until end-of-text. Returns the
/// continuation and the number of correct leading characters.
pub(crate) fn probe(
    device: &mut Device,
    decoder: &mut Decoder,
    tokenizer: &Tokenizer,
    prompt: &str,
    expected: &str,
) -> Result<(String, usize), TrainError> {
    let room = tokenizer.encode_rest(expected)?.len();
    let mut seen = read_in(Words::Text(prompt), tokenizer, decoder.capacity(), room)?.ids;
    let start = seen.len();
    if start == 0 {
        return Ok((String::new(), 0));
    }
    let most = start + room.min(decoder.capacity().saturating_sub(start));
    decoder.reset();
    'text: while seen.len() < most {
        let left = most - seen.len();
        for next in decoder.draw(device, &seen, &Sampling::greedy(), tokenizer.vocab_size(), left, None)? {
            if tokenizer.end_of_text() == Some(next.id) {
                break 'text;
            }
            seen.push(next.id);
        }
    }
    let text = tokenizer.decode_rest(&seen[..start], &seen[start..], true);
    let matched = text.chars().zip(expected.chars()).take_while(|(a, b)| a == b).count();
    Ok((text, matched))
}
