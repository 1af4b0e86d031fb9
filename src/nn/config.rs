//! The model's configuration under Hugging Face's names, read from and written to `config.json`.

use serde_json::{Map, Value, json};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("config: {0}")]
pub struct ConfigError(pub String);

fn wrong<T>(what: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(what.into()))
}

/// The output of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Logits: `LlamaForCausalLM`.
    Language,
    /// One score: `LlamaForSequenceClassification` of one label.
    Score,
}

/// A decoder-only Transformer in Llama's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Rows of the embedding table, V.
    pub vocab_size: usize,
    /// Width of the residual stream, C.
    pub hidden_size: usize,
    /// Width of the feed-forward layer, F.
    pub intermediate_size: usize,
    /// Layers, L.
    pub num_hidden_layers: usize,
    /// Query heads, Hq.
    pub num_attention_heads: usize,
    /// Key/value heads, Hk; divides Hq.
    pub num_key_value_heads: usize,
    /// Head size, D; even.
    pub head_dim: usize,
    /// Longest context in positions.
    pub max_position_embeddings: usize,
    /// ε of RMSNorm.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Whether the output layer is the embedding table.
    pub tie_word_embeddings: bool,
    /// Standard deviation of initial weights.
    pub initializer_range: f32,
    /// Dropout on the residual branches while training; danlu's own field, 0 by default.
    pub dropout: f32,
    /// Begin-of-text token, where there is one.
    pub bos_token_id: Option<u32>,
    /// End-of-text token; the first if there are several.
    pub eos_token_id: Option<u32>,
    /// Padding token; never the end-of-text token.
    pub pad_token_id: Option<u32>,
}

/// A named size: its shape and context.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// `1m` …
    pub name: &'static str,
    /// Layers, hidden, query heads, key/value heads, feed-forward, vocabulary.
    pub shape: [usize; 6],
    /// `max_position_embeddings`.
    pub positions: usize,
}

/// The named sizes.
pub static PRESETS: &[Preset] = &[
    Preset { name: "1m", shape: [4, 128, 4, 4, 384, 4096], positions: 256 },
    Preset { name: "5m", shape: [6, 256, 4, 2, 704, 4096], positions: 256 },
    Preset { name: "12m", shape: [6, 384, 6, 6, 1024, 4096], positions: 256 },
    Preset { name: "27m", shape: [8, 512, 8, 4, 1408, 6400], positions: 512 },
    Preset { name: "124m", shape: [12, 768, 12, 12, 2048, 50_304], positions: 1024 },
];

/// The preset with this name.
pub fn preset(name: &str) -> Result<&'static Preset, ConfigError> {
    let names = || PRESETS.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    PRESETS
        .iter()
        .find(|p| p.name == name)
        .ok_or_else(|| ConfigError(format!("there is no size {name:?}; choose one of {}", names())))
}

impl Preset {
    /// The preset as a configuration with tied embeddings.
    pub fn config(&self) -> ModelConfig {
        let [layers, hidden, heads, kv, ffn, vocab] = self.shape;
        ModelConfig::llama(layers, hidden, heads, kv, ffn, vocab, self.positions)
    }
}

impl ModelConfig {
    /// A configuration with tied embeddings and Llama's usual constants.
    pub fn llama(
        layers: usize,
        hidden: usize,
        heads: usize,
        kv: usize,
        ffn: usize,
        vocab: usize,
        positions: usize,
    ) -> ModelConfig {
        ModelConfig {
            vocab_size: vocab,
            hidden_size: hidden,
            intermediate_size: ffn,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv,
            head_dim: hidden / heads.max(1),
            max_position_embeddings: positions,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            tie_word_embeddings: true,
            initializer_range: 0.02,
            dropout: 0.0,
            bos_token_id: None,
            eos_token_id: None,
            pad_token_id: None,
        }
    }

    /// Rejects impossible values: zero sizes, odd heads, absurd numbers.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("vocab_size", self.vocab_size, 1 << 20),
            ("hidden_size", self.hidden_size, 65_536),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 512),
            ("num_attention_heads", self.num_attention_heads, 1024),
            ("num_key_value_heads", self.num_key_value_heads, 1024),
            ("head_dim", self.head_dim, 256),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
        ];
        for (name, value, most) in ranges {
            if value == 0 || value > most {
                return wrong(format!("{name} is {value}; expected 1 to {most}"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return wrong(format!(
                "num_attention_heads {} is not a multiple of num_key_value_heads {}",
                self.num_attention_heads, self.num_key_value_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return wrong(format!("head_dim {} is odd; rotary embeddings need pairs", self.head_dim));
        }
        let positive = [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)];
        for (name, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return wrong(format!("{name} is {value}; expected a positive number"));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong(format!("dropout is {}; expected 0 or more and less than 1", self.dropout));
        }
        if !(self.initializer_range.is_finite() && self.initializer_range >= 0.0) {
            return wrong(format!("initializer_range is {}; expected 0 or more", self.initializer_range));
        }
        Ok(())
    }

    /// The head sizes for the compute layer.
    pub fn heads(&self) -> crate::compute::ops::Heads {
        crate::compute::ops::Heads {
            query: self.num_attention_heads,
            key: self.num_key_value_heads,
            size: self.head_dim,
        }
    }

    /// `config.json` as transformers 5 reads it; both spellings of the rotary base are written.
    pub fn to_json(&self) -> Value {
        json!({
            "architectures": [LANGUAGE],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": exact(self.rms_norm_eps),
            "rope_theta": exact(self.rope_theta),
            "rope_parameters": {"rope_type": "default", "rope_theta": exact(self.rope_theta)},
            "tie_word_embeddings": self.tie_word_embeddings,
            "initializer_range": exact(self.initializer_range),
            "hidden_act": "silu",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "mlp_bias": false,
            "danlu_dropout": exact(self.dropout),
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_id,
            "pad_token_id": self.pad_token_id,
            "dtype": "float32",
            "torch_dtype": "float32",
            "use_cache": true,
        })
    }

    /// `config.json` of a scalar model ([`super::ParamTable::scalar`]): a classification of one label, whose
    /// logit is the score of the last token that is not padding.
    pub fn to_scalar_json(&self) -> Value {
        let mut all = self.to_json();
        all["architectures"] = json!([SCALAR]);
        all["id2label"] = json!({"0": "LABEL_0"});
        all["label2id"] = json!({"LABEL_0": 0});
        all
    }

    /// Parses the `config.json` of a language model; rejects whatever would not be computed exactly as written.
    pub fn from_json(text: &str) -> Result<ModelConfig, ConfigError> {
        ModelConfig::read(text, LANGUAGE)
    }

    /// The same for a scalar model, which must have one label.
    pub fn from_scalar_json(text: &str) -> Result<ModelConfig, ConfigError> {
        ModelConfig::read(text, SCALAR)
    }

    /// The `config.json` of a model with output `head`.
    pub fn to_json_as(&self, head: Head) -> Value {
        match head {
            Head::Language => self.to_json(),
            Head::Score => self.to_scalar_json(),
        }
    }

    /// Parses the `config.json` of a model with output `head`.
    pub fn from_json_as(text: &str, head: Head) -> Result<ModelConfig, ConfigError> {
        match head {
            Head::Language => ModelConfig::from_json(text),
            Head::Score => ModelConfig::from_scalar_json(text),
        }
    }

    fn read(text: &str, architecture: &str) -> Result<ModelConfig, ConfigError> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| ConfigError(format!("config.json is not JSON: {e}")))?;
        let Value::Object(map) = value else { return wrong("config.json is not a JSON object") };
        let reader = Reader(&map);
        // Without a window Mistral is computed as Llama is.
        if !(reader.is_mistral() && architecture == LANGUAGE) {
            reader.only("architectures", &json!([architecture]))?;
        }
        if architecture == SCALAR {
            let labels = reader.get("id2label").and_then(Value::as_object).map(Map::len);
            // transformers assumes two if the field is missing.
            if labels != Some(1) {
                return wrong(format!("id2label has {} labels; a score is one", labels.unwrap_or(2)));
            }
        }
        reader.read()
    }
}

/// The tokens that end a text, from the `eos_token_id` of a `config.json` or `generation_config.json`: an id, a list of
/// ids, or null. Ids outside the vocabulary can never be sampled and are left out.
pub fn end_ids(map: &Map<String, Value>, vocab_size: usize) -> Result<Vec<u32>, ConfigError> {
    const KEY: &str = "eos_token_id";
    let Some(value) = map.get(KEY).filter(|v| !v.is_null()) else { return Ok(Vec::new()) };
    let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let mut ends = Vec::new();
    for id in ids.iter().filter(|v| !v.is_null()) {
        let Some(id) = id.as_i64() else {
            return wrong(format!("{KEY} is {value}; expected a token id, a list of them, or null"));
        };
        if let Ok(id) = u32::try_from(id)
            && (id as usize) < vocab_size
            && !ends.contains(&id)
        {
            ends.push(id);
        }
    }
    Ok(ends)
}

/// The architecture of a language model.
const LANGUAGE: &str = "LlamaForCausalLM";
/// The architecture of a scalar model.
const SCALAR: &str = "LlamaForSequenceClassification";

/// transformers' defaults of a Mistral config: the window, and key/value heads and positions.
const MISTRAL_WINDOW: usize = 4096;
const MISTRAL_DEFAULTS: (usize, usize) = (8, 131_072);

/// The shortest decimal that reads back as the same f32.
fn exact(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

struct Reader<'a>(&'a Map<String, Value>);

impl Reader<'_> {
    /// A field that exists and is not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        let Some(v) = self.get(key) else { return Ok(None) };
        match v.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => wrong(format!("{key} is {v}; expected a whole number")),
        }
    }

    fn need(&self, key: &str) -> Result<usize, ConfigError> {
        self.size(key)?.map_or_else(|| wrong(format!("{key} is missing; expected a whole number")), Ok)
    }

    fn number(&self, key: &str, default: f32) -> Result<f32, ConfigError> {
        let Some(v) = self.get(key) else { return Ok(default) };
        v.as_f64().map_or_else(|| wrong(format!("{key} is {v}; expected a number")), |n| Ok(n as f32))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(v) = self.get(key) else { return Ok(default) };
        v.as_bool().map_or_else(|| wrong(format!("{key} is {v}; expected true or false")), Ok)
    }

    /// A token id that is only stored: one outside the vocabulary (Llama's padding is −1) is None.
    fn token(&self, key: &str, vocab_size: usize) -> Option<u32> {
        let id = self.get(key)?.as_u64().and_then(|n| u32::try_from(n).ok())?;
        ((id as usize) < vocab_size).then_some(id)
    }

    /// Rejects a field with another value than the only supported one.
    fn only(&self, key: &str, known: &Value) -> Result<(), ConfigError> {
        match self.get(key) {
            Some(v) if v != known && !(v.as_f64().is_some() && v.as_f64() == known.as_f64()) => wrong(format!(
                "{key} is {v}; only {known} is computed here. Convert the model, or use one with {key} {known}"
            )),
            _ => Ok(()),
        }
    }

    /// The rotary base, in either spelling; rejects any scaling.
    fn rope_theta(&self) -> Result<f32, ConfigError> {
        let mut found: Option<f32> = None;
        for key in ["rope_parameters", "rope_scaling"] {
            let Some(v) = self.get(key) else { continue };
            let Value::Object(map) = v else { return wrong(format!("{key} is {v}; expected an object or null")) };
            let inner = Reader(map);
            inner.only("rope_type", &json!("default"))?;
            inner.only("type", &json!("default"))?;
            inner.only("partial_rotary_factor", &json!(1.0))?;
            for (name, value) in map {
                let known = ["rope_type", "type", "rope_theta", "partial_rotary_factor"].contains(&name.as_str());
                if !known && !value.is_null() {
                    return wrong(format!(
                        "{key}.{name} is {value}; only plain rotary embeddings (rope_type \"default\") are computed here"
                    ));
                }
            }
            if inner.get("rope_theta").is_some() {
                found = Some(inner.number("rope_theta", 0.0)?);
            }
        }
        if self.get("rope_theta").is_some() {
            let top = self.number("rope_theta", 0.0)?;
            if found.is_some_and(|f| f != top) {
                return wrong(format!(
                    "rope_theta is {top} at the top and {found:?} in rope_parameters; make them agree"
                ));
            }
            found = Some(top);
        }
        Ok(found.unwrap_or(10_000.0))
    }

    /// Whether it is a Mistral language model.
    fn is_mistral(&self) -> bool {
        let named = self.get("architectures").is_none_or(|a| *a == json!(["MistralForCausalLM"]));
        named && self.get("model_type").is_some_and(|kind| kind == "mistral")
    }

    /// Rejects a Mistral whose attention window is shorter than its context. A config.json that does not mention the
    /// window has transformers' default.
    fn sees_everything(&self, positions: usize) -> Result<(), ConfigError> {
        let window = match self.0.get("sliding_window") {
            Some(Value::Null) => return Ok(()),
            Some(_) => self.size("sliding_window")?,
            None => Some(MISTRAL_WINDOW),
        };
        match window {
            Some(window) if window < positions => wrong(format!(
                "sliding_window is {window}, less than max_position_embeddings {positions}; a window is not computed here. Set max_position_embeddings to {window} to use the model for texts of that length"
            )),
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<ModelConfig, ConfigError> {
        let mistral = self.is_mistral();
        if !mistral {
            self.only("model_type", &json!("llama"))?;
        }
        self.only("hidden_act", &json!("silu"))?;
        self.only("attention_bias", &json!(false))?;
        self.only("mlp_bias", &json!(false))?;
        self.only("attention_dropout", &json!(0.0))?;
        self.only("partial_rotary_factor", &json!(1.0))?;
        for key in ["quantization_config", "sliding_window"] {
            if let Some(v) = self.get(key).filter(|_| !(mistral && key == "sliding_window")) {
                return wrong(format!("{key} is set ({v}); it is not computed here"));
            }
        }
        for key in ["dtype", "torch_dtype"] {
            if let Some(v) = self.get(key) {
                let known = ["float32", "float16", "bfloat16"];
                if !v.as_str().is_some_and(|s| known.contains(&s.trim_start_matches("torch."))) {
                    return wrong(format!("{key} is {v}; expected one of {}", known.join(", ")));
                }
            }
        }
        let hidden_size = self.need("hidden_size")?;
        let num_attention_heads = self.need("num_attention_heads")?;
        let head_dim = self.size("head_dim")?.unwrap_or(hidden_size / num_attention_heads.max(1));
        let vocab_size = self.need("vocab_size")?;
        let ends = end_ids(self.0, vocab_size)?;
        let (heads, positions) = if mistral { MISTRAL_DEFAULTS } else { (num_attention_heads, 2048) };
        let max_position_embeddings = self.size("max_position_embeddings")?.unwrap_or(positions);
        if mistral {
            self.sees_everything(max_position_embeddings)?;
        }
        let config = ModelConfig {
            vocab_size,
            hidden_size,
            intermediate_size: self.need("intermediate_size")?,
            num_hidden_layers: self.need("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: self.size("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            max_position_embeddings,
            rms_norm_eps: self.number("rms_norm_eps", 1e-6)?,
            rope_theta: self.rope_theta()?,
            tie_word_embeddings: self.flag("tie_word_embeddings", false)?,
            initializer_range: self.number("initializer_range", 0.02)?,
            dropout: self.number("danlu_dropout", 0.0)?,
            bos_token_id: self.token("bos_token_id", vocab_size),
            eos_token_id: ends.first().copied(),
            pad_token_id: self.token("pad_token_id", vocab_size),
        };
        config.validate()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn with(key: &str, value: Value) -> Result<ModelConfig, ConfigError> {
        let mut json = PRESETS[0].config().to_json();
        json[key] = value;
        ModelConfig::from_json(&json.to_string())
    }

    #[test]
    fn what_is_written_reads_back() {
        for preset in PRESETS {
            let config = preset.config();
            assert_eq!(ModelConfig::from_json(&config.to_json().to_string()).unwrap(), config);
        }
    }

    #[test]
    fn what_would_not_be_computed_is_refused() {
        let refused = [
            ("hidden_act", json!("gelu")),
            ("attention_bias", json!(true)),
            ("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0})),
            ("rope_parameters", json!({"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0})),
            ("rope_theta", json!(20_000.0)),
            ("dtype", json!("int4")),
            ("num_key_value_heads", json!(3)),
            ("vocab_size", json!("many")),
            ("hidden_size", json!(0)),
            ("head_dim", json!(33)),
            ("model_type", json!("gpt2")),
            ("eos_token_id", json!("</s>")),
            ("eos_token_id", json!([2, "</s>"])),
        ];
        for (key, value) in refused {
            let error = with(key, value.clone()).unwrap_err().to_string();
            assert!(error.contains(key) || error.contains("rope"), "{key} = {value}: {error}");
        }
    }

    #[test]
    fn mistral_without_a_window_is_read_as_llama() {
        let config = PRESETS[0].config();
        let mistral = |changes: &[(&str, Option<Value>)]| {
            let mut json = config.to_json();
            json["architectures"] = json!(["MistralForCausalLM"]);
            json["model_type"] = json!("mistral");
            json["sliding_window"] = Value::Null;
            for (key, value) in changes {
                match value {
                    Some(value) => json[*key] = value.clone(),
                    None => drop(json.as_object_mut().unwrap().remove(*key)),
                }
            }
            ModelConfig::from_json(&json.to_string())
        };
        assert_eq!(mistral(&[]).unwrap(), config);
        assert_eq!(mistral(&[("architectures", None)]).unwrap(), config);
        // A window of at least the context hides nothing; one that is not mentioned has 4096 tokens.
        assert_eq!(mistral(&[("sliding_window", Some(json!(config.max_position_embeddings)))]).unwrap(), config);
        assert_eq!(mistral(&[("sliding_window", None)]).unwrap(), config);
        for changes in [
            &[("sliding_window", Some(json!(32)))][..],
            &[("sliding_window", None), ("max_position_embeddings", Some(json!(8192)))],
            &[("sliding_window", Some(json!(4096))), ("max_position_embeddings", None)],
        ] {
            let error = mistral(changes).unwrap_err().to_string();
            assert!(error.contains("sliding_window") && error.contains("max_position_embeddings"), "{error}");
        }
        for changes in [
            &[("architectures", Some(json!(["MistralForSequenceClassification"])))][..],
            &[("model_type", Some(json!("mixtral")))],
            &[("sliding_window", Some(json!("all")))],
            &[("hidden_act", Some(json!("gelu")))],
        ] {
            assert!(mistral(changes).is_err(), "{changes:?}");
        }
        let mut llama = config.to_json();
        llama["sliding_window"] = json!(4096);
        assert!(ModelConfig::from_json(&llama.to_string()).is_err());
    }

    #[test]
    fn ends_are_a_set_and_ids_that_nothing_uses_are_not_judged() {
        let ends = |value: Value| end_ids(json!({"eos_token_id": value}).as_object().unwrap(), 4096).unwrap();
        assert_eq!(ends(json!(2)), [2]);
        assert_eq!(ends(json!([5, 2, 5, null])), [5, 2]);
        assert_eq!(ends(json!([9999, -1, 7])), [7]);
        assert!(ends(json!(null)).is_empty() && ends(json!([])).is_empty());
        assert_eq!(with("eos_token_id", json!([9, 3])).unwrap().eos_token_id, Some(9));
        for (key, value) in [
            ("pad_token_id", json!(-1)),
            ("pad_token_id", json!(4096)),
            ("pad_token_id", json!([1])),
            ("bos_token_id", json!(128_000)),
            ("bos_token_id", json!("<s>")),
            ("eos_token_id", json!(9999)),
        ] {
            let config = with(key, value.clone()).unwrap();
            assert_eq!(
                (config.bos_token_id, config.eos_token_id, config.pad_token_id),
                (None, None, None),
                "{key} {value}"
            );
        }
        assert_eq!(with("bos_token_id", json!(7)).unwrap().bos_token_id, Some(7));
    }

    #[test]
    fn a_scalar_model_is_no_language_model() {
        let config = ModelConfig { pad_token_id: Some(1), ..PRESETS[0].config() };
        let mut json = config.to_scalar_json();
        assert_eq!(ModelConfig::from_scalar_json(&json.to_string()).unwrap(), config);
        let error = ModelConfig::from_json(&json.to_string()).unwrap_err().to_string();
        assert!(error.contains("architectures"), "{error}");
        assert!(ModelConfig::from_scalar_json(&config.to_json().to_string()).is_err());
        json["id2label"] = json!({"0": "good", "1": "bad"});
        let error = ModelConfig::from_scalar_json(&json.to_string()).unwrap_err().to_string();
        assert!(error.contains("2 labels"), "{error}");
    }

    #[test]
    fn either_rope_spelling_is_read() {
        let mut old = PRESETS[0].config().to_json();
        old.as_object_mut().unwrap().remove("rope_parameters");
        old["rope_theta"] = json!(500_000.0);
        assert_eq!(ModelConfig::from_json(&old.to_string()).unwrap().rope_theta, 500_000.0);
        let mut new = PRESETS[0].config().to_json();
        new.as_object_mut().unwrap().remove("rope_theta");
        new["rope_parameters"]["rope_theta"] = json!(500_000.0);
        assert_eq!(ModelConfig::from_json(&new.to_string()).unwrap().rope_theta, 500_000.0);
    }
}
