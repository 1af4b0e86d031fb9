//! `danlu watch`: a training that another process does, on the screen, read only.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    base::StageId,
    cli::{Common, Failure, Outcome, output, quiet, screen},
    compute::Device,
    session::Session,
    store::{RUNS, RealFs},
    train::watch::{Watched, Watcher},
    ui,
};

/// The path that means standard input.
const STDIN: &str = "-";

/// A training of another process, read only, as it grows: a run, an exported stage, a log of Trainer or TRL, or a stream
#[derive(Args)]
pub(in crate::cli) struct Watch {
    /// A run or a folder of `danlu export --for trl`; an output folder, a trainer_state.json or a log of Trainer or TRL;
    /// or - for a log on standard input: ssh -n HOST tail -n +1 -F LOG | danlu watch -. The probes of checkpoints are
    /// completed on the CPU engine unless --adapter names another one
    path: PathBuf,
    /// The stage that the log is about, where its lines do not show it
    #[arg(long)]
    stage: Option<StageId>,
}

impl Watch {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        let piped = self.path == Path::new(STDIN);
        let from_terminal = std::io::stdin().is_terminal();
        if piped && from_terminal {
            return Err(Failure::usage(
                "watch - reads a log from standard input, which is the terminal; pipe one in: ssh -n HOST tail -n +1 -F LOG | danlu watch -",
            ));
        }
        let watched = if piped { Watched::stream(RealFs::shared()) } else { opened(&self.path)? };
        if !std::io::stdout().is_terminal() || !(piped || from_terminal) {
            return Err(Failure::usage(
                "watch needs a terminal; without one read the log, or train here with `danlu train --json`",
            ));
        }
        // The training itself may be using the GPU.
        let engine = if common.adapter == "auto" { "cpu" } else { &common.adapter };
        let common = Common { adapter: engine.to_owned(), ..common.clone() };
        let stream = if piped {
            let taken = ui::take_input();
            Some(taken.map_err(|e| {
                Failure::usage(format!("watch - needs a terminal to read keys from, and there is none: {e}"))
            })?)
        } else {
            None
        };
        let watcher = Watcher::new(watched, self.stage, stream)?;
        let mut next = show(watcher, common.device()?, piped, &common)?;
        while let Some(run) = next {
            let watcher = Watcher::new(opened(&run)?, None, None)?;
            next = show(watcher, common.device()?, false, &common)?;
        }
        Ok(())
    }
}

/// What a path is: a folder, a file, or the name of a run in ./runs.
fn opened(path: &Path) -> Result<Watched, Failure> {
    let beside = Path::new(RUNS).join(path);
    let path = if !path.exists() && beside.join("run.toml").is_file() { &beside } else { path };
    Ok(Watched::open(RealFs::shared(), path)?)
}

/// Shows a training until the user leaves; returns the run that is to be opened then.
fn show(watcher: Watcher, device: Device, piped: bool, common: &Common) -> Result<Option<PathBuf>, Failure> {
    let session = Session::watch(watcher, device)?;
    let outcome = screen::show(session, common, piped)?;
    if outcome.next.is_none() {
        if !outcome.terminal_gone {
            outcome.summary.iter().for_each(|line| output::text(line));
        }
        quiet::for_good();
    }
    Ok(outcome.next)
}
