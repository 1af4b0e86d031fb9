//! Replays earlier launches of a stage from the run's logs, for the curves on the screen.

use std::path::Path;

use serde_json::Value;

use crate::{
    base::StageId,
    protocol::{Event, Line, StepReport},
    store::{RunView, StoreError, each_record},
};

/// Most steps that are sent; of more, every n-th.
const MOST: usize = 8192;

/// The steps, validations, scores and probes of a stage up to step `done`, in log order.
pub(crate) fn events(view: &RunView, stage: StageId, done: usize) -> Result<Vec<Event>, StoreError> {
    let mut steps: Vec<StepReport> = Vec::new();
    each(view, &view.metrics_path(), stage, done, |line| steps.extend(Line::read(line).map(|line| line.record)))?;
    let every = steps.len().div_ceil(MOST).max(1);
    let last = steps.len().saturating_sub(1);
    let steps: Vec<StepReport> =
        steps.into_iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last).map(|(_, s)| s).collect();
    let mut all = if steps.is_empty() { Vec::new() } else { vec![Event::Steps(steps)] };
    let measured = |event: &Event| {
        matches!(event, Event::Eval { .. } | Event::Task(_) | Event::Probe { .. } | Event::Reward(_) | Event::Policy(_))
    };
    each(view, &view.events_path(), stage, done, |line| {
        all.extend(Line::read(line).map(|line| line.record).filter(measured));
    })?;
    Ok(all)
}

/// Calls `take` with every line of a log of this stage up to `done`.
fn each(
    view: &RunView,
    path: &Path,
    stage: StageId,
    done: usize,
    mut take: impl FnMut(&Value),
) -> Result<(), StoreError> {
    let ours = |line: &Value| {
        line.get("stage").and_then(Value::as_str) == Some(stage.name())
            && line.get("step").and_then(Value::as_u64).is_some_and(|step| step as usize <= done)
    };
    each_record(&**view.disk(), path, |line| {
        if ours(line) {
            take(line);
        }
    })
}
