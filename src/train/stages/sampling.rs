//! Drawing answers and orders: the question as ids, seeds of answers, shuffled places.

use crate::{
    compute::rng::{self, Purpose},
    data::{self, Role, Tokenizer, Turn, encode_prompt},
    nn::Sampling,
    train::error::TrainError,
};

/// Tokens that an answer may have.
pub(crate) const LONGEST: usize = 40;

/// The question's ids, the assistant's turn opened.
pub(crate) fn question(prompt: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, TrainError> {
    Ok(encode_prompt(&[Turn::new(Role::User, prompt)], tokenizer)?)
}

/// The place `at` of a shuffled 0..n; every epoch has another order.
pub(crate) fn shuffled(seed: u64, epoch: u64, n: usize, at: usize) -> usize {
    // Fisher and Yates once an epoch would be the same; this needs no table. See `data::tokens::shuffle`.
    data::tokens::shuffle::permute(seed, (1 << 46) | epoch, n, at)
}

/// Sampling from the whole distribution, with a seed for each of many answers.
pub(crate) fn drawn(seed: u64, temperature: f32, which: usize) -> Sampling {
    let mixed = u64::from(rng::bits(seed, Purpose::Sample, 1 << 44, which as u64));
    Sampling { temperature, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: (mixed << 32) | which as u64 }
}
