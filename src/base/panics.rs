//! Panics that are expected, and the message of the others.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::Cell,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    thread,
};

use super::clean;

thread_local! {
    /// How many [`caught`] are under way on this thread.
    static GUARDS: Cell<usize> = const { Cell::new(0) };
}

/// A reader of another maker panicked on what it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Runs what may panic on bad input because a crate does not check all of it. A panic becomes an error, and
/// hooks that ask [`expected`] say nothing of it.
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

/// Whether a panic of this thread would be caught as a fault of its input.
pub fn expected() -> bool {
    GUARDS.with(Cell::get) > 0
}

/// What a panic says, as the standard hook has it, clean: its text may quote what was read.
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
