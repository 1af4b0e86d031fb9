//! Setting up and restoring the terminal.

mod clipboard;
pub mod export;
#[cfg(unix)]
mod fatal;
mod input;
mod modes;
mod panics;
mod platform;
mod screen;
#[cfg_attr(not(unix), path = "no_signals.rs")]
mod signals;

#[cfg(unix)]
pub(super) use self::fatal::surrender;
pub(super) use self::{
    clipboard::{LONGEST_COPY, copy},
    input::{Input, is_deaf, read_input, wide_rules},
    modes::{Guard, acquire, restore, take_mouse},
    panics::PanicHook,
    platform::{foreground, is_utf8_console, suspend, take_input, writable},
    screen::Screen,
    signals::{DONE, Signals},
};
