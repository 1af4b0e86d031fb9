//! Runs a stage to its end, through panics and rollbacks.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};

use crossbeam_channel::Receiver;

use super::{
    core::{Core, Ended},
    main_loop::Loop,
    outbox::Emit,
    ready::{Summary, Trainer},
    recovery::SET_BACK,
};
use crate::{
    protocol::{Command, Event},
    train::{
        config::setup::Setup,
        error::TrainError,
        open::open_run::{OpenRun, Unready},
    },
};

impl Trainer {
    /// Trains until the end of the stage, a stop, a switch, or an error; a panic counts as an error. The last event is
    /// `Finished`. Returns the run with the device cleared, for the next stage.
    pub fn run(self, commands: &Receiver<Command>, emit: &mut dyn Emit) -> (Result<Summary, TrainError>, OpenRun) {
        Loop::new(self, emit).run(commands)
    }
}

/// The result of a stage, and the run with the device cleared.
type End = (Result<Summary, TrainError>, OpenRun);

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl<'a> Loop<'a> {
    /// See [`Trainer::run`].
    pub(super) fn run(mut self, commands: &Receiver<Command>) -> End {
        loop {
            let result = panic::catch_unwind(AssertUnwindSafe(|| self.work(commands)));
            let result = result.unwrap_or_else(|panic| Err(TrainError::Bug(words(&*panic))));
            match result {
                Ok((SET_BACK, _)) if !self.core.interactive() => match self.reopen() {
                    Ok(again) => self = again,
                    Err(failed) => return *failed,
                },
                result => return self.finish(result),
            }
        }
    }

    /// Reopens the stage from the checkpoint that it was rolled back to, up to the same step.
    fn reopen(self) -> Result<Loop<'a>, Box<End>> {
        let (pace, step) = (self.pace.again(), self.core.done);
        let Core { mut open, setup, work, config, target, out, .. } = self.core;
        drop((work, self.flying, self.prompts, self.voting));
        let emit = out.into_receiver();
        let setup = Setup { steps: Some(target), ..setup };
        let opened = match open.clear() {
            Ok(()) => Trainer::new(open, config, &setup),
            Err(error) => Err(Box::new(Unready { error, open })),
        };
        match opened {
            Ok(trainer) => Ok(Loop::new(Trainer { pace, ..trainer }, emit)),
            Err(unready) => {
                let reason = format!("failed: {}", unready.error);
                emit.emit(Event::Finished { step, reason, failed: true, seconds: 0.0 });
                Err(Box::new((Err(unready.error), unready.open)))
            }
        }
    }

    fn finish(mut self, result: Result<Ended, TrainError>) -> End {
        // However the stage ended, wait for a save in progress.
        let wrote = self.saves.finish(&mut self.core, &mut self.recovery, true);
        let result = result.and_then(|end| wrote.map(|()| end));
        let (reason, failed) = match &result {
            Ok((reason, _)) => ((*reason).to_owned(), false),
            Err(e) => (format!("failed: {e}"), true),
        };
        self.prompts.cancel_all(&mut self.core);
        let (step, checkpoint, seconds) = (self.core.done, self.saves.newest, self.pace.seconds());
        self.core.out.emit(Event::Finished { step, reason, failed, seconds });
        let paused = self.core.setup.waits;
        let Core { mut open, work, .. } = self.core;
        drop((work, self.flying, self.prompts, self.voting));
        let cleared = open.clear();
        let summary = result.and_then(|(reason, next)| {
            cleared.map(|()| Summary { step, reason: reason.to_owned(), checkpoint, next, paused })
        });
        (summary, open)
    }
}
