//! The lineage of stages: which checkpoint a stage starts from, and the newest one of each stage.

use std::path::Path;

use super::{
    best::Figures,
    checkpoint::{self, State},
    model_folder,
};
use crate::{
    base::{StageId, shell},
    nn::{Head, ModelConfig, ParamTable},
    protocol::{ForkPoint, StageInfo},
    store::{Checkpoint, CheckpointId, RunView},
    train::{
        config::{RunConfig, Start},
        error::TrainError,
    },
};

/// Limit on the length of state.json.
const STATE_LIMIT: u64 = 16 << 20;

/// All stages with the step of their newest checkpoint.
pub(crate) fn stages(view: &RunView) -> Result<Vec<StageInfo>, TrainError> {
    let there = view.checkpoints().list()?;
    let step = |s: StageId| there.iter().filter(|id| id.stage == s).map(|id| id.step as usize).max();
    Ok(StageId::ALL.into_iter().map(|stage| StageInfo { stage, step: step(stage) }).collect())
}

/// The remaining work of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It must be trained.
    Due,
    /// It is complete, after this many steps.
    Complete(usize),
    /// It is at this step and another stage started from it: further training would not be used.
    Passed(usize),
    /// It was never trained, and the next stage started without it.
    LeftOut,
}

/// The remaining work of a stage of a run.
pub fn standing(view: &RunView, config: &RunConfig, stage: StageId) -> Result<Standing, TrainError> {
    let checkpoints = view.checkpoints();
    let there = checkpoints.list()?;
    let has = |s: StageId| there.iter().any(|id| id.stage == s);
    let follows = |s: &StageId| s.parent() == Some(stage) || s.needs() == Some(stage);
    let passed = StageId::ALL.into_iter().filter(follows).any(has);
    // A checkpoint that does not verify does not count: the stage continues from an older one, or reports it when
    // opened.
    let step = checkpoints.newest_verified(Some(stage))?.found.map(|c| c.id.step as usize);
    let early = |step: usize| -> Result<bool, TrainError> {
        Ok(Figures::read(view, stage, step as u64)?.ended_early() == Some(step as u64))
    };
    Ok(match step {
        Some(step) if step >= config.plan(stage)?.steps || early(step)? => Standing::Complete(step),
        Some(step) if passed => Standing::Passed(step),
        None if passed && !has(stage) => Standing::LeftOut,
        _ => Standing::Due,
    })
}

/// Why a stage cannot be trained yet, and what to train first; `from`: whether its weights come from outside the run.
pub(crate) fn missing(view: &RunView, stage: StageId, from: bool) -> Result<Option<String>, TrainError> {
    let Some(parent) = stage.parent() else { return Ok(None) };
    let there = view.checkpoints().list()?;
    let trained = |s: StageId| there.iter().any(|id| id.stage == s);
    let words = |what: &str, missing: StageId| {
        let dir = shell::path(view.dir());
        format!(
            "{stage} {what} {missing}, and this run has none; train it first: danlu train --stage {missing} --run {dir}"
        )
    };
    if !from && !trained(parent) && !trained(stage) {
        return Ok(Some(words("starts from a checkpoint of", parent)));
    }
    Ok(stage.needs().filter(|s| !trained(*s)).map(|s| words("needs a checkpoint of", s)))
}

/// The checkpoint of a stage's parent that `start` names, and its weights; one that does not verify gives way to the
/// next.
pub(crate) fn parent(
    view: &RunView,
    (stage, start): (StageId, Start),
    model: &ModelConfig,
    table: &ParamTable,
    notes: &mut Vec<String>,
) -> Result<Option<(Checkpoint, Vec<f32>)>, TrainError> {
    let Some(from) = stage.parent() else { return Ok(None) };
    let candidates = candidates(view, (stage, from), start, notes)?;
    let found = view.checkpoints().first_that(candidates, |c| {
        let (_, [params, ..]) = checkpoint::load(&c, model, table)?;
        Ok((c, params))
    })?;
    notes.extend(found.notes());
    match (found.found, found.skipped.first()) {
        (Some(found), _) => Ok(Some(found)),
        (None, Some(named)) if matches!(start, Start::Step(_)) => Err(TrainError::Input(format!(
            "{stage}.start is {start}, and {} cannot be read ({}); choose another step, or best or latest",
            named.id, named.error
        ))),
        (None, Some(first)) => Err(TrainError::Input(format!(
            "{stage} starts from a checkpoint of {from}, and this run has no valid one (newest, {}: {})",
            first.id, first.error
        ))),
        (None, None) => Err(TrainError::Input(missing(view, stage, false)?.unwrap_or_default())),
    }
}

/// The checkpoints that a stage may begin from, the one that `start` names first.
fn candidates(
    view: &RunView,
    (stage, from): (StageId, StageId),
    start: Start,
    notes: &mut Vec<String>,
) -> Result<Vec<CheckpointId>, TrainError> {
    let newest = view.checkpoints().newest_first(Some(from))?;
    match start {
        Start::Latest => Ok(newest),
        Start::Best => {
            let figures = Figures::read(view, from, u64::MAX)?;
            let mut ranked: Vec<CheckpointId> = figures.ranked(&newest).into_iter().cloned().collect();
            if ranked.is_empty() && !newest.is_empty() {
                notes.push(format!(
                    "no checkpoint of {from} was saved at a step with an evaluation, so none is the best; {stage} begins from the newest"
                ));
                return Ok(newest);
            }
            // Where none of these can be read, a stage begins from the newest that can.
            let others: Vec<CheckpointId> = newest.into_iter().filter(|id| !ranked.contains(id)).collect();
            ranked.extend(others);
            Ok(ranked)
        }
        Start::Step(step) => {
            let of: Vec<CheckpointId> = newest.iter().filter(|id| id.step == step).cloned().collect();
            if of.is_empty() && !newest.is_empty() {
                let steps: Vec<String> = newest.iter().rev().map(|id| id.step.to_string()).collect();
                return Err(TrainError::Input(format!(
                    "{stage}.start is {step}, and {from} has no checkpoint of that step; it has {}",
                    steps.join(", ")
                )));
            }
            Ok(of)
        }
    }
}

/// The origin that state.json records for --from: a checkpoint of this run by name and digest, anything else by its
/// absolute path.
pub(crate) fn origin(view: &RunView, from: &Path) -> Result<(String, Option<String>), TrainError> {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (checkpoints, from) = (view.checkpoints(), whole(from));
    for id in checkpoints.list()? {
        if whole(&checkpoints.path(&id)) == from {
            return Ok((id.to_string(), Some(checkpoints.verify(&id)?.digest)));
        }
    }
    Ok((from.display().to_string(), None))
}

/// Where the run was forked from: what the newest of its checkpoints says that can be read.
pub(crate) fn fork_point(view: &RunView) -> Result<Option<ForkPoint>, TrainError> {
    let checkpoints = view.checkpoints();
    for id in checkpoints.newest_first(None)? {
        if let Ok(state) = checkpoints.look(&id).and_then(|c| checkpoint::read_state(&c)) {
            return Ok(state.fork);
        }
    }
    Ok(None)
}

/// The weights of the checkpoint that a stage started from, unless it was removed or changed since, and its step; None
/// for a folder outside the run.
pub(crate) fn started_from(
    view: &RunView,
    state: &State,
    model: &ModelConfig,
    table: &ParamTable,
) -> Result<(Vec<f32>, Option<usize>), TrainError> {
    let Some(name) = &state.parent else {
        return Err(TrainError::Input(format!("{} started from random weights; there is no base", state.stage)));
    };
    let Some(id) = view.checkpoints().named(name)? else {
        // Started from a folder outside the run.
        let weights = weights_of(Path::new(name), model, table)?;
        if state.parent_digest.as_ref().is_some_and(|digest| *digest != digest_of(&weights)) {
            return Err(TrainError::Input(format!(
                "the weights in {name} have changed since {} started from them; restore them, or start a new run",
                state.stage
            )));
        }
        return Ok((weights, None));
    };
    let checkpoint = view.checkpoints().verify(&id)?;
    if state.parent_digest.as_ref().is_some_and(|d| *d != checkpoint.digest) {
        return Err(TrainError::Input(format!("{name} is no longer the checkpoint that {} started from", state.stage)));
    }
    let (_, [params, ..]) = checkpoint::load(&checkpoint, model, table)?;
    Ok((params, Some(id.step as usize)))
}

/// The hash of weights from outside a run, by which a stage that needs them again recognises them.
pub(crate) fn digest_of(weights: &[f32]) -> String {
    blake3::hash(bytemuck::cast_slice(weights)).to_hex().to_string()
}

/// The weights of the run's pretrained model, from which all other stages descend, and its step.
pub(crate) fn base(
    view: &RunView,
    state: &State,
    model: &ModelConfig,
    table: &ParamTable,
) -> Result<(Vec<f32>, Option<usize>), TrainError> {
    let (checkpoints, mut state) = (view.checkpoints(), state.clone());
    while let Some(name) = &state.parent
        && let Some(id) = checkpoints.named(name)?
    {
        if StageId::ALL.into_iter().any(|s| id.stage == s && s.parent().is_none()) {
            break;
        }
        let bytes = checkpoints.verify(&id)?.read("state.json", STATE_LIMIT)?;
        state = serde_json::from_slice(&bytes)
            .map_err(|e| TrainError::Input(format!("{id}: state.json: {e}; its base cannot be found")))?;
    }
    started_from(view, &state, model, table)
}

/// Checkpoints that a running stage depends on: its parent and its reward model.
pub(crate) fn needed(view: &RunView, state: &State) -> Result<Vec<CheckpointId>, TrainError> {
    let mut all = pinned(view)?;
    let named = [state.parent.as_ref(), state.reward_model.as_ref().map(|(name, _)| name)];
    all.extend(named.into_iter().flatten().filter_map(|name| CheckpointId::parse(name)));
    Ok(all)
}

/// Checkpoints that others started from, which are kept when their stage continues.
pub(crate) fn pinned(view: &RunView) -> Result<Vec<CheckpointId>, TrainError> {
    let checkpoints = view.checkpoints();
    let there = checkpoints.list()?;
    let mut named = Vec::new();
    for stage in StageId::ALL.into_iter().filter(|s| s.parent().is_some()) {
        // One that does not verify is reported when its stage is trained.
        let Some(newest) = checkpoints.newest_verified(Some(stage))?.found else { continue };
        let bytes = newest.read("state.json", STATE_LIMIT)?;
        if let Ok(state) = serde_json::from_slice::<State>(&bytes) {
            named.extend(state.parent);
            named.extend(state.reward_model.map(|(name, _)| name));
        }
    }
    Ok(there.into_iter().filter(|id| named.contains(&id.to_string())).collect())
}

/// The weights of another checkpoint or model, if the architecture is the same. A vocabulary that was extended (by chat
/// tokens, padding) gets new rows, each the mean of the old ones: a random row in a table of another scale would be
/// among the likeliest next tokens, or never be one. The others are unchanged.
pub(crate) fn weights_of(from: &Path, model: &ModelConfig, table: &ParamTable) -> Result<Vec<f32>, TrainError> {
    weights_as(from, Head::Language, model, table)
}

/// The same for a model with the output `head`.
pub(crate) fn weights_as(
    from: &Path,
    head: Head,
    model: &ModelConfig,
    table: &ParamTable,
) -> Result<Vec<f32>, TrainError> {
    let (theirs, their_table, their_slab) = model_folder::load_as(from, head)?;
    let mut same = theirs.clone();
    // Fields that training may change, or that the tokenizer determines, are not part of the shape.
    (same.dropout, same.initializer_range) = (model.dropout, model.initializer_range);
    (same.bos_token_id, same.eos_token_id, same.pad_token_id) =
        (model.bos_token_id, model.eos_token_id, model.pad_token_id);
    same.max_position_embeddings = model.max_position_embeddings;
    if model.vocab_size > theirs.vocab_size {
        same.vocab_size = model.vocab_size;
    }
    if same != *model {
        return Err(TrainError::Input(format!(
            "{}: its config.json differs from the model that run.toml describes; set size and [model] to {}",
            from.display(),
            theirs.to_json()
        )));
    }
    let mut slab = vec![0.0; table.slab_len];
    for (ours, t) in table.tensors.iter().zip(&their_table.tensors) {
        // Both tables list the same tensors in the same order; of an extended vocabulary the first rows are the old
        // ones.
        let (old, new) = slab[ours.offset..ours.offset + ours.len()].split_at_mut(t.len());
        old.copy_from_slice(their_table.slice(&their_slab, t));
        if !new.is_empty()
            && let [rows, width] = t.shape[..]
        {
            let mut mean = vec![0.0; width];
            for row in old.chunks_exact(width) {
                mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            for row in new.chunks_exact_mut(width) {
                row.iter_mut().zip(&mean).for_each(|(x, sum)| *x = (sum / rows as f64) as f32);
            }
        }
    }
    Ok(slab)
}
