//! Pretraining and fine-tuning: the same stage on different data.

mod lines;
mod live_edits;
mod run;
mod task_scores;
mod validation;
mod views;

use std::sync::Arc;

use self::{
    live_edits::BEYOND,
    run::{Lm, digest},
    task_scores::Examiner,
    validation::Validation,
};
use super::opening::{Counting, Opened, Opening};
use crate::{
    data::{Batcher, ChatRows, History, Turn, Words, read_in},
    nn::{Decoder, Learner},
    protocol::Role,
    train::{
        corpus::{self, Corpus, Preparing, conversations::Chats, live::LiveCorpus},
        error::TrainError,
        run::{model_folder, tokenizer::keeps_tokenizer},
    },
};

/// Probes whose prompts are cut, since the answer needs room.
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

/// Creates or loads the model and its data.
pub(crate) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let begun = o.run.view().data_dir().join("tokenizer.json").is_file();
    let data_dir = o.run.view().data_dir();
    let mut corpus =
        Corpus::load(o.config, o.run, &o.tokenizer_dir(), o.model.vocab_size, o.stage.chat(), &o.setup.stop)?;
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
    let now = live_edits::settings(&corpus, chats.as_ref(), &plan);
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
    let live = LiveCorpus::open(preparing, o.setup.pairs(), o.stage, &corpus)?;
    let (settings, coming) = live_edits::settle(o, &state, &now)?;
    if settings.data != now.data {
        match corpus::open_version(o.run.view(), &settings.data, o.config) {
            Some(packed) => corpus.packed = Arc::new(packed),
            None => o.notes.push("the data of the next steps are gone; the current data are used".to_owned()),
        }
    }
    let digest = digest(&corpus, chats.as_ref());
    o.same_data(&mut state, &digest);
    let first_by_hand = chats.as_ref().and_then(|c| c.by_hand.first()).map(|(step, _)| *step);
    let by_hand = first_by_hand.is_some_and(|step| step <= state.step);
    let history = live_edits::history(&state, &settings, by_hand, shape, o.notes)?;
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
        live,
        run: o.run.view().clone(),
        shape,
        settings,
        coming,
        first_by_hand,
        digest,
    };
    Ok(Opened { work: Box::new(work), tokenizer, state })
}

/// Counts what [`open`] allocates.
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
