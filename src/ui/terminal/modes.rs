//! The modes that the screen sets in the terminal: each is recorded when set and undone once, in reverse order, on the
//! first exit path.

use std::{
    fmt,
    fs::File,
    io,
    sync::{Mutex, PoisonError},
};

use crossterm::{
    Command, cursor, event as ct, execute,
    terminal::{EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen},
};

#[cfg(unix)]
use super::fatal;
use super::platform::{self, SLUGGISH};

/// A mode that must be undone.
enum Mode {
    Raw,
    Screen,
    Paste,
    Focus,
    Mouse,
    Cursor,
    /// Standard error is redirected to a file; this is the original.
    #[cfg(unix)]
    Stderr(std::os::fd::OwnedFd),
}

/// The modes in effect. Static, because a panic or a signal may have to undo them.
static HELD: Mutex<Vec<Mode>> = Mutex::new(Vec::new());

fn hold(mode: Mode) {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(mode);
}

/// Sets the modes of the screen; after an error [`restore`] undoes those already set.
pub(crate) fn acquire(stderr: Option<&File>, mouse: bool) -> io::Result<()> {
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
    if mouse {
        take_mouse(true)?;
    }
    hold(Mode::Cursor);
    #[cfg(unix)]
    if let Some(file) = stderr {
        hold(Mode::Stderr(platform::redirect_stderr(file)?));
    }
    #[cfg(not(unix))]
    let _ = stderr;
    Ok(())
}

/// Takes the mouse, or leaves it to the terminal.
pub(crate) fn take_mouse(take: bool) -> io::Result<()> {
    if take {
        execute!(io::stdout(), MouseOn)?;
        hold(Mode::Mouse);
        return Ok(());
    }
    HELD.lock().unwrap_or_else(PoisonError::into_inner).retain(|mode| !matches!(mode, Mode::Mouse));
    execute!(io::stdout(), ct::DisableMouseCapture)
}

/// Buttons, the wheel, and motion while a button is down. Not crossterm's own command, which reports every motion too.
struct MouseOn;

impl Command for MouseOn {
    fn write_ansi(&self, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_str("\x1b[?1000h\x1b[?1002h\x1b[?1006h")
    }

    #[cfg(windows)]
    fn execute_winapi(&self) -> io::Result<()> {
        ct::EnableMouseCapture.execute_winapi()
    }

    #[cfg(windows)]
    fn is_ansi_code_supported(&self) -> bool {
        false
    }
}

/// Undoes all modes, last first. A second call does nothing. It waits no longer than [`SLUGGISH`]: on a blocked terminal
/// only the line discipline is restored, without escape sequences.
pub(crate) fn restore() {
    let modes = std::mem::take(&mut *HELD.lock().unwrap_or_else(PoisonError::into_inner));
    if modes.is_empty() {
        return;
    }
    #[cfg(unix)]
    fatal::holds(false);
    let speaks = platform::writable(SLUGGISH);
    let mut out = io::stdout();
    for mode in modes.into_iter().rev() {
        // An error cannot be handled here: the terminal is closing.
        let _ = match mode {
            Mode::Raw => crossterm::terminal::disable_raw_mode(),
            #[cfg(unix)]
            Mode::Stderr(old) => platform::restore_stderr(&old),
            _ if !speaks => Ok(()),
            Mode::Screen => execute!(out, LeaveAlternateScreen),
            Mode::Paste => execute!(out, ct::DisableBracketedPaste),
            Mode::Focus => execute!(out, ct::DisableFocusChange),
            Mode::Mouse => execute!(out, ct::DisableMouseCapture),
            Mode::Cursor => execute!(out, EndSynchronizedUpdate, cursor::Show),
        };
    }
}

/// Restores the terminal when dropped.
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}
