//! Notes before the first step: settings without effect, and a learning rate that jumps.

use serde_json::Value;

use crate::{
    base::StageId,
    nn::{Schedule, ScheduleKind},
    store::{Links, RunView, read_from},
    train::config::{RunConfig, plan::StagePlan, setup::Setup},
};

/// Bytes at the end of metrics.jsonl that are searched for a stage's last step.
const TAIL: u64 = 1 << 18;
/// Relative change of the learning rate beyond rounding.
const JUMP: f64 = 0.01;

/// Settings of a stage that have no effect within `steps` steps, or another one than expected.
pub(crate) fn of_plan(config: &RunConfig, stage: StageId, plan: &StagePlan) -> Vec<String> {
    let Schedule { kind, peak, warmup, steps, decay } = plan.schedule;
    let mut notes = Vec::new();
    if peak == 0.0 {
        notes.push(format!("{stage}.learning_rate is 0: nothing will be learned"));
    } else if warmup > steps {
        notes.push(format!(
            "{stage}.warmup_steps is {warmup} and the stage ends at step {steps}: the learning rate reaches {:.2e}, never {peak:.2e}",
            plan.schedule.rate(steps.saturating_sub(1))
        ));
    } else if kind == ScheduleKind::Wsd && warmup + decay > steps && warmup > 0 && warmup < steps {
        notes.push(format!(
            "{stage}.warmup_steps {warmup} and decay_steps {decay} are more than the {steps} steps: after the warm-up the learning rate falls at once from {peak:.2e} to {:.2e}",
            plan.schedule.rate(warmup)
        ));
    }
    if kind != ScheduleKind::Wsd && config.stage(stage).decay_steps.is_some() {
        let kind = if kind == ScheduleKind::Cosine { "cosine" } else { "constant" };
        notes.push(format!(
            "{stage}.decay_steps has no effect: lr_scheduler_type is {kind}, and only wsd has a decay phase"
        ));
    }
    notes.extend(of_patience(stage, plan));
    notes
}

/// Why the stage cannot end early although `patience` is set.
fn of_patience(stage: StageId, plan: &StagePlan) -> Option<String> {
    let (patience, steps) = (plan.patience, plan.schedule.steps);
    if patience == 0 {
        return None;
    }
    // The first evaluation is the one that others are compared with; stages after pretraining have it before step 1.
    let (before, needed) =
        (steps.saturating_sub(1).checked_div(plan.eval_steps), patience + usize::from(!stage.chat()));
    match before {
        None => Some(format!("{stage}.patience has no effect: eval_steps is 0, so the stage is never evaluated")),
        Some(before) if before < needed => Some(format!(
            "{stage}.patience has no effect: it is {patience}, and only {before} evaluations come before the end at step {steps}"
        )),
        Some(_) => None,
    }
}

/// `--set` pairs that concern neither this stage nor run.toml: they belong to a stage that is not trained now.
pub(crate) fn idle_pairs(text: &str, setup: &Setup, stage: StageId) -> Vec<String> {
    if !setup.alone {
        return Vec::new();
    }
    let written: toml::Table = text.parse().unwrap_or_default();
    let idle = setup.sets.iter().filter(|(key, value)| {
        let Some((table, rest)) = key.split_once('.') else { return false };
        is_idle(table, rest, stage) && !is_written(&written, table, rest, value)
    });
    idle.map(|(key, value)| {
        format!(
            "--set {key}={value} has no effect on {stage}: --set applies to this launch only; write it into run.toml, or pass it when that stage is trained"
        )
    })
    .collect()
}

/// Whether the stage never reads this key.
fn is_idle(table: &str, key: &str, stage: StageId) -> bool {
    let Ok(other) = table.parse::<StageId>() else {
        return table == "sampling" || (table == "guard" && !stage.aligns());
    };
    // The tokenizer is trained on fine-tuning text too, and feedback stages use the reward model's pairs.
    let of_tokenizer = stage == StageId::Pretrain && other == StageId::Sft && key.starts_with("source");
    let of_pairs = stage.aligns() && other == StageId::Reward;
    other != stage && !of_tokenizer && !of_pairs
}

/// Whether run.toml contains this value.
fn is_written(written: &toml::Table, table: &str, key: &str, value: &str) -> bool {
    let path = std::iter::once(table).chain(key.split('.'));
    let mut at: Option<&toml::Value> = None;
    for part in path {
        at = match at {
            None => written.get(part),
            Some(inside) => inside.get(part),
        };
        if at.is_none() {
            return false;
        }
    }
    let given = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let given = given.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let number = |v: &toml::Value| v.as_float().or_else(|| v.as_integer().map(|n| n as f64));
    at.is_some_and(|v| *v == given || (number(v).is_some() && number(v) == number(&given)))
}

/// A note if a stage that continues after step `done` uses another learning rate than that step did.
pub(crate) fn of_rate(
    view: &RunView,
    stage: StageId,
    done: usize,
    target: usize,
    mut rate: impl FnMut(usize) -> f64,
) -> Option<String> {
    if done == 0 || done >= target {
        return None;
    }
    let last = last_rate(view, stage, done)?;
    let (as_planned, next) = (rate(done - 1), rate(done));
    let differs = |a: f64, b: f64| (a - b).abs() > JUMP * a.abs().max(b.abs());
    // The schedule's own change is not a jump.
    if !differs(last, as_planned) {
        return None;
    }
    Some(format!(
        "the learning rate jumps: step {done} was trained at {last:.2e}, step {} will be at {next:.2e}, since the schedule changed (it ends at step {target}); set learning_rate and lr_scheduler_type = \"constant\" to keep it",
        done + 1
    ))
}

/// The learning rate of a step, from the end of metrics.jsonl.
fn last_rate(view: &RunView, stage: StageId, step: usize) -> Option<f64> {
    let (disk, path) = (view.disk(), view.metrics_path());
    // Errors are reported when the log is next written.
    let (_, len) = disk.open(&path, Links::Refuse).ok()?;
    let tail = read_from(&**disk, &path, len.saturating_sub(TAIL)).ok()?;
    let is = |r: &&Value| {
        r.get("stage").and_then(Value::as_str) == Some(stage.name())
            && r.get("step").and_then(Value::as_u64) == Some(step as u64)
    };
    tail.records.iter().rev().find(is)?.get("learning_rate")?.as_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn notes(sets: &[(&str, &str)]) -> Vec<String> {
        let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let config = RunConfig::parse("size = \"1m\"", &sets, StageId::Pretrain).unwrap();
        of_plan(&config, StageId::Pretrain, &config.plan(StageId::Pretrain).unwrap())
    }

    #[test]
    fn settings_without_effect_are_reported() {
        assert!(notes(&[]).is_empty());
        assert!(notes(&[("steps", "50"), ("warmup_steps", "10"), ("decay_steps", "40")]).is_empty());
        assert!(notes(&[("patience", "2"), ("eval_steps", "300")]).is_empty());
        for (sets, words) in [
            (&[("steps", "10"), ("warmup_steps", "500")][..], "warmup_steps is 500"),
            (&[("steps", "10"), ("warmup_steps", "8"), ("decay_steps", "5")], "falls at once"),
            (&[("lr_scheduler_type", "cosine"), ("decay_steps", "5")], "decay_steps has no effect"),
            (&[("lr_scheduler_type", "constant"), ("decay_steps", "5")], "decay_steps has no effect"),
            (&[("learning_rate", "0")], "nothing will be learned"),
            (&[("patience", "3"), ("eval_steps", "0")], "patience has no effect: eval_steps is 0"),
            (&[("patience", "3"), ("eval_steps", "300")], "it is 3, and only 3 evaluations come before the end"),
        ] {
            let notes = notes(sets);
            assert!(notes.len() == 1 && notes[0].contains(words), "{notes:?}");
        }
    }

    #[test]
    fn pairs_of_other_stages_are_reported() {
        let notices = |text: &str, key: &str, value: &str, stage: StageId| {
            let sets = vec![(key.to_owned(), value.to_owned())];
            let setup = Setup { stage, sets, alone: true, ..Setup::default() };
            idle_pairs(text, &setup, stage).len()
        };
        assert_eq!(notices("", "pretrain.steps", "5", StageId::Sft), 1);
        assert_eq!(notices("", "sft.steps", "5", StageId::Pretrain), 1);
        assert_eq!(notices("", "sampling.top_k", "5", StageId::Pretrain), 1);
        assert_eq!(notices("", "guard.kl", "5", StageId::Sft), 1);
        for (text, key, stage) in [
            ("[pretrain]\nsteps = 5", "pretrain.steps", StageId::Sft),
            ("[pretrain]\nsteps = 5.0", "pretrain.steps", StageId::Sft),
            ("", "sft.source", StageId::Pretrain),
            ("", "reward.source", StageId::Dpo),
            ("", "guard.kl", StageId::Ppo),
            ("", "model.dropout", StageId::Sft),
            ("", "steps", StageId::Sft),
            ("", "sft.steps", StageId::Sft),
        ] {
            assert_eq!(notices(text, key, "5", stage), 0, "{key} for {stage}");
        }
    }
}
