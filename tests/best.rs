//! The best checkpoint of a stage: which one it is, that it stays, and that a later stage can begin from it; and stages
//! that end early.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{
    checkpoints, counting, danlu, finetune, json_file, metrics, objects, scratch, stage_checkpoint, text, train,
};
use serde_json::Value;

/// Training settings under which the held-out loss falls for some thirty steps and then rises.
const SETS: [&str; 6] = [
    "batch_size=16",
    "learning_rate=2e-2",
    "lr_scheduler_type=\"constant\"",
    "eval_steps=10",
    "save_steps=10",
    "steps=120",
];

/// Forty lines of syllables in a random order, which a model can learn only by heart.
fn noise(dir: &Path) -> String {
    let syllables = ["ka", "lo", "mi", "nu", "pe", "ra", "si", "to"];
    let mut state = 7_u32;
    let mut syllable = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        syllables[(state >> 24) as usize % syllables.len()]
    };
    let line = |syllable: &mut dyn FnMut() -> &'static str| {
        (0..30).map(|_| [syllable(), syllable()].concat()).collect::<Vec<_>>().join(" ")
    };
    let text: String = (0..40).map(|_| line(&mut syllable) + ".\n\n").collect();
    let path = dir.join("noise.txt");
    fs::write(&path, text).unwrap();
    format!("source=[{{name=\"noise\",path={:?}}}]", common::text(&path))
}

fn events(run: &Path) -> Vec<Value> {
    objects(&fs::read_to_string(run.join("events.jsonl")).unwrap())
}

/// Step and held-out loss of every evaluation of pretraining, as checkpoints are compared by it.
fn losses(run: &Path) -> Vec<(usize, f64)> {
    let all =
        events(run).into_iter().filter(|e| e["event"] == "eval" && e["source"] == "all" && e["stage"] == "pretrain");
    all.map(|e| (e["step"].as_u64().unwrap() as usize, e["sampled_loss"].as_f64().or(e["eval_loss"].as_f64()).unwrap()))
        .collect()
}

/// The step of the lowest loss.
fn best(run: &Path) -> usize {
    losses(run).into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
}

/// A pretrained run whose best checkpoint is not among the newest three.
fn overfitted(dir: &Path, more: &[&str]) -> PathBuf {
    let (run, source) = (dir.join("run"), noise(dir));
    train(&run, &[&SETS[..], &[&source], more].concat(), &[]).good();
    run
}

fn name(step: usize) -> String {
    format!("pretrain-{step:08}")
}

/// With a save at every step, in one launch, continued, and continued after the end.
#[test]
fn the_newest_three_and_the_best_stay_when_every_step_is_saved() {
    let dir = scratch();
    let (run, source) = (dir.path().join("run"), noise(dir.path()));
    let sets = [&SETS[..], &["eval_steps=1", "save_steps=1", &source]].concat();
    for (steps, last) in [("5", 5), ("9", 9), ("3", 12)] {
        train(&run, &sets, &["--steps", steps]).good();
        let mut kept: Vec<usize> = vec![best(&run), last - 2, last - 1, last];
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(checkpoints(&run), kept.into_iter().map(name).collect::<Vec<_>>());
    }
}

#[test]
fn the_best_checkpoint_stays_beside_the_newest_three() {
    let dir = scratch();
    let (run, source) = (dir.path().join("run"), noise(dir.path()));
    let sets = [&SETS[..], &[&source]].concat();
    // Stopped after the best one, and killed: what is best follows from the log.
    train(&run, &sets, &["--steps", "90"]).good();
    fs::remove_dir_all(run.join("checkpoints").join(name(90))).unwrap();
    train(&run, &sets, &[]).good();
    let best = best(&run);
    assert!((20..90).contains(&best), "{:?}", losses(&run));
    assert_eq!(checkpoints(&run), [best, 100, 110, 120].map(name));
    let marked: Vec<usize> = events(&run)
        .iter()
        .filter(|e| e["event"] == "saved" && e["best"] == true)
        .map(|e| e["step"].as_u64().unwrap() as usize)
        .collect();
    assert_eq!(marked.last(), Some(&best), "{marked:?}");
    // The measurement of the end is of all held-out text, and says what the sample's is.
    let end = events(&run).into_iter().rfind(|e| e["event"] == "eval" && e["source"] == "all").unwrap();
    assert!(end["sampled_loss"].as_f64().unwrap() > 0.0, "{end}");
}

#[test]
fn a_stage_begins_from_the_checkpoint_that_start_names() {
    let dir = scratch();
    let run = overfitted(dir.path(), &[]);
    let best = best(&run);
    let talk = counting(dir.path());
    let parent = |run: &Path| json_file(&stage_checkpoint(run, "sft", 2).join("state.json"))["parent"].clone();
    for (i, (start, step)) in [("best", best), ("latest", 120), ("110", 110)].into_iter().enumerate() {
        let copy = dir.path().join(format!("copy{i}"));
        common::copy_all(&run, &copy);
        finetune(&copy, &["steps=2", &talk], &["--start", start]).good();
        assert_eq!(parent(&copy), name(step), "--start {start}");
        // It is the parent of a stage now: no later save removes it.
        let again = finetune(&copy, &["steps=2", &talk], &["--start", start]);
        again.refused(2, &["sft-00000002", &format!("--start {start} has no effect")]);
    }
    let keyed = dir.path().join("keyed");
    common::copy_all(&run, &keyed);
    finetune(&keyed, &["steps=2", &talk, "sft.start=\"best\""], &[]).good();
    assert_eq!(parent(&keyed), name(best));
    // A new run begins its stages from the best, unless it says otherwise; a run without the key from the newest.
    finetune(&run, &["steps=2", &talk], &[]).good();
    assert_eq!(parent(&run), name(best));
    let older = dir.path().join("older");
    common::copy_all(&run, &older);
    fs::remove_dir_all(stage_checkpoint(&older, "sft", 2)).unwrap();
    let toml = fs::read_to_string(older.join("run.toml")).unwrap();
    fs::write(older.join("run.toml"), toml.replace("start = \"best\"\n", "")).unwrap();
    finetune(&older, &["steps=2", &talk], &[]).good();
    assert_eq!(parent(&older), name(120));
    fs::remove_dir_all(stage_checkpoint(&run, "sft", 2)).unwrap();
    let missing = finetune(&run, &["steps=2", &talk], &["--start", "70"]);
    missing.refused(2, &["sft.start is 70", &best.to_string(), "100, 110, 120"]);
    finetune(&run, &["steps=2", &talk, "sft.start=\"first\""], &[]).refused(2, &["sft.start", "\"best\""]);
    finetune(&run, &["steps=2", &talk], &["--start", "first"]).refused(2, &["--start is \"first\"", "latest"]);
    let none = train(&dir.path().join("new"), &SETS, &["--start", "best"]);
    none.refused(2, &["pretrain begins from random weights"]);
    assert!(!dir.path().join("new").exists());
    let several = danlu(["recipe", "--run", &text(&run), "--start", "110"]);
    several.refused(2, &["--start 110", "sft.start=110"]);
}

/// Without an evaluated checkpoint there is no best one, and a note says what is used.
#[test]
fn without_an_evaluated_checkpoint_the_newest_is_used_with_a_note() {
    let dir = scratch();
    let run = dir.path().join("run");
    train(&run, &["steps=4", "save_steps=2"], &["--steps", "3"]).good();
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let kept: Vec<&str> = log.split_inclusive('\n').filter(|line| !line.contains("\"eval\"")).collect();
    fs::write(run.join("events.jsonl"), kept.concat()).unwrap();
    let talk = counting(dir.path());
    let done = finetune(&run, &["steps=2", &talk], &["--start", "best"]);
    assert!(done.good().out.contains("sft begins from the newest"), "{}", done.out);
}

#[test]
fn patience_ends_a_stage_and_it_stays_ended() {
    let dir = scratch();
    let run = overfitted(dir.path(), &["patience=2"]);
    let losses = losses(&run);
    let (last, _) = *losses.last().unwrap();
    let best = best(&run);
    assert_eq!(last, best + 20, "two evaluations of ten steps after the best: {losses:?}");
    assert_eq!(metrics(&run).len(), last);
    let ended: Vec<Value> = events(&run).into_iter().filter(|e| e["event"] == "ended_early").collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        [&ended[0]["step"], &ended[0]["best"], &ended[0]["evaluations"]],
        [last, best, 2].map(Value::from).each_ref()
    );
    assert!(checkpoints(&run).contains(&name(last)) && checkpoints(&run).contains(&name(best)));
    // As complete as a stage at its last step.
    let source = noise(dir.path());
    let sets = [&SETS[..], &[&source, "patience=2"]].concat();
    let again = train(&run, &sets, &[]);
    assert!(again.good().out.contains(&format!("pretrain is complete at step {last}")), "{}", again.out);
    // More steps on request; evaluations are counted from there.
    train(&run, &sets, &["--steps", "10"]).good();
    assert_eq!(metrics(&run).len(), last + 10);
}

#[test]
fn without_patience_a_stage_takes_all_its_steps() {
    let dir = scratch();
    let run = overfitted(dir.path(), &[]);
    assert_eq!(metrics(&run).len(), 120);
    assert!(events(&run).iter().all(|e| e["event"] != "ended_early"));
}
