//! The line of stages: what each starts from, and what it does with text.

use super::{
    TrainError, lm,
    prepare::{Opened, Opening},
};

/// One stage.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Its name: on the command line, in run.toml, in the names of checkpoints.
    pub name: &'static str,
    /// The stage whose newest checkpoint it starts from; none starts from random weights.
    pub parent: Option<&'static str>,
    /// Whether it trains on conversations, and answers in the chat template.
    pub chat: bool,
    /// Makes it ready in an open run.
    pub(super) open: Open,
}

/// How a stage is opened.
pub(super) type Open = fn(&mut Opening<'_>) -> Result<Opened, TrainError>;

/// The stages that can be trained, first to last.
pub static STAGES: &[Stage] = &[
    Stage { name: "pretrain", parent: None, chat: false, open: lm::open },
    Stage { name: "sft", parent: Some("pretrain"), chat: true, open: lm::open },
];

impl Stage {
    /// The stage of that name.
    pub fn named(name: &str) -> Result<&'static Stage, TrainError> {
        STAGES.iter().find(|s| s.name == name).ok_or_else(|| {
            let known: Vec<&str> = STAGES.iter().map(|s| s.name).collect();
            TrainError::Input(format!("there is no stage {name:?}; stages that can be trained: {}", known.join(", ")))
        })
    }
}
