//! GRPO (Shao et al. 2024): learning from the reward model by comparing answers to the same prompt, without a value
//! net. The KL to the reference is a term of the loss.

use super::{
    Begun, Method, Restored, Shared,
    episode::{Actions, Episode, zeros},
    passes::{Passes, mean, mismatch},
    rollout_view::RolloutTrace,
    rollouts::Prompts,
};
use crate::{
    compute::Device,
    data,
    nn::{
        Head,
        feedback::{Mean, Objective, group_advantages},
    },
    protocol::SourceInfo,
    train::{
        config::{LossType, StageSettings},
        error::TrainError,
        stages::{
            given::{self, Given, GivenPrompts, Work},
            opening::{Counting, Opened, Opening},
            stage_run::Submitted,
        },
    },
};

/// GRPO as a stage.
struct Grpo {
    how: StageSettings,
}

pub(crate) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    let how = o.config.settings(o.stage);
    let answers = (how.rollouts, o.plan.batch_size);
    let Restored { shared, mut state, .. } = Shared::open(o, answers, |_, _| Ok(Vec::new()))?;
    o.same_data(&mut state, &shared.prompts.digest());
    super::ready(o, shared, Grpo { how }, state)
}

/// Counts what [`open`] allocates.
pub(crate) fn count(on: &mut Counting<'_>) -> Result<usize, TrainError> {
    Ok(super::count(on, (on.config.settings(on.stage).rollouts, on.plan.batch_size))?.0)
}

/// What the stage gives to another trainer: its prompts in the order of its updates, and the reward model. The answers
/// are the other trainer's own.
pub(crate) fn give(o: &mut Opening<'_>) -> Result<Given, TrainError> {
    let (how, seed) = (o.config.settings(o.stage), o.config.seed);
    let Begun { tokenizer, model, table, params, mut state } = super::begin_to_give(o)?;
    let reward = super::judge_to_give(o)?;
    let prompts = Prompts::new(data::builtin_prompts()?, &[], seed);
    state.data = prompts.digest();
    state.reward_model = Some((reward.id.to_string(), reward.digest.clone()));
    let (steps, method) = (given::target(o, 0)?, Grpo { how });
    let asked = prompts.take(0, steps * method.questions());
    let work = Work::Prompts(GivenPrompts { asked, different: prompts.len(), reward: reward.path });
    let epoch_tokens = (prompts.len() * method.how.num_generations * method.how.response_length) as u64;
    Ok(Given { epoch_tokens, work, head: Head::Language, model, table, params, tokenizer, state, steps })
}

impl Grpo {
    fn objective(&self, answers: usize) -> Objective {
        let mean = match self.how.loss_type {
            LossType::Grpo => Mean::Answers,
            LossType::Dapo => Mean::Tokens,
            LossType::DrGrpo => Mean::Fixed((answers * self.how.response_length) as f64),
        };
        Objective { clip_low: self.how.epsilon, clip_high: self.how.epsilon_high, kl: self.how.beta, mean }
    }

    /// Prompts per update.
    fn questions(&self) -> usize {
        self.how.rollouts / self.how.num_generations
    }
}

/// Each answer's number repeated for all of its actions.
fn spread(all: &[Episode], of: &[f32]) -> Actions {
    all.iter().zip(of).map(|(e, x)| vec![*x; e.actions()]).collect()
}

impl Method for Grpo {
    fn update(
        &mut self,
        shared: &mut Shared,
        device: &mut Device,
        step: usize,
        rate: f32,
    ) -> Result<Submitted, TrainError> {
        let (questions, each) = (self.questions(), self.how.num_generations);
        let n = questions * each;
        let asked = shared.prompts.take(step * questions, questions);
        let prompts: Vec<String> = asked.into_iter().flat_map(|p| std::iter::repeat_n(p, each)).collect();
        let episodes = shared.draw(device, &prompts, step * n)?;
        let scores = shared.scores(device, &episodes)?;
        let groups = group_advantages(&scores, &vec![each; questions], self.how.scale_rewards).map_err(mismatch)?;
        let advantages = spread(&episodes, &groups.advantages);
        let split = shared.split(step, self.how.num_iterations, self.how.num_mini_batches.min(n));
        let measured = shared.roles.measure(device, episodes, split)?;
        let passes = Passes {
            split,
            // All minibatches have the same size except the last, which may be smaller.
            objective: self.objective(n.div_ceil(split.minibatches)),
            advantages: &advantages,
            max_approx_kl: None,
            hold: false,
            rate,
        };
        let mut passed = passes.run(device, &mut shared.roles, &measured, None)?;
        let ticket = passed.ticket(None)?;
        let all = &measured.episodes;
        let cut = all.iter().filter(|e| !e.ended).count();
        let tokens: usize = all.iter().map(Episode::actions).sum();
        let kl = measured.kl();
        let (score, count) = (mean(&scores), n as f64);
        let var = scores.iter().map(|s| (f64::from(*s) - score).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let extra = vec![
            ("reward", score),
            ("reward_std", var.sqrt()),
            ("frac_reward_zero_std", groups.flat),
            ("kl", passed.reference_kl),
            ("entropy", passed.entropy),
            ("clip_ratio/region_mean", passed.clip_fraction),
            ("completions/mean_length", tokens as f64 / count),
            ("completions/clipped_ratio", cut as f64 / count),
            ("objective/kl", kl.iter().sum::<f64>() / count),
            ("objective/scores", score),
            ("policy/approxkl_avg", passed.approx_kl),
            ("val/ratio_gap", passed.first.0),
        ];
        let mut rewards = zeros(&measured.episodes);
        for (of, score) in rewards.iter_mut().zip(&scores) {
            if let Some(last) = of.last_mut() {
                *last = *score;
            }
        }
        let trace = RolloutTrace {
            step: step + 1,
            prompts,
            measured,
            scores,
            values: None,
            rewards,
            advantages,
            newest: passed.newest.clone(),
            clip: (self.how.epsilon, self.how.epsilon_high),
        };
        Ok(shared.finish(&passed, ticket, extra, trace))
    }

    fn source(&self, shared: &Shared, step: usize) -> (SourceInfo, f64) {
        shared.questions_asked(step, self.questions())
    }

    fn epoch_tokens(&self, shared: &Shared) -> u64 {
        (shared.prompts.len() * self.how.num_generations * self.how.response_length) as u64
    }
}
