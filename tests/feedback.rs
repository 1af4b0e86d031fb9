//! Human feedback from outside, with the real binary: a reward model, PPO, and what they write, say and refuse.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use common::{
    Done, Running, checkpoints, copy_all, danlu, json_file, no_leftovers, objects, scratch, snapshot, stage_checkpoint,
    tensors, text,
};
use danlu::data::rules::Rule;
use serde_json::{Value, json};

/// A model whose steps take milliseconds and whose vocabulary holds most of what the pairs say.
const MODEL: [&str; 6] = [
    "model.num_hidden_layers=1",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "model.intermediate_size=64",
    "model.vocab_size=1500",
    "model.max_position_embeddings=128",
];
/// A few steps of each stage, measured at both ends.
const REWARD: [&str; 5] = ["steps=6", "batch_size=4", "eval_steps=0", "save_steps=2", "learning_rate=1e-3"];
const PPO: [&str; 10] = [
    "steps=6",
    "rollouts=8",
    "response_length=8",
    "num_ppo_epochs=2",
    "num_mini_batches=2",
    "value_warmup_steps=2",
    "learning_rate=1e-3",
    "target_kl=0.5",
    "eval_steps=0",
    "save_steps=2",
];
/// The names under which TRL tells a step of PPO.
const NAMES: [&str; 12] = [
    "objective/kl",
    "objective/entropy",
    "objective/non_score_reward",
    "objective/rlhf_reward",
    "objective/scores",
    "policy/approxkl_avg",
    "policy/clipfrac_avg",
    "loss/policy_avg",
    "loss/value_avg",
    "val/clipfrac_avg",
    "val/ratio",
    "val/num_eos_tokens",
];

fn args(run: &Path, stage: &str, sets: &[&str], more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["train", "--json", "--stage", stage, "--run"].map(str::to_owned).into();
    args.push(text(run));
    for set in sets {
        args.extend(["--set".to_owned(), (*set).to_owned()]);
    }
    args.extend(more.iter().map(|s| (*s).to_owned()));
    args
}

fn stage(run: &Path, stage: &str, sets: &[&str], more: &[&str]) -> Done {
    danlu(args(run, stage, sets, more))
}

/// The built-in pairs, as if the run's own model had given those answers.
fn given() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/preference/pairs.jsonl");
    fs::read_to_string(path).unwrap()
}

/// Conversations whose answers are a few canned ones, one of them right for Hangzhou.
fn canned(dir: &Path) -> String {
    let answers = ["杭州有西湖、断桥和灵隐寺，都很好玩。", "不知道。"];
    let prompts = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/preference/pairs.jsonl"));
    let line = |(i, line): (usize, &str)| {
        let prompt = serde_json::from_str::<Value>(line).unwrap()["prompt"].clone();
        json!({"task": "canned", "prompt": prompt, "completion": answers[i % 2]}).to_string() + "\n"
    };
    let path = dir.join("canned.jsonl");
    fs::write(&path, prompts.unwrap().lines().enumerate().map(line).collect::<String>()).unwrap();
    format!("sft.source=[{{name=\"canned\",path={:?}}}]", text(&path))
}

/// Runs that every test copies: fine-tuned; and with a reward model.
struct Bases {
    _dir: tempfile::TempDir,
    pretrained: PathBuf,
    tuned: PathBuf,
    rewarded: PathBuf,
}

fn bases() -> &'static Bases {
    static BASES: OnceLock<Bases> = OnceLock::new();
    BASES.get_or_init(|| {
        let dir = scratch();
        let [pretrained, tuned, rewarded] = ["pretrained", "tuned", "rewarded"].map(|name| dir.path().join(name));
        let quiet = ["eval_steps=0", "probe_steps=0", "warmup_steps=2"];
        let talk = canned(dir.path());
        let first = [&MODEL[..], &quiet, &["steps=4", "batch_size=2", "context=32", &talk]].concat();
        stage(&pretrained, "pretrain", &first, &["--size", "1m"]).good();
        copy_all(&pretrained, &tuned);
        let second = [&quiet[..], &["steps=60", "batch_size=4", "learning_rate=1e-2", "save_steps=20"]].concat();
        stage(&tuned, "sft", &second, &[]).good();
        copy_all(&tuned, &rewarded);
        fs::write(rewarded.join("data/reward-own.jsonl"), given()).unwrap();
        stage(&rewarded, "reward", &REWARD, &[]).good();
        Bases { _dir: dir, pretrained, tuned, rewarded }
    })
}

/// A copy of a base in a folder of the test's own.
fn copied(base: &Path, dir: &Path, name: &str) -> PathBuf {
    let run = dir.join(name);
    copy_all(base, &run);
    run
}

/// A fine-tuned run with answers at hand.
fn tuned(dir: &Path, name: &str) -> PathBuf {
    let run = copied(&bases().tuned, dir, name);
    fs::write(run.join("data/reward-own.jsonl"), given()).unwrap();
    run
}

fn rewarded(dir: &Path, name: &str) -> PathBuf {
    copied(&bases().rewarded, dir, name)
}

/// A run's files, less the lock, which bears the last one who had it.
fn files(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    snapshot(run).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect()
}

fn events<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|l| l["event"] == name).collect()
}

fn steps(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|l| l["event"].is_null()).collect()
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("no number {key}: {line}"))
}

/// A stage's lines of metrics.jsonl, all but the clock.
fn logged(run: &Path, stage: &str) -> Vec<Value> {
    let all = objects(&fs::read_to_string(run.join("metrics.jsonl")).unwrap());
    let mut all: Vec<Value> = all.into_iter().filter(|l| l["stage"] == stage).collect();
    for line in &mut all {
        for clock in ["step_ms", "tokens_per_second"] {
            line.as_object_mut().unwrap().remove(clock).unwrap();
        }
    }
    all
}

/// The same lines, tensors, and state.
fn same(a: &Path, b: &Path, stage: &str, step: usize, what: &str) {
    let (one, other) = (logged(a, stage), logged(b, stage));
    assert_eq!(one.len(), step, "{what}: a line for every step");
    for (x, y) in one.iter().zip(&other) {
        assert_eq!(x, y, "{what}");
    }
    assert_eq!(one.len(), other.len(), "{what}");
    let folder = |run: &Path| stage_checkpoint(run, stage, step);
    let relative = |run: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        // A manifest has the time of its making.
        let all = snapshot(&folder(run)).into_iter().filter(|(path, _)| !path.ends_with("manifest.json"));
        all.map(|(path, bytes)| (path.strip_prefix(folder(run)).unwrap().to_owned(), bytes)).collect()
    };
    for ((name, x), (other, y)) in relative(a).into_iter().zip(relative(b)) {
        assert_eq!(name, other, "{what}");
        assert!(x == y, "{what}: {} differs at step {step}", name.display());
    }
    no_leftovers(b);
}

fn tensor(folder: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (view.shape().to_vec(), values)
}

fn tensor_names(folder: &Path) -> Vec<String> {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    safetensors::SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect()
}

/// A folder that transformers opens as a scalar model.
fn is_scalar(folder: &Path, hidden: usize) {
    let config = json_file(&folder.join("config.json"));
    assert_eq!(config["architectures"], json!(["LlamaForSequenceClassification"]));
    let labels = config["id2label"].as_object().map_or(config["num_labels"].as_u64(), |l| Some(l.len() as u64));
    assert_eq!(labels, Some(1), "{config}");
    assert!(config["pad_token_id"].is_u64() && config["pad_token_id"] != config["eos_token_id"], "{config}");
    let (shape, values) = tensor(folder, "score.weight");
    assert_eq!(shape, [1, hidden]);
    assert!(values.iter().any(|v| *v != 0.0) && values.iter().all(|v| v.is_finite()));
    assert!(!tensor_names(folder).iter().any(|n| n.contains("lm_head")));
}

/// Kills the stage at steps that follow each other, goes on, and compares with one that was let be.
fn killed(a: &Path, b: &Path, name: &str, sets: &[&str], step: usize) {
    stage(a, name, sets, &[]).good();
    let mut kills = 0;
    for after in [1, 3, 5, 8, 11] {
        let mut command = common::command(args(b, name, sets, &[]));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut running = Running { child, lines };
        running.until(|line| {
            line["event"].is_null() && line["step"].as_u64() >= Some(after) || line["event"] == "finished"
        });
        running.child.kill().unwrap();
        kills += usize::from(running.child.wait().unwrap().code().is_none());
    }
    assert!(kills >= 3, "{kills} kills came before the end: the test saw too little");
    stage(b, name, sets, &[]).good();
    same(a, b, name, step, "killed");
    objects(&fs::read_to_string(b.join("events.jsonl")).unwrap());
}

fn stopped(a: &Path, b: &[(PathBuf, &[usize])], name: &str, sets: &[&str], step: usize) {
    stage(a, name, sets, &[]).good();
    for (run, stops) in b {
        for stop in *stops {
            stage(run, name, sets, &["--steps", &stop.to_string()]).good();
        }
        stage(run, name, sets, &[]).good();
        same(a, run, name, step, &format!("{name} stopped at {stops:?}"));
    }
}

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
fn a_reward_model_tells_what_it_measures_and_is_a_scalar_model() {
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

/// With a rate of nothing the trunk is the fine-tuned model's.
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

/// The run's own answers are drawn when there are none, once, and never again.
#[test]
fn its_own_answers_are_drawn_once() {
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
fn a_reward_model_stopped_at_any_step_goes_on_to_the_bit() {
    let dir = scratch();
    let a = tuned(dir.path(), "a");
    let stops: [&[usize]; 3] = [&[1], &[3, 4], &[5]];
    let b: Vec<_> = stops.iter().enumerate().map(|(i, s)| (tuned(dir.path(), &format!("b{i}")), *s)).collect();
    stopped(&a, &b, "reward", &REWARD, 6);
}

#[test]
fn a_reward_model_killed_in_mid_stage_goes_on_to_the_bit() {
    let dir = scratch();
    let (a, b) = (tuned(dir.path(), "a"), tuned(dir.path(), "b"));
    killed(&a, &b, "reward", &[&REWARD[..], &["steps=40", "save_steps=3"]].concat(), 40);
}

/// Fine-tuning goes on: what the reward model started from stays, and the reward model goes on from it.
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

/// A reward model goes on with no text: without --stage it is never taken, with it it is refused.
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

/// Stopped between two measurements, its checkpoint still has the scale of its own scores.
#[test]
fn a_stopped_reward_model_knows_its_scale() {
    let dir = scratch();
    let scale = |run: &Path, step: usize| -> [f64; 2] {
        let state = json_file(&stage_checkpoint(run, "reward", step).join("state.json"));
        serde_json::from_value(state["reward_scale"].clone()).unwrap()
    };
    let sets = ["steps=40", "batch_size=8", "eval_steps=0", "save_steps=20", "learning_rate=1e-2"];
    let (a, b) = (tuned(dir.path(), "a"), tuned(dir.path(), "b"));
    // One that is saved on the way, and one that ends there.
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
    assert!(notes.contains("in 3 pairs only"), "{notes}");
    let pairs = events(&lines, "started")[0]["sources"][0]["documents"].as_u64().unwrap();
    assert!(pairs > 400, "{pairs}");
    // What is no pair is told with the file and the line.
    let run = copied(&bases().tuned, dir.path(), "bad");
    let path = run.join("data/reward-own.jsonl");
    fs::write(&path, [given().lines().next().unwrap(), "nonsense\n"].join("\n")).unwrap();
    stage(&run, "reward", &REWARD, &[]).refused(2, &[&text(&path), "line 2", "remove it"]);
}

/// Both start from the run's own fine-tuned model and no other.
#[test]
fn from_is_no_start_of_feedback() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let from = text(&stage_checkpoint(&run, "sft", 40));
    for name in ["reward", "ppo"] {
        let words = [name, "--from", "--stage sft"];
        stage(&run, name, &[], &["--from", &from]).refused(2, &words);
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
fn ppo_tells_what_it_measures_and_keeps_two_models() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let lines = stage(&run, "ppo", &[&PPO[..], &["eval_steps=3"]].concat(), &[]).good().objects();
    let told = steps(&lines);
    assert_eq!(told.len(), 6);
    for line in &told {
        for name in NAMES {
            assert!(number(line, name).is_finite(), "{name}: {line}");
        }
        assert!((number(line, "val/first_ratio") - 1.0).abs() <= 1e-6, "{line}");
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
fn ppo_stopped_at_any_update_goes_on_to_the_bit() {
    let dir = scratch();
    let a = rewarded(dir.path(), "a");
    let stops: [&[usize]; 3] = [&[1], &[2, 3], &[1, 4, 5]];
    let b: Vec<_> = stops.iter().enumerate().map(|(i, s)| (rewarded(dir.path(), &format!("b{i}")), *s)).collect();
    stopped(&a, &b, "ppo", &PPO, 6);
    let betas: Vec<f64> = logged(&a, "ppo").iter().map(|l| number(l, "kl_coef")).collect();
    assert!(betas.windows(2).any(|w| w[0] != w[1]), "β moved, and was taken up: {betas:?}");
}

#[test]
fn ppo_killed_in_mid_stage_goes_on_to_the_bit() {
    let dir = scratch();
    let (a, b) = (rewarded(dir.path(), "a"), rewarded(dir.path(), "b"));
    killed(&a, &b, "ppo", &[&PPO[..], &["steps=16"]].concat(), 16);
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

/// A huge β holds the policy where it is.
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

/// The reward model goes on: PPO keeps the one that it has learned from, which is not removed.
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
    stage(&b, "ppo", &PPO, &["--steps", "1"]).refused(2, &["reward-00000006", "not there any more"]);
}

/// The whole learns: held-out pairs are told apart, and the policy scores higher with the reward model.
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
    let lines = stage(&run, "ppo", &[&sets[..], &["eval_steps=0"]].concat(), &[]).good().objects();
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
        ("ppo.temperature=0", &["ppo.temperature is 0"]),
        ("ppo.temperature=nan", &["ppo.temperature"]),
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
        let which = if set.starts_with("ppo") { "ppo" } else { "reward" };
        stage(&run, which, &[set], &["--steps", "1"]).refused(2, words);
    }
    let done = stage(&run, "reward", &["reward.packng=true"], &[]);
    done.refused(2, &["unknown key \"packng\""]);
    assert!(!done.err.contains("packing\""), "what is refused is not proposed: {}", done.err);
    assert!(files(&run) == before, "nothing is written");
}
