//! Which checkpoint a stage starts from, and which one each stage has.

use super::{
    checkpoint::{self, State},
    error::TrainError,
    event::StageInfo,
    stage::{STAGES, Stage},
};
use crate::{
    nn::{ModelConfig, ParamTable},
    store::{Checkpoint, CheckpointId, RunView},
};

/// Largest state.json that is read.
const STATE_LIMIT: u64 = 16 << 20;

/// All stages with the step of their newest checkpoint.
pub(super) fn stages(view: &RunView) -> Result<Vec<StageInfo>, TrainError> {
    let there = view.checkpoints().list()?;
    let step = |name: &str| there.iter().filter(|id| id.stage == name).map(|id| id.step as usize).max();
    let info =
        |s: &Stage| StageInfo { name: s.name.to_owned(), parent: s.parent.map(str::to_owned), step: step(s.name) };
    Ok(STAGES.iter().map(info).collect())
}

/// Why a stage cannot be trained yet, in words that say what to train first.
pub(super) fn missing_parent(view: &RunView, stage: &Stage) -> Result<Option<String>, TrainError> {
    let Some(parent) = stage.parent else { return Ok(None) };
    let there = view.checkpoints().list()?;
    if there.iter().any(|id| id.stage == parent || id.stage == stage.name) {
        return Ok(None);
    }
    Ok(Some(format!(
        "{} starts from a checkpoint of {parent}, and this run has none; train it first: danlu train --stage {parent} --run {}",
        stage.name,
        view.dir().display()
    )))
}

/// The weights of the newest checkpoint of a stage's parent that verifies, and the checkpoint.
pub(super) fn parent(
    view: &RunView,
    stage: &Stage,
    model: &ModelConfig,
    table: &ParamTable,
    notes: &mut Vec<String>,
) -> Result<Option<(Checkpoint, Vec<f32>)>, TrainError> {
    let Some(name) = stage.parent else { return Ok(None) };
    let found = view.checkpoints().newest_that(Some(name), |c| {
        let (_, [params, ..]) = checkpoint::load(&c, model, table)?;
        Ok((c, params))
    })?;
    for s in &found.skipped {
        notes.push(format!("checkpoint {} was passed over: {}", s.id, s.error));
    }
    match (found.found, found.skipped.first()) {
        (Some(found), _) => Ok(Some(found)),
        (None, Some(first)) => Err(TrainError::Input(format!(
            "{} starts from a checkpoint of {name}, and none of this run can be used; the newest, {}: {}",
            stage.name, first.id, first.error
        ))),
        (None, None) => Err(TrainError::Input(missing_parent(view, stage)?.unwrap_or_default())),
    }
}

/// The weights of the checkpoint that a stage started from: it may have been removed since, or changed.
pub(super) fn started_from(
    view: &RunView,
    state: &State,
    model: &ModelConfig,
    table: &ParamTable,
) -> Result<Vec<f32>, TrainError> {
    let Some(name) = &state.parent else {
        return Err(TrainError::Input(format!("{} started from random weights; there is no base", state.stage)));
    };
    let there = view.checkpoints().list()?;
    let Some(id) = there.into_iter().find(|id| id.to_string() == *name) else {
        // Started from a folder outside the run.
        let (_, _, slab) = super::model_folder::load(std::path::Path::new(name))?;
        if slab.len() != table.slab_len {
            return Err(TrainError::Input(format!("{name} is a model of another shape by now")));
        }
        return Ok(slab);
    };
    let checkpoint = view.checkpoints().verify(&id)?;
    if state.parent_digest.as_ref().is_some_and(|d| *d != checkpoint.digest) {
        return Err(TrainError::Input(format!(
            "{name} is not the checkpoint any more that {} started from",
            state.stage
        )));
    }
    let (_, [params, ..]) = checkpoint::load(&checkpoint, model, table)?;
    Ok(params)
}

/// Checkpoints that others started from: they stay when their stage goes on.
pub(super) fn pinned(view: &RunView) -> Result<Vec<CheckpointId>, TrainError> {
    let checkpoints = view.checkpoints();
    let there = checkpoints.list()?;
    let mut named = Vec::new();
    for stage in STAGES.iter().filter(|s| s.parent.is_some()) {
        // One that does not verify is reported when its stage is trained.
        let Some(newest) = checkpoints.newest_verified(Some(stage.name))?.found else { continue };
        let bytes = newest.read("state.json", STATE_LIMIT)?;
        if let Ok(state) = serde_json::from_slice::<State>(&bytes) {
            named.extend(state.parent);
        }
    }
    Ok(there.into_iter().filter(|id| named.contains(&id.to_string())).collect())
}
