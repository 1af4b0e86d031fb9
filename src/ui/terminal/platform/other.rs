//! Systems without POSIX terminals: crossterm only, no job control.

use std::{io, time::Duration};

/// The result of waiting for a key.
pub(crate) enum Wait {
    Ready,
    Quiet,
    Gone,
}

pub(crate) fn wait_for_input(most: Duration) -> Wait {
    match crossterm::event::poll(most) {
        Ok(true) => Wait::Ready,
        Ok(false) => Wait::Quiet,
        Err(_) => Wait::Gone,
    }
}

pub(crate) fn writable(_most: Duration) -> bool {
    true
}

pub(crate) fn foreground() -> bool {
    true
}

pub(crate) fn suspend() -> io::Result<()> {
    Ok(())
}

/// Standard input as it is: crossterm reads keys from the console, whatever standard input is.
pub(crate) fn take_input() -> io::Result<Box<dyn io::Read + Send>> {
    Ok(Box::new(io::stdin()))
}

pub(crate) fn is_utf8_console() -> bool {
    true
}

pub(crate) fn wide_rules() -> (bool, Vec<crossterm::event::Event>) {
    (false, Vec::new())
}
