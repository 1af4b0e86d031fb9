//! POSIX terminals beyond crossterm: polling that notices a hang-up, output that never blocks, job control, standard
//! error.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use crossterm::event::{Event, KeyCode};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    stdio::{stderr, stdin, stdout},
    termios::tcgetpgrp,
};

use super::typed;

/// How long the rest of a key sequence may take.
const REST: Duration = Duration::from_millis(50);

/// The result of waiting for a key.
pub(crate) enum Wait {
    Ready,
    Quiet,
    Gone,
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// Polls the terminal: crossterm's own wait never ends when it hangs up (crossterm#793).
pub(crate) fn wait_for_input(most: Duration) -> Wait {
    let input = stdin();
    let mut fds = [PollFd::new(&input, PollFlags::IN)];
    match poll(&mut fds, Some(&timespec(most))) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Wait::Quiet,
        Ok(_) if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) => Wait::Gone,
        Ok(_) => Wait::Ready,
        Err(_) => Wait::Gone,
    }
}

/// Whether output would be accepted within `most`. False after Ctrl-S or on a stalled link. Makes system calls only.
pub(crate) fn writable(most: Duration) -> bool {
    let output = stdout();
    let end = Instant::now() + most;
    loop {
        let mut fds = [PollFd::new(&output, PollFlags::OUT)];
        match poll(&mut fds, Some(&timespec(end.saturating_duration_since(Instant::now())))) {
            Err(rustix::io::Errno::INTR) => {}
            found => return matches!(found, Ok(1..)) && fds[0].revents() == PollFlags::OUT,
        }
    }
}

/// Whether this process may read from and write to its terminal.
pub(crate) fn foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Stops the whole process group, as Ctrl-Z does; returns when it continues. Uses SIGSTOP, because a SIGTSTP is
/// discarded in an orphaned process group.
pub(crate) fn suspend() -> io::Result<()> {
    Ok(rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?)
}

/// Returns standard input for reading, and makes the terminal standard input: standard output is that terminal, and a
/// shell opens it for both; else the controlling terminal.
pub(crate) fn take_input() -> io::Result<Box<dyn io::Read + Send>> {
    let piped = File::from(rustix::io::dup(stdin())?);
    let both = rustix::fs::fcntl_getfl(stdout()).is_ok_and(|flags| flags.contains(rustix::fs::OFlags::RDWR));
    if both {
        rustix::stdio::dup2_stdin(stdout())?;
    } else {
        rustix::stdio::dup2_stdin(File::open("/dev/tty")?)?;
    }
    Ok(Box::new(piped))
}

/// Redirects standard error to a file: drivers print there and would corrupt the screen.
pub(crate) fn redirect_stderr(file: &File) -> io::Result<OwnedFd> {
    let old = rustix::io::dup(stderr())?;
    rustix::stdio::dup2_stderr(file)?;
    Ok(old)
}

pub(crate) fn restore_stderr(old: &OwnedFd) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(old)?)
}

/// Whether the console's font has neither braille nor Han characters.
pub(crate) fn is_utf8_console() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    !matches!(term.as_str(), "linux" | "dumb" | "vt100" | "vt220")
}

/// Whether `─` takes two cells here, as on terminals set to CJK widths: draws one, queries the cursor position, erases
/// it. Without an answer in time the result is false. Also returns keys that arrived with the answer.
pub(crate) fn wide_rules() -> (bool, Vec<Event>) {
    let mut typed = Vec::new();
    let column = ask_column(&mut typed).unwrap_or(None);
    let (mut keys, used) = typed::events(&typed);
    if used < typed.len() {
        // A single Esc looks like the beginning of a sequence.
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
            // The rest of a key or paste follows at once.
            deadline = Instant::now() + REST;
        }
    }
    out.write_all(b"\r\x1b[2K")?;
    out.flush()?;
    Ok(column)
}
