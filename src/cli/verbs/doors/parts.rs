//! The parts of a Transformer, by the names that models give their tensors.

use crate::ui::strings::Tr;

/// A part of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Embedding,
    Position,
    Attention,
    Mlp,
    Experts,
    Router,
    Norm,
    Head,
    Other,
}

impl Part {
    /// Its key in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Embedding => "embedding",
            Part::Position => "position",
            Part::Attention => "attention",
            Part::Mlp => "mlp",
            Part::Experts => "experts",
            Part::Router => "router",
            Part::Norm => "norm",
            Part::Head => "head",
            Part::Other => "other",
        }
    }

    /// Its name for a reader.
    pub(super) fn title(self) -> Tr {
        match self {
            Part::Embedding => Tr("词嵌入 embedding", "token embedding"),
            Part::Position => Tr("位置嵌入 position", "position embedding"),
            Part::Attention => Tr("注意力 attention", "attention"),
            Part::Mlp => Tr("前馈层 MLP", "feed-forward (MLP)"),
            Part::Experts => Tr("专家 experts", "experts"),
            Part::Router => Tr("路由 router", "router"),
            Part::Norm => Tr("归一化 norm", "norms"),
            Part::Head => Tr("输出层 head", "output layer"),
            Part::Other => Tr("其他", "other"),
        }
    }

    /// The part a tensor belongs to, by its name in Hugging Face's, GGUF's and the original layouts.
    pub(super) fn of(tensor: &str) -> Part {
        let name = tensor.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let piece = |words: &[&str]| name.split(['.', '/']).any(|piece| words.contains(&piece));
        if has(&["norm", "layer_norm"]) || piece(&["ln_1", "ln_2", "ln_f", "ln_3", "ln"]) {
            Part::Norm
        } else if has(&["router", "gate_inp", "moe.gate", "mlp.gate."]) {
            Part::Router
        } else if has(&["expert", "_exps"]) {
            Part::Experts
        } else if has(&["wpe", "position_emb", "positions_embed", "pos_embed"]) {
            Part::Position
        } else if has(&[
            "embed_tokens",
            "token_embd",
            "wte",
            "tok_embeddings",
            "word_embeddings",
            "embed_in",
            "tokens_embed",
        ]) {
            Part::Embedding
        } else if has(&["lm_head", "embed_out"]) || piece(&["output", "score", "head"]) && layer(tensor).is_none() {
            Part::Head
        } else if has(&["attn", "attention"])
            || piece(&["wq", "wk", "wv", "wo", "q_proj", "k_proj", "v_proj", "o_proj"])
        {
            Part::Attention
        } else if has(&["mlp", "ffn", "feed_forward", "gate_proj", "up_proj", "down_proj", "fc1", "fc2"])
            || piece(&["w1", "w2", "w3"])
        {
            Part::Mlp
        } else {
            Part::Other
        }
    }
}

/// The number of the layer a tensor belongs to: the first part of its name that is a number.
pub(super) fn layer(tensor: &str) -> Option<u64> {
    tensor.split(['.', '/']).find_map(|piece| piece.parse().ok().filter(|_| piece.len() < 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_layouts_find_their_part() {
        for (name, part, number) in [
            ("model.embed_tokens.weight", Part::Embedding, None),
            ("model.layers.12.self_attn.q_proj.weight", Part::Attention, Some(12)),
            ("model.layers.12.self_attn.q_norm.weight", Part::Norm, Some(12)),
            ("model.layers.0.mlp.gate_proj.weight", Part::Mlp, Some(0)),
            ("model.layers.3.block_sparse_moe.gate.weight", Part::Router, Some(3)),
            ("model.layers.3.block_sparse_moe.experts.7.w1.weight", Part::Experts, Some(3)),
            ("model.layers.3.mlp.gate.weight", Part::Router, Some(3)),
            ("model.norm.weight", Part::Norm, None),
            ("lm_head.weight", Part::Head, None),
            ("score.weight", Part::Head, None),
            ("token_embd.weight", Part::Embedding, None),
            ("blk.7.ffn_gate_inp.weight", Part::Router, Some(7)),
            ("blk.7.ffn_down_exps.weight", Part::Experts, Some(7)),
            ("blk.7.attn_output.weight", Part::Attention, Some(7)),
            ("output.weight", Part::Head, None),
            ("output_norm.weight", Part::Norm, None),
            ("wte.weight", Part::Embedding, None),
            ("wpe.weight", Part::Position, None),
            ("h.5.attn.c_attn.bias", Part::Attention, Some(5)),
            ("h.5.ln_1.bias", Part::Norm, Some(5)),
            ("h.5.mlp.c_fc.weight", Part::Mlp, Some(5)),
            ("layers.4.feed_forward.w2.weight", Part::Mlp, Some(4)),
            ("steps", Part::Other, None),
        ] {
            assert_eq!((Part::of(name), layer(name)), (part, number), "{name}");
        }
    }
}
