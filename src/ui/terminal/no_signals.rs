//! A system without signals: keys are all there is.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
};

use crossbeam_channel::Sender;

use super::input::Input;
use crate::session::Session;

/// The pulse of a UI thread that has ended well.
pub(crate) const DONE: u64 = u64::MAX;

/// Console events come as keys; there is nothing to listen to.
pub(crate) struct Signals;

impl Signals {
    pub(crate) fn listen(_to: Sender<Input>, _session: &Session, _pulse: Arc<AtomicU64>) -> io::Result<Signals> {
        Ok(Signals)
    }
}
