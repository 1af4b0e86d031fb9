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
    /// The profile's rules in the order they are asked, with what each dropped in `funnel`.
    pub rules: Vec<RuleView>,
    /// Where a file of it is broken, while its old version is trained on.
    pub broken: Option<String>,
}

/// A rule of cleaning with its bound.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Whether the measured value has to reach the bound; else it may not pass it.
    pub at_least: bool,
    /// The bound that holds; infinite where the rule is switched off.
    pub threshold: f64,
    /// The bound of the table, where run.toml has another.
    pub published: f64,
    /// Where the table has it from.
    pub source: String,
}

/// How well a tokenizer fits the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenizerView {
    /// `char` or `bpe`.
    pub kind: String,
    /// Tokens it has.
    pub vocab_size: usize,
    /// Mean characters and bytes of text a token.
    pub characters_per_token: f64,
    /// See `characters_per_token`.
    pub bytes_per_token: f64,
    /// Share of tokens that are one byte of a character it does not have (`<0xNN>`).
    pub fallback_share: f64,
    /// Share of characters that it cannot write at all; 0 where it falls back to bytes.
    pub unknown_share: f64,
    /// The most common tokens, in order.
    pub top: Vec<String>,
}

/// One token of a batch as it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenView {
    /// Its text; special tokens by their spelling, bytes of a cut character as `<0xNN>`.
    pub text: String,
    /// Whether it is a target (the label is not −100).
    pub trained: bool,
    /// −ln p of it, where it is.
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
    /// Steps of the weights that the losses are of.
    pub step: usize,
    /// Its beginning as it was written.
    pub text: String,
    /// The same, token by token, with the loss of each but the first; tokens that are parts of one character together,
    /// their losses added.
    pub tokens: Vec<TokenView>,
    /// Tokens that it is.
    pub shown: usize,
    /// Their mean loss, in nats a token.
    pub loss: Option<f64>,
    /// Tokens that it has in all.
    pub length: usize,
    /// The user's label: keep (true) or drop (false).
    pub mark: Option<bool>,
}

/// Documents that were dropped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DroppedView {
    /// Of this source; of all where it is none.
    pub source: Option<String>,
    /// By this rule; by all where it is none.
    pub rule: Option<String>,
    /// Which of them is the first of `items`, from 0.
    pub from: usize,
    /// How many there are.
    pub of: usize,
    /// Some of them.
    pub items: Vec<DroppedDocument>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Its beginning, or why there is no text; none where the beginning is not kept.
    pub text: Option<String>,
    /// Of a duplicate the document that stays.
    pub twin: Option<Twin>,
}

/// The document that a duplicate repeats.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The source, the rule and the bound that is tried.
    pub source: String,
    /// See `source`.
    pub rule: String,
    /// See `source`.
    pub threshold: f64,
    /// Documents looked at so far; all of the source's at the end.
    pub documents: u64,
    /// Of these, dropped by any rule now.
    pub dropped_now: u64,
    /// Of these, dropped by any rule with the new bound.
    pub dropped_then: u64,
    /// The beginnings of some that would come back, each with its measured value.
    pub back: Vec<(f64, String)>,
    /// The beginnings of some that would go.
    pub gone: Vec<(f64, String)>,
    /// Whether all were looked at.
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
    /// What had changed since the run was last open.
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
    /// The first step that is taken with it, counted from 1 as in [`super::StepReport`].
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
    /// Seconds from the change on disk to this.
    pub seconds: Option<f64>,
    /// Whether this step was taken before, and is taken again after a resume.
    pub replayed: bool,
}
