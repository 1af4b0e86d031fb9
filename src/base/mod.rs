//! What every layer may use: text of strangers made safe to show, panics that are expected, and the names of stages.

pub mod clean;
pub mod panics;
pub mod stage;

pub use stage::{NoStage, StageId};
