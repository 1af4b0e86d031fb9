//! Shared by the tests of human feedback: small runs that are fine-tuned or have a reward model, and comparing two
//! runs.

use std::{
    collections::BTreeMap,
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use serde_json::{Value, json};

use super::{
    Done, Running, copy_all, danlu, json_file, no_leftovers, objects, scratch, snapshot, stage_checkpoint, text,
};

/// A model with steps of milliseconds, whose vocabulary covers most of the pairs.
pub const MODEL: [&str; 6] = [
    "model.num_hidden_layers=1",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "model.intermediate_size=64",
    "model.vocab_size=1500",
    "model.max_position_embeddings=128",
];
/// A few steps of each stage, with measurements at both ends.
pub const REWARD: [&str; 5] = ["steps=6", "batch_size=4", "eval_steps=0", "save_steps=2", "learning_rate=1e-3"];
pub const PPO: [&str; 11] = [
    "steps=6",
    "rollouts=8",
    "response_length=8",
    "num_ppo_epochs=2",
    "num_mini_batches=2",
    "value_warmup_steps=2",
    "learning_rate=1e-3",
    "target_kl=0.5",
    // So few answers may be out of bounds by chance.
    "guard.enabled=false",
    "eval_steps=0",
    "save_steps=2",
];
/// TRL's names for the metrics of a PPO step.
pub const NAMES: [&str; 12] = [
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

pub fn args(run: &Path, stage: &str, sets: &[&str], more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["train", "--json", "--stage", stage, "--run"].map(str::to_owned).into();
    args.push(text(run));
    for set in sets {
        args.extend(["--set".to_owned(), (*set).to_owned()]);
    }
    args.extend(more.iter().map(|s| (*s).to_owned()));
    args
}

pub fn stage(run: &Path, stage: &str, sets: &[&str], more: &[&str]) -> Done {
    danlu(args(run, stage, sets, more))
}

/// The built-in pairs in place of answers of the run's own model.
pub fn given() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/preference/pairs.jsonl");
    fs::read_to_string(path).unwrap()
}

/// Conversations in which the questions of the pairs get the given answers in turn.
pub fn canned(dir: &Path, answers: &[&str]) -> String {
    let line = |(i, line): (usize, &str)| {
        let prompt = serde_json::from_str::<Value>(line).unwrap()["prompt"].clone();
        json!({"task": "canned", "prompt": prompt, "completion": answers[i % answers.len()]}).to_string() + "\n"
    };
    let path = dir.join("canned.jsonl");
    fs::write(&path, given().lines().enumerate().map(line).collect::<String>()).unwrap();
    format!("sft.source=[{{name=\"canned\",path={:?}}}]", text(&path))
}

/// Runs that all tests copy: a fine-tuned one, and one with a reward model.
pub struct Bases {
    pub _dir: tempfile::TempDir,
    pub pretrained: PathBuf,
    pub tuned: PathBuf,
    pub rewarded: PathBuf,
}

pub fn bases() -> &'static Bases {
    static BASES: OnceLock<Bases> = OnceLock::new();
    BASES.get_or_init(|| {
        let dir = scratch();
        let [pretrained, tuned, rewarded] = ["pretrained", "tuned", "rewarded"].map(|name| dir.path().join(name));
        let quiet = ["eval_steps=0", "probe_steps=0", "warmup_steps=2"];
        let talk = canned(dir.path(), &["杭州有西湖、断桥和灵隐寺，都很好玩。", "不知道。"]);
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

/// A copy of a base run for one test.
pub fn copied(base: &Path, dir: &Path, name: &str) -> PathBuf {
    let run = dir.join(name);
    copy_all(base, &run);
    run
}

/// A fine-tuned run whose own answers exist already.
pub fn tuned(dir: &Path, name: &str) -> PathBuf {
    let run = copied(&bases().tuned, dir, name);
    fs::write(run.join("data/reward-own.jsonl"), given()).unwrap();
    run
}

pub fn rewarded(dir: &Path, name: &str) -> PathBuf {
    copied(&bases().rewarded, dir, name)
}

/// A run's files except the lock, which has the last owner's id.
pub fn files(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    snapshot(run).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect()
}

pub fn events<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|l| l["event"] == name).collect()
}

pub fn steps(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|l| l["event"].is_null()).collect()
}

pub fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("no number {key}: {line}"))
}

/// A stage's lines of metrics.jsonl without times.
pub fn logged(run: &Path, stage: &str) -> Vec<Value> {
    let all = objects(&fs::read_to_string(run.join("metrics.jsonl")).unwrap());
    let mut all: Vec<Value> = all.into_iter().filter(|l| l["stage"] == stage).collect();
    for line in &mut all {
        for clock in ["step_ms", "tokens_per_second", "time"] {
            line.as_object_mut().unwrap().remove(clock).unwrap();
        }
    }
    all
}

/// The same lines, tensors, and state.
pub fn same(a: &Path, b: &Path, stage: &str, step: usize, what: &str) {
    let (one, other) = (logged(a, stage), logged(b, stage));
    assert_eq!(one.len(), step, "{what}: a line for every step");
    for (x, y) in one.iter().zip(&other) {
        assert_eq!(x, y, "{what}");
    }
    assert_eq!(one.len(), other.len(), "{what}");
    let folder = |run: &Path| stage_checkpoint(run, stage, step);
    let relative = |run: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        // The manifest contains the time of the save.
        let all = snapshot(&folder(run)).into_iter().filter(|(path, _)| !path.ends_with("manifest.json"));
        all.map(|(path, bytes)| (path.strip_prefix(folder(run)).unwrap().to_owned(), bytes)).collect()
    };
    for ((name, x), (other, y)) in relative(a).into_iter().zip(relative(b)) {
        assert_eq!(name, other, "{what}");
        assert!(x == y, "{what}: {} differs at step {step}", name.display());
    }
    no_leftovers(b);
}

pub fn tensor(folder: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (view.shape().to_vec(), values)
}

pub fn tensor_names(folder: &Path) -> Vec<String> {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    safetensors::SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect()
}

/// Checks a folder that transformers opens as a scalar model.
pub fn is_scalar(folder: &Path, hidden: usize) {
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

/// Kills the stage at successive steps, continues, and compares with an uninterrupted run.
pub fn killed(a: &Path, b: &Path, name: &str, sets: &[&str], step: usize) {
    stage(a, name, sets, &[]).good();
    let mut kills = 0;
    for after in [1, 3, 5, 8, 11] {
        let mut command = super::command(args(b, name, sets, &[]));
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

pub fn stopped(a: &Path, b: &[(PathBuf, &[usize])], name: &str, sets: &[&str], step: usize) {
    stage(a, name, sets, &[]).good();
    for (run, stops) in b {
        for stop in *stops {
            stage(run, name, sets, &["--steps", &stop.to_string()]).good();
        }
        stage(run, name, sets, &[]).good();
        same(a, run, name, step, &format!("{name} stopped at {stops:?}"));
    }
}
