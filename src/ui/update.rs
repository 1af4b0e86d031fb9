//! What happens: one message in, the state changed, wishes out. Pure, so tests need no terminal.

use std::time::Duration;

use crate::session::{Ask, Command, Event, Sampling, Who};
use crate::ui::{
    actions::{self, Act, Mode},
    editor::Editor,
    keys::{Key, can_only_be_text},
    series::SMOOTHINGS,
    state::{AppState, Checkpoint, Ending, Leaving, Level, Overlay, Panel, Phase, QUIT_CHOICES, Run},
    strings::{self, Lang},
    text::{Clean, bytes, grouped},
    theme::Palette,
};

/// Tokens drawn for a prompt at most.
const ANSWER: usize = 256;
/// Rows of a page.
const PAGE: usize = 10;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key went down.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The trainer spoke.
    Event(Event),
    /// The trainer went away without [`Event::Finished`].
    TrainerGone,
    /// Time since the screen opened.
    Tick(Duration),
    /// SIGTERM, SIGINT or SIGHUP came, or the terminal died: save and go.
    Leave,
    /// Another thread panicked; this is what it said.
    Background(String),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Cmd {
    /// Tell the trainer. Kept until it is taken.
    Send(Command),
    /// Close the screen.
    Close,
    /// Close the screen now, whatever the trainer is doing.
    Abandon,
    /// Hand the terminal back to the shell for a while.
    Suspend,
    /// Paint everything anew.
    Redraw,
}

/// Takes a message in.
pub fn update(state: &mut AppState, msg: Msg) -> Vec<Cmd> {
    match msg {
        Msg::Key(key) => on_key(state, key),
        Msg::Paste(text) => on_paste(state, &text),
        Msg::Event(event) => on_event(state, event),
        Msg::TrainerGone => {
            if !state.is_finished() {
                let words = state.tr(strings::LOG_DIED);
                state.record(Level::Alert, words);
                state.finish(words, true);
            }
            close_if_leaving(state)
        }
        Msg::Tick(now) => {
            state.now = now;
            if state.notice.as_ref().is_some_and(|n| n.1 <= now) {
                state.notice = None;
            }
            Vec::new()
        }
        Msg::Leave => leave(state, true, true),
        Msg::Background(text) => {
            let text = format!("{}: {text}", state.tr(strings::LOG_STDERR));
            state.record(Level::Alert, &text);
            Vec::new()
        }
    }
}

fn on_key(state: &mut AppState, key: Key) -> Vec<Cmd> {
    let mode = state.mode();
    let meant = if mode.is_text() { key } else { key.normalised() };
    if let Some(act) = actions::lookup(mode, meant) {
        return if actions::enabled(state, act) { perform(state, mode, act) } else { Vec::new() };
    }
    if let Some(c) = key.typed() {
        match mode {
            Mode::Text | Mode::Palette => type_text(state, c.encode_utf8(&mut [0; 4])),
            Mode::Nav if can_only_be_text(c) && actions::enabled(state, Act::Prompt) => {
                open_prompt(state);
                state.field.insert(c.encode_utf8(&mut [0; 4]));
            }
            _ => {}
        }
    }
    Vec::new()
}

fn on_paste(state: &mut AppState, text: &str) -> Vec<Cmd> {
    match state.mode() {
        Mode::Text | Mode::Palette => type_text(state, text),
        Mode::Nav if actions::enabled(state, Act::Prompt) => {
            open_prompt(state);
            state.field.insert(text);
        }
        _ => {}
    }
    Vec::new()
}

fn type_text(state: &mut AppState, text: &str) {
    match &mut state.overlay {
        Some(Overlay::Palette { field, chosen }) => {
            field.insert(&text.replace(['\n', '\r'], " "));
            *chosen = 0;
        }
        _ => state.field.insert(text),
    }
}

fn open_prompt(state: &mut AppState) {
    state.typing = true;
    focus(state, Panel::Chat);
}

fn focus(state: &mut AppState, panel: Panel) {
    if state.focus != panel {
        state.focus = panel;
        state.scroll = 0;
    }
}

fn perform(state: &mut AppState, mode: Mode, act: Act) -> Vec<Cmd> {
    match act {
        Act::Pause => {
            let (phase, command) =
                if state.is_paused() { (Phase::Resuming, Command::Resume) } else { (Phase::Pausing, Command::Pause) };
            state.phase = phase;
            return vec![Cmd::Send(command)];
        }
        Act::Save if !state.saving => {
            state.saving = true;
            return vec![Cmd::Send(Command::Save)];
        }
        Act::Probe if !state.probing => {
            state.probing = true;
            return vec![Cmd::Send(Command::Probe)];
        }
        Act::Prompt => open_prompt(state),
        Act::NextPanel => step_focus(state, 1),
        Act::PrevPanel => step_focus(state, Panel::ALL.len() - 1),
        Act::Expand => state.expanded = !state.expanded,
        Act::Smoothing => {
            state.smoothing = (state.smoothing + 1) % SMOOTHINGS.len();
        }
        Act::LogY => state.log_y = !state.log_y,
        Act::Palette => state.overlay = Some(Overlay::Palette { field: Editor::default(), chosen: 0 }),
        Act::Help => state.overlay = Some(Overlay::Help { scroll: 0 }),
        Act::Quit => return ask_to_quit(state),
        Act::Redraw => return vec![Cmd::Redraw],
        Act::Suspend => return vec![Cmd::Suspend],
        Act::Interrupt => return interrupt(state),
        Act::Back => back(state),
        Act::Accept => return accept(state, mode),
        Act::Lang => {
            state.lang = if state.lang == Lang::Zh { Lang::En } else { Lang::Zh };
            if let Some(run) = state.run.take() {
                let lang = state.lang;
                state.run = Some(Run { stage: Run::new(run.info.clone(), lang).stage, ..run });
            }
        }
        Act::Theme => {
            let at = Palette::ALL.iter().position(|p| *p == state.theme.palette).unwrap_or(0);
            state.theme.palette = Palette::ALL[(at + 1) % Palette::ALL.len()];
            let name = state.tr(state.theme.palette.name());
            state.remark(name);
        }
        Act::ShowLoss => focus(state, Panel::Loss),
        Act::ShowProbe => focus(state, Panel::Probe),
        Act::ShowChat => focus(state, Panel::Chat),
        Act::ShowMix => focus(state, Panel::Mix),
        Act::ShowRun => focus(state, Panel::Run),
        Act::ShowLog => focus(state, Panel::Log),
        Act::Save | Act::Probe => {}
        Act::NewLine => state.field.insert("\n"),
        Act::PrevProbe => state.probe = state.probe.saturating_sub(1),
        Act::NextProbe => state.probe = (state.probe + 1).min(state.probes.len().saturating_sub(1)),
        _ => move_or_edit(state, act),
    }
    Vec::new()
}

fn step_focus(state: &mut AppState, by: usize) {
    let at = Panel::ALL.iter().position(|p| *p == state.focus).unwrap_or(0);
    focus(state, Panel::ALL[(at + by) % Panel::ALL.len()]);
}

/// Arrows and editing keys: to whatever has the keys.
fn move_or_edit(state: &mut AppState, act: Act) {
    let limit = state.scroll_limit.get();
    match &mut state.overlay {
        Some(Overlay::Help { scroll }) => {
            let from = (*scroll).min(limit);
            *scroll = match act {
                Act::Up => from.saturating_sub(1),
                Act::Down => (from + 1).min(limit),
                Act::PageUp => from.saturating_sub(PAGE),
                Act::PageDown => (from + PAGE).min(limit),
                Act::First => 0,
                Act::Last => limit,
                _ => from,
            };
        }
        Some(Overlay::Quit { chosen }) => {
            let n = QUIT_CHOICES.len();
            *chosen = (*chosen + if act == Act::Up { n - 1 } else { 1 }) % n;
        }
        Some(Overlay::Palette { field, chosen }) => match act {
            Act::Up => *chosen = chosen.saturating_sub(1),
            Act::Down => *chosen += 1,
            _ => {
                edit(field, act);
                *chosen = 0;
            }
        },
        None => match act {
            Act::PageUp => state.scroll = (state.scroll + PAGE).min(limit),
            Act::PageDown => state.scroll = state.scroll.saturating_sub(PAGE),
            _ if state.typing => edit(&mut state.field, act),
            Act::Up => state.scroll = (state.scroll + 1).min(limit),
            Act::Down => state.scroll = state.scroll.saturating_sub(1),
            Act::First => state.scroll = limit,
            Act::Last => state.scroll = 0,
            _ => {}
        },
    }
    // A palette row beyond the last means the last.
    let rows = match &state.overlay {
        Some(Overlay::Palette { field, .. }) => actions::search(state, field.text()).len(),
        _ => 0,
    };
    if let Some(Overlay::Palette { chosen, .. }) = &mut state.overlay {
        *chosen = (*chosen).min(rows.saturating_sub(1));
    }
}

fn edit(field: &mut Editor, act: Act) {
    match act {
        Act::Left => field.left(),
        Act::Right => field.right(),
        Act::Home => field.home(),
        Act::End => field.end(),
        Act::Backspace => field.backspace(),
        Act::Delete => field.delete(),
        Act::KillBefore => field.kill_before(),
        Act::KillAfter => field.kill_after(),
        Act::KillWord => field.kill_word(),
        Act::Older => field.older(),
        Act::Newer => field.newer(),
        _ => {}
    }
}

fn back(state: &mut AppState) {
    if state.overlay.take().is_some() {
        return;
    }
    if state.typing {
        state.typing = false;
    } else {
        state.expanded = false;
    }
}

fn accept(state: &mut AppState, mode: Mode) -> Vec<Cmd> {
    match mode {
        Mode::Text if !state.field.text().trim().is_empty() => {
            let text = state.field.take();
            let id = state.ask(&text);
            state.scroll = 0;
            let sampling = Sampling::default();
            vec![Cmd::Send(Command::Prompt {
                id,
                ask: Ask::Text(text),
                who: Who::Live,
                sampling,
                max_new_tokens: ANSWER,
            })]
        }
        Mode::Palette => {
            let Some(Overlay::Palette { field, chosen }) = state.overlay.take() else { return Vec::new() };
            let act = actions::search(state, field.text()).get(chosen).map(|a| a.act);
            let mode = state.mode();
            act.map_or_else(Vec::new, |act| perform(state, mode, act))
        }
        Mode::Dialog => match state.overlay.take() {
            Some(Overlay::Quit { chosen: 0 }) => leave(state, true, false),
            Some(Overlay::Quit { chosen: 1 }) => leave(state, false, false),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Ctrl-C: stop the answer, clear the field, close what is open; else ask; asked, save and go; going,
/// go at once.
fn interrupt(state: &mut AppState) -> Vec<Cmd> {
    if state.leaving.is_some() {
        return vec![Cmd::Abandon];
    }
    match state.overlay.take() {
        Some(Overlay::Quit { .. }) => return leave(state, true, false),
        Some(_) => return Vec::new(),
        None => {}
    }
    if let Some(exchange) = state.answering() {
        return vec![Cmd::Send(Command::Cancel { id: exchange.id })];
    }
    if state.typing {
        if state.field.is_empty() {
            state.typing = false;
        } else {
            state.field.clear();
        }
        return Vec::new();
    }
    ask_to_quit(state)
}

fn ask_to_quit(state: &mut AppState) -> Vec<Cmd> {
    if state.is_finished() {
        return vec![Cmd::Close];
    }
    if state.leaving.is_none() {
        state.overlay = Some(Overlay::Quit { chosen: 0 });
    }
    Vec::new()
}

fn leave(state: &mut AppState, save: bool, forced: bool) -> Vec<Cmd> {
    if state.is_finished() {
        return vec![Cmd::Close];
    }
    state.overlay = None;
    state.typing = false;
    if let Some(leaving) = &mut state.leaving {
        leaving.forced |= forced;
        return Vec::new();
    }
    state.leaving = Some(Leaving { save, since: state.now, forced });
    vec![Cmd::Send(Command::Stop { save })]
}

fn close_if_leaving(state: &AppState) -> Vec<Cmd> {
    match &state.leaving {
        // A save that failed is not left behind unseen, unless nobody is there to see it.
        Some(leaving) if leaving.forced || !leaving.save || state.trouble.is_none() => vec![Cmd::Close],
        _ => Vec::new(),
    }
}

fn on_event(state: &mut AppState, event: Event) -> Vec<Cmd> {
    match event {
        Event::Started(info) => {
            let (path, resumed_at) = (info.path.display().to_string(), info.resumed_at);
            state.run = Some(Run::new(*info, state.lang));
            state.started = Some(state.now);
            if state.phase == Phase::Starting {
                state.phase = Phase::Running;
            }
            let mut text = format!("{}  {path}", state.tr(strings::LOG_STARTED));
            if resumed_at > 0 {
                let from =
                    format!("  {} {}", state.tr(strings::LOG_RESUMED_AT), strings::at_step(state.lang, resumed_at));
                text.push_str(&from);
            }
            state.record(Level::State, &text);
        }
        Event::Steps(steps) => {
            state.beats += 1;
            for step in steps {
                state.loss.push(step.step, step.loss);
                state.rate.push(step.step, step.learning_rate);
                state.grad.push(step.step, step.grad_norm);
                state.speed.push(step.step, step.tokens_per_second);
                if !step.applied {
                    let at = strings::at_step(state.lang, step.step);
                    let text = format!("{at}  {}", state.tr(strings::LOG_SKIPPED));
                    state.record(Level::Alert, &text);
                }
                state.step = Some(step);
            }
        }
        Event::Eval { step, source, eval_loss, .. } => on_eval(state, step, &source, eval_loss),
        Event::Probe { step, prompt, text, matched, length, .. } => {
            state.probing = false;
            state.add_probe(step, &prompt, &text, matched, length);
        }
        Event::PromptText { id, text, step } => {
            if let Some(exchange) = state.chat.iter_mut().find(|e| e.id == id) {
                exchange.answer.push_block(&text);
                exchange.step = Some(step);
            }
        }
        Event::PromptDone { id, step, tokens, seconds, finish_reason } => {
            if let Some(exchange) = state.chat.iter_mut().find(|e| e.id == id) {
                exchange.step = Some(step);
                exchange.ending = Some(Ending { tokens, seconds, reason: Clean::line(&finish_reason) });
            }
        }
        Event::Paused { step } => {
            state.phase = Phase::Paused;
            state.paused_since = state.paused_since.or(Some(state.now));
            let text = format!("{}  {}", strings::at_step(state.lang, step), state.tr(strings::LOG_PAUSED));
            state.record(Level::State, &text);
        }
        Event::Resumed { step } => {
            state.phase = Phase::Running;
            if let Some(since) = state.paused_since.take() {
                state.paused_for += state.now.saturating_sub(since);
            }
            let text = format!("{}  {}", strings::at_step(state.lang, step), state.tr(strings::LOG_RESUMED));
            state.record(Level::State, &text);
        }
        Event::Saved { step, path, seconds, bytes: n } => {
            state.saving = false;
            state.trouble = None;
            let run = state.run.as_ref().map(|r| r.info.path.as_path());
            let inside = run.and_then(|run| path.strip_prefix(run).ok()).unwrap_or(&path);
            let text = format!("{}  {}  {seconds:.1} s", inside.display(), bytes(n));
            state.record(Level::Save, &text);
            let path = path.display().to_string();
            state.saved = Some(Checkpoint { step, path: Clean::line(&path) });
        }
        Event::SaveFailed { error, .. } => {
            state.saving = false;
            state.trouble = Some(Clean::line(&error));
            let text = format!("{}: {error}", state.tr(strings::LOG_SAVE_FAILED));
            state.record(Level::Alert, &text);
            // The stage goes on living; whoever wanted to leave is asked again, knowing this.
            if state.leaving.as_ref().is_some_and(|l| !l.forced) {
                state.leaving = None;
                state.overlay = Some(Overlay::Quit { chosen: 0 });
            }
        }
        Event::Note { text, .. } | Event::Refused { text } => state.record(Level::Note, &text),
        Event::Task(_) | Event::Batch(_) | Event::Demonstrated { .. } => {}
        Event::Finished { step, reason, failed } => {
            let words = strings::end_reason(&reason).map_or(reason.as_str(), |r| state.tr(r));
            let text = format!("{}  {} {words}", strings::at_step(state.lang, step), state.tr(strings::LOG_FINISHED));
            state.record(if failed { Level::Alert } else { Level::State }, &text);
            state.finish(&reason, failed);
            if matches!(state.overlay, Some(Overlay::Quit { .. })) {
                state.overlay = None;
            }
            return close_if_leaving(state);
        }
    }
    Vec::new()
}

fn on_eval(state: &mut AppState, step: usize, source: &str, eval_loss: f64) {
    let Some(run) = &mut state.run else { return };
    let only = run.info.sources.len() == 1;
    let mut known = false;
    for (raw, shown) in run.info.sources.iter().zip(&mut run.sources) {
        if raw.name == source {
            shown.eval_loss = Some(eval_loss);
            known = true;
        }
    }
    if source == "all" || (only && known && state.valid.last().is_none_or(|l| l.0 < step)) {
        if only && source == "all" && state.valid.last().is_some_and(|l| l.0 == step) {
            return;
        }
        state.valid.push(step, eval_loss);
        if eval_loss.is_finite() && state.best.is_none_or(|b| eval_loss < b.1) {
            state.best = Some((step, eval_loss));
        }
    }
}

/// Lines for the shell after the screen has closed.
pub fn summary(state: &AppState) -> Vec<String> {
    let Some(run) = &state.run else { return Vec::new() };
    let dot = state.glyph_set.glyphs().dot;
    let mut facts = vec![
        format!("{} {dot} {}", run.name, run.stage),
        format!(
            "{} {} / {}",
            state.tr(strings::STEP),
            grouped(state.steps_done() as u64),
            grouped(run.info.steps as u64)
        ),
    ];
    if let Some(loss) = state.loss.smoothed(state.smoothing) {
        facts.push(format!("{} {loss:.4}", state.tr(strings::SUMMARY_LOSS)));
    }
    if let Some((_, loss)) = state.valid.last() {
        facts.push(format!("{} {loss:.4}", state.tr(strings::VALID)));
    }
    let mut lines = vec![facts.join("  ")];
    for probe in &state.probes {
        if let Some(entry) = probe.entries.last() {
            lines.push(format!("{}{}{}  {}/{}", probe.prompt, entry.right, entry.rest, entry.matched, probe.length));
        }
    }
    if let Some(saved) = &state.saved {
        lines.push(format!("{} {}", state.tr(strings::SUMMARY_CHECKPOINT), saved.path));
    }
    if let Phase::Finished { reason, failed: true } = &state.phase {
        lines.push(format!("{}: {reason}", state.tr(strings::FAILED)));
    }
    if state.unsaved_steps() > 0 {
        lines.push(strings::lost(state.lang, state.unsaved_steps()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{RunInfo, StepReport};
    use crate::ui::keys::Code;

    const ENTER: Key = Key::plain(Code::Enter);
    const ESC: Key = Key::plain(Code::Esc);

    fn started() -> AppState {
        let mut state = AppState::new(Lang::Zh, crate::ui::theme::Theme::default(), crate::ui::theme::GlyphSet::Line);
        let info = RunInfo {
            name: "r".to_owned(),
            path: "runs/r".into(),
            stage: "pretrain".to_owned(),
            size: "1m".to_owned(),
            engine: "cpu".to_owned(),
            adapter: "cpu".to_owned(),
            parameters: 1,
            vocab_size: 2,
            layers: 1,
            hidden_size: 1,
            heads: 1,
            batch: 2,
            context: 8,
            learning_rate: 1e-3,
            steps: 100,
            resumed_at: 0,
            chat: false,
            parent: None,
            stages: Vec::new(),
            tasks: Vec::new(),
            demonstrations: 0,
            memory: 0,
            sources: Vec::new(),
        };
        event(&mut state, Event::Started(Box::new(info)));
        state
    }

    fn step(step: usize, loss: f64) -> StepReport {
        StepReport {
            step,
            loss,
            learning_rate: 1e-3,
            grad_norm: 1.0,
            applied: loss.is_finite(),
            tokens_per_second: 16.0,
            total_tokens: 0,
            epoch: 0.0,
            step_ms: 1.0,
            sources: Vec::new(),
        }
    }

    fn event(state: &mut AppState, event: Event) -> Vec<Cmd> {
        update(state, Msg::Event(event))
    }

    fn press(state: &mut AppState, keys: &[Key]) -> Vec<Cmd> {
        keys.iter().flat_map(|key| update(state, Msg::Key(*key))).collect()
    }

    fn saved(step: usize) -> Event {
        Event::Saved { step, path: "runs/r/checkpoints/pretrain-000001".into(), seconds: 0.1, bytes: 9 }
    }

    #[test]
    fn a_wish_is_shown_at_once_and_done_when_answered() {
        let mut state = started();
        assert_eq!(press(&mut state, &[Key::char(' ')]), [Cmd::Send(Command::Pause)]);
        assert_eq!(state.phase, Phase::Pausing);
        event(&mut state, Event::Paused { step: 3 });
        assert_eq!(state.phase, Phase::Paused);
        assert_eq!(press(&mut state, &[Key::ctrl('g')]), [Cmd::Send(Command::Resume)]);
        event(&mut state, Event::Resumed { step: 3 });
        assert_eq!(state.phase, Phase::Running);
        assert_eq!(
            press(&mut state, &[Key::char('w'), Key::char('w')]),
            [Cmd::Send(Command::Save)],
            "one save at a time"
        );
        event(&mut state, saved(3));
        assert!(!state.saving);
        assert_eq!(press(&mut state, &[Key::char('p'), Key::char('p')]), [Cmd::Send(Command::Probe)]);
    }

    #[test]
    fn a_han_character_opens_the_prompt_with_itself() {
        let mut state = started();
        press(&mut state, &[Key::char('春'), Key::char('q'), Key::char('？')]);
        assert_eq!((state.mode(), state.field.text()), (Mode::Text, "春q？"));
        press(&mut state, &[ESC]);
        assert_eq!((state.mode(), state.field.text()), (Mode::Nav, "春q？"), "the draft is kept");
        press(&mut state, &[Key::char('i')]);
        let sent = press(&mut state, &[ENTER]);
        assert!(
            matches!(&sent[..], [Cmd::Send(Command::Prompt { id: 1, ask: Ask::Text(text), .. })] if text == "春q？")
        );
        assert_eq!(state.mode(), Mode::Text, "one prompt after the other");
        event(&mut state, Event::PromptText { id: 1, text: "夜来".to_owned(), step: 7 });
        assert_eq!(state.chat[0].answer.as_str(), "夜来");
        assert_eq!(press(&mut state, &[Key::ctrl('c')]), [Cmd::Send(Command::Cancel { id: 1 })]);
    }

    #[test]
    fn an_empty_prompt_is_not_sent() {
        let mut state = started();
        assert!(press(&mut state, &[Key::char('i'), Key::char(' '), ENTER]).is_empty());
    }

    #[test]
    fn a_paste_into_commands_is_a_prompt_not_commands() {
        let mut state = started();
        assert!(update(&mut state, Msg::Paste("qq\nw".to_owned())).is_empty());
        assert_eq!((state.mode(), state.field.text()), (Mode::Text, "qq\nw"));
    }

    #[test]
    fn quitting_asks_saves_and_waits() {
        let mut state = started();
        event(&mut state, Event::Steps(vec![step(1, 2.0)]));
        assert!(press(&mut state, &[Key::char('q')]).is_empty());
        assert_eq!(state.mode(), Mode::Dialog);
        assert_eq!(press(&mut state, &[ENTER]), [Cmd::Send(Command::Stop { save: true })]);
        assert!(press(&mut state, &[Key::char(' '), Key::char('q'), Key::char('w')]).is_empty(), "too late for more");
        assert!(event(&mut state, saved(1)).is_empty(), "not before the stage has ended");
        let end = Event::Finished { step: 1, reason: "stopped".to_owned(), failed: false };
        assert_eq!(event(&mut state, end), [Cmd::Close]);
    }

    #[test]
    fn quitting_can_be_taken_back_or_go_without_saving() {
        let mut state = started();
        press(&mut state, &[Key::char('q'), ESC]);
        assert_eq!(state.mode(), Mode::Nav);
        let third = [Key::char('q'), Key::plain(Code::Down), Key::plain(Code::Down), ENTER];
        assert!(press(&mut state, &third).is_empty());
        assert!(state.leaving.is_none());
        let second = [Key::char('q'), Key::plain(Code::Right), ENTER];
        assert_eq!(press(&mut state, &second), [Cmd::Send(Command::Stop { save: false })]);
    }

    #[test]
    fn ctrl_c_climbs_from_cancelling_to_leaving_at_once() {
        let mut state = started();
        let ctrl_c = Key::ctrl('c');
        press(&mut state, &[Key::char('i'), Key::char('x')]);
        press(&mut state, &[ctrl_c]);
        assert!(state.field.is_empty() && state.typing);
        press(&mut state, &[ctrl_c]);
        assert_eq!(state.mode(), Mode::Nav);
        press(&mut state, &[ctrl_c]);
        assert_eq!(state.mode(), Mode::Dialog);
        assert_eq!(press(&mut state, &[ctrl_c]), [Cmd::Send(Command::Stop { save: true })]);
        assert_eq!(press(&mut state, &[ctrl_c]), [Cmd::Abandon]);
    }

    #[test]
    fn a_save_that_fails_on_the_way_out_asks_again() {
        let mut state = started();
        press(&mut state, &[Key::char('q'), ENTER]);
        event(&mut state, Event::SaveFailed { step: 1, error: "disk full".to_owned() });
        assert_eq!(state.mode(), Mode::Dialog);
        assert!(state.trouble.is_some() && state.leaving.is_none());
        press(&mut state, &[ENTER]);
        event(&mut state, saved(1));
        assert!(state.trouble.is_none(), "the next good save settles it");
    }

    #[test]
    fn a_signal_asks_nobody() {
        let mut state = started();
        press(&mut state, &[Key::char('q')]);
        assert_eq!(update(&mut state, Msg::Leave), [Cmd::Send(Command::Stop { save: true })]);
        assert!(update(&mut state, Msg::Leave).is_empty(), "once is enough");
        event(&mut state, Event::SaveFailed { step: 1, error: "disk full".to_owned() });
        let end = Event::Finished { step: 1, reason: "failed: disk full".to_owned(), failed: true };
        assert_eq!(event(&mut state, end), [Cmd::Close]);
    }

    #[test]
    fn a_finished_run_stays_until_the_person_goes() {
        let mut state = started();
        let end = Event::Finished { step: 100, reason: "done".to_owned(), failed: false };
        assert!(event(&mut state, end).is_empty());
        assert!(press(&mut state, &[Key::char(' '), Key::char('w'), Key::char('i'), Key::char('春')]).is_empty());
        assert_eq!(state.mode(), Mode::Nav, "nobody answers any more");
        assert!(update(&mut state, Msg::TrainerGone).is_empty());
        assert_eq!(press(&mut state, &[Key::char('q')]), [Cmd::Close]);
    }

    #[test]
    fn a_trainer_that_dies_is_a_failure() {
        let mut state = started();
        update(&mut state, Msg::TrainerGone);
        assert!(matches!(state.phase, Phase::Finished { failed: true, .. }));
    }

    #[test]
    fn pauses_are_not_counted_as_training() {
        let mut state = started();
        update(&mut state, Msg::Tick(Duration::from_secs(10)));
        event(&mut state, Event::Paused { step: 1 });
        update(&mut state, Msg::Tick(Duration::from_secs(70)));
        assert_eq!(state.elapsed(), Duration::from_secs(10));
        event(&mut state, Event::Resumed { step: 1 });
        update(&mut state, Msg::Tick(Duration::from_secs(75)));
        assert_eq!(state.elapsed(), Duration::from_secs(15));
    }

    #[test]
    fn the_time_left_comes_from_the_measured_rate() {
        let mut state = started();
        assert_eq!(state.seconds_left(), None, "no number that no code measured");
        event(&mut state, Event::Steps(vec![step(40, 2.0)]));
        assert_eq!(state.seconds_left(), Some(60.0));
    }

    #[test]
    fn a_step_that_was_not_applied_is_an_alert() {
        let mut state = started();
        event(&mut state, Event::Steps(vec![step(1, 2.0), step(2, f64::NAN)]));
        assert_eq!(state.log.back().map(|l| l.level), Some(Level::Alert));
        assert_eq!(state.loss.last().map(|l| l.0), Some(2));
    }

    #[test]
    fn the_palette_runs_what_it_shows() {
        let mut state = started();
        press(&mut state, &[Key::ctrl('p')]);
        press(&mut state, &[Key::char('存')]);
        assert_eq!(press(&mut state, &[ENTER]), [Cmd::Send(Command::Save)]);
        press(&mut state, &[Key::char('：'), Key::char('E'), Key::char('n'), Key::char('g'), ENTER]);
        assert_eq!(state.lang, Lang::En);
        press(&mut state, &[Key::char(':'), Key::plain(Code::Up), ESC]);
        assert_eq!(state.mode(), Mode::Nav);
    }

    #[test]
    fn keys_before_the_first_word_do_no_harm() {
        let mut state = AppState::default();
        for act in actions::ACTIONS {
            for (_, keys) in act.keys {
                for key in *keys {
                    press(&mut state, &[*key]);
                }
            }
        }
    }
}
