//! Saving: the state is copied to the host and written on a separate thread, one save at a time.

use std::{collections::BTreeSet, path::PathBuf, thread::JoinHandle, time::Instant};

use super::{core::Core, recovery::Recovery, spikes::Spike};
use crate::{
    protocol::Event,
    store::{CheckpointId, StoreError},
    train::{
        error::TrainError,
        run::checkpoint::{self, Stay, Written},
    },
};

/// A save in progress.
struct Writing {
    step: usize,
    since: Instant,
    /// Whether it has the best held-out figure so far.
    best: bool,
    thread: JoinHandle<Result<Written, TrainError>>,
}

/// The saves of a stage.
#[derive(Default)]
pub(super) struct Saves {
    writing: Option<Writing>,
    /// The step of the newest checkpoint.
    pub saved_at: usize,
    /// The newest checkpoint written since the stage was opened.
    pub newest: Option<PathBuf>,
    /// Notes on older checkpoints that were emitted already.
    noted: BTreeSet<String>,
    /// Saves that failed.
    pub failed: usize,
}

impl Saves {
    pub(super) fn new(saved_at: usize) -> Saves {
        Saves { saved_at, ..Saves::default() }
    }

    /// What is to be saved at a step has changed since it was saved.
    pub(super) fn outdate(&mut self, step: usize) {
        self.saved_at = self.saved_at.min(step.saturating_sub(1));
    }

    /// The name of the newest checkpoint written since the stage was opened.
    pub(super) fn newest_name(&self) -> Option<String> {
        self.newest.as_ref()?.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// The checkpoint of the weights that answer, or the one they started from.
    pub(super) fn answers_from(&self, core: &Core<'_>) -> Option<String> {
        let at = || CheckpointId::new(core.stage, self.saved_at as u64).to_string();
        let own = self.newest_name().or_else(|| (self.saved_at > 0).then(at));
        // While the reward model is trained its parent answers.
        own.filter(|_| core.stage.speaks()).or_else(|| core.state.parent.clone())
    }

    /// Copies the state to the host and starts writing it.
    pub(super) fn begin(&mut self, core: &mut Core<'_>, recovery: &mut Recovery) -> Result<(), TrainError> {
        let step = core.done;
        // One at a time, also when the user asks for several.
        self.finish(core, recovery, true)?;
        if let Some(why) = recovery.unsavable(step) {
            core.out.emit(Event::SaveFailed { step, error: why.clone() });
            return if core.interactive() { Ok(()) } else { Err(TrainError::Work(why)) };
        }
        // Metrics must be durable before their checkpoint.
        if let Err(e) = core.out.sync() {
            return self.fail(core, step, e.into());
        }
        let parts = core.work.parts(&mut core.open.device)?;
        let mut stay = Stay { pinned: recovery.pinned(core), before: recovery.before(), best: Vec::new() };
        let own = CheckpointId::new(core.stage, step as u64);
        // If the folder cannot be listed, the save itself fails, or nothing is removed.
        let mut there = core.view().checkpoints().list().unwrap_or_default();
        there.retain(|id| id.stage == core.stage && id.step != own.step);
        there.push(own.clone());
        stay.best = core.figures.ranked(&there).into_iter().cloned().collect();
        let is_best = stay.best.first() == Some(&own);
        core.state.step = step as u64;
        core.state.history = core.work.history().clone();
        core.work.write_state(&mut core.state);
        let (saver, state) = (core.open.run.saver(), core.state.clone());
        let (model, tokenizer) = (core.work.model().config.clone(), core.tokenizer.clone());
        let handle = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || checkpoint::save(&saver, parts, &model, &tokenizer, &state, &stay));
        match handle {
            Ok(thread) => self.writing = Some(Writing { step, since: Instant::now(), best: is_best, thread }),
            Err(e) => return self.fail(core, step, TrainError::no_thread("saving", &e)),
        }
        self.finish(core, recovery, false)
    }

    /// Reports a failed save: a pause in the workbench, otherwise the end of the stage.
    fn fail(&mut self, core: &mut Core<'_>, step: usize, error: TrainError) -> Result<(), TrainError> {
        self.failed += 1;
        core.out.emit(Event::SaveFailed { step, error: error.to_string() });
        if !core.interactive() {
            return Err(error);
        }
        core.hold();
        Ok(())
    }

    /// Reports a save that has finished; with `wait`, waits for it.
    pub(super) fn finish(
        &mut self,
        core: &mut Core<'_>,
        recovery: &mut Recovery,
        wait: bool,
    ) -> Result<(), TrainError> {
        let Some(writing) = self.writing.take_if(|w| wait || w.thread.is_finished()) else { return Ok(()) };
        let Writing { step, since, best, thread } = writing;
        let result = thread.join().unwrap_or_else(|_| {
            let source = std::io::Error::other("the writer panicked");
            Err(StoreError::Io { doing: "save", path: core.view().dir().to_owned(), source }.into())
        });
        match result {
            Ok(Written { saved, left }) => {
                let path = saved.checkpoint.path.clone();
                let bytes = saved.checkpoint.files.values().map(|f| f.bytes).sum();
                (self.saved_at, self.newest) = (step, Some(path.clone()));
                recovery.saved(&saved.checkpoint.id);
                core.out.emit(Event::Saved { step, path, seconds: since.elapsed().as_secs_f64(), bytes, best });
                if !saved.durable {
                    core.note("this file system does not guarantee that the checkpoint survives a power cut");
                }
                // The same at every save, so reported once.
                for text in left.into_iter().filter(|text| self.noted.insert(text.clone())) {
                    core.note(text);
                }
                Ok(())
            }
            Err(TrainError::NotFinite(what)) if recovery.guards() => {
                core.out.emit(Event::SaveFailed { step, error: TrainError::NotFinite(what.clone()).to_string() });
                // A NaN weight stays NaN: no later step can be saved either.
                let since = step as u64 + 1;
                recovery.spoilt(Spike { since, reason: format!("the weights cannot be saved: {what}") });
                Ok(())
            }
            Err(e) => self.fail(core, step, e),
        }
    }

    /// Without a screen, fails unless the requested save exists.
    pub(super) fn require(&self, core: &Core<'_>) -> Result<(), TrainError> {
        if core.interactive() || self.saved_at >= core.done {
            return Ok(());
        }
        Err(TrainError::Work(format!("step {} could not be saved; the newest checkpoint is kept", core.done)))
    }
}
