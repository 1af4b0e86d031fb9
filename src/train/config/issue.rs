//! Why a configuration cannot be used.

/// Why a configuration cannot be used: what, where, expected, what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigIssue {
    /// The file holds it.
    #[error("run.toml: {0}")]
    File(String),
    /// An option of the command line brought it.
    #[error("{option}: {what}")]
    Option {
        /// The option with its value.
        option: String,
        /// The same as of a file.
        what: String,
    },
}

impl ConfigIssue {
    /// What is wrong, without where.
    pub(super) fn what(self) -> String {
        match self {
            ConfigIssue::File(what) | ConfigIssue::Option { what, .. } => what,
        }
    }
}

pub(crate) fn wrong<T>(what: impl Into<String>) -> Result<T, ConfigIssue> {
    Err(ConfigIssue::File(what.into()))
}
