//! Changes of mix, data, batch, learning rate and dropout during training.

use std::time::Instant;

use tracing::info;

use super::{
    core::{Core, text},
    recovery::Recovery,
};
use crate::{
    data::shares,
    protocol::{self, Cause, DroppedView, Event, Find, RoomView, Trial},
    train::{
        config::{ConfigIssue, DROPOUT, InEffect, RunConfig, applies_now, held_back, plan::StagePlan, toml_patch},
        corpus::{
            Corpus, Marks,
            live::{Found, Fresh, Trying},
        },
        error::TrainError,
        open::footprint::{Wanted, fit},
        stages::{
            edit_log::{self, KeySet, LiveSettings},
            knobs::{Knobs, Turn, Values},
        },
    },
};

/// One key press changes a source's share by one in this many parts.
const PARTS: f64 = 20.0;

/// A value of run.toml among the settings of an edit.
type Value = fn(&LiveSettings) -> toml::Value;

/// The keys of run.toml whose values a stage of text logs as edits.
const LOGGED: [(&str, Value); 4] = [
    ("learning_rate", |s| toml::Value::Float(s.learning_rate)),
    ("batch_size", |s| toml::Value::Integer(s.shape.rows as i64)),
    ("gradient_accumulation_steps", |s| toml::Value::Integer(s.shape.micros as i64)),
    // With the digits of its f32.
    (DROPOUT, |s| toml::Value::Float(s.dropout.unwrap_or(0.0).to_string().parse().unwrap_or(0.0))),
];

/// A change that could not be logged yet, and so has no effect.
struct Edit {
    config: RunConfig,
    corpus: Option<Corpus>,
    cause: Cause,
    since: Option<Instant>,
}

/// Live edits of a stage that draws text, and the configuration in effect.
#[derive(Default)]
pub(super) struct LiveData {
    /// Every key with the value in effect, if the workbench is open.
    in_effect: Option<InEffect>,
    /// Why the last saved change cannot be used.
    unusable: Option<String>,
    /// run.toml as changed by a key, until it has been reread.
    rewritten: Option<String>,
    /// The edit that waits for the disk.
    untaken: Option<Edit>,
    /// The settings that a stage without text can change while it trains.
    knobs: Option<Knobs>,
    /// Changes that were logged.
    logged: usize,
}

impl LiveData {
    /// Sends the configuration that the stage begins with, if the workbench is open.
    pub(super) fn begin(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        if core.interactive() {
            let text = core.view().config()?;
            self.in_effect = Some(InEffect::open(&core.config, &text, core.setup.pairs(), core.stage)?);
        }
        if core.work.text().is_none() {
            let saved = values(core, &core.config, &core.plan);
            let (knobs, found) = Knobs::open(&core.open.run, core.stage, core.submitted as u64, saved)?;
            let now = knobs.now();
            self.knobs = Some(knobs);
            core.plan.schedule.peak = now.learning_rate;
            // An adaptive coefficient is the checkpoint's.
            if core.config.settings(core.stage).target_kl.is_none() {
                now.kl_coef.into_iter().for_each(|kl| core.work.set_kl_coef(kl));
            }
            if let Some(turn) = found {
                emit_turn(core, turn, false);
            }
        }
        self.show_config(core)
    }

    /// Applies the changes of steps that are repeated.
    pub(super) fn turn_knobs(&mut self, core: &mut Core<'_>, step: usize) -> Result<(), TrainError> {
        let turns = self.knobs.as_mut().map(|knobs| knobs.at(step as u64)).unwrap_or_default();
        for turn in turns {
            apply(core, turn.knobs);
            emit_turn(core, turn, true);
        }
        Ok(())
    }

    /// Sets a key of run.toml; one without a table is the stage's own, unless it is a key of the top level. What can
    /// apply while the stage is open applies from the next step on.
    pub(super) fn set(
        &mut self,
        core: &mut Core<'_>,
        recovery: &mut Recovery,
        key: &str,
        value: &str,
    ) -> Result<(), TrainError> {
        let stage = core.stage;
        let path =
            if key.contains('.') || RunConfig::is_top_level(key) { key.to_owned() } else { format!("{stage}.{key}") };
        if path == DROPOUT && !stage.draws_text() {
            return TrainError::refused(format!("{stage} has no dropout; set {path} while pretrain or sft trains"));
        }
        let refused = |e: ConfigIssue| TrainError::Refused(e.to_string());
        let before = core.view().config()?;
        let after = toml_patch::keys(&before, &[(path.clone(), value.to_owned())]).map_err(refused)?;
        if after == before {
            return TrainError::refused(format!("{path} is {value} in run.toml already"));
        }
        RunConfig::parse(&after, &[], stage).map_err(refused)?;
        let config = RunConfig::parse(&after, &core.setup.pairs(), stage).map_err(refused)?;
        let plan = config.plan(stage).map_err(refused)?;
        if config == core.config {
            return TrainError::refused(format!(
                "{path} was set by an option when danlu was started; start it without the option to change the key here"
            ));
        }
        if let Some(why) = lasting(core, &path, &config)? {
            return TrainError::refused(format!("{path} stays as it is: {why}"));
        }
        has_room(core, &config, &plan).map_err(|e| TrainError::Refused(format!("{path} stays as it is: {e}")))?;
        let waits = held_back(&core.config, &config, stage)?.contains(&path);
        self.rewrite(core, |_| Ok(after.clone()))?;
        let value = |of: &LiveData| of.in_effect.as_ref().and_then(|all| all.value(&path)).map(str::to_owned);
        let (old, logged) = (value(self), self.logged);
        if core.work.text().is_some() {
            self.edit(core, recovery, Edit { config, corpus: None, cause: Cause::Key, since: None })?;
        } else {
            self.set_knobs(core, config, &plan)?;
        }
        if self.logged == logged
            && applies_now(&path, stage)
            && let (Some(old), Some(new)) = (old, value(self))
            && old != new
        {
            tell_set(core, &path, &old, new)?;
        }
        core.out.show(Event::Set { key: path, waits });
        Ok(())
    }

    /// Changes a stage without text to a new configuration.
    fn set_knobs(&mut self, core: &mut Core<'_>, config: RunConfig, plan: &StagePlan) -> Result<(), TrainError> {
        let (stage, step) = (core.stage, core.submitted);
        let held = held_back(&core.config, &config, stage)?;
        if !held.is_empty() {
            core.note(format!("run.toml: {} will apply when {stage} is opened again", held.join(", ")));
        }
        let wanted = values(core, &config, plan);
        let turned = match &mut self.knobs {
            Some(knobs) => knobs.set(&core.open.run, step as u64, wanted)?,
            None => None,
        };
        core.plan.adopt_live(plan);
        if config.manner() != core.config.manner() {
            core.out.show(Event::Manner(config.manner()));
        }
        core.config = config;
        if let Some(in_effect) = &mut self.in_effect {
            let text = core.view().config().unwrap_or_default();
            in_effect.change(&core.config, &text, turned.as_ref().map_or(step, |turn| turn.step as usize) + 1)?;
        }
        if let Some(turn) = turned {
            // While steps are repeated it applies after them.
            if let Some(now) = self.knobs.as_ref().map(Knobs::now).filter(|now| *now == turn.knobs) {
                apply(core, now);
            }
            self.logged += 1;
            emit_turn(core, turn, false);
        }
        self.show_config(core)
    }

    /// Logs the keys that waited for the stage to be opened again, and marks them on the curve: it is opened now.
    pub(super) fn tell_waiting(&self, core: &mut Core<'_>) -> Result<(), TrainError> {
        for [key, old, new] in self.in_effect.iter().flat_map(InEffect::waiting) {
            tell_set(core, &key, &old, new)?;
        }
        Ok(())
    }

    /// Sends the configuration in effect, if the workbench is open.
    pub(super) fn show_config(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        let Some(in_effect) = &mut self.in_effect else { return Ok(()) };
        if let Some(text) = core.work.text() {
            // While steps are repeated, the values are those of the time, not run.toml's.
            let now = text.settings().clone();
            let mut line = edit_log::line(core.view(), core.stage)?;
            edit_log::fill_dropout(&mut line, now.dropout);
            for (key, of) in LOGGED {
                let since = edit_log::since(&line, core.submitted as u64, of);
                in_effect.set(key, &of(&now), since.map(|step| step as usize + 1));
            }
        }
        core.out.show(Event::Config(in_effect.settings().to_vec()));
        Ok(())
    }

    /// Takes over what was read since the last call, and emits the progress of a trial.
    pub(super) fn refresh(&mut self, core: &mut Core<'_>, recovery: &mut Recovery) -> Result<(), TrainError> {
        let Some(text) = core.work.text() else { return Ok(()) };
        let live = text.corpus();
        let trials: Vec<Trial> = live.trials.try_iter().collect();
        let found: Vec<Found> = live.found.try_iter().collect();
        let died = live.died();
        for trial in trials {
            core.out.emit(Event::Tried(Box::new(trial)));
        }
        for found in found {
            match found {
                Found::Fresh(fresh) => self.take_over(core, recovery, *fresh)?,
                Found::Broken(text) => self.broken(core, text)?,
                Found::Mended => {
                    self.unusable = None;
                    core.note("the broken file is readable again");
                    self.update_view(core)?;
                }
            }
        }
        if died {
            let why = "internal error: the thread that reads what is saved has ended; live edits are off (please report this)";
            self.broken(core, why.to_owned())?;
        }
        Ok(())
    }

    fn broken(&mut self, core: &mut Core<'_>, text: String) -> Result<(), TrainError> {
        core.out.emit(Event::Broken { step: core.done, text: text.clone() });
        self.unusable = Some(text);
        self.update_view(core)
    }

    fn take_over(&mut self, core: &mut Core<'_>, recovery: &mut Recovery, fresh: Fresh) -> Result<(), TrainError> {
        let Fresh { text, config, corpus, since } = fresh;
        // Read before a key changed run.toml: ignore it, because it would undo that; the changed file is read next.
        let outrun = |written: &String| *written != text && core.view().config().is_ok_and(|now| now == *written);
        if self.rewritten.as_ref().is_some_and(outrun) {
            return Ok(());
        }
        (self.rewritten, self.unusable) = (None, None);
        // A key's change is in run.toml as well, and is applied already.
        let cause = if config == core.config { Cause::Files } else { Cause::Config };
        self.edit(core, recovery, Edit { config, corpus: Some(corpus), cause, since: Some(since) })
    }

    /// Changes to a new configuration, and new text if given, from the next batch on.
    fn edit(&mut self, core: &mut Core<'_>, recovery: &mut Recovery, edit: Edit) -> Result<(), TrainError> {
        let Edit { config, corpus, cause, since } = edit;
        let stage = core.stage;
        let held = held_back(&core.config, &config, stage)?;
        if !held.is_empty() {
            core.note(format!("run.toml: {} will apply when {stage} is opened again", held.join(", ")));
        }
        let Some(text) = core.work.text() else { return Ok(()) };
        let step = text.free_from(core.submitted as u64);
        let room = config.plan(stage).map_err(TrainError::from).and_then(|plan| {
            has_room(core, &config, &plan)?;
            Ok(plan)
        });
        let Some(text) = core.work.text() else { return Ok(()) };
        let proposed = room.and_then(|plan| {
            text.prepare_for(&mut core.open.device, &plan)?;
            let entry = text.propose(&core.open.run, step, (&plan, &config), corpus.as_ref(), cause)?;
            Ok((plan, entry))
        });
        let (plan, entry) = match proposed {
            Ok(proposed) => proposed,
            // It could not be logged, so it has no effect; retried when the stage continues.
            Err(e) if core.can_wait(&e) => {
                core.stumble(&e);
                self.untaken = Some(Edit { config, corpus, cause, since });
                return Ok(());
            }
            Err(e) => return self.broken(core, format!("the change was not applied: {e}")),
        };
        core.plan.adopt_live(&plan);
        let adopted = if let Some(entry) = entry {
            Some(text.adopt(entry, &config, corpus, since.map(|s| s.elapsed().as_secs_f64()))?)
        } else {
            text.adopt_probes(corpus);
            None
        };
        let turns = if adopted.is_some() { Some(text.turns()?) } else { None };
        if config.manner() != core.config.manner() {
            core.out.show(Event::Manner(config.manner()));
        }
        core.config = config;
        if let Some(in_effect) = &mut self.in_effect {
            // A file that cannot be read now leaves the origins as they were; the values are those of `config`.
            let text = core.view().config().unwrap_or_default();
            let from = adopted.as_ref().map_or(core.submitted + 1, |edit| edit.step);
            in_effect.change(&core.config, &text, from)?;
        }
        self.show_config(core)?;
        if let Some(edit) = adopted {
            info!(step, ?cause, "edit adopted");
            recovery.turn_at(turns.unwrap_or_default());
            self.logged += 1;
            core.out.emit(Event::Edited(Box::new(edit)));
            prune_versions(core);
        }
        self.update_view(core)
    }

    /// Retries an edit that the disk refused; returns whether none waits any more.
    pub(super) fn retry(&mut self, core: &mut Core<'_>, recovery: &mut Recovery) -> Result<bool, TrainError> {
        if let Some(edit) = self.untaken.take() {
            self.edit(core, recovery, edit)?;
        }
        Ok(self.untaken.is_none())
    }

    /// Changes a source's share of the batches.
    pub(super) fn weigh(
        &mut self,
        core: &mut Core<'_>,
        recovery: &mut Recovery,
        source: &str,
        by: i32,
    ) -> Result<(), TrainError> {
        let text = text(&mut *core.work)?;
        let (weights, again) = (text.weights(), text.free_from(0));
        if again > 0 {
            return TrainError::refused(format!(
                "steps up to {again} are repeated unchanged; change the weights after them"
            ));
        }
        let weight = reweighed(&weights, source, by).map_err(TrainError::Refused)?;
        self.rewrite(core, |text| toml_patch::weight(text, source, weight))?;
        let mut config = core.config.clone();
        match config.source.iter_mut().find(|s| s.name == source) {
            Some(own) => own.weight = weight,
            None => drop(config.mix.insert(source.to_owned(), weight)),
        }
        self.edit(core, recovery, Edit { config, corpus: None, cause: Cause::Key, since: None })
    }

    /// Sets a rule's threshold in run.toml; the result is read like any edit.
    pub(super) fn set_rule(
        &mut self,
        core: &mut Core<'_>,
        source: &str,
        rule: &str,
        bound: Option<f64>,
    ) -> Result<(), TrainError> {
        text(&mut *core.work)?;
        self.rewrite(core, |text| toml_patch::rule(text, source, rule, bound))
    }

    /// Changes run.toml if the result is valid, and rereads it.
    fn rewrite(
        &mut self,
        core: &mut Core<'_>,
        change: impl FnOnce(&str) -> Result<String, ConfigIssue>,
    ) -> Result<(), TrainError> {
        let rewritten = || -> Result<String, TrainError> {
            let text = change(&core.view().config()?)?;
            RunConfig::parse(&text, &[], core.stage)?;
            core.open.run.write_config(&text)?;
            Ok(text)
        };
        self.rewritten = Some(rewritten().map_err(|e| TrainError::Refused(e.to_string()))?);
        reread(core);
        Ok(())
    }

    /// Sends the current data.
    pub(super) fn show(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        let view = self.view(core)?;
        core.out.emit(Event::Room(Box::new(view)));
        let (keep, drop) = Marks::read(core.view()).map_err(|e| TrainError::Refused(e.to_string()))?.count();
        core.out.show(Event::Marked { keep, drop });
        Ok(())
    }

    /// The same, if the workbench is open and the stage draws text.
    fn update_view(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        if core.interactive() && core.work.text().is_some() {
            let view = self.view(core)?;
            core.out.emit(Event::Room(Box::new(view)));
        }
        Ok(())
    }

    fn view(&self, core: &mut Core<'_>) -> Result<RoomView, TrainError> {
        let mut view = text(&mut *core.work)?.data_view(&core.config)?;
        if let Some(text) = &self.unusable {
            for source in &mut view.sources {
                source.broken = text.contains(&format!("source {}:", source.name)).then(|| text.clone());
            }
        }
        Ok(view)
    }
}

/// Refuses larger batches than the memory has room for.
fn has_room(core: &Core<'_>, config: &RunConfig, plan: &StagePlan) -> Result<(), TrainError> {
    if !core.stage.draws_text() || plan.batch_size <= core.plan.batch_size {
        return Ok(());
    }
    fit(&core.open.device, Wanted { stage: core.stage, config, rewards: false, drawn: true })
}

/// Why a key cannot change any more, if so: the run's checkpoints depend on it.
fn lasting(core: &Core<'_>, path: &str, config: &RunConfig) -> Result<Option<&'static str>, TrainError> {
    if core.done == 0 && core.view().checkpoints().list()?.is_empty() {
        return Ok(None);
    }
    Ok(match path {
        "seed" => Some("a run keeps its seed once it has a checkpoint; start a new run for another"),
        "tokenizer" => Some("a run keeps its tokenizer once it has a checkpoint; start a new run for another"),
        _ if !config.has_shape_of(&core.config) => {
            Some("a run keeps the shape of its model once it has a checkpoint; start a new run for another")
        }
        _ => None,
    })
}

/// The settings that a stage without text can change while it trains, as a configuration has them.
fn values(core: &Core<'_>, config: &RunConfig, plan: &StagePlan) -> Values {
    let kl_coef = core.work.kl_coef().map(|_| config.settings(core.stage).kl_coef);
    Values { learning_rate: plan.schedule.peak, kl_coef }
}

/// Uses other values from the next step on.
fn apply(core: &mut Core<'_>, values: Values) {
    core.plan.schedule.peak = values.learning_rate;
    values.kl_coef.into_iter().for_each(|kl| core.work.set_kl_coef(kl));
}

/// Logs that a key was set whose value is that of run.toml, and marks it on the curve.
fn tell_set(core: &mut Core<'_>, key: &str, old: &str, new: String) -> Result<(), TrainError> {
    let (step, cause, text) = (core.submitted, Cause::Key, format!("{key} {old} → {new}"));
    let line =
        KeySet { stage: core.stage.into(), step: step as u64, cause, text: text.clone(), set: [key.to_owned(), new] };
    edit_log::write_set(&core.open.run, &line)?;
    let edit = protocol::Edit {
        step: step + 1,
        cause,
        text,
        sources: core.work.sources(),
        learning_rate: core.plan.schedule.peak,
        batch: 0,
        seconds: None,
        replayed: false,
    };
    core.out.emit(Event::Edited(Box::new(edit)));
    Ok(())
}

/// Emits a change of such settings.
fn emit_turn(core: &mut Core<'_>, turn: Turn, replayed: bool) {
    let edit = protocol::Edit {
        step: turn.step as usize + 1,
        cause: turn.cause,
        text: turn.text,
        sources: core.work.sources(),
        learning_rate: turn.knobs.learning_rate,
        batch: 0,
        seconds: None,
        replayed,
    };
    core.out.emit(Event::Edited(Box::new(edit)));
}

/// Rereads run.toml and the sources.
pub(super) fn reread(core: &mut Core<'_>) {
    if let Some(text) = core.work.text() {
        text.corpus().reread();
    }
}

/// Starts a trial of a threshold.
pub(super) fn try_rule(core: &mut Core<'_>, source: &str, rule: String, threshold: f64) -> Result<(), TrainError> {
    let config = core.config.source.iter().find(|s| s.name == source).cloned();
    let (dir, splits) = (core.config.root(core.view().dir()), core.config.splits());
    let live = text(&mut *core.work)?.corpus();
    let Some(source) = config else {
        return TrainError::refused(format!("{source} is not a [[source]] of run.toml; built-in text is not cleaned"));
    };
    live.try_rule(Trying { dir, source, splits, rule, threshold })
}

/// Sends a training document, or the next one from there that has a text.
pub(super) fn show_document(
    core: &mut Core<'_>,
    source: &str,
    index: usize,
    find: Option<&Find>,
) -> Result<(), TrainError> {
    let text = text(&mut *core.work)?;
    let index = find.map_or(Ok(index), |find| text.find_document(source, index, find))?;
    let view = text.document(&mut core.open.device, source, index, core.done)?;
    core.out.emit(Event::Document(Box::new(view)));
    Ok(())
}

/// Sends the next batch.
pub(super) fn show_next_batch(core: &mut Core<'_>) -> Result<(), TrainError> {
    let view = text(&mut *core.work)?.next_batch(core.submitted)?;
    core.out.emit(Event::NextBatch(Box::new(view)));
    Ok(())
}

/// Sends dropped documents.
pub(super) fn show_dropped(core: &mut Core<'_>, asked: &DroppedView, count: usize) -> Result<(), TrainError> {
    let view = text(&mut *core.work)?.dropped(asked, count).map_err(|e| TrainError::Refused(e.to_string()))?;
    core.out.emit(Event::Dropped(Box::new(view)));
    Ok(())
}

/// Stores the label of a text.
pub(super) fn mark(core: &mut Core<'_>, text: &str, keep: Option<bool>) -> Result<(), TrainError> {
    let marks = Marks::append(&core.open.run, text, keep).map_err(|e| TrainError::Refused(e.to_string()))?;
    let (keep, drop) = marks.count();
    core.out.emit(Event::Marked { keep, drop });
    if core.config.source.iter().any(|s| s.quality) {
        reread(core);
    }
    Ok(())
}

/// Removes versions of the data that no checkpoint can return to.
pub(super) fn prune_versions(core: &mut Core<'_>) {
    let Some(text) = core.work.text() else { return };
    // A failed removal only wastes disk space.
    if let Err(e) = text.prune(&core.open.run) {
        core.note(format!("earlier versions of the data could not be removed: {e}"));
    }
}

/// The weight that raises a source's share by this many parts, rounded to whole ones.
fn reweighed(weights: &[(String, f64)], source: &str, by: i32) -> Result<f64, String> {
    let all: Vec<f64> = weights.iter().map(|(_, w)| *w).collect();
    let now = shares(&all).map_err(|e| e.to_string())?;
    let Some(at) = weights.iter().position(|(name, _)| name == source) else {
        return Err(format!("{source} has no text to train on"));
    };
    let others: f64 = all.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, w)| w).sum();
    if others == 0.0 {
        return Err(format!("{source} is the only source; there is nothing to weigh it against"));
    }
    let parts = now[at] * PARTS;
    // Rounding within a millionth does not count as a part.
    let from = if by > 0 { (parts + 1e-4).floor() } else { (parts - 1e-4).ceil() };
    let share = (from + f64::from(by)).clamp(0.0, PARTS - 1.0) / PARTS;
    let weight = share / (1.0 - share) * others;
    // Six digits represent a share to the millionth and are readable in run.toml.
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
