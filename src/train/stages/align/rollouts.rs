//! Samples answers from the current policy, and prompts that it generates.

use std::collections::HashSet;

use super::episode::Episode;
use crate::{
    compute::{
        Device,
        rng::{AnswerSeed, Stream},
    },
    data::{TaskPrompt, Tokenizer, tokens::shuffle::permute},
    nn::{BatchDecoder, ModelConfig, Prompt, Weights},
    train::{
        error::TrainError,
        stages::sampling::{drawn, question},
    },
};

/// Texts generated at a time.
const ROWS: usize = 128;
/// Most tokens of a generated prompt.
const LONGEST_QUESTION: usize = 32;

/// Samples answers from the whole distribution, so that the scored distribution is the sampled one.
pub(crate) struct Sampler {
    decoder: BatchDecoder,
    vocab: usize,
    /// The token that ends an answer.
    end: u32,
    /// Most tokens of an answer, including its end.
    longest: usize,
    seed: u64,
}

impl Sampler {
    /// Records passes over the live weights for texts of at most `context` tokens.
    pub(crate) fn new(
        device: &mut Device,
        model: &ModelConfig,
        weights: &Weights,
        texts: usize,
        context: usize,
        how: (u32, usize, u64),
    ) -> Result<Sampler, TrainError> {
        let decoder = BatchDecoder::new(device, model, weights, texts.clamp(1, ROWS), context)?;
        let (end, longest, seed) = how;
        Ok(Sampler { decoder, vocab: model.vocab_size, end, longest, seed })
    }

    /// An answer to each question, which must end with the opened assistant's turn. Sampling is a function of the seed,
    /// of `first` and of the question's index.
    pub(crate) fn answers(
        &mut self,
        device: &mut Device,
        questions: Vec<Vec<u32>>,
        first: u64,
    ) -> Result<Vec<Episode>, TrainError> {
        self.complete(device, questions, first, self.longest)
    }

    fn complete(
        &mut self,
        device: &mut Device,
        questions: Vec<Vec<u32>>,
        first: u64,
        longest: usize,
    ) -> Result<Vec<Episode>, TrainError> {
        let capacity = self.decoder.capacity();
        let prompt = |(i, ids): (usize, Vec<u32>)| Prompt {
            max_new_tokens: longest.min(capacity.saturating_sub(ids.len() + 1)).max(1),
            ids,
            sampling: drawn(self.seed, 1.0, first + i as u64),
        };
        let prompts: Vec<Prompt> = questions.into_iter().enumerate().map(prompt).collect();
        let answers = self.decoder.complete(device, &prompts, self.vocab, Some(self.end))?;
        let episode = |(prompt, answer): (Prompt, crate::nn::Completion)| {
            let start = prompt.ids.len();
            let mut ids = prompt.ids;
            ids.extend(answer.ids);
            if answer.ended {
                ids.push(self.end);
            }
            Episode { ids, start, ended: answer.ended, sampled: answer.logprobs }
        };
        Ok(prompts.into_iter().zip(answers).map(episode).collect())
    }
}

/// The prompts for rollouts.
pub(crate) struct Prompts {
    all: Vec<TaskPrompt>,
    /// Prompts that the policy may not generate: those of the evaluation.
    forbidden: HashSet<String>,
    seed: u64,
}

impl Prompts {
    pub(crate) fn new(all: Vec<TaskPrompt>, judge: &[TaskPrompt], seed: u64) -> Prompts {
        let forbidden = judge.iter().map(|p| p.prompt.trim().to_owned()).collect();
        Prompts { all, forbidden, seed }
    }

    /// Their number.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Their hash.
    pub(crate) fn digest(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for p in &self.all {
            hash.update(p.prompt.as_bytes()).update(&[0]);
        }
        hash.finalize().to_hex().to_string()
    }

    /// `n` prompts from number `first` on, in an order that is reshuffled in every pass.
    pub(crate) fn take(&self, first: usize, n: usize) -> Vec<String> {
        let of = self.all.len();
        let at = |i: usize| self.all[permute(self.seed, Stream::Examples((i / of) as u64), of, i % of)].prompt.clone();
        (first..first + n).map(at).collect()
    }

    /// Up to `most` prompts that the policy generates after an opened user's turn. A prompt is kept if it ended, has no
    /// special tokens, is unique, and is not in the evaluation. A function of the weights, the seed and `first`.
    pub(crate) fn own(
        &self,
        device: &mut Device,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
        most: usize,
        first: usize,
    ) -> Result<Vec<String>, TrainError> {
        let Some(opened) = tokenizer.opened_question()?.filter(|_| most > 0) else { return Ok(Vec::new()) };
        // Twice as many are sampled as wanted, since some are malformed.
        let start = opened.len();
        let opened = vec![opened; 2 * most];
        let mut kept: Vec<String> = Vec::new();
        for turn in sampler.complete(device, opened, AnswerSeed::Questions(2 * first).number(), LONGEST_QUESTION)? {
            let ids = &turn.ids[start..turn.ids.len() - usize::from(turn.ended)];
            let known = ids.iter().all(|id| tokenizer.token(*id).is_some() && !tokenizer.is_special(*id));
            let text = tokenizer.decode_turn(&turn.ids[..start], ids, true);
            let text = text.trim();
            let usable = turn.ended && known && !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER);
            if usable && kept.len() < most && !self.forbidden.contains(text) && !kept.iter().any(|k| k == text) {
                kept.push(text.to_owned());
            }
        }
        Ok(kept)
    }
}

/// Prompts as tokens, with the assistant's turn opened.
pub(crate) fn asked(prompts: &[String], tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, TrainError> {
    prompts.iter().map(|p| question(p, tokenizer)).collect()
}
