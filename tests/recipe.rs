//! `danlu recipe` from outside: all stages, interrupted and continued, its report, and what it refuses.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::BufReader,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use common::{
    DANLU, Done, Running, checkpoints, command, copy_all, danlu, json_file, no_leftovers, objects, scratch, snapshot,
    text,
};
use serde_json::{Value, json};

/// A model with steps of milliseconds, and a few steps of every stage.
const SETS: [&str; 31] = [
    "model.num_hidden_layers=1",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "model.intermediate_size=64",
    "model.vocab_size=1500",
    "model.max_position_embeddings=128",
    "pretrain.steps=8",
    "pretrain.batch_size=2",
    "pretrain.context=32",
    "pretrain.eval_steps=0",
    "pretrain.probe_steps=4",
    "sft.steps=60",
    "sft.batch_size=4",
    "sft.warmup_steps=2",
    "sft.learning_rate=1e-2",
    "sft.eval_steps=0",
    "sft.probe_steps=0",
    "reward.steps=6",
    "reward.batch_size=4",
    "reward.learning_rate=1e-3",
    "reward.eval_steps=3",
    // Whether eight answers of such a model end is a matter of chance.
    "guard.enabled=false",
    "ppo.steps=8",
    "ppo.rollouts=8",
    "ppo.response_length=8",
    "ppo.num_ppo_epochs=2",
    "ppo.num_mini_batches=2",
    "ppo.value_warmup_steps=1",
    "ppo.learning_rate=1e-3",
    "ppo.eval_steps=2",
    "ppo.save_steps=2",
];
/// The stages of a recipe and their steps.
const STAGES: [(&str, u64); 4] = [("pretrain", 8), ("sft", 60), ("reward", 6), ("ppo", 8)];

fn recipe_args(run: &Path, more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["recipe", "--run"].map(str::to_owned).into();
    args.push(text(run));
    args.extend(more.iter().map(|s| (*s).to_owned()));
    args
}

/// The arguments of a tiny recipe.
fn tiny(run: &Path, talk: &str, more: &[&str]) -> Vec<String> {
    let mut args = recipe_args(run, &["--size", "1m", "--json"]);
    for set in SETS.iter().chain([&talk]) {
        args.extend(["--set".to_owned(), (*set).to_owned()]);
    }
    args.extend(more.iter().map(|s| (*s).to_owned()));
    args
}

/// Conversations with a few fixed answers, one of which is right for Hangzhou.
fn canned(dir: &Path) -> String {
    let answers = ["杭州有西湖、断桥和灵隐寺，都很好玩。", "不知道。"];
    let pairs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/preference/pairs.jsonl");
    let line = |(i, line): (usize, &str)| {
        let prompt = serde_json::from_str::<Value>(line).unwrap()["prompt"].clone();
        json!({"task": "canned", "prompt": prompt, "completion": answers[i % 2]}).to_string() + "\n"
    };
    let path = dir.join("canned.jsonl");
    fs::write(&path, fs::read_to_string(pairs).unwrap().lines().enumerate().map(line).collect::<String>()).unwrap();
    format!("sft.source=[{{name=\"canned\",path={:?}}}]", text(&path))
}

/// An uninterrupted recipe, and its output.
struct Whole {
    _dir: tempfile::TempDir,
    talk: String,
    run: PathBuf,
    lines: Vec<Value>,
}

fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let dir = scratch();
        let talk = canned(dir.path());
        let run = dir.path().join("whole");
        let done = danlu(tiny(&run, &talk, &[]));
        assert_eq!(done.good().err, "");
        Whole { talk, run, lines: done.objects(), _dir: dir }
    })
}

fn copied(dir: &Path, name: &str) -> PathBuf {
    let run = dir.join(name);
    copy_all(&whole().run, &run);
    run
}

fn start(args: Vec<String>) -> Running {
    let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Running { child, lines }
}

/// The newest event of a stage with this name and a value under a key.
fn newest<'a>(lines: &'a [Value], stage: &str, event: &str, key: &str, value: &Value) -> &'a Value {
    let wanted = |l: &&Value| l["stage"] == stage && l["event"] == event && l[key] == *value;
    lines.iter().rev().find(wanted).unwrap_or_else(|| panic!("no {event} of {stage}"))
}

/// A report without times and launches.
fn figures(report: &Value) -> Value {
    let mut report = report.clone();
    for key in ["seconds", "sitting_seconds", "run"] {
        report.as_object_mut().unwrap().remove(key).unwrap();
    }
    for (stage, _) in STAGES {
        for key in ["seconds", "sitting"] {
            report[stage].as_object_mut().unwrap().remove(key).unwrap();
        }
    }
    report
}

fn launches(report: &Value) -> Vec<&str> {
    STAGES.iter().map(|(stage, _)| report[*stage]["sitting"].as_str().unwrap()).collect()
}

fn steps(lines: &[Value], stage: &str) -> Vec<u64> {
    lines.iter().filter(|l| l["event"].is_null() && l["stage"] == stage).map(|l| l["step"].as_u64().unwrap()).collect()
}

/// A run's files without the report and the lock, which has the last owner's id.
fn files(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    snapshot(run)
        .into_iter()
        .filter(|(path, _)| !path.ends_with("lock") && !path.starts_with(run.join("report")))
        .collect()
}

#[test]
fn all_stages_are_trained_and_the_report_is_the_last_line() {
    let Whole { run, lines, .. } = whole();
    for (stage, last) in STAGES {
        assert_eq!(steps(lines, stage), (1..=last).collect::<Vec<_>>(), "{stage}");
        assert!(run.join(format!("checkpoints/{stage}-{last:08}")).is_dir());
    }
    let begun: Vec<&str> =
        lines.iter().filter(|l| l["event"] == "started").map(|l| l["stage"].as_str().unwrap()).collect();
    assert_eq!(begun, STAGES.map(|(stage, _)| stage));
    assert_eq!(lines.iter().filter(|l| l["event"] == "report").count(), 1);
    let report = lines.last().unwrap();
    assert_eq!((&report["event"], &report["engine"], &report["seed"]), (&json!("report"), &json!("cpu"), &json!(0)));
    assert_eq!((&report["size"], &report["run"]), (&json!("1m"), &json!("whole")));
    assert_eq!((&report["failed"], &report["siblings"]), (&Value::Null, &json!({})));

    // Every figure was reported by a stage.
    let all = json!("all");
    let p = &report["pretrain"];
    assert_eq!(p["eval_loss"], newest(lines, "pretrain", "eval", "source", &all)["eval_loss"]);
    let probe = newest(lines, "pretrain", "probe", "prompt", &json!("春眠不觉晓，"));
    assert_eq!(probe["length"], 18);
    assert_eq!(p["chunxiao_match"], probe["match"].as_f64().unwrap() / 18.0);
    let task = newest(lines, "sft", "task", "task", &json!("canned"));
    for key in ["exact_match", "char_f1", "end_rate", "eval_loss", "examples"] {
        assert_eq!(report["sft"]["tasks"]["canned"][key], task[key], "{key}");
    }
    assert_eq!(report["sft"]["end_rate"], task["end_rate"]);
    let told = newest(lines, "reward", "reward", "step", &json!(6));
    for key in ["heldout_accuracy", "ci95", "length_accuracy", "margin", "pairs"] {
        assert_eq!(report["reward"][key], told[key], "{key}");
    }
    let of = |step: u64| {
        let wanted = |l: &&Value| l["event"] == "policy" && l["task"] == "all" && l["step"] == step;
        lines.iter().find(wanted).unwrap()
    };
    for (at, step) in [("before", 0), ("after", 8)] {
        let told = of(step);
        for (ours, theirs) in
            [("true", "true"), ("ci95", "ci95"), ("rm", "reward"), ("distinct2", "distinct2"), ("length", "length")]
        {
            assert_eq!(report["ppo"][format!("{ours}_{at}")], told[theirs], "{ours}_{at}");
        }
    }
    for key in ["kl", "end_rate", "prompts"] {
        assert_eq!(report["ppo"][key], of(8)[key], "{key}");
    }
    assert_eq!(report["ppo"]["end_rate_before"], of(0)["end_rate"]);

    // Time: of all stages in this launch, and at most the total.
    assert_eq!(launches(report), ["this"; 4]);
    let seconds: Vec<f64> = STAGES.iter().map(|(stage, _)| report[*stage]["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.iter().all(|s| *s > 0.0));
    assert!(seconds.iter().sum::<f64>() <= report["seconds"].as_f64().unwrap(), "{report}");
    assert_eq!(report["seconds"], report["sitting_seconds"]);
}

#[test]
fn the_report_lies_in_the_run_as_json_and_as_markdown() {
    let Whole { run, lines, .. } = whole();
    assert_eq!(&json_file(&run.join("report/report.json")), lines.last().unwrap());
    let paper = fs::read_to_string(run.join("report/report.md")).unwrap();
    assert!(paper.starts_with("# "), "{paper}");
    let tables = paper.lines().filter(|l| l.starts_with("| --- | --- |")).count();
    assert!(tables >= 4, "stages, tasks, before and after, signs:\n{paper}");
    for (stage, last) in STAGES {
        let row = paper.lines().find(|l| l.starts_with(&format!("| {stage} |"))).expect("a row a stage");
        assert!(row.contains(&format!("| {last} |")), "{row}");
    }
    no_leftovers(run);
}

/// Interrupted during fine-tuning, while the reward model is opened, and during PPO.
#[test]
fn stopped_in_any_stage_it_resumes_and_reports_the_same() {
    let dir = scratch();
    let run = dir.path().join("run");
    let stops = [("sft", "sft", Some(5)), ("reward", "sft", None), ("ppo", "ppo", Some(1))];
    for (stage, seen, at) in stops {
        // At a step of the stage, or at its end, while the next one is being opened.
        let wanted = |l: &Value| {
            l["stage"] == seen && at.map_or(l["event"] == "finished", |n| l["event"].is_null() && l["step"] == n)
        };
        // The settings are in run.toml after the first call.
        let args = if run.exists() { recipe_args(&run, &["--json"]) } else { tiny(&run, &whole().talk, &[]) };
        let mut running = start(args);
        running.until(wanted);
        running.signal("TERM");
        let (done, rest) = running.end();
        assert!(done.good().err.starts_with("stopped") && done.err.lines().count() == 1, "{}", done.err);
        assert!(!rest.iter().any(|l| l["event"] == "report"), "nothing is reported of half a recipe");
        if let Some(end) = rest.iter().rev().find(|l| l["event"] == "finished") {
            assert_eq!((&end["stage"], &end["reason"]), (&json!(stage), &json!("stopped")));
            let step = end["step"].as_u64().unwrap();
            assert!(step == 0 || checkpoints(&run).contains(&format!("{stage}-{step:08}")), "{:?}", checkpoints(&run));
        }
        assert!(!run.join("report/report.json").exists());
    }
    let done = danlu(recipe_args(&run, &["--json"]));
    let lines = done.good().objects();
    let report = lines.last().unwrap();
    assert_eq!(figures(report), figures(whole().lines.last().unwrap()));
    assert_eq!(launches(report), ["earlier", "earlier", "earlier", "both"]);
    assert!(report["seconds"].as_f64() > report["sitting_seconds"].as_f64(), "{report}");
    for stage in ["pretrain", "sft", "reward"] {
        assert!(steps(&lines, stage).is_empty());
        let note = newest(&lines, stage, "note", "stage", &json!(stage));
        assert!(note["text"].as_str().unwrap().contains("is complete"), "{note}");
    }
    no_leftovers(&run);
}

#[test]
fn a_complete_recipe_is_reported_again_and_not_trained() {
    let dir = scratch();
    let run = copied(dir.path(), "whole");
    for report in ["report/report.json", "report/report.md"] {
        fs::remove_file(run.join(report)).unwrap();
    }
    let before = files(&run);
    let lines = danlu(recipe_args(&run, &["--json"])).good().objects();
    assert!(files(&run) == before, "nothing but the report is written");
    let report = lines.last().unwrap();
    assert_eq!(figures(report), figures(whole().lines.last().unwrap()));
    assert_eq!(launches(report), ["earlier"; 4]);
    assert!(lines.iter().all(|l| l["event"] == "note" || l["event"] == "report"), "{lines:?}");
    assert_eq!(&json_file(&run.join("report/report.json")), report);
    // The text, in both languages, on stdout.
    for (lang, words) in [("en", ["Stages", "earlier", "Talk to it"]), ("zh", ["各阶段", "以前", "与模型对话"])]
    {
        let done = danlu(recipe_args(&run, &["--lang", lang]));
        let paper = fs::read_to_string(run.join("report/report.md")).unwrap();
        for word in words {
            assert!(done.good().out.contains(word) && paper.contains(word), "{word}: {}", done.out);
        }
        assert!(done.err.contains("ppo is complete at step 8"), "{}", done.err);
    }
}

/// Stages trained with `train` count; one from which another has started is left unchanged.
#[test]
fn stages_trained_by_train_are_kept() {
    let dir = scratch();
    let run = copied(dir.path(), "run");
    danlu(["train", "--json", "--stage", "ppo", "--steps", "10", "--run", &text(&run)]).good();
    let set = ["--json", "--set", "ppo.steps=10", "--set", "pretrain.steps=99"];
    let lines = danlu(recipe_args(&run, &set)).good().objects();
    let report = lines.last().unwrap();
    assert_eq!((&report["ppo"]["steps"], &report["ppo"]["measured_at"]), (&json!(10), &json!(10)));
    assert_eq!(report["pretrain"]["steps"], 8);
    let note = newest(&lines, "pretrain", "note", "stage", &json!("pretrain"));
    assert!(note["text"].as_str().unwrap().contains("stays at step 8"), "{note}");
    let seconds = |r: &Value| r["ppo"]["seconds"].as_f64().unwrap();
    assert!(seconds(report) > seconds(whole().lines.last().unwrap()), "both launches count");
}

/// As in a run that was fine-tuned from an imported model: pretraining is not needed.
#[test]
fn a_stage_that_the_next_one_did_without_is_left_out() {
    let dir = scratch();
    let run = copied(dir.path(), "run");
    fs::remove_dir_all(run.join("checkpoints/pretrain-00000008")).unwrap();
    let lines = danlu(recipe_args(&run, &["--json"])).good().objects();
    let note = newest(&lines, "pretrain", "note", "stage", &json!("pretrain"));
    assert!(note["text"].as_str().unwrap().contains("is skipped"), "{note}");
    assert!(steps(&lines, "pretrain").is_empty() && lines.last().unwrap()["ppo"].is_object());
}

/// If a stage has logged judged answers, they give the win rate of the policy.
#[test]
fn win_rates_come_from_the_judged_answers() {
    let dir = scratch();
    let run = copied(dir.path(), "run");
    let answer = |step: u64, prompt: &str, good: bool, reward: f64| {
        let role = if step == 0 { "sft" } else { "ppo" };
        json!({"stage": "ppo", "step": step, "task": "couplet", "prompt": prompt, "role": role, "seed": 0,
            "text": "花", "ended": true, "true": good, "reward": reward, "kl": 0.1})
        .to_string()
            + "\n"
    };
    let lines = [
        answer(0, "a", false, 0.0),
        answer(0, "b", false, 0.0),
        answer(8, "a", true, 1.0),
        answer(8, "b", false, -1.0),
    ];
    fs::write(run.join("report/answers.jsonl"), lines.concat()).unwrap();
    let report = danlu(recipe_args(&run, &["--json"])).good().objects().pop().unwrap();
    assert_eq!((&report["ppo"]["win_rate"], &report["ppo"]["win_rate_true"]), (&json!(0.5), &json!(0.75)));
    fs::remove_file(run.join("report/answers.jsonl")).unwrap();
    let report = danlu(recipe_args(&run, &["--json"])).good().objects().pop().unwrap();
    assert_eq!((&report["ppo"]["win_rate"], &report["ppo"]["win_rate_true"]), (&Value::Null, &Value::Null));
}

/// The reward model's file has no pairs: found when that stage starts, and earlier results are kept.
#[test]
fn a_stage_that_fails_ends_it_and_earlier_figures_stand() {
    let dir = scratch();
    let run = dir.path().join("run");
    let pairs = dir.path().join("pairs.jsonl");
    fs::write(&pairs, "{\"prompt\": \"no answers\"}\n").unwrap();
    let bad = format!("reward.source=[{{name=\"pairs\",path={:?}}}]", text(&pairs));
    let done = danlu(tiny(&run, &whole().talk, &["--set", &bad]));
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(done.err.starts_with("danlu: ") && done.err.contains("pairs.jsonl"), "{}", done.err);
    let lines = done.objects();
    let report = lines.last().unwrap();
    assert_eq!((&report["event"], &report["failed"]["stage"]), (&json!("report"), &json!("reward")));
    assert!(done.err.contains(report["failed"]["error"].as_str().unwrap()));
    let good = whole().lines.last().unwrap();
    assert_eq!(report["sft"]["tasks"], good["sft"]["tasks"]);
    assert!(report["reward"].is_null() && report["ppo"].is_null());
    assert_eq!(&json_file(&run.join("report/report.json")), report);
    // A missing file is reported before the first step.
    let other = dir.path().join("other");
    danlu(tiny(&other, &whole().talk, &["--set", "reward.source=[{name=\"x\",path=\"/no/such.jsonl\"}]"]))
        .refused(2, &["reward.source x", "/no/such.jsonl"]);
    assert!(!other.exists());
}

#[test]
fn bad_wishes_are_refused_and_nothing_is_written() {
    let dir = scratch();
    let run = dir.path().join("run");
    let refused = |more: &[&str], words: &[&str]| {
        danlu(recipe_args(&run, more)).refused(2, words);
        assert!(snapshot(dir.path()).is_empty(), "{more:?} wrote something");
    };
    refused(&["--set", "steps=3"], &["--set steps", "pretrain.steps", "ppo.steps"]);
    refused(&["--set", "ppo.rollouts=0"], &["ppo.rollouts is 0"]);
    refused(&["--set", "sft.lerning_rate=1"], &["learning_rate"]);
    refused(&["--set", "ppo.kl=1"], &["kl"]);
    refused(&["--size", "1m", "--set", "sft.context=4096"], &["sft.context is 4096", "max_position_embeddings"]);
    refused(&["--size", "9m"], &["9m"]);
    refused(&["--precision", "f16"], &["--precision"]);
    refused(&["--lang", "fr"], &["--lang"]);
    refused(&["--from", "/no/such/model"], &["/no/such/model"]);
    for unknown in [&["--steps", "3"][..], &["--stage", "sft"], &["--set", "no-equals"]] {
        let done = danlu(recipe_args(&run, unknown));
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{unknown:?}: {}", done.err);
    }
    assert!(snapshot(dir.path()).is_empty());
    let help = danlu(["--help"]);
    assert!(help.good().out.lines().any(|l| l.trim_start().starts_with("recipe ")), "{}", help.out);
}

/// What could not be written at the end is not started.
#[test]
fn where_no_report_can_be_written_nothing_is_trained() {
    let dir = scratch();
    let run = copied(dir.path(), "run");
    fs::remove_dir_all(run.join("report")).unwrap();
    fs::remove_dir_all(run.join("checkpoints/ppo-00000008")).unwrap();
    fs::write(run.join("report"), "mine").unwrap();
    danlu(recipe_args(&run, &["--json"])).refused(2, &["report", "a folder of the run is expected"]);
    assert_eq!(fs::read_to_string(run.join("report")).unwrap(), "mine");
    fs::remove_file(run.join("report")).unwrap();
    std::os::unix::fs::symlink(dir.path(), run.join("report")).unwrap();
    danlu(recipe_args(&run, &["--json"])).refused(2, &["report", "link"]);
    assert!(!dir.path().join("report.json").exists(), "does not write through a link");
}

/// As the user nobody, because root ignores permissions.
#[test]
fn a_folder_that_cannot_be_written() {
    let dir = scratch();
    let run = copied(dir.path(), "run");
    let before = snapshot(&run);
    let all = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    all(dir.path(), 0o755);
    for path in before.keys().chain([&run]) {
        all(path, if path.is_dir() { 0o555 } else { 0o444 });
    }
    let binary = dir.path().join("danlu");
    fs::copy(DANLU, &binary).unwrap();
    all(&binary, 0o755);
    let mut command = Command::new(&binary);
    command.args(recipe_args(&run, &["--json", "--adapter", "cpu"])).env("RUST_BACKTRACE", "0");
    if fs::read_to_string("/proc/self/status").is_ok_and(|s| s.contains("Uid:\t0\t")) {
        command.uid(65_534).gid(65_534);
    }
    Done::from(command.output().unwrap()).refused(1, &["run", "ermission"]);
    assert!(snapshot(&run) == before);
    for path in before.keys().chain([&run]) {
        all(path, if path.is_dir() { 0o755 } else { 0o644 });
    }
}

/// If the reader of the output closes it, progress is saved.
#[test]
fn a_closed_output_ends_it_in_order() {
    let dir = scratch();
    let run = dir.path().join("run");
    let mut running = start(tiny(&run, &whole().talk, &[]));
    running.until(|l| l["event"].is_null() && l["stage"] == "sft");
    let Running { mut child, lines } = running;
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(checkpoints(&run).iter().any(|name| name.starts_with("sft-")), "{:?}", checkpoints(&run));
    let lines = objects(&fs::read_to_string(run.join("events.jsonl")).unwrap());
    assert_eq!(lines.last().unwrap()["reason"], "stopped");
}
