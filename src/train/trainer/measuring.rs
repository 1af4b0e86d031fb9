//! What is measured between steps, told and logged.

use super::{Emit, Trainer};
use crate::train::{error::TrainError, event::Event};

impl Trainer {
    /// Held-out figures; over everything held out with `whole`.
    pub(super) fn validate(&mut self, whole: bool, emit: Emit<'_>) -> Result<(), TrainError> {
        let events = self.r.work.validate(&mut self.shop.device, self.done, whole)?;
        for event in events {
            self.tell(event, emit);
        }
        Ok(())
    }

<<<<<<< HEAD
    /// Completes the probes.
=======
    /// Scores of tasks, their losses, and the loss over all of them weighted by trained tokens.
    fn examine(&mut self, whole: bool, emit: Emit<'_>) -> Result<(), TrainError> {
        let (Some(examiner), Some(chats)) = (&mut self.examiner, &self.r.chats) else { return Ok(()) };
        let most = if whole { tasks::MOST } else { tasks::SOME };
        let (device, tokenizer) = (&mut self.shop.device, &self.r.corpus.tokenizer);
        let reports = examiner.examine(device, tokenizer, &chats.sets, self.done, most)?;
        let mut told = Vec::new();
        let (mut total, mut tokens, mut bytes) = (0.0, 0, 0);
        for ((task, _, held), report) in tasks::by_task(&chats.sets).iter().zip(&reports) {
            let held = tasks::some(held, most);
            let trained: usize = held.iter().map(|h| h.example.trained()).sum();
            let answers = held.iter().flat_map(|h| &h.conversation.turns).filter(|t| t.role == Role::Assistant);
            let of: usize = answers.map(|t| t.content.len()).sum();
            told.push((task.clone(), report.eval_loss, trained, of));
            total += report.eval_loss * trained as f64;
            (tokens, bytes) = (tokens + trained, bytes + of);
        }
        if tokens > 0 {
            told.push(("all".to_owned(), total / tokens as f64, tokens, bytes));
        }
        for (source, eval_loss, tokens, bytes) in told {
            let bits = eval_loss * tokens as f64 / std::f64::consts::LN_2 / bytes.max(1) as f64;
            self.tell(Event::Eval { step: self.done, source, eval_loss, eval_bits_per_byte: bits }, emit);
        }
        for report in reports {
            self.tell(Event::Task(report), emit);
        }
        Ok(())
    }

    /// Completes the probes: texts, and the questions of fine-tuning.
>>>>>>> outside
    pub(super) fn probe(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let events = self.r.work.probe(&mut self.shop.device, self.done)?;
        // The decoder held another text meanwhile: an answer under way reads its own again.
        if let Some(answer) = &mut self.answer {
            answer.reread();
        }
        for event in events {
            self.tell(event, emit);
        }
        Ok(())
    }

    /// Tells the newest step's last micro-batch, token by token.
    pub(super) fn show_batch(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        self.drain(emit)?;
        if let Some(view) = self.r.work.look(&mut self.shop.device, self.done)? {
            emit(Event::Batch(Box::new(view)));
        }
        Ok(())
    }
}
