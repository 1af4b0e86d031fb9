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
        pty.read_to_end();
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
    let run = dir.path().join("early");
    let mut pty = workbench(&run, LONG, None);
    pty.send("i你好".as_bytes());
    pty.wait_for("❯ 你好");
    first_step(&mut pty, &run);
    pty.signal(Signal::TERM);
    pty.gives_back(0);
    assert!(fs::read_dir(run.join("checkpoints")).unwrap().count() > 0);
}

#[test]
fn two_signals_within_a_second_save_once_and_give_the_terminal_back() {
    let dir = common::scratch();
    let run = dir.path().join("run");
    let mut pty = workbench(&run, LONG, None);
    pty.wait_for("训练中");
    first_step(&mut pty, &run);
    pty.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(400));
    // It may have exited already.
    let _ = rustix::process::kill_process(pty.pid(), Signal::TERM);
    pty.gives_back(0);
    assert_eq!(common::checkpoints(&run).len(), 1);
}

/// The checkpoints of the run, by name.
fn saved(run: &Path) -> Vec<String> {
    let mut names = common::checkpoints(run);
    names.sort();
    names
}

/// SIGHUP, or a terminal that closes, ends the screen and not the training: it goes to the stage's end and saves there.
#[test]
fn a_terminal_that_hangs_up_leaves_the_training_to_its_end() {
    for closed in [false, true] {
        let dir = common::scratch();
        let run = dir.path().join("run");
        let mut pty = workbench(&run, &["steps=600", "save_steps=0"], None);
        pty.wait_for("训练中");
        if !closed {
            pty.signal(Signal::HUP);
            // A closing session sends it twice.
            pty.signal(Signal::HUP);
        }
        let Pty { mut child, keys, bytes, master, .. } = pty;
        let open = (keys, bytes, master);
        let open = (!closed).then_some(open);
        let status = child.wait().unwrap();
        drop(open);
        assert!(status.success(), "{closed}: {status:?}");
        assert_eq!(saved(&run), ["pretrain-00000600"], "{closed}");
    }
}

/// Waits for the run's first step: before it nothing is to be saved.
fn first_step(pty: &mut Pty, run: &Path) {
    pty.until("a step", |_| fs::metadata(run.join("metrics.jsonl")).is_ok_and(|m| m.len() > 0));
}

/// Without a screen SIGTERM saves and ends as ever; a stage that waits for its user is saved at once.
#[test]
fn without_a_screen_a_signal_still_saves_and_ends() {
    let dir = common::scratch();
    let run = dir.path().join("term");
    let mut pty = workbench(&run, LONG, None);
    pty.wait_for("训练中");
    first_step(&mut pty, &run);
    pty.signal(Signal::HUP);
    pty.until("the shell's screen", |pty| !pty.screen.screen().alternate_screen());
    pty.is_given_back();
    thread::sleep(Duration::from_millis(300));
    assert!(pty.child.try_wait().unwrap().is_none(), "it trains on");
    pty.signal(Signal::TERM);
    assert!(pty.child.wait().unwrap().success());
    assert_eq!(saved(&run).len(), 1);

    let run = dir.path().join("paused");
    let mut pty = workbench(&run, LONG, None);
    pty.wait_for("训练中");
    first_step(&mut pty, &run);
    pty.send(b" ");
    pty.wait_for("已暂停");
    pty.signal(Signal::HUP);
    assert!(pty.child.wait().unwrap().success());
    assert_eq!(saved(&run).len(), 1);
}

/// What the user changes on the screen is there at the next start, whichever run is opened.
#[test]
fn the_screen_remembers_its_settings() {
    let dir = common::scratch();
    let home = dir.path().join("home");
    let opened = |name: &str, lang: &[&str]| {
        let mut command = CommandBuilder::new(DANLU);
        command.args(["--adapter", "cpu", "--size", "1m", "--run"]);
        command.arg(dir.path().join(name));
        command.args(lang);
        for set in TINY.iter().chain(LONG) {
            command.args(["--set", set]);
        }
        Pty::spawn(command, &[("XDG_CONFIG_HOME", home.to_str().unwrap()), ("LC_ALL", "zh_CN.UTF-8")], true)
    };
    let takes_mouse: fn(&Pty) -> bool =
        |pty| pty.screen.screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None;
    let mut pty = opened("a", &[]);
    pty.wait_for("训练中");
    assert!(takes_mouse(&pty));
    // F2, and English.
    pty.send(b"\x1bOQ");
    pty.until("the mouse is free", |pty| !takes_mouse(pty));
    pty.send(b":lang en\r");
    pty.wait_for("training");
    pty.signal(Signal::TERM);
    pty.gives_back(0);
    let text = fs::read_to_string(home.join("danlu/screen.toml")).unwrap();
    assert!(text.contains("lang = \"en\"") && text.contains("mouse = false"), "{text}");

    let mut pty = opened("b", &[]);
    pty.wait_for("training");
    assert!(!takes_mouse(&pty));
    pty.signal(Signal::TERM);
    pty.gives_back(0);
    // Kept while it trains: a process that is killed has lost nothing.
    let mut pty = opened("b", &[]);
    pty.wait_for("training");
    pty.send(b"\x1bOQ");
    pty.until("the mouse is taken", takes_mouse);
    let kept = || fs::read_to_string(home.join("danlu/screen.toml")).unwrap().contains("mouse = true");
    pty.until("the setting on disk", |_| kept());
    pty.signal(Signal::KILL);
    assert!(!pty.child.wait().unwrap().success());
    // The command line has the last word, and a broken file is no obstacle.
    fs::write(home.join("danlu/screen.toml"), "mouse = 7").unwrap();
    let mut pty = opened("b", &["--lang", "zh"]);
    pty.wait_for("训练中");
    pty.signal(Signal::TERM);
    pty.gives_back(0);
    assert_eq!(fs::read_to_string(home.join("danlu/screen.toml")).unwrap(), "mouse = 7", "nothing was changed");
}

/// A click with the terminal's own report: the crosshair appears, and dragging moves it.
#[test]
fn the_mouse_moves_the_crosshair() {
    let dir = common::scratch();
    let mut pty = workbench(&dir.path().join("run"), LONG, None);
    pty.wait_for("训练中");
    pty.until("some steps", |pty| pty.contents().contains("EMA"));
    thread::sleep(Duration::from_millis(1500));
    // Column 40, row 8 is in the loss chart of 120 × 36.
    pty.send(b"\x1b[<0;40;8M");
    pty.until("the read-out", |pty| pty.contents().lines().nth(2).is_some_and(|line| line.contains('步')));
    let before = pty.contents().lines().nth(2).unwrap_or_default().to_owned();
    pty.send(b"\x1b[<32;20;8M");
    pty.until("another step", |pty| pty.contents().lines().nth(2).is_some_and(|line| line != before));
    pty.send(b"\x1b[<0;20;8m\x1b");
    pty.signal(Signal::TERM);
    pty.gives_back(0);
}

/// Positions that count from 0 overflow in crossterm: every key after them used to be lost, and nothing but a signal
/// ended the program.
#[test]
fn a_report_of_no_place_takes_no_key() {
    let dir = common::scratch();
    let mut pty = workbench(&dir.path().join("run"), LONG, None);
    pty.wait_for("训练中");
    for report in
        [&b"\x1b[<0;0;5M"[..], b"\x1b[<0;5;0M", b"\x1b[<32;0;0M", b"\x1b[M !\x20", b"\x1b[0;0R", b"\x1b[32;0;0M"]
    {
        pty.send(report);
        thread::sleep(Duration::from_millis(100));
        pty.send(b"?");
        pty.wait_for("帮助 help");
        pty.send(b"q");
        pty.until("no help", |pty| !pty.contents().contains("帮助 help"));
    }
    assert!(!pty.contents().contains("panicked"), "{}", pty.contents());
    pty.signal(Signal::TERM);
    pty.gives_back(0);
}

/// `Y` sends the text in OSC 52, which a terminal puts into its clipboard.
#[test]
fn a_copy_is_sent_to_the_terminal() {
    let dir = common::scratch();
    let mut pty = workbench(&dir.path().join("run"), LONG, None);
    pty.wait_for("训练中");
    pty.send(b"Y");
    pty.wait_for("已复制");
    let raw = String::from_utf8_lossy(&pty.raw).into_owned();
    assert!(raw.contains("\x1b]52;c;"), "no OSC 52");
    pty.signal(Signal::TERM);
    pty.gives_back(0);
}
