//! The figures of a report, out of what a run's logs hold. Pure: no file, no clock.

use std::{cmp::Ordering, collections::HashMap};

use serde_json::Value;

use super::{
    logs::StageLog,
    report::{Facts, LINE, Named, Policy, Pretrain, Report, Reward, Sft, Task, Truth, Work},
};
use crate::base::StageId;

/// The beginning of 春晓, which is completed again and again while a run pretrains.
const CHUNXIAO: &str = "春眠不觉晓，";
/// The name of figures over all sources, or all tasks.
const ALL: &str = "all";

impl Report {
    /// The report of a run whose logs these are, with the answers that were judged on the way.
    pub(super) fn new(facts: Facts, logs: &[StageLog], answers: &[Value]) -> Report {
        let begun = |stage| logs.iter().find(|l| l.stage == stage).filter(|l| !l.steps.is_empty());
        let sibling = |l: &&StageLog| !LINE.contains(&l.stage) && !l.steps.is_empty();
        let policy = |l: &StageLog| Policy::new(l, answers);
        let earlier: f64 = logs.iter().map(|l| seconds(l, true)).sum();
        let first = logs.iter().find_map(|l| last(&l.events, "started"));
        Report {
            event: "report",
            pretrain: begun(StageId::Pretrain).map(Pretrain::new),
            sft: begun(StageId::Sft).map(Sft::new),
            reward: begun(StageId::Reward).map(Reward::new),
            ppo: begun(StageId::Ppo).map(policy),
            siblings: Named(logs.iter().filter(sibling).map(|l| (l.stage, policy(l))).collect()),
            run: facts.run,
            size: facts.size,
            seed: facts.seed,
            engine: facts.engine,
            adapter: facts.adapter,
            parameters: first.and_then(|s| whole(s, "parameters")),
            seconds: facts.seconds + earlier,
            sitting_seconds: facts.seconds,
            failed: facts.failed,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Work {
    fn new(log: &StageLog) -> Work {
        let starts = sittings(log);
        let sitting = match (log.now, starts.last()) {
            (false, _) => "earlier",
            (true, Some(s)) if s.from > 0 => "both",
            (true, _) => "this",
        };
        let started = last(&log.events, "started");
        Work {
            seconds: seconds(log, false),
            steps: log.steps.iter().map(|s| s.0).max().unwrap_or(0),
            sitting,
            engine: started.and_then(|s| text(s, "engine")),
            adapter: started.and_then(|s| text(s, "adapter")),
        }
    }
}

/// One time that a stage was opened.
struct Sitting {
    /// The step it went on from.
    from: u64,
    /// Its seconds, where it came to its end.
    seconds: Option<f64>,
}

fn sittings(log: &StageLog) -> Vec<Sitting> {
    let mut all: Vec<Sitting> = Vec::new();
    for event in &log.events {
        if is(event, "started") {
            all.push(Sitting { from: whole(event, "step").unwrap_or(0), seconds: None });
        } else if let (true, Some(open)) = (is(event, "finished"), all.last_mut()) {
            open.seconds = number(event, "seconds");
        }
    }
    all
}

/// Wall seconds of a stage, of the sittings before this one alone with `earlier`. Of a sitting that was killed
/// the steps are counted that stand; of one that made no step, nothing.
fn seconds(log: &StageLog, earlier: bool) -> f64 {
    let all = sittings(log);
    let end = log.steps.iter().map(|s| s.0).max().unwrap_or(0);
    let take = if earlier && log.now { all.len().saturating_sub(1) } else { all.len() };
    let each = |(i, sitting): (usize, &Sitting)| {
        let to = all.get(i + 1).map_or(end, |next| next.from);
        if to <= sitting.from {
            return 0.0;
        }
        let within = log.steps.iter().filter(|(step, _)| *step > sitting.from && *step <= to);
        sitting.seconds.unwrap_or_else(|| within.map(|(_, ms)| ms / 1e3).sum())
    };
    all.iter().enumerate().take(take).map(each).sum()
}

impl Pretrain {
    fn new(log: &StageLog) -> Pretrain {
        let probe = log.events.iter().rev().find(|e| is(e, "probe") && says(e, "prompt", CHUNXIAO));
        let share = |p: &Value| {
            let length = number(p, "length").filter(|n| *n > 0.0)?;
            Some(number(p, "match")? / length)
        };
        let eval = log.events.iter().rev().find(|e| is(e, "eval") && says(e, "source", ALL));
        Pretrain {
            chunxiao_match: probe.and_then(share),
            eval_loss: eval.and_then(|e| number(e, "eval_loss")),
            eval_bits_per_byte: eval.and_then(|e| number(e, "eval_bits_per_byte")),
            work: Work::new(log),
        }
    }
}

impl Sft {
    fn new(log: &StageLog) -> Sft {
        let newest = last(&log.events, "task").and_then(|e| whole(e, "step"));
        let told = log.events.iter().filter(|e| is(e, "task") && whole(e, "step") == newest);
        let mut tasks: Vec<(String, Task)> = Vec::new();
        for (name, task) in told.filter_map(|e| Some((text(e, "task")?, Task::new(e)?))) {
            // Two sources may have a task of one name.
            match tasks.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = known.with(&task),
                None => tasks.push((name, task)),
            }
        }
        let all = tasks.iter().map(|(_, t)| t.clone()).reduce(|sum, t| sum.with(&t)).filter(|t| t.examples > 0);
        let eval = log.events.iter().rev().find(|e| is(e, "eval") && says(e, "source", ALL));
        Sft {
            end_rate: all.as_ref().map(|t| t.end_rate),
            exact_match: all.as_ref().map(|t| t.exact_match),
            tasks: Named(tasks),
            eval_loss: eval.and_then(|e| number(e, "eval_loss")),
            work: Work::new(log),
        }
    }
}

impl Task {
    fn new(event: &Value) -> Option<Task> {
        Some(Task {
            exact_match: number(event, "exact_match")?,
            char_f1: number(event, "char_f1")?,
            end_rate: number(event, "end_rate")?,
            eval_loss: number(event, "eval_loss")?,
            examples: whole(event, "examples")?,
        })
    }

    /// Both together, each example counting once.
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
        let told = last(&log.events, "reward");
        let figure = |key: &str| told.and_then(|e| number(e, key));
        Reward {
            heldout_accuracy: figure("heldout_accuracy"),
            ci95: told.and_then(|e| interval(e, "ci95")),
            length_accuracy: figure("length_accuracy"),
            margin: figure("margin"),
            pairs: told.and_then(|e| whole(e, "pairs")),
            pairs_trained: documents(log),
            work: Work::new(log),
        }
    }
}

impl Policy {
    fn new(log: &StageLog, answers: &[Value]) -> Policy {
        let told: Vec<&Value> = log.events.iter().filter(|e| is(e, "policy")).collect();
        let newest_of = |task: &str, late: bool| {
            let wanted = |e: &&&Value| says(e, "task", task) && whole(e, "step").is_some_and(|s| (s > 0) == late);
            told.iter().rev().find(wanted).copied()
        };
        let (before, after) = (|task: &str| newest_of(task, false), |task: &str| newest_of(task, true));
        let (first, newest) = (before(ALL), after(ALL));
        let was = |key: &str| first.and_then(|e| number(e, key));
        let is_now = |key: &str| newest.and_then(|e| number(e, key));
        let mut names: Vec<String> = Vec::new();
        for name in told.iter().filter_map(|e| text(e, "task")).filter(|name| name != ALL) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let truth = |task: String| {
            let (first, newest) = (before(&task), after(&task));
            let value = Truth {
                true_before: first.and_then(|e| number(e, "true")),
                true_after: newest.and_then(|e| number(e, "true")),
                prompts: newest.or(first).and_then(|e| whole(e, "prompts")),
            };
            (task, value)
        };
        let measured_at = newest.and_then(|e| whole(e, "step"));
        let won = |figure| measured_at.and_then(|step| wins(answers, log.stage.name(), step, figure));
        let (distinct2_before, distinct2_after) = (was("distinct2"), is_now("distinct2"));
        Policy {
            true_before: was("true"),
            true_after: is_now("true"),
            ci95_before: first.and_then(|e| interval(e, "ci95")),
            ci95_after: newest.and_then(|e| interval(e, "ci95")),
            rm_before: was("reward"),
            rm_after: is_now("reward"),
            kl: is_now("kl"),
            end_rate: is_now("end_rate"),
            end_rate_before: was("end_rate"),
            distinct2_before,
            distinct2_after,
            distinct2_ratio: distinct2_before
                .filter(|b| *b > 0.0)
                .and_then(|before| distinct2_after.map(|after| after / before)),
            length_before: was("length"),
            length_after: is_now("length"),
            win_rate: won(|a| number(a, "reward")),
            win_rate_true: won(verdict),
            prompts: newest.or(first).and_then(|e| whole(e, "prompts")),
            prompts_trained: documents(log),
            measured_at,
            tasks: Named(names.into_iter().map(truth).collect()),
            work: Work::new(log),
        }
    }
}

/// Of the prompts that both the fine-tuned model and the policy answered: the share whose answer of the policy
/// has the higher figure; ties count half.
fn wins(answers: &[Value], stage: &str, step: u64, figure: fn(&Value) -> Option<f64>) -> Option<f64> {
    let of = |step: u64| -> HashMap<(&str, &str), f64> {
        let those = answers.iter().filter(|a| says(a, "stage", stage) && whole(a, "step") == Some(step));
        // Of answers judged more than once at a step the last counts.
        those.filter_map(|a| Some(((a.get("task")?.as_str()?, a.get("prompt")?.as_str()?), figure(a)?))).collect()
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

/// The rule's verdict as a number.
fn verdict(answer: &Value) -> Option<f64> {
    let said = answer.get("true")?;
    said.as_bool().map(f64::from).or_else(|| said.as_f64())
}

/// What a stage is trained on, counted: the documents of its only source.
fn documents(log: &StageLog) -> Option<u64> {
    whole(last(&log.events, "started")?.get("sources")?.get(0)?, "documents")
}

fn last<'a>(events: &'a [Value], name: &str) -> Option<&'a Value> {
    events.iter().rev().find(|e| is(e, name))
}

fn is(event: &Value, name: &str) -> bool {
    says(event, "event", name)
}

fn says(event: &Value, key: &str, value: &str) -> bool {
    event.get(key).and_then(Value::as_str) == Some(value)
}

fn number(event: &Value, key: &str) -> Option<f64> {
    event.get(key)?.as_f64()
}

fn whole(event: &Value, key: &str) -> Option<u64> {
    event.get(key)?.as_u64()
}

fn text(event: &Value, key: &str) -> Option<String> {
    event.get(key)?.as_str().map(str::to_owned)
}

fn interval(event: &Value, key: &str) -> Option<[f64; 2]> {
    let both = event.get(key)?;
    Some([both.get(0)?.as_f64()?, both.get(1)?.as_f64()?])
}
