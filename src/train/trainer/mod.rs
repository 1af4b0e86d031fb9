//! The loop: steps, and between them commands, validation, probes, prompts and saves.

mod checkpoints;
mod commands;
mod journal;
mod live_data;
mod measuring;
#[cfg(test)]
mod poison;
mod prompts;
mod recovery;
mod spikes;
mod trouble;
mod voting;

use std::{
    any::Any,
    collections::{BTreeSet, VecDeque},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;

use self::{
    commands::Way,
    journal::Journal,
    prompts::Ancestor,
    recovery::{LOWERED, Recovery, SET_BACK},
    trouble::Trouble,
    voting::Voting,
};
use crate::{
    base::StageId,
    nn::StepOutcome,
    protocol::{Command, Event, Line, StepReport},
    train::{
        config::{RunConfig, setup::Setup},
        error::TrainError,
        open::{
            prepare::{Ready, prepare},
            workshop::{Unready, Workshop},
        },
        run::{checkpoint::Written, replay},
        stages::{
            answer::Answer,
            stage_run::{Halt, Submitted},
        },
    },
};

/// Where events go.
type Emit<'a> = &'a mut dyn FnMut(Event);

/// Steps that a GPU may be ahead of the host.
const IN_FLIGHT: usize = 2;
/// Steps that the shown speed is taken over.
const SPEED_WINDOW: usize = 20;
/// The share of a step's time that a prompt may take while training goes on, and its least.
const PROMPT_SHARE: f64 = 0.3;
const PROMPT_LEAST: Duration = Duration::from_millis(2);

/// What a stage came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Steps done.
    pub step: usize,
    /// `done`, `stopped` or `switched`.
    pub reason: String,
    /// The newest checkpoint written by this call.
    pub checkpoint: Option<PathBuf>,
    /// The stage to go to next, where that was asked.
    pub next: Option<StageId>,
}

/// A step that has been submitted.
struct Flying {
    step: usize,
    rate: f64,
    submitted: Submitted,
}

/// A save under way on its own thread.
type Writing = (usize, Instant, JoinHandle<Result<Written, TrainError>>);

/// Why a stage has ended, and the stage to go to next.
type Ended = (&'static str, Option<StageId>);

/// One stage of one run, ready to step.
pub struct Trainer {
    shop: Workshop,
    r: Ready,
    /// The wishes that the stage was opened with.
    setup: Setup,
    interactive: bool,
    metrics: Journal,
    events: Journal,
    flying: VecDeque<Flying>,
    /// Seconds and tokens of the recent steps, everything else left out.
    recent: VecDeque<(f64, usize)>,
    /// Seconds spent stepping since the last collected step.
    active: f64,
    /// Steps submitted and steps answered for.
    submitted: usize,
    done: usize,
    recovery: Recovery,
    saved_at: usize,
    checkpoint: Option<PathBuf>,
    writing: Option<Writing>,
    /// Notes on older checkpoints that were told already.
    told: BTreeSet<String>,
    answer: Option<Answer>,
    waiting: VecDeque<Answer>,
    /// The models that the stage comes from, once they were asked.
    ancestors: Vec<Ancestor>,
    voting: Voting,
    demonstrations: usize,
    /// What was saved last and cannot be used, in words.
    unusable: Option<String>,
    /// run.toml as a key has changed it, until that is read.
    rewritten: Option<String>,
    paused: bool,
    trouble: Trouble,
    /// The step after which the stage's end was measured.
    measured: Option<usize>,
    /// Whether the guard has stopped the stage: nothing is stepped or saved any more.
    guarded: bool,
    /// When the stage was opened, and how long it has stood still since because somebody paused it.
    begun: Instant,
    idle: Duration,
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Trainer {
    /// Makes everything ready: data, model, newest checkpoint (or the parent stage's). On failure the
    /// workshop comes back, for another stage to be tried in.
    pub fn new(mut shop: Workshop, config: RunConfig, setup: &Setup) -> Result<Trainer, Box<Unready>> {
        match Self::make(&mut shop, config, setup) {
            Ok(make) => Ok(make(shop)),
            Err(error) => {
                // A device that is lost says so where it is used next.
                let _ = shop.clear();
                Err(Box::new(Unready { error, workshop: shop }))
            }
        }
    }

    fn make(
        shop: &mut Workshop,
        config: RunConfig,
        setup: &Setup,
    ) -> Result<impl FnOnce(Workshop) -> Trainer + use<>, TrainError> {
        let begun = Instant::now();
        let mut torn = shop.run.mend_logs()?;
        let mut r = prepare(shop, config, setup)?;
        let (mut metrics, mut events) = (shop.run.metrics()?, shop.run.events()?);
        torn.extend([&metrics, &events].into_iter().filter_map(|log| log.torn().cloned()));
        r.notes.extend(torn.iter().map(ToString::to_string));
        let done = r.state.step as usize;
        for log in [&mut metrics, &mut events] {
            if let Some((lines, path)) = log.truncate_after_step(Some(r.stage.name()), r.state.step)? {
                r.notes.push(format!("{lines} lines past step {done} were moved to {}", path.display()));
            }
        }
        let recovery = Recovery::open(shop.run.view(), r.stage, r.state.step, r.config.spike_plan())?;
        let voting = Voting::new(shop.run.view(), &mut r.notes)?;
        let (interactive, demonstrations, setup) = (setup.interactive, r.info.demonstrations, setup.clone());
        Ok(move |shop| Trainer {
            shop,
            r,
            setup,
            interactive,
            metrics: Journal::new(metrics),
            events: Journal::new(events),
            flying: VecDeque::new(),
            recent: VecDeque::new(),
            active: 0.0,
            submitted: done,
            done,
            recovery,
            saved_at: done,
            checkpoint: None,
            writing: None,
            told: BTreeSet::new(),
            answer: None,
            waiting: VecDeque::new(),
            ancestors: Vec::new(),
            voting,
            demonstrations,
            unusable: None,
            rewritten: None,
            paused: false,
            trouble: Trouble::default(),
            measured: None,
            guarded: false,
            begun,
            idle: Duration::ZERO,
        })
    }

    /// Trains until the stage's end, a stop, a switch, or an error; a panic is an error, too. The last event is
    /// `Finished`. The workshop comes back cleared, for the next stage.
    pub fn run(mut self, commands: &Receiver<Command>, emit: Emit<'_>) -> (Result<Summary, TrainError>, Workshop) {
        loop {
            let result = panic::catch_unwind(AssertUnwindSafe(|| self.work(commands, emit)));
            let result = result.unwrap_or_else(|panic| Err(TrainError::Bug(words(&*panic))));
            let step = self.done;
            match result {
                Ok((SET_BACK, _)) if !self.interactive => match self.reopen() {
                    Ok(again) => self = again,
                    Err(unready) => {
                        let (error, workshop) = (unready.error, unready.workshop);
                        let reason = format!("failed: {error}");
                        emit(Event::Finished { step, reason, failed: true, seconds: 0.0 });
                        return (Err(error), workshop);
                    }
                },
                result => return self.finish(result, emit),
            }
        }
    }

    /// The same stage once more, from the checkpoint that it was set back to, up to the same step.
    fn reopen(self) -> Result<Trainer, Box<Unready>> {
        let Trainer { mut shop, r, setup, ancestors, voting, begun, idle, .. } = self;
        let (config, setup) = (r.config.clone(), Setup { steps: Some(r.target), ..setup });
        drop((r, ancestors, voting));
        match shop.clear() {
            Ok(()) => Ok(Trainer { begun, idle, ..Trainer::new(shop, config, &setup)? }),
            Err(error) => Err(Box::new(Unready { error, workshop: shop })),
        }
    }

    fn finish(mut self, result: Result<Ended, TrainError>, emit: Emit<'_>) -> (Result<Summary, TrainError>, Workshop) {
        // A save under way is worth waiting for, however the work ended.
        let wrote = self.finish_writing(true, emit);
        let result = result.and_then(|end| wrote.map(|()| end));
        let (reason, failed) = match &result {
            Ok((reason, _)) => ((*reason).to_owned(), false),
            Err(e) => (format!("failed: {e}"), true),
        };
        self.cancel_all(emit);
        let (step, checkpoint) = (self.done, self.checkpoint.clone());
        let seconds = self.begun.elapsed().saturating_sub(self.idle).as_secs_f64();
        self.tell(Event::Finished { step, reason, failed, seconds }, emit);
        let Trainer { mut shop, r, ancestors, voting, .. } = self;
        drop((r, ancestors, voting));
        let cleared = shop.clear();
        let summary = result
            .and_then(|(reason, next)| cleared.map(|()| Summary { step, reason: reason.to_owned(), checkpoint, next }));
        (summary, shop)
    }

    fn work(&mut self, commands: &Receiver<Command>, emit: Emit<'_>) -> Result<Ended, TrainError> {
        self.tell(Event::Started(Box::new(self.r.info.clone())), emit);
        for text in std::mem::take(&mut self.r.notes) {
            self.note(text, emit);
        }
        match self.begin(emit) {
            Err(e) if self.can_wait(&e) => self.stumble(&e, emit),
            begun => begun?,
        }
        loop {
            match self.turn(commands, emit) {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(end),
                Err(e) if self.can_wait(&e) => self.stumble(&e, emit),
                Err(e) => return Err(e),
            }
        }
    }

    /// What is reported before the first step of a sitting.
    fn begin(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        self.prune_versions(emit);
        if self.interactive && self.done > 0 {
            // Looked at anew: the curves of earlier sittings, which are told to the screen and not logged again.
            replay::events(self.shop.run.view(), self.r.stage, self.done)?.into_iter().for_each(&mut *emit);
        }
        if self.r.work.starts_with_figures() && self.done == 0 {
            self.validate(false, emit)?;
        }
        if self.done >= self.r.target {
            let stage = self.r.stage;
            self.note(format!("{stage} is complete at step {}; --steps N trains N steps more", self.done), emit);
        } else {
            self.probe(emit)?;
            self.expect_fit()?;
        }
        Ok(())
    }

    /// Obeys what was asked, then takes a step, unless paused, and does what falls due after it. Some is the end.
    fn turn(&mut self, commands: &Receiver<Command>, emit: Emit<'_>) -> Result<Option<Ended>, TrainError> {
        if self.recovery.spiked()
            && let Some(stage) = self.answer_spike(emit)?
        {
            return Ok(Some((SET_BACK, Some(stage))));
        }
        let (since, idle) = (Instant::now(), self.paused);
        self.look_at_logs(emit)?;
        if let Some(way) = self.obey(commands, emit)? {
            self.drain(emit)?;
            // One under way may be of this very step; two writers at once would meet in one name.
            self.finish_writing(true, emit)?;
            let (save, next, stays) = match way {
                Way::Stop { save, left } => (save, None, self.interactive && !left),
                Way::To(stage) => (true, Some(stage), true),
            };
            let unsound = self.guarded || self.recovery.stopped() || self.recovery.spiked();
            if next == Some(self.r.stage) {
                self.go_back(emit)?;
            }
            if save && self.saved_at < self.done && !unsound {
                self.save(emit)?;
                self.finish_writing(true, emit)?;
                self.as_asked()?;
            }
            if stays && save && self.saved_at < self.done && !unsound {
                // The save failed, which was told: nothing is left behind unsaved.
                return Ok(None);
            }
            return Ok(Some((if next.is_some() { "switched" } else { "stopped" }, next)));
        }
        self.finish_writing(false, emit)?;
        self.refresh(emit)?;
        let at_end = self.submitted >= self.r.target && !self.guarded && !self.recovery.stopped();
        if at_end && !self.trouble.holds() {
            if !self.end(emit)? {
                return Ok(None);
            }
            self.tell_fit(emit)?;
            if !self.interactive {
                self.look_at_logs(emit)?;
                return Ok(Some(("done", None)));
            }
            if !self.paused {
                self.paused = true;
                self.tell(Event::Paused { step: self.done }, emit);
            }
        }
        if self.paused {
            // A paused stage emits nothing for a while: events that a full channel held back are offered again.
            emit(Event::Steps(Vec::new()));
            // Nothing else waits for the device: an answer gets it to itself.
            self.answer(Duration::from_millis(30), emit)?;
            if idle {
                self.idle += since.elapsed();
            }
            return Ok(None);
        }
        self.step(emit)?;
        if !self.guarded && !self.recovery.spiked() {
            self.between(emit)?;
        }
        Ok(None)
    }

    /// Submits one optimiser step and collects those that are answered.
    fn step(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let begun = Instant::now();
        let step = self.submitted;
        for event in self.r.work.turn(step)? {
            self.tell(event, emit);
        }
        let mut schedule = self.r.plan.schedule;
        schedule.peak = self.peak();
        let rate = self.r.work.rate(step).unwrap_or_else(|| schedule.rate(step));
        let rate = rate * self.recovery.factor(step, schedule.peak);
        let submitted = self.r.work.step(&mut self.shop.device, step, rate as f32)?;
        self.flying.push_back(Flying { step, rate, submitted });
        self.submitted += 1;
        self.active += begun.elapsed().as_secs_f64();
        self.collect(IN_FLIGHT, emit)?;
        self.watch(emit)
    }

    /// Tells what the newest step has shown, and stops where that forbids to go on.
    fn watch(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let watch = self.r.work.watch();
        for event in watch.told {
            self.tell(event, emit);
        }
        match watch.halt {
            None => Ok(()),
            Some(Halt::Broken(why)) => {
                self.drain(emit)?;
                Err(TrainError::Work(why))
            }
            Some(Halt::Guarded(reason)) => self.stop_guarded(reason, emit),
        }
    }

    /// The guard's verdict: the weights are not saved. Where a person watches, the stage pauses, to be opened
    /// again from its newest checkpoint; else it ends.
    fn stop_guarded(&mut self, reason: String, emit: Emit<'_>) -> Result<(), TrainError> {
        self.drain(emit)?;
        self.finish_writing(true, emit)?;
        self.guarded = true;
        let (stage, step) = (self.r.stage, self.done);
        let newest = self.shop.run.view().checkpoints().newest_verified(Some(stage.name()))?.found;
        let checkpoint = newest.map(|c| c.id.to_string());
        let stands = match &checkpoint {
            Some(name) => format!("{name} stands, and {stage} goes on from there"),
            None => format!("no checkpoint was written yet: {stage} starts anew"),
        };
        self.tell(Event::Guarded { step, reason: reason.clone(), checkpoint, may_go_on: false }, emit);
        if !self.interactive {
            return Err(TrainError::Work(format!("the guard stopped {stage} at update {step}: {reason}; {stands}")));
        }
        self.paused = true;
        self.tell(Event::Paused { step }, emit);
        Ok(())
    }

    /// Reports answered steps, waiting until at most `most` are in flight.
    fn collect(&mut self, most: usize, emit: Emit<'_>) -> Result<(), TrainError> {
        while let Some(mut first) = self.flying.pop_front() {
            let wait = self.flying.len() >= most;
            let begun = Instant::now();
            let control = self.shop.device.collect(&mut first.submitted.ticket, wait)?;
            self.active += begun.elapsed().as_secs_f64();
            let Some(control) = control else {
                self.flying.push_front(first);
                return Ok(());
            };
            self.report(&first, StepOutcome::from_control(&control), emit)?;
        }
        Ok(())
    }

    fn drain(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        self.collect(0, emit)
    }

    fn report(&mut self, flown: &Flying, outcome: StepOutcome, emit: Emit<'_>) -> Result<(), TrainError> {
        let seconds = std::mem::take(&mut self.active);
        let (step, rate) = (flown.step, flown.rate);
        self.recent.push_back((seconds, flown.submitted.tokens));
        if self.recent.len() > SPEED_WINDOW {
            self.recent.pop_front();
        }
        self.done = step + 1;
        self.r.state.total_tokens += flown.submitted.tokens as u64;
        let sources = self.r.work.drawn(self.done);
        let all = self.r.work.epoch_tokens();
        let (time, tokens) = self.recent.iter().fold((0.0, 0), |sum, r| (sum.0 + r.0, sum.1 + r.1));
        let lowered = outcome.lowered.then_some((LOWERED, 1.0));
        let extra = flown.submitted.extra.iter().chain(&lowered);
        let report = StepReport {
            step: self.done,
            loss: flown.submitted.loss.unwrap_or_else(|| outcome.loss.into()),
            learning_rate: rate,
            grad_norm: outcome.grad_norm.into(),
            applied: outcome.applied,
            tokens_per_second: tokens as f64 / time,
            total_tokens: self.r.state.total_tokens,
            epoch: self.r.state.total_tokens as f64 / all.max(1) as f64,
            step_ms: seconds * 1e3,
            sources,
            extra: extra.map(|(name, value)| ((*name).into(), *value)).collect(),
        };
        // The step is made, whatever becomes of its line: that waits in memory, and the next turn tells why.
        if let Some(line) = Line::now(self.r.stage, &report).json()
            && let Err(e) = self.metrics.append(line)
        {
            self.trouble.note(e);
        }
        if !outcome.lowered {
            self.recovery.see(&report);
        }
        emit(Event::Steps(vec![report]));
        if outcome.applied {
            return Ok(());
        }
        if outcome.lowered {
            // The search for the largest loss scale, not a fault of the run.
            let text = "the gradients were too large for f16; the loss scale is halved and the step was not applied";
            self.note(format!("step {}: {text}", self.done), emit);
            return Ok(());
        }
        self.r.state.skipped_steps += 1;
        self.note(
            format!(
                "step {}: loss {} or gradient norm {} is not finite; the step was not applied",
                self.done, outcome.loss, outcome.grad_norm
            ),
            emit,
        );
        Ok(())
    }

    /// What falls due after a step.
    fn between(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let due = |every: usize| every > 0 && self.submitted.is_multiple_of(every) && self.submitted < self.r.target;
        let (eval, probe, mut save) =
            (due(self.r.plan.eval_steps), due(self.r.plan.probe_steps), due(self.r.plan.save_steps));
        save |= self.recovery.overdue && self.submitted < self.r.target;
        if eval || probe || save {
            self.drain(emit)?;
        }
        self.recovery.overdue = save && self.recovery.waits();
        if probe {
            self.probe(emit)?;
        }
        if eval {
            self.validate(false, emit)?;
        }
        if save && !self.recovery.overdue {
            self.finish_writing(true, emit)?;
            self.save(emit)?;
        }
        let step = self.recent.back().map_or(0.0, |r| r.0);
        self.answer(Duration::from_secs_f64(step * PROMPT_SHARE).max(PROMPT_LEAST), emit)
    }

    /// The stage's end: last probe, whole validation, checkpoint. Done once. False where there is no end yet: the
    /// last step cannot be saved, and another one decides what follows from it.
    fn end(&mut self, emit: Emit<'_>) -> Result<bool, TrainError> {
        self.drain(emit)?;
        if self.recovery.spiked() {
            return Ok(false);
        }
        if self.saved_at >= self.done {
            return Ok(true);
        }
        if self.recovery.waits() {
            self.r.target += 1;
            self.note(format!("step {} is far off; one more step is taken before the end is saved", self.done), emit);
            self.step(emit)?;
            return Ok(false);
        }
        // Once, however often the save is tried.
        if self.measured != Some(self.done) {
            self.probe(emit)?;
            self.validate(true, emit)?;
            self.measured = Some(self.done);
        }
        self.finish_writing(true, emit)?;
        self.save(emit)?;
        self.finish_writing(true, emit)?;
        Ok(!self.recovery.spiked())
    }

    fn note(&mut self, text: String, emit: Emit<'_>) {
        self.tell(Event::Note { step: self.done, text }, emit);
    }

    /// Writes an event to the run's log and tells it.
    fn tell(&mut self, event: Event, emit: Emit<'_>) {
        if let Some(line) = Line::now(self.r.stage, &event).json()
            && let Err(e) = self.events.append(line)
        {
            self.trouble.note(e);
        }
        emit(event);
    }
}
