//! Mix, data and learning rate, changed while the stage runs.

use std::time::Instant;

use super::{Emit, Trainer, trouble::Untaken};
use crate::{
    data::shares,
    protocol::{Cause, DroppedView, Event, RoomView, Trial},
    train::{
        config::{RunConfig, toml_patch},
        corpus::{
            Corpus, Marks,
            live::{Found, Fresh, Trying, held_back},
        },
        error::TrainError,
        stages::lm::edit_log,
    },
};

/// Parts of the batches that a source is given or loses at once: of so many.
const PARTS: f64 = 20.0;
/// What a stage without text says.
const NO_TEXT: &str = "this stage draws no text of the run's sources; pretrain and sft do";

impl Trainer {
    /// Takes over what was read since, and tells how far a trial is.
    pub(super) fn refresh(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let Some(lm) = self.r.work.lm() else { return Ok(()) };
        let trials: Vec<Trial> = lm.room().trials.try_iter().collect();
        let found: Vec<Found> = lm.room().found.try_iter().collect();
        let died = lm.room().died();
        for trial in trials {
            self.tell(Event::Tried(Box::new(trial)), emit);
        }
        for found in found {
            match found {
                Found::Fresh(fresh) => self.take_over(*fresh, emit)?,
                Found::Broken(text) => self.broken(text, emit)?,
                Found::Mended => {
                    self.unusable = None;
                    self.note("what was broken is as it was before".to_owned(), emit);
                    self.tell_room(emit)?;
                }
            }
        }
        if died {
            self.broken(
                "what is saved is not read any more: the thread for it has died, which is a bug".to_owned(),
                emit,
            )?;
        }
        Ok(())
    }

    fn broken(&mut self, text: String, emit: Emit<'_>) -> Result<(), TrainError> {
        self.tell(Event::Broken { step: self.done, text: text.clone() }, emit);
        self.unusable = Some(text);
        self.tell_room(emit)
    }

    fn take_over(&mut self, fresh: Fresh, emit: Emit<'_>) -> Result<(), TrainError> {
        let Fresh { text, config, corpus, since } = fresh;
        // Read before a key changed run.toml: it would undo that, and what the key wrote is read next.
        let outrun = self
            .rewritten
            .as_ref()
            .is_some_and(|written| *written != text && self.shop.run.view().config().is_ok_and(|now| now == *written));
        if outrun {
            return Ok(());
        }
        self.rewritten = None;
        self.unusable = None;
        // What a key has changed stands in run.toml as well, and is known here already.
        let cause = if config == self.r.config { Cause::Files } else { Cause::Config };
        self.edit(config, Some(corpus), cause, Some(since), emit)
    }

    /// Goes by another configuration, and by other text where there is some, from the next batch on.
    pub(super) fn edit(
        &mut self,
        config: RunConfig,
        corpus: Option<Corpus>,
        cause: Cause,
        since: Option<Instant>,
        emit: Emit<'_>,
    ) -> Result<(), TrainError> {
        let stage = self.r.stage;
        let held = held_back(&self.r.config, &config, stage)?;
        if !held.is_empty() {
            self.note(format!("run.toml: {} will hold when {stage} is opened again", held.join(", ")), emit);
        }
        let Some(lm) = self.r.work.lm() else { return Ok(()) };
        let step = lm.free_from(self.submitted as u64);
        let proposed = config.plan(stage).map_err(TrainError::from).and_then(|plan| {
            let entry = lm.proposed(step, &plan, &config, corpus.as_ref(), cause)?;
            if let Some(entry) = &entry {
                edit_log::write(&self.shop.run, entry)?;
            }
            Ok((plan, entry))
        });
        let (plan, entry) = match proposed {
            Ok(proposed) => proposed,
            // Not written down, so it does not act: it is tried again when the stage continues.
            Err(e) if self.can_wait(&e) => {
                self.stumble(&e, emit);
                self.trouble.untaken = Some(Untaken { config, corpus, cause, since });
                return Ok(());
            }
            Err(e) => return self.broken(format!("the change is not taken over: {e}"), emit),
        };
        let ours = &mut self.r.plan;
        (ours.eval_steps, ours.probe_steps, ours.save_steps) = (plan.eval_steps, plan.probe_steps, plan.save_steps);
        let edit = if let Some(entry) = entry {
            Some(lm.take(entry, &config, corpus, since.map(|s| s.elapsed().as_secs_f64()))?)
        } else {
            lm.take_probes(corpus);
            None
        };
        if config.manner() != self.r.config.manner() {
            emit(Event::Manner(config.manner()));
        }
        self.r.config = config;
        if let Some(edit) = edit {
            self.turned()?;
            self.tell(Event::Edited(Box::new(edit)), emit);
            self.prune_versions(emit);
        }
        self.tell_room(emit)
    }

    /// Gives a source more of the batches, or less.
    pub(super) fn weigh(&mut self, source: &str, by: i32, emit: Emit<'_>) -> Result<(), TrainError> {
        let Some(lm) = self.r.work.lm() else {
            self.refuse(NO_TEXT.to_owned(), emit);
            return Ok(());
        };
        let (weights, again) = (lm.weights(), lm.free_from(0));
        let weighed = if again > 0 {
            Err(format!("steps up to {again} are taken again as they were; weigh the sources after them"))
        } else {
            reweighed(&weights, source, by)
        };
        let changed = weighed.and_then(|weight| {
            self.rewrite(|text| toml_patch::weight(text, source, weight))?;
            Ok(weight)
        });
        match changed {
            Ok(weight) => {
                let mut config = self.r.config.clone();
                match config.source.iter_mut().find(|s| s.name == source) {
                    Some(own) => own.weight = weight,
                    None => drop(config.mix.insert(source.to_owned(), weight)),
                }
                self.edit(config, None, Cause::Key, None, emit)
            }
            Err(why) => {
                self.refuse(why, emit);
                Ok(())
            }
        }
    }

    /// Sets a rule's bound in run.toml; what follows from it is read as any edit is.
    pub(super) fn set_rule(&mut self, source: &str, rule: &str, bound: Option<f64>, emit: Emit<'_>) {
        let done = match self.r.work.lm() {
            None => Err(NO_TEXT.to_owned()),
            Some(_) => self.rewrite(|text| toml_patch::rule(text, source, rule, bound)),
        };
        if let Err(why) = done {
            self.refuse(why, emit);
        }
    }

    /// Changes run.toml, if what comes of it is one, and has it read.
    fn rewrite(
        &mut self,
        change: impl FnOnce(&str) -> Result<String, crate::train::config::ConfigIssue>,
    ) -> Result<(), String> {
        let run = &self.shop.run;
        let text = run.view().config().map_err(|e| e.to_string())?;
        let text = change(&text).map_err(|e| e.to_string())?;
        RunConfig::parse(&text, &[], self.r.stage).map_err(|e| e.to_string())?;
        run.write_config(&text).map_err(|e| e.to_string())?;
        self.rewritten = Some(text);
        self.reread();
        Ok(())
    }

    /// Reads run.toml and the sources again.
    pub(super) fn reread(&mut self) {
        if let Some(lm) = self.r.work.lm() {
            lm.room().reread();
        }
    }

    /// Tries a bound of a rule.
    pub(super) fn try_rule(
        &mut self,
        source: &str,
        rule: String,
        threshold: f64,
        emit: Emit<'_>,
    ) -> Result<(), TrainError> {
        let config = self.r.config.source.iter().find(|s| s.name == source).cloned();
        let dir = self.shop.run.view().dir().to_owned();
        match (self.r.work.lm(), config) {
            (Some(lm), Some(source)) => lm.room().try_rule(Trying { dir, source, rule, threshold }),
            (None, _) => {
                self.refuse(NO_TEXT.to_owned(), emit);
                Ok(())
            }
            (_, None) => {
                self.refuse(format!("{source} is no [[source]] of run.toml; built-in text is not cleaned"), emit);
                Ok(())
            }
        }
    }

    /// The data as they are now.
    pub(super) fn show_room(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        match self.room_view()? {
            Some(room) => {
                self.tell(Event::Room(Box::new(room)), emit);
                match Marks::read(self.shop.run.view()) {
                    Ok(marks) => {
                        let (keep, drop) = marks.count();
                        emit(Event::Marked { keep, drop });
                    }
                    Err(e) => self.refuse(e.to_string(), emit),
                }
            }
            None => self.refuse(NO_TEXT.to_owned(), emit),
        }
        Ok(())
    }

    /// The same, for a person who watches.
    fn tell_room(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        if self.interactive
            && let Some(room) = self.room_view()?
        {
            self.tell(Event::Room(Box::new(room)), emit);
        }
        Ok(())
    }

    fn room_view(&mut self) -> Result<Option<RoomView>, TrainError> {
        let Some(lm) = self.r.work.lm() else { return Ok(None) };
        let mut room = lm.room_view(&self.r.config)?;
        if let Some(text) = &self.unusable {
            for source in &mut room.sources {
                source.broken = text.contains(&format!("source {}:", source.name)).then(|| text.clone());
            }
        }
        Ok(Some(room))
    }

    /// A document that is trained on.
    pub(super) fn show_document(&mut self, source: &str, index: usize, emit: Emit<'_>) -> Result<(), TrainError> {
        self.drain(emit)?;
        let Some(lm) = self.r.work.lm() else {
            self.refuse(NO_TEXT.to_owned(), emit);
            return Ok(());
        };
        match lm.document(&mut self.shop.device, source, index, self.done)? {
            Ok(view) => self.tell(Event::Document(Box::new(view)), emit),
            Err(why) => self.refuse(why, emit),
        }
        Ok(())
    }

    /// The batch that comes next.
    pub(super) fn show_next_batch(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let step = self.submitted;
        let Some(lm) = self.r.work.lm() else {
            self.refuse(NO_TEXT.to_owned(), emit);
            return Ok(());
        };
        let view = lm.next_batch(step)?;
        self.tell(Event::NextBatch(Box::new(view)), emit);
        Ok(())
    }

    /// Documents that were dropped.
    pub(super) fn show_dropped(&mut self, asked: DroppedView, count: usize, emit: Emit<'_>) -> Result<(), TrainError> {
        let Some(lm) = self.r.work.lm() else {
            self.refuse(NO_TEXT.to_owned(), emit);
            return Ok(());
        };
        match lm.dropped(&asked, count) {
            Ok(view) => self.tell(Event::Dropped(Box::new(view)), emit),
            Err(e) => self.refuse(e.to_string(), emit),
        }
        Ok(())
    }

    /// Keeps that texts like this one are wanted, or not.
    pub(super) fn mark(&mut self, text: &str, keep: Option<bool>, emit: Emit<'_>) {
        match Marks::append(&self.shop.run, text, keep) {
            Ok(marks) => {
                let (keep, drop) = marks.count();
                self.tell(Event::Marked { keep, drop }, emit);
                if self.r.config.source.iter().any(|s| s.quality) {
                    self.reread();
                }
            }
            Err(e) => self.refuse(e.to_string(), emit),
        }
    }

    /// Removes versions of the data that no checkpoint can come back to.
    pub(super) fn prune_versions(&mut self, emit: Emit<'_>) {
        let run = &self.shop.run;
        let Some(lm) = self.r.work.lm() else { return };
        let version = lm.version().to_owned();
        // What stays takes room, and stands in nobody's way.
        if let Err(e) = lm.room().at_rest(|| edit_log::prune_data(run, &version)) {
            self.note(format!("earlier versions of the data could not be removed: {e}"), emit);
        }
    }
}

/// The weight with which a source has so many parts more of the batches, rounded to whole ones.
fn reweighed(weights: &[(String, f64)], source: &str, by: i32) -> Result<f64, String> {
    let all: Vec<f64> = weights.iter().map(|(_, w)| *w).collect();
    let now = shares(&all).map_err(|e| e.to_string())?;
    let Some(at) = weights.iter().position(|(name, _)| name == source) else {
        return Err(format!("{source} is no source of text with something to train on"));
    };
    let others: f64 = all.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, w)| w).sum();
    if others == 0.0 {
        return Err(format!("{source} is all that is drawn from; there is nothing to weigh it against"));
    }
    let parts = now[at] * PARTS;
    // A millionth of rounding is no part.
    let from = if by > 0 { (parts + 1e-4).floor() } else { (parts - 1e-4).ceil() };
    let share = (from + f64::from(by)).clamp(0.0, PARTS - 1.0) / PARTS;
    let weight = share / (1.0 - share) * others;
    // Six digits say a share to the millionth, and are what a person would write.
    let scale = 10_f64.powf(5.0 - weight.abs().max(1e-9).log10().floor());
    Ok((weight * scale).round() / scale)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_source_gets_whole_twentieths() {
        let weights =
            |w: &[f64]| -> Vec<(String, f64)> { w.iter().enumerate().map(|(i, w)| (i.to_string(), *w)).collect() };
        let share = |w: &[f64], at: usize, by| -> f64 {
            let mut changed = w.to_vec();
            changed[at] = reweighed(&weights(w), &at.to_string(), by).unwrap();
            shares(&changed).unwrap()[at]
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 2e-6, "{a} {b}");
        near(share(&[0.35, 0.25, 0.4], 0, 1), 0.4);
        near(share(&[0.35, 0.25, 0.4], 0, -1), 0.3);
        near(share(&[1.0, 2.0], 0, 1), 0.35);
        near(share(&[1.0, 2.0], 0, -1), 0.3);
        near(share(&[1.0, 99.0], 0, -5), 0.0);
        near(share(&[0.0, 99.0], 0, 1), 0.05);
        near(share(&[99.0, 1.0], 0, 3), 0.95);
        assert!(reweighed(&weights(&[1.0, 0.0]), "0", 1).unwrap_err().contains("nothing to weigh it against"));
        assert!(reweighed(&weights(&[1.0]), "x", 1).is_err());
    }
}
