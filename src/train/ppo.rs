//! Learning from the reward model by PPO: four roles, policy, reference, reward model and value net.
//!
//! An update draws answers to prompts, scores them, and goes over them a few times. Old and reference
//! log-probabilities come from the forward pass that the update differentiates, so the first ratio is 1. The
//! rule that judges the answers stands in the report alone: no reward, no advantage and no stop knows it.

use std::sync::Arc;

use super::{
    checkpoint::{self, Part, State},
    error::TrainError,
    event::{Event, PolicyReport, SourceInfo, SourceUse},
    lineage,
    pairs::{self, drawn, question, wilson},
    plan::{PpoPlan, StagePlan},
    prepare::{Opened, Opening, same_words},
    reward_model::scored,
    rows::{self, Micro},
    work::{Model, Submitted, Work},
};
use crate::{
    compute::Device,
    data::{self, Example, History, Shape, TaskPrompt, Tokenizer, diversity::indicators},
    nn::{
        BatchDecoder, Decoder, Evaluator, Head, IGNORE_INDEX, ModelConfig, ParamTable, PolicyLearner, Prompt,
        ScalarEvaluator, ScalarLearner, Weights,
        feedback::{AdaptiveKl, Objective, PolicyTokens, gae, kl_rewards, policy_loss, value_loss, whiten},
    },
    store::{Checkpoint, StoreError},
};

/// The folder of the value net in a checkpoint.
const VALUE: &str = "value/";
/// Updates' episodes over which an adaptive β may change about e^0.2-fold.
const HORIZON: f64 = 10.0;

/// A policy under training, and the three that judge it.
pub(super) struct Ppo {
    model: ModelConfig,
    plan: StagePlan,
    how: PpoPlan,
    seed: u64,
    tokenizer: Tokenizer,
    policy: PolicyLearner,
    value: ScalarLearner,
    reference: Evaluator,
    reward: ScalarEvaluator,
    writer: BatchDecoder,
    voice: Decoder,
    prompts: Vec<TaskPrompt>,
    judge: Vec<TaskPrompt>,
    kl: AdaptiveKl,
    scale: (f64, f64),
    reward_model: (String, String),
    history: History,
}

/// One answer as PPO sees it. An action is a drawn token, the end included.
struct Episode {
    /// The conversation, and where its answer starts.
    ids: Vec<u32>,
    start: usize,
    ended: bool,
}

impl Episode {
    fn actions(&self) -> usize {
        self.ids.len() - self.start
    }

    /// As a language model scores it: the actions are its targets.
    fn example(&self) -> Example {
        let mut labels = vec![IGNORE_INDEX; self.ids.len()];
        for (label, id) in labels.iter_mut().zip(&self.ids).skip(self.start) {
            *label = *id as i32;
        }
        Example { ids: self.ids.clone(), labels }
    }
}

/// A number for every action of every episode.
type Actions = Vec<Vec<f32>>;

/// Per-action numbers of episodes, out of the rows of their micro-batches.
fn actions(all: &[Episode], micros: &[Micro], outputs: &[Vec<f32>]) -> Actions {
    let mut found = vec![Vec::new(); all.len()];
    for (micro, output) in micros.iter().zip(outputs) {
        for (i, place) in &micro.spans {
            let (from, to) = (place + all[*i].start - 1, place + all[*i].ids.len() - 1);
            found[*i] = output[from..to].to_vec();
        }
    }
    found
}

/// Per-action numbers back into the rows of one micro-batch; zeros elsewhere.
fn into_rows(micro: &Micro, of: &[usize], starts: &[usize], values: &[f32]) -> Vec<f32> {
    let mut row = vec![0.0; micro.ids.len()];
    for (i, place) in &micro.spans {
        let from: usize = of[..*i].iter().sum();
        let at = place + starts[*i] - 1;
        row[at..at + of[*i]].copy_from_slice(&values[from..from + of[*i]]);
    }
    row
}

pub(super) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let tokenizer = o.known_tokenizer()?;
    let (mut model, plan, how) = (o.model.clone(), o.plan.clone(), o.config.ppo_plan());
    model.eos_token_id = tokenizer.end_of_text();
    model.pad_token_id = tokenizer.pad();
    let (rows, context) = (plan.batch_size, plan.context);
    let mut policy = PolicyLearner::new(o.device, &model, rows, context, plan.adamw)?;
    let mut value = ScalarLearner::new(o.device, &model, rows, context, plan.adamw)?;
    let (table, scalar) = (Arc::clone(policy.table()), Arc::clone(value.table()));
    let history = History::new(&[1.0], Shape { rows, window: context, micros: 1 })?;

    let found = o.own(|c| {
        let (state, slabs) = checkpoint::load(c, &model, &table)?;
        Ok((state, vec![slabs, checkpoint::load_part(c, VALUE, &model, &scalar, Head::Score)?]))
    })?;
    let learned_from = found.as_ref().and_then(|(state, _)| state.reward_model.clone());
    let (judge_scale, judge_slab, judge_id) = reward_model(o, &model, &scalar, learned_from)?;
    let (mut state, reference) = if let Some((state, slabs)) = found {
        if let [of_policy, of_value] = slabs.as_slice() {
            policy.write_state(o.device, of_policy)?;
            value.write_state(o.device, of_value)?;
        }
        let reference = lineage::started_from(o.run.view(), &state, &model, &table)?;
        (state, reference)
    } else {
        let (parent, slab) = o.parent(&model, &table)?;
        let mut state = State::new(o.stage.name, o.config.seed, history.clone(), String::new());
        state.parent = Some(parent.id.to_string());
        state.parent_digest = Some(parent.digest);
        state.reward_model = Some(judge_id.clone());
        policy.write_params(o.device, &slab)?;
        // The value net starts from the same trunk and knows nothing: it values everything 0.
        value.write_params(o.device, &scalar.from_language_model(&table, &slab, 0.0, o.config.seed)?)?;
        (state, slab)
    };
    let of_reference = Weights::alloc(o.device, "reference", &table)?;
    o.device.write(&of_reference.slab, &reference)?;
    let of_reward = Weights::alloc(o.device, "reward", &scalar)?;
    o.device.write(&of_reward.slab, &judge_slab)?;
    let reference = Evaluator::new(o.device, &model, &of_reference, rows, context)?;
    let reward = ScalarEvaluator::new(o.device, &model, &of_reward, rows, context)?;
    let writer = BatchDecoder::new(o.device, &model, policy.params(), how.rollouts.min(128), context)?;
    let voice = Decoder::new(o.device, &model, policy.params(), model.max_position_embeddings)?;
    let (prompts, judge) = (data::builtin_prompts()?, data::builtin_judge_prompts()?);
    let mut hash = blake3::Hasher::new();
    for p in &prompts {
        hash.update(p.prompt.as_bytes()).update(&[0]);
    }
    let digest = hash.finalize().to_hex().to_string();
    o.same_data(&mut state, &digest);
    let kl = AdaptiveKl {
        // One that is held is what run.toml says now; one that adapts goes on from where it was.
        coefficient: how.target_kl.and(state.kl_coef).unwrap_or(how.kl_coef),
        target: how.target_kl.unwrap_or(f64::INFINITY),
        horizon: HORIZON * how.rollouts as f64,
    };
    let work = Ppo {
        model,
        plan,
        how,
        seed: o.config.seed,
        tokenizer: tokenizer.clone(),
        policy,
        value,
        reference,
        reward,
        writer,
        voice,
        prompts,
        judge,
        kl,
        scale: judge_scale,
        reward_model: judge_id,
        history,
    };
    Ok(Opened { work: Box::new(work), tokenizer, state })
}

/// A reward model: its scale, its weights, its name and hash.
type Judge = ((f64, f64), Vec<f32>, (String, String));

/// The reward model that the stage has learned from so far; at its start the newest of the run.
fn reward_model(
    o: &mut Opening<'_>,
    model: &ModelConfig,
    table: &ParamTable,
    known: Option<(String, String)>,
) -> Result<Judge, TrainError> {
    let checkpoints = o.run.view().checkpoints();
    let tokenizer = o.known_tokenizer()?;
    let mut taken = None;
    let mut read = |c: Checkpoint| {
        taken = Some(c.clone());
        let (state, [params, ..]) = checkpoint::load_as(&c, model, table, Head::Score)?;
        Ok::<_, StoreError>((state, params, (c.id.to_string(), c.digest)))
    };
    let found = if let Some((name, digest)) = known {
        let lost = |why: String| {
            TrainError::Input(format!(
                "ppo learns from {name}, {why}; a stage keeps its reward model: start a new run for another"
            ))
        };
        let id = checkpoints.list()?.into_iter().find(|id| id.to_string() == name);
        let checkpoint = checkpoints.verify(&id.ok_or_else(|| lost("which is not there any more".to_owned()))?)?;
        if checkpoint.digest != digest {
            return Err(lost("which is another one by now".to_owned()));
        }
        Some(read(checkpoint)?)
    } else {
        let found = checkpoints.newest_that(Some("reward"), &mut read)?;
        if let (None, Some(first)) = (&found.found, found.skipped.first()) {
            return Err(TrainError::Input(format!(
                "ppo learns from a reward model, and none of this run can be used; the newest, {}: {}",
                first.id, first.error
            )));
        }
        for s in &found.skipped {
            o.notes.push(format!("checkpoint {} was passed over: {}", s.id, s.error));
        }
        found.found
    };
    let Some((state, params, id)) = found else {
        return Err(TrainError::Input(format!(
            "ppo learns from a reward model, and this run has none; train it first: danlu train --stage reward --run {}",
            o.run.view().dir().display()
        )));
    };
    if let Some(checkpoint) = taken {
        same_words(&checkpoint, &tokenizer)?;
    }
    let scale = state.normaliser().ok_or_else(|| {
        TrainError::Input(format!("{} was never measured on held-out pairs; train the reward model to its end", id.0))
    })?;
    Ok((scale, params, id))
}

impl Ppo {
    /// Answers to prompts, drawn from the policy as it is.
    fn rollout(&mut self, device: &mut Device, asked: &[String], first: usize) -> Result<Vec<Episode>, TrainError> {
        let Some(chat) = self.tokenizer.chat() else {
            return Err(TrainError::Input("the tokenizer has no tokens of the chat template".to_owned()));
        };
        let mut questions = Vec::with_capacity(asked.len());
        for (i, prompt) in asked.iter().enumerate() {
            let ids = question(prompt, &self.tokenizer)?;
            let room = self.writer.capacity().saturating_sub(ids.len() + 1);
            questions.push(Prompt {
                max_new_tokens: self.how.response_length.min(room).max(1),
                ids,
                sampling: drawn(self.seed, self.how.temperature, first + i),
            });
        }
        let known = self.tokenizer.vocab_size().min(self.model.vocab_size);
        let answers = self.writer.complete(device, &questions, known, Some(chat.end))?;
        let episode = |(question, answer): (Prompt, crate::nn::Completion)| {
            let start = question.ids.len();
            let mut ids = question.ids;
            ids.extend(answer.ids);
            if answer.ended {
                ids.push(chat.end);
            }
            Episode { ids, start, ended: answer.ended }
        };
        Ok(questions.into_iter().zip(answers).map(episode).collect())
    }

    /// The reward model's normalised score of each answer, less what a missing end costs.
    fn rewards(&mut self, device: &mut Device, all: &[Episode]) -> Result<Vec<f32>, TrainError> {
        let pad = self.model.pad_token_id.unwrap_or(0);
        let examples: Vec<Example> = all.iter().map(|e| scored(&e.ids, pad)).collect();
        let mut scores = vec![0.0; all.len()];
        for micro in rows::micros(&examples, self.plan.batch_size, self.plan.context, pad)? {
            let output = self.reward.scores(device, micro.rows())?;
            for (i, place) in &micro.spans {
                let raw = f64::from(output[place + examples[*i].ids.len() - 2]);
                scores[*i] = ((raw - self.scale.0) / self.scale.1) as f32;
            }
        }
        for (score, _) in scores.iter_mut().zip(all).filter(|(_, e)| !e.ended) {
            *score -= self.how.missing_end;
        }
        Ok(scores)
    }

    fn micros(&self, all: &[Episode]) -> Result<Vec<Micro>, TrainError> {
        let examples: Vec<Example> = all.iter().map(Episode::example).collect();
        rows::micros(&examples, self.plan.batch_size, self.plan.context, self.model.pad_token_id.unwrap_or(0))
    }

    /// Log-probabilities of every action under the policy and the reference.
    fn logprobs(
        &mut self,
        device: &mut Device,
        all: &[Episode],
        micros: &[Micro],
    ) -> Result<(Actions, Actions), TrainError> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for micro in micros {
            ours.push(self.policy.logprobs(device, micro.batch())?);
            let losses = self.reference.losses(device, &micro.ids, &micro.targets, Some(&micro.starts))?;
            theirs.push(losses.into_iter().map(|loss| -loss).collect());
        }
        Ok((actions(all, micros, &ours), actions(all, micros, &theirs)))
    }

    /// What the policy is worth on the prompts that no training file holds.
    fn report(&mut self, device: &mut Device, done: usize) -> Result<Vec<PolicyReport>, TrainError> {
        let asked: Vec<String> = self.judge.iter().map(|p| p.prompt.clone()).collect();
        // The same draws every time, so that two reports differ by their weights alone.
        let all = self.rollout(device, &asked, usize::MAX / 2)?;
        let rewards = self.rewards(device, &all)?;
        let micros = self.micros(&all)?;
        let (ours, theirs) = self.logprobs(device, &all, &micros)?;
        let mut reports = Vec::new();
        let tasks = data::rules::RULES.iter().map(|rule| (Some(*rule), rule.name())).chain([(None, "all")]);
        for (rule, name) in tasks {
            let of: Vec<usize> =
                (0..all.len()).filter(|i| rule.is_none_or(|rule| self.judge[*i].task == rule)).collect();
            let n = of.len();
            if n == 0 {
                continue;
            }
            let texts: Vec<(String, bool)> = of
                .iter()
                .map(|i| (self.tokenizer.decode(&all[*i].ids[all[*i].start..], true), all[*i].ended))
                .collect();
            let good = of.iter().zip(&texts).filter(|(i, (text, ended))| {
                let asked = &self.judge[**i];
                asked.task.judge(&asked.prompt, text, *ended).good
            });
            let true_score = good.count() as f64 / n as f64;
            let kl = of
                .iter()
                .map(|i| ours[*i].iter().zip(&theirs[*i]).map(|(a, b)| f64::from(*a) - f64::from(*b)).sum::<f64>());
            let kl = kl.sum::<f64>() / n as f64;
            let reward = of.iter().map(|i| f64::from(rewards[*i])).sum::<f64>() / n as f64;
            let shape = indicators(&texts);
            reports.push(PolicyReport {
                step: done,
                task: name.to_owned(),
                prompts: n,
                true_score,
                ci95: wilson(true_score, n),
                reward,
                kl,
                end_rate: shape.end_rate,
                distinct2: shape.distinct2,
                length: shape.length,
            });
        }
        Ok(reports)
    }
}

impl Work for Ppo {
    fn model(&self) -> Model<'_> {
        Model { config: &self.model, table: self.policy.table() }
    }

    fn language_model(&self) -> Arc<ParamTable> {
        Arc::clone(self.policy.table())
    }

    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError> {
        let (n, of) = (self.how.rollouts, self.prompts.len());
        let prompt = |i: usize| {
            let at = step * n + i;
            self.prompts[pairs::shuffled(self.seed, (at / of) as u64, of, at % of)].prompt.clone()
        };
        let asked: Vec<String> = (0..n).map(prompt).collect();
        let all = self.rollout(device, &asked, step * n)?;
        let rewards = self.rewards(device, &all)?;
        let lengths: Vec<usize> = all.iter().map(Episode::actions).collect();

        let whole = self.micros(&all)?;
        let (old, reference) = self.logprobs(device, &all, &whole)?;
        let mut values = Vec::with_capacity(whole.len());
        for micro in &whole {
            values.push(self.value.scores(device, micro.rows())?);
        }
        let values = actions(&all, &whole, &values);
        let beta = self.kl.coefficient;
        let given =
            kl_rewards(&old.concat(), &reference.concat(), &rewards, &lengths, beta as f32).map_err(mismatch)?;
        let mut targets =
            gae(&given.rewards, &values.concat(), &lengths, self.how.gamma, self.how.lambda).map_err(mismatch)?;
        whiten(&mut targets.advantages, true);
        let mean = |v: &[f32]| v.iter().map(|x| f64::from(*x)).sum::<f64>() / v.len().max(1) as f64;
        let kl = mean(&given.kl);

        let mut sums = [0.0_f64; 8];
        let (mut passes, mut ticket, mut first_ratio) = (0.0, None, None);
        let warming = step < self.how.value_warmup;
        let each = n.div_ceil(self.how.minibatches);
        for epoch in 0..self.how.epochs {
            let order: Vec<usize> = (0..n)
                .map(|at| pairs::shuffled(self.seed, (1 << 40) | (step * self.how.epochs + epoch) as u64, n, at))
                .collect();
            for batch in order.chunks(each) {
                let of = |v: &[Vec<f32>]| batch.iter().flat_map(|i| v[*i].clone()).collect::<Vec<f32>>();
                let flat = |v: &[f32]| -> Vec<f32> {
                    let from = |i: usize| lengths[..i].iter().sum::<usize>();
                    batch.iter().flat_map(|i| v[from(*i)..from(*i) + lengths[*i]].to_vec()).collect()
                };
                let episodes: Vec<Episode> = batch
                    .iter()
                    .map(|i| Episode { ids: all[*i].ids.clone(), start: all[*i].start, ended: all[*i].ended })
                    .collect();
                let counts: Vec<usize> = episodes.iter().map(Episode::actions).collect();
                let starts: Vec<usize> = episodes.iter().map(|e| e.start).collect();
                let micros = self.micros(&episodes)?;
                let mut new = Vec::with_capacity(micros.len());
                for micro in &micros {
                    new.push(self.policy.logprobs(device, micro.batch())?);
                }
                let new = actions(&episodes, &micros, &new).concat();
                let tokens = PolicyTokens {
                    new: &new,
                    old: &of(&old),
                    reference: &[],
                    advantages: &flat(&targets.advantages),
                    lengths: &counts,
                };
                let loss = policy_loss(&tokens, &Objective::ppo(self.how.clip)).map_err(mismatch)?;
                first_ratio.get_or_insert(loss.ratio);
                if !warming {
                    for micro in &micros {
                        let weights = into_rows(micro, &counts, &starts, &loss.weights);
                        self.policy.backward(device, micro.batch(), &weights)?;
                    }
                    ticket = Some(self.policy.update(device, rate, loss.loss as f32)?);
                }
                let mut now = Vec::with_capacity(micros.len());
                for micro in &micros {
                    now.push(self.value.scores(device, micro.rows())?);
                }
                let now = actions(&episodes, &micros, &now).concat();
                let fit =
                    value_loss(&now, &of(&values), &flat(&targets.returns), self.how.value_clip).map_err(mismatch)?;
                for micro in &micros {
                    let slopes = into_rows(micro, &counts, &starts, &fit.dvalues);
                    self.value.backward(device, micro.rows(), &slopes)?;
                }
                let of_value = self.value.update(device, self.how.value_rate as f32, fit.loss as f32)?;
                if warming {
                    ticket = Some(of_value);
                }
                let figures = [
                    loss.loss,
                    fit.loss,
                    loss.approx_kl,
                    loss.clip_fraction,
                    fit.clip_fraction,
                    loss.ratio,
                    loss.ratio_var,
                    -mean(&new),
                ];
                for (sum, figure) in sums.iter_mut().zip(figures) {
                    *sum += figure;
                }
                passes += 1.0;
            }
        }
        if self.how.target_kl.is_some() {
            self.kl.update(kl, n);
        }
        let Some(ticket) = ticket else {
            return Err(TrainError::Work("an update had no minibatch".to_owned()));
        };
        let [policy, value, approx_kl, clipped, value_clipped, ratio, ratio_var, entropy] = sums.map(|s| s / passes);
        let non_score = given.rewards.iter().map(|r| f64::from(*r)).sum::<f64>() / n as f64 - mean(&rewards);
        let ended = all.iter().filter(|e| e.ended).count();
        let extra = vec![
            ("objective/kl", kl),
            ("objective/entropy", -old.concat().iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64),
            ("objective/non_score_reward", non_score),
            ("objective/rlhf_reward", non_score + mean(&rewards)),
            ("objective/scores", mean(&rewards)),
            ("policy/approxkl_avg", approx_kl),
            ("policy/clipfrac_avg", clipped),
            ("policy/entropy_avg", entropy),
            ("loss/policy_avg", policy),
            ("loss/value_avg", value),
            ("val/clipfrac_avg", value_clipped),
            ("val/ratio", ratio),
            ("val/ratio_var", ratio_var),
            ("val/first_ratio", first_ratio.unwrap_or(1.0)),
            ("val/num_eos_tokens", ended as f64),
            ("kl_coef", beta),
        ];
        let tokens = lengths.iter().sum();
        Ok(Submitted { tokens, ticket, loss: Some(policy), extra })
    }

    fn drawn(&mut self, step: usize) -> Vec<SourceUse> {
        let epoch = (step * self.how.rollouts) as f64 / self.prompts.len().max(1) as f64;
        vec![SourceUse { tokens: 0, epoch }]
    }

    fn epoch_tokens(&self) -> u64 {
        (self.prompts.len() * self.how.response_length) as u64
    }

    fn sources(&self) -> Vec<SourceInfo> {
        vec![SourceInfo {
            name: "prompts".to_owned(),
            weight: 1.0,
            documents: self.prompts.len(),
            tokens: 0,
            held_out_tokens: 0,
        }]
    }

    fn validate(&mut self, device: &mut Device, done: usize, _whole: bool) -> Result<Vec<Event>, TrainError> {
        Ok(self.report(device, done)?.into_iter().map(Event::Policy).collect())
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn voice(&mut self) -> &mut Decoder {
        &mut self.voice
    }

    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError> {
        let policy = Part {
            folder: "",
            config: self.model.to_json(),
            table: Arc::clone(self.policy.table()),
            slabs: self.policy.read_state(device)?,
            divisor: None,
        };
        let value = Part {
            folder: VALUE,
            config: self.model.to_json_as(Head::Score),
            table: Arc::clone(self.value.table()),
            slabs: self.value.read_state(device)?,
            divisor: None,
        };
        Ok(vec![policy, value])
    }

    fn note(&self, state: &mut State) {
        state.kl_coef = Some(self.kl.coefficient);
        state.reward_model = Some(self.reward_model.clone());
    }
}

/// Lists that do not fit are a bug here, told as one.
fn mismatch(e: crate::nn::feedback::Mismatch) -> TrainError {
    TrainError::Work(e.to_string())
}
