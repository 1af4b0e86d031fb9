//! The folder `runs`: which runs it has, new ones that are put together there, and their removal.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{
    error::{At, StoreError},
    fs::{Fs, Kind, clear_away, ensure_dirs},
    hashed::{copy, link_or_copy},
    lock::{self, RunLock},
    names::{Scratch, is_alive, is_listed, is_prepared, next_run_name, refuse_name},
    run::{FILES, Run},
    view::{CONFIG, RunView},
};

/// A run that is put together in a hidden folder and appears under its name whole or not at all. Dropped before it is
/// published, it is removed.
pub struct RunDraft {
    disk: Arc<dyn Fs>,
    run: Option<Run>,
    hidden: PathBuf,
    target: PathBuf,
    /// Whether the run takes the next free number if another process took its name.
    numbered: bool,
}

impl RunDraft {
    /// Begins a run that will be the folder `target`, with `config` as its run.toml.
    ///
    /// # Errors
    /// If the name cannot be used or exists, or the folder cannot be written.
    pub fn new(disk: Arc<dyn Fs>, target: &Path, config: &str) -> Result<RunDraft, StoreError> {
        free_place(&*disk, target)?;
        Self::begin(disk, target.to_owned(), config, false)
    }

    /// Begins a run that gets the next free name in `runs` when it is published.
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    pub fn numbered(disk: Arc<dyn Fs>, runs: &Path, config: &str) -> Result<RunDraft, StoreError> {
        let target = runs.join(next_run_name(&*disk, runs)?);
        Self::begin(disk, target, config, true)
    }

    fn begin(disk: Arc<dyn Fs>, target: PathBuf, config: &str, numbered: bool) -> Result<RunDraft, StoreError> {
        let runs = parent(&target);
        ensure_dirs(&*disk, &runs)?;
        sweep(&*disk, &runs)?;
        let hidden = runs.join(Scratch::Making.name("run"));
        disk.make_dir(&hidden).at("make the folder", &hidden)?;
        let mut draft = RunDraft { disk, run: None, hidden, target, numbered };
        draft.run = Some(Run::own(Arc::clone(&draft.disk), &draft.hidden, Some(config))?);
        Ok(draft)
    }

    /// The run, as long as it is not published.
    ///
    /// # Errors
    /// Never before [`Self::publish`].
    pub fn run(&self) -> Result<&Run, StoreError> {
        self.run.as_ref().ok_or_else(|| StoreError::input(&self.target, "the run is published already"))
    }

    /// Takes the prepared data of another run, by a second name or a copy: it is never changed in place.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn take_prepared(&self, from: &RunView) -> Result<(), StoreError> {
        let (theirs, ours) = (from.data_dir(), self.run()?.view().data_dir());
        for entry in list(&*self.disk, &theirs)? {
            if entry.kind == Kind::File && is_prepared(entry.text()) {
                link_or_copy(&*self.disk, &theirs.join(&entry.name), &ours.join(&entry.name))?;
            }
        }
        Ok(())
    }

    /// Copies a file of another run's `data/`, if it exists; `name` may lie in one folder there.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn copy_data(&self, from: &RunView, name: &str) -> Result<(), StoreError> {
        let (theirs, ours) = (from.data_dir().join(name), self.run()?.view().data_dir().join(name));
        if self.disk.kind(&theirs).at("look at", &theirs)? == Some(Kind::File) {
            ensure_dirs(&*self.disk, &parent(&ours))?;
            copy(&*self.disk, &theirs, &ours)?;
        }
        Ok(())
    }

    /// Gives the run its name; durable on return.
    ///
    /// # Errors
    /// If the name exists by now, or the folder cannot be written.
    pub fn publish(mut self) -> Result<PathBuf, StoreError> {
        let runs = parent(&self.target);
        for folder in [self.hidden.join("data"), self.hidden.clone()] {
            self.disk.sync_dir(&folder).at("sync the folder", &folder)?;
        }
        // Frees the lock: some systems do not rename a folder with an open file.
        let run = self.run.take();
        drop(run);
        let named = loop {
            let named = self.disk.rename(&self.hidden, &self.target);
            if named.is_ok() || !self.numbered || self.disk.kind(&self.target).ok().flatten().is_none() {
                break named;
            }
            self.target = runs.join(next_run_name(&*self.disk, &runs)?);
        };
        if let Err(e) = named {
            // Best effort; what stays is swept by the next draft.
            let _left = clear_away(&*self.disk, &self.hidden, Kind::Dir);
            return Err(e).at("publish", &self.target);
        }
        self.disk.sync_dir(&runs).at("sync the folder", &runs)?;
        Ok(self.target.clone())
    }
}

impl Drop for RunDraft {
    fn drop(&mut self) {
        if self.run.take().is_some() {
            // Best effort; what stays is swept by the next draft.
            let _left = clear_away(&*self.disk, &self.hidden, Kind::Dir);
        }
    }
}

/// Renames a run; durable on return.
///
/// # Errors
/// If the name cannot be used or exists, or another process uses the run.
pub fn rename_run(disk: &dyn Fs, dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let target = parent(dir).join(name);
    free_place(disk, &target)?;
    own_folder(disk, dir)?;
    drop(RunLock::take(disk, dir)?);
    disk.rename(dir, &target).at("rename", dir)?;
    let runs = parent(dir);
    disk.sync_dir(&runs).at("sync the folder", &runs)?;
    Ok(target)
}

/// Removes a run with everything in it; returns the bytes that were freed. Links inside are removed, not followed.
///
/// # Errors
/// If it is no run, another process uses it, or it cannot be removed.
pub fn remove_run(disk: &dyn Fs, dir: &Path) -> Result<u64, StoreError> {
    own_folder(disk, dir)?;
    let freed = own_bytes(disk, dir)?;
    drop(RunLock::take(disk, dir)?);
    let runs = parent(dir);
    // Rename first, so that no half-removed run keeps its name.
    let away = runs.join(Scratch::Removing.name("run"));
    disk.rename(dir, &away).at("withdraw", dir)?;
    disk.sync_dir(&runs).at("sync the folder", &runs)?;
    clear_away(disk, &away, Kind::Dir)?;
    Ok(freed)
}

/// The bytes of a folder that its removal frees: those of files that have no other name.
///
/// # Errors
/// If a folder cannot be listed.
pub fn own_bytes(disk: &dyn Fs, dir: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0_u64;
    for entry in list(disk, dir)? {
        bytes = bytes.saturating_add(match entry.kind {
            Kind::Dir => own_bytes(disk, &dir.join(&entry.name))?,
            Kind::File if entry.names <= 1 => entry.len,
            Kind::File | Kind::Link | Kind::Other => 0,
        });
    }
    Ok(bytes)
}

/// The runs in a folder, by name, and why other folders in it cannot be read.
///
/// # Errors
/// If the folder cannot be listed.
pub fn runs_in(disk: &dyn Fs, runs: &Path) -> Result<(Vec<PathBuf>, Vec<StoreError>), StoreError> {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for name in list_runs(disk, runs)? {
        let dir = runs.join(name);
        match disk.kind(&dir.join(CONFIG)).at("look at", &dir) {
            Ok(Some(Kind::File)) => found.push(dir),
            Ok(_) => {}
            Err(e) => unread.push(e),
        }
    }
    Ok((found, unread))
}

/// When a run was last written, as far as the dates of its files say.
pub fn last_used(disk: &dyn Fs, dir: &Path) -> Option<SystemTime> {
    let entries = disk.list(dir).ok()?;
    entries.iter().filter(|entry| FILES.contains(&entry.text())).filter_map(|entry| entry.modified).max()
}

/// The folder that a path lies in.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Checks that a run can be created or renamed to `target`.
fn free_place(disk: &dyn Fs, target: &Path) -> Result<(), StoreError> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    if let Some(what) = refuse_name(&name) {
        return Err(StoreError::input(target, what));
    }
    if !is_listed(&name) {
        return Err(StoreError::input(
            target,
            "its name begins with a dot, and hidden folders are not listed as runs; choose another name",
        ));
    }
    match disk.kind(target).at("look at", target)? {
        None => Ok(()),
        Some(_) => Err(StoreError::input(target, "it exists already; choose another name")),
    }
}

/// Checks that `dir` is a run's folder itself, not a link to one.
fn own_folder(disk: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
    match disk.kind(dir).at("look at", dir)? {
        Some(Kind::Dir) if disk.kind(&dir.join(CONFIG)).at("look at", dir)? == Some(Kind::File) => Ok(()),
        Some(Kind::Link) => {
            Err(StoreError::input(dir, "it is a link; danlu changes only what lies in the folder itself"))
        }
        _ => Err(StoreError::input(dir, "it is not the folder of a run")),
    }
}

/// Removes drafts and half-removed runs that killed processes left in `runs`.
fn sweep(disk: &dyn Fs, runs: &Path) -> Result<(), StoreError> {
    for entry in list(disk, runs)? {
        let (name, dir) = (entry.text(), runs.join(&entry.name));
        if entry.kind != Kind::Dir || !(Scratch::Making.made(name) || Scratch::Removing.made(name)) {
            continue;
        }
        // A draft is locked while a process puts it together, but for its first and last moments.
        let maker = Scratch::Making.maker(name).or_else(|| Scratch::Removing.maker(name));
        let lives = maker.is_some_and(|(_, pid)| is_alive(pid) == Some(true));
        if !lives && RunLock::take(disk, &dir).is_ok() {
            clear_away(disk, &dir, Kind::Dir)?;
        }
    }
    Ok(())
}

fn list(disk: &dyn Fs, dir: &Path) -> Result<Vec<super::fs::Entry>, StoreError> {
    match disk.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.at("list", dir),
    }
}

/// The run in the folder `runs` that was opened last, by the turn in its lock. Runs without a turn are ordered by
/// modification time; a time in the future is ignored. Among equals the last by name is chosen.
pub fn newest_run(disk: &dyn Fs, runs: &Path) -> Result<Option<PathBuf>, StoreError> {
    let mut newest: Option<(u64, SystemTime, String)> = None;
    let now = SystemTime::now();
    for run in list_runs(disk, runs)? {
        let dir = runs.join(&run);
        // A folder that this user may not read is none that this user trains in.
        let entries = match disk.list(&dir) {
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => continue,
            listed => listed.at("list", &dir)?,
        };
        if !entries.iter().any(|entry| entry.name == CONFIG && entry.kind == Kind::File) {
            continue;
        }
        let files = entries.iter().filter(|entry| FILES.contains(&entry.text()));
        let written = files.filter_map(|entry| entry.modified).filter(|at| *at <= now).max();
        let turn = lock::turn(disk, &dir);
        newest = newest.max(Some((turn, written.unwrap_or(SystemTime::UNIX_EPOCH), run)));
    }
    Ok(newest.map(|(_, _, name)| runs.join(name)))
}

fn list_runs(disk: &dyn Fs, runs: &Path) -> Result<Vec<String>, StoreError> {
    match disk.list(runs) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            Err(StoreError::input(runs, "it is a file; expected the folder that the runs are in"))
        }
        listed => {
            let folders = listed.at("list", runs)?.into_iter().filter(|entry| entry.kind == Kind::Dir);
            Ok(folders.map(|entry| entry.text().to_owned()).filter(|name| is_listed(name)).collect())
        }
    }
}
