//! `[[source]]`: where text comes from and how it is cleaned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    issue::{ConfigIssue, wrong},
    table::{Key, Kind, Range, Value, choice, keys, nearest},
};
use crate::data::{
    builtin_weights,
    clean::{self, Profile, Rule, Setting},
    dedup::Dedup,
};

/// What is printed for a licence or an address that run.toml does not name.
pub const UNKNOWN: &str = "unknown";

/// Range of a source's weight; its maximum keeps the sum of all weights finite.
const WEIGHT: Range = Range::ANY.up_to(1e9);

/// How a text file is cut into documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// At blank lines.
    #[default]
    BlankLines,
    /// The whole file is one document.
    File,
}

/// What the names of files and folders below a source's path mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Splits {
    /// Nothing: all files are read and trained on, as in runs of earlier versions.
    #[default]
    Off,
    /// Those named as a held-out split are held out; data cards, licences and hidden files are not read.
    ByName,
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
    /// The licence of its text, for reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where it was taken from, for reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The rules that clean it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile: Profile,
    /// Thresholds that override the profile's, by rule; `false` switches a rule off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Setting>,
    /// The text field or column; found by name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How text files are split.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documents: Documents,
    /// Whether traditional characters are converted to simplified ones.
    #[serde(default, skip_serializing_if = "is_default")]
    pub simplify: bool,
    /// Which duplicates are dropped; by default the profile decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// Whether the quality classifier filters it; see [`super::QualityConfig`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub quality: bool,
}

/// `[[probe]]`: a fixed prompt that is completed repeatedly. `[[sft.probe]]`: a question that is answered repeatedly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// The prompt.
    pub prompt: String,
    /// The expected continuation.
    pub expected: String,
    /// Whether the text is to be memorised. Otherwise documents that contain it are removed from training, so that the
    /// probe measures generalisation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recall: bool,
}

impl ProbeConfig {
    /// The keys of a probe.
    pub const KEYS: &'static [Key] = keys! {
        prompt: Kind::Text, required, "the prompt", "提示词";
        expected: Kind::Text, required, "the text that should follow", "应当接着的文本";
        recall: Kind::Flag, = false,
            "the text may be memorized; otherwise documents that contain it are not trained on (`[[probe]]` only)",
            "允许背诵；否则含有它的文档不参与训练（仅 `[[probe]]`）";
    };

    /// Checks that neither text is empty.
    pub(super) fn check(&self) -> Result<(), ConfigIssue> {
        if self.prompt.is_empty() || self.expected.is_empty() {
            return wrong("a probe has an empty prompt or expected; set both, or remove the probe");
        }
        Ok(())
    }
}

fn one() -> f64 {
    1.0
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

choice!(Documents: "blank-lines" | "file");
choice!(Splits: "off" | "by-name");
choice!(Profile: "none" | "prose-en" | "prose-zh" | "poetry" | "code");
choice!(Dedup: "off" | "exact" | "near");

impl SourceConfig {
    /// The keys of a source.
    pub const KEYS: &'static [Key] = keys! {
        name: Kind::Text, required, "its name on the screen and in logs", "界面和日志里的名字";
        path: Kind::Text, required,
            "file, folder or glob; absolute, or relative to the run's folder",
            "文件、目录或通配符；绝对路径，或相对于 run 目录";
        weight: Kind::Number, = 1.0_f64,
            "share of drawn tokens, relative to the other sources", "抽取词元的份额，相对于其他数据源";
        license: Kind::Text,
            "the licence of its text, printed by `danlu data` and in what `danlu export` writes; without it `unknown`",
            "文本的许可证，`danlu data` 会打印，`danlu export` 会写进文件；不写则为 `unknown`";
        url: Kind::Text, "where it was taken from, printed in the same places", "数据从哪里来，打印在同样的地方";
        profile: Profile::KIND, = Profile::None, "the cleaning rules", "清洗规则";
        rules: Kind::Rules,
            "thresholds that differ from the profile's: `{ too_short = 20, boilerplate = false }`",
            "与 profile 不同的阈值：`{ too_short = 20, boilerplate = false }`";
        field: Kind::Text,
            "the field or column that holds the text; without it found by its name",
            "存放文本的字段或列；不写则按名字找";
        documents: Documents::KIND, = Documents::BlankLines, "how text files are cut", "文本文件怎样切分";
        simplify: Kind::Flag, = false, "convert traditional to simplified Chinese", "把繁体转换成简体";
        dedup: Dedup::KIND, "which duplicates are dropped; by default by the profile", "丢弃哪些重复；默认按 profile";
        quality: Kind::Flag, = false, "filter it with the quality classifier", "用质量分类器过滤";
    };

    /// Its licence and where it was taken from; `unknown` where run.toml does not say.
    pub fn origin(&self) -> [&str; 2] {
        [&self.license, &self.url].map(|said| said.as_deref().unwrap_or(UNKNOWN))
    }

    /// The rules that clean it, in order, with its own thresholds.
    pub fn rules(&self) -> Vec<Rule> {
        clean::rules_with(self.profile, &self.rules)
    }

    /// Which duplicates are dropped.
    pub fn dedup(&self) -> Dedup {
        self.dedup.unwrap_or_else(|| Dedup::of(self.profile))
    }
}

fn check_weight(what: &str, weight: f64) -> Result<(), ConfigIssue> {
    if WEIGHT.has(weight) { Ok(()) } else { wrong(format!("{what} is {weight}; expected {}", WEIGHT.words())) }
}

/// Checks that `[mix]` names built-in sources and that some weight is positive.
pub(super) fn check_mix(mix: &BTreeMap<String, f64>, sources: &[SourceConfig]) -> Result<(), ConfigIssue> {
    let Some(first) = mix.keys().next() else { return Ok(()) };
    if !sources.is_empty() {
        return wrong(format!(
            "[mix] sets weights of built-in sources ({first:?}), but run.toml has [[source]] tables; set weight there and remove [mix]"
        ));
    }
    let known = builtin_weights();
    for (name, weight) in mix {
        if !known.iter().any(|(n, _)| n == name) {
            let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
            return wrong(format!("[mix] {name:?} is not a built-in source; expected one of {}", names.join(", ")));
        }
        check_weight(&format!("[mix] {name:?}"), *weight)?;
    }
    if known.iter().all(|(name, weight)| mix.get(*name).unwrap_or(weight) == &0.0) {
        return wrong("[mix] sets every weight to 0; set at least one above 0");
    }
    Ok(())
}

/// Checks that names are unique, and weights finite and not all 0. Only text can be cleaned.
pub(super) fn check(table: &str, sources: &[SourceConfig]) -> Result<(), ConfigIssue> {
    for s in sources {
        check_weight(&format!("the weight of {table} {:?}", s.name), s.weight)?;
        if s.path.trim().is_empty() {
            return wrong(format!("{table} {:?} has an empty path; set it to a file, a folder or a glob", s.name));
        }
        if s.name.is_empty() || sources.iter().filter(|o| o.name == s.name).count() > 1 {
            return wrong(format!("{table} name {:?} is empty or used twice; give each source a unique name", s.name));
        }
        check_rules(table, s)?;
        let plain = SourceConfig {
            name: s.name.clone(),
            path: s.path.clone(),
            weight: s.weight,
            license: s.license.clone(),
            url: s.url.clone(),
            ..SourceConfig::default()
        };
        if table != "source" && *s != plain {
            return wrong(format!(
                "{table} {:?}: profile, rules, field, documents, simplify, dedup and quality apply to [[source]] only; conversations and pairs are not cleaned",
                s.name
            ));
        }
    }
    if !sources.is_empty() && sources.iter().all(|s| s.weight == 0.0) {
        return wrong(format!("every {table} has weight 0; set at least one above 0"));
    }
    Ok(())
}

/// Checks that settings name rules of the profile and thresholds are finite.
fn check_rules(table: &str, source: &SourceConfig) -> Result<(), ConfigIssue> {
    let (name, profile) = (&source.name, source.profile.name());
    let known: Vec<&str> = clean::rules(source.profile).iter().map(|rule| rule.name).collect();
    for (rule, setting) in &source.rules {
        if known.is_empty() {
            return wrong(format!(
                "{table} {name:?} sets the rule {rule}, but profile {profile} has no rules; set another profile or remove rules"
            ));
        }
        if !known.contains(&rule.as_str()) {
            let hint = nearest(rule, &known).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            return wrong(format!(
                "{table} {name:?}: profile {profile} has no rule {rule:?}{hint} (its rules: {})",
                known.join(", ")
            ));
        }
        if let Setting::Bound(bound) = setting
            && !(bound.is_finite() && *bound >= 0.0)
        {
            return wrong(format!(
                "{table} {name:?}: the threshold of {rule} is {bound}; expected 0 or more, or false to disable the rule"
            ));
        }
    }
    Ok(())
}
