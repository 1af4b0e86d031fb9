//! The prompts and answers of all stages, and the answer that is being corrected.

use std::collections::VecDeque;

use crate::base::StageId;
use crate::protocol::{Ask, LeftOut, Manner, Role, Turn, Who};
use crate::ui::{
    editor::Editor,
    text::{Clean, LONGEST_BLOCK},
};

/// Prompts with answers that are kept.
const CHAT: usize = 200;

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Tokens generated.
    pub tokens: usize,
    /// Seconds taken.
    pub seconds: f64,
    /// `stop`, `length`, `cancelled` or an error.
    pub reason: Clean,
    /// The reward model's normalised score, if there is such a model.
    pub score: Option<f64>,
}

/// An answer as it streams in.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its prompt's number.
    pub id: u64,
    /// Whose weights answer.
    pub who: Who,
    /// As the model wrote it; used as context for the next turn.
    raw: String,
    /// As displayed.
    pub text: Clean,
    /// The step whose weights generated the newest token; None before it, and for weights from outside the run.
    pub step: Option<usize>,
    /// What was cut from the prompt.
    pub left_out: LeftOut,
    /// How it ended; None while it streams.
    pub ending: Option<Ending>,
}

impl Answer {
    fn new(id: u64, who: Who) -> Answer {
        Answer {
            id,
            who,
            raw: String::new(),
            text: Clean::default(),
            step: None,
            left_out: LeftOut::default(),
            ending: None,
        }
    }

    /// Appends new text.
    pub fn push(&mut self, text: &str, step: Option<usize>) {
        if self.raw.len() + text.len() <= LONGEST_BLOCK {
            self.raw.push_str(text);
        }
        self.text.push_block(text);
        self.step = step;
    }
}

/// A prompt and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The typed text as it was sent.
    raw: String,
    /// The typed text, cleaned.
    pub prompt: Clean,
    /// The stage that answered.
    pub stage: Option<StageId>,
    /// Whether it was asked in the chat template, with the earlier turns.
    pub talk: bool,
    /// Whether a conversation starts here.
    pub first: bool,
    /// The answer of the live weights.
    pub answer: Answer,
    /// The answers of the earlier weights that were asked too.
    pub beside: Vec<Answer>,
    /// The first step that can train on the corrected answer, if there is one.
    pub corrected: Option<usize>,
}

impl Exchange {
    /// All its answers; the live weights' is first.
    pub fn answers(&self) -> impl Iterator<Item = &Answer> {
        std::iter::once(&self.answer).chain(&self.beside)
    }

    fn answers_mut(&mut self) -> impl Iterator<Item = &mut Answer> {
        std::iter::once(&mut self.answer).chain(&mut self.beside)
    }
}

/// The prompt that a corrected answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prompt, by the id of the live weights' answer.
    Answer(u64),
    /// The prompt of a pair, by the pair's number.
    Pair(u64),
}

/// The answer that is being corrected.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The prompt it belongs to.
    pub target: Target,
    /// The text.
    pub field: Editor,
    /// Whether the field has the keys; otherwise it is a draft.
    pub open: bool,
}

/// The chat of all stages.
#[derive(Debug, Default)]
pub struct Chat {
    /// Prompts with answers, oldest first.
    pub exchanges: VecDeque<Exchange>,
    last_id: u64,
    /// How prompts are answered.
    pub manner: Manner,
    /// Whether the next prompt starts a conversation.
    pub fresh: bool,
    /// How many earlier weights are asked too.
    pub beside: usize,
    /// The id of the selected answer; the newest if None.
    pub picked: Option<u64>,
    /// The answer being corrected.
    pub edit: Option<Edit>,
}

impl Chat {
    /// Whether the newest prompt was answered by several weights.
    pub fn compares(&self) -> bool {
        self.exchanges.back().is_some_and(|e| !e.beside.is_empty())
    }

    /// Adds a prompt to stage `stage`: in the template if `talk`, and to the weights in `beside` too.
    pub fn ask(&mut self, prompt: String, stage: Option<StageId>, talk: bool, beside: &[Who]) -> &Exchange {
        let changed = self.exchanges.back().is_none_or(|last| last.talk != talk);
        let first = std::mem::take(&mut self.fresh) || changed || !talk;
        if self.exchanges.len() == CHAT {
            self.exchanges.pop_front();
        }
        self.picked = None;
        let answer = Answer::new(self.next_id(), Who::Live);
        let beside = beside.iter().map(|who| Answer::new(self.next_id(), *who)).collect();
        let shown = Clean::block(&prompt);
        self.exchanges.push_back(Exchange {
            raw: prompt,
            prompt: shown,
            stage,
            talk,
            first,
            answer,
            beside,
            corrected: None,
        });
        &self.exchanges[self.exchanges.len() - 1]
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The answer with this id.
    pub fn answer_mut(&mut self, id: u64) -> Option<&mut Answer> {
        self.exchanges.iter_mut().flat_map(Exchange::answers_mut).find(|a| a.id == id)
    }

    /// The index of the exchange whose live answer has this id.
    pub fn find(&self, id: u64) -> Option<usize> {
        self.exchanges.iter().position(|e| e.answer.id == id)
    }

    /// Answers that still stream.
    pub fn answering(&self) -> impl Iterator<Item = &Answer> {
        self.exchanges.iter().flat_map(Exchange::answers).filter(|a| a.ending.is_none())
    }

    /// Ends all answers, when the trainer will not continue them.
    pub fn end_all(&mut self) {
        let answers = self.exchanges.iter_mut().flat_map(Exchange::answers_mut);
        for answer in answers.filter(|a| a.ending.is_none()) {
            answer.ending = Some(Ending { tokens: 0, seconds: 0.0, reason: Clean::line("cancelled"), score: None });
        }
    }

    /// The prompt at index `at`: the conversation up to there, or only the text.
    pub fn asked(&self, at: usize) -> Ask {
        let exchange = &self.exchanges[at];
        if !exchange.talk {
            return Ask::Text(exchange.raw.clone());
        }
        let turn = |role, content: &str| Turn::new(role, content);
        let from = (0..=at).rev().find(|i| self.exchanges[*i].first).unwrap_or(0);
        let mut turns = Vec::new();
        // A question without an answer is left out of the conversation.
        for earlier in self.exchanges.range(from..at).filter(|e| !e.answer.raw.is_empty()) {
            turns.push(turn(Role::User, &earlier.raw));
            turns.push(turn(Role::Assistant, &earlier.answer.raw));
        }
        turns.push(turn(Role::User, &exchange.raw));
        Ask::Chat(turns)
    }

    /// The selected exchange, or the newest.
    pub fn chosen(&self) -> Option<usize> {
        self.picked.and_then(|id| self.find(id)).or(self.exchanges.len().checked_sub(1))
    }

    /// Selects the next or previous exchange; after the newest none is selected.
    pub fn pick(&mut self, later: bool) {
        let Some(at) = self.chosen() else { return };
        let next = match later {
            true => at + 1,
            false if self.picked.is_none() => at,
            false => at.saturating_sub(1),
        };
        self.picked = self.exchanges.get(next).map(|e| e.answer.id);
    }

    /// The selected exchange, if its answer can be corrected.
    pub fn correctable(&self) -> Option<usize> {
        self.chosen().filter(|at| self.exchanges[*at].talk && self.exchanges[*at].answer.ending.is_some())
    }

    /// Opens the selected answer, or its draft, for correction.
    pub fn open_edit(&mut self) {
        let Some(at) = self.correctable() else { return };
        let answer = &self.exchanges[at].answer;
        let (id, text) = (answer.id, answer.raw.clone());
        self.open_edit_of(Target::Answer(id), &text);
    }

    /// Opens an answer, or its draft, for correction.
    pub fn open_edit_of(&mut self, target: Target, text: &str) {
        match &mut self.edit {
            Some(edit) if edit.target == target => edit.open = true,
            _ => {
                let mut field = Editor::default();
                field.insert(text);
                self.edit = Some(Edit { target, field, open: true });
            }
        }
    }

    /// The conversation with the corrected answer last, if there is one.
    pub fn demonstration(&self) -> Option<Vec<Turn>> {
        let edit = self.edit.as_ref().filter(|e| !e.field.text().trim().is_empty())?;
        let Target::Answer(id) = edit.target else { return None };
        let Ask::Chat(mut turns) = self.asked(self.find(id)?) else { return None };
        turns.push(Turn::new(Role::Assistant, edit.field.text()));
        Some(turns)
    }

    /// Replaces the model's answer by the corrected one.
    pub fn correct(&mut self, target: Target, text: &str, step: usize) {
        if self.edit.as_ref().is_some_and(|e| e.target == target && !e.open) {
            self.edit = None;
        }
        let Target::Answer(id) = target else { return };
        if let Some(at) = self.find(id) {
            let exchange = &mut self.exchanges[at];
            (exchange.answer.raw, exchange.answer.text) = (text.to_owned(), Clean::block(text));
            exchange.corrected = Some(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(chat: &mut Chat, prompt: &str, answer: &str) {
        let id = chat.ask(prompt.to_owned(), Some(StageId::Sft), true, &[]).answer.id;
        if let Some(a) = chat.answer_mut(id) {
            a.push(answer, Some(1));
        }
        chat.end_all();
    }

    fn contents(ask: Ask) -> Vec<String> {
        match ask {
            Ask::Chat(turns) => turns.into_iter().map(|t| t.content).collect(),
            Ask::Text(text) => vec![text],
        }
    }

    #[test]
    fn a_conversation_holds_what_was_answered_since_it_began() {
        let mut chat = Chat::default();
        said(&mut chat, "一", "1");
        said(&mut chat, "二", "");
        said(&mut chat, "三", "3");
        assert_eq!(contents(chat.asked(2)), ["一", "1", "三"]);
        chat.fresh = true;
        said(&mut chat, "四", "4");
        assert_eq!(contents(chat.asked(3)), ["四"]);
        chat.ask("春".to_owned(), Some(StageId::Pretrain), false, &[]);
        assert_eq!(chat.asked(4), Ask::Text("春".to_owned()));
        said(&mut chat, "五", "5");
        assert_eq!(contents(chat.asked(5)), ["五"], "after plain text a new conversation starts");
    }

    #[test]
    fn the_chosen_answer_is_corrected_within_its_conversation() {
        let mut chat = Chat::default();
        said(&mut chat, "一", "1");
        said(&mut chat, "二", "2");
        chat.pick(false);
        assert_eq!(chat.chosen(), Some(1), "the newest first");
        chat.pick(false);
        chat.pick(false);
        assert_eq!(chat.chosen(), Some(0));
        chat.open_edit();
        assert_eq!(chat.edit.as_ref().map(|e| e.field.text()), Some("1"));
        if let Some(edit) = &mut chat.edit {
            edit.field.insert("一");
            edit.open = false;
        }
        let turns = chat.demonstration().unwrap_or_default();
        assert_eq!(turns.iter().map(|t| t.content.as_str()).collect::<Vec<_>>(), ["一", "1一"]);
        chat.correct(Target::Answer(1), "1一", 9);
        assert!(chat.edit.is_none());
        assert_eq!((chat.exchanges[0].answer.text.as_str(), chat.exchanges[0].corrected), ("1一", Some(9)));
        assert_eq!(contents(chat.asked(1)), ["一", "1一", "二"]);
        chat.pick(true);
        chat.pick(true);
        assert_eq!(chat.picked, None);
    }
}
