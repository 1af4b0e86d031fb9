//! `danlu` without a verb: the workbench.

use std::{
    io::IsTerminal,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use clap::Args;

use super::train::{pair, say_that_text_is_read};
use crate::{
    cli::{Common, Failure, Log, Outcome, output},
    session::Session,
    train::{OpenRun, Setup, Trainer, furthest_stage, open_run},
    ui::{self, UiOptions},
};

/// Options of the workbench.
#[derive(Args, Debug)]
pub(in crate::cli) struct Workbench {
    /// The run's folder; created if missing. Default: the newest in ./runs, or a new one there
    #[arg(long)]
    run: Option<PathBuf>,
    /// Size of a new run: auto, 1m, 5m, 12m, 27m, 124m
    #[arg(long)]
    size: Option<String>,
    /// Override a key of run.toml: learning_rate=1e-3, model.dropout=0.1, …
    #[arg(long, value_parser = pair)]
    set: Vec<(String, String)>,
}

impl Workbench {
    pub(in crate::cli) fn run(&self, common: &Common, log: &Log) -> Outcome {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(Failure::usage(
                "the workbench needs a terminal; without one use `danlu train --stage pretrain`",
            ));
        }
        let setup = Setup {
            stage: furthest_stage(self.run.as_deref())?,
            size: self.size.clone(),
            seed: common.seed,
            sets: self.set.clone(),
            from: None,
            steps: None,
            alone: false,
            interactive: true,
            stop: Arc::default(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let mut device = common.device()?;
        let (run, config) = open_run(self.run.as_deref(), &setup, &mut device)?;
        log.in_run(run.view().dir())?;
        say_that_text_is_read(&config);
        let trainer = Trainer::new(OpenRun::new(run, device), config, &setup).map_err(|unready| unready.error)?;
        let session = Session::start(trainer, setup)?;
        let options = UiOptions { lang: common.language(), stop, ..UiOptions::default() };
        let outcome = ui::run(session, options).map_err(|e| Failure::work(e.to_string()))?;
        if !outcome.terminal_gone {
            outcome.summary.iter().for_each(|line| output::text(line));
        }
        if outcome.failed { Err(Failure::work("the stage failed; the newest checkpoint is intact")) } else { Ok(()) }
    }
}
