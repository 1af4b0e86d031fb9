//! Voting on two answers: the prompt, both answers, the keys, and below them the newest vote with the reward model's
//! scores. Nothing that could bias a vote is shown before it.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    feedback::votes,
    field,
    pen::{Canvas, Pen, below, marked_style, parts, put_rows, upright},
    places::Size,
};
use crate::protocol::Vote;
use crate::ui::{
    actions::Act,
    paint::{Pieces, pieces_width, put},
    state::{Mode, Request, vote::ShownPair},
    strings,
    text::{Clean, figure, grouped, shorten, wrap},
    theme::Role,
};

/// Most rows of the prompt field.
const FIELD: u16 = 4;

pub(super) fn draw(pen: &Pen, size: Size, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let pair = state.voting.pair.as_ref();
    let foot = match size {
        Size::Wide => (area.height / 3).max(11),
        Size::Tall => 4,
        Size::Small => 2,
    };
    let choose = if size == Size::Wide { 3 } else { 0 };
    let foot = foot.min(area.height.saturating_sub(choose + 6));
    let above = Rect { height: area.height.saturating_sub(foot + choose), ..area };
    let used = question(pen, pair, size, above, buf);
    let middle = below(above, used);
    match pair {
        Some(_) if state.voting.edits(&state.chat) => rewriting(pen, middle, buf),
        Some(pair) => answers(pen, pair, size, middle, buf),
        None => waiting(pen, middle, buf),
    }
    if choose > 0 {
        keys(pen, Rect { y: above.bottom(), height: choose, ..area }, buf);
    }
    let bottom = Rect { y: above.bottom() + choose, height: foot, ..area };
    if size == Size::Wide {
        let half = area.width / 2;
        last_vote(pen, true, Rect { width: half, ..bottom }, buf);
        reward_model(pen, Rect { x: area.x + half + 1, width: area.width - half - 1, ..bottom }, buf);
        upright(pen, area.x + half, bottom, buf);
    } else {
        last_vote(pen, false, bottom, buf);
    }
}

/// Draws the prompt, or the field for one; returns the number of rows.
fn question(pen: &Pen, pair: Option<&ShownPair>, size: Size, area: Rect, buf: &mut Canvas) -> u16 {
    let state = pen.state;
    let mut facts: Pieces = Vec::new();
    if state.typing {
        facts.push(pen.piece(state.tr(strings::VOTE_OWN), Role::Focus));
    } else if let Some(pair) = pair {
        if state.voting.marked {
            facts.push(pen.piece(format!("{}  ", state.tr(strings::VOTE_MARKED)), Role::Focus));
        }
        facts.push(pen.piece(format!("{}  ", strings::at_step(state.lang, pair.of.step as usize)), Role::Dim));
        facts.push(pen.piece(format!("#{}", pair.of.id), Role::Text));
    }
    let inner = pen.subtitle(buf, area, state.tr(strings::VOTE_PROMPT), &facts);
    if state.typing {
        // A field is drawn at the bottom of its area, so the area is as high as the field.
        let cells = area.width.saturating_sub(5) as usize;
        let high = (state.voting.field.layout(cells).0.len() as u16).clamp(1, FIELD).min(inner.height);
        let place = Rect { height: high, ..inner };
        field::draw(pen, &state.voting.field, pen.glyphs.prompt, true, FIELD, place, buf);
        return high + 1;
    }
    let text = pair.map_or("", |p| p.prompt.as_str());
    let cells = inner.width.saturating_sub(4) as usize;
    let lines = wrap(text, cells, 2);
    let most = match size {
        Size::Wide => (area.height / 4).max(1) as usize,
        Size::Tall => 2,
        Size::Small => 1,
    };
    let shown = lines.len().min(most).min(inner.height as usize);
    for (row, line) in lines.iter().take(shown).enumerate() {
        let y = inner.y + row as u16;
        let cut = row + 1 == shown && lines.len() > shown;
        let line = if cut { shorten(&text[line.start..], cells) } else { text[line.clone()].to_owned() };
        put(buf, inner.x + 2, y, inner.right(), line.trim_end_matches('\n'), pen.style(Role::Bright));
    }
    1 + shown.max(1) as u16
}

/// Both answers: side by side, or one above the other.
fn answers(pen: &Pen, pair: &ShownPair, size: Size, area: Rect, buf: &mut Canvas) {
    let limits = if size == Size::Wide {
        let half = area.width / 2;
        let left = Rect { width: half, ..area };
        let right = Rect { x: area.x + half + 1, width: area.width - half - 1, ..area };
        upright(pen, area.x + half, area, buf);
        [answer(pen, pair, 0, left, buf), answer(pen, pair, 1, right, buf)]
    } else {
        // An answer that needs less than half leaves the rest to the other.
        let cells = area.width.saturating_sub(4) as usize;
        let wanted = [0, 1].map(|side| wrap(&pair.shown[side], cells, 2).len() as u16 + 1);
        let half = area.height / 2;
        let first = if wanted[0] <= half {
            wanted[0].max(area.height.saturating_sub(wanted[1])).min(half)
        } else {
            half.max(area.height.saturating_sub(wanted[1])).min(wanted[0])
        };
        [answer(pen, pair, 0, Rect { height: first, ..area }, buf), answer(pen, pair, 1, below(area, first), buf)]
    };
    buf.drawn.scroll_limit = limits[0].max(limits[1]);
}

/// Draws one answer; returns the rows by which it can be scrolled.
fn answer(pen: &Pen, pair: &ShownPair, side: usize, area: Rect, buf: &mut Buffer) -> usize {
    let state = pen.state;
    if area.height == 0 {
        return 0;
    }
    let text = pair.shown[side].as_str();
    let lines = wrap(text, area.width.saturating_sub(4) as usize, 2);
    let rows = area.height.saturating_sub(1) as usize;
    let limit = lines.len().saturating_sub(rows);
    let from = state.scroll.min(limit);
    let mut facts: Pieces = Vec::new();
    if limit > 0 {
        let last = from + rows;
        facts.push(pen.piece(format!("PgUp PgDn {}-{last}/{}  ", from + 1, lines.len()), Role::Dim));
    }
    let act = if side == 0 { Act::VoteA } else { Act::VoteB };
    facts.push(pen.piece(keys_of(act), Role::Bright));
    let inner = pen.subtitle(buf, area, if side == 0 { "A" } else { "B" }, &facts);
    let plain = pen.style(Role::Text);
    let marked = marked_style(pen);
    for (row, line) in lines.into_iter().skip(from).take(rows).enumerate() {
        let mut x = inner.x + 2;
        for (part, mark) in parts(line, if state.voting.marked { &pair.marks[side] } else { &[] }) {
            x = put(buf, x, inner.y + row as u16, inner.right(), &text[part], if mark { marked } else { plain });
        }
    }
    if text.trim().is_empty() {
        put(buf, inner.x + 2, inner.y, inner.right(), "-", pen.style(Role::Dim));
    }
    limit
}

/// The field of the answer being rewritten.
fn rewriting(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let facts = vec![pen.piece(state.tr(strings::VOTE_EDIT), Role::Dim)];
    let inner = pen.subtitle(buf, area, state.tr(strings::EDIT_TITLE), &facts);
    let Some(edit) = &state.chat.edit else { return };
    let cells = inner.width.saturating_sub(6) as usize;
    let high = (edit.field.layout(cells).0.len() as u16).max(1).min(inner.height);
    let place = Rect { height: high, ..inner };
    field::draw(pen, &edit.field, state.tr(strings::ROLE_MODEL), true, high, place, buf);
}

/// Without a pair: one is being sampled, or why not and what to do.
fn waiting(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let inner = pen.subtitle(buf, area, "A / B", &Vec::new());
    let middle = below(inner, inner.height / 3);
    if state.awaits(&Request::Offer) {
        let words =
            format!("{} {}", pen.glyphs.pulse[state.now.as_secs() as usize % 4], state.tr(strings::VOTE_WAITING));
        pen.words(buf, middle, &words);
        return;
    }
    if let Some(refused) = &state.voting.refused {
        pen.words(buf, Rect { height: middle.height.min(3), ..middle }, refused.get(state.lang));
    }
    pen.words(buf, below(middle, 3), state.tr(strings::VOTE_NONE));
}

/// An action's keys here.
fn keys_of(act: Act) -> String {
    act.row().keys_text(Mode::Vote).unwrap_or_default()
}

/// The keys, in two rows.
fn keys(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let facts = vec![pen.piece(state.tr(strings::VOTE_HIDDEN), Role::Dim)];
    let inner = pen.subtitle(buf, area, state.tr(strings::VOTE_CHOOSE), &facts);
    let rows: [&[Act]; 2] = [
        &[Act::VoteA, Act::VoteB, Act::VoteTie, Act::VoteBothBad, Act::Skip],
        &[Act::VoteMuchA, Act::VoteMuchB, Act::Marks],
    ];
    let rows = rows.map(|acts| {
        let mut row: Pieces = Vec::new();
        for act in acts {
            let gap = if row.is_empty() { "" } else { "   " };
            let now = state.mode() == Mode::Vote && act.row().is_enabled(state);
            let role = if now { Role::Bright } else { Role::Dim };
            row.push(pen.piece(format!("{gap}{} ", keys_of(*act)), role));
            row.push(pen.piece(state.tr(act.row().title), Role::Dim));
        }
        row
    });
    put_rows(buf, inner, rows.into());
}

/// The user's choice, the reward model's preference, and whether they agree.
fn opinion<'a>(pen: &Pen<'a>, last: &Vote) -> Pieces<'a> {
    let state = pen.state;
    let mut facts = vec![(state.tr(strings::YOU), state.tr(strings::choice(last.choice)).to_owned(), Role::Bright)];
    match last.pair.scores {
        None => facts.push(("", state.tr(strings::NO_MODEL).to_owned(), Role::Dim)),
        Some([a, b]) => {
            let preferred = usize::from(b > a);
            let text = format!("{} {:+.2}", ["A", "B"][preferred], (a - b).abs());
            facts.push((state.tr(strings::RM), text, Role::Bright));
            if let Some(chosen) = last.choice.side().filter(|_| a != b) {
                let (words, role) =
                    if chosen == preferred { (strings::AGREE, Role::Good) } else { (strings::DISAGREE, Role::Bad) };
                facts.push(("", state.tr(words).to_owned(), role));
            }
        }
    }
    pen.labelled(facts)
}

/// The newest vote, and the counts of all.
fn last_vote(pen: &Pen, wide: bool, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    if area.height == 0 {
        return;
    }
    let tally = state.voting.tally.as_ref();
    let mut facts: Pieces = Vec::new();
    if let Some(last) = &state.voting.last {
        facts.push(pen.piece(format!("#{}", last.pair.id), Role::Text));
    }
    if let Some(tally) = tally.filter(|_| !wide) {
        let mut version = votes::version(pen, tally);
        version.truncate(3);
        version.push(pen.piece("  ", Role::Dim));
        version.append(&mut facts);
        facts = version;
    }
    let inner = pen.subtitle(buf, area, state.tr(strings::VOTE_LAST), &facts);
    let mut rows: Vec<Pieces> = Vec::new();
    if let Some(last) = &state.voting.last {
        let figures = [
            (state.tr(strings::LENGTH), format!("{} / {}", last.pair.lengths[0], last.pair.lengths[1]), Role::Text),
            (
                state.tr(strings::LOGPROB_A_TOKEN),
                format!("{} / {}", figure(last.pair.logprobs[0]), figure(last.pair.logprobs[1])),
                Role::Text,
            ),
        ];
        let mut first = opinion(pen, last);
        if wide {
            rows.push(first);
            rows.push(pen.labelled(figures));
            let yes = |is: bool| if is { pen.glyphs.tick } else { "-" }.to_owned();
            rows.push(pen.labelled([
                (state.tr(strings::SWAPPED), yes(last.pair.swapped), Role::Text),
                (state.tr(strings::REPEATED), yes(last.pair.repeat.is_some()), Role::Text),
            ]));
        } else {
            first.push(pen.piece("  ", Role::Dim));
            first.extend(pen.labelled(figures));
            rows.push(first);
        }
    } else if tally.is_none() {
        rows.push(vec![pen.piece(state.tr(strings::VOTE_NO_LAST), Role::Dim)]);
    }
    if let Some(undo) = state.voting.to_undo().filter(|_| state.voting.chosen.is_some()) {
        let prompt = shorten(Clean::line(&undo.pair.prompt).as_str(), 24);
        let text = format!("#{} {} {prompt}", undo.pair.id, state.tr(strings::choice(undo.choice)));
        rows.insert(0, pen.labelled([(state.tr(strings::TO_UNDO), text, Role::Focus)]));
    }
    if let Some(tally) = tally {
        if wide {
            if inner.height >= 9 {
                rows.push(Vec::new());
            }
            rows.push(votes::counts(pen, tally));
            rows.extend(votes::leanings(pen, tally));
        } else {
            let mut counts = votes::counts(pen, tally);
            counts.push(pen.piece("  ", Role::Dim));
            counts.extend(votes::agrees(pen, tally));
            rows.push(counts);
            let mut both: Pieces = Vec::new();
            for lean in votes::leanings(pen, tally).into_iter().take(2) {
                if !both.is_empty() {
                    both.push(pen.piece("    ", Role::Dim));
                }
                both.extend(lean);
            }
            rows.push(both);
        }
    }
    put_rows(buf, inner, rows);
}

/// How well the reward model follows the votes, and the policy beside it.
fn reward_model(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let tally = state.voting.tally.as_ref();
    let mut facts: Pieces = Vec::new();
    if let Some(tally) = tally {
        facts = votes::version(pen, tally);
    }
    let inner = pen.subtitle(buf, area, state.tr(strings::VOTE_MODEL), &facts);
    let mut rows = votes::refit(pen);
    if state.awaits(&Request::Refit) {
        rows.insert(0, vec![pen.piece(state.tr(strings::REFITTING), Role::Focus)]);
    }
    rows.push(policy(pen));
    rows.retain(|r| !r.is_empty());
    let foot = (rows.len() as u16).min(inner.height);
    let above = Rect { height: inner.height - foot, ..inner };
    match tally {
        Some(tally) => votes::agreement(pen, tally, above, buf),
        None => pen.words(buf, above, state.tr(strings::VOTE_NO_MODEL)),
    }
    put_rows(buf, Rect { y: above.bottom(), height: foot, ..inner }, rows);
}

/// The live policy's current numbers, if one is training.
fn policy<'a>(pen: &Pen<'a>) -> Pieces<'a> {
    let (state, live) = (pen.state, pen.state.live());
    if !live.aligns() {
        return Vec::new();
    }
    let number = |names: &[&str]| live.feedback.newest(names).map(figure);
    let facts = [
        (live.short(), Some(grouped(live.steps_done() as u64))),
        ("KL", number(&["objective/kl", "kl"])),
        (state.tr(strings::ENTROPY), number(&["objective/entropy", "entropy"])),
        (state.tr(strings::REWARD_SCORE), number(&["objective/scores", "reward"])),
    ];
    let mut row = pen.labelled(facts.into_iter().filter_map(|(label, value)| Some((label, value?, Role::Bright))));
    while pieces_width(&row) > 56 {
        row.truncate(row.len() - 2);
    }
    row
}
