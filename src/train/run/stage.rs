//! The line of stages: what each starts from, and what it does with text.

use super::{
    TrainError, dpo,
    footprint::Counting,
    grpo, lm, ppo,
    prepare::{Opened, Opening},
    reward,
};

/// One stage.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Its name: on the command line, in run.toml, in the names of checkpoints.
    pub name: &'static str,
    /// The stage whose newest checkpoint it starts from; none starts from random weights.
    pub parent: Option<&'static str>,
    /// Another stage that it needs a checkpoint of.
    pub needs: Option<&'static str>,
    /// Whether it answers in the chat template.
    pub chat: bool,
    /// Whether its checkpoints are language models, which go on with a text.
    pub speaks: bool,
    /// Makes it ready in an open run.
    pub(super) open: Open,
    /// Builds the models that it is opened with, on a device that only counts them.
    pub(super) count: Count,
}

/// How a stage is opened.
pub(super) type Open = fn(&mut Opening<'_>) -> Result<Opened, TrainError>;

/// How the memory of a stage is counted: gives the parameters under an optimiser.
pub(super) type Count = fn(&mut Counting<'_>) -> Result<usize, TrainError>;

/// The stages that can be trained, first to last.
pub static STAGES: &[Stage] = &[
    Stage { name: "pretrain", parent: None, needs: None, chat: false, speaks: true, open: lm::open, count: lm::count },
    Stage {
        name: "sft",
        parent: Some("pretrain"),
        needs: None,
        chat: true,
        speaks: true,
        open: lm::open,
        count: lm::count,
    },
    Stage {
        name: "reward",
        parent: Some("sft"),
        needs: None,
        chat: true,
        speaks: false,
        open: reward::open,
        count: reward::count,
    },
    Stage {
        name: "ppo",
        parent: Some("sft"),
        needs: Some("reward"),
        chat: true,
        speaks: true,
        open: ppo::open,
        count: ppo::count,
    },
    Stage {
        name: "dpo",
        parent: Some("sft"),
        needs: None,
        chat: true,
        speaks: true,
        open: dpo::open,
        count: dpo::count,
    },
    Stage {
        name: "grpo",
        parent: Some("sft"),
        needs: Some("reward"),
        chat: true,
        speaks: true,
        open: grpo::open,
        count: grpo::count,
    },
];

impl Stage {
    /// Whether the text of the run's sources is what it trains on.
    pub(super) fn draws_text(&self) -> bool {
        matches!(self.name, "pretrain" | "sft")
    }

    /// Whether `--from` may name its start: feedback is about the run's own model.
    pub(super) fn starts_elsewhere(&self) -> bool {
        self.draws_text()
    }

    /// Whether it teaches a policy by feedback.
    pub(super) fn aligns(&self) -> bool {
        matches!(self.name, "ppo" | "dpo" | "grpo")
    }

    /// The stage of that name.
    pub fn named(name: &str) -> Result<&'static Stage, TrainError> {
        STAGES.iter().find(|s| s.name == name).ok_or_else(|| {
            let known: Vec<&str> = STAGES.iter().map(|s| s.name).collect();
            TrainError::Input(format!("there is no stage {name:?}; stages that can be trained: {}", known.join(", ")))
        })
    }
}
