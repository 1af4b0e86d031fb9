//! The newest update's answers, stored for the rollout inspector.

use super::{episode::Actions, roles::Measured};
use crate::{
    data::Tokenizer,
    protocol::{ActionView, RolloutView},
};

/// All numbers of an update's answers.
pub(crate) struct RolloutTrace {
    /// The update, from 1.
    pub step: usize,
    pub prompts: Vec<String>,
    pub measured: Measured,
    pub scores: Vec<f32>,
    /// None without a value net.
    pub values: Option<Actions>,
    pub rewards: Actions,
    pub advantages: Actions,
    /// log π of each action in the last pass.
    pub newest: Actions,
    /// Clipping ε below and above 1.
    pub clip: (f32, f32),
}

impl RolloutTrace {
    /// Answer `which`, modulo their number.
    pub(crate) fn view(&self, which: usize, tokenizer: &Tokenizer) -> RolloutView {
        let of = self.measured.episodes.len();
        let which = which % of.max(1);
        let episode = &self.measured.episodes[which];
        let at = |of: &Actions, i: usize| of[which][i];
        let action = |i: usize| {
            let (logprob, advantage) = (at(&self.measured.old, i), at(&self.advantages, i));
            let ratio = (at(&self.newest, i) - logprob).exp();
            let clip = ratio.clamp(1.0 - self.clip.0, 1.0 + self.clip.1);
            ActionView {
                text: tokenizer.written(episode.ids[episode.start + i]),
                logprob,
                reference: at(&self.measured.reference, i),
                value: self.values.as_ref().map(|v| at(v, i)),
                reward: at(&self.rewards, i),
                advantage,
                ratio,
                clipped: -advantage * clip > -advantage * ratio,
            }
        };
        RolloutView {
            step: self.step,
            which,
            of,
            prompt: self.prompts.get(which).cloned().unwrap_or_default(),
            score: self.scores[which].into(),
            ended: episode.ended,
            actions: (0..episode.actions()).map(action).collect(),
        }
    }
}
