//! The film of a stage: its probes' completions from the first step on, with the charts' crosshair and the log in step.

use std::time::Duration;

use super::{AppState, Probe, ProbeEntry, Stage, steps::Walk};

/// Time that a completion is shown while the film runs.
const SHOWN: Duration = Duration::from_millis(400);

/// A film that is on the screen. Its place is the crosshair's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Film {
    /// Whether it runs; else it is moved by keys.
    pub running: bool,
    /// When the completion in view appeared.
    since: Duration,
}

impl Stage {
    /// The steps at which probes were completed, in order.
    fn probed(&self) -> Vec<usize> {
        let mut steps: Vec<usize> = self.probes.iter().flat_map(|p| &p.entries).map(|e| e.step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// The completion of a probe in view: the newest, or with a crosshair the one at or before its step, else the first.
    pub fn completion<'a>(&self, probe: &'a Probe) -> Option<&'a ProbeEntry> {
        let Some(step) = self.charts.cursor else { return probe.entries.last() };
        probe.entries.iter().rev().find(|e| e.step <= step).or_else(|| probe.entries.first())
    }
}

impl AppState {
    /// Whether only files are read: nothing trains behind this screen.
    pub fn is_read_only(&self) -> bool {
        self.watching.is_some() || self.live().run.as_ref().is_some_and(|run| run.info.read_only)
    }

    /// Whether the training of another process is watched.
    pub fn is_watched(&self) -> bool {
        self.watching.is_some() || self.live().run.as_ref().is_some_and(|run| run.info.watched)
    }

    /// Whether the stage in view has a film.
    pub fn has_film(&self) -> bool {
        self.has_charts() && self.shown().probed().len() > 1
    }

    /// Starts the film from its first completion, stops it, or continues it; at its end it starts again.
    pub fn run_film(&mut self) {
        let steps = self.shown().probed();
        let last = self.shown().charts.cursor.is_some_and(|at| Some(&at) >= steps.last());
        match &mut self.film {
            Some(film) if film.running => film.running = false,
            Some(film) if !last => (film.running, film.since) = (true, self.now),
            _ => {
                let Some(first) = steps.first() else { return };
                self.film = Some(Film { running: true, since: self.now });
                self.show_step(*first);
            }
        }
    }

    /// Closes the film: the charts and the probe show the newest step again. False if there is none.
    pub fn close_film(&mut self) -> bool {
        let open = self.film.take().is_some();
        if open {
            self.stages.shown_mut().charts.cursor = None;
            self.log_chosen = None;
        }
        open
    }

    /// Moves a film that is open; false if there is none.
    pub(crate) fn wind(&mut self, to: Walk) -> bool {
        if self.film.is_none() {
            return false;
        }
        let steps = self.shown().probed();
        let at = self.shown().charts.cursor.unwrap_or(0);
        let next = match to {
            Walk::Previous => steps.iter().rev().find(|s| **s < at),
            Walk::Next => steps.iter().find(|s| **s > at),
            Walk::First => steps.first(),
            Walk::Last => steps.last(),
            _ => return false,
        };
        self.film = self.film.map(|film| Film { running: false, ..film });
        if let Some(next) = next {
            self.show_step(*next);
        }
        true
    }

    /// Moves a running film whose time has come.
    pub(crate) fn tick_film(&mut self) {
        let now = self.now;
        let Some(film) = self.film.as_mut().filter(|film| film.running) else { return };
        if now.saturating_sub(film.since) < SHOWN {
            return;
        }
        film.since = now;
        let at = self.shown().charts.cursor.unwrap_or(0);
        match self.shown().probed().into_iter().find(|step| *step > at) {
            Some(next) => self.show_step(next),
            None => self.film = self.film.map(|film| Film { running: false, ..film }),
        }
    }

    /// Whether a running film needs the next frame.
    pub fn film_runs(&self) -> bool {
        self.film.is_some_and(|film| film.running)
    }

    fn show_step(&mut self, step: usize) {
        self.stages.shown_mut().point(step);
        self.log_chosen = self.line_at(step);
    }
}
