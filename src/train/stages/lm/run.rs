//! The language model stage: its steps.

use std::{collections::VecDeque, sync::Arc};

use super::{
    task_scores::{self, Examiner},
    validation::{self, Validation},
};
use crate::{
    base::StageId,
    compute::Device,
    data::{BY_HAND, Batch, Batcher, Example, ExampleSet, History, Shape, baseline},
    nn::{Decoder, Learner, MicroBatch, ModelConfig, ParamTable},
    protocol::{Event, SourceInfo, SourceUse, TaskInfo},
    store::RunView,
    train::{
        corpus::{Corpus, conversations::Chats, live::LiveCorpus},
        error::TrainError,
        run::checkpoint::{Part, State},
        stages::{
            edit_log::{Entry, LiveSettings},
            stage_run::{LiveText, Model, StageRun, Submitted},
        },
    },
};

/// The stage under whose name the held-out loss of pretraining text is logged during fine-tuning.
pub(super) const PRETRAIN: StageId = StageId::Pretrain;
/// The source under which the loss over all tasks is logged.
const ALL: &str = "all";

/// A language model under training.
pub(crate) struct Lm {
    pub model: ModelConfig,
    pub seed: u64,
    pub corpus: Corpus,
    /// The conversations, if the stage has any.
    pub chats: Option<Chats>,
    pub learner: Learner,
    pub decoder: Decoder,
    pub batcher: Batcher,
    pub validation: Validation,
    /// Scores tasks, in a stage that answers questions.
    pub examiner: Option<Examiner>,
    /// The last micro-batch of the newest step.
    pub shown: Option<Batch>,
    pub stage: StageId,
    /// Watches and rereads the sources.
    pub live: LiveCorpus,
    /// The run, which has earlier versions of the data.
    pub run: RunView,
    pub shape: Shape,
    /// The current settings, and later entries.
    pub settings: LiveSettings,
    pub coming: VecDeque<Entry>,
    /// The step from which the first demonstration can be drawn.
    pub first_by_hand: Option<u64>,
    /// The hash of the training data.
    pub digest: String,
}

impl StageRun for Lm {
    fn model(&self) -> Model<'_> {
        Model { config: &self.model, table: self.learner.table() }
    }

    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError> {
        let dropout = self.settings.dropout.unwrap_or(self.model.dropout);
        self.record(device, self.shape.rows, dropout)?;
        self.model.dropout = dropout;
        let batches = (0..self.shape.micros)
            .map(|micro| self.batcher.batch(step as u64, micro))
            .collect::<Result<Vec<_>, _>>()?;
        let micros: Vec<MicroBatch<'_>> = batches
            .iter()
            .map(|b| MicroBatch { ids: &b.ids, targets: &b.targets, starts: b.starts.as_deref() })
            .collect();
        let ticket = self.learner.step(device, &micros, rate, self.seed, step)?;
        let tokens = batches.iter().map(|b| b.tokens).sum();
        self.shown = batches.into_iter().next_back();
        Ok(Submitted { tokens, ticket, loss: None, extra: Vec::new() })
    }

    fn drawn(&mut self, step: usize) -> Vec<SourceUse> {
        let drawn = self.batcher.tokens_drawn(step as u64);
        let epochs = self.batcher.epochs(step as u64);
        drawn.iter().zip(&epochs).map(|(tokens, epoch)| SourceUse { tokens: *tokens, epoch: *epoch }).collect()
    }

    fn epoch_tokens(&self) -> u64 {
        // Without demonstrations: their number grows, and a logged epoch must not change in a replay.
        let texts = self.corpus.packed.iter().map(|s| s.train.len() as u64);
        let chats = self.chats.iter().flat_map(|c| c.sets.iter().map(|s| s.fitted.tokens));
        texts.chain(chats).sum()
    }

    fn sources(&self) -> Vec<SourceInfo> {
        source_infos(&self.corpus, self.chats.as_ref(), &self.batcher.history().newest().weights)
    }

    fn validate(&mut self, device: &mut Device, done: usize, whole: bool) -> Result<Vec<Event>, TrainError> {
        let measured = self.validation.measure(device, &self.corpus, whole, self.examiner.is_none())?;
        let mut events = validation::events(done, &measured);
        if self.examiner.is_some() {
            // Only one number of the text is logged, which measures forgetting.
            let text = events.pop().map(|event| match event {
                Event::Eval { step, eval_loss, eval_bits_per_byte, .. } => {
                    let source = PRETRAIN.to_string();
                    let (train_loss, sampled_loss) = (None, None);
                    Event::Eval { step, source, eval_loss, eval_bits_per_byte, train_loss, sampled_loss }
                }
                event => event,
            });
            let mut events: Vec<Event> = text.into_iter().collect();
            events.extend(self.examine(device, done, whole)?);
            return Ok(events);
        }
        if whole {
            let sample = self.validation.measure(device, &self.corpus, false, false)?;
            if let Some(Event::Eval { sampled_loss, .. }) = events.last_mut() {
                *sampled_loss = validation::mean(&sample);
            }
            for m in &measured {
                let Some(s) = self.corpus.packed.iter().find(|s| s.name == m.source) else { continue };
                let entropy = baseline(&s.train, &s.held_out, self.model.vocab_size)?.entropy;
                let text =
                    format!("{}: held-out loss {:.3}, unigram entropy {entropy:.3} nats per token", m.source, m.loss);
                events.push(Event::Note { step: done, text });
            }
        }
        Ok(events)
    }

    fn history(&self) -> &History {
        self.batcher.history()
    }

    fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    fn write_state(&self, state: &mut State) {
        state.data.clone_from(&self.digest);
    }

    fn language_model(&self) -> Arc<ParamTable> {
        Arc::clone(self.learner.table())
    }

    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError> {
        let (config, table) = (self.model.to_json(), Arc::clone(self.learner.table()));
        let slabs = self.learner.read_state(device)?;
        Ok(vec![Part { folder: "", config, table, slabs, also: None, divisor: None }])
    }

    fn text(&mut self) -> Option<&mut dyn LiveText> {
        Some(self)
    }
}

impl Lm {
    /// Scores of tasks, their losses, and the loss over all of them weighted by trained tokens.
    fn examine(&mut self, device: &mut Device, done: usize, whole: bool) -> Result<Vec<Event>, TrainError> {
        let (Some(examiner), Some(chats)) = (&mut self.examiner, &self.chats) else { return Ok(Vec::new()) };
        let most = if whole { task_scores::MOST } else { task_scores::SOME };
        let reports = examiner.examine(device, &self.corpus.tokenizer, &chats.sets, done, most)?;
        let mut rows = Vec::new();
        let (mut total, mut tokens, mut bytes) = (0.0, 0, 0);
        for ((task, _, held), report) in task_scores::by_task(&chats.sets).iter().zip(&reports) {
            let held = task_scores::some(held, most);
            let trained: usize = held.iter().map(|h| h.example.trained()).sum();
            let answers = held.iter().flat_map(|h| &h.conversation.turns).filter(|t| t.is_learned());
            let of: usize = answers.map(|t| t.content.len()).sum();
            rows.push((task.clone(), report.eval_loss, trained, of));
            total += report.eval_loss * trained as f64;
            (tokens, bytes) = (tokens + trained, bytes + of);
        }
        if tokens > 0 {
            rows.push((ALL.to_owned(), total / tokens as f64, tokens, bytes));
        }
        let sampled = if whole { Some(sample_loss(examiner, device, &chats.sets)?) } else { None };
        let mut events = Vec::new();
        for (source, eval_loss, tokens, bytes) in rows {
            let bits = eval_loss * tokens as f64 / std::f64::consts::LN_2 / bytes.max(1) as f64;
            let sampled_loss = sampled.filter(|_| source == ALL);
            let eval_bits_per_byte = bits;
            let step = done;
            events.push(Event::Eval { step, source, eval_loss, eval_bits_per_byte, train_loss: None, sampled_loss });
        }
        events.extend(reports.into_iter().map(Event::Task));
        Ok(events)
    }
}

/// The loss over the examples that are measured during training.
fn sample_loss(examiner: &mut Examiner, device: &mut Device, sets: &[ExampleSet]) -> Result<f64, TrainError> {
    let (mut total, mut tokens) = (0.0, 0);
    for (_, _, held) in task_scores::by_task(sets) {
        let held = task_scores::some(&held, task_scores::SOME);
        let examples: Vec<&Example> = held.iter().map(|h| &h.example).collect();
        let (loss, trained) = examiner.loss(device, &examples)?;
        total += loss * trained as f64;
        tokens += trained;
    }
    Ok(total / tokens.max(1) as f64)
}

/// Tasks with their held-out examples; a source's training examples count for each of its tasks.
pub(super) fn task_infos(sets: &[ExampleSet]) -> Vec<TaskInfo> {
    task_scores::by_task(sets)
        .into_iter()
        .map(|(name, set, held_out)| TaskInfo { name, examples: sets[set].examples.len(), held_out: held_out.len() })
        .collect()
}

/// Texts, then conversations, then demonstrations.
pub(super) fn source_infos(corpus: &Corpus, chats: Option<&Chats>, shares: &[f64]) -> Vec<SourceInfo> {
    let texts = corpus.packed.iter().map(|s| SourceInfo {
        name: s.name.clone(),
        weight: 0.0,
        documents: s.train.documents(),
        tokens: s.train.len(),
        held_out_tokens: s.held_out.len(),
    });
    let mut all: Vec<SourceInfo> = texts.collect();
    if let Some(c) = chats {
        all.extend(c.sets.iter().map(|s| SourceInfo {
            name: s.name.clone(),
            weight: 0.0,
            documents: s.examples.len(),
            tokens: s.fitted.tokens as usize,
            held_out_tokens: s.held_out_fitted.tokens as usize,
        }));
        all.push(SourceInfo {
            name: BY_HAND.to_owned(),
            weight: 0.0,
            documents: c.by_hand.len(),
            tokens: c.by_hand.iter().map(|(_, e)| e.ids.len()).sum(),
            held_out_tokens: 0,
        });
    }
    for (info, share) in all.iter_mut().zip(shares) {
        info.weight = *share;
    }
    all
}

/// The hash of everything that batches are drawn from, except demonstrations, which are known by step.
pub(super) fn digest(corpus: &Corpus, chats: Option<&Chats>) -> String {
    let Some(chats) = chats else { return corpus.digest.clone() };
    let mut hash = blake3::Hasher::new();
    hash.update(corpus.digest.as_bytes());
    for set in &chats.sets {
        hash.update(set.name.as_bytes());
        for e in &set.examples {
            hash.update(&(e.ids.len() as u64).to_le_bytes());
            hash.update(bytemuck::cast_slice(&e.ids));
            hash.update(bytemuck::cast_slice(&e.labels));
        }
    }
    hash.finalize().to_hex().to_string()
}
