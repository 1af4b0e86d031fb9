//! Token ids, each with a label that says whether it is learned.

use crate::data::tokenizer::Tokenizer;

/// The label of a token that is not learned, and of padding.
pub const IGNORED: i32 = -100;

/// A text or a conversation as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The token at the same place (not the next one; the trainer shifts) where it is learned, [`IGNORED`] elsewhere.
    pub labels: Vec<i32>,
}

impl Example {
    /// The beginning of every example: what the tokenizer puts before a text.
    pub(in crate::data) fn begin(tokenizer: &Tokenizer) -> Self {
        let ids = tokenizer.begin().to_vec();
        Self { labels: vec![IGNORED; ids.len()], ids }
    }

    /// Tokens that are learned. The very first token never is one: nothing precedes it.
    pub fn trained(&self) -> usize {
        self.labels.iter().skip(1).filter(|l| **l != IGNORED).count()
    }

    /// Appends a turn.
    pub(in crate::data) fn extend(&mut self, turn: &Example) {
        self.ids.extend_from_slice(&turn.ids);
        self.labels.extend_from_slice(&turn.labels);
    }
}
