//! Reports of made-up events, for which every figure is known.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use serde_json::{Value, json};

use super::{
    document::{markdown, plain},
    logs::StageLog,
    report::{Facts, Failed, Report},
    words,
};
use crate::{base::StageId, protocol::JudgedAnswer, ui::Lang};

// The keys of the stages in a report.
const PRETRAIN: &str = StageId::Pretrain.name();
const SFT: &str = StageId::Sft.name();
const PPO: &str = StageId::Ppo.name();
const GRPO: &str = StageId::Grpo.name();

fn log(stage: StageId, now: bool, events: Vec<Value>, steps: &[(usize, f64)]) -> StageLog {
    let events = events.into_iter().map(|event| serde_json::from_value(event).unwrap()).collect();
    StageLog { stage, events, steps: steps.to_vec(), now }
}

fn policy(step: u64, task: &str, truth: f64, reward: f64, distinct2: f64) -> Value {
    json!({"event": "policy", "step": step, "task": task, "prompts": 4, "true": truth, "ci95": [truth / 2.0, truth],
        "reward": reward, "kl": step as f64, "end_rate": 1.0 - truth, "distinct2": distinct2, "length": 10.0 + truth})
}

fn task(step: u64, name: &str, examples: u64, exact: f64, ended: f64) -> Value {
    json!({"event": "task", "step": step, "task": name, "examples": examples, "exact_match": exact, "char_f1": 0.5,
        "end_rate": ended, "eval_loss": 2.0})
}

fn finished(seconds: f64) -> Value {
    json!({"event": "finished", "step": 4, "reason": "done", "failed": false, "seconds": seconds})
}

fn aligned(stage: StageId) -> StageLog {
    let events = vec![
        json!({"event": "started", "step": 0, "engine": "cpu", "adapter": "cpu (2 threads)", "sources": [{"documents": 9}]}),
        policy(0, "couplet", 0.25, -1.0, 0.5),
        policy(0, "all", 0.25, -1.0, 0.5),
        policy(2, "all", 0.5, 0.0, 0.5),
        policy(4, "couplet", 1.0, 1.0, 0.4),
        policy(4, "all", 0.75, 1.0, 0.4),
        finished(7.5),
    ];
    log(stage, true, events, &[(1, 1e3), (2, 1e3), (3, 1e3), (4, 1e3)])
}

fn logs() -> Vec<StageLog> {
    let eval = |step: u64, source: &str, loss: f64| json!({"event": "eval", "step": step, "source": source, "eval_loss": loss, "eval_bits_per_byte": 1.0});
    let probe = |step: u64, prompt: &str, matched: u64| json!({"event": "probe", "step": step, "prompt": prompt, "text": "", "expected": "", "match": matched, "length": 18});
    let pretrain = vec![
        json!({"event": "started", "step": 0, "parameters": 1234, "engine": "wgpu", "adapter": "Card"}),
        probe(0, "春眠不觉晓，", 0),
        eval(2, "poems", 9.0),
        probe(4, "春眠不觉晓，", 9),
        probe(4, "白日依山尽，", 18),
        eval(4, "poems", 3.0),
        eval(4, "all", 2.5),
        finished(100.0),
        // Opened again when complete: no step, no time.
        json!({"event": "started", "step": 4, "parameters": 1234, "engine": "wgpu", "adapter": "Card"}),
        finished(50.0),
    ];
    let sft = vec![
        json!({"event": "started", "step": 0}),
        task(0, "a", 10, 0.0, 0.0),
        // Killed after step 3, saved at 2.
        json!({"event": "started", "step": 2}),
        task(4, "a", 30, 1.0, 1.0),
        task(4, "b", 10, 0.0, 0.2),
        task(4, "a", 10, 0.0, 1.0),
        eval(4, PRETRAIN, 7.0),
        eval(4, "all", 1.5),
        finished(20.0),
    ];
    let reward = vec![
        json!({"event": "started", "step": 0, "sources": [{"documents": 600}]}),
        json!({"event": "reward", "step": 2, "pairs": 200, "heldout_accuracy": 0.5, "ci95": [0.4, 0.6], "length_accuracy": 0.55, "margin": 0.0}),
        json!({"event": "reward", "step": 4, "pairs": 200, "heldout_accuracy": 0.9, "ci95": [0.8, 0.95], "length_accuracy": 0.55, "margin": 1.0}),
        finished(5.0),
    ];
    let four = [(1, 1e3), (2, 2e3), (3, 3e3), (4, 4e3)];
    vec![
        log(StageId::Pretrain, false, pretrain, &four),
        log(StageId::Sft, true, sft, &four),
        log(StageId::Reward, true, reward, &four),
        aligned(StageId::Ppo),
        log(StageId::Grpo, false, Vec::new(), &[]),
    ]
}

fn facts() -> Facts {
    Facts {
        run: "a|run".to_owned(),
        size: "1m".to_owned(),
        seed: 3,
        engine: "cpu",
        adapter: "cpu (2 threads)".to_owned(),
        seconds: 40.0,
        failed: None,
    }
}

fn report(logs: &[StageLog], answers: &[JudgedAnswer]) -> Value {
    serde_json::to_value(Report::new(facts(), logs, answers)).unwrap()
}

#[test]
fn every_figure_is_the_newest_of_its_stage() {
    let r = report(&logs(), &[]);
    assert_eq!((&r["event"], &r["seed"], &r["parameters"]), (&json!("report"), &json!(3), &json!(1234)));
    assert_eq!((&r[PRETRAIN]["chunxiao_match"], &r[PRETRAIN]["eval_loss"]), (&json!(0.5), &json!(2.5)));
    // Two sources with a task of the same name count as one task: 30 of 40 exact; 42 of 50 end.
    assert_eq!(r[SFT]["tasks"]["a"]["exact_match"], 0.75);
    assert_eq!(r[SFT]["tasks"]["a"]["examples"], 40);
    assert!((r[SFT]["end_rate"].as_f64().unwrap() - 0.84).abs() < 1e-12);
    assert_eq!(r[SFT]["eval_loss"], 1.5);
    let w = &r["reward"];
    assert_eq!((&w["heldout_accuracy"], &w["ci95"]), (&json!(0.9), &json!([0.8, 0.95])));
    assert_eq!((&w["pairs"], &w["pairs_trained"]), (&json!(200), &json!(600)));
    let p = &r[PPO];
    assert_eq!((&p["true_before"], &p["true_after"]), (&json!(0.25), &json!(0.75)));
    assert_eq!((&p["ci95_before"], &p["ci95_after"]), (&json!([0.125, 0.25]), &json!([0.375, 0.75])));
    assert_eq!((&p["rm_before"], &p["rm_after"], &p["kl"]), (&json!(-1.0), &json!(1.0), &json!(4.0)));
    assert_eq!((&p["end_rate_before"], &p["end_rate"]), (&json!(0.75), &json!(0.25)));
    assert_eq!((&p["distinct2_ratio"], &p["measured_at"]), (&json!(0.8), &json!(4)));
    assert_eq!(p["tasks"], json!({"couplet": {"true_before": 0.25, "true_after": 1.0, "prompts": 4}}));
    assert_eq!((&p["prompts"], &p["prompts_trained"], &p["win_rate"]), (&json!(4), &json!(9), &Value::Null));
    assert_eq!(r["siblings"], json!({}), "a sibling without a step is none");
}

/// A killed launch counts for the steps that were not repeated, one without a step for nothing.
#[test]
fn seconds_are_those_of_all_launches() {
    let r = report(&logs(), &[]);
    assert_eq!((&r[PRETRAIN]["seconds"], &r[PRETRAIN]["sitting"]), (&json!(100.0), &json!("earlier")));
    assert_eq!((&r[SFT]["seconds"], &r[SFT]["sitting"]), (&json!(23.0), &json!("both")));
    assert_eq!((&r[PPO]["seconds"], &r[PPO]["sitting"]), (&json!(7.5), &json!("this")));
    // This launch, pretraining before it, and the two steps of the killed one.
    assert_eq!((&r["sitting_seconds"], &r["seconds"]), (&json!(40.0), &json!(143.0)));
}

#[test]
fn what_was_never_trained_is_null() {
    let mut logs = logs();
    logs.truncate(2);
    let r = report(&logs, &[]);
    assert!(r["reward"].is_null() && r[PPO].is_null() && r[SFT].is_object());
    assert!(Report::new(facts(), &[], &[]).is_empty());
}

#[test]
fn siblings_have_the_fields_of_ppo() {
    let mut logs = logs();
    logs[4] = aligned(StageId::Grpo);
    let r = report(&logs, &[]);
    let mut ppo = r[PPO].clone();
    assert_eq!(r["siblings"][GRPO], ppo);
    logs[3] = log(StageId::Ppo, false, Vec::new(), &[]);
    ppo = report(&logs, &[])[PPO].take();
    assert!(ppo.is_null());
}

#[test]
fn win_rates_compare_answers_to_the_same_prompt() {
    let answer = |stage: &str, step: u64, prompt: &str, good: bool, reward: f64| {
        let role = if step == 0 { SFT } else { stage };
        let line = json!({"stage": stage, "step": step, "task": "couplet", "prompt": prompt, "role": role, "seed": 0,
            "text": "x", "ended": true, "true": good, "reward": reward, "kl": 0.0});
        serde_json::from_value::<JudgedAnswer>(line).unwrap()
    };
    let mut answers = vec![
        answer(PPO, 0, "a", false, 0.0),
        answer(PPO, 0, "b", true, 0.0),
        answer(PPO, 0, "c", false, 0.0),
        answer(PPO, 0, "d", true, 0.0),
        // Of an earlier update, and of another stage.
        answer(PPO, 2, "a", true, 9.0),
        answer(GRPO, 4, "b", true, 9.0),
        answer(PPO, 4, "a", true, -1.0),
        // Judged again at the same update.
        answer(PPO, 4, "a", true, 1.0),
        answer(PPO, 4, "b", false, 1.0),
        answer(PPO, 4, "c", true, 0.0),
        answer(PPO, 4, "d", true, -1.0),
        answer(PPO, 4, "asked only once", true, 5.0),
    ];
    let p = report(&logs(), &answers)[PPO].take();
    // Rewards: won, won, tied, lost. Rule: won, lost, won, tied.
    assert_eq!((&p["win_rate"], &p["win_rate_true"]), (&json!(0.625), &json!(0.625)));
    answers.retain(|a| a.prompt == "a");
    let p = report(&logs(), &answers)[PPO].take();
    assert_eq!((&p["win_rate"], &p["win_rate_true"]), (&json!(1.0), &json!(1.0)));
    // A stage without a reward model is judged by the rule only.
    for a in &mut answers {
        a.reward = None;
    }
    let p = report(&logs(), &answers)[PPO].take();
    assert_eq!((&p["win_rate"], &p["win_rate_true"]), (&Value::Null, &json!(1.0)));
    answers.retain(|a| a.step != 0);
    assert!(report(&logs(), &answers)[PPO]["win_rate"].is_null(), "nothing to compare with");
}

/// Every language, complete and incomplete, as Markdown and for the terminal.
#[test]
fn words_are_there_for_every_report() {
    let failed = Some(Failed { stage: StageId::Ppo, error: "the guard stopped it".to_owned() });
    for lang in [Lang::Zh, Lang::En] {
        for upto in 0..=4 {
            let report = Report::new(Facts { failed: failed.clone(), ..facts() }, &logs()[..upto], &[]);
            let blocks = words::document(&report, Path::new("runs/a run"), lang);
            let (paper, terminal) = (markdown(&blocks), plain(&blocks));
            assert!(paper.contains("the guard stopped it") && terminal.contains("the guard stopped it"));
            assert!(paper.contains("a\\|run") && terminal.contains("a|run"));
            for table in paper.split("\n\n").filter(|block| block.starts_with('|')) {
                let columns = |line: &str| line.replace("\\|", "").matches('|').count();
                let first = table.lines().next().map(columns);
                assert!(table.trim_end().lines().all(|line| Some(columns(line)) == first), "{table}");
            }
            assert_eq!(paper.contains("75.0 %"), upto >= 2, "{paper}");
            assert!(!paper.contains("NaN"), "{paper}");
            assert_eq!(paper.contains("--run 'runs/a run' "), upto >= 2, "a path as a shell takes it: {paper}");
        }
    }
}
