//! Prompts: those that wait, the one that is answered, and whose weights answer.

use std::time::Duration;

use super::{Emit, Trainer};
use crate::{
    base::StageId,
    data::{LeftOut, Words, read_in},
    nn::{Decoder, Sampling, Weights},
    protocol::{Ask, Event, Who},
    train::{error::TrainError, run::lineage, stages::answer::Answer},
};

/// A model that the stage comes from, loaded when it is first asked.
pub(super) struct Ancestor {
    who: Who,
    decoder: Decoder,
    /// Whether it was trained to answer in the template.
    chat: bool,
}

impl Trainer {
    /// Puts a prompt at the end of the queue, or says why not.
    pub(super) fn queue(
        &mut self,
        id: u64,
        ask: Ask,
        who: Who,
        sampling: Sampling,
        max_new_tokens: usize,
        emit: Emit<'_>,
    ) {
        match self.answer_to(id, ask, who, sampling, max_new_tokens) {
            Ok((answer, left_out)) => {
                if !left_out.is_nothing() {
                    emit(Event::PromptCut { id, left_out });
                }
                self.waiting.push_back(answer);
            }
            Err(e) => {
                let finish_reason = e.to_string();
                emit(Event::PromptDone { id, step: self.done, tokens: 0, seconds: 0.0, finish_reason, score: None });
            }
        }
    }

    fn answer_to(
        &mut self,
        id: u64,
        ask: Ask,
        who: Who,
        sampling: Sampling,
        max_new_tokens: usize,
    ) -> Result<(Answer, LeftOut), TrainError> {
        // The first stage is the base itself.
        let who = if who == Who::Base && self.r.stage.parent().is_none() { Who::Live } else { who };
        let chat = if who == Who::Live { self.r.stage.chat() } else { self.ancestor(who)?.chat };
        let tokenizer = &self.r.tokenizer;
        let window = self.r.work.voice().capacity();
        let read = |words: Words<'_>| read_in(words, tokenizer, window, max_new_tokens);
        let mut asked = None;
        if let (Ask::Chat(turns), true) = (&ask, self.r.stage.chat()) {
            // However it is answered, it is scored as an answer to what was asked.
            asked = Some(read(Words::Chat(turns))?.ids);
        }
        let tokens = match &ask {
            Ask::Chat(turns) if chat => read(Words::Chat(turns))?,
            Ask::Text(text) => read(Words::Text(text))?,
            // A model that knows no turns goes on with the words.
            Ask::Chat(turns) => read(Words::Text(turns.last().map_or("", |t| t.content.as_str())))?,
        };
        let (left_out, tokens) = (tokens.left_out, tokens.ids);
        if tokens.len() == tokenizer.begin().len() {
            return Err(TrainError::Input("the prompt is empty".to_owned()));
        }
        let mut ends: Vec<u32> = tokenizer.end_of_text().into_iter().collect();
        if let (true, Some(c)) = (chat, tokenizer.chat()) {
            ends.extend([c.end, c.system, c.user, c.assistant]);
        }
        let mut answer = Answer::new(id, tokens, who, sampling, max_new_tokens, ends, tokenizer);
        answer.asked = asked;
        Ok((answer, left_out))
    }

    /// Works on the prompt in front for `budget`.
    pub(super) fn answer(&mut self, budget: Duration, emit: Emit<'_>) -> Result<(), TrainError> {
        if self.answer.is_none() {
            self.answer = self.waiting.pop_front();
            if let Some(answer) = &mut self.answer {
                answer.reread();
            }
        }
        // Nobody is kept waiting by an offer.
        let Some(mut answer) = self.answer.take() else { return self.draft(budget, emit) };
        let decoder = if let Some(ancestor) = self.ancestors.iter_mut().find(|a| a.who == answer.who()) {
            &mut ancestor.decoder
        } else {
            self.voting.reread();
            self.r.work.voice()
        };
        let (device, tokenizer) = (&mut self.shop.device, &self.r.tokenizer);
        match answer.advance(device, decoder, tokenizer, self.done, budget, emit)? {
            Some(reason) => {
                let score = self.score_of(&answer, reason, emit)?;
                answer.end(self.done, reason, score, emit);
            }
            None => self.answer = Some(answer),
        }
        Ok(())
    }

    /// The reward model's score of an answer that has ended.
    fn score_of(&mut self, answer: &Answer, reason: &str, emit: Emit<'_>) -> Result<Option<f64>, TrainError> {
        let Some(asked) = &answer.asked else { return Ok(None) };
        let mut text = [asked.as_slice(), answer.drawn()].concat();
        if reason == "stop" {
            text.extend(self.r.tokenizer.chat().map(|c| c.end));
        }
        Ok(self.scores(&[text], emit)?.and_then(|scores| scores.into_iter().next().flatten()))
    }

    /// Stops answering a prompt.
    pub(super) fn cancel(&mut self, id: u64, emit: Emit<'_>) {
        if let Some(answer) = self.answer.take_if(|a| a.id == id) {
            answer.end(self.done, "cancelled", None, emit);
        }
        if let Some(at) = self.waiting.iter().position(|a| a.id == id)
            && let Some(answer) = self.waiting.remove(at)
        {
            answer.end(self.done, "cancelled", None, emit);
        }
    }

    /// Ends every answer: the model goes away.
    pub(super) fn cancel_all(&mut self, emit: Emit<'_>) {
        for answer in self.answer.take().into_iter().chain(std::mem::take(&mut self.waiting)) {
            answer.end(self.done, "cancelled", None, emit);
        }
    }

    fn ancestor(&mut self, who: Who) -> Result<&Ancestor, TrainError> {
        let at = self.ancestors.iter().position(|a| a.who == who);
        let at = if let Some(at) = at { at } else { self.load(who)? };
        Ok(&self.ancestors[at])
    }

    /// Loads a model that the stage comes from, and says where it stands.
    fn load(&mut self, who: Who) -> Result<usize, TrainError> {
        let capacity = self.r.work.voice().capacity();
        let table = self.r.work.language_model();
        let (view, model) = (self.shop.run.view(), self.r.work.model().config);
        let slab = match who {
            Who::Base => lineage::base(view, &self.r.state, model, &table)?,
            Who::Live | Who::Parent => lineage::started_from(view, &self.r.state, model, &table)?,
        };
        let device = &mut self.shop.device;
        let weights = Weights::alloc(device, "ancestor", &table)?;
        weights.write(device, &slab)?;
        let decoder = Decoder::new(device, model, &weights, capacity)?;
        let chat = who == Who::Parent && self.r.stage.parent().is_some_and(StageId::chat);
        self.ancestors.push(Ancestor { who, decoder, chat });
        Ok(self.ancestors.len() - 1)
    }
}
