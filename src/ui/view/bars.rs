//! The header and the footer: the run, its progress, and the keys.

use std::{borrow::Cow, ops::Range};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    feedback::guard,
    pen::{Canvas, Pen},
};
use crate::protocol::{Follows, Watching};
use crate::ui::{
    actions::{self, Act},
    keys::Key,
    paint::{Pieces, clear, pieces_width, put, put_pieces, put_right, rule},
    state::{AppState, Click, Fault, Leaving, Level, Mode, Phase, Stage},
    strings,
    text::{clock, grouped, shorten, width, wrap},
    theme::Role,
};

/// Seconds without a line after which the age of the newest is shown.
const STALE: f64 = 30.0;

pub(super) fn header(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let right = status(pen);
    let x = area.right().saturating_sub(pieces_width(&right) as u16 + 1).max(area.x);
    let room = x.saturating_sub(area.x + 1) as usize;
    // The longest version that fits; if none does, the last one is cut.
    let mut lefts = LENGTHS.iter().map(|length| left(pen, *length));
    let last = left(pen, LENGTHS[LENGTHS.len() - 1]);
    let left = lefts.find(|l| pieces_width(&l.pieces) <= room).unwrap_or(last);
    put_pieces(buf, area.x, area.y, x.saturating_sub(1), &left.pieces);
    put_pieces(buf, x, area.y, area.right(), &right);
    for (part, key) in left.stops {
        let cells = |pieces: &[(Cow<str>, Style)]| pieces.iter().map(|p| width(&p.0) as u16).sum::<u16>();
        let place = Rect { x: area.x + cells(&left.pieces[..part.start]), width: cells(&left.pieces[part]), ..area };
        let place = place.intersection(Rect { width: x.saturating_sub(area.x), ..area });
        buf.drawn.targets.push((place, Click::Key(key)));
    }
}

/// How detailed the header is.
#[derive(Clone, Copy)]
struct Length {
    /// Whether to show the program's name.
    brand: bool,
    /// Cells for the run's name.
    name: usize,
    /// How much of the path of stages is shown.
    path: Path,
}

#[derive(Clone, Copy, PartialEq)]
enum Path {
    /// All milestones, with the stages and their keys.
    Whole,
    /// The stages of the run.
    Stages,
    /// The stage in view.
    Here,
}

const LENGTHS: [Length; 9] = [
    Length { brand: true, name: 24, path: Path::Whole },
    Length { brand: false, name: 24, path: Path::Whole },
    Length { brand: false, name: 14, path: Path::Whole },
    Length { brand: false, name: 0, path: Path::Whole },
    Length { brand: false, name: 24, path: Path::Stages },
    Length { brand: false, name: 14, path: Path::Stages },
    Length { brand: false, name: 0, path: Path::Stages },
    Length { brand: false, name: 14, path: Path::Here },
    Length { brand: false, name: 0, path: Path::Here },
];

/// The left part of the header, and the pieces that a click takes for a key.
#[derive(Default)]
struct Line<'a> {
    pieces: Pieces<'a>,
    stops: Vec<(Range<usize>, Key)>,
}

impl<'a> Line<'a> {
    fn push(&mut self, piece: (Cow<'a, str>, Style)) {
        self.pieces.push(piece);
    }
}

fn left<'a>(pen: &Pen<'a>, length: Length) -> Line<'a> {
    let state = pen.state;
    let dot = format!(" {} ", pen.glyphs.dot);
    let mut left = Line { pieces: vec![pen.piece(" ", Role::Text)], stops: Vec::new() };
    let run = state.live().run.as_ref();
    if length.brand || run.is_none() {
        left.push(pen.piece("丹炉 danlu", Role::Bright));
    }
    let Some(run) = run else { return left };
    if length.name > 0 {
        if left.pieces.len() > 1 {
            left.push(pen.piece(dot.clone(), Role::Dim));
        }
        left.push(pen.piece(shorten(&run.name, length.name), Role::Bright));
    }
    if left.pieces.len() > 1 {
        left.push(pen.piece(dot, Role::Dim));
    }
    path(pen, length.path, &mut left);
    left
}

/// The stage in view; while voting the live one, whose answers are judged.
fn in_view(state: &AppState) -> &Stage {
    if state.voting.open { state.live() } else { state.shown() }
}

/// The path from random weights to an assistant: the stages, their progress, which one is live and which is in view.
fn path<'a>(pen: &Pen<'a>, path: Path, line: &mut Line<'a>) {
    let state = pen.state;
    let stages = &state.stages;
    let then = format!(" {} ", pen.glyphs.then);
    let whole = path == Path::Whole;
    if whole || state.data.open {
        // The data, which all stages use.
        let from = line.pieces.len();
        if let Some(key) = Act::Data.key().filter(|_| whole) {
            line.push(pen.piece(format!("{key} "), Role::Dim));
        }
        let mut style = pen.style(if state.data.open { Role::Bright } else { Role::Text });
        if state.data.open {
            style = style.add_modifier(Modifier::UNDERLINED);
        }
        line.push((state.tr(strings::DATA).into(), style));
        line.stops.extend(Act::Data.key().map(|key| (from..line.pieces.len(), key)));
        line.push(pen.piece(then.clone(), Role::Dim));
    }
    if path == Path::Here {
        stop(pen, pen.stage, None, line);
        return;
    }
    // One alignment stage represents its siblings: the one in view, or the next.
    let shown = in_view(state);
    let aligned = if shown.aligns() { shown.id } else { stages.next_aligned() };
    let mut first = true;
    for (place, name) in strings::PATH.iter().enumerate() {
        let here: Vec<_> = stages
            .all()
            .iter()
            .filter(|s| s.id.is_some_and(|id| strings::path(id) == place))
            .filter(|s| !s.aligns() || aligned.is_none_or(|a| Some(a) == s.id))
            .collect();
        if here.is_empty() && !whole {
            continue;
        }
        if !std::mem::take(&mut first) {
            line.push(pen.piece(then.clone(), Role::Dim));
        }
        if here.is_empty() {
            line.push(pen.piece(state.tr(*name), Role::Dim));
        }
        for (at, stage) in here.into_iter().enumerate() {
            if at > 0 {
                line.push(pen.piece(" ", Role::Dim));
            }
            stop(pen, stage, whole.then_some(at == 0), line);
        }
    }
}

/// A stage on the path, in full: `2 小学中学 pretrain 640`.
fn stop<'a>(pen: &Pen<'a>, stage: &'a Stage, whole: Option<bool>, line: &mut Line<'a>) {
    let state = pen.state;
    let from = line.pieces.len();
    let pieces = &mut line.pieces;
    let live = state.stages.is_live(stage);
    let mark = if live { pen.glyphs.chosen } else { "" };
    pieces.push(pen.piece(mark, Role::Focus));
    let shown = std::ptr::eq(stage, in_view(state)) && !state.data.open;
    let mut style = pen.style(if shown { Role::Bright } else { Role::Text });
    if shown {
        style = style.add_modifier(Modifier::UNDERLINED);
    }
    if let Some(first) = whole {
        if let Some(key) = stage.id.and_then(actions::view_key) {
            pieces.push(pen.piece(format!("{key} "), Role::Dim));
        }
        if let Some(id) = stage.id.filter(|_| first) {
            pieces.push((format!("{} ", state.tr(strings::PATH[strings::path(id)])).into(), style));
        }
        pieces.push((shorten(stage.short(), 10).into(), style));
    } else {
        pieces.push((shorten(state.stage_word(stage.id), 16).into(), style));
    }
    let steps = stage.steps_done();
    if steps > 0 {
        pieces.push(pen.piece(format!(" {}", grouped(steps as u64)), if live { Role::Bright } else { Role::Dim }));
    }
    let all = from..pieces.len();
    line.stops.extend(stage.id.and_then(actions::view_key).map(|key| (all, key)));
}

/// What the live stage is doing, for how long, and the time left.
fn status<'a>(pen: &Pen<'a>) -> Pieces<'a> {
    let state = pen.state;
    let live = state.live();
    let g = pen.glyphs;
    if state.switching().is_some() && state.leaving.is_none() {
        let to = state.stage_word(state.switching());
        let mut pieces = vec![pen.piece(format!("{} {} {to}", g.pulse[0], state.tr(strings::SWITCHING)), Role::Focus)];
        if let Some(work) = state.opening {
            pieces.push(pen.piece(format!("  {}", strings::preparation(state.lang, work)), Role::Text));
        }
        return pieces;
    }
    let (mark, words, role) = match (&state.leaving, &live.phase) {
        (_, Phase::Finished { failed: true, .. }) => (g.cross, strings::FAILED, Role::Bad),
        (_, Phase::Finished { reason, .. }) if reason.as_str() == "done" => (g.tick, strings::DONE, Role::Good),
        (_, Phase::Finished { .. }) => (g.tick, strings::STOPPED, Role::Text),
        (Some(Leaving { save: true, .. }), _) => (g.pulse[0], strings::SAVING, Role::Focus),
        (Some(_), _) => (g.pulse[0], strings::LEAVING_UNSAVED, Role::Focus),
        (None, _) if state.watching.is_some() => return watching(pen),
        (None, Phase::Running) if state.is_read_only() => {
            (g.pulse[live.beats % g.pulse.len()], strings::REPLAY, Role::Kept)
        }
        (None, _) if state.is_read_only() => (g.empty, strings::REPLAY, Role::Kept),
        (None, _) if live.feedback.guard.is_some() => (g.cross, strings::GUARDED_SHORT, Role::Bad),
        (_, Phase::Starting | Phase::Resting) => (g.pulse[0], strings::PREPARING, Role::Dim),
        (_, Phase::Running) => (g.pulse[live.beats % g.pulse.len()], strings::RUNNING, Role::Good),
        (_, Phase::Pausing) => (g.pulse[0], strings::PAUSING, Role::Focus),
        (_, Phase::Paused) if live.is_complete() => (g.tick, strings::COMPLETE, Role::Good),
        (_, Phase::Paused) => (g.empty, strings::PAUSED, Role::Focus),
        (_, Phase::Resuming) => (g.pulse[0], strings::RESUMING, Role::Focus),
    };
    // With another stage in view the live one must be named.
    let whose = if state.stages.live_is_shown() { String::new() } else { format!("{} ", state.stage_word(live.id)) };
    let mut pieces: Pieces = vec![pen.piece(format!("{mark} {whose}{}", state.tr(words)), role)];
    if state.saving && state.leaving.is_none() {
        pieces.push(pen.piece(format!("  {}", state.tr(strings::SAVING)), Role::Focus));
    }
    if live.started.is_some() && !state.is_read_only() {
        pieces.push(pen.piece(format!("  {}", clock(live.elapsed(state.now).as_secs())), Role::Text));
    }
    if let Some(seconds) = live.seconds_left().filter(|_| live.feedback.guard.is_none() && !state.is_read_only()) {
        let left = clock(seconds.min(1e9).ceil() as u64);
        pieces.push(pen.piece(format!("  {} ", state.tr(strings::LEFT)), Role::Dim));
        pieces.push(pen.piece(left, Role::Text));
    }
    pieces
}

/// What the log of a training elsewhere does, and when it grew last.
fn watching<'a>(pen: &Pen<'a>) -> Pieces<'a> {
    let (state, g) = (pen.state, pen.glyphs);
    let live = state.live();
    let Some(Watching { state: follows, newest, passed }) = &state.watching else { return Vec::new() };
    let pulse = g.pulse[live.beats % g.pulse.len()];
    let (mark, words, role) = match follows {
        Follows::Awaited => (g.empty, strings::WATCH_AWAITED, Role::Dim),
        Follows::Nobody => (g.empty, strings::WATCH_NOBODY, Role::Dim),
        Follows::Ended => (g.empty, strings::WATCH_ENDED, Role::Kept),
        Follows::Over { failed: true, .. } => (g.cross, strings::FAILED, Role::Bad),
        Follows::Over { reason, .. } if reason == "stopped" => (g.tick, strings::STOPPED, Role::Text),
        Follows::Over { .. } => (g.tick, strings::DONE, Role::Good),
        Follows::Lines if live.phase == Phase::Paused => (g.empty, strings::PAUSED, Role::Focus),
        Follows::Lines => (pulse, strings::WATCHING, Role::Kept),
    };
    let whose = if state.stages.live_is_shown() { String::new() } else { format!("{} ", state.stage_word(live.id)) };
    let mut pieces: Pieces = vec![pen.piece(format!("{mark} {whose}{}", state.tr(words)), role)];
    if *passed > 0 && state.drawn.area.width >= 100 {
        pieces.push(pen.piece(format!("  {} {}", grouped(*passed as u64), state.tr(strings::WATCH_PASSED)), Role::Dim));
    }
    let age = newest.map(|newest| (state.time() - newest).max(0.0)).filter(|_| *follows == Follows::Lines);
    if let Some(age) = age.filter(|age| *age >= STALE) {
        let (newest, ago) = (state.tr(strings::WATCH_NEWEST), state.tr(strings::WATCH_AGO));
        pieces.push(pen.piece(format!("  {newest} {} {ago}", clock(age.min(1e9) as u64)), Role::Dim));
    } else if let Some(seconds) = live.seconds_left().filter(|_| *follows == Follows::Lines) {
        pieces.push(pen.piece(format!("  {} ", state.tr(strings::LEFT)), Role::Dim));
        pieces.push(pen.piece(clock(seconds.min(1e9).ceil() as u64), Role::Text));
    }
    pieces
}

pub(super) fn footer(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    if area.height > 1 {
        for x in area.left()..area.right() {
            put(buf, x, area.y, area.right(), pen.glyphs.rule, pen.style(Role::Dim));
        }
    }
    let y = area.bottom() - 1;
    let mut end = area.right().saturating_sub(1);
    if let Some((text, role)) = remark(pen) {
        let most = area.width as usize * 2 / 3;
        let text = shorten(&text, most);
        end = put_right(buf, area.x, y, end, &text, pen.style(role)).saturating_sub(2);
    }
    let mut x = area.x + 1;
    let badge = match state.mode() {
        Mode::Text => Some(strings::MODE_TEXT),
        Mode::Edit => Some(strings::MODE_EDIT),
        Mode::Vote => Some(strings::MODE_VOTE),
        Mode::Dialog => Some(strings::MODE_DIALOG),
        _ => None,
    };
    if let Some(badge) = badge {
        x = put(buf, x, y, end, &format!(" {} ", state.tr(badge)), pen.style(Role::Chosen)) + 2;
    }
    for (pressed, name) in actions::hints(state) {
        let key = pressed.to_string();
        let wide = width(&key) + 1 + width(name);
        if x as usize + wide > end as usize {
            break;
        }
        let place = Rect { x, y, width: wide as u16, height: 1 };
        buf.drawn.targets.push((place, Click::Key(pressed)));
        x = put(buf, x, y, end, &key, pen.style(Role::Bright));
        x = put(buf, x + 1, y, end, name, pen.style(Role::Dim)) + 2;
    }
}

/// The message at the right of the footer; failures have priority.
fn remark(pen: &Pen) -> Option<(String, Role)> {
    let state = pen.state;
    if state.leaving.is_some() {
        return Some((state.tr(strings::LEAVE_NOW).to_owned(), Role::Dim));
    }
    if let Some(trouble) = &state.trouble {
        let text = trouble.text.get(state.lang);
        let words = match trouble.fault {
            Fault::Save => strings::labelled(state.lang, strings::LOG_SAVE_FAILED, text),
            Fault::Store => strings::labelled(state.lang, strings::LOG_STORE_FAILED, text),
            Fault::Stage => text.to_string(),
        };
        return Some((format!("{} {words}", pen.glyphs.cross), Role::Bad));
    }
    if let Phase::Finished { reason, failed: true } = &state.live().phase {
        return Some((format!("{} {}", pen.glyphs.cross, strings::trainer(state.lang, reason)), Role::Bad));
    }
    state.notice.as_ref().filter(|n| n.1 != Level::Alert).map(|n| (n.0.get(state.lang).to_string(), Role::Text))
}

/// The message over the bottom of the panels, in full until the user closes it: why a request was refused, what failed,
/// or why the guard stopped the stage; and what to do.
pub(super) fn strip(pen: &Pen, body: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let guard = state.live().feedback.guard.as_ref().filter(|g| !g.read);
    let trouble = state.trouble.as_ref().filter(|t| !t.read);
    let (title, text) = match (&state.notice, trouble, guard) {
        (Some((text, Level::Alert, _)), _, _) => (strings::LOG_REFUSED, text.get(state.lang).to_string()),
        (_, Some(trouble), _) => {
            let (title, advice) = match trouble.fault {
                Fault::Save => (strings::LOG_SAVE_FAILED, strings::MEND),
                Fault::Store => (strings::LOG_STORE_FAILED, strings::MEND),
                Fault::Stage if state.gone => (strings::FAILED, strings::FAILED_GONE),
                Fault::Stage => (strings::FAILED, strings::FAILED_REOPENS),
            };
            // What to do comes first: a long error may be cut at its end.
            let waits = trouble.fault == Fault::Stage || state.live().is_paused();
            let text = trouble.text.get(state.lang).as_str().to_owned();
            (title, if waits { format!("{}\n{text}", state.tr(advice)) } else { text })
        }
        (_, _, Some(guard)) => {
            (strings::GUARDED, format!("{}\n{}", guard.reason.get(state.lang), guard::advice(pen, guard)))
        }
        _ => return,
    };
    let lines = wrap(&text, body.width.saturating_sub(6) as usize, 2);
    let high = (lines.len() as u16 + 1).min(body.height).min(6);
    let place = Rect { y: body.bottom() - high, height: high, ..body };
    clear(buf, place);
    let esc = vec![pen.piece("Esc", Role::Dim)];
    rule(buf, place, state.tr(title), &esc, true, state.theme, pen.glyphs);
    for (row, line) in lines.into_iter().take(high.saturating_sub(1) as usize).enumerate() {
        let y = place.y + 1 + row as u16;
        let mark = if row == 0 { pen.glyphs.cross } else { "" };
        put(buf, place.x + 1, y, place.right(), mark, pen.style(Role::Bad));
        put(buf, place.x + 4, y, place.right(), &text[line], pen.style(Role::Bad));
    }
}
