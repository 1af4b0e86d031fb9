//! The opening of a stage says what takes long, and can be given up at any of these places.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering},
};

use common::{
    TINY, counting,
    launch::setup,
    scratch, stage_checkpoint, tensors,
    texts::{jsonl, lines},
};
use danlu::{
    compute::Device,
    protocol::{Preparation, Progress, Work},
    store::RunView,
    train::{OpenRun, Setup, TrainError, Trainer, open_run},
};

/// A run with text of its own, never opened.
fn with_text(dir: &Path, name: &str) -> PathBuf {
    let run = dir.join(name);
    fs::create_dir_all(&run).unwrap();
    let poem = |i: u32| lines(i, 300).map(|line| line + "，").concat();
    fs::write(run.join("text.jsonl"), jsonl((0..40).map(poem))).unwrap();
    fs::write(run.join("run.toml"), "size = \"1m\"\n\n[[source]]\nname = \"text\"\npath = \"text.jsonl\"\n").unwrap();
    run
}

/// Opens a stage.
fn opened(run: &Path, setup: &Setup) -> Result<Trainer, TrainError> {
    let mut device = Device::cpu();
    let (open, config) = open_run(Some(run), setup, &mut device)?;
    Trainer::new(OpenRun::new(open, device), config, setup).map_err(|unready| unready.error)
}

/// The work that the opening of a stage reports; `until` the first of this kind, at which it is given up.
fn reported(run: &Path, plain: &Setup, until: Option<Work>) -> (Vec<Preparation>, Result<(), TrainError>) {
    let seen: Arc<Mutex<Vec<Preparation>>> = Arc::default();
    let mut setup = plain.clone();
    let (sink, back) = (Arc::clone(&seen), Arc::clone(&setup.back));
    back.store(false, Ordering::Release);
    setup.progress = Progress::to(move |preparation| {
        sink.lock().unwrap().push(preparation);
        if Some(preparation.work) == until {
            back.store(true, Ordering::Release);
        }
    });
    let result = opened(run, &setup).map(drop);
    let seen = seen.lock().unwrap().clone();
    (seen, result)
}

fn kinds(seen: &[Preparation]) -> Vec<Work> {
    let mut kinds: Vec<Work> = seen.iter().map(|p| p.work).collect();
    kinds.dedup();
    kinds
}

#[test]
fn the_reading_of_text_is_reported_and_given_up_anywhere() {
    let dir = scratch();
    let setup = setup("pretrain", TINY.iter().chain(&["steps=4", "save_steps=0"]));
    let all = [Work::Hash, Work::Clean, Work::Select, Work::Tokenizer, Work::Tokenize];
    let run = with_text(dir.path(), "run");
    for work in all {
        let (seen, result) = reported(&run, &setup, Some(work));
        assert!(matches!(result, Err(TrainError::Stopped)), "{work:?}: {:?}", result.err());
        assert_eq!(kinds(&seen).last(), Some(&work));
        assert!(
            !run.join("data/tokenizer.json").exists() && !run.join("checkpoints").join("pretrain-00000000").exists()
        );
        let names = |p: &fs::DirEntry| p.file_name().to_string_lossy().into_owned();
        let leftovers: Vec<String> = fs::read_dir(run.join("data"))
            .unwrap()
            .map(|entry| names(&entry.unwrap()))
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(leftovers.is_empty(), "{work:?}: {leftovers:?}");
    }
    // What was prepared before counts; the rest follows, as in a run that was never disturbed.
    let whole = with_text(dir.path(), "whole");
    let (seen, result) = reported(&whole, &setup, None);
    result.unwrap();
    assert_eq!(kinds(&seen), all);
    for p in &seen {
        let counted = !matches!(p.work, Work::Select | Work::Tokenizer);
        assert!(p.done <= p.of && (p.of > 0) == counted, "{p:?}");
    }
    for run in [&run, &whole] {
        common::launch::played(run, &setup, |_| Vec::new());
    }
    let of = |run: &Path| tensors(&stage_checkpoint(run, "pretrain", 4));
    assert_eq!(of(&run), of(&whole));
    // Nothing is made again. Files that were written a moment ago are read again, since they may have changed.
    let (seen, result) = reported(&whole, &setup, None);
    result.unwrap();
    assert_eq!(kinds(&seen), [Work::Hash]);
}

#[test]
fn the_reading_of_conversations_is_reported_and_given_up() {
    let dir = scratch();
    let run = dir.path().join("run");
    common::train(&run, &["steps=2"], &[]).good();
    let chats = counting(dir.path());
    let setup = setup("sft", TINY.iter().chain(&["sft.steps=2", &chats]));
    let before = RunView::open(danlu::store::RealFs::shared(), &run).unwrap().checkpoints().list().unwrap();
    for work in [Work::Chats, Work::Tokenize] {
        let (seen, result) = reported(&run, &setup, Some(work));
        assert!(matches!(result, Err(TrainError::Stopped)), "{work:?}: {:?}", result.err());
        assert_eq!(kinds(&seen).last(), Some(&work));
    }
    let (seen, result) = reported(&run, &setup, None);
    result.unwrap();
    assert_eq!(kinds(&seen), [Work::Chats, Work::Tokenize]);
    // A new run on the built-in text reads them for its tokenizer.
    let fresh = dir.path().join("fresh");
    let pretrain = self::setup("pretrain", TINY.iter().chain(&["steps=2", &chats]));
    let (seen, result) = reported(&fresh, &pretrain, Some(Work::Chats));
    assert!(matches!(result, Err(TrainError::Stopped)), "{:?}", result.err());
    assert_eq!(kinds(&seen), [Work::Chats]);
    let after = RunView::open(danlu::store::RealFs::shared(), &run).unwrap().checkpoints().list().unwrap();
    assert_eq!(before, after);
}
