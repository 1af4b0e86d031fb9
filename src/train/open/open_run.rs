//! What stages of one run share: the run, which is locked, and the device.

use crate::{compute::Device, store::Run, train::error::TrainError};

/// A run and a device, handed from stage to stage.
pub struct OpenRun {
    /// The run.
    pub run: Run,
    /// The engine.
    pub device: Device,
    /// What the device held before the first stage.
    empty: usize,
}

impl OpenRun {
    /// An open run in which nothing is trained yet.
    pub fn new(run: Run, device: Device) -> OpenRun {
        let empty = device.mark();
        OpenRun { run, device, empty }
    }

    /// Gives back the device memory of a stage that has ended.
    pub(crate) fn clear(&mut self) -> Result<(), TrainError> {
        self.device.wait()?;
        self.device.release(self.empty);
        Ok(())
    }
}

/// A stage that could not be made ready; another may be opened in the same run.
pub struct Unready {
    /// Why.
    pub error: TrainError,
    /// The run, its device cleared.
    pub open: OpenRun,
}
