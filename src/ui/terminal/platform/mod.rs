//! Differences between systems: waiting for input and output, job control, standard error.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod typed;
#[cfg(unix)]
mod unix;

/// How long a terminal may take to read the last frame before it counts as blocked.
pub(crate) const SLUGGISH: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(not(unix))]
pub(crate) use self::other::{
    Wait, foreground, is_utf8_console, suspend, take_input, wait_for_input, wide_rules, writable,
};
#[cfg(unix)]
pub(crate) use self::unix::{
    Wait, foreground, is_utf8_console, redirect_stderr, restore_stderr, suspend, take_input, wait_for_input,
    wide_rules, writable,
};
