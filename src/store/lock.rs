//! One process owns a run.

use std::{path::Path, process};

use super::{
    error::{At, StoreError},
    fs::{Fs, Lock},
};

/// The right to write in a run. Freed when dropped, and by the kernel when the process ends in any way.
pub struct RunLock {
    _held: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for RunLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunLock")
    }
}

impl RunLock {
    /// Takes the lock of the run in `dir`, or fails with [`StoreError::Locked`], which names the owner.
    pub fn take(disk: &dyn Fs, dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        match disk.lock(&path, &format!("{}\n", process::id())).at("lock", &path)? {
            Lock::Held(held) => Ok(Self { _held: held }),
            Lock::Busy(text) => Err(StoreError::Locked { dir: dir.to_owned(), pid: text.trim().parse().ok() }),
        }
    }
}
