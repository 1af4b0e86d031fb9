//! The loop: in each turn commands, a step, and the work scheduled after it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use tracing::info;

use super::{
    checkpoints::Saves,
    core::{Core, Ended},
    live_data::{LiveData, prune_versions},
    outbox::{Emit, Outbox},
    pace::Pace,
    prompts::Prompts,
    ready::Trainer,
    recovery::{Recovery, SET_BACK, return_of_the_guard},
    voting::Voting,
};
use crate::{
    base::StageId,
    protocol::{Command, Event},
    train::{
        error::TrainError,
        open::prepare::Ready,
        run::replay,
        stages::{edit_log, stage_run::Submitted},
        tree::Explorer,
    },
};

/// The share of a step's time that a prompt may use during training, and its minimum.
const PROMPT_SHARE: f64 = 0.3;
const PROMPT_LEAST: Duration = Duration::from_millis(2);

/// How a stage ends early.
pub(super) enum Way {
    /// The launch ends.
    Stop {
        /// Whether to save.
        save: bool,
        /// Whether the screen is gone, so that the user cannot react to a failure.
        left: bool,
    },
    /// Switch to another stage.
    To(StageId),
}

/// A submitted step.
pub(super) struct Flying {
    pub step: usize,
    pub rate: f64,
    pub submitted: Submitted,
}

/// A running stage.
pub(super) struct Loop<'a> {
    pub core: Core<'a>,
    pub flying: VecDeque<Flying>,
    pub pace: Pace,
    pub recovery: Recovery,
    pub saves: Saves,
    pub prompts: Prompts,
    pub voting: Voting,
    pub explorer: Explorer,
    pub data: LiveData,
    pub demonstrations: usize,
    /// The step at which the final validation was made.
    pub measured: Option<usize>,
    /// Whether the guard stopped the stage: no further steps or saves.
    pub guarded: bool,
    /// Submitted steps after which it pauses, while it was told to take only some.
    pub until: Option<usize>,
}

impl<'a> Loop<'a> {
    pub(super) fn new(trainer: Trainer, emit: &'a mut dyn Emit) -> Loop<'a> {
        let Trainer { open, ready, setup, logs, recovery, voting, pace } = trainer;
        let Ready { stage, plan, tokenizer, work, state, info, target, pinned, mut figures, notes, config } = ready;
        let (done, demonstrations) = (state.step as usize, info.demonstrations);
        let mut out = Outbox::new(stage, logs, emit);
        info!(stage = stage.name(), step = done, "stage begins");
        let started = Event::Started(Box::new(info));
        figures.see(&started);
        out.emit(started);
        for text in notes {
            out.emit(Event::Note { step: done, text });
        }
        let (submitted, paused, holds) = (done, false, false);
        Loop {
            core: Core {
                open,
                setup,
                stage,
                work,
                config,
                plan,
                tokenizer,
                state,
                pinned,
                figures,
                target,
                submitted,
                done,
                paused,
                holds,
                out,
            },
            flying: VecDeque::new(),
            pace,
            recovery,
            saves: Saves::new(done),
            prompts: Prompts::default(),
            voting,
            explorer: Explorer::default(),
            data: LiveData::default(),
            demonstrations,
            measured: None,
            guarded: false,
            until: None,
        }
    }

    /// Runs turns until the stage ends.
    pub(super) fn work(&mut self, commands: &Receiver<Command>) -> Result<Ended, TrainError> {
        let mut turn = self.begin().map(|()| None);
        loop {
            match turn {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(end),
                Err(e) if self.core.can_wait(&e) => self.core.stumble(&e),
                Err(e) => return Err(e),
            }
            turn = self.turn(commands);
        }
    }

    /// Emits everything before the first step.
    fn begin(&mut self) -> Result<(), TrainError> {
        let core = &mut self.core;
        self.data.begin(core)?;
        prune_versions(core);
        if core.interactive() {
            show_past(core)?;
            self.voting.show_count(core)?;
        }
        // Skills and forgetting are measured from the first step on.
        if core.stage.chat() && core.done == 0 {
            core.validate(false)?;
        }
        if core.done >= core.target {
            let (stage, step) = (core.stage, core.done);
            core.note(format!("{stage} is complete at step {step}; --steps N trains N steps more"));
            if self.voting.learn_at_end(core)? {
                self.saves.outdate(step);
            }
            return Ok(());
        }
        self.probe()?;
        self.voting.measure_before_fit(&mut self.core)?;
        if self.core.setup.waits && !self.core.paused {
            self.core.pause();
        }
        Ok(())
    }

    /// Applies commands, then takes a step unless paused, and does the scheduled work. Some: the stage ends.
    fn turn(&mut self, commands: &Receiver<Command>) -> Result<Option<Ended>, TrainError> {
        if self.recovery.spiked() {
            self.settle()?;
            if self.recovery.answer(&mut self.core)? {
                return Ok(Some((SET_BACK, Some(self.core.stage))));
            }
        }
        let (since, idle) = (Instant::now(), self.core.paused);
        self.core.check_logs()?;
        match self.explorer.advance(&self.core.open.run) {
            Some(Ok(event)) => self.core.out.show(event),
            Some(Err(error)) => self.core.refuse(error.to_string()),
            None => {}
        }
        if let Some(way) = self.obey(commands)? {
            return self.leave(way);
        }
        self.saves.finish(&mut self.core, &mut self.recovery, false)?;
        self.data.refresh(&mut self.core, &mut self.recovery)?;
        let at_end = self.core.submitted >= self.core.target && !self.guarded && !self.recovery.stopped();
        if at_end && !self.core.holds {
            if !self.end()? {
                return Ok(None);
            }
            self.voting.report_fit(&mut self.core, &self.saves)?;
            if !self.core.interactive() {
                self.core.check_logs()?;
                return Ok(Some(("done", None)));
            }
            if !self.core.paused {
                self.core.pause();
            }
        }
        if self.core.paused {
            self.core.out.pump();
            // Nothing else uses the device, so an answer gets longer.
            self.prompt(Duration::from_millis(30))?;
            if idle {
                self.pace.paused(since);
            }
            return Ok(None);
        }
        self.step()?;
        if !self.guarded && !self.recovery.spiked() {
            self.between()?;
        }
        if self.until.take_if(|until| *until <= self.core.submitted).is_some() && !self.core.paused {
            self.drain()?;
            self.core.pause();
        }
        Ok(None)
    }

    /// Ends the stage on command, with a save if requested; None if the save failed and the user can still act.
    fn leave(&mut self, way: Way) -> Result<Option<Ended>, TrainError> {
        // A save in progress may be of this very step: two writers would use one name.
        self.settle()?;
        let (save, next, stays) = match way {
            Way::Stop { save, left } => (save, None, self.core.interactive() && !left),
            Way::To(stage) => (true, Some(stage), true),
        };
        let unsound = self.guarded || self.recovery.stopped() || self.recovery.spiked();
        self.core.setup.waits = self.core.paused && !self.core.holds && !unsound;
        if next == Some(self.core.stage) {
            self.recovery.go_back(&mut self.core)?;
            if self.guarded {
                return_of_the_guard(&mut self.core)?;
            }
        }
        if save && self.saves.saved_at < self.core.done && !unsound {
            self.save()?;
            self.saves.finish(&mut self.core, &mut self.recovery, true)?;
            self.saves.require(&self.core)?;
        }
        if stays && save && self.saves.saved_at < self.core.done && !unsound {
            // The failed save was reported; stay, so that nothing is lost.
            return Ok(None);
        }
        if next == Some(self.core.stage) && !unsound {
            self.data.tell_waiting(&mut self.core)?;
        }
        let complete = self.core.done >= self.core.target && !unsound;
        let reason = match next {
            Some(_) => "switched",
            None if complete => "done",
            None => "stopped",
        };
        Ok(Some((reason, next)))
    }

    /// The work scheduled after a step.
    pub(super) fn between(&mut self) -> Result<(), TrainError> {
        let (submitted, target) = (self.core.submitted, self.core.target);
        let due = |every: usize| every > 0 && submitted.is_multiple_of(every) && submitted < target;
        let plan = &self.core.plan;
        let (eval, probe, mut save) = (due(plan.eval_steps), due(plan.probe_steps), due(plan.save_steps));
        save |= self.recovery.overdue && submitted < target;
        if eval || probe || save {
            self.drain()?;
        }
        self.recovery.overdue = save && self.recovery.waits();
        if probe {
            self.probe()?;
        }
        if eval {
            self.core.validate(false)?;
            self.core.end_early();
        }
        // The end saves too.
        if save && !self.recovery.overdue && self.core.submitted < self.core.target {
            self.saves.finish(&mut self.core, &mut self.recovery, true)?;
            self.save()?;
        }
        self.prompt(Duration::from_secs_f64(self.pace.newest() * PROMPT_SHARE).max(PROMPT_LEAST))
    }

    /// The end of the stage: final probe, whole validation, checkpoint; done once. False if it is not the end yet: the
    /// last step cannot be saved, and the error decides what follows.
    fn end(&mut self) -> Result<bool, TrainError> {
        self.drain()?;
        if self.recovery.spiked() {
            return Ok(false);
        }
        let done = self.core.done;
        if self.saves.saved_at >= done {
            return Ok(true);
        }
        if self.recovery.waits() {
            self.core.target += 1;
            self.core.note(format!("step {done} is far off; one more step is taken before the end is saved"));
            self.step()?;
            return Ok(false);
        }
        // Once, however often the save is retried.
        if self.measured != Some(done) {
            self.probe()?;
            self.core.validate(true)?;
            self.measured = Some(done);
        }
        self.saves.finish(&mut self.core, &mut self.recovery, true)?;
        self.save()?;
        self.saves.finish(&mut self.core, &mut self.recovery, true)?;
        Ok(!self.recovery.spiked())
    }

    fn save(&mut self) -> Result<(), TrainError> {
        self.saves.begin(&mut self.core, &mut self.recovery)
    }

    fn prompt(&mut self, budget: Duration) -> Result<(), TrainError> {
        self.prompts.advance(&mut self.core, &mut self.voting, &self.saves, budget)
    }

    /// Completes the probes.
    pub(super) fn probe(&mut self) -> Result<(), TrainError> {
        let core = &mut self.core;
        let Some(text) = core.work.text() else { return Ok(()) };
        let events = text.probe(&mut core.open.device, core.done)?;
        // The decoder was used for another text: an answer in progress must reread its own.
        self.prompts.reread();
        self.voting.reread();
        core.emit_all(events);
        Ok(())
    }
}

/// Sends what the run's files hold of earlier launches: of all stages once, then of each that starts.
fn show_past(core: &mut Core<'_>) -> Result<(), TrainError> {
    let all = !std::mem::replace(&mut core.open.told, true);
    let mut past = replay::past(core.view(), core.stage, core.done, all)?;
    for stage in &mut past.stages {
        edit_log::add_unreported(core.view(), stage)?;
        // No log has what was drawn of each source.
        if stage.stage == core.stage
            && let Some(last) = stage.steps.last_mut()
        {
            last.sources = core.work.drawn(core.done);
        }
    }
    core.out.show(Event::Past(Box::new(past)));
    Ok(())
}
