//! Where there is no POSIX terminal: crossterm alone, no job control, no signals.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use crossbeam_channel::Sender;

use super::Input;
use crate::session::Session;

/// The pulse of a UI thread that has ended well.
pub(in crate::ui) const DONE: u64 = u64::MAX;

/// What waiting for a key brought.
pub(in crate::ui) enum Wait {
    Ready,
    Quiet,
    Gone,
}

pub(in crate::ui) fn wait_for_input(most: Duration) -> Wait {
    match crossterm::event::poll(most) {
        Ok(true) => Wait::Ready,
        Ok(false) => Wait::Quiet,
        Err(_) => Wait::Gone,
    }
}

pub(in crate::ui) fn writable(_most: Duration) -> bool {
    true
}

pub(in crate::ui) fn foreground() -> bool {
    true
}

pub(in crate::ui) fn suspend() -> io::Result<()> {
    Ok(())
}

pub(in crate::ui) fn is_utf8_console() -> bool {
    true
}

pub(in crate::ui) fn wide_rules() -> (bool, Vec<crossterm::event::Event>) {
    (false, Vec::new())
}

/// Console events come as keys here; there is nothing to listen to.
pub(in crate::ui) struct Signals;

impl Signals {
    pub(in crate::ui) fn listen(_to: Sender<Input>, _session: &Session, _pulse: Arc<AtomicU64>) -> io::Result<Signals> {
        Ok(Signals)
    }
}
