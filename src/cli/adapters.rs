//! `danlu adapters`: what there is, which one `auto` takes and why.

use clap::Args;
use serde_json::json;

use super::{Common, Outcome, output};
use crate::compute::Device;

/// List adapters and say which one `auto` takes
#[derive(Args)]
pub(super) struct Adapters {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Adapters {
    pub(super) fn run(&self, _common: &Common) -> Outcome {
        let all = Device::adapters();
        let (chosen, why) = Device::choose(&all);
        for (i, a) in all.iter().enumerate() {
            let kind = format!("{:?}", a.kind).to_lowercase();
            let taken = i == chosen;
            if self.json {
                output::json(&json!({
                    "name": a.name, "kind": kind, "backend": a.backend, "driver": a.driver,
                    "max_binding_bytes": a.max_binding, "features": a.features,
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
        }
        if !self.json {
            output::text(&format!("* auto takes this one: {why}"));
        }
        Ok(())
    }
}
