//! Measures the speed of a stage and its training time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Number of steps over which the speed is averaged.
const SPEED_WINDOW: usize = 20;

/// The clock of a stage.
pub(super) struct Pace {
    /// Seconds and tokens of the recent steps, without other work.
    recent: VecDeque<(f64, usize)>,
    /// Time spent on steps since the last completed one.
    active: Duration,
    begun: Instant,
    /// Paused time since then.
    idle: Duration,
}

impl Pace {
    pub(super) fn new(begun: Instant) -> Pace {
        Pace { recent: VecDeque::new(), active: Duration::ZERO, begun, idle: Duration::ZERO }
    }

    /// Counts the time since `begun` as spent on steps.
    pub(super) fn stepped(&mut self, begun: Instant) {
        self.active += begun.elapsed();
    }

    /// Counts the time since `begun` as paused.
    pub(super) fn paused(&mut self, begun: Instant) {
        self.idle += begun.elapsed();
    }

    /// A step was completed: returns its seconds, and the recent tokens per second.
    pub(super) fn answered(&mut self, tokens: usize) -> (f64, f64) {
        let seconds = std::mem::take(&mut self.active).as_secs_f64();
        self.recent.push_back((seconds, tokens));
        if self.recent.len() > SPEED_WINDOW {
            self.recent.pop_front();
        }
        let (time, tokens) = self.recent.iter().fold((0.0, 0), |sum, r| (sum.0 + r.0, sum.1 + r.1));
        (seconds, tokens as f64 / time)
    }

    /// Seconds of the newest completed step.
    pub(super) fn newest(&self) -> f64 {
        self.recent.back().map_or(0.0, |r| r.0)
    }

    /// Seconds since the stage was opened, without pauses.
    pub(super) fn seconds(&self) -> f64 {
        self.begun.elapsed().saturating_sub(self.idle).as_secs_f64()
    }

    /// The clock of the same stage after a reopening.
    #[must_use]
    pub(super) fn again(self) -> Pace {
        Pace { idle: self.idle, ..Pace::new(self.begun) }
    }
}
