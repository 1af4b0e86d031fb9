//! Changes of mix, data and learning rate while a stage runs: on disk before they take effect, and applied at the same
//! steps after a stop, a kill, or a lost checkpoint.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use common::{
    Running, TINY, checkpoints, copy_all, counting,
    launch::{self, is_step, setup},
    objects, scratch, stage_checkpoint, stage_metrics, tensors,
    texts::{jsonl, lines},
};
use danlu::{
    base::StageId,
    protocol::{Cause, Command, Edit, Event, Find, Origin, Past, Setting},
    train::{Setup, Summary},
};
use serde_json::Value;

const SETS: [&str; 5] = ["steps=12", "save_steps=4", "batch_size=8", "eval_steps=0", "probe_steps=0"];

/// A poem with so many lines that it fills a row.
fn poem(i: u32) -> String {
    lines(i, 300).map(|line| line + "，").concat()
}

fn poems(range: std::ops::Range<u32>) -> String {
    jsonl(range.map(poem))
}

/// A run with two sources, and comments in run.toml.
fn two_sources(dir: &Path) -> PathBuf {
    let run = dir.join("run");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("one.jsonl"), poems(0..40)).unwrap();
    fs::write(run.join("two.jsonl"), poems(100..140)).unwrap();
    let toml = "size = \"1m\" # small\n\n[[source]]\nname = \"one\"\npath = \"one.jsonl\"\nweight = 1 # half\n\n[[source]]\nname = \"two\"\npath = \"two.jsonl\"\n\n[pretrain]\nlearning_rate = 3e-3\n";
    fs::write(run.join("run.toml"), toml).unwrap();
    run
}

fn played(run: &Path, stage: &str, sets: &[&str], script: impl FnMut(&Event) -> Vec<Command>) -> Summary {
    launch::played(run, &tiny(stage, sets), script)
}

fn tiny(stage: &str, sets: &[&str]) -> Setup {
    // Learning rate and batch are in run.toml, to be changed there.
    let tiny = TINY.iter().filter(|set| !set.starts_with("learning_rate") && !set.starts_with("batch_size"));
    Setup { size: Some("1m".to_owned()), ..setup(stage, tiny.chain(sets)) }
}

/// Removes all checkpoints except one, as after a kill.
fn back_to(run: &Path, step: usize) {
    for name in checkpoints(run) {
        if name != format!("pretrain-{step:08}") {
            fs::remove_dir_all(run.join("checkpoints").join(name)).unwrap();
        }
    }
}

fn same(a: &Path, b: &Path, what: &str) {
    assert_eq!(stage_metrics(a, "pretrain"), stage_metrics(b, "pretrain"), "{what}");
    let weights = |run: &Path| tensors(&stage_checkpoint(run, "pretrain", 12));
    assert!(weights(a) == weights(b), "{what}: the tensors differ");
}

fn entries(run: &Path) -> Vec<Value> {
    objects(&fs::read_to_string(run.join("edits.jsonl")).unwrap())
}

/// Trains a run to its end; after step 5 `change` is made, and training waits until it is adopted (or refused).
fn changed_at_5(run: &Path, change: impl Fn() -> Vec<Command>) -> Vec<Event> {
    changed_with(run, &SETS, change)
}

fn changed_with(run: &Path, sets: &[&str], change: impl Fn() -> Vec<Command>) -> Vec<Event> {
    let told = RefCell::new(Vec::new());
    played(run, "pretrain", sets, |event| match event {
        _ if is_step(event, 5) => [vec![Command::Pause], change()].concat(),
        Event::Edited(_) | Event::Broken { .. } | Event::Refused { .. } => {
            // It is logged before it is reported.
            let entry = fs::read_to_string(run.join("edits.jsonl")).unwrap();
            told.borrow_mut().push((event.clone(), entry));
            vec![Command::Resume]
        }
        _ => Vec::new(),
    });
    for (event, entries) in told.borrow().iter() {
        if let Event::Edited(edit) = event {
            let newest = objects(entries).pop().unwrap();
            assert_eq!((&newest["step"], &newest["text"]), (&(edit.step as u64 - 1).into(), &edit.text.clone().into()));
        }
    }
    told.into_inner().into_iter().map(|(event, _)| event).collect()
}

fn edits(events: &[Event]) -> Vec<&Edit> {
    let edit = |e: &'_ Event| matches!(e, Event::Edited(_));
    events
        .iter()
        .filter(|e| edit(e))
        .map(|e| if let Event::Edited(edit) = e { &**edit } else { unreachable!() })
        .collect()
}

/// The run is repeated identically from every checkpoint, and from the start.
fn goes_the_same_way(dir: &Path, run: &Path) {
    goes_on_with(dir, run, &SETS);
}

fn goes_on_with(dir: &Path, run: &Path, sets: &[&str]) {
    for from in [4, 8] {
        let killed = dir.join(format!("killed-{from}"));
        copy_all(run, &killed);
        back_to(&killed, from);
        let mut replayed = Vec::new();
        played(&killed, "pretrain", sets, |event| {
            if let Event::Edited(edit) = event {
                replayed.push((edit.step, edit.replayed));
            }
            Vec::new()
        });
        let wanted: &[(usize, bool)] = if from == 4 { &[(6, true)] } else { &[] };
        assert_eq!(replayed, wanted);
        same(run, &killed, &format!("gone on from step {from}"));
        assert_eq!(entries(&killed).len(), entries(run).len(), "nothing new is written down");
    }
    let fresh = dir.join("fresh");
    copy_all(run, &fresh);
    fs::remove_dir_all(fresh.join("checkpoints")).unwrap();
    played(&fresh, "pretrain", sets, |_| Vec::new());
    same(run, &fresh, "begun from nothing");
}

#[test]
fn a_key_on_the_mix_acts_on_the_next_batch_and_again_on_a_resume() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let told = changed_at_5(&run, || vec![Command::Weigh { source: "one".into(), by: 5 }]);
    let [edit] = edits(&told)[..] else { panic!("{told:?}") };
    assert_eq!((edit.step, edit.cause, edit.text.as_str()), (6, Cause::Key, "one 50 % → 75 %"));
    assert_eq!(edit.sources.iter().map(|s| s.weight).collect::<Vec<_>>(), [0.75, 0.25]);
    let toml = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(toml.contains("weight = 3.0 # half") && toml.contains("# small"), "{toml}");
    assert_eq!(entries(&run).len(), 2, "what the stage began with, and the edit");
    goes_the_same_way(dir.path(), &run);

    // Without the edit the steps before it are the same, and those after it differ.
    let without = dir.path().join("without");
    fs::create_dir(&without).unwrap();
    let without = two_sources(&without);
    played(&without, "pretrain", &SETS, |_| Vec::new());
    let (a, b) = (stage_metrics(&run, "pretrain"), stage_metrics(&without, "pretrain"));
    assert_eq!(a[..5], b[..5]);
    assert!(a[5..].iter().zip(&b[5..]).all(|(x, y)| x != y));
}

#[test]
fn a_typed_learning_rate_acts_on_the_next_step_and_again_on_a_resume() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let set = |key: &str, value: &str| Command::Set { key: key.to_owned(), value: value.to_owned() };
    let told = changed_at_5(&run, || vec![set("learning_rate", "1e-4")]);
    let [edit] = edits(&told)[..] else { panic!("{told:?}") };
    assert_eq!((edit.step, edit.cause, edit.learning_rate), (6, Cause::Key, 1e-4));
    assert_eq!(edit.text, "learning_rate 3e-3 → 1e-4");
    let toml = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(toml.contains("learning_rate = 1e-4") && toml.contains("# half"), "{toml}");
    assert_eq!(entries(&run).len(), 2, "what the stage began with, and the edit");
    goes_the_same_way(dir.path(), &run);
}

/// How answers are sampled and how often probes are made change no step: the change is marked and logged all the same.
#[test]
fn a_typed_temperature_is_marked_and_logged_and_changes_no_step() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let plain = dir.path().join("plain");
    copy_all(&run, &plain);
    played(&plain, "pretrain", &SETS, |_| Vec::new());
    for (key, value, text) in [
        ("sampling.temperature", "0.5", "sampling.temperature 0.8 → 0.5"),
        ("sampling.top_k", "5", "sampling.top_k 40 → 5"),
    ] {
        let run = {
            let to = dir.path().join(key);
            copy_all(&run, &to);
            to
        };
        let (mut told, mut asked) = (Vec::new(), false);
        let setup = Setup { interactive: true, ..tiny("pretrain", &SETS) };
        launch::played(&run, &setup, |event| match event {
            _ if is_step(event, 5) && !asked => {
                asked = true;
                vec![Command::Pause, Command::Set { key: key.to_owned(), value: value.to_owned() }, Command::Resume]
            }
            Event::Paused { step: 12 } => vec![Command::Stop { save: true }],
            _ => {
                told.extend(matches!(event, Event::Edited(_)).then(|| event.clone()));
                Vec::new()
            }
        });
        let [edit] = edits(&told)[..] else { panic!("{key}: {told:?}") };
        assert_eq!((edit.cause, edit.text.as_str()), (Cause::Key, text));
        assert!((6..=12).contains(&edit.step), "{edit:?}");
        let all = entries(&run);
        let set = &all.last().unwrap()["set"];
        assert_eq!((set[0].as_str().unwrap(), set[1].as_str().unwrap()), (text.split(' ').next().unwrap(), value));
        assert_eq!(stage_metrics(&run, "pretrain"), stage_metrics(&plain, "pretrain"), "{key}");
        // The run's next launch has it too, and says nothing of it again.
        played(&run, "pretrain", &[&["steps=14"], &SETS[1..]].concat(), |_| Vec::new());
        assert_eq!(entries(&run).len(), all.len());
    }
}

/// Batch, accumulation and dropout too: each is in the device's recording, which is made again.
#[test]
fn a_typed_batch_or_dropout_acts_on_the_next_step_and_again_on_a_resume() {
    let dir = scratch();
    let (from, sets) = (two_sources(dir.path()), &["steps=12", "save_steps=4", "eval_steps=0", "probe_steps=0"][..]);
    let toml = fs::read_to_string(from.join("run.toml")).unwrap();
    fs::write(from.join("run.toml"), toml + "batch_size = 8\n").unwrap();
    let plain = dir.path().join("plain");
    copy_all(&from, &plain);
    played(&plain, "pretrain", sets, |_| Vec::new());
    let plain = stage_metrics(&plain, "pretrain");
    for (key, value, text, batch) in [
        ("model.dropout", "0.2", "dropout 0 → 0.2", 8),
        ("batch_size", "3", "batch 8 × 32 tokens → 3 × 32 tokens", 3),
        ("batch_size", "11", "batch 8 × 32 tokens → 11 × 32 tokens", 11),
        ("gradient_accumulation_steps", "3", "batch 8 × 32 tokens → 3 × 8 × 32 tokens", 24),
    ] {
        let dir = dir.path().join(format!("{key}-{value}"));
        let run = dir.join("run");
        copy_all(&from, &run);
        let set = Command::Set { key: key.to_owned(), value: value.to_owned() };
        let told = changed_with(&run, sets, || vec![set.clone()]);
        let [edit] = edits(&told)[..] else { panic!("{key} {value}: {told:?}") };
        assert_eq!((edit.step, edit.cause, edit.text.as_str(), edit.batch), (6, Cause::Key, text, batch));
        assert_eq!(entries(&run).len(), 2, "what the stage began with, and the edit");
        let steps = stage_metrics(&run, "pretrain");
        assert_eq!(steps[..5], plain[..5], "{key} {value}");
        assert!(steps[5..].iter().zip(&plain[5..]).all(|(x, y)| x != y), "{key} {value}");
        goes_on_with(&dir, &run, sets);
    }
}

/// A change of batch or dropout while the run was closed applies from the resumed step on, also where the steps before
/// it are taken once more.
#[test]
fn a_batch_changed_between_two_launches_is_an_edit_too() {
    let dir = scratch();
    let (run, sets) = (two_sources(dir.path()), &["steps=12", "save_steps=4", "eval_steps=0", "probe_steps=0"][..]);
    let toml = fs::read_to_string(run.join("run.toml")).unwrap();
    let with = |end: &str| fs::write(run.join("run.toml"), format!("{toml}{end}")).unwrap();
    with("batch_size = 8\n");
    let stop = |event: &Event| if is_step(event, 5) { vec![Command::Stop { save: true }] } else { Vec::new() };
    played(&run, "pretrain", sets, stop);
    with("batch_size = 4\n[model]\ndropout = 0.1\n");
    played(&run, "pretrain", sets, |_| Vec::new());
    let all = entries(&run);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1]["text"], "batch 8 × 32 tokens → 4 × 32 tokens, dropout 0 → 0.1");
    let killed = dir.path().join("killed");
    copy_all(&run, &killed);
    back_to(&killed, 4);
    played(&killed, "pretrain", sets, |_| Vec::new());
    same(&run, &killed, "gone on from before the change");
}

/// An earlier version logged no dropout: its newest entry is completed when the run is opened, and an edit after that
/// does not reach back.
#[test]
fn the_dropout_of_an_earlier_versions_log_is_that_of_run_toml() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let toml = fs::read_to_string(run.join("run.toml")).unwrap();
    fs::write(run.join("run.toml"), toml + "[model]\ndropout = 0.1\n").unwrap();
    let stop = |event: &Event| if is_step(event, 5) { vec![Command::Stop { save: true }] } else { Vec::new() };
    played(&run, "pretrain", &SETS, stop);
    let log = run.join("edits.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let mut line: Value = serde_json::from_str(text.trim()).unwrap();
    assert!(line.as_object_mut().unwrap().remove("dropout").is_some(), "{text}");
    fs::write(&log, format!("{line}\n")).unwrap();
    let set = Command::Set { key: "model.dropout".to_owned(), value: "0.3".to_owned() };
    played(&run, "pretrain", &SETS, |event| if is_step(event, 7) { vec![set.clone()] } else { Vec::new() });
    let drops: Vec<(u64, f64)> = entries(&run)
        .iter()
        .filter_map(|e| Some((e["step"].as_u64()?, (e["dropout"].as_f64()? * 1e6).round() / 1e6)))
        .collect();
    assert!(matches!(drops[..], [(0, 0.1), (7.., 0.3)]), "{drops:?}");
    let killed = dir.path().join("killed");
    copy_all(&run, &killed);
    back_to(&killed, 4);
    played(&killed, "pretrain", &SETS, |_| Vec::new());
    same(&run, &killed, "gone on from before the edit");
}

/// A value that cannot be used changes neither run.toml nor the training.
#[test]
fn a_typed_value_that_cannot_be_used_is_refused() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let before = fs::read_to_string(run.join("run.toml")).unwrap();
    for (key, value, words) in [
        ("learning_rate", "much", "learning_rate"),
        ("learning_rat", "1e-3", "learning_rate"),
        ("learning_rate", "3e-3", "already"),
        ("eval_steps", "3", "option"),
        ("context", "1000000", "context"),
        ("model.dropout", "2", "dropout"),
        ("batch_size", "0", "batch_size"),
        ("seed", "5", "keeps its seed"),
        ("tokenizer", "bpe", "keeps its tokenizer"),
        ("model.num_key_value_heads", "1", "keeps the shape of its model"),
    ] {
        let whole = dir.path().join(format!("{key}-{value}"));
        copy_all(&run, &whole);
        let told = changed_at_5(&whole, || vec![Command::Set { key: key.to_owned(), value: value.to_owned() }]);
        let [Event::Refused { text }] = &told[..] else { panic!("{key} {value}: {told:?}") };
        assert!(text.contains(words) && !text.contains('\n'), "{key} {value}: {text}");
        // A new run has the key splits.
        let after = fs::read_to_string(whole.join("run.toml")).unwrap();
        assert_eq!(after.replacen("splits = \"by-name\"\n", "", 1), before, "{key} {value}");
    }
}

/// Single steps are those of a run that was never paused.
#[test]
fn steps_taken_one_by_one_are_the_same() {
    let dir = scratch();
    let (run, other) = (two_sources(dir.path()), dir.path().join("other"));
    copy_all(&run, &other);
    played(&other, "pretrain", &SETS, |_| Vec::new());
    let mut pauses = Vec::new();
    played(&run, "pretrain", &SETS, |event| match event {
        // While it trains there is nothing to step through.
        _ if is_step(event, 2) => vec![Command::Step { steps: 1 }],
        Event::Refused { text } => {
            assert!(text.contains("pause it before"), "{text}");
            vec![Command::Pause]
        }
        Event::Paused { step } => {
            pauses.push(*step);
            match pauses.len() {
                1 => vec![Command::Step { steps: 1 }],
                2 => vec![Command::Step { steps: 3 }],
                _ => vec![Command::Resume],
            }
        }
        _ => Vec::new(),
    });
    let [first, second, third] = pauses[..] else { panic!("{pauses:?}") };
    assert_eq!((second - first, third - second), (1, 3), "{pauses:?}");
    same(&run, &other, "step by step");
}

#[test]
fn saved_text_is_in_the_next_batch_and_again_on_a_resume() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let file = run.join("one.jsonl");
    let told = changed_at_5(&run, || {
        fs::write(&file, poems(200..300)).unwrap();
        Vec::new()
    });
    let [edit] = edits(&told)[..] else { panic!("{told:?}") };
    assert_eq!((edit.step, edit.cause), (6, Cause::Files));
    assert!(edit.text.starts_with("one 40 → 100 documents") && edit.seconds.is_some_and(|s| s < 5.0), "{edit:?}");
    assert!(edit.sources[0].documents > 60, "{edit:?}");
    goes_the_same_way(dir.path(), &run);
}

#[test]
fn a_saved_run_toml_is_followed_where_it_can_be_and_again_on_a_resume() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let toml = run.join("run.toml");
    let told = changed_at_5(&run, || {
        let text = fs::read_to_string(&toml).unwrap();
        fs::write(run.join("three.jsonl"), poems(400..440)).unwrap();
        let more = "\n[[source]]\nname = \"three\"\npath = \"three.jsonl\"\n";
        fs::write(&toml, text.replace("3e-3", "1e-4") + more).unwrap();
        Vec::new()
    });
    let [edit] = edits(&told)[..] else { panic!("{told:?}") };
    assert_eq!((edit.step, edit.cause, edit.learning_rate), (6, Cause::Config, 1e-4));
    assert!(edit.text.contains("+ three") && edit.text.contains("learning_rate"), "{}", edit.text);
    assert_eq!(edit.sources.len(), 3);
    let rates: Vec<f64> = objects(&fs::read_to_string(run.join("metrics.jsonl")).unwrap())
        .iter()
        .map(|l| l["learning_rate"].as_f64().unwrap())
        .collect();
    assert!(rates[4] > 5e-4 && rates[5] <= 1e-4, "{rates:?}");
    goes_the_same_way(dir.path(), &run);
}

/// The screen shows the values in use: a saved change where the stage follows it, the old value where it waits, and the
/// rate of the time while steps are repeated.
#[test]
fn the_configuration_in_use_reaches_the_screen() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let toml = run.join("run.toml");
    // Each time the configuration was sent: the steps done before, and the keys.
    let sent = |run: &Path, until: usize| -> Vec<(usize, Vec<Setting>)> {
        let (done, sent) = (RefCell::new(0), RefCell::new(Vec::new()));
        let tiny = TINY.iter().filter(|set| !set.starts_with("learning_rate"));
        let setup = Setup { interactive: true, ..setup("pretrain", tiny.chain(&SETS)) };
        launch::played(run, &setup, |event| {
            match event {
                Event::Steps(steps) => *done.borrow_mut() = steps.last().unwrap().step,
                Event::Config(settings) => sent.borrow_mut().push((*done.borrow(), settings.clone())),
                _ => {}
            }
            match event {
                _ if is_step(event, until) => vec![Command::Stop { save: true }],
                _ if is_step(event, 5) && run.ends_with("run") => {
                    let text = fs::read_to_string(&toml).unwrap().replace("3e-3", "1e-4");
                    fs::write(&toml, text + "[guard]\nrollbacks = 7\n").unwrap();
                    vec![Command::Pause]
                }
                Event::Edited(edit) if !edit.replayed => vec![Command::Resume],
                _ => Vec::new(),
            }
        });
        sent.into_inner()
    };
    let of = |settings: &[Setting], table: &str, name: &str| {
        let own = settings.iter().find(|s| s.table == table && s.name == name).unwrap();
        (own.value.clone(), own.origin, own.changed, own.next.clone())
    };
    let first = sent(&run, 9);
    let [(0, begun), (5, edited)] = &first[..] else { panic!("{first:?}") };
    assert_eq!(of(begun, "pretrain", "learning_rate"), ("0.003".to_owned(), Origin::File, None, None));
    assert_eq!(of(begun, "pretrain", "steps"), ("12".to_owned(), Origin::Option, None, None));
    assert_eq!(of(begun, "guard", "rollbacks"), ("3".to_owned(), Origin::Default, None, None));
    assert_eq!(of(edited, "pretrain", "learning_rate"), ("0.0001".to_owned(), Origin::File, Some(6), None));
    assert_eq!(of(edited, "guard", "rollbacks"), ("3".to_owned(), Origin::Default, None, Some("7".to_owned())));

    let killed = dir.path().join("killed");
    copy_all(&run, &killed);
    back_to(&killed, 4);
    let again = sent(&killed, 7);
    let [(_, repeats), (_, then)] = &again[..] else { panic!("{again:?}") };
    assert_eq!(of(repeats, "pretrain", "learning_rate").0, "0.003", "step 5 is repeated with the rate it had");
    assert_eq!(of(repeats, "guard", "rollbacks").0, "7", "the stage was opened again");
    assert_eq!(of(then, "pretrain", "learning_rate"), ("0.0001".to_owned(), Origin::File, Some(6), None));
}

#[test]
fn broken_files_are_reported_and_the_old_version_stays() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let (file, toml) = (run.join("one.jsonl"), run.join("run.toml"));
    let whole = fs::read_to_string(&file).unwrap();
    for (path, text, words) in [
        (&file, format!("{whole}{{\"text\": \"春眠"), ["the first at 41 of ", "one.jsonl: "]),
        (&file, format!("\0\0{whole}"), ["the first at 1 of ", "old version stays"]),
        (&toml, "size = \"1m\"\nseeed = 3\n".to_owned(), ["seeed", "seed"]),
        (&toml, "size = ".to_owned(), ["run.toml", "old version stays"]),
    ] {
        let before = fs::read(path).unwrap();
        let copy = dir.path().join("copy");
        let _none_yet = fs::remove_dir_all(&copy);
        copy_all(&run, &copy);
        let at = copy.join(path.file_name().unwrap());
        let told = changed_at_5(&copy, || {
            fs::write(&at, &text).unwrap();
            Vec::new()
        });
        let [Event::Broken { step: 5, text }] = &told[..] else { panic!("{told:?}") };
        assert!(words.iter().all(|w| text.contains(w)), "{text}");
        assert_eq!(entries(&copy).len(), 1);
        assert!(fs::read(&at).unwrap() != before, "nothing of the person's is changed");
        assert_eq!(stage_metrics(&copy, "pretrain").len(), 12, "training continues");
    }
}

#[test]
fn what_cannot_be_weighed_is_refused() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let told = changed_at_5(&run, || vec![Command::Weigh { source: "nobody".into(), by: 1 }]);
    assert!(matches!(&told[..], [Event::Refused { text }] if text.contains("nobody")), "{told:?}");
    assert_eq!(entries(&run).len(), 1);
}

/// Unreadable marks do not end training.
#[test]
fn unreadable_marks_are_reported_and_training_continues() {
    let dir = scratch();
    let run = two_sources(dir.path());
    fs::create_dir_all(run.join("data/marks.jsonl")).unwrap();
    let (mut refused, mut shown) = (0, 0);
    let done = played(&run, "pretrain", &SETS, |event| match event {
        _ if is_step(event, 5) => vec![
            Command::ShowRoom,
            Command::ShowDocument { source: "one".into(), index: 1, find: None },
            Command::Mark { text: "春".into(), keep: Some(true) },
        ],
        Event::Refused { .. } => {
            refused += 1;
            Vec::new()
        }
        Event::Room(_) | Event::Document(_) => {
            shown += 1;
            Vec::new()
        }
        _ => Vec::new(),
    });
    assert_eq!((refused, shown, done.step), (2, 2, 12));
}

/// From one document to the next that has a text, in either direction and around the end.
#[test]
fn documents_with_a_text_are_found() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let show = |index: usize, find: Option<(&str, bool)>| Command::ShowDocument {
        source: "one".into(),
        index,
        find: find.map(|(text, back)| Find { text: text.to_owned(), back }),
    };
    let (mut text, mut found, mut refused) = (String::new(), Vec::new(), String::new());
    played(&run, "pretrain", &SETS, |event| match event {
        _ if is_step(event, 5) => vec![show(7, None)],
        Event::Document(view) if text.is_empty() => {
            text = view.text.clone();
            // It is the only one with its whole text.
            let all = text.trim().to_uppercase();
            let from = |index, back| show(index, Some((&*all, back)));
            vec![
                from(0, false),
                from(0, true),
                from(8, false),
                from(7, true),
                show(0, Some(("not in any poem", false))),
            ]
        }
        Event::Document(view) => {
            found.push(view.index);
            Vec::new()
        }
        Event::Refused { text } => {
            refused.clone_from(text);
            Vec::new()
        }
        _ => Vec::new(),
    });
    assert_eq!(found, [7; 4]);
    assert_eq!(refused, "`not in any poem` is in no document of one");
}

#[test]
fn the_built_in_mix_is_weighed_too() {
    let dir = scratch();
    let run = dir.path().join("run");
    let told = changed_at_5(&run, || vec![Command::Weigh { source: "english".into(), by: 2 }]);
    let [edit] = edits(&told)[..] else { panic!("{told:?}") };
    assert_eq!(edit.text, "english 10 % → 20 %");
    assert!(fs::read_to_string(run.join("run.toml")).unwrap().contains("[mix]\nenglish = 0.225"));
    goes_the_same_way(dir.path(), &run);
}

/// Without system notifications files are polled; without any watching they are reread on request.
#[test]
fn files_are_followed_without_the_systems_help() {
    for (watch, asked) in [("poll", vec![]), ("off", vec![Command::Reread])] {
        let dir = scratch();
        let run = two_sources(dir.path());
        let toml = fs::read_to_string(run.join("run.toml")).unwrap();
        fs::write(run.join("run.toml"), format!("watch = \"{watch}\"\n{toml}")).unwrap();
        let told = changed_at_5(&run, || {
            fs::write(run.join("one.jsonl"), poems(200..300)).unwrap();
            asked.clone()
        });
        assert!(matches!(edits(&told)[..], [Edit { step: 6, cause: Cause::Files, .. }]), "{watch}: {told:?}");
    }
}

/// Sources added to run.toml during training are watched too, and so is a folder that reappears.
#[test]
fn new_sources_and_folders_that_come_back_are_watched() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let (toml, folder) = (run.join("run.toml"), dir.path().join("more"));
    let put = |name: &str, range| {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), poems(range)).unwrap();
    };
    let told = RefCell::new(Vec::new());
    played(&run, "pretrain", &SETS, |event| {
        let steps = told.borrow().len();
        match event {
            _ if is_step(event, 5) => {
                put("a.jsonl", 300..340);
                let text = fs::read_to_string(&toml).unwrap();
                fs::write(&toml, text + "\n[[source]]\nname = \"more\"\npath = \"../more\"\n").unwrap();
                return vec![Command::Pause];
            }
            Event::Edited(edit) => {
                told.borrow_mut().push(edit.text.clone());
                match steps {
                    0 => put("b.jsonl", 340..360),
                    1 => fs::remove_dir_all(&folder).unwrap(),
                    _ => return vec![Command::Resume],
                }
            }
            Event::Broken { text, .. } => {
                told.borrow_mut().push(text.clone());
                put("c.jsonl", 360..400);
            }
            _ => {}
        }
        Vec::new()
    });
    let told = told.into_inner();
    let wanted = ["+ more, more 40 documents", "more 40 → 60 documents", "matches no readable file", "more 60 → "];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    assert!(told.iter().zip(wanted).all(|(t, w)| t.contains(w)), "{told:?}");
}

/// Fine-tuning draws the same text, together with conversations.
#[test]
fn fine_tuning_follows_too() {
    let dir = scratch();
    let run = two_sources(dir.path());
    played(&run, "pretrain", &["steps=4"], |_| Vec::new());
    let talk = counting(dir.path());
    let sets = [&SETS[..], &[&talk, "pretrain_share=0.5"]].concat();
    let file = run.join("two.jsonl");
    let mut edits = Vec::new();
    played(&run, "sft", &sets, |event| match event {
        _ if is_step(event, 5) => {
            fs::write(&file, poems(600..700)).unwrap();
            vec![Command::Pause, Command::Weigh { source: "one".into(), by: -3 }]
        }
        Event::Edited(edit) => {
            edits.push((edit.step, edit.cause, edit.text.clone()));
            if edits.len() == 2 { vec![Command::Resume] } else { Vec::new() }
        }
        _ => Vec::new(),
    });
    assert_eq!(edits[0], (6, Cause::Key, "one 25 % → 17.5 %".to_owned()), "of the half that is text");
    assert_eq!((edits[1].0, edits[1].1, edits[1].2.starts_with("two 40 → 100")), (6, Cause::Files, true), "{edits:?}");
    let killed = dir.path().join("killed");
    copy_all(&run, &killed);
    for step in [8, 12] {
        fs::remove_dir_all(stage_checkpoint(&killed, "sft", step)).unwrap();
    }
    // The conversations have the same path in both.
    played(&killed, "sft", &sets, |_| Vec::new());
    assert_eq!(stage_metrics(&run, "sft"), stage_metrics(&killed, "sft"));
    assert!(tensors(&stage_checkpoint(&run, "sft", 12)) == tensors(&stage_checkpoint(&killed, "sft", 12)));
}

/// Changes made while nothing trained apply from the resumed step on, and are replayed as well.
#[test]
fn what_changed_between_two_launches_is_an_edit_too() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let stop = |event: &Event| if is_step(event, 5) { vec![Command::Stop { save: true }] } else { Vec::new() };
    played(&run, "pretrain", &SETS, stop);
    fs::write(run.join("two.jsonl"), poems(500..560)).unwrap();
    played(&run, "pretrain", &SETS, |_| Vec::new());
    let all = entries(&run);
    assert_eq!((all.len(), &all[1]["step"], &all[1]["cause"]), (2, &5.into(), &"reopened".into()));
    goes_the_same_way(dir.path(), &run);
}

/// The workbench gets what the run's files hold when it opens a run: steps, changes (those made in between too) and the
/// log, of the stages that rest as well.
#[test]
fn the_workbench_shows_what_earlier_launches_left() {
    let dir = scratch();
    let run = two_sources(dir.path());
    changed_at_5(&run, || vec![Command::Weigh { source: "one".to_owned(), by: 1 }]);
    fs::write(run.join("two.jsonl"), poems(500..560)).unwrap();
    let opened = |stage: &str, sets: &[&str]| {
        let tiny = TINY.iter().filter(|set| !set.starts_with("learning_rate"));
        let setup = Setup { size: Some("1m".to_owned()), interactive: true, ..setup(stage, tiny.chain(sets)) };
        let mut all = Vec::new();
        launch::played(&run, &setup, |event| {
            let Event::Past(past) = event else { return Vec::new() };
            all.push((**past).clone());
            vec![Command::Stop { save: false }]
        });
        assert_eq!(all.len(), 1);
        all.remove(0)
    };
    let check = |past: &Past| {
        let school = past.stages.iter().find(|s| s.stage == StageId::Pretrain).unwrap();
        assert_eq!(school.steps.iter().map(|s| s.step).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
        let changes: Vec<(usize, Cause)> = school
            .events
            .iter()
            .filter_map(|line| if let Event::Edited(e) = &line.record { Some((e.step, e.cause)) } else { None })
            .collect();
        assert_eq!(changes, [(6, Cause::Key), (13, Cause::Reopened)]);
        let log = past.log.as_ref().unwrap();
        assert!(log.iter().any(|line| matches!(line.record, Event::Saved { step: 12, .. })));
        assert!(log.iter().all(|line| line.time.is_some_and(|t| t > 1.7e9)));
    };
    let past = opened("pretrain", &SETS);
    check(&past);
    assert!(!past.stages[0].steps[11].sources.is_empty(), "what was drawn of each source");
    // Fine-tuning has no checkpoint yet.
    let past = opened("sft", &["steps=12", "batch_size=4", "eval_steps=0", "probe_steps=0"]);
    check(&past);
    assert_eq!(past.stages.iter().map(|s| (s.stage, s.steps.len())).collect::<Vec<_>>()[1], (StageId::Sft, 0));
}

#[test]
fn a_kill_after_an_edit_changes_no_bit() {
    let dir = scratch();
    let run = two_sources(dir.path());
    let sets = ["steps=1500", "save_steps=0", "batch_size=8", "eval_steps=0", "probe_steps=0"];
    let mut running = Running::start(&run, &sets);
    running.until(|l| l["step"] == 12 && l["loss"].is_number());
    fs::write(run.join("one.jsonl"), poems(200..300)).unwrap();
    let edit = running.until(|l| l["event"] == "edited" || l["event"] == "finished");
    assert_eq!(
        (&edit["event"], &edit["cause"]),
        (&"edited".into(), &"files".into()),
        "taken over before the end: {edit}"
    );
    running.signal("KILL");
    running.end();
    let before = stage_metrics(&run, "pretrain");
    let (done, lines) = Running::start(&run, &sets).end();
    done.good();
    let again = lines.iter().find(|l| l["event"] == "edited").expect("it is replayed");
    assert_eq!((&again["step"], &again["replayed"]), (&edit["step"], &true.into()));
    let after = stage_metrics(&run, "pretrain");
    assert_eq!(after.len(), 1500);
    assert_eq!(before, after[..before.len()], "the steps before the kill are taken again to the bit");
}
