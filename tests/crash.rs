//! kill -9 at any moment: the next launch continues automatically, and the result equals that of an uninterrupted run.
//! A damaged checkpoint is detected and reported, and the previous one is used.
//!
//! The long variant: `cargo test --release --test crash -- --ignored`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use common::{
    checkpoint, checkpoints, command, copy_all, danlu, metrics, no_leftovers, objects, scratch, tensors, text,
    texts::Chance, train, train_args,
};

// No save falls on a multiple of the 20 rows after which the built-in mix repeats.
const STEPS: usize = 1200;
const SETS: &[&str] = &["steps=1200", "save_steps=17", "batch_size=3", "model.dropout=0.1"];

/// Statistics of the killed runs.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Kills that left a half-written checkpoint.
    inside_a_save: usize,
    runs: usize,
}

/// Starts the run and kills it after `wait`, or lets it end. True if it was killed.
fn launch(run: &Path, out: &Path, wait: Duration) -> bool {
    let log = File::create(out).unwrap();
    let mut command = command(train_args(run, SETS, &[]));
    let mut child = command.stdout(log).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(wait);
    if let Some(status) = child.try_wait().unwrap() {
        assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(out).unwrap());
        return false;
    }
    child.kill().unwrap();
    // It may have ended between the check and the kill; the exit status shows which.
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), None | Some(0)), "{}", fs::read_to_string(out).unwrap());
    status.code().is_none()
}

/// Whether a launch reported a durable checkpoint; its last line may be torn.
fn told_saved(out: &Path) -> bool {
    fs::read_to_string(out).unwrap_or_default().contains("\"event\":\"saved\"")
}

fn half_made(run: &Path) -> bool {
    checkpoints(run).iter().any(|name| name.starts_with(".tmp-"))
}

fn kill_often(kills: usize, seed: u64) -> Tally {
    let dir = scratch();
    let whole = dir.path().join("whole");
    train(&whole, SETS, &[]).good();
    let (wanted, lines) = (tensors(&checkpoint(&whole, STEPS)), metrics(&whole));
    let mut chance = Chance(seed);
    let mut tally = Tally::default();
    while tally.kills < kills {
        tally.runs += 1;
        let run = dir.path().join(format!("run-{}", tally.runs));
        let out = dir.path().join("out.jsonl");
        let mut saved = false;
        loop {
            // After the last kill one launch may run to the end.
            let wait = if tally.kills < kills {
                Duration::from_millis(chance.below(1500) as u64)
            } else {
                Duration::from_hours(1)
            };
            let killed = if tally.kills < kills {
                launch(&run, &out, wait)
            } else {
                train(&run, SETS, &[]).good();
                false
            };
            if !killed {
                break;
            }
            tally.kills += 1;
            tally.inside_a_save += usize::from(half_made(&run));
            saved |= told_saved(&out);
            if saved {
                // Another process, which takes no lock and repairs nothing, finds an intact checkpoint.
                danlu(["generate", "--run", &text(&run), "--prompt", "春", "--max-new-tokens", "1", "--json"]).object();
            }
        }
        no_leftovers(&run);
        assert_eq!(metrics(&run), lines, "each step once, in order, with the same numbers");
        assert!(tensors(&checkpoint(&run, STEPS)) == wanted, "the weights differ from those of the run never killed");
        for log in ["metrics.jsonl", "events.jsonl"] {
            objects(&fs::read_to_string(run.join(log)).unwrap());
        }
        fs::remove_dir_all(&run).unwrap();
    }
    tally
}

#[test]
fn twenty_kills_change_no_bit() {
    let tally = kill_often(20, 1);
    eprintln!("{tally:?}");
    assert_eq!(tally.kills, 20);
}

#[test]
#[ignore = "takes some minutes: 200 kills"]
fn two_hundred_kills_change_no_bit() {
    let tally = kill_often(200, 2);
    eprintln!("{tally:?}");
    assert!(tally.inside_a_save > 0, "no kill fell into a save: the test saw nothing of it");
}

/// A run at 12 of its 16 steps with checkpoints at 4, 8 and 12, and an undamaged copy.
fn two_runs(dir: &Path) -> (PathBuf, PathBuf) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    train(&a, &["steps=16", "save_steps=4"], &[]).good();
    train(&b, &["steps=16", "save_steps=4"], &["--steps", "12"]).good();
    assert_eq!(checkpoints(&b), ["pretrain-00000004", "pretrain-00000008", "pretrain-00000012"]);
    (a, b)
}

/// Continues a damaged run: it reports what it passed over, and ends like the undamaged one.
fn goes_on(a: &Path, run: &Path, from: usize, what: &str) {
    let done = train(run, &["steps=16", "save_steps=4"], &[]);
    let lines = done.good().objects();
    let started = lines.iter().find(|l| l["event"] == "started").unwrap();
    assert_eq!(started["step"], from, "{what}");
    let said = |l: &serde_json::Value| l["event"] == "note" && l["text"].as_str().unwrap().contains("passed over");
    assert_eq!(lines.iter().filter(|l| said(l)).count(), (12 - from) / 4, "{what}: {}", done.out);
    assert!(tensors(&checkpoint(a, 16)) == tensors(&checkpoint(run, 16)), "{what}: other weights");
    assert_eq!(metrics(a), metrics(run), "{what}");
    no_leftovers(run);
}

fn flip(path: &Path, chance: &mut Chance) {
    let mut bytes = fs::read(path).unwrap();
    let at = chance.below(bytes.len());
    bytes[at] ^= 1 << chance.below(8);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_any_file_falls_back_to_the_checkpoint_before() {
    let dir = scratch();
    let (a, b) = two_runs(dir.path());
    let mut chance = Chance(3);
    let mut files: Vec<String> =
        fs::read_dir(checkpoint(&b, 12)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files.len(), 8, "{files:?}");
    for name in files {
        let run = dir.path().join("hurt");
        copy_all(&b, &run);
        flip(&checkpoint(&run, 12).join(&name), &mut chance);
        let hurt = fs::read(checkpoint(&run, 12).join(&name)).unwrap();
        // A reader reports it too.
        let read = danlu(["generate", "--run", &text(&run), "--prompt", "春", "--max-new-tokens", "1", "--json"]);
        assert!(read.good().err.contains("pretrain-00000012 was passed over"), "{name}: {}", read.err);
        goes_on(&a, &run, 8, &format!("a flipped bit in {name}"));
        let kept = checkpoint(&run, 12).join(&name);
        assert!(!kept.exists() || fs::read(kept).unwrap() == hurt, "nothing is repaired in secret");
        fs::remove_dir_all(&run).unwrap();
    }
}

type Hurt = fn(&Path);

#[test]
fn cut_grown_and_missing_files_fall_back_too() {
    let dir = scratch();
    let (a, b) = two_runs(dir.path());
    let hurts: [(&str, usize, Hurt); 6] = [
        ("cut", 8, |run| fs::write(checkpoint(run, 12).join("model.safetensors"), "").unwrap()),
        ("grown", 8, |run| {
            let path = checkpoint(run, 12).join("optimizer.safetensors");
            let bytes = [fs::read(&path).unwrap(), vec![0]].concat();
            fs::write(path, bytes).unwrap();
        }),
        ("missing", 8, |run| fs::remove_file(checkpoint(run, 12).join("state.json")).unwrap()),
        ("no manifest", 8, |run| fs::remove_file(checkpoint(run, 12).join("manifest.json")).unwrap()),
        ("swapped", 8, |run| {
            let [x, y] = ["config.json", "generation_config.json"].map(|n| checkpoint(run, 12).join(n));
            let (one, other) = (fs::read(&x).unwrap(), fs::read(&y).unwrap());
            fs::write(x, other).unwrap();
            fs::write(y, one).unwrap();
        }),
        ("two of them", 4, |run| {
            for step in [8, 12] {
                flip(&checkpoint(run, step).join("model.safetensors"), &mut Chance(step as u64));
            }
        }),
    ];
    for (what, from, hurt) in hurts {
        let run = dir.path().join("hurt");
        copy_all(&b, &run);
        hurt(&run);
        goes_on(&a, &run, from, what);
        fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn with_every_checkpoint_damaged_nothing_is_restarted_silently() {
    let dir = scratch();
    let (_, run) = two_runs(dir.path());
    for step in [4, 8, 12] {
        flip(&checkpoint(&run, step).join("model.safetensors"), &mut Chance(step as u64));
    }
    let before = (checkpoints(&run), metrics(&run));
    train(&run, &["steps=16"], &[])
        .refused(2, &["no valid checkpoint in this run", "pretrain-00000012", "model.safetensors"]);
    assert_eq!((checkpoints(&run), metrics(&run)), before);
}

/// Leftovers of a killed process are removed; a user's file of that kind is not.
#[test]
fn left_overs_are_swept_and_reported() {
    let dir = scratch();
    let (a, run) = two_runs(dir.path());
    let half = run.join("checkpoints/.tmp-pretrain-00000016-4242-0123456789abcdef");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("model.safetensors"), "half").unwrap();
    fs::write(run.join("checkpoints/.tmp-mine"), "mine").unwrap();
    let log = run.join("metrics.jsonl");
    fs::write(&log, fs::read_to_string(&log).unwrap() + "{\"stage\":\"pretrain\",\"step\":13,\"lo").unwrap();
    let done = train(&run, &["steps=16", "save_steps=4"], &[]);
    assert!(done.good().out.contains("left by a killed save"), "{}", done.out);
    assert!(!half.exists() && run.join("checkpoints/.tmp-mine").exists());
    assert!(tensors(&checkpoint(&a, 16)) == tensors(&checkpoint(&run, 16)));
    assert_eq!(metrics(&a), metrics(&run));
}
