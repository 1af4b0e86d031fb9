//! Signals that end the process at once (SIGQUIT, SIGABRT as when memory runs out): restores the terminal, then lets
//! the signal take its default action.
//!
//! This code runs inside a signal handler, in the middle of whatever the thread was doing: it does not allocate or wait
//! for a lock and makes only system calls. It waits for a terminal that is busy with the last frame, not for a blocked
//! one.

use std::{
    io,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{SIGABRT, SIGALRM, SIGPROF, SIGQUIT, SIGSYS, SIGTRAP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU},
    low_level::{abort, emulate_default_handler, register},
};

use super::platform;

/// Signals that end the process by default and have no other handler here. Rust handles SIGSEGV, SIGBUS, SIGILL and
/// SIGFPE (a stack overflow is reported there and ends in SIGABRT).
const FATAL: [i32; 10] = [SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGSYS, SIGTRAP];

/// Leaves the alternate screen and turns off everything the screen turned on.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?25h\x1b[?1006l\x1b[?1002l\x1b[?1000l\x1b[?1004l\x1b[?2004l\x1b[?1049l";
const ABORTED: &[u8] = b"danlu: aborted (memory that ran out, or a bug); the newest checkpoint is intact\n";
const ENDED: &[u8] = b"danlu: ended by a signal; the newest checkpoint is intact\n";

/// The line discipline from before the screen.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
/// Whether the screen uses the terminal.
static UP: AtomicBool = AtomicBool::new(false);

/// Saves the state of the terminal before it is changed.
pub(crate) fn remember() {
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(stdin()).ok();
}

/// Records whether the screen uses the terminal.
pub(crate) fn holds(terminal: bool) {
    UP.store(terminal, Ordering::SeqCst);
}

/// Whether the screen uses the terminal: no longer once a fatal signal has given it back.
pub(crate) fn is_held() -> bool {
    UP.load(Ordering::SeqCst)
}

/// Installs the handlers for the life of the process.
#[allow(unsafe_code, reason = "what a handler may do is the caller's promise; `fall` makes system calls only")]
pub(crate) fn listen() -> io::Result<()> {
    static HEARS: OnceLock<()> = OnceLock::new();
    if HEARS.get().is_some() {
        return Ok(());
    }
    for signal in FATAL {
        unsafe { register(signal, move || fall(signal)) }?;
    }
    let _first = HEARS.set(());
    Ok(())
}

fn fall(signal: i32) {
    if surrender() {
        let words = if signal == SIGABRT { ABORTED } else { ENDED };
        // Standard error is a pipe while the screen is up.
        let _ = rustix::io::write(stdout(), words);
    }
    if emulate_default_handler(signal).is_err() {
        abort();
    }
}

/// Restores the terminal if the screen uses it; returns whether it did, and the terminal takes output.
pub(crate) fn surrender() -> bool {
    if !UP.swap(false, Ordering::SeqCst) {
        return false;
    }
    // On a blocked terminal only the line discipline is restored, without escape sequences.
    let takes = platform::writable(platform::SLUGGISH);
    if takes {
        let _ = rustix::io::write(stdout(), LEAVE);
    }
    if let Ok(before) = BEFORE.try_lock()
        && let Some(before) = &*before
    {
        let _ = tcsetattr(stdin(), OptionalActions::Now, before);
    }
    takes
}
