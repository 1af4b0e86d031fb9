//! Steps and events as JSON objects: what `train --json` prints and what the run's logs hold.

use serde_json::{Map, Value, json};

use crate::protocol::{Event, StepReport};

/// A step, under Hugging Face's names; what a stage tells beside them under TRL's.
pub fn step(stage: &str, s: &StepReport) -> Value {
    let mut line = json!({
        "stage": stage, "step": s.step, "loss": s.loss, "learning_rate": s.learning_rate, "grad_norm": s.grad_norm,
        "tokens_per_second": s.tokens_per_second, "total_tokens": s.total_tokens, "epoch": s.epoch, "applied": s.applied,
        "step_ms": s.step_ms,
    });
    if let Value::Object(fields) = &mut line {
        fields.extend(s.extra.iter().map(|(name, value)| (name.to_string(), json!(value))));
    }
    line
}

/// An event that concerns a log; None for steps and for the pieces of an answer.
pub fn event(stage: &str, event: &Event) -> Option<Value> {
    let (name, mut fields) = match event {
        Event::Started(info) => (
            "started",
            json!({
                "run": info.name, "size": info.size, "engine": info.engine, "adapter": info.adapter, "parameters": info.parameters,
                "batch": info.batch, "context": info.context, "steps": info.steps, "step": info.resumed_at, "parent": info.parent, "memory_bytes": info.memory, "host_memory_bytes": info.host_memory,
                "sources": info.sources.iter().map(|s| json!({
                    "name": s.name, "weight": s.weight, "documents": s.documents, "tokens": s.tokens, "held_out_tokens": s.held_out_tokens,
                })).collect::<Vec<_>>(),
            }),
        ),
        Event::Eval { step, source, eval_loss, eval_bits_per_byte, train_loss } => (
            "eval",
            json!({"step": step, "source": source, "eval_loss": eval_loss, "eval_bits_per_byte": eval_bits_per_byte, "train_loss": train_loss}),
        ),
        Event::Probe { step, task, prompt, text, expected, matched, length, recall } => (
            "probe",
            json!({"step": step, "task": task, "prompt": prompt, "text": text, "expected": expected, "match": matched, "length": length, "recall": recall}),
        ),
        Event::Task(t) => (
            "task",
            json!({"step": t.step, "task": t.task, "examples": t.examples, "exact_match": t.exact_match, "char_f1": t.char_f1, "end_rate": t.end_rate, "eval_loss": t.eval_loss}),
        ),
        Event::Reward(r) => (
            "reward",
            json!({"step": r.step, "pairs": r.pairs, "heldout_accuracy": r.accuracy, "ci95": [r.ci95.0, r.ci95.1], "length_accuracy": r.by_length, "margin": r.margin}),
        ),
        Event::Policy(p) => (
            "policy",
            json!({"step": p.step, "task": p.task, "prompts": p.prompts, "true": p.true_score, "ci95": [p.ci95.0, p.ci95.1], "reward": p.reward, "kl": p.kl, "end_rate": p.end_rate, "distinct2": p.distinct2, "length": p.length}),
        ),
        Event::Demonstrated { step, count } => ("demonstrated", json!({"step": step, "count": count})),
        Event::Refused { text } => ("refused", json!({"text": text})),
        Event::Paused { step } => ("paused", json!({"step": step})),
        Event::Resumed { step } => ("resumed", json!({"step": step})),
        Event::Saved { step, path, seconds, bytes } => {
            ("saved", json!({"step": step, "path": path.to_string_lossy(), "seconds": seconds, "bytes": bytes}))
        }
        Event::SaveFailed { step, error } => ("save_failed", json!({"step": step, "error": error})),
        Event::StoreFailed { step, error } => ("store_failed", json!({"step": step, "error": error})),
        Event::Note { step, text } => ("note", json!({"step": step, "text": text})),
        Event::Finished { step, reason, failed, seconds } => {
            ("finished", json!({"step": step, "reason": reason, "failed": failed, "seconds": seconds}))
        }
        Event::Lamps { step, lamps } => (
            "lamps",
            json!({"step": step, "lamps": lamps.iter().map(|l| json!({"name": l.name, "value": l.value, "bound": l.bound, "holds": l.holds()})).collect::<Vec<_>>()}),
        ),
        Event::Guarded { step, reason, checkpoint, may_go_on } => {
            ("guarded", json!({"step": step, "reason": reason, "checkpoint": checkpoint, "may_go_on": may_go_on}))
        }
        Event::SetBack { step, spike, until, factor, reason, checkpoint } => (
            "set_back",
            json!({"step": step, "spike": spike, "until": until, "factor": factor, "reason": reason, "checkpoint": checkpoint}),
        ),
        Event::Voted(v) => (
            "voted",
            json!({"pair": v.pair, "choice": v.choice.name(), "scores": v.scores, "agreement": v.tally.agreement, "decided": v.tally.decided}),
        ),
        Event::Unvoted { pair, tally } => ("unvoted", json!({"pair": pair, "decided": tally.decided})),
        Event::Refitted(r) => (
            "refitted",
            json!({"version": r.version, "votes": r.votes, "pairs": r.pairs, "weight": r.weight, "steps": r.steps, "seconds": r.seconds, "agreement": r.agreement, "accuracy": r.accuracy, "checkpoint": r.checkpoint}),
        ),
        Event::Edited(e) => (
            "edited",
            json!({
                "step": e.step, "cause": e.cause.name(), "text": e.text, "learning_rate": e.learning_rate, "seconds": e.seconds, "replayed": e.replayed,
                "sources": e.sources.iter().map(|s| json!({"name": s.name, "weight": s.weight, "documents": s.documents, "tokens": s.tokens})).collect::<Vec<_>>(),
            }),
        ),
        Event::Broken { step, text } => ("broken", json!({"step": step, "text": text})),
        Event::Marked { keep, drop } => ("marked", json!({"keep": keep, "drop": drop})),
        Event::Steps(_)
        | Event::Room(_)
        | Event::Document(_)
        | Event::NextBatch(_)
        | Event::Dropped(_)
        | Event::Tried(_)
        | Event::Batch(_)
        | Event::Rollout(_)
        | Event::Offered(_)
        | Event::Manner(_)
        | Event::PromptCut { .. }
        | Event::PromptText { .. }
        | Event::PromptDone { .. } => return None,
    };
    let mut line = Map::new();
    line.insert("event".to_owned(), json!(name));
    line.insert("stage".to_owned(), json!(stage));
    if let Value::Object(fields) = &mut fields {
        line.append(fields);
    }
    Some(Value::Object(line))
}
