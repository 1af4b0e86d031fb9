//! Computes the figures of a report from a run's logs. Pure: no files, no clock.

use std::{cmp::Ordering, collections::HashMap};

use super::{
    logs::StageLog,
    report::{Facts, Figures, Named, Policy, Pretrain, Report, Reward, Sft, Stages, Task, Truth, Work},
};
use crate::{
    base::{StageId, StageKind},
    protocol::{Event, JudgedAnswer, PolicyReport, TaskReport},
};

/// The beginning of 春晓, a probe of pretraining.
const CHUNXIAO: &str = "春眠不觉晓，";
/// The name of figures over all sources or tasks.
const ALL: &str = "all";

impl Report {
    /// The report of a run with these logs and judged answers.
    pub(super) fn new(facts: Facts, logs: &[StageLog], answers: &[JudgedAnswer]) -> Report {
        let begun = logs.iter().filter(|l| !l.steps.is_empty());
        let earlier: f64 = logs.iter().map(|l| seconds(l, true)).sum();
        let first = logs.iter().find_map(|l| l.starts().next_back());
        Report {
            event: "report",
            stages: Stages(begun.map(|l| (l.stage, Figures::new(l, answers))).collect()),
            run: facts.run,
            size: facts.size,
            seed: facts.seed,
            engine: facts.engine,
            adapter: facts.adapter,
            parameters: first.map(|s| s.parameters),
            seconds: facts.seconds + earlier,
            launch_seconds: facts.seconds,
            failed: facts.failed,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Figures {
    fn new(log: &StageLog, answers: &[JudgedAnswer]) -> Figures {
        match log.stage.kind() {
            StageKind::Text => Figures::Text(Pretrain::new(log)),
            StageKind::Answers => Figures::Answers(Sft::new(log)),
            StageKind::Reward => Figures::Reward(Reward::new(log)),
            StageKind::Policy | StageKind::Pairs => Figures::Policy(Policy::new(log, answers)),
        }
    }
}

/// A figure; None if it was not measured (null in the log).
fn measured(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

fn interval((low, high): (f64, f64)) -> Option<[f64; 2]> {
    Some([measured(low)?, measured(high)?])
}

impl Work {
    fn new(log: &StageLog) -> Work {
        let starts = launches(log);
        let launch = match (log.now, starts.last()) {
            (false, _) => "earlier",
            (true, Some(s)) if s.from > 0 => "both",
            (true, _) => "this",
        };
        let started = log.starts().next_back();
        Work {
            seconds: seconds(log, false),
            steps: steps(log),
            launch,
            engine: started.map(|s| s.engine.clone()),
            adapter: started.map(|s| s.adapter.clone()),
        }
    }
}

fn steps(log: &StageLog) -> usize {
    log.steps.iter().map(|s| s.0).max().unwrap_or(0)
}

/// One launch of a stage.
struct Launch {
    /// The step it resumed from.
    from: usize,
    /// Its seconds, if it ended regularly.
    seconds: Option<f64>,
}

fn launches(log: &StageLog) -> Vec<Launch> {
    let mut all: Vec<Launch> = Vec::new();
    for event in &log.events {
        match (event, all.last_mut()) {
            (Event::Started(info), _) => all.push(Launch { from: info.resumed_at, seconds: None }),
            (Event::Finished { seconds, .. }, Some(open)) => open.seconds = measured(*seconds),
            _ => {}
        }
    }
    all
}

/// Wall-clock seconds of a stage; with `earlier` without the current launch. A killed launch counts with the steps that
/// a later one did not repeat; one without a step counts nothing.
fn seconds(log: &StageLog, earlier: bool) -> f64 {
    let all = launches(log);
    let end = steps(log);
    let take = if earlier && log.now { all.len().saturating_sub(1) } else { all.len() };
    let each = |(i, launch): (usize, &Launch)| {
        let to = all.get(i + 1).map_or(end, |next| next.from);
        if to <= launch.from {
            return 0.0;
        }
        let within = log.steps.iter().filter(|(step, _)| *step > launch.from && *step <= to);
        launch.seconds.unwrap_or_else(|| within.filter_map(|(_, ms)| measured(ms / 1e3)).sum())
    };
    all.iter().enumerate().take(take).map(each).sum()
}

/// The newest validation over all sources: nats per token and bits per byte.
fn validation(log: &StageLog) -> (Option<f64>, Option<f64>) {
    let all = log.events.iter().rev().find_map(|e| match e {
        Event::Eval { source, eval_loss, eval_bits_per_byte, .. } if source == ALL => {
            Some((measured(*eval_loss), measured(*eval_bits_per_byte)))
        }
        _ => None,
    });
    all.unwrap_or_default()
}

impl Pretrain {
    fn new(log: &StageLog) -> Pretrain {
        let probe = log.events.iter().rev().find_map(|e| match e {
            Event::Probe { prompt, matched, length, .. } if prompt == CHUNXIAO => Some((*matched, *length)),
            _ => None,
        });
        let (eval_loss, eval_bits_per_byte) = validation(log);
        Pretrain {
            chunxiao_match: probe.filter(|(_, of)| *of > 0).map(|(right, of)| right as f64 / of as f64),
            eval_loss,
            eval_bits_per_byte,
            work: Work::new(log),
        }
    }
}

impl Sft {
    fn new(log: &StageLog) -> Sft {
        let reports = || {
            log.events.iter().filter_map(|e| match e {
                Event::Task(report) => Some(report),
                _ => None,
            })
        };
        let newest = reports().next_back().map(|r| r.step);
        let mut tasks: Vec<(String, Task)> = Vec::new();
        for report in reports().filter(|r| Some(r.step) == newest) {
            let Some(task) = Task::new(report) else { continue };
            // Two sources may have a task with the same name.
            match tasks.iter_mut().find(|(known, _)| *known == report.task) {
                Some((_, known)) => *known = known.with(&task),
                None => tasks.push((report.task.clone(), task)),
            }
        }
        let all = tasks.iter().map(|(_, t)| t.clone()).reduce(|sum, t| sum.with(&t)).filter(|t| t.examples > 0);
        Sft {
            end_rate: all.as_ref().map(|t| t.end_rate),
            exact_match: all.as_ref().map(|t| t.exact_match),
            tasks: Named(tasks),
            eval_loss: validation(log).0,
            work: Work::new(log),
        }
    }
}

impl Task {
    fn new(r: &TaskReport) -> Option<Task> {
        Some(Task {
            exact_match: measured(r.exact_match)?,
            char_f1: measured(r.char_f1)?,
            end_rate: measured(r.end_rate)?,
            eval_loss: measured(r.eval_loss)?,
            examples: r.examples,
        })
    }

    /// Both tasks combined, weighted by examples.
    fn with(&self, other: &Task) -> Task {
        let all = self.examples + other.examples;
        let share = other.examples as f64 / all.max(1) as f64;
        let mean = |a: f64, b: f64| a + share * (b - a);
        Task {
            exact_match: mean(self.exact_match, other.exact_match),
            char_f1: mean(self.char_f1, other.char_f1),
            end_rate: mean(self.end_rate, other.end_rate),
            eval_loss: mean(self.eval_loss, other.eval_loss),
            examples: all,
        }
    }
}

impl Reward {
    fn new(log: &StageLog) -> Reward {
        let newest = log.events.iter().rev().find_map(|e| match e {
            Event::Reward(report) => Some(report),
            _ => None,
        });
        Reward {
            heldout_accuracy: newest.and_then(|r| measured(r.accuracy)),
            ci95: newest.and_then(|r| interval(r.ci95)),
            length_accuracy: newest.and_then(|r| measured(r.by_length)),
            margin: newest.and_then(|r| measured(r.margin)),
            pairs: newest.map(|r| r.pairs),
            pairs_trained: documents(log),
            work: Work::new(log),
        }
    }
}

impl Policy {
    fn new(log: &StageLog, answers: &[JudgedAnswer]) -> Policy {
        let reports: Vec<&PolicyReport> = log
            .events
            .iter()
            .filter_map(|e| match e {
                Event::Policy(report) => Some(report),
                _ => None,
            })
            .collect();
        let newest_of =
            |task: &str, late: bool| reports.iter().rev().find(|r| r.task == task && (r.step > 0) == late).copied();
        let (before, after) = (|task: &str| newest_of(task, false), |task: &str| newest_of(task, true));
        let (first, newest) = (before(ALL), after(ALL));
        let was = |figure: fn(&PolicyReport) -> f64| first.and_then(|r| measured(figure(r)));
        let is_now = |figure: fn(&PolicyReport) -> f64| newest.and_then(|r| measured(figure(r)));
        let mut names: Vec<&str> = Vec::new();
        for name in reports.iter().map(|r| r.task.as_str()).filter(|name| *name != ALL) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let truth = |task: &str| {
            let (first, newest) = (before(task), after(task));
            let value = Truth {
                true_before: first.and_then(|r| measured(r.true_score)),
                true_after: newest.and_then(|r| measured(r.true_score)),
                prompts: newest.or(first).map(|r| r.prompts),
            };
            (task.to_owned(), value)
        };
        let measured_at = newest.map(|r| r.step);
        let won = |figure| measured_at.and_then(|step| wins(answers, log.stage, step, figure));
        let (distinct2_before, distinct2_after) = (was(|r| r.distinct2), is_now(|r| r.distinct2));
        Policy {
            true_before: was(|r| r.true_score),
            true_after: is_now(|r| r.true_score),
            ci95_before: first.and_then(|r| interval(r.ci95)),
            ci95_after: newest.and_then(|r| interval(r.ci95)),
            rm_before: was(|r| r.reward),
            rm_after: is_now(|r| r.reward),
            kl: is_now(|r| r.kl),
            end_rate: is_now(|r| r.end_rate),
            end_rate_before: was(|r| r.end_rate),
            distinct2_before,
            distinct2_after,
            distinct2_ratio: distinct2_before
                .filter(|b| *b > 0.0)
                .and_then(|before| distinct2_after.map(|after| after / before)),
            length_before: was(|r| r.length),
            length_after: is_now(|r| r.length),
            win_rate: won(|a| a.reward),
            win_rate_true: won(|a| Some(f64::from(u8::from(a.good)))),
            prompts: newest.or(first).map(|r| r.prompts),
            prompts_trained: documents(log),
            measured_at,
            tasks: Named(names.into_iter().map(truth).collect()),
            work: Work::new(log),
        }
    }
}

/// Of the prompts that both the fine-tuned model and the policy answered, the share for which the policy's figure is
/// higher; ties count half.
fn wins(
    answers: &[JudgedAnswer],
    stage: StageId,
    step: usize,
    figure: fn(&JudgedAnswer) -> Option<f64>,
) -> Option<f64> {
    let of = |step: usize| -> HashMap<(&str, &str), f64> {
        let those = answers.iter().filter(|a| a.stage == stage && a.step == step);
        // If an answer was judged twice at the same step, the last verdict counts.
        those.filter_map(|a| Some(((a.task.as_str(), a.prompt.as_str()), figure(a)?))).collect()
    };
    let (before, after) = (of(0), of(step));
    let points: Vec<f64> = after
        .iter()
        .filter_map(|(key, now)| {
            Some(match now.total_cmp(before.get(key)?) {
                Ordering::Greater => 1.0,
                Ordering::Equal => 0.5,
                Ordering::Less => 0.0,
            })
        })
        .collect();
    (!points.is_empty()).then(|| points.iter().sum::<f64>() / points.len() as f64)
}

/// Training documents of a stage with one source.
fn documents(log: &StageLog) -> Option<usize> {
    Some(log.starts().next_back()?.sources.first()?.documents)
}
