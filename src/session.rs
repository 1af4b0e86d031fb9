//! The wall between threads: commands in, events out.
//!
//! A [`Session`] is the screen's whole view of a trainer: a sender of [`Command`]s and a receiver of
//! [`Event`]s. The trainer runs on its own thread behind it, which nothing the screen does can block.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

pub use crate::train::event::{
    ActionView, Ask, BatchView, Cause, Choice, Command, DocumentView, Documents, DroppedDocument, DroppedView, Edit,
    Event, Funnel, Lamp, LeftOut, Manner, Metric, Offer, PolicyReport, Refit, RewardReport, Role, RolloutView,
    RoomSource, RoomView, RuleView, RunInfo, Sampling, SourceInfo, SourceUse, StageInfo, StepReport, Tally, TaskInfo,
    TaskReport, TokenView, TokenizerView, Trial, Turn, Twin, VotedPair, Who,
};
use crate::train::{Setup, TrainError, Trainer, Unready, Workshop, settled};

/// Commands that may wait for the trainer.
pub const COMMANDS: usize = 64;
/// Events that may wait for the screen; what comes beyond it waits with the trainer, steps gathered.
pub const EVENTS: usize = 256;
/// How long the last events wait for a screen that does not read.
const LAST: Duration = Duration::from_secs(10);

/// A running stage, seen from outside.
#[derive(Clone)]
pub struct Session {
    /// Wishes to the trainer. Never blocks a key: use `try_send`.
    pub commands: Sender<Command>,
    /// What the trainer tells. Disconnected after [`Event::Finished`].
    pub events: Receiver<Event>,
    /// To be set beside a command to stop: a stage that is being made ready, and hears no command, is given up.
    pub stop: Arc<AtomicBool>,
}

impl Session {
    /// Starts a trainer on a thread of its own. When it is told to go to another stage, that one is made
    /// ready from the same `setup` and goes on behind the same session.
    pub fn start(trainer: Trainer, setup: Setup) -> Result<Session, TrainError> {
        let (commands, wishes) = bounded(COMMANDS);
        let (tell, events) = bounded(EVENTS);
        let stop = Arc::clone(&setup.stop);
        let work = move || {
            let mut outbox = Outbox { tell, waiting: VecDeque::new() };
            // A panic here is a bug, but not the end of the screen: it is told as the stage's end.
            let result = catch_unwind(AssertUnwindSafe(|| train(trainer, setup, &wishes, &mut outbox)));
            if let Err(panic) = result {
                let words = panic
                    .downcast_ref::<&str>()
                    .map(|s| (*s).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned());
                let reason = format!(
                    "failed: the trainer panicked ({}); the newest checkpoint stands",
                    words.unwrap_or_default()
                );
                outbox.push(Event::Finished { step: 0, reason, failed: true, seconds: 0.0 });
            }
            outbox.flush();
        };
        let thread = thread::Builder::new().name("trainer".to_owned()).spawn(work);
        thread.map_err(|e| TrainError::Work(format!("no thread for the trainer: {e}")))?;
        Ok(Session { commands, events, stop })
    }
}

/// One stage after the other, until none is asked for.
fn train(mut trainer: Trainer, mut setup: Setup, wishes: &Receiver<Command>, outbox: &mut Outbox) {
    loop {
        let (result, workshop) = trainer.run(wishes, &mut |event| outbox.push(event));
        let Some(next) = result.ok().and_then(|summary| summary.next) else { return };
        let here = setup.for_stage(&setup.stage);
        setup = setup.for_stage(next.name);
        let unready = match open(workshop, &setup) {
            Ok(ready) => {
                trainer = ready;
                continue;
            }
            Err(unready) => unready,
        };
        if setup.stop.load(Ordering::Acquire) {
            // Given up: whoever asked for the stage has left since.
            outbox.push(Event::Finished { step: 0, reason: "stopped".to_owned(), failed: false, seconds: 0.0 });
            return;
        }
        // Back to where one came from: it was saved, and could be trained a moment ago.
        outbox.push(Event::Refused { text: unready.error.to_string() });
        setup = here;
        match open(unready.workshop, &setup) {
            Ok(ready) => trainer = ready,
            Err(unready) => {
                let reason = format!("failed: {}", unready.error);
                outbox.push(Event::Finished { step: 0, reason, failed: true, seconds: 0.0 });
                return;
            }
        }
    }
}

/// A stage, with run.toml as it stands now.
fn open(mut workshop: Workshop, setup: &Setup) -> Result<Trainer, Box<Unready>> {
    match settled(&workshop.run, setup, &mut workshop.device) {
        Ok(config) => Trainer::new(workshop, config, setup),
        Err(error) => Err(Box::new(Unready { error, workshop })),
    }
}

/// Events on their way out: in order, none lost, none waited for.
struct Outbox {
    tell: Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Outbox {
    fn push(&mut self, event: Event) {
        if let (Event::Steps(new), Some(Event::Steps(old))) = (&event, self.waiting.back_mut()) {
            old.extend(new.iter().cloned());
        } else {
            self.waiting.push_back(event);
        }
        while let Some(first) = self.waiting.pop_front() {
            match self.tell.try_send(first) {
                Ok(()) => {}
                Err(TrySendError::Full(first)) => {
                    self.waiting.push_front(first);
                    return;
                }
                // Nobody reads any more; the run's logs have it all.
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }

    fn flush(&mut self) {
        for event in self.waiting.drain(..) {
            if self.tell.send_timeout(event, LAST).is_err() {
                return;
            }
        }
    }
}
