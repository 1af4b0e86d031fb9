//! `danlu recipe`: all stages unattended, each continued where it stopped, and a report at the end.

mod document;
mod figures;
mod logs;
mod report;
#[cfg(test)]
mod tests;
mod words;

use std::{path::PathBuf, time::Instant};

use clap::Args;

use self::report::{Facts, Failed, LINE, Report};
use super::unattended::Unattended;
use crate::{
    base::{StageId, clean},
    cli::{Common, Failure, Outcome, RunArgs, output, signals::Stopping},
    protocol::Event,
    store::RunView,
    train::{
        OpenRun, Setup, Standing, TrainError, Trainer,
        config::{RunConfig, Start},
        open_line, settled, standing,
    },
};

/// All stages unattended, from random weights to PPO, with a report; continues where it stopped
#[derive(Args)]
pub(in crate::cli) struct Recipe {
    #[command(flatten)]
    args: RunArgs,
    /// Start pretraining, where it has no checkpoint yet, from this checkpoint or model's folder
    #[arg(long)]
    from: Option<PathBuf>,
    /// The checkpoint of the stage before that each stage begins from: best or latest
    #[arg(long)]
    start: Option<Start>,
    /// One JSON object per line: steps, events as {"event": …}, the report last
    #[arg(long)]
    json: bool,
}

/// How the recipe ended.
enum End {
    /// All stages are trained.
    Done,
    /// A stop was requested; progress is saved.
    Stopped,
    /// A stage failed.
    Failed(StageId, TrainError),
}

impl Recipe {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        let begun = Instant::now();
        for (key, _) in &self.args.set {
            if !key.contains('.') && !RunConfig::is_top_level(key) {
                let named: Vec<String> = LINE.iter().map(|stage| format!("{stage}.{key}")).collect();
                return Err(Failure::usage(format!(
                    "--set {key}: a recipe has several stages; name one: {}",
                    named.join(", ")
                )));
            }
        }
        if let Some(Start::Step(step)) = self.start {
            return Err(Failure::usage(format!(
                "--start {step}: a recipe has several stages; give best or latest, or set the step of one stage with --set sft.start={step}"
            )));
        }
        let stopping = Stopping::default();
        let setup = Setup {
            from: self.from.clone(),
            start: self.start,
            stop: stopping.flag(),
            ..self.args.setup(common, LINE[0])
        };
        let unattended = Unattended::start(self.json, stopping)?;
        let mut device = common.training_device()?;
        let engine = device.info().clone();
        let (run, config) = open_line(self.args.run.as_deref(), &setup, &LINE, &mut device)?;
        // Create the report folder first, so that a failure shows before training.
        run.make_report_dir().map_err(TrainError::from)?;
        let view = run.view().clone();
        let mut launch = Launch { json: self.json, setup, unattended, trained: Vec::new() };
        let (end, open) = launch.train(OpenRun::new(run, device));
        if launch.unattended.is_unwritten() {
            return launch.unattended.finish();
        }
        let failed = match &end {
            End::Done => None,
            End::Stopped => {
                output::note("stopped; run the same command to continue from here");
                return Ok(());
            }
            End::Failed(stage, error) => Some(Failed { stage: *stage, error: error.to_string() }),
        };
        let facts = Facts {
            run: view.name(),
            size: config.size.clone(),
            seed: config.seed,
            engine: engine.engine,
            adapter: engine.adapter,
            seconds: begun.elapsed().as_secs_f64(),
            failed,
        };
        let report = make(&view, facts, &launch.trained)?;
        if report.is_empty() {
            // Nothing was measured: report only the error.
            return failure(end);
        }
        let words = words::document(&report, view.dir(), common.language());
        let written = [
            ("report.json", clean::json_pretty(&report).unwrap_or_default() + "\n"),
            ("report.md", document::markdown(&words)),
        ]
        .into_iter()
        .try_for_each(|(name, text)| open.run.write_report(name, text.as_bytes()).map(drop));
        if self.json {
            output::json(&report);
        } else {
            output::lines(&document::plain(&words));
        }
        failure(end)?;
        Ok(written.map_err(TrainError::from)?)
    }
}

fn failure(end: End) -> Outcome {
    match end {
        End::Failed(_, error) => Err(error.into()),
        End::Done | End::Stopped => Ok(()),
    }
}

/// The report, from the run's logs of all launches.
fn make(view: &RunView, facts: Facts, trained: &[StageId]) -> Result<Report, TrainError> {
    let logs = logs::read(view, trained)?;
    Ok(Report::new(facts, &logs, &logs::answers(view)?))
}

/// One launch of the recipe.
struct Launch {
    json: bool,
    setup: Setup,
    unattended: Unattended,
    /// Stages trained in this launch.
    trained: Vec<StageId>,
}

impl Launch {
    /// Trains the rest of every stage. Returns the open run, which holds the lock.
    fn train(&mut self, mut open: OpenRun) -> (End, OpenRun) {
        for stage in LINE {
            if self.unattended.is_over() {
                return (End::Stopped, open);
            }
            if stage != self.setup.stage {
                self.setup = self.setup.for_stage(stage);
            }
            let config = match self.left(stage, &mut open) {
                Ok(Some(config)) => config,
                Ok(None) => continue,
                Err(error) => return (End::Failed(stage, error), open),
            };
            let trainer = match Trainer::new(open, config, &self.setup) {
                Ok(trainer) => trainer,
                Err(unready) => {
                    let end = match unready.error {
                        TrainError::Stopped => End::Stopped,
                        error => End::Failed(stage, error),
                    };
                    return (end, unready.open);
                }
            };
            self.trained.push(stage);
            let (result, back) = self.unattended.run(stage, trainer);
            open = back;
            match result {
                Ok(summary) if summary.reason == "stopped" => return (End::Stopped, open),
                Ok(summary) => {
                    if !self.json {
                        output::note(&format!("{} {} at step {}", stage.name(), summary.reason, summary.step));
                    }
                }
                Err(error) => return (End::Failed(stage, error), open),
            }
        }
        (End::Done, open)
    }

    /// The configuration for training a stage if it is not complete; otherwise a note says why not.
    fn left(&mut self, stage: StageId, open: &mut OpenRun) -> Result<Option<RunConfig>, TrainError> {
        let config = settled(&open.run, &self.setup, &mut open.device)?;
        if let Some(start) = self.setup.start.filter(|_| stage.parent().is_some()) {
            let there = open.run.view().checkpoints().list()?;
            if let Some(own) = there.iter().rfind(|id| id.stage == stage) {
                let text =
                    format!("--start {start} is ignored: {stage} has the checkpoint {own} and continues from it");
                self.note(stage, own.step as usize, text);
            }
        }
        let (step, text) = match standing(open.run.view(), &config, stage)? {
            Standing::Due => return Ok(Some(config)),
            Standing::Complete(step) => (step, format!("{stage} is complete at step {step} and is not trained again")),
            Standing::Passed(step) => (step, format!("{stage} stays at step {step}: another stage started from there")),
            Standing::LeftOut => {
                (0, format!("{stage} has no checkpoint and is skipped: the stage after it has already started"))
            }
        };
        if let Some(from) = &self.setup.from {
            let text = format!("--from {} is ignored: the stage it would start is not trained", from.display());
            self.note(stage, step, text);
        }
        self.note(stage, step, text);
        Ok(None)
    }

    fn note(&mut self, stage: StageId, step: usize, text: String) {
        self.unattended.print(stage, Event::Note { step, text });
    }
}
