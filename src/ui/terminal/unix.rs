//! What POSIX terminals need beyond crossterm: polling that notices a hang-up, output that never
//! blocks, signals, job control, standard error.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use crossterm::event::{Event, KeyCode};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    stdio::{stderr, stdin, stdout},
    termios::tcgetpgrp,
};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH},
    iterator::{Handle, Signals as Iterator},
};

use super::{Input, fatal, restore, typed};
use crate::{
    protocol::{self, Command},
    session::Session,
};

/// Time a save may take after a signal.
const SAVING: Duration = Duration::from_millis(6500);
/// Two of SIGTERM and SIGINT within this are one person's one wish.
const TWICE: Duration = Duration::from_secs(1);
/// How long the rest of a key may take.
const REST: Duration = Duration::from_millis(50);

/// The pulse of a UI thread that has ended well: what holds the process up now is not the screen.
pub(in crate::ui) const DONE: u64 = u64::MAX;

/// What waiting for a key brought.
pub(in crate::ui) enum Wait {
    Ready,
    Quiet,
    Gone,
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// Waits on the terminal itself: crossterm's own wait never ends when it hangs up (crossterm#793).
pub(in crate::ui) fn wait_for_input(most: Duration) -> Wait {
    let input = stdin();
    let mut fds = [PollFd::new(&input, PollFlags::IN)];
    match poll(&mut fds, Some(&timespec(most))) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Wait::Quiet,
        Ok(_) if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) => Wait::Gone,
        Ok(_) => Wait::Ready,
        Err(_) => Wait::Gone,
    }
}

/// Whether output would be taken now, waiting `most` for it. Ctrl-S or a stalled link makes it false.
pub(in crate::ui) fn writable(most: Duration) -> bool {
    let output = stdout();
    let mut fds = [PollFd::new(&output, PollFlags::OUT)];
    matches!(poll(&mut fds, Some(&timespec(most))), Ok(1..))
        && fds[0].revents().contains(PollFlags::OUT)
        && !fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Whether this process may read from and write to its terminal.
pub(in crate::ui) fn foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Stops the whole process group, as Ctrl-Z does; returns when it goes on. SIGSTOP, for a SIGTSTP sent
/// to oneself is discarded in an orphaned group.
pub(in crate::ui) fn suspend() -> io::Result<()> {
    Ok(rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?)
}

/// Sends what others write to standard error into a file: drivers print there, and tear the screen.
pub(super) fn redirect_stderr(file: &File) -> io::Result<OwnedFd> {
    let old = rustix::io::dup(stderr())?;
    rustix::stdio::dup2_stderr(file)?;
    Ok(old)
}

pub(super) fn restore_stderr(old: &OwnedFd) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(old)?)
}

/// A console whose font has neither braille nor Han.
pub(in crate::ui) fn is_utf8_console() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    !matches!(term.as_str(), "linux" | "dumb" | "vt100" | "vt220")
}

/// Whether `─` takes two cells here, as on terminals set to CJK widths: draws one, asks where the
/// cursor is, rubs it out. No answer in time means no. Keys that came beside the answer are given back.
pub(in crate::ui) fn wide_rules() -> (bool, Vec<Event>) {
    let mut typed = Vec::new();
    let column = ask_column(&mut typed).unwrap_or(None);
    let (mut keys, used) = typed::events(&typed);
    if used < typed.len() {
        // An Esc by itself looks like the beginning of a sequence.
        keys.push(Event::Key(KeyCode::Esc.into()));
        keys.extend(typed::events(&typed[used + 1..]).0);
    }
    (column == Some(3), keys)
}

fn ask_column(typed: &mut Vec<u8>) -> io::Result<Option<u16>> {
    let mut out = io::stdout();
    out.write_all("\r─\x1b[6n".as_bytes())?;
    out.flush()?;
    let mut deadline = Instant::now() + Duration::from_millis(300);
    let mut column = None;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        match wait_for_input(left) {
            Wait::Ready => {}
            Wait::Quiet => continue,
            Wait::Gone => break,
        }
        let mut bytes = [0; 4096];
        let n = rustix::io::read(stdin(), &mut bytes)?;
        if n == 0 {
            break;
        }
        typed.extend_from_slice(&bytes[..n]);
        column = column.or_else(|| typed::take_report(typed));
        if column.is_some() {
            if typed::events(typed).1 == typed.len() {
                break;
            }
            // The rest of a key or of a paste follows at once.
            deadline = Instant::now() + REST;
        }
    }
    out.write_all(b"\r\x1b[2K")?;
    out.flush()?;
    Ok(column)
}

/// The signals the screen answers, on a thread of their own.
pub(in crate::ui) struct Signals {
    handle: Handle,
}

impl Signals {
    /// `pulse` counts the UI thread's turns: should it stand still after a signal (a terminal that
    /// takes no output can hold it in a write), this side asks the trainer and ends the process.
    pub(in crate::ui) fn listen(to: Sender<Input>, session: &Session, pulse: Arc<AtomicU64>) -> io::Result<Signals> {
        fatal::listen()?;
        let mut signals = Iterator::new([SIGTERM, SIGINT, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH])?;
        let handle = signals.handle();
        let session = session.clone();
        thread::Builder::new().name("danlu-signals".to_owned()).spawn(move || {
            let mut asked: Option<Instant> = None;
            for signal in signals.forever() {
                let input = match signal {
                    SIGTSTP => Input::Suspend,
                    SIGCONT => Input::Continue,
                    SIGWINCH => Input::Resized,
                    // A closing session sends SIGHUP twice (kernel and shell): once is enough.
                    SIGHUP if asked.is_some() => continue,
                    _ => match asked {
                        Some(first) if first.elapsed() > TWICE => Input::Abandon,
                        Some(_) => continue,
                        None => {
                            asked = Some(Instant::now());
                            watch(&session, &pulse);
                            Input::Leave
                        }
                    },
                };
                let abandon = matches!(input, Input::Abandon);
                let told = to.try_send(input).is_ok();
                if abandon && (!told || !turns(&pulse, Duration::from_millis(500))) {
                    restore();
                    process::exit(1);
                }
            }
        })?;
        Ok(Signals { handle })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Whether the UI thread turned within `time`.
fn turns(pulse: &AtomicU64, time: Duration) -> bool {
    let before = pulse.load(Ordering::Acquire);
    thread::sleep(time);
    pulse.load(Ordering::Acquire) != before
}

/// Stands by after a signal; takes over from a UI thread that stands still.
fn watch(session: &Session, pulse: &Arc<AtomicU64>) {
    let session = session.clone();
    let pulse = Arc::clone(pulse);
    let spawned = thread::Builder::new().name("danlu-leave".to_owned()).spawn(move || {
        let start = Instant::now();
        while turns(&pulse, Duration::from_millis(1500)) {}
        // Both may fail only because the trainer is gone already.
        session.stop.store(true, Ordering::Release);
        let _ = session.commands.send_timeout(Command::Stop { save: true }, Duration::from_secs(1));
        let mut saved = false;
        while let Some(left) = SAVING.checked_sub(start.elapsed()) {
            match session.events.recv_timeout(left) {
                Ok(protocol::Event::Finished { failed, .. }) => {
                    saved = !failed;
                    break;
                }
                Ok(protocol::Event::SaveFailed { .. }) | Err(_) => break,
                Ok(_) => {}
            }
        }
        restore();
        process::exit(i32::from(!saved && pulse.load(Ordering::Acquire) != DONE));
    });
    // Without a thread to spare the UI thread has to manage alone.
    drop(spawned);
}
