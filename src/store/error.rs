//! Errors of durable storage. Each message is one sentence: what failed, where, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// An error of the store; [`StoreError::exit_code`] maps it to the exit code of the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or name that the user gave is not valid.
    #[error("{path:?}: {what}")]
    Input {
        /// The file, folder or name.
        path: PathBuf,
        /// What was found, what was expected, what to do.
        what: String,
    },
    /// A checkpoint's bytes are not those that were saved.
    #[error("the checkpoint {path:?} is damaged: {what}")]
    Damaged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Which file, and how it differs.
        what: String,
    },
    /// A newer danlu wrote the checkpoint. It is intact: it is never removed, and no training continues from it.
    #[error("{path:?}: {what}")]
    Newer {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The format found, the formats this version reads, what to do.
        what: String,
    },
    /// Another process holds the run's lock.
    #[error("the run {dir:?} is in use by {}; wait until it ends, or choose another run with --run", holder(*pid))]
    Locked {
        /// The run's folder.
        dir: PathBuf,
        /// The process id in the lock file.
        pid: Option<u32>,
    },
    /// Not enough disk space for the next write; nothing was written.
    #[error(
        "not enough disk space for {path:?}: {need} bytes needed (including a reserve of {reserve}), {there} free; free some space and save again"
    )]
    NoRoom {
        /// The file or checkpoint to be written.
        path: PathBuf,
        /// Bytes needed, including the reserve.
        need: u64,
        /// The reserve.
        reserve: u64,
        /// Bytes available.
        there: u64,
    },
    /// The system refused an operation.
    #[error("cannot {doing} {path:?}: {source}; {}", advice(source))]
    Io {
        /// The operation, as a verb: "write", "rename" …
        doing: &'static str,
        /// Its file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Whether the path itself is at fault: a name that is too long, a file in the place of a folder, links in a circle.
fn is_of_the_path(source: &io::Error) -> bool {
    let kinds = [io::ErrorKind::InvalidFilename, io::ErrorKind::NotADirectory, io::ErrorKind::IsADirectory];
    kinds.contains(&source.kind()) || (cfg!(unix) && source.raw_os_error() == Some(ELOOP))
}

/// Too many symbolic links.
const ELOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space (or raise the quota) and try again"
        }
        io::ErrorKind::FileTooLarge => "raise the limit of a file's size (ulimit -f) and try again",
        io::ErrorKind::PermissionDenied => "check who owns the folder and its permissions",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a disk that can be written",
        _ if is_of_the_path(source) => "check the path",
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::AlreadyExists => "choose another name; nothing is replaced",
        io::ErrorKind::OutOfMemory => {
            "there is not enough memory for it; choose a smaller model, or give the process more"
        }
        io::ErrorKind::Unsupported => "this file system lacks the operation; use a local disk",
        _ => "check the disk (dmesg, free space, network mounts) and try again",
    }
}

impl StoreError {
    /// A bad file, folder or name.
    pub(crate) fn input(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Input { path: path.into(), what: what.into() }
    }

    /// A checkpoint that a newer danlu wrote.
    pub(crate) fn newer(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Newer { path: path.into(), what: what.into() }
    }

    /// A checkpoint that does not verify.
    pub(crate) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), what: what.into() }
    }

    /// The exit code for this error: 1 disk, 2 bad input, 3 locked, 4 out of memory.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } | Self::Damaged { .. } | Self::Newer { .. } => 2,
            Self::Locked { .. } => 3,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::OutOfMemory => 4,
            Self::Io { source, .. } if is_of_the_path(source) => 2,
            Self::NoRoom { .. } | Self::Io { .. } => 1,
        }
    }

    /// Whether a newer danlu wrote the checkpoint.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }

    /// Whether the bytes themselves are unusable, so that an older checkpoint may be used instead. A refusal of the
    /// system (permissions, too many open files) does not count: falling back then would lose good work.
    pub(crate) fn is_about_the_bytes(&self) -> bool {
        match self {
            Self::Input { .. } | Self::Damaged { .. } | Self::Newer { .. } => true,
            // A failing disk reports EIO.
            Self::Io { source, .. } => {
                source.raw_os_error() == Some(EIO)
                    || matches!(
                        source.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotADirectory
                    )
            }
            _ => false,
        }
    }
}

/// EIO on every Unix.
const EIO: i32 = 5;

/// Adds the operation and the path to an I/O error.
pub(crate) trait At<T> {
    /// `doing` is a verb: "write", "rename" …
    fn at(self, doing: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { doing, path: path.to_owned(), source })
    }
}
