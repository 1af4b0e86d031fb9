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

/// While it lives, a panic of the UI thread restores the terminal before the message is printed; a panic of another
/// thread leaves the terminal alone and becomes a log line (and is printed to the file that standard error is
/// redirected to, if any).
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
            // try_send, because a panicking thread must not wait for the screen.
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
