//! `DANLU_LOG`: off by default, to a file or to stderr, and never on the terminal of the screen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{DANLU, Done, command, train_args};

/// A tiny run of four steps with `DANLU_LOG=log`; not set if empty.
fn train(folder: &std::path::Path, log: &str) -> Done {
    let run = folder.join("run");
    command(train_args(&run, &["steps=4"], &[])).env("DANLU_LOG", log).output().unwrap().into()
}

#[test]
fn nothing_is_logged_unless_requested() {
    let folder = tempfile::tempdir().unwrap();
    let done = train(folder.path(), "");
    assert!(!done.good().err.contains("INFO"), "{}", done.err);
}

#[test]
fn a_log_goes_to_its_file_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inside.log");
    let done = train(folder.path(), &format!("info,{}", file.display()));
    assert!(!done.good().err.contains("INFO"), "{}", done.err);
    assert!(done.objects().iter().all(serde_json::Value::is_object));
    let log = fs::read_to_string(&file).unwrap();
    for line in ["stage begins", "checkpoint saved"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("TRACE") && !log.contains('\x1b'), "{log}");
}

#[test]
fn a_log_without_a_file_goes_to_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let done = train(folder.path(), "info");
    assert!(done.good().err.contains("checkpoint saved"), "{}", done.err);
    done.objects();
}

#[test]
fn what_is_no_level_and_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), "loud").refused(2, &["DANLU_LOG", "loud", "info"]);
    train(folder.path(), "info,").refused(2, &["DANLU_LOG"]);
    train(folder.path(), "info,/nowhere/to/be.log").refused(2, &["DANLU_LOG", "/nowhere/to/be.log"]);
}

/// With the screen, lines without a file go to the run's folder, including those from before it was known.
#[cfg(unix)]
#[test]
fn the_screen_keeps_its_terminal() {
    use common::pty::Pty;
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut command = portable_pty::CommandBuilder::new(DANLU);
    command.args(["--adapter", "cpu", "--lang", "zh", "--run"]);
    command.arg(&run);
    let mut pty = Pty::spawn(command, &[("DANLU_LOG", "info")], true);
    let log = run.join("danlu.log");
    pty.until("the stage in the log", |_| fs::read_to_string(&log).is_ok_and(|text| text.contains("stage begins")));
    pty.wait_for("训练中");
    // Before the first step there is nothing to save.
    let metrics = run.join("metrics.jsonl");
    pty.until("a step", |_| fs::metadata(&metrics).is_ok_and(|file| file.len() > 0));
    pty.signal(rustix::process::Signal::TERM);
    pty.until("the save in the log", |_| fs::read_to_string(&log).is_ok_and(|text| text.contains("checkpoint saved")));
    let raw = String::from_utf8_lossy(&pty.raw).into_owned();
    assert!(!raw.contains("stage begins") && !raw.contains("INFO"), "the log is on the screen");
    pty.gives_back(0);
}
