//! `[model]` and `[sampling]`: the shape of the model, and the sampling of answers.

use super::table::table;
use crate::{nn::Sampling, protocol::Manner};

table! {
    /// `[model]`: fields that override the size's. Names are Hugging Face's; see `ModelConfig`.
    ModelOverrides => ModelSettings {
        vocab_size: usize, ONE, = |_, v| v.preset().vocab_size, "entries of the vocabulary", "词表大小";
        hidden_size: usize, ONE, = |_, v| v.preset().hidden_size, "width of the residual stream", "隐藏层宽度";
        intermediate_size: usize, ONE, = |_, v| v.preset().intermediate_size, "width of the MLP", "MLP 宽度";
        num_hidden_layers: usize, ONE, = |_, v| v.preset().num_hidden_layers, "layers", "层数";
        num_attention_heads: usize, ONE, = |_, v| v.preset().num_attention_heads, "query heads", "查询头数";
        num_key_value_heads: usize, ONE,
            = |t, v| t.num_attention_heads.unwrap_or(v.preset().num_key_value_heads),
            "key and value heads; by default the size's, or as many as `num_attention_heads` where that is set",
            "键值头数；默认按大小，设了 `num_attention_heads` 时与它相同";
        head_dim: usize, ONE,
            = |t, v| t.hidden_size(v) / t.num_attention_heads(v).max(1),
            "width of a head; by default `hidden_size` ÷ `num_attention_heads`",
            "每个头的宽度；默认为 `hidden_size` ÷ `num_attention_heads`";
        max_position_embeddings: usize, ONE, = |_, v| v.preset().max_position_embeddings,
            "the longest context", "最大上下文长度";
        // An imported model keeps its own value; new models start with these.
        rms_norm_eps: f32, PART, = |_, v| v.preset().rms_norm_eps, "ε of RMSNorm", "RMSNorm 的 ε";
        rope_theta: f32, ONE, = |_, v| v.preset().rope_theta, "base of the rotary embedding", "旋转位置编码的基数";
        tie_word_embeddings: bool, ANY, = |_, v| v.preset().tie_word_embeddings,
            "share the embedding with the output layer", "输出层与词嵌入共享权重";
        initializer_range: f32, PART, = |_, v| v.preset().initializer_range,
            "standard deviation of initial weights", "初始权重的标准差";
        dropout: f32, FRACTION, = |_, v| v.preset().dropout, "dropout", "dropout";
    }
}

table! {
    /// `[sampling]`: how answers to the user's prompts are sampled; see `Sampling`.
    SamplingOverrides => SamplingSettings {
        temperature: f32, ANY, = |_, _| Sampling::default().temperature,
            "divides the logits; 0 takes the likeliest token", "温度；0 为取概率最大的词元";
        top_k: usize, ANY, = |_, _| Sampling::default().top_k,
            "keep the k likeliest tokens; 0 keeps all", "只保留概率最大的 k 个词元；0 为全部保留";
        top_p: f32, PART, = |_, _| Sampling::default().top_p,
            "keep the likeliest tokens up to this probability mass", "保留概率最大的词元，直到累积概率达到它";
        repetition_penalty: f32, POSITIVE, = |_, _| Sampling::default().repetition_penalty,
            "penalty on tokens that already occurred; 1 for none", "对已出现词元的惩罚；1 为不惩罚";
        max_new_tokens: usize, ONE, = |_, _| Manner::default().max_new_tokens, "most tokens of an answer", "回答的最多词元数";
    }
}
