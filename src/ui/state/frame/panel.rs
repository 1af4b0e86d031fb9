//! Panels and views.

/// A panel, by the id of its row in [`crate::ui::panels::PANELS`]. The constants are those that keys and requests
/// depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Panel(pub &'static str);

impl Panel {
    /// The loss curve; focused at first.
    pub const LOSS: Panel = Panel("loss");
    /// Completions of fixed prompts.
    pub const PROBE: Panel = Panel("probe");
    /// The tokens of the newest batch.
    pub const BATCH: Panel = Panel("batch");
    /// The votes and the reward model's agreement with them.
    pub const VOTES: Panel = Panel("votes");
    /// One answer of the newest update, token by token.
    pub const ROLLOUT: Panel = Panel("rollout");
    /// Prompts to the live weights.
    pub const CHAT: Panel = Panel("chat");
    /// The sources of the stage and their weights.
    pub const MIX: Panel = Panel("mix");
    /// The sources as the data view shows them.
    pub const SOURCES: Panel = Panel("sources");
    /// What each cleaning rule dropped.
    pub const FILTERS: Panel = Panel("filters");
    /// Dropped documents.
    pub const DROPPED: Panel = Panel("dropped");
    /// One document with the loss of each token.
    pub const PREVIEW: Panel = Panel("preview");
    /// The next batch.
    pub const NEXT_BATCH: Panel = Panel("next_batch");
    /// The newest value of every metric.
    pub const METRICS: Panel = Panel("metrics");
    /// The events.
    pub const LOG: Panel = Panel("log");
}

impl Default for Panel {
    fn default() -> Panel {
        Panel::LOSS
    }
}

/// A view: of a kind of stage, or of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The data of the live stage.
    Data,
    /// A language model on text.
    Pretrain,
    /// A language model on tasks.
    Tune,
    /// A reward model.
    Reward,
    /// A policy that learns from its own answers.
    Align,
    /// A policy that learns from pairs.
    Direct,
}
