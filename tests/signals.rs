//! Signals, pipes that nobody reads, limits of the process: progress is saved, and the exit code tells what happened.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{DANLU, Running, TINY, checkpoints, command, metrics, scratch, tensors, text, train, train_args};

const LONG: &[&str] = &["steps=10000000", "save_steps=0"];

fn size(run: &Path) -> u64 {
    fs::metadata(run.join("metrics.jsonl")).map_or(0, |m| m.len())
}

/// Waits for the exit; a process that does not exit has lost the signal.
fn ended(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("still there a minute after the signal");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

/// With a full pipe and a stalled reader, SIGTERM used to wait for it, and a second one lost everything.
#[test]
fn a_signal_is_heard_while_nobody_reads() {
    let dir = scratch();
    for (name, json) in [("out", true), ("err", false)] {
        let run = dir.path().join(name);
        let args = train_args(&run, LONG, &[]).into_iter().filter(|arg| json || arg != "--json");
        let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Until it stalls: pipe and queue are full. Steps take a millisecond.
        let (mut last, mut still) = (0, 0);
        while still < 10 {
            std::thread::sleep(Duration::from_millis(50));
            still = if size(&run) == last && last > 0 { still + 1 } else { 0 };
            last = size(&run);
        }
        signal(&child, "TERM");
        assert_eq!(ended(&mut child), Some(0), "{name}");
        let step = metrics(&run).len();
        assert_eq!(checkpoints(&run), [format!("pretrain-{step:08}")], "{name}");
    }
}

#[test]
fn two_signals_at_once_are_one() {
    let dir = scratch();
    for (name, first, second) in [("a", "TERM", "TERM"), ("b", "INT", "TERM"), ("c", "HUP", "HUP")] {
        let run = dir.path().join(name);
        let mut running = Running::start(&run, LONG);
        running.until(|line| line["step"].as_u64() >= Some(5) && line["event"].is_null());
        running.signal(first);
        std::thread::sleep(Duration::from_millis(20));
        running.signal(second);
        let (done, _) = running.end();
        done.good();
        let step = metrics(&run).len();
        assert_eq!(checkpoints(&run), [format!("pretrain-{step:08}")], "{first} {second}");
    }
}

/// A limit on the file size fails the write like a full disk; a resume from the last save is bit-exact.
#[test]
fn a_limit_of_the_file_size_is_an_error_and_no_death() {
    let dir = scratch();
    let (whole, run) = (dir.path().join("whole"), dir.path().join("run"));
    let sets = ["steps=400", "save_steps=20"];
    let mut said = String::new();
    // Blocks of 512 or 1024 bytes, as the shell has it: too little for a checkpoint, then for the metrics.
    for limit in [40, 120] {
        let line = format!("ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut limited = Command::new("sh");
        limited.args(["-c", &line, DANLU]).args(train_args(&run, &sets, &[]));
        let done: common::Done = limited.output().unwrap().into();
        assert_eq!(done.code, Some(1), "{limit}: {} {}", done.out, done.err);
        assert!(done.err.contains("ulimit -f"), "{}", done.err);
        said += &done.out;
    }
    assert!(said.contains("save_failed"), "{said}");
    train(&run, &sets, &[]).good();
    train(&whole, &sets, &[]).good();
    assert!(tensors(&common::checkpoint(&run, 400)) == tensors(&common::checkpoint(&whole, 400)));
    assert_eq!(metrics(&run), metrics(&whole));
}

/// No stack of that size is available, so no thread is: the same error as at the process's thread limit.
#[test]
fn without_a_thread_to_be_had_it_is_exit_4_and_a_sentence() {
    let dir = scratch();
    let sets: Vec<&str> = TINY.iter().flat_map(|set| ["--set", set]).collect();
    let run = text(&dir.path().join("run"));
    let all = [vec!["train", "--json", "--run", &run], sets].concat();
    let verbs: [&[&str]; 4] = [&all, &["recipe", "--run", &run], &["data", "--run", &run], &["bench"]];
    for verb in verbs {
        let done: common::Done =
            command(verb).env("RUST_MIN_STACK", (1_u64 << 46).to_string()).output().unwrap().into();
        done.refused(4, &["cannot start a thread", "ulimit -u"]);
    }
    assert!(!dir.path().join("run").exists(), "nothing is begun");
}

/// Each thread in turn, if strace is available: no panic, no abort, and the run continues.
#[test]
#[ignore = "needs strace; some seconds a thread"]
fn whichever_thread_cannot_be_had() {
    let dir = scratch();
    let sets = ["steps=12", "save_steps=6"];
    let whole = dir.path().join("whole");
    train(&whole, &sets, &[]).good();
    for k in 1..=16 {
        let run = dir.path().join(k.to_string());
        let inject = format!("inject=clone3:error=EAGAIN:when={k}");
        let log = dir.path().join("trace");
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-o", &text(&log), "-e", "trace=clone3", "-e", &inject, DANLU]);
        let done: common::Done = traced.args(train_args(&run, &sets, &[])).output().unwrap().into();
        let injected = fs::read_to_string(&log).unwrap().contains("INJECTED");
        eprintln!("{k}: {:?} {}", done.code, done.err);
        assert!(matches!(done.code, Some(0 | 4)), "{k}: {:?} {}", done.code, done.err);
        assert!(!done.err.contains("panicked"), "{k}: {}", done.err);
        train(&run, &sets, &[]).good();
        assert!(tensors(&common::checkpoint(&run, 12)) == tensors(&common::checkpoint(&whole, 12)), "{k}");
        if !injected {
            break;
        }
    }
}
