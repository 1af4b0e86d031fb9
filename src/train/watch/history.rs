//! What a log has said so far, without what was said twice or taken back.

use std::collections::{HashSet, VecDeque};

use crate::{
    base::StageId,
    protocol::{Event, Line, Past, StagePast, StepReport},
    train::run::replay::{LINES, Steps, is_drawn, is_told},
};

/// The stages of a log.
#[derive(Debug, Default)]
pub(super) struct History {
    stages: Vec<Of>,
    /// Hashes of the events.
    known: HashSet<u64>,
    log: VecDeque<Line<Event>>,
    /// Whether the log says that the training is over.
    pub(super) over: bool,
}

/// A stage.
#[derive(Debug)]
struct Of {
    stage: StageId,
    steps: Steps,
    /// Every step with the hash of its line.
    seen: Vec<(usize, u64)>,
    events: Vec<(u64, Line<Event>)>,
}

/// What a step is to the steps before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It follows them.
    Next,
    /// It is known.
    Known,
    /// The training went back: the steps from this one on no longer count, and were removed.
    Back,
}

impl History {
    fn of(&mut self, stage: StageId) -> &mut Of {
        let at = self.stages.iter().position(|of| of.stage == stage).unwrap_or_else(|| {
            self.stages.push(Of { stage, steps: Steps::default(), seen: Vec::new(), events: Vec::new() });
            self.stages.len() - 1
        });
        &mut self.stages[at]
    }

    fn find(&self, stage: StageId) -> Option<&Of> {
        self.stages.iter().find(|of| of.stage == stage)
    }

    /// The stages that it knows, each with its newest step.
    pub(super) fn stages(&self) -> impl Iterator<Item = (StageId, usize)> {
        self.stages.iter().map(|of| (of.stage, of.seen.last().map_or(0, |s| s.0)))
    }

    /// The newest step of a stage.
    pub(super) fn done(&self, stage: StageId) -> usize {
        self.find(stage).and_then(|of| of.seen.last()).map_or(0, |s| s.0)
    }

    /// Whether nothing was said of a stage.
    pub(super) fn is_new(&self, stage: StageId) -> bool {
        self.find(stage).is_none_or(|of| of.seen.is_empty() && of.events.is_empty())
    }

    /// Whether a line about a step was read before.
    pub(super) fn knows(&self, stage: StageId, step: usize, hash: u64) -> bool {
        let seen = self.find(stage).map_or(&[][..], |of| &of.seen);
        seen.binary_search_by_key(&step, |s| s.0).is_ok_and(|at| seen[at].1 == hash)
    }

    /// Adds a step, unless it is known.
    pub(super) fn add_step(&mut self, stage: StageId, step: StepReport, hash: u64) -> Place {
        let of = self.of(stage);
        let found = of.seen.binary_search_by_key(&step.step, |s| s.0);
        let place = match found {
            Ok(at) if of.seen[at].1 == hash => return Place::Known,
            Err(at) if at == of.seen.len() => Place::Next,
            _ => Place::Back,
        };
        if place == Place::Back {
            self.cut(stage, step.step.saturating_sub(1));
        }
        let of = self.of(stage);
        of.seen.push((step.step, hash));
        of.steps.push(step);
        place
    }

    /// Adds an event; false if it is known.
    pub(super) fn add_event(&mut self, line: &Line<Event>, hash: u64) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        if is_told(&line.record) {
            if self.log.len() == LINES {
                self.log.pop_front();
            }
            self.log.push_back(line.clone());
        }
        self.of(line.stage).events.push((hash, line.clone()));
        true
    }

    /// Whether a probe was completed at a step.
    pub(super) fn has_probe(&self, stage: StageId, at: usize, of: &str) -> bool {
        let is = |line: &Line<Event>| matches!(&line.record, Event::Probe { step, prompt, .. } if *step == at && prompt == of);
        self.find(stage).is_some_and(|known| known.events.iter().any(|(_, line)| is(line)))
    }

    /// Whether the log says that a checkpoint of a step was saved.
    pub(super) fn has_saved(&self, stage: StageId, at: usize) -> bool {
        let is = |line: &Line<Event>| matches!(&line.record, Event::Saved { step, .. } if *step == at);
        self.find(stage).is_some_and(|known| known.events.iter().any(|(_, line)| is(line)))
    }

    /// Forgets what a stage did after a step; false if there is nothing.
    pub(super) fn cut(&mut self, stage: StageId, after: usize) -> bool {
        let Some(of) = self.stages.iter_mut().find(|of| of.stage == stage) else { return false };
        let before = (of.seen.len(), of.events.len());
        of.seen.truncate(of.seen.partition_point(|s| s.0 <= after));
        of.steps.cut(after);
        let known = &mut self.known;
        of.events.retain(|(hash, line)| {
            // A change applies from the step after it.
            let late = line
                .record
                .step()
                .is_some_and(|step| step > after + usize::from(matches!(line.record, Event::Edited(_))));
            if late {
                known.remove(hash);
            }
            !late
        });
        before != (of.seen.len(), of.events.len())
    }

    /// What the screen draws of a stage.
    pub(super) fn past_of(&self, stage: StageId) -> Option<StagePast> {
        let of = self.find(stage)?;
        let drawn = of.events.iter().map(|(_, line)| line).filter(|line| is_drawn(&line.record));
        Some(StagePast { stage, steps: of.steps.clone().take(), events: drawn.cloned().collect() })
    }

    /// What the screen draws of all stages, and the log.
    pub(super) fn past(&self) -> Past {
        let stages = self.stages.iter().filter_map(|of| self.past_of(of.stage)).collect();
        Past { stages, log: Some(self.log.iter().cloned().collect()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn step(step: usize, loss: f64) -> StepReport {
        StepReport { step, loss, ..StepReport::default() }
    }

    fn kept(history: &History) -> Vec<(usize, f64)> {
        let past = history.past_of(StageId::Sft).unwrap();
        past.steps.iter().map(|s| (s.step, s.loss)).collect()
    }

    #[test]
    fn steps_that_are_read_again_count_once_and_a_resume_cuts() {
        let mut history = History::default();
        for at in 1..=6 {
            assert_eq!(history.add_step(StageId::Sft, step(at, at as f64), at as u64), Place::Next);
        }
        let saved = |step, path: &str| {
            let path = path.into();
            Line::at(1.0, StageId::Sft, Event::Saved { step, path, seconds: 1.0, bytes: 1, best: false })
        };
        assert!(history.add_event(&saved(2, "a"), 102) && history.add_event(&saved(6, "b"), 106));
        // The file was replaced by one with the same lines.
        for at in 1..=6 {
            assert_eq!(history.add_step(StageId::Sft, step(at, at as f64), at as u64), Place::Known);
        }
        assert!(!history.add_event(&saved(6, "b"), 106));
        // A resume at step 3 repeats step 4 with another loss.
        assert_eq!(history.add_step(StageId::Sft, step(4, 40.0), 44), Place::Back);
        assert_eq!(history.add_step(StageId::Sft, step(5, 50.0), 55), Place::Next);
        assert_eq!(kept(&history), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0)]);
        assert!(history.has_saved(StageId::Sft, 2) && !history.has_saved(StageId::Sft, 6));
        // What was taken back may come again.
        assert!(history.add_event(&saved(6, "b"), 106));
        assert_eq!((history.done(StageId::Sft), history.done(StageId::Dpo)), (5, 0));
    }
}
