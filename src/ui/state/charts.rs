//! The charts of a stage: the visible part of their common abscissa, and the crosshair.

use super::{
    AppState, Panel, Stage,
    log::LogLine,
    steps::{Walk, Window},
};
use crate::ui::{
    chart::{Abscissa, Axis},
    series::Series,
    strings,
};

/// Fewest steps of a chart's axis, if the stage has as many.
const FEW: f64 = 20.0;
/// Fewest steps that can be visible after zooming in.
const LEAST: f64 = 8.0;
/// The part of the visible range by which the crosshair moves.
const CURSOR: f64 = 120.0;
/// The part of the visible range by which the charts move.
const PAN: f64 = 8.0;

/// The form of an exported panel or screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A picture.
    Svg,
    /// The characters.
    Text,
    /// The figures of the charts.
    Csv,
}

impl Format {
    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Text => "txt",
            Format::Csv => "csv",
        }
    }
}

/// What is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The panel; None for the whole screen.
    pub panel: Option<Panel>,
    /// The form.
    pub format: Format,
    /// The file; None for a new one in the run's `exports/`.
    pub path: Option<String>,
}

impl Stage {
    /// The steps that its charts show: the enlarged part, or from the first step to the planned end, or to the first
    /// halving of the way there that holds the steps done, so that a young curve fills the chart.
    pub fn visible(&self) -> (f64, f64) {
        let done = self.steps_done() as f64;
        if let Some(window) = self.charts.window {
            let end = window.end.unwrap_or(done);
            return ((end - window.span).max(0.0), end.max(1.0));
        }
        (0.0, self.fitted(done))
    }

    fn fitted(&self, done: f64) -> f64 {
        let planned = self.run.as_ref().map_or(1, |r| r.info.steps).max(done as usize).max(1);
        let mut end = planned as f64;
        while !self.charts.planned && end >= 2.0 * FEW && 1.05 * done <= end / 2.0 {
            // Whole steps, as the axis names them.
            end = (end / 2.0).ceil();
        }
        end
    }

    /// Whether it is known how much of a unit had passed at each step. The log of another trainer may name steps alone.
    pub fn counts(&self, unit: Abscissa) -> bool {
        let absent = self.step.as_ref().map(|step| step.absent).unwrap_or_default();
        match unit {
            Abscissa::Step => true,
            Abscissa::Tokens => !absent.total_tokens,
            Abscissa::Time => !absent.step_ms,
        }
    }

    /// The abscissa of its charts.
    pub fn axis(&self, unit: Abscissa) -> Axis<'_> {
        let unit = if self.counts(unit) { unit } else { Abscissa::Step };
        Axis { steps: self.visible(), unit, pace: Some(&self.charts.pace) }
    }

    /// The curves of a panel, by the names of their metrics.
    pub fn curves(&self, panel: Panel) -> Vec<(String, &Series)> {
        let feedback = &self.feedback;
        let own: Vec<(&str, &Series)> = match panel.0 {
            "loss" => vec![
                ("loss", &self.loss),
                ("eval_loss", &self.valid),
                ("pretrain_eval_loss", &self.kept),
                ("learning_rate", &self.rate),
                ("grad_norm", &self.grad),
                ("tokens_per_second", &self.speed),
            ],
            "accuracy" => vec![("heldout_accuracy", &feedback.accuracy), ("length_accuracy", &feedback.by_length)],
            "score" => vec![("true", &feedback.true_score), ("eval_reward", &feedback.evaluated)],
            "drift" => vec![("kl", &feedback.kl), ("end_rate", &feedback.end_rate), ("length", &feedback.length)],
            _ => Vec::new(),
        };
        let mut all: Vec<(String, &Series)> = own.into_iter().map(|(name, s)| (name.to_owned(), s)).collect();
        if ["accuracy", "score", "drift"].contains(&panel.0) {
            all.extend(feedback.metrics().map(|(name, series)| (name.to_owned(), series)));
        }
        if ["losses", "mix"].contains(&panel.0) {
            for source in self.run.iter().flat_map(|run| &run.sources) {
                all.push((format!("eval_loss:{}", source.name), &source.valid));
                all.push((format!("train_loss:{}", source.name), &source.train));
            }
        }
        all.retain(|(_, series)| !series.is_empty());
        all
    }

    /// Every curve, by the name of its metric.
    pub fn metrics(&self) -> Vec<(String, &Series)> {
        let mut all: Vec<(String, &Series)> = Vec::new();
        for panel in ["loss", "accuracy", "score", "drift", "losses"] {
            for (name, series) in self.curves(Panel(panel)) {
                if all.iter().all(|(other, _)| *other != name) {
                    all.push((name, series));
                }
            }
        }
        all
    }

    /// Whether its charts can be enlarged.
    pub fn is_drawn(&self) -> bool {
        self.step.is_some()
    }

    /// Shows half as many steps, or twice as many: around a step, or around the crosshair if it is visible, else up to the
    /// newest step if that is visible, else around the middle.
    fn zoom(&mut self, on: bool, around: Option<f64>) {
        let (from, to) = self.visible();
        let done = self.steps_done() as f64;
        let whole = self.fitted(done);
        let span = self.charts.window.map_or(to - from, |window| window.span);
        let span = if on { span / 2.0 } else { span * 2.0 };
        if span >= whole {
            self.charts.window = None;
            return;
        }
        let span = span.max(LEAST.min(whole));
        let cursor = around.or(self.charts.cursor.map(|step| step as f64)).filter(|step| (from..=to).contains(step));
        let follows = self.charts.window.is_none_or(|w| w.end.is_none()) && (from..=to).contains(&done);
        let end = match cursor {
            Some(cursor) => {
                // It keeps its place in the window.
                let share = if to > from { (cursor - from) / (to - from) } else { 1.0 };
                cursor + span * (1.0 - share)
            }
            None if follows => done,
            None => f64::midpoint(from, to) + span / 2.0,
        };
        self.look(span, end);
    }

    /// Shows so many steps up to this one, within those done; at the newest step the charts follow it.
    fn look(&mut self, span: f64, end: f64) {
        let done = self.steps_done() as f64;
        let end = end.max(span.min(done));
        self.charts.window = Some(Window { span, end: (end < done).then_some(end) });
    }

    /// Moves the crosshair, or without one the visible part; false if there is nothing to move.
    fn slide(&mut self, to: Walk, unit: Abscissa) -> bool {
        let (from, end) = self.visible();
        let done = self.steps_done();
        let by = match to {
            Walk::Previous => -1.0,
            Walk::Next => 1.0,
            Walk::PageUp => -10.0,
            Walk::PageDown => 10.0,
            Walk::First => f64::NEG_INFINITY,
            Walk::Last => f64::INFINITY,
            Walk::Up | Walk::Down => return false,
        };
        if let Some(step) = self.charts.cursor {
            let next = if by.is_infinite() {
                if by > 0.0 { end } else { from }
            } else {
                let axis = self.axis(unit);
                let aim = axis.step_at(axis.place(step as f64) + by / CURSOR).round();
                // At least one step.
                if by > 0.0 { aim.max(step as f64 + 1.0) } else { aim.min(step as f64 - 1.0) }
            };
            self.point(next.clamp(0.0, done as f64) as usize);
            return true;
        }
        let Some(Window { span, end }) = self.charts.window else { return false };
        let end = end.unwrap_or(done as f64);
        let end = if by.is_infinite() { by.clamp(0.0, done as f64) } else { end + by.clamp(-8.0, 8.0) * span / PAN };
        self.look(span, end);
        true
    }

    /// Puts the crosshair at a step; the visible part moves so that it holds it.
    pub fn point(&mut self, step: usize) {
        self.charts.cursor = Some(step);
        let (from, to) = self.visible();
        let (at, span) = (step as f64, to - from);
        if self.charts.window.is_some() && !(from..=to).contains(&at) {
            self.look(span, if at < from { at + span } else { at });
        }
    }
}

impl AppState {
    /// The name of an exported file: `pretrain-000640-loss.svg`.
    pub fn export_name(&self, export: &Export) -> String {
        let stage = self.shown();
        let (panel, ending) = (export.panel.map_or("screen", |panel| panel.0), export.format.ending());
        format!("{}-{:06}-{panel}.{ending}", stage.short(), stage.steps_done())
    }

    /// The focused panel, if it is on the screen, and whether it has figures to export.
    pub fn exportable(&self) -> (Option<Panel>, bool) {
        let panel = Some(self.focus).filter(|panel| self.drawn.shows(*panel));
        (panel, panel.is_some_and(|panel| !self.shown().curves(panel).is_empty()))
    }

    /// Whether the panels in view have charts over steps.
    pub fn has_charts(&self) -> bool {
        !self.data.open && !self.voting.open && !self.tree.open && self.shown().is_drawn()
    }

    /// Whether `+` and `-` change a weight or a threshold rather than the charts.
    pub fn changes_data(&self) -> bool {
        let rule = self.data.open && self.focus == Panel::FILTERS;
        rule || self.data.open || self.focus == Panel::MIX
    }

    /// Counts in the next unit that the stage in view has.
    pub fn next_abscissa(&mut self) {
        let before = self.abscissa;
        self.abscissa = before.next();
        while !self.shown().counts(self.abscissa) {
            self.abscissa = self.abscissa.next();
        }
        if self.abscissa == before {
            self.remark(strings::WHY_STEPS_ALONE);
        }
    }

    /// Enlarges the charts around the crosshair or the newest step, or the reverse.
    pub fn zoom(&mut self, on: bool) {
        self.stages.shown_mut().zoom(on, None);
    }

    /// The same around a step.
    pub(crate) fn zoom_at(&mut self, on: bool, step: f64) {
        self.stages.shown_mut().zoom(on, Some(step));
    }

    /// Shows all steps again and follows the newest; if that is so already, shows the plan, or only what is done.
    pub fn whole(&mut self) {
        let charts = &mut self.stages.shown_mut().charts;
        if charts.window.take().is_none() {
            charts.planned = !charts.planned;
        }
    }

    /// Shows or hides the crosshair.
    pub fn crosshair(&mut self) {
        (self.film, self.log_chosen) = (None, None);
        let stage = self.stages.shown_mut();
        let (from, to) = stage.visible();
        let newest = (stage.steps_done() as f64).clamp(from, to) as usize;
        stage.charts.cursor = if stage.charts.cursor.is_some() { None } else { Some(newest) };
    }

    /// Whether Left and Right move the crosshair or the charts.
    pub fn slides(&self) -> bool {
        let busy = matches!(self.focus, Panel::CHAT | Panel::BATCH | Panel::ROLLOUT);
        let charts = &self.shown().charts;
        let moves = charts.cursor.is_some() || charts.window.is_some() && self.focus != Panel::PROBE;
        self.has_charts() && !busy && moves
    }

    /// Moves the crosshair, or without one the visible part; false if that is not what the key is for now.
    pub(crate) fn slide(&mut self, to: Walk) -> bool {
        let across = matches!(to, Walk::Previous | Walk::Next);
        // Panels without curves are scrolled by the other keys.
        let chart = self.focus != Panel::MIX && !self.shown().curves(self.focus).is_empty();
        if !self.slides() || !across && !chart {
            return false;
        }
        let unit = if self.shown().counts(self.abscissa) { self.abscissa } else { Abscissa::Step };
        self.log_chosen = None;
        self.stages.shown_mut().slide(to, unit)
    }

    /// The log's lines about a step of the stage in view, by their number, oldest first.
    fn pointed(&self) -> impl DoubleEndedIterator<Item = (u64, usize)> + '_ {
        let stage = self.shown().id;
        let first = self.logged - self.log.len() as u64;
        let keeps = self.log_keeper();
        let here = move |(at, line): (usize, &LogLine)| {
            if !keeps(line) {
                return None;
            }
            line.place.filter(|place| Some(place.0) == stage).map(|place| (first + at as u64, place.1))
        };
        self.log.iter().enumerate().filter_map(here)
    }

    /// Whether there is a way between crosshair and log.
    pub fn has_log_places(&self) -> bool {
        self.has_charts() && self.pointed().next().is_some()
    }

    /// The newest line of the log about the stage in view up to a step.
    pub(super) fn line_at(&self, step: usize) -> Option<u64> {
        self.pointed().rev().find(|line| line.1 <= step).map(|line| line.0)
    }

    /// From the crosshair to the log line at or before its step; in the log, back to the charts. Without a crosshair it
    /// is put at the newest line's step.
    pub fn to_log(&mut self) {
        if self.focus == Panel::LOG && self.log_chosen.is_some() {
            self.log_chosen = None;
            self.focus_on(self.log_from);
            return;
        }
        let cursor = self.shown().charts.cursor;
        let before = self.pointed().rev().find(|line| cursor.is_none_or(|cursor| line.1 <= cursor));
        let Some((line, step)) = before.or_else(|| self.pointed().next()) else { return };
        self.log_from = if self.focus == Panel::LOG { Panel::LOSS } else { self.focus };
        self.focus_on(Panel::LOG);
        self.log_chosen = Some(line);
        if cursor.is_none() {
            self.stages.shown_mut().point(step);
        }
    }

    /// With the crosshair, Up and Down in the log choose a line and move the crosshair to its step; false if not.
    pub(crate) fn walk_log(&mut self, to: Walk) -> bool {
        if self.focus != Panel::LOG || !self.has_charts() || self.shown().charts.cursor.is_none() {
            return false;
        }
        let lines: Vec<(u64, usize)> = self.pointed().collect();
        let Some(last) = lines.len().checked_sub(1) else { return false };
        let at = match self.log_chosen.and_then(|chosen| lines.iter().position(|line| line.0 == chosen)) {
            Some(at) => to.from(at, last),
            None => last,
        };
        self.log_chosen = Some(lines[at].0);
        self.stages.shown_mut().point(lines[at].1);
        true
    }
}
