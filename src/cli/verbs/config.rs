//! `danlu config`: every key of a run's run.toml with its value, default and meaning.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::{
    base::StageId,
    cli::{Common, Outcome, output},
    store::{RUNS, RealFs, RunView, newest_run},
    train::{TrainError, config::RunConfig},
    ui::Lang,
};

/// Every key of run.toml with its value, default and meaning, as TOML that can be read back
#[derive(Args)]
pub(in crate::cli) struct Config {
    /// The run's folder. Without it: the newest in ./runs, or the defaults of a new run
    #[arg(long)]
    run: Option<PathBuf>,
    /// Size whose defaults are printed while run.toml leaves it at auto: 1m, 5m, 12m, 27m, 124m
    #[arg(long, default_value = "1m")]
    size: String,
    /// One JSON object a line and key
    #[arg(long)]
    json: bool,
}

impl Config {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        let run = match &self.run {
            Some(run) => Some(run.clone()),
            None => newest_run(&RealFs, Path::new(RUNS)).map_err(TrainError::from)?,
        };
        let text = match run {
            Some(run) => {
                let view = RunView::open(RealFs::shared(), &run).map_err(TrainError::from)?;
                view.config().map_err(TrainError::from)?
            }
            None => String::new(),
        };
        let read =
            |sets: &[(String, String)]| RunConfig::parse(&text, sets, StageId::default()).map_err(TrainError::from);
        let mut config = read(&[])?;
        if config.size == "auto" {
            config = read(&[("size".to_owned(), format!("{:?}", self.size))])?;
        }
        let lang = usize::from(common.language() == Lang::Zh);
        if !self.json {
            output::lines(&config.explained(lang).map_err(TrainError::from)?);
            return Ok(());
        }
        for entry in config.entries().map_err(TrainError::from)? {
            output::json(&json!({
                "key": entry.path(),
                "value": entry.value(),
                "default": entry.default,
                "set": entry.set.is_some(),
                "range": entry.key.describe(lang),
                "help": entry.key.help[lang],
            }));
        }
        Ok(())
    }
}
