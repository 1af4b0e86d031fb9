//! No number costs a run its work: a learning rate that is too large, a NaN moment, a checkpoint of a newer danlu.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path, sync::Arc, time::Duration};

use common::{Done, checkpoint, checkpoints, danlu, metrics, no_leftovers, scratch, tensors, text, train};
use danlu::{
    base::StageId,
    compute::Device,
    nn::{
        AdamW, MicroBatch, ModelConfig, PolicyLearner, StepOutcome,
        feedback::{gae, kl_rewards, whiten},
        preset,
    },
    protocol::{Command, Event},
    session::Session,
    store::{CheckpointId, NewFile, RealFs, Run, TensorFile, TensorRef},
    train::{OpenRun, Setup, Trainer, open_run},
};
use serde_json::Value;

/// A run of 40 good steps, saved at every tenth.
fn grown(dir: &Path, name: &str) -> std::path::PathBuf {
    let run = dir.join(name);
    train(&run, &["steps=40", "save_steps=10"], &[]).good();
    assert_eq!(checkpoints(&run).len(), 3);
    run
}

fn named<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn resumed_at(done: &Done) -> u64 {
    named(&done.objects(), "started")[0]["step"].as_u64().unwrap()
}

/// F1: after 200 good steps, a typo in the learning rate used to destroy all good checkpoints and the run.
#[test]
fn a_bad_rate_costs_no_checkpoint() {
    let dir = scratch();
    for (rate, save) in [("1e4", 1), ("3e38", 1), ("5", 1), ("3e3", 7)] {
        let run = grown(dir.path(), rate);
        let before = checkpoints(&run);
        let sets = [format!("learning_rate={rate}"), format!("save_steps={save}"), "steps=200".to_owned()];
        let done = train(&run, &sets.each_ref().map(String::as_str), &[]);
        let back = named(&done.objects(), "set_back").len();
        assert!(back >= 1, "{rate}: {}", done.err);
        if done.code == Some(0) {
            // A slower attempt succeeded.
            continue;
        }
        assert_eq!((done.code, back), (Some(1), 3), "{rate}: {}", done.err);
        assert!(done.err.contains("Lower learning_rate (now"), "{rate}: {}", done.err);
        let now = checkpoints(&run);
        // The one save before the spike was detected may replace the oldest.
        assert!(before[1..].iter().all(|name| now.contains(name)), "{rate}: {before:?} {now:?}");
        assert!(done.err.contains("pretrain-00000040"), "{rate}: {}", done.err);
        let again = train(&run, &["steps=60", "save_steps=1"], &[]);
        assert_eq!(metrics(&run).len(), 60, "{rate}: {}", again.good().err);
        assert!(checkpoint(&run, 60).is_dir());
        no_leftovers(&run);
    }
}

/// Steps repeated at a lower learning rate are the same however often the process ends in between.
#[test]
fn a_stage_that_was_set_back_continues_to_the_bit() {
    let dir = scratch();
    let sets = ["learning_rate=1.5", "save_steps=10", "steps=100"];
    let a = grown(dir.path(), "a");
    let whole = train(&a, &sets, &[]);
    let lines = whole.good().objects();
    let back = named(&lines, "set_back");
    assert!(!back.is_empty(), "it went through");
    assert_eq!((&back[0]["step"], &back[0]["factor"]), (&Value::from(40), &Value::from(0.25)), "{}", back[0]);
    let b = grown(dir.path(), "b");
    for stop in ["47", "61", "75"] {
        train(&b, &sets, &["--steps", stop]).good();
    }
    train(&b, &sets, &[]).good();
    assert_eq!(metrics(&a), metrics(&b));
    assert_eq!(metrics(&a).len(), 100);
    assert!(tensors(&checkpoint(&a, 100)) == tensors(&checkpoint(&b, 100)), "the tensors differ");
}

/// Nothing is saved after a step that was not applied, not even with the guard off or at a stop.
#[test]
fn nothing_is_saved_after_a_skipped_step() {
    let dir = scratch();
    let run = grown(dir.path(), "run");
    let done = train(&run, &["learning_rate=1e4", "save_steps=1", "steps=60", "guard.spikes=false"], &[]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("not finite"), "{}", done.err);
    let lines = done.objects();
    let skipped: Vec<u64> =
        lines.iter().filter(|l| l["applied"] == false).map(|l| l["step"].as_u64().unwrap()).collect();
    // Three in a row end the stage, or before that a save of implausible weights does.
    assert!((1..=3).contains(&skipped.len()), "{skipped:?}: {}", done.err);
    for saved in named(&lines, "saved") {
        assert!(saved["step"].as_u64().unwrap() < skipped[0], "{saved} after {skipped:?}");
    }
    assert!(!named(&lines, "saved").is_empty() && named(&lines, "set_back").is_empty(), "the guard is off");
    // Implausible weights are not saved either.
    let run = grown(dir.path(), "beyond");
    let done = train(&run, &["learning_rate=3e38", "save_steps=1", "steps=60", "guard.spikes=false"], &[]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("not saved"), "{}", done.err);
    assert_eq!(checkpoints(&run).last().map(String::as_str), Some("pretrain-00000040"));
}

/// F1b, and similar settings.
#[test]
fn settings_that_divide_by_zero_are_refused() {
    let dir = scratch();
    for set in ["adam_epsilon=0", "adam_epsilon=-1e-8", "adam_epsilon=nan", "adam_beta2=1", "adam_beta1=inf"] {
        let key = set.split('=').next().unwrap();
        train(&dir.path().join("r"), &[set], &[]).refused(2, &[key, "expected"]);
    }
    for set in ["learning_rate=1e39", "max_grad_norm=-1", "weight_decay=inf", "sampling.temperature=-0.5"] {
        let key = set.split('=').next().unwrap();
        train(&dir.path().join("r"), &[set], &[]).refused(2, &[key, "expected"]);
    }
    assert!(!dir.path().join("r").exists(), "nothing was made");
}

/// Saves the newest checkpoint again as its next revision, with a change.
fn saved_otherwise(run: &Path, change: impl Fn(&str, &mut Vec<u8>, Option<&mut TensorFile>)) -> CheckpointId {
    let run = Run::open(RealFs::shared(), run).unwrap();
    let newest = run.view().checkpoints().newest_verified(Some(StageId::Pretrain)).unwrap().found.unwrap();
    let mut held: Vec<(String, Vec<u8>, Option<TensorFile>)> = Vec::new();
    for name in newest.files.keys() {
        let mut bytes = newest.read(name, 1 << 30).unwrap();
        let mut file = name.ends_with(".safetensors").then(|| newest.tensors(name).unwrap());
        change(name, &mut bytes, file.as_mut());
        held.push((name.clone(), bytes, file));
    }
    let files = held.iter().map(|(name, bytes, file)| match file {
        None => NewFile::bytes(name, bytes.clone()),
        Some(file) => {
            let all = file.tensors.values();
            let all = all.map(|t| TensorRef { name: &t.name, shape: &t.shape, data: &t.data }).collect();
            NewFile::tensors(name, all, BTreeMap::new()).unwrap()
        }
    });
    run.saver().save(StageId::Pretrain, newest.id.step, files.collect()).unwrap().checkpoint.id
}

#[test]
fn checkpoints_with_non_finite_values_are_passed_over() {
    let dir = scratch();
    for (i, (file, value)) in [
        ("model.safetensors", f32::NAN),
        ("optimizer.safetensors", f32::NAN),
        ("optimizer.safetensors", f32::INFINITY),
        ("model.safetensors", f32::NEG_INFINITY),
        ("model.safetensors", 1e30),
        ("optimizer.safetensors", -1e30),
    ]
    .into_iter()
    .enumerate()
    {
        let run = grown(dir.path(), &format!("r{i}"));
        let bad = saved_otherwise(&run, |name, _, tensors| {
            if name == file
                && let Some(tensor) = tensors.unwrap().tensors.values_mut().nth(i)
            {
                tensor.data[0] = value;
            }
        });
        assert_eq!(bad.to_string(), "pretrain-00000040-r1");
        let done = train(&run, &["steps=44", "save_steps=1"], &[]);
        assert_eq!(resumed_at(&done), 40, "{file} {value}: {}", done.err);
        assert!(done.good().out.contains("pretrain-00000040-r1 was passed over"), "{file} {value}");
        let said = danlu(["generate", "--run", &text(&run), "--prompt", "春", "--max-new-tokens", "2"]);
        said.good();
    }
}

/// A moment so large that the first step ruins the weights: the checkpoint is finite and leads to a spike at once.
#[test]
fn a_checkpoint_that_leads_to_a_spike_gives_way_to_an_older_one() {
    let dir = scratch();
    let run = grown(dir.path(), "run");
    saved_otherwise(&run, |name, _, tensors| {
        if name == "optimizer.safetensors" {
            for (name, tensor) in &mut tensors.unwrap().tensors {
                if name.starts_with("exp_avg.") {
                    tensor.data.fill(1e12);
                }
            }
        }
    });
    let done = train(&run, &["steps=70", "save_steps=10"], &[]);
    let lines = done.good().objects();
    let back: Vec<&Value> = named(&lines, "set_back").iter().map(|b| &b["checkpoint"]).collect();
    assert_eq!(back, ["pretrain-00000040-r1", "pretrain-00000040"], "the good one of the same step serves");
    assert_eq!(metrics(&run).len(), 70);
    let last = lines.iter().rev().find(|l| l["loss"].is_f64()).unwrap();
    assert!(last["loss"].as_f64().unwrap() < 6.5, "{last}");
}

/// A checkpoint of another revision of the engine, or of a precision that does not exist.
#[test]
fn an_engine_that_rounds_differently_continues_with_a_note() {
    let dir = scratch();
    let run = grown(dir.path(), "r");
    let write = |key: &str, value: Value| {
        saved_otherwise(&run, |name, bytes, _| {
            if name == "state.json" {
                let mut state: Value = serde_json::from_slice(bytes).unwrap();
                state[key] = value.clone();
                *bytes = state.to_string().into_bytes();
            }
        })
    };
    let newest = write("engine_revision", 0.into());
    let done = train(&run, &["steps=50", "save_steps=1"], &[]);
    let note = "made by revision 0 of the cpu engine, and this is revision 1: sums are rounded differently";
    assert!(done.good().out.contains(note), "{newest}: {}", done.out);
    let again = train(&run, &["steps=52", "save_steps=1"], &[]);
    assert!(!again.good().out.contains("revision"), "the run has the new revision now: {}", again.out);
    let newest = write("precision", "f8".into()).to_string();
    let done = train(&run, &["steps=54"], &[]);
    assert!(done.good().err.contains(&newest) || done.out.contains(&newest), "{}{}", done.out, done.err);
}

/// F4: a newer danlu's checkpoint used to be passed over, trained past and deleted.
#[test]
fn a_newer_danlus_checkpoint_is_neither_trained_past_nor_removed() {
    let dir = scratch();
    for in_state in [false, true] {
        let run = grown(dir.path(), &format!("r{in_state}"));
        let newest = if in_state {
            saved_otherwise(&run, |name, bytes, _| {
                if name == "state.json" {
                    let mut state: Value = serde_json::from_slice(bytes).unwrap();
                    state["format"] = 99.into();
                    state["skipped_steps"] = "in another form".into();
                    *bytes = state.to_string().into_bytes();
                }
            })
            .to_string()
        } else {
            let path = checkpoint(&run, 40).join("manifest.json");
            let newer = fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 99");
            fs::write(&path, newer).unwrap();
            "pretrain-00000040".to_owned()
        };
        let before = checkpoints(&run);
        train(&run, &["steps=60", "save_steps=1"], &[]).refused(2, &[&newest, "format 99", "danlu"]);
        assert_eq!(checkpoints(&run), before);
        // Other verbs pass over it with a note.
        let said = danlu(["generate", "--run", &text(&run), "--prompt", "春", "--max-new-tokens", "2"]);
        assert!(said.good().err.contains(&format!("{newest} was passed over")) || in_state, "{}", said.err);
        // A run that an older danlu trained past it continues, and keeps it.
        if !in_state {
            let stays = run.join("checkpoints").join(&newest);
            let older = run.join("checkpoints/pretrain-00000010");
            fs::rename(&stays, &older).unwrap();
            let done = train(&run, &["steps=60", "save_steps=5"], &[]);
            assert_eq!(resumed_at(&done), 30);
            let told = "checkpoint pretrain-00000010 is not removed";
            assert_eq!(done.good().out.matches(told).count(), 1, "told once: {}", done.out);
            assert!(older.is_dir());
        }
    }
}

/// F6: one file that could not be listed used to fail every save, and then every launch.
#[test]
fn a_name_that_is_not_utf8_locks_no_run() {
    let dir = scratch();
    let run = grown(dir.path(), "run");
    let odd = checkpoint(&run, 20).join(OsStr::from_bytes(b"\xff"));
    fs::write(&odd, b"x").unwrap();
    train(&run, &["steps=43", "save_steps=1"], &[]).good();
    train(&run, &["steps=44", "save_steps=1"], &[]).good();
    assert_eq!(checkpoints(&run).len(), 3, "{:?}", checkpoints(&run));
    no_leftovers(&run);
}

/// A NaN or huge advantage, or a reward that leads to one: nothing changes, or the weights stay finite.
#[test]
fn a_poisoned_advantage_or_reward_leaves_finite_weights() {
    let config = preset("1m").unwrap().config();
    let config = ModelConfig {
        vocab_size: 64,
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        head_dim: 16,
        max_position_embeddings: 16,
        ..config
    };
    let ids: Vec<u32> = (0..32).map(|i| i * 7 % 64).collect();
    let targets: Vec<i32> = (0..32).map(|i| (i + 1) * 7 % 64).collect();
    let rows = MicroBatch { ids: &ids, targets: &targets, starts: None };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        // The score of one of two answers of 16 tokens, through PPO's rewards and returns.
        let lengths = [16, 16];
        let (old, reference) = (vec![-1.0; 32], vec![-1.5; 32]);
        let given = kl_rewards(&old, &reference, &[0.5, value], &lengths, 0.25).unwrap();
        let mut scored = gae(&given.rewards, &[0.0; 32], &lengths, 1.0, 0.95).unwrap().advantages;
        whiten(&mut scored, true);
        let mut given = vec![1.0_f32; 32];
        given[5] = value;
        for (what, weights) in [("advantage", given), ("reward", scored)] {
            let mut device = Device::cpu();
            let mut policy = PolicyLearner::new(&mut device, &config, 2, 16, AdamW::default()).unwrap();
            let table = Arc::clone(policy.table());
            policy.write_params(&mut device, &table.initial(3)).unwrap();
            let mut update = |weights: &[f32]| {
                policy.backward(&mut device, rows, weights).unwrap();
                let mut ticket = policy.update(&mut device, 1e-3, 0.5).unwrap();
                let control = device.collect(&mut ticket, true).unwrap().unwrap();
                (StepOutcome::from_control(&control), policy.read_state(&mut device).unwrap())
            };
            let (first, before) = update(&[1.0; 32]);
            assert!(first.applied);
            let (outcome, after) = update(&weights);
            let finite = after[..3].iter().flatten().all(|x| x.is_finite());
            assert!(finite, "{what} {value}: {outcome:?}");
            assert!(
                outcome.applied || after[..3] == before[..3],
                "{what} {value}: a step not applied changed something"
            );
            assert!(update(&[1.0; 32]).0.applied, "{what} {value}: it does not train on");
        }
    }
}

fn session(run: &Path, sets: &[&str]) -> Session {
    opened(run, &common::TINY.iter().chain(sets).copied().collect::<Vec<_>>())
}

/// The same with these settings alone.
fn opened(run: &Path, all: &[&str]) -> Session {
    let pair = |s: &&str| s.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
    let setup = Setup { sets: all.iter().map(pair).collect(), interactive: true, ..Setup::default() };
    let mut device = Device::cpu();
    let (opened, config) = open_run(Some(run), &setup, &mut device).unwrap();
    let trainer = Trainer::new(OpenRun::new(opened, device), config, &setup).map_err(|e| e.error).unwrap();
    Session::start(trainer, setup).unwrap()
}

fn until<T>(session: &Session, want: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = session.events.recv_timeout(Duration::from_mins(1)).expect("an event in time");
        if let Some(found) = want(&event) {
            return found;
        }
        if let Event::Finished { reason, .. } = &event
            && reason != "switched"
        {
            panic!("it ended too early: {reason}");
        }
    }
}

/// In the workbench a spike pauses: the user can continue, or return to the earlier checkpoint.
#[test]
fn a_spike_on_the_screen_waits_for_the_user() {
    let dir = scratch();
    let run = grown(dir.path(), "run");
    let s = session(&run, &["learning_rate=5", "save_steps=0", "steps=100000"]);
    let stopped = |s: &Session| {
        until(s, |e| match e {
            Event::Guarded { checkpoint, may_go_on: true, .. } => Some(checkpoint.clone()),
            _ => None,
        })
    };
    assert_eq!(stopped(&s).as_deref(), Some("pretrain-00000040"));
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    s.commands.send(Command::Save).unwrap();
    until(&s, |e| matches!(e, Event::SaveFailed { .. }).then_some(()));
    s.commands.send(Command::Resume).unwrap();
    until(&s, |e| matches!(e, Event::Resumed { .. }).then_some(()));
    s.commands.send(Command::Pause).unwrap();
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    s.commands.send(Command::Stop { save: false }).unwrap();
    // Its thread ends and frees the run's lock.
    while s.events.recv_timeout(Duration::from_mins(1)).is_ok() {}
    let s = session(&run, &["learning_rate=5", "save_steps=0", "steps=100000"]);
    stopped(&s);
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    s.commands.send(Command::Stage { stage: StageId::Pretrain }).unwrap();
    let factor = until(&s, |e| if let Event::SetBack { factor, .. } = e { Some(*factor) } else { None });
    let started = until(&s, |e| if let Event::Started(info) = e { Some(info.resumed_at) } else { None });
    assert_eq!((factor, started), (0.25, 40));
    // The ruined weights are not saved on leaving.
    s.commands.send(Command::Stop { save: false }).unwrap();
    while s.events.recv_timeout(Duration::from_mins(1)).is_ok() {}
    assert_eq!(checkpoints(&run).last().map(String::as_str), Some("pretrain-00000040"));
}

/// A learning rate that is typed while it trains and breaks the stage is not repeated after the return.
#[test]
fn a_return_does_not_repeat_a_raised_learning_rate() {
    let dir = scratch();
    let run = grown(dir.path(), "run");
    // A new run keeps its options in run.toml: without them there a key can be typed.
    let plan = &["save_steps=0", "steps=100000"];
    let set = |s: &Session, rate: &str| {
        s.commands.send(Command::Set { key: "learning_rate".to_owned(), value: rate.to_owned() }).unwrap();
        until(s, |e| matches!(e, Event::Edited(_)).then_some(()));
    };
    let s = opened(&run, plan);
    until(&s, |e| matches!(e, Event::Steps(steps) if steps.iter().any(|l| l.step > 50)).then_some(()));
    set(&s, "2");
    set(&s, "1e30");
    let stopped = until(&s, |e| if let Event::Guarded { step, .. } = e { Some(*step) } else { None });
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    // Lowered too late: the raise before it must not come back either.
    set(&s, "1.5e-3");
    s.commands.send(Command::Stage { stage: StageId::Pretrain }).unwrap();
    let note = until(&s, |e| match e {
        Event::Note { text, .. } if text.contains("is not repeated") => Some(text.clone()),
        _ => None,
    });
    assert!(note.starts_with("learning_rate 1e30 of step ") && note.ends_with("it is 3e-3 again"), "{note}");
    until(&s, |e| if let Event::Started(info) = e { Some(info.resumed_at) } else { None });
    let most = std::cell::Cell::new(0.0_f64);
    until(&s, |e| {
        let Event::Steps(steps) = e else { return None };
        most.set(steps.iter().map(|l| l.learning_rate).fold(most.get(), f64::max));
        steps.iter().any(|l| l.step > stopped + 20).then_some(())
    });
    let most = most.get();
    assert!(most > 0.0 && most <= 3e-3, "{most} after the return");
    s.commands.send(Command::Stop { save: true }).unwrap();
    while s.events.recv_timeout(Duration::from_mins(1)).is_ok() {}
    // A raise is in run.toml as well, and is taken back there.
    let s = opened(&run, plan);
    until(&s, |e| matches!(e, Event::Steps(_)).then_some(()));
    set(&s, "1e30");
    until(&s, |e| matches!(e, Event::Guarded { .. }).then_some(()));
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    s.commands.send(Command::Stage { stage: StageId::Pretrain }).unwrap();
    until(&s, |e| matches!(e, Event::Started(_)).then_some(()));
    s.commands.send(Command::Stop { save: false }).unwrap();
    while s.events.recv_timeout(Duration::from_mins(1)).is_ok() {}
    let text = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(text.contains("learning_rate = 1.5e-3"), "{text}");
}
