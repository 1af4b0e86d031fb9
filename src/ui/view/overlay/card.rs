//! The card of a stage: what it has reached, what that took, and what comes next.

use ratatui::layout::Rect;

use super::popup;
use crate::{
    base::StageKind,
    ui::{
        actions::{self, Act},
        chart::{Abscissa, time_label},
        paint::{Pieces, pieces_width, put_pieces},
        strings,
        text::{figure, grouped, short, shorten, wrap},
        theme::Role,
        view::pen::{Canvas, Pen},
    },
};

/// Cells of a line of text.
const CELLS: usize = 66;

pub(super) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, stage) = (pen.state, pen.stage);
    let cells = CELLS.min(area.width.saturating_sub(6) as usize);
    let mut lines: Vec<Pieces> = reached(pen, cells);
    lines.push(Vec::new());
    lines.push(took(pen));
    if let Some((key, words)) = next(pen) {
        lines.push(Vec::new());
        let head = format!("{}  ", state.tr(strings::CARD_NEXT));
        let words = wrap(words, cells.saturating_sub(crate::ui::text::width(&head) + key.len()), 0)
            .into_iter()
            .map(|line| words[line].to_owned())
            .collect::<Vec<_>>();
        for (at, text) in words.into_iter().enumerate() {
            let lead = if at == 0 { head.clone() } else { " ".repeat(crate::ui::text::width(&head) + key.len()) };
            let mut line = vec![pen.piece(lead, Role::Dim)];
            if at == 0 {
                line.push(pen.piece(key.clone(), Role::Bright));
            }
            line.push(pen.piece(text, Role::Text));
            lines.push(line);
        }
    }
    let words = if stage.is_complete() { strings::CARD_COMPLETE } else { strings::CARD_SO_FAR };
    let mark = if stage.is_complete() { pen.glyphs.tick } else { pen.glyphs.dot };
    // A stage that rests may have an earlier name of the run.
    let run = state.live().run.as_ref().or(stage.run.as_ref()).map_or("", |run| run.name.as_str());
    let title = format!("{mark} {}  {}  {}", stage.title(state.lang), state.tr(words), shorten(run, 20));
    let wide = lines.iter().map(pieces_width).max().unwrap_or(0).max(crate::ui::text::width(&title) + 4);
    let inner = popup(pen, wide as u16, lines.len() as u16, &title, area, buf);
    for (row, line) in lines.iter().take(inner.height as usize).enumerate() {
        put_pieces(buf, inner.x, inner.y + row as u16, inner.right(), line);
    }
}

/// What a stage of its kind is judged by.
fn reached<'a>(pen: &Pen, cells: usize) -> Vec<Pieces<'a>> {
    let (state, stage) = (pen.state, pen.stage);
    let mut facts: Vec<(&str, String, Role)> = Vec::new();
    let feedback = &stage.feedback;
    if let Some(policy) = feedback.policy.last().filter(|_| stage.aligns()) {
        let text = strings::policy_figures(state.lang, policy.step, policy.true_score, policy.reward, policy.kl);
        facts.push(("", text, Role::Bright));
    } else if let Some(reward) = &feedback.reward {
        let (accuracy, length) = (100.0 * reward.accuracy, 100.0 * reward.by_length);
        facts.push(("", strings::reward_figures(state.lang, reward.step, accuracy, length), Role::Bright));
    } else {
        if let Some(loss) = stage.loss.smoothed(state.smoothing).filter(|loss| loss.is_finite()) {
            facts.push((state.tr(strings::TRAIN), figure(loss), Role::Train));
        }
        if let Some((_, loss)) = stage.valid.last() {
            facts.push((state.tr(strings::VALID), figure(loss), Role::Valid));
        }
        if let Some((step, loss)) = stage.best {
            facts.push((state.tr(strings::BEST), format!("{} @{}", figure(loss), grouped(step as u64)), Role::Text));
        }
    }
    let mut lines = vec![pen.labelled(facts)];
    for task in stage.tasks.iter().take(4) {
        let Some(newest) = &task.newest else { continue };
        let name = pen.glyphs.arrows(task.name(state.lang));
        let mut line = vec![pen.piece(format!("{name}  "), Role::Text)];
        line.extend(pen.labelled([
            (state.tr(strings::EXACT), format!("{:.0}%", 100.0 * newest.exact_match), Role::Bright),
            ("F1", format!("{:.0}%", 100.0 * newest.char_f1), Role::Text),
        ]));
        lines.push(line);
    }
    for probe in stage.probes.iter().filter(|probe| probe.recall).take(4) {
        let Some(entry) = probe.entries.last() else { continue };
        let whole = entry.score == probe.length;
        let score = if whole { format!("{} ", pen.glyphs.tick) } else { format!("{}/{} ", entry.score, probe.length) };
        let role = if whole { Role::Good } else { Role::Dim };
        let text = shorten(&format!("{}{}", probe.prompt, entry.text), cells.saturating_sub(score.len()));
        lines.push(vec![pen.piece(score, role), pen.piece(text, if whole { Role::Text } else { Role::Dim })]);
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// Steps, tokens and time.
fn took<'a>(pen: &Pen) -> Pieces<'a> {
    let (state, stage) = (pen.state, pen.stage);
    let (pace, steps) = (&stage.charts.pace, stage.steps_done());
    let seconds = pace.at(Abscissa::Time, steps as f64);
    let tokens = pace.at(Abscissa::Tokens, steps as f64);
    let mut line = vec![pen.piece(format!("{}  ", state.tr(strings::CARD_TOOK)), Role::Dim)];
    line.extend(pen.labelled([
        (state.tr(strings::STEP), grouped(steps as u64), Role::Bright),
        (state.tr(strings::TOKENS), short(tokens), Role::Text),
        (state.tr(strings::TIME), time_label(seconds), Role::Text),
    ]));
    line
}

/// What follows this stage: the keys, and what they lead to. None while it trains.
fn next(pen: &Pen) -> Option<(String, &'static str)> {
    let (state, stage) = (pen.state, pen.stage);
    if !stage.is_complete() {
        return None;
    }
    let (kind, words) = match stage.id?.kind() {
        StageKind::Text => (StageKind::Answers, strings::CARD_NEXT_SFT),
        StageKind::Answers => (StageKind::Reward, strings::CARD_NEXT_REWARD),
        StageKind::Reward => (StageKind::Policy, strings::CARD_NEXT_ALIGN),
        StageKind::Policy | StageKind::Pairs => return Some((String::new(), state.tr(strings::CARD_NEXT_TALK))),
    };
    let follows = state.stages.all().iter().filter_map(|stage| stage.id).find(|id| id.kind() == kind)?;
    let (view, train) = (actions::view_key(follows)?, Act::Go.key()?);
    Some((format!("{view} {train}  "), state.tr(words)))
}
