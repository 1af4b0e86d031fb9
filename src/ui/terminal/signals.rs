//! Signals that the screen handles: save and quit, suspend, resize.

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

/// The pulse after the UI thread ended regularly, when the screen no longer delays the process.
pub(crate) const DONE: u64 = u64::MAX;
/// Time limit for a save after a signal.
const SAVING: Duration = Duration::from_millis(6500);
/// SIGTERM and SIGINT within this time count as one.
const TWICE: Duration = Duration::from_secs(1);

/// Handles signals on a separate thread.
pub(crate) struct Signals {
    handle: Handle,
}

impl Signals {
    /// `pulse` counts the UI thread's turns: if it hangs after a signal (a blocked terminal can hold it in a write),
    /// this thread stops the trainer and ends the process.
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
                    // The terminal closes; the loop decides whether the training continues without it.
                    SIGHUP if asked.is_some() => continue,
                    SIGHUP => Input::HangUp,
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
                let sent = to.try_send(input).is_ok();
                if abandon && (!sent || !turns(&pulse, Duration::from_millis(500))) {
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

/// Whether the UI thread made a turn within `time`.
fn turns(pulse: &AtomicU64, time: Duration) -> bool {
    let before = pulse.load(Ordering::Acquire);
    thread::sleep(time);
    pulse.load(Ordering::Acquire) != before
}

/// After a signal, watches the UI thread and takes over if it hangs.
fn watch(session: &Session, pulse: &Arc<AtomicU64>) {
    let session = session.clone();
    let pulse = Arc::clone(pulse);
    let spawned = thread::Builder::new().name("danlu-leave".to_owned()).spawn(move || {
        let start = Instant::now();
        while turns(&pulse, Duration::from_millis(1500)) {}
        // Both fail only if the trainer has ended.
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
    // If the system refuses a thread, the UI thread must manage alone.
    drop(spawned);
}
