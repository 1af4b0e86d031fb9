//! The parts of the screen, and which of them a view has.

use super::Stage;
use crate::ui::strings::{self, Tr};

/// A part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Panel {
    /// The loss curve and its small companions.
    #[default]
    Loss,
    /// How well each task is answered.
    Tasks,
    /// Fixed prompts completed again and again.
    Probe,
    /// The newest step's tokens.
    Batch,
    /// How well a reward model tells held-out pairs apart.
    Accuracy,
    /// By how much it does, pair by pair.
    Margins,
    /// A person's votes, and what the reward model makes of them.
    Votes,
    /// What a policy's answers are worth: to the rule, and to the reward model.
    Score,
    /// How far a policy has gone, and how it writes.
    Drift,
    /// Worth against distance.
    Frontier,
    /// What must hold before the first update, and the guard.
    Lamps,
    /// One answer of the newest update, token by token.
    Rollout,
    /// Prompts to the live weights.
    Chat,
    /// Sources, their weights and how much was drawn.
    Mix,
    /// The sources of the data room: weights, how much was read, and how they are.
    Sources,
    /// What each rule of cleaning took, and what another bound would.
    Filters,
    /// Documents that were dropped, and why.
    Dropped,
    /// Training and validation loss of each source.
    Losses,
    /// How well the tokenizer fits the text.
    Tokenizer,
    /// One document with the loss of each character.
    Preview,
    /// The batch that comes next.
    NextBatch,
    /// What was changed while training.
    Changes,
    /// Engine, model, progress.
    Run,
    /// What happened.
    Log,
}

/// What is looked at: a kind of process, or the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The data room.
    Data,
    /// A language model on text.
    Pretrain,
    /// A language model on tasks.
    Tune,
    /// A reward model.
    Reward,
    /// A policy that learns from answers of its own.
    Align,
    /// A policy that learns from pairs.
    Direct,
}

/// Stages that teach a policy from preferences, in the order one looks at them.
pub const ALIGNED: [&str; 3] = ["ppo", "dpo", "grpo"];

impl View {
    /// That of a stage.
    pub fn of(stage: &Stage) -> View {
        match stage.name.as_str() {
            "reward" => View::Reward,
            "dpo" => View::Direct,
            _ if stage.aligns() => View::Align,
            _ if stage.is_tuning() => View::Tune,
            _ => View::Pretrain,
        }
    }

    /// Its panels, in the order Tab walks.
    pub fn panels(self) -> &'static [Panel] {
        use Panel::{
            Accuracy, Batch, Changes, Chat, Drift, Dropped, Filters, Frontier, Lamps, Log, Loss, Losses, Margins, Mix,
            NextBatch, Preview, Probe, Rollout, Run, Score, Sources, Tasks, Tokenizer, Votes,
        };
        match self {
            View::Data => &[Sources, Filters, Dropped, Losses, Tokenizer, Preview, NextBatch, Changes, Chat, Log],
            View::Pretrain => &[Loss, Probe, Chat, Mix, Run, Log, Batch],
            View::Tune => &[Loss, Tasks, Probe, Batch, Chat, Mix, Run, Log],
            View::Reward => &[Accuracy, Loss, Margins, Votes, Chat, Run, Log],
            View::Align => &[Score, Drift, Rollout, Frontier, Lamps, Chat, Votes, Loss, Run, Log],
            View::Direct => &[Score, Drift, Loss, Frontier, Lamps, Chat, Votes, Run, Log],
        }
    }
}

impl Panel {
    /// Every one.
    pub const ALL: [Panel; 24] = [
        Panel::Loss,
        Panel::Tasks,
        Panel::Probe,
        Panel::Batch,
        Panel::Accuracy,
        Panel::Margins,
        Panel::Votes,
        Panel::Score,
        Panel::Drift,
        Panel::Frontier,
        Panel::Lamps,
        Panel::Rollout,
        Panel::Chat,
        Panel::Mix,
        Panel::Sources,
        Panel::Filters,
        Panel::Dropped,
        Panel::Losses,
        Panel::Tokenizer,
        Panel::Preview,
        Panel::NextBatch,
        Panel::Changes,
        Panel::Run,
        Panel::Log,
    ];

    /// Its name.
    pub fn title(self) -> Tr {
        match self {
            Panel::Loss => strings::PANEL_LOSS,
            Panel::Tasks => strings::PANEL_TASKS,
            Panel::Probe => strings::PANEL_PROBE,
            Panel::Batch => strings::PANEL_BATCH,
            Panel::Accuracy => strings::PANEL_ACCURACY,
            Panel::Margins => strings::PANEL_MARGINS,
            Panel::Votes => strings::PANEL_VOTES,
            Panel::Score => strings::PANEL_SCORE,
            Panel::Drift => strings::PANEL_DRIFT,
            Panel::Frontier => strings::PANEL_FRONTIER,
            Panel::Lamps => strings::PANEL_LAMPS,
            Panel::Rollout => strings::PANEL_ROLLOUT,
            Panel::Chat => strings::PANEL_CHAT,
            Panel::Mix => strings::PANEL_MIX,
            Panel::Sources => strings::PANEL_SOURCES,
            Panel::Filters => strings::PANEL_FILTERS,
            Panel::Dropped => strings::PANEL_DROPPED,
            Panel::Losses => strings::PANEL_LOSSES,
            Panel::Tokenizer => strings::PANEL_TOKENIZER,
            Panel::Preview => strings::PANEL_PREVIEW,
            Panel::NextBatch => strings::PANEL_NEXT_BATCH,
            Panel::Changes => strings::PANEL_CHANGES,
            Panel::Run => strings::PANEL_RUN,
            Panel::Log => strings::PANEL_LOG,
        }
    }
}
