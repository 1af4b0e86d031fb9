//! The modes of the terminal that the screen takes: each is noted as it is taken and undone in reverse, once, on
//! whichever way out comes first.

use std::{
    fs::File,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crossterm::{
    cursor, event as ct, execute,
    terminal::{EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen},
};

#[cfg(unix)]
use super::fatal;
use super::platform;

/// A mode that was taken and has to be given back.
enum Mode {
    Raw,
    Screen,
    Paste,
    Focus,
    Cursor,
    /// Standard error goes to a file; this is where it went before.
    #[cfg(unix)]
    Stderr(std::os::fd::OwnedFd),
}

/// Modes held now. Static, for a panic or a signal may have to give them back.
static HELD: Mutex<Vec<Mode>> = Mutex::new(Vec::new());

fn hold(mode: Mode) {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(mode);
}

/// Takes the modes the screen needs; what was taken before an error is given back by [`restore`].
pub(crate) fn acquire(stderr: Option<&File>) -> io::Result<()> {
    let mut out = io::stdout();
    #[cfg(unix)]
    {
        fatal::remember();
        fatal::holds(true);
    }
    crossterm::terminal::enable_raw_mode()?;
    hold(Mode::Raw);
    execute!(out, EnterAlternateScreen)?;
    hold(Mode::Screen);
    execute!(out, ct::EnableBracketedPaste)?;
    hold(Mode::Paste);
    execute!(out, ct::EnableFocusChange)?;
    hold(Mode::Focus);
    hold(Mode::Cursor);
    #[cfg(unix)]
    if let Some(file) = stderr {
        hold(Mode::Stderr(platform::redirect_stderr(file)?));
    }
    #[cfg(not(unix))]
    let _ = stderr;
    Ok(())
}

/// Gives back every mode held, last first. A second call finds nothing to do. Nothing here waits: a
/// terminal that takes no more output gets its line discipline back, and no escape sequences.
pub(crate) fn restore() {
    let modes = std::mem::take(&mut *HELD.lock().unwrap_or_else(PoisonError::into_inner));
    if modes.is_empty() {
        return;
    }
    #[cfg(unix)]
    fatal::holds(false);
    let speaks = platform::writable(Duration::from_millis(200));
    let mut out = io::stdout();
    for mode in modes.into_iter().rev() {
        // An error here has no remedy: the terminal is gone, or nearly so.
        let _ = match mode {
            Mode::Raw => crossterm::terminal::disable_raw_mode(),
            #[cfg(unix)]
            Mode::Stderr(old) => platform::restore_stderr(&old),
            _ if !speaks => Ok(()),
            Mode::Screen => execute!(out, LeaveAlternateScreen),
            Mode::Paste => execute!(out, ct::DisableBracketedPaste),
            Mode::Focus => execute!(out, ct::DisableFocusChange),
            Mode::Cursor => execute!(out, EndSynchronizedUpdate, cursor::Show),
        };
    }
}

/// Gives the modes back when it goes out of scope, by whatever way.
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}
