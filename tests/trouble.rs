//! A disk error while a stage runs in the workbench: it pauses, reports the error, keeps its data, and continues with
//! `w` or space to the same bits. Every disk operation is failed in turn, once and permanently.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{path::Path, time::Duration};

use common::{
    TINY,
    fault::{Fault, FaultFs},
    launch::setup,
};
use crossbeam_channel::unbounded;
use danlu::{
    base::StageId,
    compute::Device,
    protocol::{Command, Event},
    session::{EVENTS, Session},
    store::Run,
    train::{OpenRun, Setup, Summary, TrainError, Trainer, settled},
};

const DIR: &str = "/elsewhere/r";
const STEPS: usize = 6;
const SETS: [&str; 4] = ["steps=6", "save_steps=2", "eval_steps=4", "probe_steps=3"];

fn wishes(interactive: bool) -> Setup {
    let base = setup("pretrain", TINY.iter().filter(|s| !s.contains("eval_") && !s.contains("probe_")).chain(&SETS));
    Setup { size: Some("1m".to_owned()), interactive, ..base }
}

fn trainer(disk: &FaultFs, setup: &Setup) -> Trainer {
    let mut device = Device::open("cpu").unwrap();
    let run = Run::open(disk.shared(), Path::new(DIR)).unwrap();
    let config = settled(&run, setup, &mut device).unwrap();
    Trainer::new(OpenRun::new(run, device), config, setup).map_err(|unready| unready.error).unwrap()
}

fn base() -> FaultFs {
    let disk = FaultFs::new();
    drop(Run::create(disk.shared(), Path::new(DIR), "").unwrap());
    disk.copy()
}

/// The lines of metrics.jsonl without times.
fn metrics(disk: &FaultFs) -> Vec<String> {
    let text = String::from_utf8(disk.peek(Path::new(DIR).join("metrics.jsonl").as_path()).unwrap()).unwrap();
    let line = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        fields.retain(|name, _| !["time", "tokens_per_second", "step_ms"].contains(&name.as_str()));
        line.to_string()
    };
    text.lines().map(line).collect()
}

/// The tensors of the last step's newest save.
fn weights(disk: &FaultFs) -> [Vec<u8>; 2] {
    let last = format!("pretrain-{STEPS:08}");
    let folders = disk.files().into_iter().filter_map(|f| Some(f.parent()?.to_owned()));
    let newest =
        folders.filter(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&last))).max().unwrap();
    ["model.safetensors", "optimizer.safetensors"].map(|name| disk.peek(&newest.join(name)).unwrap())
}

/// How the disk fails.
#[derive(Clone, Copy, Debug)]
struct Plan {
    at: usize,
    fault: Fault,
    for_good: bool,
}

/// Trains to the end as in the workbench; the disk fails by the plan, and is repaired when the stage pauses. Returns
/// whether it failed, and how often the stage paused.
fn played(disk: &FaultFs, plan: Option<Plan>, answer: &Command) -> (Result<Summary, TrainError>, bool, usize) {
    let trainer = trainer(disk, &wishes(true));
    let (send, commands) = unbounded();
    let (mut told, mut pauses, mut fired, mut saved) = (0, 0, false, 0);
    let mut emit = |event: Event| match event {
        Event::Started(_) => {
            if let Some(Plan { at, fault, for_good }) = plan {
                if for_good { disk.fail_from(at, fault) } else { disk.fail_at(at, fault) }
            }
        }
        Event::Saved { step, .. } => saved = step,
        Event::SaveFailed { .. } | Event::StoreFailed { .. } => {
            fired |= disk.fired();
            told += 1;
            assert!(told < 50, "{plan:?}: the same error again and again");
        }
        Event::Paused { .. } if saved == STEPS && told == pauses => send.send(Command::Stop { save: true }).unwrap(),
        Event::Paused { .. } => {
            pauses = told;
            disk.heal();
            send.send(answer.clone()).unwrap();
        }
        _ => {}
    };
    let (result, shop) = trainer.run(&commands, &mut emit);
    drop(shop);
    fired |= disk.fired();
    (result, fired, told)
}

#[test]
fn after_any_failure_the_stage_pauses_and_resumes_to_the_same_bits() {
    assert!(each_fails_in_turn(6) > 12, "the test saw little");
}

#[test]
#[ignore = "takes minutes: every operation in turn"]
fn every_operation_fails_in_turn() {
    let paused = each_fails_in_turn(1);
    eprintln!("{paused} runs paused");
    assert!(paused > 200, "{paused}");
}

/// Runs with every `nth` operation failing, in four ways; returns how many runs paused.
fn each_fails_in_turn(nth: usize) -> usize {
    let base = base();
    let whole = base.copy();
    whole.mark();
    let (result, fired, told) = played(&whole, None, &Command::Resume);
    assert_eq!((result.unwrap().step, fired, told), (STEPS, false, 0));
    let (lines, bits) = (metrics(&whole), weights(&whole));
    assert_eq!(lines.len(), STEPS);
    let mut paused = 0;
    let kinds = [
        (Fault::NoSpace, true, Command::Save, 0),
        (Fault::Io, false, Command::Resume, 1),
        (Fault::Denied, true, Command::Resume, 2),
        (Fault::Short, false, Command::Save, 3),
    ];
    for (fault, for_good, answer, from) in kinds {
        for at in (from..).step_by(nth) {
            let plan = Plan { at, fault, for_good };
            let disk = base.copy();
            let (result, fired, told) = played(&disk, Some(plan), &answer);
            let summary = result.unwrap_or_else(|e| panic!("{plan:?}: the stage ended: {e}"));
            assert_eq!(summary.step, STEPS, "{plan:?}");
            assert_eq!(metrics(&disk), lines, "{plan:?}");
            assert!(weights(&disk) == bits, "{plan:?}: other weights");
            let left: Vec<_> = disk.files().into_iter().filter(|f| f.to_string_lossy().contains("/.tmp-")).collect();
            assert!(left.is_empty() || told > 0, "{plan:?}: {left:?}");
            paused += usize::from(told > 0);
            if !fired {
                break;
            }
        }
    }
    paused
}

/// Without a screen the stage ends with exit code 1, and the next launch continues to the same bits.
#[test]
fn without_a_screen_it_ends_and_is_gone_on_with() {
    let base = base();
    let whole = base.copy();
    let run = |disk: &FaultFs, plan: Option<Plan>| {
        let trainer = trainer(disk, &wishes(false));
        if let Some(Plan { at, fault, .. }) = plan {
            disk.fail_from(at, fault);
        }
        let (result, shop) = trainer.run(&unbounded().1, &mut |_| {});
        drop(shop);
        let fired = disk.fired();
        disk.heal();
        (result, fired)
    };
    run(&whole, None).0.unwrap();
    for at in (0..).step_by(11) {
        let disk = base.copy();
        let (result, fired) = run(&disk, Some(Plan { at, fault: Fault::NoSpace, for_good: true }));
        if let Err(e) = &result {
            assert_eq!(e.exit_code(), 1, "at {at}: {e}");
            run(&disk, None).0.unwrap_or_else(|e| panic!("at {at}: {e}"));
        }
        assert!(metrics(&disk) == metrics(&whole) && weights(&disk) == weights(&whole), "at {at}: {result:?}");
        if !fired {
            break;
        }
    }
}

/// A stop that cannot save loses nothing: the stage stays open until the disk works or the user gives up.
#[test]
fn a_stop_that_cannot_save_is_not_the_end() {
    let disk = base();
    let trainer = trainer(&disk, &wishes(true));
    let (send, commands) = unbounded();
    let (mut failed, mut saved) = (0, 0);
    let mut emit = |event: Event| match event {
        Event::Steps(steps) if steps.iter().any(|s| s.step == 3) => {
            disk.fail_from(0, Fault::NoSpace);
            send.send(Command::Stop { save: true }).unwrap();
        }
        Event::SaveFailed { .. } => {
            failed += 1;
            if failed == 2 {
                disk.heal();
            }
            send.send(Command::Stop { save: true }).unwrap();
        }
        Event::Saved { step, .. } => saved = saved.max(step),
        _ => {}
    };
    let (result, _shop) = trainer.run(&commands, &mut emit);
    let step = result.unwrap().step;
    assert!(failed >= 2 && saved == step && step < STEPS, "{failed} failed, saved {saved} of {step}");
}

/// After a panic the trainer used to report step 0, and the screen could train nothing more.
#[test]
fn a_panicked_trainer_says_its_step_and_is_opened_again() {
    let disk = base();
    let trainer = trainer(&disk, &wishes(true));
    let emit = |event: Event| {
        assert!(!matches!(&event, Event::Steps(steps) if steps[0].step == 5), "a bug at step 5");
    };
    let last = std::cell::Cell::new(None);
    let mut told = |event: Event| {
        if let Event::Finished { step, reason, failed, .. } = &event {
            last.set(Some((*step, *failed, reason.clone())));
        }
        emit(event);
    };
    let (result, shop) = trainer.run(&unbounded().1, &mut told);
    assert_eq!(result.unwrap_err().exit_code(), 101);
    let (step, failed, reason) = last.take().unwrap();
    assert!(
        step == 5 && failed && reason.contains("a bug at step 5") && reason.contains("panicked"),
        "{step} {reason}"
    );
    // The open run is intact: the stage continues from its newest checkpoint in it.
    let OpenRun { run, device, .. } = shop;
    let config = settled(&run, &wishes(true), &mut Device::open("cpu").unwrap()).unwrap();
    let again = Trainer::new(OpenRun::new(run, device), config, &wishes(false)).map_err(|u| u.error).unwrap();
    let mut from = 0;
    let mut started = |event: Event| {
        if let Event::Started(info) = event {
            from = info.resumed_at;
        }
    };
    assert_eq!(again.run(&unbounded().1, &mut started).0.unwrap().step, STEPS);
    assert_eq!(from, 4);
}

/// In a session neither stage can be opened; it waits for the next request.
#[test]
fn a_session_outlives_the_failure_of_its_stages() {
    let base = base();
    let setup = wishes(true);
    for at in (0..).step_by(3) {
        let disk = base.copy();
        let session = Session::start(trainer(&disk, &setup), setup.clone()).unwrap();
        let next = || session.events.recv_timeout(Duration::from_mins(1)).expect("an event");
        let ask = |stage| session.commands.send(Command::Stage { stage }).unwrap();
        while !matches!(next(), Event::Saved { step: STEPS, .. }) {}
        disk.fail_from(at, Fault::Denied);
        ask(StageId::Sft);
        let mut switched = false;
        let failed = loop {
            match next() {
                Event::Finished { failed: true, .. } => break true,
                Event::Finished { .. } => switched = true,
                Event::Refused { .. } if !switched => break false,
                Event::Started(_) => panic!("{at}: no opening failed"),
                _ => {}
            }
        };
        disk.heal();
        if !failed {
            continue;
        }
        ask(StageId::Pretrain);
        let info = loop {
            if let Event::Started(info) = next() {
                break info;
            }
        };
        assert_eq!((info.stage, info.resumed_at), (StageId::Pretrain, STEPS));
        session.commands.send(Command::Stop { save: false }).unwrap();
        while !matches!(next(), Event::Finished { failed: false, .. }) {}
        assert!(session.events.recv_timeout(Duration::from_secs(20)).is_err(), "and it is over");
        return;
    }
}

/// The channel to the screen is full when the log fails, so the error waits in the trainer: a paused stage emits
/// nothing more and used to keep it forever.
#[test]
fn an_error_reaches_a_screen_that_read_nothing_until_the_pause() {
    let disk = base();
    let base = wishes(true);
    let sets = [("steps", "10000"), ("save_steps", "0"), ("eval_steps", "0"), ("probe_steps", "0")];
    let sets = sets.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let setup = Setup {
        sets: base
            .sets
            .iter()
            .filter(|s| s.0 == "mix" || !sets.iter().any(|n| n.0 == s.0))
            .chain(&sets)
            .cloned()
            .collect(),
        ..base
    };
    let session = Session::start(trainer(&disk, &setup), setup).unwrap();
    let log = Path::new(DIR).join("metrics.jsonl");
    let lines = || disk.peek(&log).map_or(0, |bytes| bytes.split(|b| *b == b'\n').count());
    while lines() < EVENTS + 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    disk.fail_from(0, Fault::NoSpace);
    // Nothing is read until the failed line has paused the stage.
    let mut last = 0;
    while last != lines() {
        last = lines();
        std::thread::sleep(Duration::from_millis(100));
    }
    let next = || session.events.recv_timeout(Duration::from_mins(1)).expect("an event");
    while !matches!(next(), Event::StoreFailed { .. }) {}
    while !matches!(next(), Event::Paused { .. }) {}
    disk.heal();
    session.commands.send(Command::Stop { save: true }).unwrap();
    while !matches!(next(), Event::Finished { failed: false, .. }) {}
}
