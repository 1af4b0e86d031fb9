//! `danlu compare`: up to four runs side by side.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use super::{figure, named};
use crate::{
    cli::{Common, Failure, Outcome, output},
    protocol::Comparison,
    train::tree::compare,
    ui::Lang,
};

/// Widest cell of a table.
const WIDEST: usize = 40;

/// Up to four runs side by side: settings that differ, held-out figures at the same steps, the best ones, the probes
#[derive(Args)]
pub(in crate::cli) struct Compare {
    /// The runs: folders, or names in ./runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// One JSON object a line: runs, settings, figures, best, probes
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        let views = self.runs.iter().map(|run| named(run)).collect::<Result<Vec<_>, Failure>>()?;
        let comparison = compare(&views)?;
        if !self.json {
            output::lines(&table(&comparison, common.language()));
            return Ok(());
        }
        output::json(&json!({"compare": "runs", "runs": comparison.runs}));
        for row in &comparison.settings {
            output::json(&json!({"compare": "setting", "key": row.key, "values": row.values}));
        }
        for row in &comparison.figures {
            let (stage, metric) = (&row.stage, row.metric);
            output::json(&json!({
                "compare": "figure", "stage": stage, "metric": metric, "step": row.step, "values": row.values,
            }));
        }
        for row in &comparison.best {
            let (steps, values): (Vec<_>, Vec<_>) = row.values.iter().map(|top| top.unzip()).unzip();
            output::json(&json!({
                "compare": "best", "stage": row.stage, "metric": row.metric, "steps": steps, "values": values,
            }));
        }
        for row in &comparison.probes {
            output::json(&json!({"compare": "probe", "prompt": row.prompt, "values": row.values}));
        }
        Ok(())
    }
}

/// The comparison as one table with a column for each run.
fn table(c: &Comparison, lang: Lang) -> String {
    let titles = match lang {
        Lang::Zh => ["不同的设置", "同一步的留出集指标", "最好的留出集指标", "探针"],
        Lang::En => ["settings that differ", "held-out figures at the same steps", "best held-out figures", "probes"],
    };
    let none = || "–".to_owned();
    let empty = match lang {
        Lang::Zh => "（空）",
        Lang::En => "(empty)",
    };
    let settings = c
        .settings
        .iter()
        .map(|row| (row.key.clone(), row.values.iter().map(|value| value.clone().unwrap_or_else(none)).collect()));
    let figures = c.figures.iter().map(|row| {
        (format!("{}-{} {}", row.stage, row.step, row.metric), row.values.iter().map(|value| figure(*value)).collect())
    });
    let best = c.best.iter().map(|row| {
        let cell = |top: &Option<(u64, f64)>| top.map_or_else(none, |(step, x)| format!("{x:.4} @ {step}"));
        (format!("{} {}", row.stage, row.metric), row.values.iter().map(cell).collect())
    });
    let probes = c.probes.iter().map(|row| {
        let cell = |probe: &Option<crate::protocol::TreeProbe>| {
            // The score first: a long text is cut at its end.
            probe.as_ref().map_or_else(none, |p| {
                let text = if p.text.trim().is_empty() { empty } else { &p.text };
                format!("{}/{}  {text}", p.matched, p.length)
            })
        };
        (row.prompt.clone(), row.values.iter().map(cell).collect())
    });
    let parts: [Vec<(String, Vec<String>)>; 4] =
        [settings.collect(), figures.collect(), best.collect(), probes.collect()];
    let mut rows: Vec<(String, Vec<String>)> = vec![(String::new(), c.runs.clone())];
    let mut heads = Vec::new();
    for (title, part) in titles.into_iter().zip(parts).filter(|(_, part)| !part.is_empty()) {
        heads.push((rows.len(), title));
        rows.extend(part);
    }
    let cut = |text: &str| {
        let line = text.replace(['\n', '\r', '\t'], " ");
        if line.width() <= WIDEST {
            return line;
        }
        let mut short = String::new();
        for ch in line.chars() {
            if short.width() + 3 >= WIDEST {
                break;
            }
            short.push(ch);
        }
        short + "…"
    };
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(key, values)| std::iter::once(cut(&key)).chain(values.iter().map(|value| cut(value))).collect())
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=c.runs.len()).map(width).collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (_, title) in heads.iter().filter(|(first, _)| *first == at) {
            text.extend(["\n", title, "\n"]);
        }
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
