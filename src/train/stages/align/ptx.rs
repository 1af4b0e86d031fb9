//! The pretraining term (Ouyang et al. 2022, eq. 2: PPO-ptx): next-token loss on the policy's earlier training text and
//! conversations, against forgetting.

use crate::{
    base::StageId,
    compute::Device,
    data::{Batcher, ChatRows, History, Shape, Tokenizer},
    nn::{IGNORE_INDEX, MicroBatch, PolicyLearner},
    train::{
        corpus::{Corpus, conversations::Chats},
        error::TrainError,
        stages::{mix::Shares, opening::Opening},
    },
};

/// Rows of the run's text and conversations, mixed as in fine-tuning.
pub(crate) struct Ptx {
    batcher: Batcher,
    coefficient: f64,
}

impl Ptx {
    pub(crate) fn open(
        o: &Opening<'_>,
        tokenizer: &Tokenizer,
        coefficient: f64,
        (rows, window, pad): (usize, usize, u32),
    ) -> Result<Ptx, TrainError> {
        let (dir, monitor) = (o.run.view().dir(), o.setup.monitor());
        let corpus = Corpus::load(o.config, o.run, &o.tokenizer_dir(), o.model.vocab_size, true, &monitor)?;
        let chats = Chats::load(o.config, dir, tokenizer, window, &monitor)?;
        let plan = o.config.plan(StageId::Sft)?;
        let chat_rows = ChatRows::new(&chats.sets, o.config.seed, window, true, pad)?;
        let weights = Shares::new(&corpus, Some(&chats), &plan).of(false);
        let history = History::new(&weights, Shape { rows, window, micros: 1 })?;
        let batcher = Batcher::with_chats(corpus.packed, Some(chat_rows), o.config.seed, history)?;
        Ok(Ptx { batcher, coefficient })
    }

    /// Adds coefficient · mean (−log p) of batch `at` to the gradients; returns the mean in nats per token.
    pub(crate) fn backward(
        &mut self,
        device: &mut Device,
        policy: &mut PolicyLearner,
        at: usize,
    ) -> Result<f64, TrainError> {
        let batch = self.batcher.batch(at as u64, 0)?;
        let rows = MicroBatch { ids: &batch.ids, targets: &batch.targets, starts: batch.starts.as_deref() };
        let trained = batch.targets.iter().filter(|t| **t != IGNORE_INDEX).count().max(1) as f64;
        let logprobs = policy.logprobs(device, rows)?;
        let weight = (self.coefficient / trained) as f32;
        policy.backward(device, rows, &vec![weight; batch.targets.len()])?;
        Ok(-logprobs.iter().map(|x| f64::from(*x)).sum::<f64>() / trained)
    }
}
