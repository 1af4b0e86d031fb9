//! The checkpoint of a run that a verb takes.

use std::path::{Path, PathBuf};

use crate::{
    base::{StageId, shell},
    cli::{Failure, output},
    store::{CheckpointId, RUNS, RealFs, RunView, newest_run},
    train::{TrainError, checkpoint},
};

/// The folder of a run's checkpoint: of a stage, else of the furthest that speaks; at a step, else the newest that
/// verifies. Without a run the newest in ./runs.
pub(in crate::cli::verbs) fn folder(
    run: Option<&Path>,
    stage: Option<StageId>,
    step: Option<u64>,
) -> Result<PathBuf, Failure> {
    let run = match run {
        Some(run) => run.to_owned(),
        None => newest_run(&RealFs, Path::new(RUNS))
            .map_err(TrainError::from)?
            .ok_or_else(|| Failure::usage("no run in ./runs; name one with --run, or a model's folder with --model"))?,
    };
    let view = RunView::open(RealFs::shared(), &run).map_err(TrainError::from)?;
    let checkpoints = view.checkpoints();
    if let (Some(stage), Some(step)) = (stage, step) {
        let all = checkpoints.list().map_err(TrainError::from)?;
        let wanted = CheckpointId::new(stage, step);
        let same = |id: &&CheckpointId| id.stage == wanted.stage && id.step == step;
        let Some(id) = all.iter().rfind(same) else {
            let steps: Vec<String> =
                all.iter().filter(|id| id.stage == wanted.stage).map(|id| id.step.to_string()).collect();
            let there = if steps.is_empty() { "none".to_owned() } else { steps.join(", ") };
            return Err(Failure::usage(format!(
                "{} has no checkpoint of {stage} at step {step}; there are: {there}",
                run.display()
            )));
        };
        let found = checkpoints.verify(id).map_err(TrainError::from)?;
        checkpoint::opens(&found).map_err(TrainError::from)?;
        return Ok(found.path);
    }
    let stages: Vec<StageId> = match stage {
        Some(stage) => vec![stage],
        None => StageId::ALL.into_iter().rev().filter(|s| s.speaks()).collect(),
    };
    for stage in stages {
        let opens = |c| checkpoint::opens(&c).map(|()| c);
        let found = checkpoints.newest_that(Some(stage), opens).map_err(TrainError::from)?;
        for note in found.notes() {
            output::note(&note);
        }
        if let Some(checkpoint) = found.found {
            return Ok(checkpoint.path);
        }
    }
    let stage = stage.unwrap_or_default();
    Err(Failure::usage(format!(
        "{} has no checkpoint of {stage}; train it first: danlu train --stage {stage} --run {}",
        run.display(),
        shell::path(&run)
    )))
}
