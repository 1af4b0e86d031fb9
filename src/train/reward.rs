//! The reward model: which of two answers a person would rather have.
//!
//! It starts from the fine-tuned model, with one number in the place of the output layer, read at the token
//! that ends the answer. A step takes pairs; all pairs of a prompt stand in one step or are near each other.

use std::sync::Arc;

use super::{
    checkpoint::{self, Part, State},
    error::TrainError,
    event::{Event, RewardReport, SourceInfo, SourceUse},
    lineage,
    pairs::{self, Pairs},
    plan::StagePlan,
    prepare::{Opened, Opening},
    rows,
    work::{Model, Submitted, Work},
};
use crate::{
    compute::Device,
    data::{Example, History, PairExample, Shape},
    nn::{
        Decoder, Head, ModelConfig, ParamTable, ScalarLearner, Weights,
        feedback::{Pair, pairwise_loss},
    },
};

/// Rows of one pass.
const ROWS: usize = 8;
/// Deviation of the new score's weights.
const STD: f32 = 0.02;
/// Holds the scores' mean near 0 (`center_rewards_coefficient` of TRL).
const CENTRE: f32 = 0.01;

/// A reward model under training.
pub(super) struct Reward {
    model: ModelConfig,
    plan: StagePlan,
    seed: u64,
    pad: u32,
    learner: ScalarLearner,
    /// The fine-tuned model, which answers prompts meanwhile.
    voice: Decoder,
    pairs: Pairs,
    history: History,
    /// Mean and deviation of the scores of reference answers, as they were last measured.
    scale: (f64, f64),
    /// Whether the weights have changed since.
    moved: bool,
}

pub(super) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let tokenizer = o.known_tokenizer()?;
    let (mut model, plan) = (o.model.clone(), o.plan.clone());
    model.eos_token_id = tokenizer.end_of_text();
    model.pad_token_id = tokenizer.pad();
    let lm_table = Arc::new(ParamTable::new(&model));
    let learner = ScalarLearner::new(o.device, &model, ROWS, plan.context, plan.adamw)?;
    let shape = Shape { rows: plan.batch_size, window: plan.context, micros: 1 };
    let history = History::new(&[1.0], shape)?;
    let table = Arc::clone(learner.table());
    let found =
        o.own(|c| checkpoint::load_as(c, &model, &table, Head::Score).map(|(state, slabs)| (state, vec![slabs])))?;
    let mut learner = learner;
    let (mut state, lm) = if let Some((state, slabs)) = found {
        let lm = lineage::started_from(o.run.view(), &state, &model, &lm_table)?;
        if let Some(slabs) = slabs.first() {
            learner.write_state(o.device, slabs)?;
        }
        (state, lm)
    } else {
        let (parent, lm) = o.parent(&model, &lm_table)?;
        let mut state = State::new(o.stage.name, o.config.seed, history.clone(), String::new());
        state.parent = Some(parent.id.to_string());
        state.parent_digest = Some(parent.digest);
        let slab = table.from_language_model(&lm_table, &lm, STD, o.config.seed)?;
        learner.write_params(o.device, &slab)?;
        (state, lm)
    };
    let weights = Weights::alloc(o.device, "sft", &lm_table)?;
    o.device.write(&weights.slab, &lm)?;
    let voice = Decoder::new(o.device, &model, &weights, model.max_position_embeddings)?;
    let pairs = pairs::gather(o, &model, &weights, &tokenizer)?;
    o.same_data(&mut state, &pairs.digest);
    let scale = state.reward_scale.unwrap_or((0.0, 1.0));
    let pad = model.pad_token_id.unwrap_or(0);
    let work = Reward { model, plan, seed: o.config.seed, pad, learner, voice, pairs, history, scale, moved: false };
    Ok(Opened { work: Box::new(work), tokenizer, state })
}

/// An answer's ids as something that is scored at its last token: one more id makes that an input.
pub(super) fn scored(ids: &[u32], pad: u32) -> Example {
    let mut ids = ids.to_vec();
    ids.push(pad);
    let labels = vec![crate::nn::IGNORE_INDEX; ids.len()];
    Example { ids, labels }
}

impl Reward {
    /// The pairs of a step: all of them in a shuffled order, epoch after epoch.
    fn draw(&self, step: usize) -> Vec<&PairExample> {
        let n = self.pairs.train.len();
        let each = self.plan.batch_size;
        let pair = |i: usize| {
            let at = step * each + i;
            &self.pairs.train[pairs::shuffled(self.seed, (at / n) as u64, n, at % n)]
        };
        (0..each.min(n)).map(pair).collect()
    }

    /// Scores of both sides of pairs, and what is needed to go back.
    fn score(&mut self, device: &mut Device, pairs: &[&PairExample]) -> Result<Vec<f32>, TrainError> {
        let examples: Vec<Example> =
            pairs.iter().flat_map(|p| [scored(&p.chosen.ids, self.pad), scored(&p.rejected.ids, self.pad)]).collect();
        let mut scores = vec![0.0; examples.len()];
        for micro in rows::micros(&examples, ROWS, self.plan.context, self.pad)? {
            let all = self.learner.scores(device, micro.rows())?;
            for (example, place) in &micro.spans {
                scores[*example] = all[place + examples[*example].ids.len() - 2];
            }
        }
        Ok(scores)
    }

    /// Scores of both sides of the held-out pairs: the reference answers.
    fn held_out(&mut self, device: &mut Device) -> Result<Vec<f32>, TrainError> {
        let held = self.pairs.held_out.clone();
        self.score(device, &held.iter().collect::<Vec<_>>())
    }

    fn measure(&mut self, scores: &[f32]) {
        let n = scores.len().max(1) as f64;
        let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
        let var = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>() / n;
        self.scale = (mean, var.sqrt().max(1e-6));
        self.moved = false;
    }
}

impl Work for Reward {
    fn model(&self) -> Model<'_> {
        Model { config: &self.model, table: self.learner.table() }
    }

    fn language_model(&self) -> Arc<ParamTable> {
        Arc::new(ParamTable::new(&self.model))
    }

    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError> {
        let drawn: Vec<PairExample> = self.draw(step).into_iter().cloned().collect();
        let pairs: Vec<&PairExample> = drawn.iter().collect();
        let scores = self.score(device, &pairs)?;
        let sides: Vec<Pair> = scores.chunks_exact(2).map(|s| Pair::new(s[0], s[1])).collect();
        let loss = pairwise_loss(&sides, CENTRE);
        let examples: Vec<Example> =
            pairs.iter().flat_map(|p| [scored(&p.chosen.ids, self.pad), scored(&p.rejected.ids, self.pad)]).collect();
        let mut tokens = 0;
        for micro in rows::micros(&examples, ROWS, self.plan.context, self.pad)? {
            let mut slopes = vec![0.0; micro.ids.len()];
            for (example, place) in &micro.spans {
                let side = if example % 2 == 0 { &loss.dchosen } else { &loss.drejected };
                slopes[place + examples[*example].ids.len() - 2] = side[example / 2];
                tokens += examples[*example].ids.len() - 1;
            }
            self.learner.backward(device, micro.rows(), &slopes)?;
        }
        let ticket = self.learner.update(device, rate, loss.loss as f32)?;
        self.moved = true;
        Ok(Submitted {
            tokens,
            ticket,
            loss: Some(loss.loss),
            extra: vec![("accuracy", loss.accuracy), ("margin", loss.margin), ("mean_reward", loss.mean_reward)],
        })
    }

    fn drawn(&mut self, step: usize) -> Vec<SourceUse> {
        let drawn = step * self.plan.batch_size;
        let epoch = drawn as f64 / self.pairs.train.len().max(1) as f64;
        vec![SourceUse { tokens: (epoch * self.epoch_tokens() as f64) as u64, epoch }]
    }

    fn epoch_tokens(&self) -> u64 {
        self.pairs.train.iter().map(|p| (p.chosen.ids.len() + p.rejected.ids.len()) as u64).sum()
    }

    fn sources(&self) -> Vec<SourceInfo> {
        vec![SourceInfo {
            name: "pairs".to_owned(),
            weight: 1.0,
            documents: self.pairs.train.len(),
            tokens: self.epoch_tokens() as usize,
            held_out_tokens: self.pairs.held_out.iter().map(|p| p.chosen.ids.len() + p.rejected.ids.len()).sum(),
        }]
    }

    /// Accuracy on held-out pairs with its interval, beside that of «the longer one is better».
    fn validate(&mut self, device: &mut Device, done: usize, _whole: bool) -> Result<Vec<Event>, TrainError> {
        let scores = self.held_out(device)?;
        self.measure(&scores);
        let held = &self.pairs.held_out;
        let sides: Vec<Pair> = scores.chunks_exact(2).map(|s| Pair::new(s[0], s[1])).collect();
        let all = pairwise_loss(&sides, 0.0);
        let longer = held.iter().map(|p| match p.chosen.ids.len().cmp(&p.rejected.ids.len()) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        });
        let n = held.len();
        let report = RewardReport {
            step: done,
            pairs: n,
            accuracy: all.accuracy,
            ci95: pairs::wilson(all.accuracy, n),
            by_length: longer.sum::<f64>() / n.max(1) as f64,
            margin: all.margin,
            margins: sides.iter().map(|s| s.chosen - s.rejected).collect(),
        };
        Ok(vec![
            Event::Eval { step: done, source: "all".to_owned(), eval_loss: all.loss, eval_bits_per_byte: 0.0 },
            Event::Reward(report),
        ])
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn voice(&mut self) -> &mut Decoder {
        &mut self.voice
    }

    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError> {
        if self.moved {
            // Whoever learns from this checkpoint needs the scale of its own scores.
            let scores = self.held_out(device)?;
            self.measure(&scores);
        }
        Ok(vec![Part {
            folder: "",
            config: self.model.to_json_as(Head::Score),
            table: Arc::clone(self.learner.table()),
            slabs: self.learner.read_state(device)?,
        }])
    }

    fn note(&self, state: &mut State) {
        state.reward_scale = Some(self.scale);
    }
}
