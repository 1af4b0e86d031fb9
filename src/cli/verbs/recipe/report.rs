//! The data of a report: a run's figures, stage by stage.
//!
//! Shares are fractions of 1. A figure that was not measured is null, never 0.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::base::StageId;

/// The stages of a recipe in order. Other stages are their siblings: the report includes those that were trained.
pub(super) const LINE: [StageId; 4] = [StageId::Pretrain, StageId::Sft, StageId::Reward, StageId::Ppo];

/// Facts that are not in the logs.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The run's name.
    pub run: String,
    /// Its size.
    pub size: String,
    /// Its seed.
    pub seed: u64,
    /// `cpu` or `wgpu`, in this launch.
    pub engine: &'static str,
    /// The adapter's name.
    pub adapter: String,
    /// Seconds since this launch began.
    pub seconds: f64,
    /// The stage that failed, if one did.
    pub failed: Option<Failed>,
}

/// A failed stage. What was measured before is still reported.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failed {
    /// The stage.
    pub stage: StageId,
    /// Its error.
    pub error: String,
}

/// Values by name, in insertion order.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Figures that every stage has.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Work {
    /// Wall-clock seconds over all launches, including data preparation and validation.
    pub seconds: f64,
    /// Steps made.
    pub steps: usize,
    /// `this` if it was trained in this launch, `earlier`, or `both`.
    #[serde(rename = "sitting")]
    pub launch: &'static str,
    /// The engine of its last launch.
    pub engine: Option<String>,
    /// The adapter of its last launch.
    pub adapter: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Pretrain {
    /// Leading characters of 春晓 that are right, over all 18.
    pub chunxiao_match: Option<f64>,
    /// Nats per token of held-out text.
    pub eval_loss: Option<f64>,
    pub eval_bits_per_byte: Option<f64>,
    #[serde(flatten)]
    pub work: Work,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Task {
    pub exact_match: f64,
    pub char_f1: f64,
    pub end_rate: f64,
    /// Nats per token of the reference answers.
    pub eval_loss: f64,
    /// Held-out examples answered.
    pub examples: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Sft {
    /// Share of held-out answers with an end token.
    pub end_rate: Option<f64>,
    /// Share of held-out answers equal to the reference, over all tasks.
    pub exact_match: Option<f64>,
    /// The same, task by task.
    pub tasks: Named<Task>,
    /// Nats per token of the reference answers.
    pub eval_loss: Option<f64>,
    #[serde(flatten)]
    pub work: Work,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Reward {
    /// Share of held-out pairs whose better answer scores higher.
    pub heldout_accuracy: Option<f64>,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The accuracy of «the longer one is better».
    pub length_accuracy: Option<f64>,
    pub margin: Option<f64>,
    /// Held-out pairs.
    pub pairs: Option<usize>,
    /// Pairs trained on.
    pub pairs_trained: Option<usize>,
    #[serde(flatten)]
    pub work: Work,
}

/// A policy before its first update (the fine-tuned model) and after its last one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Policy {
    /// Share of answers that the task's rule calls good.
    pub true_before: Option<f64>,
    pub true_after: Option<f64>,
    pub ci95_before: Option<[f64; 2]>,
    pub ci95_after: Option<[f64; 2]>,
    /// Mean normalised score of the reward model.
    pub rm_before: Option<f64>,
    pub rm_after: Option<f64>,
    /// KL to the fine-tuned model, nats per answer.
    pub kl: Option<f64>,
    pub end_rate: Option<f64>,
    pub end_rate_before: Option<f64>,
    pub distinct2_before: Option<f64>,
    pub distinct2_after: Option<f64>,
    /// Distinct-2 after over distinct-2 before.
    pub distinct2_ratio: Option<f64>,
    /// Mean characters of an answer.
    pub length_before: Option<f64>,
    pub length_after: Option<f64>,
    /// Share of prompts for which the policy's answer has a higher reward than the fine-tuned model's; ties count half.
    pub win_rate: Option<f64>,
    /// The same by the rule's verdict.
    pub win_rate_true: Option<f64>,
    /// Prompts judged, one answer each.
    pub prompts: Option<usize>,
    /// Prompts of the rollouts.
    pub prompts_trained: Option<usize>,
    /// The update after which the policy was last measured.
    pub measured_at: Option<usize>,
    /// The true score by task.
    pub tasks: Named<Truth>,
    #[serde(flatten)]
    pub work: Work,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Truth {
    pub true_before: Option<f64>,
    pub true_after: Option<f64>,
    pub prompts: Option<usize>,
}

/// The figures of a stage, by its kind.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "a report has a handful")]
pub(super) enum Figures {
    Text(Pretrain),
    Answers(Sft),
    Reward(Reward),
    Policy(Policy),
}

impl Figures {
    /// The common figures.
    pub(super) fn work(&self) -> &Work {
        match self {
            Figures::Text(f) => &f.work,
            Figures::Answers(f) => &f.work,
            Figures::Reward(f) => &f.work,
            Figures::Policy(f) => &f.work,
        }
    }
}

/// The figures of the trained stages, in their order.
#[derive(Clone, Debug)]
pub(super) struct Stages(pub Vec<(StageId, Figures)>);

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for stage in LINE {
            map.serialize_entry(&stage, &self.0.iter().find(|(s, _)| *s == stage).map(|(_, figures)| figures))?;
        }
        let siblings = self.0.iter().filter(|(stage, _)| !LINE.contains(stage));
        map.serialize_entry(
            "siblings",
            &siblings.map(|(stage, figures)| (stage, figures)).collect::<BTreeMap<_, _>>(),
        )?;
        map.end()
    }
}

/// The report: the line's stages, null if never trained, and under `siblings` the other trained ones.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub event: &'static str,
    #[serde(flatten)]
    pub stages: Stages,
    pub run: String,
    pub size: String,
    pub seed: u64,
    pub engine: &'static str,
    pub adapter: String,
    pub parameters: Option<usize>,
    /// Wall-clock seconds in total: of this launch, and of the stages' earlier ones.
    pub seconds: f64,
    /// Wall-clock seconds of this launch.
    #[serde(rename = "sitting_seconds")]
    pub launch_seconds: f64,
    pub failed: Option<Failed>,
    pub version: &'static str,
}

impl Report {
    /// Whether no stage made a step.
    pub(super) fn is_empty(&self) -> bool {
        self.stages.0.is_empty()
    }

    /// The fine-tuned model's figures.
    pub(super) fn tuned(&self) -> Option<&Sft> {
        self.stages.0.iter().find_map(|(stage, figures)| match figures {
            Figures::Answers(sft) if *stage == StageId::Sft => Some(sft),
            _ => None,
        })
    }

    /// The policies, PPO first.
    pub(super) fn policies(&self) -> Vec<(StageId, &Policy)> {
        let all = self.stages.0.iter().filter_map(|(stage, figures)| match figures {
            Figures::Policy(policy) => Some((*stage, policy)),
            Figures::Text(_) | Figures::Answers(_) | Figures::Reward(_) => None,
        });
        all.collect()
    }
}
