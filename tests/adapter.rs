//! Exact resume and kill -9 on the first available adapter (a software driver is enough): the same promises as
//! `tests/resume.rs` and `tests/crash.rs` for the CPU engine.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{Running, checkpoint, json_file, metrics, no_leftovers, scratch, tensors, train};
use libtest_mimic::{Arguments, Failed, Trial};

const STEPS: usize = 12;
const SETS: &[&str] = &["steps=12", "save_steps=3", "gradient_accumulation_steps=2", "model.dropout=0.1"];

/// The same numbers at every step, and the same tensors at the last.
fn same(a: &Path, b: &Path) {
    assert_eq!(metrics(a), metrics(b));
    assert_eq!(metrics(a).len(), STEPS);
    assert!(tensors(&checkpoint(a, STEPS)) == tensors(&checkpoint(b, STEPS)), "the tensors differ");
    no_leftovers(b);
}

fn stopped_and_gone_on(more: &[&str]) {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    train(&a, SETS, more).good();
    train(&b, SETS, &[more, &["--steps", "5"]].concat()).good();
    train(&b, SETS, more).good();
    same(&a, &b);
    // It ran on the requested adapter.
    let state = fs::read_to_string(checkpoint(&b, STEPS).join("state.json")).unwrap();
    assert!(state.contains("\"engine\": \"wgpu\""), "{state}");
}

/// Half precision gives other numbers than f32, and a danlu that does not support it refuses to continue.
fn half_precision() {
    stopped_and_gone_on(HALF);
    let dir = scratch();
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
    train(&a, SETS, HALF).good();
    train(&b, SETS, FULL).good();
    train(&c, SETS, &["--precision", "auto"]).good();
    assert_ne!(metrics(&a), metrics(&b));
    let precision = |run: &Path, step| json_file(&checkpoint(run, step).join("state.json"))["precision"].clone();
    assert_eq!((precision(&a, STEPS), precision(&b, STEPS)), ("f16".into(), "f32".into()));
    // Without the option run.toml decides, and `auto` there stays with the checkpoint.
    let later = [
        (&a, &[][..], 13, "f16", None),
        (&a, FULL, 14, "f32", Some("was trained in f16; training continues in f32")),
        (&b, HALF, 13, "f16", Some("was trained in f32; training continues in f16")),
        (&b, &[], 14, "f32", Some("was trained in f16")),
        (&c, HALF, 13, "f16", None),
        (&c, &[], 14, "f16", None),
        (&c, FULL, 15, "f32", Some("was trained in f16")),
        (&c, &[], 16, "f32", None),
    ];
    for (run, more, step, wanted, note) in later {
        let steps = step.to_string();
        let more = [more, &["--steps", &steps]].concat();
        let done = train(run, &["save_steps=3"], &more);
        let done = done.good();
        assert_eq!(precision(run, step), wanted, "{} at {step}", run.display());
        let started = done.objects().into_iter().find(|l| l["event"] == "started").expect("started");
        assert_eq!(started["precision"], wanted);
        if let Some(note) = note {
            assert!(done.out.contains(note) || done.err.contains(note), "{step}: {}{}", done.out, done.err);
        }
    }
}

const FULL: &[&str] = &["--precision", "f32"];

const HALF: &[&str] = &["--precision", "f16"];

fn killed_and_gone_on(more: &[&str], kills: &[u64]) {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    train(&a, SETS, more).good();
    for step in kills.iter().copied() {
        let mut running = Running::start_with(&b, SETS, more);
        // One more step, so that the kill falls within the next one (or within a save).
        while running.line().is_some_and(|l| l["step"].as_u64() < Some(step) || l.get("loss").is_none()) {}
        std::thread::sleep(Duration::from_millis(7 * step));
        running.signal("KILL");
        running.end();
    }
    train(&b, SETS, more).good();
    same(&a, &b);
}

fn main() {
    let args = Arguments::from_args();
    let required = std::env::var_os("DANLU_REQUIRE_ADAPTER").is_some_and(|v| v == "1");
    let listed = common::danlu(["adapters", "--json"]).good().objects();
    let found = listed.iter().find(|l| l["kind"] != "cpu").map(|l| l["name"].as_str().unwrap().to_owned());
    let there = found.is_some();
    let half = listed.iter().any(|l| l["kind"] != "cpu" && l["features"].to_string().to_lowercase().contains("f16"));
    if let Some(name) = found {
        common::ADAPTER.set(name).expect("set once");
    }
    let trial = |name: &str, test: fn()| {
        let run = move || -> Result<(), Failed> {
            if !there {
                return Err("no adapter is there, and DANLU_REQUIRE_ADAPTER=1 asks for one".into());
            }
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!there && !required)
    };
    let mut trials = vec![
        trial("stopped_and_gone_on", || stopped_and_gone_on(&[])),
        trial("killed_and_gone_on", || killed_and_gone_on(&[], &[1, 4, 8, 11])),
    ];
    if half {
        trials.push(trial("half_precision", half_precision));
        trials.push(trial("killed_and_gone_on_in_half_precision", || killed_and_gone_on(HALF, &[4, 8])));
    }
    libtest_mimic::run(&args, trials).exit();
}
