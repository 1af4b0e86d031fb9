//! Reads the shape of a model from a `config.json` of Hugging Face.

use serde_json::{Map, Value};

use super::{Architecture, Bias};
use crate::nn::config::ConfigError;

/// Largest size in a config.json, so that no product overflows.
const MOST: u64 = 1 << 20;
/// Largest number of layers, heads or experts, and largest head.
const MOST_LAYERS: u64 = 1 << 10;
/// Most parameters.
const MOST_PARAMETERS: u64 = 1 << 53;

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn size(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.0.get(key).filter(|v| !v.is_null()) else { return Ok(None) };
        let many = key.contains("layer") || key.contains("experts") || key.contains("head");
        let most = if many { MOST_LAYERS } else { MOST };
        match value.as_u64() {
            Some(n) if (1..=most).contains(&n) => Ok(Some(n)),
            _ => Err(ConfigError(format!("{key} is {value}; expected a whole number from 1 to {most}"))),
        }
    }

    fn need(&self, key: &str) -> Result<u64, ConfigError> {
        self.size(key)?.ok_or_else(|| ConfigError(format!("{key} is missing; expected a whole number")))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(yes)) => Ok(Some(*yes)),
            Some(other) => Err(ConfigError(format!("{key} is {other}; expected true or false"))),
        }
    }
}

impl Architecture {
    /// Reads a `config.json` of the GPT, Llama, Mistral, Mixtral or Qwen families.
    ///
    /// # Errors
    ///
    /// Another `model_type`, a missing or impossible size.
    pub fn from_json(text: &str) -> Result<Architecture, ConfigError> {
        let all: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| ConfigError(format!("it is no JSON object: {e}")))?;
        let fields = Fields(&all);
        let kind = all.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let architecture = match kind {
            "gpt2" | "openai-gpt" => {
                let hidden = fields.need("n_embd")?;
                let ffn = fields.size("n_inner")?.unwrap_or(4 * hidden);
                let heads = fields.need("n_head")?;
                divides(("n_embd", hidden), ("n_head", heads))?;
                let gpt = Architecture::gpt(
                    fields.need("n_layer")?,
                    hidden,
                    heads,
                    fields.need("vocab_size")?,
                    fields.need("n_positions")?,
                );
                Architecture {
                    ffn,
                    final_norm: kind == "gpt2",
                    tied: fields.flag("tie_word_embeddings")?.unwrap_or(true),
                    ..gpt
                }
            }
            "llama" | "mistral" | "mixtral" | "qwen2" | "qwen3" => {
                let (hidden, heads) = (fields.need("hidden_size")?, fields.need("num_attention_heads")?);
                let kv_heads = fields.size("num_key_value_heads")?.unwrap_or(heads);
                divides(("num_attention_heads", heads), ("num_key_value_heads", kv_heads))?;
                let head_dim = fields.size("head_dim")?;
                if head_dim.is_none() {
                    divides(("hidden_size", hidden), ("num_attention_heads", heads))?;
                }
                let experts = if kind == "mixtral" { fields.need("num_local_experts")? } else { 1 };
                let active = if kind == "mixtral" { fields.need("num_experts_per_tok")? } else { 1 };
                if active > experts {
                    return Err(ConfigError(format!(
                        "num_experts_per_tok is {active} and num_local_experts {experts}; a token cannot pass through more experts than there are"
                    )));
                }
                let shape = [
                    fields.need("num_hidden_layers")?,
                    hidden,
                    heads,
                    kv_heads,
                    fields.need("intermediate_size")?,
                    fields.need("vocab_size")?,
                ];
                let bias = if kind == "qwen2" {
                    Bias::Qkv
                } else if fields.flag("attention_bias")? == Some(true) || fields.flag("mlp_bias")? == Some(true) {
                    return Err(ConfigError("attention_bias and mlp_bias are not counted; only false is".to_owned()));
                } else {
                    Bias::None
                };
                let llama = Architecture::llama(shape, fields.size("max_position_embeddings")?.unwrap_or(2048));
                Architecture {
                    head_dim: head_dim.unwrap_or(hidden / heads),
                    bias,
                    head_norms: kind == "qwen3",
                    experts,
                    active,
                    tied: fields.flag("tie_word_embeddings")?.unwrap_or(false),
                    ..llama
                }
            }
            _ => {
                let is = all.get("model_type").map_or_else(|| "is missing".to_owned(), |kind| format!("is {kind}"));
                return Err(ConfigError(format!(
                    "model_type {is}; gpt2, openai-gpt, llama, mistral, mixtral, qwen2 and qwen3 are counted"
                )));
            }
        };
        match architecture.parameters() {
            ..=MOST_PARAMETERS => Ok(architecture),
            n => Err(ConfigError(format!("the model would have {n} parameters; expected at most {MOST_PARAMETERS}"))),
        }
    }
}

/// Checks that a number of heads divides what they share.
fn divides((whole, n): (&str, u64), (parts, heads): (&str, u64)) -> Result<(), ConfigError> {
    if n.is_multiple_of(heads) {
        return Ok(());
    }
    Err(ConfigError(format!("{whole} is {n} and {parts} {heads}; expected a multiple of {heads}")))
}
