//! A training that another process does, on the screen as it grows: danlu's own logs, those of Trainer and TRL, and
//! streams; the probes of its checkpoints; and nothing written.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::Command as Process,
    time::Duration,
};

use common::{danlu, pty::Pty, scratch, snapshot, text, train};
use danlu::{
    base::StageId,
    compute::{Device, Opening},
    protocol::{Command, Event, Follows, Past, RunInfo, StepReport, Watching},
    session::Session,
    store::RealFs,
    train::watch::{Watched, Watcher},
};
use portable_pty::CommandBuilder;
use serde_json::{Value, json};

const SETS: [&str; 5] = ["steps=12", "save_steps=4", "eval_steps=4", "probe_steps=4", "learning_rate=3e-3"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/watch").join(name)
}

fn watcher(path: &Path) -> Watcher {
    Watcher::new(Watched::open(RealFs::shared(), path).unwrap(), None, None).unwrap()
}

/// Everything that there is to read now.
fn read(watcher: &mut Watcher) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let (events, whole) = watcher.advance();
        all.extend(events);
        if whole {
            return all;
        }
    }
}

/// What a log holds when it is opened.
fn opened(path: &Path) -> (RunInfo, Past, Vec<Event>) {
    first(read(&mut watcher(path)))
}

fn first(events: Vec<Event>) -> (RunInfo, Past, Vec<Event>) {
    let mut events = events.into_iter();
    let Some(Event::Started(info)) = events.next() else { panic!("a start") };
    let Some(Event::Past(past)) = events.next() else { panic!("the past") };
    (*info, *past, events.collect())
}

fn follows(events: &[Event]) -> Option<&Watching> {
    events.iter().rev().find_map(|event| if let Event::Watching(watching) = event { Some(watching) } else { None })
}

fn notes(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| if let Event::Note { text, .. } = event { Some(text.as_str()) } else { None })
        .collect()
}

fn metric(step: &StepReport, name: &str) -> Option<f64> {
    step.extra.iter().find(|metric| metric.0 == name).map(|metric| metric.1)
}

/// Steps that are sent, in order; a past that is sent again replaces them.
fn steps(events: &[Event]) -> Vec<(usize, f64)> {
    let mut steps = Vec::new();
    for event in events {
        match event {
            Event::Steps(new) => steps.extend(new.iter().map(|s| (s.step, s.loss))),
            Event::Past(past) => steps = past.stages[0].steps.iter().map(|s| (s.step, s.loss)).collect(),
            _ => {}
        }
    }
    steps
}

fn append(path: &Path, text: &str) {
    fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn line(step: usize, loss: f64) -> String {
    json!({"step": step, "loss": loss, "learning_rate": 1e-4}).to_string() + "\n"
}

fn danlus(step: usize, loss: f64) -> String {
    json!({"stage": "sft", "time": 1000.0 + step as f64, "step": step, "loss": loss, "learning_rate": 1e-4, "grad_norm": 1.0,
        "applied": true, "tokens_per_second": 100.0, "total_tokens": 50 * step, "epoch": 0.1, "step_ms": 500.0})
    .to_string()
        + "\n"
}

#[test]
fn the_log_history_of_a_trainer_state_is_mapped() {
    let (info, past, rest) = opened(&fixture("trainer_state.json"));
    assert_eq!((info.stage, info.steps, info.resumed_at, info.read_only), (StageId::Pretrain, 80, 40, true));
    let stage = &past.stages[0];
    let all: Vec<_> = stage.steps.iter().map(|s| (s.step, s.grad_norm, s.total_tokens, s.epoch)).collect();
    assert_eq!(all, [(10, 1.1, 20_480, 0.25), (20, 1.2, 40_960, 0.5), (30, 1.3, 61_440, 0.75), (40, 1.4, 81_920, 1.0)]);
    // A NaN that was logged is one; what was not logged is absent.
    let last = &stage.steps[3];
    assert!(last.loss.is_nan() && !last.absent.loss && last.absent.step_ms && last.absent.tokens_per_second);
    let evals: Vec<_> = stage.events.iter().map(|line| &line.record).collect();
    assert!(matches!(
        evals[..],
        [Event::Eval { step: 20, eval_loss: 4.5, .. }, Event::Eval { step: 40, eval_loss: 3.375, .. }]
    ));
    assert!(matches!(follows(&rest).unwrap().state, Follows::Over { step: 40, failed: false, .. }));
    assert!(notes(&rest).iter().any(|text| text.contains("--stage")), "what is trained is not known");
}

#[test]
fn the_logs_of_trl_are_mapped_and_show_their_stage() {
    let (info, past, _) = opened(&fixture("sft.jsonl"));
    assert_eq!((info.stage, info.chat), (StageId::Sft, true));
    let sft = &past.stages[0].steps;
    assert_eq!(
        sft.iter().map(|s| (s.step, s.loss, s.total_tokens)).collect::<Vec<_>>(),
        [(10, 2.5, 5000), (20, 2.25, 10_000), (30, 2.0, 15_000)]
    );
    assert_eq!((metric(&sft[2], "entropy"), metric(&sft[2], "mean_token_accuracy")), (Some(1.25), Some(0.6)));
    assert_eq!(metric(&sft[2], "num_tokens"), None, "it is not kept as a metric");
    let names: Vec<_> = info.sources.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["wiki", "poems"]);
    assert!(info.sources.iter().all(|s| s.weight.is_nan()), "no share is invented");

    let (info, past, _) = opened(&fixture("dpo.jsonl"));
    let last = past.stages[0].steps.last().unwrap();
    assert_eq!((info.stage, last.step, last.loss), (StageId::Dpo, 15, 0.5931));
    for (name, value) in
        [("rewards/chosen", 0.02), ("rewards/margins", 0.06), ("logps/rejected", -98.25), ("logits/chosen", -1.5)]
    {
        assert_eq!(metric(last, name), Some(value), "{name}");
    }

    let (info, past, _) = opened(&fixture("grpo.jsonl"));
    let last = past.stages[0].steps.last().unwrap();
    assert_eq!((info.stage, last.step, last.step_ms, last.total_tokens), (StageId::Grpo, 3, 2000.0, 12_288));
    assert_eq!(last.tokens_per_second, 2048.0, "4096 tokens in a step of 2 s");
    for (name, value) in [("reward", 0.7), ("reward_std", 0.2), ("kl", 0.02), ("completions/mean_length", 32.5)] {
        assert_eq!(metric(last, name), Some(value), "{name}");
    }

    let (info, past, _) = opened(&fixture("ppo.jsonl"));
    let last = past.stages[0].steps.last().unwrap();
    assert_eq!((info.stage, last.step, last.learning_rate), (StageId::Ppo, 3, 3e-6));
    assert!(last.absent.loss && last.absent.grad_norm && last.absent.total_tokens);
    for (name, value) in
        [("objective/kl", 1.0), ("objective/scores", 0.5), ("policy/approxkl_avg", 0.002), ("val/ratio", 1.0)]
    {
        assert_eq!(metric(last, name), Some(value), "{name}");
    }
}

#[test]
fn what_trainer_prints_is_read_and_the_rest_is_counted() {
    let (info, past, rest) = opened(&fixture("stdout.txt"));
    assert_eq!(info.steps, 60, "from the progress bar");
    let steps: Vec<_> = past.stages[0].steps.iter().map(|s| (s.step, s.loss, s.grad_norm.is_nan())).collect();
    assert_eq!(steps, [(10, 2.5, false), (20, 2.0, true), (30, 1.75, false)]);
    let evals: Vec<_> = past.stages[0].events.iter().map(|line| &line.record).collect();
    assert!(matches!(evals[..], [Event::Eval { step: 20, eval_loss: 2.125, .. }]), "{evals:?}");
    let watching = follows(&rest).unwrap();
    assert_eq!(watching.passed, 3);
    assert!(matches!(watching.state, Follows::Over { step: 30, .. }));
}

/// Written in any pieces, every line counts once.
#[test]
fn a_log_that_arrives_in_pieces_is_read_whole() {
    let whole = fs::read(fixture("dpo.jsonl")).unwrap();
    let expected = opened(&fixture("dpo.jsonl")).1.stages[0].steps.clone();
    for size in [1, 7, 64, 300] {
        let dir = scratch();
        let path = dir.path().join("log.jsonl");
        // Enough for a line, by which the log is recognised.
        let head = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
        fs::write(&path, &whole[..head]).unwrap();
        let mut watcher = watcher(&path);
        let (_, past, _) = first(read(&mut watcher));
        let mut got = past.stages[0].steps.clone();
        for piece in whole[head..].chunks(size) {
            append(&path, std::str::from_utf8(piece).unwrap());
            for event in read(&mut watcher) {
                if let Event::Steps(new) = event {
                    got.extend(new);
                }
            }
        }
        // A figure that is absent is NaN, which is not equal to itself.
        assert_eq!(format!("{got:?}"), format!("{expected:?}"), "in pieces of {size}");
    }
}

#[test]
fn rotation_truncation_and_a_resume_are_no_errors_and_repeat_no_step() {
    let dir = scratch();
    let path = dir.path().join("log.jsonl");
    fs::write(&path, (1..=4).map(|at| line(at, at as f64)).collect::<String>()).unwrap();
    let mut watcher = watcher(&path);
    assert_eq!(steps(&read(&mut watcher)), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
    // Rotated: another file, with what follows.
    fs::rename(&path, dir.path().join("log.jsonl.1")).unwrap();
    assert_eq!(steps(&read(&mut watcher)), []);
    fs::write(&path, line(5, 5.0)).unwrap();
    assert_eq!(steps(&read(&mut watcher)), [(5, 5.0)]);
    // Replaced atomically by a file with every line, and one more.
    let all: String = (1..=6).map(|at| line(at, at as f64)).collect();
    fs::write(dir.path().join("new"), all).unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_eq!(steps(&read(&mut watcher)), [(6, 6.0)]);
    // Cut, and written from the start: the lines are known.
    fs::write(&path, (1..=3).map(|at| line(at, at as f64)).collect::<String>()).unwrap();
    assert_eq!(steps(&read(&mut watcher)), []);
    // Resumed from step 3: the curve is cut.
    append(&path, &line(4, 40.0));
    append(&path, &line(5, 50.0));
    let events = read(&mut watcher);
    assert!(matches!(&events[0], Event::Past(past) if past.log.is_none()), "{events:?}");
    assert_eq!(steps(&events), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0)]);
    fs::remove_file(&path).unwrap();
    let events = read(&mut watcher);
    assert!(notes(&events).is_empty() && steps(&events).is_empty(), "{events:?}");
}

/// trainer_state.json is written again as a whole with every checkpoint; half of one is none.
#[test]
fn a_state_that_is_rewritten_adds_what_is_new() {
    let dir = scratch();
    let hf = dir.path().join("hf");
    common::copy_all(&fixture("hf/checkpoint-20"), &hf.join("checkpoint-20"));
    let mut watcher = watcher(&hf);
    let events = read(&mut watcher);
    assert_eq!(steps(&events), [(10, 5.5), (20, 4.25)]);
    let saved = |events: &[Event]| -> Vec<usize> {
        events.iter().filter_map(|e| if let Event::Saved { step, .. } = e { Some(*step) } else { None }).collect()
    };
    assert_eq!(saved(&events), [20]);
    let whole = fs::read_to_string(fixture("hf/checkpoint-40/trainer_state.json")).unwrap();
    let newer = hf.join("checkpoint-40");
    fs::create_dir(&newer).unwrap();
    fs::write(newer.join("trainer_state.json"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(steps(&read(&mut watcher)), []);
    fs::write(newer.join("new"), &whole).unwrap();
    fs::rename(newer.join("new"), newer.join("trainer_state.json")).unwrap();
    let mut events = read(&mut watcher);
    assert_eq!(steps(&events), [(30, 3.5), (40, 3.125)]);
    // Folders are listed once a second.
    while saved(&events).is_empty() {
        std::thread::sleep(Duration::from_millis(50));
        events.extend(read(&mut watcher));
    }
    assert_eq!(saved(&events), [40]);
    // An older checkpoint that is removed takes nothing back.
    fs::remove_dir_all(hf.join("checkpoint-20")).unwrap();
    assert_eq!(steps(&read(&mut watcher)), []);
}

/// A metrics.jsonl beside checkpoints of Trainer may be any tool's; with danlu's events it is danlu's.
#[test]
fn a_folder_is_what_most_of_its_files_say() {
    let dir = scratch();
    let hf = dir.path().join("hf");
    common::copy_all(&fixture("hf"), &hf);
    fs::write(hf.join("metrics.jsonl"), "{\"made\": \"by another tool\"}\n").unwrap();
    assert_eq!(steps(&read(&mut watcher(&hf))).len(), 4);
    fs::write(hf.join("events.jsonl"), "").unwrap();
    fs::write(hf.join("metrics.jsonl"), danlus(1, 2.0)).unwrap();
    assert_eq!(steps(&read(&mut watcher(&hf))), [(1, 2.0)]);
    // One file alone has its own name.
    assert_eq!(opened(&fixture("dpo.jsonl")).0.name, "dpo.jsonl");
}

/// danlu's own lines in two files; a launch says from which step it resumes.
#[test]
fn a_launch_cuts_the_curve_and_a_finish_ends_it() {
    let dir = scratch();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let event = |name: &str, time: f64, fields: Value| {
        let mut line = json!({"stage": "sft", "time": time, "event": name});
        line.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        append(&out.join("events.jsonl"), &(line.to_string() + "\n"));
    };
    let launch = |time: f64, step: usize| {
        event(
            "started",
            time,
            json!({"run": "r", "size": "1m", "batch": 4, "context": 8, "steps": 20, "step": step, "sources": []}),
        );
    };
    launch(1000.5, 0);
    (1..=6).for_each(|at| append(&out.join("metrics.jsonl"), &danlus(at, at as f64)));
    let mut watcher = watcher(&out);
    let (info, past, rest) = first(read(&mut watcher));
    assert_eq!((info.name.as_str(), info.steps, info.resumed_at, past.stages[0].steps.len()), ("r", 20, 6, 6));
    assert_eq!(follows(&rest).unwrap().newest, Some(1006.0));
    // The seconds of a checkpoint that another trainer did not measure are no reason to drop the line.
    event(
        "saved",
        1006.2,
        json!({"step": 6, "path": "out/checkpoint-6", "seconds": null, "bytes": null, "best": false}),
    );
    assert!(read(&mut watcher).iter().any(|e| matches!(e, Event::Saved { step: 6, .. })));
    launch(1006.5, 4);
    let events = read(&mut watcher);
    assert!(matches!(&events[0], Event::Started(info) if info.resumed_at == 4), "{events:?}");
    assert_eq!(steps(&events), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
    // The steps after it, repeated.
    let again = danlus(5, 55.0).replace("1005.0", "1007.0");
    append(&out.join("metrics.jsonl"), &again);
    assert_eq!(steps(&read(&mut watcher)), [(5, 55.0)]);
    event("finished", 1008.0, json!({"step": 5, "reason": "stopped", "failed": false, "seconds": 2.5}));
    let state = follows(&read(&mut watcher)).unwrap().state.clone();
    assert_eq!(state, Follows::Over { step: 5, reason: "stopped".to_owned(), failed: false });
}

#[test]
fn a_stream_carries_metrics_and_events_and_its_end_is_said() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let stream: Box<dyn Read + Send> = Box::new(reader);
    let mut watcher = Watcher::new(Watched::stream(RealFs::shared()), None, Some(stream)).unwrap();
    let events = read(&mut watcher);
    assert_eq!(follows(&events).unwrap().state, Follows::Awaited);
    let launch =
        json!({"stage": "sft", "time": 1000.5, "event": "started", "run": "far", "steps": 9, "step": 0, "sources": []});
    // The lines of steps come before those of the launch that they follow: nothing is cut.
    writeln!(writer, "==> out/metrics.jsonl <==\n{}==> out/events.jsonl <==\n{launch}", danlus(1, 2.0)).unwrap();
    let mut wait = |until: &dyn Fn(&[Event]) -> bool| -> Vec<Event> {
        let mut events = Vec::new();
        while !until(&events) {
            std::thread::sleep(Duration::from_millis(5));
            events.extend(read(&mut watcher));
        }
        events
    };
    let events = wait(&|events| events.iter().any(|e| matches!(e, Event::Started(info) if info.name == "far")));
    assert_eq!(steps(&events), [(1, 2.0)], "{events:?}");
    let second = danlus(2, 1.5);
    let (part, rest) = second.split_at(30);
    write!(writer, "{part}").unwrap();
    writer.flush().unwrap();
    write!(writer, "{rest}{}", danlus(3, 1.25).trim_end()).unwrap();
    drop(writer);
    let events = wait(&|events| follows(events).is_some_and(|w| w.state == Follows::Ended));
    assert_eq!(steps(&events), [(2, 1.5), (3, 1.25)], "the last line needs no end");
    assert_eq!(follows(&events).unwrap().passed, 2);
    assert_eq!(notes(&events), ["the stream has ended"]);
}

/// The model's files of a checkpoint, as Trainer leaves them.
fn as_trainer_saves(checkpoint: &Path, to: &Path, weights: bool) {
    fs::create_dir_all(to).unwrap();
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(checkpoint.join(name), to.join(name)).unwrap();
    }
    if weights {
        fs::copy(checkpoint.join("model.safetensors"), to.join("model.safetensors")).unwrap();
    }
    fs::copy(fixture("hf/checkpoint-20/trainer_state.json"), to.join("trainer_state.json")).unwrap();
}

fn session(path: &Path) -> Session {
    let device = Device::open_with("cpu", Opening::default()).unwrap();
    Session::watch(watcher(path), device).unwrap()
}

fn probe_of(event: &Event) -> Option<(usize, String, String)> {
    match event {
        Event::Probe { step, prompt, text, .. } => Some((*step, prompt.clone(), text.clone())),
        _ => None,
    }
}

/// A checkpoint that appears, at first without its weights: its probes are those that its trainer completed.
#[test]
fn the_probes_of_a_checkpoint_that_appears_are_completed() {
    let dir = scratch();
    let run = dir.path().join("a");
    train(&run, &SETS, &[]).good();
    let logged = |step: usize| -> Vec<(String, String)> {
        let lines = common::objects(&fs::read_to_string(run.join("events.jsonl")).unwrap());
        let of = lines.iter().filter(|l| l["event"] == "probe" && l["step"] == step);
        of.map(|l| (l["prompt"].as_str().unwrap().to_owned(), l["text"].as_str().unwrap().to_owned())).collect()
    };
    let hf = dir.path().join("hf");
    as_trainer_saves(&common::checkpoint(&run, 8), &hf.join("checkpoint-8"), false);
    let session = session(&hf);
    let next = || session.events.recv_timeout(Duration::from_mins(1)).expect("an event");
    assert!(
        matches!(next(), Event::Started(info) if info.layers == 1 && info.hidden_size == 32 && info.parameters > 1000)
    );
    fs::copy(common::checkpoint(&run, 8).join("model.safetensors"), hf.join("checkpoint-8/part")).unwrap();
    fs::rename(hf.join("checkpoint-8/part"), hf.join("checkpoint-8/model.safetensors")).unwrap();
    let completed = |step: usize| {
        let mut probes = Vec::new();
        while probes.len() < 2 {
            probes.extend(probe_of(&next()).map(|(at, prompt, text)| {
                assert_eq!(at, step);
                (prompt, text)
            }));
        }
        probes.sort();
        probes
    };
    let sorted = |mut probes: Vec<(String, String)>| {
        probes.sort();
        probes
    };
    assert_eq!(completed(8), sorted(logged(8)));
    as_trainer_saves(&common::checkpoint(&run, 12), &hf.join("checkpoint-12"), true);
    assert_eq!(completed(12), sorted(logged(12)));
}

/// A checkpoint that cannot be read is tried again, and said once.
#[test]
fn a_checkpoint_that_cannot_be_read_is_said_once() {
    let dir = scratch();
    let hf = dir.path().join("hf");
    for step in [10, 20] {
        common::copy_all(&fixture("hf/checkpoint-20"), &hf.join(format!("checkpoint-{step}")));
        fs::write(hf.join(format!("checkpoint-{step}/config.json")), r#"{"model_type": "gpt2", "n_layer": 2}"#)
            .unwrap();
    }
    let session = session(&hf);
    let next = || session.events.recv_timeout(Duration::from_mins(1)).expect("an event");
    let said = loop {
        if let Event::Note { text, .. } = next()
            && text.contains("probes")
        {
            break text;
        }
    };
    assert!(said.contains("step 20") && said.contains("config.json"), "{said}");
    // The other one has the same reason. An answer comes after everything that was said before it.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1500));
        session.commands.send(Command::ShowRuns).unwrap();
        loop {
            match next() {
                Event::Refused { text } => {
                    assert!(text.contains("only watched"), "{text}");
                    break;
                }
                Event::Note { text, .. } => assert!(!text.contains("probes"), "{text}"),
                _ => {}
            }
        }
    }
}

/// Commands that would act are refused in a sentence; an export goes elsewhere.
#[test]
fn nothing_is_written_into_what_is_watched() {
    let dir = scratch();
    let hf = dir.path().join("hf");
    common::copy_all(&fixture("hf"), &hf);
    let before = snapshot(&hf);
    let session = session(&hf);
    let answer = |command: Command| {
        session.commands.send(command).unwrap();
        loop {
            match session.events.recv_timeout(Duration::from_mins(1)).expect("an event") {
                Event::Refused { text } => return Err(text),
                Event::Exported { path } => return Ok(path),
                _ => {}
            }
        }
    };
    for command in
        [Command::Pause, Command::Save, Command::Probe, Command::Stage { stage: StageId::Sft }, Command::Reread]
    {
        assert!(answer(command).unwrap_err().contains("only watched"));
    }
    let export =
        |path: PathBuf| Command::Export { name: "x.txt".to_owned(), path: Some(path), bytes: b"text".to_vec() };
    for inside in [hf.join("x.txt"), hf.join("checkpoint-20/x.txt"), dir.path().join("hf/../hf/x.txt")] {
        assert!(answer(export(inside)).unwrap_err().contains("elsewhere"));
    }
    let path = dir.path().join("x.txt");
    assert_eq!(answer(export(path.clone())), Ok(path.clone()));
    assert_eq!(fs::read(&path).unwrap(), b"text");
    assert!(answer(export(path)).unwrap_err().contains("exists"));
    session.commands.send(Command::Stop { save: true }).unwrap();
    let last = session.events.iter().last();
    assert!(matches!(&last, Some(Event::Finished { reason, failed: false, .. }) if reason == "stopped"), "{last:?}");
    assert!(snapshot(&hf) == before, "the folder was written to");
}

fn on_screen(args: &[&str], cwd: Option<&Path>) -> Pty {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
    command.args(["--lang", "en", "watch"]);
    command.args(args);
    if let Some(cwd) = cwd {
        command.cwd(cwd);
    }
    Pty::spawn(command, &[], true)
}

/// A run that another process trains, watched from before its first line on.
#[test]
fn a_run_is_watched_while_another_process_trains_it() {
    let dir = scratch();
    let run = dir.path().join("runs/a");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("run.toml"), "").unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut pty = on_screen(&[&text(&run)], Some(&elsewhere));
    pty.wait_for("no process trains this run");
    train(&run, &SETS, &[]).good();
    let after = snapshot(&run);
    pty.wait_for("step 12 / 12");
    pty.wait_for("stage finished: done");
    pty.send(b"g");
    pty.wait_for("watching, read only: another process trains");
    pty.send(b"R");
    pty.wait_for("film  step 0");
    pty.send(b"\x1b");
    pty.until("the film to close", |pty| !pty.contents().contains("film  step"));
    pty.send(b"E\r");
    pty.wait_for("exported");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    // Trained further: the screen follows.
    train(&run, &SETS, &["--steps", "15"]).good();
    pty.wait_for("step 15 / 15");
    let trained = snapshot(&run);
    assert!(after != trained);
    pty.send(b"q");
    let shell = pty.gives_back(0);
    assert!(shell.contains("step 15 / 15") && !shell.contains("unsaved"), "{shell}");
    assert!(snapshot(&run) == trained, "the run was written to");
}

/// The folder that `danlu export --for trl` makes, while its script writes.
#[test]
fn an_exported_stage_is_watched_while_it_grows() {
    let dir = scratch();
    let run = dir.path().join("a");
    train(&run, &SETS, &[]).good();
    let home = dir.path().join("OUT");
    fs::create_dir(&home).unwrap();
    let plan = json!({"steps": 8, "batch_size": 4, "accumulation": 2, "context": 32, "learning_rate": 1e-3});
    let handover = json!({"format": 1, "run": "poems", "stage": "pretrain", "size": "1m", "seed": 0, "parent": null, "plan": plan});
    fs::write(home.join("handover.json"), handover.to_string()).unwrap();
    as_trainer_saves(&common::checkpoint(&run, 4), &home.join("model"), true);
    let mut pty = on_screen(&[&text(&home)], None);
    pty.wait_for("waiting for the first line");
    let out = home.join("out");
    fs::create_dir(&out).unwrap();
    let log = |at: usize| append(&out.join("metrics.jsonl"), &danlus(at, 3.0).replace("sft", "pretrain"));
    (1..=3).for_each(log);
    pty.wait_for("step 3 / 8");
    pty.wait_for("batch 8 \u{d7} 32");
    // Without a tokenizer, at the step that its description names.
    let checkpoint = out.join("checkpoint-1");
    as_trainer_saves(&common::checkpoint(&run, 4), &checkpoint, true);
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::remove_file(checkpoint.join(name)).unwrap();
    }
    fs::write(checkpoint.join("handover.json"), json!({"result": {"step": 3}}).to_string()).unwrap();
    pty.wait_for("recall  step 3");
    log(4);
    pty.wait_for("step 4 / 8");
    for path in [out.clone(), out.join("metrics.jsonl")] {
        let mut other = on_screen(&[&text(&path)], None);
        other.wait_for("step 4 / 8");
        other.send(b"q");
        other.gives_back(0);
    }
    pty.send(b"q");
    pty.gives_back(0);
}

/// A log on standard input: the keys still come from the terminal.
#[test]
fn a_stream_on_standard_input_leaves_the_keys_to_the_terminal() {
    let dir = scratch();
    let fifo = dir.path().join("fifo");
    assert!(Process::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", "exec \"$0\" --lang en watch - < \"$1\"", env!("CARGO_BIN_EXE_danlu"), &text(&fifo)]);
    let mut pty = Pty::spawn(command, &[], true);
    let mut writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    pty.wait_for("waiting for the first line");
    writeln!(writer, "Some warning.\n{{'loss': 2.5, 'learning_rate': 1e-4, 'epoch': 0.1}}").unwrap();
    writeln!(writer, " 10%|x   | 10/100 [00:05<00:45,  2.00it/s]").unwrap();
    pty.wait_for("step 10 / 100");
    pty.wait_for("1 other lines");
    pty.send(b"w");
    pty.wait_for("watching, read only: another process trains");
    pty.send(b"?");
    pty.wait_for("from the crosshair to the log");
    pty.send(b"\x1b");
    drop(writer);
    pty.wait_for("stream ended");
    pty.send(b"c");
    pty.wait_for("raw 2.500");
    pty.send(b"q");
    let shell = pty.gives_back(0);
    assert!(shell.contains("step 10 / 100"), "{shell}");
}

#[test]
fn a_path_that_cannot_be_watched_is_refused_in_a_sentence() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("empty.jsonl"), "").unwrap();
    fs::write(at("notes.txt"), "loss is a word here\n{not: json}\n").unwrap();
    fs::write(at("other.jsonl"), "{\"prompt\": \"a\", \"completion\": \"b\"}\n").unwrap();
    fs::write(at("weights.bin"), [0xff, 0xfe, 0, 1, 2, b'{', 0, b'}', b'\n']).unwrap();
    fs::write(at("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    fs::write(at("half.json"), "{\"log_history\": [{\"step\": 1,").unwrap();
    fs::create_dir(at("nothing")).unwrap();
    for (name, handover) in [("broken", "{"), ("stage", "{\"stage\": \"bake\", \"plan\": {}}"), ("none", "[]")] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("handover.json"), handover).unwrap();
    }
    fs::create_dir(at("run")).unwrap();
    fs::write(at("run/run.toml"), "").unwrap();
    let before = snapshot(dir.path());
    for (name, words) in [
        ("gone", &["gone", "no such file or folder", "expected a run"][..]),
        ("gone/metrics.jsonl", &["no such file or folder"]),
        ("empty.jsonl", &["empty.jsonl", "the file is empty"]),
        ("notes.txt", &["no line of the file is a training log's"]),
        ("other.jsonl", &["no line of the file is a training log's"]),
        ("weights.bin", &["no line of the file is a training log's"]),
        ("config.json", &["no log_history"]),
        ("half.json", &["no log_history"]),
        ("nothing", &["the folder holds no training", "trainer_state.json"]),
        ("broken", &["handover.json", "no JSON object", "danlu export"]),
        ("none", &["handover.json", "no JSON object"]),
        ("stage", &["handover.json", "\"bake\"", "pretrain, sft"]),
        // Good, but without a terminal.
        ("run", &["needs a terminal", "danlu train"]),
    ] {
        danlu(["watch", &text(&at(name))]).refused(2, words);
    }
    danlu(["watch", "/dev/null"]).refused(2, &["neither a file nor a folder"]);
    danlu(["watch", "-"]).refused(2, &["needs a terminal"]);
    danlu(["watch", &text(&at("run")), "--stage", "bake"]).refused(2, &["bake"]);
    danlu(["watch"]).refused(2, &[]);
    assert!(snapshot(dir.path()) == before, "something was written");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
    command.args(["watch", "-"]);
    let shell = Pty::spawn(command, &[], true).gives_back(2);
    assert!(shell.contains("which is the terminal"), "{shell}");
}
