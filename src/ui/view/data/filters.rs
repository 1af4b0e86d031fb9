//! The cleaning funnel: documents in, dropped by each rule, kept; or the effect of a threshold on trial.

use ratatui::{buffer::Buffer, layout::Rect};

use super::figures::{first, number, percent, rule_name};
use crate::protocol::Documents;
use crate::ui::{
    paint::{Pieces, bar, put, put_pieces, put_right},
    state::{
        Request,
        data::{Bound, Cut, Trying},
    },
    strings,
    text::{bytes, grouped, pad, shorten},
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let data = &state.data;
    let funnel = data.funnel();
    let mut facts: Pieces = Vec::new();
    let whose = match data.source().filter(|_| !data.all) {
        Some(source) => shorten(&source.name, 20),
        None => state.tr(strings::ALL_SOURCES).to_owned(),
    };
    if !data.sources.is_empty() {
        facts.push(pen.piece(format!("{whose}  "), Role::Text));
        let dropped = funnel.into.documents.saturating_sub(funnel.kept.documents);
        facts.push(pen.piece(format!("{} ", state.tr(strings::DROPPED_SHARE)), Role::Dim));
        facts.push(pen.piece(percent(dropped, funnel.into.documents), Role::Bright));
    }
    let inner = pen.title(buf, area, &facts);
    if data.sources.is_empty() {
        let words =
            data.refused.as_ref().map_or_else(|| state.tr(strings::NO_DATA), |r| r.get(pen.state.lang).as_str());
        pen.words(buf, inner, words);
        return;
    }
    match (&data.trying, data.bound()) {
        (Some(trying), Some((cut, bound))) => trial(pen, trying, cut, bound, inner, buf),
        _ => list(pen, inner, buf),
    }
}

/// Right edges of the columns: threshold, documents, share; the rest is the threshold's source.
struct Columns {
    name: u16,
    bound: u16,
    documents: u16,
    share: u16,
}

impl Columns {
    fn new(area: Rect) -> Columns {
        let left = area.x + 2;
        let wide = area.width.saturating_sub(3);
        // Narrow panels omit the threshold's source, narrower ones the threshold.
        let (bound, source) = match wide {
            56.. => (11, 13),
            40.. => (11, 0),
            _ => (0, 0),
        };
        let share = area.right().saturating_sub(1 + source);
        let documents = share.saturating_sub(8);
        let bound_end = documents.saturating_sub(9);
        Columns { name: bound_end.saturating_sub(bound + left), bound: bound_end, documents, share }
    }
}

/// Every rule with its threshold and count, between documents in and documents kept.
fn list(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let data = &state.data;
    let funnel = data.funnel();
    let columns = Columns::new(area);
    let whole = |buf: &mut Buffer, y: u16, name: &str, what: Documents| {
        let end = put(buf, area.x + 2, y, area.right(), name, pen.style(Role::Bright));
        put(buf, end + 2, y, area.right(), &bytes(what.bytes), pen.style(Role::Dim));
        put_right(buf, columns.bound, y, columns.documents, &grouped(what.documents), pen.style(Role::Bright));
        let share = percent(what.documents, funnel.into.documents);
        put_right(buf, columns.documents, y, columns.share, &share, pen.style(Role::Bright));
    };
    if area.height < 3 {
        return;
    }
    whole(buf, area.y, state.tr(strings::FUNNEL_IN), funnel.into);
    // The last row has the documents kept, the one before it details of the selected rule.
    let foot = u16::from(area.height >= 6 && !funnel.cuts.is_empty());
    let rows = (area.height - 2 - foot) as usize;
    let from = first(data.cut, rows);
    for (at, cut) in funnel.cuts.iter().enumerate().skip(from).take(rows) {
        row(pen, cut, at == data.cut, &columns, area, area.y + 1 + (at - from) as u16, buf);
    }
    if funnel.cuts.is_empty() {
        let place = Rect { height: area.height.saturating_sub(2), ..below(area, 1) };
        pen.words(buf, place, state.tr(strings::NO_RULES));
    }
    let shown = funnel.cuts.len().min(rows).max(usize::from(funnel.cuts.is_empty())) as u16;
    whole(buf, area.y + 1 + shown, state.tr(strings::FUNNEL_OUT), funnel.kept);
    if foot > 0
        && let Some(cut) = funnel.cuts.get(data.cut)
    {
        let mut facts: Pieces = vec![pen.piece(cut.name.as_str(), Role::Bright)];
        if let Some(bound) = &cut.bound {
            facts.extend(about(pen, bound));
        }
        facts.push(pen.piece(format!("  {}", bytes(cut.dropped.bytes)), Role::Dim));
        facts.push(pen.piece(format!("  {}/{}", data.cut + 1, funnel.cuts.len()), Role::Dim));
        put_pieces(buf, area.x + 2, area.bottom() - 1, area.right().saturating_sub(1), &facts);
    }
}

fn row(pen: &Pen, cut: &Cut, chosen: bool, columns: &Columns, area: Rect, y: u16, buf: &mut Buffer) {
    let state = pen.state;
    let role = match (chosen, cut.dropped.documents) {
        (true, _) => Role::Bright,
        (_, 0) => Role::Dim,
        _ => Role::Text,
    };
    if chosen {
        put(buf, area.x + 1, y, area.right(), pen.glyphs.chosen, pen.style(Role::Focus));
    }
    let name = rule_name(state, &cut.raw, &cut.name);
    put(buf, area.x + 2, y, area.right(), &pad(name, columns.name as usize), pen.style(role));
    if let Some(bound) = &cut.bound
        && columns.bound > area.x + 2 + columns.name
    {
        let role = if bound.is_moved() { Role::Focus } else { role };
        put_right(buf, area.x + 2 + columns.name, y, columns.bound, &says(pen, bound), pen.style(role));
        let source = pad(
            strings::bound_source(state.lang, &bound.source),
            area.right().saturating_sub(columns.share + 3) as usize,
        );
        put(buf, columns.share + 2, y, area.right(), &source, pen.style(Role::Dim));
    }
    put_right(buf, columns.bound, y, columns.documents, &grouped(cut.dropped.documents), pen.style(role));
    let share = percent(cut.dropped.documents, state.data.funnel().into.documents);
    put_right(buf, columns.documents, y, columns.share, &share, pen.style(role));
}

/// `>= 50`.
fn says(pen: &Pen, bound: &Bound) -> String {
    says_of(pen, bound, bound.threshold)
}

fn says_of(pen: &Pen, bound: &Bound, threshold: f64) -> String {
    if !threshold.is_finite() {
        return pen.state.tr(strings::RULE_OFF).to_owned();
    }
    format!("{} {}", if bound.at_least { ">=" } else { "<=" }, number(threshold))
}

/// The threshold, the published one if it differs, and its source.
fn about<'a>(pen: &Pen<'a>, bound: &'a Bound) -> Pieces<'a> {
    let state = pen.state;
    let mut facts = vec![pen.piece(format!("  {}", says(pen, bound)), Role::Text)];
    if bound.is_moved() {
        let table = format!("  {} {}", state.tr(strings::TABLE_HAS), number(bound.published));
        facts.push(pen.piece(table, Role::Focus));
    }
    facts.push(pen.piece(format!("  {}", strings::bound_source(state.lang, &bound.source)), Role::Dim));
    facts
}

/// The effect of a threshold on trial: progress, dropped documents, and some of those that change.
fn trial(pen: &Pen, trying: &Trying, cut: &Cut, bound: &Bound, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let mut head: Pieces = vec![pen.piece(rule_name(state, &cut.raw, &cut.name).to_owned(), Role::Bright)];
    head.extend(about(pen, bound));
    head.push(pen.piece(format!("  {} ", pen.glyphs.then), Role::Dim));
    head.push(pen.piece(says_of(pen, bound, trying.threshold), Role::Focus));
    let end = area.right().saturating_sub(1);
    put_pieces(buf, area.x + 2, area.y, end, &head);
    let mut rest = below(area, 1);
    if state.awaits(&Request::SetRule) {
        put(buf, rest.x + 2, rest.y, end, state.tr(strings::APPLYING), pen.style(Role::Focus));
        rest = below(rest, 1);
    }
    let Some(trial) = &trying.trial else {
        put(buf, rest.x + 2, rest.y, end, state.tr(strings::WAITING), pen.style(Role::Dim));
        return;
    };
    let of = state.data.funnel().into.documents.max(trial.documents);
    let words = if trial.done {
        format!("{} {}", state.tr(strings::COUNTED), grouped(trial.documents))
    } else {
        strings::counted(state.lang, trial.documents, of)
    };
    if rest.height > 0 {
        let x = put(buf, rest.x + 2, rest.y, end, &format!("{words}  "), pen.style(Role::Text));
        let share = if trial.done { 1.0 } else { trial.documents as f64 / of.max(1) as f64 };
        let styles = (pen.style(Role::Train), pen.style(Role::Dim));
        bar(buf, x, rest.y, end.saturating_sub(x), share, styles, pen.glyphs);
    }
    rest = below(rest, 1);
    let count = |n: u64| format!("{} ({})", grouped(n), percent(n, trial.documents));
    let change = trial.dropped_then as i64 - trial.dropped_now as i64;
    let effect: Pieces = vec![
        pen.piece(format!("{} ", state.tr(strings::DROPPED_NOW)), Role::Dim),
        pen.piece(count(trial.dropped_now), Role::Text),
        pen.piece(format!(" {} ", pen.glyphs.then), Role::Dim),
        pen.piece(count(trial.dropped_then), Role::Bright),
        pen.piece(format!("  {change:+}"), if change > 0 { Role::Bad } else { Role::Good }),
    ];
    if rest.height > 0 {
        put_pieces(buf, rest.x + 2, rest.y, end, &effect);
    }
    rest = below(rest, 1);
    if trying.back.is_empty() && trying.gone.is_empty() && trial.done && change == 0 && rest.height > 0 {
        put(buf, rest.x + 2, rest.y, end, state.tr(strings::NO_EXAMPLES), pen.style(Role::Dim));
        return;
    }
    for (title, role, texts) in
        [(strings::COME_BACK, Role::Good, &trying.back), (strings::WOULD_GO, Role::Bad, &trying.gone)]
    {
        if texts.is_empty() || rest.height < 2 {
            continue;
        }
        put(buf, rest.x + 2, rest.y, end, state.tr(title), pen.style(role));
        rest = below(rest, 1);
        for (value, text) in texts.iter().take(rest.height as usize) {
            put_right(buf, rest.x + 2, rest.y, rest.x + 11, &number(*value), pen.style(role));
            let cells = end.saturating_sub(rest.x + 13) as usize;
            put(buf, rest.x + 13, rest.y, end, &shorten(text, cells), pen.style(Role::Text));
            rest = below(rest, 1);
        }
    }
}
