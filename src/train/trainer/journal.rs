//! A log that outlives an error of the disk: lines that could not be written wait in memory, in order.

use std::collections::VecDeque;

use serde_json::Value;

use crate::store::{Log, StoreError};

/// A log, and the lines that are not in it yet.
pub(super) struct Journal {
    log: Log,
    waiting: VecDeque<Value>,
}

impl Journal {
    pub(super) fn new(log: Log) -> Journal {
        Journal { log, waiting: VecDeque::new() }
    }

    /// Adds a line. After an error it waits, with those after it, for the next call.
    pub(super) fn append(&mut self, line: Value) -> Result<(), StoreError> {
        self.waiting.push_back(line);
        self.flush()
    }

    /// Writes the lines that wait.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
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
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.log.sync().map(drop)
    }

    /// The log itself, nothing waiting before what is written there.
    pub(super) fn log(&mut self) -> Result<&mut Log, StoreError> {
        self.flush()?;
        Ok(&mut self.log)
    }
}
