//! Keys, pastes, and everything else that reaches the UI thread from outside the trainer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::Sender;
use crossterm::event as ct;

use super::platform;
use crate::{
    base::panics,
    ui::keys::{Code, Key, Mouse, MouseAct},
};

/// An input of the UI thread from outside the trainer.
#[derive(Debug)]
pub(crate) enum Input {
    /// A key.
    Key(Key),
    /// A paste.
    Paste(String),
    /// The mouse.
    Mouse(Mouse),
    /// The size changed, or the screen was overwritten.
    Resized,
    /// The terminal window gained or lost the focus.
    Focus(bool),
    /// A signal requests to save and quit.
    Leave,
    /// A second signal: quit now.
    Abandon,
    /// Ctrl-Z from outside.
    Suspend,
    /// Continued after a stop.
    Continue,
    /// SIGHUP: the terminal is about to close.
    HangUp,
    /// The terminal has closed.
    Gone,
    /// Another thread panicked.
    Background(String),
}

/// Whether the terminal has hung up or is blocked, so that output is lost.
pub(crate) fn is_deaf() -> bool {
    matches!(platform::wait_for_input(Duration::ZERO), platform::Wait::Gone) || !platform::writable(platform::SLUGGISH)
}

/// Reads keys on a separate thread until the terminal closes. Never joined: it may block in a read that a closed
/// terminal never ends (crossterm#793).
pub(crate) fn read_input(to: Sender<Input>, may_read: Arc<AtomicBool>) -> io::Result<()> {
    thread::Builder::new().name("danlu-input".to_owned()).spawn(move || {
        loop {
            // Reading in the background would stop the process and the training with it.
            if !may_read.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            // Every wake-up drains, a quiet one too: crossterm may hold keys that it read together with others, or a
            // new size that is no byte of the terminal's.
            let drained = match platform::wait_for_input(Duration::from_millis(100)) {
                platform::Wait::Ready => drain(&to, READY),
                platform::Wait::Quiet => drain(&to, QUIET),
                platform::Wait::Gone => Err(io::ErrorKind::BrokenPipe.into()),
            };
            if drained.is_err() {
                let _ = to.send(Input::Gone);
                return;
            }
        }
    })?;
    Ok(())
}

/// Whether box drawing characters take two cells here, and what was typed during the query.
pub(crate) fn wide_rules() -> (bool, Vec<Input>) {
    let (wide, typed) = platform::wide_rules();
    (wide, typed.into_iter().filter_map(translate).collect())
}

/// How long crossterm may look for input that is there. Within no time at all it does not look.
const READY: Duration = Duration::from_millis(1);
/// The same after a wait without a byte. Of less than a millisecond crossterm makes a busy loop: with a millisecond ten
/// times a second that was one percent of a core, which the training lost.
const QUIET: Duration = Duration::from_micros(50);

/// Forwards everything that can be read without waiting. Bytes on which crossterm panics are lost, the keys after them
/// are not.
fn drain(to: &Sender<Input>, most: Duration) -> io::Result<()> {
    loop {
        match panics::caught(|| if ct::poll(most)? { ct::read().map(Some) } else { Ok(None) }) {
            Ok(Ok(None)) | Err(_) => return Ok(()),
            Ok(Ok(Some(event))) => {
                if let Some(input) = translate(event) {
                    to.send(input).map_err(|_| io::ErrorKind::BrokenPipe)?;
                }
            }
            Ok(Err(e)) => return Err(e),
        }
    }
}

fn translate(event: ct::Event) -> Option<Input> {
    Some(match event {
        ct::Event::Key(key) => Input::Key(translate_key(key)?),
        ct::Event::Paste(text) => Input::Paste(text),
        ct::Event::Resize(..) => Input::Resized,
        ct::Event::FocusGained => Input::Focus(true),
        ct::Event::FocusLost => Input::Focus(false),
        ct::Event::Mouse(mouse) => Input::Mouse(translate_mouse(mouse)?),
    })
}

/// The left button and the wheel; nothing else has a meaning here.
fn translate_mouse(mouse: ct::MouseEvent) -> Option<Mouse> {
    let act = match mouse.kind {
        ct::MouseEventKind::Down(ct::MouseButton::Left) => MouseAct::Press,
        ct::MouseEventKind::Drag(ct::MouseButton::Left) => MouseAct::Drag,
        ct::MouseEventKind::Up(ct::MouseButton::Left) => MouseAct::Release,
        ct::MouseEventKind::ScrollUp => MouseAct::WheelUp,
        ct::MouseEventKind::ScrollDown => MouseAct::WheelDown,
        _ => return None,
    };
    // A terminal that counts from 0, one less.
    let place = (mouse.column != u16::MAX && mouse.row != u16::MAX).then_some((mouse.column, mouse.row));
    place.map(|at| Mouse { act, at })
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
            // Terminals that can distinguish it send Shift-Enter; treat it as Alt-Enter.
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
