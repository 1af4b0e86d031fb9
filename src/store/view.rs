//! A run opened for reading: the paths of its files, and its configuration.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    checkpoint::Checkpoints,
    error::{At, StoreError},
    fs::{Fs, Kind, Links, read_limited},
};

/// The configuration's file name.
pub(super) const CONFIG: &str = "run.toml";
/// Longest configuration.
pub(super) const LONGEST_CONFIG: u64 = 1 << 20;
/// The folder for what a run is judged by, made when there is something.
pub(super) const REPORT: &str = "report";

/// A run opened for reading: needs no lock, changes nothing.
#[derive(Clone, Debug)]
pub struct RunView {
    disk: Arc<dyn Fs>,
    dir: PathBuf,
}

impl RunView {
    /// Looks at the run in `dir`, which must hold a run.toml.
    pub fn open(disk: Arc<dyn Fs>, dir: &Path) -> Result<Self, StoreError> {
        let config = disk.kind(&dir.join(CONFIG)).at("look at", dir)?;
        if config != Some(Kind::File) {
            let what = match disk.kind(dir).at("look at", dir)? {
                None => "no such run; check --run, or create it with danlu train --run",
                _ => "the folder has no run.toml, so it is not a run; check --run",
            };
            return Err(StoreError::input(dir, what));
        }
        Ok(Self::new(disk, dir))
    }

    /// The same of a folder that is known to be a run's.
    pub(super) fn new(disk: Arc<dyn Fs>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned() }
    }

    /// The run's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run's name: the last part of its path.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap_or(self.dir.as_os_str()).to_string_lossy().into_owned()
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Arc<dyn Fs> {
        &self.disk
    }

    /// Where run.toml lies.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// The text of run.toml.
    pub fn config(&self) -> Result<String, StoreError> {
        let path = self.config_path();
        let bytes = read_limited(&*self.disk, &path, LONGEST_CONFIG, Links::Refuse)?;
        String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            StoreError::input(&path, format!("byte {at} is not UTF-8; save the file as UTF-8"))
        })
    }

    /// The run's checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(Arc::clone(&self.disk), self.dir.join("checkpoints"))
    }

    /// The folder for prepared data.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The folder for what a run is judged by.
    pub fn report_dir(&self) -> PathBuf {
        self.dir.join(REPORT)
    }

    /// Where the metrics lie.
    pub fn metrics_path(&self) -> PathBuf {
        self.dir.join("metrics.jsonl")
    }

    /// Where the events lie.
    pub fn events_path(&self) -> PathBuf {
        self.dir.join("events.jsonl")
    }

    /// Where the edits lie.
    pub fn edits_path(&self) -> PathBuf {
        self.dir.join("edits.jsonl")
    }

    /// Where roll-backs of stages are recorded.
    pub fn rollbacks_path(&self) -> PathBuf {
        self.dir.join("rollbacks.jsonl")
    }

    /// Where the marks of texts that are wanted, or not, lie.
    pub fn marks_path(&self) -> PathBuf {
        self.data_dir().join("marks.jsonl")
    }

    /// Where the preferences lie.
    pub fn preferences_path(&self) -> PathBuf {
        self.dir.join("preferences.jsonl")
    }
}
