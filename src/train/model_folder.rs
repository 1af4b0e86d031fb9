//! A model's folder (Hugging Face's layout) and the parameter slab.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::TrainError;
use crate::{
    data::{DataError, Tokenizer, read::to_text},
    nn::{ModelConfig, ParamTable, end_ids},
    store::{LFS_POINTER, Links, RealFs, StoreError, TensorFile, TensorRef, no_model, read_limited, read_model},
};

/// Largest config.json or tokenizer.json that is read.
const TEXT_LIMIT: u64 = 64 << 20;

/// A text file of a model's folder; None where it is not there.
pub fn read_text(dir: &Path, name: &str) -> Result<Option<String>, TrainError> {
    let path = dir.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_limited(&RealFs, &path, TEXT_LIMIT, Links::Follow)?;
    let text = to_text(bytes).map_err(|e| match e {
        DataError::Pointer => StoreError::input(&path, LFS_POINTER),
        e => StoreError::input(&path, e.to_string()),
    })?;
    Ok(Some(text.text))
}

/// The tokenizer of a model's folder or of a run's `data/`, where there is one.
pub fn tokenizer(dir: &Path) -> Result<Option<Tokenizer>, TrainError> {
    let Some(json) = read_text(dir, "tokenizer.json")? else { return Ok(None) };
    let config = read_text(dir, "tokenizer_config.json")?;
    let read = if is_ours(dir) { Tokenizer::from_own_json } else { Tokenizer::from_json };
    let tokenizer = read(&json, config.as_deref());
    Ok(Some(tokenizer.map_err(|e| TrainError::Input(format!("{}: {e}", dir.display())))?))
}

/// Whether danlu wrote a folder: a checkpoint, or the data of a run.
fn is_ours(dir: &Path) -> bool {
    let data = dir.file_name().is_some_and(|name| name == "data");
    dir.join("state.json").is_file() || (data && dir.parent().is_some_and(|run| run.join("run.toml").is_file()))
}

/// The tokens that end what the model in a folder says: all that `config.json` and `generation_config.json` name.
pub fn ends(dir: &Path, config: &ModelConfig) -> Result<Vec<u32>, TrainError> {
    let mut ends = Vec::new();
    for name in ["config.json", "generation_config.json"] {
        let Some(text) = read_text(dir, name)? else { continue };
        let wrong = |what: String| TrainError::Input(format!("{}: {what}", dir.join(name).display()));
        let map: Map<String, Value> =
            serde_json::from_str(&text).map_err(|e| wrong(format!("is no JSON object: {e}")))?;
        ends.extend(end_ids(&map, config.vocab_size).map_err(|e| wrong(e.to_string()))?);
    }
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

/// Writes the tokenizer's begin, end and padding into a model's configuration.
pub fn name_tokens(model: &mut ModelConfig, tokenizer: &Tokenizer) {
    model.bos_token_id = tokenizer.begin_of_text();
    model.eos_token_id = tokenizer.end_of_text();
    model.pad_token_id = tokenizer.pad();
}

/// Reads `config.json` and `model.safetensors` (or shards): the configuration, its table and a filled
/// parameter slab.
pub fn load(dir: &Path) -> Result<(ModelConfig, ParamTable, Vec<f32>), TrainError> {
    let text = read_text(dir, "config.json")?;
    let text = text.ok_or_else(|| {
        let what = no_model(&RealFs, dir).map_or(String::new(), |what| format!(": {what}"));
        TrainError::Input(format!(
            "{} has no config.json{what}; expected a model's folder with config.json and model.safetensors",
            dir.display()
        ))
    })?;
    let config = ModelConfig::from_json(&text)
        .map_err(|e| TrainError::Input(format!("{}: {e}", dir.join("config.json").display())))?;
    let mut file = read_model(&RealFs, dir, Links::Follow)?;
    file.require_finite()?;
    // Old transformers stored the rotary frequencies, which follow from the configuration.
    file.tensors.retain(|name, _| !name.ends_with("rotary_emb.inv_freq"));
    let table = ParamTable::new(&config);
    if config.tie_word_embeddings
        && let Some(head) = file.tensors.remove("lm_head.weight")
        && file.tensors.get("model.embed_tokens.weight").is_some_and(|e| e.data != head.data)
    {
        return Err(TrainError::Input(format!(
            "{}: lm_head.weight differs from the embedding, but config.json says tie_word_embeddings",
            dir.display()
        )));
    }
    let slab = fill(&table, &mut file, "")?;
    file.require_empty()?;
    Ok((config, table, slab))
}

/// Takes every tensor of a table, its name after `prefix`, out of a file into a slab.
pub fn fill(table: &ParamTable, file: &mut TensorFile, prefix: &str) -> Result<Vec<f32>, TrainError> {
    let mut slab = vec![0.0; table.slab_len];
    for t in &table.tensors {
        let data = file.take(&format!("{prefix}{}", t.name), &t.shape)?;
        slab[t.offset..t.offset + t.len()].copy_from_slice(&data);
    }
    Ok(slab)
}

/// The tensors of a slab under their names.
pub fn tensors<'a>(table: &'a ParamTable, slab: &'a [f32]) -> Vec<TensorRef<'a>> {
    table.tensors.iter().map(|t| TensorRef { name: &t.name, shape: &t.shape, data: table.slice(slab, t) }).collect()
}
