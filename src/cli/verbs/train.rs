//! `danlu train`: one stage, no screen.

use std::path::PathBuf;

use clap::Args;

use super::unattended::Unattended;
use crate::{
    base::StageId,
    cli::{Common, Failure, Outcome, RunArgs, output, reading::say_that_text_is_read, signals::Stopping},
    protocol::Event,
    train::{OpenRun, Setup, TrainError, Trainer, config::Start, open_run},
};

/// Train one stage without a screen; continues from the newest checkpoint
#[derive(Args)]
pub(in crate::cli) struct Train {
    #[arg(long, default_value_t, help = format!("The stage: {}", StageId::ALL.map(StageId::name).join(", ")))]
    stage: StageId,
    #[command(flatten)]
    args: RunArgs,
    /// Start a stage that has no checkpoint yet from this checkpoint or model's folder
    #[arg(long)]
    from: Option<PathBuf>,
    /// The checkpoint of the stage before that a stage without checkpoints begins from: best, latest, or a step
    #[arg(long, conflicts_with = "from")]
    start: Option<Start>,
    /// Train up to this step; when the stage is already there, this many steps more
    #[arg(long)]
    steps: Option<usize>,
    /// One JSON object per line: steps, and events as {"event": …}
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        if self.steps == Some(0) {
            return Err(Failure::usage("--steps is 0; expected 1 or more"));
        }
        let stopping = Stopping::default();
        let setup = Setup {
            from: self.from.clone(),
            start: self.start,
            steps: self.steps,
            alone: true,
            stop: stopping.flag(),
            ..self.args.setup(common, self.stage)
        };
        // Started first: a signal while data are read ends the reading, or is passed on to the trainer.
        let mut unattended = Unattended::start(self.json, stopping)?;
        let mut device = common.training_device()?;
        let (run, config) = open_run(self.args.run.as_deref(), &setup, &mut device)?;
        say_that_text_is_read(&config);
        let stage = self.stage;
        let trainer = match Trainer::new(OpenRun::new(run, device), config, &setup).map_err(|unready| unready.error) {
            Err(TrainError::Stopped) => {
                let reason = "stopped".to_owned();
                unattended.print(stage, Event::Finished { step: 0, reason, failed: false, seconds: 0.0 });
                return unattended.finish();
            }
            made => made?,
        };
        let summary = unattended.run(stage, trainer).0?;
        unattended.finish()?;
        if !self.json {
            let place = summary.checkpoint.map_or("nothing new to save".to_owned(), |p| p.display().to_string());
            output::note(&format!("{stage} {} at step {}: {place}", summary.reason, summary.step));
        }
        Ok(())
    }
}
