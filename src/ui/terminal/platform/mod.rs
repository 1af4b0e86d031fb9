//! Differences between systems: waiting for input and output, job control, standard error.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod typed;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use self::other::{
    Wait, foreground, is_utf8_console, suspend, take_input, wait_for_input, wide_rules, writable,
};
#[cfg(unix)]
pub(crate) use self::unix::{
    Wait, foreground, is_utf8_console, redirect_stderr, restore_stderr, suspend, take_input, wait_for_input,
    wide_rules, writable,
};
