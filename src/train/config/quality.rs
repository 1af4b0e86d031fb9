//! `[quality]`: what the classifier learns from, and which documents it keeps.

use serde::{Deserialize, Serialize};

use super::{ConfigIssue, SourceConfig, nearest, numbers::positive, wrong};
use crate::data::quality::Selection;

/// How a score decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QualityRule {
    /// By a draw, as GPT-3 did.
    #[default]
    Pareto,
    /// By a bound.
    Threshold,
}

/// `[quality]`. It concerns the sources with `quality = true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualityConfig {
    /// The source whose documents are what is wanted; without one only texts marked so are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How a score decides.
    pub rule: QualityRule,
    /// The score that `threshold` keeps from; 0 to 1.
    pub threshold: f64,
    /// α of `pareto`; the larger, the fewer of the low scores are kept.
    pub alpha: f64,
}

impl Default for QualityConfig {
    fn default() -> Self {
        Self { reference: None, rule: QualityRule::Pareto, threshold: 0.5, alpha: 9.0 }
    }
}

impl QualityConfig {
    /// Which documents are kept.
    pub fn selection(&self) -> Selection {
        match self.rule {
            QualityRule::Pareto => Selection::Pareto(self.alpha),
            QualityRule::Threshold => Selection::Threshold(self.threshold),
        }
    }

    pub(super) fn check(&self, sources: &[SourceConfig]) -> Result<(), ConfigIssue> {
        if !(0.0..=1.0).contains(&self.threshold) {
            return wrong(format!("quality.threshold is {}; expected 0 to 1", self.threshold));
        }
        positive("quality.alpha", Some(self.alpha))?;
        let Some(reference) = &self.reference else { return Ok(()) };
        let Some(source) = sources.iter().find(|s| s.name == *reference) else {
            let names: Vec<&str> = sources.iter().map(|s| s.name.as_str()).collect();
            let hint = nearest(reference, &names).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            return wrong(format!("quality.reference {reference:?} is the name of no [[source]]{hint}"));
        };
        if source.quality {
            return wrong(format!(
                "source {reference:?} is quality.reference and has quality = true; what is the measure is not filtered"
            ));
        }
        Ok(())
    }
}
