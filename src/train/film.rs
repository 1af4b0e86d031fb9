//! A run's files as the events that its trainer sent: for a screen that only reads, also while another process trains.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{
    error::TrainError,
    run::{
        lineage,
        replay::{self, Logged, Steps},
    },
    tree,
};
use crate::{
    base::StageId,
    protocol::{Command, Event, Line, Past, RunInfo, StageInfo, StepReport},
    store::{Fs, RunView, read_portion},
};

/// Bytes of a log that are read at once.
const PORTION: u64 = 1 << 16;

/// A run's logs, read from their start or from their ends on. Nothing is written.
pub struct Film {
    view: RunView,
    steps: Reel<StepReport>,
    events: Reel<Event>,
    /// The stage of the newest launch so far.
    stage: Option<StageId>,
}

/// An event, its stage, and its time in Unix seconds (none in logs of earlier versions).
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// When it happened.
    pub time: Option<f64>,
    /// The stage it is about.
    pub stage: StageId,
    /// The step it is about.
    pub step: Option<u64>,
    /// What happened.
    pub event: Event,
}

/// A line of a log and its step.
struct Read<T> {
    line: Line<T>,
    step: Option<u64>,
}

/// A log, read forwards.
struct Reel<T> {
    path: PathBuf,
    next: u64,
    ahead: VecDeque<Read<T>>,
    /// The time of the newest line that was read.
    newest: f64,
    /// Whether the log was cut since.
    cut: bool,
}

impl<T: for<'de> Deserialize<'de>> Reel<T> {
    fn new(path: PathBuf) -> Reel<T> {
        Reel { path, next: 0, ahead: VecDeque::new(), newest: f64::NEG_INFINITY, cut: false }
    }

    /// Reads on if nothing is ahead. A resume cuts the log: of the shorter one only what is newer follows.
    fn fill(&mut self, disk: &dyn Fs) -> Result<(), TrainError> {
        while self.ahead.is_empty() {
            let tail = read_portion(disk, &self.path, self.next, PORTION)?;
            let step = |record: &Value| record.get("step").and_then(Value::as_u64);
            self.cut |= tail.restarted;
            for record in &tail.records {
                let Some(line) = Line::read(record) else { continue };
                let known = self.cut && line.time.is_none_or(|time| time <= self.newest);
                self.newest = line.time.unwrap_or(self.newest).max(self.newest);
                if !known {
                    self.ahead.push_back(Read { line, step: step(record) });
                }
            }
            let stuck = tail.next == self.next;
            self.next = tail.next;
            if stuck {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Passes over everything there is.
    fn skip(&mut self, disk: &dyn Fs, mut take: impl FnMut(Line<T>)) -> Result<(), TrainError> {
        loop {
            self.fill(disk)?;
            if self.ahead.is_empty() {
                return Ok(());
            }
            self.ahead.drain(..).for_each(|read| take(read.line));
        }
    }
}

impl Film {
    /// The film of a run, from its first line.
    pub fn new(view: RunView) -> Film {
        let (steps, events) = (Reel::new(view.metrics_path()), Reel::new(view.events_path()));
        Film { view, steps, events, stage: None }
    }

    /// The run.
    pub fn view(&self) -> &RunView {
        &self.view
    }

    /// Whether the run was ever trained, which every other reading needs.
    ///
    /// # Errors
    /// If it was not, or a file cannot be read.
    pub fn check(&self) -> Result<(), TrainError> {
        let mut events: Reel<Event> = Reel::new(self.view.events_path());
        loop {
            events.fill(&**self.view.disk())?;
            if events.ahead.is_empty() {
                return Err(self.unstarted());
            }
            if events.ahead.drain(..).any(|read| matches!(read.line.record, Event::Started(_))) {
                return Ok(());
            }
        }
    }

    /// Passes over what is there; returns the newest launch up to its newest step, and everything before.
    ///
    /// # Errors
    /// If the run was never trained, or a file cannot be read.
    pub fn to_end(&mut self) -> Result<(RunInfo, Past), TrainError> {
        let disk = Arc::clone(self.view.disk());
        let mut newest = None;
        self.events.skip(&*disk, |line| {
            if let Event::Started(info) = line.record {
                newest = Some((line.stage, info));
            }
        })?;
        let (stage, info) = newest.ok_or_else(|| self.unstarted())?;
        self.stage = Some(stage);
        // What the logs hold counts, whatever checkpoints are left.
        let Logged { mut steps, end, time } = replay::steps(&self.view, |_| Some(usize::MAX))?;
        let newest = time.unwrap_or(f64::NEG_INFINITY);
        self.steps = Reel { next: end, newest, ..Reel::new(self.view.metrics_path()) };
        let done = StageId::ALL.map(|of| {
            let begun = (of == stage).then_some(info.resumed_at);
            (of, steps.get(&of).and_then(Steps::newest).or(begun))
        });
        for (stage, done) in done {
            if let (Some(steps), Some(done)) = (steps.get_mut(&stage), done) {
                steps.cut(done);
            }
        }
        let past = replay::past_with(&self.view, steps, &done, true)?;
        let stages = done.iter().map(|(stage, step)| StageInfo { stage: *stage, step: *step }).collect();
        let resumed_at = done.iter().find(|of| of.0 == stage).and_then(|of| of.1).unwrap_or(0);
        let info = RunInfo { resumed_at, stages, ..described(&self.view, stage, *info)? };
        Ok((info, past))
    }

    /// The error of a run without a launch.
    fn unstarted(&self) -> TrainError {
        TrainError::Input(format!(
            "{} was never trained: its events.jsonl names no launch; train it first, or name another run",
            self.view.dir().display()
        ))
    }

    /// The next event; None at the end of what the files hold now.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, TrainError> {
        let disk = Arc::clone(self.view.disk());
        self.steps.fill(&*disk)?;
        self.events.fill(&*disk)?;
        let step_first = match (self.steps.ahead.front(), self.events.ahead.front()) {
            (None, None) => return Ok(None),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(step), Some(event)) => self.is_before(step, event),
        };
        if step_first {
            let Some(Read { line, .. }) = self.steps.ahead.pop_front() else { return Ok(None) };
            let step = Some(line.record.step as u64);
            let event = Event::Steps(vec![line.record]);
            return Ok(Some(Frame { time: line.time, stage: line.stage, step, event }));
        }
        let Some(Read { line, step }) = self.events.ahead.pop_front() else { return Ok(None) };
        let event = match line.record {
            Event::Started(info) => {
                self.stage = Some(line.stage);
                Event::Started(Box::new(described(&self.view, line.stage, *info)?))
            }
            event => event,
        };
        Ok(Some(Frame { time: line.time, stage: line.stage, step, event }))
    }

    /// Whether a step comes before an event. Logs of earlier versions have no times: there the stage of the newest
    /// launch comes first, and of it a step before the events about it.
    fn is_before(&self, step: &Read<StepReport>, event: &Read<Event>) -> bool {
        if let (Some(step), Some(event)) = (step.line.time, event.line.time) {
            return step <= event;
        }
        if self.stage != Some(step.line.stage) {
            // Its launch comes first.
            return false;
        }
        if event.line.stage != step.line.stage {
            return true;
        }
        event.step.is_none_or(|at| step.line.record.step as u64 <= at)
    }

    /// The answer to a request that only reads; None for others.
    pub fn answer(&self, command: &Command) -> Option<Event> {
        let answer = tree::look(self.view.disk(), self.view.dir(), command)?;
        Some(answer.unwrap_or_else(|e| Event::Refused { text: e.to_string() }))
    }
}

/// Adds to a launch what its line leaves out, from run.toml and the checkpoints.
pub(super) fn described(view: &RunView, stage: StageId, info: RunInfo) -> Result<RunInfo, TrainError> {
    let config = tree::config_of(view)?;
    let (model, plan) = (config.model()?, config.plan(stage)?);
    Ok(RunInfo {
        name: view.name(),
        path: view.dir().to_owned(),
        stage,
        vocab_size: model.vocab_size,
        layers: model.num_hidden_layers,
        hidden_size: model.hidden_size,
        heads: model.num_attention_heads,
        learning_rate: plan.schedule.peak,
        chat: stage.chat(),
        stages: lineage::stages(view)?,
        manner: config.manner(),
        read_only: true,
        ..info
    })
}
