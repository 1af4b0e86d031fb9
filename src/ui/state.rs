//! What the screen knows. Pure data: no terminal, no clock, no channel.

use std::{cell::Cell, collections::VecDeque, time::Duration};

use crate::session::{RunInfo, StepReport};
use crate::ui::{
    actions::Mode,
    editor::Editor,
    series::Series,
    strings::{self, Lang, Tr},
    text::Clean,
    theme::{GlyphSet, Theme},
};

/// Events kept to look back at.
const LOG: usize = 1000;
/// Questions and answers kept.
const CHAT: usize = 200;
/// Completions kept of one probe; beyond it every second one goes.
const PROBES: usize = 4096;
/// How long a remark stands in the footer.
const NOTICE: Duration = Duration::from_secs(4);

/// What the stage is doing, as far as it has said so; `Pausing` and `Resuming` are asked, not answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// No word from the trainer yet.
    #[default]
    Starting,
    /// Stepping.
    Running,
    /// Asked to pause.
    Pausing,
    /// Not stepping.
    Paused,
    /// Asked to go on.
    Resuming,
    /// Ended.
    Finished {
        /// Why.
        reason: Clean,
        /// Whether the work itself failed.
        failed: bool,
    },
}

/// A part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Panel {
    /// The loss curve and its small companions.
    #[default]
    Loss,
    /// A fixed prompt completed again and again.
    Probe,
    /// Prompts to the live weights.
    Chat,
    /// Sources, their weights and how much was drawn.
    Mix,
    /// Engine, model, progress.
    Run,
    /// What happened.
    Log,
}

impl Panel {
    /// In the order Tab walks.
    pub const ALL: [Panel; 6] = [Panel::Loss, Panel::Probe, Panel::Chat, Panel::Mix, Panel::Run, Panel::Log];

    /// Its name.
    pub fn title(self) -> Tr {
        match self {
            Panel::Loss => strings::PANEL_LOSS,
            Panel::Probe => strings::PANEL_PROBE,
            Panel::Chat => strings::PANEL_CHAT,
            Panel::Mix => strings::PANEL_MIX,
            Panel::Run => strings::PANEL_RUN,
            Panel::Log => strings::PANEL_LOG,
        }
    }
}

/// A source's name, cleaned, with its numbers.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: Clean,
    /// Share of drawn tokens asked for.
    pub weight: f64,
    /// Tokens of one pass.
    pub tokens: usize,
    /// Newest validation loss on it.
    pub eval_loss: Option<f64>,
}

/// The run, its texts cleaned.
#[derive(Clone, Debug)]
pub struct Run {
    /// The numbers; its texts are for no eye.
    pub info: RunInfo,
    /// The run's name.
    pub name: Clean,
    /// The stage, in words.
    pub stage: Clean,
    /// The size preset.
    pub size: Clean,
    /// `cpu` or `wgpu`.
    pub engine: Clean,
    /// The adapter.
    pub adapter: Clean,
    /// The data.
    pub sources: Vec<Source>,
}

/// One completion of a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeEntry {
    /// After this step.
    pub step: usize,
    /// The leading characters that are right.
    pub right: Clean,
    /// The rest.
    pub rest: Clean,
    /// How many are right.
    pub matched: usize,
}

/// A probe over time.
#[derive(Clone, Debug)]
pub struct Probe {
    /// As the trainer names it, to tell probes apart.
    raw: String,
    /// The fixed prompt.
    pub prompt: Clean,
    /// Characters to get right.
    pub length: usize,
    /// Its completions in order.
    pub entries: Vec<ProbeEntry>,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Tokens drawn.
    pub tokens: usize,
    /// Seconds taken.
    pub seconds: f64,
    /// `stop`, `length`, `cancelled` or an error.
    pub reason: Clean,
}

/// A prompt and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its number.
    pub id: u64,
    /// What was typed.
    pub prompt: Clean,
    /// What came back so far.
    pub answer: Clean,
    /// The step whose weights spoke last.
    pub step: Option<usize>,
    /// Its end, once there.
    pub ending: Option<Ending>,
}

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A checkpoint.
    Save,
    /// A remark.
    Note,
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

/// A durable checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps in it.
    pub step: usize,
    /// Its folder.
    pub path: Clean,
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
    /// Whether to save before leaving.
    Quit {
        /// The chosen answer, of [`QUIT_CHOICES`].
        chosen: usize,
    },
}

/// Answers to "quit?".
pub const QUIT_CHOICES: [Tr; 3] = [strings::QUIT_SAVE, strings::QUIT_DISCARD, strings::QUIT_CANCEL];

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
    /// When the first word came.
    pub started: Option<Duration>,
    /// Time spent not stepping, up to the last resume.
    pub paused_for: Duration,
    /// When the present pause began.
    pub paused_since: Option<Duration>,
    /// When the stage ended.
    pub ended: Option<Duration>,
    /// The run, once known.
    pub run: Option<Run>,
    /// What the stage is doing.
    pub phase: Phase,
    /// The newest step.
    pub step: Option<StepReport>,
    /// Training loss.
    pub loss: Series,
    /// Validation loss over all sources.
    pub valid: Series,
    /// Least validation loss and its step.
    pub best: Option<(usize, f64)>,
    /// Learning rate.
    pub rate: Series,
    /// Gradient norm.
    pub grad: Series,
    /// Tokens a second.
    pub speed: Series,
    /// Step events seen: turns the breathing dot.
    pub beats: usize,
    /// Probes, in the order first seen.
    pub probes: Vec<Probe>,
    /// The probe looked at.
    pub probe: usize,
    /// A probe was asked for.
    pub probing: bool,
    /// Prompts and answers.
    pub chat: VecDeque<Exchange>,
    /// Number of the next prompt.
    pub next_id: u64,
    /// What happened.
    pub log: VecDeque<LogLine>,
    /// The newest durable checkpoint of this sitting.
    pub saved: Option<Checkpoint>,
    /// A save was asked for.
    pub saving: bool,
    /// A save failed and none has worked since: stands until one does.
    pub trouble: Option<Clean>,
    /// A passing remark and when it goes.
    pub notice: Option<(Clean, Duration)>,
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
    /// The most [`AppState::scroll`] can mean, found out while drawing.
    pub scroll_limit: Cell<usize>,
}

impl AppState {
    /// A screen before the first word.
    pub fn new(lang: Lang, theme: Theme, glyph_set: GlyphSet) -> AppState {
        AppState { lang, theme, glyph_set, smoothing: 1, log_y: true, next_id: 1, ..AppState::default() }
    }

    /// Who gets the keys.
    pub fn mode(&self) -> Mode {
        match self.overlay {
            Some(Overlay::Help { .. }) => Mode::Help,
            Some(Overlay::Palette { .. }) => Mode::Palette,
            Some(Overlay::Quit { .. }) => Mode::Dialog,
            None if self.typing => Mode::Text,
            None => Mode::Nav,
        }
    }

    /// In the screen's language.
    pub fn tr(&self, text: Tr) -> &'static str {
        text.get(self.lang)
    }

    /// The stage has ended.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished { .. })
    }

    /// Not stepping, or asked not to.
    pub fn is_paused(&self) -> bool {
        matches!(self.phase, Phase::Paused | Phase::Pausing)
    }

    /// An answer is being written.
    pub fn answering(&self) -> Option<&Exchange> {
        self.chat.iter().find(|e| e.ending.is_none())
    }

    /// Steps done.
    pub fn steps_done(&self) -> usize {
        self.step.as_ref().map_or_else(|| self.run.as_ref().map_or(0, |r| r.info.resumed_at), |s| s.step)
    }

    /// Steps done since the newest durable checkpoint this screen knows of.
    pub fn unsaved_steps(&self) -> usize {
        let resumed_at = self.run.as_ref().map_or(0, |r| r.info.resumed_at);
        self.steps_done().saturating_sub(self.saved.as_ref().map_or(resumed_at, |c| c.step))
    }

    /// Time spent stepping, pauses left out.
    pub fn elapsed(&self) -> Duration {
        let Some(started) = self.started else { return Duration::ZERO };
        let until = self.ended.unwrap_or(self.now);
        let pause = self.paused_since.map_or(Duration::ZERO, |since| until.saturating_sub(since));
        until.saturating_sub(started).saturating_sub(self.paused_for).saturating_sub(pause)
    }

    /// Seconds to the stage's end at the measured rate.
    pub fn seconds_left(&self) -> Option<f64> {
        let (run, step) = (self.run.as_ref()?, self.step.as_ref()?);
        if self.is_finished() || step.tokens_per_second <= 0.0 || !step.tokens_per_second.is_finite() {
            return None;
        }
        let tokens_a_step = run.info.batch as f64 * run.info.context as f64;
        Some(run.info.steps.saturating_sub(step.step) as f64 * tokens_a_step / step.tokens_per_second)
    }

    /// Writes a line into the log.
    pub fn record(&mut self, level: Level, text: &str) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(LogLine { at: self.now, level, text: Clean::line(text) });
    }

    /// Shows a remark for a moment.
    pub fn remark(&mut self, text: &str) {
        self.notice = Some((Clean::line(text), self.now + NOTICE));
    }

    /// Adds a question.
    pub fn ask(&mut self, prompt: &str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if self.chat.len() == CHAT {
            self.chat.pop_front();
        }
        let prompt = Clean::block(prompt);
        self.chat.push_back(Exchange { id, prompt, answer: Clean::default(), step: None, ending: None });
        id
    }

    /// Adds a probe's completion.
    pub fn add_probe(&mut self, step: usize, prompt: &str, text: &str, matched: usize, length: usize) {
        let at = self.probes.iter().position(|p| p.raw == prompt).unwrap_or_else(|| {
            let raw = prompt.to_owned();
            self.probes.push(Probe { raw, prompt: Clean::line(prompt), length, entries: Vec::new() });
            self.probes.len() - 1
        });
        let probe = &mut self.probes[at];
        let split = text.char_indices().nth(matched).map_or(text.len(), |(i, _)| i);
        let (right, rest) = text.split_at(split);
        probe.length = length;
        probe.entries.push(ProbeEntry { step, right: Clean::line(right), rest: Clean::line(rest), matched });
        if probe.entries.len() > PROBES {
            let mut index = 0;
            probe.entries.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// The stage has ended.
    pub fn finish(&mut self, reason: &str, failed: bool) {
        self.phase = Phase::Finished { reason: Clean::line(reason), failed };
        self.ended = Some(self.now);
        (self.saving, self.probing, self.typing) = (false, false, false);
        for exchange in self.chat.iter_mut().filter(|e| e.ending.is_none()) {
            exchange.ending = Some(Ending { tokens: 0, seconds: 0.0, reason: Clean::line("cancelled") });
        }
    }
}

impl Run {
    /// Cleans what the trainer says of its run.
    pub fn new(info: RunInfo, lang: Lang) -> Run {
        let sources = info
            .sources
            .iter()
            .map(|s| Source { name: Clean::line(&s.name), weight: s.weight, tokens: s.tokens, eval_loss: None })
            .collect();
        Run {
            name: Clean::line(&info.name),
            stage: Clean::line(strings::stage(&info.stage).map_or(&info.stage, |s| s.get(lang))),
            size: Clean::line(&info.size),
            engine: Clean::line(&info.engine),
            adapter: Clean::line(&info.adapter),
            sources,
            info,
        }
    }
}
