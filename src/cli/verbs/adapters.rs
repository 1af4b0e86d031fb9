//! `danlu adapters`: the adapters of this machine, which one `auto` takes and why.

use clap::Args;
use serde_json::json;

use crate::{
    cli::{Common, Outcome, output, quiet},
    compute::{AdapterInfo, Device, Matrices, Opening, Precision},
};

/// List adapters and which one `auto` picks
#[derive(Args)]
pub(in crate::cli) struct Adapters {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Adapters {
    pub(super) fn run(&self, _common: &Common) -> Outcome {
        let all = quiet::quietly(Device::adapters);
        let (chosen, why) = Device::choose(&all);
        for (i, a) in all.iter().enumerate() {
            let kind = format!("{:?}", a.kind).to_lowercase();
            let taken = i == chosen;
            let matrices = quiet::quietly(|| tried(a));
            if self.json {
                output::json(&json!({
                    "name": a.name, "kind": kind, "backend": a.backend, "driver": a.driver,
                    "max_binding_bytes": a.max_binding, "features": a.features,
                    "matrices": matrices.as_ref().map(|m| match m {
                        Matrices::Absent => "absent".to_owned(),
                        Matrices::Passed(_) => "passed".to_owned(),
                        Matrices::Failed(reason) => format!("failed: {reason}"),
                    }),
                    "auto": taken, "why": if taken { why } else { "" },
                }));
                continue;
            }
            let mark = if taken { "*" } else { " " };
            let binding =
                if a.max_binding == 0 { "no limit".to_owned() } else { format!("{} MiB", a.max_binding >> 20) };
            output::text(&format!(
                "{mark} {} [{kind}, {}] {} · binding {binding} {}",
                a.name,
                a.backend,
                a.driver,
                a.features.join(" ")
            ));
            match matrices {
                Some(Matrices::Passed(took)) => {
                    let ms = took.as_millis();
                    output::text(&format!("    matrix units: available, passed the check at opening ({ms} ms)"));
                }
                Some(Matrices::Failed(reason)) => {
                    output::text(&format!(
                        "    matrix units: available, but failed the check at opening, so not used: {reason}"
                    ));
                }
                Some(Matrices::Absent) => {
                    output::text(
                        "    matrix units: not available in the form that danlu uses (16×16×16, f16 to f32, subgroups of 32)",
                    );
                }
                None => output::text("    matrix units: none"),
            }
        }
        if !self.json {
            output::text(&format!("* auto picks this one: {why}"));
        }
        Ok(())
    }
}

/// The result of the start-up check of its matrix units, for an adapter with cooperative matrices.
fn tried(adapter: &AdapterInfo) -> Option<Matrices> {
    if !adapter.features.iter().any(|f| f.contains("COOPERATIVE_MATRIX")) {
        return None;
    }
    let opening = Opening { precision: Precision::F16, ..Opening::default() };
    match Device::open_with(&adapter.name, opening) {
        Ok(device) => Some(device.matrices().clone()),
        Err(e) => Some(Matrices::Failed(e.to_string())),
    }
}
