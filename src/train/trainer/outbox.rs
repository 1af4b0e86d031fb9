//! Events on their way out: to the run's logs, and to the screen or stdout.

use std::collections::VecDeque;

use serde_json::Value;

use crate::{
    base::StageId,
    protocol::{Event, Line, StepReport},
    store::{Log, StoreError},
    train::error::TrainError,
};

/// What receives a trainer's events.
pub trait Emit {
    /// Takes an event. It must not wait.
    fn emit(&mut self, event: Event);

    /// Offers the events again that a full channel has held back. A paused stage, which may emit nothing for a while,
    /// calls it all the time.
    fn pump(&mut self) {}
}

impl<F: FnMut(Event)> Emit for F {
    fn emit(&mut self, event: Event) {
        self(event);
    }
}

/// A log that outlives an error of the disk: lines that could not be written wait in memory, in order.
struct Journal {
    log: Log,
    waiting: VecDeque<Value>,
}

impl Journal {
    fn new(log: Log) -> Journal {
        Journal { log, waiting: VecDeque::new() }
    }

    /// Adds a line. After an error it waits, with those after it, for the next call.
    fn append(&mut self, line: Value) -> Result<(), StoreError> {
        self.waiting.push_back(line);
        self.flush()
    }

    /// Writes the lines that wait.
    fn flush(&mut self) -> Result<(), StoreError> {
        while let Some(line) = self.waiting.front() {
            let written = self.log.append(line);
            // One that no log takes, for it is too long, would keep all others waiting for good.
            if matches!(written, Ok(()) | Err(StoreError::Input { .. })) {
                self.waiting.pop_front();
            }
            written?;
        }
        Ok(())
    }

    /// The same, to the disk.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.log.sync().map(drop)
    }

    /// The log itself, nothing waiting before what is written there.
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
    /// The first error of a log since it was last asked for.
    failed: Option<TrainError>,
}

impl<'a> Outbox<'a> {
    pub(super) fn new(stage: StageId, [metrics, events]: [Log; 2], to: &'a mut dyn Emit) -> Outbox<'a> {
        Outbox { stage, metrics: Journal::new(metrics), events: Journal::new(events), to, failed: None }
    }

    /// Logs an event and emits it.
    pub(super) fn emit(&mut self, event: Event) {
        if let Some(line) = Line::now(self.stage, &event).json() {
            let written = self.events.append(line);
            self.note(written);
        }
        self.to.emit(event);
    }

    /// Logs a step and emits it. It is made, whatever becomes of its line: that waits in memory.
    pub(super) fn step(&mut self, report: StepReport) {
        if let Some(line) = Line::now(self.stage, &report).json() {
            let written = self.metrics.append(line);
            self.note(written);
        }
        self.to.emit(Event::Steps(vec![report]));
    }

    /// Emits an event that is no part of the run's history.
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

    /// Why a log could not be written, asked for once.
    pub(super) fn failure(&mut self) -> Option<TrainError> {
        self.failed.take()
    }

    /// Writes the lines that wait.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.metrics.flush().and_then(|()| self.events.flush())
    }

    /// The same, to the disk.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.metrics.sync().and_then(|()| self.events.sync())
    }

    /// The log of steps, with nothing waiting before it.
    pub(super) fn metrics(&mut self) -> Result<&mut Log, StoreError> {
        self.metrics.log()
    }

    /// The receiver, for the stage that is opened next.
    pub(super) fn into_receiver(self) -> &'a mut dyn Emit {
        self.to
    }
}
