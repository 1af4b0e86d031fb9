//! `danlu fork`: a new run that begins with a checkpoint of another one.

use std::path::PathBuf;

use clap::Args;

use super::named;
use crate::{
    base::shell,
    cli::{Common, Outcome, common::pair, output},
    train::tree::{Forking, Point, fork},
    ui::Lang,
};

/// A new run that begins with a checkpoint of another one, with other settings if some are given
#[derive(Args)]
pub(in crate::cli) struct Fork {
    /// The run's folder, or its name in ./runs
    run: PathBuf,
    /// The checkpoint, as stage and step: pretrain-400
    #[arg(long)]
    at: Point,
    /// The name of the new run; without it the next free one
    #[arg(long)]
    name: Option<String>,
    /// A key of run.toml with another value; without a table it belongs to the checkpoint's stage
    #[arg(long, value_parser = pair)]
    set: Vec<(String, String)>,
}

impl Fork {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        let parent = named(&self.run)?;
        let mut sets = self.set.clone();
        sets.extend(common.seed.map(|seed| ("seed".to_owned(), seed.to_string())));
        // The three words are those of run.toml.
        sets.extend(common.precision.iter().map(|precision| ("precision".to_owned(), format!("{precision:?}"))));
        let order = Forking { at: self.at.clone(), name: self.name.clone(), sets };
        let made = fork(&parent, &order)?;
        let (stage, dir) = (self.at.stage, shell::path(&made.dir));
        output::text(&made.dir.display().to_string());
        made.notes.iter().for_each(|note| output::note(note));
        output::note(&match common.language() {
            Lang::Zh => format!(
                "从 {} 的 {stage}-{} 分叉；继续训练：danlu train --stage {stage} --run {dir}",
                parent.name(),
                self.at.step
            ),
            Lang::En => format!(
                "a fork of {} at {stage}-{}; to train it: danlu train --stage {stage} --run {dir}",
                parent.name(),
                self.at.step
            ),
        });
        Ok(())
    }
}
