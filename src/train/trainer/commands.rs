//! Commands, applied between steps.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::{Emit, Trainer};
use crate::{
    base::StageId,
    data::{Role, Turn, encode},
    protocol::{Command, DroppedView, Event},
    train::{
        corpus::conversations::{demonstration, read_demonstration},
        error::TrainError,
        run::lineage,
    },
};

/// How a stage ends before its time.
pub(super) enum Way {
    /// For good.
    Stop {
        /// Whether to save.
        save: bool,
        /// Whether whoever gave commands is gone: nobody could answer a failure.
        left: bool,
    },
    /// To another stage.
    To(StageId),
}

impl Trainer {
    /// Applies the commands that are there; waits for one while paused with nothing to do. Some
    /// means that the stage ends here.
    pub(super) fn obey(&mut self, commands: &Receiver<Command>, emit: Emit<'_>) -> Result<Option<Way>, TrainError> {
        loop {
            let idle = self.paused && self.answer.is_none() && self.waiting.is_empty() && self.voting.idle();
            let command = if idle {
                match commands.recv_timeout(Duration::from_millis(50)) {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Timeout) => return Ok(None),
                    // Whoever gave commands is gone: keep what there is.
                    Err(RecvTimeoutError::Disconnected) => return Ok(Some(Way::Stop { save: true, left: true })),
                }
            } else {
                match commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(None),
                }
            };
            // Wishes that wait for an answer get one; the others have only the stage to tell of the error.
            let plain = matches!(
                command,
                Command::Pause | Command::Resume | Command::Save | Command::Probe | Command::ShowBatch
            );
            match self.obey_one(command, emit) {
                Ok(None) => {}
                Ok(way) => return Ok(way),
                Err(e) if self.can_wait(&e) && plain => self.stumble(&e, emit),
                // What was asked is not done, and the stage is as it was.
                Err(e) if self.can_wait(&e) => self.refuse(e.to_string(), emit),
                Err(e) => return Err(e),
            }
        }
    }

    /// Obeys one command; Some is the stage's end.
    fn obey_one(&mut self, command: Command, emit: Emit<'_>) -> Result<Option<Way>, TrainError> {
        match command {
            Command::Stop { save } => return Ok(Some(Way::Stop { save, left: false })),
            Command::Pause if !self.paused => {
                self.drain(emit)?;
                self.paused = true;
                self.tell(Event::Paused { step: self.done }, emit);
            }
            Command::Resume | Command::Save if self.guarded => {
                let name = self.r.stage;
                self.refuse(
                    format!("the guard has stopped {name}; open {name} again, from its newest checkpoint"),
                    emit,
                );
            }
            Command::Resume if self.recovery.stopped() => {
                self.recovery.go_on();
                self.resume(emit);
            }
            Command::Resume if self.paused && self.trouble.holds() => {
                if self.recover(emit)? {
                    self.resume(emit);
                }
            }
            Command::Resume if self.paused && self.submitted >= self.r.target => {
                self.note(
                    format!(
                        "{} is complete at step {}; `danlu train --stage {} --steps N` continues",
                        self.r.stage, self.done, self.r.stage
                    ),
                    emit,
                );
            }
            Command::Resume if self.paused => self.resume(emit),
            Command::Pause | Command::Resume => {}
            Command::Save => self.save_on_wish(emit)?,
            Command::Probe => {
                self.drain(emit)?;
                self.probe(emit)?;
            }
            Command::ShowBatch => self.show_batch(emit)?,
            Command::ShowRollout { which } => self.show_rollout(which, emit)?,
            Command::Offer { prompt } => self.offer(prompt, emit)?,
            Command::Vote { pair, choice, seconds } => self.vote(pair, choice, seconds, emit)?,
            Command::Unvote => self.unvote(emit)?,
            Command::Refit => self.refit(emit)?,
            Command::Demonstrate { turns } => self.demonstrate(&turns, emit)?,
            Command::ShowRoom => self.show_room(emit)?,
            Command::Weigh { source, by } => self.weigh(&source, by, emit)?,
            Command::ShowDocument { source, index } => self.show_document(&source, index, emit)?,
            Command::ShowNextBatch => self.show_next_batch(emit)?,
            Command::ShowDropped { source, rule, from, count } => {
                self.show_dropped(DroppedView { source, rule, from, ..DroppedView::default() }, count, emit)?;
            }
            Command::TryRule { source, rule, threshold } => self.try_rule(&source, rule, threshold, emit)?,
            Command::SetRule { source, rule, threshold } => self.set_rule(&source, &rule, threshold, emit),
            Command::Mark { text, keep } => self.mark(&text, keep, emit),
            Command::Reread => self.reread(),
            Command::Stage { name } => {
                if let Some(stage) = self.may_switch(&name, emit)? {
                    return Ok(Some(Way::To(stage)));
                }
            }
            Command::Prompt { id, ask, who, sampling, max_new_tokens } => {
                self.queue(id, ask, who, sampling, max_new_tokens, emit);
            }
            Command::Cancel { id } => self.cancel(id, emit),
        }
        Ok(None)
    }

    /// The stage to go to, if it can be trained; else it is said what to train first.
    fn may_switch(&mut self, name: &str, emit: Emit<'_>) -> Result<Option<StageId>, TrainError> {
        let stage = match name.parse::<StageId>() {
            Ok(stage) => stage,
            Err(e) => {
                self.refuse(e.to_string(), emit);
                return Ok(None);
            }
        };
        if stage == self.r.stage && (self.guarded || self.recovery.stopped()) {
            return Ok(Some(stage));
        }
        if stage == self.r.stage {
            self.refuse(format!("{name} is the stage that runs"), emit);
            return Ok(None);
        }
        // What this stage has learned so far is about to be saved, and may be all that is missing.
        let is_parent = stage.parent() == Some(self.r.stage) && self.done > 0;
        if !is_parent && let Some(missing) = lineage::missing_parent(self.shop.run.view(), stage)? {
            self.refuse(missing, emit);
            return Ok(None);
        }
        Ok(Some(stage))
    }

    pub(super) fn refuse(&mut self, text: String, emit: Emit<'_>) {
        self.tell(Event::Refused { text }, emit);
    }

    /// Keeps a corrected conversation: on disk first, then in the mix from the next batch on.
    fn demonstrate(&mut self, turns: &[Turn], emit: Emit<'_>) -> Result<(), TrainError> {
        let spoken = |role: Role| turns.iter().any(|t| t.role == role && !t.content.trim().is_empty());
        let whole = spoken(Role::User)
            && turns.last().is_some_and(|t| t.role == Role::Assistant && !t.content.trim().is_empty());
        if !whole {
            self.refuse("a demonstration needs a question and an answer that is not empty".to_owned(), emit);
            return Ok(());
        }
        let step = if self.r.stage.chat() {
            self.submitted as u64
        } else {
            // Before fine-tuning: for its next batch, whichever that is.
            let stages = lineage::stages(self.shop.run.view())?;
            let mut chat = stages.iter().filter(|s| s.name.parse::<StageId>().is_ok_and(StageId::chat));
            chat.find_map(|s| s.step).unwrap_or(0) as u64
        };
        // Read back from what will be written: a resume learns the same words, or it is refused here.
        let line = demonstration(turns, step);
        let read = read_demonstration(line.to_string().as_bytes());
        let example = match read.and_then(|c| encode(&c, &self.r.tokenizer).map_err(|e| e.to_string())) {
            Ok(example) => example,
            Err(why) => {
                self.refuse(format!("the demonstration is no conversation to learn from: {why}"), emit);
                return Ok(());
            }
        };
        let most = self.r.plan.context + 1;
        if self.r.stage.chat() && example.ids.len() > most {
            let n = example.ids.len();
            self.refuse(
                format!("the demonstration has {n} tokens, more than the context of {}; shorten it", most - 1),
                emit,
            );
            return Ok(());
        }
        let mut log = self.shop.run.demonstrations()?;
        log.append(&line)?;
        log.sync()?;
        self.demonstrations += 1;
        self.r.work.demonstrate(step, example)?;
        self.tell(Event::Demonstrated { step: step as usize + 1, count: self.demonstrations }, emit);
        Ok(())
    }
}
