//! `[[source]]`: where text comes from, and what is done to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ConfigIssue, nearest,
    numbers::{HEAVIEST, amount},
    wrong,
};
use crate::data::{
    builtin_weights,
    clean::{self, Profile, Rule, Setting},
    dedup::Dedup,
};

/// How a text file is cut into documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// At blank lines.
    #[default]
    BlankLines,
    /// Not at all.
    File,
}

/// `[[source]]`: one file, folder or glob of text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its name on screen and in logs.
    pub name: String,
    /// File, folder or glob; relative to the run's folder, or absolute.
    pub path: String,
    /// Share of drawn tokens, relative to the other sources.
    #[serde(default = "one")]
    pub weight: f64,
    /// Which rules clean it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile: Profile,
    /// Other bounds than the profile's, by rule; `false` switches one off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Setting>,
    /// The field or column that holds the text; found by its name where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How text files are cut.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documents: Documents,
    /// Whether traditional characters become simplified ones.
    #[serde(default, skip_serializing_if = "is_default")]
    pub simplify: bool,
    /// Which duplicates are dropped; by the profile where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// Whether the quality classifier filters it, see [`super::QualityConfig`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub quality: bool,
}

fn one() -> f64 {
    1.0
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl SourceConfig {
    /// The rules that clean it, in the order they are asked, with its own bounds.
    pub fn rules(&self) -> Vec<Rule> {
        clean::rules_with(self.profile, &self.rules)
    }

    /// Which duplicates are dropped.
    pub fn dedup(&self) -> Dedup {
        self.dedup.unwrap_or_else(|| Dedup::of(self.profile))
    }
}

/// Names of `[mix]` are those of built-in sources, and some weight is left.
pub(super) fn check_mix(mix: &BTreeMap<String, f64>, sources: &[SourceConfig]) -> Result<(), ConfigIssue> {
    let Some(first) = mix.keys().next() else { return Ok(()) };
    if !sources.is_empty() {
        return wrong(format!(
            "[mix] weighs the built-in sources ({first:?}), and run.toml has sources of its own; give those their weight in [[source]]"
        ));
    }
    let known = builtin_weights();
    for (name, weight) in mix {
        if !known.iter().any(|(n, _)| n == name) {
            let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
            return wrong(format!("[mix] {name:?} is no built-in source; expected some of {}", names.join(", ")));
        }
        amount(&format!("[mix] {name:?}"), Some(*weight), HEAVIEST)?;
    }
    if known.iter().all(|(name, weight)| mix.get(*name).unwrap_or(weight) == &0.0) {
        return wrong("[mix] gives every source weight 0; give one a weight above 0");
    }
    Ok(())
}

/// Names are unique, weights are numbers, and not all are 0. Only text is cleaned.
pub(super) fn check(table: &str, sources: &[SourceConfig]) -> Result<(), ConfigIssue> {
    for s in sources {
        amount(&format!("the weight of {table} {:?}", s.name), Some(s.weight), HEAVIEST)?;
        if s.name.is_empty() || sources.iter().filter(|o| o.name == s.name).count() > 1 {
            return wrong(format!(
                "{table} name {:?} is empty or used twice; give each source a name of its own",
                s.name
            ));
        }
        check_rules(table, s)?;
        let plain =
            SourceConfig { name: s.name.clone(), path: s.path.clone(), weight: s.weight, ..SourceConfig::default() };
        if table != "source" && *s != plain {
            return wrong(format!(
                "{table} {:?}: profile, rules, field, documents, simplify, dedup and quality are keys of [[source]]; conversations and pairs are taken as they are",
                s.name
            ));
        }
    }
    if !sources.is_empty() && sources.iter().all(|s| s.weight == 0.0) {
        return wrong(format!("every {table} has weight 0; give one a weight above 0"));
    }
    Ok(())
}

/// Settings name rules of the profile, and bounds are numbers.
fn check_rules(table: &str, source: &SourceConfig) -> Result<(), ConfigIssue> {
    let (name, profile) = (&source.name, source.profile.name());
    let known: Vec<&str> = clean::rules(source.profile).iter().map(|rule| rule.name).collect();
    for (rule, setting) in &source.rules {
        if known.is_empty() {
            return wrong(format!(
                "{table} {name:?} sets the rule {rule}, and profile {profile} has no rules; set another profile, or leave rules out"
            ));
        }
        if !known.contains(&rule.as_str()) {
            let hint = nearest(rule, &known).map_or(".".to_owned(), |near| format!("; did you mean {near:?}?"));
            return wrong(format!(
                "{table} {name:?}: profile {profile} has no rule {rule:?}{hint} It has {}",
                known.join(", ")
            ));
        }
        if let Setting::Bound(bound) = setting
            && !(bound.is_finite() && *bound >= 0.0)
        {
            return wrong(format!(
                "{table} {name:?}: the bound of {rule} is {bound}; expected 0 or more, or false to switch the rule off"
            ));
        }
    }
    Ok(())
}
