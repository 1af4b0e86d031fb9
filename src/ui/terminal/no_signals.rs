//! Systems without Unix signals: only keys.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
};

use crossbeam_channel::Sender;

use super::input::Input;
use crate::session::Session;

/// The pulse after the UI thread ended regularly.
pub(crate) const DONE: u64 = u64::MAX;

/// Console events arrive as keys; there is nothing to listen to.
pub(crate) struct Signals;

impl Signals {
    pub(crate) fn listen(_to: Sender<Input>, _session: &Session, _pulse: Arc<AtomicU64>) -> io::Result<Signals> {
        Ok(Signals)
    }
}
