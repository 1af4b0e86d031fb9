//! The state of the screen. Pure data: no terminal, no clock, no channel.

pub mod batch;
pub mod charts;
pub mod chat;
pub mod config;
pub mod data;
pub mod feedback;
pub mod film;
mod frame;
mod log;
pub mod stage;
pub(crate) mod steps;
pub mod tree;
pub mod vote;

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use ratatui::layout::Rect;

use crate::base::StageId;
use crate::protocol::{Care, Preparation, Watching, Who};
use crate::ui::{
    chart::Abscissa,
    editor::Editor,
    strings::{self, Lang, Tr},
    text::{self, Clean},
    theme::{GlyphSet, Theme},
};

pub use self::{
    chat::{Answer, Chat, Ending, Exchange, Target},
    config::{ConfigKey, ConfigPane},
    data::DataState,
    feedback::{Feedback, Guard, Rollout},
    frame::{Click, Drawn, Find, Mode, Panel, Settings, View},
    log::{Both, Level, LogLine, WallClock},
    stage::{Change, Checkpoint, Phase, Probe, ProbeEntry, Run, Said, Source, Stage, Stages, Task},
    steps::{Charts, Window},
    tree::Tree,
    vote::Voting,
};

/// Log lines kept.
const LOG: usize = 1000;
/// How long a notice is shown in the footer.
const NOTICE: Duration = Duration::from_secs(4);
/// How long a refusal is shown in the footer.
const REFUSAL: Duration = Duration::from_secs(12);

/// The user (or a signal) requested to leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaving {
    /// Whether to save first.
    pub save: bool,
    /// When, since the screen opened.
    pub since: Duration,
    /// Whether it was a signal or a closed terminal: then a deadline applies and no question is asked.
    pub forced: bool,
}

/// A request without an answer so far. The trainer answers in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Switch to another stage.
    Stage(StageId),
    /// Keep a corrected answer: its prompt and the text.
    Demonstrate(Target, String),
    /// Send an answer of the newest update.
    Rollout,
    /// Send two answers.
    Offer,
    /// Vote on the pair with this number.
    Vote(u64),
    /// Take back the newest vote.
    Unvote,
    /// Fit the reward model to the votes.
    Refit,
    /// Send the data.
    Data,
    /// Send a document.
    Document,
    /// Send the next document with a text.
    Find,
    /// Send the next batch.
    NextBatch,
    /// Send dropped documents.
    Dropped,
    /// Change the weight of this source.
    Weigh(String),
    /// Try another threshold.
    Try,
    /// Set a threshold.
    SetRule,
    /// Label a text as wanted or unwanted, or remove the label.
    Mark(String, Option<bool>),
    /// Send the runs.
    Tree,
    /// Compare runs.
    Compare,
    /// Send the training losses of runs.
    Trained,
    /// Send what is in a checkpoint.
    Inspect,
    /// Make a fork.
    Fork,
    /// Rename, pin or remove a run or a checkpoint.
    Care,
    /// Write an exported panel or screen.
    Export,
    /// Set a key of run.toml.
    Set {
        /// Whether the stage is to be opened again if the key waits for that.
        reopens: bool,
    },
    /// Take some steps while paused.
    Steps,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A save failed; cleared by a save that succeeds.
    Save,
    /// Another disk or system error; cleared when the stage continues.
    Store,
    /// The stage failed; cleared when a stage is opened.
    Stage,
}

/// A failure, shown in full over the bottom of the panels until the user closes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The kind.
    pub fault: Fault,
    /// The reason, and what to do.
    pub text: Both,
    /// Whether the user closed it.
    pub read: bool,
}

/// A question before an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Whether to save before leaving.
    Quit,
    /// Whether to leave the running stage for the one with this name.
    Switch(StageId),
    /// Whether to go back to this checkpoint of a run.
    GoBack(PathBuf, String),
    /// Whether to close this run and open that one.
    Open(PathBuf),
    /// What to export: the panel, if there is one, and whether it has figures.
    Export(Option<Panel>, bool),
    /// Whether to remove a run or a checkpoint.
    Remove {
        /// Which.
        care: Care,
        /// Its name.
        name: String,
        /// Its size.
        bytes: u64,
    },
}

/// What can be exported: of a panel with charts everything, of another all but the figures, else the screen.
const EXPORTS: [Tr; 6] = [
    strings::EXPORT_CSV,
    strings::EXPORT_PANEL_SVG,
    strings::EXPORT_PANEL_TEXT,
    strings::EXPORT_SCREEN_SVG,
    strings::EXPORT_SCREEN_TEXT,
    strings::STAY,
];

impl Question {
    /// The answers to choose from.
    pub fn choices(&self) -> &'static [Tr] {
        match self {
            Question::Quit => &[strings::QUIT_SAVE, strings::QUIT_DISCARD, strings::QUIT_CANCEL],
            Question::Switch(_) => &[strings::SWITCH_GO, strings::SWITCH_STAY],
            Question::GoBack(..) => &[strings::GO_BACK_GO, strings::STAY],
            Question::Open(_) => &[strings::OPEN_GO, strings::STAY],
            Question::Remove { .. } => &[strings::REMOVE_GO, strings::STAY],
            Question::Export(None, _) => &EXPORTS[3..],
            Question::Export(_, true) => &EXPORTS,
            Question::Export(_, false) => &EXPORTS[1..],
        }
    }
}

/// An overlay over the panels, which gets the keys first.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// The help.
    Help {
        /// Lines scrolled.
        scroll: usize,
    },
    /// The palette.
    Palette {
        /// The typed text.
        field: Editor,
        /// The selected row.
        chosen: usize,
        /// Why the typed line was not carried out.
        why: Option<Both>,
    },
    /// The config pane.
    Config(ConfigPane),
    /// What the stage in view has reached.
    Card,
    /// A question.
    Ask {
        /// Which.
        question: Question,
        /// The selected answer, an index into [`Question::choices`].
        chosen: usize,
    },
}

/// The whole state of the screen.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one switch that the user sees")]
pub struct AppState {
    /// The screen's language.
    pub lang: Lang,
    /// Colours.
    pub theme: Theme,
    /// Glyphs.
    pub glyph_set: GlyphSet,
    /// Time since the screen opened.
    pub now: Duration,
    /// The clock on the wall.
    pub clock: WallClock,
    /// The stages and the state of each.
    pub stages: Stages,
    /// The chat, shared by all stages.
    pub chat: Chat,
    /// Voting on two answers, shared by all stages.
    pub voting: Voting,
    /// The data view, shared by all stages.
    pub data: DataState,
    /// Every key of run.toml with the value that the live stage uses; empty before they have arrived.
    pub config: Vec<ConfigKey>,
    /// The runs as a tree.
    pub tree: Tree,
    /// Requests without an answer so far.
    pub requests: VecDeque<Request>,
    /// When the events of a film happened, while they arrive.
    pub film_time: Option<f64>,
    /// What the opening of a stage is busy with.
    pub opening: Option<Preparation>,
    /// The log.
    pub log: VecDeque<LogLine>,
    /// Lines ever added to the log; the newest has this number less one.
    pub logged: u64,
    /// The chosen line of the log, by its number: the crosshair is at its step.
    pub log_chosen: Option<u64>,
    /// The panel from which the log was entered.
    pub log_from: Panel,
    /// What is looked for in a panel.
    pub find: Option<Find>,
    /// What the log of a training elsewhere does, if one is watched.
    pub watching: Option<Watching>,
    /// The film on the screen.
    pub film: Option<film::Film>,
    /// A save was requested.
    pub saving: bool,
    /// A failure that has not been cleared.
    pub trouble: Option<Trouble>,
    /// The trainer's thread has ended; no stage can be opened again.
    pub gone: bool,
    /// A notice, its kind, and when it expires.
    pub notice: Option<(Both, Level, Duration)>,
    /// Set while leaving.
    pub leaving: Option<Leaving>,
    /// The focused panel.
    pub focus: Panel,
    /// Whether the focused panel fills the screen.
    pub expanded: bool,
    /// Whether the screen takes the mouse; else the terminal selects text with it.
    pub mouse: bool,
    /// The chart whose crosshair the mouse drags.
    pub dragged: Option<Rect>,
    /// The settings from the start, with the language and theme that were chosen since.
    pub remembered: Settings,
    /// Whether the loss axis is logarithmic.
    pub log_y: bool,
    /// What the charts' abscissa counts.
    pub abscissa: Abscissa,
    /// Index into [`crate::ui::series::SMOOTHINGS`].
    pub smoothing: usize,
    /// Whether keys go to the prompt field.
    pub typing: bool,
    /// The prompt field.
    pub field: Editor,
    /// The overlay, if any.
    pub overlay: Option<Overlay>,
    /// The live stage was completed while the user did something else: its card is shown after that.
    pub card_waits: bool,
    /// Rows scrolled back in the focused panel; 0 follows the newest.
    pub scroll: usize,
    /// The layout of the newest frame.
    pub drawn: Drawn,
}

impl AppState {
    /// The state before the trainer's first event.
    pub fn new(lang: Lang, theme: Theme, glyph_set: GlyphSet) -> AppState {
        AppState { lang, theme, glyph_set, smoothing: 1, log_y: true, ..AppState::default() }
    }

    /// The mode, which decides who gets the keys.
    pub fn mode(&self) -> Mode {
        match self.overlay {
            Some(Overlay::Help { .. }) => Mode::Help,
            Some(Overlay::Palette { .. }) => Mode::Palette,
            Some(Overlay::Config(ConfigPane { typing: true, .. })) => Mode::Filter,
            Some(Overlay::Config(_)) => Mode::Config,
            Some(Overlay::Card) => Mode::Card,
            Some(Overlay::Ask { .. }) => Mode::Dialog,
            None if self.find.as_ref().is_some_and(|find| find.typing) => Mode::Find,
            None if self.tree.naming.is_some() => Mode::Name,
            None if self.tree.open => Mode::Tree,
            None if self.chat.edit.as_ref().is_some_and(|e| e.open) => Mode::Edit,
            None if self.typing => Mode::Text,
            None if self.voting.open => Mode::Vote,
            None if self.data.open => Mode::Data,
            None => Mode::Nav,
        }
    }

    /// A text in the screen's language.
    pub fn tr(&self, text: Tr) -> &'static str {
        text.get(self.lang)
    }

    /// The live stage, which trains.
    pub fn live(&self) -> &Stage {
        self.stages.live()
    }

    /// The folder of the open run.
    pub fn open_run(&self) -> Option<&PathBuf> {
        self.live().run.as_ref().map(|run| &run.info.path)
    }

    /// The stage in view.
    pub fn shown(&self) -> &Stage {
        self.stages.shown()
    }

    /// The current view.
    pub fn view(&self) -> View {
        if self.data.open { View::Data } else { self.shown().view() }
    }

    /// The source whose weight can be changed now: one of text, of the live stage.
    pub fn weighed(&self) -> Option<&Source> {
        let live = self.live();
        let here = if self.data.open { self.focus == Panel::SOURCES } else { self.focus == Panel::MIX };
        if !here || !self.stages.live_is_shown() || live.view() != View::Pretrain {
            return None;
        }
        let run = live.run.as_ref()?;
        run.chosen(&self.data.chosen)
    }

    /// The text that a label would apply to, unchanged.
    pub fn marked_text(&self) -> Option<&str> {
        match self.focus {
            Panel::PREVIEW => self.data.document.as_ref().map(|d| d.text.as_str()),
            Panel::DROPPED => self.data.dropped()?.text.as_deref(),
            _ => None,
        }
        .filter(|t| !t.is_empty())
    }

    /// The label of that text, if known.
    pub fn mark(&self) -> Option<bool> {
        let text = self.marked_text()?;
        let stored = self.data.document.as_ref().filter(|d| d.text == text).and_then(|d| d.mark);
        self.data.label_set(text).unwrap_or(stored)
    }

    /// Whether the trainer has ended.
    pub fn is_finished(&self) -> bool {
        self.live().is_finished()
    }

    /// Whether the trainer accepts commands that train or change something.
    pub fn is_commanded(&self) -> bool {
        self.is_answered() && !self.is_read_only()
    }

    /// Whether requests are answered: the stage has started and is neither stopping nor switching.
    pub fn is_answered(&self) -> bool {
        let live = self.live();
        let works = !live.is_finished() && live.phase != Phase::Starting;
        works && self.leaving.is_none() && self.switching().is_none()
    }

    /// Whether the run has this stage.
    pub fn has_stage(&self, stage: StageId) -> bool {
        self.stages.find(stage).is_some()
    }

    /// Whether the user can vote now.
    pub fn takes_votes(&self) -> bool {
        self.is_commanded() && self.live().talks() && self.has_stage(StageId::Reward)
    }

    /// Whether a pair is shown for a vote.
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

    /// The stage that is being switched to.
    pub fn switching(&self) -> Option<StageId> {
        self.requests.iter().find_map(|w| match w {
            Request::Stage(stage) => Some(*stage),
            _ => None,
        })
    }

    /// Whether Esc gives up the stage that is being opened: it is being prepared, and nothing is in front.
    pub fn gives_up(&self) -> bool {
        let free = match self.mode() {
            Mode::Nav => true,
            Mode::Data => self.data.trying.is_none(),
            _ => false,
        };
        self.opening.is_some() && self.switching().is_some() && free && self.leaving.is_none()
    }

    /// Whether this request has no answer so far.
    pub fn awaits(&self, wish: &Request) -> bool {
        self.requests.contains(wish)
    }

    /// Whether the stage in view was stopped by the guard or a failure and can be reopened from a checkpoint.
    pub fn reopens(&self) -> bool {
        self.stages.live_is_shown() && (self.live().feedback.guard.is_some() || self.failed_here())
    }

    /// Whether the stage failed and the trainer waits for one to be opened.
    pub fn failed_here(&self) -> bool {
        !self.gone && matches!(self.live().phase, Phase::Finished { failed: true, .. })
    }

    /// The earlier weights that can answer a prompt too, newest first.
    pub fn ancestors(&self) -> &'static [Who] {
        let live = self.live();
        match live.parent() {
            None => &[],
            // Its parent answers for a reward model already.
            Some(_) if live.id.is_some_and(|id| !id.speaks()) => &[Who::Base],
            Some(_) if live.id.and_then(StageId::parent).and_then(StageId::parent).is_some() => {
                &[Who::Parent, Who::Base]
            }
            Some(_) => &[Who::Parent],
        }
    }

    /// A stage's short name; empty before the trainer's first event.
    pub fn stage_word(&self, stage: Option<StageId>) -> &'static str {
        stage.map_or("", |stage| self.tr(strings::stage_word(stage)))
    }

    /// The name of the weights that answer a prompt to a stage.
    pub fn whose(&self, who: Who, stage: Option<StageId>) -> &'static str {
        self.tr(whose(who, stage))
    }

    /// The earlier weights that are asked too.
    pub fn asked_beside(&self) -> &'static [Who] {
        let all = self.ancestors();
        &all[..self.chat.beside.min(all.len())]
    }

    /// The time in Unix seconds.
    pub fn time(&self) -> f64 {
        self.clock.opened + self.now.as_secs_f64()
    }

    /// The time of the trainer's newest event in Unix seconds: in a film that of the training.
    pub fn event_time(&self) -> f64 {
        self.film_time.unwrap_or_else(|| self.time())
    }

    /// A time in Unix seconds as local time of the day, with the date if it is another day's.
    pub fn stamp(&self, unix: Option<f64>) -> String {
        let Some(unix) = unix.filter(|t| t.is_finite()) else { return "-".to_owned() };
        let (then, now) = (self.clock.local(unix), self.clock.local(self.time()));
        let (date, time) = (text::date(then), text::time_of_day(then));
        if date == text::date(now) { time } else { format!("{date} {time}") }
    }

    /// Adds a line to the log.
    pub fn record(&mut self, level: Level, text: impl Into<Both>) {
        let live = self.live();
        let (at, place) = (Some(self.event_time()), live.id.map(|stage| (stage, live.steps_done())));
        self.log_line(LogLine { at, level, place, text: text.into() });
    }

    /// Adds a line with its own time.
    pub fn log_line(&mut self, line: LogLine) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.logged += 1;
        self.log.push_back(line);
    }

    /// Shows a failure until it is cleared.
    pub fn trip(&mut self, fault: Fault, text: &str) {
        (self.saving, self.stages.live_mut().probing) = (false, false);
        self.trouble = Some(Trouble { fault, text: Both::trainer(text), read: false });
    }

    /// Shows a notice.
    pub fn remark(&mut self, text: impl Into<Both>) {
        self.notice = Some((text.into(), Level::Note, self.now + NOTICE));
    }

    /// Shows why a request was refused, and logs it.
    pub fn refuse(&mut self, text: impl Into<Both>) {
        let text = text.into();
        self.record(Level::Alert, refusal(&text));
        self.notice = Some((text, Level::Alert, self.now + REFUSAL));
    }

    /// Records that the trainer has ended.
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

/// The name of the weights that answer a prompt to a stage; empty before the trainer's first event.
pub fn whose(who: Who, stage: Option<StageId>) -> Tr {
    let word = |stage: Option<StageId>| stage.map_or(Tr("", ""), strings::stage_word);
    match (who, stage.and_then(StageId::parent)) {
        (Who::Live, parent) if stage.is_some_and(|s| !s.speaks()) => word(parent),
        (Who::Live, _) => word(stage),
        (Who::Parent, parent) if parent.is_some_and(|p| p != StageId::Pretrain) => word(parent),
        (Who::Parent | Who::Base, _) => strings::BASE,
    }
}

/// The log line of a refusal.
pub(crate) fn refusal(why: &Both) -> Both {
    Both::new(|lang| strings::labelled(lang, strings::LOG_REFUSED, why.get(lang)))
}
