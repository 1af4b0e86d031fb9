//! What is measured between steps: probes, held-out losses, scores of tasks, and the batch looked at.

use std::sync::Arc;

use super::{Emit, Trainer};
use crate::{
    data::{Turn, baseline, chat_rows::BY_HAND, encode_prompt},
    nn::IGNORE_INDEX,
    train::{
        answer,
        error::TrainError,
        event::{BatchView, Event, Role, TokenView},
        tasks, validation,
    },
};

/// The name under which the held-out loss of pretraining text is told while fine-tuning.
const PRETRAIN: &str = "pretrain";
/// Tokens beyond the expected ones that the answer to a probe may have.
const BEYOND: usize = 16;

impl Trainer {
    /// Held-out losses, and the scores of tasks; with `whole` over all text held out and up to
    /// [`tasks::MOST`] questions of each task.
    pub(super) fn validate(&mut self, whole: bool, emit: Emit<'_>) -> Result<(), TrainError> {
        let measured = self.validation.measure(&mut self.shop.device, &self.r.corpus, whole)?;
        if self.examiner.is_some() {
            // Of the text one number is told: how much of it is forgotten.
            if let Some(Event::Eval { step, eval_loss, eval_bits_per_byte, .. }) =
                validation::events(self.done, &measured).pop()
            {
                self.tell(Event::Eval { step, source: PRETRAIN.to_owned(), eval_loss, eval_bits_per_byte }, emit);
            }
            return self.examine(whole, emit);
        }
        for event in validation::events(self.done, &measured) {
            self.tell(event, emit);
        }
        if whole {
            let packed = Arc::clone(&self.r.corpus.packed);
            for m in &measured {
                let Some(s) = packed.iter().find(|s| s.name == m.source) else { continue };
                let entropy = baseline(&s.train, &s.held_out, self.r.model.vocab_size).entropy;
                self.note(
                    format!("{}: held-out loss {:.3}, unigram entropy {entropy:.3} nats a token", m.source, m.loss),
                    emit,
                );
            }
        }
        Ok(())
    }

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
    pub(super) fn probe(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        // The decoder holds one text; an answer under way reads its own again afterwards.
        for p in self.r.corpus.probes.clone() {
            let (text, matched) = answer::probe(
                &mut self.shop.device,
                &mut self.r.decoder,
                &self.r.corpus.tokenizer,
                &p.prompt,
                &p.expected,
            )?;
            self.tell_probe(None, p.prompt, text, p.expected, matched, emit);
        }
        if let Some(answer) = &mut self.answer {
            answer.reread();
        }
        let (Some(examiner), Some(chats)) = (&mut self.examiner, &self.r.chats) else { return Ok(()) };
        let probes = chats.probes.clone();
        let tokenizer = &self.r.corpus.tokenizer;
        let mut questions = Vec::with_capacity(probes.len());
        for p in &probes {
            let ids = encode_prompt(&[Turn::new(Role::User, p.prompt.as_str())], tokenizer)?;
            questions.push((ids, tokenizer.encode(&p.expected)?.len() + BEYOND));
        }
        let answers = examiner.answers(&mut self.shop.device, questions)?;
        let texts: Vec<String> = answers.iter().map(|a| tokenizer.decode(&a.ids, false)).collect();
        for (p, text) in probes.into_iter().zip(texts) {
            let matched = text.chars().zip(p.expected.chars()).take_while(|(a, b)| a == b).count();
            self.tell_probe(p.task, p.prompt, text, p.expected, matched, emit);
        }
        Ok(())
    }

    fn tell_probe(
        &mut self,
        task: Option<String>,
        prompt: String,
        text: String,
        expected: String,
        matched: usize,
        emit: Emit<'_>,
    ) {
        let length = expected.chars().count();
        self.tell(Event::Probe { step: self.done, task, prompt, text, expected, matched, length }, emit);
    }

    /// Tells the newest step's last micro-batch, token by token.
    pub(super) fn show_batch(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        self.drain(emit)?;
        let Some(batch) = &self.shown else { return Ok(()) };
        let losses: Vec<f32> = self.shop.device.read(self.r.learner.losses())?;
        let tokenizer = &self.r.corpus.tokenizer;
        let window = batch.shape.window;
        let name = |source: usize| -> String {
            let texts = self.r.corpus.packed.len();
            match (self.r.corpus.packed.get(source), &self.r.chats) {
                (Some(text), _) => text.name.clone(),
                (None, Some(c)) => c.sets.get(source - texts).map_or(BY_HAND, |s| s.name.as_str()).to_owned(),
                (None, None) => String::new(),
            }
        };
        let mut rows = Vec::with_capacity(batch.shape.rows);
        for (row, source) in batch.sources.iter().enumerate() {
            let mut tokens = Vec::with_capacity(window + 1);
            for at in row * window..(row + 1) * window {
                let place = (at - row * window) as u32;
                let start = batch.starts.as_ref().map_or(0, |s| s[at]);
                let alone = start == place && batch.starts.as_ref().is_some_and(|s| s.get(at + 1) != Some(&start));
                if alone && batch.targets[at] == IGNORE_INDEX {
                    continue; // padding
                }
                if start == place {
                    tokens.push(TokenView {
                        text: tokenizer.written(batch.ids[at]),
                        trained: false,
                        loss: None,
                        first: true,
                    });
                }
                // What a place predicts is the next token: that is where its loss belongs.
                let target = batch.targets[at];
                let trained = target != IGNORE_INDEX;
                let next = batch.starts.as_ref().is_none_or(|s| (at + 1) % window != 0 && s[at + 1] == start);
                let id = match u32::try_from(target) {
                    Ok(id) => id,
                    Err(_) if next && (at + 1) % window != 0 => batch.ids[at + 1],
                    Err(_) => continue,
                };
                let loss = trained.then(|| losses.get(at).copied()).flatten();
                tokens.push(TokenView { text: tokenizer.written(id), trained, loss, first: false });
            }
            rows.push((name(*source), tokens));
        }
        let step = self.done;
        emit(Event::Batch(Box::new(BatchView { step, rows })));
        Ok(())
    }
}
