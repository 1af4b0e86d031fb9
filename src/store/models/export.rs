//! Files that leave a run: published whole or not at all, and never over another file unless asked.

use std::{io, path::Path};

use crate::store::{
    checkpoint::{MANIFEST, NewFile},
    error::{At, StoreError},
    fs::{Fs, Kind, clear_away, ensure_dirs},
    hashed::{link_or_copy, write_file},
    names::{EXPORT, Scratch, is_alive, is_scratch, sweep_exports},
    view::CONFIG,
};

/// What happens to files that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They are an error.
    Refuse,
    /// They are replaced: a file atomically, a folder as a whole.
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

/// Most files and folders of others that are kept in a folder that is replaced.
const MOST_KEPT: usize = 10_000;

/// Writes a folder, which appears complete or not at all. An existing one (if it may be replaced) is exchanged as a
/// whole: the files of others in it stay, but for weights of another model, which would be read with or instead of the
/// new ones. `dir` must not be a path that ends in `.` or `..`.
///
/// # Errors
/// If something exists that may not be replaced, if the folder is a run or a checkpoint, if a link or a pipe in it
/// could not stay, or if the disk fails; then the folder is as it was.
pub fn export_folder(disk: &dyn Fs, dir: &Path, files: Vec<NewFile<'_>>, existing: Existing) -> Result<(), StoreError> {
    let above = parent(dir);
    // A killed export may have left the folder's files under another name.
    if disk.kind(above).at("look at", above)?.is_some() {
        put_back(disk, dir)?;
    }
    may_write(disk, dir, Kind::Dir, existing)?;
    let replaces = disk.kind(dir).at("look at", dir)?.is_some();
    if replaces {
        for (file, what) in
            [(MANIFEST, "a checkpoint of a run, which must not change"), (CONFIG, "the folder of a run")]
        {
            if disk.kind(&dir.join(file)).at("look at", dir)?.is_some() {
                return Err(StoreError::input(dir, format!("it is {what}; choose another folder")));
            }
        }
    }
    ensure_dirs(disk, above)?;
    sweep_exports(disk, above)?;
    let hidden = above.join(Scratch::Making.name(EXPORT));
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let filled = (|| {
        if replaces { disk.make_dir_like(&hidden, dir) } else { disk.make_dir(&hidden) }
            .at("make the folder", &hidden)?;
        if replaces {
            Kept { disk, names: &names, left: MOST_KEPT }.copy(dir, &hidden, "")?;
        }
        for file in files {
            if let Some((folder, _)) = file.name.split_once('/') {
                ensure_dirs(disk, &hidden.join(folder))?;
            }
            write_file(disk, &hidden.join(&file.name), file.bytes, file.fill)?;
        }
        sync_all(disk, &hidden)?;
        if replaces { exchange(disk, &hidden, dir) } else { disk.rename(&hidden, dir).at("publish", dir) }
    })();
    if filled.is_err() {
        // Report the first error.
        let _left = clear_away(disk, &hidden, Kind::Dir);
    }
    filled?;
    disk.sync_dir(above).at("sync the folder", above)?;
    if replaces {
        // The old folder; what cannot be removed is removed by the next export.
        let _left = clear_away(disk, &hidden, Kind::Dir);
    }
    Ok(())
}

/// The files of others in a folder that is replaced.
struct Kept<'a> {
    disk: &'a dyn Fs,
    /// The new files, which are not kept.
    names: &'a [String],
    /// How many more may be kept.
    left: usize,
}

impl Kept<'_> {
    /// Gives the files of `from` that stay a name in `to`; `within` is the path of both in the exported folder, with a
    /// slash at its end.
    fn copy(&mut self, from: &Path, to: &Path, within: &str) -> Result<(), StoreError> {
        let weights = self.names.iter().any(|name| is_weights(name));
        for entry in self.disk.list(from).at("list", from)? {
            let (old, new) = (from.join(&entry.name), to.join(&entry.name));
            let path = format!("{within}{}", entry.text());
            let stale = weights && within.is_empty() && is_weights(entry.text()) && entry.kind == Kind::File;
            if stale || (is_scratch(entry.text()) && within.is_empty()) {
                continue;
            }
            if self.names.contains(&path) {
                may_write(self.disk, &old, Kind::File, Existing::Replace)?;
                continue;
            }
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                let what = format!("it holds more than {MOST_KEPT} other files; choose a folder for the export alone");
                StoreError::input(from, what)
            })?;
            match entry.kind {
                Kind::Dir => {
                    self.disk.make_dir_like(&new, &old).at("make the folder", &new)?;
                    self.copy(&old, &new, &format!("{path}/"))?;
                }
                Kind::File => {
                    if self.names.iter().any(|name| name.starts_with(&format!("{path}/"))) {
                        may_write(self.disk, &old, Kind::Dir, Existing::Replace)?;
                    }
                    link_or_copy(self.disk, &old, &new)?;
                }
                Kind::Link | Kind::Other => {
                    let what = format!(
                        "{} cannot stay in a folder that is replaced; move it away, or choose another folder",
                        named(entry.kind)
                    );
                    return Err(StoreError::input(old, what));
                }
            }
        }
        Ok(())
    }
}

/// Waits until the names in a folder and in those below it are on the disk.
fn sync_all(disk: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
    for entry in disk.list(dir).at("list", dir)?.iter().filter(|entry| entry.kind == Kind::Dir) {
        sync_all(disk, &dir.join(&entry.name))?;
    }
    disk.sync_dir(dir).at("sync the folder", dir).map(drop)
}

/// The purpose of the name that the old folder has for a moment where the system cannot exchange names: it says which
/// folder it was.
fn withdrawn(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("{EXPORT}.{}", &blake3::hash(name.as_bytes()).to_hex()[..16])
}

/// Exchanges the folder `hidden` with `dir`.
fn exchange(disk: &dyn Fs, hidden: &Path, dir: &Path) -> Result<(), StoreError> {
    match disk.exchange(hidden, dir) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
        Err(e) if matches!(e.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices) => {
            let what = format!("it cannot be replaced as a whole ({e}); export into a new folder in it");
            return Err(StoreError::input(dir, what));
        }
        exchanged => return exchanged.at("replace", dir),
    }
    let above = parent(dir);
    let away = above.join(Scratch::Removing.name(&withdrawn(dir)));
    disk.rename(dir, &away).at("withdraw", dir)?;
    // After a power cut here the next export puts the old folder back.
    let named = disk.rename(hidden, dir).at("publish", dir);
    if named.is_err() {
        let _back = disk.rename(&away, dir);
        return named;
    }
    let synced = disk.sync_dir(above).at("sync the folder", above);
    if synced.is_ok() {
        // What cannot be removed is removed by the next export.
        let _left = clear_away(disk, &away, Kind::Dir);
    }
    // The new folder has its name.
    Ok(())
}

/// Puts back the folder that a killed export withdrew from `dir`, or removes it where `dir` exists again.
fn put_back(disk: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
    let (above, wanted) = (parent(dir), withdrawn(dir));
    for entry in disk.list(above).at("list", above)? {
        let maker = Scratch::Removing.maker(entry.text());
        if entry.kind != Kind::Dir || !maker.is_some_and(|(base, pid)| base == wanted && is_alive(pid) == Some(false)) {
            continue;
        }
        let away = above.join(&entry.name);
        if disk.kind(dir).at("look at", dir)?.is_none() {
            disk.rename(&away, dir).at("put back", dir)?;
            disk.sync_dir(above).at("sync the folder", above)?;
        } else {
            let _left = clear_away(disk, &away, Kind::Dir);
        }
    }
    Ok(())
}
