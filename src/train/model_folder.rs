//! A model's folder (Hugging Face's layout) and the parameter slab.

use std::path::Path;

use super::error::TrainError;
use crate::{
    nn::{ModelConfig, ParamTable},
    store::{Links, RealFs, StoreError, TensorFile, TensorRef, read_limited, read_model},
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
    let text = String::from_utf8(bytes).map_err(|e| StoreError::input(&path, format!("it is not UTF-8: {e}")))?;
    Ok(Some(text))
}

/// Reads `config.json` and `model.safetensors` (or shards): the configuration, its table and a filled
/// parameter slab.
pub fn load(dir: &Path) -> Result<(ModelConfig, ParamTable, Vec<f32>), TrainError> {
    let text = read_text(dir, "config.json")?;
    let text = text.ok_or_else(|| {
        TrainError::Input(format!(
            "{} has no config.json; expected a model's folder with config.json and model.safetensors",
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
