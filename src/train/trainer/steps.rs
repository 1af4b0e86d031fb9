//! Steps: submitted ahead of their results, which are collected, logged and examined.

use std::time::Instant;

use super::{
    main_loop::{Flying, Loop},
    recovery::LOWERED,
};
use crate::{
    nn::StepOutcome,
    protocol::Event,
    train::{error::TrainError, stages::stage_run::Halt},
};

/// Steps that may be queued on the GPU.
const IN_FLIGHT: usize = 2;

impl Loop<'_> {
    /// Submits one optimiser step and collects completed ones.
    pub(super) fn step(&mut self) -> Result<(), TrainError> {
        let (begun, core) = (Instant::now(), &mut self.core);
        let step = core.submitted;
        if let Some(text) = core.work.text() {
            let events = text.apply_edits(step, &core.config)?;
            if !events.is_empty() {
                core.emit_all(events);
                self.data.show_config(core)?;
            }
        }
        self.data.turn_knobs(core, step)?;
        let factor = self.recovery.factor(step, core.work.peak(&core.plan));
        let rate = core.work.rate(&core.plan, step) * factor;
        let submitted = core.work.step(&mut core.open.device, step, rate as f32)?;
        self.flying.push_back(Flying { step, rate, submitted });
        core.submitted += 1;
        self.pace.stepped(begun);
        self.collect(IN_FLIGHT)?;
        self.check_health()
    }

    /// Emits the events of the newest step, and ends the stage if needed.
    fn check_health(&mut self) -> Result<(), TrainError> {
        let health = self.core.work.health();
        self.core.emit_all(health.events);
        match health.halt {
            None => Ok(()),
            Some(Halt::Broken(why)) => {
                self.drain()?;
                Err(TrainError::Work(why))
            }
            Some(Halt::Guarded(reason)) => self.stop_guarded(reason),
        }
    }

    /// Handles the guard's verdict: the weights are not saved. In the workbench the stage pauses and can be reopened
    /// from its newest checkpoint; otherwise it ends.
    fn stop_guarded(&mut self, reason: String) -> Result<(), TrainError> {
        self.settle()?;
        self.guarded = true;
        let core = &mut self.core;
        let (stage, step) = (core.stage, core.done);
        let newest = core.view().checkpoints().newest_verified(Some(stage))?.found;
        let checkpoint = newest.map(|c| c.id.to_string());
        let next = match &checkpoint {
            Some(name) => format!("{stage} continues from {name}, which is kept"),
            None => format!("no checkpoint was written yet: {stage} starts over"),
        };
        core.out.emit(Event::Guarded { step, reason: reason.clone(), checkpoint, may_go_on: false });
        if !core.interactive() {
            return Err(TrainError::Work(format!("the guard stopped {stage} at update {step}: {reason}; {next}")));
        }
        core.pause();
        Ok(())
    }

    /// Reports completed steps, waiting until at most `most` are in flight.
    fn collect(&mut self, most: usize) -> Result<(), TrainError> {
        while let Some(mut first) = self.flying.pop_front() {
            let (begun, wait) = (Instant::now(), self.flying.len() >= most);
            let control = self.core.open.device.collect(&mut first.submitted.ticket, wait)?;
            self.pace.stepped(begun);
            let Some(control) = control else {
                self.flying.push_front(first);
                return Ok(());
            };
            self.report(&first, &StepOutcome::from_control(&control));
        }
        Ok(())
    }

    /// Waits for all submitted steps.
    pub(super) fn drain(&mut self) -> Result<(), TrainError> {
        self.collect(0)
    }

    /// Waits for all submitted steps and for a save in progress.
    pub(super) fn settle(&mut self) -> Result<(), TrainError> {
        self.drain()?;
        self.saves.finish(&mut self.core, &mut self.recovery, true)
    }

    fn report(&mut self, flown: &Flying, outcome: &StepOutcome) {
        let core = &mut self.core;
        let Flying { step, rate, submitted } = flown;
        let (seconds, tokens_per_second) = self.pace.answered(submitted.tokens);
        core.done = step + 1;
        core.state.total_tokens += submitted.tokens as u64;
        let tokens = (core.state.total_tokens, core.work.epoch_tokens());
        let mut report = submitted.report((core.done, *rate), outcome, tokens, seconds);
        (report.tokens_per_second, report.sources) = (tokens_per_second, core.work.drawn(core.done));
        report.extra.extend(outcome.lowered.then(|| (LOWERED.into(), 1.0)));
        if !outcome.lowered {
            self.recovery.see(&report);
        }
        core.out.step(report);
        if outcome.applied {
            return;
        }
        if outcome.lowered {
            // This is the search for the largest loss scale, not a fault of the run.
            let text = "the gradients were too large for f16; the loss scale is halved and the step was not applied";
            core.note(format!("step {}: {text}", core.done));
            return;
        }
        core.state.skipped_steps += 1;
        core.note(format!(
            "step {}: loss {:.3} or gradient norm {:.3} is not finite; the step was not applied",
            core.done, outcome.loss, outcome.grad_norm
        ));
    }
}
