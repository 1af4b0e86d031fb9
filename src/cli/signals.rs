//! SIGTERM, SIGINT and SIGHUP as one wish: save and stop. A second signal ends the process at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Failure, Outcome, output};

/// How long a stage that is being made ready (data read, answers drawn) may go on with that after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// What signals and the work tell each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopping {
    /// Whether a signal came.
    asked: Arc<AtomicBool>,
    /// Whether the work is at steps, and so hears of it soon.
    stepping: Arc<AtomicBool>,
}

impl Stopping {
    /// The flag of whether a signal came, for whoever looks at it in the midst of long work.
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
            output::note("stopped while the stage was made ready; the same command goes on");
            std::process::exit(0);
        }
    }
}

/// Calls `stop` on the first signal, from a thread of its own.
#[cfg(unix)]
pub(super) fn on_stop(stopping: &Stopping, stop: impl Fn() + Send + 'static) -> Outcome {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let failed = |e: std::io::Error| Failure::work(format!("signals cannot be caught: {e}"));
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let stopping = stopping.clone();
    let watch = move || {
        for signal in signals.forever() {
            if stopping.asked.swap(true, Ordering::SeqCst) {
                // The conventional code of a process that a signal ended.
                std::process::exit(128 + signal);
            }
            let patient = stopping.clone();
            // Without the thread it only takes longer.
            let _ = std::thread::Builder::new().name("patience".to_owned()).spawn(move || patient.wait_no_longer());
            stop();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop).map_err(failed)
}

/// Without Unix signals there is nothing to catch here.
#[cfg(not(unix))]
pub(super) fn on_stop(_stopping: &Stopping, _stop: impl Fn() + Send + 'static) -> Outcome {
    Ok(())
}
