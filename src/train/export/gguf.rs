//! A model's folder as a GGUF file for llama.cpp, and a Modelfile for Ollama.

use std::{borrow::Cow, path::Path};

use serde_json::Value;

use super::template::fault;

use crate::{
    data::{
        CHAT_TEMPLATE, Merging, TokenKind, Tokenizer, Vocabulary,
        template::{ChatTemplate, Message},
    },
    nn::{ModelConfig, ParamTable, ParamTensor},
    store::{GgufDtype, GgufOut, List, MetaValue},
    train::{error::TrainError, run::model_folder},
};

/// The end of a turn in danlu's template.
const TURN_END: &str = "<|im_end|>";

/// A model, ready to be written as GGUF.
pub struct GgufModel {
    config: ModelConfig,
    table: ParamTable,
    slab: Vec<f32>,
    dtype: GgufDtype,
    /// The key/value pairs of the header.
    pub pairs: Vec<(String, MetaValue)>,
    /// What a user should know about the file, a sentence each.
    pub notes: Vec<String>,
    /// The chat template that the model speaks in.
    speaks: Speaks,
}

/// The chat template of a model, for the Modelfile.
#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    /// None: texts are continued.
    Nothing,
    /// danlu's.
    Danlus,
    /// Its own, which Ollama recognises in the file.
    Own,
}

impl GgufModel {
    /// Reads a model's folder; `name` is what llama.cpp shows.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read, without a tokenizer, or with one that GGUF files cannot describe; rows that are no
    /// whole blocks of `dtype`.
    pub fn read(dir: &Path, name: &str, dtype: GgufDtype) -> Result<GgufModel, TrainError> {
        let wrong = |what: String| TrainError::Input(format!("{}: {what}", dir.display()));
        let (config, table, slab) = model_folder::load(dir)?;
        let matrices = table.tensors.iter().filter(|tensor| tensor.shape.len() > 1);
        for tensor in matrices {
            let (row, block) = (tensor.shape[1], dtype.block());
            if !row.is_multiple_of(block) {
                return Err(wrong(format!(
                    "{} has rows of {row} numbers, and {} stores {block} together; choose --dtype f16",
                    tensor.name,
                    dtype.name()
                )));
            }
        }
        for tensor in table.tensors.iter().filter(|tensor| tensor.shape.len() > 1) {
            let slice = table.slice(&slab, tensor);
            if let Some(at) = slice.iter().position(|x| x.abs() > dtype.most()) {
                return Err(wrong(format!(
                    "{} has {:e} as element {at}, and {} stores at most {:e}; choose --dtype bf16 or f32",
                    tensor.name,
                    slice[at],
                    dtype.name(),
                    dtype.most()
                )));
            }
        }
        let Some(tokenizer) = model_folder::tokenizer(dir)? else {
            return Err(wrong(
                "there is no tokenizer.json, which a GGUF file contains; copy it into the folder".into(),
            ));
        };
        let vocabulary = tokenizer
            .vocabulary(config.vocab_size)
            .map_err(|e| wrong(format!("{e}; llama.cpp would read other tokens")))?;
        let mut notes = Vec::new();
        notes.extend(remarks(&vocabulary));
        let mut template = template(dir)?;
        if let Some(what) = template.as_deref().and_then(fault) {
            notes.push(format!(
                "the chat template is broken ({what}), and llama.cpp would not load it: the file has none; repair chat_template in {} and export again",
                dir.join("tokenizer_config.json").display()
            ));
            template = None;
        }
        let says = |template: &str, token: &str| {
            let named = tokenizer.own_template().map(ChatTemplate::tokens);
            let mut names =
                named.into_iter().flatten().filter(|(_, text)| *text == token).map(|(name, _)| name.as_str());
            template.contains(token) || names.any(|name| template.contains(name))
        };
        if let Some(template) = &template
            && let Some(token) = vocabulary.swallowing.iter().find(|token| says(template, token))
        {
            return Err(wrong(format!(
                "its chat template has the token {token:?}, which swallows the white space beside it (lstrip, rstrip), and GGUF files have no key for that; use the Hugging Face folder"
            )));
        }
        if template.is_some() {
            notes.extend(begins_otherwise(&tokenizer));
        }
        // A fine-tuned model's folder lists the end of a turn among the ends of an answer.
        let end = tokenizer.turn_end();
        let ends = model_folder::ends(dir, &config)?;
        let speaks = match &template {
            Some(template) if is_ours(template) && end.is_some_and(|end| ends.contains(&end)) => Speaks::Danlus,
            Some(_) if tokenizer.own_template().is_some() => Speaks::Own,
            _ => Speaks::Nothing,
        };
        let mut pairs = model_pairs(&config, name, dtype);
        pairs.extend(tokenizer_pairs(&config, &tokenizer, &vocabulary));
        if let Some(template) = template {
            pairs.push(("tokenizer.chat_template".to_owned(), MetaValue::Text(template)));
        }
        Ok(GgufModel { config, table, slab, dtype, pairs, notes, speaks })
    }

    /// The tensors under llama.cpp's names, in its order of rows. Norms stay f32.
    pub fn tensors(&self) -> Vec<GgufOut<'_>> {
        let out = |tensor: &ParamTensor| {
            let data = self.table.slice(&self.slab, tensor);
            let vector = tensor.shape.len() == 1;
            GgufOut {
                name: renamed(&tensor.name),
                shape: tensor.shape.clone(),
                dtype: if vector { GgufDtype::F32 } else { self.dtype },
                data: self.paired(tensor, data),
            }
        };
        self.table.tensors.iter().map(out).collect()
    }

    /// The rows of query and key heads in llama.cpp's order: it rotates neighbours where transformers rotates the
    /// halves of a head.
    fn paired<'a>(&self, tensor: &ParamTensor, data: &'a [f32]) -> Cow<'a, [f32]> {
        if !tensor.name.ends_with("q_proj.weight") && !tensor.name.ends_with("k_proj.weight") {
            return Cow::Borrowed(data);
        }
        let (size, width) = (self.config.head_dim, tensor.shape[1]);
        let mut paired = Vec::with_capacity(data.len());
        for head in data.chunks(size * width) {
            let (first, second) = head.split_at(head.len() / 2);
            for (a, b) in first.chunks(width).zip(second.chunks(width)) {
                paired.extend_from_slice(a);
                paired.extend_from_slice(b);
            }
        }
        Cow::Owned(paired)
    }

    /// Ollama's Modelfile for the file `name`.
    pub fn modelfile(&self, name: &str) -> String {
        modelfile(name, self.config.max_position_embeddings, self.speaks)
    }
}

/// Where the model's own chat template does not begin with the token that the tokenizer puts before a text: llama.cpp
/// has one setting for texts and conversations.
fn begins_otherwise(tokenizer: &Tokenizer) -> Option<String> {
    let begin = tokenizer.token(*tokenizer.begin().first()?)?;
    let asked = tokenizer.own_template()?.render(&[Message::new("user", "x")], true).ok()?;
    (!asked.starts_with(begin)).then(|| {
        format!(
            "the chat template does not begin with {begin:?}, which llama.cpp puts before every prompt: a conversation has one token more there"
        )
    })
}

/// What llama.cpp does otherwise with some texts, a sentence each.
fn remarks(vocabulary: &Vocabulary) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(token) = vocabulary.lost.iter().find(|token| !token.contains('\0')) {
        notes.push(format!(
            "the token {token:?} contains U+2581, which llama.cpp cannot tell from a space: texts with it are read as spaces"
        ));
    }
    if let Some(token) = vocabulary.lost.iter().find(|token| token.contains('\0')) {
        notes.push(format!(
            "the token {token:?} contains a zero byte, which ends a token in llama.cpp: texts with it become other tokens"
        ));
    }
    if vocabulary.composes {
        notes.push(
            "the tokenizer composes texts (NFC), and llama.cpp does not: a letter that is written with separate accents becomes other tokens"
                .to_owned(),
        );
    }
    if let Some(token) = &vocabulary.spelled {
        notes.push(format!("a text that spells {token:?} becomes that special token in llama.cpp"));
    }
    notes
}

/// Ollama's Modelfile: the file, the chat template in Ollama's language where the model has danlu's, the context.
fn modelfile(file: &str, context: usize, speaks: Speaks) -> String {
    // Ollama reads a value up to the quote that ends a line, without escapes.
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let quote = if file.chars().all(plain) { "" } else { "\"" };
    let mut text = format!("FROM {quote}./{file}{quote}\n");
    if speaks == Speaks::Danlus {
        text.push_str(
            "TEMPLATE \"\"\"{{ range .Messages }}<|{{ .Role }}|>{{ .Content }}<|im_end|>{{ end }}<|assistant|>\"\"\"\n",
        );
        text.extend([format!("PARAMETER stop \"{TURN_END}\"\n")]);
    } else if speaks == Speaks::Nothing {
        text.push_str("TEMPLATE \"\"\"{{ .Prompt }}\"\"\"\n");
    }
    text.extend([format!("PARAMETER num_ctx {context}\n")]);
    text
}

/// The chat template of a folder without the marks of transformers' `{% generation %}`, which other programs' Jinja does
/// not know.
fn template(dir: &Path) -> Result<Option<String>, TrainError> {
    if let Some(template) = model_folder::read_text(dir, "chat_template.jinja")? {
        return Ok(Some(without_generation(&template)));
    }
    let Some(text) = model_folder::read_text(dir, "tokenizer_config.json")? else { return Ok(None) };
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(config["chat_template"].as_str().map(without_generation))
}

/// Whether a template without marks is danlu's, for which the Modelfile has a translation.
fn is_ours(template: &str) -> bool {
    template.ends_with(&without_generation(CHAT_TEMPLATE))
}

fn without_generation(template: &str) -> String {
    let is_mark = |inner: &str| {
        let word = inner.trim_matches('-').trim();
        word == "generation" || word == "endgeneration"
    };
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let Some(len) = rest[start..].find("%}") else { break };
        let (inner, after) = (&rest[start + 2..start + len], &rest[start + len + 2..]);
        if is_mark(inner) {
            // The marks trim the white space around them.
            text.push_str(rest[..start].trim_end());
            rest = after.trim_start();
        } else {
            text.push_str(&rest[..start + len + 2]);
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

fn model_pairs(c: &ModelConfig, name: &str, dtype: GgufDtype) -> Vec<(String, MetaValue)> {
    let text = |s: &str| MetaValue::Text(s.to_owned());
    let whole = |n: usize| MetaValue::Unsigned(n as u64);
    let pairs = [
        ("general.architecture", text("llama")),
        ("general.name", text(name)),
        ("general.file_type", MetaValue::Unsigned(dtype.file_type().into())),
        ("general.quantization_version", MetaValue::Unsigned(2)),
        ("llama.vocab_size", whole(c.vocab_size)),
        ("llama.context_length", whole(c.max_position_embeddings)),
        ("llama.embedding_length", whole(c.hidden_size)),
        ("llama.block_count", whole(c.num_hidden_layers)),
        ("llama.feed_forward_length", whole(c.intermediate_size)),
        ("llama.attention.head_count", whole(c.num_attention_heads)),
        ("llama.attention.head_count_kv", whole(c.num_key_value_heads)),
        ("llama.attention.key_length", whole(c.head_dim)),
        ("llama.attention.value_length", whole(c.head_dim)),
        ("llama.attention.layer_norm_rms_epsilon", MetaValue::Float(c.rms_norm_eps.into())),
        ("llama.rope.freq_base", MetaValue::Float(c.rope_theta.into())),
        ("llama.rope.dimension_count", whole(c.head_dim)),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn tokenizer_pairs(c: &ModelConfig, tokenizer: &Tokenizer, v: &Vocabulary) -> Vec<(String, MetaValue)> {
    let text = |s: &str| MetaValue::Text(s.to_owned());
    let number = |kind: TokenKind| match kind {
        TokenKind::Normal => 1,
        TokenKind::Control => 3,
        TokenKind::UserDefined => 4,
        TokenKind::Unused => 5,
        TokenKind::Byte => 6,
    };
    let tokens = MetaValue::List(List::of_texts(v.tokens.iter().map(|(token, _)| token.as_str())));
    let types = MetaValue::List(List::of_integers(v.tokens.iter().map(|(_, kind)| number(*kind))));
    let mut pairs = match &v.merging {
        Merging::Scores { scores, space_prefix } => vec![
            ("tokenizer.ggml.model", text("llama")),
            ("tokenizer.ggml.pre", text("default")),
            ("tokenizer.ggml.tokens", tokens),
            ("tokenizer.ggml.token_type", types),
            ("tokenizer.ggml.scores", MetaValue::List(List::of_floats(scores.iter().copied()))),
            ("tokenizer.ggml.add_space_prefix", MetaValue::Bool(*space_prefix)),
        ],
        Merging::Pairs { pairs, split } => {
            let joined: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} {b}")).collect();
            vec![
                ("tokenizer.ggml.model", text("gpt2")),
                ("tokenizer.ggml.pre", text(split)),
                ("tokenizer.ggml.tokens", tokens),
                ("tokenizer.ggml.token_type", types),
                ("tokenizer.ggml.merges", MetaValue::List(List::of_texts(joined.iter().map(String::as_str)))),
                ("tokenizer.ggml.add_space_prefix", MetaValue::Bool(false)),
            ]
        }
    };
    let mut id = |key: &'static str, id: Option<u32>| {
        if let Some(id) = id {
            pairs.push((key, MetaValue::Unsigned(id.into())));
        }
    };
    let end = c.eos_token_id.or(tokenizer.end_of_text());
    id("tokenizer.ggml.eos_token_id", end);
    // Without one llama.cpp takes id 1 (or 11), which is another token here.
    id("tokenizer.ggml.bos_token_id", tokenizer.begin_of_text().or(end));
    id("tokenizer.ggml.padding_token_id", c.pad_token_id.or(tokenizer.pad()));
    id(
        "tokenizer.ggml.eot_token_id",
        tokenizer.turn_end().or_else(|| tokenizer.id(TURN_END).filter(|id| tokenizer.is_special(*id))),
    );
    pairs.push(("tokenizer.ggml.add_bos_token", MetaValue::Bool(!tokenizer.begin().is_empty())));
    pairs.push(("tokenizer.ggml.add_eos_token", MetaValue::Bool(false)));
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// llama.cpp's name for a tensor of a Llama.
fn renamed(name: &str) -> String {
    const NAMES: [(&str, &str); 9] = [
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    ];
    let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    let inner = layer.and_then(|(layer, rest)| {
        let part = rest.strip_suffix(".weight")?;
        let (_, short) = NAMES.iter().find(|(long, _)| *long == part)?;
        Some(format!("blk.{layer}.{short}.weight"))
    });
    inner.unwrap_or_else(|| match name {
        "model.embed_tokens.weight" => "token_embd.weight".to_owned(),
        "model.norm.weight" => "output_norm.weight".to_owned(),
        "lm_head.weight" => "output.weight".to_owned(),
        other => other.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_loses_only_its_marks() {
        let plain = without_generation(CHAT_TEMPLATE);
        assert!(!plain.contains("generation -%}") && plain.contains("add_generation_prompt"), "{plain}");
        assert_eq!(plain.matches("{%").count(), CHAT_TEMPLATE.matches("{%").count() - 2);
        for text in ["", "{%", "a {% if x %} b", "%} {%- generation"] {
            assert_eq!(without_generation(text), text);
        }
        assert_eq!(without_generation("a {%- generation -%} b {%- endgeneration -%} c"), "abc");
    }
}
