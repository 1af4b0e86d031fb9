//! What every layer may use: cleaning of untrusted text, seekable inputs, expected panics, and the names of stages.

pub mod clean;
pub mod io;
pub mod panics;
pub mod stage;

pub use stage::{NoStage, StageId, StageKind, StageName};
