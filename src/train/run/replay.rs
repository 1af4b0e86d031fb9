//! Reads what a run's logs hold of earlier launches, for the screen.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::lineage;
use crate::{
    base::StageId,
    protocol::{Event, Line, Past, StagePast, StepReport},
    store::{RunView, each_line, each_record},
    train::error::TrainError,
};

/// Steps of a stage that are sent, about; of more, those with the extremes of every so many.
const MOST: usize = 8192;
/// The name of all tasks together.
const ALL: &str = "all";
/// Lines of the log that are sent.
pub(in crate::train) const LINES: usize = 1000;

/// Steps in order, thinned as they come in, so that a run of any length takes the same memory: of every so many the
/// first, those with the least and the greatest loss and gradient norm, and one whose loss is not finite. No extreme of
/// the curves is lost.
#[derive(Clone, Debug, Default)]
pub(in crate::train) struct Steps {
    /// Each of `every` steps; the newest may have fewer.
    groups: Vec<Vec<StepReport>>,
    kept: usize,
    /// 0 before the first.
    every: usize,
    seen: usize,
    /// The newest, which is in no group yet.
    last: Option<StepReport>,
}

impl Steps {
    /// Adds the next step.
    pub(in crate::train) fn push(&mut self, step: StepReport) {
        if let Some(before) = self.last.replace(step) {
            self.place(before);
        }
    }

    /// The newest step.
    pub(in crate::train) fn newest(&self) -> Option<usize> {
        self.last.as_ref().map(|last| last.step)
    }

    /// Puts a step into its group.
    fn place(&mut self, step: StepReport) {
        self.every = self.every.max(1);
        if self.seen.is_multiple_of(self.every) {
            self.groups.push(Vec::new());
        }
        self.seen += 1;
        if let Some(group) = self.groups.last_mut() {
            let before = group.len();
            group.push(step);
            reduce(group);
            self.kept = self.kept + group.len() - before;
        }
        while self.kept > 2 * MOST {
            self.every *= 2;
            let mut groups = std::mem::take(&mut self.groups).into_iter();
            while let Some(mut group) = groups.next() {
                group.extend(groups.next().into_iter().flatten());
                reduce(&mut group);
                self.groups.push(group);
            }
            self.kept = self.groups.iter().map(Vec::len).sum();
        }
    }

    /// Forgets the steps after one.
    pub(in crate::train) fn cut(&mut self, after: usize) {
        for group in &mut self.groups {
            group.retain(|s| s.step <= after);
        }
        self.groups.retain(|group| !group.is_empty());
        self.kept = self.groups.iter().map(Vec::len).sum();
        self.last.take_if(|last| last.step > after);
        // The next step begins a group.
        self.seen = 0;
    }

    /// The kept steps, and the newest.
    pub(in crate::train) fn take(self) -> Vec<StepReport> {
        self.groups.into_iter().flatten().chain(self.last).collect()
    }
}

/// Drops the steps of a group that are none of its extremes.
fn reduce(group: &mut Vec<StepReport>) {
    if group.len() < 2 {
        return;
    }
    let mut keep = vec![false; group.len()];
    keep[0] = true;
    for figure in [|s: &StepReport| s.loss, |s: &StepReport| s.grad_norm] {
        let finite = || group.iter().enumerate().filter(|(_, s)| figure(s).is_finite());
        let extremes = [
            finite().min_by(|a, b| figure(a.1).total_cmp(&figure(b.1))),
            finite().max_by(|a, b| figure(a.1).total_cmp(&figure(b.1))),
        ];
        extremes.into_iter().flatten().for_each(|(at, _)| keep[at] = true);
    }
    if let Some(at) = group.iter().position(|s| !s.loss.is_finite()) {
        keep[at] = true;
    }
    let mut at = 0;
    group.retain(|_| {
        at += 1;
        keep[at - 1]
    });
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
    let stages = lineage::stages(view)?;
    let counted = |stage: StageId| {
        let of = stages.iter().find(|of| of.stage == stage)?;
        if stage == live { Some(done) } else { of.step.filter(|_| all) }
    };
    let read = steps(view, counted)?;
    past_with(view, read.steps, &StageId::ALL.map(|stage| (stage, counted(stage))), all)
}

/// What metrics.jsonl holds.
#[derive(Debug, Default)]
pub(in crate::train) struct Logged {
    /// The steps of each stage.
    pub steps: BTreeMap<StageId, Steps>,
    /// The offset after the last line.
    pub end: u64,
    /// The time of its newest line.
    pub time: Option<f64>,
}

/// The steps of the stages, of each up to one if it counts at all.
pub(in crate::train) fn steps(
    view: &RunView,
    counted: impl Fn(StageId) -> Option<usize>,
) -> Result<Logged, TrainError> {
    let counted = StageId::ALL.map(|stage| (stage, counted(stage)));
    let (mut steps, mut newest): (BTreeMap<StageId, Steps>, Option<f64>) = (BTreeMap::new(), None);
    let end = each_line(&**view.disk(), &view.metrics_path(), |line| {
        let Some(Line { stage, time, record }) = StepReport::read(line) else { return };
        newest = time.map_or(newest, |time| newest.map(|newest| newest.max(time)).or(Some(time)));
        if counted.iter().any(|(of, most)| *of == stage && most.is_some_and(|most| record.step <= most)) {
            steps.entry(stage).or_default().push(record);
        }
    })?;
    Ok(Logged { steps, end, time: newest })
}

/// The past of the stages, of each up to the step that counts, with their steps.
pub(in crate::train) fn past_with(
    view: &RunView,
    mut steps: BTreeMap<StageId, Steps>,
    counted: &[(StageId, Option<usize>)],
    all: bool,
) -> Result<Past, TrainError> {
    let disk = &**view.disk();
    let found = counted.iter().filter_map(|(stage, done)| {
        Some(Found {
            stage: *stage,
            done: (*done)?,
            steps: steps.remove(stage).unwrap_or_default(),
            events: Vec::new(),
        })
    });
    let mut found: Vec<Found> = found.collect();
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
pub(in crate::train) fn is_drawn(event: &Event) -> bool {
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
pub(in crate::train) fn is_told(event: &Event) -> bool {
    match event {
        Event::Policy(report) => report.task == ALL,
        Event::Eval { .. } | Event::Task(_) | Event::Probe { .. } | Event::Voted { .. } => false,
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
            assert!(kept.len() <= 2 * MOST + 1 && (of > 2 * MOST || kept.len() == of), "{of}: {}", kept.len());
            assert_eq!(kept.last().map(|s| s.step), (of > 0).then_some(of));
            assert_eq!(kept.first().map(|s| s.step), (of > 0).then_some(1));
            let widest = kept.windows(2).map(|w| w[1].step - w[0].step).max().unwrap_or(0);
            assert!(widest <= 16 && widest * kept.len() <= 4 * of.max(1), "{of}: {widest}");
        }
    }

    /// A bug: of a long run every n-th step was sent, so that a spike was gone once the run was opened again.
    #[test]
    fn no_extreme_of_a_long_run_is_lost() {
        let of = |step: usize| ((step as u64).wrapping_mul(2_654_435_761) % 100_003) as f64;
        let mut steps = Steps::default();
        let (mut loss, mut norm) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
        for step in 1..=300_000 {
            let report = StepReport {
                step,
                loss: if step == 77_777 { f64::NAN } else { of(step) },
                grad_norm: of(step + 13),
                ..StepReport::default()
            };
            if report.loss.is_finite() {
                loss = (loss.0.min(report.loss), loss.1.max(report.loss));
            }
            norm = (norm.0.min(report.grad_norm), norm.1.max(report.grad_norm));
            steps.push(report);
        }
        let kept = steps.take();
        assert!(kept.len() <= 2 * MOST + 1 && kept.windows(2).all(|w| w[0].step < w[1].step), "{}", kept.len());
        let range = |figure: fn(&StepReport) -> f64| {
            let finite = kept.iter().map(figure).filter(|x| x.is_finite());
            finite.fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)))
        };
        assert_eq!((range(|s| s.loss), range(|s| s.grad_norm)), (loss, norm));
        assert!(kept.iter().any(|s| s.step == 77_777));
        // Everywhere, not only over the whole run.
        for from in (1..=300_000).step_by(8192) {
            let part = from..(from + 8192).min(300_001);
            let exact = part.clone().filter(|s| *s != 77_777).map(of).fold(f64::MIN, f64::max);
            let near = kept.iter().filter(|s| part.contains(&s.step) && s.loss.is_finite());
            assert_eq!(near.map(|s| s.loss).fold(f64::MIN, f64::max), exact, "from {from}");
        }
    }
}
