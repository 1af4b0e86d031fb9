//! Chooses the type of a stage's activations and operands.
//!
//! A stage continues in the precision of its checkpoint. A new one takes f16, which was shown to lose nothing
//! (docs/performance.md), where it is fast (matrix units that pass their check), unless its parent stage was trained in
//! f32. Stages after sft were f32 in every run whose state.json does not name a precision, and remain so there.

use crate::{
    base::StageId,
    compute::{ComputeError, Device, Matrices, Precision},
    store::RunView,
    train::{
        config::RunConfig,
        error::TrainError,
        run::checkpoint::{self, State},
    },
};

/// Sets the device's precision for a stage; returns its name. `run` is None for a run that does not exist yet.
///
/// # Errors
/// If `precision = "f16"` is set and the adapter has no 16-bit floats.
pub(crate) fn settle(
    device: &mut Device,
    run: Option<&RunView>,
    stage: StageId,
    config: &RunConfig,
    notes: &mut Vec<String>,
) -> Result<&'static str, TrainError> {
    let own = newest(run, stage)?.as_ref().map(precision_of);
    let parent = stage.parent().map_or(Ok(None), |parent| newest(run, parent))?;
    let wide =
        |parent: &State| precision_of(parent) == Precision::F32 || !(stage.draws_text() || parent.names_precision());
    let wanted = match (config.precision, own) {
        (Precision::Auto, Some(own)) => own,
        (Precision::Auto, None) if parent.as_ref().is_some_and(wide) => Precision::F32,
        (set, _) => set,
    };
    match wanted {
        Precision::F32 => device.set_precision(Precision::F32)?,
        // Chosen for this stage before, or in run.toml.
        Precision::F16 => match device.set_precision(Precision::F16) {
            Err(ComputeError::Precision { .. }) if config.precision == Precision::Auto => {
                notes.push(format!("the checkpoint was trained in f16, which {} lacks", device.info().adapter));
                device.set_precision(Precision::F32)?;
            }
            set => set?,
        },
        Precision::Auto => {
            if device.set_precision(Precision::F16).is_err() || !matches!(device.matrices(), Matrices::Passed(_)) {
                if let Matrices::Failed(reason) = device.matrices() {
                    notes.push(format!("the adapter's matrix units failed their check and are not used: {reason}"));
                }
                device.set_precision(Precision::F32)?;
            }
        }
    }
    let now = device.traits().act.name();
    if let Some(own) = own
        && (own == Precision::F16) != (now == "f16")
    {
        let name = if own == Precision::F16 { "f16" } else { "f32" };
        notes.push(format!("the checkpoint was trained in {name}; training continues in {now}, not bit for bit"));
    }
    Ok(now)
}

fn precision_of(state: &State) -> Precision {
    if state.is_half() { Precision::F16 } else { Precision::F32 }
}

/// The state of the newest readable checkpoint of a stage.
fn newest(run: Option<&RunView>, stage: StageId) -> Result<Option<State>, TrainError> {
    let Some(run) = run else { return Ok(None) };
    let there = run.checkpoints();
    let newest = there.newest_first(Some(stage))?;
    Ok(newest.iter().find_map(|id| there.look(id).and_then(|c| checkpoint::read_state(&c)).ok()))
}
