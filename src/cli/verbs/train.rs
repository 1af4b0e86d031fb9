//! `danlu train`: one stage, no screen.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use crate::{
    base::StageId,
    cli::{
        Common, Failure, Outcome, output,
        signals::{self, Stopping},
    },
    protocol::{Command, Event, Line},
    train::{Setup, TrainError, Trainer, Workshop, config::RunConfig, open_run},
};

/// Train one stage without a screen; continues from the newest checkpoint
#[derive(Args)]
pub(in crate::cli) struct Train {
    /// The stage: pretrain, sft, reward, ppo, dpo, grpo
    #[arg(long, default_value_t)]
    stage: StageId,
    /// The run's folder; created if missing. Default: the newest in ./runs, or a new one there
    #[arg(long)]
    run: Option<PathBuf>,
    /// Size of a new run: auto, 1m, 5m, 12m, 27m, 124m
    #[arg(long)]
    size: Option<String>,
    /// Start a stage that has no checkpoint yet from this checkpoint or model's folder
    #[arg(long)]
    from: Option<PathBuf>,
    /// Train up to this step; when the stage is already there, this many steps more
    #[arg(long)]
    steps: Option<usize>,
    /// Override a key of run.toml: learning_rate=1e-3, model.dropout=0.1, …
    #[arg(long, value_parser = pair)]
    set: Vec<(String, String)>,
    /// One JSON object per line: steps, and events as {"event": …}
    #[arg(long)]
    json: bool,
}

/// Splits `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not key=value"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// The user's own text may take a while the first time, and nothing else is printed meanwhile.
pub(super) fn say_that_text_is_read(config: &RunConfig) {
    if let Some(first) = config.source.first().filter(|_| io::stderr().is_terminal()) {
        let more = config.source.len() - 1;
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let name = &first.name;
        output::note(&format!(
            "reading the sources: {name}{rest}; the prepared text is kept in data/, so only the first time is slow"
        ));
    }
}

impl Train {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        if self.steps == Some(0) {
            return Err(Failure::usage("--steps is 0; expected 1 or more"));
        }
        let stopping = Stopping::default();
        let setup = Setup {
            stage: self.stage,
            size: self.size.clone(),
            seed: common.seed,
            sets: self.set.clone(),
            from: self.from.clone(),
            steps: self.steps,
            alone: true,
            interactive: false,
            stop: stopping.flag(),
        };
        // From the start: a signal while data are read ends the reading, or waits for the trainer.
        let (send, commands) = crossbeam_channel::bounded(8);
        let stop = send.clone();
        signals::on_stop(&stopping, move || {
            // The trainer may be gone already; then there is nothing to stop.
            let _ = send.send_timeout(Command::Stop { save: true }, Duration::from_secs(1));
        })?;
        let mut device = common.device()?;
        let (run, config) = open_run(self.run.as_deref(), &setup, &mut device)?;
        say_that_text_is_read(&config);
        let stage = self.stage;
        let trainer = match Trainer::new(Workshop::new(run, device), config, &setup).map_err(|unready| unready.error) {
            Err(TrainError::Stopped) => {
                let end = Event::Finished { step: 0, reason: "stopped".to_owned(), failed: false, seconds: 0.0 };
                return print(stage, self.json, &end).or_else(|e| output::unwritten(&e));
            }
            made => made?,
        };
        stopping.stepping(true);
        let json = self.json;
        let mut unread: Option<io::Error> = None;
        let mut emit = |event: Event| {
            if unread.is_some() {
                return;
            }
            if let Err(e) = print(stage, json, &event) {
                // Nobody reads on. What is learned is worth a checkpoint all the same.
                unread = Some(e);
                let _ = stop.try_send(Command::Stop { save: true });
            }
        };
        let summary = trainer.run(&commands, &mut emit).0?;
        if let Some(e) = unread {
            output::unwritten(&e)?;
        }
        if !json {
            let place = summary.checkpoint.map_or("nothing new to save".to_owned(), |p| p.display().to_string());
            output::note(&format!("{stage} {} at step {}: {place}", summary.reason, summary.step));
        }
        Ok(())
    }
}

/// Prints one event: on stdout as JSON, or on stderr as text.
pub(super) fn print(stage: StageId, json: bool, event: &Event) -> io::Result<()> {
    if json {
        if let Event::Steps(steps) = event {
            return steps.iter().try_for_each(|s| output::try_json(&Line::now(stage, s)));
        }
        return Line::now(stage, event).json().map_or(Ok(()), |line| output::try_json(&line));
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
        Event::Eval { step, source, eval_loss, eval_bits_per_byte, train_loss } => {
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
        Event::Saved { step, path, .. } => output::note(&format!("step {step:>6}  saved {}", path.display())),
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
        Event::Lamps { step, lamps } => {
            for l in lamps {
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
        Event::Batch(_)
        | Event::Room(_)
        | Event::Document(_)
        | Event::NextBatch(_)
        | Event::Dropped(_)
        | Event::Tried(_)
        | Event::Marked { .. }
        | Event::Rollout(_)
        | Event::Offered(_)
        | Event::Voted(_)
        | Event::Unvoted { .. }
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::Finished { .. }
        | Event::Manner(_)
        | Event::PromptCut { .. }
        | Event::PromptText { .. }
        | Event::PromptDone { .. } => {}
    }
    Ok(())
}

/// A figure of an evaluation; – where there was nothing to measure it on.
fn measured(x: f64, digits: usize) -> String {
    if x.is_nan() { "–".to_owned() } else { format!("{x:.digits$}") }
}
