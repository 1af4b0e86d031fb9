//! Helpers for sampling answers: prompts as ids, seeds of answers.

use crate::{
    compute::rng::{self, Purpose, Stream},
    data::{Role, Tokenizer, Turn, encode_prompt},
    nn::Sampling,
    train::error::TrainError,
};

/// Most tokens of an answer.
pub(crate) const LONGEST: usize = 40;

/// The prompt's ids with the assistant's turn opened.
pub(crate) fn question(prompt: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, TrainError> {
    Ok(encode_prompt(&[Turn::new(Role::User, prompt)], tokenizer)?)
}

/// Sampling from the whole distribution, with a separate seed per answer: `which` is the number of an
/// [`rng::AnswerSeed`].
pub(crate) fn drawn(seed: u64, temperature: f32, which: u64) -> Sampling {
    let mixed = u64::from(rng::bits(seed, Purpose::Sample, Stream::Answers.number(), which));
    Sampling { temperature, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: (mixed << 32) | which }
}
