//! `danlu check`: every kernel against its CPU twin, on the chosen adapter.

use clap::Args;
use serde_json::json;

use crate::{
    cli::{Common, Failure, Outcome, output},
    compute::check::{self, CheckRow},
};

/// Compare every kernel with its CPU twin on this adapter
#[derive(Args)]
pub(in crate::cli) struct Check {
    /// Every shape, not only each kernel's worst
    #[arg(long)]
    all: bool,
    /// One JSON object a shape
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        let mut device = common.device()?;
        let info = device.info().clone();
        if !self.json {
            output::text(&format!("{} · {} · {}", info.engine, info.adapter, info.driver));
            output::text(&format!(
                "{:<28} {:<34} {:>7} {:>11} {:>11}",
                "kernel", "worst shape", "shapes", "error", "bound"
            ));
        }
        let rows = check::run(&mut device)?;
        for row in &rows {
            if self.json {
                output::json(&json!({
                    "kernel": row.kernel, "shape": row.shape, "error": row.error, "bound": row.bound, "passed": row.passed,
                    "adapter": info.adapter,
                }));
            } else if self.all {
                line(row, 1);
            }
        }
        if !self.json && !self.all {
            let mut names: Vec<&str> = rows.iter().map(|r| r.kernel).collect();
            names.dedup();
            for name in names {
                let of: Vec<&CheckRow> = rows.iter().filter(|r| r.kernel == name).collect();
                let worst = of.iter().max_by(|a, b| (a.error / a.bound).total_cmp(&(b.error / b.bound)));
                if let Some(worst) = worst {
                    line(worst, of.len());
                }
            }
        }
        let failed = rows.iter().filter(|r| !r.passed).count();
        if failed > 0 {
            return Err(Failure::work(format!(
                "{failed} of {} checks failed on {}; use --adapter cpu and report the adapter and driver above",
                rows.len(),
                info.adapter
            )));
        }
        if !self.json {
            let mut names: Vec<&str> = rows.iter().map(|r| r.kernel).collect();
            names.dedup();
            let kernels = names.len();
            output::text(&format!("{} checks of {} kernels passed", rows.len(), kernels));
        }
        Ok(())
    }
}

fn line(row: &CheckRow, shapes: usize) {
    let mark = if row.passed { "ok" } else { "FAILED" };
    output::text(&format!(
        "{:<28} {:<34} {shapes:>7} {:>11.2e} {:>11.2e} {mark}",
        row.kernel, row.shape, row.error, row.bound
    ));
}
