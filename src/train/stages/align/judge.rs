//! Evaluates a policy on prompts that are in no training file.
//!
//! The rule is used only here: its score enters no reward, advantage, stop, guard or choice of a checkpoint. Every
//! judged answer is logged in the run's report/answers.jsonl.

use super::{
    episode::Episode,
    roles::{Roles, Scorer, Split},
    rollouts::{Sampler, asked},
};
use crate::{
    base::StageId,
    compute::{Device, rng::AnswerSeed},
    data::{RULES, TaskPrompt, Tokenizer, indicators},
    protocol::{JudgedAnswer, PolicyReport},
    store::Log,
    train::{error::TrainError, stats::wilson},
};

/// Evaluates a policy.
pub(crate) struct Judge {
    pub prompts: Vec<TaskPrompt>,
    pub stage: StageId,
    pub seed: u64,
    /// The log of answers, once the stage is ready.
    pub log: Option<Log>,
}

impl Judge {
    /// Samples one answer to each prompt, as in rollouts; reports figures of each task and of all.
    pub(crate) fn report(
        &mut self,
        device: &mut Device,
        roles: &mut Roles,
        reward: Option<&mut Scorer>,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
        done: usize,
    ) -> Result<Vec<PolicyReport>, TrainError> {
        let questions: Vec<String> = self.prompts.iter().map(|p| p.prompt.clone()).collect();
        let all = sampler.answers(device, asked(&questions, tokenizer)?, AnswerSeed::HeldOut(0).number())?;
        let rewards = reward.map(|model| model.scores(device, &all)).transpose()?;
        let measured = roles.measure(device, all, Split { seed: self.seed, step: 0, epochs: 1, minibatches: 1 })?;
        let kl = measured.kl();
        let all = measured.episodes;
        let text = |e: &Episode| tokenizer.decode_turn(&e.ids[..e.start], &e.ids[e.start..], true);
        let answers: Vec<(String, bool)> = all.iter().map(|e| (text(e), e.ended)).collect();
        let judged = |(p, (text, ended)): (&TaskPrompt, &(String, bool))| p.task.judge(&p.prompt, text, *ended).good;
        let good: Vec<bool> = self.prompts.iter().zip(&answers).map(judged).collect();
        // Before the first update the policy equals its parent.
        let role = self.stage.parent().filter(|_| done == 0).unwrap_or(self.stage);
        for (i, (p, (text, ended))) in self.prompts.iter().zip(&answers).enumerate() {
            let Some(log) = &mut self.log else { break };
            log.append(&JudgedAnswer {
                stage: self.stage,
                step: done,
                task: p.task.name().to_owned(),
                prompt: p.prompt.clone(),
                role,
                seed: self.seed,
                text: text.clone(),
                ended: *ended,
                good: good[i],
                reward: rewards.as_ref().map(|r| r[i].into()),
                kl: kl[i],
            })?;
        }
        let mut reports = Vec::new();
        for (rule, name) in RULES.iter().map(|rule| (Some(*rule), rule.name())).chain([(None, "all")]) {
            let of: Vec<usize> =
                (0..all.len()).filter(|i| rule.is_none_or(|rule| self.prompts[*i].task == rule)).collect();
            let n = of.len();
            if n == 0 {
                continue;
            }
            let mean = |f: &dyn Fn(usize) -> f64| of.iter().map(|i| f(*i)).sum::<f64>() / n as f64;
            let true_score = mean(&|i| f64::from(u8::from(good[i])));
            let shape = indicators(&of.iter().map(|i| (answers[*i].0.as_str(), answers[*i].1)).collect::<Vec<_>>());
            reports.push(PolicyReport {
                step: done,
                task: name.to_owned(),
                prompts: n,
                true_score,
                ci95: wilson(true_score, n),
                reward: rewards.as_ref().map_or(f64::NAN, |r| mean(&|i| r[i].into())),
                kl: mean(&|i| kl[i]),
                end_rate: shape.end_rate,
                distinct2: shape.distinct2,
                length: shape.length,
            });
        }
        Ok(reports)
    }
}
