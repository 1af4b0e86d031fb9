//! Reads what a run's logs hold of earlier launches, for the screen.

use std::collections::VecDeque;

use serde_json::Value;

use super::lineage;
use crate::{
    base::StageId,
    protocol::{Event, Line, Past, StagePast, StepReport},
    store::{RunView, each_record},
    train::error::TrainError,
};

/// Most steps of a stage that are sent; of more, every n-th.
const MOST: usize = 8192;
/// The name of all tasks together.
const ALL: &str = "all";
/// Lines of the log that are sent.
const LINES: usize = 1000;

/// Steps in order, thinned as they come in, so that a run of any length takes the same memory.
#[derive(Default)]
struct Steps {
    kept: Vec<StepReport>,
    /// One of this many is kept; 0 before the first.
    every: usize,
    seen: usize,
    last: Option<StepReport>,
}

impl Steps {
    fn push(&mut self, step: StepReport) {
        self.every = self.every.max(1);
        if self.kept.len() == 2 * MOST {
            self.every *= 2;
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
        if self.seen.is_multiple_of(self.every) {
            self.kept.push(step);
            self.last = None;
        } else {
            self.last = Some(step);
        }
        self.seen += 1;
    }

    /// The kept steps, and the newest.
    fn take(mut self) -> Vec<StepReport> {
        self.kept.extend(self.last);
        self.kept
    }
}

/// A stage, the step up to which it counts, and what was found.
struct Found {
    stage: StageId,
    done: usize,
    steps: Steps,
    events: Vec<Line<Event>>,
}

/// The past of the stage `live` up to step `done`; with `all`, also that of the run's other stages up to their newest
/// checkpoints, and the log.
pub(crate) fn past(view: &RunView, live: StageId, done: usize, all: bool) -> Result<Past, TrainError> {
    let mut found: Vec<Found> = Vec::new();
    for stage in lineage::stages(view)? {
        let done = if stage.stage == live { Some(done) } else { stage.step.filter(|_| all) };
        let found_of = |done| Found { stage: stage.stage, done, steps: Steps::default(), events: Vec::new() };
        found.extend(done.map(found_of));
    }
    let disk = &**view.disk();
    each_record(disk, &view.metrics_path(), |value| {
        if let Some(of) = found.iter_mut().find(|f| counts(value, f.stage, f.done))
            && let Some(line) = Line::read(value)
        {
            of.steps.push(line.record);
        }
    })?;
    let mut log: VecDeque<Line<Event>> = VecDeque::new();
    each_record(disk, &view.events_path(), |value| {
        let Some(line) = Line::<Event>::read(value) else { return };
        let of = found.iter_mut().find(|f| counts(value, f.stage, f.done)).filter(|_| is_drawn(&line.record));
        // The same refusal over and over is one.
        let again = matches!(line.record, Event::Refused { .. })
            && log.back().is_some_and(|last| (last.stage, &last.record) == (line.stage, &line.record));
        if all && !again && is_told(&line.record) {
            if log.len() == LINES {
                log.pop_front();
            }
            log.push_back(line.clone());
        }
        if let Some(of) = of {
            of.events.push(line);
        }
    })?;
    let stages =
        found.into_iter().map(|f| StagePast { stage: f.stage, steps: f.steps.take(), events: f.events }).collect();
    Ok(Past { stages, log: all.then(|| log.into()) })
}

/// Whether a line of a log is about this stage and at most step `done`. A change applies from the step after it.
fn counts(line: &Value, stage: StageId, done: usize) -> bool {
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let most = done + usize::from(text("event") == Some("edited"));
    text("stage") == Some(stage.name())
        && line.get("step").and_then(Value::as_u64).is_some_and(|step| step as usize <= most)
}

/// Whether an event is part of a stage's panels.
fn is_drawn(event: &Event) -> bool {
    matches!(
        event,
        Event::Started(_)
            | Event::Eval { .. }
            | Event::Task(_)
            | Event::Probe { .. }
            | Event::Reward(_)
            | Event::Policy(_)
            | Event::SanityChecks { .. }
            | Event::Edited(_)
            | Event::Broken { .. }
    )
}

/// Whether an event may be a line of the log on the screen: not a figure of a single source, task or probe.
fn is_told(event: &Event) -> bool {
    match event {
        Event::Policy(report) => report.task == ALL,
        Event::Eval { .. } | Event::Task(_) | Event::Probe { .. } | Event::Voted(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_thinned_evenly_and_the_newest_is_kept() {
        for of in [0, 1, 7, 2 * MOST, 2 * MOST + 1, 100_000] {
            let mut steps = Steps::default();
            for step in 1..=of {
                steps.push(StepReport { step, ..StepReport::default() });
            }
            let kept = steps.take();
            assert!(kept.len() <= 2 * MOST + 1);
            assert_eq!(kept.last().map(|s| s.step), (of > 0).then_some(of));
            assert_eq!(kept.first().map(|s| s.step), (of > 0).then_some(1));
            let gaps: Vec<usize> = kept.windows(2).map(|w| w[1].step - w[0].step).collect();
            let even = gaps.iter().rev().skip(1).all(|gap| Some(gap) == gaps.first());
            assert!(even, "{of}");
        }
    }
}
