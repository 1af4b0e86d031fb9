//! Cleaning: each document is judged; the verdict on a dropped one has the rule, the value and the threshold.
//!
//! `rules` is the table, `measure` the measured properties of a text, `pii` masks personal data, `script` converts
//! traditional Chinese to simplified, `funnel` counts.

pub mod funnel;
mod measure;
mod pii;
mod rules;
pub(super) mod script;

use serde::{Deserialize, Serialize};

pub use funnel::{Funnel, Tally};
pub use pii::{Masked, mask};
pub use rules::{Bound, Rule, Setting, rules, rules_with};
pub use script::simplified;

use super::document::Document;

/// The set of rules by which a source is cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// English prose from the web.
    ProseEn,
    /// Chinese prose from the web.
    ProseZh,
    /// Verse, which is short and repeats itself.
    Poetry,
    /// Programs.
    Code,
    /// No rules: text that was selected before.
    #[default]
    None,
}

impl Profile {
    /// Its name in run.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProseEn => "prose-en",
            Self::ProseZh => "prose-zh",
            Self::Poetry => "poetry",
            Self::Code => "code",
            Self::None => "none",
        }
    }

    /// Whether personal data are masked. Poems contain none, and with `none` the user's texts stay unchanged.
    pub fn masks(self) -> bool {
        matches!(self, Self::ProseEn | Self::ProseZh | Self::Code)
    }
}

/// Why a document was dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rule.
    pub rule: String,
    /// The measured value.
    pub value: f64,
    /// The threshold.
    pub threshold: f64,
}

/// The first rule that a document violates, if any. A poem is judged without its title.
pub fn judge(rules: &[Rule], document: &Document) -> Option<Verdict> {
    let text = measure::Text::new(document.body());
    rules.iter().find_map(|rule| {
        let value = text.measure(rule.measure);
        let verdict = || Verdict { rule: rule.name.to_owned(), value, threshold: rule.bound.threshold() };
        (!rule.bound.keeps(value)).then(verdict)
    })
}

/// The value that a rule measures for a document.
pub fn measured(rule: &Rule, document: &Document) -> f64 {
    measure::Text::new(document.body()).measure(rule.measure)
}
