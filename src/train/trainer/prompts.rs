//! The queue of prompts, the one being answered, and the weights that answer.

use std::{collections::VecDeque, time::Duration};

use super::{checkpoints::Saves, core::Core, voting::Voting};
use crate::{
    base::StageId,
    data::{LeftOut, Words, read_in},
    nn::{Decoder, Sampling, Weights},
    protocol::{Ask, Event, Who},
    store::CheckpointId,
    train::{error::TrainError, run::lineage, stages::answer::Answer},
};

/// An ancestor of the stage's model, loaded when first used.
struct Ancestor {
    who: Who,
    decoder: Decoder,
    /// The step of its checkpoint; None for weights from outside the run.
    step: Option<usize>,
    /// Whether it was trained with the chat template.
    chat: bool,
}

/// The prompts of a stage.
#[derive(Default)]
pub(super) struct Prompts {
    answer: Option<Answer>,
    waiting: VecDeque<Answer>,
    ancestors: Vec<Ancestor>,
}

/// A prompt as requested.
pub(super) struct Prompt {
    pub id: u64,
    pub ask: Ask,
    pub who: Who,
    pub sampling: Sampling,
    pub max_new_tokens: usize,
}

impl Prompts {
    /// Whether nothing is being answered or waits.
    pub(super) fn idle(&self) -> bool {
        self.answer.is_none() && self.waiting.is_empty()
    }

    /// Makes the answer in progress reread its text, after the decoder was used for another one.
    pub(super) fn reread(&mut self) {
        if let Some(answer) = &mut self.answer {
            answer.reread();
        }
    }

    /// Adds a prompt to the queue, or returns why not.
    pub(super) fn queue(&mut self, core: &mut Core<'_>, prompt: Prompt) {
        let id = prompt.id;
        match self.answer_to(core, prompt) {
            Ok((answer, left_out)) => {
                if !left_out.is_nothing() {
                    core.out.show(Event::PromptCut { id, left_out });
                }
                self.waiting.push_back(answer);
            }
            Err(e) => {
                let finish_reason = e.to_string();
                core.out.show(Event::PromptDone {
                    id,
                    step: Some(core.done),
                    tokens: 0,
                    seconds: 0.0,
                    finish_reason,
                    score: None,
                });
            }
        }
    }

    fn answer_to(&mut self, core: &mut Core<'_>, prompt: Prompt) -> Result<(Answer, LeftOut), TrainError> {
        let Prompt { id, ask, who, sampling, max_new_tokens } = prompt;
        // In the first stage the live weights are the base.
        let who = if who == Who::Base && core.stage.parent().is_none() { Who::Live } else { who };
        let chat = if who == Who::Live { core.stage.chat() } else { self.ancestor(core, who)?.chat };
        let tokenizer = &core.tokenizer;
        let window = core.work.decoder().capacity();
        let read = |words: Words<'_>| read_in(words, tokenizer, window, max_new_tokens);
        let mut asked = None;
        if let (Ask::Chat(turns), true) = (&ask, core.stage.chat()) {
            // However it is answered, it is scored as an answer to this prompt.
            asked = Some(read(Words::Chat(turns))?.ids);
        }
        let tokens = match &ask {
            Ask::Chat(turns) if chat => read(Words::Chat(turns))?,
            Ask::Text(text) => read(Words::Text(text))?,
            // A model without chat template continues the text of the last turn.
            Ask::Chat(turns) => read(Words::Text(turns.last().map_or("", |t| t.content.as_str())))?,
        };
        let (left_out, tokens) = (tokens.left_out, tokens.ids);
        if tokens.len() == tokenizer.begin().len() {
            return Err(TrainError::Input("the prompt is empty".to_owned()));
        }
        let mut answer = Answer::new(id, tokens, who, sampling, max_new_tokens, chat, tokenizer);
        answer.asked = asked;
        Ok((answer, left_out))
    }

    /// Works on the first prompt for `budget`, or if there is none on a pair for a vote.
    pub(super) fn advance(
        &mut self,
        core: &mut Core<'_>,
        voting: &mut Voting,
        saves: &Saves,
        budget: Duration,
    ) -> Result<(), TrainError> {
        if self.answer.is_none() {
            self.answer = self.waiting.pop_front();
            self.reread();
        }
        let Some(mut answer) = self.answer.take() else { return voting.draw(core, saves, budget) };
        let step = self.step_of(core, answer.who());
        let decoder = if let Some(ancestor) = self.ancestors.iter_mut().find(|a| a.who == answer.who()) {
            &mut ancestor.decoder
        } else {
            voting.reread();
            core.work.decoder()
        };
        let (text, ended) = answer.advance(&mut core.open.device, decoder, &core.tokenizer, budget)?;
        if !text.is_empty() {
            core.out.show(Event::PromptText { id: answer.id, text, step });
        }
        match ended {
            Some(reason) => {
                let score = score_of(core, voting, &answer, reason)?;
                core.out.show(answer.end(step, reason, score));
            }
            None => self.answer = Some(answer),
        }
        Ok(())
    }

    /// Cancels a prompt.
    pub(super) fn cancel(&mut self, core: &mut Core<'_>, id: u64) {
        let waiting = self.waiting.iter().position(|a| a.id == id);
        let waiting = waiting.and_then(|at| self.waiting.remove(at));
        for answer in self.answer.take_if(|a| a.id == id).into_iter().chain(waiting) {
            core.out.show(answer.end(self.step_of(core, answer.who()), "cancelled", None));
        }
    }

    /// The step of the weights that answer; None for weights from outside the run.
    fn step_of(&self, core: &Core<'_>, who: Who) -> Option<usize> {
        if who == Who::Live && !core.stage.speaks() {
            // The model that it started from answers.
            let parent = core.state.parent.as_deref().and_then(CheckpointId::parse);
            return parent.map(|id| id.step as usize);
        }
        self.ancestors.iter().find(|a| a.who == who).map_or(Some(core.done), |a| a.step)
    }

    /// Ends all answers, because the model is about to be freed.
    pub(super) fn cancel_all(&mut self, core: &mut Core<'_>) {
        for answer in self.answer.take().into_iter().chain(std::mem::take(&mut self.waiting)) {
            core.out.show(answer.end(self.step_of(core, answer.who()), "cancelled", None));
        }
    }

    fn ancestor(&mut self, core: &mut Core<'_>, who: Who) -> Result<&Ancestor, TrainError> {
        let at = match self.ancestors.iter().position(|a| a.who == who) {
            Some(at) => at,
            None => self.load(core, who)?,
        };
        Ok(&self.ancestors[at])
    }

    /// Loads an ancestor; returns its index.
    fn load(&mut self, core: &mut Core<'_>, who: Who) -> Result<usize, TrainError> {
        let capacity = core.work.decoder().capacity();
        let table = core.work.language_model();
        let (view, model) = (core.view(), core.work.model().config);
        let (slab, step) = match who {
            Who::Base => lineage::base(view, &core.state, model, &table)?,
            Who::Live | Who::Parent => lineage::started_from(view, &core.state, model, &table)?,
        };
        let device = &mut core.open.device;
        let weights = Weights::alloc(device, "ancestor", &table)?;
        weights.write(device, &slab)?;
        let decoder = Decoder::new(device, model, &weights, capacity)?;
        let chat = who == Who::Parent && core.stage.parent().is_some_and(StageId::chat);
        self.ancestors.push(Ancestor { who, decoder, step, chat });
        Ok(self.ancestors.len() - 1)
    }
}

/// The reward model's score of a finished answer.
fn score_of(
    core: &mut Core<'_>,
    voting: &mut Voting,
    answer: &Answer,
    reason: &str,
) -> Result<Option<f64>, TrainError> {
    let Some(asked) = &answer.asked else { return Ok(None) };
    let mut text = [asked.as_slice(), answer.drawn()].concat();
    if reason == "stop" {
        text.extend(core.tokenizer.turn_end());
    }
    Ok(voting.scores(core, &[text])?.and_then(|scores| scores.into_iter().next().flatten()))
}
