//! The error of a verb: a message and an exit code.

use std::{borrow::Cow, fmt};

use crate::{compute::ComputeError, train::TrainError};

/// Why a verb failed, and the exit code of the process.
#[derive(Debug)]
pub(crate) struct Failure {
    pub code: u8,
    message: String,
}

/// The result of a verb.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// Bad usage or input: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }

    /// Device or memory: exit code 4.
    pub(crate) fn memory(message: impl Into<String>) -> Failure {
        Failure { code: 4, message: message.into() }
    }

    /// The system refused a thread: exit code 4.
    pub(crate) fn thread(what: &'static str, error: &dyn fmt::Display) -> Failure {
        TrainError::no_thread(what, error).into()
    }

    /// The work itself failed: exit code 1.
    pub(crate) fn work(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.message))
    }
}

/// A message in which parsers name no types of Rust.
fn plain(message: &str) -> Cow<'_, str> {
    const WHOLE: &str = "expected a whole number, 0 or more";
    const TYPES: [(&str, &str); 6] = [
        ("expected usize", WHOLE),
        ("expected u64", WHOLE),
        ("expected u32", WHOLE),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
    ];
    TYPES
        .iter()
        .filter(|(name, _)| message.contains(name))
        .fold(Cow::Borrowed(message), |text, (name, words)| Cow::Owned(text.replace(name, words)))
}

impl From<TrainError> for Failure {
    fn from(e: TrainError) -> Failure {
        Failure { code: e.exit_code(), message: e.to_string() }
    }
}

impl From<ComputeError> for Failure {
    fn from(e: ComputeError) -> Failure {
        TrainError::from(e).into()
    }
}

impl From<crate::nn::ConfigError> for Failure {
    fn from(e: crate::nn::ConfigError) -> Failure {
        TrainError::from(e).into()
    }
}
