//! A stage that is ready to train: data, model, newest checkpoint, and the state from the run's logs.

use std::{path::PathBuf, time::Instant};

use super::{pace::Pace, recovery::Recovery, voting::Voting};
use crate::{
    base::StageId,
    store::Log,
    train::{
        config::{RunConfig, setup::Setup},
        error::TrainError,
        open::{
            open_run::{OpenRun, Unready},
            prepare::{Ready, prepare},
        },
    },
};

/// The result of a stage.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Steps done.
    pub step: usize,
    /// `done`, `stopped` or `switched`.
    pub reason: String,
    /// The newest checkpoint written by this call.
    pub checkpoint: Option<PathBuf>,
    /// The stage to open next, if requested.
    pub next: Option<StageId>,
    /// Whether its user had paused it.
    pub paused: bool,
}

/// A stage of a run, ready to step.
pub struct Trainer {
    pub(super) open: OpenRun,
    pub(super) ready: Ready,
    pub(super) setup: Setup,
    /// metrics.jsonl and events.jsonl.
    pub(super) logs: [Log; 2],
    pub(super) recovery: Recovery,
    pub(super) voting: Voting,
    pub(super) pace: Pace,
}

impl Trainer {
    /// Opens a stage: data, model, newest checkpoint (or the parent stage's). On failure the run is returned, so that
    /// another stage can be opened in it.
    pub fn new(mut open: OpenRun, config: RunConfig, setup: &Setup) -> Result<Trainer, Box<Unready>> {
        match Self::make(&mut open, config, setup) {
            Ok(make) => Ok(make(open)),
            Err(error) => {
                // A lost device is reported where it is next used.
                let _ = open.clear();
                Err(Box::new(Unready { error, open }))
            }
        }
    }

    fn make(
        open: &mut OpenRun,
        config: RunConfig,
        setup: &Setup,
    ) -> Result<impl FnOnce(OpenRun) -> Trainer + use<>, TrainError> {
        let pace = Pace::new(Instant::now());
        let mut torn = open.run.mend_logs()?;
        let mut ready = prepare(open, config, setup)?;
        let mut logs = [open.run.metrics()?, open.run.events()?];
        torn.extend(logs.iter().filter_map(|log| log.torn().cloned()));
        ready.notes.extend(torn.iter().map(ToString::to_string));
        let (stage, step) = (ready.stage, ready.state.step);
        for log in &mut logs {
            if let Some((lines, path)) = log.truncate_after_step(Some(stage), step)? {
                ready.notes.push(format!("{lines} lines past step {step} were moved to {}", path.display()));
            }
        }
        let turns = ready.work.text().map(|text| text.turns()).transpose()?.unwrap_or_default();
        let vocab_size = stage.draws_text().then_some(ready.info.vocab_size);
        let guard = ready.config.guard_settings();
        let recovery = Recovery::open(open.run.view(), (stage, step, vocab_size), guard, turns)?;
        let voting = Voting::new(open.run.view(), &mut ready.notes)?;
        let setup = setup.clone();
        Ok(move |open| Trainer { open, ready, setup, logs, recovery, voting, pace })
    }
}
