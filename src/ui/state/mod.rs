//! What the screen knows. Pure data: no terminal, no clock, no channel.

pub mod batch;
pub mod chat;
pub mod data;
mod drawn;
pub mod feedback;
mod mode;
mod panel;
pub mod stage;
pub mod vote;

use std::{collections::VecDeque, time::Duration};

use crate::base::StageId;
use crate::protocol::Who;
use crate::ui::{
    editor::Editor,
    strings::{self, Lang, Tr},
    text::Clean,
    theme::{GlyphSet, Theme},
};

pub use self::{
    chat::{Answer, Chat, Ending, Exchange, Target},
    data::DataState,
    drawn::Drawn,
    feedback::{Feedback, Guard, Rollout},
    mode::Mode,
    panel::{Panel, View},
    stage::{Change, Checkpoint, Phase, Probe, ProbeEntry, Run, Said, Source, Stage, Stages, Task},
    vote::Voting,
};

/// Events kept to look back at.
const LOG: usize = 1000;
/// How long a remark is shown in the footer.
const NOTICE: Duration = Duration::from_secs(4);
/// How long a refusal does.
const REFUSAL: Duration = Duration::from_secs(12);

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A checkpoint.
    Save,
    /// A remark.
    Note,
    /// A change of the data.
    Edit,
    /// A change of state.
    State,
    /// Something is wrong.
    Alert,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When, since the screen opened.
    pub at: Duration,
    /// How loud.
    pub level: Level,
    /// What.
    pub text: Clean,
}

/// The person (or a signal) wants to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaving {
    /// Saving first.
    pub save: bool,
    /// Since when, since the screen opened.
    pub since: Duration,
    /// By a signal or a dead terminal: then a deadline holds and no question is asked.
    pub forced: bool,
}

/// A request that the trainer has not answered yet. It answers them in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Go to the stage of that name.
    Stage(String),
    /// Keep a corrected answer: what it answers and the text.
    Demonstrate(Target, String),
    /// Send an answer of the newest update.
    Rollout,
    /// Offer two answers.
    Offer,
    /// Take a vote on the pair of that number.
    Vote(u64),
    /// Take the newest vote back.
    Unvote,
    /// Fit the reward model to the votes.
    Refit,
    /// Send the state of the data.
    Data,
    /// Send a document.
    Document,
    /// Send the batch that comes next.
    NextBatch,
    /// Send dropped documents.
    Dropped,
    /// Give that source more or less of the batches.
    Weigh(String),
    /// Try another bound.
    Try,
    /// Set a bound.
    SetRule,
    /// Keep that such a text is wanted, or not, or neither.
    Mark(String, Option<bool>),
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A save: until one works.
    Save,
    /// Another disk or system error: until the stage continues.
    Store,
    /// The stage itself: until one is opened.
    Stage,
}

/// Something that went wrong, in full over the foot of the panels until it has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// What kind.
    pub fault: Fault,
    /// Why, and what to do.
    pub text: Clean,
    /// Whether it was put away.
    pub read: bool,
}

/// Something asked before it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Whether to save before leaving.
    Quit,
    /// Whether to leave the running stage for the one of that name.
    Switch(String),
}

impl Question {
    /// The answers.
    pub fn choices(&self) -> &'static [Tr] {
        match self {
            Question::Quit => &[strings::QUIT_SAVE, strings::QUIT_DISCARD, strings::QUIT_CANCEL],
            Question::Switch(_) => &[strings::SWITCH_GO, strings::SWITCH_STAY],
        }
    }
}

/// What lies over the panels and takes the keys first.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// The key table.
    Help {
        /// Lines scrolled.
        scroll: usize,
    },
    /// The commands.
    Palette {
        /// What was typed.
        field: Editor,
        /// The chosen row.
        chosen: usize,
    },
    /// A question.
    Ask {
        /// Which.
        question: Question,
        /// The chosen answer, of [`Question::choices`].
        chosen: usize,
    },
}

/// Everything the screen shows.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one switch a person can see on the screen")]
pub struct AppState {
    /// The screen's language.
    pub lang: Lang,
    /// Colours.
    pub theme: Theme,
    /// Glyphs.
    pub glyph_set: GlyphSet,
    /// Since the screen opened.
    pub now: Duration,
    /// The stages and what is known of each.
    pub stages: Stages,
    /// What was said to the model, whatever the stage.
    pub chat: Chat,
    /// Choosing between two answers, whatever the stage.
    pub voting: Voting,
    /// The data, whatever the stage.
    pub data: DataState,
    /// Requests not answered yet.
    pub requests: VecDeque<Request>,
    /// What happened.
    pub log: VecDeque<LogLine>,
    /// A save was asked for.
    pub saving: bool,
    /// What went wrong and is not mended since.
    pub trouble: Option<Trouble>,
    /// The trainer's thread has ended: no stage can be opened again.
    pub gone: bool,
    /// A passing remark, how loud, and when it goes.
    pub notice: Option<(Clean, Level, Duration)>,
    /// On the way out.
    pub leaving: Option<Leaving>,
    /// Where arrows go.
    pub focus: Panel,
    /// The focused panel has the whole screen.
    pub expanded: bool,
    /// A logarithmic loss axis.
    pub log_y: bool,
    /// Index into [`crate::ui::series::SMOOTHINGS`].
    pub smoothing: usize,
    /// Keys are text for the model.
    pub typing: bool,
    /// The prompt field.
    pub field: Editor,
    /// What lies on top.
    pub overlay: Option<Overlay>,
    /// Rows scrolled back in the focused panel; 0 follows the newest.
    pub scroll: usize,
    /// What the newest frame laid out.
    pub drawn: Drawn,
}

impl AppState {
    /// A screen before the first word.
    pub fn new(lang: Lang, theme: Theme, glyph_set: GlyphSet) -> AppState {
        AppState { lang, theme, glyph_set, smoothing: 1, log_y: true, ..AppState::default() }
    }

    /// Who gets the keys.
    pub fn mode(&self) -> Mode {
        match self.overlay {
            Some(Overlay::Help { .. }) => Mode::Help,
            Some(Overlay::Palette { .. }) => Mode::Palette,
            Some(Overlay::Ask { .. }) => Mode::Dialog,
            None if self.chat.edit.as_ref().is_some_and(|e| e.open) => Mode::Edit,
            None if self.typing => Mode::Text,
            None if self.voting.open => Mode::Vote,
            None if self.data.open => Mode::Data,
            None => Mode::Nav,
        }
    }

    /// In the screen's language.
    pub fn tr(&self, text: Tr) -> &'static str {
        text.get(self.lang)
    }

    /// The stage that has the trainer.
    pub fn live(&self) -> &Stage {
        self.stages.live()
    }

    /// The stage looked at.
    pub fn shown(&self) -> &Stage {
        self.stages.shown()
    }

    /// What is looked at.
    pub fn view(&self) -> View {
        if self.data.open { View::Data } else { self.shown().view() }
    }

    /// The source whose weight can be moved here and now: one of text, of the stage that has the trainer.
    pub fn weighed(&self) -> Option<&Source> {
        let live = self.live();
        let here = if self.data.open { self.focus == Panel::SOURCES } else { self.focus == Panel::MIX };
        if !here || !self.stages.live_is_shown() || live.view() != View::Pretrain {
            return None;
        }
        let run = live.run.as_ref()?;
        run.chosen(&self.data.chosen)
    }

    /// The text that a mark would be about, as it was written.
    pub fn marked_text(&self) -> Option<&str> {
        match self.focus {
            Panel::PREVIEW => self.data.document.as_ref().map(|d| d.text.as_str()),
            Panel::DROPPED => self.data.dropped()?.text.as_deref(),
            _ => None,
        }
        .filter(|t| !t.is_empty())
    }

    /// What was said of it, as far as known.
    pub fn mark(&self) -> Option<bool> {
        let text = self.marked_text()?;
        let told = self.data.document.as_ref().filter(|d| d.text == text).and_then(|d| d.mark);
        self.data.said(text).unwrap_or(told)
    }

    /// The trainer has ended.
    pub fn is_finished(&self) -> bool {
        self.live().is_finished()
    }

    /// Whether the trainer takes commands: it has begun, and is neither leaving nor changing the stage.
    pub fn is_commanded(&self) -> bool {
        let live = self.live();
        let works = !live.is_finished() && live.phase != Phase::Starting;
        works && self.leaving.is_none() && self.switching().is_none()
    }

    /// Whether the run has that stage.
    pub fn has_stage(&self, stage: StageId) -> bool {
        self.stages.find(stage.name()).is_some()
    }

    /// Whether votes on two answers can be given now.
    pub fn takes_votes(&self) -> bool {
        self.is_commanded() && self.live().talks() && self.has_stage(StageId::Reward)
    }

    /// Whether a pair of answers awaits a vote on the screen.
    pub fn has_pair(&self) -> bool {
        self.is_commanded() && self.voting.open && self.voting.pair.is_some()
    }

    /// Moves the focus.
    pub fn focus_on(&mut self, panel: Panel) {
        if self.focus != panel {
            self.focus = panel;
            self.scroll = 0;
            self.chat.picked = None;
        }
    }

    /// The stage being gone to.
    pub fn switching(&self) -> Option<&str> {
        self.requests.iter().find_map(|w| match w {
            Request::Stage(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether the trainer has not answered this request yet.
    pub fn awaits(&self, wish: &Request) -> bool {
        self.requests.contains(wish)
    }

    /// Whether the guard or a failure has stopped the stage in view, and it can be opened again from a checkpoint.
    pub fn reopens(&self) -> bool {
        self.stages.live_is_shown() && (self.live().feedback.guard.is_some() || self.failed_here())
    }

    /// Whether the stage has failed and the trainer waits for one to be opened.
    pub fn failed_here(&self) -> bool {
        !self.gone && matches!(self.live().phase, Phase::Finished { failed: true, .. })
    }

    /// Who else could answer a prompt: those the live weights came from, newest first.
    pub fn ancestors(&self) -> &'static [Who] {
        let live = self.live();
        match live.parent() {
            None => &[],
            Some(_) if self.stages.parent_of(&live.name).is_some_and(|p| self.stages.parent_of(p).is_some()) => {
                &[Who::Parent, Who::Base]
            }
            Some(_) => &[Who::Parent],
        }
    }

    /// Whose weights answer, in a word, where stage `stage` is asked.
    pub fn whose(&self, who: Who, stage: &str) -> &'static str {
        let word = |stage: &str| strings::stage_word(stage).map_or("", |w| self.tr(w));
        match (who, self.stages.parent_of(stage)) {
            (Who::Live, _) => word(stage),
            (Who::Parent, Some(parent)) if parent != StageId::Pretrain.name() => word(parent),
            (Who::Parent | Who::Base, _) => self.tr(strings::BASE),
        }
    }

    /// Who else is asked.
    pub fn asked_beside(&self) -> &'static [Who] {
        let all = self.ancestors();
        &all[..self.chat.beside.min(all.len())]
    }

    /// Writes a line into the log.
    pub fn record(&mut self, level: Level, text: &str) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(LogLine { at: self.now, level, text: Clean::line(text) });
    }

    /// Something went wrong: stays on the screen until it is solved.
    pub fn trip(&mut self, fault: Fault, text: &str) {
        (self.saving, self.stages.live_mut().probing) = (false, false);
        self.trouble = Some(Trouble { fault, text: Clean::line(text), read: false });
    }

    /// Shows a remark for a moment.
    pub fn remark(&mut self, text: &str) {
        self.notice = Some((Clean::line(text), Level::Note, self.now + NOTICE));
    }

    /// Shows why a request was refused, and keeps it in the log.
    pub fn refuse(&mut self, text: &str) {
        let line = format!("{}: {text}", self.tr(strings::LOG_REFUSED));
        self.record(Level::Alert, &line);
        self.notice = Some((Clean::line(text), Level::Alert, self.now + REFUSAL));
    }

    /// The trainer has ended.
    pub fn finish(&mut self, reason: &str, failed: bool) {
        let now = self.now;
        let stage = self.stages.live_mut();
        stage.phase = Phase::Finished { reason: Clean::line(reason), failed };
        stage.ended = Some(now);
        stage.probing = false;
        (self.saving, self.typing) = (false, false);
        self.voting.close();
        if let Some(edit) = &mut self.chat.edit {
            edit.open = false;
        }
        self.requests.clear();
        self.chat.end_all();
    }
}
