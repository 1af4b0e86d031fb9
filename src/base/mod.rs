//! What every layer may use: untrusted text made safe to show, inputs, expected panics, and the names of stages.

pub mod clean;
pub mod io;
pub mod panics;
pub mod stage;

pub use stage::{NoStage, StageId};
