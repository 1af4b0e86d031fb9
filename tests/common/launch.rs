//! Trains in the test's process, with commands as a screen sends them.

use std::path::Path;

use danlu::{
    compute::Device,
    protocol::{Command, Event},
    train::{OpenRun, Setup, Summary, TrainError, Trainer, open_run},
};

/// A setup of a stage with `key=value` settings.
pub fn setup<'s>(stage: &str, sets: impl IntoIterator<Item = &'s &'s str>) -> Setup {
    let pair = |set: &&str| {
        let (key, value) = set.split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    };
    Setup { stage: stage.parse().unwrap(), sets: sets.into_iter().map(pair).collect(), ..Setup::default() }
}

/// Trains on this thread; `script` gets every event and returns commands, which are applied before the next step.
pub fn played(run: &Path, setup: &Setup, script: impl FnMut(&Event) -> Vec<Command>) -> Summary {
    attempted(run, setup, script).unwrap()
}

/// The same, for a stage that may fail once it runs.
pub fn attempted(
    run: &Path,
    setup: &Setup,
    mut script: impl FnMut(&Event) -> Vec<Command>,
) -> Result<Summary, TrainError> {
    let mut device = Device::open(super::ADAPTER.get().map_or("cpu", String::as_str)).unwrap();
    let (opened, config) = open_run(Some(run), setup, &mut device).unwrap();
    let trainer = Trainer::new(OpenRun::new(opened, device), config, setup);
    let trainer = trainer.map_err(|unready| unready.error).unwrap();
    let (send, commands) = crossbeam_channel::unbounded();
    let mut emit = |event: Event| script(&event).into_iter().for_each(|command| send.send(command).unwrap());
    trainer.run(&commands, &mut emit).0
}

/// Whether an event reports a step.
pub fn is_step(event: &Event, step: usize) -> bool {
    matches!(event, Event::Steps(steps) if steps.iter().any(|s| s.step == step))
}
