//! A tiny run of every format that a checkpoint has had (tests/fixtures/runs) opens and continues.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeSet, fs, path::Path};

use common::{copy_all, danlu, json_file, objects, scratch, stage_checkpoint, text};
use serde_json::Value;

/// The formats of `state.json`, each with a run of the same name.
const FORMATS: [u64; 3] = [1, 2, 3];

#[test]
fn runs_of_every_format_continue_with_the_same_losses() {
    for format in FORMATS {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/runs/state-{format}"));
        let expected = objects(&fs::read_to_string(fixture.join("continued.jsonl")).unwrap());
        let stages: BTreeSet<&str> = expected.iter().map(|line| line["stage"].as_str().unwrap()).collect();
        assert_eq!(stages, BTreeSet::from(["pretrain", "sft", "reward", "ppo"]));
        for stage in stages {
            assert_eq!(json_file(&stage_checkpoint(&fixture, stage, 2).join("state.json"))["format"], format);
            let dir = scratch();
            let run = dir.path().join("run");
            copy_all(&fixture, &run);
            let done = danlu(["train", "--json", "--run", &text(&run), "--stage", stage, "--steps", "4"]);
            let steps: Vec<Value> = done.good().objects().into_iter().filter(|line| line["event"].is_null()).collect();
            let expected: Vec<&Value> = expected.iter().filter(|line| line["stage"] == stage).collect();
            assert_eq!(steps.len(), expected.len(), "format {format}, {stage}: {}", done.out);
            for (step, expected) in steps.iter().zip(expected) {
                compare(step, expected, &format!("format {format}, {stage}"));
            }
            // The format that this version writes must have a run here too.
            let written = &json_file(&stage_checkpoint(&run, stage, 4).join("state.json"))["format"];
            assert!(FORMATS.iter().any(|known| written == known), "no run of format {written} in tests/fixtures/runs");
        }
    }
}

/// The figures of a step, to 10⁻⁵ of their size or of 1.
fn compare(step: &Value, expected: &Value, what: &str) {
    for (name, expected) in expected.as_object().expect("an object") {
        let got = &step[name];
        let close = match (got.as_f64(), expected.as_f64()) {
            (Some(got), Some(expected)) => (got - expected).abs() <= 1e-5 * expected.abs().max(1.0),
            _ => got == expected,
        };
        assert!(close, "{what}, step {}: {name} is {got}, expected {expected}", step["step"]);
    }
}
