//! The runs as a tree of checkpoints, and beside it the comparison: curves, settings, answers to the same probe.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    field,
    pen::{Canvas, Pen, below, put_rows, upright},
    places::Size,
};
use crate::{
    protocol::{TreeCheckpoint, TreeRun},
    ui::{
        chart::{Curve, Plot},
        paint::{Pieces, pieces_width, put, put_pieces, put_right},
        state::{
            Click,
            tree::{Naming, Row},
        },
        strings,
        text::{Clean, bytes, figure, grouped, pad, shorten, width, wrap},
        theme::Role,
    },
};

/// The roles of the compared runs' curves, in their order; the charts of a stage have the same.
pub(super) const CURVES: [Role; 4] = [Role::Run(0), Role::Run(1), Role::Run(2), Role::Run(3)];

/// Draws the tree in place of the panels.
pub(super) fn draw(pen: &Pen, size: Size, area: Rect, buf: &mut Canvas) {
    let line = u16::from(pen.state.tree.naming.is_some()) * 2;
    let line = line.min(area.height.saturating_sub(3));
    let body = Rect { height: area.height - line, ..area };
    match size {
        Size::Wide => {
            let left = area.width * 58 / 100;
            rows(pen, Rect { width: left, ..body }, buf);
            upright(pen, area.x + left, body, buf);
            beside(pen, Rect { x: area.x + left + 1, width: area.width - left - 1, ..body }, buf);
        }
        Size::Tall => {
            let top = (body.height * 55 / 100).max(4).min(body.height);
            rows(pen, Rect { height: top, ..body }, buf);
            beside(pen, below(body, top), buf);
        }
        Size::Small => rows(pen, body, buf),
    }
    if line > 0 {
        naming(pen, Rect { y: body.bottom(), height: line, ..area }, buf);
    }
}

/// The line that is being typed.
fn naming(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let Some((naming, editor)) = &pen.state.tree.naming else { return };
    let title = pen.state.tr(match naming {
        Naming::Rename(_) => strings::TREE_NEW_NAME,
        Naming::Fork(..) => strings::TREE_SETTINGS,
    });
    let inner = pen.subtitle(buf, area, title, &Vec::new());
    field::draw(pen, editor, pen.glyphs.prompt, true, 1, inner, buf);
}

/// The rows of the tree.
fn rows(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, tree) = (pen.state, &pen.state.tree);
    let mut facts: Pieces = Vec::new();
    if let Some(runs) = &tree.runs {
        let count = runs.iter().map(|run| run.checkpoints.len()).sum();
        let size: u64 = runs.iter().map(|run| run.bytes).sum();
        facts.push(pen.piece(strings::tree_facts(state.lang, runs.len(), count, &bytes(size)), Role::Dim));
    }
    let inner = pen.subtitle(buf, area, state.tr(strings::TREE_TITLE), &facts);
    let Some(runs) = &tree.runs else {
        pen.words(buf, below(inner, inner.height / 2), state.tr(strings::TREE_LOADING));
        return;
    };
    let high = inner.height as usize;
    let first = (tree.row + 2).saturating_sub(high);
    for (at, row) in tree.rows.iter().enumerate().skip(first).take(high) {
        let place = Rect { y: inner.y + (at - first) as u16, height: 1, ..inner };
        let run = &runs[row.run];
        buf.drawn.targets.push((place, Click::Row(at)));
        if row.stage.is_some() {
            stage(pen, at, row, run, place, buf);
        } else {
            head(pen, at, row, run, place, buf);
        }
    }
    buf.drawn.scroll_limit = tree.rows.len().saturating_sub(1);
    if tree.rows.len() + 1 < high {
        let [free, needed, live] = pen.glyphs.nodes;
        let marks = [
            (free, strings::TREE_CHECKPOINT),
            (needed, strings::TREE_BEGUN),
            ("*", strings::TREE_BEST),
            ("!", strings::TREE_PINNED),
            (live, strings::TREE_LIVE),
        ];
        let pieces: Pieces = marks
            .into_iter()
            .flat_map(|(mark, word)| {
                [pen.piece(mark, Role::Text), pen.piece(format!(" {}  ", state.tr(word)), Role::Dim)]
            })
            .collect();
        let legend = Rect { y: inner.bottom() - 1, height: 1, ..inner };
        put_rows(buf, legend, vec![pieces]);
    }
}

fn indent(row: &Row) -> u16 {
    2 + 3 * row.depth.min(6) as u16
}

/// A run: its name, size, engine, what was changed, and whether it is compared.
fn head(pen: &Pen, at: usize, row: &Row, run: &TreeRun, area: Rect, buf: &mut Buffer) {
    let (state, tree) = (pen.state, &pen.state.tree);
    let end = area.right().saturating_sub(1);
    let here = state.open_run() == Some(&run.path);
    let mut x = area.x + indent(row);
    if row.depth > 0 {
        put(buf, x.saturating_sub(3), area.y, end, pen.glyphs.branch, pen.style(Role::Dim));
    }
    let role = if tree.row == at { Role::Chosen } else { Role::Bright };
    x = put(buf, x, area.y, end, &run.run, pen.style(role));
    if let Some(order) = tree.picked.iter().position(|path| *path == run.path) {
        x = put(buf, x + 1, area.y, end, &format!("[{}]", order + 1), pen.style(CURVES[order % CURVES.len()]));
    }
    let mut facts: Pieces = vec![pen.piece(format!("  {} {}", run.size, run.engine), Role::Dim)];
    if here {
        facts.push(pen.piece(format!("  {}", state.tr(strings::TREE_OPEN)), Role::Good));
    } else if run.used_by.is_some() {
        facts.push(pen.piece(format!("  {}", state.tr(strings::TREE_IN_USE)), Role::Focus));
    }
    if let Some(fork) = &run.fork {
        facts
            .push(pen.piece(format!("  {} {}", state.tr(strings::TREE_FROM), short_name(&fork.checkpoint)), Role::Dim));
    }
    if !run.changed.is_empty() {
        facts.push(pen.piece(format!("  {}", pen.glyphs.arrows(&run.changed.join(", "))), Role::Text));
    }
    let room = end.saturating_sub(x) as usize;
    while facts.len() > 1 && pieces_width(&facts) > room {
        let last = facts.len() - 1;
        let others: usize = pieces_width(&facts[..last].to_vec());
        if room > others + 6 {
            facts[last].0 = shorten(&facts[last].0, room - others).into();
            break;
        }
        facts.pop();
    }
    put_pieces(buf, x, area.y, end, &facts);
}

/// A stage: its checkpoints in a line, and the best figure at the right.
fn stage(pen: &Pen, at: usize, row: &Row, run: &TreeRun, area: Rect, buf: &mut Buffer) {
    let (state, tree) = (pen.state, &pen.state.tree);
    let here = tree.row == at;
    let end = area.right().saturating_sub(1);
    let Some(name) = &row.stage else { return };
    let live = state.open_run() == Some(&run.path) && state.live().id.is_some_and(|id| *name == id);
    let known = state.stages.all().iter().filter_map(|s| s.id).find(|id| *name == *id);
    let word = known.map_or_else(|| name.to_string(), |id| state.stage_word(Some(id)).to_owned());
    let mut x = area.x + indent(row) + 1;
    let mark = if live { pen.glyphs.nodes[2] } else { " " };
    x = put(buf, x, area.y, end, mark, pen.style(Role::Good));
    let role = if here { Role::Bright } else { Role::Text };
    x = put(buf, x + 1, area.y, end, &pad(&word, 9), pen.style(role));
    let checkpoints = tree.checkpoints(at);
    let best = checkpoints.iter().find(|c| c.best).and_then(|c| c.figure);
    let right = best.map_or_else(String::new, figure);
    let limit = end.saturating_sub(width(&right) as u16 + 2);
    if !right.is_empty() && limit > x {
        put(buf, limit + 2, area.y, end, &right, pen.style(Role::Text));
    }
    // As many as fit, the chosen one among them.
    let cells = |c: &TreeCheckpoint| width(&label(pen, c)) + 2;
    let room = limit.saturating_sub(x) as usize;
    let focus = if here { tree.place } else { checkpoints.len().saturating_sub(1) };
    let (mut from, mut to, mut used) = (focus, focus, checkpoints.get(focus).map_or(0, |c| cells(c)));
    loop {
        if from > 0 && used + cells(checkpoints[from - 1]) + 2 <= room {
            from -= 1;
            used += cells(checkpoints[from]);
        } else if to + 1 < checkpoints.len() && used + cells(checkpoints[to + 1]) + 2 <= room {
            to += 1;
            used += cells(checkpoints[to]);
        } else {
            break;
        }
    }
    let dim = pen.style(Role::Dim);
    if from > 0 {
        x = put(buf, x, area.y, limit, strings::CUT, dim);
    }
    for (place, checkpoint) in checkpoints.iter().enumerate().skip(from).take(to + 1 - from) {
        x = put(buf, x, area.y, limit, pen.glyphs.rule, dim);
        x = put(buf, x, area.y, limit, pen.glyphs.rule, dim);
        let role = match () {
            () if here && place == tree.place => Role::Chosen,
            () if checkpoint.error.is_some() => Role::Bad,
            () if checkpoint.best => Role::Good,
            () => Role::Text,
        };
        x = put(buf, x, area.y, limit, &label(pen, checkpoint), pen.style(role));
    }
    if to + 1 < checkpoints.len() {
        put(buf, x, area.y, limit, strings::CUT, dim);
    }
}

/// A checkpoint in the line of its stage: filled where something began from it, with its step.
fn label(pen: &Pen, checkpoint: &TreeCheckpoint) -> String {
    let node = pen.glyphs.nodes[usize::from(!checkpoint.needed_by.is_empty())];
    let best = if checkpoint.best { "*" } else { "" };
    let pinned = if checkpoint.pinned { "!" } else { "" };
    format!("{node}{}{best}{pinned}", grouped(checkpoint.step))
}

/// `pretrain-400` of a checkpoint's name.
fn short_name(name: &str) -> String {
    let Some((stage, step)) = name.split_once('-') else { return name.to_owned() };
    let short = step.trim_start_matches('0');
    format!("{stage}-{}", if short.is_empty() { "0" } else { short })
}

/// What is beside the tree: the comparison, or the chosen checkpoint.
fn beside(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let tree = &pen.state.tree;
    if tree.runs.is_none() || area.height < 3 {
        return;
    }
    if tree.inspecting {
        inspected(pen, area, buf);
        return;
    }
    let chart = (area.height / 3).clamp(4, 14).min(area.height);
    curves(pen, Rect { height: chart, ..area }, buf);
    let rest = below(area, chart);
    if tree.picked.len() > 1 {
        compared(pen, rest, buf);
    } else {
        details(pen, rest, buf);
    }
}

/// The tensors of the chosen checkpoint as an outline, and the other files of tensors.
fn inspected(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, tree) = (pen.state, &pen.state.tree);
    let chosen = tree.checkpoint();
    let there = tree.inspected.as_ref().filter(|i| chosen.is_some_and(|c| c.path == i.path));
    let mut facts: Pieces = Vec::new();
    if let Some(there) = there {
        let total = strings::inspected_total(state.lang, there.tensors, there.parameters, &bytes(there.bytes));
        facts.push(pen.piece(total, Role::Dim));
    }
    let title = chosen.map_or_else(String::new, |c| short_name(&c.checkpoint));
    let inner = pen.subtitle(buf, area, &format!("{} {title}", state.tr(strings::TENSORS)), &facts);
    let Some(there) = there else {
        let words = if chosen.is_some() { strings::READING } else { strings::TREE_NO_CHECKPOINT };
        pen.words(buf, inner, state.tr(words));
        return;
    };
    let end = inner.right().saturating_sub(1);
    let others = there.others.iter().map(|(name, tensors, size)| (2, name.clone(), tensors.to_string(), 0, *size));
    let rows = there.rows.iter().map(|row| (row.depth, row.name.clone(), row.what.clone(), row.elements, row.bytes));
    let from = tree.inspected_from.min((there.rows.len() + there.others.len()).saturating_sub(inner.height as usize));
    for (at, (depth, name, what, elements, size)) in
        rows.chain(others).skip(from).take(inner.height as usize).enumerate()
    {
        let y = inner.y + at as u16;
        let size = if elements > 0 { format!("{}  {:>9}", grouped(elements), bytes(size)) } else { bytes(size) };
        let edge = put_right(buf, inner.x, y, end, &size, pen.style(Role::Dim)).saturating_sub(1);
        let role = if what.is_empty() { Role::Dim } else { Role::Text };
        let x = inner.x + 1 + 2 * depth.min(8) as u16;
        let room = edge.saturating_sub(x) as usize;
        let x = put(buf, x, y, edge, &shorten(&Clean::line(&name), room), pen.style(role));
        let what = Clean::line(&what);
        if width(&what) + 2 <= edge.saturating_sub(x) as usize {
            put(buf, x + 2, y, edge, &what, pen.style(Role::Dim));
        }
    }
}

/// The runs whose curves are drawn, with their roles.
fn drawn<'t>(pen: &Pen<'t>) -> Vec<(&'t TreeRun, Role)> {
    let tree = &pen.state.tree;
    let Some(runs) = &tree.runs else { return Vec::new() };
    if tree.picked.is_empty() {
        return tree.run().map(|run| (run, CURVES[0])).into_iter().collect();
    }
    let of = |path: &std::path::PathBuf| runs.iter().find(|run| run.path == *path);
    tree.picked.iter().zip(CURVES).filter_map(|(path, role)| Some((of(path)?, role))).collect()
}

/// The held-out curves of the chosen stage, one over the other.
fn curves(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, tree) = (pen.state, &pen.state.tree);
    let runs = drawn(pen);
    let Some(stage) = tree.stage() else { return };
    let metric = runs.iter().flat_map(|(run, _)| &run.curves).find(|c| c.stage == stage).map_or("", |c| c.metric);
    let mut facts: Pieces = Vec::new();
    for (run, role) in &runs {
        let newest = tree.curve(&run.path, &stage).and_then(super::super::series::Series::last);
        let value = newest.map_or_else(|| "-".to_owned(), |(_, x)| figure(x));
        let order = tree.picked.iter().position(|path| *path == run.path);
        let label = order.map_or_else(|| shorten(&run.run, 12), |order| format!("[{}]", order + 1));
        facts.push(pen.piece(format!("  {label} "), *role));
        facts.push(pen.piece(value, Role::Bright));
    }
    let title = format!("{} {metric}", state.tr(strings::TREE_HELD_OUT));
    let inner = pen.subtitle(buf, area, &title, &facts);
    let series: Vec<_> = runs.iter().filter_map(|(run, role)| Some((tree.curve(&run.path, &stage)?, *role))).collect();
    let end = series.iter().filter_map(|(series, _)| series.last()).map(|(step, _)| step).max();
    let Some(end) = end else {
        pen.words(buf, inner, state.tr(strings::TREE_NO_FIGURES));
        return;
    };
    let curves = series.iter().map(|(series, role)| Curve::line(series, pen.style(*role))).collect();
    let plot = Plot { axis: (0.0, end.max(1) as f64).into(), curves, axes: true, ..Plot::default() };
    pen.plot(buf, inner, &plot);
}

/// The chosen checkpoint or run.
fn details(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, tree) = (pen.state, &pen.state.tree);
    let Some(run) = tree.run() else { return };
    let mut lines: Vec<(String, Role)> = Vec::new();
    let title = if let Some(c) = tree.checkpoint() {
        if let Some(x) = c.figure {
            let best = if c.best { format!("  {}", state.tr(strings::TREE_BEST)) } else { String::new() };
            lines.push((format!("{} {}{best}", c.metric, figure(x)), if c.best { Role::Good } else { Role::Text }));
        }
        if c.pinned {
            lines.push((state.tr(strings::TREE_PINNED).to_owned(), Role::Focus));
        }
        if let Some(parent) = &c.parent {
            lines.push((format!("{} {}", state.tr(strings::TREE_FROM), short_name(parent)), Role::Dim));
        }
        if !c.needed_by.is_empty() {
            lines.push((format!("{} {}", state.tr(strings::TREE_NEEDED), c.needed_by.join(", ")), Role::Text));
        }
        lines.extend(c.error.clone().map(|error| (error, Role::Bad)));
        format!("{}  {}", short_name(&c.checkpoint), bytes(c.bytes))
    } else {
        lines.extend(run.changed.iter().map(|text| (pen.glyphs.arrows(text), Role::Text)));
        lines.extend(run.errors.iter().map(|text| (text.clone(), Role::Bad)));
        format!("{}  {}", run.run, bytes(run.bytes))
    };
    for probe in run.probes.iter().filter(|p| tree.stage().is_none_or(|stage| p.stage == stage)) {
        let at = strings::at_step(state.lang, probe.step as usize);
        lines.push((format!("{} {}  {}/{}  {at}", probe.prompt, probe.text, probe.matched, probe.length), Role::Text));
    }
    let inner = pen.subtitle(buf, area, &title, &Vec::new());
    text(pen, inner, &lines, buf);
}

/// The differing settings, the best figures and the answers of the compared runs.
fn compared(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, tree) = (pen.state, &pen.state.tree);
    let inner = pen.subtitle(buf, area, state.tr(strings::TREE_COMPARED), &Vec::new());
    let Some(comparison) = &tree.comparison else {
        pen.words(buf, inner, state.tr(strings::TREE_LOADING));
        return;
    };
    let count = comparison.runs.len().max(1);
    let cells = (inner.width as usize).saturating_sub(4);
    let key = (cells / 3).min(26);
    let column = (cells - key) / count;
    let mut y = inner.y;
    let mut put_row = |name: &str, values: Vec<String>, role: Role, buf: &mut Canvas| {
        if y >= inner.bottom() {
            return;
        }
        put(buf, inner.x + 2, y, inner.right(), &shorten(name, key.saturating_sub(1)), pen.style(Role::Dim));
        for (at, value) in values.iter().enumerate() {
            let x = inner.x + 2 + (key + at * column) as u16;
            let role = if role == Role::Bright { CURVES[at % CURVES.len()] } else { role };
            put(buf, x, y, inner.right(), &shorten(value, column.saturating_sub(1)), pen.style(role));
        }
        y += 1;
    };
    put_row("", comparison.runs.clone(), Role::Bright, buf);
    let none = || "-".to_owned();
    for row in &comparison.best {
        let cell =
            |top: &Option<(u64, f64)>| top.map_or_else(none, |(step, x)| format!("{} @{}", figure(x), grouped(step)));
        put_row(&format!("{} {}", row.stage, row.metric), row.values.iter().map(cell).collect(), Role::Text, buf);
    }
    for row in &comparison.settings {
        let values = row.values.iter().map(|value| value.clone().unwrap_or_else(none)).collect();
        put_row(&row.key, values, Role::Text, buf);
    }
    let rest = Rect { y, height: inner.bottom().saturating_sub(y), ..inner };
    let mut lines: Vec<(String, Role)> = Vec::new();
    for row in &comparison.probes {
        lines.push((row.prompt.clone(), Role::Dim));
        for (at, probe) in row.values.iter().enumerate() {
            let Some(probe) = probe else { continue };
            lines.push((
                format!("[{}] {}  {}/{}", at + 1, probe.text, probe.matched, probe.length),
                CURVES[at % CURVES.len()],
            ));
        }
    }
    text(pen, rest, &lines, buf);
}

/// Lines of text, wrapped.
fn text(pen: &Pen, area: Rect, lines: &[(String, Role)], buf: &mut Buffer) {
    let cells = area.width.saturating_sub(4) as usize;
    let mut y = area.y;
    for (line, role) in lines {
        let line = Clean::line(line);
        for part in wrap(&line, cells, 2) {
            if y >= area.bottom() {
                return;
            }
            put(buf, area.x + 2, y, area.right(), &line[part], pen.style(*role));
            y += 1;
        }
    }
}
