//! `danlu import`: a stage that was trained elsewhere, back in its run.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    base::{StageId, shell},
    cli::{Common, Failure, Outcome, output},
    compute::Device,
    store::{RealFs, Run, RunView},
    train::{
        Setup, TrainError,
        config::RunConfig,
        export::{Back, take_back},
    },
    ui::Lang,
};

/// Take a stage back that was trained elsewhere after export --for: a checkpoint with its lineage, and its curve
#[derive(Args)]
pub(in crate::cli) struct Import {
    /// The run that handed the stage over
    #[arg(long)]
    run: PathBuf,
    /// The stage
    #[arg(long)]
    stage: StageId,
    /// The folder of the hand-over, its out/model, or one of its checkpoints
    dir: PathBuf,
    /// One JSON object: the checkpoint
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        if !self.dir.is_dir() {
            return Err(Failure::usage(format!(
                "{}: there is no such folder; expected the folder of danlu export --for trl",
                self.dir.display()
            )));
        }
        let view = RunView::open(RealFs::shared(), &self.run).map_err(TrainError::from)?;
        let (stage, text) = (self.stage, view.config().map_err(TrainError::from)?);
        let setup = Setup { stage, seed: common.seed, ..Setup::default() };
        let config = RunConfig::parse(&text, &setup.pairs(), stage).map_err(TrainError::from)?;
        // Only a reward model is measured here.
        let mut device = if stage.speaks() { Device::cpu() } else { common.device()? };
        let run = Run::open(RealFs::shared(), view.dir()).map_err(TrainError::from)?;
        let Back { checkpoint, step, engine, logged, notes } =
            take_back(&run, &mut device, &config, &setup, &self.dir)?;
        for note in &notes {
            output::note(note);
        }
        let path = checkpoint.display();
        if self.json {
            output::json(
                &json!({"checkpoint": path.to_string(), "stage": stage, "step": step, "engine": engine, "logged": logged}),
            );
            return Ok(());
        }
        output::text(&path.to_string());
        let dir = shell::path(view.dir());
        output::note(&match common.language() {
            Lang::Zh => format!("{logged} 步由 {engine} 训练；继续训练：danlu train --stage {stage} --run {dir}"),
            Lang::En => {
                format!("{logged} steps were trained by {engine}; to train on: danlu train --stage {stage} --run {dir}")
            }
        });
        Ok(())
    }
}
