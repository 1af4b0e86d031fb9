//! Fine-tuning that was stopped or killed and continued equals, to the bit, fine-tuning without a stop; also with
//! demonstrations, which are on disk before they take effect and are drawn again after a resume.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{
    Running, TINY, checkpoints, copy_all, counting, danlu, finetune, imported,
    launch::{self, is_step, setup},
    no_leftovers, objects, scratch, stage_checkpoint, stage_metrics, tensors, text, train,
};
use danlu::{
    protocol::{Ask, BatchView, Command, Event, Role, Sampling, Turn, Who},
    train::{Setup, Summary},
};
use serde_json::{Value, json};

/// A run pretrained for a few steps whose run.toml names its conversations.
fn pretrained(dir: &Path) -> PathBuf {
    let run = dir.join("run");
    train(&run, &["steps=4", &counting(dir)], &[]).good();
    run
}

fn by_hand(run: &Path) -> PathBuf {
    run.join("data/sft/by-hand.jsonl")
}

/// Demonstrations as the workbench writes them, each with its first step.
fn demonstrations(run: &Path, steps: &[u64]) {
    let line = |(i, step): (usize, &u64)| {
        let turns = json!([
            {"role": "user", "content": format!("ask {i}")}, {"role": "assistant", "content": format!("by hand {i}")},
        ]);
        json!({"messages": turns, "task": "by-hand", "step": step}).to_string() + "\n"
    };
    fs::create_dir_all(by_hand(run).parent().unwrap()).unwrap();
    fs::write(by_hand(run), steps.iter().enumerate().map(line).collect::<String>()).unwrap();
}

/// The same steps and the same tensors.
fn same(a: &Path, b: &Path, step: usize, what: &str) {
    let (one, other) = (stage_metrics(a, "sft"), stage_metrics(b, "sft"));
    assert_eq!(one.len(), step, "{what}: a line for every step");
    for (x, y) in one.iter().zip(&other) {
        assert_eq!(x, y, "{what}");
    }
    assert_eq!(one.len(), other.len(), "{what}");
    let weights = |run: &Path| tensors(&stage_checkpoint(run, "sft", step));
    assert!(weights(a) == weights(b), "{what}: the tensors at step {step} differ");
    no_leftovers(b);
}

/// Stops at each of `stops`, continues to the end, and compares with an uninterrupted stage. Returns the metrics.
fn stopped_and_gone_on(sets: &[&str], demos: &[u64], stops: &[&[usize]]) -> Vec<String> {
    let dir = scratch();
    let base = pretrained(dir.path());
    if !demos.is_empty() {
        demonstrations(&base, demos);
    }
    let a = dir.path().join("a");
    copy_all(&base, &a);
    let sets = [&["steps=12"], sets].concat();
    finetune(&a, &sets, &[]).good();
    for (i, stops) in stops.iter().enumerate() {
        let b = dir.path().join(format!("b{i}"));
        copy_all(&base, &b);
        for stop in *stops {
            finetune(&b, &sets, &["--steps", &stop.to_string()]).good();
        }
        let done = finetune(&b, &sets, &[]);
        assert!(!done.good().out.contains("apply from step"), "nothing was changed: {}", done.out);
        same(&a, &b, 12, &format!("{sets:?}, demonstrations at {demos:?}, stopped at {stops:?}"));
    }
    stage_metrics(&a, "sft")
}

#[test]
fn stopped_at_any_step_it_resumes_to_the_bit() {
    stopped_and_gone_on(&[], &[], &[&[1], &[5], &[11], &[3, 4, 9]]);
}

#[test]
fn demonstrations_before_at_and_after_a_stop_are_drawn_as_without_it() {
    let without = stopped_and_gone_on(&["by_hand_share=0.3"], &[], &[&[6]]);
    let with = stopped_and_gone_on(&["by_hand_share=0.3"], &[2, 5, 5, 9], &[&[1], &[2], &[5], &[7], &[2, 5, 6, 10]]);
    assert_eq!(without[..2], with[..2], "before the first one nothing is different");
    assert!(without[2..].iter().zip(&with[2..]).all(|(x, y)| x != y), "from then on everything is");
    stopped_and_gone_on(&[], &[0, 40], &[&[1], &[9]]);
}

#[test]
fn without_packing() {
    let packed = stopped_and_gone_on(&["by_hand_share=0.3"], &[5], &[&[4]]);
    let alone = stopped_and_gone_on(&["by_hand_share=0.3", "packing=false"], &[5], &[&[1], &[5], &[8]]);
    assert!(packed.iter().zip(&alone).all(|(x, y)| x != y), "packing does something");
}

#[test]
fn with_accumulation_and_dropout() {
    let sets = ["gradient_accumulation_steps=3", "model.dropout=0.1", "pretrain_share=0.4", "by_hand_share=0.2"];
    stopped_and_gone_on(&sets, &[3, 6], &[&[1], &[6], &[2, 10]]);
}

/// A stage that has used another batch size, with a demonstration planned at that time.
#[test]
fn another_batch_size_before_a_foreseen_demonstration() {
    let dir = scratch();
    let run = pretrained(dir.path());
    demonstrations(&run, &[6]);
    finetune(&run, &["steps=12"], &["--steps", "3"]).good();
    let done = finetune(&run, &["steps=12", "batch_size=3"], &[]);
    assert!(done.good().out.contains("mix and batch of run.toml apply from step 4"), "{}", done.out);
    assert_eq!(stage_metrics(&run, "sft").len(), 12);
}

/// Killed at arbitrary steps, many times.
#[test]
fn kills_in_mid_stage_change_no_bit() {
    let dir = scratch();
    let base = pretrained(dir.path());
    demonstrations(&base, &[20, 45, 130]);
    let sets = ["steps=200", "save_steps=17", "model.dropout=0.1", "eval_steps=50"];
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    copy_all(&base, &a);
    copy_all(&base, &b);
    finetune(&a, &sets, &[]).good();
    let mut killed = 0;
    for after in [1, 30, 35, 70, 110, 150, 190] {
        let mut running = Running::start_with(&b, &sets, &["--stage", "sft"]);
        running.until(|line| {
            line["event"].is_null() && line["step"].as_u64() >= Some(after) || line["event"] == "finished"
        });
        running.child.kill().unwrap();
        killed += usize::from(running.child.wait().unwrap().code().is_none());
    }
    assert!(killed >= 3, "{killed} kills came before the end: the test saw too little");
    finetune(&b, &sets, &[]).good();
    same(&a, &b, 200, "killed");
    for log in ["metrics.jsonl", "events.jsonl"] {
        objects(&fs::read_to_string(b.join(log)).unwrap());
    }
    assert_eq!(stage_metrics(&b, "pretrain").len(), 4, "pretraining's lines are not touched");
}

/// Trains on this thread; `script` gets every event and returns commands, which are applied before the next step.
fn played(run: &Path, stage: &str, sets: &[&str], script: impl FnMut(&Event) -> Vec<Command>) -> Summary {
    let sets: Vec<&str> = TINY.iter().chain(sets).copied().collect();
    played_from(None, run, stage, &sets, script)
}

fn played_from(
    from: Option<PathBuf>,
    run: &Path,
    stage: &str,
    sets: &[&str],
    script: impl FnMut(&Event) -> Vec<Command>,
) -> Summary {
    let setup = Setup { size: Some("1m".to_owned()), from, ..setup(stage, sets) };
    launch::played(run, &setup, script)
}

fn turns(question: &str, answer: &str) -> Vec<Turn> {
    vec![Turn::new(Role::User, question), Turn::new(Role::Assistant, answer)]
}

fn demonstrate(question: &str, answer: &str) -> Vec<Command> {
    vec![Command::Demonstrate { turns: turns(question, answer) }]
}

fn lines(run: &Path) -> Vec<Value> {
    fs::read_to_string(by_hand(run)).map(|text| objects(&text)).unwrap_or_default()
}

/// The text of a batch's demonstration rows, if it has any.
fn hand_rows(batch: &BatchView) -> Vec<String> {
    let of = |row: &&(String, _)| row.0 == "by-hand";
    batch.rows.iter().filter(of).map(|(_, tokens)| tokens.iter().map(|t| t.text.as_str()).collect()).collect()
}

/// Removes all checkpoints of fine-tuning except one, as after a kill.
fn back_to(run: &Path, step: usize) {
    for name in checkpoints(run).into_iter().filter(|name| name.starts_with("sft-")) {
        if name != format!("sft-{step:08}") {
            fs::remove_dir_all(run.join("checkpoints").join(name)).unwrap();
        }
    }
    assert!(stage_checkpoint(run, "sft", step).is_dir());
}

#[test]
fn a_demonstration_is_on_disk_before_it_acts_and_in_the_next_batch() {
    let dir = scratch();
    let base = pretrained(dir.path());
    let sets = ["steps=12", "save_steps=4", "batch_size=8"];
    let run = dir.path().join("live");
    copy_all(&base, &run);
    let mut told = Vec::new();
    let mut batches = Vec::new();
    played(&run, "sft", &sets, |event| match event {
        _ if is_step(event, 5) => [vec![Command::ShowBatch], demonstrate("say 99", "nine nine!")].concat(),
        _ if is_step(event, 6) => vec![Command::ShowBatch],
        // Line ends of another system: a resume reads the same as was learned.
        _ if is_step(event, 9) => demonstrate("say 98", "nine\r\neight!"),
        _ if is_step(event, 11) => demonstrate("say 97", "nine seven!"),
        Event::Demonstrated { step, count } => {
            told.push((*step, *count, lines(&run).len()));
            Vec::new()
        }
        Event::Batch(batch) => {
            batches.push((batch.step, hand_rows(batch)));
            Vec::new()
        }
        Event::Refused { text } => panic!("{text}"),
        _ => Vec::new(),
    });
    assert_eq!(told, [(6, 1, 1), (10, 2, 2), (12, 3, 3)], "the step that can draw it, how many, lines on disk");
    let all = lines(&run);
    assert_eq!(all[0]["messages"][1], json!({"role": "assistant", "content": "nine nine!"}));
    assert_eq!(all.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [5, 9, 11]);
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[0], (5, Vec::new()));
    let (step, rows) = &batches[1];
    assert_eq!((*step, rows.len()), (6, 1), "at the default share, in a batch of eight rows");
    assert_eq!(rows[0], "<|user|>say 99<|im_end|><|assistant|>nine nine!<|im_end|>");

    // From the start, and from the checkpoints before and between, the same demonstrations are drawn.
    let again = dir.path().join("again");
    copy_all(&base, &again);
    fs::create_dir_all(by_hand(&again).parent().unwrap()).unwrap();
    fs::copy(by_hand(&run), by_hand(&again)).unwrap();
    finetune(&again, &sets, &[]).good();
    same(&run, &again, 12, "with the lines that were written");
    for step in [4, 8] {
        let killed = dir.path().join(format!("killed-{step}"));
        copy_all(&run, &killed);
        back_to(&killed, step);
        finetune(&killed, &sets, &[]).good();
        same(&run, &killed, 12, &format!("gone on from step {step}"));
    }
}

/// After a kill the stage is at a step before its last demonstrations; adding one there used to end it.
#[test]
fn a_demonstration_before_those_that_lie_ahead() {
    let dir = scratch();
    let base = pretrained(dir.path());
    let sets = ["steps=12", "save_steps=4", "by_hand_share=0.3"];
    let run = dir.path().join("live");
    copy_all(&base, &run);
    played(&run, "sft", &sets, |event| match event {
        _ if is_step(event, 7) => demonstrate("say 99", "nine nine!"),
        _ if is_step(event, 10) => vec![Command::Stop { save: false }],
        _ => Vec::new(),
    });
    back_to(&run, 4);
    let mut told = Vec::new();
    played(&run, "sft", &sets, |event| match event {
        _ if is_step(event, 5) => demonstrate("say 98", "nine eight!"),
        Event::Demonstrated { step, count } => {
            told.push((*step, *count));
            Vec::new()
        }
        _ => Vec::new(),
    });
    assert_eq!(told, [(6, 2)]);
    assert_eq!(lines(&run).iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [7, 5]);
    let again = dir.path().join("again");
    copy_all(&base, &again);
    fs::create_dir_all(by_hand(&again).parent().unwrap()).unwrap();
    fs::copy(by_hand(&run), by_hand(&again)).unwrap();
    finetune(&again, &sets, &[]).good();
    same(&run, &again, 12, "two lives");
}

#[test]
fn what_is_no_demonstration_is_refused_and_leaves_no_line() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let user = |words: &str| Turn::new(Role::User, words);
    let bad = [
        Vec::new(),
        turns("say 1", " \n"),
        turns("", "one"),
        vec![user("say 1")],
        vec![Turn::new(Role::Assistant, "one")],
        [vec![user("say 1")], turns("say 2", "two")].concat(),
        [turns("say 1", ""), turns("say 2", "two")].concat(),
        turns("say 1", &"one ".repeat(60)),
    ];
    let (mut refused, wanted) = (Vec::new(), bad.len());
    let summary = played(&run, "sft", &["steps=6"], |event| match event {
        _ if is_step(event, 3) => bad.iter().map(|turns| Command::Demonstrate { turns: turns.clone() }).collect(),
        Event::Refused { text } => {
            refused.push(text.clone());
            Vec::new()
        }
        Event::Demonstrated { .. } => panic!("taken after {refused:?}"),
        _ => Vec::new(),
    });
    assert_eq!((refused.len(), summary.step), (wanted, 6), "{refused:?}");
    assert!(refused[5].contains("two user turns"), "{refused:?}");
    assert!(refused[6].contains("empty answer"), "{refused:?}");
    assert!(refused[7].contains("more than the context of 32"), "{refused:?}");
    assert!(lines(&run).is_empty());
}

/// During pretraining it is kept for fine-tuning's next batch.
#[test]
fn a_demonstration_while_pretraining_waits_for_fine_tuning() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let mut told = Vec::new();
    let mut teach = |stage: &str, steps: &str, at: usize, words: &str| {
        played(&run, stage, &[steps, "by_hand_share=0.4"][..if stage == "sft" { 2 } else { 1 }], |event| match event {
            _ if is_step(event, at) && !words.is_empty() => demonstrate(words, "one"),
            Event::Demonstrated { step, count } => {
                told.push((*step, *count));
                Vec::new()
            }
            _ => Vec::new(),
        });
    };
    teach("pretrain", "steps=6", 5, "first");
    teach("sft", "steps=5", 0, "");
    teach("pretrain", "steps=8", 7, "second");
    assert_eq!(told, [(1, 1), (6, 2)], "the next step of fine-tuning");
    assert_eq!(lines(&run).iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 5]);
    let mut seen = Vec::new();
    played(&run, "sft", &["steps=7", "by_hand_share=0.4", "batch_size=4"], |event| match event {
        _ if is_step(event, 6) => vec![Command::ShowBatch],
        Event::Batch(batch) => {
            seen = hand_rows(batch);
            Vec::new()
        }
        _ => Vec::new(),
    });
    assert!(seen.iter().all(|row| row.starts_with("<|user|>second")) && !seen.is_empty(), "the newest first: {seen:?}");
    assert!(seen[0].contains("<|user|>first"), "and what else has room: {seen:?}");
}

/// Users edit the file too: nothing of theirs is cut, and invalid lines are reported.
#[test]
fn lines_that_the_user_wrote_stay() {
    let dir = scratch();
    let run = pretrained(dir.path());
    demonstrations(&run, &[0]);
    let mine = [
        "{\"prompt\": \"say 5\", \"completion\": \"five!\"}",
        "",
        "{\"prompt\": \"say 6\"",
        "{\"prompt\": \"say 7\", \"completion\": \"seven!\"}",
    ];
    let before = fs::read_to_string(by_hand(&run)).unwrap() + &mine.join("\n");
    fs::write(by_hand(&run), &before).unwrap();
    let mut notes = String::new();
    let mut count = 0;
    played(&run, "sft", &["steps=5"], |event| match event {
        _ if is_step(event, 3) => demonstrate("say 8", "eight!"),
        Event::Started(info) => {
            assert_eq!(info.demonstrations, 3);
            Vec::new()
        }
        Event::Demonstrated { count: n, .. } => {
            count = *n;
            Vec::new()
        }
        Event::Note { text, .. } => {
            notes += text;
            Vec::new()
        }
        _ => Vec::new(),
    });
    assert_eq!(count, 4);
    assert!(notes.contains(&format!("{} line 4: passed over", text(&by_hand(&run)))), "{notes}");
    let after = fs::read_to_string(by_hand(&run)).unwrap();
    assert!(after.starts_with(&before), "{after}");
    assert_eq!(after[before.len()..].lines().count(), 2, "its line end, and one line more: {after}");
    // A last line that is not JSON is kept as well.
    let torn = after + "not done yet";
    fs::write(by_hand(&run), &torn).unwrap();
    played(
        &run,
        "sft",
        &["steps=8"],
        |event| if is_step(event, 6) { demonstrate("say 9", "nine!") } else { Vec::new() },
    );
    assert!(fs::read_to_string(by_hand(&run)).unwrap().starts_with(&(torn + "\n{")));
}

/// Demonstrations removed by their author are no longer drawn, and the stage continues.
#[test]
fn demonstrations_that_were_removed() {
    let dir = scratch();
    let run = pretrained(dir.path());
    demonstrations(&run, &[1, 6]);
    finetune(&run, &["steps=9"], &["--steps", "4"]).good();
    let all = fs::read_to_string(by_hand(&run)).unwrap();
    let rest = dir.path().join("rest");
    copy_all(&run, &rest);
    fs::write(by_hand(&rest), all.lines().nth(1).unwrap().to_owned() + "\n").unwrap();
    finetune(&rest, &["steps=9", "by_hand_share=0.5"], &[]).good();
    fs::remove_file(by_hand(&run)).unwrap();
    finetune(&run, &["steps=9", "by_hand_share=0.5"], &[]).good();
    for run in [&run, &rest] {
        assert_eq!(stage_metrics(run, "sft").len(), 9);
    }
}

/// The base's answer to a text, requested after a step.
fn base_says(asked: &mut Vec<(String, String)>, event: &Event, step: usize) -> Vec<Command> {
    match event {
        _ if is_step(event, step) => vec![Command::Prompt {
            id: 7,
            ask: Ask::Text("say 12".to_owned()),
            who: Who::Parent,
            sampling: Sampling::greedy(),
            max_new_tokens: 8,
        }],
        Event::PromptText { id: 7, text, .. } => {
            asked.push((text.clone(), String::new()));
            Vec::new()
        }
        Event::PromptDone { id: 7, finish_reason, .. } => {
            asked.push((String::new(), finish_reason.clone()));
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Asked side by side, the base is the checkpoint from which fine-tuning started, however far both have progressed.
#[test]
fn the_base_beside_is_what_it_started_from() {
    let dir = scratch();
    let run = pretrained(dir.path());
    let name = text(&run);
    let ask = ["generate", "--run", &name, "--stage", "pretrain", "--prompt", "say 12", "--temperature", "0"];
    let before = danlu([&ask[..], &["--max-new-tokens", "8", "--json"]].concat()).object();
    finetune(&run, &["steps=40", "learning_rate=1e-2"], &["--steps", "20"]).good();
    train(&run, &["steps=40", "learning_rate=1e-2"], &[]).good();
    let mut said = Vec::new();
    // Enough further steps for an answer that is generated between them.
    played(&run, "sft", &["steps=400"], |event| base_says(&mut said, event, 21));
    let (words, reasons): (Vec<String>, Vec<String>) = said.into_iter().unzip();
    assert_eq!(words.concat(), before["text"].as_str().unwrap());
    assert_eq!(reasons.concat(), before["finish_reason"].as_str().unwrap());
    let now = danlu([&ask[..], &["--max-new-tokens", "8", "--json"]].concat()).object();
    assert_ne!(now["text"], before["text"], "pretraining has gone on");
}

/// A base outside the run with a smaller vocabulary answers too.
#[test]
fn the_base_of_an_imported_model_answers() {
    let dir = scratch();
    let (theirs, run) = (imported(dir.path()), dir.path().join("run"));
    let talk = counting(dir.path());
    let sets = ["steps=400", "batch_size=2", "context=64", "eval_steps=0", "probe_steps=0", &talk];
    let mut said = Vec::new();
    played_from(Some(theirs), &run, "sft", &sets, |event| base_says(&mut said, event, 1));
    let (words, reasons): (Vec<String>, Vec<String>) = said.into_iter().unzip();
    assert!(["length", "stop"].contains(&reasons.concat().as_str()), "{reasons:?} after {words:?}");
}
