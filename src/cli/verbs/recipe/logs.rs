//! Reads what a run's logs record about its stages: the only source of the report's figures.

use crate::{
    base::StageId,
    protocol::{Event, JudgedAnswer, Line, RunInfo, StepReport},
    store::{RunView, each_record},
    train::TrainError,
};

/// The logs of one stage.
#[derive(Clone, Debug, Default)]
pub(super) struct StageLog {
    /// The stage.
    pub stage: StageId,
    /// Its events, oldest first.
    pub events: Vec<Event>,
    /// Its steps: number and milliseconds.
    pub steps: Vec<(usize, f64)>,
    /// Whether it was trained in this launch.
    pub now: bool,
}

impl StageLog {
    /// The `started` events, oldest first.
    pub(super) fn starts(&self) -> impl DoubleEndedIterator<Item = &RunInfo> {
        self.events.iter().filter_map(|e| match e {
            Event::Started(info) => Some(&**info),
            _ => None,
        })
    }
}

/// The logs of all stages, in the order of training; `trained` are the stages of this launch.
pub(super) fn read(view: &RunView, trained: &[StageId]) -> Result<Vec<StageLog>, TrainError> {
    let log = |stage| StageLog { stage, now: trained.contains(&stage), ..StageLog::default() };
    let mut logs: Vec<StageLog> = StageId::ALL.into_iter().map(log).collect();
    let disk = &**view.disk();
    each_record(disk, &view.events_path(), |record| {
        let Some(line) = Line::<Event>::read(record) else { return };
        if let Some(log) = logs.iter_mut().find(|log| log.stage == line.stage) {
            log.events.push(line.record);
        }
    })?;
    each_record(disk, &view.metrics_path(), |record| {
        let Some(line) = Line::<StepReport>::read(record) else { return };
        if let Some(log) = logs.iter_mut().find(|log| log.stage == line.stage) {
            log.steps.push((line.record.step, line.record.step_ms));
        }
    })?;
    Ok(logs)
}

/// The judged answers of the run; empty if no stage wrote any.
pub(super) fn answers(view: &RunView) -> Result<Vec<JudgedAnswer>, TrainError> {
    let mut all = Vec::new();
    let path = view.report_dir().join("answers.jsonl");
    each_record(&**view.disk(), &path, |record| all.extend(serde_json::from_value(record.clone())))?;
    Ok(all)
}
