//! Handles SIGTERM, SIGINT and SIGHUP: the first requests save and stop, a second one ends the process at once if it
//! comes more than a second later. Within a second they count as one, since a shell and its child, or a supervisor, may
//! both send it.

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

/// How long opening a stage (reading data, sampling answers) may continue after a signal.
const PATIENCE: Duration = Duration::from_secs(5);
/// Signals within this time count as one request.
#[cfg(unix)]
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// State shared by the signal handler and the work.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopping {
    /// Whether a signal arrived.
    asked: Arc<AtomicBool>,
    /// Whether a trainer is running, which checks the flag at every step.
    stepping: Arc<AtomicBool>,
}

impl Stopping {
    /// The flag, for long work to poll.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Whether a signal arrived.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Records whether there is something to save: while a stage is open.
    pub(super) fn stepping(&self, yes: bool) {
        self.stepping.store(yes, Ordering::SeqCst);
    }

    /// Exits while a stage is still being opened: the files of the run are consistent at any moment, and missing ones
    /// are made next time.
    #[cfg(unix)]
    fn wait_no_longer(&self) {
        std::thread::sleep(PATIENCE);
        if !self.stepping.load(Ordering::SeqCst) {
            output::note("stopped while the stage was prepared; run the same command to continue");
            writer::exit(0);
        }
    }
}

/// Makes exceeding the file size limit (`ulimit -f`) a write error, like a full disk, instead of a fatal signal.
pub(super) fn outlive_the_file_size_limit() {
    // The handler does nothing; without it the default action applies.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Calls `stop` on the first signal, from another thread. From then on a blocked write to stdout or stderr does not
/// delay a signal.
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
                // A closing session sends SIGHUP twice (kernel and shell), not always at once.
                Some(at) if signal == SIGHUP || at.elapsed() < ONE_REQUEST => continue,
                // The conventional exit code after a signal.
                Some(_) => std::process::exit(128 + signal),
            }
            stopping.asked.store(true, Ordering::SeqCst);
            let patient = stopping.clone();
            // Without this thread stopping only takes longer.
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

/// Other systems: Ctrl-C ends the process; the newest checkpoint is intact.
#[cfg(not(unix))]
pub(super) fn on_stop(stopping: &Stopping, _stop: impl Fn() + Send + 'static) -> Outcome {
    writer::start(&stopping.asked).map_err(|e| Failure::thread("writing to stdout", &e))
}
