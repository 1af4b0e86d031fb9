//! The lock of a run: one process writes at a time.

use std::{path::Path, process};

use super::{
    error::{At, StoreError},
    fs::{Fs, Kind, Links, Lock, names_a_process, owner, read_limited},
};

/// The folder for runs without a given path; the newest run is looked up here too.
pub const RUNS: &str = "runs";

/// Limit on the text of a lock that is read.
const LONGEST: u64 = 64;

/// The right to write in a run. Freed on drop, and by the kernel when the process ends in any way.
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
        let text = format!("{}\n{}\n", process::id(), next_turn(disk, dir));
        match disk.lock(&path, &text).at("lock", &path)? {
            Lock::Held(held) => Ok(Self { _held: held }),
            Lock::Busy(text) => Err(StoreError::Locked { dir: dir.to_owned(), pid: owner(&text) }),
        }
    }
}

/// The other process that holds the lock of the run in `dir`, as far as its text says; nothing is written.
pub fn holder(disk: &dyn Fs, dir: &Path) -> Option<u32> {
    let text = read_limited(disk, &dir.join("lock"), LONGEST, Links::Refuse).ok()?;
    let text = String::from_utf8_lossy(&text);
    owner(&text).filter(|pid| *pid != process::id() && names_a_process(&text))
}

/// The turn in a run's lock: a number that was the highest among the runs beside it when the run was last opened.
/// Clocks and file dates do not matter for it. 0 for a run that was never opened, or only by a danlu that wrote no
/// turn.
pub(super) fn turn(disk: &dyn Fs, dir: &Path) -> u64 {
    // If the lock cannot be read (on Windows while its owner lives), the dates of the files decide.
    let text = read_limited(disk, &dir.join("lock"), LONGEST, Links::Refuse).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

/// The next turn, for a run that is opened now.
fn next_turn(disk: &dyn Fs, dir: &Path) -> u64 {
    let Some(runs) = dir.parent().filter(|runs| runs.file_name().is_some_and(|name| name == RUNS)) else { return 0 };
    let beside = disk.list(runs).unwrap_or_default().into_iter().filter(|entry| entry.kind == Kind::Dir);
    let others = beside.map(|entry| runs.join(entry.name)).filter(|other| other != dir);
    let last = others.map(|other| turn(disk, &other)).max().unwrap_or(0);
    turn(disk, dir).max(last.saturating_add(1))
}
