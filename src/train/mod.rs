//! Stages and the loop. No terminal, no stdout.
//!
//! Purpose: turn a run's configuration and data into checkpoints. Owns the device, the model and the
//! run while it works. It is told [`event::Command`]s and tells [`event::Event`]s; who listens is not
//! its business.

mod answer;
pub mod checkpoint;
pub mod config;
mod corpus;
mod error;
pub mod event;
pub mod lines;
pub mod model_folder;
mod setup;
mod trainer;
mod validation;

pub use corpus::Corpus;
pub use error::TrainError;
pub use setup::{Setup, open_run};
pub use trainer::{Summary, Trainer};

/// The stages that can be trained.
pub const STAGES: &[&str] = &["pretrain"];
