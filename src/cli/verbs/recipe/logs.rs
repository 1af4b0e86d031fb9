//! What a run's logs hold of its stages: the one source of every figure of a report, whichever command trained them.

use serde_json::Value;

use crate::{
    base::StageId,
    store::{RunView, each_record},
    train::TrainError,
};

/// What the logs hold of one stage.
#[derive(Clone, Debug, Default)]
pub(super) struct StageLog {
    /// The stage.
    pub stage: StageId,
    /// Its events, oldest first.
    pub events: Vec<Value>,
    /// Its steps: which, and milliseconds.
    pub steps: Vec<(u64, f64)>,
    /// Whether it was trained in this sitting.
    pub now: bool,
}

/// The logs of all stages, in the order of training; `trained` are those of this sitting.
pub(super) fn read(view: &RunView, trained: &[StageId]) -> Result<Vec<StageLog>, TrainError> {
    let log = |stage| StageLog { stage, now: trained.contains(&stage), ..StageLog::default() };
    let mut logs: Vec<StageLog> = StageId::ALL.into_iter().map(log).collect();
    let disk = &**view.disk();
    each_record(disk, &view.events_path(), |record| {
        if let Some(log) = of(&mut logs, record) {
            log.events.push(record.clone());
        }
    })?;
    each_record(disk, &view.metrics_path(), |record| {
        let step = record.get("step").and_then(Value::as_u64);
        if let (Some(step), Some(log)) = (step, of(&mut logs, record)) {
            log.steps.push((step, record.get("step_ms").and_then(Value::as_f64).unwrap_or(0.0)));
        }
    })?;
    Ok(logs)
}

fn of<'a>(logs: &'a mut [StageLog], record: &Value) -> Option<&'a mut StageLog> {
    let stage = record.get("stage")?.as_str()?.parse().ok()?;
    logs.iter_mut().find(|log| log.stage == stage)
}

/// The judged answers of the run; none where no stage has written any.
pub(super) fn answers(view: &RunView) -> Result<Vec<Value>, TrainError> {
    let mut all = Vec::new();
    each_record(&**view.disk(), &view.report_dir().join("answers.jsonl"), |record| all.push(record.clone()))?;
    Ok(all)
}
