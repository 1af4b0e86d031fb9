//! Reads a model folder (Hugging Face's layout) into a parameter buffer.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    data::{DataError, LARGEST_CONFIG, Tokenizer, read::to_text},
    nn::{Head, ModelConfig, ParamTable, end_ids},
    store::{
        LFS_POINTER, Links, RealFs, Shapes, StoreError, TensorFile, TensorRef, manifest_beside, no_model, read_limited,
        read_model, read_shapes, zeros,
    },
    train::error::TrainError,
};

/// Limit on the length of tokenizer.json.
const TEXT_LIMIT: u64 = 64 << 20;

/// A text file of a model folder; None if it does not exist.
pub fn read_text(dir: &Path, name: &str) -> Result<Option<String>, TrainError> {
    let path = dir.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let limit = match name {
        "config.json" | "generation_config.json" => SETTINGS_LIMIT,
        "tokenizer_config.json" => LARGEST_CONFIG as u64,
        _ => TEXT_LIMIT,
    };
    let bytes = read_limited(&RealFs, &path, limit, Links::Follow)?;
    let text = to_text(bytes).map_err(|e| match e {
        DataError::Pointer => StoreError::input(&path, LFS_POINTER),
        e => StoreError::input(&path, e.to_string()),
    })?;
    Ok(Some(text.text))
}

/// The tokenizer of a model folder or of a run's `data/`, if there is one.
pub fn tokenizer(dir: &Path) -> Result<Option<Tokenizer>, TrainError> {
    let Some(json) = read_text(dir, "tokenizer.json")? else { return Ok(None) };
    let mut config = read_text(dir, "tokenizer_config.json")?;
    // transformers writes the template into a file of its own.
    if let Some(template) = read_text(dir, "chat_template.jinja")? {
        let fields = config.as_deref().map_or_else(|| Ok(Map::new()), serde_json::from_str::<Map<String, Value>>);
        // A file that does not parse is reported below.
        if let Ok(mut fields) = fields {
            fields.insert("chat_template".to_owned(), template.into());
            config = Some(Value::Object(fields).to_string());
        }
    }
    let read = if is_ours(dir) { Tokenizer::from_own_json } else { Tokenizer::from_json };
    let tokenizer = read(&json, config.as_deref());
    Ok(Some(tokenizer.map_err(|e| TrainError::Input(format!("{}: {e}", dir.display())))?))
}

/// Whether danlu wrote this folder: a checkpoint or a run's data.
fn is_ours(dir: &Path) -> bool {
    let data = dir.file_name().is_some_and(|name| name == "data");
    dir.join("state.json").is_file() || (data && dir.parent().is_some_and(|run| run.join("run.toml").is_file()))
}

/// The tokens that end an answer of the model in a folder: all that `config.json` and `generation_config.json` list.
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

/// Writes the tokenizer's BOS, EOS and PAD ids into a model's configuration.
pub fn name_tokens(model: &mut ModelConfig, tokenizer: &Tokenizer) {
    model.bos_token_id = tokenizer.begin_of_text();
    model.eos_token_id = tokenizer.end_of_text();
    model.pad_token_id = tokenizer.pad();
}

/// Limit on the length of config.json and other settings, a hundred times the usual.
const SETTINGS_LIMIT: u64 = 1 << 20;

/// The files that are read from a model folder, except those that an index lists.
const READ: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
];

/// Reads `config.json` and `model.safetensors` (or shards): the configuration, its table and the parameter buffer. All
/// shapes are checked before allocation, and if there is a manifest, the bytes must match it.
pub fn load(dir: &Path) -> Result<(ModelConfig, ParamTable, Vec<f32>), TrainError> {
    load_as(dir, Head::Language)
}

/// The same for a model with the output `head`.
pub fn load_as(dir: &Path, head: Head) -> Result<(ModelConfig, ParamTable, Vec<f32>), TrainError> {
    let manifest = manifest_beside(&RealFs, dir, Links::Follow)?;
    if let Some(manifest) = &manifest {
        READ.into_iter().try_for_each(|name| manifest.check(name))?;
    }
    let text = read_text(dir, "config.json")?;
    let text = text.ok_or_else(|| {
        let what = no_model(&RealFs, dir).map_or(String::new(), |what| format!(": {what}"));
        TrainError::Input(format!(
            "{} has no config.json{what}; expected a model's folder with config.json and model.safetensors",
            dir.display()
        ))
    })?;
    let config = ModelConfig::from_json_as(&text, head)
        .map_err(|e| TrainError::Input(format!("{}: {e}", dir.join("config.json").display())))?;
    let table = match head {
        Head::Language => ParamTable::new(&config),
        Head::Score => ParamTable::scalar(&config),
    };
    let shapes = read_shapes(&RealFs, dir, Links::Follow)?;
    compare(&shapes, &table, &config)?;
    if let Some(manifest) = &manifest {
        let shards = shapes.files.iter().filter(|name| !READ.contains(&name.as_str()));
        for name in shards {
            manifest.check(name)?;
        }
    }
    let mut file = read_model(&RealFs, dir, Links::Follow)?;
    file.require_finite()?;
    // Old versions of transformers stored the rotary frequencies, which follow from the configuration.
    file.tensors.retain(|name, _| !name.ends_with("rotary_emb.inv_freq"));
    if config.tie_word_embeddings
        && let Some(head) = file.tensors.remove("lm_head.weight")
        && file.tensors.get("model.embed_tokens.weight").is_some_and(|e| e.data != head.data)
    {
        return Err(TrainError::Input(format!(
            "{}: lm_head.weight differs from the embedding, but config.json has tie_word_embeddings = true",
            dir.display()
        )));
    }
    let slab = fill(&table, &mut file, "")?;
    file.require_empty()?;
    Ok((config, table, slab))
}

/// Rejects weights that do not match the configuration.
fn compare(shapes: &Shapes, table: &ParamTable, config: &ModelConfig) -> Result<(), TrainError> {
    for t in &table.tensors {
        shapes.require(&t.name, &t.shape)?;
    }
    if config.tie_word_embeddings && shapes.tensors.contains_key("lm_head.weight") {
        shapes.require("lm_head.weight", &[config.vocab_size, config.hidden_size])?;
    }
    Ok(())
}

/// Moves every tensor of a table from a file (its name after `prefix`) into a buffer.
pub fn fill(table: &ParamTable, file: &mut TensorFile, prefix: &str) -> Result<Vec<f32>, TrainError> {
    // Check all of them before allocating: another model's table may be larger than any memory.
    for t in &table.tensors {
        file.require(&format!("{prefix}{}", t.name), &t.shape)?;
    }
    let full = |source| StoreError::Io { doing: "hold the weights of", path: file.path.clone(), source };
    let mut slab: Vec<f32> = zeros(table.slab_len).map_err(full)?;
    for t in &table.tensors {
        let data = file.take(&format!("{prefix}{}", t.name), &t.shape)?;
        slab[t.offset..t.offset + t.len()].copy_from_slice(&data);
    }
    Ok(slab)
}

/// The tensors of a buffer with their names.
pub fn tensors<'a>(table: &'a ParamTable, slab: &'a [f32]) -> Vec<TensorRef<'a>> {
    table.tensors.iter().map(|t| TensorRef { name: &t.name, shape: &t.shape, data: table.slice(slab, t) }).collect()
}
