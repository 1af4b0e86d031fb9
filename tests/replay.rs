//! A run's files on the screen, read only: everything at once or played, beside a training process, and nothing written.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{danlu, metrics, pty::Pty, scratch, snapshot, text, train};
use danlu::{
    base::StageId,
    protocol::{Command, Event},
    session::Session,
    store::{RealFs, RunView},
    train::Film,
};
use portable_pty::CommandBuilder;

const SETS: [&str; 5] = ["steps=12", "save_steps=4", "eval_steps=4", "probe_steps=4", "learning_rate=3e-3"];

fn pretrained(dir: &Path) -> PathBuf {
    let run = dir.join("runs/a");
    train(&run, &SETS, &[]).good();
    run
}

fn film(run: &Path) -> Film {
    Film::new(RunView::open(RealFs::shared(), run).unwrap())
}

/// All events until the film pauses at its end.
fn played(run: &Path, speed: f64) -> Vec<Event> {
    let session = Session::replay(film(run), Some(speed)).unwrap();
    let mut all = Vec::new();
    loop {
        match session.events.recv_timeout(Duration::from_mins(1)).expect("an event") {
            Event::Paused { .. } => break,
            event => all.push(event),
        }
    }
    session.commands.send(Command::Stop { save: true }).unwrap();
    let last = session.events.iter().last();
    assert!(matches!(&last, Some(Event::Finished { reason, failed: false, .. }) if reason == "stopped"), "{last:?}");
    all
}

fn steps(events: &[Event]) -> Vec<usize> {
    let of = |event: &Event| match event {
        Event::Steps(steps) => steps.iter().map(|s| s.step).collect(),
        _ => Vec::new(),
    };
    events.iter().flat_map(of).collect()
}

/// Every step and probe in the order of training, and nothing of the run changes.
#[test]
fn a_played_run_gives_its_events_in_order() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let before = snapshot(&run);
    let events = played(&run, 1e6);
    let first = events.iter().find(|event| !matches!(event, Event::Clock(_)));
    assert!(matches!(first, Some(Event::Started(info)) if info.read_only && info.stage == StageId::Pretrain));
    assert_eq!(steps(&events), (1..=12).collect::<Vec<_>>());
    let mut done = 0;
    let mut probes = 0;
    for event in &events {
        match event {
            Event::Steps(new) => done = new.last().unwrap().step,
            Event::Probe { step, .. } => {
                assert_eq!(*step, done, "a probe comes after its step and before the next one");
                probes += 1;
            }
            _ => {}
        }
    }
    assert!(probes >= 4, "{probes}");
    // Each has its time of the training, and the clock goes back to now.
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let saved = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let saved: Vec<f64> = saved.filter(|l| l["event"] == "saved").map(|l| l["time"].as_f64().unwrap()).collect();
    let stamped: Vec<f64> = events
        .windows(3)
        .filter_map(|w| match w {
            [Event::Clock(Some(time)), Event::Saved { .. }, Event::Clock(None)] => Some(*time),
            _ => None,
        })
        .collect();
    assert!(!saved.is_empty());
    assert_eq!(stamped, saved);
    assert!(snapshot(&run) == before, "the run was written to");
}

/// Logs of version 0.1 have no times.
#[test]
fn a_log_without_times_is_played_in_order_too() {
    let dir = scratch();
    let run = pretrained(dir.path());
    for name in ["metrics.jsonl", "events.jsonl"] {
        let lines: String = fs::read_to_string(run.join(name))
            .unwrap()
            .lines()
            .map(|line| {
                let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                line.as_object_mut().unwrap().remove("time");
                line.to_string() + "\n"
            })
            .collect();
        fs::write(run.join(name), lines).unwrap();
    }
    let events = played(&run, 1e6);
    assert_eq!(steps(&events), (1..=12).collect::<Vec<_>>());
    let at = |wanted: usize| events.iter().position(|e| matches!(e, Event::Probe { step, .. } if *step == wanted));
    let step = |wanted: usize| {
        events.iter().position(|e| matches!(e, Event::Steps(steps) if steps.iter().any(|s| s.step == wanted)))
    };
    assert!(step(4) < at(4) && at(4) < step(5));
}

/// Without a speed all is there at once; what another process adds follows.
#[test]
fn what_is_added_to_the_files_follows() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let session = Session::replay(film(&run), None).unwrap();
    let next = || session.events.recv_timeout(Duration::from_mins(1)).expect("an event");
    assert!(matches!(next(), Event::Started(info) if info.resumed_at == 12 && info.read_only));
    let Event::Past(past) = next() else { panic!("the past") };
    assert_eq!(past.stages[0].steps.len(), 12);
    assert!(past.log.is_some());
    train(&run, &SETS, &["--steps", "15"]).good();
    let mut seen = Vec::new();
    while seen.last() != Some(&15) {
        seen.extend(steps(&[next()]));
    }
    assert_eq!(seen, [13, 14, 15]);
    // What would change something is refused; the list of runs is answered.
    for command in [Command::Save, Command::Probe, Command::Stage { stage: StageId::Sft }] {
        session.commands.send(command).unwrap();
        loop {
            if let Event::Refused { text } = next() {
                assert!(text.contains("replay"), "{text}");
                break;
            }
        }
    }
    session.commands.send(Command::ShowRuns).unwrap();
    loop {
        if let Event::Runs { runs, .. } = next() {
            assert_eq!(runs.len(), 1);
            break;
        }
    }
    assert_eq!(metrics(&run).len(), 15);
}

/// A run that goes back to an earlier checkpoint cuts its log: what was shown is not shown again.
#[test]
fn a_log_that_is_cut_follows_from_the_cut() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let session = Session::replay(film(&run), None).unwrap();
    let next = || session.events.recv_timeout(Duration::from_mins(1)).expect("an event");
    assert!(matches!(next(), Event::Started(_)));
    assert!(matches!(next(), Event::Past(_)));
    for step in [8, 12] {
        fs::remove_dir_all(common::checkpoint(&run, step)).unwrap();
    }
    train(&run, &SETS, &["--steps", "6"]).good();
    let (mut seen, mut launches) = (Vec::new(), Vec::new());
    while seen.last() != Some(&6) {
        match next() {
            Event::Started(info) => launches.push(info.resumed_at),
            event => seen.extend(steps(&[event])),
        }
    }
    assert_eq!((launches, seen), (vec![4], vec![5, 6]));
}

/// On a terminal: the film goes back through the probes, and `q` closes without a question.
#[test]
fn the_film_is_moved_by_keys() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let before = snapshot(&run);
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
    command.args(["--lang", "en", "replay", &text(&run)]);
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    command.cwd(&elsewhere);
    let mut pty = Pty::spawn(command, &[], true);
    pty.wait_for("read only");
    pty.wait_for("step 12");
    pty.send(b"R");
    pty.wait_for("film  step 0");
    pty.send(b"\x1b[F");
    pty.wait_for("film  step 12");
    pty.send(b"\x1b[D");
    pty.wait_for("film  step 8");
    pty.send(b"\x1b[D");
    pty.wait_for("film  step 4");
    pty.send(b"\x1b[C");
    pty.wait_for("film  step 8");
    pty.send(b"p");
    pty.wait_for("a replay, read only");
    // An export goes to the current folder, never into the run.
    pty.send(b"E");
    pty.wait_for("into the current folder");
    pty.send(b"\r");
    pty.wait_for("exported");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    pty.send(b"q");
    pty.gives_back(0);
    assert!(snapshot(&run) == before, "the run was written to");
}

/// A second workbench on a run that is in use offers it read only.
#[test]
fn a_run_in_use_is_offered_read_only() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let _open = danlu::store::Run::open(RealFs::shared(), &run).unwrap();
    let open = || {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
        command.args(["--lang", "en", "--adapter", "cpu", "--run", &text(&run)]);
        let mut pty = Pty::spawn(command, &[], true);
        pty.wait_for("Open it read only? [Y/n]");
        pty
    };
    let mut pty = open();
    pty.send(b"n\n");
    let shell = pty.gives_back(3);
    assert!(shell.contains("in use"), "{shell}");
    let mut pty = open();
    pty.send(b"\n");
    pty.wait_for("⣀ read only");
    pty.wait_for("step 12");
    pty.send(b"q");
    pty.gives_back(0);
}

#[test]
fn what_cannot_be_replayed_is_refused_in_a_sentence() {
    let dir = scratch();
    let run = pretrained(dir.path());
    danlu(["replay", &text(&run)]).refused(2, &["needs a terminal"]);
    danlu(["replay", &text(&run), "--speed", "0"]).refused(2, &["--speed 0", "above 0"]);
    danlu(["replay", &text(&dir.path().join("none"))]).refused(2, &["none"]);
    fs::remove_file(run.join("events.jsonl")).unwrap();
    let error = Session::replay(film(&run), None).err().expect("refused").to_string();
    assert!(error.contains("never trained"), "{error}");
}
