//! The loop: steps, and between them commands, validation, probes, prompts and saves.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::{
    answer::{self, Answer},
    checkpoint::{self, MomentNames},
    config::RunConfig,
    error::TrainError,
    event::{Ask, Command, Event, SourceUse, StepReport},
    lines,
    setup::{Ready, Setup, prepare},
    validation::{self, Validation},
};
use crate::{
    compute::{Device, Ticket},
    data::baseline,
    nn::{MicroBatch, StepOutcome},
    store::{Log, Run, Saved, StoreError},
};

/// Steps that a GPU may be ahead of the host.
const IN_FLIGHT: usize = 2;
/// Steps that the shown speed is taken over.
const SPEED_WINDOW: usize = 20;
/// Skipped steps in a row after which a stage gives up.
const PATIENCE: u64 = 3;
/// Checkpoints of a stage that stay.
const KEEP: usize = 3;
/// The share of a step's time that a prompt may take while training goes on, and its least.
const PROMPT_SHARE: f64 = 0.3;
const PROMPT_LEAST: Duration = Duration::from_millis(2);

/// What a stage came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps done.
    pub step: usize,
    /// `done` or `stopped`.
    pub reason: String,
    /// The newest checkpoint written by this call.
    pub checkpoint: Option<PathBuf>,
}

/// A step that has been submitted.
struct Flying {
    step: usize,
    rate: f64,
    ticket: Ticket,
}

/// A save under way on its own thread.
type Writing = (usize, Instant, JoinHandle<Result<Saved, StoreError>>);

/// One stage of one run, ready to step.
pub struct Trainer {
    r: Ready,
    interactive: bool,
    stage: String,
    validation: Validation,
    metrics: Log,
    events: Log,
    flying: VecDeque<Flying>,
    /// Seconds of the recent steps, everything else left out.
    recent: VecDeque<f64>,
    /// Seconds spent stepping since the last collected step.
    active: f64,
    /// Steps submitted and steps answered for.
    submitted: usize,
    done: usize,
    skipped_in_a_row: u64,
    saved_at: usize,
    checkpoint: Option<PathBuf>,
    writing: Option<Writing>,
    answer: Option<Answer>,
    waiting: VecDeque<Answer>,
    paused: bool,
}

impl Trainer {
    /// Makes everything ready: data, model, newest checkpoint.
    pub fn new(run: Run, config: RunConfig, device: Device, setup: &Setup) -> Result<Trainer, TrainError> {
        let mut r = prepare(run, config, device, setup)?;
        let validation = Validation::new(&mut r.device, &r.model, r.learner.params(), r.plan.context)?;
        r.info.memory = r.device.memory().0;
        let (mut metrics, mut events) = (r.run.metrics()?, r.run.events()?);
        let done = r.state.step as usize;
        for log in [&mut metrics, &mut events] {
            if let Some((lines, path)) = log.truncate_after_step(Some(&setup.stage), r.state.step)? {
                r.notes.push(format!("{lines} lines past step {done} were moved to {}", path.display()));
            }
        }
        Ok(Trainer {
            r,
            interactive: setup.interactive,
            stage: setup.stage.clone(),
            validation,
            metrics,
            events,
            flying: VecDeque::new(),
            recent: VecDeque::new(),
            active: 0.0,
            submitted: done,
            done,
            skipped_in_a_row: 0,
            saved_at: done,
            checkpoint: None,
            writing: None,
            answer: None,
            waiting: VecDeque::new(),
            paused: false,
        })
    }

    /// Trains until the stage's end, a stop, or an error. The last event is `Finished`.
    pub fn run(mut self, commands: &Receiver<Command>, emit: &mut dyn FnMut(Event)) -> Result<Summary, TrainError> {
        let result = self.work(commands, emit);
        // A save under way is worth waiting for, however the work ended.
        let wrote = self.finish_writing(true, emit);
        let result = result.and_then(|reason| wrote.map(|()| reason));
        let (reason, failed) = match &result {
            Ok(reason) => ((*reason).to_owned(), false),
            Err(e) => (format!("failed: {e}"), true),
        };
        let step = self.done;
        self.tell(Event::Finished { step, reason, failed }, emit);
        result.map(|reason| Summary { step, reason: reason.to_owned(), checkpoint: self.checkpoint })
    }

    fn work(&mut self, commands: &Receiver<Command>, emit: &mut dyn FnMut(Event)) -> Result<&'static str, TrainError> {
        self.tell(Event::Started(Box::new(self.r.info.clone())), emit);
        for text in std::mem::take(&mut self.r.notes) {
            self.note(text, emit);
        }
        if self.done >= self.r.target {
            self.note(format!("{} is complete at step {}; --steps N trains N steps more", self.stage, self.done), emit);
        } else {
            self.probe(emit)?;
        }
        loop {
            if let Some(save) = self.obey(commands, emit)? {
                self.drain(emit)?;
                // One under way may be of this very step; two writers at once would meet in one name.
                self.finish_writing(true, emit)?;
                if save && self.saved_at < self.done {
                    self.save(emit)?;
                }
                return Ok("stopped");
            }
            self.finish_writing(false, emit)?;
            if self.submitted >= self.r.target {
                self.end(emit)?;
                if !self.interactive {
                    return Ok("done");
                }
                if !self.paused {
                    self.paused = true;
                    self.tell(Event::Paused { step: self.done }, emit);
                }
            }
            if self.paused {
                // Nothing else waits for the device: an answer gets it to itself.
                self.answer(Duration::from_millis(30), emit)?;
                continue;
            }
            self.step(emit)?;
            self.between(emit)?;
        }
    }

    /// Submits one optimiser step and collects those that are answered.
    fn step(&mut self, emit: &mut dyn FnMut(Event)) -> Result<(), TrainError> {
        let begun = Instant::now();
        let step = self.submitted;
        let rate = self.r.plan.schedule.rate(step);
        let batches = (0..self.r.plan.accumulation)
            .map(|micro| self.r.batcher.batch(step as u64, micro))
            .collect::<Result<Vec<_>, _>>()?;
        let micros: Vec<MicroBatch<'_>> =
            batches.iter().map(|b| MicroBatch { ids: &b.ids, targets: &b.targets, starts: None }).collect();
        let ticket = self.r.learner.step(&mut self.r.device, &micros, rate as f32, self.r.config.seed, step)?;
        self.flying.push_back(Flying { step, rate, ticket });
        self.submitted += 1;
        self.active += begun.elapsed().as_secs_f64();
        self.collect(IN_FLIGHT, emit)
    }

    /// Reports answered steps, waiting until at most `most` are in flight.
    fn collect(&mut self, most: usize, emit: &mut dyn FnMut(Event)) -> Result<(), TrainError> {
        while let Some(mut first) = self.flying.pop_front() {
            let wait = self.flying.len() >= most;
            let begun = Instant::now();
            let control = self.r.device.collect(&mut first.ticket, wait)?;
            self.active += begun.elapsed().as_secs_f64();
            let Some(control) = control else {
                self.flying.push_front(first);
                return Ok(());
            };
            self.report(first.step, first.rate, StepOutcome::from_control(&control), emit)?;
        }
        Ok(())
    }

    fn drain(&mut self, emit: &mut dyn FnMut(Event)) -> Result<(), TrainError> {
        self.collect(0, emit)
    }

    fn report(
        &mut self,
        step: usize,
        rate: f64,
        outcome: StepOutcome,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), TrainError> {
        let seconds = std::mem::take(&mut self.active);
        self.recent.push_back(seconds);
        if self.recent.len() > SPEED_WINDOW {
            self.recent.pop_front();
        }
        let plan = &self.r.plan;
        let tokens = (plan.batch_size * plan.accumulation * plan.context) as u64;
        self.done = step + 1;
        self.r.state.total_tokens += tokens;
        let drawn = self.r.batcher.tokens_drawn(self.done as u64);
        let sources: Vec<SourceUse> = drawn
            .iter()
            .zip(self.r.corpus.packed.iter())
            .map(|(tokens, s)| SourceUse {
                tokens: *tokens,
                epoch: *tokens as f64 / s.train.tokens().len().max(1) as f64,
            })
            .collect();
        let all: usize = self.r.corpus.packed.iter().map(|s| s.train.tokens().len()).sum();
        let report = StepReport {
            step: self.done,
            loss: outcome.loss.into(),
            learning_rate: rate,
            grad_norm: outcome.grad_norm.into(),
            applied: outcome.applied,
            tokens_per_second: tokens as f64 * self.recent.len() as f64 / self.recent.iter().sum::<f64>(),
            total_tokens: self.r.state.total_tokens,
            epoch: self.r.state.total_tokens as f64 / all.max(1) as f64,
            step_ms: seconds * 1e3,
            sources,
        };
        self.metrics.append(&lines::step(&self.stage, &report))?;
        emit(Event::Steps(vec![report]));
        if outcome.applied {
            self.skipped_in_a_row = 0;
            return Ok(());
        }
        self.r.state.skipped_steps += 1;
        self.skipped_in_a_row += 1;
        self.note(
            format!(
                "step {}: loss {} or gradient norm {} is not finite; the step was not applied",
                self.done, outcome.loss, outcome.grad_norm
            ),
            emit,
        );
        if self.skipped_in_a_row >= PATIENCE {
            return Err(TrainError::Work(format!(
                "{PATIENCE} steps in a row were not finite, the last at step {}; the newest checkpoint stands. Lower learning_rate (now {rate:.1e}) or look at the data of these steps",
                self.done
            )));
        }
        Ok(())
    }

    /// What falls due after a step.
    fn between(&mut self, emit: &mut dyn FnMut(Event)) -> Result<(), TrainError> {
        let due = |every: usize| every > 0 && self.submitted.is_multiple_of(every) && self.submitted < self.r.target;
        let (eval, probe, save) =
            (due(self.r.plan.eval_steps), due(self.r.plan.probe_steps), due(self.r.plan.save_steps));
        if eval || probe || save {
            self.drain(emit)?;
        }
        if probe {
            self.probe(emit)?;
        }
        if eval {
            self.validate(false, emit)?;
        }
        if save {
            self.finish_writing(true, emit)?;
            self.save(emit)?;
        }
        let step = self.recent.back().copied().unwrap_or(0.0);
        self.answer(Duration::from_secs_f64(step * PROMPT_SHARE).max(PROMPT_LEAST), emit)
    }

    /// The stage's end: last probe, whole validation, checkpoint. Done once.
    fn end(&mut self, emit: &mut dyn FnMut(Event)) -> Result<(), TrainError> {
        self.drain(emit)?;
        if self.saved_at >= self.done {
            return Ok(());
        }
        self.probe(emit)?;
        self.validate(true, emit)?;
        self.finish_writing(true, emit)?;
        self.save(emit)?;
        self.finish_writing(true, emit)
    }

    fn note(&mut self, text: String, emit: &mut dyn FnMut(Event)) {
        self.tell(Event::Note { step: self.done, text }, emit);
    }

    /// Writes an event to the run's log and tells it. A log that cannot be written is told once a
    /// line; the work does not stop for it.
    fn tell(&mut self, event: Event, emit: &mut dyn FnMut(Event)) {
        if let Some(line) = lines::event(&self.stage, &event)
            && let Err(e) = self.events.append(&line)
        {
            emit(Event::Note { step: self.done, text: e.to_string() });
        }
        emit(event);
    }
}
