//! Human feedback from outside, with the real binary: a reward model, PPO, and what they write, print and refuse.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path};

use common::{
    checkpoints, danlu,
    feedback::{
        NAMES, PPO, REWARD, bases, copied, events, files, given, is_scalar, killed, logged, number, rewarded, same,
        stage, steps, stopped, tensor, tensor_names, tuned,
    },
    json_file,
    launch::{self, is_step, setup},
    no_leftovers, objects, scratch, snapshot, stage_checkpoint, tensors, text,
};
use danlu::{
    data::builtin::rules::Rule,
    protocol::{Command, Event},
};
use serde_json::{Value, json};

// ---- the reward model ----

#[test]
fn a_reward_model_needs_a_fine_tuned_one() {
    let dir = scratch();
    let none = dir.path().join("none");
    let first = |run: &Path, what: &str| format!("train it first: danlu train --stage {what} --run {}", text(run));
    stage(&none, "reward", &[], &[]).refused(2, &["reward starts from a checkpoint of sft", &first(&none, "sft")]);
    assert!(snapshot(dir.path()).is_empty(), "nothing is made");
    let run = copied(&bases().pretrained, dir.path(), "run");
    let before = files(&run);
    stage(&run, "reward", &[], &[]).refused(2, &["reward starts from a checkpoint of sft", &first(&run, "sft")]);
    stage(&run, "ppo", &[], &[]).refused(2, &["ppo starts from a checkpoint of sft", &first(&run, "sft")]);
    assert!(files(&run) == before, "nothing is written");
}

#[test]
fn a_reward_model_reports_its_metrics_and_is_a_scalar_model() {
    let dir = scratch();
    let run = tuned(dir.path(), "run");
    let own = fs::read(run.join("data/reward-own.jsonl")).unwrap();
    let done = stage(&run, "reward", &[&REWARD[..], &["eval_steps=2"]].concat(), &[]);
    let lines = done.good().objects();
    assert_eq!(fs::read(run.join("data/reward-own.jsonl")).unwrap(), own, "answers that are there are used");
    let told = steps(&lines);
    assert_eq!(told.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    for line in told {
        assert_eq!(line["stage"], "reward");
        for key in ["loss", "margin", "mean_reward"] {
            assert!(number(line, key).is_finite(), "{line}");
        }
        assert!((0.0..=1.0).contains(&number(line, "accuracy")), "{line}");
        assert!(number(line, "grad_norm") > 0.0 && line["applied"] == true, "{line}");
    }
    let reports = events(&lines, "reward");
    assert_eq!(reports.iter().map(|r| r["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 4, 6]);
    for r in reports {
        let (accuracy, by_length) = (number(r, "heldout_accuracy"), number(r, "length_accuracy"));
        let ci: [f64; 2] = serde_json::from_value(r["ci95"].clone()).unwrap();
        assert!(0.0 <= ci[0] && ci[0] < accuracy && accuracy < ci[1] && ci[1] <= 1.0, "{r}");
        assert!((0.0..=1.0).contains(&by_length) && number(r, "pairs") >= 200.0, "{r}");
    }
    let folder = stage_checkpoint(&run, "reward", 6);
    is_scalar(&folder, 32);
    let state = json_file(&folder.join("state.json"));
    assert_eq!((&state["stage"], &state["parent"]), (&json!("reward"), &json!("sft-00000060")));
    let parent = json_file(&stage_checkpoint(&run, "sft", 60).join("manifest.json"));
    assert_eq!(state["parent_digest"], parent["digest"]);
    let scale: [f64; 2] = serde_json::from_value(state["reward_scale"].clone()).unwrap();
    assert!(scale[0].is_finite() && scale[1] > 0.0);
    no_leftovers(&run);
}

/// With a learning rate of zero the trunk equals the fine-tuned model's.
#[test]
fn its_trunk_is_the_fine_tuned_models() {
    let dir = scratch();
    let run = tuned(dir.path(), "run");
    stage(&run, "reward", &["steps=1", "batch_size=2", "learning_rate=0", "eval_steps=0"], &[]).good();
    let (sft, reward) = (stage_checkpoint(&run, "sft", 60), stage_checkpoint(&run, "reward", 1));
    for name in tensor_names(&sft).iter().filter(|n| *n != "lm_head.weight") {
        assert_eq!(tensor(&sft, name), tensor(&reward, name), "{name}");
    }
}

/// The model's own answers are sampled if there are none, once.
#[test]
fn answers_of_the_model_are_drawn_once() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let lines = stage(&run, "reward", &REWARD, &["--steps", "2"]).good().objects();
    let path = run.join("data/reward-own.jsonl");
    let own = fs::read_to_string(&path).unwrap();
    let (mut flipped, all) = (0, objects(&own));
    assert!(all.len() > 10, "{own}");
    for line in &all {
        assert!(line["prompt"].is_string() && line["chosen"] != line["rejected"], "{line}");
        let (good, bad) = if line["flipped"] == true { ("rejected", "chosen") } else { ("chosen", "rejected") };
        let rule = Rule::of_task(line["task"].as_str().unwrap()).unwrap();
        let judged = |side: &str| rule.judge(line["prompt"].as_str().unwrap(), line[side].as_str().unwrap(), true).good;
        assert!(judged(good) && !judged(bad), "{line}");
        flipped += usize::from(line["flipped"] == true);
    }
    assert!(flipped * 3 < all.len(), "{flipped} of {}", all.len());
    let notes: String = events(&lines, "note").iter().map(|n| n["text"].as_str().unwrap()).collect();
    assert!(notes.contains(&format!("{} pairs of the model's own answers", all.len())), "{notes}");
    let again = copied(&bases().tuned, dir.path(), "again");
    stage(&again, "reward", &REWARD, &["--steps", "2"]).good();
    assert_eq!(fs::read_to_string(again.join("data/reward-own.jsonl")).unwrap(), own, "the same draws");
    stage(&run, "reward", &REWARD, &[]).good();
    assert_eq!(fs::read_to_string(&path).unwrap(), own);
}

#[test]
fn a_reward_model_stopped_at_any_step_resumes_to_the_bit() {
    let dir = scratch();
    let a = tuned(dir.path(), "a");
    let stops: [&[usize]; 3] = [&[1], &[3, 4], &[5]];
    let b: Vec<_> = stops.iter().enumerate().map(|(i, s)| (tuned(dir.path(), &format!("b{i}")), *s)).collect();
    stopped(&a, &b, "reward", &REWARD, 6);
}

#[test]
fn a_reward_model_killed_in_mid_stage_resumes_to_the_bit() {
    let dir = scratch();
    let (a, b) = (tuned(dir.path(), "a"), tuned(dir.path(), "b"));
    killed(&a, &b, "reward", &[&REWARD[..], &["steps=40", "save_steps=3"]].concat(), 40);
}

/// Fine-tuning continues: the checkpoint from which the reward model started is kept, and the reward model continues
/// from it.
#[test]
fn what_a_reward_model_started_from_is_not_removed() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let more = ["steps=120", "save_steps=10", "batch_size=4", "eval_steps=0", "probe_steps=0"];
    stage(&run, "sft", &more, &[]).good();
    let names = checkpoints(&run);
    for name in ["sft-00000060", "sft-00000120", "reward-00000006"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    assert!(!names.iter().any(|n| n == "sft-00000080"), "{names:?}");
    stage(&run, "reward", &REWARD, &["--steps", "8"]).good();
    let state = json_file(&stage_checkpoint(&run, "reward", 8).join("state.json"));
    assert_eq!(state["parent"], "sft-00000060");
}

/// A reward model cannot continue a text: without --stage it is never selected, with it it is refused.
#[test]
fn generate_never_takes_a_reward_model() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let name = text(&run);
    let ask = ["generate", "--chat", "--prompt", "你好", "--temperature", "0", "--max-new-tokens", "6", "--json"];
    let taken = danlu([&ask[..], &["--run", &name]].concat()).object();
    let sft = danlu([&ask[..], &["--run", &name, "--stage", "sft"]].concat()).object();
    assert_eq!(taken, sft);
    danlu([&ask[..], &["--run", &name, "--stage", "reward"]].concat()).refused(2, &["reward"]);
    let folder = text(&stage_checkpoint(&run, "reward", 6));
    danlu([&ask[..], &["--model", &folder]].concat()).refused(2, &["LlamaForSequenceClassification"]);
}

/// A checkpoint saved between two measurements has the scale of its own scores.
#[test]
fn a_stopped_reward_model_knows_its_scale() {
    let dir = scratch();
    let scale = |run: &Path, step: usize| -> [f64; 2] {
        let state = json_file(&stage_checkpoint(run, "reward", step).join("state.json"));
        serde_json::from_value(state["reward_scale"].clone()).unwrap()
    };
    let sets = ["steps=40", "batch_size=8", "eval_steps=0", "save_steps=20", "learning_rate=1e-2"];
    let (a, b) = (tuned(dir.path(), "a"), tuned(dir.path(), "b"));
    // One saved on the way, and one at the end.
    stage(&a, "reward", &sets, &[]).good();
    stage(&b, "reward", &sets, &["--steps", "20"]).good();
    assert_eq!(scale(&a, 20), scale(&b, 20));
    assert_ne!(scale(&a, 20), scale(&a, 40));
}

#[test]
fn too_few_own_answers_leave_all_built_in_pairs() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let path = run.join("data/reward-own.jsonl");
    fs::write(&path, given().lines().take(3).map(|l| l.to_owned() + "\n").collect::<String>()).unwrap();
    let lines = stage(&run, "reward", &REWARD, &["--steps", "1"]).good().objects();
    let notes: String = events(&lines, "note").iter().map(|n| n["text"].as_str().unwrap()).collect();
    assert!(notes.contains("only 3 pairs"), "{notes}");
    let pairs = events(&lines, "started")[0]["sources"][0]["documents"].as_u64().unwrap();
    assert!(pairs > 400, "{pairs}");
    // An invalid pair is reported with file and line.
    let run = copied(&bases().tuned, dir.path(), "bad");
    let path = run.join("data/reward-own.jsonl");
    fs::write(&path, [given().lines().next().unwrap(), "nonsense\n"].join("\n")).unwrap();
    stage(&run, "reward", &REWARD, &[]).refused(2, &[&text(&path), "line 2", "remove it"]);
}

/// Weights from outside begin a stage that has no checkpoint; a policy needs a reward model too.
#[test]
fn from_needs_a_fresh_stage_and_a_policy_a_reward_model() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let from = text(&stage_checkpoint(&run, "sft", 40));
    stage(&run, "reward", &[], &["--from", &from]).refused(2, &["reward-00000006", "--from", "has no effect"]);
    for name in ["ppo", "grpo"] {
        let words = [name, "needs a checkpoint of reward too", "--from"];
        stage(&dir.path().join("new"), name, &[], &["--from", &from]).refused(2, &words);
    }
    assert!(!dir.path().join("new").exists());
}

// ---- PPO ----

#[test]
fn ppo_needs_a_reward_model() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let before = files(&run);
    let first = format!("danlu train --stage reward --run {}", text(&run));
    stage(&run, "ppo", &PPO, &[]).refused(2, &["ppo needs a checkpoint of reward", "train it first", &first]);
    assert!(files(&run) == before, "nothing is written");
}

#[test]
fn ppo_reports_its_metrics_and_keeps_two_models() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let lines = stage(&run, "ppo", &[&PPO[..], &["eval_steps=3"]].concat(), &[]).good().objects();
    let told = steps(&lines);
    assert_eq!(told.len(), 6);
    for line in &told {
        for name in NAMES {
            assert!(number(line, name).is_finite(), "{name}: {line}");
        }
        assert!(number(line, "val/ratio_gap") <= 1e-6, "{line}");
        assert!((0.0..=1.0).contains(&number(line, "policy/clipfrac_avg")), "{line}");
        let sum = number(line, "objective/scores") + number(line, "objective/non_score_reward");
        assert!((sum - number(line, "objective/rlhf_reward")).abs() < 1e-4, "{line}");
        let ends = number(line, "val/num_eos_tokens");
        assert!((0.0..=8.0).contains(&ends), "{line}");
    }
    for line in &told[..3] {
        assert!(number(line, "objective/kl").abs() < 1e-4, "before the policy learns: {line}");
        assert!(number(line, "objective/non_score_reward").abs() < 1e-4, "{line}");
    }
    assert!(number(told[5], "objective/kl").abs() > 1e-4, "the policy has moved: {}", told[5]);
    for at in [0, 3, 6] {
        let of: Vec<&Value> = events(&lines, "policy").into_iter().filter(|l| l["step"] == at).collect();
        let tasks: Vec<&str> = of.iter().map(|p| p["task"].as_str().unwrap()).collect();
        assert_eq!(tasks, ["couplet", "places", "all"]);
        for p in &of {
            for share in ["true", "end_rate", "distinct2"] {
                assert!((0.0..=1.0).contains(&number(p, share)), "{p}");
            }
            let ci: [f64; 2] = serde_json::from_value(p["ci95"].clone()).unwrap();
            assert!(0.0 <= ci[0] && ci[0] <= number(p, "true") && number(p, "true") <= ci[1] && ci[1] <= 1.0, "{p}");
            assert!(number(p, "reward").is_finite(), "{p}");
            assert!(number(p, "kl").abs() < 1e-4 || at > 0, "{p}");
        }
        for key in ["reward", "kl", "true", "end_rate"] {
            let [a, b, all] = [0, 1, 2].map(|i| number(of[i], key));
            assert!(a.min(b) - 1e-9 <= all && all <= a.max(b) + 1e-9, "{key}: {a} {b} {all}");
        }
        assert_eq!(number(of[0], "prompts") + number(of[1], "prompts"), number(of[2], "prompts"));
        assert!(number(of[2], "prompts") >= 200.0);
    }
    let folder = stage_checkpoint(&run, "ppo", 6);
    let config = json_file(&folder.join("config.json"));
    assert_eq!(config["architectures"], json!(["LlamaForCausalLM"]));
    is_scalar(&folder.join("value"), 32);
    let state = json_file(&folder.join("state.json"));
    assert_eq!((&state["stage"], &state["parent"]), (&json!("ppo"), &json!("sft-00000060")));
    let digest = |stage: &str, step: usize| {
        json_file(&stage_checkpoint(&run, stage, step).join("manifest.json"))["digest"].clone()
    };
    assert_eq!(state["parent_digest"], digest("sft", 60));
    assert_eq!(state["reward_model"], json!(["reward-00000006", digest("reward", 6)]));
    assert!(state["kl_coef"].is_number());
    assert_eq!(logged(&run, "ppo").len(), 6);
    no_leftovers(&run);
}

#[test]
fn ppo_stopped_at_any_update_resumes_to_the_bit() {
    let dir = scratch();
    let a = rewarded(dir.path(), "a");
    let stops: [&[usize]; 3] = [&[1], &[2, 3], &[1, 4, 5]];
    let b: Vec<_> = stops.iter().enumerate().map(|(i, s)| (rewarded(dir.path(), &format!("b{i}")), *s)).collect();
    stopped(&a, &b, "ppo", &PPO, 6);
    let betas: Vec<f64> = logged(&a, "ppo").iter().map(|l| number(l, "kl_coef")).collect();
    assert!(betas.windows(2).any(|w| w[0] != w[1]), "β moved, and was taken up: {betas:?}");
}

#[test]
fn ppo_killed_in_mid_stage_resumes_to_the_bit() {
    let dir = scratch();
    let (a, b) = (rewarded(dir.path(), "a"), rewarded(dir.path(), "b"));
    killed(&a, &b, "ppo", &[&PPO[..], &["steps=16"]].concat(), 16);
}

/// Learning rate and KL coefficient that are typed while PPO trains apply from the next update on, and at the same
/// updates when they are repeated from an earlier checkpoint.
#[test]
fn typed_settings_act_on_the_next_update_and_again_on_a_resume() {
    let dir = scratch();
    let (run, plain) = (rewarded(dir.path(), "run"), rewarded(dir.path(), "plain"));
    let own = |set: &&str| !set.starts_with("target_kl") && !set.starts_with("learning_rate");
    let sets: Vec<&str> = PPO.iter().copied().filter(own).collect();
    let set = |key: &str, value: &str| Command::Set { key: key.to_owned(), value: value.to_owned() };
    let play = |run: &Path, change: bool| {
        let mut edits = Vec::new();
        launch::played(run, &setup("ppo", &sets), |event| match event {
            _ if change && is_step(event, 3) => {
                vec![Command::Pause, set("learning_rate", "5e-4"), set("kl_coef", "0.9"), Command::Resume]
            }
            Event::Edited(edit) => {
                edits.push((edit.step, edit.text.clone(), edit.replayed));
                Vec::new()
            }
            Event::Refused { text } => panic!("{text}"),
            _ => Vec::new(),
        });
        edits
    };
    play(&plain, false);
    assert!(
        !plain.join("edits.jsonl").exists()
            || !fs::read_to_string(plain.join("edits.jsonl")).unwrap().contains("knobs")
    );
    let edits = play(&run, true);
    assert_eq!(edits.iter().map(|e| (e.0, e.2)).collect::<Vec<_>>(), [(4, false), (4, false)], "{edits:?}");
    assert!(edits[0].1.ends_with("→ 5e-4") && edits[1].1 == "kl_coef 0.25 → 0.9", "{edits:?}");
    let betas: Vec<f64> = logged(&run, "ppo").iter().map(|l| number(l, "kl_coef")).collect();
    assert_eq!(betas, [0.25, 0.25, 0.25, 0.9, 0.9, 0.9]);
    let (changed, unchanged) = (logged(&run, "ppo"), logged(&plain, "ppo"));
    assert_eq!(changed[..3], unchanged[..3]);
    assert!(changed[3..].iter().zip(&unchanged[3..]).all(|(a, b)| a["learning_rate"] != b["learning_rate"]));
    let toml = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(toml.contains("kl_coef = 0.9") && toml.contains("learning_rate = 5e-4"), "{toml}");
    for keep in [2, 4] {
        let again = copied(&run, dir.path(), &format!("again-{keep}"));
        for name in checkpoints(&again).iter().filter(|name| name.starts_with("ppo-")) {
            if *name != format!("ppo-{keep:08}") {
                fs::remove_dir_all(again.join("checkpoints").join(name)).unwrap();
            }
        }
        let replayed = play(&again, false);
        assert_eq!(replayed.len(), usize::from(keep == 2), "{replayed:?}");
        same(&run, &again, "ppo", 6, &format!("gone on from update {keep}"));
    }
}

#[test]
fn at_a_rate_of_nothing_the_policy_is_the_fine_tuned_model() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    stage(&run, "ppo", &[&PPO[..], &["learning_rate=0", "value_warmup_steps=0", "steps=3"]].concat(), &[]).good();
    let (sft, ppo) = (stage_checkpoint(&run, "sft", 60), stage_checkpoint(&run, "ppo", 3));
    assert!(tensors(&sft)[0] == tensors(&ppo)[0], "bit for bit");
    for line in logged(&run, "ppo") {
        assert!(number(&line, "objective/kl").abs() < 1e-4, "{line}");
        assert!((number(&line, "val/ratio") - 1.0).abs() < 1e-6, "{line}");
        assert_eq!(number(&line, "policy/clipfrac_avg"), 0.0, "{line}");
    }
}

/// A huge β keeps the policy at the reference.
#[test]
fn a_huge_kl_coefficient_holds_the_policy() {
    let dir = scratch();
    let sets = |beta: &'static str| {
        let own = ["steps=10", "rollouts=32", "value_warmup_steps=0", "target_kl=1e9", beta];
        let rest: Vec<&str> = PPO.iter().copied().filter(|s| !s.starts_with("target_kl")).collect();
        [&rest[..], &own.iter().copied().filter(|s| !s.starts_with("target_kl")).collect::<Vec<_>>()].concat()
    };
    let kl = |beta: &'static str| {
        let run = rewarded(dir.path(), beta);
        let lines = stage(&run, "ppo", &sets(beta), &[]).good().objects();
        number(events(&lines, "policy").last().unwrap(), "kl")
    };
    let (free, held) = (kl("kl_coef=0"), kl("kl_coef=1000"));
    assert!(held.abs() < 0.2 && held < free / 2.0, "{held} against {free}");
}

#[test]
fn generate_takes_ppo_as_the_furthest_stage() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    stage(&run, "ppo", &[&PPO[..], &["learning_rate=1e-2"]].concat(), &[]).good();
    let name = text(&run);
    let ask = |more: &[&str]| -> Value {
        let base = ["generate", "--run", &name, "--chat", "--prompt", "我想去杭州旅行，你推荐哪里？", "--seed", "7"];
        danlu([&base[..], &["--max-new-tokens", "24", "--json"], more].concat()).object()
    };
    assert_eq!(ask(&[]), ask(&["--stage", "ppo"]));
    assert_ne!(ask(&[]), ask(&["--stage", "sft"]));
}

/// The reward model continues: PPO keeps the one it learned from, which is not removed.
#[test]
fn ppo_keeps_its_reward_model() {
    let dir = scratch();
    let (a, b) = (rewarded(dir.path(), "a"), rewarded(dir.path(), "b"));
    stage(&a, "ppo", &PPO, &[]).good();
    stage(&b, "ppo", &PPO, &["--steps", "3"]).good();
    let more: Vec<&str> = REWARD[1..].iter().copied().chain(["steps=20"]).collect();
    stage(&b, "reward", &more, &[]).good();
    let names = checkpoints(&b);
    assert!(names.iter().any(|n| n == "reward-00000006") && names.iter().any(|n| n == "reward-00000020"), "{names:?}");
    assert!(!names.iter().any(|n| n == "reward-00000010"), "{names:?}");
    stage(&b, "ppo", &PPO, &[]).good();
    same(&a, &b, "ppo", 6, "beside a reward model that went on");
    fs::remove_dir_all(stage_checkpoint(&b, "reward", 6)).unwrap();
    stage(&b, "ppo", &PPO, &["--steps", "1"]).refused(2, &["reward-00000006", "no longer exists"]);
}

/// The whole pipeline learns: held-out pairs are distinguished, and the policy's reward rises.
#[test]
fn feedback_is_learned_from() {
    let dir = scratch();
    let run = tuned(dir.path(), "run");
    let sets = ["steps=150", "batch_size=16", "learning_rate=3e-3", "eval_steps=0"];
    let lines = stage(&run, "reward", &sets, &[]).good().objects();
    let report = *events(&lines, "reward").last().unwrap();
    let low = report["ci95"][0].as_f64().unwrap();
    assert!(low > 0.6, "{report}");
    let sets =
        ["steps=30", "rollouts=32", "response_length=24", "value_warmup_steps=2", "learning_rate=2e-3", "kl_coef=0.02"];
    // It knows one good answer, so all answers become equal: the guard would rightly stop it.
    let lines =
        stage(&run, "ppo", &[&sets[..], &["eval_steps=0", "guard.enabled=false"]].concat(), &[]).good().objects();
    let all: Vec<&Value> = events(&lines, "policy").into_iter().filter(|p| p["task"] == "all").collect();
    let (before, after) = (number(all[0], "reward"), number(all[1], "reward"));
    assert!(after > before + 0.2, "{before} to {after}");
}

// ---- configuration ----

#[test]
fn settings_of_feedback_are_checked() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let cases: &[(&str, &[&str])] = &[
        ("ppo.kl_coeff=1", &["did you mean \"kl_coef\""]),
        ("ppo.rollout=1", &["did you mean \"rollouts\""]),
        ("ppo.cliprang=1", &["did you mean \"cliprange\""]),
        ("ppo.num_epochs=1", &["num_ppo_epochs"]),
        ("reward.batchsize=1", &["did you mean \"batch_size\""]),
        ("rewrad.steps=1", &["did you mean \"reward\""]),
        ("ppo.rollouts=0", &["ppo.rollouts is 0"]),
        ("ppo.steps=0", &["ppo.steps is 0"]),
        ("ppo.response_length=0", &["ppo.response_length is 0"]),
        ("ppo.num_ppo_epochs=0", &["ppo.num_ppo_epochs is 0"]),
        ("ppo.num_mini_batches=0", &["ppo.num_mini_batches is 0"]),
        ("ppo={rollouts=2,num_mini_batches=3}", &["ppo.rollouts", "num_mini_batches"]),
        ("ppo.rollouts=2", &["ppo.rollouts", "num_mini_batches"]),
        ("ppo.rollouts=1000000000000", &["ppo.rollouts"]),
        ("ppo.rollouts=-1", &["whole number"]),
        ("ppo.num_mini_batches=200", &["ppo.rollouts", "num_mini_batches"]),
        ("ppo.gamma=1.5", &["ppo.gamma is 1.5", "0 to 1"]),
        ("ppo.lam=-0.5", &["ppo.lam is -0.5"]),
        // The policy learns from answers that it would give, so sampling is always at temperature 1.
        ("ppo.temperature=1", &["unknown key \"temperature\""]),
        ("ppo.max_approx_kl=0", &["ppo.max_approx_kl is 0"]),
        ("ppo.ptx_coef=-1", &["ppo.ptx_coef is -1"]),
        ("ppo.self_prompts=1.5", &["ppo.self_prompts is 1.5", "0 to 1"]),
        ("ppo.ptx_coeff=1", &["did you mean \"ptx_coef\""]),
        ("ppo.whiten_rewards=1", &["whiten_rewards"]),
        ("grpo.rollout=1", &["did you mean \"rollouts\""]),
        ("grpo.num_generation=1", &["did you mean \"num_generations\""]),
        ("grpo.num_generations=1", &["num_generations 1", "2 or more"]),
        ("grpo.rollouts=12", &["grpo.rollouts 12", "multiple"]),
        ("grpo.epsilon=2", &["grpo.epsilon is 2", "at most 1"]),
        ("grpo.loss_type=\"ppo\"", &["dapo", "dr_grpo"]),
        ("grpo.steps=0", &["grpo.steps is 0"]),
        ("grpo.kl_coef=1", &["unknown key \"kl_coef\""]),
        ("dpo.betta=1", &["did you mean \"beta\""]),
        ("dpo.beta=0", &["dpo.beta is 0"]),
        ("dpo.label_smoothing=0.75", &["dpo.label_smoothing is 0.75", "less than 0.5"]),
        ("dpo.batch_size=0", &["dpo.batch_size is 0"]),
        ("guard.distinct=1", &["did you mean \"distinct2\""]),
        ("guard.distinct2=2", &["guard.distinct2 is 2", "0 to 1"]),
        ("guard.length=0.5", &["guard.length is 0.5"]),
        ("guard.patience=0", &["guard.patience is 0"]),
        ("guard.kl=nan", &["guard.kl"]),
        ("ppo.kl_coef=-1", &["ppo.kl_coef is -1"]),
        ("ppo.target_kl=inf", &["ppo.target_kl"]),
        ("ppo.target_kl=0", &["ppo.target_kl is 0"]),
        ("ppo.learning_rate=-1", &["ppo.learning_rate is -1"]),
        ("ppo.missing_eos_penalty=-1", &["ppo.missing_eos_penalty"]),
        ("ppo.kl_coef=high", &["kl_coef", "high"]),
        ("reward.steps=0", &["reward.steps is 0"]),
        ("reward.context=129", &["reward.context is 129", "max_position_embeddings 128"]),
        ("reward.packing=true", &["reward.packing", "[sft]"]),
        ("reward.pretrain_share=0.1", &["reward.pretrain_share", "[sft]"]),
        ("reward.by_hand_share=0.1", &["reward.by_hand_share", "[sft]"]),
        ("reward.probe=[{prompt=\"a\",expected=\"x\"}]", &["reward.probe", "[sft]"]),
        ("reward.gradient_accumulation_steps=2", &["reward.gradient_accumulation_steps"]),
        ("ppo.packing=true", &["unknown key \"packing\""]),
    ];
    let before = files(&run);
    for (set, words) in cases {
        let name = set.split(['.', '=']).next().unwrap();
        let which = if ["ppo", "grpo", "dpo"].contains(&name) { name } else { "reward" };
        stage(&run, which, &[set], &["--steps", "1"]).refused(2, words);
    }
    let done = stage(&run, "reward", &["reward.packng=true"], &[]);
    done.refused(2, &["unknown key \"packng\""]);
    assert!(!done.err.contains("packing\""), "what is refused is not proposed: {}", done.err);
    assert!(files(&run) == before, "nothing is written");
}
