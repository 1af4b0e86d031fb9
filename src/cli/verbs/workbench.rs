//! `danlu` without a verb: the workbench.

use std::{
    io::{BufRead as _, IsTerminal},
    path::Path,
};

use clap::Args;

use super::tree;
use crate::{
    cli::{self, Common, Failure, Log, RunArgs, output, quiet, reading::say_that_text_is_read, screen},
    session::Session,
    store::{RealFs, RunView, StoreError},
    train::{OpenRun, Setup, TrainError, Trainer, furthest_stage, open_run},
    ui::{Lang, Outcome},
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
            let Some(outcome) = sit(&args, run.as_deref(), &common, log)? else { return Ok(()) };
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

/// One run in the workbench, until the user leaves it. None if another process trains it.
fn sit(args: &RunArgs, run: Option<&Path>, common: &Common, log: &Log) -> Result<Option<Outcome>, Failure> {
    let stage = furthest_stage(run)?;
    let setup = Setup { interactive: true, ..args.setup(common, stage) };
    let mut device = common.training_device()?;
    let (run, config) = match open_run(run, &setup, &mut device) {
        Err(TrainError::Store(StoreError::Locked { dir, pid })) => return read_only(&dir, pid, common),
        opened => opened?,
    };
    log.in_run(run.view().dir())?;
    say_that_text_is_read(&config);
    let trainer = Trainer::new(OpenRun::new(run, device), config, &setup).map_err(|unready| unready.error)?;
    let session = Session::start(trainer, setup)?;
    screen::show(session, common, false).map(Some)
}

/// Whether the user answers a question with yes, which an empty line is too.
fn agreed(question: &str) -> bool {
    output::lines(question);
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    matches!(read, Ok(1..)) && ["", "y", "yes", "是"].contains(&answer.trim().to_lowercase().as_str())
}

/// Offers a run that another process trains as a replay.
fn read_only(dir: &Path, pid: Option<u32>, common: &Common) -> Result<Option<Outcome>, Failure> {
    let locked = || TrainError::from(StoreError::Locked { dir: dir.to_owned(), pid });
    let (who, place) = (pid.map(|pid| pid.to_string()), dir.display());
    let question = match (common.language(), who) {
        (Lang::Zh, Some(pid)) => format!("run {place} 正被进程 {pid} 使用。\n只读方式打开？[Y/n] "),
        (Lang::Zh, None) => format!("run {place} 正被另一个进程使用。\n只读方式打开？[Y/n] "),
        (Lang::En, Some(pid)) => format!("The run {place} is in use by process {pid}.\nOpen it read only? [Y/n] "),
        (Lang::En, None) => format!("The run {place} is in use by another process.\nOpen it read only? [Y/n] "),
    };
    if !agreed(&question) {
        return Err(locked().into());
    }
    let view = RunView::open(RealFs::shared(), dir).map_err(TrainError::from)?;
    tree::show(view, None, common)?;
    Ok(None)
}
