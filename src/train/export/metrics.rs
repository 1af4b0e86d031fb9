//! A run's logs as CSV files and as event files of TensorBoard, a file for each stage, since steps count from 1 in each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::tfevents;
use crate::{
    base::{StageId, shell},
    store::{NewFile, RunView, each_record},
    train::error::TrainError,
};

/// The form of exported metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsForm {
    /// `<stage>.csv` and `<stage>-eval.csv`.
    Csv,
    /// A folder with an event file for each stage.
    TensorBoard,
}

/// Columns that come first.
const FIRST: [&str; 3] = ["step", "time", "source"];

/// The records of one stage.
#[derive(Default)]
struct Stage {
    steps: Vec<Map<String, Value>>,
    evals: Vec<Map<String, Value>>,
}

/// The logs of a run as files.
///
/// # Errors
///
/// Logs that cannot be read, or that hold no step.
pub fn metrics(view: &RunView, form: MetricsForm) -> Result<Vec<NewFile<'static>>, TrainError> {
    let mut stages: BTreeMap<StageId, Stage> = BTreeMap::new();
    let mut add = |record: &Value, eval: bool| {
        let Some(fields) = record.as_object() else { return };
        let Some(stage) = fields.get("stage").and_then(Value::as_str).and_then(|name| name.parse().ok()) else {
            return;
        };
        let mut fields = fields.clone();
        for key in ["stage", "event"] {
            fields.remove(key);
        }
        let stage = stages.entry(stage).or_default();
        if eval { stage.evals.push(fields) } else { stage.steps.push(fields) }
    };
    let disk = &**view.disk();
    each_record(disk, &view.metrics_path(), |record| add(record, false))?;
    each_record(disk, &view.events_path(), |record| {
        if record["event"] == "eval" {
            add(record, true);
        }
    })?;
    if stages.values().all(|stage| stage.steps.is_empty()) {
        let (path, word) = (view.dir().display(), shell::path(view.dir()));
        return Err(TrainError::Input(format!(
            "{path}: no step is logged yet; train it first: danlu train --run {word}"
        )));
    }
    let mut files = Vec::new();
    for (id, stage) in &stages {
        match form {
            MetricsForm::Csv => {
                files.push(NewFile::bytes(&format!("{id}.csv"), csv(&stage.steps)));
                if !stage.evals.is_empty() {
                    files.push(NewFile::bytes(&format!("{id}-eval.csv"), csv(&stage.evals)));
                }
            }
            MetricsForm::TensorBoard => files.push(event_file(*id, stage)),
        }
    }
    Ok(files)
}

/// Rows under the union of all columns; a value that a row lacks is empty.
fn csv(rows: &[Map<String, Value>]) -> String {
    let all: BTreeSet<&str> = rows.iter().flat_map(Map::keys).map(String::as_str).collect();
    let rest = all.iter().copied().filter(|name| !FIRST.contains(name));
    let columns: Vec<&str> = FIRST.iter().copied().filter(|name| all.contains(name)).chain(rest).collect();
    let mut text = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",");
    text.push_str("\r\n");
    for row in rows {
        let cell = |name: &&str| match row.get(*name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(value)) => quoted(value),
            Some(value) => quoted(&value.to_string()),
        };
        text.push_str(&columns.iter().map(cell).collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    text
}

/// A cell as in RFC 4180.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

fn event_file(id: StageId, stage: &Stage) -> NewFile<'static> {
    let number = |row: &Map<String, Value>, key: &str| row.get(key).and_then(Value::as_f64);
    // Logs of earlier versions have no time; TensorBoard then shows steps only.
    let time = |row: &Map<String, Value>| number(row, "time").unwrap_or(0.0);
    let step = |row: &Map<String, Value>| row.get("step").and_then(Value::as_u64).unwrap_or(0);
    let first = stage.steps.first().map_or(0.0, time);
    let mut bytes = tfevents::begin(first);
    for row in &stage.steps {
        let values = row.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
        let values: Vec<(String, f64)> =
            values.filter_map(|(key, value)| Some((format!("train/{key}"), value.as_f64()?))).collect();
        tfevents::append(&mut bytes, time(row), step(row), &values);
    }
    for row in &stage.evals {
        let source = row.get("source").and_then(Value::as_str).unwrap_or("all");
        let tag = |key: &str| {
            let key = key.strip_prefix("eval_").unwrap_or(key);
            if source == "all" { format!("eval/{key}") } else { format!("eval/{source}_{key}") }
        };
        let values = row.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
        let values: Vec<(String, f64)> = values.filter_map(|(key, value)| Some((tag(key), value.as_f64()?))).collect();
        tfevents::append(&mut bytes, time(row), step(row), &values);
    }
    NewFile::bytes(&format!("{id}/events.out.tfevents.{:010}.danlu", first as u64), bytes)
}
