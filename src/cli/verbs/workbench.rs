//! `danlu` without a verb: the workbench.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::AtomicBool},
};

use clap::Args;

use super::train::say_that_text_is_read;
use crate::{
    cli::{Common, Failure, Log, Outcome, RunArgs, output, quiet},
    session::Session,
    train::{OpenRun, Setup, Trainer, furthest_stage, open_run},
    ui::{self, UiOptions},
};

/// Options of the workbench.
#[derive(Args, Debug)]
pub(in crate::cli) struct Workbench {
    #[command(flatten)]
    args: RunArgs,
}

impl Workbench {
    pub(in crate::cli) fn run(&self, common: &Common, log: &Log) -> Outcome {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(Failure::usage(
                "the workbench needs a terminal; without one use `danlu train --stage pretrain`",
            ));
        }
        let stage = furthest_stage(self.args.run.as_deref())?;
        let setup = Setup { interactive: true, ..self.args.setup(common, stage) };
        let stop = Arc::new(AtomicBool::new(false));
        let mut device = common.training_device()?;
        let (run, config) = open_run(self.args.run.as_deref(), &setup, &mut device)?;
        log.in_run(run.view().dir())?;
        say_that_text_is_read(&config);
        let trainer = Trainer::new(OpenRun::new(run, device), config, &setup).map_err(|unready| unready.error)?;
        let session = Session::start(trainer, setup)?;
        let options = UiOptions { lang: common.language(), stop, stderr: quiet::sink(), ..UiOptions::default() };
        let outcome = ui::run(session, options).map_err(|e| Failure::work(e.to_string()))?;
        if !outcome.terminal_gone {
            outcome.summary.iter().for_each(|line| output::text(line));
        }
        if outcome.failed {
            return Err(Failure::work("the stage failed; the newest checkpoint is intact"));
        }
        quiet::for_good();
        Ok(())
    }
}
