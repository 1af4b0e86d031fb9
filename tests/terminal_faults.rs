//! The workbench on a pseudo-terminal, disturbed by the disk, a signal or early keystrokes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail by panicking")]

mod common;

use std::{fs, path::Path, thread, time::Duration};

use common::{DANLU, TINY, pty::Pty};
use portable_pty::CommandBuilder;
use rustix::process::Signal;

/// The workbench on a tiny run.
fn workbench(run: &Path, sets: &[&str], shell: Option<&str>) -> Pty {
    let mut command = match shell {
        Some(line) => {
            let mut command = CommandBuilder::new("sh");
            command.args(["-c", &format!("{line}; exec \"$0\" \"$@\""), DANLU]);
            command
        }
        None => CommandBuilder::new(DANLU),
    };
    command.args(["--adapter", "cpu", "--lang", "zh", "--size", "1m", "--run"]);
    command.arg(run);
    for set in TINY.iter().chain(sets) {
        command.args(["--set", set]);
    }
    Pty::spawn(command, &[("XDG_RUNTIME_DIR", "/tmp")], true)
}

const LONG: &[&str] = &["steps=10000000", "save_steps=0"];

/// To the log a file size limit is a full disk: the stage used to end, and before that SIGXFSZ killed it.
#[test]
fn a_log_that_cannot_grow_pauses_the_stage_and_the_terminal_stays_whole() {
    let dir = common::scratch();
    let mut pty = workbench(&dir.path().join("run"), LONG, Some("ulimit -f 200"));
    pty.wait_for("训练中");
    pty.wait_for("读写出错");
    pty.wait_for("按 w 保存");
    pty.wait_for("已暂停");
    assert!(pty.contents().contains("ulimit -f"), "{}", pty.contents());
    // Still failing: space shows the same error again, and the screen works.
    pty.send(b" ");
    thread::sleep(Duration::from_millis(300));
    pty.wait_for("读写出错");
    pty.signal(Signal::TERM);
    pty.gives_back(1);
}

#[test]
fn signals_that_end_the_process_give_the_terminal_back() {
    let dir = common::scratch();
    for (name, signal) in [("quit", Signal::QUIT), ("abort", Signal::ABORT), ("user", Signal::USR1)] {
        let mut pty = workbench(&dir.path().join(name), LONG, Some("ulimit -c 0"));
        pty.wait_for("训练中");
        pty.signal(signal);
        pty.until("the end", |pty| pty.contents().contains("the newest checkpoint is intact"));
        let status = pty.child.wait().unwrap();
        assert!(!status.success(), "{name}: {status:?}");
        thread::sleep(Duration::from_millis(100));
        while let Ok(bytes) = pty.bytes.try_recv() {
            pty.screen.process(&bytes);
        }
        pty.is_given_back();
    }
}

/// The terminal does not answer the cursor query; keys typed meanwhile and before used to be lost.
#[test]
fn no_key_is_lost_at_the_start() {
    let dir = common::scratch();
    for (name, keys, shows) in [
        ("help", "?".as_bytes(), "帮助 help"),
        ("han", "春眠不觉晓".as_bytes(), "❯ 春眠不觉晓"),
        ("paste", b"\x1b[200~one two\x1b[201~".as_slice(), "❯ one two"),
        ("quit", b"q".as_slice(), "保存并退出"),
    ] {
        let mut pty = workbench(&dir.path().join(name), LONG, None);
        pty.until("the question", |pty| pty.raw.windows(4).any(|w| w == b"\x1b[6n"));
        pty.send(keys);
        pty.wait_for(shows);
        pty.signal(Signal::TERM);
        pty.gives_back(0);
    }
    // Before the screen is up the line discipline still has them.
    let mut pty = workbench(&dir.path().join("early"), LONG, None);
    pty.send("i你好".as_bytes());
    pty.wait_for("❯ 你好");
    pty.signal(Signal::TERM);
    pty.gives_back(0);
    assert!(fs::read_dir(dir.path().join("early/checkpoints")).unwrap().count() > 0);
}

#[test]
fn two_signals_within_a_second_save_once_and_give_the_terminal_back() {
    let dir = common::scratch();
    let run = dir.path().join("run");
    let mut pty = workbench(&run, LONG, None);
    pty.wait_for("训练中");
    pty.until("a step", |_| fs::metadata(run.join("metrics.jsonl")).is_ok_and(|m| m.len() > 0));
    pty.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(400));
    // It may have exited already.
    let _ = rustix::process::kill_process(pty.pid(), Signal::TERM);
    pty.gives_back(0);
    assert_eq!(common::checkpoints(&run).len(), 1);
}
