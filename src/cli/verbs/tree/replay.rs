//! `danlu replay`: a run's files on the screen, read only.

use std::{io::IsTerminal as _, path::PathBuf};

use clap::Args;

use super::named;
use crate::{
    cli::{Common, Failure, Outcome, output, quiet, screen},
    session::Session,
    store::RunView,
    train::Film,
};

/// A run's files on the screen, read only, also while another process trains it
#[derive(Args)]
pub(in crate::cli) struct Replay {
    /// The run: a folder, or a name in ./runs
    run: PathBuf,
    /// Play it from its first step, this many times as fast as it was trained; without it everything is there at once
    #[arg(long)]
    speed: Option<f64>,
}

impl Replay {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        if let Some(speed) = self.speed.filter(|speed| !(speed.is_finite() && *speed > 0.0)) {
            return Err(Failure::usage(format!("--speed {speed}: expected a number above 0")));
        }
        let view = named(&self.run)?;
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(Failure::usage(
                "replay needs a terminal; without one read the run's metrics.jsonl and events.jsonl",
            ));
        }
        show(view, self.speed, common)
    }
}

/// Shows a run, and after it those that the user opens from the list of runs.
pub(in crate::cli::verbs) fn show(mut view: RunView, mut speed: Option<f64>, common: &Common) -> Outcome {
    loop {
        let session = Session::replay(Film::new(view), speed)?;
        let outcome = screen::show(session, common, false)?;
        let Some(next) = outcome.next else {
            if !outcome.terminal_gone {
                outcome.summary.iter().for_each(|line| output::text(line));
            }
            quiet::for_good();
            return Ok(());
        };
        view = named(&next)?;
        speed = None;
    }
}
