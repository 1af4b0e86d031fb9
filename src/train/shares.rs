//! What share each source of a language model's training has, and from which step on.

use super::{chats::Chats, checkpoint::State, corpus::Corpus, error::TrainError, plan::StagePlan};
use crate::data::{ExampleSet, History, Shape};

/// What share each source has, before and after there are demonstrations by hand.
pub(super) struct Shares {
    texts: Vec<f64>,
    chats: Vec<f64>,
    pretrain: f64,
    by_hand: f64,
    fine_tuning: bool,
}

impl Shares {
    pub(super) fn new(corpus: &Corpus, chats: Option<&Chats>, plan: &StagePlan) -> Shares {
        let normal = |weights: Vec<f64>| {
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(|w| w / sum.max(f64::MIN_POSITIVE)).collect::<Vec<f64>>()
        };
        // Of a source with nothing left nothing can be drawn.
        let texts = || corpus.packed.iter().map(|s| if s.train.is_empty() { 0.0 } else { s.weight });
        let weight = |s: &ExampleSet| if s.examples.is_empty() { 0.0 } else { s.weight };
        Shares {
            texts: match chats {
                Some(_) => normal(texts().collect()),
                None => texts().collect(),
            },
            chats: normal(chats.iter().flat_map(|c| c.sets.iter().map(weight)).collect()),
            pretrain: plan.pretrain_share,
            by_hand: plan.by_hand_share,
            fine_tuning: chats.is_some(),
        }
    }

    /// The weights of a history: texts, conversations, demonstrations.
    pub(super) fn of(&self, by_hand: bool) -> Vec<f64> {
        if !self.fine_tuning {
            return self.texts.clone();
        }
        let hand = if by_hand { self.by_hand } else { 0.0 };
        let rest = 1.0 - self.pretrain - hand;
        let texts = self.texts.iter().map(|w| w * self.pretrain);
        texts.chain(self.chats.iter().map(|w| w * rest)).chain([hand]).collect()
    }
}

/// The history of a state, with today's weights and shape from its step on if they differ, and with the
/// share of demonstrations from the first one on.
pub(super) fn mixed(
    state: &State,
    shares: &Shares,
    first_by_hand: Option<u64>,
    shape: Shape,
    notes: &mut Vec<String>,
) -> Result<History, TrainError> {
    let mut history = state.history.clone();
    let (without, with) = (shares.of(false), shares.of(true));
    let from = first_by_hand.map(|step| step.max(state.step));
    if history.sources() == without.len() {
        let is_today = |w: &[f64]| -> Result<bool, TrainError> {
            let now = History::new(w, shape)?;
            let then = history.at(state.step);
            Ok(then.weights == now.newest().weights && then.shape == shape)
        };
        if !is_today(&without)? && !is_today(&with)? {
            notes.push(format!("mix and batch of run.toml hold from step {}", state.step + 1));
        }
        let now = if from == Some(state.step) { &with } else { &without };
        history.turn_to(state.step, now, shape)?;
    } else {
        // Other sources: counts of old ones mean nothing for them.
        notes.push("the sources have changed since the checkpoint: the mix starts anew".to_owned());
        history = History::new(&without, shape)?;
    }
    if let Some(from) = from {
        history.turn_to(from, &with, shape)?;
    }
    Ok(history)
}
