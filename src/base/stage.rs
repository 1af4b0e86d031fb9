//! The stages of a run: names, order, kinds, and what each starts from. Data only; `train::stages` has the code that opens
//! them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A stage. Its name is used on the command line, as the table in run.toml, and for its checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageId {
    /// Next-token prediction on text, from random weights.
    #[default]
    Pretrain,
    /// Supervised fine-tuning on the answers of conversations.
    Sft,
    /// The reward model, trained on which of two answers is preferred.
    Reward,
    /// Proximal policy optimisation against the reward model.
    Ppo,
    /// Direct preference optimisation on the pairs, without a reward model.
    Dpo,
    /// Group-relative policy optimisation against the reward model.
    Grpo,
}

/// What a stage trains, and from what. Code that is the same for similar stages matches on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// A language model, from text.
    Text,
    /// A language model, from answers.
    Answers,
    /// A reward model, from pairs.
    Reward,
    /// A policy, from its own answers.
    Policy,
    /// A policy, from pairs.
    Pairs,
}

/// What every layer may ask about a stage.
struct Row {
    /// On the command line, in run.toml and in files.
    name: &'static str,
    /// On the screen, in English and Chinese.
    title: [&'static str; 2],
    /// In explanations, in English and Chinese.
    about: [&'static str; 2],
    kind: StageKind,
    parent: Option<StageId>,
    needs: Option<StageId>,
}

impl StageId {
    /// All stages, in the order of training.
    pub const ALL: [StageId; 6] =
        [StageId::Pretrain, StageId::Sft, StageId::Reward, StageId::Ppo, StageId::Dpo, StageId::Grpo];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        use StageId::{Dpo, Grpo, Ppo, Pretrain, Reward, Sft};
        match self {
            Pretrain => Row { name: "pretrain", title: ["pretrain", "预训练"], about: ["pretraining", "预训练"],
                kind: StageKind::Text, parent: None, needs: None },
            Sft => Row { name: "sft", title: ["SFT", "微调"], about: ["fine-tuning", "微调"],
                kind: StageKind::Answers, parent: Some(Pretrain), needs: None },
            Reward => Row { name: "reward", title: ["reward", "奖励"], about: ["the reward model", "奖励模型"],
                kind: StageKind::Reward, parent: Some(Sft), needs: None },
            Ppo => Row { name: "ppo", title: ["PPO", "PPO"], about: ["PPO", "PPO"],
                kind: StageKind::Policy, parent: Some(Sft), needs: Some(Reward) },
            Dpo => Row { name: "dpo", title: ["DPO", "DPO"], about: ["DPO", "DPO"],
                kind: StageKind::Pairs, parent: Some(Sft), needs: None },
            Grpo => Row { name: "grpo", title: ["GRPO", "GRPO"], about: ["GRPO", "GRPO"],
                kind: StageKind::Policy, parent: Some(Sft), needs: Some(Reward) },
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its short title, in English and Chinese.
    pub const fn title(self) -> [&'static str; 2] {
        self.row().title
    }

    /// What it does, as a noun, in English and Chinese.
    pub const fn about(self) -> [&'static str; 2] {
        self.row().about
    }

    /// What it trains, and from what.
    pub const fn kind(self) -> StageKind {
        self.row().kind
    }

    /// The stage whose newest checkpoint it starts from; None: from random weights.
    pub const fn parent(self) -> Option<StageId> {
        self.row().parent
    }

    /// Another stage of which it needs a checkpoint.
    pub const fn needs(self) -> Option<StageId> {
        self.row().needs
    }

    /// Whether it answers in the chat template.
    pub fn chat(self) -> bool {
        self.kind() != StageKind::Text
    }

    /// Whether its checkpoints are language models, which can continue a text.
    pub fn speaks(self) -> bool {
        self.kind() != StageKind::Reward
    }

    /// Whether it trains on the text of the run's sources.
    pub fn draws_text(self) -> bool {
        matches!(self.kind(), StageKind::Text | StageKind::Answers)
    }

    /// Whether it optimises a policy against preferences.
    pub fn aligns(self) -> bool {
        matches!(self.kind(), StageKind::Policy | StageKind::Pairs)
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is not a stage's.
#[derive(Debug, thiserror::Error)]
#[error("there is no stage {name:?}; stages that can be trained: {}", StageId::ALL.map(StageId::name).join(", "))]
pub struct NoStage {
    name: String,
}

impl FromStr for StageId {
    type Err = NoStage;

    fn from_str(name: &str) -> Result<StageId, NoStage> {
        StageId::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| NoStage { name: name.to_owned() })
    }
}

/// A stage's name in a file. An unknown name, from a newer version, is kept unchanged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StageName {
    /// A stage known to this version.
    Known(StageId),
    /// Any other name.
    Other(String),
}

impl Default for StageName {
    fn default() -> StageName {
        StageName::Known(StageId::default())
    }
}

impl From<StageId> for StageName {
    fn from(stage: StageId) -> StageName {
        StageName::Known(stage)
    }
}

impl From<&str> for StageName {
    fn from(name: &str) -> StageName {
        name.parse().map_or_else(|_| StageName::Other(name.to_owned()), StageName::Known)
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageName::Known(stage) => stage.fmt(f),
            StageName::Other(name) => f.pad(name),
        }
    }
}

impl PartialEq<StageId> for StageName {
    fn eq(&self, stage: &StageId) -> bool {
        *self == StageName::Known(*stage)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_name_of_a_newer_version_is_kept() {
        for (name, known) in [("sft", true), ("distill", false), ("Sft", false)] {
            let json = format!("{name:?}");
            let read: StageName = serde_json::from_str(&json).unwrap();
            assert_eq!((read == StageId::Sft, &read), (known, &StageName::from(name)));
            assert_eq!((serde_json::to_string(&read).unwrap(), read.to_string()), (json, name.to_owned()));
        }
    }
}
