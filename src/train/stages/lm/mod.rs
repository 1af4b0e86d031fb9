//! Pretraining and fine-tuning: the same stage on different data.

mod drawing;
mod given;
mod lines;
mod live_edits;
mod run;
mod task_scores;
mod validation;
mod views;

use std::sync::Arc;

pub(super) use self::given::give;
use self::{
    drawing::{Drawing, Texts},
    run::Lm,
    task_scores::Examiner,
    validation::Validation,
};
use super::opening::{Counting, Opened, Opening};
use crate::{
    data::History,
    nn::{Decoder, Learner},
    train::{
        corpus::{Preparing, live::LiveCorpus},
        error::TrainError,
    },
};

/// Creates or loads the model and its data.
pub(crate) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let mut texts = Texts::read(o)?;
    let (model, plan) = (texts.model.clone(), o.plan.clone());
    let learner = Learner::new(o.device, &model, plan.batch_size, plan.context, plan.adamw)?;
    let decoder = Decoder::new(o.device, &model, learner.params(), model.max_position_embeddings)?;
    let now = live_edits::settings(&texts.corpus, texts.chats.as_ref(), &plan);
    let first = History::new(&now.shares.of(false), now.shape)?;
    let resumed = o.resume(&model, learner.table(), &texts.corpus.tokenizer, first)?;
    match &resumed.slabs {
        Some(slabs) => learner.write_state(o.device, slabs)?,
        None => learner.write_params(o.device, &resumed.params)?,
    }
    let mut state = resumed.state;
    let preparing = Preparing {
        config: o.config.clone(),
        preparer: o.run.preparer(),
        known: o.run.view().data_dir(),
        vocab_size: model.vocab_size,
        chat: o.stage.chat(),
        stop: Arc::default(),
    };
    let live = LiveCorpus::open(preparing, o.setup.pairs(), o.stage, &texts.corpus)?;
    let Drawing { batcher, shape, settings, coming, first_by_hand, digest } =
        Drawing::new(o, &mut texts, &mut state, &now)?;
    let Texts { corpus, chats, .. } = texts;
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
