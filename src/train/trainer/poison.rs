//! Tests with NaN or huge numbers put where a fault of memory, data or settings would put them: whatever happens to the
//! stage, its newest good checkpoint opens and can be trained.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{fs, io::Write as _, path::Path};

use super::{main_loop::Loop, ready::Trainer};
use crate::{
    compute::{
        Device,
        rng::{self, Purpose},
    },
    protocol::{Command, Event},
    store::{Fs as _, Kind, RealFs, Run},
    train::{OpenRun, Setup, TrainError, run::checkpoint, settled},
};

const TINY: [&str; 15] = [
    "model.num_hidden_layers=1",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "model.intermediate_size=64",
    "model.vocab_size=600",
    "model.max_position_embeddings=64",
    "batch_size=2",
    "context=32",
    "learning_rate=3e-3",
    "warmup_steps=2",
    "decay_steps=0",
    "eval_steps=0",
    "probe_steps=0",
    "save_steps=4",
    "size=1m",
];

/// Steps of the run before the fault.
const GOOD: usize = 32;

fn setup(steps: usize, more: &[&str]) -> Setup {
    let pair = |s: &&str| s.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let sets = TINY.iter().chain(more).filter_map(pair).collect();
    Setup { sets, steps: Some(steps), ..Setup::default() }
}

fn open(dir: &Path, setup: &Setup) -> Trainer {
    let run = Run::open(RealFs::shared(), dir).or_else(|_| Run::create(RealFs::shared(), dir, "")).unwrap();
    let mut device = Device::cpu();
    let config = settled(&run, setup, &mut device).unwrap();
    Trainer::new(OpenRun::new(run, device), config, setup).map_err(|unready| unready.error).unwrap()
}

/// Trains to the end; returns the losses, and all events except steps.
fn finish(trainer: Trainer) -> (Result<usize, TrainError>, Vec<f64>, Vec<Event>) {
    finish_poisoned(trainer, |_| {})
}

/// The same, with a change to the stage before its first turn.
fn finish_poisoned(
    trainer: Trainer,
    poison: impl FnOnce(&mut Loop<'_>),
) -> (Result<usize, TrainError>, Vec<f64>, Vec<Event>) {
    let (_send, commands) = crossbeam_channel::bounded::<Command>(1);
    let (mut losses, mut events) = (Vec::new(), Vec::new());
    let mut emit = |event: Event| match event {
        Event::Steps(steps) => losses.extend(steps.iter().map(|s| s.loss)),
        event => events.push(event),
    };
    let mut stage = Loop::new(trainer, &mut emit);
    poison(&mut stage);
    let result = stage.run(&commands);
    (result.0.map(|summary| summary.step), losses, events)
}

fn copy(from: &Path, to: &Path) {
    RealFs.make_dir(to).unwrap();
    for entry in RealFs.list(from).unwrap() {
        let (source, target) = (from.join(&entry.name), to.join(&entry.name));
        if entry.kind == Kind::Dir {
            copy(&source, &target);
        } else {
            RealFs.create(&target).unwrap().write_all(&fs::read(source).unwrap()).unwrap();
        }
    }
}

/// Where the number is put.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Any parameter.
    Weight,
    /// A whole row of the embedding.
    Row,
    /// The first moment of a parameter.
    Moment,
    /// The second moment of a parameter.
    Square,
    /// The gradient of a token of the batch.
    Gradient,
    /// The learning rate of all steps, a million times too large: a typo in run.toml.
    Rate,
}

/// Puts a value in its place between two steps, or into the next one.
fn poison(stage: &mut Loop<'_>, place: Place, value: f32, at: usize) {
    let device = &mut stage.core.open.device;
    let learner = stage.core.work.text().unwrap().learner();
    let mut state = learner.read_state(device).unwrap();
    let width = 32;
    match place {
        Place::Rate => {}
        Place::Gradient => {
            let mut weights = vec![1.0_f32; 64];
            weights[at % 64] = value;
            device.write(learner.row_weights(), &weights).unwrap();
            stage.step().unwrap();
            let learner = stage.core.work.text().unwrap().learner();
            stage.core.open.device.write(learner.row_weights(), &[1.0_f32; 64]).unwrap();
        }
        Place::Row => {
            let row = at % 600 * width;
            state[0][row..row + width].fill(value);
            learner.write_state(device, &state).unwrap();
        }
        Place::Weight | Place::Moment | Place::Square => {
            let slab = match place {
                Place::Weight => 0,
                Place::Moment => 1,
                _ => 2,
            };
            let n = state[slab].len();
            state[slab][at % n] = value;
            learner.write_state(device, &state).unwrap();
        }
    }
}

/// One poisoning; returns the outcome.
fn poisoned(base: &Path, dir: &Path, seed: u64) -> &'static str {
    let draw = |i: u64, n: usize| rng::below(seed, Purpose::Shuffle, 7, i, n);
    let place = [Place::Weight, Place::Row, Place::Moment, Place::Square, Place::Gradient, Place::Rate][draw(0, 6)];
    let value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30][draw(1, 4)];
    let what = format!("seed {seed}: {place:?} {value}");
    copy(base, dir);
    let rate = if matches!(place, Place::Rate) { "learning_rate=3e3" } else { "learning_rate=3e-3" };
    let (result, _, events) = finish_poisoned(open(dir, &setup(GOOD + 24, &[rate])), |stage| {
        for _ in 0..=draw(2, 9) {
            stage.step().unwrap();
            stage.between().unwrap();
        }
        poison(stage, place, value, draw(3, 1 << 20));
    });
    let back = events.iter().any(|e| matches!(e, Event::SetBack { .. }));
    // The stage continues with the right rate, and its checkpoints are good.
    let again = open(dir, &setup(GOOD + 40, &[]));
    let view = again.open.run.view().clone();
    assert!(again.ready.state.step as usize >= GOOD - 8, "{what}: steps are lost, it is at {}", again.ready.state.step);
    let (end, losses, _) = finish(again);
    let end = end.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(end, GOOD + 40, "{what}");
    let last = losses[losses.len() - 4..].iter().sum::<f64>() / 4.0;
    assert!(last < 7.0, "{what}: the loss ends at {last}");
    for id in view.checkpoints().list().unwrap() {
        let found = view.checkpoints().verify(&id).unwrap();
        checkpoint::sound(&found).unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    match (result, back) {
        (Ok(_), false) => "borne",
        (Ok(_), true) => "set back",
        (Err(_), _) => "given up",
    }
}

fn poison_all(seeds: u64) -> [(&'static str, usize); 3] {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    let (result, ..) = finish(open(&base, &setup(GOOD, &[])));
    assert_eq!(result.unwrap(), GOOD);
    let mut told = [("borne", 0), ("set back", 0), ("given up", 0)];
    for seed in 0..seeds {
        let dir = tempfile::tempdir().unwrap();
        let outcome = poisoned(&base, &dir.path().join("run"), seed);
        told.iter_mut().filter(|t| t.0 == outcome).for_each(|t| t.1 += 1);
    }
    told
}

#[test]
fn a_poisoned_stage_keeps_a_checkpoint_that_trains_on() {
    let told = poison_all(12);
    assert!(told[1].1 > 0, "none was set back: {told:?}");
}

#[test]
#[ignore = "some minutes; cargo test --release --lib poisonings -- --ignored --nocapture"]
fn two_hundred_poisonings_lose_no_run() {
    let told = poison_all(200);
    #[allow(clippy::print_stderr, reason = "the figure that the test is run for")]
    {
        eprintln!("200 poisonings: {told:?}");
    }
}
