//! The state of a reward model or a policy: held-out figures, metrics under TRL's names, sanity checks, the guard, and
//! one answer of the newest update token by token.

use std::{borrow::Cow, time::Duration};

use super::{batch::special, log::Both};
use crate::protocol::{Metric, PolicyReport, RewardReport, RolloutView, SanityCheck};
use crate::ui::{series::Series, text::Clean};

/// The name for all tasks together.
pub const ALL: &str = "all";
/// Evaluations kept for the frontier chart; when full, every second one is dropped.
const REPORTS: usize = 1024;

/// The guard stopped the stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// After this update.
    pub step: usize,
    /// The reason.
    pub reason: Both,
    /// The newest good checkpoint.
    pub checkpoint: Option<Clean>,
    /// Whether the stage can continue with the weights as they are.
    pub may_go_on: bool,
    /// Whether the user closed the message.
    pub read: bool,
}

/// A sampled token, cleaned, with the update's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its text; special tokens are shortened.
    pub text: Clean,
    /// Its log π when it was sampled.
    pub logprob: f64,
    /// Its log π_ref.
    pub reference: f64,
    /// The value net's estimate before it.
    pub value: Option<f64>,
    /// −β·KL, plus the score at the last token.
    pub reward: f64,
    /// Its advantage.
    pub advantage: f64,
    /// π_new / π_old.
    pub ratio: f64,
    /// Whether the ratio was clipped.
    pub clipped: bool,
}

impl Action {
    /// The KL estimate at this token, in nats.
    pub fn kl(&self) -> f64 {
        self.logprob - self.reference
    }
}

/// One answer of an update.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The update that drew it.
    pub step: usize,
    /// Which of the update's answers.
    pub which: usize,
    /// How many there are.
    pub of: usize,
    /// The prompt.
    pub prompt: Clean,
    /// The reward model's score.
    pub score: f64,
    /// Whether it ended by itself.
    pub ended: bool,
    /// Its tokens.
    pub actions: Vec<Action>,
}

impl Rollout {
    /// Cleans an answer.
    pub fn new(view: &RolloutView) -> Rollout {
        let actions = view.actions.iter().map(|a| Action {
            text: special(&a.text).map_or_else(|| Clean::line(&a.text), |s| Clean::line(&s)),
            logprob: a.logprob.into(),
            reference: a.reference.into(),
            value: a.value.map(f64::from),
            reward: a.reward.into(),
            advantage: a.advantage.into(),
            ratio: a.ratio.into(),
            clipped: a.clipped,
        });
        Rollout {
            step: view.step,
            which: view.which,
            of: view.of,
            prompt: Clean::line(&view.prompt),
            score: view.score,
            ended: view.ended,
            actions: actions.collect(),
        }
    }
}

/// What a stage of human feedback reports in addition to its steps.
#[derive(Clone, Debug, Default)]
pub struct Feedback {
    /// Metrics of steps other than the loss, by TRL's names.
    metrics: Vec<(Cow<'static, str>, Series)>,
    /// The newest held-out figures of a reward model.
    pub reward: Option<RewardReport>,
    /// Held-out accuracy with its interval.
    pub accuracy: Series,
    /// The accuracy of choosing the longer answer.
    pub by_length: Series,
    /// Held-out figures of a policy over all tasks, one per evaluation.
    pub policy: Vec<PolicyReport>,
    /// The newest figures of each task.
    pub tasks: Vec<(Clean, PolicyReport)>,
    /// Share of answers that the rule calls good, with its interval.
    pub true_score: Series,
    /// The reward model's mean score at the evaluations.
    pub evaluated: Series,
    /// KL at the evaluations.
    pub kl: Series,
    /// Share of answers that ended by themselves.
    pub end_rate: Series,
    /// Characters per answer.
    pub length: Series,
    /// The sanity checks of the first update.
    pub checks: Vec<SanityCheck>,
    /// Set after the guard stopped the stage, until it is reopened.
    pub guard: Option<Guard>,
    /// The displayed answer.
    pub rollout: Option<Rollout>,
    /// Index of the requested answer of the update.
    pub which: usize,
    /// The selected token.
    pub token: Option<usize>,
    /// When an answer was last requested while the panel is visible.
    pub rollout_asked: Option<Duration>,
    /// The steps done when a request was refused; it is repeated after a newer one.
    pub rollout_refused: Option<usize>,
}

impl Feedback {
    /// Forgets what the run's files hold.
    pub fn forget(&mut self) {
        let Feedback { guard, rollout, which, token, rollout_asked, rollout_refused, .. } = std::mem::take(self);
        *self = Feedback { guard, rollout, which, token, rollout_asked, rollout_refused, ..Feedback::default() };
    }

    /// Adds a step's metrics other than the loss.
    pub fn add_metrics(&mut self, step: usize, extra: &[Metric]) {
        for (name, value) in extra {
            let at = self.metrics.iter().position(|m| m.0 == *name).unwrap_or_else(|| {
                self.metrics.push((name.clone(), Series::default()));
                self.metrics.len() - 1
            });
            self.metrics[at].1.push(step, *value);
        }
    }

    /// The first of these metrics that the stage has.
    pub fn metric(&self, names: &[&str]) -> Option<&Series> {
        names.iter().find_map(|name| self.metrics.iter().find(|m| m.0 == *name)).map(|m| &m.1)
    }

    /// Every metric of steps, by name.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.metrics.iter().map(|(name, series)| (&**name, series))
    }

    /// Its newest value.
    pub fn newest(&self, names: &[&str]) -> Option<f64> {
        Some(self.metric(names)?.last()?.1)
    }

    /// Adds held-out figures of a reward model.
    pub fn add_reward(&mut self, report: RewardReport) {
        self.accuracy.push_within(report.step, report.accuracy, report.ci95);
        self.by_length.push(report.step, report.by_length);
        self.reward = Some(report);
    }

    /// Adds held-out figures of a policy.
    pub fn add_policy(&mut self, report: PolicyReport) {
        if report.task != ALL {
            let name = Clean::line(&report.task);
            match self.tasks.iter_mut().find(|t| t.1.task == report.task) {
                Some(known) => known.1 = report,
                None => self.tasks.push((name, report)),
            }
            return;
        }
        self.true_score.push_within(report.step, report.true_score, report.ci95);
        // Without a reward model it is NaN.
        if report.reward.is_finite() {
            self.evaluated.push(report.step, report.reward);
        }
        self.kl.push(report.step, report.kl);
        self.end_rate.push(report.step, report.end_rate);
        self.length.push(report.step, report.length);
        // Figures measured again at the same step replace the earlier ones.
        self.policy.pop_if(|p| p.step == report.step);
        self.policy.push(report);
        if self.policy.len() > REPORTS {
            let mut index = 0;
            self.policy.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(step: usize, task: &str, true_score: f64) -> PolicyReport {
        PolicyReport {
            step,
            task: task.to_owned(),
            prompts: 10,
            true_score,
            ci95: (true_score - 0.1, true_score + 0.1),
            reward: 0.0,
            kl: step as f64,
            end_rate: 1.0,
            distinct2: 0.5,
            length: 9.0,
        }
    }

    #[test]
    fn figures_of_all_tasks_make_the_curve_and_each_task_its_row() {
        let mut feedback = Feedback::default();
        for (step, score) in [(0, 0.2), (0, 0.25), (5, 0.4)] {
            feedback.add_policy(report(step, "recommend", score));
            feedback.add_policy(report(step, ALL, score));
        }
        assert_eq!(feedback.policy.iter().map(|p| (p.step, p.true_score)).collect::<Vec<_>>(), [(0, 0.25), (5, 0.4)]);
        assert_eq!((feedback.tasks.len(), feedback.tasks[0].1.step), (1, 5));
        let last = feedback.true_score.buckets().last().map(|b| (b.min, b.max));
        assert_eq!(last, Some((0.4 - 0.1, 0.5)));
        for step in 6..5000 {
            feedback.add_policy(report(step, ALL, 0.5));
        }
        assert!(feedback.policy.len() <= REPORTS && feedback.policy[0].step == 0);
    }

    #[test]
    fn metrics_are_found_by_the_first_name_with_values() {
        let mut feedback = Feedback::default();
        feedback.add_metrics(1, &[("kl".into(), 0.5), ("reward".into(), 1.0)]);
        feedback.add_metrics(2, &[("kl".into(), 0.75)]);
        assert_eq!(feedback.newest(&["objective/kl", "kl"]), Some(0.75));
        assert_eq!(feedback.newest(&["objective/entropy"]), None);
    }
}
