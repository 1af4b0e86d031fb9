//! The errors of stages and verbs, with their exit codes.

use crate::{
    compute::ComputeError, data::DataError, nn::ConfigError, protocol::GivenUp, store::StoreError,
    train::config::ConfigIssue,
};

/// An error of training, as a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The device, its memory, or shapes on it.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// Files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Text and tokens.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A run's configuration.
    #[error(transparent)]
    Run(#[from] ConfigIssue),
    /// Other invalid input.
    #[error("{0}")]
    Input(String),
    /// A command that was refused; the stage is unchanged.
    #[error("{0}")]
    Refused(String),
    /// A signal or the user ended the preparation of text or answers.
    #[error("stopped while the stage was prepared; nothing was changed")]
    Stopped,
    /// The weights or optimiser moments contain a number that is not finite; they are not saved.
    #[error("not saved: {0}; lower learning_rate or max_grad_norm, and start again: the newest checkpoint is kept")]
    NotFinite(String),
    /// The system refused to create a thread.
    #[error(
        "cannot start a thread for {what}: {why}; raise the limit of threads (ulimit -u, pids.max of the container), end other processes, or set RAYON_NUM_THREADS=1"
    )]
    NoThread {
        /// What needs it.
        what: &'static str,
        /// The system's error.
        why: String,
    },
    /// A panic.
    #[error("the trainer panicked ({0}), which is a bug in danlu; the newest checkpoint is intact")]
    Bug(String),
    /// The training itself failed.
    #[error("{0}")]
    Work(String),
}

impl From<GivenUp> for TrainError {
    fn from(GivenUp: GivenUp) -> TrainError {
        TrainError::Stopped
    }
}

impl TrainError {
    /// The error for a thread for `what` that the system refused.
    pub fn no_thread(what: &'static str, why: &dyn std::fmt::Display) -> TrainError {
        TrainError::NoThread { what, why: why.to_string() }
    }

    /// A refused command with the reason.
    pub(crate) fn refused<T>(why: impl Into<String>) -> Result<T, TrainError> {
        Err(TrainError::Refused(why.into()))
    }

    /// The process's exit code: 1 work, 2 input, 3 locked, 4 device or memory.
    pub fn exit_code(&self) -> u8 {
        match self {
            TrainError::Compute(
                ComputeError::NoAdapter { .. } | ComputeError::Precision { .. } | ComputeError::Shape { .. },
            )
            | TrainError::Data(_)
            | TrainError::Config(_)
            | TrainError::Run(_)
            | TrainError::Input(_) => 2,
            TrainError::Compute(_) | TrainError::NoThread { .. } => 4,
            TrainError::Store(e) => e.exit_code(),
            TrainError::Stopped => 0,
            TrainError::NotFinite(_) | TrainError::Refused(_) | TrainError::Work(_) => 1,
            TrainError::Bug(_) => 101,
        }
    }
}
