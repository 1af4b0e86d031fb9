//! Errors that the device reports outside any error scope, kept until the next call can return them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::compute::error::ComputeError;

#[derive(Clone, Debug)]
enum Fault {
    Memory(String),
    Lost(String),
}

/// The first fault of a device, which is permanent.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Option<Fault>>>);

impl Faults {
    /// Installs the error handler. Without one, wgpu panics on the first error.
    pub(super) fn listen(device: &wgpu::Device) -> Faults {
        let faults = Faults::default();
        let heard = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error| heard.keep(Fault::from(error))));
        let heard = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            // A device is also reported "lost" when danlu drops it.
            if reason != wgpu::DeviceLostReason::Destroyed {
                heard.keep(Fault::Lost(message));
            }
        });
        faults
    }

    fn keep(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    /// The fault, if there is one.
    pub(super) fn check(&self) -> Result<(), ComputeError> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            None => Ok(()),
            Some(Fault::Lost(reason)) => Err(ComputeError::Lost { reason }),
            Some(Fault::Memory(reason)) => Err(ComputeError::Memory {
                what: format!("the driver's own buffers ({reason})"),
                need: 0,
                there: 0,
                advice: "choose a smaller --size, batch or context".into(),
            }),
        }
    }
}

impl From<wgpu::Error> for Fault {
    fn from(error: wgpu::Error) -> Fault {
        match error {
            wgpu::Error::OutOfMemory { source } => Fault::Memory(source.to_string()),
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Fault::Lost(description)
            }
        }
    }
}
