//! What every layer may use: cleaning and folding of text, seekable inputs, expected panics, words for a shell, and the
//! names of stages.

pub mod clean;
pub mod fold;
pub mod io;
pub mod panics;
pub mod shell;
pub mod stage;

pub use stage::{NoStage, StageId, StageKind, StageName};
