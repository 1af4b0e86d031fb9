//! The wall between threads: commands in, events out.
//!
//! A [`Session`] is the screen's whole view of a trainer: a sender of [`Command`]s and a receiver of
//! [`Event`]s. The trainer runs on its own thread behind it, which nothing the screen does can block.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::{
    base::StageId,
    protocol::{Command, Event},
    train::{Emit, OpenRun, Setup, Summary, TrainError, Trainer, Unready, settled},
};

/// Commands that may wait for the trainer.
pub const COMMANDS: usize = 64;
/// Events that may wait for the screen; what comes beyond it waits with the trainer, steps gathered.
pub const EVENTS: usize = 256;
/// How long the last events wait for a screen that does not read.
const LAST: Duration = Duration::from_secs(10);
/// How often, with nothing to train, what waits for the screen is offered again.
const QUIET: Duration = Duration::from_millis(100);

/// A running stage, seen from outside.
#[derive(Clone)]
pub struct Session {
    /// Commands to the trainer. Never blocks a key: use `try_send`.
    pub commands: Sender<Command>,
    /// What the trainer tells. Disconnected after [`Event::Finished`], but for a stage that failed: it can be opened
    /// again ([`Command::Stage`]).
    pub events: Receiver<Event>,
    /// To be set beside a command to stop: a stage that is being made ready, and hears no command, is given up.
    pub stop: Arc<AtomicBool>,
}

impl Session {
    /// Starts a trainer on its thread. On a command to open another stage, that one is made ready from the same `setup`
    /// and continues behind the same session.
    pub fn start(trainer: Trainer, setup: Setup) -> Result<Session, TrainError> {
        let (commands, orders) = bounded(COMMANDS);
        let (tell, events) = bounded(EVENTS);
        let stop = Arc::clone(&setup.stop);
        let work = move || {
            let mut outbox = Outbox { tell, waiting: VecDeque::new() };
            train(trainer, setup, &orders, &mut outbox);
            outbox.flush();
        };
        let thread = thread::Builder::new().name("trainer".to_owned()).spawn(work);
        thread.map_err(|e| TrainError::no_thread("the trainer", &e))?;
        Ok(Session { commands, events, stop })
    }
}

/// One stage after the other, until none is asked for. After a failure, a panic among them, it waits for a stage to be
/// asked for: the same one, from its newest checkpoint, or another.
fn train(mut trainer: Trainer, mut setup: Setup, orders: &Receiver<Command>, outbox: &mut Outbox) {
    loop {
        let (result, mut run) = trainer.run(orders, outbox);
        // Whether there is a stage to go back to that could be trained a moment ago, and was saved.
        let (mut next, mut back) = match result {
            Ok(Summary { next: Some(next), .. }) => (next, true),
            Err(_) if setup.interactive => match asked_for(orders, outbox) {
                Some(next) => (next, false),
                None => return,
            },
            _ => return,
        };
        trainer = loop {
            let there = setup.for_stage(next);
            let unready = match open(run, &there) {
                Ok(ready) => {
                    setup = there;
                    break ready;
                }
                Err(unready) => unready,
            };
            if setup.stop.load(Ordering::Acquire) {
                // Given up: the screen that asked for the stage has left since.
                outbox.emit(Event::Finished { step: 0, reason: "stopped".to_owned(), failed: false, seconds: 0.0 });
                return;
            }
            outbox.emit(Event::Refused { text: unready.error.to_string() });
            run = unready.open;
            if std::mem::take(&mut back) {
                let here = setup.for_stage(setup.stage);
                match open(run, &here) {
                    Ok(ready) => {
                        setup = here;
                        break ready;
                    }
                    Err(unready) => {
                        let reason = format!("failed: {}", unready.error);
                        outbox.emit(Event::Finished { step: 0, reason, failed: true, seconds: 0.0 });
                        run = unready.open;
                    }
                }
            }
            match asked_for(orders, outbox) {
                Some(stage) => next = stage,
                None => return,
            }
        };
    }
}

/// Waits, with nothing to train, for a stage to be asked for; None where everything is to end.
fn asked_for(orders: &Receiver<Command>, outbox: &mut Outbox) -> Option<StageId> {
    loop {
        outbox.pump();
        match orders.recv_timeout(QUIET) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) | Ok(Command::Stop { .. }) => return None,
            Ok(Command::Stage { name }) => match name.parse::<StageId>() {
                Ok(stage) => return Some(stage),
                Err(e) => outbox.emit(Event::Refused { text: e.to_string() }),
            },
            Ok(Command::Prompt { id, .. }) => {
                let finish_reason = "cancelled".to_owned();
                outbox.emit(Event::PromptDone { id, step: 0, tokens: 0, seconds: 0.0, finish_reason, score: None });
            }
            Ok(_) => outbox.emit(Event::Refused { text: "the stage has failed; open it again first".to_owned() }),
        }
    }
}

/// A stage, with run.toml as it is now.
fn open(mut run: OpenRun, setup: &Setup) -> Result<Trainer, Box<Unready>> {
    match settled(&run.run, setup, &mut run.device) {
        Ok(config) => Trainer::new(run, config, setup),
        Err(error) => Err(Box::new(Unready { error, open: run })),
    }
}

/// Events on their way out: in order, none lost, none waited for.
struct Outbox {
    tell: Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Emit for Outbox {
    fn emit(&mut self, event: Event) {
        if let (Event::Steps(new), Some(Event::Steps(old))) = (&event, self.waiting.back_mut()) {
            old.extend(new.iter().cloned());
        } else {
            self.waiting.push_back(event);
        }
        self.pump();
    }

    /// Sends what waits, as far as there is room.
    fn pump(&mut self) {
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
}

impl Outbox {
    /// Sends what waits; waits a while for a screen that does not read.
    fn flush(&mut self) {
        for event in self.waiting.drain(..) {
            if self.tell.send_timeout(event, LAST).is_err() {
                return;
            }
        }
    }
}
