//! What a training checkpoint holds, and the way there and back.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{error::TrainError, model_folder, policy::GuardState, stage::Stage};
use crate::{
    data::{CHAT_TEMPLATE, History, Tokenizer},
    nn::{Head, ModelConfig, ParamTable},
    store::{Checkpoint, NewFile, StoreError, TensorRef},
};

/// Version of state.json.
const FORMAT: u32 = 1;
/// Largest state.json that is read.
const STATE_LIMIT: u64 = 16 << 20;

/// `state.json`: everything of a stage that is no tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Version of this file.
    pub format: u32,
    /// The stage.
    pub stage: String,
    /// Steps done.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// The mix and its changes, from which every batch follows.
    pub history: History,
    /// Hash over the token streams.
    pub data: String,
    /// Tokens trained on.
    pub total_tokens: u64,
    /// Steps skipped because a number was not finite.
    pub skipped_steps: u64,
    /// The checkpoint this stage started from (`pretrain-00001200`, or a folder outside the run); none
    /// for random weights.
    pub parent: Option<String>,
    /// Its hash, where it is one of the run.
    #[serde(default)]
    pub parent_digest: Option<String>,
    /// Of a reward model: mean and deviation of the scores of reference answers. A score less the mean, over
    /// the deviation, is what PPO learns from.
    #[serde(default)]
    pub reward_scale: Option<(f64, f64)>,
    /// Of PPO: β of the KL in the reward, as it is now.
    #[serde(default)]
    pub kl_coef: Option<f64>,
    /// Of PPO, GRPO and DPO: the reward model's checkpoint and its hash.
    #[serde(default)]
    pub reward_model: Option<(String, String)>,
    /// Of the same: what the guard goes by.
    #[serde(default)]
    pub guard: Option<GuardState>,
    /// The engine, the adapter and the driver of the last step: on the same ones a resume is bit-exact.
    pub engine: String,
    /// See `engine`.
    pub adapter: String,
    /// See `engine`.
    pub driver: String,
    /// Version of danlu that wrote it.
    pub danlu: String,
}

impl State {
    /// A state of this format and version.
    pub fn new(stage: &str, seed: u64, history: History, data: String) -> State {
        State {
            format: FORMAT,
            stage: stage.to_owned(),
            step: 0,
            seed,
            history,
            data,
            total_tokens: 0,
            skipped_steps: 0,
            parent: None,
            parent_digest: None,
            reward_scale: None,
            kl_coef: None,
            reward_model: None,
            guard: None,
            engine: String::new(),
            adapter: String::new(),
            driver: String::new(),
            danlu: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The tensors of a checkpoint as slabs: parameters, both moments, control block.
pub type Slabs = [Vec<f32>; 4];

/// One model of a checkpoint: a stage may train two.
pub struct Part {
    /// The folder inside the checkpoint, with its slash; empty for the model itself.
    pub folder: &'static str,
    /// Its `config.json`.
    pub config: serde_json::Value,
    /// Where its tensors lie.
    pub table: Arc<ParamTable>,
    /// Its tensors.
    pub slabs: Slabs,
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The files of a checkpoint, in Hugging Face's layout and our three.
pub fn files<'a>(
    parts: &'a [(Part, MomentNames)],
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    state: &State,
) -> Result<Vec<NewFile<'a>>, StoreError> {
    let mut files = Vec::new();
    for (part, names) in parts {
        let [params, m, v, control] = &part.slabs;
        let table = &*part.table;
        let mut optimizer: Vec<TensorRef<'a>> = Vec::with_capacity(2 * table.tensors.len() + 1);
        for (t, (first, second)) in table.tensors.iter().zip(&names.0) {
            optimizer.push(TensorRef { name: first, shape: &t.shape, data: table.slice(m, t) });
            optimizer.push(TensorRef { name: second, shape: &t.shape, data: table.slice(v, t) });
        }
        optimizer.push(TensorRef { name: "control", shape: &CONTROL_SHAPE, data: control });
        let name = |file: &str| format!("{}{file}", part.folder);
        files.push(NewFile::bytes(&name("config.json"), pretty(&part.config)));
        let tensors = model_folder::tensors(table, params);
        files.push(NewFile::tensors(&name("model.safetensors"), tensors, BTreeMap::new())?);
        files.push(NewFile::tensors(&name("optimizer.safetensors"), optimizer, BTreeMap::new())?);
    }
    let mut ends: Vec<u32> = config.eos_token_id.into_iter().collect();
    if Stage::named(&state.stage).is_ok_and(|s| s.chat) {
        // An answer ends with its turn.
        ends.extend(tokenizer.chat().map(|c| c.end));
    }
    let generation = json!({
        "do_sample": true, "temperature": 0.8, "top_k": 40, "eos_token_id": ends, "pad_token_id": config.pad_token_id,
    });
    files.extend([
        NewFile::bytes("generation_config.json", pretty(&generation)),
        NewFile::bytes("tokenizer.json", tokenizer.json()),
        NewFile::bytes(
            "tokenizer_config.json",
            tokenizer.config_json(config.max_position_embeddings, chat_template(tokenizer)),
        ),
        NewFile::bytes("state.json", pretty(&json!(state))),
    ]);
    Ok(files)
}

/// The template, for a tokenizer that has its tokens.
pub(super) fn chat_template(tokenizer: &Tokenizer) -> Option<&'static str> {
    tokenizer.chat().map(|_| CHAT_TEMPLATE)
}

const CONTROL_SHAPE: [usize; 1] = [crate::compute::ops::CONTROL];

/// The names of both moments of every tensor, kept for the length of a save.
pub struct MomentNames(Vec<(String, String)>);

impl MomentNames {
    /// `exp_avg.<tensor>` and `exp_avg_sq.<tensor>`, as PyTorch calls them.
    pub fn new(table: &ParamTable) -> MomentNames {
        MomentNames(
            table.tensors.iter().map(|t| (format!("exp_avg.{}", t.name), format!("exp_avg_sq.{}", t.name))).collect(),
        )
    }
}

/// Reads a verified checkpoint of a language model back. Errors about the bytes let the caller pass to an
/// older one.
pub fn load(checkpoint: &Checkpoint, config: &ModelConfig, table: &ParamTable) -> Result<(State, Slabs), StoreError> {
    load_as(checkpoint, config, table, Head::Language)
}

/// Reads a verified checkpoint back whose model ends in `head`.
pub fn load_as(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    table: &ParamTable,
    head: Head,
) -> Result<(State, Slabs), StoreError> {
    let wrong = |what: String| StoreError::Input { path: checkpoint.path.clone(), what };
    let bytes = checkpoint.read("state.json", STATE_LIMIT)?;
    let state: State = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("state.json: {e}")))?;
    if state.format != FORMAT {
        return Err(wrong(format!(
            "state.json has format {}, this danlu reads {FORMAT}; use the danlu {} that wrote it",
            state.format, state.danlu
        )));
    }
    Ok((state, load_part(checkpoint, "", config, table, head)?))
}

/// Reads one model of a verified checkpoint back.
pub fn load_part(
    checkpoint: &Checkpoint,
    folder: &str,
    config: &ModelConfig,
    table: &ParamTable,
    head: Head,
) -> Result<Slabs, StoreError> {
    let wrong = |what: String| StoreError::Input { path: checkpoint.path.join(folder), what };
    let text = checkpoint.read(&format!("{folder}config.json"), STATE_LIMIT)?;
    let saved = ModelConfig::from_json_as(&String::from_utf8_lossy(&text), head).map_err(|e| wrong(e.to_string()))?;
    let same = ModelConfig { dropout: config.dropout, initializer_range: config.initializer_range, ..saved } == *config;
    if !same {
        return Err(wrong(
            "config.json is another model than run.toml describes; set size and [model] back, or start a new run"
                .to_owned(),
        ));
    }
    let mut model = checkpoint.tensors(&format!("{folder}model.safetensors"))?;
    model.require_finite()?;
    let bad = |e: TrainError| wrong(e.to_string());
    let params = model_folder::fill(table, &mut model, "").map_err(bad)?;
    let mut optimizer = checkpoint.tensors(&format!("{folder}optimizer.safetensors"))?;
    let m = model_folder::fill(table, &mut optimizer, "exp_avg.").map_err(bad)?;
    let v = model_folder::fill(table, &mut optimizer, "exp_avg_sq.").map_err(bad)?;
    let control = optimizer.take("control", &CONTROL_SHAPE)?;
    Ok([params, m, v, control])
}
