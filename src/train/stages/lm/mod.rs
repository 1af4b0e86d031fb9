//! Pretraining and fine-tuning: one process, next tokens, on different data.

pub(in crate::train) mod edit_log;
mod live_edits;
pub(in crate::train) mod mix;
mod task_scores;
mod validation;
mod views;

use std::{collections::VecDeque, sync::Arc};

use self::{
    edit_log::{Entry, Terms},
    task_scores::Examiner,
    validation::Validation,
};
use super::{
    answer,
    opening::{Counting, Opened, Opening},
    stage_run::{Model, StageRun, Submitted},
};
use crate::{
    base::StageId,
    compute::Device,
    data::{BY_HAND, Batch, Batcher, ChatRows, Example, ExampleSet, History, Shape, Turn, Words, baseline, read_in},
    nn::{Decoder, Learner, MicroBatch, ModelConfig, ParamTable},
    protocol::{BatchView, Event, Role, SourceInfo, SourceUse, TaskInfo},
    store::RunView,
    train::{
        config::{RunConfig, plan::StagePlan},
        corpus::{self, Corpus, Preparing, conversations::Chats, live::Room},
        error::TrainError,
        run::{
            checkpoint::{Part, State},
            model_folder,
            tokenizer::keeps_tokenizer,
        },
    },
};

/// The name under which the held-out loss of pretraining text is told while fine-tuning.
const PRETRAIN: StageId = StageId::Pretrain;
/// Tokens beyond the expected ones that the answer to a probe may have.
const BEYOND: usize = 16;

/// A language model under training.
pub(crate) struct Lm {
    model: ModelConfig,
    plan: StagePlan,
    seed: u64,
    corpus: Corpus,
    /// The conversations of a stage that has some.
    chats: Option<Chats>,
    learner: Learner,
    decoder: Decoder,
    batcher: Batcher,
    validation: Validation,
    /// For a stage that answers questions.
    examiner: Option<Examiner>,
    /// The newest step's last micro-batch.
    shown: Option<Batch>,
    stage: StageId,
    config: RunConfig,
    /// Where what is saved is read.
    room: Room,
    /// Where earlier versions of the data are.
    run: RunView,
    shape: Shape,
    /// What holds, and what is known to come.
    terms: Terms,
    coming: VecDeque<Entry>,
    /// The step from which the first demonstration can be drawn.
    first_by_hand: Option<u64>,
    /// The hash of what is drawn from.
    digest: String,
}

/// Probes whose prompts are not read whole, since the answer needs room.
fn too_long(corpus: &Corpus, chats: Option<&Chats>, window: usize) -> Result<Vec<String>, TrainError> {
    let tokenizer = &corpus.tokenizer;
    let mut notes = Vec::new();
    let mut look = |prompt: &str, words: Words<'_>, room: usize| -> Result<(), TrainError> {
        let left_out = read_in(words, tokenizer, window, room)?.left_out.tokens;
        if left_out > 0 {
            let start: String = prompt.chars().take(20).collect();
            notes.push(format!(
                "the probe {start:?}… is longer than the model's {window} positions leave beside its answer: its first {left_out} tokens are left out"
            ));
        }
        Ok(())
    };
    for p in &corpus.probes {
        look(&p.prompt, Words::Text(&p.prompt), tokenizer.encode_rest(&p.expected)?.len())?;
    }
    for p in chats.iter().flat_map(|c| &c.probes) {
        let question = [Turn::new(Role::User, p.prompt.as_str())];
        look(&p.prompt, Words::Chat(&question), tokenizer.encode_turn(&p.expected)?.len() + BEYOND)?;
    }
    Ok(notes)
}

/// Makes the model and its data, and loads what there is of both.
pub(crate) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let begun = o.run.view().data_dir().join("tokenizer.json").is_file();
    let data_dir = o.run.view().data_dir();
    let known = o.setup.from.as_deref().filter(|_| !begun).unwrap_or(&data_dir);
    let mut corpus = Corpus::load(o.config, o.run, known, o.model.vocab_size, o.stage.chat(), &o.setup.stop)?;
    if begun {
        keeps_tokenizer(o.config, &corpus.tokenizer, &o.run.view().config()?)?;
    }
    o.notes.extend(corpus.notes.iter().cloned());
    let (mut model, plan) = (o.model.clone(), o.plan.clone());
    model_folder::name_tokens(&mut model, &corpus.tokenizer);
    let chats = if o.stage.chat() {
        Some(Chats::load(o.config, o.run.view().dir(), &corpus.tokenizer, plan.context)?)
    } else {
        None
    };
    o.notes.extend(chats.iter().flat_map(|c| c.notes.iter().cloned()));
    o.notes.extend(too_long(&corpus, chats.as_ref(), model.max_position_embeddings)?);

    let learner = Learner::new(o.device, &model, plan.batch_size, plan.context, plan.adamw)?;
    let decoder = Decoder::new(o.device, &model, learner.params(), model.max_position_embeddings)?;
    let shape = live_edits::shape(&plan);
    let now = live_edits::terms(&corpus, chats.as_ref(), &plan);
    let first = History::new(&now.shares.of(false), shape)?;
    let resumed = o.resume(&model, learner.table(), &corpus.tokenizer, first)?;
    match &resumed.slabs {
        Some(slabs) => learner.write_state(o.device, slabs)?,
        None => learner.write_params(o.device, &resumed.params)?,
    }
    let mut state = resumed.state;
    let preparing = Preparing {
        config: o.config.clone(),
        preparer: o.run.preparer(),
        known: data_dir.clone(),
        vocab_size: model.vocab_size,
        chat: o.stage.chat(),
        stop: Arc::default(),
    };
    let room = Room::open(preparing, o.setup.pairs(), o.stage, &corpus)?;
    let (terms, coming) = live_edits::settle(o, &state, &now)?;
    if terms.data != now.data {
        match corpus::open_version(o.run.view(), &terms.data, o.config) {
            Some(packed) => corpus.packed = Arc::new(packed),
            None => o.notes.push("the data of the next steps are gone; the current data are used".to_owned()),
        }
    }
    let digest = digest(&corpus, chats.as_ref());
    o.same_data(&mut state, &digest);
    let first_by_hand = chats.as_ref().and_then(|c| c.by_hand.first()).map(|(step, _)| *step);
    let by_hand = first_by_hand.is_some_and(|step| step <= state.step);
    let history = live_edits::history(&state, &terms, by_hand, shape, o.notes)?;
    let rows = match &chats {
        Some(c) => {
            let pad = model.pad_token_id.unwrap_or(0);
            let mut rows = ChatRows::new(&c.sets, o.config.seed, plan.context, plan.packing, pad)?;
            c.by_hand.iter().for_each(|(step, example)| rows.demonstrate(*step, example.clone()));
            Some(rows)
        }
        None => None,
    };
    let batcher = Batcher::with_chats(Arc::clone(&corpus.packed), rows, o.config.seed, history)?;
    let validation = Validation::new(o.device, &model, learner.params(), plan.context)?;
    let examiner = if o.stage.chat() {
        Some(Examiner::new(o.device, &model, learner.params(), &corpus.tokenizer, plan.context)?)
    } else {
        None
    };
    let tokenizer = corpus.tokenizer.clone();
    let work = Lm {
        model,
        plan,
        seed: o.config.seed,
        corpus,
        chats,
        learner,
        decoder,
        batcher,
        validation,
        examiner,
        shown: None,
        stage: o.stage,
        config: o.config.clone(),
        room,
        run: o.run.view().clone(),
        shape,
        terms,
        coming,
        first_by_hand,
        digest,
    };
    Ok(Opened { work: Box::new(work), tokenizer, state })
}

/// What [`open`] builds, counted.
pub(crate) fn count(on: &mut Counting<'_>) -> Result<usize, TrainError> {
    let (model, plan) = (on.model, on.plan);
    let learner = Learner::new(on.device, model, plan.batch_size, plan.context, plan.adamw)?;
    Decoder::new(on.device, model, learner.params(), model.max_position_embeddings)?;
    Validation::new(on.device, model, learner.params(), plan.context)?;
    if on.stage.chat() {
        task_scores::passes(on.device, model, learner.params(), plan.context)?;
    }
    Ok(learner.table().slab_len)
}

impl StageRun for Lm {
    fn model(&self) -> Model<'_> {
        Model { config: &self.model, table: self.learner.table() }
    }

    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError> {
        let batches = (0..self.plan.accumulation)
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
        // Without what is written by hand: that grows, and an epoch told once is not to change on a replay.
        let texts = self.corpus.packed.iter().map(|s| s.train.len() as u64);
        let chats = self.chats.iter().flat_map(|c| c.sets.iter().map(|s| s.fitted.tokens));
        texts.chain(chats).sum()
    }

    fn sources(&self) -> Vec<SourceInfo> {
        source_infos(&self.corpus, self.chats.as_ref(), &self.batcher.history().newest().weights)
    }

    fn tasks(&self) -> Vec<TaskInfo> {
        self.chats.as_ref().map(|c| task_infos(&c.sets)).unwrap_or_default()
    }

    fn validate(&mut self, device: &mut Device, done: usize, whole: bool) -> Result<Vec<Event>, TrainError> {
        let measured = self.validation.measure(device, &self.corpus, whole, self.examiner.is_none())?;
        let mut events = validation::events(done, &measured);
        if self.examiner.is_some() {
            // Of the text one number is told: how much of it is forgotten.
            let text = events.pop().map(|event| match event {
                Event::Eval { step, eval_loss, eval_bits_per_byte, .. } => {
                    Event::Eval { step, source: PRETRAIN.to_string(), eval_loss, eval_bits_per_byte, train_loss: None }
                }
                event => event,
            });
            let mut events: Vec<Event> = text.into_iter().collect();
            events.extend(self.examine(device, done, whole)?);
            return Ok(events);
        }
        if whole {
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

    fn starts_with_figures(&self) -> bool {
        // What is learned and what is forgotten counts from the first step on.
        self.examiner.is_some()
    }

    fn probe(&mut self, device: &mut Device, done: usize) -> Result<Vec<Event>, TrainError> {
        let mut events = Vec::new();
        let mut told =
            |task: Option<String>, prompt: &str, text: String, expected: &str, matched: usize, recall: bool| {
                events.push(Event::Probe {
                    step: done,
                    task,
                    prompt: prompt.to_owned(),
                    text,
                    expected: expected.to_owned(),
                    matched,
                    length: expected.chars().count(),
                    recall,
                });
            };
        for p in &self.corpus.probes {
            let (text, matched) =
                answer::probe(device, &mut self.decoder, &self.corpus.tokenizer, &p.prompt, &p.expected)?;
            told(None, &p.prompt, text, &p.expected, matched, p.recall);
        }
        let (Some(examiner), Some(chats)) = (&mut self.examiner, &self.chats) else { return Ok(events) };
        let tokenizer = &self.corpus.tokenizer;
        let mut questions = Vec::with_capacity(chats.probes.len());
        for p in &chats.probes {
            let room = tokenizer.encode_turn(&p.expected)?.len() + BEYOND;
            let question = [Turn::new(Role::User, p.prompt.as_str())];
            questions.push((read_in(Words::Chat(&question), tokenizer, examiner.window(), room)?.ids, room));
        }
        let answers = examiner.answers(device, questions.clone())?;
        for ((p, answer), (before, _)) in chats.probes.iter().zip(&answers).zip(&questions) {
            let text = tokenizer.decode_turn(before, &answer.ids, false);
            let matched = text.chars().zip(p.expected.chars()).take_while(|(a, b)| a == b).count();
            told(p.task.clone(), &p.prompt, text, &p.expected, matched, false);
        }
        Ok(events)
    }

    fn look(&mut self, device: &mut Device, done: usize) -> Result<Option<BatchView>, TrainError> {
        self.shown(device, done)
    }

    fn lm(&mut self) -> Option<&mut Lm> {
        Some(self)
    }

    fn turn(&mut self, step: usize) -> Result<Vec<Event>, TrainError> {
        self.turned(step as u64)
    }

    fn peak(&self) -> Option<f64> {
        Some(self.terms.learning_rate)
    }

    fn demonstrate(&mut self, step: u64, example: Example) -> Result<bool, TrainError> {
        let Some(rows) = self.batcher.chats_mut() else { return Ok(false) };
        rows.demonstrate(step, example);
        self.first_by_hand = Some(self.first_by_hand.map_or(step, |first| first.min(step)));
        Ok(true)
    }

    fn history(&self) -> &History {
        self.batcher.history()
    }

    fn voice(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    fn note(&self, state: &mut State) {
        state.data.clone_from(&self.digest);
    }

    fn language_model(&self) -> Arc<ParamTable> {
        Arc::clone(self.learner.table())
    }

    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError> {
        let (config, table) = (self.model.to_json(), Arc::clone(self.learner.table()));
        Ok(vec![Part { folder: "", config, table, slabs: self.learner.read_state(device)?, divisor: None }])
    }
}

impl Lm {
    /// The model, for tests that spoil it.
    #[cfg(test)]
    pub(crate) fn learner(&mut self) -> &mut Learner {
        &mut self.learner
    }

    /// Scores of tasks, their losses, and the loss over all of them weighted by trained tokens.
    fn examine(&mut self, device: &mut Device, done: usize, whole: bool) -> Result<Vec<Event>, TrainError> {
        let (Some(examiner), Some(chats)) = (&mut self.examiner, &self.chats) else { return Ok(Vec::new()) };
        let most = if whole { task_scores::MOST } else { task_scores::SOME };
        let reports = examiner.examine(device, &self.corpus.tokenizer, &chats.sets, done, most)?;
        let mut told = Vec::new();
        let (mut total, mut tokens, mut bytes) = (0.0, 0, 0);
        for ((task, _, held), report) in task_scores::by_task(&chats.sets).iter().zip(&reports) {
            let held = task_scores::some(held, most);
            let trained: usize = held.iter().map(|h| h.example.trained()).sum();
            let answers = held.iter().flat_map(|h| &h.conversation.turns).filter(|t| t.is_learned());
            let of: usize = answers.map(|t| t.content.len()).sum();
            told.push((task.clone(), report.eval_loss, trained, of));
            total += report.eval_loss * trained as f64;
            (tokens, bytes) = (tokens + trained, bytes + of);
        }
        if tokens > 0 {
            told.push(("all".to_owned(), total / tokens as f64, tokens, bytes));
        }
        let mut events = Vec::new();
        for (source, eval_loss, tokens, bytes) in told {
            let bits = eval_loss * tokens as f64 / std::f64::consts::LN_2 / bytes.max(1) as f64;
            events.push(Event::Eval { step: done, source, eval_loss, eval_bits_per_byte: bits, train_loss: None });
        }
        events.extend(reports.into_iter().map(Event::Task));
        Ok(events)
    }
}

/// Tasks with their held-out examples; a source's examples are counted for each of its tasks.
fn task_infos(sets: &[ExampleSet]) -> Vec<TaskInfo> {
    task_scores::by_task(sets)
        .into_iter()
        .map(|(name, set, held_out)| TaskInfo { name, examples: sets[set].examples.len(), held_out: held_out.len() })
        .collect()
}

/// Texts, then conversations, then what was written by hand.
fn source_infos(corpus: &Corpus, chats: Option<&Chats>, shares: &[f64]) -> Vec<SourceInfo> {
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

/// The hash of everything that batches are drawn from, demonstrations aside: those are known by step.
fn digest(corpus: &Corpus, chats: Option<&Chats>) -> String {
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
