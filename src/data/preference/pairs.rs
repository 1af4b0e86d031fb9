//! Pairs as tokens, and the split into training and held out.

use rayon::prelude::*;

use super::Preference;
use crate::data::{
    chat::{self, Role, Turn},
    error::DataError,
    split::{self, Key},
    tokenizer::{ChatTokens, Tokenizer},
    tokens::example::Example,
};

/// Dropped pairs for which place and length are kept.
const KEPT_PLACES: usize = 20;

/// A prompt with one of its answers as tokens, including the token that ends the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Position of the answer's first token, after the one that opens the assistant's turn.
    pub first: usize,
    /// Position of the last token, the end of the turn, where the score is read.
    pub last: usize,
}

/// A pair as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairExample {
    /// The better side.
    pub chosen: Side,
    /// The worse side.
    pub rejected: Side,
    /// As in [`Preference`].
    pub group: u64,
    /// As in [`Preference`].
    pub votes: bool,
    /// Its index among the preferences.
    pub at: usize,
}

/// Statistics of fitting pairs to a context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairsFitted {
    /// Pairs with two sides that fit.
    pub kept: usize,
    /// Pairs with a side that is too long.
    pub dropped: usize,
    /// The first of these: their number, from 1, and the tokens of the longer side.
    pub dropped_at: Vec<(usize, usize)>,
    /// Tokens of the longest side.
    pub longest: usize,
    /// Tokens of all sides.
    pub tokens: u64,
}

/// Encodes all pairs with at most `context` tokens a side. A pair is never cut, because a score belongs to a whole
/// answer to a whole prompt; one that does not fit is dropped.
pub fn encode_pairs(
    preferences: &[Preference],
    tokenizer: &Tokenizer,
    context: usize,
) -> Result<(Vec<PairExample>, PairsFitted), DataError> {
    let chat = chat::chat_tokens(tokenizer)?;
    let encode = |(at, pair): (usize, &Preference)| {
        let mut prompt = Example::begin(tokenizer);
        for turn in &pair.prompt {
            prompt.extend(&chat::encode_turn(turn, tokenizer, chat)?);
        }
        let side = |answer: &str| side(&prompt.ids, answer, tokenizer, chat);
        let (chosen, rejected) = (side(&pair.chosen)?, side(&pair.rejected)?);
        Ok(PairExample { chosen, rejected, group: pair.group, votes: pair.votes, at })
    };
    let all: Result<Vec<PairExample>, DataError> = preferences.par_iter().enumerate().map(encode).collect();
    let mut fitted = PairsFitted::default();
    let mut examples = all?;
    examples.retain(|pair| {
        let lengths = [pair.chosen.ids.len(), pair.rejected.ids.len()];
        let longest = lengths[0].max(lengths[1]);
        if longest > context {
            fitted.dropped += 1;
            if fitted.dropped_at.len() < KEPT_PLACES {
                fitted.dropped_at.push((pair.at + 1, longest));
            }
            return false;
        }
        fitted.kept += 1;
        fitted.longest = fitted.longest.max(longest);
        fitted.tokens += (lengths[0] + lengths[1]) as u64;
        true
    });
    Ok((examples, fitted))
}

fn side(prompt: &[u32], answer: &str, tokenizer: &Tokenizer, chat: ChatTokens) -> Result<Side, DataError> {
    let turn = chat::encode_turn(&Turn::new(Role::Assistant, answer), tokenizer, chat)?;
    let ids = [prompt, &turn.ids].concat();
    Ok(Side { first: prompt.len() + 1, last: ids.len() - 1, ids })
}

/// Splits pairs into training and held out, as indices. The prompt decides: all pairs with the same one are on one
/// side.
pub fn split_preferences(preferences: &[Preference]) -> (Vec<usize>, Vec<usize>) {
    let keys: Vec<Key> = preferences.iter().map(Preference::key).collect();
    let mut split = split::split_keys(&[keys], std::collections::HashSet::new());
    (split.train.pop().unwrap_or_default(), split.held_out.pop().unwrap_or_default())
}
