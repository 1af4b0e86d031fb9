//! The signals that the screen answers: save and quit, suspend, resize.

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH},
    iterator::{Handle, Signals as Iterator},
};

use super::{fatal, input::Input, modes::restore};
use crate::{
    protocol::{Command, Event},
    session::Session,
};

/// The pulse of a UI thread that has ended well: what holds the process up now is not the screen.
pub(crate) const DONE: u64 = u64::MAX;
/// Time a save may take after a signal.
const SAVING: Duration = Duration::from_millis(6500);
/// SIGTERM and SIGINT within this time count as one.
const TWICE: Duration = Duration::from_secs(1);

/// The signals the screen answers, on their own thread.
pub(crate) struct Signals {
    handle: Handle,
}

impl Signals {
    /// `pulse` counts the UI thread's turns: should it hang after a signal (a terminal that
    /// takes no output can hold it in a write), this side asks the trainer and ends the process.
    pub(crate) fn listen(to: Sender<Input>, session: &Session, pulse: Arc<AtomicU64>) -> io::Result<Signals> {
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

/// After a signal, watches the UI thread and takes over where it hangs.
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
                Ok(Event::Finished { failed, .. }) => {
                    saved = !failed;
                    break;
                }
                Ok(Event::SaveFailed { .. }) | Err(_) => break,
                Ok(_) => {}
            }
        }
        restore();
        process::exit(i32::from(!saved && pulse.load(Ordering::Acquire) != DONE));
    });
    // Without a thread to spare the UI thread has to manage alone.
    drop(spawned);
}
