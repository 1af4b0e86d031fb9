//! Settings: run.toml is edited through its parser, and settings without effect, or with another effect than before,
//! are reported.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::{fs, path::Path};

use common::{Done, danlu, imported, metrics, scratch, text};
use serde_json::Value;

const TINY: [&str; 4] = ["batch_size=2", "context=32", "eval_steps=0", "probe_steps=0"];

fn train(run: &Path, sets: &[&str], more: &[&str]) -> Done {
    let run = text(run);
    let args = ["--adapter", "cpu", "train", "--run", &run];
    let sets = TINY.iter().chain(sets).flat_map(|set| ["--set", set]);
    danlu(args.into_iter().chain(sets).chain(more.iter().copied()))
}

fn told(done: &Done, words: &str) -> bool {
    done.good().err.contains(words)
}

/// A file saved by a Windows editor, or with a quoted key, opens the first time and every time after.
#[test]
fn a_settled_size_leaves_the_rest_of_the_file_alone() {
    let dir = scratch();
    let rest = "[pretrain]\nsteps = 1\nbatch_size = 2\ncontext = 32\neval_steps = 0\nprobe_steps = 0\n";
    for (name, before, after) in [
        ("mark", format!("\u{feff}{rest}"), format!("\u{feff}size = \"1m\"\n{rest}")),
        ("quoted", format!("\"size\" = \"auto\"\n{rest}"), format!("\"size\" = \"1m\"\n{rest}")),
    ] {
        let run = dir.path().join(name);
        fs::create_dir(&run).unwrap();
        fs::write(run.join("run.toml"), before).unwrap();
        let path = text(&run);
        danlu(["--adapter", "cpu", "train", "--run", &path]).good();
        // A new run has the key splits too.
        let (splits, found) = ("splits = \"by-name\"\n", fs::read_to_string(run.join("run.toml")).unwrap());
        assert!(found.contains(splits), "{found}");
        assert_eq!(found.replacen(splits, "", 1), after, "{name}");
        danlu(["--adapter", "cpu", "train", "--run", &path, "--steps", "1"]).good();
        assert_eq!(metrics(&run).len(), 2, "{name}");
    }
}

#[test]
fn a_learning_rate_that_jumps_is_reported() {
    let dir = scratch();
    let run = dir.path().join("run");
    let stop = ["--size", "1m"];
    let whole = train(&run, &["steps=10"], &stop);
    assert!(!told(&whole, "jumps"), "{}", whole.err);
    let more = train(&run, &["steps=10"], &["--steps", "5"]);
    assert!(
        told(&more, "the learning rate jumps: step 10 was trained at 1.50e-3, step 11 will be at 3.00e-3"),
        "{}",
        more.err
    );
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    assert_eq!(events.lines().filter(|l| l.contains("the learning rate jumps")).count(), 1);
    // Another learning rate, and a stage that is stopped and continues unchanged.
    let other = dir.path().join("other");
    train(&other, &["steps=20"], &["--size", "1m", "--steps", "4"]).good();
    let same = train(&other, &["steps=20"], &["--steps", "1"]);
    let jumped = train(&other, &["steps=20", "learning_rate=1e-4"], &["--steps", "1"]);
    let constant = dir.path().join("constant");
    train(&constant, &["steps=5", "lr_scheduler_type=constant"], &["--size", "1m"]).good();
    let kept = train(&constant, &["steps=5", "lr_scheduler_type=constant"], &["--steps", "5"]);
    assert!(!told(&same, "jumps") && told(&jumped, "jumps") && !told(&kept, "jumps"), "{}{}", same.err, kept.err);
}

#[test]
fn a_run_keeps_its_tokenizer() {
    let dir = scratch();
    let run = dir.path().join("run");
    train(&run, &["steps=2"], &["--size", "1m"]).good();
    let path = text(&run);
    train(&run, &["tokenizer=bpe", "steps=4"], &[]).refused(2, &["char tokenizer", "not bpe"]);
    let toml = fs::read_to_string(run.join("run.toml")).unwrap();
    fs::write(run.join("run.toml"), toml.replace("\"char\"", "\"bpe\"")).unwrap();
    train(&run, &["steps=4"], &[]).refused(2, &["a run keeps its tokenizer"]);
    danlu(["--adapter", "cpu", "data", "--run", &path]).refused(2, &["a run keeps its tokenizer"]);
    danlu(["--adapter", "cpu", "train", "--stage", "sft", "--run", &path]).refused(2, &["a run keeps its tokenizer"]);
    fs::write(run.join("run.toml"), toml).unwrap();
    train(&run, &["steps=4"], &[]).good();
    // An imported one may have another kind than the key's default.
    let theirs = text(&imported(dir.path()));
    let from = dir.path().join("from");
    train(&from, &["pretrain.steps=1"], &["--from", &theirs]).good();
    train(&from, &["pretrain.steps=2"], &[]).good();
}

#[test]
fn options_without_effect_are_refused_or_reported() {
    let dir = scratch();
    let theirs = text(&imported(dir.path()));
    let run = dir.path().join("run");
    let begun = train(&run, &["steps=2"], &["--from", &theirs]);
    assert_eq!(begun.good().err.matches("no effect").count(), 0, "{}", begun.err);
    train(&run, &["steps=4"], &["--from", &theirs]).refused(2, &["pretrain-00000002", "--from", "has no effect"]);
    let other = train(&run, &["steps=3", "sft.steps=7", "sampling.top_k=1"], &[]);
    assert!(
        told(&other, "--set sft.steps=7 has no effect on pretrain") && told(&other, "sampling.top_k"),
        "{}",
        other.err
    );
    assert!(!told(&other, "--set steps=3"));
    let warm = train(&run, &["steps=5", "warmup_steps=90"], &[]);
    assert!(told(&warm, "warmup_steps is 90 and the stage ends at step 5"), "{}", warm.err);
    let shape = dir.path().join("shape");
    train(&shape, &["model.hidden_size=64"], &["--from", &theirs]).refused(2, &["model.hidden_size=64", "--from"]);
    train(&shape, &["tokenizer=char"], &["--from", &theirs]).refused(2, &["tokenizer=char", "--from"]);
    assert!(!shape.exists());
}

#[test]
fn the_culprit_is_named() {
    let dir = scratch();
    let run = dir.path().join("run");
    for (set, word) in [
        ("batch_size=0", "--set batch_size=0: pretrain.batch_size is 0"),
        ("context=9999", "--set context=9999: pretrain.context is 9999"),
        ("model.head_dim=3", "--set model.head_dim=3"),
        ("learning_rate=-1", "--set learning_rate=-1: pretrain.learning_rate is -1"),
    ] {
        train(&run, &[set], &["--size", "1m"]).refused(2, &[word]);
        // The size that `auto` selects is not blamed.
        let refused = train(&run, &[set], &[]);
        refused.refused(2, &[word]);
        assert!(!refused.err.contains("run.toml:"), "{}", refused.err);
    }
    fs::create_dir(&run).unwrap();
    fs::write(run.join("run.toml"), "size = \"1m\"\n[pretrain]\nsteps = 0\n").unwrap();
    train(&run, &["seed=3"], &[]).refused(2, &["run.toml: pretrain.steps is 0"]);
}

/// Edits and values that were not measured are written as text, without type names or NaN.
#[test]
fn no_types_and_no_nan_are_shown() {
    let dir = scratch();
    let run = dir.path().join("run");
    train(&run, &["steps=2"], &["--size", "1m"]).good();
    let again = train(&run, &["batch_size=4", "steps=3"], &[]);
    let edits = fs::read_to_string(run.join("edits.jsonl")).unwrap();
    let text: Value = serde_json::from_str(edits.lines().last().unwrap()).unwrap();
    assert_eq!(text["text"], "batch 2 × 32 tokens → 4 × 32 tokens", "{edits}");
    assert!(!again.good().err.contains("Shape"), "{}", again.err);
}
