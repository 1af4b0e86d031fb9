//! Files that leave a run: published whole or not at all, and never over another file unless asked.

use std::path::Path;

use crate::store::{
    checkpoint::{MANIFEST, NewFile},
    error::{At, StoreError},
    fs::{Fs, Kind, clear_away, ensure_dirs},
    hashed::write_file,
    names::{EXPORT, Scratch, sweep_exports},
};

/// What happens to files that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They are an error.
    Refuse,
    /// They are replaced, each atomically.
    Replace,
}

/// Fails if something exists at `path`, unless it may be replaced by one of the same kind.
pub fn may_write(disk: &dyn Fs, path: &Path, wanted: Kind, existing: Existing) -> Result<(), StoreError> {
    let Some(kind) = disk.kind(path).at("look at", path)? else { return Ok(()) };
    if existing == Existing::Refuse {
        return Err(StoreError::input(path, "it already exists; choose another name, or add --force to overwrite it"));
    }
    if kind == wanted {
        return Ok(());
    }
    let (is, expected) = (named(kind), named(wanted));
    Err(StoreError::input(path, format!("{is} exists here, and {expected} is to be written; choose another name")))
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "a file",
        Kind::Dir => "a folder",
        Kind::Link => "a link",
        Kind::Other => "a pipe or device",
    }
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes files into the folder `dir`, which exists: all of them under hidden names first, then each gets its name. On
/// an error no file has changed, unless naming itself fails.
pub fn export_files(disk: &dyn Fs, dir: &Path, files: Vec<NewFile<'_>>, existing: Existing) -> Result<(), StoreError> {
    for file in &files {
        may_write(disk, &dir.join(&file.name), Kind::File, existing)?;
    }
    sweep_exports(disk, dir)?;
    let mut hidden = Vec::new();
    let written = files.into_iter().try_for_each(|file| {
        let scratch = dir.join(Scratch::Making.name(EXPORT));
        let target = dir.join(&file.name);
        hidden.push((scratch.clone(), target));
        write_file(disk, &scratch, file.bytes, file.fill).map(|_| ())
    });
    let named = written.and_then(|()| {
        hidden.iter().try_for_each(|(scratch, target)| match existing {
            Existing::Refuse => disk.rename(scratch, target).at("name", target),
            Existing::Replace => disk.replace(scratch, target).at("replace", target),
        })
    });
    if named.is_err() {
        for (scratch, _) in &hidden {
            // Report the first error.
            let _left = disk.remove(scratch);
        }
    }
    named?;
    disk.sync_dir(dir).at("sync the folder", dir)?;
    Ok(())
}

/// Whether programs that open a model's folder read weights from a file of this name.
fn is_weights(name: &str) -> bool {
    let shard = |rest: &str| rest.starts_with('-') && rest.contains("-of-");
    ["model.safetensors", "model.safetensors.index.json", "adapter_config.json", "adapter_model.safetensors"]
        .contains(&name)
        || name.strip_prefix("model").and_then(|rest| rest.strip_suffix(".safetensors")).is_some_and(shard)
}

/// Writes a folder. A new one appears complete or not at all. Into an existing one (if it may be) the files are written
/// as by [`export_files`], one after the other; weights of another model there, which would be read with or instead of
/// the new ones, are removed, and other files stay.
pub fn export_folder(disk: &dyn Fs, dir: &Path, files: Vec<NewFile<'_>>, existing: Existing) -> Result<(), StoreError> {
    may_write(disk, dir, Kind::Dir, existing)?;
    if disk.kind(dir).at("look at", dir)?.is_some() {
        if disk.kind(&dir.join(MANIFEST)).at("look at", dir)?.is_some() {
            return Err(StoreError::input(
                dir,
                "it is a checkpoint of a run, which must not change; choose another folder",
            ));
        }
        let mut folders: Vec<&str> = files.iter().filter_map(|file| Some(file.name.split_once('/')?.0)).collect();
        folders.dedup();
        for folder in folders {
            ensure_dirs(disk, &dir.join(folder))?;
        }
        let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        export_files(disk, dir, files, existing)?;
        if names.iter().any(|name| is_weights(name)) {
            let there = disk.list(dir).at("list", dir)?;
            for entry in there.iter().filter(|entry| is_weights(entry.text()) && entry.kind == Kind::File) {
                if !names.iter().any(|name| name == entry.text()) {
                    let path = dir.join(&entry.name);
                    disk.remove(&path).at("remove", &path)?;
                }
            }
            disk.sync_dir(dir).at("sync the folder", dir)?;
        }
        return Ok(());
    }
    let above = parent(dir);
    ensure_dirs(disk, above)?;
    sweep_exports(disk, above)?;
    let hidden = above.join(Scratch::Making.name(EXPORT));
    let filled = (|| {
        disk.make_dir(&hidden).at("make the folder", &hidden)?;
        for file in files {
            if let Some((folder, _)) = file.name.split_once('/') {
                ensure_dirs(disk, &hidden.join(folder))?;
            }
            write_file(disk, &hidden.join(&file.name), file.bytes, file.fill)?;
        }
        disk.rename(&hidden, dir).at("publish", dir)
    })();
    if filled.is_err() {
        // Report the first error.
        let _left = clear_away(disk, &hidden, Kind::Dir);
    }
    filled?;
    disk.sync_dir(above).at("sync the folder", above)?;
    Ok(())
}
