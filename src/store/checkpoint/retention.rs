//! Removes checkpoints that newer ones replace, and leftovers of killed processes.
//!
//! A checkpoint that cannot be read is kept, whatever the reason: a newer danlu may have written it, or the disk may
//! recover. A failed removal only wastes disk space; it is reported.

use std::path::Path;

use super::{
    load::{Checkpoint, Checkpoints, Skipped},
    manifest::CheckpointId,
    save::Saver,
};
use crate::{
    base::StageId,
    store::{
        error::{At, StoreError},
        fs::{Fs, Kind, clear_away},
        names::{Scratch, is_scratch},
    },
};

/// Which checkpoints of a stage to keep.
pub struct Keep<'a> {
    /// Those of this many of the newest steps, at least one; of several saves of a step the last.
    pub newest: usize,
    /// Checkpoints that other stages started from.
    pub pinned: &'a [CheckpointId],
    /// Of these, best first, the first that loads is kept too, and those before it, which do not load.
    pub best: &'a [CheckpointId],
    /// Also the newest loadable one before this step, after which the numbers went wrong.
    pub before: Option<u64>,
    /// Tries to load a checkpoint that has verified.
    pub loads: &'a dyn Fn(&Checkpoint) -> Result<(), StoreError>,
    /// Whether this danlu knows the checkpoint's format; a cheap part of what `loads` checks.
    pub known: &'a dyn Fn(&Checkpoint) -> Result<(), StoreError>,
}

/// The result of a round of removing.
#[derive(Debug, Default)]
pub struct Retained {
    /// Checkpoints that were removed.
    pub removed: Vec<CheckpointId>,
    /// Checkpoints that should have been removed but could not be read or removed.
    pub left: Vec<Skipped>,
}

impl Saver {
    /// Removes the checkpoints of a stage that `keep` does not name. At least one is kept, and if any of them loads,
    /// one that loads: it is read back before anything is removed.
    pub fn retain(&self, stage: StageId, keep: &Keep<'_>) -> Result<Retained, StoreError> {
        let there = &self.checkpoints;
        // Retry removals that failed earlier; they were reported then.
        sweep_those(&*there.disk, &there.dir, |name| Scratch::Removing.made(name), &mut Swept::default())?;
        let mut steps: Vec<u64> = Vec::new();
        let (mut ids, rest): (Vec<_>, Vec<_>) = there.newest_first(Some(stage))?.into_iter().partition(|id| {
            let is_last = steps.last() != Some(&id.step);
            if is_last {
                steps.push(id.step);
            }
            is_last && steps.len() <= keep.newest.max(1)
        });
        let (kept, mut old): (Vec<_>, Vec<_>) = rest.into_iter().partition(|id| keep.pinned.contains(id));
        ids.extend(kept);
        let mut retained = Retained::default();
        if old.is_empty() {
            return Ok(retained);
        }
        let loads = |id: &CheckpointId| there.verify(id).and_then(|c| (keep.loads)(&c)).is_ok();
        let mut spare = |wanted: &dyn Fn(&CheckpointId) -> bool| {
            if !ids.iter().any(|id| wanted(id) && loads(id))
                && let Some(at) = old.iter().position(|id| wanted(id) && loads(id))
            {
                ids.push(old.remove(at));
            }
        };
        spare(&|_| true);
        if let Some(step) = keep.before {
            spare(&|id| id.step < step);
        }
        for id in keep.best {
            if let Some(at) = old.iter().position(|other| other == id) {
                ids.push(old.remove(at));
            }
            if loads(id) {
                break;
            }
        }
        // Oldest first, so that a crash in between leaves the newer ones.
        for id in old.into_iter().rev() {
            match there.look(&id).and_then(|c| (keep.known)(&c)).and_then(|()| self.remove(&id)) {
                Ok(()) => retained.removed.push(id),
                Err(error) => retained.left.push(Skipped { id, error }),
            }
        }
        Ok(retained)
    }

    /// Removes one checkpoint.
    pub fn remove(&self, id: &CheckpointId) -> Result<(), StoreError> {
        let Checkpoints { disk, dir } = &self.checkpoints;
        // Rename durably before removing bytes, so that no half-removed checkpoint keeps a valid name.
        let away = dir.join(Scratch::Removing.name(&id.to_string()));
        disk.rename(&self.checkpoints.path(id), &away).at("withdraw", &away)?;
        disk.sync_dir(dir).at("sync the folder", dir)?;
        clear_away(&**disk, &away, Kind::Dir)
    }
}

/// The result of sweeping leftovers.
#[derive(Debug, Default)]
pub(in crate::store) struct Swept {
    /// Names of those that were removed.
    pub removed: Vec<String>,
    /// Errors of those that were not.
    pub left: Vec<StoreError>,
}

/// Removes what a killed process wrote or removed in part in `dir`; errors are kept in `swept`.
pub(in crate::store) fn sweep(disk: &dyn Fs, dir: &Path, swept: &mut Swept) {
    if let Err(error) = sweep_those(disk, dir, is_scratch, swept) {
        swept.left.push(error);
    }
}

/// Removes the leftovers in `dir` whose names `ours` accepts.
///
/// # Errors
/// If the folder cannot be listed.
fn sweep_those(disk: &dyn Fs, dir: &Path, ours: impl Fn(&str) -> bool, swept: &mut Swept) -> Result<(), StoreError> {
    for entry in disk.list(dir).at("list", dir)? {
        // danlu makes no links; a link with such a name is the user's and is kept.
        if ours(entry.text()) && matches!(entry.kind, Kind::Dir | Kind::File) {
            match clear_away(disk, &dir.join(&entry.name), entry.kind) {
                Ok(()) => swept.removed.push(entry.text().to_owned()),
                Err(error) => swept.left.push(error),
            }
        }
    }
    Ok(())
}
