//! Measurements: of every step, and on held-out data. To add a metric of all stages, add a field to [`StepReport`] and
//! fill it in the trainer; a metric of one stage is an entry of [`StepReport::extra`].

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use super::line::{Line, number, pair};
use crate::base::StageId;

/// One optimiser step: a line of `metrics.jsonl`. Names are Hugging Face's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: usize,
    /// Mean loss over the step's trained tokens, in nats.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// The learning rate of this step.
    #[serde(deserialize_with = "number")]
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    #[serde(deserialize_with = "number")]
    pub grad_norm: f64,
    /// False when the step was not applied because a number was not finite.
    pub applied: bool,
    /// Tokens per second over the recent steps, pauses and probes excluded.
    #[serde(deserialize_with = "number")]
    pub tokens_per_second: f64,
    /// Tokens trained on so far.
    pub total_tokens: u64,
    /// Passes over the sources, weighted.
    #[serde(deserialize_with = "number")]
    pub epoch: f64,
    /// Milliseconds of this step.
    #[serde(deserialize_with = "number")]
    pub step_ms: f64,
    /// Tokens and epochs of each source so far; not logged.
    #[serde(skip)]
    pub sources: Vec<SourceUse>,
    /// Which of these figures a log of another trainer does not have; not logged.
    #[serde(skip)]
    pub absent: Absent,
    /// Metrics of this stage alone, under TRL's names.
    #[serde(flatten, serialize_with = "write_metrics", deserialize_with = "read_metrics")]
    pub extra: Vec<Metric>,
}

impl StepReport {
    /// Reads a line of `metrics.jsonl` with its stage and time; None if it is no such line. Reads what [`Line::read`]
    /// reads, some five times as fast: a run may have a million of them.
    pub fn read(line: &[u8]) -> Option<Line<StepReport>> {
        serde_json::from_slice::<Logged>(line).ok().map(|logged| logged.0)
    }
}

/// A line of `metrics.jsonl`.
struct Logged(Line<StepReport>);

impl<'de> Deserialize<'de> for Logged {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Logged, D::Error> {
        from.deserialize_map(Fields)
    }
}

/// Reads the fields of a step in any order; each that a step has must be there once.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Logged;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Logged, A::Error> {
        /// The name of a field, borrowed from the line where it has no escapes.
        #[derive(Deserialize)]
        struct Name<'n>(#[serde(borrow)] Cow<'n, str>);

        const FIELDS: [&str; 10] = [
            "stage",
            "step",
            "loss",
            "learning_rate",
            "grad_norm",
            "applied",
            "tokens_per_second",
            "total_tokens",
            "epoch",
            "step_ms",
        ];
        let number = |map: &mut A| Ok::<f64, A::Error>(map.next_value::<Option<f64>>()?.unwrap_or(f64::NAN));
        let (mut stage, mut time, mut report) = (None, None, StepReport::default());
        let mut seen = [false; FIELDS.len()];
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let Some(at) = FIELDS.iter().position(|field| *field == name) else {
                if name == "time" {
                    time = map.next_value()?;
                    continue;
                }
                let value = map.next_value::<Value>()?;
                let value = if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
                report.extra.extend(value.map(|value| (Cow::Owned(name.into_owned()), value)));
                continue;
            };
            if std::mem::replace(&mut seen[at], true) {
                return Err(serde::de::Error::duplicate_field(FIELDS[at]));
            }
            match at {
                0 => stage = Some(map.next_value()?),
                1 => report.step = map.next_value()?,
                2 => report.loss = number(&mut map)?,
                3 => report.learning_rate = number(&mut map)?,
                4 => report.grad_norm = number(&mut map)?,
                5 => report.applied = map.next_value()?,
                6 => report.tokens_per_second = number(&mut map)?,
                7 => report.total_tokens = map.next_value()?,
                8 => report.epoch = number(&mut map)?,
                _ => report.step_ms = number(&mut map)?,
            }
        }
        if let Some(at) = seen.iter().position(|seen| !seen) {
            return Err(serde::de::Error::missing_field(FIELDS[at]));
        }
        let stage = stage.ok_or_else(|| serde::de::Error::missing_field(FIELDS[0]))?;
        Ok(Logged(Line { stage, time, record: report }))
    }
}

/// The figures of a step that another trainer's line lacks. They are shown as missing, not as zero or NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "one for each figure")]
#[allow(missing_docs, reason = "the fields of StepReport")]
pub struct Absent {
    pub loss: bool,
    pub learning_rate: bool,
    pub grad_norm: bool,
    pub tokens_per_second: bool,
    pub total_tokens: bool,
    pub epoch: bool,
    pub step_ms: bool,
}

/// A metric's name and value.
pub type Metric = (Cow<'static, str>, f64);

/// How much of a source was used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceUse {
    /// Tokens used.
    pub tokens: u64,
    /// Passes over it.
    pub epoch: f64,
}

fn write_metrics<S: Serializer>(extra: &[Metric], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(extra.iter().map(|(name, value)| (name, value)))
}

/// The numbers among the remaining fields of a line; null is NaN, anything else is skipped.
fn read_metrics<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Metric>, D::Error> {
    struct Numbers;

    impl<'de> Visitor<'de> for Numbers {
        type Value = Vec<Metric>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("metrics by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Metric>, A::Error> {
            let mut all = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, Value>()? {
                let value = if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
                all.extend(value.map(|value| (name.into(), value)));
            }
            Ok(all)
        }
    }

    from.deserialize_map(Numbers)
}

/// Greedy answers to held-out examples of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// After this step.
    pub step: usize,
    /// The task.
    pub task: String,
    /// Held-out examples answered.
    pub examples: usize,
    /// Share of answers equal to the reference, character by character.
    #[serde(deserialize_with = "number")]
    pub exact_match: f64,
    /// Mean F1 over the answer's characters as a bag (as SQuAD's over words).
    #[serde(deserialize_with = "number")]
    pub char_f1: f64,
    /// Share of answers that ended by themselves.
    #[serde(deserialize_with = "number")]
    pub end_rate: f64,
    /// Nats per trained token of the reference answers.
    #[serde(deserialize_with = "number")]
    pub eval_loss: f64,
}

/// A reward model on held-out pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RewardReport {
    /// After this step.
    pub step: usize,
    /// Held-out pairs.
    pub pairs: usize,
    /// Share of them whose better answer scores higher.
    #[serde(rename = "heldout_accuracy", deserialize_with = "number")]
    pub accuracy: f64,
    /// Its 95 % interval (Wilson).
    #[serde(deserialize_with = "pair")]
    pub ci95: (f64, f64),
    /// The accuracy of «the longer one is better».
    #[serde(rename = "length_accuracy", deserialize_with = "number")]
    pub by_length: f64,
    /// Mean score of the better answers minus mean score of the others.
    #[serde(deserialize_with = "number")]
    pub margin: f64,
    /// That difference for every pair, for a histogram; not logged.
    #[serde(skip)]
    pub margins: Vec<f32>,
}

/// A policy's answers to held-out prompts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// After this update.
    pub step: usize,
    /// The task, or `all`.
    pub task: String,
    /// Prompts, one answer each, sampled as rollouts are.
    pub prompts: usize,
    /// Share of answers that the task's rule calls good. The rule is only for measuring; nothing is trained on it.
    #[serde(rename = "true", deserialize_with = "number")]
    pub true_score: f64,
    /// Its 95 % interval (Wilson).
    #[serde(deserialize_with = "pair")]
    pub ci95: (f64, f64),
    /// Mean score of the reward model, normalised; NaN without a reward model.
    #[serde(deserialize_with = "number")]
    pub reward: f64,
    /// Mean Σ (log π − log π_ref) per answer, in nats.
    #[serde(deserialize_with = "number")]
    pub kl: f64,
    /// Share of answers that ended by themselves.
    #[serde(deserialize_with = "number")]
    pub end_rate: f64,
    /// Distinct character bigrams over all character bigrams.
    #[serde(deserialize_with = "number")]
    pub distinct2: f64,
    /// Mean characters of an answer.
    #[serde(deserialize_with = "number")]
    pub length: f64,
}

/// One judged answer of a policy: a line of `report/answers.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedAnswer {
    /// The stage.
    pub stage: StageId,
    /// After this update.
    pub step: usize,
    /// The task.
    pub task: String,
    /// The prompt.
    pub prompt: String,
    /// The stage whose weights answered: `sft` before the first update, then the stage itself.
    pub role: StageId,
    /// The seed of the sampling.
    pub seed: u64,
    /// The answer.
    pub text: String,
    /// Whether it ended by itself.
    pub ended: bool,
    /// The rule's verdict.
    #[serde(rename = "true")]
    pub good: bool,
    /// The reward model's normalised score, if there is one.
    pub reward: Option<f64>,
    /// Σ (log π − log π_ref), in nats.
    #[serde(deserialize_with = "number")]
    pub kl: f64,
}

/// A line of a probe's reference, and its probability after the prompt and the lines before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineChance {
    /// The line.
    pub text: String,
    /// The product of its tokens' probabilities.
    #[serde(deserialize_with = "number")]
    pub probability: f64,
}
