//! A session over a log that another process writes: its events as they arrive, the probes of its checkpoints, and an
//! answer to each command.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Outbox, QUIET, export::export};
use crate::{
    compute::Device,
    protocol::{Command, Event},
    train::{
        Emit, TrainError,
        watch::{Completer, Done, Job, Watcher},
    },
};

/// Interval at which the log is read.
const AGAIN: Duration = Duration::from_millis(250);
/// The reply to a command that would train or change something.
const READ_ONLY: &str = "this training is only watched: another process trains, and nothing is changed here";

/// Watches a log until the screen closes.
pub(super) struct Viewer {
    watcher: Watcher,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// Whether probes are being completed.
    busy: bool,
    /// Ends the completion that is going on.
    stop: Arc<AtomicBool>,
}

impl Viewer {
    /// A separate thread completes probes on `device`.
    pub(super) fn new(watcher: Watcher, device: Device) -> Result<Viewer, TrainError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (jobs, orders) = bounded::<Job>(1);
        let (to, done) = bounded(1);
        let mut completer = Completer::new(device, Arc::clone(&stop));
        let work = move || {
            for job in orders {
                if to.send(completer.complete(job)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("probes".to_owned()).spawn(work);
        thread.map_err(|e| TrainError::no_thread("completing probes", &e))?;
        Ok(Viewer { watcher, jobs, done, busy: false, stop })
    }

    /// Watches until the screen stops it.
    pub(super) fn play(mut self, orders: &Receiver<Command>, outbox: &mut Outbox) {
        let mut due = Instant::now();
        loop {
            if Instant::now() >= due {
                let all = self.advance(outbox);
                due = Instant::now() + if all { AGAIN } else { Duration::ZERO };
            }
            outbox.pump();
            let wait = due.saturating_duration_since(Instant::now()).min(QUIET);
            match orders.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(Command::Stop { .. }) => {
                    let step = self.watcher.step();
                    outbox.emit(Event::Finished { step, reason: "stopped".to_owned(), failed: false, seconds: 0.0 });
                    break;
                }
                Ok(command) => self.obey(&command, outbox),
            }
        }
        self.stop.store(true, Ordering::Release);
    }

    /// Reads on and completes probes; false if there is more to read at once.
    fn advance(&mut self, outbox: &mut Outbox) -> bool {
        if outbox.waiting.len() > super::EVENTS {
            return true;
        }
        let (events, all) = self.watcher.advance();
        for event in events {
            outbox.emit(event);
        }
        if let Ok(done) = self.done.try_recv() {
            self.busy = false;
            for event in self.watcher.completed_job(done) {
                outbox.emit(event);
            }
        }
        if !self.busy
            && let Some(job) = self.watcher.next_job()
        {
            self.busy = self.jobs.try_send(job).is_ok();
        }
        all
    }

    fn obey(&mut self, command: &Command, outbox: &mut Outbox) {
        let refused = || Event::Refused { text: READ_ONLY.to_owned() };
        match command {
            // The screen asks for these by itself; without a trainer there are none.
            Command::ShowBatch | Command::ShowRollout { .. } | Command::Cancel { .. } => {}
            Command::Export { name, path, bytes } => {
                outbox.emit(export(self.watcher.dir(), name, path.as_ref(), bytes));
            }
            Command::Prompt { id, .. } => {
                let (id, finish_reason) = (*id, "cancelled".to_owned());
                outbox.emit(Event::PromptDone { id, step: None, tokens: 0, seconds: 0.0, finish_reason, score: None });
                outbox.emit(refused());
            }
            command => outbox.emit(self.watcher.answer(command).unwrap_or_else(refused)),
        }
    }
}
