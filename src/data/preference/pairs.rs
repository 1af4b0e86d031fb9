//! Pairs as tokens, and the split into training and held out.

use std::collections::HashSet;

use rayon::prelude::*;

use super::Preference;
use crate::data::{
    chat::{self, Conversation, Role, Turn},
    error::DataError,
    split::{self, Key},
    tokenizer::{ChatTokens, Tokenizer},
    tokens::example::{Example, IGNORED},
};

/// Dropped pairs for which place and length are kept.
const KEPT_PLACES: usize = 20;

/// The pairs of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PreferenceSource {
    /// Its pairs.
    pub pairs: Vec<Preference>,
    /// Pairs that the data hold out themselves; then no others of the source are.
    pub split: Vec<Preference>,
}

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
    if tokenizer.own_template().is_some() {
        return encode_own_pairs(preferences, tokenizer, context);
    }
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
    Ok(fitting(all?, PairsFitted::default(), context))
}

/// The pairs of which both sides fit the context.
fn fitting(mut examples: Vec<PairExample>, mut fitted: PairsFitted, context: usize) -> (Vec<PairExample>, PairsFitted) {
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
    (examples, fitted)
}

/// The same in the model's own chat template. A pair that it does not render is counted as dropped.
fn encode_own_pairs(
    preferences: &[Preference],
    tokenizer: &Tokenizer,
    context: usize,
) -> Result<(Vec<PairExample>, PairsFitted), DataError> {
    let side = |prompt: &[Turn], answer: &str| -> Result<Side, DataError> {
        let turns = [prompt, &[Turn::new(Role::Assistant, answer)]].concat();
        let example = chat::encode(&Conversation { turns, task: None }, tokenizer)?;
        // The answer is the last turn, and nothing in the prompt counts.
        let last = example.labels.iter().rposition(|label| *label != IGNORED);
        let turn = last.map(|last| {
            let before = example.labels[..=last].iter().rposition(|label| *label == IGNORED);
            (before.map_or(0, |at| at + 1), last)
        });
        let (first, last) = turn.ok_or_else(|| DataError::Template("an answer has no token".to_owned()))?;
        Ok(Side { ids: example.ids[..=last].to_vec(), first, last })
    };
    let encode = |(at, pair): (usize, &Preference)| {
        let sides =
            side(&pair.prompt, &pair.chosen).and_then(|chosen| Ok((chosen, side(&pair.prompt, &pair.rejected)?)));
        match sides {
            Ok((chosen, rejected)) => {
                Ok(Some(PairExample { chosen, rejected, group: pair.group, votes: pair.votes, at }))
            }
            Err(DataError::Template(_)) => Ok(None),
            Err(e) => Err(e),
        }
    };
    let all: Result<Vec<Option<PairExample>>, DataError> = preferences.par_iter().enumerate().map(encode).collect();
    let all: Vec<PairExample> = all?.into_iter().flatten().collect();
    let fitted = PairsFitted { dropped: preferences.len() - all.len(), ..PairsFitted::default() };
    Ok(fitting(all, fitted, context))
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
    let mut split = split::split_keys(&[keys], HashSet::new());
    (split.train.pop().unwrap_or_default(), split.held_out.pop().unwrap_or_default())
}

/// Splits the pairs of all sources. A source with a split of its own keeps it, and what the split has is trained on in
/// no source; of the others [`split_preferences`] decides.
pub fn split_preference_sources(sources: Vec<PreferenceSource>) -> (Vec<Preference>, Vec<Preference>) {
    let same = |p: &Preference| (p.key(), p.chosen.clone(), p.rejected.clone());
    let measured: HashSet<_> = sources.iter().flat_map(|s| &s.split).map(same).collect();
    let (mut train, mut held_out, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for PreferenceSource { mut pairs, split } in sources {
        if !measured.is_empty() {
            pairs.retain(|p| !measured.contains(&same(p)));
        }
        let part = if split.is_empty() { &mut others } else { &mut train };
        part.extend(pairs);
        held_out.extend(split);
    }
    // Pairs about a prompt that is trained on anyway are not held out.
    let trained: HashSet<Key> = train.iter().map(Preference::key).collect();
    let keys: Vec<Key> = others.iter().map(Preference::key).collect();
    let split = split::split_keys(&[keys], trained);
    let held: HashSet<usize> = split.held_out.into_iter().flatten().collect();
    for (at, pair) in others.into_iter().enumerate() {
        let part = if held.contains(&at) { &mut held_out } else { &mut train };
        part.push(pair);
    }
    (train, held_out)
}
