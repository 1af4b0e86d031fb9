//! The loop around state, update and view: keys, trainer events and signals in, frames out.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};

use super::{
    state::{
        AppState, Both, Phase, Settings, WallClock,
        charts::{Export, Format},
    },
    strings::{self, Lang},
    terminal::{self, Input, LONGEST_COPY, Screen, Signals, export},
    theme::{Depth, GlyphSet, Palette, Theme},
    update::{self, Cmd, Msg, update},
    view,
};
use crate::{
    protocol::{Command, Event},
    session::Session,
};

/// Minimum time between two frames.
const FRAME: Duration = Duration::from_millis(16);
/// Time between frames if only metrics changed.
const METRICS: Duration = Duration::from_millis(100);
/// Time between frames while an answer streams in.
const STREAM: Duration = Duration::from_millis(33);
/// Time between frames while the terminal has no focus.
const UNSEEN: Duration = Duration::from_millis(500);
/// Target for the time to draw a frame; a slower terminal gets half as many.
const SLOW: Duration = Duration::from_millis(50);
/// Time until a stop signal has stopped every thread.
const STOP_HOLDS: Duration = Duration::from_millis(500);
/// How long keys are kept until the trainer's first event.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Time limit for a save after a signal.
pub(super) const DEADLINE: Duration = Duration::from_secs(8);

/// Options of the screen.
#[derive(Debug, Default)]
pub struct UiOptions {
    /// Its language.
    pub lang: Lang,
    /// Set by a handler of SIGTERM, SIGINT or SIGHUP from before the screen: save and quit.
    pub stop: Arc<AtomicBool>,
    /// Where standard error is redirected while the screen is up (GPU drivers print there); discarded if None.
    pub stderr: Option<File>,
    /// Whether standard input is not the terminal that keys come from; see [`super::take_input`].
    pub piped: bool,
    /// Colour depth; detected from the environment if None.
    pub depth: Option<Depth>,
    /// Glyphs; detected from the terminal if None.
    pub glyphs: Option<GlyphSet>,
    /// What the screen remembers from earlier; without a theme it follows the terminal's background.
    pub settings: Settings,
    /// Called with the settings within a second of their change.
    pub keep: Keep,
}

/// Keeps the settings of the screen.
#[derive(Default)]
pub struct Keep(Option<Box<dyn Fn(Settings)>>);

impl Keep {
    /// Calls this function with settings that the user has changed.
    pub fn with(keep: impl Fn(Settings) + 'static) -> Keep {
        Keep(Some(Box::new(keep)))
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Keep(kept)" } else { "Keep(lost)" })
    }
}

/// Why the screen closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The stage had finished before the user quit.
    Finished,
    /// The user quit; the trainer has stopped, and saved if requested.
    Stopped,
    /// A signal or a closed terminal; the trainer has stopped and saved, or has trained to the stage's end without a
    /// screen.
    Signalled,
    /// The user quit while the trainer was still busy: end the process without waiting.
    Abandoned,
}

/// The result of [`super::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it closed.
    pub end: End,
    /// Whether the work itself failed.
    pub failed: bool,
    /// Lines for the shell, cleaned; print them to standard output unless [`Outcome::terminal_gone`].
    pub summary: Vec<String>,
    /// The terminal has hung up or is blocked: printing would fail or block.
    pub terminal_gone: bool,
    /// The run to open next, if the user asked for another one.
    pub next: Option<PathBuf>,
    /// The settings at the end, to be remembered.
    pub settings: Settings,
}

/// Urgency of the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Repaint {
    No,
    Metrics,
    Stream,
    Now,
}

#[allow(clippy::struct_excessive_bools, reason = "each is one plain fact about the terminal or the trainer")]
pub(super) struct App {
    session: Session,
    stop: Arc<AtomicBool>,
    stderr: Option<File>,
    inputs: Receiver<Input>,
    /// Keys typed before the trainer's first event, when most have no effect yet.
    early: VecDeque<Input>,
    state: AppState,
    screen: Screen,
    opened: Instant,
    due: Repaint,
    drawn: Instant,
    /// Factor on the time between frames, for a slow terminal.
    slowness: u32,
    /// Commands waiting for room in the trainer's channel.
    outbox: VecDeque<Command>,
    trainer_gone: bool,
    /// Time limit of the save after a signal.
    deadline: Option<Instant>,
    /// The terminal is suspended: neither read nor drawn.
    blind: bool,
    /// When the process requested to be stopped; it must not reacquire the terminal before it is continued.
    stopped: Option<Instant>,
    /// When the terminal was last reacquired.
    woken: Option<Instant>,
    gone: bool,
    /// The terminal has closed and the stage trains to its end.
    unattended: bool,
    focused: bool,
    may_read: Arc<AtomicBool>,
    pulse: Arc<AtomicU64>,
    /// Keeps the settings, and those that it was last called with.
    keep: Keep,
    kept: Settings,
    _signals: Signals,
}

impl App {
    pub(super) fn new(
        session: Session,
        options: UiOptions,
        to: Sender<Input>,
        inputs: Receiver<Input>,
    ) -> io::Result<App> {
        let pulse = Arc::new(AtomicU64::new(0));
        let signals = Signals::listen(to.clone(), &session, Arc::clone(&pulse))?;
        terminal::acquire(options.stderr.as_ref(), options.settings.mouse)?;
        let mut early = VecDeque::new();
        let glyphs = options.glyphs.unwrap_or_else(|| {
            if !terminal::is_utf8_console() {
                return GlyphSet::Ascii;
            }
            let (wide, typed) = terminal::wide_rules();
            early.extend(typed);
            if wide { GlyphSet::Safe } else { GlyphSet::Line }
        });
        let depth = options.depth.unwrap_or_else(|| Depth::detect(|name| std::env::var(name).ok()));
        // Under NO_COLOR crossterm turns colours into a full reset, which removes bold and reverse too (dua-cli#238);
        // the theme has no colours in that case.
        crossterm::style::force_color_output(true);
        let theme = Theme { depth, palette: Palette::detect(|name| std::env::var(name).ok()) };
        let mut state = AppState { clock: wall_clock(), ..AppState::new(options.lang, theme, glyphs) };
        state.recall(options.settings);
        let kept = state.settings();
        let screen = Screen::new()?;
        let may_read = Arc::new(AtomicBool::new(true));
        terminal::read_input(to, Arc::clone(&may_read))?;
        Ok(App {
            session,
            stop: options.stop,
            stderr: options.stderr,
            inputs,
            early,
            state,
            screen,
            opened: Instant::now(),
            due: Repaint::Now,
            drawn: Instant::now().checked_sub(METRICS).unwrap_or_else(Instant::now),
            slowness: 1,
            outbox: VecDeque::new(),
            trainer_gone: false,
            deadline: None,
            blind: false,
            stopped: None,
            woken: None,
            gone: false,
            unattended: false,
            focused: true,
            may_read,
            pulse,
            keep: options.keep,
            kept,
            _signals: signals,
        })
    }

    pub(super) fn run(mut self) -> io::Result<Outcome> {
        loop {
            self.pulse.fetch_add(1, Ordering::AcqRel);
            if self.stop.swap(false, Ordering::AcqRel)
                && let Some(end) = self.leave()
            {
                return Ok(self.outcome(end));
            }
            if let Some(end) = self.on_events() {
                return Ok(self.outcome(end));
            }
            if !self.too_early() {
                while let Some(input) = self.early.pop_front() {
                    if let Some(end) = self.on_input(input) {
                        return Ok(self.outcome(end));
                    }
                }
            }
            self.flush_outbox();
            if self.deadline.is_some_and(|d| d <= Instant::now()) {
                return Ok(self.outcome(End::Abandoned));
            }
            self.draw();
            match self.inputs.recv_timeout(self.wait()) {
                Ok(input) => {
                    if let Some(end) = self.on_input(input) {
                        return Ok(self.outcome(end));
                    }
                    while let Ok(input) = self.inputs.try_recv() {
                        if let Some(end) = self.on_input(input) {
                            return Ok(self.outcome(end));
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Cannot happen, since the panic hook holds a sender; the pause prevents spinning.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(METRICS),
            }
            self.tick();
            if self.unattended
                && self.state.leaving.is_none()
                && update::leaving::has_nothing_to_train(&self.state)
                && let Some(end) = self.update(Msg::Leave)
            {
                return Ok(self.outcome(end));
            }
        }
    }

    /// Time until the next turn: the next frame, or the next check of the trainer.
    fn wait(&self) -> Duration {
        let look = if self.state.chat.answering().next().is_some() { STREAM } else { METRICS };
        let frame = match self.due {
            Repaint::No => return look,
            due => self.interval(due).saturating_sub(self.drawn.elapsed()),
        };
        look.min(frame.max(Duration::from_millis(1)))
    }

    fn interval(&self, due: Repaint) -> Duration {
        let interval = match due {
            Repaint::Now => FRAME,
            _ if !self.focused => UNSEEN,
            Repaint::Stream => STREAM,
            Repaint::Metrics | Repaint::No => METRICS,
        };
        interval * self.slowness
    }

    fn repaint(&mut self, due: Repaint) {
        self.due = self.due.max(due);
    }

    fn tick(&mut self) {
        let now = self.opened.elapsed();
        let clock_moved = now.as_secs() != self.state.now.as_secs();
        let settings = self.state.settings();
        if clock_moved && settings != self.kept {
            // A process that is killed has lost nothing.
            self.kept = settings;
            self.keep.0.iter().for_each(|keep| keep(settings));
        }
        let had_notice = self.state.notice.is_some();
        let ran = self.state.film_runs();
        self.update(Msg::Tick(now));
        let clock_shown = !self.state.is_finished() && !matches!(self.state.live().phase, Phase::Paused);
        if ran || self.state.film_runs() {
            self.repaint(Repaint::Metrics);
        }
        if clock_moved && (clock_shown || self.state.leaving.is_some()) || had_notice && self.state.notice.is_none() {
            self.repaint(Repaint::Metrics);
        }
        // `kill` may return before this thread is stopped; reacquiring the terminal then would leave it to a stopped
        // process. So wait for SIGCONT, or until it is clear that no stop came.
        if self.stopped.is_some_and(|s| s.elapsed() > STOP_HOLDS) {
            self.continued();
        }
        if self.blind && !self.gone && self.stopped.is_none() && terminal::foreground() {
            self.wake();
        }
    }

    fn on_input(&mut self, input: Input) -> Option<End> {
        // A key gets the time at which it is handled, not that of the last frame.
        self.state.now = self.opened.elapsed();
        if matches!(input, Input::Key(_) | Input::Paste(_)) && self.too_early() {
            self.early.push_back(input);
            return None;
        }
        match input {
            Input::Key(key) => {
                self.repaint(Repaint::Now);
                return self.update(Msg::Key(key));
            }
            Input::Paste(text) => {
                self.repaint(Repaint::Now);
                return self.update(Msg::Paste(text));
            }
            Input::Mouse(mouse) => {
                self.repaint(Repaint::Now);
                return self.update(Msg::Mouse(mouse));
            }
            Input::Resized => self.repaint(Repaint::Now),
            Input::Focus(focused) => {
                self.focused = focused;
                self.repaint(Repaint::Now);
            }
            Input::Leave => return self.leave(),
            Input::Abandon => return Some(End::Abandoned),
            Input::Suspend => self.suspend(),
            Input::Continue
                if self.continued() || self.blind || self.woken.is_some_and(|w| w.elapsed() < STOP_HOLDS) => {}
            Input::Continue => {
                // Stopped without SIGTSTP: the shell has used the terminal, so set it up again.
                terminal::restore();
                self.blind = true;
                self.may_read.store(false, Ordering::Release);
            }
            Input::HangUp | Input::Gone => return self.hang_up(),
            Input::Background(text) => {
                self.repaint(Repaint::Now);
                return self.update(Msg::Background(text));
            }
        }
        None
    }

    /// Whether keys are kept until the trainer's first event.
    fn too_early(&self) -> bool {
        self.state.live().phase == Phase::Starting && self.opened.elapsed() < FIRST_WORD
    }

    fn leave(&mut self) -> Option<End> {
        self.deadline = self.deadline.or(Some(Instant::now() + DEADLINE));
        self.repaint(Repaint::Now);
        self.update(Msg::Leave)
    }

    /// The terminal closes: a stage that trains continues to its end without a screen; else saves and quits.
    fn hang_up(&mut self) -> Option<End> {
        if std::mem::replace(&mut self.gone, true) {
            return None;
        }
        self.blind = true;
        self.may_read.store(false, Ordering::Release);
        if self.state.leaving.is_some() || update::leaving::has_nothing_to_train(&self.state) {
            return self.leave();
        }
        self.unattended = true;
        terminal::restore();
        self.update(Msg::HangUp)
    }

    fn on_events(&mut self) -> Option<End> {
        loop {
            let msg = match self.session.events.try_recv() {
                Ok(event) => {
                    let stream = matches!(event, Event::PromptText { .. });
                    self.repaint(if stream { Repaint::Stream } else { Repaint::Metrics });
                    Msg::Event(event)
                }
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) if self.trainer_gone => return None,
                Err(TryRecvError::Disconnected) => {
                    self.trainer_gone = true;
                    self.repaint(Repaint::Metrics);
                    Msg::TrainerGone
                }
            };
            if let Some(end) = self.update(msg) {
                return Some(end);
            }
        }
    }

    fn update(&mut self, msg: Msg) -> Option<End> {
        let mut end = None;
        for cmd in update(&mut self.state, msg) {
            match cmd {
                Cmd::Send(command) => self.outbox.push_back(command),
                Cmd::Export(export) => {
                    let bytes = export::render(&self.state, &export);
                    let name = self.state.export_name(&export);
                    let path = export.path.map(PathBuf::from);
                    self.outbox.push_back(Command::Export { name, path, bytes });
                }
                Cmd::Copy(text) => self.copy(text),
                Cmd::GiveUp => self.session.back.store(true, Ordering::Release),
                Cmd::Mouse(take) => {
                    // An error shows at the next frame.
                    let _ = terminal::take_mouse(take);
                }
                Cmd::Close => end = Some(self.why_closed()),
                Cmd::Abandon => end = Some(End::Abandoned),
                Cmd::Suspend => self.suspend(),
                Cmd::Redraw => {
                    // An error shows at the next frame.
                    let _ = self.screen.forget();
                    self.repaint(Repaint::Now);
                }
            }
        }
        end
    }

    fn copy(&mut self, text: Option<String>) {
        let text = text.unwrap_or_else(|| {
            let panel = Some(self.state.focus).filter(|panel| self.state.drawn.shows(*panel));
            let export = Export { panel, format: Format::Text, path: None };
            String::from_utf8_lossy(&export::render(&self.state, &export)).into_owned()
        });
        if text.len() > LONGEST_COPY {
            let bytes = text.len();
            self.state.refuse(Both::new(|lang| strings::too_long_to_copy(lang, bytes, LONGEST_COPY)));
            return;
        }
        // A blocked terminal would hold this thread in a write.
        if terminal::writable(Duration::ZERO) && terminal::copy(&text).is_ok() {
            let count = text.chars().count();
            self.state.remark(Both::new(|lang| strings::copied(lang, count)));
        }
    }

    fn why_closed(&self) -> End {
        match &self.state.leaving {
            _ if self.unattended => End::Signalled,
            Some(leaving) if leaving.forced => End::Signalled,
            Some(_) => End::Stopped,
            None => End::Finished,
        }
    }

    /// Sends pending commands without blocking; the rest follows at the next turn.
    fn flush_outbox(&mut self) {
        while let Some(command) = self.outbox.pop_front() {
            if matches!(command, Command::Stop { .. }) {
                self.session.stop.store(true, Ordering::Release);
            }
            // A trainer that has ended receives nothing; its end is reported by the events.
            if let Err(TrySendError::Full(command)) = self.session.commands.try_send(command) {
                self.outbox.push_front(command);
                return;
            }
        }
    }

    fn draw(&mut self) {
        if self.due == Repaint::No || self.blind || self.drawn.elapsed() < self.interval(self.due) {
            return;
        }
        // A blocked terminal (Ctrl-S, a stalled link) would hold this thread in a write.
        if !terminal::writable(Duration::ZERO) {
            return;
        }
        let start = Instant::now();
        let state = &self.state;
        // An error means that the terminal is closing; the input thread reports it.
        if let Ok(drawn) = self.screen.draw(|area, buf| view::draw(state, area, buf)) {
            self.state.drawn = drawn;
        }
        let took = start.elapsed();
        self.slowness = if took > SLOW { (self.slowness * 2).min(8) } else { (self.slowness / 2).max(1) };
        self.drawn = Instant::now();
        self.due = Repaint::No;
    }

    /// Ctrl-Z: restores the terminal, stops the process, and continues later.
    fn suspend(&mut self) {
        self.may_read.store(false, Ordering::Release);
        terminal::restore();
        self.blind = true;
        self.stopped = Some(Instant::now());
        // If nothing stops (a container's first process cannot), the terminal is reacquired soon.
        let _ = terminal::suspend();
    }

    /// Handles a continuation: the stopped time does not count for the run. Returns whether there was a stop.
    fn continued(&mut self) -> bool {
        let Some(since) = self.stopped.take() else { return false };
        self.opened += since.elapsed();
        true
    }

    /// Sets up the terminal again if the shell has returned it (after `bg` it has not).
    fn wake(&mut self) {
        if terminal::acquire(self.stderr.as_ref(), self.state.mouse).is_err() {
            terminal::restore();
            return;
        }
        self.blind = false;
        self.woken = Some(Instant::now());
        // An error shows at the next frame.
        let _ = self.screen.forget();
        self.may_read.store(true, Ordering::Release);
        self.repaint(Repaint::Now);
    }

    fn outcome(self, end: End) -> Outcome {
        let failed =
            matches!(self.state.live().phase, Phase::Finished { failed: true, .. }) || self.state.trouble.is_some();
        let mut summary = update::summary(&self.state);
        if end == End::Abandoned {
            summary.push(self.state.tr(strings::SUMMARY_TIMEOUT).to_owned());
        }
        if end == End::Signalled && !failed {
            self.pulse.store(terminal::DONE, Ordering::Release);
        }
        terminal::restore();
        // The next screen has its own reader.
        self.may_read.store(false, Ordering::Release);
        let ends_here = matches!(end, End::Signalled | End::Abandoned);
        let settings = self.state.settings();
        let next = self.state.tree.next.filter(|_| !ends_here);
        Outcome { end, failed, summary, terminal_gone: self.gone || terminal::is_deaf(), next, settings }
    }
}

/// The time now, and the local offset from UTC.
fn wall_clock() -> WallClock {
    let now = chrono::Local::now();
    WallClock { opened: now.timestamp_micros() as f64 / 1e6, ahead: now.offset().local_minus_utc() }
}
