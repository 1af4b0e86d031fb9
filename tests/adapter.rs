//! Exact resume and kill -9 on the first adapter that is there (a software driver will do): what
//! `tests/resume.rs` and `tests/crash.rs` promise of the CPU engine.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{Running, checkpoint, metrics, no_leftovers, scratch, tensors, train};
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

fn stopped_and_gone_on() {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    train(&a, SETS, &[]).good();
    train(&b, SETS, &["--steps", "5"]).good();
    train(&b, SETS, &[]).good();
    same(&a, &b);
    // And it ran where it was told to.
    let state = fs::read_to_string(checkpoint(&b, STEPS).join("state.json")).unwrap();
    assert!(state.contains("\"engine\": \"wgpu\""), "{state}");
}

fn killed_and_gone_on() {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    train(&a, SETS, &[]).good();
    for step in [1, 4, 8, 11] {
        let mut running = Running::start(&b, SETS);
        // A step on, so that the kill falls somewhere in the next one (or in a save).
        while running.line().is_some_and(|l| l["step"].as_u64() < Some(step) || l.get("loss").is_none()) {}
        std::thread::sleep(Duration::from_millis(7 * step));
        running.signal("KILL");
        running.end();
    }
    train(&b, SETS, &[]).good();
    same(&a, &b);
}

fn main() {
    let args = Arguments::from_args();
    let required = std::env::var_os("DANLU_REQUIRE_ADAPTER").is_some_and(|v| v == "1");
    let listed = common::danlu(["adapters", "--json"]).good().objects();
    let found = listed.iter().find(|l| l["kind"] != "cpu").map(|l| l["name"].as_str().unwrap().to_owned());
    let there = found.is_some();
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
    let trials =
        vec![trial("stopped_and_gone_on", stopped_and_gone_on), trial("killed_and_gone_on", killed_and_gone_on)];
    libtest_mimic::run(&args, trials).exit();
}
