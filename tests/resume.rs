//! A stage that was stopped and continued equals, to the bit, a stage that was never stopped.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path};

use common::{Running, checkpoint, checkpoints, metrics, no_leftovers, scratch, tensors, train};

/// Trains without a stop.
fn whole(dir: &Path, sets: &[&str]) {
    train(dir, sets, &[]).good();
}

/// The same metrics and the same tensors at `step`.
fn same(a: &Path, b: &Path, step: usize, what: &str) {
    let (one, other) = (metrics(a), metrics(b));
    assert_eq!(one.len(), step, "{what}: a line for every step");
    for (x, y) in one.iter().zip(&other) {
        assert_eq!(x, y, "{what}");
    }
    assert_eq!(one.len(), other.len(), "{what}");
    assert!(
        tensors(&checkpoint(a, step)) == tensors(&checkpoint(b, step)),
        "{what}: the tensors at step {step} differ"
    );
    no_leftovers(b);
}

/// Stops at each of `stops`, continues to the end, and compares with an uninterrupted run.
fn stopped_and_gone_on(sets: &[&str], steps: usize, stops: &[&[usize]]) {
    let dir = scratch();
    let a = dir.path().join("a");
    whole(&a, sets);
    for (i, stops) in stops.iter().enumerate() {
        let b = dir.path().join(format!("b{i}"));
        for stop in *stops {
            train(&b, sets, &["--steps", &stop.to_string()]).good();
            assert!(checkpoint(&b, *stop).is_dir());
        }
        train(&b, sets, &[]).good();
        same(&a, &b, steps, &format!("{sets:?} stopped at {stops:?}"));
    }
}

#[test]
fn stopped_at_any_step_it_resumes_to_the_bit() {
    stopped_and_gone_on(&["steps=12"], 12, &[&[1], &[5], &[11], &[3, 4, 9]]);
}

#[test]
fn with_accumulation_and_dropout() {
    let sets = ["steps=12", "gradient_accumulation_steps=2", "model.dropout=0.1"];
    stopped_and_gone_on(&sets, 12, &[&[1], &[7], &[2, 10]]);
}

#[test]
fn with_cosine_grouped_heads_and_untied_head() {
    let sets =
        ["steps=12", "lr_scheduler_type=cosine", "model.num_key_value_heads=1", "model.tie_word_embeddings=false"];
    stopped_and_gone_on(&sets, 12, &[&[6]]);
}

#[test]
fn saves_probes_and_validation_on_the_way_change_nothing() {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    whole(&a, &["steps=12"]);
    whole(&b, &["steps=12", "save_steps=1", "eval_steps=3", "probe_steps=2"]);
    same(&a, &b, 12, "saved at each step");
    assert_eq!(checkpoints(&b).len(), 3, "the last three stay");
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    for (name, seed) in [("a", "7"), ("b", "7"), ("c", "8")] {
        train(&path(name), &["steps=6", "model.dropout=0.1"], &["--seed", seed]).good();
    }
    same(&path("a"), &path("b"), 6, "the same seed");
    let (a, c) = (metrics(&path("a")), metrics(&path("c")));
    assert!(a.iter().zip(&c).all(|(x, y)| x != y), "another seed gives other losses");
    assert!(tensors(&checkpoint(&path("a"), 6))[0] != tensors(&checkpoint(&path("c"), 6))[0]);
    // Dropout is in effect, not only configured.
    train(&path("d"), &["steps=6"], &["--seed", "7"]).good();
    assert_ne!(metrics(&path("a")), metrics(&path("d")));
}

#[test]
fn a_run_keeps_its_seed() {
    let dir = scratch();
    let run = dir.path().join("run");
    train(&run, &["steps=4"], &["--steps", "2", "--seed", "7"]).good();
    let refused = train(&run, &["steps=4"], &["--seed", "8"]);
    refused.refused(2, &["seed is 7, not 8"]);
    train(&run, &["steps=4"], &[]).good();
}

#[test]
fn a_finished_stage_is_left_alone_and_steps_adds_to_it() {
    let dir = scratch();
    let run = dir.path().join("run");
    whole(&run, &["steps=4"]);
    let before = tensors(&checkpoint(&run, 4));
    let again = train(&run, &["steps=4"], &[]);
    assert!(again.good().out.contains("complete at step 4"), "{}", again.out);
    assert_eq!((checkpoints(&run).len(), metrics(&run).len()), (1, 4));
    assert!(tensors(&checkpoint(&run, 4)) == before);
    train(&run, &["steps=4"], &["--steps", "3"]).good();
    assert_eq!(metrics(&run).len(), 7);
    assert!(checkpoint(&run, 7).is_dir());
}

/// SIGTERM at arbitrary steps, several times in one run.
#[test]
fn a_signal_at_any_step_saves_and_the_run_resumes_to_the_bit() {
    let sets = ["steps=400", "batch_size=4"];
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    whole(&a, &sets);
    let mut early = 0;
    for (signal, after) in [("TERM", 1), ("INT", 40), ("HUP", 47), ("TERM", 160)] {
        let mut running = Running::start(&b, &sets);
        running.until(|line| line["step"].as_u64() >= Some(after));
        running.signal(signal);
        let (done, rest) = running.end();
        done.good();
        let last = rest.last().expect("a last line");
        assert_eq!(last["event"], "finished", "{last}");
        let step = last["step"].as_u64().unwrap() as usize;
        assert_eq!(metrics(&b).len(), step);
        assert!(checkpoint(&b, step).is_dir(), "saved at step {step}: {:?}", checkpoints(&b));
        no_leftovers(&b);
        early += usize::from(last["reason"] == "stopped" && step < 400);
    }
    assert!(early > 0, "no signal came before the end: the test saw nothing");
    whole(&b, &sets);
    same(&a, &b, 400, "signals");
}

/// The save of a signal used to collide with the periodic save of the same step.
#[test]
fn a_signal_while_a_save_is_under_way_waits_for_it() {
    let sets = ["steps=1000000", "save_steps=1"];
    let dir = scratch();
    let run = dir.path().join("run");
    for after in 1..=12 {
        let mut running = Running::start(&run, &sets);
        running.until(|line| line["event"] == "started");
        for _ in 0..after % 4 {
            running.until(|line| line["event"].is_null() && line["step"].is_u64());
        }
        running.signal("TERM");
        let (done, rest) = running.end();
        done.good();
        let failed: Vec<_> =
            rest.iter().filter(|line| line["event"] == "save_failed" || line["failed"] == true).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let step = rest.last().unwrap()["step"].as_u64().unwrap() as usize;
        let twice = checkpoints(&run).into_iter().find(|name| name.contains("-r"));
        assert_eq!(twice, None, "a step was saved twice");
        assert!(step == 0 || checkpoint(&run, step).is_dir(), "step {step}: {:?}", checkpoints(&run));
        no_leftovers(&run);
    }
}

/// A signal while data are read used to kill the process.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_before_the_first_step_ends_the_run_in_order() {
    let dir = scratch();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    let line = |i: usize| {
        format!("document {i}: the furnace is warm and the elixir of number {} is not done\n\n", i * 7919 % 104_729)
    };
    fs::write(run.join("t.txt"), (0..100_000).map(line).collect::<String>()).unwrap();
    fs::write(run.join("run.toml"), "size = \"1m\"\n[[source]]\nname = \"a\"\npath = \"t.txt\"\n").unwrap();
    let running = Running::start(&run, &["steps=1000000"]);
    let status = format!("/proc/{}/status", running.child.id());
    let caught = || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mask = text
            .lines()
            .find_map(|l| l.strip_prefix("SigCgt:"))
            .map_or(0, |m| u64::from_str_radix(m.trim(), 16).unwrap());
        mask >> 14 & 1 == 1
    };
    while !caught() {
        std::thread::yield_now();
    }
    assert!(!run.join("data/tokenizer.json").exists(), "signals are heard before the data are read");
    running.signal("TERM");
    let (done, rest) = running.end();
    done.good();
    assert_eq!(rest.last().unwrap()["reason"], "stopped");
    no_leftovers(&run);
    train(&run, &["steps=1000000"], &["--steps", "1"]).good();
}
