//! What the stages of a launch share: the locked run and the device.

use crate::{compute::Device, store::Run, train::error::TrainError};

/// A run and a device, passed from stage to stage.
pub struct OpenRun {
    /// The run.
    pub run: Run,
    /// The engine.
    pub device: Device,
    /// Whether the screen has the run's past.
    pub(crate) told: bool,
    /// Memory in use on the device before the first stage.
    empty: usize,
}

impl OpenRun {
    /// An open run before any training.
    pub fn new(run: Run, device: Device) -> OpenRun {
        let empty = device.mark();
        OpenRun { run, device, told: false, empty }
    }

    /// Frees the device memory of the previous stage.
    pub(crate) fn clear(&mut self) -> Result<(), TrainError> {
        self.device.wait()?;
        self.device.release(self.empty);
        Ok(())
    }
}

/// A stage that could not be opened; another one may be opened in the same run.
pub struct Unready {
    /// Why.
    pub error: TrainError,
    /// The run, with the device cleared.
    pub open: OpenRun,
}
