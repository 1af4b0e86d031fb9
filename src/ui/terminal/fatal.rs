//! Signals that end the process at once (SIGQUIT, SIGABRT as when memory runs out): the terminal is given
//! back first, and the signal then does what it does.
//!
//! What runs here runs inside a signal handler, in the midst of whatever the thread was doing: no allocation, no lock
//! that is waited for, system calls only.

use std::{
    io,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    stdio::{stderr, stdin, stdout},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{SIGABRT, SIGALRM, SIGPROF, SIGQUIT, SIGSYS, SIGTRAP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU},
    low_level::{abort, emulate_default_handler, register},
};

/// Those whose default is to end the process, and which no other part of it hears. SIGSEGV, SIGBUS, SIGILL and SIGFPE
/// are Rust's own (a stack overflow is reported by their handler, and ends in SIGABRT).
const FATAL: [i32; 10] = [SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGSYS, SIGTRAP];

/// Back from the alternate screen, with everything that was turned on turned off.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?25h\x1b[?1004l\x1b[?2004l\x1b[?1049l";
const ABORTED: &[u8] = b"danlu: aborted (memory that ran out, or a bug); the newest checkpoint is intact\n";
const ENDED: &[u8] = b"danlu: ended by a signal; the newest checkpoint is intact\n";

/// The line discipline before the screen took the terminal.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
/// Whether the screen has the terminal.
static UP: AtomicBool = AtomicBool::new(false);

/// Notes how the terminal is, before it is changed.
pub(crate) fn remember() {
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(stdin()).ok();
}

/// Notes that the screen has the terminal, or has given it back.
pub(crate) fn holds(terminal: bool) {
    UP.store(terminal, Ordering::SeqCst);
}

/// Hears those signals from now on, for as long as the process lives.
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

/// Gives the terminal back if the screen has it, from wherever the process ends; whether it had it.
pub(crate) fn surrender() -> bool {
    let had = UP.swap(false, Ordering::SeqCst);
    if had {
        give_back();
    }
    had
}

fn fall(signal: i32) {
    if surrender() {
        let words = if signal == SIGABRT { ABORTED } else { ENDED };
        let _ = rustix::io::write(stderr(), words);
    }
    if emulate_default_handler(signal).is_err() {
        abort();
    }
}

fn give_back() {
    // A terminal that takes no output gets its line discipline back, and no escape sequences.
    let output = stdout();
    let mut fds = [PollFd::new(&output, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if matches!(poll(&mut fds, Some(&now)), Ok(1..)) && fds[0].revents() == PollFlags::OUT {
        let _ = rustix::io::write(output, LEAVE);
    }
    if let Ok(before) = BEFORE.try_lock()
        && let Some(before) = &*before
    {
        let _ = tcsetattr(stdin(), OptionalActions::Now, before);
    }
}
