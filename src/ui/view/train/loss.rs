//! The loss: the range of raw values, the smoothed line, validation points; below it the learning rate, the gradient
//! norm and the speed over the same steps.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    base::StageName,
    ui::{
        chart::{Abscissa, Curve, Plot},
        paint::{Pieces, pieces_width, put, put_pieces},
        series::{SMOOTHINGS, Series},
        state::{Phase, tree::Overlaid},
        strings::{self, Tr},
        text::{Clean, figure, grouped, rate, short, shorten},
        theme::Role,
        view::{
            pen::{Canvas, Pen, below},
            tree::CURVES,
        },
    },
};

/// Rows of a small chart, including its title.
const SMALL: u16 = 4;

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, stage) = (pen.state, pen.stage);
    let mut inner = pen.title(buf, area, &facts(pen, area.width as usize));
    if inner.height >= 12 + SMALL && inner.width >= 60 {
        inner.height -= SMALL;
        small_charts(pen, Rect { y: inner.bottom(), height: SMALL, ..inner }, buf);
    }
    if inner.height == 0 {
        return;
    }
    if stage.step.is_none() {
        pen.not_yet(buf, inner, strings::NO_STEP);
        return;
    }
    let read = pen.cursor();
    if inner.height >= 8 || read.is_some() && inner.height >= 3 {
        let row = Rect { height: 1, ..inner };
        match read {
            Some(step) => readout(pen, step, row, buf),
            None => legend(pen, row, buf),
        }
        inner = below(inner, 1);
    }
    let name = stage.id.map(StageName::from);
    let mut curves: Vec<Curve> = Vec::new();
    for run in overlaid(pen, name.as_ref()) {
        let style = pen.style(CURVES[run.number]);
        // As of the open run: a line of the training loss and points of the held-out one, or a line of either.
        if let (Some(points), Some(_)) = (run.held_out, run.trained) {
            curves.push(Curve::points(points, style));
        }
        if let Some(series) = run.trained.or(run.held_out) {
            let smoothing = if run.trained.is_some() { state.smoothing } else { 0 };
            curves.push(Curve { name: NUMBERS[run.number], smoothing, ..Curve::line(series, style) });
        }
    }
    curves.extend([
        Curve { smoothing: state.smoothing, ..pen.banded(&stage.loss, Role::Train) },
        Curve::points(&stage.kept, pen.style(Role::Kept)),
        Curve::points(&stage.valid, pen.style(Role::Valid)),
    ]);
    let plot =
        Plot { now: Some(stage.steps_done()), log: state.log_y, curves, axes: true, marks: pen.marks(), ..pen.chart() };
    pen.plot(buf, inner, &plot);
}

/// The numbers of the runs laid over the chart, by their place in the comparison.
const NUMBERS: [&str; 4] = ["1", "2", "3", "4"];

/// The curves of the runs that the lineage compares with this one.
fn overlaid<'a>(pen: &Pen<'a>, stage: Option<&'a StageName>) -> impl Iterator<Item = Overlaid<'a>> {
    let (tree, here) = (&pen.state.tree, pen.state.open_run());
    stage.into_iter().flat_map(move |stage| tree.overlaid(stage, "eval_loss", here))
}

/// The figures at the crosshair: raw loss with its range, smoothed and held-out loss.
fn readout(pen: &Pen, step: usize, area: Rect, buf: &mut Buffer) {
    let (state, stage) = (pen.state, pen.stage);
    let mut facts: Pieces = Vec::new();
    let mut add = |label: &str, value: String, role: Role| {
        facts.push(pen.piece(format!("  {label}{}", if label.is_empty() { "" } else { " " }), Role::Dim));
        facts.push(pen.piece(value, role));
    };
    if let Some((bucket, (first, last))) = stage.loss.at(step as f64) {
        let broken = bucket.count == 0;
        let raw = if broken { "NaN".to_owned() } else { figure(bucket.line(0)) };
        add(state.tr(strings::RAW), raw, if broken { Role::Bad } else { Role::Train });
        if bucket.count > 1 {
            let steps = format!("{}-{}", grouped(first as u64), grouped(last as u64));
            add("", format!("{}..{} @{steps}", figure(bucket.min), figure(bucket.max)), Role::Dim);
        }
        if state.smoothing > 0 && !broken {
            add("EMA", figure(bucket.line(state.smoothing)), Role::Train);
        }
    }
    facts.extend(pen.at_cursor(
        step,
        &[
            (state.tr(strings::VALID), &stage.valid, Role::Valid),
            (state.tr(strings::KEPT_SHORT), &stage.kept, Role::Kept),
        ],
    ));
    let name = stage.id.map(StageName::from);
    for run in overlaid(pen, name.as_ref()) {
        if let Some(series) = run.trained.or(run.held_out) {
            facts.extend(pen.at_cursor(step, &[(NUMBERS[run.number], series, CURVES[run.number])]));
        }
    }
    pen.readout(step, facts, area, buf);
}

/// Labels with numbers; without enough room a label is dropped with its number.
fn facts<'a>(pen: &Pen, cells: usize) -> Pieces<'a> {
    let (state, stage) = (pen.state, pen.stage);
    let mut facts: Pieces = Vec::new();
    let mut add = |label: Tr, value: String, role| {
        let space = if facts.is_empty() { "" } else { "  " };
        facts.push(pen.piece(format!("{space}{} ", state.tr(label)), Role::Dim));
        facts.push(pen.piece(value, role));
    };
    if let (Some((_, loss)), Some(first)) = (stage.kept.last(), stage.kept_first) {
        let change = if loss.is_finite() { format!(" {:+.3}", loss - first) } else { String::new() };
        add(
            if cells < 70 { strings::KEPT_SHORT } else { strings::KEPT },
            format!("{}{change}", figure(loss)),
            Role::Kept,
        );
    }
    if let Some((step, loss)) = stage.best.filter(|_| !stage.is_tuning()) {
        add(strings::BEST, format!("{} @{}", figure(loss), grouped(step as u64)), Role::Text);
    }
    // What the stage has learnt by heart rather than learnt.
    let smooth = stage.loss.smoothed(state.smoothing).filter(|l| l.is_finite());
    if let (Some((_, valid)), Some(train)) = (stage.valid.last().filter(|v| v.1.is_finite()), smooth) {
        add(strings::GAP, format!("{:+.2}", valid - train), Role::Text);
    }
    if let Some((_, loss)) = stage.valid.last() {
        add(strings::VALID, figure(loss), if loss.is_finite() { Role::Valid } else { Role::Bad });
    }
    if let Some((_, raw)) = stage.loss.last() {
        let shown = if raw.is_finite() { stage.loss.smoothed(state.smoothing).unwrap_or(raw) } else { raw };
        add(strings::TRAIN, figure(shown), if raw.is_finite() { Role::Train } else { Role::Bad });
    }
    pen.fitting(facts, cells)
}

fn legend(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let (state, stage) = (pen.state, pen.stage);
    let smoothing = SMOOTHINGS[state.smoothing];
    let smoothing = if smoothing == 0.0 { state.tr(strings::OFF).to_owned() } else { format!("{smoothing}") };
    // Only positive values have logarithms.
    let (from, to) = pen.chart().axis.steps;
    let positive = stage.loss.within(from, to).buckets.iter().all(|bucket| bucket.count == 0 || bucket.min > 0.0);
    let axis = state.tr(if state.log_y && positive { strings::LOG_Y } else { strings::LINEAR });
    let g = pen.glyphs;
    let mut pieces = pen.legend([
        (g.full, Role::Band, state.tr(strings::RAW).to_owned()),
        (g.train, Role::Train, format!("EMA {smoothing}")),
        (g.valid, Role::Valid, state.tr(strings::VALID).to_owned()),
    ]);
    if !stage.kept.is_empty() {
        pieces.extend(pen.legend([(g.valid, Role::Kept, state.tr(strings::KEPT).to_owned())]));
    }
    pieces.push(pen.piece(format!("{} {axis}", g.dot), Role::Dim));
    let unit = match state.abscissa {
        unit if !stage.counts(unit) => None,
        Abscissa::Step => None,
        Abscissa::Tokens => Some(strings::BY_TOKENS),
        Abscissa::Time => Some(strings::BY_TIME),
    };
    let part = stage.charts.window.map(|w| if w.end.is_none() { strings::FOLLOWING } else { strings::PART });
    for word in [unit, part, stage.charts.planned.then_some(strings::PLANNED)].into_iter().flatten() {
        pieces.push(pen.piece(format!(" {} {}", g.dot, state.tr(word)), Role::Dim));
    }
    let wide = pieces_width(&pieces) as u16;
    let mut from = area.x + 1;
    if stage.phase == Phase::Resting {
        let words = if stage.is_complete() { strings::COMPLETE_HERE } else { strings::LEFT_OFF };
        from = put(buf, area.x + 2, area.y, area.right(), state.tr(words), pen.style(Role::Focus)) + 1;
    }
    let x = area.right().saturating_sub(wide + 2);
    // The runs laid over the chart, then the newest change as text, at the left.
    let name = stage.id.map(StageName::from);
    let mut left = from + 1;
    for Overlaid { number, run, .. } in overlaid(pen, name.as_ref()) {
        let end = x.saturating_sub(1);
        if left + 6 >= end {
            break;
        }
        left = put(buf, left, area.y, end, &format!("[{}]", number + 1), pen.style(CURVES[number]));
        left = put(buf, left, area.y, end, &shorten(&Clean::line(&run.run), 14), pen.style(Role::Text)) + 2;
        from = left;
    }
    let newest = stage.changes.iter().rev().find_map(|c| Some((c, c.cause?)));
    let free = stage.phase != Phase::Resting && from <= area.x + 1;
    if let Some((change, cause)) = newest.filter(|_| free) {
        let end = x.saturating_sub(2);
        let at = format!(" @{}", grouped(change.step as u64));
        let cells = (end.saturating_sub(area.x + 4) as usize).saturating_sub(at.len());
        if cells >= 12 {
            let words = format!("{}{at}", shorten(change.text.get(state.lang), cells));
            let next = put(buf, area.x + 2, area.y, end, strings::letter(cause), pen.style(Role::Focus));
            put(buf, next + 1, area.y, end, &words, pen.style(Role::Text));
        }
    }
    if x >= from || stage.phase != Phase::Resting {
        put_pieces(buf, x.max(from), area.y, area.right(), &pieces);
    }
}

/// Three small charts side by side, each with the current number in its title.
fn small_charts(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, stage) = (pen.state, pen.stage);
    let number = |format: fn(f64) -> String, series: &Series| pen.value(series).map_or_else(|| "-".to_owned(), format);
    let charts: [(Tr, String, &Series); 3] = [
        (strings::LEARNING_RATE, number(rate, &stage.rate), &stage.rate),
        (strings::GRAD_NORM, number(figure, &stage.grad), &stage.grad),
        (strings::SPEED, number(short, &stage.speed), &stage.speed),
    ];
    for (at, (title, value, series)) in charts.into_iter().enumerate() {
        let from = area.width * at as u16 / 3;
        let to = area.width * (at as u16 + 1) / 3;
        let place = Rect { x: area.x + from, width: to - from, ..area };
        let facts = vec![pen.piece(value, Role::Bright)];
        crate::ui::paint::rule(buf, place, state.tr(title), &facts, false, state.theme, pen.glyphs);
        let bad = series.last().is_some_and(|l| !l.1.is_finite());
        let curve = pen.banded(series, if bad { Role::Bad } else { Role::Train });
        let plot = Plot { curves: vec![curve], ..pen.chart() };
        let inner = below(place, 1);
        pen.plot(buf, Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }, &plot);
    }
}
