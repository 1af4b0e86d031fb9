//! Runs trainers without a screen: signals stop them, and their events are printed.

use std::{io, time::Duration};

use crossbeam_channel::{Receiver, Sender};

use crate::{
    base::StageId,
    cli::{
        Failure, Outcome, output,
        signals::{self, Stopping},
    },
    protocol::{Command, Event, Line},
    train::{Emit, OpenRun, Summary, TrainError, Trainer},
};

/// Runs trainers one after the other. The first signal, or an unwritable stdout, stops the running one.
pub(super) struct Unattended {
    json: bool,
    stopping: Stopping,
    stop: Sender<Command>,
    commands: Receiver<Command>,
    /// The error of stdout, if it is unwritable.
    unwritten: Option<io::Error>,
}

impl Unattended {
    /// Catches signals from now on; they also set the flag of `stopping`.
    pub(super) fn start(json: bool, stopping: Stopping) -> Result<Self, Failure> {
        let (stop, commands) = crossbeam_channel::bounded(8);
        let send = stop.clone();
        signals::on_stop(&stopping, move || {
            // Without a running trainer nothing receives it; the flag is checked before the next one.
            let _ = send.send_timeout(Command::Stop { save: true }, Duration::from_secs(1));
        })?;
        Ok(Self { json, stopping, stop, commands, unwritten: None })
    }

    /// Whether to stop: a signal arrived, or stdout is unwritable.
    pub(super) fn is_over(&self) -> bool {
        self.stopping.asked() || self.is_unwritten()
    }

    /// Whether stdout is unwritable.
    pub(super) fn is_unwritten(&self) -> bool {
        self.unwritten.is_some()
    }

    /// Runs a trainer to its end and prints its events. Returns the open run.
    pub(super) fn run(&mut self, stage: StageId, trainer: Trainer) -> (Result<Summary, TrainError>, OpenRun) {
        self.stopping.stepping(true);
        let commands = self.commands.clone();
        let outcome = trainer.run(&commands, &mut Printer { to: self, stage });
        self.stopping.stepping(false);
        outcome
    }

    /// Prints an event with the current time, unless an earlier one could not be printed.
    pub(super) fn print(&mut self, stage: StageId, event: Event) {
        Printer { to: self, stage }.emit(event);
    }

    /// The outcome if stdout became unwritable.
    pub(super) fn finish(self) -> Outcome {
        self.unwritten.map_or(Ok(()), |e| output::unwritten(&e))
    }
}

/// Prints the events of a stage, unless an earlier one could not be printed.
struct Printer<'a> {
    to: &'a mut Unattended,
    stage: StageId,
}

impl Emit for Printer<'_> {
    fn emit_at(&mut self, time: f64, event: Event) {
        if self.to.unwritten.is_none()
            && let Err(e) = print(time, self.stage, self.to.json, &event)
        {
            // Progress is still saved to a checkpoint.
            self.to.unwritten = Some(e);
            let _ = self.to.stop.try_send(Command::Stop { save: true });
        }
    }
}

/// Prints one event: on stdout as JSON, or on stderr as text.
fn print(time: f64, stage: StageId, json: bool, event: &Event) -> io::Result<()> {
    if json {
        if let Event::Steps(steps) = event {
            return steps.iter().try_for_each(|s| output::try_json(&Line::at(time, stage, s)));
        }
        return Line::at(time, stage, event).json().map_or(Ok(()), |line| output::try_json(&line));
    }
    match event {
        Event::Started(i) => output::note(&format!(
            "{} · {stage} · {} · {:.2} M parameters on {} ({}) · {} steps of {} × {} tokens",
            i.name,
            i.size,
            i.parameters as f64 / 1e6,
            i.adapter,
            i.engine,
            i.steps,
            i.batch,
            i.context
        )),
        Event::Steps(steps) => {
            for s in steps.iter().filter(|s| s.step % 10 == 0) {
                output::note(&format!(
                    "step {:>6}  loss {:.4}  lr {:.2e}  grad {:.3}  {:.0} tokens/s",
                    s.step, s.loss, s.learning_rate, s.grad_norm, s.tokens_per_second
                ));
            }
        }
        Event::Eval { step, source, eval_loss, eval_bits_per_byte, train_loss, .. } => {
            let trained = train_loss.map_or(String::new(), |loss| format!(", {loss:.4} on its training text"));
            output::note(&format!(
                "step {step:>6}  held-out {source}: loss {}, {} bits per byte{trained}",
                measured(*eval_loss, 4),
                measured(*eval_bits_per_byte, 3)
            ));
        }
        Event::Probe { step, prompt, text, matched, length, .. } => {
            output::note(&format!("step {step:>6}  {prompt} {text}  {matched}/{length}"));
        }
        Event::Saved { step, path, best, .. } => {
            let mark = if *best { "  (the best so far)" } else { "" };
            output::note(&format!("step {step:>6}  saved {}{mark}", path.display()));
        }
        Event::EndedEarly { step, best, figure, evaluations } => output::note(&format!(
            "step {step:>6}  ends early: {evaluations} evaluations without a better held-out figure than {figure:.4} at step {best}"
        )),
        Event::SaveFailed { step, error } => output::note(&format!("step {step:>6}  NOT saved: {error}")),
        Event::Note { step, text } | Event::Broken { step, text } => output::note(&format!("step {step:>6}  {text}")),
        Event::StoreFailed { step, error } => output::note(&format!("step {step:>6}  {error}")),
        Event::Task(t) => output::note(&format!(
            "step {:>6}  {}: exact {} %, char F1 {}, ended {} %, held-out loss {} ({} examples)",
            t.step,
            t.task,
            measured(100.0 * t.exact_match, 1),
            measured(t.char_f1, 3),
            measured(100.0 * t.end_rate, 1),
            measured(t.eval_loss, 3),
            t.examples
        )),
        Event::Reward(r) => output::note(&format!(
            "step {:>6}  held-out pairs: accuracy {} % (95 %: {} to {}), the longer one {} %, margin {} ({} pairs)",
            r.step,
            measured(100.0 * r.accuracy, 1),
            measured(100.0 * r.ci95.0, 1),
            measured(100.0 * r.ci95.1, 1),
            measured(100.0 * r.by_length, 1),
            measured(r.margin, 3),
            r.pairs
        )),
        Event::Policy(p) => output::note(&format!(
            "step {:>6}  {}: true {} (95 %: {} to {}), reward {}, KL {}, ended {} %, distinct-2 {} ({} prompts)",
            p.step,
            p.task,
            measured(p.true_score, 3),
            measured(p.ci95.0, 3),
            measured(p.ci95.1, 3),
            measured(p.reward, 2),
            measured(p.kl, 2),
            measured(100.0 * p.end_rate, 1),
            measured(p.distinct2, 3),
            p.prompts
        )),
        Event::Refused { text } => output::note(text),
        Event::Demonstrated { step, count } => output::note(&format!("step {step:>6}  {count} demonstrations")),
        Event::SanityChecks { step, checks } => {
            for l in checks {
                let verdict = if l.holds { "holds" } else { "DOES NOT HOLD" };
                output::note(&format!(
                    "step {step:>6}  {} {:.2e}, at most {:.0e}: {verdict}",
                    l.name, l.value, l.bound
                ));
            }
        }
        Event::Guarded { step, reason, checkpoint, .. } => output::note(&format!(
            "step {step:>6}  stopped by the guard: {reason}; {}",
            checkpoint.as_ref().map_or("no checkpoint was written yet".to_owned(), |c| format!("{c} is intact"))
        )),
        Event::SetBack { step, spike, until, factor, reason, checkpoint } => output::note(&format!(
            "step {spike:>6}  {reason}; back to {}; steps {} to {until} use {factor} of the learning rate",
            checkpoint.as_deref().unwrap_or("the start of the stage"),
            step + 1
        )),
        Event::Refitted(r) => output::note(&format!(
            "reward model fitted to {} votes (each as {:.0} pairs): agrees with {} %, before {} %",
            r.votes,
            r.weight,
            measured(100.0 * r.agreement.1, 0),
            measured(100.0 * r.agreement.0, 0)
        )),
        Event::Edited(e) => output::note(&format!("step {:>6}  {}: {}", e.step, e.cause.name(), e.text)),
        Event::Past(_)
        | Event::Watching(_)
        | Event::Clock(_)
        | Event::Opening(_)
        | Event::Counted(_)
        | Event::Batch(_)
        | Event::Room(_)
        | Event::Runs { .. }
        | Event::Compared(_)
        | Event::Trained(_)
        | Event::Inspected(_)
        | Event::Forked { .. }
        | Event::Cared { .. }
        | Event::Exported { .. }
        | Event::Set { .. }
        | Event::Document(_)
        | Event::NextBatch(_)
        | Event::Dropped(_)
        | Event::Tried(_)
        | Event::Marked { .. }
        | Event::Rollout(_)
        | Event::Offered(_)
        | Event::Voted { .. }
        | Event::Unvoted { .. }
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::Finished { .. }
        | Event::Manner(_)
        | Event::Config(_)
        | Event::PromptCut { .. }
        | Event::PromptText { .. }
        | Event::PromptDone { .. } => {}
    }
    Ok(())
}

/// A figure of an evaluation; – if it was not measured.
fn measured(x: f64, digits: usize) -> String {
    if x.is_nan() { "–".to_owned() } else { format!("{x:.digits$}") }
}
