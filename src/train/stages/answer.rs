//! Completing texts with the live weights: probes at once, prompts a few tokens between steps.

use std::time::{Duration, Instant};

use crate::{
    compute::Device,
    data::{StreamDecoder, Tokenizer, Words, read_in},
    nn::{self, Decoder, Drawn},
    protocol::{Event, Sampling, Who},
    train::error::TrainError,
};

/// A prompt under way.
pub(crate) struct Answer {
    pub id: u64,
    /// What was asked as the reward model reads it, where the answer is to be scored.
    pub asked: Option<Vec<u32>>,
    who: Who,
    seen: Vec<u32>,
    /// Tokens of `seen` that the decoder has not read; all of them before it was first asked.
    unread: Option<usize>,
    /// Tokens that end it.
    ends: Vec<u32>,
    sampling: Sampling,
    left: usize,
    /// Where what is drawn starts in `seen`.
    start: usize,
    /// log p of each drawn token, the one that ended it included.
    logprobs: Vec<f32>,
    text: StreamDecoder,
    /// Time spent drawing, waiting between steps included.
    started: Instant,
}

impl Answer {
    /// An answer that ends with the text or, of a model that knows the template (`chat`), with its turn.
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
        if let (true, Some(c)) = (chat, tokenizer.chat()) {
            ends.extend([c.end, c.system, c.user, c.assistant]);
        }
        Answer {
            id,
            asked: None,
            who,
            text: tokenizer.stream_rest(&tokens, true),
            start: tokens.len(),
            seen: tokens,
            unread: None,
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

    /// What was drawn so far, without the token that ended it.
    pub(crate) fn drawn(&self) -> &[u32] {
        &self.seen[self.start..]
    }

    /// The text of what was drawn so far.
    pub(crate) fn words(&self, tokenizer: &Tokenizer) -> String {
        tokenizer.decode_turn(&self.seen[..self.start], self.drawn(), true)
    }

    /// Mean log p of the drawn tokens as they were drawn, the one that ended it included.
    pub(crate) fn logprob(&self) -> f64 {
        let sum: f64 = self.logprobs.iter().map(|p| f64::from(*p)).sum();
        sum / self.logprobs.len().max(1) as f64
    }

    /// Draws tokens for about `budget` (at least one): their text, and the reason when the answer has ended.
    pub(crate) fn advance(
        &mut self,
        device: &mut Device,
        decoder: &mut Decoder,
        tokenizer: &Tokenizer,
        budget: Duration,
    ) -> Result<(String, Option<&'static str>), TrainError> {
        let begun = Instant::now();
        let mut piece = String::new();
        let reason = loop {
            if self.left == 0 || self.seen.len() >= decoder.capacity() {
                break Some("length");
            }
            let unread = self.unread.unwrap_or_else(|| {
                decoder.reset();
                self.seen.len()
            });
            let Drawn { id: next, logprob } = draw(device, decoder, tokenizer, &self.seen, unread, &self.sampling)?;
            self.unread = Some(1);
            self.logprobs.push(logprob);
            if self.ends.contains(&next) {
                break Some("stop");
            }
            self.seen.push(next);
            self.left -= 1;
            if let Some(text) = self.text.push(next) {
                piece.push_str(&text);
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

    /// Makes the decoder read the whole text again, after it held another one.
    pub(crate) fn reread(&mut self) {
        self.unread = None;
    }

    /// The event of its end, with the reward model's score where there is one.
    pub(crate) fn end(&self, step: usize, reason: &str, score: Option<f64>) -> Event {
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

/// Reads the last `unread` of `seen` and draws the next token among those the tokenizer knows.
pub(crate) fn draw(
    device: &mut Device,
    decoder: &mut Decoder,
    tokenizer: &Tokenizer,
    seen: &[u32],
    unread: usize,
    how: &Sampling,
) -> Result<Drawn, TrainError> {
    let logits = decoder.feed(device, &seen[seen.len() - unread..])?;
    let known = logits.len().min(tokenizer.vocab_size());
    Ok(nn::draw(&logits[..known], seen, how, seen.len() as u64))
}

/// Completes a probe greedily: as many tokens as the expected text has, until the end of text.
/// Returns the continuation and how many leading characters of `expected` it has right.
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
    let room = room.min(decoder.capacity().saturating_sub(start));
    decoder.reset();
    let mut unread = start;
    for _ in 0..room {
        let next = draw(device, decoder, tokenizer, &seen, unread, &Sampling::greedy())?.id;
        if tokenizer.end_of_text() == Some(next) {
            break;
        }
        seen.push(next);
        unread = 1;
    }
    let text = tokenizer.decode_rest(&seen[..start], &seen[start..], true);
    let matched = text.chars().zip(expected.chars()).take_while(|(a, b)| a == b).count();
    Ok((text, matched))
}
