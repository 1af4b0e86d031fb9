//! The data: sources and their funnels, documents, batches, what was dropped, edits.

use serde::{Deserialize, Serialize};

use super::{SourceInfo, line::number};
pub use crate::data::clean::{Funnel, Tally as Documents};

/// The data of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomView {
    /// The sources in run.toml's order, or the built-in ones.
    pub sources: Vec<RoomSource>,
    /// The tokenizer, on the beginning of every source's training text.
    pub tokenizer: TokenizerView,
    /// Notes for the user: files skipped, records rejected.
    pub notes: Vec<String>,
    /// Whether files and run.toml are watched, and how: `notify`, `poll`, or why not.
    pub watching: String,
}

/// A source and its funnel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomSource {
    /// Its name.
    pub name: String,
    /// Where its files are, as run.toml has it; empty for the built-in ones.
    pub path: String,
    /// The profile it is cleaned by; empty for the built-in ones.
    pub profile: String,
    /// Its share of drawn tokens, a fraction of 1.
    pub weight: f64,
    /// Documents and tokens that are trained on.
    pub documents: usize,
    /// See `documents`.
    pub tokens: usize,
    /// Documents and tokens that are held out.
    pub held_out_documents: usize,
    /// See `held_out_documents`.
    pub held_out_tokens: usize,
    /// What came in, what each rule took, what was left.
    pub funnel: Funnel,
    /// The profile's rules in the order they are applied, with the number each dropped in `funnel`.
    pub rules: Vec<RuleView>,
    /// Which of its files cannot be used, while training continues on the old version.
    pub broken: Option<String>,
}

/// A rule of cleaning with its bound.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Whether the measured value must reach the threshold; otherwise it must not exceed it.
    pub at_least: bool,
    /// The threshold in effect; infinite where the rule is switched off.
    pub threshold: f64,
    /// The published threshold, where run.toml has another.
    pub published: f64,
    /// The publication that the threshold is from.
    pub source: String,
}

/// How well a tokenizer fits the text.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TokenizerView {
    /// `char` or `bpe`.
    pub kind: String,
    /// Tokens it has.
    pub vocab_size: usize,
    /// Mean characters and bytes of text per token.
    pub characters_per_token: f64,
    /// See `characters_per_token`.
    pub bytes_per_token: f64,
    /// Share of tokens that are single bytes of characters missing from the vocabulary (`<0xNN>`).
    pub fallback_share: f64,
    /// Share of characters that it cannot encode; 0 with byte fallback.
    pub unknown_share: f64,
    /// The most common tokens, in order.
    #[serde(skip)]
    pub top: Vec<String>,
}

/// One token of a batch as it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenView {
    /// Its text; special tokens by their spelling, bytes of a cut character as `<0xNN>`.
    pub text: String,
    /// Whether it is a target (the label is not −100).
    pub trained: bool,
    /// −ln p of the token, if it is a target.
    pub loss: Option<f32>,
    /// Whether it is the first of an example.
    pub first: bool,
}

/// A batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchView {
    /// The step it belongs to.
    pub step: usize,
    /// The source of each row and its tokens, padding left out.
    pub rows: Vec<(String, Vec<TokenView>)>,
}

/// A training document.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentView {
    /// Its source.
    pub source: String,
    /// Which of the source's training documents, from 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
    /// The step of the weights that computed the losses.
    pub step: usize,
    /// Its beginning as it was written.
    pub text: String,
    /// The same, token by token, with the loss of each but the first; tokens that are parts of one character are
    /// joined, their losses added.
    pub tokens: Vec<TokenView>,
    /// Number of tokens shown.
    pub shown: usize,
    /// Their mean loss, in nats per token.
    pub loss: Option<f64>,
    /// Number of tokens of the whole document.
    pub length: usize,
    /// The user's label: keep (true) or drop (false).
    pub mark: Option<bool>,
}

/// Documents that were dropped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DroppedView {
    /// Only of this source; None: of all.
    pub source: Option<String>,
    /// Only by this rule; None: by all.
    pub rule: Option<String>,
    /// Index of the first of `items`.
    pub from: usize,
    /// Number of dropped documents.
    pub of: usize,
    /// Some of them.
    pub items: Vec<DroppedDocument>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DroppedDocument {
    /// Its source, file, and the record's place in the file as the reader counts.
    pub source: String,
    /// See `source`.
    pub file: String,
    /// See `source`.
    pub place: u64,
    /// The rule, the measured value, and the threshold.
    pub rule: String,
    /// See `rule`.
    pub value: f64,
    /// See `rule`.
    pub threshold: f64,
    /// Its beginning, or why there is no text; None if the beginning was not kept.
    pub text: Option<String>,
    /// For a duplicate, the document that was kept.
    #[serde(rename = "of")]
    pub twin: Option<Twin>,
}

/// The document that a duplicate repeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Twin {
    /// Its source, file and place.
    pub source: String,
    /// See `source`.
    pub file: String,
    /// See `source`.
    pub place: u64,
    /// Its beginning.
    pub text: String,
}

/// The effect of another threshold of a rule, before it is applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    /// The source, the rule and the threshold to try.
    pub source: String,
    /// See `source`.
    pub rule: String,
    /// See `source`.
    pub threshold: f64,
    /// Documents examined so far; at the end all of the source's.
    pub documents: u64,
    /// Of these, documents that a rule drops now.
    pub dropped_now: u64,
    /// Of these, documents that a rule drops with the new threshold.
    pub dropped_then: u64,
    /// The beginnings of some that would return, each with its measured value.
    pub back: Vec<(f64, String)>,
    /// The beginnings of some that would go.
    pub gone: Vec<(f64, String)>,
    /// Whether all documents were examined.
    pub done: bool,
}

/// What caused a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A key on the screen.
    Key,
    /// run.toml was saved.
    Config,
    /// A source's files changed.
    Files,
    /// Changes made while the run was not open, or a cause of a newer version.
    #[serde(other)]
    Reopened,
}

impl Cause {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Config => "config",
            Self::Files => "files",
            Self::Reopened => "reopened",
        }
    }
}

/// A change of mix, data or learning rate that is on disk and applies from the next batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// The first step that it applies to, counted from 1 as in [`super::StepReport`].
    pub step: usize,
    /// What caused it.
    pub cause: Cause,
    /// What changed: `tang300 35 % → 40 %`, `poems.txt +2 −0 documents`.
    pub text: String,
    /// The sources as they are now.
    pub sources: Vec<SourceInfo>,
    /// The peak learning rate as it is now.
    #[serde(deserialize_with = "number")]
    pub learning_rate: f64,
    /// Rows of a step's batch as it is now; 0 if unknown.
    #[serde(default)]
    pub batch: usize,
    /// Seconds from the change on disk to this event.
    pub seconds: Option<f64>,
    /// Whether the step is repeated after a resume.
    pub replayed: bool,
}
