//! The verbs about runs as a whole: their list, forks, comparison, replay; and trainings elsewhere, watched.

mod compare;
mod fork;
mod list;
mod replay;
mod watch;

use std::path::{Path, PathBuf};

pub(super) use self::{
    compare::Compare,
    fork::Fork,
    list::Runs,
    replay::{Replay, show},
    watch::Watch,
};

use crate::{
    cli::Failure,
    store::{RUNS, RealFs, RunView},
    train::TrainError,
};

/// Opens the run that an argument names: a folder, or a name in ./runs.
fn named(run: &Path) -> Result<RunView, Failure> {
    let beside: PathBuf = Path::new(RUNS).join(run);
    let dir = if !run.join("run.toml").is_file() && beside.join("run.toml").is_file() { &beside } else { run };
    Ok(RunView::open(RealFs::shared(), dir).map_err(TrainError::from)?)
}

/// A figure; – if there is none.
fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |x| format!("{x:.4}"))
}

/// Bytes in the largest unit below them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
