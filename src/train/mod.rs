//! Stages and the training loop. No terminal, no stdout.
//!
//! Turns a run's configuration and data into checkpoints. Owns the device, the model and the run while it works. It
//! receives [`Command`](crate::protocol::Command)s, emits [`Event`](crate::protocol::Event)s, and does not know the
//! screen.
//!
//! Its folders, each of which depends only on those before it: `config` (run.toml), `run` (the files in a run's
//! folder), `corpus` (text to token ids), `stages` (the stages), `open` (from flags to an opened stage), `trainer` (the
//! loop), `tree` (the runs of a folder, forks, comparison), `export` (what leaves a run), `watch` (the logs of trainings
//! elsewhere).

pub mod config;
pub mod corpus;
mod error;
pub mod export;
mod film;
mod open;
mod run;
mod stages;
mod stats;
mod trainer;
pub mod tree;
pub mod watch;

pub use config::{LossType, plan::StagePlan, setup::Setup};
pub use corpus::Corpus;
pub use error::TrainError;
pub use film::{Film, Frame};
pub use open::{
    open_run::{OpenRun, Unready},
    setup::{furthest_stage, open_line, open_run, settled},
};
pub use run::{
    checkpoint,
    lineage::{Standing, standing},
    model_folder,
    tokenizer::{heal_tokenizer, keeps_tokenizer},
};
pub use stages::{
    edit_log::prune_data,
    reward::taste::{Leak, Liking, Taste},
};
pub use trainer::{Emit, Summary, Trainer};
