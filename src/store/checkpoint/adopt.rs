//! Takes a checkpoint of another run into this one.

use std::{io::Write, path::Path};

use super::{
    load::Checkpoint,
    manifest::{MANIFEST, Manifest},
    save::Saver,
};
use crate::store::{
    error::{At, StoreError},
    fs::{Fs, Kind, clear_away},
    hashed::{link_or_copy, write_file},
    names::Scratch,
};

impl Saver {
    /// Publishes a verified checkpoint of another run under its own name. Its files get a second name where the file
    /// system has such, since no file of a checkpoint is ever changed; else they are copied. `replaced` names a file
    /// that gets other bytes, and with it the checkpoint another digest.
    ///
    /// # Errors
    /// If the run has a checkpoint with that name, or a file cannot be written.
    pub fn adopt(&self, from: &Checkpoint, replaced: Option<(&str, Vec<u8>)>) -> Result<Checkpoint, StoreError> {
        let (disk, dir) = (&*self.checkpoints.disk, &self.checkpoints.dir);
        let target = dir.join(from.id.to_string());
        let hidden = dir.join(Scratch::Making.name(&from.id.to_string()));
        let made = fill(disk, &hidden, from, replaced).and_then(|manifest| {
            disk.rename(&hidden, &target).at("publish", &target)?;
            Ok(manifest)
        });
        let manifest = match made {
            Ok(manifest) => manifest,
            Err(error) => {
                // Best effort; report the first error. What stays is swept when the run is next opened.
                let _left = clear_away(disk, &hidden, Kind::Dir);
                return Err(error);
            }
        };
        disk.sync_dir(dir).at("sync the folder", dir)?;
        Ok(self.checkpoints.checkpoint(from.id.clone(), manifest))
    }
}

/// Writes and syncs the hidden folder, manifest last.
fn fill(
    disk: &dyn Fs,
    hidden: &Path,
    from: &Checkpoint,
    replaced: Option<(&str, Vec<u8>)>,
) -> Result<Manifest, StoreError> {
    disk.make_dir(hidden).at("make the folder", hidden)?;
    let (mut files, mut folders) = (from.files.clone(), Vec::new());
    for (name, info) in &mut files {
        if let Some((folder, _)) = name.split_once('/') {
            let folder = hidden.join(folder);
            if !folders.contains(&folder) {
                disk.make_dir(&folder).at("make the folder", &folder)?;
                folders.push(folder);
            }
        }
        match &replaced {
            Some((other, bytes)) if other == name => {
                let fill = Box::new(|to: &mut dyn Write| to.write_all(bytes));
                *info = write_file(disk, &hidden.join(name), bytes.len() as u64, fill)?.0;
            }
            _ => link_or_copy(disk, &from.file(name), &hidden.join(name))?,
        }
    }
    for folder in &folders {
        disk.sync_dir(folder).at("sync the folder", folder)?;
    }
    let manifest = Manifest::new(&from.id, from.serial, files);
    let text = manifest.text();
    let fill = Box::new(|to: &mut dyn Write| to.write_all(text.as_bytes()));
    write_file(disk, &hidden.join(MANIFEST), text.len() as u64, fill)?;
    disk.sync_dir(hidden).at("sync the folder", hidden)?;
    Ok(manifest)
}
