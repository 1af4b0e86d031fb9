//! The shape of a decoder-only Transformer as far as its arithmetic goes: parameters, operations, bytes. It also
//! describes models that danlu does not compute, such as GPT-3 and Mixtral.

mod json;
mod published;

pub use self::published::{PUBLISHED, Published};
use super::config::ModelConfig;

/// A decoder-only Transformer.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact about the architecture")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Layers, L.
    pub layers: u64,
    /// Width of the residual stream, C.
    pub hidden: u64,
    /// Query heads.
    pub heads: u64,
    /// Key/value heads.
    pub kv_heads: u64,
    /// Head size.
    pub head_dim: u64,
    /// Width of the feed-forward layer, of one expert, F.
    pub ffn: u64,
    /// Rows of the embedding table, V.
    pub vocab: u64,
    /// Longest context.
    pub positions: u64,
    /// Whether positions are a learned table rather than rotations.
    pub learned_positions: bool,
    /// Whether the feed-forward layer has a gate: three matrices instead of two.
    pub gated: bool,
    /// Which linear layers have a bias.
    pub bias: Bias,
    /// Parameters of a norm in widths: 1 for RMSNorm, 2 for LayerNorm.
    pub norm: u64,
    /// Norms of a layer.
    pub norms: u64,
    /// Whether a norm follows the last layer.
    pub final_norm: bool,
    /// Whether query and key heads are normalised (Qwen3).
    pub head_norms: bool,
    /// Experts of a layer; 1 for a plain feed-forward layer.
    pub experts: u64,
    /// Experts that a token passes through.
    pub active: u64,
    /// Whether the output layer is the embedding table.
    pub tied: bool,
}

/// Which linear layers have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// None.
    None,
    /// Query, key and value (Qwen2).
    Qkv,
    /// All, the output layer excepted (GPT).
    All,
}

/// What a group of parameters is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The embedding table.
    Embedding,
    /// The table of positions.
    Position,
    /// Query projection.
    Query,
    /// Key projection.
    Key,
    /// Value projection.
    Value,
    /// Output projection of attention.
    Output,
    /// The router of experts.
    Router,
    /// Gate of the feed-forward layer.
    Gate,
    /// First matrix of the feed-forward layer.
    Up,
    /// Second matrix of the feed-forward layer.
    Down,
    /// The norms of a layer.
    Norm,
    /// The norms of query and key heads.
    HeadNorm,
    /// The norm after the last layer.
    FinalNorm,
    /// The output layer.
    Head,
}

/// A group of parameters: `times` × (`rows` × `cols` + `bias`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is.
    pub weight: Weight,
    /// Rows of a matrix; vectors of a norm.
    pub rows: u64,
    /// Columns.
    pub cols: u64,
    /// Elements of the bias.
    pub bias: u64,
    /// How many there are in a layer (or in the model): the experts.
    pub times: u64,
    /// Whether every layer has it.
    pub layered: bool,
}

impl Group {
    /// Parameters of one layer, or of the model where `layered` is false.
    pub fn each(&self) -> u64 {
        self.times * (self.rows * self.cols + self.bias)
    }
}

/// Bytes that training keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingBytes {
    /// Weights; in f16 the f32 masters and the f16 copy.
    pub weights: u64,
    /// Gradients, in f32.
    pub gradients: u64,
    /// AdamW's two moments, in f32.
    pub moments: u64,
    /// Activations kept from the forward pass for the backward pass, and work buffers.
    pub activations: u64,
    /// Logits of a micro-batch.
    pub logits: u64,
    /// Keys and values that generation keeps for the same rows and context; not part of training.
    pub kv_cache: u64,
}

impl TrainingBytes {
    /// All bytes of training.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.moments + self.activations + self.logits
    }
}

impl Architecture {
    /// Llama's layout.
    const fn llama(shape: [u64; 6], positions: u64) -> Architecture {
        let [layers, hidden, heads, kv_heads, ffn, vocab] = shape;
        Architecture {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim: hidden / heads,
            ffn,
            vocab,
            positions,
            learned_positions: false,
            gated: true,
            bias: Bias::None,
            norm: 1,
            norms: 2,
            final_norm: true,
            head_norms: false,
            experts: 1,
            active: 1,
            tied: false,
        }
    }

    /// GPT-2's layout: learned positions, biases, LayerNorm, a feed-forward layer of four widths, tied embeddings.
    const fn gpt(layers: u64, hidden: u64, heads: u64, vocab: u64, positions: u64) -> Architecture {
        Architecture {
            learned_positions: true,
            gated: false,
            bias: Bias::All,
            norm: 2,
            tied: true,
            ..Architecture::llama([layers, hidden, heads, heads, 4 * hidden, vocab], positions)
        }
    }

    /// The groups of parameters: those before the layers, those of a layer, those after.
    pub fn groups(&self) -> Vec<Group> {
        let (c, q, kv) = (self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let qkv_bias = self.bias != Bias::None;
        let all_bias = self.bias == Bias::All;
        let biased = |has: bool, n: u64| if has { n } else { 0 };
        let one = |weight, rows, cols, bias, layered| Group { weight, rows, cols, bias, times: 1, layered };
        let mut all = vec![one(Weight::Embedding, self.vocab, c, 0, false)];
        if self.learned_positions {
            all.push(one(Weight::Position, self.positions, c, 0, false));
        }
        all.push(one(Weight::Query, q, c, biased(qkv_bias, q), true));
        all.push(one(Weight::Key, kv, c, biased(qkv_bias, kv), true));
        all.push(one(Weight::Value, kv, c, biased(qkv_bias, kv), true));
        all.push(one(Weight::Output, c, q, biased(all_bias, c), true));
        if self.experts > 1 {
            all.push(one(Weight::Router, self.experts, c, 0, true));
        }
        let mlp = |weight, rows: u64, cols: u64| Group {
            times: self.experts,
            ..one(weight, rows, cols, biased(all_bias, rows), true)
        };
        if self.gated {
            all.push(mlp(Weight::Gate, self.ffn, c));
        }
        all.push(mlp(Weight::Up, self.ffn, c));
        all.push(mlp(Weight::Down, c, self.ffn));
        all.push(one(Weight::Norm, self.norms * self.norm, c, 0, true));
        if self.head_norms {
            all.push(one(Weight::HeadNorm, 2, self.head_dim, 0, true));
        }
        if self.final_norm {
            all.push(one(Weight::FinalNorm, self.norm, c, 0, false));
        }
        if !self.tied {
            all.push(one(Weight::Head, self.vocab, c, 0, false));
        }
        all
    }

    /// Parameters of a group over all layers.
    pub fn count(&self, group: &Group) -> u64 {
        if group.layered { self.layers * group.each() } else { group.each() }
    }

    /// All parameters; tied embeddings count once.
    pub fn parameters(&self) -> u64 {
        self.groups().iter().map(|group| self.count(group)).sum()
    }

    /// Parameters that a token passes through: fewer than all where there are experts.
    pub fn active_parameters(&self) -> u64 {
        let idle = |group: &Group| self.count(group) / group.times * (group.times - self.active.min(group.times));
        self.parameters() - self.groups().iter().map(idle).sum::<u64>()
    }

    /// Operations of training on so many tokens, forward and backward: 6 per token and parameter that it passes
    /// through.
    pub fn training_flops(&self, tokens: u64) -> u128 {
        6 * u128::from(self.active_parameters()) * u128::from(tokens)
    }

    /// Operations of attention's own two products beside [`Architecture::training_flops`], each position seeing those
    /// before it: 12·L·Hq·D·T/2 per token.
    pub fn attention_flops(&self, tokens: u64, context: u64) -> u128 {
        let per_token = 6 * u128::from(self.layers * self.heads * self.head_dim) * u128::from(context);
        per_token * u128::from(tokens)
    }

    /// Bytes of training on micro-batches of `batch` × `context`, as danlu lays them out; `half`: activations and
    /// operands in f16 over f32 masters. None where a sum is 2^64 or more.
    pub fn training_bytes(&self, batch: u64, context: u64, half: bool) -> Option<TrainingBytes> {
        let parameters = self.parameters();
        let act = if half { 2 } else { 4 };
        let rows = u128::from(batch) * u128::from(context);
        let (c, f) = (self.hidden, self.ffn);
        let (out, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let (qkv, wide) = (out + 2 * kv, if self.gated { 3 } else { 2 });
        // The same tensors as in nn::arithmetic; with experts those of the active ones and the router's scores.
        let router = if self.experts > 1 { self.experts } else { 0 };
        let layer = 4 * c + qkv + out + wide * f * self.active + self.heads + 2 + router;
        let shared = 7 * c + f + 2 * f + out + qkv + 1;
        let of = |bytes: u128, n: u64| u64::try_from(bytes.checked_mul(n.into())?).ok();
        let all = TrainingBytes {
            weights: of(if half { 6 } else { 4 }, parameters)?,
            gradients: of(4, parameters)?,
            moments: of(8, parameters)?,
            activations: of(act * rows, layer * self.layers + shared)?,
            logits: of(4 * rows, self.vocab)?,
            kv_cache: of(act * rows, 2 * self.layers * kv)?,
        };
        let summed = [all.weights, all.gradients, all.moments, all.activations, all.logits];
        summed.into_iter().try_fold(0, u64::checked_add)?;
        Some(all)
    }
}

impl From<&ModelConfig> for Architecture {
    fn from(c: &ModelConfig) -> Architecture {
        let shape = [
            c.num_hidden_layers,
            c.hidden_size,
            c.num_attention_heads,
            c.num_key_value_heads,
            c.intermediate_size,
            c.vocab_size,
        ];
        Architecture {
            head_dim: c.head_dim as u64,
            tied: c.tie_word_embeddings,
            ..Architecture::llama(shape.map(|n| n as u64), c.max_position_embeddings as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::nn::{PRESETS, ParamTable, estimate};

    fn published(name: &str) -> Architecture {
        PUBLISHED.iter().find(|p| p.name == name).unwrap().architecture
    }

    /// The counts that the models' weights have, read from their files.
    #[test]
    fn published_models_have_their_known_parameters() {
        for (name, parameters) in [
            ("gpt1", 116_534_784),
            ("gpt2", 124_439_808),
            ("gpt2-xl", 1_557_611_200),
            ("gpt3", 174_604_259_328),
            ("llama-7b", 6_738_415_616),
            ("mixtral-8x7b", 46_702_792_704),
            ("grok-1", 315_684_820_992),
        ] {
            assert_eq!(published(name).parameters(), parameters, "{name}");
        }
        assert_eq!(published("mixtral-8x7b").active_parameters(), 12_879_925_248);
        let flops = published("gpt3").training_flops(300_000_000_000);
        assert_eq!(flops, 314_287_666_790_400_000_000_000, "3.143e23");
    }

    #[test]
    fn our_own_models_are_counted_as_they_are_allocated() {
        for preset in PRESETS {
            for tied in [true, false] {
                let config = ModelConfig { tie_word_embeddings: tied, ..preset.config() };
                let shape = Architecture::from(&config);
                assert_eq!(shape.parameters(), ParamTable::new(&config).parameters() as u64, "{}", preset.name);
                let bytes = shape.training_bytes(3, 64, false).unwrap();
                let exact = estimate(&config, 3, 64, 0);
                assert_eq!(bytes.activations, exact.activation_bytes, "{}", preset.name);
                assert_eq!(Architecture::from_json(&config.to_json().to_string()).unwrap(), shape, "{}", preset.name);
            }
        }
    }

    #[test]
    fn configurations_of_other_families_are_read() {
        let gpt2 = json!({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50_257});
        assert_eq!(Architecture::from_json(&gpt2.to_string()).unwrap(), published("gpt2"));
        let mixtral = json!({"model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14_336, "vocab_size": 32_000,
            "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 32_768});
        assert_eq!(Architecture::from_json(&mixtral.to_string()).unwrap(), published("mixtral-8x7b"));
        // Qwen3-0.6B and Qwen2.5-0.5B, as their cards count them.
        let mut qwen = json!({"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28,
            "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072,
            "vocab_size": 151_936, "tie_word_embeddings": true});
        assert_eq!(Architecture::from_json(&qwen.to_string()).unwrap().parameters(), 596_049_920);
        qwen = json!({"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151_936, "tie_word_embeddings": true});
        assert_eq!(Architecture::from_json(&qwen.to_string()).unwrap().parameters(), 494_032_768);
        for (key, value, word) in [
            ("model_type", json!("mamba"), "model_type is \"mamba\""),
            ("model_type", json!(5), "model_type is 5"),
            ("hidden_size", json!(0), "hidden_size is 0"),
            ("num_hidden_layers", json!(1_000_000_000), "num_hidden_layers"),
            ("vocab_size", json!(null), "vocab_size is missing"),
            ("num_attention_heads", json!("x"), "num_attention_heads"),
            ("num_attention_heads", json!(15), "num_attention_heads is 15 and num_key_value_heads 2"),
            ("num_key_value_heads", json!(28), "expected a multiple of 28"),
            ("hidden_size", json!(900), "hidden_size is 900 and num_attention_heads 14; expected a multiple of 14"),
        ] {
            let mut bad = qwen.clone();
            bad[key] = value;
            let error = Architecture::from_json(&bad.to_string()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
