//! Stages and the loop. No terminal, no stdout.
//!
//! Purpose: turn a run's configuration and data into checkpoints. Owns the device, the model and the
//! run while it works. It takes [`Command`](crate::protocol::Command)s and
//! emits [`Event`](crate::protocol::Event)s.

mod answer;
mod chats;
pub mod checkpoint;
pub mod config;
pub mod corpus;
mod critic;
mod dpo;
mod draws;
mod edits;
mod error;
mod footprint;
mod grpo;
mod heal;
mod lineage;
pub mod lines;
mod lm;
pub mod model_folder;
mod notices;
mod pairs;
mod past;
mod plan;
mod policy;
mod ppo;
mod prepare;
mod reward;
mod reward_model;
mod rollbacks;
mod room;
mod rows;
mod setup;
mod shares;
mod spikes;
mod stage;
mod tasks;
mod trainer;
mod tweak;
mod validation;
mod votes;
mod work;
mod workshop;

pub use corpus::Corpus;
pub use edits::prune_data;
pub use error::TrainError;
pub use heal::heal_tokenizer;
pub use lineage::{Standing, standing};
pub use notices::keeps_tokenizer;
pub use plan::StagePlan;
pub use policy::{GuardState, LossType};
pub use setup::{Setup, furthest_stage, open_line, open_run, settled};
pub use stage::{STAGES, Stage};
pub use trainer::{Summary, Trainer};
pub use workshop::{Unready, Workshop};
