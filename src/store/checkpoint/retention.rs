//! Removes checkpoints that newer ones replace, and left-overs of killed processes.
//!
//! A checkpoint that cannot be read is kept, whatever the reason: a newer danlu may have written it, or the disk may
//! answer again tomorrow. Failing to remove only wastes disk; it is reported.

use std::path::Path;

use super::{
    load::{Checkpoint, Checkpoints, Skipped},
    manifest::CheckpointId,
    save::Saver,
};
use crate::store::{
    error::{At, StoreError},
    fs::{Fs, Kind, clear_away},
    names::{Scratch, is_scratch},
};

/// Which checkpoints of a stage stay.
pub struct Keep<'a> {
    /// The newest so many; one at least.
    pub newest: usize,
    /// Those that others started from.
    pub pinned: &'a [CheckpointId],
    /// The newest that loads from before this step: after it the numbers went wrong.
    pub before: Option<u64>,
    /// Whether a checkpoint whose bytes are those that were saved can be loaded.
    pub loads: &'a dyn Fn(&Checkpoint) -> Result<(), StoreError>,
    /// Whether a checkpoint is of a kind that this danlu knows; a small part of what `loads` asks.
    pub known: &'a dyn Fn(&Checkpoint) -> Result<(), StoreError>,
}

/// What a round of removing did.
#[derive(Debug, Default)]
pub struct Retained {
    /// Checkpoints that are gone.
    pub removed: Vec<CheckpointId>,
    /// Checkpoints that would have gone and stay, since they cannot be read or removed.
    pub left: Vec<Skipped>,
}

impl Saver {
    /// Removes the checkpoints of a stage that `keep` does not name. At least one stays, and among those that stay is
    /// one that loads, if any does: it is read back before anything is removed.
    pub fn retain(&self, stage: &str, keep: &Keep<'_>) -> Result<Retained, StoreError> {
        let there = &self.checkpoints;
        let mut ids = there.newest_first(Some(stage))?;
        let rest = ids.split_off(keep.newest.max(1).min(ids.len()));
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
        // Oldest first: a crash on the way leaves the newer ones.
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
        // The name goes before the bytes, and for good, so that no half-removed checkpoint bears it.
        let away = dir.join(Scratch::Removing.name(&id.to_string()));
        disk.rename(&self.checkpoints.path(id), &away).at("withdraw", &away)?;
        disk.sync_dir(dir).at("sync the folder", dir)?;
        clear_away(&**disk, &away, Kind::Dir)
    }
}

/// What became of left-overs.
#[derive(Debug, Default)]
pub(in crate::store) struct Swept {
    /// Their names, where they are gone.
    pub removed: Vec<String>,
    /// Why others are not.
    pub left: Vec<StoreError>,
}

/// Removes what a killed process left half-made or half-removed in `dir`; only names that danlu makes.
pub(in crate::store) fn sweep(disk: &dyn Fs, dir: &Path, swept: &mut Swept) {
    let entries = match disk.list(dir).at("list", dir) {
        Ok(entries) => entries,
        Err(error) => return swept.left.push(error),
    };
    for entry in entries {
        // danlu makes no links; one of this name is the user's, and is kept.
        if is_scratch(entry.text()) && matches!(entry.kind, Kind::Dir | Kind::File) {
            match clear_away(disk, &dir.join(&entry.name), entry.kind) {
                Ok(()) => swept.removed.push(entry.text().to_owned()),
                Err(error) => swept.left.push(error),
            }
        }
    }
}
