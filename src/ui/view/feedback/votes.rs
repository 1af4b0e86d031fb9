//! The votes: counts, bias to a side or to length, consistency on repeated pairs, and the reward model's agreement
//! before it learned from them.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::base::StageId;
use crate::protocol::{Refit, Tally, Taught};
use crate::ui::{
    chart::{Curve, Plot},
    paint::{Pieces, put_right},
    state::vote::{WINDOW, leans},
    strings,
    text::{Clean, percent},
    theme::Role,
    view::pen::{Canvas, Pen, put_rows},
};

/// Features of a taste that are shown.
const TAUGHT: usize = 4;
/// Minimum width in cells for the curve beside the figures.
const BESIDE: u16 = 64;

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let tally = state.voting.tally.as_ref();
    let mut facts: Pieces = Vec::new();
    if let Some(t) = tally {
        facts = version(pen, t);
    }
    let inner = pen.title(buf, area, &facts);
    let Some(tally) = tally else {
        let words =
            if pen.stage.talks() || state.live().talks() { strings::NO_VOTES } else { strings::VOTES_ELSEWHERE };
        pen.words(buf, inner, state.tr(words));
        return;
    };
    let mut rows = vec![counts(pen, tally)];
    rows.extend(leanings(pen, tally));
    rows.extend(refit(pen));
    if inner.width >= BESIDE && inner.height >= 4 {
        let half = inner.width / 2;
        put_rows(buf, Rect { width: half, ..inner }, rows);
        agreement(pen, tally, Rect { x: inner.x + half, width: inner.width - half, ..inner }, buf);
    } else {
        rows.insert(1, agrees(pen, tally));
        put_rows(buf, inner, rows);
    }
}

/// `v4 · 还差 3 票重训 · 一票抵 8 对`.
pub(crate) fn version<'a>(pen: &Pen, tally: &Tally) -> Pieces<'a> {
    let lang = pen.state.lang;
    // Without a weight the reward model has not been asked yet, or there is none.
    let known = tally.weight > 0.0;
    let there = pen.state.stages.all().iter().any(|s| s.id == Some(StageId::Reward) && s.steps_done() > 0);
    let mut facts = Vec::new();
    if known {
        facts.push(format!("v{}", tally.version));
    } else if !there {
        facts.push(pen.state.tr(strings::NO_MODEL).to_owned());
    }
    // At zero the fit is in progress.
    if tally.until_refit > 0 && (known || there) {
        facts.push(strings::until_refit(lang, tally.until_refit));
    }
    if known {
        facts.push(strings::weight(lang, tally.weight));
    }
    pen.dotted(facts)
}

/// The counts by choice.
pub(crate) fn counts<'a>(pen: &Pen<'a>, tally: &Tally) -> Pieces<'a> {
    let tr = |text| pen.state.tr(text);
    pen.labelled([
        ("A", tally.left.to_string(), Role::Bright),
        ("B", tally.decided.saturating_sub(tally.left).to_string(), Role::Bright),
        ("=", tally.ties.to_string(), Role::Text),
        (tr(strings::BOTH_BAD_SHORT), tally.both_bad.to_string(), Role::Text),
        (tr(strings::SKIPPED), tally.skipped.to_string(), Role::Text),
    ])
}

/// A share with a note on whether chance explains it.
fn lean<'a>(pen: &Pen<'a>, label: strings::Tr, count: usize, of: usize) -> Pieces<'a> {
    let state = pen.state;
    let mut row =
        pen.labelled([(state.tr(label), share(count, of), Role::Text), ("", format!("{count}/{of}"), Role::Dim)]);
    if of > 0 {
        let watch = leans(count, of);
        let (words, role) = if watch { (strings::WATCH, Role::Valid) } else { (strings::FINE, Role::Dim) };
        row.push(pen.piece("  ", Role::Dim));
        row.push(pen.piece(state.tr(words), role));
    }
    row
}

fn share(count: usize, of: usize) -> String {
    if of == 0 { "-".to_owned() } else { format!("{:.0}%", 100.0 * count as f64 / of as f64) }
}

/// Bias to a side, bias to length, repeated pairs.
pub(crate) fn leanings<'a>(pen: &Pen<'a>, tally: &Tally) -> Vec<Pieces<'a>> {
    let tr = |text| pen.state.tr(text);
    let (same, repeats) = tally.repeats;
    vec![
        lean(pen, strings::LEFT_CHOSEN, tally.left, tally.decided),
        lean(pen, strings::LONGER_WINS, tally.longer.0, tally.longer.1),
        pen.labelled([
            (tr(strings::REPEAT_CHECK), format!("{same}/{repeats}"), Role::Text),
            (tr(strings::A_PAIR), format!("{:.1} s", tally.seconds), Role::Text),
        ]),
    ]
}

/// The effect of the newest fit to votes.
pub(crate) fn refit<'a>(pen: &Pen<'a>) -> Vec<Pieces<'a>> {
    let (state, then) = (pen.state, pen.glyphs.then);
    let Some(r) = &state.voting.refit else { return Vec::new() };
    let change = |of: (f64, f64)| format!("{} {then} {}", percent(of.0), percent(of.1));
    vec![
        pen.labelled([
            (state.tr(strings::AGREES_WITH_YOU), change(r.agreement), Role::Good),
            ("", format!("v{}", r.version), Role::Dim),
            ("", format!("{:.1} s", r.seconds), Role::Dim),
        ]),
        held_out(pen, r, change(r.accuracy)),
    ]
    .into_iter()
    .chain(taught(pen, r))
    .collect()
}

/// The accuracy on held-out pairs, and how many of the votes the others predict.
fn held_out<'a>(pen: &Pen<'a>, refit: &Refit, accuracy: String) -> Pieces<'a> {
    let mut row = vec![(pen.state.tr(strings::HELD_OUT), accuracy, Role::Text)];
    if let Some((right, of)) = refit.predicted.filter(|(_, of)| *of > 0) {
        row.push((pen.state.tr(strings::PREDICTED), format!("{right}/{of}"), Role::Bright));
    }
    pen.labelled(row)
}

/// What the taste is about, the strongest first.
fn taught<'a>(pen: &Pen<'a>, refit: &Refit) -> Option<Pieces<'a>> {
    let lang = pen.state.lang;
    let named = |t: &Taught| (strings::feature(lang, &t.what), t.weight);
    let parts: Vec<String> = refit
        .taught
        .iter()
        .take(TAUGHT)
        .map(named)
        .map(|(name, weight)| format!("{} {weight:+.1}", Clean::line(&name).as_str()))
        .collect();
    (!parts.is_empty()).then(|| pen.labelled([(pen.state.tr(strings::TASTE), parts.join("  "), Role::Text)]))
}

/// Agreement over the newest votes.
pub(crate) fn agrees<'a>(pen: &Pen<'a>, tally: &Tally) -> Pieces<'a> {
    let state = pen.state;
    let (agreed, of) = tally.agreement;
    pen.labelled([
        (state.tr(strings::AGREES_WITH_YOU), share(agreed, of), Role::Bright),
        ("", strings::last_votes(state.lang, of.min(WINDOW)), Role::Dim),
    ])
}

/// The agreement curve.
pub(crate) fn agreement(pen: &Pen, tally: &Tally, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let state = pen.state;
    let (agreed, of) = tally.agreement;
    let last = strings::last_votes(state.lang, of.min(WINDOW));
    let label = format!("{} {last}", state.tr(strings::AGREES_WITH_YOU));
    let end = area.right().saturating_sub(2);
    let from = put_right(buf, area.x, area.y, end, &share(agreed, of), pen.style(Role::Bright));
    crate::ui::paint::put(buf, area.x + 1, area.y, from.saturating_sub(1), &label, pen.style(Role::Dim));
    if state.voting.agreement.is_empty() {
        return;
    }
    let line = pen.style(Role::Train);
    let curve = Curve::line(&state.voting.agreement, line);
    let steps = (1.0, tally.agreed.len().max(5) as f64);
    let axis = steps.into();
    let plot = Plot { axis, curves: vec![curve], axes: true, holds: Some((0.0, 1.0)), ..Plot::default() };
    let inner = Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(2), height: area.height - 1 };
    plot.render(buf, inner, state.theme, pen.glyphs);
}
