//! The terminal as a thing that is borrowed and given back: every mode is written down as it is taken
//! and undone in reverse, once, on whichever way out comes first.

#[cfg(unix)]
mod fatal;
#[cfg(unix)]
mod typed;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;

#[cfg(not(unix))]
mod other;
use std::{
    fs::File,
    io::{self, BufWriter, Stdout, Write as _},
    mem::ManuallyDrop,
    panic::{self, PanicHookInfo},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use crossbeam_channel::Sender;
use crossterm::{
    cursor, event as ct, execute, queue,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen},
};
#[cfg(unix)]
pub(super) use fatal::surrender;
#[cfg(not(unix))]
use other as platform;
pub(super) use platform::{DONE, Signals, foreground, is_utf8_console, suspend, writable};
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect};

use crate::base::panics;
use crate::ui::{
    keys::{Code, Key},
    view::Caret,
};

/// What reaches the UI thread from outside the trainer.
#[derive(Debug)]
pub(super) enum Input {
    /// A key.
    Key(Key),
    /// A paste.
    Paste(String),
    /// The size changed, or the screen was overwritten.
    Resized,
    /// The terminal came to the front or went from it.
    Focus(bool),
    /// A signal asks to save and go.
    Leave,
    /// A second one: go now.
    Abandon,
    /// Ctrl-Z from outside.
    Suspend,
    /// Going on after a stop.
    Continue,
    /// The terminal is no more.
    Gone,
    /// Another thread panicked.
    Background(String),
}

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
pub(super) fn acquire(stderr: Option<&File>) -> io::Result<()> {
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
pub(super) fn restore() {
    let modes = std::mem::take(&mut *HELD.lock().unwrap_or_else(PoisonError::into_inner));
    if modes.is_empty() {
        return;
    }
    #[cfg(unix)]
    fatal::holds(false);
    let speaks = writable(Duration::from_millis(200));
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
pub(super) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// While it lives: a panic of the UI thread gives the terminal back before it is printed; a panic of
/// any other thread leaves the terminal alone and becomes a line of the log (and is printed to the file
/// standard error was redirected to, if it was).
pub(super) struct PanicHook {
    before: Arc<Hook>,
}

impl PanicHook {
    pub(super) fn install(to: Sender<Input>, stderr_is_file: bool) -> PanicHook {
        let before: Arc<Hook> = Arc::from(panic::take_hook());
        let next = Arc::clone(&before);
        let screen: ThreadId = thread::current().id();
        panic::set_hook(Box::new(move |info| {
            if panics::expected() {
                return;
            }
            if thread::current().id() == screen {
                restore();
                next(info);
                return;
            }
            // try_send: a dying thread must not wait for the screen.
            let _ = to.try_send(Input::Background(info.to_string().replace('\n', " ")));
            if stderr_is_file {
                next(info);
            }
        }));
        PanicHook { before }
    }
}

impl Drop for PanicHook {
    fn drop(&mut self) {
        if !thread::panicking() {
            let before = Arc::clone(&self.before);
            panic::set_hook(Box::new(move |info| before(info)));
        }
    }
}

/// The terminal has hung up, or takes nothing: nobody reads what is printed now.
pub(super) fn is_deaf() -> bool {
    matches!(platform::wait_for_input(Duration::ZERO), platform::Wait::Gone) || !writable(Duration::from_millis(200))
}

/// Reads keys on a thread of its own, for as long as the terminal lives. Never joined: it may be stuck
/// in a read that a dead terminal never ends (crossterm#793).
pub(super) fn read_input(to: Sender<Input>, may_read: Arc<AtomicBool>) -> io::Result<()> {
    thread::Builder::new().name("danlu-input".to_owned()).spawn(move || {
        loop {
            // Reading from the background would stop the process, and stop training with it.
            if !may_read.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            let sent = match platform::wait_for_input(Duration::from_millis(100)) {
                platform::Wait::Quiet => continue,
                platform::Wait::Gone => {
                    let _ = to.send(Input::Gone);
                    return;
                }
                platform::Wait::Ready => drain(&to),
            };
            if sent.is_err() {
                let _ = to.send(Input::Gone);
                return;
            }
        }
    })?;
    Ok(())
}

/// Whether rules take two cells here, and what was typed while that was asked.
pub(super) fn wide_rules() -> (bool, Vec<Input>) {
    let (wide, typed) = platform::wide_rules();
    (wide, typed.into_iter().filter_map(translate).collect())
}

/// Sends on what can be read without waiting.
fn drain(to: &Sender<Input>) -> io::Result<()> {
    let mut any = false;
    while ct::poll(Duration::from_millis(if any { 0 } else { 20 }))? {
        any = true;
        if let Some(input) = translate(ct::read()?) {
            to.send(input).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
    }
    Ok(())
}

fn translate(event: ct::Event) -> Option<Input> {
    Some(match event {
        ct::Event::Key(key) => Input::Key(translate_key(key)?),
        ct::Event::Paste(text) => Input::Paste(text),
        ct::Event::Resize(..) => Input::Resized,
        ct::Event::FocusGained => Input::Focus(true),
        ct::Event::FocusLost => Input::Focus(false),
        ct::Event::Mouse(_) => return None,
    })
}

fn translate_key(key: ct::KeyEvent) -> Option<Key> {
    if key.kind == ct::KeyEventKind::Release {
        return None;
    }
    let mut alt = key.modifiers.contains(ct::KeyModifiers::ALT);
    let ctrl = key.modifiers.contains(ct::KeyModifiers::CONTROL);
    let shift = key.modifiers.contains(ct::KeyModifiers::SHIFT);
    let code = match key.code {
        ct::KeyCode::Char(c) if ctrl => Code::Char(c.to_ascii_lowercase()),
        ct::KeyCode::Char(c) => Code::Char(c),
        ct::KeyCode::Enter => {
            // Where the terminal can tell, Shift-Enter means what Alt-Enter means.
            alt |= shift;
            Code::Enter
        }
        ct::KeyCode::Esc => Code::Esc,
        ct::KeyCode::Tab if shift => Code::BackTab,
        ct::KeyCode::Tab => Code::Tab,
        ct::KeyCode::BackTab => Code::BackTab,
        ct::KeyCode::Backspace => Code::Backspace,
        ct::KeyCode::Delete => Code::Delete,
        ct::KeyCode::Left => Code::Left,
        ct::KeyCode::Right => Code::Right,
        ct::KeyCode::Up => Code::Up,
        ct::KeyCode::Down => Code::Down,
        ct::KeyCode::Home => Code::Home,
        ct::KeyCode::End => Code::End,
        ct::KeyCode::PageUp => Code::PageUp,
        ct::KeyCode::PageDown => Code::PageDown,
        ct::KeyCode::F(n) => Code::F(n),
        _ => return None,
    };
    Some(Key { code, ctrl: ctrl && matches!(code, Code::Char(_)), alt })
}

/// The painted side: one frame, one write.
pub(super) struct Screen {
    /// Never dropped: its drop shows the cursor, which [`restore`] has done; on a stalled terminal it
    /// would wait for ever, and on a dead one it prints to standard error and panics.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
}

/// Bytes of a whole frame of a large terminal, so that it leaves in one piece.
const FRAME: usize = 256 * 1024;

impl Screen {
    pub(super) fn new() -> io::Result<Screen> {
        let out = BufWriter::with_capacity(FRAME, io::stdout());
        Ok(Screen { terminal: ManuallyDrop::new(Terminal::new(CrosstermBackend::new(out))?) })
    }

    /// Paints everything anew at the next frame. Not `Terminal::clear`, which asks the terminal where
    /// its cursor is and waits up to two seconds for the answer.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let area = self.terminal.get_frame().area();
        self.terminal.resize(area)
    }

    /// One frame inside a synchronized update, the caret with it, so that neither flicker nor the
    /// input method's window chases the painting.
    pub(super) fn draw(
        &mut self,
        paint: impl FnOnce(Rect, &mut ratatui::buffer::Buffer) -> Option<Caret>,
    ) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| {
            let area = frame.area();
            if let Some(caret) = paint(area, frame.buffer_mut()) {
                frame.set_cursor_position(caret);
            }
        })?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.terminal.backend_mut().flush()
    }
}
