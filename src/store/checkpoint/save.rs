//! Saving a checkpoint: published whole or not at all.
//!
//! A save writes a hidden folder, syncs each file, writes the manifest last, renames the folder and syncs the parent.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use tracing::info;

use super::{
    load::{Checkpoint, Checkpoints},
    manifest::{CheckpointId, MANIFEST, Manifest, is_inside},
};
use crate::{
    base::StageId,
    store::{
        error::{At, StoreError},
        fs::{Kind, Synced, clear_away},
        hashed::{Book, Fill, write_file},
        lock::RunLock,
        names::Scratch,
        safetensors::{TensorRef, tensors_len, write_tensors},
    },
};

/// Bytes that every save leaves free, for the logs and the system.
pub const RESERVE: u64 = 64 << 20;

/// A file to save: its name in the checkpoint, its exact length, and how to write it.
pub struct NewFile<'a> {
    pub(in crate::store) name: String,
    pub(in crate::store) bytes: u64,
    pub(in crate::store) fill: Fill<'a>,
}

impl fmt::Debug for NewFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("name", &self.name).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<'a> NewFile<'a> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its exact length.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// True when it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// A file with these bytes. `name` is a plain name, or one inside one folder (`value/config.json`).
    pub fn bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::writer(name, bytes.len() as u64, move |to| to.write_all(&bytes))
    }

    /// A safetensors file, streamed from the tensors in memory. `counters` are stored as I64.
    pub fn tensors(
        name: &str,
        tensors: Vec<TensorRef<'a>>,
        counters: BTreeMap<String, Vec<i64>>,
    ) -> Result<Self, StoreError> {
        let bytes = tensors_len(&tensors, &counters)?;
        Ok(Self::writer(name, bytes, move |to| write_tensors(to, &tensors, &counters)))
    }

    /// The same file inside a folder.
    #[must_use]
    pub fn within(self, folder: &str) -> Self {
        Self { name: format!("{folder}/{}", self.name), ..self }
    }

    /// The same file, entered in a book when it is written.
    #[must_use]
    pub fn noted(self, book: &Book) -> Self {
        Self { fill: book.noting(self.name.clone(), self.fill), ..self }
    }

    /// A file that `fill` writes; it must write exactly `bytes` bytes.
    pub fn writer(name: &str, bytes: u64, fill: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'a) -> Self {
        Self { name: name.to_owned(), bytes, fill: Box::new(fill) }
    }
}

/// The result of a save.
#[derive(Debug)]
pub struct Saved {
    /// The new checkpoint, with the manifest it was written with.
    pub checkpoint: Checkpoint,
    /// `false` if the file system cannot promise that the save survives a power cut; shown to the user.
    pub durable: bool,
}

/// The right to save: a run's checkpoints and its lock, which is held as long as this lives. The writer thread owns it.
#[derive(Clone, Debug)]
pub struct Saver {
    pub(super) checkpoints: Checkpoints,
    _lock: Arc<RunLock>,
}

impl Saver {
    pub(crate) fn new(checkpoints: Checkpoints, lock: Arc<RunLock>) -> Self {
        Self { checkpoints, _lock: lock }
    }

    /// The same checkpoints, for reading.
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// Publishes a checkpoint: when this returns it is durable under its name; before that it has no name. An existing
    /// checkpoint is never replaced; the new one gets a revision. After an error nothing has changed but free space,
    /// and the save can be tried again.
    pub fn save(&self, stage: StageId, step: u64, files: Vec<NewFile<'_>>) -> Result<Saved, StoreError> {
        let Checkpoints { disk, dir } = &self.checkpoints;
        let id = self.free_id(stage, step)?;
        let target = dir.join(id.to_string());
        check_names(&target, &files)?;
        let mut serial = 1;
        for other in self.checkpoints.list()? {
            // A checkpoint that is damaged or that a newer danlu wrote has no known serial and does not prevent a save.
            let known = match self.checkpoints.serial(&other) {
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => None,
                known => known?,
            };
            serial = serial.max(known.unwrap_or(0).saturating_add(1));
        }
        // The manifest is small beside the reserve; all other bytes are counted exactly.
        let need = files.iter().fold(RESERVE, |sum, file| sum.saturating_add(file.bytes));
        if let Some(there) = disk.free_space(dir).at("look at the free space of", dir)?
            && there < need
        {
            return Err(StoreError::NoRoom { path: target, need, reserve: RESERVE, there });
        }

        let hidden = dir.join(Scratch::Making.name(&id.to_string()));
        let filled = self.fill(&hidden, &id, serial, files).and_then(|(manifest, durable)| {
            disk.rename(&hidden, &target).at("publish", &target)?;
            Ok((manifest, durable))
        });
        let (manifest, durable) = match filled {
            Ok(filled) => filled,
            Err(error) => {
                // Best effort, to free space on a full disk; report the first error. What stays is swept when the run
                // is next opened.
                let _left = clear_away(&**disk, &hidden, Kind::Dir);
                return Err(error);
            }
        };
        let durable = durable & (disk.sync_dir(dir).at("sync the folder", dir)? == Synced::Yes);
        info!(checkpoint = %id, serial, durable, "checkpoint saved");
        let checkpoint = self.checkpoints.checkpoint(id, manifest);
        Ok(Saved { checkpoint, durable })
    }

    /// The id for a save: one revision above the highest that exists.
    fn free_id(&self, stage: StageId, step: u64) -> Result<CheckpointId, StoreError> {
        let mut id = CheckpointId::new(stage, step);
        for other in self.checkpoints.list()? {
            if other.stage == id.stage && other.step == step {
                id.revision = id.revision.max(other.revision + 1);
            }
        }
        Ok(id)
    }

    /// Writes and syncs the hidden folder, manifest last.
    fn fill(
        &self,
        hidden: &Path,
        id: &CheckpointId,
        serial: u64,
        files: Vec<NewFile<'_>>,
    ) -> Result<(Manifest, bool), StoreError> {
        let disk = &*self.checkpoints.disk;
        disk.make_dir(hidden).at("make the folder", hidden)?;
        let mut durable = true;
        let mut infos = BTreeMap::new();
        let mut folders = Vec::new();
        for file in files {
            if let Some((folder, _)) = file.name.split_once('/') {
                let folder = hidden.join(folder);
                if !folders.contains(&folder) {
                    disk.make_dir(&folder).at("make the folder", &folder)?;
                    folders.push(folder);
                }
            }
            let (info, synced) = write_file(disk, &hidden.join(&file.name), file.bytes, file.fill)?;
            durable &= synced;
            infos.insert(file.name, info);
        }
        for folder in &folders {
            durable &= disk.sync_dir(folder).at("sync the folder", folder)? == Synced::Yes;
        }
        let manifest = Manifest::new(id, serial, infos);
        let text = manifest.text();
        let (_, synced) = write_file(
            disk,
            &hidden.join(MANIFEST),
            text.len() as u64,
            Box::new(|to: &mut dyn Write| to.write_all(text.as_bytes())),
        )?;
        durable &= synced;
        durable &= disk.sync_dir(hidden).at("sync the folder", hidden)? == Synced::Yes;
        Ok((manifest, durable))
    }
}

/// Checks that all names stay inside the checkpoint and are unique, also on a file system that ignores case.
fn check_names(target: &Path, files: &[NewFile<'_>]) -> Result<(), StoreError> {
    let mut seen = Vec::new();
    for file in files {
        let lower = file.name.to_ascii_lowercase();
        if !is_inside(&file.name) {
            let what = format!("{:?} cannot name a file of a checkpoint: letters, digits, ., _, - expected", file.name);
            return Err(StoreError::input(target, what));
        }
        if seen.contains(&lower) {
            return Err(StoreError::input(target, format!("{:?} is given twice", file.name)));
        }
        seen.push(lower);
    }
    Ok(())
}
