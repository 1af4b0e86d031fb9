//! Human feedback: sanity checks, rollouts, votes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::line::{number, pair};
use crate::data::TextFeature;

/// A sanity check before a policy's first update: rollouts, scoring and update must agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SanityCheck {
    /// `kl`, `ratio`, `clipfrac`, `sampler`; of DPO `loss` and `margin`.
    pub name: Cow<'static, str>,
    /// The distance from the expected value.
    #[serde(deserialize_with = "number")]
    pub value: f64,
    /// The largest distance allowed.
    #[serde(deserialize_with = "number")]
    pub bound: f64,
    /// Whether the value is within the bound; NaN is not.
    pub holds: bool,
}

impl SanityCheck {
    /// A check of a value against its bound.
    pub fn new(name: &'static str, value: f64, bound: f64) -> SanityCheck {
        SanityCheck { name: name.into(), value, bound, holds: value <= bound }
    }
}

/// One answer of an update, token by token.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// The update that drew it.
    pub step: usize,
    /// Which of the update's answers.
    pub which: usize,
    /// How many there are.
    pub of: usize,
    /// The prompt.
    pub prompt: String,
    /// The reward model's normalised score, less the penalty for a missing end.
    pub score: f64,
    /// Whether it ended by itself.
    pub ended: bool,
    /// Its tokens, the end included.
    pub actions: Vec<ActionView>,
}

/// One sampled token as the update saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionView {
    /// Its text; special tokens by their spelling.
    pub text: String,
    /// Its log π when it was sampled.
    pub logprob: f32,
    /// Its log π_ref; the KL estimate is the difference.
    pub reference: f32,
    /// The value net's estimate before it; None where the stage has no value net.
    pub value: Option<f32>,
    /// −β·KL, plus the score at the last token.
    pub reward: f32,
    /// Its advantage, the weight in the loss.
    pub advantage: f32,
    /// π_new / π_old in the last pass of the update.
    pub ratio: f32,
    /// Whether that ratio was clipped.
    pub clipped: bool,
}

/// The user's choice between two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// A is better.
    A,
    /// B is better.
    B,
    /// A is much better.
    MuchA,
    /// B is much better.
    MuchB,
    /// Both equally good.
    Tie,
    /// Both are bad.
    BothBad,
    /// No opinion.
    Skip,
}

/// Two answers of the live weights to one prompt, left and right in random order.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Its number.
    pub pair: u64,
    /// The step after which they were sampled.
    pub step: usize,
    /// The prompt.
    pub prompt: String,
    /// The answer on the left.
    pub a: String,
    /// The answer on the right.
    pub b: String,
}

/// A vote and the reward model's scores of the pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VotedPair {
    /// The offer's number.
    pub pair: u64,
    /// The choice.
    pub choice: Choice,
    /// The reward model's normalised scores of A and B before it learned from this vote; None without a reward model.
    pub scores: Option<(f64, f64)>,
    /// Tokens of A and B.
    #[serde(skip)]
    pub lengths: (usize, usize),
    /// Mean log π per token of A and of B.
    #[serde(skip)]
    pub logprobs: (f64, f64),
    /// Whether it is an earlier pair shown again.
    #[serde(skip)]
    pub repeat: bool,
    /// Whether the answer drawn first was on the right.
    #[serde(skip)]
    pub swapped: bool,
    /// All votes so far, this one included.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Counts over the votes of a run. Shares are pairs (count, total). A line of the log has only the fields that serde
/// does not skip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Votes for a side.
    pub decided: usize,
    /// Of those, votes for the left one; the position bias is its distance from half.
    #[serde(skip)]
    pub left: usize,
    /// Of those, votes for the longer one (of unequal lengths).
    #[serde(skip)]
    pub longer: (usize, usize),
    /// Ties.
    #[serde(skip)]
    pub ties: usize,
    /// Both bad.
    #[serde(skip)]
    pub both_bad: usize,
    /// Skipped.
    #[serde(skip)]
    pub skipped: usize,
    /// Of the newest 25 votes for a side, those that the reward model agreed with before it learned from them.
    pub agreement: (usize, usize),
    /// Of earlier pairs shown again, those voted on the same way.
    #[serde(skip)]
    pub repeats: (usize, usize),
    /// Agreement vote by vote, for a curve: 1 where the reward model agreed, 0 where not.
    #[serde(skip)]
    pub agreed: Vec<bool>,
    /// Mean seconds per pair.
    #[serde(skip)]
    pub seconds: f64,
    /// How often the reward model was fitted to votes.
    #[serde(skip)]
    pub version: usize,
    /// Votes for a side until the next fit.
    #[serde(skip)]
    pub until_refit: usize,
    /// How many built-in pairs a vote counts for.
    #[serde(skip)]
    pub weight: f64,
    /// The votes themselves, the newest last; those taken back are not among them.
    #[serde(skip)]
    pub cast: Vec<CastVote>,
}

/// A vote that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CastVote {
    /// The number of its pair.
    pub pair: u64,
    /// The prompt.
    pub prompt: String,
    /// The choice.
    pub choice: Choice,
}

/// A reward model fitted to votes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refit {
    /// How often it was fitted, this time included.
    pub version: usize,
    /// Votes learned from.
    pub votes: usize,
    /// Built-in pairs trained on beside them.
    pub pairs: usize,
    /// How many built-in pairs a vote counts for.
    #[serde(deserialize_with = "number")]
    pub weight: f64,
    /// Steps taken.
    pub steps: usize,
    /// Seconds taken.
    pub seconds: f64,
    /// Share of the votes that the model agrees with, before and after.
    #[serde(deserialize_with = "pair")]
    pub agreement: (f64, f64),
    /// Accuracy on the held-out pairs, before and after.
    #[serde(deserialize_with = "pair")]
    pub accuracy: (f64, f64),
    /// The checkpoint that holds it.
    pub checkpoint: String,
    /// Votes that the taste of the other votes predicts, and how many were tried; None where votes train the network.
    #[serde(default)]
    pub predicted: Option<(usize, usize)>,
    /// What the taste is about, the strongest first; empty where votes train the network.
    #[serde(default)]
    pub taught: Vec<Taught>,
}

/// A feature that a taste is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taught {
    /// The feature.
    pub what: TextFeature,
    /// What a unit of it adds to the normalised score; negative for what is disliked.
    #[serde(deserialize_with = "number")]
    pub weight: f64,
}
