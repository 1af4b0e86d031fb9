//! The best checkpoint of a stage: a function of its evaluations and probes in `events.jsonl` and of the checkpoints
//! that exist.
//!
//! Nothing else records it. The log is on the disk before the checkpoint whose step it names, so that the choice is the
//! same after a kill, and whatever reads the run later finds the same one.

use std::collections::BTreeMap;

use crate::{
    base::{StageId, StageKind},
    protocol::{Event, Line, SourceInfo},
    store::{CheckpointId, RunView, StoreError, each_record},
};

/// The source under which a stage logs its figure over all sources or tasks.
const ALL: &str = "all";

/// The held-out figure of a stage: its name in the logs, and whether higher is better. A policy is judged by the reward
/// model: the built-in rule measures and chooses nothing.
pub(crate) fn figure_of(stage: StageId) -> (&'static str, bool) {
    match stage.kind() {
        StageKind::Text | StageKind::Answers | StageKind::Pairs => ("eval_loss", false),
        StageKind::Reward => ("heldout_accuracy", true),
        StageKind::Policy => ("reward", true),
    }
}

/// The newest completion of a probe.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// After this step.
    pub step: u64,
    /// The prompt.
    pub prompt: String,
    /// The continuation.
    pub text: String,
    /// Leading characters that are right.
    pub matched: usize,
    /// Characters expected.
    pub length: usize,
}

/// Whether a probe was whole, from a step on.
#[derive(Clone, Debug, Default)]
struct Recall {
    turns: Vec<(u64, bool)>,
}

impl Recall {
    fn see(&mut self, step: u64, whole: bool) {
        self.turns.retain(|(at, _)| *at < step);
        if self.turns.last().is_none_or(|(_, was)| *was != whole) {
            self.turns.push((step, whole));
        }
    }

    fn was_ever_whole(&self) -> bool {
        self.turns.iter().any(|(_, whole)| *whole)
    }

    fn is_whole_at(&self, step: u64) -> bool {
        self.turns.iter().rev().find(|(at, _)| *at <= step).is_some_and(|(_, whole)| *whole)
    }
}

/// The held-out figures and probes of a stage by step.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    stage: StageId,
    at: BTreeMap<u64, f64>,
    recalls: BTreeMap<String, Recall>,
    newest: BTreeMap<String, Asked>,
    /// The held-out text that the figures are measured on: names and tokens of the sources.
    held_out: Vec<(String, usize)>,
    /// Evaluations since the best one, or since the stage ended early.
    stale: usize,
    top: Option<f64>,
    ended: Option<u64>,
}

impl Figures {
    /// No figures yet.
    pub(crate) fn new(stage: StageId) -> Figures {
        Figures {
            stage,
            at: BTreeMap::new(),
            recalls: BTreeMap::new(),
            newest: BTreeMap::new(),
            held_out: Vec::new(),
            stale: 0,
            top: None,
            ended: None,
        }
    }

    /// The figures of a stage up to step `done`, from the run's log.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) fn read(view: &RunView, stage: StageId, done: u64) -> Result<Figures, StoreError> {
        let mut figures = Figures::new(stage);
        each(view, &mut |of, event| {
            if of == stage && step_of(&event).is_none_or(|step| step <= done) {
                figures.see(&event);
            }
        })?;
        Ok(figures)
    }

    /// The figures of all stages.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) fn of_all(view: &RunView) -> Result<BTreeMap<StageId, Figures>, StoreError> {
        let mut all = BTreeMap::new();
        each(view, &mut |stage, event| all.entry(stage).or_insert_with(|| Figures::new(stage)).see(&event))?;
        Ok(all)
    }

    /// Takes in an event of the stage, in the order of the log.
    pub(crate) fn see(&mut self, event: &Event) {
        match event {
            Event::Started(info) => {
                let done = info.resumed_at as u64;
                // Later steps are taken again.
                self.at.retain(|step, _| *step <= done);
                self.ended = self.ended.filter(|step| *step <= done);
                self.held_out_is(&info.sources);
            }
            Event::SetBack { step, .. } => {
                self.at.retain(|at, _| *at <= *step as u64);
                self.recount();
            }
            Event::Edited(edit) => self.held_out_is(&edit.sources),
            Event::Probe { step, prompt, text, expected, matched, length, recall, .. } => {
                let step = *step as u64;
                if *recall {
                    let whole = !expected.is_empty() && text.starts_with(expected.as_str());
                    self.recalls.entry(prompt.clone()).or_default().see(step, whole);
                }
                let asked =
                    Asked { step, prompt: prompt.clone(), text: text.clone(), matched: *matched, length: *length };
                self.newest.insert(prompt.clone(), asked);
            }
            Event::EndedEarly { step, .. } => {
                self.ended = Some(*step as u64);
                self.recount();
            }
            event => {
                if let Some((step, figure)) = self.figure_in(event).filter(|(_, figure)| figure.is_finite()) {
                    // A step that is measured again counts once.
                    if self.at.insert(step, figure).is_some() {
                        self.recount();
                    } else {
                        self.count(step, figure);
                    }
                }
            }
        }
    }

    /// The figure of a step.
    pub(crate) fn at(&self, step: u64) -> Option<f64> {
        self.at.get(&step).copied()
    }

    /// The figures by step.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, f64)> + '_ {
        self.at.iter().map(|(step, figure)| (*step, *figure))
    }

    /// The newest completion of every probe, by prompt.
    pub(crate) fn probes(&self) -> impl Iterator<Item = &Asked> {
        self.newest.values()
    }

    /// Evaluations since the best one.
    pub(crate) fn stale(&self) -> usize {
        self.stale
    }

    /// The step with the best figure, whether or not a checkpoint of it exists.
    pub(crate) fn top(&self) -> Option<(u64, f64)> {
        let top = self.top?;
        self.all().find(|(_, figure)| *figure == top)
    }

    /// The step at which the stage ended early.
    pub(crate) fn ended_early(&self) -> Option<u64> {
        self.ended
    }

    /// The checkpoints of the stage that have a figure, the best first. Those at which every probe of recall that was
    /// ever whole is whole come before the others; among equals the earlier one, so that an equal figure later moves
    /// nothing. Of the saves of a step only the last counts.
    pub(crate) fn ranked<'a>(&self, there: &'a [CheckpointId]) -> Vec<&'a CheckpointId> {
        let newest = |id: &CheckpointId| {
            !there.iter().any(|o| o.stage == id.stage && o.step == id.step && o.revision > id.revision)
        };
        let mut keyed: Vec<(usize, f64, &CheckpointId)> = there
            .iter()
            .filter(|id| id.stage == self.stage && newest(id))
            .filter_map(|id| Some((self.whole_at(id.step), self.at(id.step)?, id)))
            .collect();
        keyed.sort_by(|a, b| b.0.cmp(&a.0).then(self.better_first(a.1, b.1)).then(a.2.step.cmp(&b.2.step)));
        keyed.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The best checkpoint of the stage.
    pub(crate) fn best<'a>(&self, there: &'a [CheckpointId]) -> Option<&'a CheckpointId> {
        self.ranked(there).first().copied()
    }

    /// How many of the probes of recall that are still asked and were ever whole are whole at a step.
    fn whole_at(&self, step: u64) -> usize {
        let last = self.recalls.keys().filter_map(|prompt| self.newest.get(prompt)).map(|asked| asked.step).max();
        let asked = |prompt: &String| self.newest.get(prompt).map(|asked| asked.step) == last;
        let ever = self.recalls.iter().filter(|(prompt, recall)| asked(prompt) && recall.was_ever_whole());
        ever.filter(|(_, recall)| recall.is_whole_at(step)).count()
    }

    /// Orders two figures, the better one first.
    fn better_first(&self, a: f64, b: f64) -> std::cmp::Ordering {
        if figure_of(self.stage).1 { b.total_cmp(&a) } else { a.total_cmp(&b) }
    }

    fn count(&mut self, step: u64, figure: f64) {
        if self.top.is_none_or(|top| self.better_first(figure, top).is_lt()) {
            (self.top, self.stale) = (Some(figure), 0);
        } else if self.ended.is_none_or(|ended| step > ended) {
            self.stale += 1;
        }
    }

    /// Counts again after figures were dropped.
    fn recount(&mut self) {
        (self.top, self.stale) = (None, 0);
        for (step, figure) in self.all().collect::<Vec<_>>() {
            self.count(step, figure);
        }
    }

    /// Figures on other held-out text cannot be compared.
    fn held_out_is(&mut self, sources: &[SourceInfo]) {
        let held_out: Vec<(String, usize)> =
            sources.iter().map(|source| (source.name.clone(), source.held_out_tokens)).collect();
        if self.held_out != held_out {
            if !self.held_out.is_empty() {
                self.at.clear();
            }
            self.held_out = held_out;
        }
        self.recount();
    }

    /// The figure of the stage in an event.
    fn figure_in(&self, event: &Event) -> Option<(u64, f64)> {
        match (self.stage.kind(), event) {
            (
                StageKind::Text | StageKind::Answers | StageKind::Pairs,
                Event::Eval { step, source, eval_loss, sampled_loss, .. },
            ) if source == ALL => Some((*step as u64, sampled_loss.unwrap_or(*eval_loss))),
            (StageKind::Reward, Event::Reward(report)) => Some((report.step as u64, report.accuracy)),
            (StageKind::Policy, Event::Policy(report)) if report.task == ALL => {
                Some((report.step as u64, report.reward))
            }
            _ => None,
        }
    }
}

/// The step that a line of the log is sorted by when a stage continues from an earlier one.
fn step_of(event: &Event) -> Option<u64> {
    let step = match event {
        Event::Eval { step, .. } | Event::Probe { step, .. } | Event::EndedEarly { step, .. } => *step,
        Event::Reward(report) => report.step,
        Event::Policy(report) => report.step,
        _ => return None,
    };
    Some(step as u64)
}

/// Calls `take` with every event that concerns figures.
fn each(view: &RunView, take: &mut dyn FnMut(StageId, Event)) -> Result<(), StoreError> {
    const KINDS: [&str; 8] = ["started", "eval", "reward", "policy", "probe", "set_back", "edited", "ended_early"];
    each_record(&**view.disk(), &view.events_path(), |record| {
        let kind = record.get("event").and_then(serde_json::Value::as_str).unwrap_or_default();
        if KINDS.contains(&kind)
            && let Some(Line { stage, record, .. }) = Line::<Event>::read(record)
        {
            take(stage, record);
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::protocol::{Edit, PolicyReport, RewardReport};

    fn eval(step: usize, eval_loss: f64) -> Event {
        let source = ALL.to_owned();
        Event::Eval { step, source, eval_loss, eval_bits_per_byte: 1.0, train_loss: None, sampled_loss: None }
    }

    fn probe(step: usize, prompt: &str, text: &str) -> Event {
        Event::Probe {
            step,
            task: None,
            prompt: prompt.to_owned(),
            text: text.to_owned(),
            expected: "all".to_owned(),
            matched: text.len(),
            length: 3,
            recall: true,
            lines: Vec::new(),
        }
    }

    fn ids(stage: StageId, steps: &[u64]) -> Vec<CheckpointId> {
        steps.iter().map(|step| CheckpointId::new(stage, *step)).collect()
    }

    fn best(figures: &Figures, steps: &[u64]) -> Option<u64> {
        figures.best(&ids(figures.stage, steps)).map(|id| id.step)
    }

    fn pretrain(events: &[Event]) -> Figures {
        let mut figures = Figures::new(StageId::Pretrain);
        for event in events {
            figures.see(event);
        }
        figures
    }

    #[test]
    fn the_best_has_the_lowest_loss_among_the_checkpoints_with_a_figure() {
        let mut figures = pretrain(&[eval(100, 2.5), eval(200, 2.0), eval(300, 2.1), eval(400, f64::NAN)]);
        assert_eq!(best(&figures, &[100, 150, 200, 300, 400]), Some(200));
        assert_eq!(best(&figures, &[100, 300]), Some(300), "the best one is gone");
        assert_eq!(best(&figures, &[50, 400]), None, "neither was measured");
        assert_eq!(figures.stale(), 1);
        figures.see(&eval(500, 2.0));
        assert_eq!((best(&figures, &[200, 500]), figures.stale()), (Some(200), 2), "an equal figure moves nothing");
        // The last evaluation is on all held-out text; the choice compares the same sample.
        figures.see(&Event::Eval {
            step: 600,
            source: ALL.to_owned(),
            eval_loss: 1.0,
            eval_bits_per_byte: 1.0,
            train_loss: None,
            sampled_loss: Some(2.2),
        });
        assert_eq!(best(&figures, &[200, 600]), Some(200));
    }

    #[test]
    fn a_probe_that_was_ever_whole_must_be_whole() {
        let figures = pretrain(&[
            probe(100, "a", "al"),
            eval(100, 1.0),
            probe(200, "a", "all"),
            eval(200, 3.0),
            probe(300, "a", "all of"),
            eval(300, 2.0),
            probe(400, "a", "a"),
            eval(400, 1.5),
        ]);
        assert_eq!(best(&figures, &[100, 200, 300, 400]), Some(300));
        assert_eq!(best(&figures, &[100, 400]), Some(100), "where it is whole nowhere, the figure decides");
        // A probe that is no longer asked does not decide.
        let mut figures = figures;
        figures.see(&probe(500, "b", "no"));
        figures.see(&eval(500, 2.9));
        assert_eq!(best(&figures, &[100, 300, 500]), Some(100));
    }

    #[test]
    fn figures_of_steps_that_are_taken_again_or_of_other_text_do_not_count() {
        let back =
            Event::SetBack { step: 100, spike: 250, until: 400, factor: 0.25, reason: String::new(), checkpoint: None };
        let figures = pretrain(&[eval(100, 2.5), eval(200, 2.0), back]);
        assert_eq!((best(&figures, &[100, 200]), figures.stale()), (Some(100), 0));
        let edited = |tokens: usize| {
            let source =
                SourceInfo { name: "a".to_owned(), weight: 1.0, documents: 1, tokens: 10, held_out_tokens: tokens };
            Event::Edited(Box::new(Edit {
                step: 101,
                cause: crate::protocol::Cause::Files,
                text: String::new(),
                sources: vec![source],
                learning_rate: 1.0,
                batch: 0,
                seconds: None,
                replayed: false,
            }))
        };
        let mut figures = pretrain(&[edited(5), eval(100, 2.0), edited(5)]);
        assert_eq!(best(&figures, &[100]), Some(100), "the mix alone changed");
        figures.see(&edited(6));
        assert_eq!((best(&figures, &[100]), figures.top()), (None, None));
    }

    #[test]
    fn every_stage_has_its_figure() {
        let mut reward = Figures::new(StageId::Reward);
        for (step, accuracy) in [(50, 0.8), (100, 0.9), (150, 0.85)] {
            reward.see(&eval(step, 1.0 / step as f64));
            reward.see(&Event::Reward(RewardReport { step, accuracy, ..RewardReport::default() }));
        }
        assert_eq!((best(&reward, &[50, 100, 150]), reward.stale()), (Some(100), 1));
        let mut ppo = Figures::new(StageId::Ppo);
        for (step, reward, true_score) in [(8, 0.5, 0.1), (16, 0.4, 0.9)] {
            for task in [ALL, "other"] {
                let task = task.to_owned();
                ppo.see(&Event::Policy(PolicyReport { step, task, true_score, reward, ..PolicyReport::default() }));
            }
        }
        assert_eq!(best(&ppo, &[8, 16]), Some(8), "the rule chooses nothing");
    }

    #[test]
    fn of_the_saves_of_a_step_the_last_counts() {
        let figures = pretrain(&[eval(100, 2.5)]);
        let mut there = ids(StageId::Pretrain, &[100, 100]);
        there[1].revision = 1;
        assert_eq!(figures.best(&there).map(|id| id.revision), Some(1));
    }
}
