//! Renames, pins and removes runs and checkpoints. Nothing is removed that something else names.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    fork::named_well,
    survey::{config, survey},
};
use crate::{
    protocol::{TreeCheckpoint, TreeRun, run_kept},
    store::{CheckpointId, Fs, Run, RunView, Saver, own_bytes, remove_run, rename_run},
    train::{error::TrainError, run::pins},
};

/// Renames a run; returns its new folder.
///
/// # Errors
/// If a fork reads its data, another process uses it, or the name cannot be used.
pub fn rename(disk: &Arc<dyn Fs>, dir: &Path, name: &str) -> Result<PathBuf, TrainError> {
    named_well(name)?;
    let (_, others) = among(disk, dir)?;
    if let Some(reader) = others.iter().find(|other| reads_from(disk, &other.path, dir)) {
        return Err(TrainError::Refused(format!(
            "{} is not renamed: {} reads its data there; change root in that run's run.toml first",
            shown(dir),
            reader.run
        )));
    }
    Ok(rename_run(&**disk, dir, name)?)
}

/// Keeps a checkpoint whatever retention says, or no longer. `open` is the run if this process has it open.
///
/// # Errors
/// If the checkpoint does not exist, or another process uses the run.
pub fn pin(disk: &Arc<dyn Fs>, open: Option<&Run>, dir: &Path, name: &str, pinned: bool) -> Result<(), TrainError> {
    let id = named(&RunView::open(Arc::clone(disk), dir)?, name)?;
    match open {
        Some(run) => pins::write(run, &id, pinned)?,
        None => pins::write(&Run::open(Arc::clone(disk), dir)?, &id, pinned)?,
    }
    Ok(())
}

/// Removes a checkpoint; returns the bytes that were freed. `open` is the right to save in the run if this process has it
/// open.
///
/// # Errors
/// If a later stage, a fork or a policy names it, the user pinned it, another process uses the run, or it cannot be
/// removed.
pub fn remove_checkpoint(disk: &Arc<dyn Fs>, open: Option<&Saver>, dir: &Path, name: &str) -> Result<u64, TrainError> {
    let (run, _) = among(disk, dir)?;
    let line: &TreeCheckpoint = run
        .checkpoints
        .iter()
        .find(|line| line.checkpoint == name)
        .ok_or_else(|| TrainError::Refused(format!("there is no checkpoint {name} in {}", shown(dir))))?;
    if let Some(why) = line.kept() {
        return Err(TrainError::Refused(why));
    }
    let id = named(&RunView::open(Arc::clone(disk), dir)?, name)?;
    let freed = own_bytes(&**disk, &line.path)?;
    match open {
        Some(saver) => saver.remove(&id)?,
        None => Run::open(Arc::clone(disk), dir)?.saver().remove(&id)?,
    }
    Ok(freed)
}

/// Removes a run; returns the bytes that were freed.
///
/// # Errors
/// If a fork came from it, a process uses it, or it cannot be removed.
pub fn remove_whole_run(disk: &Arc<dyn Fs>, dir: &Path) -> Result<u64, TrainError> {
    let (run, others) = among(disk, dir)?;
    let all: Vec<TreeRun> = others.into_iter().chain([TreeRun { path: dir.to_owned(), ..run }]).collect();
    let Some((_, others)) = all.split_last() else { return Ok(0) };
    if let Some(why) = run_kept(&all, others.len()) {
        return Err(TrainError::Refused(why));
    }
    if let Some(reader) = others.iter().find(|other| reads_from(disk, &other.path, dir)) {
        return Err(TrainError::Refused(format!("{} is not removed: {} reads its data there", shown(dir), reader.run)));
    }
    Ok(remove_run(&**disk, dir)?)
}

fn shown(dir: &Path) -> String {
    dir.display().to_string()
}

fn named(view: &RunView, name: &str) -> Result<CheckpointId, TrainError> {
    let missing = || TrainError::Refused(format!("there is no checkpoint {name} in {}", shown(view.dir())));
    view.checkpoints().named(name)?.ok_or_else(missing)
}

/// A run as its folder of runs has it, and the others there.
fn among(disk: &Arc<dyn Fs>, dir: &Path) -> Result<(TreeRun, Vec<TreeRun>), TrainError> {
    let runs = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut all = survey(disk, runs)?.runs;
    let at = all.iter().position(|run| run.path.file_name() == dir.file_name());
    let at = at.ok_or_else(|| TrainError::Refused(format!("{} is not a run", shown(dir))))?;
    Ok((all.remove(at), all))
}

/// Whether the relative paths of the run `reader` start in the folder `dir`.
fn reads_from(disk: &Arc<dyn Fs>, reader: &Path, dir: &Path) -> bool {
    let root = RunView::open(Arc::clone(disk), reader).ok().and_then(|view| config(&view).ok()).and_then(|c| c.root);
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    root.is_some_and(|root| whole(&reader.join(root)).starts_with(whole(dir)))
}
