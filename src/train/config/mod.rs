//! `run.toml`: the whole configuration of a run. Everything has a default; unknown keys are errors
//! that name the nearest known one.

pub(super) mod align;
mod feedback;
mod issue;
mod numbers;
pub(super) mod plan;
mod quality;
pub(super) mod setup;
mod source;
mod stages;
pub(super) mod toml_patch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    feedback::{DpoOverrides, GrpoOverrides, GuardOverrides, PpoOverrides},
    issue::ConfigIssue,
    quality::{QualityConfig, QualityRule},
    source::{Documents, SourceConfig},
    stages::{RewardMode, StageOverrides},
};
use self::{
    issue::wrong,
    numbers::{LARGEST, amount, positive},
};
use crate::{
    base::StageId,
    nn::{ModelConfig, Sampling, preset},
    protocol::Manner,
    store::Watching,
};

/// Which tokenizer a run trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// One token a character, bytes for the rest.
    #[default]
    Char,
    /// Byte-level byte-pair encoding trained on the run's text.
    Bpe,
}

/// `[[probe]]`: a fixed prompt completed again and again. `[[sft.probe]]`: a question answered again and
/// again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// The prompt.
    pub prompt: String,
    /// What should follow.
    pub expected: String,
    /// Whether the text is to be learned by heart. Otherwise documents that hold it are not trained on, so that
    /// the probe shows what the model makes of words it has not seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recall: bool,
}

/// `[model]`: fields that override the size's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are Hugging Face's; see ModelConfig")]
pub struct ModelOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_hidden_layers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_attention_heads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_position_embeddings: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rms_norm_eps: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tie_word_embeddings: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initializer_range: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
}

/// `[sampling]`: how prompts on the screen are answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented at nn::Sampling")]
pub struct SamplingOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
}

/// The whole of `run.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// `auto` or a preset's name.
    #[serde(default = "auto")]
    pub size: String,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Which tokenizer is trained.
    #[serde(default)]
    pub tokenizer: TokenizerKind,
    /// The data; empty for the built-in corpus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<SourceConfig>,
    /// Weights of the built-in sources, by their names, in place of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mix: BTreeMap<String, f64>,
    /// How files and run.toml are watched for what is saved in them while a stage runs.
    #[serde(default, skip_serializing_if = "source::is_default")]
    pub watch: Watching,
    /// The classifier that sources with `quality = true` are filtered by.
    #[serde(default, skip_serializing_if = "source::is_default")]
    pub quality: QualityConfig,
    /// The probes; empty for 春晓.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probe: Vec<ProbeConfig>,
    /// Overrides of the model.
    #[serde(default)]
    pub model: ModelOverrides,
    /// Overrides of pretraining.
    #[serde(default)]
    pub pretrain: StageOverrides,
    /// Overrides of fine-tuning.
    #[serde(default)]
    pub sft: StageOverrides,
    /// Overrides of the reward model's training.
    #[serde(default)]
    pub reward: StageOverrides,
    /// Overrides of PPO.
    #[serde(default)]
    pub ppo: PpoOverrides,
    /// Overrides of DPO.
    #[serde(default)]
    pub dpo: DpoOverrides,
    /// Overrides of GRPO.
    #[serde(default)]
    pub grpo: GrpoOverrides,
    /// Overrides of the guard of these three.
    #[serde(default)]
    pub guard: GuardOverrides,
    /// Overrides of sampling.
    #[serde(default)]
    pub sampling: SamplingOverrides,
}

fn auto() -> String {
    "auto".to_owned()
}

impl RunConfig {
    /// Reads `run.toml` with `--set` pairs applied on top of it.
    ///
    /// A key of a pair is a path (`pretrain.steps`, `model.dropout`, `seed`); one without a dot that is
    /// no top-level key belongs to `stage`.
    pub fn parse(text: &str, sets: &[(String, String)], stage: StageId) -> Result<RunConfig, ConfigIssue> {
        RunConfig::parse_for(text, sets, stage, |_| Ok(()))
    }

    /// The same, with `check` on what comes of it. What the text alone does not get wrong is told of the pair that does.
    pub fn parse_for(
        text: &str,
        sets: &[(String, String)],
        stage: StageId,
        check: impl Fn(&RunConfig) -> Result<(), ConfigIssue>,
    ) -> Result<RunConfig, ConfigIssue> {
        let read = |sets: &[(String, String)]| {
            let config = RunConfig::read(text, sets, stage)?;
            check(&config).map(|()| config)
        };
        let issue = match read(sets) {
            Ok(config) => return Ok(config),
            Err(issue) => issue,
        };
        // The size comes first: what the others come to depends on it.
        let mut ordered = sets.to_vec();
        ordered.sort_by_key(|(key, _)| key != "size");
        let sets = ordered.as_slice();
        let Some(wrong) = (0..sets.len()).find(|n| read(&sets[..*n]).is_ok() && read(&sets[..=*n]).is_err()) else {
            return Err(issue);
        };
        let (key, value) = &sets[wrong];
        let what = read(&sets[..=wrong]).err().unwrap_or(issue).what();
        let option = match key.as_str() {
            "size" | "seed" => format!("--{key} {}", value.trim_matches('"')),
            _ => format!("--set {key}={value}"),
        };
        Err(ConfigIssue::Option { option, what })
    }

    fn read(text: &str, sets: &[(String, String)], stage: StageId) -> Result<RunConfig, ConfigIssue> {
        let mut table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| ConfigIssue::File(trim(&e.to_string())))?;
        for (key, value) in sets {
            set(&mut table, key, value, stage)?;
        }
        let config: RunConfig =
            table.try_into().map_err(|e: toml::de::Error| ConfigIssue::File(suggest(&trim(&e.to_string()))))?;
        config.check()?;
        Ok(config)
    }

    /// The weight that run.toml gives a source of text.
    pub fn weight(&self, name: &str) -> Option<f64> {
        let own = self.source.iter().find(|s| s.name == name).map(|s| s.weight);
        own.or_else(|| self.mix.get(name).copied())
    }

    /// Whether a key stands at the top of run.toml.
    pub fn is_top_level(key: &str) -> bool {
        let others =
            ["size", "seed", "tokenizer", "source", "mix", "watch", "quality", "probe", "model", "guard", "sampling"];
        others.contains(&key) || key.parse::<StageId>().is_ok()
    }

    /// The text of `run.toml`.
    pub fn to_toml(&self) -> Result<String, ConfigIssue> {
        toml::to_string(self).map_err(|e| ConfigIssue::File(e.to_string()))
    }

    fn check(&self) -> Result<(), ConfigIssue> {
        if self.size != "auto" {
            preset(&self.size).map_err(|e| ConfigIssue::File(e.to_string()))?;
        }
        source::check("source", &self.source)?;
        source::check_mix(&self.mix, &self.source)?;
        self.quality.check(&self.source)?;
        source::check("sft.source", &self.sft.source)?;
        for p in self.probe.iter().chain(&self.sft.probe) {
            if p.prompt.is_empty() || p.expected.is_empty() {
                return wrong("a probe has an empty prompt or expected text; give both, or leave the probe out");
            }
        }
        if self.sft.probe.iter().any(|p| p.recall) {
            return wrong("recall is a key of [[probe]], not of [[sft.probe]]");
        }
        self.pretrain.check(StageId::Pretrain)?;
        self.sft.check(StageId::Sft)?;
        self.pretrain.has_nothing_of_sft(StageId::Pretrain)?;
        self.pretrain.has_nothing_of_reward(StageId::Pretrain)?;
        self.sft.has_nothing_of_reward(StageId::Sft)?;
        self.reward.check(StageId::Reward)?;
        StageOverrides { source: Vec::new(), ..self.reward.clone() }.has_nothing_of_sft(StageId::Reward)?;
        source::check("reward.source", &self.reward.source)?;
        if self.reward.gradient_accumulation_steps.is_some_and(|n| n > 1) {
            return wrong(
                "reward.gradient_accumulation_steps is no key of reward; batch_size is the pairs of a step, in as many passes as they need",
            );
        }
        self.ppo.check()?;
        self.dpo.check()?;
        self.grpo.check()?;
        self.guard.check()?;
        let s = &self.sampling;
        amount("sampling.temperature", s.temperature.map(f64::from), LARGEST)?;
        positive("sampling.repetition_penalty", s.repetition_penalty.map(f64::from))?;
        if let Some(p) = s.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return wrong(format!("sampling.top_p is {p}; expected more than 0, at most 1"));
        }
        if s.max_new_tokens == Some(0) {
            return wrong("sampling.max_new_tokens is 0; expected 1 or more");
        }
        let m = &self.model;
        // An imported model's own may be what it likes; a new one starts from these.
        if let Some(range) = m.initializer_range.filter(|r| !(*r > 0.0 && *r <= 1.0)) {
            return wrong(format!("model.initializer_range is {range}; expected more than 0, at most 1"));
        }
        if let Some(theta) = m.rope_theta.filter(|theta| !(*theta >= 1.0 && theta.is_finite())) {
            return wrong(format!("model.rope_theta is {theta}; expected 1 or more"));
        }
        if let Some(eps) = m.rms_norm_eps.filter(|eps| !(*eps > 0.0 && *eps <= 1.0)) {
            return wrong(format!("model.rms_norm_eps is {eps}; expected more than 0, at most 1"));
        }
        Ok(())
    }

    /// The model of this run; `size` is settled by now.
    pub fn model(&self) -> Result<ModelConfig, ConfigIssue> {
        let mut c = preset(&self.size).map_err(|e| ConfigIssue::File(e.to_string()))?.config();
        let o = &self.model;
        let shaped = o.hidden_size.is_some() || o.num_attention_heads.is_some();
        c.vocab_size = o.vocab_size.unwrap_or(c.vocab_size);
        c.hidden_size = o.hidden_size.unwrap_or(c.hidden_size);
        c.intermediate_size = o.intermediate_size.unwrap_or(c.intermediate_size);
        c.num_hidden_layers = o.num_hidden_layers.unwrap_or(c.num_hidden_layers);
        c.num_attention_heads = o.num_attention_heads.unwrap_or(c.num_attention_heads);
        let heads = if o.num_attention_heads.is_some() { c.num_attention_heads } else { c.num_key_value_heads };
        c.num_key_value_heads = o.num_key_value_heads.unwrap_or(heads);
        if shaped && o.head_dim.is_none() && !c.hidden_size.is_multiple_of(c.num_attention_heads.max(1)) {
            return wrong(format!(
                "model.hidden_size {} does not divide into {} heads; set model.head_dim",
                c.hidden_size, c.num_attention_heads
            ));
        }
        c.head_dim = o.head_dim.unwrap_or(c.hidden_size / c.num_attention_heads.max(1));
        c.max_position_embeddings = o.max_position_embeddings.unwrap_or(c.max_position_embeddings);
        c.rms_norm_eps = o.rms_norm_eps.unwrap_or(c.rms_norm_eps);
        c.rope_theta = o.rope_theta.unwrap_or(c.rope_theta);
        c.tie_word_embeddings = o.tie_word_embeddings.unwrap_or(c.tie_word_embeddings);
        c.initializer_range = o.initializer_range.unwrap_or(c.initializer_range);
        c.dropout = o.dropout.unwrap_or(c.dropout);
        c.validate().map_err(|e| ConfigIssue::File(e.to_string()))?;
        Ok(c)
    }

    /// How prompts are answered, and how many tokens at most.
    pub fn manner(&self) -> Manner {
        let (o, Manner { sampling: d, max_new_tokens }) = (&self.sampling, Manner::default());
        let sampling = Sampling {
            temperature: o.temperature.unwrap_or(d.temperature),
            top_k: o.top_k.unwrap_or(d.top_k),
            top_p: o.top_p.unwrap_or(d.top_p),
            repetition_penalty: o.repetition_penalty.unwrap_or(d.repetition_penalty),
            seed: self.seed,
        };
        Manner { sampling, max_new_tokens: o.max_new_tokens.unwrap_or(max_new_tokens) }
    }
}

/// Puts one `--set` pair into the table; a value that is not TOML is taken as a string.
fn set(table: &mut toml::Table, key: &str, value: &str, stage: StageId) -> Result<(), ConfigIssue> {
    let path: Vec<&str> = if key.contains('.') || RunConfig::is_top_level(key) {
        key.split('.').collect()
    } else {
        vec![stage.name(), key]
    };
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let parsed = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let Some((last, folders)) = path.split_last() else { return wrong(format!("--set {key:?} names no key")) };
    let mut at = table;
    for folder in folders {
        let entry = at.entry((*folder).to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(inner) = entry else { return wrong(format!("--set {key}: {folder} is not a table")) };
        at = inner;
    }
    at.insert((*last).to_owned(), parsed);
    Ok(())
}

/// The message without the drawing that toml puts under it, on one line.
fn trim(message: &str) -> String {
    message.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('|')).collect::<Vec<_>>().join(" ")
}

/// Adds the nearest known name to serde's «unknown field `x`, expected one of …».
fn suggest(message: &str) -> String {
    // toml ends with «in `table`», which is no key.
    let (list, table) = message.rsplit_once(" in `").unwrap_or((message, ""));
    let mut quoted: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    let table = table.trim_end_matches('`');
    let stage = table.parse::<StageId>().ok();
    if matches!(stage, Some(StageId::Pretrain | StageId::Reward)) {
        quoted.retain(|key| !stages::OF_SFT.contains(key));
    }
    if matches!(stage, Some(StageId::Pretrain | StageId::Sft)) {
        quoted.retain(|key| !stages::OF_REWARD.contains(key));
    }
    let (true, Some((unknown, known))) = (message.contains("unknown field"), quoted.split_first()) else {
        return in_words(message);
    };
    match nearest(unknown, known) {
        Some(name) => format!("unknown key {unknown:?}; did you mean {name:?}? Known here: {}", known.join(", ")),
        None => format!("unknown key {unknown:?}; known here: {}", known.join(", ")),
    }
}

/// The known name that somebody who wrote another may have meant.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, name) = known.iter().map(|k| (strsim::damerau_levenshtein(unknown, k), *k)).min()?;
    (distance <= 1 + unknown.len() / 3).then_some(name)
}

/// serde's names of Rust types, as a person calls them.
fn in_words(message: &str) -> String {
    let names = [
        ("expected usize", "expected a whole number from 0 up"),
        ("expected u64", "expected a whole number from 0 up"),
        ("expected f32", "expected a number"),
        ("expected f64", "expected a number"),
        ("expected u32", "expected a whole number from 0 up"),
        ("expected struct SourceConfig", "expected a table with name and path"),
        ("expected struct ProbeConfig", "expected a table with prompt and expected"),
    ];
    let text = names.iter().fold(message.to_owned(), |text, (rust, words)| text.replace(rust, words));
    // Every other struct is a table of run.toml.
    let Some((before, after)) = text.split_once("expected struct ") else { return text };
    let rest = after.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    format!("{before}expected a table of its keys{rest}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn parse(text: &str, sets: &[(&str, &str)]) -> Result<RunConfig, ConfigIssue> {
        let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        RunConfig::parse(text, &sets, StageId::Pretrain)
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let c = parse("", &[("size", "1m")]).unwrap();
        assert_eq!(c.plan(StageId::Pretrain).unwrap().steps, 1200);
        assert_eq!(c.model().unwrap(), preset("1m").unwrap().config());
    }

    #[test]
    fn pairs_override_the_file() {
        let c =
            parse("size = \"1m\"\n[pretrain]\nsteps = 5\n", &[("steps", "9"), ("model.dropout", "0.1"), ("seed", "3")])
                .unwrap();
        assert_eq!((c.plan(StageId::Pretrain).unwrap().steps, c.model().unwrap().dropout, c.seed), (9, 0.1, 3));
    }

    #[test]
    fn mistakes_name_the_nearest_key() {
        let error = parse("[pretrain]\nlerning_rate = 1.0\n", &[]).unwrap_err().to_string();
        assert!(error.contains("learning_rate") && !error.contains(", pretrain"), "{error}");
        let error = parse("", &[("model.hiden_size", "3")]).unwrap_err().to_string();
        assert!(error.contains("hidden_size"), "{error}");
        for bad in [
            "size = \"9m\"",
            "seed = \"x\"",
            "[pretrain]\nsteps = 0",
            "[pretrain]\nadam_beta1 = 2.0",
            "[[source]]\nname = \"a\"\npath = \"x\"\nweight = -1.0",
            "size = ",
        ] {
            parse(bad, &[]).unwrap_err();
        }
    }

    #[test]
    fn what_an_option_brings_is_told_of_the_option() {
        for (text, sets, blamed) in [
            ("", &[("batch_size", "0")][..], "--set batch_size=0: pretrain.batch_size is 0"),
            (
                "size = \"1m\"",
                &[("seed", "3"), ("model.dropout", "2"), ("steps", "4")],
                "--set model.dropout=2: config: dropout is 2",
            ),
            ("", &[("size", "9m")], "--size 9m: config: there is no size"),
            ("", &[("context", "9999")], "--set context=9999: pretrain.context is 9999"),
            ("", &[("nonsense", "1")], "--set nonsense=1: unknown key"),
            ("[pretrain]\nbatch_size = 0", &[("seed", "3")], "run.toml: pretrain.batch_size is 0"),
            ("[pretrain]\ncontext = 9999", &[("seed", "3")], "run.toml: pretrain.context is 9999"),
        ] {
            let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let whole = |c: &RunConfig| {
                let settled =
                    RunConfig { size: if c.size == "auto" { "1m".to_owned() } else { c.size.clone() }, ..c.clone() };
                settled.model().and_then(|_| settled.plan(StageId::Pretrain).map(drop))
            };
            let error = RunConfig::parse_for(text, &sets, StageId::Pretrain, whole).unwrap_err().to_string();
            assert!(error.starts_with(blamed), "{error}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let c = parse("size = \"1m\"\n[[source]]\nname = \"a\"\npath = \"x\"\n[model]\ndropout = 0.5\n", &[]).unwrap();
        assert_eq!(parse(&c.to_toml().unwrap(), &[]).unwrap(), c);
    }
}
