//! The alignment stages, from outside and behind a session: sanity checks, guard, rollout inspector, judged answers,
//! and PPO's siblings.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{
    Done, checkpoints, danlu,
    feedback::{
        PPO, bases, copied, events, files, given, killed, number, rewarded, same, stage, steps, stopped, tuned,
    },
    json_file, objects, scratch, stage_checkpoint, tensors, text,
};
use danlu::{
    base::StageId,
    compute::Device,
    protocol::{Care, Command, Event, RolloutView},
    session::Session,
    train::{OpenRun, Setup, Trainer, open_run},
};
use serde_json::{Value, json};

const GRPO: [&str; 10] = [
    "steps=6",
    "rollouts=8",
    "num_generations=4",
    "response_length=8",
    "num_mini_batches=2",
    "beta=0.1",
    "guard.enabled=false",
    "learning_rate=1e-3",
    "eval_steps=0",
    "save_steps=2",
];
const DPO: [&str; 6] =
    ["guard.enabled=false", "steps=12", "batch_size=4", "learning_rate=1e-3", "eval_steps=0", "save_steps=3"];

/// The judged answers of a run.
fn answers(run: &Path) -> Vec<Value> {
    objects(&fs::read_to_string(run.join("report/answers.jsonl")).unwrap())
}

fn checks(lines: &[Value]) -> Vec<String> {
    let all = events(lines, "lamps");
    assert_eq!(all.len(), 1, "once a launch");
    let check = |l: &Value| {
        let (value, bound) = (number(l, "value"), number(l, "bound"));
        assert!(l["holds"] == true && value <= bound, "{l}");
        l["name"].as_str().unwrap().to_owned()
    };
    all[0]["lamps"].as_array().unwrap().iter().map(check).collect()
}

// ---- sanity checks ----

/// They run at every start; after a resume the policy differs from its reference.
#[test]
fn sanity_checks_are_measured_at_every_start() {
    let dir = scratch();
    for (name, sets, first, later) in [
        ("ppo", &PPO[..], vec!["kl", "ratio", "clipfrac", "sampler"], vec!["ratio", "clipfrac", "sampler"]),
        ("grpo", &GRPO[..], vec!["kl", "ratio", "clipfrac", "sampler"], vec!["ratio", "clipfrac", "sampler"]),
        ("dpo", &DPO[..], vec!["loss", "margin", "kl", "sampler"], vec!["sampler"]),
    ] {
        let run = rewarded(dir.path(), name);
        assert_eq!(checks(&stage(&run, name, sets, &["--steps", "5"]).good().objects()), first);
        assert_eq!(checks(&stage(&run, name, sets, &[]).good().objects()), later);
    }
}

// ---- siblings ----

#[test]
fn dpo_starts_at_ln_2_and_needs_no_reward_model() {
    let dir = scratch();
    let run = tuned(dir.path(), "run");
    let lines = stage(&run, "dpo", &[&DPO[..], &["steps=40"]].concat(), &[]).good().objects();
    let told = steps(&lines);
    assert!((number(told[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6, "{}", told[0]);
    assert_eq!(number(told[0], "rewards/accuracies"), 0.0, "{}", told[0]);
    for line in &told {
        for key in ["rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected"] {
            assert!(number(line, key).is_finite(), "{line}");
        }
        let margin = number(line, "rewards/chosen") - number(line, "rewards/rejected");
        assert!((margin - number(line, "rewards/margins")).abs() < 1e-5, "{line}");
    }
    let losses: Vec<f64> = events(&lines, "eval").iter().map(|l| number(l, "eval_loss")).collect();
    assert!((losses[0] - std::f64::consts::LN_2).abs() < 1e-6 && losses[1] < losses[0], "{losses:?}");
    // Answers are judged, without rewards.
    let all: Vec<&Value> = events(&lines, "policy").into_iter().filter(|p| p["task"] == "all").collect();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|p| p["reward"].is_null() && p["true"].is_number()), "{all:?}");
    assert!(answers(&run).iter().all(|a| a["reward"].is_null()));
    let state = json_file(&stage_checkpoint(&run, "dpo", 40).join("state.json"));
    assert_eq!((&state["parent"], &state["reward_model"]), (&json!("sft-00000060"), &Value::Null));
    // With a reward model its scores are reported.
    let run = rewarded(dir.path(), "with");
    let lines = stage(&run, "dpo", &DPO, &[]).good().objects();
    assert!(events(&lines, "policy").iter().all(|p| p["reward"].is_number()));
}

#[test]
fn grpo_compares_answers_to_one_question() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let lines = stage(&run, "grpo", &GRPO, &[]).good().objects();
    for line in steps(&lines) {
        for key in ["reward", "reward_std", "kl", "entropy", "objective/kl", "clip_ratio/region_mean"] {
            assert!(number(line, key).is_finite(), "{line}");
        }
        for share in ["frac_reward_zero_std", "completions/clipped_ratio", "guard/end_rate"] {
            assert!((0.0..=1.0).contains(&number(line, share)), "{line}");
        }
        assert!(number(line, "val/ratio_gap") <= 1e-6, "{line}");
    }
    let moved = steps(&lines);
    assert!(number(moved[0], "objective/kl").abs() < 1e-4 && number(moved[5], "kl") > 1e-4, "{}", moved[5]);
    let folder = stage_checkpoint(&run, "grpo", 6);
    assert!(!folder.join("value").exists(), "there is no value net");
    assert!(tensors(&folder)[0] != tensors(&stage_checkpoint(&run, "sft", 60))[0]);
    let bare = copied(&bases().tuned, dir.path(), "bare");
    let before = files(&bare);
    stage(&bare, "grpo", &GRPO, &[]).refused(2, &["grpo needs a checkpoint of reward", "--stage reward"]);
    assert!(files(&bare) == before, "nothing is written");
}

#[test]
fn siblings_stopped_and_killed_go_on_to_the_bit() {
    let dir = scratch();
    for (name, sets, step, stops) in [("grpo", &GRPO[..], 6, &[1, 2, 5][..]), ("dpo", &DPO[..], 12, &[1, 4, 11][..])] {
        let run = |which: &str| rewarded(dir.path(), &format!("{name}-{which}"));
        let (a, b) = (run("a"), run("b"));
        stopped(&a, &[(b.clone(), stops)], name, sets, step);
        // The interrupted run was judged at each of its ends.
        let ends = |run: &Path| -> Vec<Value> {
            answers(run).into_iter().filter(|a| a["step"] == 0 || a["step"] == step).collect()
        };
        assert!(ends(&a) == ends(&b) && ends(&a) == answers(&a), "{name}: the judged answers are the same");
        let long = if name == "dpo" { "steps=60" } else { "steps=16" };
        let end = if name == "dpo" { 60 } else { 16 };
        let (c, d) = (run("c"), run("d"));
        killed(&c, &d, name, &[sets, &[long]].concat(), end);
        assert!(answers(&c) == answers(&d), "{name}: the judged answers are the same after kills");
    }
}

/// PPO's options that are off by default also continue to the same bits.
#[test]
fn ppo_with_text_and_questions_of_the_user_resumes_to_the_bit() {
    let dir = scratch();
    let more = ["ptx_coef=0.3", "self_prompts=0.5", "whiten_rewards=true", "max_approx_kl=0.02"];
    let sets = [&PPO[..], &more].concat();
    let (a, b) = (rewarded(dir.path(), "a"), rewarded(dir.path(), "b"));
    stopped(&a, &[(b, &[2, 3])], "ppo", &sets, 6);
    let lines = common::feedback::logged(&a, "ppo");
    for line in &lines[2..] {
        assert!(number(line, "loss/ptx_avg") > 0.0, "{line}");
        assert!((0.0..=4.0).contains(&number(line, "self_prompts")), "{line}");
        assert!((1.0..=4.0).contains(&number(line, "policy/updates")), "{line}");
    }
    assert!(lines[2..].iter().any(|l| number(l, "policy/updates") < 4.0), "an update ended early");
}

// ---- judged answers ----

#[test]
fn every_judged_answer_is_kept() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let lines = stage(&run, "ppo", &[&PPO[..], &["eval_steps=3"]].concat(), &[]).good().objects();
    let kept = answers(&run);
    for (step, role) in [(0, "sft"), (3, "ppo"), (6, "ppo")] {
        let of: Vec<&Value> = kept.iter().filter(|a| a["step"] == step).collect();
        assert!(of.len() >= 200 && of.iter().all(|a| a["role"] == role && a["stage"] == "ppo" && a["seed"] == 0));
        let mean = |key: &str| of.iter().map(|a| number(a, key)).sum::<f64>() / of.len() as f64;
        let good = of.iter().filter(|a| a["true"] == true).count() as f64 / of.len() as f64;
        let ended = of.iter().filter(|a| a["ended"] == true).count() as f64 / of.len() as f64;
        let report = *events(&lines, "policy").iter().find(|p| p["step"] == step && p["task"] == "all").unwrap();
        for (key, got) in [("true", good), ("end_rate", ended), ("reward", mean("reward")), ("kl", mean("kl"))] {
            assert!((number(report, key) - got).abs() < 1e-6, "{key}: {got} in {report}");
        }
        for a in of {
            assert!(a["prompt"].is_string() && a["text"].is_string() && a["task"].is_string(), "{a}");
        }
    }
    // A stage that starts over moves its old answers away.
    for name in checkpoints(&run).iter().filter(|n| n.starts_with("ppo")) {
        fs::remove_dir_all(run.join("checkpoints").join(name)).unwrap();
    }
    stage(&run, "ppo", &PPO, &["--steps", "1"]).good();
    assert!(answers(&run).len() < kept.len() && run.join("report/answers.1.old.jsonl").is_file());
}

// ---- the guard ----

/// A learning rate that ruins the policy at once, with nothing that restrains it.
const SPOILT: [&str; 6] = [
    "ppo.kl_coef=0",
    "ppo.learning_rate=0.3",
    "ppo.value_warmup_steps=3",
    "ppo.steps=40",
    "ppo.rollouts=16",
    "guard.kl=20",
];

fn spoilt(done: &Done, newest: &str) {
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("the guard stopped ppo at update 6") && done.err.contains(newest), "{}", done.err);
}

#[test]
fn the_guard_stops_a_policy_that_is_spoilt() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let sets = [&SPOILT[..], &["ppo.max_approx_kl=1e9", "response_length=24", "save_steps=2", "eval_steps=0"]].concat();
    let done = stage(&run, "ppo", &sets, &[]);
    spoilt(&done, "ppo-00000004");
    let lines = objects(&done.out);
    let guarded = events(&lines, "guarded");
    assert_eq!(guarded.len(), 1);
    let at = guarded[0]["step"].as_u64().unwrap();
    assert_eq!(guarded[0]["checkpoint"], "ppo-00000004", "{}", guarded[0]);
    assert_eq!(at, 6, "two updates after the first that was spoilt: {}", guarded[0]);
    assert_eq!(number(steps(&lines).last().unwrap(), "guard/strikes"), 2.0);
    assert!(!checkpoints(&run).iter().any(|n| n == "ppo-00000006"), "what is spoilt is not saved");
    // The guard's state is saved: it stops at the same update after a resume and after an earlier stop.
    let start = json_file(&stage_checkpoint(&run, "ppo", 4).join("state.json"))["guard"].clone();
    assert!(start["start"].is_array(), "{start}");
    spoilt(&stage(&run, "ppo", &sets, &[]), "ppo-00000004");
    let other = rewarded(dir.path(), "other");
    stage(&other, "ppo", &sets, &["--steps", "5"]).good();
    let state = json_file(&stage_checkpoint(&other, "ppo", 5).join("state.json"));
    assert_eq!((&state["guard"]["start"], &state["guard"]["strikes"]), (&start["start"], &json!(1)));
    spoilt(&stage(&other, "ppo", &sets, &[]), "ppo-00000005");
    // With `enabled = false` it measures and does nothing.
    let free = rewarded(dir.path(), "free");
    let sets = [&sets[..], &["guard.enabled=false", "ppo.steps=8"]].concat();
    let lines = stage(&free, "ppo", &sets, &[]).good().objects();
    assert!(number(steps(&lines).last().unwrap(), "guard/strikes") >= 2.0);
}

fn session(run: &Path, name: &str, sets: &[&str]) -> Session {
    let pair = |s: &&str| s.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
    let setup = Setup {
        stage: name.parse().unwrap(),
        sets: sets.iter().map(pair).collect(),
        interactive: true,
        ..Setup::default()
    };
    let mut device = Device::cpu();
    let (opened, config) = open_run(Some(run), &setup, &mut device).unwrap();
    let trainer = Trainer::new(OpenRun::new(opened, device), config, &setup).map_err(|e| e.error).unwrap();
    Session::start(trainer, setup).unwrap()
}

/// Waits for a matching event.
fn until<T>(session: &Session, want: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = session.events.recv_timeout(Duration::from_mins(1)).expect("an event in time");
        if let Event::Finished { reason, .. } = &event
            && reason != "switched"
        {
            panic!("it ended too early: {reason}");
        }
        if let Some(found) = want(event) {
            return found;
        }
    }
}

fn refused(session: &Session, command: Command, words: &str) {
    session.commands.send(command).unwrap();
    let text = until(session, |e| if let Event::Refused { text } = e { Some(text) } else { None });
    assert!(text.contains(words), "{text}");
}

/// In the workbench the stage pauses; it is opened again by name, from its newest checkpoint.
#[test]
fn a_guarded_stage_is_opened_again_from_its_newest_checkpoint() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let sets =
        [&SPOILT[..], &["ppo.max_approx_kl=1e9", "ppo.response_length=24", "ppo.save_steps=2", "ppo.eval_steps=0"]]
            .concat();
    let s = session(&run, "ppo", &sets);
    let at = until(&s, |e| if let Event::Guarded { step, .. } = e { Some(step) } else { None });
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    refused(&s, Command::Resume, "the guard has stopped ppo");
    refused(&s, Command::Save, "the guard has stopped ppo");
    s.commands.send(Command::Stage { stage: StageId::Ppo }).unwrap();
    let resumed = until(&s, |e| if let Event::Started(info) = e { Some(info.resumed_at) } else { None });
    assert_eq!((at, resumed), (6, 4));
    until(&s, |e| matches!(e, Event::Guarded { step: 6, .. }).then_some(()));
    s.commands.send(Command::Stop { save: true }).unwrap();
    while !matches!(s.events.recv_timeout(Duration::from_mins(1)).unwrap(), Event::Finished { .. }) {}
    assert!(!checkpoints(&run).iter().any(|n| n == "ppo-00000006"), "what is spoilt is not saved");
}

// ---- the rollout inspector ----

fn rollout(session: &Session, which: usize) -> RolloutView {
    session.commands.send(Command::ShowRollout { which }).unwrap();
    *until(session, |e| if let Event::Rollout(view) = e { Some(view) } else { None })
}

/// The numbers of an answer's tokens sum to those that the update used.
#[test]
fn a_rollout_is_seen_token_by_token() {
    let dir = scratch();
    for (name, sets) in [("ppo", &PPO[..]), ("grpo", &GRPO[..])] {
        let run = rewarded(dir.path(), name);
        let sets: Vec<String> =
            sets.iter().map(|s| if s.contains("guard") { (*s).to_owned() } else { format!("{name}.{s}") }).collect();
        let s = session(&run, name, &sets.iter().map(String::as_str).collect::<Vec<_>>());
        let mut told = None;
        until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
        for which in 0..8 {
            let view = rollout(&s, which);
            assert_eq!((view.step, view.which, view.of), (6, which, 8));
            assert!(!view.prompt.is_empty() && (1..=8).contains(&view.actions.len()), "{view:?}");
            assert_eq!(view.ended, view.actions.last().unwrap().text == "<|im_end|>", "{view:?}");
            let paid: f64 = view.actions.iter().map(|a| f64::from(a.reward)).sum();
            let kl: f64 = view.actions.iter().map(|a| f64::from(a.logprob) - f64::from(a.reference)).sum();
            if name == "grpo" {
                assert!((paid - view.score).abs() < 1e-4 && view.actions.iter().all(|a| a.value.is_none()));
            } else if kl.abs() > 1e-2 {
                // The same β for all of them.
                let beta = (view.score - paid) / kl;
                let of = *told.get_or_insert(beta);
                assert!(beta > 0.0 && (beta / of - 1.0).abs() < 1e-2, "{beta} and {of}");
            }
            for a in &view.actions {
                assert!(a.logprob <= 0.0 && a.ratio > 0.0 && a.advantage.is_finite(), "{a:?}");
                assert!(!a.clipped || (a.ratio - 1.0).abs() > 0.2, "{a:?}");
                assert_eq!(a.value.is_some(), name == "ppo");
            }
        }
        let far = rollout(&s, 8 + 3);
        assert_eq!(far, rollout(&s, 3));
        s.commands.send(Command::Stop { save: false }).unwrap();
    }
    let run = rewarded(dir.path(), "dpo");
    let s = session(&run, "dpo", &["dpo.steps=2", "dpo.batch_size=4"]);
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    refused(&s, Command::ShowRollout { which: 0 }, "dpo learns from pairs");
    s.commands.send(Command::Stop { save: false }).unwrap();
}

// ---- what does not fit ----

#[test]
fn models_that_do_not_fit_are_refused() {
    let dir = scratch();
    // A reward model with another tokenizer: a replaced file in a checkpoint that verifies otherwise.
    let run = rewarded(dir.path(), "words");
    let folder = stage_checkpoint(&run, "sft", 60);
    let words = fs::read_to_string(folder.join("tokenizer.json")).unwrap();
    let swapped = words.replace("1400", "\0").replace("1401", "1400").replace('\0', "1401");
    common::forge(&folder, "tokenizer.json", swapped.as_bytes());
    let before = files(&run);
    for name in ["ppo", "grpo"] {
        stage(&run, name, &[], &["--steps", "1"]).refused(2, &["the tokenizer of sft-00000060 differs", "id 1400"]);
    }
    assert!(files(&run) == before, "nothing is written");
    // Another shape: of the reference, of the reward model, and of both.
    let run = rewarded(dir.path(), "shape");
    let before = files(&run);
    for name in ["ppo", "grpo", "dpo"] {
        let words =
            [&*format!("{name} starts from a checkpoint of sft"), "differs from the model that run.toml describes"];
        stage(&run, name, &["model.intermediate_size=96"], &["--steps", "1"]).refused(2, &words);
    }
    assert!(files(&run) == before, "nothing is written");
    // No pair left.
    let run = tuned(dir.path(), "pairs");
    let pairs = dir.path().join("pairs.jsonl");
    fs::write(&pairs, given().lines().take(1).collect::<String>() + "\n").unwrap();
    let source = format!("reward.source=[{{name=\"few\",path={:?}}}]", text(&pairs));
    let before = files(&run);
    stage(&run, "dpo", &[&source], &["--steps", "1"]).refused(2, &["pairs are left to train on"]);
    assert!(files(&run) == before, "nothing is written");
}

/// A new stage is listed everywhere.
#[test]
fn siblings_are_listed() {
    let help = danlu(["train", "--help"]);
    assert!(help.out.contains("pretrain, sft, reward, ppo, dpo, grpo"), "{}", help.out);
    let dir = scratch();
    stage(&dir.path().join("none"), "dppo", &[], &[]).refused(2, &["pretrain, sft, reward, ppo, dpo, grpo"]);
    let (a, b) = (rewarded(dir.path(), "a"), rewarded(dir.path(), "b"));
    stage(&a, "dpo", &DPO, &[]).good();
    stage(&b, "dpo", &DPO, &[]).good();
    same(&a, &b, "dpo", 12, "twice");
    let ask = ["generate", "--run", &text(&a), "--chat", "--prompt", "你好", "--temperature", "0", "--json"];
    let of = |more: &[&str]| danlu([&ask[..], more].concat()).object();
    assert_eq!(of(&[]), of(&["--stage", "dpo"]));
}

/// A batch of a stage that draws by it from its first step waits until the stage is opened again, which marks it.
#[test]
fn a_batch_that_opens_the_stage_again_is_marked() {
    let dir = scratch();
    let run = tuned(dir.path(), "run");
    // A new batch may not come from an option.
    let sets: Vec<&str> = DPO.into_iter().filter(|set| !set.starts_with("batch_size")).collect();
    let s = session(&run, "dpo", &[&sets[..], &["steps=100000"]].concat());
    until(&s, |e| matches!(e, Event::Steps(_)).then_some(()));
    s.commands.send(Command::Pause).unwrap();
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    s.commands.send(Command::Set { key: "batch_size".to_owned(), value: "3".to_owned() }).unwrap();
    until(&s, |e| matches!(e, Event::Set { waits: true, .. }).then_some(()));
    s.commands.send(Command::Reopen).unwrap();
    let edit = until(&s, |e| if let Event::Edited(edit) = e { Some(edit) } else { None });
    assert!(edit.text.starts_with("dpo.batch_size ") && edit.text.ends_with(" → 3"), "{edit:?}");
    let (resumed, batch) =
        until(&s, |e| if let Event::Started(info) = e { Some((info.resumed_at, info.batch)) } else { None });
    assert_eq!((edit.step, batch), (resumed + 1, 3));
    // Its user had paused it.
    let waits = until(&s, |e| match e {
        Event::Paused { step } => Some(step),
        Event::Steps(steps) => panic!("{steps:?}"),
        _ => None,
    });
    assert_eq!(waits, resumed);
    let line = objects(&fs::read_to_string(run.join("edits.jsonl")).unwrap()).pop().unwrap();
    assert_eq!((&line["set"], &line["step"]), (&json!(["dpo.batch_size", "3"]), &json!(resumed)));
    s.commands.send(Command::Stop { save: false }).unwrap();
    while s.events.recv_timeout(Duration::from_mins(1)).is_ok() {}
}

/// Before its first checkpoint only the trainer knows what a stage began from and learns from.
#[test]
fn what_the_open_stage_learns_from_is_not_deleted() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let there = checkpoints(&run);
    let s = session(&run, "ppo", &[&PPO[..], &["steps=100000", "save_steps=0"]].concat());
    until(&s, |e| matches!(e, Event::Steps(_)).then_some(()));
    let newest = |stage: &str| there.iter().rfind(|name| name.starts_with(stage)).cloned().unwrap();
    for checkpoint in [newest("reward-"), newest("sft-")] {
        let care = Care::RemoveCheckpoint { run: run.clone(), checkpoint };
        refused(&s, Command::Care(care), "began from it or learns from it");
    }
    assert_eq!(checkpoints(&run), there);
    s.commands.send(Command::Stop { save: false }).unwrap();
    while s.events.recv_timeout(Duration::from_mins(1)).is_ok() {}
}

/// A rate that is lowered while the guard has stopped the stage is for the updates that are repeated: with the rate of
/// before they would end at the guard again.
#[test]
fn a_rate_that_is_lowered_at_the_guard_is_used_from_the_checkpoint_on() {
    let dir = scratch();
    let run = rewarded(dir.path(), "run");
    let rate = "ppo.learning_rate=0.3";
    let options: Vec<&str> = SPOILT.into_iter().filter(|set| *set != rate).collect();
    let more = ["ppo.max_approx_kl=1e9", "ppo.response_length=24", "ppo.save_steps=2", "ppo.eval_steps=0"];
    let s = session(&run, "ppo", &[&options[..], &more].concat());
    let set = |value: &str| {
        s.commands.send(Command::Set { key: "learning_rate".to_owned(), value: value.to_owned() }).unwrap();
        until(&s, |e| matches!(e, Event::Edited(_)).then_some(()));
    };
    until(&s, |e| matches!(e, Event::Started(_)).then_some(()));
    set("0.3");
    let at = until(&s, |e| if let Event::Guarded { step, .. } = e { Some(step) } else { None });
    until(&s, |e| matches!(e, Event::Paused { .. }).then_some(()));
    set("1e-6");
    s.commands.send(Command::Stage { stage: StageId::Ppo }).unwrap();
    let resumed = until(&s, |e| if let Event::Started(info) = e { Some(info.resumed_at) } else { None });
    assert!(0 < resumed && resumed < at, "{resumed} {at}");
    let most = std::cell::Cell::new(0.0_f64);
    until(&s, |e| {
        assert!(!matches!(e, Event::Guarded { step, .. } if step <= at), "the same updates were repeated");
        let Event::Steps(steps) = e else { return None };
        most.set(steps.iter().map(|l| l.learning_rate).fold(most.get(), f64::max));
        steps.iter().any(|l| l.step >= at).then_some(())
    });
    assert!(most.get() <= 1e-6, "{}", most.get());
    s.commands.send(Command::Stop { save: false }).unwrap();
    while s.events.recv_timeout(Duration::from_mins(1)).is_ok() {}
}
