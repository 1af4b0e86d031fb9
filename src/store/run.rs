//! A run: a folder with its configuration, its lock, its logs and its checkpoints.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    checkpoint::{Saver, Swept, sweep},
    error::{At, StoreError},
    fs::{Fs, Kind, ensure_dirs, write_atomically},
    lock::RunLock,
    log::{Log, Torn},
    names::{LONGEST, Scratch, is_scratch, next_name, next_run_name, refuse_name},
    prepared::Preparer,
    view::{CONFIG, LONGEST_CONFIG, REPORT, RunView},
};

/// Folders of a run.
const FOLDERS: [&str; 2] = ["checkpoints", "data"];
/// The log of judged answers in the report folder.
const ANSWERS: &str = "answers.jsonl";
/// The folder of exported pictures, texts and tables.
const EXPORTS: &str = "exports";
/// Most exported files with one name.
const MOST_EXPORTS: usize = 10_000;
/// Files of a run whose modification times show when it was last used.
pub(super) const FILES: [&str; 8] = [
    CONFIG,
    "lock",
    "metrics.jsonl",
    "events.jsonl",
    "preferences.jsonl",
    "edits.jsonl",
    "rollbacks.jsonl",
    "pins.jsonl",
];

/// A run that this process owns until the value (and every [`Saver`] and [`Preparer`] made from it) is
/// dropped.
#[derive(Debug)]
pub struct Run {
    view: RunView,
    lock: Arc<RunLock>,
    swept: Swept,
}

impl Run {
    /// Opens the run in `dir`, creates missing folders, and sweeps leftovers of a killed process. The folder must
    /// contain a run.toml and nothing else is required.
    pub fn open(disk: Arc<dyn Fs>, dir: &Path) -> Result<Self, StoreError> {
        RunView::open(Arc::clone(&disk), dir)?;
        Self::own(disk, dir, None)
    }

    /// Creates a run in `dir` with `config` as its run.toml. The folder may be missing or empty; an existing run is an
    /// error.
    pub fn create(disk: Arc<dyn Fs>, dir: &Path, config: &str) -> Result<Self, StoreError> {
        // A path that is too long cannot even be checked for existence.
        let mut long = dir.iter().map(|part| part.to_string_lossy()).filter(|part| part.len() > LONGEST);
        if let Some(what) = long.find_map(|part| refuse_name(&part)) {
            return Err(StoreError::input(dir, what));
        }
        if disk.kind(&dir.join(CONFIG)).at("look at", dir)?.is_some() {
            return Err(StoreError::input(dir, "the run already exists; open it, or choose another name"));
        }
        Self::prepare(&*disk, dir)?;
        Self::own(disk, dir, Some(config))
    }

    /// Creates a run with the next free name in the folder `runs`, such as `runs/run-0001`.
    pub fn create_next(disk: Arc<dyn Fs>, runs: &Path, config: &str) -> Result<Self, StoreError> {
        ensure_dirs(&*disk, runs)?;
        loop {
            let dir = runs.join(next_run_name(&*disk, runs)?);
            match disk.make_dir(&dir) {
                // Another process took the name; try the next one.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made.at("make the folder", &dir)?;
                    disk.sync_dir(runs).at("sync the folder", runs)?;
                    return Self::own(disk, &dir, Some(config));
                }
            }
        }
    }

    /// Creates the folder, or checks that it contains only files of a run.
    fn prepare(disk: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
        match disk.list(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if let Some(what) = refuse_path(disk, dir)? {
                    return Err(StoreError::input(dir, what));
                }
                ensure_dirs(disk, dir)
            }
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                Err(StoreError::input(dir, "a run must be a folder; choose another name"))
            }
            listed => {
                let entries = listed.at("list", dir)?;
                let ours =
                    |name: &str| FILES.contains(&name) || FOLDERS.contains(&name) || name == REPORT || is_scratch(name);
                let Some(other) = entries.iter().find(|entry| !ours(entry.text())) else { return Ok(()) };
                let what = format!(
                    "the folder contains {:?} but no run.toml, so it is not a run; choose an empty or a new folder",
                    other.text()
                );
                Err(StoreError::input(dir, what))
            }
        }
    }

    /// Takes the lock, creates missing files and sweeps leftovers.
    pub(super) fn own(disk: Arc<dyn Fs>, dir: &Path, config: Option<&str>) -> Result<Self, StoreError> {
        let lock = Arc::new(RunLock::take(&*disk, dir)?);
        let mut swept = Swept::default();
        sweep(&*disk, dir, &mut swept);
        for name in FOLDERS {
            let path = dir.join(name);
            match disk.kind(&path).at("look at", &path)? {
                Some(Kind::Dir) => {}
                None => disk.make_dir(&path).at("make the folder", &path)?,
                Some(_) => {
                    let what =
                        "a folder of the run is expected here, and danlu does not write through a link; move it away";
                    return Err(StoreError::input(path, what));
                }
            }
        }
        for name in FOLDERS {
            sweep(&*disk, &dir.join(name), &mut swept);
        }
        if disk.kind(&dir.join(REPORT)).at("look at", dir)? == Some(Kind::Dir) {
            sweep(&*disk, &dir.join(REPORT), &mut swept);
        }
        let view = RunView::new(disk, dir);
        let run = Self { view, lock, swept };
        if let Some(config) = config {
            // Another process may have created the run since the check.
            let there = run.view.disk().kind(&run.view.config_path()).at("look at", dir)?;
            if there.is_some() {
                return Err(StoreError::input(dir, "the run already exists; open it, or choose another name"));
            }
            run.write_config(config)?;
        }
        run.view.disk().sync_dir(dir).at("sync the folder", dir)?;
        Ok(run)
    }

    /// The run for reading.
    pub fn view(&self) -> &RunView {
        &self.view
    }

    /// Leftovers of a killed process that were removed when the run was opened.
    pub fn swept(&self) -> &[String] {
        &self.swept.removed
    }

    /// Leftovers that could not be removed. They only take disk space.
    pub fn unswept(&self) -> &[StoreError] {
        &self.swept.left
    }

    /// The right to save checkpoints, for the writer thread.
    pub fn saver(&self) -> Saver {
        Saver::new(self.view.checkpoints(), Arc::clone(&self.lock))
    }

    /// Replaces run.toml atomically.
    pub fn write_config(&self, text: &str) -> Result<(), StoreError> {
        let path = self.view.config_path();
        if text.len() as u64 > LONGEST_CONFIG {
            return Err(StoreError::input(path, format!("run.toml may have {LONGEST_CONFIG} bytes at most")));
        }
        write_atomically(&**self.view.disk(), &path, &Scratch::Making.name(CONFIG), text.as_bytes())
    }

    /// The right to write prepared data, for the thread that prepares them.
    pub fn preparer(&self) -> Preparer {
        Preparer::new(self.view.clone(), Arc::clone(&self.lock))
    }

    /// Replaces a file in `data/` atomically: prepared data, the tokenizer.
    pub fn write_data(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        self.preparer().write(name, bytes)
    }

    /// Moves a file or folder in `data/` to the next free `<name>.<n>.torn` and returns the new path; None if it does
    /// not exist.
    pub fn set_aside(&self, name: &str) -> Result<Option<PathBuf>, StoreError> {
        let (disk, dir) = (&**self.view.disk(), self.view.data_dir());
        let path = dir.join(name);
        if disk.kind(&path).at("look at", &path)?.is_none() {
            return Ok(None);
        }
        let aside = next_name(disk, &dir, name, ".torn")?;
        disk.rename(&path, &aside).at("move", &path)?;
        disk.sync_dir(&dir).at("sync the folder", &dir)?;
        Ok(Some(aside))
    }

    /// Creates the report folder if it is missing.
    pub fn make_report_dir(&self) -> Result<PathBuf, StoreError> {
        let path = self.view.report_dir();
        ensure_dirs(&**self.view.disk(), &path)?;
        match self.view.disk().kind(&path).at("look at", &path)? {
            Some(Kind::Dir) => Ok(path),
            _ => Err(StoreError::input(
                path,
                "a folder of the run is expected here, and danlu does not write through a link; move it away",
            )),
        }
    }

    /// Replaces a file in `report/` atomically.
    pub fn write_report(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.make_report_dir()?.join(name);
        write_atomically(&**self.view.disk(), &path, &Scratch::Making.name(name), bytes)?;
        Ok(path)
    }

    /// Writes a new file in `exports/`, which is created if it is missing; see [`write_numbered`].
    pub fn write_export(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let dir = self.view.dir().join(EXPORTS);
        ensure_dirs(&**self.view.disk(), &dir)?;
        write_numbered(&**self.view.disk(), &dir, name, bytes)
    }

    /// The same as [`write_new`].
    pub fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        write_new(&**self.view.disk(), path, bytes)
    }

    /// Opens metrics.jsonl for appending.
    pub fn metrics(&self) -> Result<Log, StoreError> {
        Log::open(Arc::clone(self.view.disk()), &self.view.metrics_path())
    }

    /// Opens events.jsonl for appending.
    pub fn events(&self) -> Result<Log, StoreError> {
        Log::open(Arc::clone(self.view.disk()), &self.view.events_path())
    }

    /// Opens data/sft/by-hand.jsonl, the demonstrations written in the workbench, for appending. What the user wrote is
    /// never cut.
    pub fn demonstrations(&self) -> Result<Log, StoreError> {
        let dir = self.view.data_dir().join("sft");
        ensure_dirs(&**self.view.disk(), &dir)?;
        Log::open_whole(Arc::clone(self.view.disk()), &dir.join("by-hand.jsonl"))
    }

    /// Opens data/marks.jsonl, the labels of the quality classifier, for appending. What the user wrote is never cut.
    pub fn marks(&self) -> Result<Log, StoreError> {
        Log::open_whole(Arc::clone(self.view.disk()), &self.view.marks_path())
    }

    /// Opens edits.jsonl and report/answers.jsonl, if they exist, and returns what was cut from them.
    pub fn mend_logs(&self) -> Result<Vec<Torn>, StoreError> {
        let (view, mut found) = (&self.view, Vec::new());
        for path in [view.edits_path(), view.report_dir().join(ANSWERS)] {
            if view.disk().kind(&path).at("look at", &path)?.is_some() {
                found.extend(Log::open(Arc::clone(view.disk()), &path)?.torn().cloned());
            }
        }
        Ok(found)
    }

    /// Opens report/answers.jsonl, the judged answers, for appending.
    pub fn answers(&self) -> Result<Log, StoreError> {
        Log::open(Arc::clone(self.view.disk()), &self.make_report_dir()?.join(ANSWERS))
    }

    /// Opens edits.jsonl for appending.
    pub fn edits(&self) -> Result<Log, StoreError> {
        Log::open(Arc::clone(self.view.disk()), &self.view.edits_path())
    }

    /// Opens pins.jsonl for appending.
    pub fn pins(&self) -> Result<Log, StoreError> {
        Log::open(Arc::clone(self.view.disk()), &self.view.pins_path())
    }

    /// Opens rollbacks.jsonl for appending.
    pub fn rollbacks(&self) -> Result<Log, StoreError> {
        Log::open(Arc::clone(self.view.disk()), &self.view.rollbacks_path())
    }

    /// Opens preferences.jsonl for appending. What the user wrote is never cut.
    pub fn preferences(&self) -> Result<Log, StoreError> {
        Log::open_whole(Arc::clone(self.view.disk()), &self.view.preferences_path())
    }
}

/// Writes a new file in a folder. If the name is taken, the first free one of `name-2`, `name-3` … before the ending is
/// used; no file is replaced.
pub fn write_numbered(disk: &dyn Fs, dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    for number in 1..=MOST_EXPORTS {
        let numbered = if number == 1 { name.to_owned() } else { format!("{stem}-{number}.{ending}") };
        let path = dir.join(numbered);
        if disk.kind(&path).at("look at", &path)?.is_none() {
            write_new(disk, &path, bytes)?;
            return Ok(path);
        }
    }
    Err(StoreError::input(dir, format!("{MOST_EXPORTS} files have the name {name} already; remove some")))
}

/// Writes a file that does not exist yet, whole or not at all.
pub fn write_new(disk: &dyn Fs, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(StoreError::input(path, "a file name is expected"));
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    match disk.kind(dir).at("look at", dir)? {
        Some(Kind::Dir) => {}
        Some(_) => return Err(StoreError::input(dir, "it is no folder; name a file in a folder")),
        None => return Err(StoreError::input(dir, "there is no such folder; create it first")),
    }
    if disk.kind(path).at("look at", path)?.is_some() {
        return Err(StoreError::input(path, "it exists already and is not replaced; choose another name"));
    }
    let temporary = dir.join(Scratch::Making.name(&name.to_string_lossy()));
    let written = (|| {
        let mut file = disk.create(&temporary).at("create", &temporary)?;
        file.write_all(bytes).at("write", &temporary)?;
        file.sync().at("sync", &temporary)?;
        drop(file);
        disk.rename(&temporary, path).at("create", path)
    })();
    if written.is_err() {
        // Best effort: the first error is reported.
        let _left = disk.remove(&temporary);
    }
    written?;
    disk.sync_dir(dir).at("sync the folder", dir)?;
    Ok(())
}

/// Why a folder cannot be created there, judged by every name on the path that is missing.
fn refuse_path(disk: &dyn Fs, dir: &Path) -> Result<Option<String>, StoreError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    if let Some(what) = refuse_name(&name) {
        return Ok(Some(what));
    }
    for above in dir.ancestors().skip(1) {
        let Some(name) = above.file_name() else { continue };
        if disk.kind(above).at("look at", above)?.is_some() {
            break;
        }
        if let Some(what) = refuse_name(&name.to_string_lossy()) {
            return Ok(Some(what));
        }
    }
    Ok(None)
}
