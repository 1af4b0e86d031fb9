//! `danlu` without a verb: the workbench.

use std::{
    io::IsTerminal,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use clap::Args;

use super::train::say_that_text_is_read;
use crate::{
    cli::{self, Common, Failure, Log, RunArgs, output, quiet},
    session::Session,
    train::{OpenRun, Setup, Trainer, furthest_stage, open_run},
    ui::{self, Outcome, UiOptions},
};

/// Options of the workbench.
#[derive(Args, Debug)]
pub(in crate::cli) struct Workbench {
    #[command(flatten)]
    args: RunArgs,
}

impl Workbench {
    pub(in crate::cli) fn run(&self, common: &Common, log: &Log) -> cli::Outcome {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(Failure::usage(
                "the workbench needs a terminal; without one use `danlu train --stage pretrain`",
            ));
        }
        let mut run = self.args.run.clone();
        let (mut args, mut common) = (self.args.clone(), common.clone());
        loop {
            let outcome = sit(&args, run.as_deref(), &common, log)?;
            if !outcome.terminal_gone {
                outcome.summary.iter().for_each(|line| output::text(line));
            }
            if outcome.failed {
                return Err(Failure::work("the stage failed; the newest checkpoint is intact"));
            }
            let Some(next) = outcome.next else {
                quiet::for_good();
                return Ok(());
            };
            // Size, seed and settings were given for the first run.
            args = RunArgs { run: None, size: None, set: Vec::new() };
            common.seed = None;
            run = Some(next);
        }
    }
}

/// One run in the workbench, until the user leaves it.
fn sit(args: &RunArgs, run: Option<&Path>, common: &Common, log: &Log) -> Result<Outcome, Failure> {
    let stage = furthest_stage(run)?;
    let setup = Setup { interactive: true, ..args.setup(common, stage) };
    let stop = Arc::new(AtomicBool::new(false));
    let mut device = common.training_device()?;
    let (run, config) = open_run(run, &setup, &mut device)?;
    log.in_run(run.view().dir())?;
    say_that_text_is_read(&config);
    let trainer = Trainer::new(OpenRun::new(run, device), config, &setup).map_err(|unready| unready.error)?;
    let session = Session::start(trainer, setup)?;
    let options = UiOptions { lang: common.language(), stop, stderr: quiet::sink(), ..UiOptions::default() };
    ui::run(session, options).map_err(|e| Failure::work(e.to_string()))
}
