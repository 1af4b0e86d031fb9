//! Answers drawn from the policy as it is, and questions that it asks itself.

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

/// Texts written at once.
const ROWS: usize = 128;
/// Tokens that a question of the policy's own may have.
const LONGEST_QUESTION: usize = 32;

/// Draws answers from the whole distribution: what is scored and what is drawn from is one and the same.
pub(crate) struct Sampler {
    decoder: BatchDecoder,
    vocab: usize,
    /// What ends an answer.
    end: u32,
    /// Most tokens of an answer, its end included.
    longest: usize,
    seed: u64,
}

impl Sampler {
    /// Records passes over live weights for texts of at most `context` tokens.
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

    /// An answer to each question, the assistant's turn being open. Draws are a function of the seed and of
    /// `first` and the question's place.
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

/// The questions that answers are drawn to while training.
pub(crate) struct Prompts {
    all: Vec<TaskPrompt>,
    /// Questions that the policy may not ask itself: those it is judged by.
    forbidden: HashSet<String>,
    seed: u64,
}

impl Prompts {
    pub(crate) fn new(all: Vec<TaskPrompt>, judge: &[TaskPrompt], seed: u64) -> Prompts {
        let forbidden = judge.iter().map(|p| p.prompt.trim().to_owned()).collect();
        Prompts { all, forbidden, seed }
    }

    /// How many there are.
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

    /// `n` questions from number `first` on, in an order that is shuffled again each time that all have been asked.
    pub(crate) fn take(&self, first: usize, n: usize) -> Vec<String> {
        let of = self.all.len();
        let at = |i: usize| self.all[permute(self.seed, Stream::Examples((i / of) as u64), of, i % of)].prompt.clone();
        (first..first + n).map(at).collect()
    }

    /// At most `most` questions that the policy writes itself: how it continues where a user's turn has
    /// been opened. Kept is what ended, is words alone, is asked once, and belongs to no one who judges. A
    /// function of the weights, the seed and `first`.
    pub(crate) fn own(
        &self,
        device: &mut Device,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
        most: usize,
        first: usize,
    ) -> Result<Vec<String>, TrainError> {
        let Some(chat) = tokenizer.chat().filter(|_| most > 0) else { return Ok(Vec::new()) };
        // Some are not well formed: twice as many are tried as are wanted.
        let opened = [tokenizer.begin(), &[chat.user]].concat();
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

/// Questions as tokens, the assistant's turn opened.
pub(crate) fn asked(prompts: &[String], tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, TrainError> {
    prompts.iter().map(|p| question(p, tokenizer)).collect()
}
