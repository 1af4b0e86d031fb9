//! What stages of one run share: the run, which is locked, and the device.

use crate::{compute::Device, store::Run, train::error::TrainError};

/// A run and a device, handed from stage to stage.
pub struct Workshop {
    /// The run.
    pub run: Run,
    /// The engine.
    pub device: Device,
    /// What the device held before the first stage.
    empty: usize,
}

impl Workshop {
    /// A workshop in which nothing is trained yet.
    pub fn new(run: Run, device: Device) -> Workshop {
        let empty = device.mark();
        Workshop { run, device, empty }
    }

    /// Gives back the device memory of a stage that has ended.
    pub(crate) fn clear(&mut self) -> Result<(), TrainError> {
        self.device.wait()?;
        self.device.release(self.empty);
        Ok(())
    }
}

/// A stage that could not be made ready; another may be tried in the same workshop.
pub struct Unready {
    /// Why.
    pub error: TrainError,
    /// The workshop, cleared.
    pub workshop: Workshop,
}
