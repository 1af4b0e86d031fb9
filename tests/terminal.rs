//! The screen on a real pseudo-terminal: what is painted, and that the terminal is given back.
//!
//! The program under test is this test binary itself, running the workbench on the fake trainer: the
//! same `ui::run`, the same process, no model. `#[ignore]`d, `workbench` is only ever run by the others.
#![cfg(unix)]

mod fake;

use std::{
    io::{Read as _, Write as _},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use danlu::ui::{self, UiOptions, strings::Lang};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Not a test: the program that the tests below watch.
#[test]
#[ignore = "run by the tests of this file, on a terminal of their own"]
#[allow(clippy::print_stdout, reason = "what a shell would see")]
fn workbench() {
    let var = |name: &str, or: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or);
    let lang = if std::env::var("FAKE_LANG").is_ok_and(|l| l == "en") { Lang::En } else { Lang::Zh };
    let session = fake::play(Duration::from_millis(var("FAKE_PACE", 20)), var("FAKE_FROM", 0) as usize);
    if std::env::var("FAKE_PANIC").is_ok() {
        thread::spawn(|| {
            thread::sleep(Duration::from_millis(500));
            panic!("a helper thread fell");
        });
    }
    let outcome = ui::run(session, UiOptions { lang, ..UiOptions::default() }).expect("a terminal");
    if !outcome.terminal_gone {
        println!("{:?} {}", outcome.end, outcome.summary.join(" | "));
    }
    std::process::exit(i32::from(outcome.failed));
}
