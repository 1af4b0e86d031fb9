//! Sends events to the run's logs, and to the screen or stdout.

use std::collections::VecDeque;

use serde_json::Value;

use crate::{
    base::StageId,
    protocol::{Event, Line, StepReport, unix_time},
    store::{Log, StoreError},
    train::error::TrainError,
};

/// What receives a trainer's events.
pub trait Emit {
    /// Accepts an event and its time, in Unix seconds, without blocking.
    fn emit_at(&mut self, time: f64, event: Event);

    /// Accepts an event of the current time.
    fn emit(&mut self, event: Event) {
        self.emit_at(unix_time(), event);
    }

    /// Retries events that did not fit in a full channel. A paused stage, which may emit nothing for a while, calls it
    /// continually.
    fn pump(&mut self) {}
}

impl<F: FnMut(Event)> Emit for F {
    fn emit_at(&mut self, _time: f64, event: Event) {
        self(event);
    }
}

/// A log that survives disk errors: unwritten lines are kept in memory, in order.
struct Journal {
    log: Log,
    waiting: VecDeque<Value>,
}

impl Journal {
    fn new(log: Log) -> Journal {
        Journal { log, waiting: VecDeque::new() }
    }

    /// Adds a line. After an error it and later lines are kept for the next call.
    fn append(&mut self, line: Value) -> Result<(), StoreError> {
        self.waiting.push_back(line);
        self.flush()
    }

    /// Writes the kept lines.
    fn flush(&mut self) -> Result<(), StoreError> {
        while let Some(line) = self.waiting.front() {
            let written = self.log.append(line);
            // A line that is too long for the log would block all others forever.
            if matches!(written, Ok(()) | Err(StoreError::Input { .. })) {
                self.waiting.pop_front();
            }
            written?;
        }
        Ok(())
    }

    /// The same, and syncs.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.log.sync().map(drop)
    }

    /// The log itself, after kept lines were written.
    fn log(&mut self) -> Result<&mut Log, StoreError> {
        self.flush()?;
        Ok(&mut self.log)
    }
}

/// Both logs of a stage and the receiver of its events.
pub(super) struct Outbox<'a> {
    stage: StageId,
    metrics: Journal,
    events: Journal,
    to: &'a mut dyn Emit,
    /// The first error of a log since the last check.
    failed: Option<TrainError>,
}

impl<'a> Outbox<'a> {
    pub(super) fn new(stage: StageId, [metrics, events]: [Log; 2], to: &'a mut dyn Emit) -> Outbox<'a> {
        Outbox { stage, metrics: Journal::new(metrics), events: Journal::new(events), to, failed: None }
    }

    /// Logs and emits an event.
    pub(super) fn emit(&mut self, event: Event) {
        let time = unix_time();
        if let Some(line) = Line::at(time, self.stage, &event).json() {
            let written = self.events.append(line);
            self.note(written);
        }
        self.to.emit_at(time, event);
    }

    /// Logs and emits a step. If the line cannot be written, it is kept in memory.
    pub(super) fn step(&mut self, report: StepReport) {
        let time = unix_time();
        if let Some(line) = Line::at(time, self.stage, &report).json() {
            let written = self.metrics.append(line);
            self.note(written);
        }
        self.to.emit_at(time, Event::Steps(vec![report]));
    }

    /// Emits an event that is not logged.
    pub(super) fn show(&mut self, event: Event) {
        self.to.emit(event);
    }

    /// See [`Emit::pump`].
    pub(super) fn pump(&mut self) {
        self.to.pump();
    }

    fn note(&mut self, written: Result<(), StoreError>) {
        if let Err(e) = written {
            self.failed.get_or_insert(e.into());
        }
    }

    /// The error of a log that could not be written; cleared by the call.
    pub(super) fn failure(&mut self) -> Option<TrainError> {
        self.failed.take()
    }

    /// Writes the kept lines.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.metrics.flush().and_then(|()| self.events.flush())
    }

    /// The same, and syncs.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.metrics.sync().and_then(|()| self.events.sync())
    }

    /// The log of steps, after kept lines were written.
    pub(super) fn metrics(&mut self) -> Result<&mut Log, StoreError> {
        self.metrics.log()
    }

    /// The receiver, for the next stage.
    pub(super) fn into_receiver(self) -> &'a mut dyn Emit {
        self.to
    }
}
