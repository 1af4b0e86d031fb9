//! What the stage goes by, and how that changes while it runs.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Lm, digest,
    edit_log::{self, Entry, OTHER_DATA, Terms, difference},
    mix::Shares,
    source_infos,
};
use crate::{
    data::{BY_HAND, History, Packed, Shape},
    protocol::{Cause, DroppedView, Edit, Event, RoomView},
    train::{
        config::{RunConfig, plan::StagePlan},
        corpus::{self, Corpus, conversations::Chats, live::Room},
        error::TrainError,
        run::checkpoint::State,
        stages::opening::Opening,
    },
};

/// What run.toml and the files say now.
pub(crate) fn terms(corpus: &Corpus, chats: Option<&Chats>, plan: &StagePlan) -> Terms {
    let texts = corpus.packed.iter().map(|s| s.name.clone());
    let sets = chats.iter().flat_map(|c| c.sets.iter().map(|s| s.name.clone()));
    Terms {
        sources: texts.chain(sets).chain(chats.map(|_| BY_HAND.to_owned())).collect(),
        shares: Shares::new(corpus, chats, plan),
        shape: shape(plan),
        data: corpus.version.clone(),
        learning_rate: plan.schedule.peak,
    }
}

pub(crate) fn shape(plan: &StagePlan) -> Shape {
    Shape { rows: plan.batch_size, window: plan.context, micros: plan.accumulation }
}

/// What holds where the stage stands, and what is known to come. What has changed since the run was last open is
/// written down first: it holds after everything that was seen before and is seen again.
pub(crate) fn settle(o: &mut Opening<'_>, state: &State, now: &Terms) -> Result<(Terms, VecDeque<Entry>), TrainError> {
    let mut line = edit_log::line(o.run.view(), o.stage)?;
    let newest = line.last().map(|e| (e.step, e.terms.clone()));
    if newest.as_ref().is_none_or(|(_, terms)| terms != now) {
        let (step, text) = match &newest {
            Some((step, terms)) => (state.step.max(*step), difference(terms, now)),
            None => (state.step, "the stage begins".to_owned()),
        };
        let cause = Cause::Reopened.name().to_owned();
        let entry = Entry { stage: o.stage, step, cause, text, terms: now.clone() };
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
        holds = entry.terms;
    }
    Ok((holds, coming))
}

/// The history of a state with what holds from its step on.
pub(crate) fn history(
    state: &State,
    holds: &Terms,
    by_hand: bool,
    shape: Shape,
    notes: &mut Vec<String>,
) -> Result<History, TrainError> {
    let (without, want) = (holds.shares.of(false), holds.shares.of(by_hand));
    if state.history.sources() != want.len() {
        // Counts of other sources mean nothing for these.
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

/// What became of each source's documents, in words.
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
            words.push(format!("{} {} documents", now.name, count(now)));
            continue;
        };
        if count(then) != count(now) {
            words.push(format!("{} {} → {} documents", now.name, count(then), count(now)));
        } else if hash(then) != hash(now) {
            words.push(format!("{} other text in {} documents", now.name, count(now)));
        }
    }
    // A file may change, and nothing of it that is left.
    if words.is_empty() { "the same documents from other files".to_owned() } else { words.join(", ") }
}

impl Lm {
    /// Brings the stage to what holds at a step that is about to be taken; tells what was known to come.
    pub(crate) fn turned(&mut self, step: u64) -> Result<Vec<Event>, TrainError> {
        let mut told = Vec::new();
        while let Some(entry) = self.coming.pop_front_if(|e| e.step <= step) {
            let (cause, text) = (entry.cause(), entry.text.clone());
            let packed = if entry.terms.data == self.terms.data {
                None
            } else {
                let found = corpus::open_version(&self.run, &entry.terms.data, &self.config);
                if found.is_none() {
                    told.push(Event::Note {
                        step: step as usize,
                        text: format!("the data of step {} are gone; the current data are used", step + 1),
                    });
                }
                found
            };
            if let Some(packed) = packed {
                self.corpus.packed = Arc::new(packed);
            }
            self.adopt(step, entry.terms)?;
            told.push(Event::Edited(Box::new(self.edit(step, cause, text, None, true))));
        }
        self.mix(step)?;
        Ok(told)
    }

    /// Draws by what holds, from a step on.
    fn mix(&mut self, step: u64) -> Result<(), TrainError> {
        let by_hand = self.first_by_hand.is_some_and(|first| first <= step);
        let want = self.terms.shares.of(by_hand);
        if !self.batcher.draws_by(step, &want, self.shape)? {
            self.batcher.turn_to(step, &want, self.shape)?;
        }
        Ok(())
    }

    /// Goes by other terms from a step on; `self.corpus` holds their data already.
    fn adopt(&mut self, step: u64, terms: Terms) -> Result<(), TrainError> {
        let by_hand = self.first_by_hand.is_some_and(|first| first <= step);
        let others = terms.sources != self.terms.sources;
        self.terms = terms;
        let history = if others {
            History::new(&self.terms.shares.of(by_hand), self.shape)?
        } else {
            let mut history = self.batcher.history().clone();
            history.turn_to(step, &self.terms.shares.of(by_hand), self.shape)?;
            history
        };
        self.batcher.draw_from(Arc::clone(&self.corpus.packed), history)?;
        self.digest = digest(&self.corpus, self.chats.as_ref());
        Ok(())
    }

    /// What another configuration and, where they were read anew, other texts would come to from a step on: the
    /// entry to be written down, none where nothing differs from what holds or is known to come.
    pub(crate) fn proposed(
        &self,
        step: u64,
        plan: &StagePlan,
        config: &RunConfig,
        corpus: Option<&Corpus>,
        cause: Cause,
    ) -> Result<Option<Entry>, TrainError> {
        let mut terms = if let Some(corpus) = corpus {
            terms(corpus, self.chats.as_ref(), plan)
        } else {
            let mut weighed = self.corpus.weighed(config);
            weighed.version.clone_from(&self.terms.data);
            terms(&weighed, self.chats.as_ref(), plan)
        };
        terms.shape = self.shape;
        let newest = self.coming.back().map_or(&self.terms, |e| &e.terms);
        if terms == *newest {
            return Ok(None);
        }
        // A mix that cannot be drawn by is refused before it is written down.
        History::new(&terms.shares.of(true), self.shape)?;
        let mut text = difference(newest, &terms);
        if let Some(other) = corpus.filter(|_| terms.data != newest.data) {
            text = text.replace(OTHER_DATA, &changed(&self.corpus.packed, &other.packed));
        }
        Ok(Some(Entry { stage: self.stage, step, cause: cause.name().to_owned(), text, terms }))
    }

    /// Goes by an entry that is on disk, from its step on.
    pub(crate) fn take(
        &mut self,
        entry: Entry,
        config: &RunConfig,
        corpus: Option<Corpus>,
        seconds: Option<f64>,
    ) -> Result<Edit, TrainError> {
        let (step, cause, text) = (entry.step, entry.cause(), entry.text.clone());
        self.config = config.clone();
        if self.coming.is_empty() {
            self.corpus = corpus.unwrap_or_else(|| self.corpus.weighed(config));
            self.adopt(step, entry.terms)?;
        } else {
            // Steps are being taken again as they were; this comes after them.
            self.coming.retain(|e| e.step < step);
            self.coming.push_back(entry);
        }
        Ok(self.edit(step, cause, text, seconds, false))
    }

    /// The first step (counted from 0) that an edit can act on.
    pub(crate) fn free_from(&self, step: u64) -> u64 {
        self.coming.back().map_or(step, |e| e.step.max(step))
    }

    fn edit(&self, step: u64, cause: Cause, text: String, seconds: Option<f64>, replayed: bool) -> Edit {
        Edit {
            step: step as usize + 1,
            cause,
            text,
            sources: source_infos(&self.corpus, self.chats.as_ref(), &self.batcher.history().newest().weights),
            learning_rate: self.terms.learning_rate,
            seconds,
            replayed,
        }
    }

    /// Takes over what is asked of texts again and again, where nothing else has changed.
    pub(crate) fn take_probes(&mut self, corpus: Option<Corpus>) {
        if let Some(corpus) = corpus {
            self.corpus.probes = corpus.probes;
        }
    }

    /// The weights of the texts that have something to train on, as run.toml would have them.
    pub(crate) fn weights(&self) -> Vec<(String, f64)> {
        let texts = self.corpus.packed.iter().filter(|s| !s.train.is_empty());
        texts.map(|s| (s.name.clone(), s.weight)).collect()
    }

    /// The data as they are now.
    pub(crate) fn room_view(&self, config: &RunConfig) -> Result<RoomView, TrainError> {
        let mut room = corpus::room(&self.corpus, config, &self.batcher.history().newest().weights)?;
        self.room.how().clone_into(&mut room.watching);
        Ok(room)
    }

    /// Documents that were dropped from the version that holds.
    pub(crate) fn dropped(&self, asked: &DroppedView, count: usize) -> Result<DroppedView, TrainError> {
        let of = (asked.source.as_deref(), asked.rule.as_deref());
        corpus::dropped(&self.run, &self.terms.data, of, asked.from, count)
    }

    /// Where what is saved is read.
    pub(crate) fn room(&mut self) -> &mut Room {
        &mut self.room
    }

    /// The version of the data that holds.
    pub(crate) fn version(&self) -> &str {
        &self.terms.data
    }
}
