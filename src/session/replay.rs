//! A session over a run's files: their events in order, at a speed, and an answer to each command.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{Outbox, QUIET, export::export};
use crate::{
    protocol::{Command, Event},
    train::{Emit, Film, Frame, TrainError},
};

/// Interval at which the files are read for new lines.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest pause between two events, in seconds of the training: launches can be days apart.
const LONGEST: f64 = 2.0;
/// Shortest wait, in seconds.
const SHORTEST: f64 = 0.005;
/// The reply to a command that would train or change something.
const READ_ONLY: &str = "this is a replay of the run's files: nothing is trained or changed here";

/// Plays a film.
pub(super) struct Player {
    film: Film,
    speed: Option<f64>,
    /// An event that was read and not shown, and whether its time has come.
    ahead: Option<(Frame, bool)>,
    /// Seconds that were too short to wait for.
    owed: f64,
    /// The step of the newest event.
    step: usize,
    paused: bool,
    /// The end of the files was reached.
    at_end: bool,
}

impl Player {
    /// Only looks for a launch, so that a long run does not delay the screen.
    pub(super) fn new(film: Film, speed: Option<f64>) -> Result<Player, TrainError> {
        film.check()?;
        Ok(Player { film, speed, ahead: None, owed: 0.0, step: 0, paused: false, at_end: false })
    }

    /// What the screen begins with: a launch, and without a speed everything there is.
    fn begin(&mut self, outbox: &mut Outbox) -> Result<(), TrainError> {
        if self.speed.is_none() {
            let (info, past) = self.film.to_end()?;
            self.step = info.resumed_at;
            outbox.emit(Event::Started(Box::new(info)));
            outbox.emit(Event::Past(Box::new(past)));
            self.at_end = true;
            return Ok(());
        }
        loop {
            match self.film.next_frame()? {
                Some(frame) if matches!(frame.event, Event::Started(_)) => {
                    self.ahead = Some((frame, true));
                    return Ok(());
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    /// Plays until the screen stops it.
    pub(super) fn play(mut self, orders: &Receiver<Command>, outbox: &mut Outbox) {
        if let Err(e) = self.begin(outbox) {
            outbox.emit(Event::Finished { step: 0, reason: format!("failed: {e}"), failed: true, seconds: 0.0 });
            return;
        }
        let mut now = None;
        // A file that stays unreadable is one message.
        let mut failed = String::new();
        let mut due = Instant::now();
        loop {
            if !self.paused && Instant::now() >= due {
                match self.forward(&mut now, outbox) {
                    Ok(wait) => due = Instant::now() + wait,
                    Err(e) => {
                        let text = e.to_string();
                        if text != failed {
                            failed.clone_from(&text);
                            outbox.emit(Event::Refused { text });
                        }
                        due = Instant::now() + AGAIN;
                    }
                }
            }
            outbox.pump();
            let wait = if self.paused { QUIET } else { due.saturating_duration_since(Instant::now()).min(QUIET) };
            match orders.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(Command::Stop { .. }) => {
                    let reason = "stopped".to_owned();
                    outbox.emit(Event::Finished { step: self.step, reason, failed: false, seconds: 0.0 });
                    return;
                }
                Ok(command) => self.obey(&command, outbox),
            }
        }
    }

    /// Sends the events whose time has come; returns the time until the next one. `now` is the time in the film.
    fn forward(&mut self, now: &mut Option<f64>, outbox: &mut Outbox) -> Result<Duration, TrainError> {
        loop {
            let (frame, ripe) = match self.ahead.take() {
                Some(ahead) => ahead,
                None => {
                    if let Some(frame) = self.film.next_frame()? {
                        (frame, false)
                    } else {
                        if !std::mem::replace(&mut self.at_end, true) {
                            outbox.emit(Event::Paused { step: self.step });
                        }
                        return Ok(AGAIN);
                    }
                }
            };
            // What is added to the files is shown when it appears.
            if let Some(speed) = self.speed.filter(|_| !self.at_end && !ripe) {
                let between = match (*now, frame.time, &frame.event) {
                    (Some(before), Some(time), _) => (time - before).clamp(0.0, LONGEST),
                    (_, None, Event::Steps(steps)) => steps.iter().map(|s| s.step_ms / 1e3).sum::<f64>().min(LONGEST),
                    _ => 0.0,
                };
                *now = frame.time.or(*now);
                self.owed += between / speed;
                if self.owed > SHORTEST {
                    let wait = Duration::try_from_secs_f64(std::mem::take(&mut self.owed)).unwrap_or_default();
                    self.ahead = Some((frame, true));
                    return Ok(wait);
                }
            }
            self.show(frame, outbox);
            if outbox.waiting.len() > super::EVENTS {
                return Ok(Duration::from_millis(1));
            }
        }
    }

    fn show(&mut self, frame: Frame, outbox: &mut Outbox) {
        let Frame { step, time, event, .. } = frame;
        if let Some(step) = step {
            self.step = step as usize;
        }
        let event = match event {
            // Pauses of the training are none of the film.
            Event::Paused { .. } | Event::Resumed { .. } => return,
            Event::SaveFailed { step, error } | Event::StoreFailed { step, error } => Event::Note { step, text: error },
            Event::Guarded { step, reason, .. } => Event::Note { step, text: reason },
            Event::Refused { text } => Event::Note { step: self.step, text },
            event => event,
        };
        // Steps have no line of the log.
        let timed = time.is_some() && !matches!(event, Event::Steps(_));
        if timed {
            outbox.emit(Event::Clock(time));
        }
        outbox.emit(event);
        if timed {
            outbox.emit(Event::Clock(None));
        }
    }

    fn obey(&mut self, command: &Command, outbox: &mut Outbox) {
        match command {
            Command::Pause if !self.at_end => {
                self.paused = true;
                outbox.emit(Event::Paused { step: self.step });
            }
            Command::Resume if self.paused => {
                self.paused = false;
                outbox.emit(Event::Resumed { step: self.step });
            }
            // The screen asks for these by itself; without a trainer there are none.
            Command::ShowBatch | Command::ShowRollout { .. } | Command::Cancel { .. } => {}
            Command::Export { name, path, bytes } => {
                outbox.emit(export(Some(self.film.view().dir()), name, path.as_ref(), bytes));
            }
            Command::Prompt { id, .. } => {
                let (id, finish_reason) = (*id, "cancelled".to_owned());
                outbox.emit(Event::PromptDone { id, step: None, tokens: 0, seconds: 0.0, finish_reason, score: None });
                outbox.emit(Event::Refused { text: READ_ONLY.to_owned() });
            }
            command => {
                let refused = || Event::Refused { text: READ_ONLY.to_owned() };
                outbox.emit(self.film.answer(command).unwrap_or_else(refused));
            }
        }
    }
}
