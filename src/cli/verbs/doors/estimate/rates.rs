//! How fast the adapters of this computer train: from the logs of runs, or measured when asked.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::super::bench;
use crate::{
    base::StageId,
    cli::{Common, Failure},
    nn::{ModelConfig, ParamTable, estimate, preset},
    protocol::{Event, Line, RunInfo, StepReport},
    store::{Fs, RUNS, RealFs, RunView, read_portion},
    train::config::RunConfig,
};

/// Newest runs that are read, and bytes of each of their logs, so that an estimate takes a moment.
const RUNS_READ: usize = 8;
const BYTES: u64 = 256 << 10;
/// Steps without which a log says nothing about a rate.
const FEWEST: usize = 8;
/// Operations a second that no computer reaches.
const MOST: f64 = 1e24;
/// Timed steps of a measurement.
const STEPS: usize = 10;
/// Largest model that is measured itself.
const LARGEST: usize = 200_000_000;

/// The measured rate of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Rate {
    /// The adapter.
    pub adapter: String,
    /// `cpu` or `wgpu`.
    pub engine: String,
    /// The precision it was measured in; empty where the log does not say.
    pub precision: String,
    /// Operations of training a second.
    pub flops_per_second: f64,
    /// Tokens a second of the model that was measured.
    pub tokens_per_second: f64,
    /// What was measured: a run, or a size now.
    pub source: String,
}

/// The rates that the newest runs logged, the fastest of each adapter and precision, fastest first; the named run's
/// before all others. Runs whose logs cannot be read say nothing here.
pub(super) fn recorded(named: Option<&Path>) -> Vec<Rate> {
    let own = named.and_then(of_run);
    let mut all: Vec<Rate> = Vec::new();
    for rate in newest().iter().filter_map(|run| of_run(run)) {
        match all.iter_mut().find(|known| known.adapter == rate.adapter && known.precision == rate.precision) {
            Some(known) if known.flops_per_second >= rate.flops_per_second => {}
            Some(known) => *known = rate,
            None => all.push(rate),
        }
    }
    all.sort_by(|a, b| b.flops_per_second.total_cmp(&a.flops_per_second));
    all.retain(|rate| own.as_ref().is_none_or(|own| own.adapter != rate.adapter || own.precision != rate.precision));
    own.into_iter().chain(all).collect()
}

/// The newest runs in ./runs.
fn newest() -> Vec<PathBuf> {
    let Ok(entries) = RealFs.list(Path::new(RUNS)) else { return Vec::new() };
    let mut runs: Vec<_> = entries
        .iter()
        .filter_map(|entry| {
            let dir = Path::new(RUNS).join(&entry.name);
            let written = std::fs::metadata(dir.join("metrics.jsonl")).ok()?.modified().ok()?;
            Some((written, dir))
        })
        .collect();
    runs.sort();
    runs.into_iter().rev().take(RUNS_READ).map(|(_, dir)| dir).collect()
}

/// The rate of a run's pretraining: the median of its logged tokens a second, in operations.
fn of_run(run: &Path) -> Option<Rate> {
    let view = RunView::open(RealFs::shared(), run).ok()?;
    let config = RunConfig::parse(&view.config().ok()?, &[], StageId::Pretrain).ok()?;
    let model = config.model().ok()?;
    let records = |path: &Path| read_portion(&RealFs, path, 0, BYTES).map(|tail| tail.records);
    let events = records(&view.events_path()).ok()?;
    let info: Box<RunInfo> = events.iter().find_map(|record| match Line::<Event>::read(record)? {
        Line { stage: StageId::Pretrain, record: Event::Started(info), .. } => Some(info),
        _ => None,
    })?;
    let metrics = records(&view.metrics_path()).ok()?;
    let mut speeds: Vec<f64> = metrics
        .iter()
        .filter_map(Line::<StepReport>::read)
        .filter(|line| line.stage == StageId::Pretrain)
        .map(|line| line.record.tokens_per_second)
        .filter(|speed| speed.is_finite() && *speed > 0.0)
        .collect();
    if speeds.len() < FEWEST {
        return None;
    }
    speeds.sort_by(f64::total_cmp);
    let speed = speeds[speeds.len() / 2];
    let flops_per_second = speed * estimate(&model, 1, info.context, 0).flops_per_token as f64;
    // A log may hold any number.
    (1.0..MOST).contains(&flops_per_second).then(|| Rate {
        adapter: info.adapter,
        engine: info.engine,
        precision: info.precision,
        flops_per_second,
        tokens_per_second: speed,
        source: view.name(),
    })
}

/// Trains the model, or a small one where danlu cannot train it, on random tokens for some steps.
pub(super) fn measured(common: &Common, model: Option<&ModelConfig>) -> Result<Rate, Failure> {
    let mut device = common.device()?;
    let on_cpu = device.traits().cpu;
    let own = model.filter(|config| config.validate().is_ok() && ParamTable::new(config).parameters() <= LARGEST);
    let (config, name) = match own {
        Some(config) => (config.clone(), "the model"),
        None if on_cpu => (preset("1m")?.config(), "1m"),
        None => (preset("124m")?.config(), "124m"),
    };
    let context = config.max_position_embeddings.min(if on_cpu { 128 } else { 1024 });
    let rows = if on_cpu { 8 } else { (8192 / context).max(1) };
    let (_, ms) = bench::measured(&mut device, &config, [rows, context], STEPS, common.seed.unwrap_or(0))?;
    let speed = (rows * context) as f64 / ms * 1e3;
    let info = device.info();
    Ok(Rate {
        adapter: info.adapter.clone(),
        engine: info.engine.to_owned(),
        precision: device.traits().act.name().to_owned(),
        flops_per_second: speed * estimate(&config, rows, context, 0).flops_per_token as f64,
        tokens_per_second: speed,
        source: format!("measured now: {name}, {rows} × {context} tokens, {STEPS} steps"),
    })
}
