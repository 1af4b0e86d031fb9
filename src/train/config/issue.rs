//! The error of an invalid configuration.

/// Why a configuration is invalid: what, where, what was expected, what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigIssue {
    /// An error in the file.
    #[error("run.toml: {0}")]
    File(String),
    /// An error in a command line option.
    #[error("{option}: {what}")]
    Option {
        /// The option with its value.
        option: String,
        /// The message, as for a file.
        what: String,
    },
}

impl ConfigIssue {
    /// The message without the location.
    pub(super) fn what(self) -> String {
        match self {
            ConfigIssue::File(what) | ConfigIssue::Option { what, .. } => what,
        }
    }
}

pub(crate) fn wrong<T>(what: impl Into<String>) -> Result<T, ConfigIssue> {
    Err(ConfigIssue::File(what.into()))
}
