//! Token ids with labels that say which are trained.

use crate::data::tokenizer::Tokenizer;

/// The label of untrained tokens and padding.
pub const IGNORED: i32 = -100;

/// A text or a conversation as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The token at the same position (not the next one; the trainer shifts) if it is trained, [`IGNORED`] elsewhere.
    pub labels: Vec<i32>,
}

impl Example {
    /// The beginning of every example: the tokens before a text.
    pub(in crate::data) fn begin(tokenizer: &Tokenizer) -> Self {
        let ids = tokenizer.begin().to_vec();
        Self { labels: vec![IGNORED; ids.len()], ids }
    }

    /// Number of trained tokens. The first token never is one: nothing precedes it.
    pub fn trained(&self) -> usize {
        self.labels.iter().skip(1).filter(|l| **l != IGNORED).count()
    }

    /// Appends a turn.
    pub(in crate::data) fn extend(&mut self, turn: &Example) {
        self.ids.extend_from_slice(&turn.ids);
        self.labels.extend_from_slice(&turn.labels);
    }
}
