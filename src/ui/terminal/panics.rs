//! Panics while the screen is up.

use std::{
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread::{self, ThreadId},
};

use crossbeam_channel::Sender;

use super::{input::Input, modes::restore};
use crate::base::panics;

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// While it lives: a panic of the UI thread gives the terminal back before it is printed; a panic of
/// any other thread leaves the terminal alone and becomes a line of the log (and is printed to the file
/// standard error was redirected to, if it was).
pub(crate) struct PanicHook {
    before: Arc<Hook>,
}

impl PanicHook {
    pub(crate) fn install(to: Sender<Input>, stderr_is_file: bool) -> PanicHook {
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
