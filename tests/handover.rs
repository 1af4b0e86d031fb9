//! A stage handed over to torchrun: two processes on the CPU train what danlu trains, step by step, and each of the traps
//! on the way there shows when it is opened. scripts/handover-check has the bounds; docs/performance.md the figures.
//!
//! Skipped, with a line that says so, where the Python of `DANLU_PYTHON` (python3 without it) has no torch, transformers
//! and TRL: assets/handover/requirements.txt.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::Command,
};

/// Prints a line that is not captured with the test's output.
fn say(line: &str) {
    io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Runs scripts/handover-check and returns what it printed; None where it cannot run.
fn check(args: &[&str]) -> Option<String> {
    let python = env::var("DANLU_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import torch, transformers, trl, accelerate"]).output();
    if !there.is_ok_and(|done| done.status.success()) {
        let why = "has no torch, transformers, trl and accelerate; set DANLU_PYTHON to one that has";
        say(&format!("skipped: {python} {why}"));
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/handover-check");
    let done = Command::new(python).arg(script).arg(env!("CARGO_BIN_EXE_danlu")).args(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    say(&out);
    assert!(done.status.success(), "{out}\n{err}");
    Some(out.into_owned())
}

#[test]
fn two_processes_train_what_danlu_trains() {
    let Some(out) = check(&["--processes", "2"]) else { return };
    for stage in ["pretrain", "sft", "reward", "dpo", "grpo"] {
        assert!(out.lines().filter(|line| line.starts_with(stage)).count() >= 3, "{stage}\n{out}");
    }
}

#[test]
fn every_trap_shows_when_it_is_opened() {
    let Some(out) = check(&["--traps"]) else { return };
    assert_eq!(out.lines().filter(|line| line.contains('>')).count(), 11, "{out}");
}
