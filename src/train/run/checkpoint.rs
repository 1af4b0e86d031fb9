//! Writes and reads the contents of a training checkpoint.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::model_folder;
use crate::{
    base::{StageId, clean},
    compute::{
        DType,
        ops::{CONTROL, CONTROL_F32},
    },
    data::{CHAT_TEMPLATE, History, Tokenizer, template::ChatTemplate},
    nn::{Head, ModelConfig, ParamTable},
    protocol::ForkPoint,
    store::{Checkpoint, CheckpointId, Keep, NewFile, Saved, Saver, StoreError, TensorData, TensorFile, TensorRef},
    train::error::TrainError,
};

/// The version of state.json that is written.
const FORMAT: u32 = 3;
/// The version of half precision that does not name the precision; format 1 was f32.
const HALF_FORMAT: u32 = 2;
/// Limit on the length of state.json.
const STATE_LIMIT: u64 = 16 << 20;

/// Largest plausible count: up to here f64 represents every integer.
pub(crate) const MOST: u64 = 1 << 53;

/// `state.json`: everything of a stage that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Version of this file.
    pub format: u32,
    /// The stage.
    pub stage: StageId,
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
    /// The checkpoint this stage started from (`pretrain-00001200`, or a folder outside the run); None for random
    /// weights.
    pub parent: Option<String>,
    /// Its digest, if it is a checkpoint of this run.
    #[serde(default)]
    pub parent_digest: Option<String>,
    /// Where the run was forked from; in every checkpoint that the fork saves, and in the one it was forked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkPoint>,
    /// Reward model: mean and standard deviation of the scores of reference answers, as optimised.
    #[serde(default)]
    pub reward_scale: Option<(f64, f64)>,
    /// Reward model: offset of its score. `score.weight` in model.safetensors is already divided by the standard
    /// deviation, so PPO learns from score − shift.
    #[serde(default)]
    pub reward_shift: Option<f64>,
    /// Reward model: the fits to votes after its end.
    #[serde(default)]
    pub refits: Vec<Span>,
    /// PPO: the current β of the KL penalty.
    #[serde(default)]
    pub kl_coef: Option<f64>,
    /// PPO, GRPO, DPO: the reward model's checkpoint and digest.
    #[serde(default)]
    pub reward_model: Option<(String, String)>,
    /// PPO, GRPO, DPO: the state of the guard.
    #[serde(default)]
    pub guard: Option<GuardState>,
    /// Engine, adapter and driver of the last step; on the same ones a resume is bit-exact.
    pub engine: String,
    /// See `engine`.
    pub adapter: String,
    /// See `engine`.
    pub driver: String,
    /// Revision of the engine's arithmetic (`EngineInfo::revision`); format 1 and 2 do not have it.
    #[serde(default = "first_revision")]
    pub engine_revision: u32,
    /// Type of activations and products, `f32` or `f16`; format 1 and 2 do not have it.
    #[serde(default)]
    pub precision: Option<String>,
    /// Version of danlu that wrote it.
    pub danlu: String,
}

fn first_revision() -> u32 {
    1
}

/// A range of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first, counted from 0.
    pub step: u64,
    /// Their number.
    pub steps: u64,
}

impl Span {
    /// The step after the last one.
    pub fn end(&self) -> u64 {
        self.step.saturating_add(self.steps)
    }
}

/// The state of the guard: its baselines and strike count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardState {
    /// Baselines from the stage's first answers: distinct-2, share of repeated bigrams in an answer, characters per
    /// answer, share that end.
    pub start: Option<(f64, f64, f64, f64)>,
    /// Consecutive updates out of bounds.
    pub strikes: usize,
}

impl State {
    /// Whether it was trained in f16, with a loss scale.
    pub(crate) fn is_half(&self) -> bool {
        self.precision.as_deref().map_or(self.format == HALF_FORMAT, |precision| precision == DType::F16.name())
    }

    /// Whether it says in which precision it was trained (format 3 and later).
    pub(crate) fn names_precision(&self) -> bool {
        self.precision.is_some()
    }

    /// The shift and the scale of a reward model's scores.
    pub fn normaliser(&self) -> Option<(f64, f64)> {
        // Older checkpoints have the deviation separate from the weight.
        self.reward_shift.map(|shift| (shift, 1.0)).or(self.reward_scale)
    }

    /// Rejects values that no stage can have written: implausible counts, divisors of 0.
    fn check(&self, id: &CheckpointId) -> Result<(), String> {
        let Self { stage, step, .. } = self;
        if id.stage != *stage || *step != id.step {
            return Err(format!("it belongs to step {step} of {:?}, but the folder is {id}", stage.name()));
        }
        let spans = self.refits.iter().flat_map(|span| [span.step, span.steps]);
        let counts = [*step, self.total_tokens, self.skipped_steps];
        if let Some(count) = counts.into_iter().chain(spans).find(|count| *count > MOST) {
            return Err(format!("it has the count {count}, more than {MOST}"));
        }
        if let Some(precision) = self.precision.as_deref()
            && ![DType::F32, DType::F16].iter().any(|known| known.name() == precision)
        {
            return Err(format!("it has the precision {precision:?}; expected f32 or f16"));
        }
        let scale = self.reward_scale.map(|(mean, _)| mean).into_iter();
        let numbers = scale.chain(self.reward_shift).chain(self.kl_coef);
        if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
            return Err(format!("it has the number {number}"));
        }
        if let Some((_, deviation)) = self.reward_scale.filter(|(_, d)| !(d.is_finite() && *d > 0.0)) {
            return Err(format!("it has a deviation of {deviation}"));
        }
        Ok(())
    }

    /// A state of this version and format.
    pub fn new(stage: StageId, seed: u64, history: History, data: String) -> State {
        State {
            format: FORMAT,
            stage,
            step: 0,
            seed,
            history,
            data,
            total_tokens: 0,
            skipped_steps: 0,
            parent: None,
            parent_digest: None,
            fork: None,
            reward_scale: None,
            reward_shift: None,
            refits: Vec::new(),
            kl_coef: None,
            reward_model: None,
            guard: None,
            engine: String::new(),
            adapter: String::new(),
            driver: String::new(),
            engine_revision: first_revision(),
            precision: None,
            danlu: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The tensors of a model as flat buffers: parameters, both moments, control block.
pub type Slabs = [Vec<f32>; 4];

/// One model of a checkpoint; a stage may train two.
pub struct Part {
    /// The folder inside the checkpoint with a slash at the end; empty for the main model.
    pub folder: &'static str,
    /// Its `config.json`.
    pub config: serde_json::Value,
    /// The layout of its tensors.
    pub table: Arc<ParamTable>,
    /// Its tensors.
    pub slabs: Slabs,
    /// A further file, by name, and its text.
    pub also: Option<(&'static str, String)>,
    /// Divisor of `score.weight` in model.safetensors; optimizer.safetensors keeps the original
    /// (`master.score.weight`), because a division cannot be undone to the bit.
    pub divisor: Option<f64>,
}

/// `score.weight` as optimised, while model.safetensors has it divided.
const MASTER: &str = "master.score.weight";
/// The name of the score's tensor.
const SCORE: &str = "score.weight";

fn pretty(value: &serde_json::Value) -> String {
    clean::json_pretty(value).unwrap_or_default() + "\n"
}

/// The files of a checkpoint: Hugging Face's layout and three of danlu's.
pub fn files<'a>(
    parts: &'a [(Part, Beside)],
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    state: &State,
) -> Result<Vec<NewFile<'a>>, StoreError> {
    let mut files = Vec::new();
    let scaled = parts.iter().any(|(part, _)| part.slabs[3].len() > CONTROL_F32);
    let precision = Some(precision(scaled));
    for (part, Beside { names, folded, control_shape }) in parts {
        let [params, m, v, control] = &part.slabs;
        let table = &*part.table;
        let mut optimizer: Vec<TensorRef<'a>> = Vec::with_capacity(2 * table.tensors.len() + 2);
        for (t, (first, second)) in table.tensors.iter().zip(names) {
            optimizer.push(TensorRef { name: first, shape: &t.shape, data: table.slice(m, t) });
            optimizer.push(TensorRef { name: second, shape: &t.shape, data: table.slice(v, t) });
        }
        optimizer.push(TensorRef { name: "control", shape: control_shape, data: control });
        let name = |file: &str| format!("{}{file}", part.folder);
        files.push(NewFile::bytes(&name("config.json"), pretty(&part.config)));
        let mut tensors = model_folder::tensors(table, params);
        if let Some(folded) = folded {
            for tensor in tensors.iter_mut().filter(|t| t.name == SCORE) {
                optimizer.push(TensorRef { name: MASTER, shape: tensor.shape, data: tensor.data });
                tensor.data = folded;
            }
        }
        files.push(NewFile::tensors(&name("model.safetensors"), tensors, BTreeMap::new())?);
        files.push(NewFile::tensors(&name("optimizer.safetensors"), optimizer, BTreeMap::new())?);
        files.extend(part.also.iter().map(|(file, text)| NewFile::bytes(&name(file), text.clone())));
    }
    files.extend(for_use(config, tokenizer, state.stage));
    files.extend([NewFile::bytes("state.json", pretty(&json!(State { format: FORMAT, precision, ..state.clone() })))]);
    Ok(files)
}

/// The files with which a model is used: settings of generation, tokenizer.
pub(crate) fn for_use(config: &ModelConfig, tokenizer: &Tokenizer, stage: StageId) -> [NewFile<'static>; 3] {
    let mut ends: Vec<u32> = config.eos_token_id.into_iter().collect();
    if stage.chat() {
        // A chat answer ends with the end of its turn.
        ends.extend(tokenizer.turn_end().filter(|end| !ends.contains(end)));
    }
    let generation = json!({
        "do_sample": true, "temperature": 0.8, "top_k": 40, "eos_token_id": ends, "pad_token_id": config.pad_token_id,
    });
    [
        NewFile::bytes("generation_config.json", pretty(&generation)),
        NewFile::bytes("tokenizer.json", tokenizer.checkpoint_json()),
        NewFile::bytes(
            "tokenizer_config.json",
            tokenizer.config_json(config.max_position_embeddings, chat_template(tokenizer)),
        ),
    ]
}

/// The state.json of a checkpoint in a fork that begins with it.
pub(crate) fn forked(state: State, fork: ForkPoint) -> Vec<u8> {
    let precision = Some(precision(state.is_half()));
    pretty(&json!(State { format: FORMAT, precision, fork: Some(fork), ..state })).into_bytes()
}

fn precision(half: bool) -> String {
    if half { DType::F16 } else { DType::F32 }.name().to_owned()
}

/// The chat template: the model's own, or danlu's for a tokenizer with its tokens.
pub(crate) fn chat_template(tokenizer: &Tokenizer) -> Option<&str> {
    tokenizer.own_template().map(ChatTemplate::source).or_else(|| tokenizer.chat().map(|_| CHAT_TEMPLATE))
}

/// Derived data that the files of a part borrow during a save.
pub struct Beside {
    /// The names of both moments of every tensor.
    names: Vec<(String, String)>,
    /// The score's weights divided by the part's divisor.
    folded: Option<Vec<f32>>,
    /// The shape of the control block, which is longer with a loss scale.
    control_shape: [usize; 1],
}

impl Beside {
    /// Computes `exp_avg.<tensor>` and `exp_avg_sq.<tensor>` (PyTorch's names) and the divided score.
    pub fn new(part: &Part) -> Beside {
        let names = part.table.tensors.iter();
        let names = names.map(|t| (format!("exp_avg.{}", t.name), format!("exp_avg_sq.{}", t.name))).collect();
        let score = part.table.tensors.iter().find(|t| t.name == SCORE);
        let folded = part.divisor.zip(score).map(|(divisor, t)| {
            part.table.slice(&part.slabs[0], t).iter().map(|w| (f64::from(*w) / divisor) as f32).collect()
        });
        Beside { names, folded, control_shape: [part.slabs[3].len()] }
    }
}

/// Newest checkpoints of a stage that are always kept.
pub(crate) const KEEP: usize = 3;

/// Which older checkpoints of a stage are kept, in addition to the newest [`KEEP`] and the newest that loads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stay {
    /// Checkpoints that other stages started from.
    pub pinned: Vec<CheckpointId>,
    /// The stage's checkpoints with a held-out figure, the best first.
    pub best: Vec<CheckpointId>,
    /// The newest one before this step, where a number was not finite or the loss spiked.
    pub before: Option<u64>,
}

/// The result of a save.
#[derive(Debug)]
pub(crate) struct Written {
    pub saved: Saved,
    /// Why older checkpoints could not be removed.
    pub left: Vec<String>,
}

/// Weights and first moments are smaller: the square of a larger number overflows f32, and so does the gradient of
/// whatever it is multiplied with. A single one in the row of a rare token may not show in the loss for a long time.
const LARGEST: f32 = 1e18;

/// Whether a number is plausible in a tensor with this name.
fn is_plausible(name: &str, x: f32) -> bool {
    if name.starts_with("exp_avg_sq.") { (0.0..LARGEST * LARGEST).contains(&x) } else { x.abs() < LARGEST }
}

fn implausible(name: &str, data: &[f32]) -> usize {
    data.iter().filter(|x| !is_plausible(name, **x)).count()
}

/// The numbers of a model to be saved that are not finite or implausibly large.
pub(crate) fn non_finite(parts: &[Part]) -> Option<String> {
    parts.iter().find_map(|part| {
        let [params, m, v, control] = &part.slabs;
        let slabs = [("", params), ("exp_avg.", m), ("exp_avg_sq.", v)];
        let found = slabs.iter().find_map(|(prefix, slab)| {
            let bad = |data: &[f32]| implausible(prefix, data);
            // Check the whole buffer first, and single tensors only if there is something to find.
            let all = bad(slab);
            let first = part.table.tensors.iter().find(|t| all > 0 && bad(part.table.slice(slab, t)) > 0)?;
            let name = format!("{}{prefix}{}", part.folder, first.name);
            Some(format!("{all} numbers are not finite or not below {LARGEST:e}, the first in {name}"))
        });
        found.or_else(|| {
            let what = || format!("{}: the optimiser's control block is not finite: {control:?}", part.folder);
            (!is_sound(control)).then(what)
        })
    })
}

/// Whether the words of a control block that the next step reads are finite. The others describe the last step; one
/// that only lowered the loss scale of f16 leaves an infinite norm there.
fn is_sound(control: &[f32]) -> bool {
    let of_last_step = [0, 1, 2, 6];
    control.iter().enumerate().all(|(i, x)| x.is_finite() || of_last_step.contains(&i))
}

/// Fails unless the tensors that training continues from are finite and plausible.
fn require_finite(file: &mut TensorFile) -> Result<(), StoreError> {
    if file.tensors.get("control").is_some_and(|t| is_sound(&t.data)) {
        file.non_finite.retain(|n| n.name != "control");
    }
    file.require_finite()?;
    let bad = |(name, tensor): (&String, &TensorData)| {
        let count = if name == "control" { 0 } else { implausible(name, &tensor.data) };
        (count > 0).then(|| format!("{count} elements of {name:?} are not numbers below {LARGEST:e}"))
    };
    match file.tensors.iter().find_map(bad) {
        Some(what) => Err(StoreError::Input { path: file.path.clone(), what }),
        None => Ok(()),
    }
}

/// Reads the state of a checkpoint.
pub(crate) fn read_state(checkpoint: &Checkpoint) -> Result<State, StoreError> {
    /// The fields that every version has.
    #[derive(Deserialize)]
    struct Version {
        format: u64,
        danlu: String,
    }
    let wrong = |what: String| StoreError::Input { path: checkpoint.path.clone(), what };
    let bytes = checkpoint.read("state.json", STATE_LIMIT)?;
    // Check the format first: this version cannot judge the fields of a later one.
    if let Ok(Version { format, danlu }) = serde_json::from_slice(&bytes)
        && format > u64::from(FORMAT)
    {
        let what = format!("state.json has format {format}, and this danlu reads up to {FORMAT}; use danlu {danlu}");
        return Err(StoreError::Newer { path: checkpoint.path.clone(), what });
    }
    let state: State = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("state.json: {e}")))?;
    if state.format == 0 {
        return Err(wrong(format!("state.json has format 0, and this danlu reads 1 to {FORMAT}")));
    }
    state.check(&checkpoint.id).map_err(|what| wrong(format!("state.json: {what}")))?;
    Ok(state)
}

/// Checks that a verified checkpoint of any stage can be loaded: readable state, finite tensors.
pub(crate) fn sound(checkpoint: &Checkpoint) -> Result<(), StoreError> {
    read_state(checkpoint)?;
    let tensors = checkpoint.files.keys().filter(|name| name.ends_with(".safetensors"));
    tensors.into_iter().try_for_each(|name| require_finite(&mut checkpoint.tensors(name)?))
}

/// Checks that the weights of a verified checkpoint can be used: known format of the state, finite weights.
pub fn opens(checkpoint: &Checkpoint) -> Result<(), StoreError> {
    read_state(checkpoint)?;
    require_finite(&mut checkpoint.tensors("model.safetensors")?)
}

/// Saves a checkpoint unless a number is not finite, then removes those it makes obsolete. A failed removal does not
/// fail the save.
pub(crate) fn save(
    saver: &Saver,
    parts: Vec<Part>,
    model: &ModelConfig,
    tokenizer: &Tokenizer,
    state: &State,
    stay: &Stay,
) -> Result<Written, TrainError> {
    if let Some(what) = non_finite(&parts) {
        return Err(TrainError::NotFinite(what));
    }
    let parts: Vec<_> = parts.into_iter().map(|part| (Beside::new(&part), part)).collect();
    let parts: Vec<_> = parts.into_iter().map(|(beside, part)| (part, beside)).collect();
    let files = files(&parts, model, tokenizer, state)?;
    let saved = saver.save(state.stage, state.step, files)?;
    // Free the copies before reading back.
    drop(parts);
    let own = &saved.checkpoint.id;
    let keep = Keep {
        newest: KEEP,
        pinned: &stay.pinned,
        best: &stay.best,
        before: stay.before,
        // The new checkpoint has just been checked.
        loads: &|c| if c.id == *own { Ok(()) } else { sound(c) },
        known: &|c| read_state(c).map(drop),
    };
    let left = match saver.retain(state.stage, &keep) {
        Ok(retained) => {
            retained.left.iter().map(|s| format!("checkpoint {} is not removed: {}", s.id, s.error)).collect()
        }
        Err(error) => vec![format!("older checkpoints were not examined: {error}")],
    };
    Ok(Written { saved, left })
}

/// Loads a verified checkpoint of a language model. After an error about the bytes the caller tries an older one.
pub fn load(checkpoint: &Checkpoint, config: &ModelConfig, table: &ParamTable) -> Result<(State, Slabs), StoreError> {
    load_as(checkpoint, config, table, Head::Language)
}

/// Loads a verified checkpoint of a model with the output `head`.
pub fn load_as(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    table: &ParamTable,
    head: Head,
) -> Result<(State, Slabs), StoreError> {
    let state = read_state(checkpoint)?;
    Ok((state, load_part(checkpoint, "", config, table, head)?))
}

/// Replaces the divided score's weights by the optimised ones.
pub fn unfold(checkpoint: &Checkpoint, table: &ParamTable, params: &mut [f32]) -> Result<(), StoreError> {
    let mut optimizer = checkpoint.tensors("optimizer.safetensors")?;
    if let Some(t) = table.tensors.iter().find(|t| t.name == SCORE)
        && optimizer.tensors.contains_key(MASTER)
    {
        params[t.offset..t.offset + t.len()].copy_from_slice(&optimizer.take(MASTER, &t.shape)?);
    }
    Ok(())
}

/// Loads one model of a verified checkpoint.
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
            "config.json differs from the model that run.toml describes; set size and [model] back, or start a new run"
                .to_owned(),
        ));
    }
    let mut model = checkpoint.tensors(&format!("{folder}model.safetensors"))?;
    require_finite(&mut model)?;
    let bad = |e: TrainError| wrong(e.to_string());
    let params = model_folder::fill(table, &mut model, "").map_err(bad)?;
    let mut optimizer = checkpoint.tensors(&format!("{folder}optimizer.safetensors"))?;
    require_finite(&mut optimizer)?;
    let m = model_folder::fill(table, &mut optimizer, "exp_avg.").map_err(bad)?;
    let v = model_folder::fill(table, &mut optimizer, "exp_avg_sq.").map_err(bad)?;
    // The lengths without and with a loss scale.
    let long = optimizer.tensors.get("control").is_some_and(|t| t.shape == [CONTROL]);
    let control = optimizer.take("control", &[if long { CONTROL } else { CONTROL_F32 }])?;
    Ok([params, m, v, control])
}
