//! The runs of a folder: their list, forks and their bits, comparison, and what is never removed.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use common::{
    checkpoint, checkpoints, copy_all, counting, danlu,
    fault::{Fault, FaultFs},
    finetune, json_file, metrics, no_leftovers, objects, scratch, snapshot, stage_checkpoint, tensors, text, train,
};
use danlu::{
    base::StageId,
    protocol::{ForkPoint, TreeRun, fork_parents},
    store::{Fs, Kind, RealFs, Run, RunView},
    train::tree::{Forking, Point, fork, pin, remove_checkpoint, remove_whole_run, rename, survey},
};
use serde_json::{Value, json};

const SETS: [&str; 4] = ["steps=12", "save_steps=4", "eval_steps=4", "model.dropout=0.1"];

/// A pretrained run `runs/NAME` with checkpoints at 4, 8 and 12.
fn pretrained(dir: &Path, name: &str) -> PathBuf {
    let run = dir.join("runs").join(name);
    train(&run, &SETS, &[]).good();
    run
}

fn forked(parent: &Path, at: &str, name: &str, more: &[&str]) -> PathBuf {
    let done = danlu([&["fork", &text(parent), "--at", at, "--name", name], more].concat());
    let dir = parent.with_file_name(name);
    assert_eq!(done.good().out.trim_end(), text(&dir));
    dir
}

/// The same tensors at a step of a stage.
fn same(a: &Path, b: &Path, stage: &str, step: usize) {
    let of = |run: &Path| tensors(&stage_checkpoint(run, stage, step));
    assert!(of(a) == of(b), "the tensors of {stage} at step {step} differ");
}

#[test]
fn a_fork_without_changes_gives_its_parents_bits() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let before = snapshot(&a);
    let b = forked(&a, "pretrain-4", "b", &[]);
    assert_eq!(checkpoints(&b), ["pretrain-00000004"]);
    assert_eq!(metrics(&b), metrics(&a)[..4], "the past is there");
    train(&b, &SETS, &[]).good();
    same(&a, &b, "pretrain", 12);
    assert_eq!(metrics(&b), metrics(&a));
    assert!(snapshot(&a) == before, "nothing of the parent has changed");
    // The fork says where it comes from, in every checkpoint, under a format that an older danlu refuses.
    let digest = json_file(&checkpoint(&a, 4).join("manifest.json"))["digest"].clone();
    for step in [4, 12] {
        let state = json_file(&checkpoint(&b, step).join("state.json"));
        assert_eq!(state["fork"], json!({"run": "a", "checkpoint": "pretrain-00000004", "digest": digest}));
        assert_eq!(state["format"], 3);
    }
    assert_eq!(json_file(&checkpoint(&a, 12).join("state.json"))["fork"], Value::Null);
    no_leftovers(dir.path());
}

/// Fine-tuning on files named relative to the run, and from text in several of them.
#[test]
fn a_fork_reads_its_parents_files_where_they_are() {
    let dir = scratch();
    let a = dir.path().join("runs/a");
    fs::create_dir_all(a.join("poems")).unwrap();
    for i in 0..12 {
        let lines: Vec<String> = (0..40).map(|j| format!("line {} of poem {i}, ", (j * 7 + i) % 40)).collect();
        fs::write(a.join(format!("poems/{i:02}.txt")), lines.concat()).unwrap();
    }
    counting(&a);
    let toml = "size = \"1m\"\n# mine\n[[source]]\nname = \"poems\"\npath = \"poems\"\n[[sft.source]]\nname = \"counting\"\npath = \"counting.jsonl\"\n";
    fs::write(a.join("run.toml"), toml).unwrap();
    train(&a, &SETS, &[]).good();
    finetune(&a, &SETS, &[]).good();
    let (b, c) = (forked(&a, "pretrain-8", "b", &[]), forked(&a, "sft-4", "c", &[]));
    let config = fs::read_to_string(b.join("run.toml")).unwrap();
    let root = a.canonicalize().unwrap();
    assert!(config.contains(&format!("root = {root:?}")) && config.contains("# mine"), "{config}");
    assert!(!b.join("poems").exists() && !c.join("counting.jsonl").exists(), "by reference");
    let done = train(&b, &SETS, &[]);
    assert!(!done.good().out.contains("\"edited\""), "the same text: {}", done.out);
    same(&a, &b, "pretrain", 12);
    finetune(&c, &SETS, &[]).good();
    same(&a, &c, "sft", 12);
    assert_eq!(checkpoints(&c)[..2], ["pretrain-00000012", "sft-00000004"].map(str::to_owned), "with its parent");
    // A fork of a fork reads them there too, also when it was moved.
    let d = forked(&c, "sft-8", "d", &[]);
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&d, elsewhere.join("d")).unwrap();
    let d = elsewhere.join("d");
    finetune(&d, &SETS, &[]).good();
    same(&a, &d, "sft", 12);
    // Without the parent the message says which folder is missing, and what names it.
    let b = forked(&a, "pretrain-8", "e", &[]);
    fs::rename(&a, elsewhere.join("a")).unwrap();
    train(&b, &SETS, &[]).refused(2, &["\"poems\" starts from the folder", &text(&root), "root in run.toml", "fork"]);
    assert_eq!(json_file(&stage_checkpoint(&d, "sft", 12).join("state.json"))["fork"]["run"], "c");
}

#[test]
fn a_fork_with_changes_gives_the_bits_of_its_parent_with_those_settings() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let b = forked(&a, "pretrain-8", "b", &["--set", "learning_rate=1e-3", "--set", "pretrain.max_grad_norm=0.5"]);
    let config = fs::read_to_string(b.join("run.toml")).unwrap();
    assert!(config.contains("learning_rate = 1e-3") && config.contains("max_grad_norm = 0.5"), "{config}");
    // What the parent gives from step 8 on with these settings.
    {
        let name = "pretrain-00000012";
        fs::remove_dir_all(a.join("checkpoints").join(name)).unwrap();
    }
    let args = |run: &Path, more: &[&'static str]| -> Vec<String> {
        let tiny = common::TINY.iter().filter(|set| !set.starts_with("learning_rate"));
        let sets = tiny.chain(&SETS).chain(more).flat_map(|set| ["--set".to_owned(), (*set).to_owned()]);
        ["train".to_owned(), "--run".to_owned(), text(run)].into_iter().chain(sets).collect()
    };
    danlu(args(&a, &["learning_rate=1e-3", "max_grad_norm=0.5"])).good();
    danlu(args(&b, &[])).good();
    same(&a, &b, "pretrain", 12);
}

#[test]
fn a_fork_that_cannot_be_made_leaves_nothing() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let run = text(&a);
    let before = snapshot(dir.path());
    for (args, words) in [
        (&["--at", "pretrain-5"][..], &["no checkpoint pretrain-5", "4, 8, 12"][..]),
        (&["--at", "sft-4"], &["no checkpoint of sft"]),
        (&["--at", "pretrain"], &["--at is \"pretrain\"", "pretrain-400"]),
        (&["--at", "pretrain-4", "--name", "a"], &["it exists already"]),
        (&["--at", "pretrain-4", "--name", "x/y"], &["control character or /"]),
        (&["--at", "pretrain-4", "--name", ".."], &["no name"]),
        (&["--at", "pretrain-4", "--name", ".hidden"], &["begins with a dot"]),
        (&["--at", "pretrain-4-r1"], &["no checkpoint pretrain-4-r1", "4, 8, 12"]),
        (&["--at", "pretrain-4", "--set", "seed=5"], &["--seed 5: ", "trained with seed 0"]),
        (&["--at", "pretrain-4", "--seed", "5"], &["--seed 5: ", "trained with seed 0"]),
        (&["--at", "pretrain-4", "--precision", "f99"], &["unknown --precision"]),
        (&["--at", "pretrain-4", "--set", "tokenizer=bpe"], &["--set tokenizer=bpe: ", "tokenizer of its checkpoint"]),
        (&["--at", "pretrain-4", "--set", "model.initializer_range=0.1"], &["the weights of its checkpoint"]),
        (&["--at", "pretrain-4", "--set", "model.hidden_size=64"], &["shape of the model"]),
        (&["--at", "pretrain-4", "--set", "steps=0"], &["--set steps=0"]),
        (&["--at", "pretrain-4", "--set", "stepz=1"], &["unknown key"]),
    ] {
        danlu([&["fork", &run][..], args].concat()).refused(2, words);
    }
    danlu(["fork", "nowhere", "--at", "pretrain-4"]).refused(2, &["no such run"]);
    fs::write(checkpoint(&a, 4).join("model.safetensors"), "x").unwrap();
    danlu(["fork", &run, "--at", "pretrain-4"]).refused(2, &["pretrain-00000004"]);
    let after = snapshot(dir.path());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
}

/// A disk in memory with the fixture's run in /runs/a.
fn in_memory() -> FaultFs {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/state-1");
    let disk = FaultFs::new();
    for dir in ["/runs", "/runs/a"] {
        disk.make_dir(Path::new(dir)).unwrap();
    }
    let mut all: Vec<(PathBuf, Vec<u8>)> = snapshot(&fixture).into_iter().collect();
    all.sort();
    for (path, bytes) in all {
        let to = Path::new("/runs/a").join(path.strip_prefix(&fixture).unwrap());
        if path.is_dir() {
            disk.make_dir(&to).unwrap();
        }
        if path.is_file() {
            if disk.kind(to.parent().unwrap()).unwrap().is_none() {
                disk.make_dir(to.parent().unwrap()).unwrap();
            }
            disk.poke(&to, &bytes).unwrap();
        }
    }
    disk
}

fn order(stage: StageId) -> Forking {
    let at = Point { stage, step: 2, revision: None };
    Forking { at, name: Some("b".to_owned()), sets: Vec::new() }
}

#[test]
fn a_fork_appears_whole_or_not_at_all_whatever_fails() {
    let disk = in_memory();
    let parent = disk.files();
    let mut done = false;
    for n in 0.. {
        let disk = disk.copy();
        let view = RunView::open(disk.shared(), Path::new("/runs/a")).unwrap();
        disk.mark();
        disk.fail_at(n, Fault::NoSpace);
        let made = fork(&view, &order(StageId::Sft));
        let fired = disk.fired();
        disk.heal();
        let there = disk.kind(Path::new("/runs/b")).unwrap() == Some(Kind::Dir);
        assert!(made.is_err() || there, "{n}: {made:?}");
        if made.is_err() && there {
            // Only the last sync, of the folder of runs, comes after the fork has its name.
            let fork = RunView::open(disk.shared(), Path::new("/runs/b")).unwrap();
            assert!(fork.checkpoints().newest_verified(Some(StageId::Sft)).unwrap().found.is_some(), "{n}");
        }
        assert!(parent.is_subset(&disk.files()), "{n}: the parent is whole");
        if !fired {
            done = true;
            assert_eq!(made.unwrap().dir, Path::new("/runs/b"));
            // A leftover of a killed fork is swept by the next one.
            break;
        }
    }
    assert!(done);
}

/// The fixture's run of all stages as `runs/a`.
fn all_stages(dir: &Path) -> PathBuf {
    let a = dir.join("runs/a");
    fs::create_dir(dir.join("runs")).unwrap();
    copy_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/state-2"), &a);
    a
}

/// They used to be written into run.toml, where nothing reads them any more.
#[test]
fn settings_of_what_is_past_are_refused() {
    let dir = scratch();
    let a = all_stages(dir.path());
    for (at, set, words) in [
        ("sft-2", "pretrain.steps=9", &["--set pretrain.steps=9: a fork at sft begins after pretrain"][..]),
        ("ppo-2", "pretrain.learning_rate=0.1", &["a fork at ppo begins after pretrain"]),
        ("sft-2", "start=best", &["sft began before the checkpoint"]),
        ("ppo-2", "sft.start=best", &["sft began before the checkpoint"]),
        ("reward-2", "tokenizer=\"bpe\"", &["tokenizer of its checkpoint"]),
    ] {
        danlu(["fork", &text(&a), "--at", at, "--set", set]).refused(2, words);
    }
    let b = forked(&a, "sft-2", "b", &["--set", "reward.start=best", "--seed", "3", "--precision", "f32"]);
    let config = fs::read_to_string(b.join("run.toml")).unwrap();
    assert!(config.contains("precision = \"f32\"") && config.contains("start = \"best\""), "{config}");
}

/// A damaged checkpoint that the fork descends from used to prevent the fork of a stage that never reads it again.
#[test]
fn a_damaged_ancestor_prevents_only_forks_that_need_it() {
    let dir = scratch();
    let a = all_stages(dir.path());
    let damage = |stage: &str| {
        let path = stage_checkpoint(&a, stage, 2).join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    };
    damage("pretrain");
    for (at, name, there) in
        [("sft-2", "s", &["sft-00000002"][..]), ("ppo-2", "p", &["ppo-00000002", "reward-00000002", "sft-00000002"])]
    {
        let done = danlu(["fork", &text(&a), "--at", at, "--name", name]);
        assert!(done.good().err.contains("the fork has no pretrain-00000002, which cannot be read"), "{}", done.err);
        assert_eq!(checkpoints(&a.with_file_name(name)), there);
    }
    damage("sft");
    danlu(["fork", &text(&a), "--at", "ppo-2"]).refused(2, &["sft-00000002"]);
    danlu(["fork", &text(&a), "--at", "reward-2"]).refused(2, &["sft-00000002"]);
}

/// Two runs of the same seed have the same bits and digests; only one of them is the parent.
#[test]
fn of_runs_that_are_alike_the_one_that_was_forked_is_the_parent() {
    let dir = scratch();
    let b = pretrained(dir.path(), "b");
    let (a, c) = (b.with_file_name("a"), b.with_file_name("c"));
    copy_all(&b, &a);
    copy_all(&b, &c);
    forked(&b, "pretrain-4", "f", &["--set", "learning_rate=1e-3"]);
    let runs = text(&dir.path().join("runs"));
    let claims = || {
        let lines = danlu(["runs", "--dir", &runs, "--json"]).good().objects();
        let named = lines.iter().filter(|line| line["needed_by"] == json!(["f"]));
        named.map(|line| line["run"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(claims(), ["b"]);
    let tree = danlu(["runs", "--dir", &runs, "--lang", "en"]).good().out.clone();
    assert_eq!(tree.matches("\n    f  1m").count(), 1, "{tree}");
    let disk = RealFs::shared();
    remove_whole_run(&disk, &a).unwrap();
    assert!(remove_whole_run(&disk, &b).unwrap_err().to_string().contains("f was forked from it"));
    // Renamed, it is found by its checkpoint.
    remove_whole_run(&disk, &c).unwrap();
    rename(&disk, &b, "z").unwrap();
    assert_eq!(claims(), ["z"]);
}

/// A renamed run stays the parent of its forks, which have its checkpoint too.
#[test]
fn a_renamed_run_stays_the_parent_of_all_its_forks() {
    let dir = scratch();
    let b = pretrained(dir.path(), "b");
    for name in ["a", "c"] {
        forked(&b, "pretrain-4", name, &["--set", "learning_rate=1e-3"]);
    }
    let (disk, runs) = (RealFs::shared(), text(&dir.path().join("runs")));
    rename(&disk, &b, "z").unwrap();
    let lines = danlu(["runs", "--dir", &runs, "--json"]).good().objects();
    let named = lines.iter().filter(|line| line["needed_by"] == json!(["a", "c"]));
    assert_eq!(named.map(|line| line["run"].as_str().unwrap()).collect::<Vec<_>>(), ["z"], "{lines:?}");
    let tree = danlu(["runs", "--dir", &runs, "--lang", "en"]).good().out.clone();
    assert_eq!(tree.matches("forked from z pretrain-00000004").count(), 2, "{tree}");
    assert!(remove_whole_run(&disk, &b.with_file_name("z")).unwrap_err().to_string().contains("forked from it"));
}

/// Two runs each named as the other's parent, after others took their names: both are listed.
#[test]
fn a_circle_of_names_is_listed() {
    let run = |name: &str, parent: &str| TreeRun {
        run: name.to_owned(),
        path: name.into(),
        fork: Some(ForkPoint { run: parent.to_owned(), checkpoint: String::new(), digest: "gone".to_owned() }),
        ..TreeRun::default()
    };
    let all = [run("a", "b"), run("b", "a"), run("c", "b"), run("d", "d")];
    let parents = fork_parents(&all);
    assert_eq!(parents.iter().filter(|parent| parent.is_none()).count(), 2, "{parents:?}");
    for at in 0..all.len() {
        assert!(std::iter::successors(parents[at], |at| parents[*at]).take(9).count() < 4, "{parents:?}");
    }
}

#[test]
fn forks_made_at_once_get_a_name_each() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let args = ["fork", &text(&a), "--at", "pretrain-4"];
    let children: Vec<_> = (0..6).map(|_| common::command(args).stdout(Stdio::piped()).spawn().unwrap()).collect();
    let mut names: Vec<String> = children
        .into_iter()
        .map(|child| {
            let done: common::Done = child.wait_with_output().unwrap().into();
            done.good().out.trim_end().to_owned()
        })
        .collect();
    names.sort();
    let wanted: Vec<String> = (1..=6).map(|n| text(&a.with_file_name(format!("run-{n:04}")))).collect();
    assert_eq!(names, wanted);
    for name in names {
        assert_eq!(checkpoints(Path::new(&name)), ["pretrain-00000004"]);
    }
    no_leftovers(dir.path());
}

/// What cannot be read is noted, and the others are listed.
#[test]
fn a_folder_that_cannot_be_read_does_not_end_the_list() {
    let disk = in_memory();
    disk.make_dir(Path::new("/runs/b")).unwrap();
    disk.poke(Path::new("/runs/b/run.toml"), b"size = \"1m\"").unwrap();
    let mut unread = 0;
    for n in 0.. {
        let disk = disk.copy();
        disk.mark();
        disk.fail_at(n, Fault::Denied);
        let found = survey(&disk.shared(), Path::new("/runs"));
        if n == 0 {
            assert!(found.unwrap_err().to_string().contains("/runs"));
            continue;
        }
        let found = found.unwrap_or_else(|e| panic!("{n}: {e}"));
        assert_eq!(found.runs.len() + found.unread.len(), 2, "{n}: {:?}", found.unread);
        unread += found.unread.len();
        if !disk.fired() {
            break;
        }
    }
    assert!(unread > 1, "{unread}");
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    danlu(["runs", "--dir", &text(&file)]).refused(2, &["it is a file", "the folder that the runs are in"]);
}

#[test]
fn a_stage_that_names_a_damaged_checkpoint_says_so() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    fs::write(checkpoint(&a, 8).join("model.safetensors"), "x").unwrap();
    let talk = counting(dir.path());
    finetune(&a, &["steps=2", &talk], &["--start", "8"])
        .refused(2, &["sft.start is 8", "pretrain-00000008 cannot be read", "choose another step, or best or latest"]);
    finetune(&a, &["steps=2", &talk], &["--start", "4"]).good();
}

#[test]
fn runs_lists_every_checkpoint_with_its_lineage() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let talk = counting(dir.path());
    finetune(&a, &["steps=2", &talk, "sft.start=8"], &[]).good();
    let b = forked(&a, "pretrain-4", "b", &["--set", "learning_rate=1e-3"]);
    let runs = text(&dir.path().join("runs"));
    let lines = danlu(["runs", "--dir", &runs, "--json"]).good().objects();
    let names: Vec<String> =
        lines.iter().map(|l| format!("{}/{}", l["run"], l["checkpoint"]).replace('"', "")).collect();
    assert_eq!(
        names,
        ["a/pretrain-00000004", "a/pretrain-00000008", "a/pretrain-00000012", "a/sft-00000002", "b/pretrain-00000004"]
    );
    let is = |line: &Value, fields: Value| {
        for (key, value) in fields.as_object().unwrap() {
            assert_eq!(line[key], *value, "{key} of {line}");
        }
    };
    let path = text(&checkpoint(&a, 4));
    is(&lines[0], json!({"stage": "pretrain", "step": 4, "parent": null, "needed_by": ["b"], "path": path}));
    // What every new run gets was not chosen.
    let chosen = lines[0]["changed"].to_string();
    assert!(chosen.contains("pretrain.steps = 12"), "{chosen}");
    assert!(
        ["vote_fit", "vote_negative_slope", "splits", "turns", "best"].iter().all(|given| !chosen.contains(given)),
        "{chosen}"
    );
    is(&lines[1], json!({"needed_by": ["sft"], "newest": false}));
    is(&lines[3], json!({"parent": "pretrain-00000008", "metric": "eval_loss", "newest": true, "best": true}));
    is(&lines[4], json!({"best": true, "changed": ["pretrain.learning_rate 0.003 → 0.001"]}));
    assert_eq!(lines[4]["fork"]["checkpoint"], "pretrain-00000004");
    assert_eq!(lines.iter().filter(|l| l["run"] == "a" && l["stage"] == "pretrain" && l["best"] == true).count(), 1);
    let logged = objects(&fs::read_to_string(a.join("events.jsonl")).unwrap());
    let eval = logged.iter().find(|e| e["event"] == "eval" && e["source"] == "all" && e["step"] == 4).unwrap();
    assert_eq!(lines[0]["eval_loss"], eval["eval_loss"]);
    let files = snapshot(&checkpoint(&a, 4)).into_iter().filter(|(path, _)| !path.ends_with("manifest.json"));
    assert_eq!(lines[0]["bytes"], json!(files.map(|(_, bytes)| bytes.len()).sum::<usize>()));
    // The tree for people: the fork below its parent.
    let tree = danlu(["runs", "--dir", &runs, "--lang", "en"]).good().out.clone();
    assert!(tree.contains("\n    b  1m") && tree.contains("forked from a pretrain-00000004"), "{tree}");
    drop(b);
    assert!(danlu(["runs", "--dir", &text(&dir.path().join("none"))]).good().out.contains("no runs"));
}

#[test]
fn compare_puts_runs_side_by_side() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let b = forked(&a, "pretrain-4", "b", &["--set", "learning_rate=1e-3"]);
    let tiny: Vec<&str> = common::TINY.iter().filter(|set| !set.starts_with("learning_rate")).copied().collect();
    let sets = [&tiny[..], &SETS].concat().iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>();
    danlu([&["train", "--run", &text(&b)][..], &sets].concat()).good();
    let lines = danlu(["compare", &text(&a), &text(&b), "--json"]).good().objects();
    let of = |kind: &str| lines.iter().filter(|line| line["compare"] == kind).collect::<Vec<_>>();
    assert_eq!(lines[0], json!({"compare": "runs", "runs": ["a", "b"]}));
    assert_eq!(of("setting").len(), 1);
    assert_eq!(
        [&of("setting")[0]["key"], &of("setting")[0]["values"]],
        [&json!("pretrain.learning_rate"), &json!(["0.003", "0.001"])]
    );
    let figures = of("figure");
    assert_eq!(figures.iter().map(|f| f["step"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 8, 12]);
    assert_eq!(figures[0]["values"][0], figures[0]["values"][1], "the same past");
    assert_ne!(figures[2]["values"][0], figures[2]["values"][1]);
    assert_eq!(of("best")[0]["metric"], "eval_loss");
    // Fine-tuning is evaluated before its first step too, when the model is still its parent.
    let talk = counting(dir.path());
    for run in [&a, &b] {
        finetune(run, &["steps=4", "eval_steps=2", "learning_rate=3", "guard.spikes=false", &talk], &[]).good();
    }
    let all = danlu(["compare", &text(&a), &text(&b), "--json"]).good().objects();
    let best = all.iter().find(|line| line["compare"] == "best" && line["stage"] == "sft").unwrap();
    let first = all.iter().find(|l| l["compare"] == "figure" && l["stage"] == "sft").unwrap();
    assert!(first["step"] == 0 && first["values"][0].as_f64() < best["values"][0].as_f64(), "{first} {best}");
    assert!(best["steps"].as_array().unwrap().iter().all(|step| step.as_u64().unwrap() > 0), "{best}");
    let probe = of("probe").into_iter().find(|p| p["prompt"] == "春眠不觉晓，").unwrap();
    assert_eq!([&probe["values"][0]["step"], &probe["values"][1]["step"]], [&json!(12), &json!(12)]);
    let table = danlu(["compare", &text(&a), &text(&b), "--lang", "en"]).good().out.clone();
    assert!(table.contains("settings that differ") && table.contains("pretrain-12 eval_loss"), "{table}");
    danlu(["compare", &text(&a)]).refused(2, &["1 runs are given", "2 to 4"]);
}

/// A run may be in use elsewhere, a fork or a later stage may name it, and a link may lead out of the folder.
#[test]
fn nothing_that_something_names_is_removed() {
    let dir = scratch();
    let disk = RealFs::shared();
    let a = pretrained(dir.path(), "a");
    let talk = counting(dir.path());
    finetune(&a, &["steps=2", &talk, "sft.start=8"], &[]).good();
    let b = forked(&a, "pretrain-4", "b", &[]);
    let refused = |result: Result<u64, danlu::train::TrainError>, word: &str| {
        let error = result.expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    };
    let before = snapshot(&a);
    refused(remove_checkpoint(&disk, None, &a, "pretrain-00000008"), "sft");
    refused(remove_checkpoint(&disk, None, &a, "pretrain-00000004"), "b began from it");
    refused(remove_checkpoint(&disk, None, &a, "pretrain-00000005"), "no checkpoint");
    refused(remove_checkpoint(&disk, None, &a, "../../b"), "no checkpoint");
    refused(remove_whole_run(&disk, &a), "b was forked from it");
    pin(&disk, None, &a, "pretrain-00000012", true).unwrap();
    refused(remove_checkpoint(&disk, None, &a, "pretrain-00000012"), "pinned");
    let marked = survey(&disk, &dir.path().join("runs")).unwrap().runs;
    assert!(marked[0].checkpoints.iter().any(|c| c.pinned && c.step == 12));
    let held = Run::open(Arc::clone(&disk), &a).unwrap();
    pin(&disk, Some(&held), &a, "pretrain-00000012", false).unwrap();
    refused(remove_checkpoint(&disk, None, &a, "pretrain-00000012"), "in use");
    refused(remove_whole_run(&disk, &a).map(|_| 0), "b was forked");
    drop(held);
    let bytes: u64 = snapshot(&checkpoint(&a, 12)).values().map(|b| b.len() as u64).sum();
    assert_eq!(remove_checkpoint(&disk, None, &a, "pretrain-00000012").unwrap(), bytes);
    assert_eq!(checkpoints(&a), ["pretrain-00000004", "pretrain-00000008", "sft-00000002"]);
    let kept = |path: &PathBuf| {
        !path.to_string_lossy().contains("pretrain-00000012")
            && !path.ends_with("pins.jsonl")
            && !path.ends_with("lock")
    };
    assert!(
        before
            .iter()
            .filter(|(path, _)| kept(path))
            .all(|(path, bytes)| fs::read(path).map_or(path.is_dir(), |b| b == *bytes))
    );
    // A link to a run is not the run.
    let link = dir.path().join("runs/link");
    symlink(&b, &link).unwrap();
    refused(remove_whole_run(&disk, &link), "not a run");
    // A run that another process uses.
    let held = Run::open(Arc::clone(&disk), &b).unwrap();
    refused(remove_whole_run(&disk, &b), "in use");
    drop(held);
    symlink(dir.path(), b.join("data/out")).unwrap();
    assert!(remove_whole_run(&disk, &b).unwrap() > 0);
    assert!(!b.exists() && a.exists() && dir.path().join("counting.jsonl").exists(), "through no link");
    fs::remove_file(&link).unwrap();
    remove_whole_run(&disk, &a).unwrap();
    no_leftovers(dir.path());
}

#[test]
fn a_pinned_checkpoint_outlives_the_newest_three() {
    let dir = scratch();
    let run = dir.path().join("runs/a");
    let sets = ["steps=10", "save_steps=1"];
    train(&run, &sets, &["--steps", "3"]).good();
    pin(&RealFs::shared(), None, &run, "pretrain-00000002", true).unwrap();
    train(&run, &sets, &[]).good();
    let left = checkpoints(&run);
    assert!(
        left.contains(&"pretrain-00000002".to_owned()) && !left.contains(&"pretrain-00000003".to_owned()),
        "{left:?}"
    );
}

#[test]
fn a_run_is_renamed_unless_a_fork_reads_its_data() {
    let dir = scratch();
    let disk = RealFs::shared();
    let a = pretrained(dir.path(), "a");
    let b = rename(&disk, &a, "诗 two").unwrap();
    assert!(b.ends_with("诗 two") && b.join("run.toml").is_file() && !a.exists());
    assert!(rename(&disk, &b, "x/y").is_err() && rename(&disk, &b, "诗 two").is_err());
    let held = Run::open(Arc::clone(&disk), &b).unwrap();
    assert!(rename(&disk, &b, "c").unwrap_err().to_string().contains("in use"));
    drop(held);
    fs::write(b.join("mine.txt"), "a\n\nb\n").unwrap();
    let toml = fs::read_to_string(b.join("run.toml")).unwrap();
    fs::write(b.join("run.toml"), format!("{toml}\n[[source]]\nname = \"mine\"\npath = \"mine.txt\"\n")).unwrap();
    forked(&b, "pretrain-4", "f", &[]);
    assert!(rename(&disk, &b, "c").unwrap_err().to_string().contains("f reads its data there"));
}

/// What a killed fork left is removed by the next one; one that is being made is not.
#[test]
fn leftovers_of_killed_forks_are_swept() {
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let runs = dir.path().join("runs");
    let dead = runs.join(".tmp-run-2147483646-0123456789abcdef");
    let live = runs.join(".tmp-run-2-0123456789abcdef");
    for left in [&dead, &live] {
        fs::create_dir_all(left.join("checkpoints/x")).unwrap();
        fs::write(left.join("run.toml"), "").unwrap();
    }
    let held = Run::open(RealFs::shared(), &live).unwrap();
    forked(&a, "pretrain-4", "b", &[]);
    assert!(!dead.exists() && live.exists());
    drop(held);
}

/// On a terminal: fork at a checkpoint, open the fork, which trains to its end, compare it with its parent, and delete
/// a checkpoint that nothing needs.
#[test]
fn the_screen_forks_trains_and_compares() {
    const DOWN: &[u8] = b"\x1b[B";
    const LEFT: &[u8] = b"\x1b[D";
    const HOME: &[u8] = b"\x1b[H";
    let dir = scratch();
    let a = pretrained(dir.path(), "a");
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
    command.args(["--adapter", "cpu", "--lang", "en", "--run", &text(&a)]);
    let mut pty = common::pty::Pty::spawn(command, &[], true);
    pty.wait_for("complete");
    pty.send(b"T");
    pty.wait_for("3 checkpoints");
    pty.send(DOWN);
    pty.send(LEFT);
    pty.send(b"f");
    pty.wait_for("Enter confirm");
    pty.send(b"pretrain.learning_rate=5e-4\r");
    pty.wait_for("forked: ");
    pty.wait_for("2 runs");
    let fork = dir.path().join("runs/run-0001");
    assert_eq!(checkpoints(&fork), ["pretrain-00000008"]);
    pty.send(DOWN);
    pty.send(DOWN);
    pty.send(b"\r");
    pty.wait_for("save and open");
    pty.send(b"\r");
    pty.until("the fork's last step", |pty| {
        let shown = pty.contents();
        shown.contains("run-0001 ·") && shown.contains("complete")
    });
    pty.send(b"T");
    pty.wait_for("5 checkpoints");
    pty.send(b" ");
    pty.wait_for("run-0001 [1]");
    pty.send(HOME);
    pty.send(b" ");
    pty.until("both runs and the setting that differs", |pty| {
        let shown = pty.contents();
        shown.contains("a [2]") && shown.contains("─ compare ") && shown.contains("0.0005")
    });
    for keys in [DOWN, LEFT, LEFT, b"d"] {
        pty.send(keys);
    }
    pty.wait_for("back");
    pty.send(b"\x1b[A");
    pty.send(b"\r");
    pty.wait_for("4 checkpoints");
    assert_eq!(checkpoints(&a), ["pretrain-00000008", "pretrain-00000012"]);
    pty.send(b"\x1b");
    std::thread::sleep(std::time::Duration::from_millis(200));
    pty.send(b"q");
    pty.until("the end, or its question", |pty| {
        !pty.screen.screen().alternate_screen() || pty.contents().contains("Enter choose")
    });
    if pty.screen.screen().alternate_screen() {
        pty.send(b"\r");
    }
    pty.gives_back(0);
    // The screen's fork has the bits of one that was trained without it.
    let other = forked(&a, "pretrain-8", "other", &["--set", "pretrain.learning_rate=5e-4"]);
    danlu(["--adapter", "cpu", "train", "--stage", "pretrain", "--run", &text(&other)]).good();
    same(&fork, &other, "pretrain", 12);
}
