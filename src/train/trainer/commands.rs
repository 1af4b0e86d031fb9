//! Commands, applied between steps.

use std::{path::Path, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::{
    live_data,
    main_loop::{Loop, Way},
    prompts::Prompt,
};
use crate::{
    base::StageId,
    data::{Role, Turn, encode},
    protocol::{Care, Command, DroppedView, Event},
    train::{
        corpus::conversations::{demonstration, read_demonstration},
        error::TrainError,
        run::lineage,
    },
};

impl Loop<'_> {
    /// Applies pending commands; while paused with nothing to do, waits for one. Some: the stage ends here.
    pub(super) fn obey(&mut self, commands: &Receiver<Command>) -> Result<Option<Way>, TrainError> {
        loop {
            let idle = self.core.paused && self.prompts.idle() && self.voting.idle();
            let command = if idle {
                match commands.recv_timeout(Duration::from_millis(50)) {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Timeout) => return Ok(None),
                    // The screen is gone: save.
                    Err(RecvTimeoutError::Disconnected) => return Ok(Some(Way::Stop { save: true, left: true })),
                }
            } else {
                match commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(None),
                }
            };
            // Commands with an answer get a refusal; for the others the stage itself reports the error.
            let plain = matches!(
                command,
                Command::Pause | Command::Resume | Command::Save | Command::Probe | Command::ShowBatch
            );
            match self.obey_one(command) {
                Ok(None) => {}
                Ok(way) => return Ok(way),
                Err(TrainError::Refused(text)) => self.core.refuse(text),
                Err(e) if self.core.can_wait(&e) && plain => self.core.stumble(&e),
                // The command failed, and the stage is unchanged.
                Err(e) if self.core.can_wait(&e) => self.core.refuse(e.to_string()),
                Err(e) => return Err(e),
            }
        }
    }

    /// Applies one command; Some: the stage ends.
    fn obey_one(&mut self, command: Command) -> Result<Option<Way>, TrainError> {
        let (stage, step) = (self.core.stage, self.core.done);
        if matches!(command, Command::Pause | Command::Resume) {
            self.until = None;
        }
        match command {
            Command::Stop { save } => return Ok(Some(Way::Stop { save, left: false })),
            Command::Pause if !self.core.paused => {
                self.drain()?;
                self.core.pause();
            }
            Command::Resume | Command::Save if self.guarded => {
                return TrainError::refused(format!(
                    "the guard has stopped {stage}; open {stage} again, from its newest checkpoint"
                ));
            }
            Command::Resume if self.recovery.stopped() => {
                self.recovery.go_on();
                self.core.resume();
            }
            Command::Resume if self.core.paused && self.core.holds => {
                if self.retry()? {
                    self.core.resume();
                }
            }
            Command::Resume if self.core.paused && self.core.submitted >= self.core.target => {
                self.core.note(format!(
                    "{stage} is complete at step {step}; `danlu train --stage {stage} --steps N` continues"
                ));
            }
            Command::Resume if self.core.paused => self.core.resume(),
            Command::Pause | Command::Resume => {}
            Command::Step { steps } => self.take_steps(steps)?,
            Command::Set { key, value } => self.data.set(&mut self.core, &mut self.recovery, &key, &value)?,
            Command::Reopen => return Ok(Some(Way::To(stage))),
            Command::Save => self.save_on_command()?,
            Command::Probe => {
                self.drain()?;
                self.probe()?;
            }
            Command::ShowBatch => {
                self.drain()?;
                self.core.show_batch()?;
            }
            Command::ShowRollout { which } => {
                self.drain()?;
                self.core.show_rollout(which)?;
            }
            Command::Offer { prompt } => self.voting.offer(&mut self.core, prompt)?,
            Command::Vote { pair, choice, seconds } => {
                if self.voting.vote(&mut self.core, pair, choice, seconds)? {
                    self.refit_after_vote()?;
                }
            }
            Command::Unvote { pair } => {
                if self.voting.unvote(&mut self.core, pair)? {
                    self.refit_after_vote()?;
                }
            }
            Command::Refit => self.refit()?,
            Command::Demonstrate { turns } => self.demonstrate(&turns)?,
            Command::ShowRoom => self.data.show(&mut self.core)?,
            Command::Weigh { source, by } => self.data.weigh(&mut self.core, &mut self.recovery, &source, by)?,
            Command::ShowDocument { source, index, find } => {
                self.drain()?;
                live_data::show_document(&mut self.core, &source, index, find.as_ref())?;
            }
            Command::ShowNextBatch => live_data::show_next_batch(&mut self.core)?,
            Command::ShowDropped { source, rule, from, count } => {
                let asked = DroppedView { source, rule, from, ..DroppedView::default() };
                live_data::show_dropped(&mut self.core, &asked, count)?;
            }
            Command::TryRule { source, rule, threshold } => {
                live_data::try_rule(&mut self.core, &source, rule, threshold)?;
            }
            Command::SetRule { source, rule, threshold } => {
                self.data.set_rule(&mut self.core, &source, &rule, threshold)?;
            }
            Command::Mark { text, keep } => live_data::mark(&mut self.core, &text, keep)?,
            Command::Reread => live_data::reread(&mut self.core),
            Command::Stage { stage } => return Ok(Some(Way::To(self.may_switch(stage)?))),
            Command::Prompt { id, ask, who, sampling, max_new_tokens } => {
                self.prompts.queue(&mut self.core, Prompt { id, ask, who, sampling, max_new_tokens });
            }
            Command::Cancel { id } => self.prompts.cancel(&mut self.core, id),
            Command::Export { name, path, bytes } => {
                let run = &self.core.open.run;
                let written = match path {
                    Some(path) => run.write_new(&path, &bytes).map(|()| path),
                    None => run.write_export(&name, &bytes),
                };
                let path = written.map_err(|e| TrainError::Refused(e.to_string()))?;
                self.core.out.show(Event::Exported { path });
            }
            Command::Care(Care::RemoveCheckpoint { run, checkpoint }) if self.learns_from(&run, &checkpoint) => {
                return TrainError::refused(format!(
                    "{checkpoint} is not removed: {stage} began from it or learns from it"
                ));
            }
            command @ (Command::ShowRuns
            | Command::Compare { .. }
            | Command::ShowTrained { .. }
            | Command::Inspect { .. }
            | Command::Fork { .. }
            | Command::Care(_)) => {
                self.explorer.ask(command);
            }
        }
        Ok(None)
    }

    /// Whether the open stage began from a checkpoint or learns from it, which none of its own may say yet.
    fn learns_from(&self, run: &Path, checkpoint: &str) -> bool {
        let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut state = self.core.state.clone();
        self.core.work.write_state(&mut state);
        let named = state.parent.into_iter().chain(state.reward_model.map(|(name, _)| name)).any(|n| n == checkpoint);
        named && whole(run) == whole(self.core.view().dir())
    }

    /// Takes some steps while paused, then pauses again.
    fn take_steps(&mut self, steps: usize) -> Result<(), TrainError> {
        let core = &mut self.core;
        let stage = core.stage;
        if self.guarded || self.recovery.stopped() {
            return TrainError::refused(format!("{stage} was stopped; open it again before taking steps"));
        }
        if core.holds {
            return TrainError::refused("a write failed; remove its cause and save before taking steps");
        }
        if !core.paused {
            return TrainError::refused("training is running; pause it before taking single steps");
        }
        if core.submitted >= core.target {
            return TrainError::refused(format!("{stage} is complete at step {}", core.done));
        }
        self.until = Some(core.submitted.saturating_add(steps.max(1)));
        core.resume();
        Ok(())
    }

    /// The stage to open next, if it can be trained; else what to train first.
    fn may_switch(&self, stage: StageId) -> Result<StageId, TrainError> {
        if stage == self.core.stage {
            let again = self.guarded || self.recovery.stopped();
            return if again { Ok(stage) } else { TrainError::refused(format!("{stage} is the stage that runs")) };
        }
        // The current stage's checkpoint, about to be saved, may be all that is missing.
        let is_parent = stage.parent() == Some(self.core.stage) && self.core.done > 0;
        if !is_parent && let Some(missing) = lineage::missing(self.core.view(), stage, false)? {
            return TrainError::refused(missing);
        }
        Ok(stage)
    }

    /// Retries failed writes; returns whether all succeeded.
    fn retry(&mut self) -> Result<bool, TrainError> {
        if let Err(e) = self.core.out.flush() {
            self.core.stumble(&e.into());
            return Ok(false);
        }
        self.core.out.failure();
        self.data.retry(&mut self.core, &mut self.recovery)
    }

    /// Saves on command. If an error had paused the stage, it continues afterwards.
    fn save_on_command(&mut self) -> Result<(), TrainError> {
        self.settle()?;
        let (held, failed) = (self.core.holds, self.saves.failed);
        if held && !self.retry()? {
            return Ok(());
        }
        self.saves.begin(&mut self.core, &mut self.recovery)?;
        if held {
            self.saves.finish(&mut self.core, &mut self.recovery, true)?;
            if self.saves.failed == failed {
                self.core.resume();
            }
        }
        Ok(())
    }

    /// Fits the reward model to the votes.
    fn refit(&mut self) -> Result<(), TrainError> {
        self.voting.require_fit(&mut self.core)?;
        self.settle()?;
        if self.voting.refit(&mut self.core)? {
            self.saves.outdate(self.core.done);
        }
        Ok(())
    }

    /// The same, after a vote that is already stored and shown.
    fn refit_after_vote(&mut self) -> Result<(), TrainError> {
        match self.refit() {
            Err(e) if self.core.can_wait(&e) => self.core.note(format!("the reward model was not fitted: {e}")),
            fitted => fitted?,
        }
        Ok(())
    }

    /// Stores a corrected conversation: on disk first, then in the mix from the next batch on.
    fn demonstrate(&mut self, turns: &[Turn]) -> Result<(), TrainError> {
        let core = &mut self.core;
        let spoken = |role: Role| turns.iter().any(|t| t.role == role && !t.content.trim().is_empty());
        let whole = spoken(Role::User)
            && turns.last().is_some_and(|t| t.role == Role::Assistant && !t.content.trim().is_empty());
        if !whole {
            return TrainError::refused("a demonstration needs a question and a non-empty answer");
        }
        let step = if core.stage.chat() {
            core.submitted as u64
        } else {
            // Before fine-tuning: for its next batch.
            let stages = lineage::stages(core.view())?;
            let mut chat = stages.iter().filter(|s| s.stage.chat());
            chat.find_map(|s| s.step).unwrap_or(0) as u64
        };
        // Parse the line that will be written, so that a resume learns the same, or refuse it here.
        let line = demonstration(turns, step);
        let read = read_demonstration(line.to_string().as_bytes(), core.config.turns());
        let example = match read.and_then(|c| encode(&c, &core.tokenizer).map_err(|e| e.to_string())) {
            Ok(example) => example,
            Err(why) => {
                return TrainError::refused(format!("the demonstration cannot be learned from: {why}"));
            }
        };
        let most = core.plan.context + 1;
        if core.stage.chat() && example.ids.len() > most {
            return TrainError::refused(format!(
                "the demonstration has {} tokens, more than the context of {}; shorten it",
                example.ids.len(),
                most - 1
            ));
        }
        let mut log = core.open.run.demonstrations()?;
        log.append(&line)?;
        log.sync()?;
        self.demonstrations += 1;
        if let Some(text) = core.work.text() {
            text.demonstrate(step, example)?;
        }
        core.out.emit(Event::Demonstrated { step: step as usize + 1, count: self.demonstrations });
        Ok(())
    }
}
