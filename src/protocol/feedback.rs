//! Human feedback: sanity checks, rollouts, fits to votes.

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
