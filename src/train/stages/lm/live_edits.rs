//! The settings in use, and changes to them during training.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    lines,
    run::{Lm, digest, source_infos, task_infos},
};
use crate::{
    compute::Device,
    data::{BY_HAND, Example, History, Packed, Shape, Turn, Words, read_in},
    protocol::{Cause, Edit, Event, Role, TaskInfo},
    store::Run,
    train::{
        config::{RunConfig, plan::StagePlan},
        corpus::{self, Corpus, conversations::Chats, live::LiveCorpus},
        error::TrainError,
        run::checkpoint::State,
        stages::{
            answer,
            edit_log::{self, Entry, LiveSettings, OTHER_DATA, difference},
            mix::Shares,
            opening::Opening,
            stage_run::LiveText,
        },
    },
};

/// Tokens that the answer to a probe may have beyond the expected ones.
pub(super) const BEYOND: usize = 16;

/// The settings in the current run.toml and files.
pub(crate) fn settings(corpus: &Corpus, chats: Option<&Chats>, plan: &StagePlan) -> LiveSettings {
    let texts = corpus.packed.iter().map(|s| s.name.clone());
    let sets = chats.iter().flat_map(|c| c.sets.iter().map(|s| s.name.clone()));
    LiveSettings {
        sources: texts.chain(sets).chain(chats.map(|_| BY_HAND.to_owned())).collect(),
        shares: Shares::new(corpus, chats, plan),
        shape: shape(plan),
        data: corpus.version.clone(),
        learning_rate: plan.schedule.peak,
        dropout: Some(plan.dropout),
    }
}

pub(crate) fn shape(plan: &StagePlan) -> Shape {
    Shape { rows: plan.batch_size, window: plan.context, micros: plan.accumulation }
}

/// The settings at the checkpoint's step, and the entries for later steps. Changes made while the run was closed are
/// logged first: they apply after all steps that will be repeated.
pub(crate) fn settle(
    o: &mut Opening<'_>,
    state: &State,
    now: &LiveSettings,
) -> Result<(LiveSettings, VecDeque<Entry>), TrainError> {
    let mut line = edit_log::line(o.run.view(), o.stage)?;
    let lacks = line.last().is_some_and(|e| e.settings.dropout.is_none());
    edit_log::fill_dropout(&mut line, now.dropout);
    // From here on it is known: an entry replaces that of the same step.
    if let Some(newest) = line.last().filter(|_| lacks) {
        edit_log::write(o.run, newest)?;
    }
    let newest = line.last().map(|e| (e.step, e.settings.clone()));
    if newest.as_ref().is_none_or(|(_, settings)| settings != now) {
        let (step, text) = match &newest {
            Some((step, settings)) => (state.step.max(*step), difference(settings, now)),
            None => (state.step, "the stage begins".to_owned()),
        };
        let cause = Cause::Reopened;
        let entry = Entry { stage: o.stage.into(), step, cause, text, settings: now.clone() };
        edit_log::write(o.run, &entry)?;
        if step > state.step {
            o.notes.push(format!(
                "the changes since then ({}) apply from step {}, after the repeated steps",
                entry.text,
                step + 1
            ));
        }
        line.retain(|e| e.step < step);
        line.push(entry);
    }
    let mut coming: VecDeque<Entry> = line.into();
    let mut holds = now.clone();
    while let Some(entry) = coming.pop_front_if(|e| e.step <= state.step) {
        holds = entry.settings;
    }
    Ok((holds, coming))
}

/// The history of a state with the settings from its step on.
pub(crate) fn history(
    state: &State,
    holds: &LiveSettings,
    by_hand: bool,
    shape: Shape,
    notes: &mut Vec<String>,
) -> Result<History, TrainError> {
    let (without, want) = (holds.shares.of(false), holds.shares.of(by_hand));
    if state.history.sources() != want.len() {
        // The counts of other sources do not apply to these.
        notes.push("the sources have changed since the checkpoint: the mix starts over".to_owned());
        return Ok(History::new(&want, shape)?);
    }
    let mut history = state.history.clone();
    let now = history.at(state.step).clone();
    let is = |w: &[f64]| -> Result<bool, TrainError> {
        Ok(now.shape == shape && now.weights == History::new(w, shape)?.newest().weights)
    };
    if !is(&without)? && !is(&holds.shares.of(true))? {
        notes.push(format!("mix and batch of run.toml apply from step {}", state.step + 1));
    }
    history.turn_to(state.step, &want, shape)?;
    Ok(history)
}

/// `1 document`, `2 documents`.
fn documents(count: usize) -> String {
    format!("{count} document{}", if count == 1 { "" } else { "s" })
}

/// A description of the changes to each source's documents.
fn changed(old: &[Packed], new: &[Packed]) -> String {
    let count = |p: &Packed| p.train.documents() + p.held_out.documents();
    let hash = |p: &Packed| {
        let mut hash = blake3::Hasher::new();
        p.train.digest(&mut hash);
        p.held_out.digest(&mut hash);
        hash.finalize()
    };
    let mut words = Vec::new();
    for now in new {
        let Some(then) = old.iter().find(|p| p.name == now.name) else {
            words.push(format!("{} {}", now.name, documents(count(now))));
            continue;
        };
        if count(then) != count(now) {
            words.push(format!("{} {} → {}", now.name, count(then), documents(count(now))));
        } else if hash(then) != hash(now) {
            words.push(format!("{} other text in {}", now.name, documents(count(now))));
        }
    }
    // A file may have changed without changing its documents.
    if words.is_empty() { "the same documents from other files".to_owned() } else { words.join(", ") }
}

impl LiveText for Lm {
    fn tasks(&self) -> Vec<TaskInfo> {
        self.chats.as_ref().map(|c| task_infos(&c.sets)).unwrap_or_default()
    }

    fn probe(&mut self, device: &mut Device, done: usize) -> Result<Vec<Event>, TrainError> {
        let mut events = Vec::new();
        let mut report =
            |task: Option<String>, prompt: &str, text: String, expected: &str, matched: usize, lines: Option<_>| {
                let (recall, lines) = (lines.is_some(), lines.unwrap_or_default());
                events.push(Event::Probe {
                    step: done,
                    task,
                    prompt: prompt.to_owned(),
                    text,
                    expected: expected.to_owned(),
                    matched,
                    length: expected.chars().count(),
                    recall,
                    lines,
                });
            };
        let lines = lines::chances(device, &mut self.validation, &self.corpus.tokenizer, &self.corpus.probes)?;
        for (p, lines) in self.corpus.probes.iter().zip(lines) {
            let (text, matched) =
                answer::probe(device, &mut self.decoder, &self.corpus.tokenizer, &p.prompt, &p.expected)?;
            report(None, &p.prompt, text, &p.expected, matched, p.recall.then_some(lines));
        }
        let (Some(examiner), Some(chats)) = (&mut self.examiner, &self.chats) else { return Ok(events) };
        let tokenizer = &self.corpus.tokenizer;
        let mut questions = Vec::with_capacity(chats.probes.len());
        for p in &chats.probes {
            let room = tokenizer.encode_turn(&p.expected)?.len() + BEYOND;
            let question = [Turn::new(Role::User, p.prompt.as_str())];
            questions.push((read_in(Words::Chat(&question), tokenizer, examiner.window(), room)?.ids, room));
        }
        let answers = examiner.answers(device, questions.clone())?;
        for ((p, answer), (before, _)) in chats.probes.iter().zip(&answers).zip(&questions) {
            let text = tokenizer.decode_turn(before, &answer.ids, false);
            let matched = text.chars().zip(p.expected.chars()).take_while(|(a, b)| a == b).count();
            report(p.task.clone(), &p.prompt, text, &p.expected, matched, None);
        }
        Ok(events)
    }

    fn corpus(&mut self) -> &mut LiveCorpus {
        &mut self.live
    }

    fn weights(&self) -> Vec<(String, f64)> {
        let texts = self.corpus.packed.iter().filter(|s| !s.train.is_empty());
        texts.map(|s| (s.name.clone(), s.weight)).collect()
    }

    fn settings(&self) -> &LiveSettings {
        &self.settings
    }

    fn prepare_for(&mut self, device: &mut Device, plan: &StagePlan) -> Result<(), TrainError> {
        // While steps are repeated with earlier settings, that of the plan is recorded when its step comes.
        if self.coming.is_empty() { self.record(device, plan.batch_size, plan.dropout) } else { Ok(()) }
    }

    fn apply_edits(&mut self, step: usize, config: &RunConfig) -> Result<Vec<Event>, TrainError> {
        let (mut events, at) = (Vec::new(), step);
        let step = step as u64;
        while let Some(entry) = self.coming.pop_front_if(|e| e.step <= step) {
            let (cause, text) = (entry.cause, entry.text.clone());
            let packed = if entry.settings.data == self.settings.data {
                None
            } else {
                let found = corpus::open_version(&self.run, &entry.settings.data, config);
                if found.is_none() {
                    events.push(Event::Note {
                        step: at,
                        text: format!("the data of step {} are gone; the current data are used", step + 1),
                    });
                }
                found
            };
            if let Some(packed) = packed {
                self.corpus.packed = Arc::new(packed);
            }
            self.hold(step, entry.settings)?;
            events.push(Event::Edited(Box::new(self.edit(step, cause, text, None, true))));
        }
        self.mix(step)?;
        Ok(events)
    }

    fn turns(&self) -> Result<BTreeSet<u64>, TrainError> {
        let entries = edit_log::line(&self.run, self.stage)?;
        let others = entries.windows(2).filter(|pair| {
            let mut before = pair[0].settings.clone();
            before.learning_rate = pair[1].settings.learning_rate;
            before != pair[1].settings
        });
        Ok(others.map(|pair| pair[1].step).collect())
    }

    fn free_from(&self, step: u64) -> u64 {
        self.coming.back().map_or(step, |e| e.step.max(step))
    }

    fn propose(
        &self,
        run: &Run,
        step: u64,
        (plan, config): (&StagePlan, &RunConfig),
        corpus: Option<&Corpus>,
        cause: Cause,
    ) -> Result<Option<Entry>, TrainError> {
        let mut settings = if let Some(corpus) = corpus {
            settings(corpus, self.chats.as_ref(), plan)
        } else {
            let mut weighed = self.corpus.weighed(config);
            weighed.version.clone_from(&self.settings.data);
            settings(&weighed, self.chats.as_ref(), plan)
        };
        settings.shape.window = self.shape.window;
        let newest = self.coming.back().map_or(&self.settings, |e| &e.settings);
        if settings == *newest {
            return Ok(None);
        }
        // Reject an unusable mix before it is logged.
        History::new(&settings.shares.of(true), settings.shape)?;
        let mut text = difference(newest, &settings);
        if let Some(other) = corpus.filter(|_| settings.data != newest.data) {
            text = text.replace(OTHER_DATA, &changed(&self.corpus.packed, &other.packed));
        }
        let entry = Entry { stage: self.stage.into(), step, cause, text, settings };
        edit_log::write(run, &entry)?;
        Ok(Some(entry))
    }

    fn adopt(
        &mut self,
        entry: Entry,
        config: &RunConfig,
        corpus: Option<Corpus>,
        seconds: Option<f64>,
    ) -> Result<Edit, TrainError> {
        let (step, cause, text) = (entry.step, entry.cause, entry.text.clone());
        if self.coming.is_empty() {
            self.corpus = corpus.unwrap_or_else(|| self.corpus.weighed(config));
            self.hold(step, entry.settings)?;
        } else {
            // Steps are being repeated with earlier settings; this applies after them.
            self.coming.retain(|e| e.step < step);
            self.coming.push_back(entry);
        }
        Ok(self.edit(step, cause, text, seconds, false))
    }

    fn adopt_probes(&mut self, corpus: Option<Corpus>) {
        if let Some(corpus) = corpus {
            self.corpus.probes = corpus.probes;
        }
    }

    fn demonstrate(&mut self, step: u64, example: Example) -> Result<bool, TrainError> {
        let Some(rows) = self.batcher.chats_mut() else { return Ok(false) };
        rows.demonstrate(step, example);
        self.first_by_hand = Some(self.first_by_hand.map_or(step, |first| first.min(step)));
        Ok(true)
    }

    fn prune(&mut self, run: &Run) -> Result<(), TrainError> {
        self.live.at_rest(|| edit_log::prune_data(run, &self.settings.data))
    }

    #[cfg(test)]
    fn learner(&mut self) -> &mut crate::nn::Learner {
        &mut self.learner
    }
}

impl Lm {
    /// Applies the mix from a step on.
    fn mix(&mut self, step: u64) -> Result<(), TrainError> {
        let by_hand = self.first_by_hand.is_some_and(|first| first <= step);
        let want = self.settings.shares.of(by_hand);
        if !self.batcher.draws_by(step, &want, self.shape)? {
            self.batcher.turn_to(step, &want, self.shape)?;
        }
        Ok(())
    }

    /// Records the learner for batches and dropout that differ from those it is recorded for.
    pub(super) fn record(&mut self, device: &mut Device, rows: usize, dropout: f32) -> Result<(), TrainError> {
        if self.learner.shape().0 == rows && self.learner.config().dropout == dropout {
            return Ok(());
        }
        // The losses of the batch on the screen go with the old buffers.
        self.shown = None;
        Ok(self.learner.record_again(device, rows, dropout)?)
    }

    /// Applies settings from a step on; `self.corpus` has their data already.
    fn hold(&mut self, step: u64, settings: LiveSettings) -> Result<(), TrainError> {
        let by_hand = self.first_by_hand.is_some_and(|first| first <= step);
        let others = settings.sources != self.settings.sources;
        self.shape = Shape { window: self.shape.window, ..settings.shape };
        self.settings = settings;
        let history = if others {
            History::new(&self.settings.shares.of(by_hand), self.shape)?
        } else {
            let mut history = self.batcher.history().clone();
            history.turn_to(step, &self.settings.shares.of(by_hand), self.shape)?;
            history
        };
        self.batcher.draw_from(Arc::clone(&self.corpus.packed), history)?;
        self.digest = digest(&self.corpus, self.chats.as_ref());
        Ok(())
    }

    fn edit(&self, step: u64, cause: Cause, text: String, seconds: Option<f64>, replayed: bool) -> Edit {
        Edit {
            step: step as usize + 1,
            cause,
            text,
            sources: source_infos(&self.corpus, self.chats.as_ref(), &self.batcher.history().newest().weights),
            learning_rate: self.settings.learning_rate,
            batch: self.shape.rows * self.shape.micros,
            seconds,
            replayed,
        }
    }
}
