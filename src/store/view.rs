//! A run opened for reading: its paths and its configuration.

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
/// Limit on the length of run.toml.
pub(super) const LONGEST_CONFIG: u64 = 1 << 20;
/// The folder for reports and judged answers, created when first needed.
pub(super) const REPORT: &str = "report";

/// A run opened for reading: takes no lock and changes nothing.
#[derive(Clone, Debug)]
pub struct RunView {
    disk: Arc<dyn Fs>,
    dir: PathBuf,
}

impl RunView {
    /// Opens the run in `dir`, which must contain a run.toml.
    pub fn open(disk: Arc<dyn Fs>, dir: &Path) -> Result<Self, StoreError> {
        let config = disk.kind(&dir.join(CONFIG)).at("look at", dir)?;
        if config != Some(Kind::File) {
            let what = match disk.kind(dir).at("look at", dir)? {
                None => "no such run; danlu runs lists those of ./runs, danlu train --run DIR begins one",
                _ => "the folder has no run.toml, so it is not a run; danlu runs lists those of ./runs",
            };
            return Err(StoreError::input(dir, what));
        }
        Ok(Self::new(disk, dir))
    }

    /// Wraps a folder that is known to be a run.
    pub(super) fn new(disk: Arc<dyn Fs>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned() }
    }

    /// The run's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run's name: the last part of its path, also where that is `.` or ends in `..`.
    pub fn name(&self) -> String {
        let whole = self.dir.file_name().is_none().then(|| self.dir.canonicalize().ok()).flatten();
        let dir = whole.as_deref().unwrap_or(&self.dir);
        dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned()
    }

    /// The disk that holds it.
    pub fn disk(&self) -> &Arc<dyn Fs> {
        &self.disk
    }

    /// The path of run.toml.
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

    /// The folder for reports and judged answers.
    pub fn report_dir(&self) -> PathBuf {
        self.dir.join(REPORT)
    }

    /// The path of metrics.jsonl.
    pub fn metrics_path(&self) -> PathBuf {
        self.dir.join("metrics.jsonl")
    }

    /// The path of events.jsonl.
    pub fn events_path(&self) -> PathBuf {
        self.dir.join("events.jsonl")
    }

    /// The path of edits.jsonl.
    pub fn edits_path(&self) -> PathBuf {
        self.dir.join("edits.jsonl")
    }

    /// The path of rollbacks.jsonl.
    pub fn rollbacks_path(&self) -> PathBuf {
        self.dir.join("rollbacks.jsonl")
    }

    /// The path of pins.jsonl, the checkpoints that the user keeps.
    pub fn pins_path(&self) -> PathBuf {
        self.dir.join("pins.jsonl")
    }

    /// The path of data/marks.jsonl, the labels of the quality classifier.
    pub fn marks_path(&self) -> PathBuf {
        self.data_dir().join("marks.jsonl")
    }

    /// The path of preferences.jsonl.
    pub fn preferences_path(&self) -> PathBuf {
        self.dir.join("preferences.jsonl")
    }
}
