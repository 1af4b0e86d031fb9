//! `danlu export --for trl`: a stage as a folder for torchrun.

use std::{path::Path, sync::Once};

use super::{Export, above, whole};
use crate::{
    cli::{Common, Failure, Outcome, output},
    compute::Device,
    protocol::{Preparation, Progress, Work},
    store::{Fs as _, NewFile, RESERVE, RealFs, Run, StoreError},
    train::{
        Setup, TrainError,
        config::RunConfig,
        export::{HandOver, hand_over},
    },
    ui::Lang,
};

impl Export {
    pub(super) fn hand_over(&self, common: &Common) -> Outcome {
        let Some(stage) = self.stage else { return Err(Failure::usage("--for needs --stage")) };
        if self.step.is_some() {
            return Err(Failure::usage(
                "--step names a checkpoint to export; --for hands a stage over from its newest one, for --steps N",
            ));
        }
        if self.steps == Some(0) {
            return Err(Failure::usage("--steps is 0; expected 1 or more"));
        }
        let Some(out) = &self.out else {
            return Err(Failure::usage(format!(
                "give a folder to write into: danlu export --for trl --stage {stage} {stage}-trl"
            )));
        };
        self.may_make(out)?;
        let view = self.view("stage that can be handed over")?;
        let sets = self.set.clone();
        // The questions that the run's own model answers first, for pairs of its answers.
        let once = Once::new();
        let progress = Progress::to(move |Preparation { work, of, .. }| {
            if work == Work::Answers {
                once.call_once(|| {
                    output::note(&format!(
                        "{stage}: the run's own model answers {of} questions first; its answers are kept"
                    ));
                });
            }
        });
        let setup = Setup { stage, steps: self.steps, seed: common.seed, sets, progress, ..Setup::default() };
        let text = view.config().map_err(TrainError::from)?;
        let config = RunConfig::parse(&text, &setup.pairs(), stage).map_err(TrainError::from)?;
        if config.size == "auto" {
            return Err(Failure::usage(format!(
                "{}: size is \"auto\" and settled when the run is first trained; set it in run.toml, as in size = \"124m\"",
                view.dir().display()
            )));
        }
        // Only the pairs of preferences may need a model that answers.
        let mut device = if stage.draws_text() { Device::cpu() } else { common.device()? };
        let run = Run::open(RealFs::shared(), view.dir()).map_err(TrainError::from)?;
        let HandOver { files, notes, steps, rows: (rows, what) } =
            hand_over(&run, &mut device, &config, &setup, common.language() == Lang::Zh)?;
        for note in &notes {
            output::note(note);
        }
        let bytes: u64 = files.iter().map(NewFile::len).sum();
        output::note(&match common.language() {
            Lang::Zh => format!("{}：{steps} 步，{rows} {}，{bytes} 字节", out.display(), word(what)),
            Lang::En => format!("{}: {steps} steps, {rows} {what}, {bytes} bytes", out.display()),
        });
        has_room(out, bytes)?;
        self.write_folder(out, files)?;
        if !self.json {
            output::text(&format!(
                "cd {} && torchrun --nproc-per-node 8 train.py",
                crate::base::shell::path(&whole(out)?)
            ));
        }
        Ok(())
    }
}

/// What rows are called in Chinese.
fn word(what: &str) -> &str {
    match what {
        "rows" => "行",
        "pairs" => "个偏好对",
        _ => "个提示词",
    }
}

/// Fails before anything is written if the disk has too little space.
fn has_room(out: &Path, bytes: u64) -> Outcome {
    let dir = above(out);
    let need = bytes.saturating_add(RESERVE);
    // A folder that does not exist yet is made by the export.
    match RealFs.free_space(dir) {
        Ok(Some(there)) if there < need => {
            let error = StoreError::NoRoom { path: out.to_owned(), need, reserve: RESERVE, there };
            Err(TrainError::from(error).into())
        }
        _ => Ok(()),
    }
}
