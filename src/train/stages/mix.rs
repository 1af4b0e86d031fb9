//! The share of each source in a language model's training.

use serde::{Deserialize, Serialize};

use crate::{
    data::ExampleSet,
    train::{
        config::plan::StagePlan,
        corpus::{Corpus, conversations::Chats},
    },
};

/// The share of each source, without and with demonstrations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shares {
    texts: Vec<f64>,
    chats: Vec<f64>,
    pretrain: f64,
    by_hand: f64,
    fine_tuning: bool,
}

impl Shares {
    pub(crate) fn new(corpus: &Corpus, chats: Option<&Chats>, plan: &StagePlan) -> Shares {
        let normal = |weights: Vec<f64>| {
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(|w| w / sum.max(f64::MIN_POSITIVE)).collect::<Vec<f64>>()
        };
        // A source without anything to draw has no share.
        let texts = corpus.packed.iter().map(|s| if s.train.is_empty() { 0.0 } else { s.weight }).collect();
        let weight = |s: &ExampleSet| if s.examples.is_empty() { 0.0 } else { s.weight };
        Shares {
            texts: if chats.is_some() { normal(texts) } else { texts },
            chats: normal(chats.iter().flat_map(|c| c.sets.iter().map(weight)).collect()),
            pretrain: plan.pretrain_share,
            by_hand: plan.by_hand_share,
            fine_tuning: chats.is_some(),
        }
    }

    #[cfg(test)]
    pub(crate) fn of_texts(texts: Vec<f64>) -> Shares {
        Shares { texts, chats: Vec::new(), pretrain: 0.0, by_hand: 0.0, fine_tuning: false }
    }

    /// The weights for a history: texts, conversations, demonstrations.
    pub(crate) fn of(&self, by_hand: bool) -> Vec<f64> {
        if !self.fine_tuning {
            return self.texts.clone();
        }
        let hand = if by_hand { self.by_hand } else { 0.0 };
        let rest = 1.0 - self.pretrain - hand;
        let texts = self.texts.iter().map(|w| w * self.pretrain);
        texts.chain(self.chats.iter().map(|w| w * rest)).chain([hand]).collect()
    }
}
