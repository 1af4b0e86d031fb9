//! What a stage did in earlier sittings, from the run's logs, for a screen that is opened anew.

use std::path::Path;

use serde_json::Value;

use crate::{
    protocol::{Event, Metric, PolicyReport, RewardReport, StepReport, TaskReport},
    store::{RunView, StoreError, each_record},
};

/// Steps that are told; of more, every n-th.
const MOST: usize = 8192;

/// What every stage's step has; the rest is the stage's own.
const OF_ALL: [&str; 10] = [
    "stage",
    "step",
    "loss",
    "learning_rate",
    "grad_norm",
    "applied",
    "tokens_per_second",
    "total_tokens",
    "epoch",
    "step_ms",
];

/// The steps, validations, scores and probes of a stage up to step `done`, in the logs' order.
pub(crate) fn events(view: &RunView, stage: &str, done: usize) -> Result<Vec<Event>, StoreError> {
    let mut steps = Vec::new();
    each(view, &view.metrics_path(), stage, done, |record| steps.extend(step(record)))?;
    let every = steps.len().div_ceil(MOST).max(1);
    let last = steps.len().saturating_sub(1);
    let steps: Vec<StepReport> =
        steps.into_iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last).map(|(_, s)| s).collect();
    let mut all = if steps.is_empty() { Vec::new() } else { vec![Event::Steps(steps)] };
    each(view, &view.events_path(), stage, done, |record| all.extend(event(record)))?;
    Ok(all)
}

/// Calls `take` with every record of a log that is the stage's and not past `done`.
fn each(view: &RunView, path: &Path, stage: &str, done: usize, mut take: impl FnMut(&Value)) -> Result<(), StoreError> {
    let ours = |r: &Value| {
        r.get("stage").and_then(Value::as_str) == Some(stage)
            && r.get("step").and_then(Value::as_u64).is_some_and(|s| s as usize <= done)
    };
    each_record(&**view.disk(), path, |record| {
        if ours(record) {
            take(record);
        }
    })
}

/// A number; JSON has none for what is not finite, and writes null.
fn number(record: &Value, key: &str) -> Option<f64> {
    match record.get(key)? {
        Value::Null => Some(f64::NAN),
        value => value.as_f64(),
    }
}

fn whole(record: &Value, key: &str) -> Option<usize> {
    record.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok())
}

fn text(record: &Value, key: &str) -> Option<String> {
    record.get(key)?.as_str().map(str::to_owned)
}

fn step(r: &Value) -> Option<StepReport> {
    Some(StepReport {
        step: whole(r, "step")?,
        loss: number(r, "loss")?,
        learning_rate: number(r, "learning_rate")?,
        grad_norm: number(r, "grad_norm")?,
        applied: r.get("applied")?.as_bool()?,
        tokens_per_second: number(r, "tokens_per_second")?,
        total_tokens: r.get("total_tokens")?.as_u64()?,
        epoch: number(r, "epoch")?,
        step_ms: number(r, "step_ms")?,
        sources: Vec::new(),
        extra: extra(r).unwrap_or_default(),
    })
}

/// What a stage tells beside what all of them do.
fn extra(r: &Value) -> Option<Vec<Metric>> {
    let told = r.as_object()?.iter().filter(|(name, _)| !OF_ALL.contains(&name.as_str()));
    Some(told.filter_map(|(name, _)| Some((name.clone().into(), number(r, name)?))).collect())
}

fn interval(r: &Value) -> Option<(f64, f64)> {
    match r.get("ci95")?.as_array()?.as_slice() {
        [low, high] => Some((low.as_f64()?, high.as_f64()?)),
        _ => None,
    }
}

fn event(r: &Value) -> Option<Event> {
    let step = whole(r, "step")?;
    Some(match r.get("event")?.as_str()? {
        "eval" => Event::Eval {
            step,
            source: text(r, "source")?,
            eval_loss: number(r, "eval_loss")?,
            eval_bits_per_byte: number(r, "eval_bits_per_byte")?,
            train_loss: r.get("train_loss").and_then(Value::as_f64),
        },
        "task" => Event::Task(TaskReport {
            step,
            task: text(r, "task")?,
            examples: whole(r, "examples")?,
            exact_match: number(r, "exact_match")?,
            char_f1: number(r, "char_f1")?,
            end_rate: number(r, "end_rate")?,
            eval_loss: number(r, "eval_loss")?,
        }),
        "probe" => Event::Probe {
            step,
            task: text(r, "task"),
            prompt: text(r, "prompt")?,
            text: text(r, "text")?,
            expected: text(r, "expected")?,
            matched: whole(r, "match")?,
            length: whole(r, "length")?,
            // Logs from before it was told know of recall alone.
            recall: r.get("recall").and_then(Value::as_bool).unwrap_or(true),
        },
        "reward" => Event::Reward(RewardReport {
            step,
            pairs: whole(r, "pairs")?,
            accuracy: number(r, "heldout_accuracy")?,
            ci95: interval(r)?,
            by_length: number(r, "length_accuracy")?,
            margin: number(r, "margin")?,
            // They are not logged: one a pair would be much.
            margins: Vec::new(),
        }),
        "policy" => Event::Policy(PolicyReport {
            step,
            task: text(r, "task")?,
            prompts: whole(r, "prompts")?,
            true_score: number(r, "true")?,
            ci95: interval(r)?,
            reward: number(r, "reward")?,
            kl: number(r, "kl")?,
            end_rate: number(r, "end_rate")?,
            distinct2: number(r, "distinct2")?,
            length: number(r, "length")?,
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::train::run::log_lines;

    #[test]
    fn what_is_logged_is_told_again() {
        let reward = RewardReport {
            step: 50,
            pairs: 260,
            accuracy: 0.93,
            ci95: (0.89, 0.96),
            by_length: 0.55,
            margin: 1.6,
            margins: Vec::new(),
        };
        let policy = PolicyReport {
            step: 8,
            task: "all".to_owned(),
            prompts: 260,
            true_score: 0.5,
            ci95: (0.44, 0.56),
            reward: 0.25,
            kl: 1.5,
            end_rate: 1.0,
            distinct2: 0.4,
            length: 12.5,
        };
        for told in [Event::Reward(reward), Event::Policy(policy)] {
            assert_eq!(event(&log_lines::event("ppo", &told).unwrap()), Some(told));
        }
        let told = StepReport {
            step: 3,
            loss: 0.5,
            learning_rate: 1e-4,
            grad_norm: 0.25,
            applied: true,
            tokens_per_second: 1000.0,
            total_tokens: 4096,
            epoch: 0.5,
            step_ms: 20.0,
            sources: Vec::new(),
            extra: vec![("kl_coef".into(), 0.25), ("objective/kl".into(), 1.5)],
        };
        assert_eq!(step(&log_lines::step("ppo", &told)), Some(told));
    }
}
