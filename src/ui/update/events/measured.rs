//! Measurements of a stage: steps, evaluations, scores, probes.

use crate::{
    base::StageId,
    protocol::Event,
    ui::state::{Said, Stage},
};

/// Adds a measurement to a stage; returns the event if it is none.
pub(super) fn measured(stage: &mut Stage, event: Event) -> Option<Event> {
    match event {
        Event::Steps(steps) => {
            stage.beats += 1;
            stage.stepped = true;
            for step in steps {
                stage.add_step(step);
            }
        }
        Event::Eval { step, source, eval_loss, train_loss, .. } => {
            on_eval(stage, step, &source, eval_loss, train_loss);
        }
        Event::Reward(report) => stage.feedback.add_reward(report),
        Event::Policy(report) => stage.feedback.add_policy(report),
        Event::SanityChecks { checks, .. } => stage.feedback.checks = checks,
        Event::Task(report) => stage.add_scores(report),
        Event::Probe { step, task, prompt, text, expected, matched, length, recall, lines } => {
            stage.probing = false;
            let (task, prompt, text, expected) = (task.as_deref(), &*prompt, &*text, &*expected);
            let lines = &lines;
            stage.add_probe(Said { step, task, prompt, text, expected, matched, length, recall, lines });
        }
        event => return Some(event),
    }
    None
}

fn on_eval(stage: &mut Stage, step: usize, source: &str, eval_loss: f64, train_loss: Option<f64>) {
    let Some(run) = &mut stage.run else { return };
    let only = run.info.sources.len() == 1;
    let mut known = false;
    for (raw, shown) in run.info.sources.iter().zip(&mut run.sources) {
        if raw.name == source {
            shown.valid.push(step, eval_loss);
            if let Some(loss) = train_loss {
                shown.train.push(step, loss);
            }
            known = true;
        }
    }
    // A log of another trainer names its sources only where it measures them.
    if run.info.watched && !known && source != "all" && source != StageId::Pretrain.name() {
        run.add_source(source).push(step, eval_loss);
    }
    // The skill of pretraining, measured in a later stage.
    if source == StageId::Pretrain.name() && stage.id != Some(StageId::Pretrain) {
        stage.kept.push(step, eval_loss);
        stage.kept_first = stage.kept_first.or(Some(eval_loss)).filter(|l| l.is_finite());
        return;
    }
    if source == "all" || (only && known && stage.valid.last().is_none_or(|l| l.0 < step)) {
        if only && source == "all" && stage.valid.last().is_some_and(|l| l.0 == step) {
            return;
        }
        stage.valid.push(step, eval_loss);
        if eval_loss.is_finite() && stage.best.is_none_or(|b| eval_loss < b.1) {
            stage.best = Some((step, eval_loss));
        }
    }
}
