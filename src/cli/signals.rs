//! SIGTERM, SIGINT and SIGHUP as one wish: save and stop. A second signal ends the process at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Failure, Outcome};

/// Calls `stop` on the first signal, from a thread of its own, and sets `stopped`.
#[cfg(unix)]
pub(super) fn on_stop(stopped: &Arc<AtomicBool>, stop: impl Fn() + Send + 'static) -> Outcome {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let failed = |e: std::io::Error| Failure::work(format!("signals cannot be caught: {e}"));
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let flag = Arc::clone(stopped);
    let watch = move || {
        for signal in signals.forever() {
            if flag.swap(true, Ordering::SeqCst) {
                // The conventional code of a process that a signal ended.
                std::process::exit(128 + signal);
            }
            stop();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop).map_err(failed)
}

/// Without Unix signals there is nothing to catch here.
#[cfg(not(unix))]
pub(super) fn on_stop(_stopped: &Arc<AtomicBool>, _stop: impl Fn() + Send + 'static) -> Outcome {
    Ok(())
}
