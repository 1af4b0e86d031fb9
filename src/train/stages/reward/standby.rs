//! The reward model beside a stage that trains something else: it scores answers and is fitted to votes.
//!
//! It is the newest checkpoint of the reward stage. A fit of the taste leaves the network as it is, a fit of the network
//! is further steps of that stage; either writes the next checkpoint. A policy that learns from an older one keeps using
//! that.

use std::time::Instant;

use super::{
    model::RewardModel,
    pairs::{self, Answers},
    taste::Taste,
    votes,
};
use crate::{
    base::StageId,
    compute::Device,
    data::Tokenizer,
    nn::StepOutcome,
    protocol::{Line, Refit, Taught, Vote},
    store::Log,
    train::{
        error::TrainError,
        run::{
            checkpoint::{self, State, Stay},
            model_folder,
        },
        stages::{
            opening::{Opening, same_words},
            stage_run::Preference,
        },
    },
};

/// Features of a taste that are reported.
const SHOWN: usize = 12;
/// The stage of its checkpoints.
pub(crate) const STAGE: StageId = StageId::Reward;

/// A reward model and its progress.
pub(crate) struct StandbyRewardModel {
    pub model: RewardModel,
    state: State,
    /// The name of its checkpoint.
    pub name: String,
}

/// Measurements before a fit, for its report.
pub(crate) struct Before {
    begun: Instant,
    agreement: f64,
    accuracy: f64,
    step: usize,
}

impl Before {
    /// Measures, and starts the clock.
    pub(crate) fn measure(model: &mut dyn Preference, device: &mut Device, step: usize) -> Result<Before, TrainError> {
        let begun = Instant::now();
        let (agreement, accuracy) = (model.agreement(device, step)?, model.accuracy(device)?);
        Ok(Before { begun, agreement, accuracy, step })
    }

    /// The report of a fit.
    pub(crate) fn report(
        self,
        model: &mut dyn Preference,
        device: &mut Device,
        done: usize,
        checkpoint: String,
    ) -> Result<Refit, TrainError> {
        let (agreement, accuracy) = (model.agreement(device, done)?, model.accuracy(device)?);
        let (predicted, taught) = model.taste().map_or((None, Vec::new()), |(taste, of)| {
            let shown = taste.likings.iter().take(SHOWN);
            (of, shown.map(|l| Taught { what: l.feature.clone(), weight: l.weight }).collect())
        });
        Ok(Refit {
            version: model.version(),
            votes: model.votes(done),
            pairs: model.pairs_trained(),
            weight: model.vote_counts_for(self.step),
            steps: done - self.step,
            seconds: self.begun.elapsed().as_secs_f64(),
            agreement: (self.agreement, agreement),
            accuracy: (self.accuracy, accuracy),
            checkpoint,
            predicted,
            taught,
        })
    }
}

impl StandbyRewardModel {
    /// The run's newest reward model; None if there is none.
    pub(crate) fn open(
        o: &mut Opening<'_>,
        cast: &[Vote],
        tokenizer: &Tokenizer,
    ) -> Result<Option<StandbyRewardModel>, TrainError> {
        let checkpoints = o.run.view().checkpoints();
        if !checkpoints.list()?.iter().any(|id| id.stage == STAGE) {
            return Ok(None);
        }
        let mut config = o.model.clone();
        model_folder::name_tokens(&mut config, tokenizer);
        let examples = votes::examples(cast, tokenizer, o.plan.context)?;
        let how = o.config.reward_settings()?;
        let known = (examples, tokenizer.clone());
        let mut model = RewardModel::new(o.device, &config, o.plan, how, o.config.seed, known)?;
        let table = std::sync::Arc::clone(model.table());
        let found = checkpoints.newest_that(Some(STAGE), |c| {
            let (state, slabs) = RewardModel::read(&c, &config, &table)?;
            let taste = Taste::read(&c)?;
            Ok((state, slabs, taste, c))
        })?;
        o.notes.extend(found.notes());
        let Some((state, slabs, taste, checkpoint)) = found.found else { return Ok(None) };
        same_words(&checkpoint, tokenizer)?;
        model.resume(o.device, &state, &slabs)?;
        model.set_taste(taste);
        let mut standby = StandbyRewardModel { model, state, name: checkpoint.id.to_string() };
        if let Err(e) = standby.teach(o, tokenizer) {
            o.notes.push(format!("the reward model can score but not learn from votes: {e}"));
        }
        Ok(Some(standby))
    }

    /// Sets its pairs, if they are not set.
    fn teach(&mut self, o: &mut Opening<'_>, tokenizer: &Tokenizer) -> Result<(), TrainError> {
        if self.model.pairs().is_none() {
            let pairs = pairs::gather(o, &Answers::Kept, tokenizer)?;
            o.same_data(&mut self.state, &pairs.digest);
            self.model.teach(pairs);
        }
        Ok(())
    }

    /// Steps taken so far.
    pub(crate) fn step(&self) -> usize {
        self.state.step as usize
    }

    /// A few further steps, half of each votes, and a checkpoint. `log` is the run's metrics. On failure the model is
    /// restored.
    pub(crate) fn refit(
        &mut self,
        o: &mut Opening<'_>,
        tokenizer: &Tokenizer,
        log: &mut Log,
        stay: &Stay,
    ) -> Result<Refit, TrainError> {
        self.teach(o, tokenizer)?;
        if self.model.waits(self.step()).is_some() {
            return self.fit_taste(o, tokenizer, stay);
        }
        let (state, slabs) = (self.state.clone(), self.model.slabs(o.device)?);
        let result = self.fit(o, tokenizer, log, stay);
        if result.is_err() {
            // As on disk: the next fit takes the same steps.
            self.state = state;
            self.model.resume(o.device, &self.state, &slabs)?;
        }
        result
    }

    /// A fit of the taste alone: the next checkpoint is of the same step. On failure the one on disk applies again.
    fn fit_taste(&mut self, o: &mut Opening<'_>, tokenizer: &Tokenizer, stay: &Stay) -> Result<Refit, TrainError> {
        let (model, step) = (&mut self.model, self.state.step as usize);
        let before = Before::measure(model, o.device, step)?;
        let kept = model.taste().map(|(taste, _)| taste.clone());
        model.learn(o.device)?;
        let fit = before.report(model, o.device, step, String::new())?;
        let part = model.part(o.device)?;
        model.write_state(&mut self.state);
        let (saver, config) = (o.run.saver(), model.model.clone());
        let written =
            checkpoint::save(&saver, vec![part], &config, tokenizer, &self.state, stay).inspect_err(|_| {
                self.model.set_taste(kept.unwrap_or_default());
            })?;
        o.notes.extend(written.left);
        self.name = written.saved.checkpoint.id.to_string();
        Ok(Refit { checkpoint: self.name.clone(), ..fit })
    }

    fn fit(
        &mut self,
        o: &mut Opening<'_>,
        tokenizer: &Tokenizer,
        log: &mut Log,
        stay: &Stay,
    ) -> Result<Refit, TrainError> {
        let (model, first) = (&mut self.model, self.state.step as usize);
        // Removes what a killed fit has logged.
        log.truncate_after_step(Some(STAGE), self.state.step)?;
        let before = Before::measure(model, o.device, first)?;
        let span = match model.refit_at(first) {
            // A fit of the stage itself was interrupted: complete it first.
            Some(span) => span,
            None => model.begin_refit(first),
        };
        for step in first..span.end() as usize {
            let begun = Instant::now();
            let rate = model.refit_rate(step).unwrap_or_default();
            let mut submitted = model.step(o.device, step, rate as f32)?;
            let Some(control) = o.device.collect(&mut submitted.ticket, true)? else {
                return Err(TrainError::Work("the reward model's step was not answered".to_owned()));
            };
            let outcome = StepOutcome::from_control(&control);
            self.state.total_tokens += submitted.tokens as u64;
            let tokens = (self.state.total_tokens, model.tokens());
            let report = submitted.report((step + 1, rate), &outcome, tokens, begun.elapsed().as_secs_f64());
            log.append(&Line::now(STAGE, &report))?;
            if !outcome.applied && !outcome.lowered {
                let (loss, norm) = (outcome.loss, outcome.grad_norm);
                return Err(TrainError::Work(format!(
                    "step {} of the fit has loss {loss} and gradient norm {norm}; the reward model is unchanged",
                    step + 1
                )));
            }
        }
        self.state.step = span.end();
        let fit = before.report(model, o.device, self.state.step as usize, String::new())?;
        let part = model.part(o.device)?;
        model.write_state(&mut self.state);
        log.sync()?;
        let (saver, config) = (o.run.saver(), model.model.clone());
        let written = checkpoint::save(&saver, vec![part], &config, tokenizer, &self.state, stay)?;
        o.notes.extend(written.left);
        self.name = written.saved.checkpoint.id.to_string();
        Ok(Refit { checkpoint: self.name.clone(), ..fit })
    }
}
