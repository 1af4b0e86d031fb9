//! `[quality]`: the classifier's training data, and the documents it keeps.

use serde::{Deserialize, Serialize};

use super::{
    issue::{ConfigIssue, wrong},
    source::SourceConfig,
    table::{choice, nearest, table},
};

/// How a score decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QualityRule {
    /// By a random draw, as GPT-3 did.
    #[default]
    Pareto,
    /// By a threshold.
    Threshold,
}

choice!(QualityRule: "pareto" | "threshold");

table! {
    /// `[quality]`. It applies to sources with `quality = true`.
    QualityConfig => QualitySettings {
        reference: String, ANY,
            "the source whose documents are wanted; without one only texts labelled so are",
            "想要的文档所在的数据源；不设则只有标记过的文本";
        rule: QualityRule, ANY, = |_, _| QualityRule::Pareto,
            "`pareto`: keep with probability (2 − score)^−alpha, as GPT-3 did; `threshold`: keep from a score on",
            "`pareto`：以 (2 − 分数)^−alpha 的概率保留，同 GPT-3；`threshold`：达到某个分数才保留";
        threshold: f64, SHARE, = |_, _| 0.5, "the lowest score that `threshold` keeps", "`threshold` 保留的最低分";
        alpha: f64, POSITIVE, = |_, _| 9.0,
            "α of `pareto`; the larger, the fewer of the low scores are kept", "`pareto` 的 α，越大低分保留得越少";
    }
}

impl QualityConfig {
    pub(super) fn check(&self, sources: &[SourceConfig]) -> Result<(), ConfigIssue> {
        let Some(reference) = &self.reference else { return Ok(()) };
        let Some(source) = sources.iter().find(|s| s.name == *reference) else {
            let names: Vec<&str> = sources.iter().map(|s| s.name.as_str()).collect();
            let hint = nearest(reference, &names).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            return wrong(format!("quality.reference {reference:?} is not the name of a [[source]]{hint}"));
        };
        if source.quality {
            return wrong(format!(
                "source {reference:?} is quality.reference and has quality = true; the reference itself cannot be filtered: set quality = false"
            ));
        }
        Ok(())
    }
}
