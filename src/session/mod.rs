//! The channels between the trainer's thread and the user interface: commands in, events out.
//!
//! A [`Session`] is all that the screen knows of a trainer: a sender of [`Command`]s and a receiver of [`Event`]s. The
//! trainer runs on its own thread, which nothing the screen does can block.

mod export;
mod replay;
mod watch;

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
    compute::Device,
    protocol::{Command, Event, Progress},
    train::{Emit, Film, OpenRun, Setup, Summary, TrainError, Trainer, Unready, settled, watch::Watcher},
};

/// Capacity of the command channel.
pub const COMMANDS: usize = 64;
/// Capacity of the event channel; the trainer's side keeps further events and merges steps.
pub const EVENTS: usize = 256;
/// How long the trainer waits at the end for a screen that does not read.
const LAST: Duration = Duration::from_secs(10);
/// Interval at which pending events are offered again while nothing trains.
const QUIET: Duration = Duration::from_millis(100);

/// A running stage, as the screen sees it.
#[derive(Clone)]
pub struct Session {
    /// Commands to the trainer. Use `try_send`, so that no key ever blocks.
    pub commands: Sender<Command>,
    /// Events of the trainer. Disconnected after [`Event::Finished`], unless the stage failed: then it can be opened
    /// again ([`Command::Stage`]).
    pub events: Receiver<Event>,
    /// Set together with a stop command: it cancels a stage that is still being opened and reads no commands yet.
    pub stop: Arc<AtomicBool>,
    /// Gives up a stage that is being opened; the one before it continues.
    pub back: Arc<AtomicBool>,
}

impl Session {
    /// Starts a trainer on its own thread. On [`Command::Stage`] the next stage is opened from the same `setup` and
    /// continues behind the same session.
    pub fn start(trainer: Trainer, mut setup: Setup) -> Result<Session, TrainError> {
        let (commands, orders) = bounded(COMMANDS);
        let (sender, events) = bounded(EVENTS);
        let (stop, back) = (Arc::clone(&setup.stop), Arc::clone(&setup.back));
        // The trainer's thread is busy opening a stage then; a report for which there is no room is left out.
        let reports = sender.clone();
        setup.progress = Progress::to(move |work| drop(reports.try_send(Event::Opening(work))));
        let work = move || {
            let mut outbox = Outbox { sender, waiting: VecDeque::new() };
            train(trainer, setup, &orders, &mut outbox);
            outbox.flush();
        };
        let thread = thread::Builder::new().name("trainer".to_owned()).spawn(work);
        thread.map_err(|e| TrainError::no_thread("the trainer", &e))?;
        Ok(Session { commands, events, stop, back })
    }

    /// Shows a run's files, read only, on a thread of their own: everything there is, then what another process adds.
    /// With `speed` the run is played from its first step, so many times as fast as it was trained.
    ///
    /// # Errors
    /// If the run was never trained, a file cannot be read, or no thread can be started.
    pub fn replay(film: Film, speed: Option<f64>) -> Result<Session, TrainError> {
        let (commands, orders) = bounded(COMMANDS);
        let (sender, events) = bounded(EVENTS);
        let player = replay::Player::new(film, speed)?;
        let work = move || {
            let mut outbox = Outbox { sender, waiting: VecDeque::new() };
            player.play(&orders, &mut outbox);
            outbox.flush();
        };
        let thread = thread::Builder::new().name("replay".to_owned()).spawn(work);
        thread.map_err(|e| TrainError::no_thread("the replay", &e))?;
        Ok(Session { commands, events, stop: Arc::default(), back: Arc::default() })
    }
}

impl Session {
    /// Follows the log of a training elsewhere, on a separate thread: everything there is, then what arrives. The probes
    /// of its checkpoints are completed on `device`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn watch(watcher: Watcher, device: Device) -> Result<Session, TrainError> {
        let (commands, orders) = bounded(COMMANDS);
        let (sender, events) = bounded(EVENTS);
        let viewer = watch::Viewer::new(watcher, device)?;
        let work = move || {
            let mut outbox = Outbox { sender, waiting: VecDeque::new() };
            viewer.play(&orders, &mut outbox);
            outbox.flush();
        };
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(work);
        thread.map_err(|e| TrainError::no_thread("watching", &e))?;
        Ok(Session { commands, events, stop: Arc::default(), back: Arc::default() })
    }
}

/// Trains one stage after the other until none is requested. After a failure or a panic it waits for
/// [`Command::Stage`]: the same stage from its newest checkpoint, or another.
fn train(mut trainer: Trainer, mut setup: Setup, orders: &Receiver<Command>, outbox: &mut Outbox) {
    loop {
        let (result, mut run) = trainer.run(orders, outbox);
        // The stage to return to, if it was saved and could be trained until now.
        let (mut next, mut back, waits) = match result {
            Ok(Summary { next: Some(next), paused, .. }) => (next, true, paused),
            Err(_) if setup.interactive => match asked_for(orders, outbox) {
                Some(next) => (next, false, false),
                None => return,
            },
            _ => return,
        };
        trainer = loop {
            // A stage that its user had paused waits again when it is opened again.
            let there = Setup { waits: waits && back && next == setup.stage, ..setup.for_stage(next) };
            setup.back.store(false, Ordering::Release);
            let unready = match open(run, &there) {
                Ok(ready) => {
                    setup = there;
                    break ready;
                }
                Err(unready) => unready,
            };
            if setup.stop.load(Ordering::Acquire) {
                // Cancelled: the screen that requested the stage has closed.
                outbox.emit(Event::Finished { step: 0, reason: "stopped".to_owned(), failed: false, seconds: 0.0 });
                return;
            }
            let given_up = setup.back.swap(false, Ordering::AcqRel);
            let text = if given_up { format!("{next} was not opened") } else { unready.error.to_string() };
            outbox.emit(Event::Refused { text });
            run = unready.open;
            if std::mem::take(&mut back) {
                let here = Setup { waits, ..setup.for_stage(setup.stage) };
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

/// Waits for a request to open a stage while nothing trains; None to end.
fn asked_for(orders: &Receiver<Command>, outbox: &mut Outbox) -> Option<StageId> {
    loop {
        outbox.pump();
        match orders.recv_timeout(QUIET) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) | Ok(Command::Stop { .. }) => return None,
            Ok(Command::Stage { stage }) => return Some(stage),
            Ok(Command::Prompt { id, .. }) => {
                let finish_reason = "cancelled".to_owned();
                outbox.emit(Event::PromptDone { id, step: None, tokens: 0, seconds: 0.0, finish_reason, score: None });
            }
            Ok(_) => outbox.emit(Event::Refused { text: "the stage has failed; open it again first".to_owned() }),
        }
    }
}

/// Opens a stage with the current run.toml.
fn open(mut run: OpenRun, setup: &Setup) -> Result<Trainer, Box<Unready>> {
    match settled(&run.run, setup, &mut run.device) {
        Ok(config) => Trainer::new(run, config, setup),
        Err(error) => Err(Box::new(Unready { error, open: run })),
    }
}

/// Events to be sent: in order, none lost, never blocking the trainer.
struct Outbox {
    sender: Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Emit for Outbox {
    fn emit_at(&mut self, _time: f64, event: Event) {
        if let (Event::Steps(new), Some(Event::Steps(old))) = (&event, self.waiting.back_mut()) {
            old.extend(new.iter().cloned());
        } else {
            self.waiting.push_back(event);
        }
        self.pump();
    }

    /// Sends pending events as far as there is room.
    fn pump(&mut self) {
        while let Some(first) = self.waiting.pop_front() {
            match self.sender.try_send(first) {
                Ok(()) => {}
                Err(TrySendError::Full(first)) => {
                    self.waiting.push_front(first);
                    return;
                }
                // The receiver is gone; the run's logs have all events.
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }
}

impl Outbox {
    /// Sends pending events; waits up to [`LAST`] for a screen that does not read.
    fn flush(&mut self) {
        for event in self.waiting.drain(..) {
            if self.sender.send_timeout(event, LAST).is_err() {
                return;
            }
        }
    }
}
