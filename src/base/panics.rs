//! Panics that are expected, and the message of all others.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::Cell,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    thread,
};

use super::clean;

thread_local! {
    /// Calls of [`caught`] in progress on this thread.
    static GUARDS: Cell<usize> = const { Cell::new(0) };
}

/// A third-party reader panicked on its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Runs third-party code that may panic on bad input. A panic becomes an error; panic hooks that check [`expected`]
/// stay silent.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            GUARDS.with(|guards| guards.set(guards.get() - 1));
        }
    }
    GUARDS.with(|guards| guards.set(guards.get() + 1));
    let _guard = Guard;
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// The beginning of the names of threads that the `notify` crate starts. Such a thread panics if its owner is gone or a
/// call of the system fails that it expects to succeed; then files are no longer watched, and nothing else ends.
const WATCHERS: &str = "notify-rs";

/// Whether a panic on this thread would be caught as bad input, or ends only the watching of files.
pub fn expected() -> bool {
    GUARDS.with(Cell::get) > 0 || thread::current().name().is_some_and(|name| name.starts_with(WATCHERS))
}

/// A panic's message as the standard hook prints it, cleaned, since it may quote the input.
pub fn described(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let text = info.payload_as_str().unwrap_or("a value that is not text");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let mut all =
        clean::line(&format!("thread '{}' panicked at {place}: {text}", thread.name().unwrap_or("<unnamed>")));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        all.push('\n');
        all.push_str(&clean::block(&trace.to_string()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic, reason = "that is what is caught")]
    fn a_panic_becomes_an_error() {
        assert!(!expected());
        assert_eq!(caught(|| 3), Ok(3));
        let inner = caught(|| {
            assert!(expected());
            assert_eq!(caught(|| 4), Ok(4));
            assert!(expected());
            panic!("of the test");
        });
        assert_eq!(inner, Err(Panicked));
        assert!(!expected());
    }
}
