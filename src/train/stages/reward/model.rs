//! The reward model, as a stage or on standby beside another stage: scores, steps, measurements.

use std::sync::Arc;

use super::{
    draws::Draws,
    pairs::Pairs,
    taste::{self, Judge, Leak, ScoredPair, Taste},
    votes::VoteExample,
};
use crate::{
    compute::{Device, rng::Stream},
    data::{Example, PairExample, Side, Tokenizer, tokens::shuffle::permute},
    nn::{
        Head, IGNORE_INDEX, ModelConfig, ParamTable, ScalarLearner,
        feedback::{Pair, book_positions, pairwise_loss},
    },
    protocol::RewardReport,
    store::{Checkpoint, StoreError},
    train::{
        config::{RewardMode, StageSettings, VoteFit, plan::StagePlan},
        error::TrainError,
        run::checkpoint::{self, Part, Span, State},
        stages::{
            packed_rows,
            stage_run::{Preference, Submitted},
        },
        stats::wilson,
    },
};

/// Rows per pass: most steps of 32 pairs fit in one pass, whose activations can then be reused for the backward pass.
const ROWS: usize = 16;
/// Standard deviation of the new head's initial weights.
pub(super) const STD: f32 = 0.02;
/// Steps of a fit to votes.
///
/// Measured (docs/performance.md): enough to learn twenty votes, few enough for five seconds.
const REFIT_STEPS: u64 = 20;
/// Training pairs that take part in the fit of a taste.
const TASTE_PAIRS: usize = 256;

/// A reward model under training.
pub(crate) struct RewardModel {
    pub model: ModelConfig,
    plan: StagePlan,
    how: StageSettings,
    seed: u64,
    pad: u32,
    learner: ScalarLearner,
    /// The training pairs; None until needed.
    pairs: Option<Learned>,
    /// Votes to train on, including those taken back.
    votes: Vec<VoteExample>,
    tokenizer: Tokenizer,
    /// What the votes taught beside the network.
    taste: Taste,
    /// Training pairs with their scores, for the fit of a taste; None when the weights have changed.
    sample: Option<Vec<ScoredPair>>,
    /// Held-out pairs with their scores, and the leak that they set; None when the weights have changed.
    held: Option<(Vec<ScoredPair>, Option<Leak>)>,
    /// Fits of a taste since it was opened.
    fits: usize,
    /// Votes that the taste of the others predicts, at the newest fit, and their number.
    predicted: Option<(usize, usize)>,
    /// The step after the newest one.
    done: u64,
    refits: Vec<Span>,
    /// Mean and standard deviation of the scores of reference answers, when last measured.
    scale: (f64, f64),
    /// Whether the weights have changed since.
    moved: bool,
    /// Held-out accuracy, while the weights are those it was measured with.
    accuracy: Option<f64>,
}

/// Pairs and their draw order.
struct Learned {
    pairs: Pairs,
    draws: Draws,
}

/// Ids as an example scored at the last token: one more id makes that token an input.
pub(crate) fn scored(ids: &[u32], pad: u32) -> Example {
    let mut ids = ids.to_vec();
    ids.push(pad);
    let labels = vec![IGNORE_INDEX; ids.len()];
    Example { ids, labels }
}

/// One comparison of a step.
struct Compared {
    pair: PairExample,
    margin: f32,
    weight: f32,
}

impl RewardModel {
    /// A reward model without weights.
    pub(crate) fn new(
        device: &mut Device,
        model: &ModelConfig,
        plan: &StagePlan,
        how: StageSettings,
        seed: u64,
        (votes, tokenizer): (Vec<VoteExample>, Tokenizer),
    ) -> Result<RewardModel, TrainError> {
        let learner = RewardModel::learner(device, model, plan, &how)?;
        let pad = model.pad_token_id.unwrap_or(0);
        Ok(RewardModel {
            model: model.clone(),
            plan: plan.clone(),
            how,
            seed,
            pad,
            learner,
            pairs: None,
            votes,
            tokenizer,
            taste: Taste::default(),
            sample: None,
            held: None,
            fits: 0,
            predicted: None,
            done: 0,
            refits: Vec::new(),
            scale: (0.0, 1.0),
            moved: false,
            accuracy: None,
        })
    }

    /// The learner alone.
    pub(crate) fn learner(
        device: &mut Device,
        model: &ModelConfig,
        plan: &StagePlan,
        how: &StageSettings,
    ) -> Result<ScalarLearner, TrainError> {
        let mut learner = ScalarLearner::new(device, model, ROWS, plan.context, plan.adamw)?;
        if how.lm_coef > 0.0 {
            learner.add_language_head(device)?;
        }
        Ok(learner)
    }

    pub(crate) fn table(&self) -> &Arc<ParamTable> {
        self.learner.table()
    }

    /// A checkpoint's state, and its tensors as optimised.
    pub(crate) fn read(
        c: &Checkpoint,
        model: &ModelConfig,
        table: &ParamTable,
    ) -> Result<(State, checkpoint::Slabs), StoreError> {
        let (state, mut slabs) = checkpoint::load_as(c, model, table, Head::Score)?;
        checkpoint::unfold(c, table, &mut slabs[0])?;
        Ok((state, slabs))
    }

    /// Continues from a checkpoint.
    pub(crate) fn resume(
        &mut self,
        device: &mut Device,
        state: &State,
        slabs: &checkpoint::Slabs,
    ) -> Result<(), TrainError> {
        self.learner.write_state(device, slabs)?;
        self.scale = state.reward_scale.unwrap_or((0.0, 1.0));
        self.refits.clone_from(&state.refits);
        self.done = state.step;
        (self.moved, self.accuracy) = (false, None);
        (self.sample, self.held) = (None, None);
        Ok(())
    }

    /// Starts from a language model.
    pub(crate) fn start(&mut self, device: &mut Device, lm_table: &ParamTable, lm: &[f32]) -> Result<(), TrainError> {
        let slab = self.table().from_language_model(lm_table, lm, STD, self.seed)?;
        Ok(self.learner.write_params(device, &slab)?)
    }

    /// Takes weights that were trained elsewhere up to a step.
    pub(crate) fn adopt(&mut self, device: &mut Device, params: &[f32], step: u64) -> Result<(), TrainError> {
        self.learner.write_params(device, params)?;
        (self.done, self.moved, self.accuracy) = (step, true, None);
        (self.sample, self.held) = (None, None);
        Ok(())
    }

    /// Sets the training pairs.
    pub(crate) fn teach(&mut self, pairs: Pairs) {
        let draws = Draws::new(self.seed, &pairs.train);
        self.pairs = Some(Learned { pairs, draws });
    }

    pub(crate) fn pairs(&self) -> Option<&Pairs> {
        self.pairs.as_ref().map(|l| &l.pairs)
    }

    fn learned(&self) -> Result<&Pairs, TrainError> {
        self.pairs().ok_or_else(|| TrainError::Work("the reward model has no pairs".to_owned()))
    }

    // ---- scores ----

    /// Scores at every token of each text, as optimised.
    fn all_scores(&mut self, device: &mut Device, texts: &[Example]) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut scores = vec![Vec::new(); texts.len()];
        for micro in packed_rows::micros(texts, ROWS, self.plan.context, self.pad)? {
            let all = self.learner.scores(device, micro.rows())?;
            for (text, place) in &micro.spans {
                scores[*text] = all[*place..place + texts[*text].ids.len() - 1].to_vec();
            }
        }
        Ok(scores)
    }

    /// Scores of both sides of pairs, read at their ends.
    fn score(&mut self, device: &mut Device, pairs: &[&PairExample]) -> Result<Vec<Pair>, TrainError> {
        let pad = self.pad;
        let texts: Vec<Example> =
            pairs.iter().flat_map(|p| [scored(&p.chosen.ids, pad), scored(&p.rejected.ids, pad)]).collect();
        let scores = self.all_scores(device, &texts)?;
        let last = |s: &[f32]| s.last().copied().unwrap_or(0.0);
        Ok(scores.chunks_exact(2).map(|s| Pair::new(last(&s[0]), last(&s[1]))).collect())
    }

    // ---- votes ----

    fn votes_at(&self, step: usize) -> impl Iterator<Item = &VoteExample> {
        self.votes.iter().filter(move |v| v.vote.counts(step as u64))
    }

    /// Whether votes teach a taste beside the network, which they leave as it is.
    fn has_head(&self) -> bool {
        self.how.vote_fit != VoteFit::Network
    }

    /// Sets the taste of a checkpoint.
    pub(crate) fn set_taste(&mut self, taste: Taste) {
        if self.has_head() {
            (self.taste, self.accuracy) = (taste, None);
        }
    }

    /// The texts of a vote or pair, with the difference of its scores.
    fn scored_pair(&self, pair: &PairExample, scores: Pair, margin: f32, leak: Option<Leak>) -> ScoredPair {
        let (prompt, chosen) = taste::texts(&self.tokenizer, &pair.chosen.ids, pair.chosen.first);
        let (_, rejected) = taste::texts(&self.tokenizer, &pair.rejected.ids, pair.rejected.first);
        let network = match leak {
            Some(leak) => {
                let leaked = |score: f32| leak.leaked(self.normalised(score));
                (leaked(scores.chosen) - leaked(scores.rejected)) * self.scale.1
            }
            None => f64::from(scores.chosen) - f64::from(scores.rejected),
        };
        ScoredPair { prompt, chosen, rejected, network, margin: f64::from(margin) }
    }

    /// A score in standard deviations of the reference answers' from their mean.
    fn normalised(&self, score: f32) -> f64 {
        (f64::from(score) - self.scale.0) / self.scale.1
    }

    /// Some of the training pairs, the same whatever the votes, with their scores.
    fn sampled_pairs(&mut self, device: &mut Device, leak: Option<Leak>) -> Result<Vec<ScoredPair>, TrainError> {
        if let Some(sample) = &self.sample {
            return Ok(sample.clone());
        }
        let train = self.pairs().map_or(&[][..], |pairs| &pairs.train);
        let n = train.len();
        let which = (0..n.min(TASTE_PAIRS)).map(|at| permute(self.seed, Stream::Examples(0), n, at));
        let pairs: Vec<PairExample> = which.map(|at| train[at].clone()).collect();
        let scores = self.score(device, &pairs.iter().collect::<Vec<_>>())?;
        let sample: Vec<ScoredPair> =
            pairs.iter().zip(scores).map(|(pair, scores)| self.scored_pair(pair, scores, 0.0, leak)).collect();
        self.sample = Some(sample.clone());
        Ok(sample)
    }

    /// The held-out pairs with their scores, and how a network's score enters the reward beside a taste.
    fn held_out_pairs(&mut self, device: &mut Device) -> Result<(Vec<ScoredPair>, Option<Leak>), TrainError> {
        if let Some(held) = &self.held {
            return Ok(held.clone());
        }
        let pairs = self.pairs().map_or_else(Vec::new, |pairs| pairs.held_out.clone());
        let sides = self.score(device, &pairs.iter().collect::<Vec<_>>())?;
        let both = sides.iter().flat_map(|s| [s.chosen, s.rejected]);
        let scores: Vec<f64> = both.map(|score| self.normalised(score)).collect();
        let slope = self.how.vote_negative_slope;
        let leak = (slope < 1.0 && !scores.is_empty()).then(|| Leak::new(slope, &scores));
        let scored = pairs.iter().zip(sides).map(|(pair, scores)| self.scored_pair(pair, scores, 0.0, leak)).collect();
        let held = (scored, leak);
        self.held = Some(held.clone());
        Ok(held)
    }

    /// Fits the taste to the votes that count at the newest step.
    fn fit_taste(&mut self, device: &mut Device) -> Result<(), TrainError> {
        let step = self.done as usize;
        let votes: Vec<VoteExample> = self.votes_at(step).cloned().collect();
        self.accuracy = None;
        if votes.is_empty() {
            (self.taste, self.predicted) = (Taste::default(), None);
            return Ok(());
        }
        if self.moved {
            // Sets the scale.
            self.held_out(device)?;
        }
        let judges = self.how.vote_fit == VoteFit::Taste;
        let asked = judges || self.how.vote_negative_slope < 1.0;
        let (held, leak) = if asked { self.held_out_pairs(device)? } else { (Vec::new(), None) };
        let judge = if judges { Judge::HeldOut(&held) } else { Judge::Pairs };
        let pairs = self.sampled_pairs(device, leak)?;
        let scores = self.score(device, &votes.iter().map(|v| &v.example).collect::<Vec<_>>())?;
        let each = votes.iter().zip(scores);
        let all: Vec<ScoredPair> = each.map(|(v, s)| self.scored_pair(&v.example, s, v.margin(), leak)).collect();
        let deviation = self.scale.1;
        let ids = votes.iter().map(|v| v.vote.pair.id).collect();
        self.taste = Taste::fit(ids, &all, &pairs, (deviation, leak), judge);
        self.predicted = Some(taste::predicted(&all, &pairs, deviation, &self.taste));
        Ok(())
    }

    /// Whether the taste is of other votes than those that count.
    fn is_behind(&self, step: usize) -> bool {
        self.has_head() && !self.votes_at(step).map(|v| v.vote.pair.id).eq(self.taste.votes.iter().copied())
    }

    /// Votes that count and that no step before `step` has drawn, or that the taste does not have.
    pub(crate) fn waiting(&self, step: usize) -> usize {
        if self.has_head() {
            return self.votes_at(step).filter(|v| !self.taste.votes.contains(&v.vote.pair.id)).count();
        }
        self.votes_at(step).filter(|v| v.vote.from >= step as u64).count()
    }

    /// The approximate number of votes and of pairs per step, and the weight of a vote relative to a pair.
    ///
    /// In a fit half of the batch are votes; with fewer votes each counts several times. In the stage itself a vote is
    /// drawn at most once per step, so that the first one does not outweigh everything.
    fn shares_in(&self, step: usize, fit: bool) -> (usize, usize, f64) {
        let (batch, there) = (self.plan.batch_size, self.votes_at(step).count());
        let half = (batch / 2).max(1);
        let votes = if self.has_head() { 0 } else { there.min(half) };
        if votes == 0 {
            return (0, batch, 0.0);
        }
        let weight = f64::from(self.how.vote_weight);
        if fit {
            (votes, (batch - half).max(1), weight * half as f64 / votes as f64)
        } else {
            (votes, (batch - votes).max(1), weight)
        }
    }

    fn shares(&self, step: usize) -> (usize, usize, f64) {
        self.shares_in(step, self.refit_at(step).is_some())
    }

    // ---- steps ----

    /// The comparisons of a step: pairs, then votes.
    fn draw(&mut self, step: usize) -> Result<Vec<Compared>, TrainError> {
        let Some(mut learned) = self.pairs.take() else {
            return Err(TrainError::Work("the reward model has no pairs".to_owned()));
        };
        let drawn = learned.draws.step(step, |at| self.shares(at).1);
        let compared = |i: &usize| Compared { pair: learned.pairs.train[*i].clone(), margin: 0.0, weight: 1.0 };
        let mut all: Vec<Compared> = drawn.iter().map(compared).collect();
        self.pairs = Some(learned);
        let (votes, _, weight) = self.shares(step);
        let there: Vec<&VoteExample> = self.votes_at(step).collect();
        for at in (0..votes).map(|i| step * votes + i) {
            let n = there.len();
            let drawn = there[permute(self.seed, Stream::Votes((at / n) as u64), n, at % n)];
            let (pair, margin) = (drawn.example.clone(), drawn.margin());
            all.push(Compared { pair, margin, weight: weight as f32 });
        }
        Ok(all)
    }

    /// The compared positions of a pair, counted from each text's first token.
    fn positions(&self, chosen: &Side, rejected: &Side) -> Vec<[usize; 2]> {
        match self.how.mode {
            RewardMode::Standard => vec![[chosen.last, rejected.last]],
            RewardMode::Book => {
                let n = |side: &Side| side.last + 1 - side.first;
                let all = book_positions(n(chosen), n(rejected)).into_iter();
                all.map(|[c, r]| [chosen.first + c, rejected.first + r]).collect()
            }
        }
    }

    /// Submits a step.
    pub(crate) fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError> {
        let compared = self.draw(step)?;
        let mut texts: Vec<Example> = Vec::with_capacity(2 * compared.len());
        for c in &compared {
            let mut chosen = scored(&c.pair.chosen.ids, self.pad);
            if self.how.lm_coef > 0.0 {
                // Language modelling targets: every token of prompt and answer except the first.
                let tokens = c.pair.chosen.ids.len();
                for (label, id) in chosen.labels.iter_mut().zip(&c.pair.chosen.ids).skip(1).take(tokens - 1) {
                    *label = *id as i32;
                }
            }
            texts.extend([chosen, scored(&c.pair.rejected.ids, self.pad)]);
        }
        let scores = self.all_scores(device, &texts)?;
        let mut places = Vec::new();
        let mut sides = Vec::new();
        let mut ends = Vec::new();
        for (i, c) in compared.iter().enumerate() {
            let (chosen, rejected) = (&scores[2 * i], &scores[2 * i + 1]);
            let pair = |at: [usize; 2]| Pair {
                margin: c.margin,
                weight: c.weight,
                ..Pair::new(chosen[at[0]], rejected[at[1]])
            };
            ends.push(pair([c.pair.chosen.last, c.pair.rejected.last]));
            for at in self.positions(&c.pair.chosen, &c.pair.rejected) {
                places.push((i, at));
                sides.push(pair(at));
            }
        }
        let loss = pairwise_loss(&sides, self.how.center_rewards_coefficient);
        let mut slopes: Vec<Vec<f32>> = scores.iter().map(|s| vec![0.0; s.len()]).collect();
        for (n, (i, [c, r])) in places.iter().enumerate() {
            slopes[2 * i][*c] += loss.dchosen[n];
            slopes[2 * i + 1][*r] += loss.drejected[n];
        }
        let targets: usize = texts.iter().map(Example::trained).sum();
        let (mut tokens, mut imitation) = (0, 0.0);
        for micro in packed_rows::micros(&texts, ROWS, self.plan.context, self.pad)? {
            let mut row = vec![0.0; micro.ids.len()];
            for (text, place) in &micro.spans {
                row[*place..place + slopes[*text].len()].copy_from_slice(&slopes[*text]);
                tokens += texts[*text].ids.len() - 1;
            }
            self.learner.backward(device, micro.rows(), &row)?;
            if targets > 0 {
                let each = self.how.lm_coef / targets as f32;
                let losses = self.learner.imitate(device, micro.batch(), &vec![each; micro.ids.len()])?;
                imitation += losses.iter().map(|l| f64::from(*l)).sum::<f64>() / targets as f64;
            }
        }
        let total = loss.loss + f64::from(self.how.lm_coef) * imitation;
        let ticket = self.learner.update(device, rate, total as f32)?;
        (self.moved, self.accuracy) = (true, None);
        (self.sample, self.held) = (None, None);
        self.done = step as u64 + 1;
        // Whatever is compared in training, a score is read at the end.
        let read = pairwise_loss(&ends, 0.0);
        let all = || ends.iter().flat_map(|p| [f64::from(p.chosen), f64::from(p.rejected)]);
        let mut extra = vec![
            ("accuracy", read.accuracy),
            ("margin", read.margin),
            ("mean_reward", read.mean_reward),
            ("min_reward", all().fold(f64::INFINITY, f64::min)),
            ("max_reward", all().fold(f64::NEG_INFINITY, f64::max)),
        ];
        if targets > 0 {
            extra.push(("lm_loss", imitation));
        }
        Ok(Submitted { tokens, ticket, loss: Some(total), extra })
    }

    /// Tokens per pass over the pairs.
    pub(crate) fn tokens(&self) -> u64 {
        let pairs = self.pairs().map_or(&[][..], |p| &p.train);
        pairs.iter().map(|p| (p.chosen.ids.len() + p.rejected.ids.len()) as u64).sum()
    }

    /// Passes over the pairs before a step.
    pub(crate) fn epochs(&mut self, step: usize) -> f64 {
        let Some(mut learned) = self.pairs.take() else { return 0.0 };
        let epochs = learned.draws.epochs(step, |at| self.shares(at).1);
        self.pairs = Some(learned);
        epochs
    }

    // ---- measures ----

    /// The scores of a pair with what the taste adds, as optimised.
    fn with_taste(&self, pair: &PairExample, scores: Pair) -> Pair {
        if self.taste.likings.is_empty() {
            return scores;
        }
        let with = |score: f32, side: &Side| {
            let (prompt, answer) = taste::texts(&self.tokenizer, &side.ids, side.first);
            if self.taste.leak.is_none() {
                return score + (self.taste.of(&prompt, &answer) * self.scale.1) as f32;
            }
            (self.scale.0 + self.taste.reward(self.normalised(score), &prompt, &answer) * self.scale.1) as f32
        };
        let (chosen, rejected) = (with(scores.chosen, &pair.chosen), with(scores.rejected, &pair.rejected));
        Pair { chosen, rejected, ..scores }
    }

    /// Scores of both sides of the held-out pairs, which are the reference answers; sets the scale.
    fn held_out(&mut self, device: &mut Device) -> Result<Vec<Pair>, TrainError> {
        let held = self.learned()?.held_out.clone();
        let sides = self.score(device, &held.iter().collect::<Vec<_>>())?;
        let scores = || sides.iter().flat_map(|s| [f64::from(s.chosen), f64::from(s.rejected)]);
        let n = (2 * sides.len()).max(1) as f64;
        let mean = scores().sum::<f64>() / n;
        let var = scores().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
        self.scale = (mean, var.sqrt().max(1e-6));
        self.moved = false;
        Ok(sides)
    }

    /// Held-out accuracy with its interval, the accuracy of «the longer one is better», and the loss.
    pub(crate) fn report(&mut self, device: &mut Device, done: usize) -> Result<(RewardReport, f64), TrainError> {
        let mut sides = self.held_out(device)?;
        if !self.taste.likings.is_empty() {
            let held = self.learned()?.held_out.clone();
            for (pair, side) in held.iter().zip(&mut sides) {
                *side = self.with_taste(pair, *side);
            }
        }
        let all = pairwise_loss(&sides, 0.0);
        self.accuracy = Some(all.accuracy);
        let held = &self.learned()?.held_out;
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
            ci95: wilson(all.accuracy, n),
            by_length: longer.sum::<f64>() / n.max(1) as f64,
            margin: all.margin,
            margins: sides.iter().map(|s| s.chosen - s.rejected).collect(),
        };
        Ok((report, all.loss))
    }

    /// The model as a part of a checkpoint.
    pub(crate) fn part(&mut self, device: &mut Device) -> Result<Part, TrainError> {
        if self.moved {
            // A policy that learns from this checkpoint needs the scale of its scores.
            self.held_out(device)?;
        }
        if self.is_behind(self.done as usize) || (self.has_head() && self.sample.is_none()) {
            self.fit_taste(device)?;
        }
        Ok(Part {
            folder: "",
            also: self.taste.file().map(|text| (taste::FILE, text)),
            config: self.model.to_json_as(Head::Score),
            table: Arc::clone(self.learner.table()),
            slabs: self.learner.read_state(device)?,
            divisor: Some(self.scale.1),
        })
    }

    /// Parameters, moments and control block, for undoing a fit.
    pub(crate) fn slabs(&self, device: &mut Device) -> Result<checkpoint::Slabs, TrainError> {
        Ok(self.learner.read_state(device)?)
    }

    /// Writes its state, apart from tensors.
    pub(crate) fn write_state(&self, state: &mut State) {
        let (mean, deviation) = self.scale;
        state.reward_scale = Some(self.scale);
        state.reward_shift = Some(mean / deviation);
        state.refits.clone_from(&self.refits);
    }
}

impl Preference for RewardModel {
    fn judge(&mut self, device: &mut Device, texts: &[Vec<u32>]) -> Result<Vec<Option<f64>>, TrainError> {
        let fits: Vec<&Vec<u32>> = texts.iter().filter(|t| (1..=self.plan.context).contains(&t.len())).collect();
        let examples: Vec<Example> = fits.iter().map(|t| scored(t, self.pad)).collect();
        let mut scores = self.all_scores(device, &examples)?.into_iter();
        let mut next = || scores.next().and_then(|s| s.last().map(|s| self.normalised(*s)));
        let with = |score: f64, ids: &[u32]| {
            let (prompt, answer) = taste::texts(&self.tokenizer, ids, taste::answer_of(&self.tokenizer, ids));
            self.taste.reward(score, &prompt, &answer)
        };
        let fits = |t: &Vec<u32>| (1..=self.plan.context).contains(&t.len());
        Ok(texts.iter().map(|t| if fits(t) { next().map(|score| with(score, t)) } else { None }).collect())
    }

    fn vote(&mut self, vote: VoteExample) {
        self.votes.push(vote);
    }

    fn unvote(&mut self, pair: u64, step: u64) {
        if let Some(vote) = self.votes.iter_mut().rev().find(|v| v.vote.pair.id == pair && v.vote.until.is_none()) {
            vote.vote.until = Some(step);
        }
    }

    fn votes(&self, step: usize) -> usize {
        self.votes_at(step).count()
    }

    fn vote_counts_for(&self, step: usize) -> f64 {
        if self.has_head() {
            let pairs = self.pairs_trained().min(TASTE_PAIRS);
            return taste::vote_counts_for(self.votes(step), pairs, self.taste.pairs);
        }
        let (votes, pairs, weight) = self.shares_in(step, true);
        let (all_votes, all_pairs) = (self.votes(step), self.pairs_trained());
        if votes == 0 || all_pairs == 0 {
            return 0.0;
        }
        (weight * votes as f64 / all_votes as f64) / (pairs as f64 / all_pairs as f64)
    }

    fn pairs_trained(&self) -> usize {
        self.pairs().map_or(0, |p| p.train.len())
    }

    fn agreement(&mut self, device: &mut Device, step: usize) -> Result<f64, TrainError> {
        let all: Vec<PairExample> = self.votes_at(step).map(|b| b.example.clone()).collect();
        let scores = self.score(device, &all.iter().collect::<Vec<_>>())?;
        let scores: Vec<Pair> = all.iter().zip(scores).map(|(pair, scores)| self.with_taste(pair, scores)).collect();
        Ok(pairwise_loss(&scores, 0.0).accuracy)
    }

    fn accuracy(&mut self, device: &mut Device) -> Result<f64, TrainError> {
        match self.accuracy {
            Some(accuracy) => Ok(accuracy),
            None => Ok(self.report(device, 0)?.0.accuracy),
        }
    }

    fn version(&self) -> usize {
        self.refits.len() + self.fits
    }

    fn learn(&mut self, device: &mut Device) -> Result<bool, TrainError> {
        if !self.has_head() {
            return Ok(false);
        }
        self.fit_taste(device)?;
        self.fits += 1;
        Ok(true)
    }

    fn waits(&self, step: usize) -> Option<bool> {
        self.has_head().then(|| self.is_behind(step))
    }

    fn taste(&self) -> Option<(&Taste, Option<(usize, usize)>)> {
        self.has_head().then_some((&self.taste, self.predicted))
    }

    fn begin_refit(&mut self, step: usize) -> Span {
        let span = Span { step: step as u64, steps: REFIT_STEPS };
        self.refits.push(span);
        span
    }

    fn refit_at(&self, step: usize) -> Option<Span> {
        self.refits.iter().find(|s| (s.step..s.end()).contains(&(step as u64))).copied()
    }

    fn refit_rate(&self, step: usize) -> Option<f64> {
        let span = self.refit_at(step)?;
        Some(self.plan.schedule.peak * (span.end() - step as u64) as f64 / span.steps as f64)
    }
}
