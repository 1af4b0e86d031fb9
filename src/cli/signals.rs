//! SIGTERM, SIGINT and SIGHUP as one request: save and stop. A second one ends the process at once, if it comes more than
//! a second after the first: closer together they are one request, sent by a shell and its child, or twice by a supervisor.

#[cfg(unix)]
use std::time::Instant;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Failure, Outcome, output, writer};

/// How long a stage that is being made ready (data read, answers drawn) may go on with that after a signal.
const PATIENCE: Duration = Duration::from_secs(5);
/// Signals within this are one request.
#[cfg(unix)]
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// What signals and the work share.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopping {
    /// Whether a signal came.
    asked: Arc<AtomicBool>,
    /// Whether steps are running, which check the flag soon.
    stepping: Arc<AtomicBool>,
}

impl Stopping {
    /// The flag of whether a signal came, for long work to poll.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Whether a signal came.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Says whether there is something to be saved: from a stage's being ready to its end.
    pub(super) fn stepping(&self, yes: bool) {
        self.stepping.store(yes, Ordering::SeqCst);
    }

    /// Ends the process in order where a stage is still being made ready: all that lies in the run is whole at
    /// any moment, and what is missing is made the next time.
    #[cfg(unix)]
    fn wait_no_longer(&self) {
        std::thread::sleep(PATIENCE);
        if !self.stepping.load(Ordering::SeqCst) {
            output::note("stopped while the stage was prepared; run the same command to continue");
            writer::exit(0);
        }
    }
}

/// A file that grows past the limit of the process (`ulimit -f`) is an error of the write, as a full disk is, and no
/// signal that kills.
pub(super) fn outlive_the_file_size_limit() {
    // Caught, it does nothing but make the write fail; without the handler things are as they were.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Calls `stop` on the first signal, from another thread. From here on a write to stdout or stderr that blocks
/// keeps no signal waiting.
#[cfg(unix)]
pub(super) fn on_stop(stopping: &Stopping, stop: impl Fn() + Send + 'static) -> Outcome {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    writer::start(&stopping.asked).map_err(|e| Failure::thread("writing to stdout", &e))?;
    let failed = |e: std::io::Error| Failure::work(format!("cannot install signal handlers: {e}"));
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let stopping = stopping.clone();
    let watch = move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            match first {
                None => first = Some(Instant::now()),
                // A closing session sends SIGHUP twice (kernel and shell), and not always at once.
                Some(at) if signal == SIGHUP || at.elapsed() < ONE_REQUEST => continue,
                // The conventional code of a process that a signal ended.
                Some(_) => std::process::exit(128 + signal),
            }
            stopping.asked.store(true, Ordering::SeqCst);
            let patient = stopping.clone();
            // Without the thread it only takes longer.
            let _ = std::thread::Builder::new().name("patience".to_owned()).spawn(move || patient.wait_no_longer());
            stop();
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)
        .map(drop)
        .map_err(|e| Failure::thread("signals", &e))
}

/// Without Unix signals there is nothing to catch here: Ctrl-C ends the process, and the newest checkpoint is whole.
#[cfg(not(unix))]
pub(super) fn on_stop(stopping: &Stopping, _stop: impl Fn() + Send + 'static) -> Outcome {
    writer::start(&stopping.asked).map_err(|e| Failure::thread("writing to stdout", &e))
}
