//! The parameter table: the layout of tensors in a slab.
//!
//! Parameters, gradients and both moments are one flat buffer each with the same layout: matrices first (weight decay
//! applies to them), then vectors. Query, key and value weights of a layer are adjacent, so that they are one matrix
//! for a kernel and three tensors in a file; so are gate and up.

use std::{fmt, sync::Arc};

use super::config::{ConfigError, ModelConfig};
use crate::compute::{ALIGNMENT, ComputeError, DType, Device, Recording, Tensor, ops, rng};

/// One tensor under its Hugging Face name.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamTensor {
    /// `model.layers.0.self_attn.q_proj.weight` …
    pub name: String,
    /// \[out, in\] for a matrix, \[C\] for a vector.
    pub shape: Vec<usize>,
    /// First element in the slab.
    pub offset: usize,
    /// Standard deviation of the initial values; None for a norm, which starts at 1.
    pub std: Option<f32>,
}

impl ParamTensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A matrix or vector as bound by kernels.
#[derive(Clone, Copy, Debug)]
struct Block {
    offset: usize,
    rows: usize,
    cols: usize,
}

/// The blocks of one layer.
#[derive(Clone, Copy, Debug)]
struct LayerBlocks {
    qkv: Block,
    o: Block,
    gate_up: Block,
    down: Block,
    input_norm: Block,
    post_norm: Block,
}

/// The layout of all parameters of a configuration.
#[derive(Clone, Debug)]
pub struct ParamTable {
    /// The tensors, in slab order.
    pub tensors: Vec<ParamTensor>,
    /// Elements of a slab, padding included.
    pub slab_len: usize,
    /// Elements at the slab's start that weight decay applies to.
    pub decayed: usize,
    embed: Block,
    head: Block,
    norm: Block,
    layers: Vec<LayerBlocks>,
    end: End,
}

/// The place of a norm in the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormAt {
    /// Before the attention of a layer.
    Input(usize),
    /// Before the feed-forward network of a layer.
    PostAttention(usize),
    /// After the last layer.
    Last,
}

impl fmt::Display for NormAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NormAt::Input(layer) => write!(f, "layers.{layer}.input_layernorm"),
            NormAt::PostAttention(layer) => write!(f, "layers.{layer}.post_attention_layernorm"),
            NormAt::Last => f.write_str("norm"),
        }
    }
}

/// The output of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The embedding table.
    Tied,
    /// A separate output layer.
    Head,
    /// A scalar.
    Score,
}

const SCORE: &str = "score.weight";

/// Fills with N(0, std) by counter.
fn fill_normal(part: &mut [f32], std: f32, seed: u64, stream: usize) {
    use rayon::prelude::*;
    part.par_chunks_mut(4096).enumerate().for_each(|(chunk, part)| {
        for (i, x) in part.iter_mut().enumerate() {
            *x = std * rng::normal(seed, rng::Purpose::Init, stream as u64, (chunk * 4096 + i) as u64);
        }
    });
}

/// Places blocks one after another.
struct Layout {
    tensors: Vec<ParamTensor>,
    next: usize,
}

impl Layout {
    /// A block of one or more tensors with the same number of columns.
    fn block(&mut self, parts: &[(String, usize)], cols: usize, std: Option<f32>) -> Block {
        let offset = self.next;
        let mut at = offset;
        for (name, rows) in parts {
            let shape = if std.is_some() { vec![*rows, cols] } else { vec![cols] };
            self.tensors.push(ParamTensor { name: name.clone(), shape, offset: at, std });
            at += rows * cols;
        }
        self.next = at.next_multiple_of(ALIGNMENT);
        Block { offset, rows: parts.iter().map(|p| p.1).sum(), cols }
    }
}

impl ParamTable {
    /// The table of a language model: `LlamaForCausalLM`.
    pub fn new(c: &ModelConfig) -> ParamTable {
        ParamTable::ending_in(c, if c.tie_word_embeddings { End::Tied } else { End::Head })
    }

    /// The table of a scalar model, for rewards and values: `LlamaForSequenceClassification` of one label.
    /// The trunk's tensors are those of [`ParamTable::new`], and `score.weight` \[1, C\] takes the place of
    /// an output layer.
    pub fn scalar(c: &ModelConfig) -> ParamTable {
        ParamTable::ending_in(c, End::Score)
    }

    fn ending_in(c: &ModelConfig, end: End) -> ParamTable {
        let std = Some(c.initializer_range);
        // GPT-2's scaling: 2 L branches are added to the residual stream.
        let residual = Some(c.initializer_range / (2.0 * c.num_hidden_layers as f32).sqrt());
        let mut l = Layout { tensors: Vec::new(), next: 0 };
        let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
        let (hidden, ffn) = (c.hidden_size, c.intermediate_size);
        let embed = l.block(&[("model.embed_tokens.weight".to_owned(), c.vocab_size)], hidden, std);
        let mut layers = Vec::new();
        for i in 0..c.num_hidden_layers {
            let name = |part: &str| format!("model.layers.{i}.{part}.weight");
            let attention = |part: &str| name(&format!("self_attn.{part}_proj"));
            let mlp = |part: &str| name(&format!("mlp.{part}_proj"));
            let qkv = l.block(&[(attention("q"), q), (attention("k"), kv), (attention("v"), kv)], hidden, std);
            let o = l.block(&[(attention("o"), hidden)], q, residual);
            let gate_up = l.block(&[(mlp("gate"), ffn), (mlp("up"), ffn)], hidden, std);
            let down = l.block(&[(mlp("down"), hidden)], ffn, residual);
            layers.push(LayerBlocks { qkv, o, gate_up, down, input_norm: embed, post_norm: embed });
        }
        let head = match end {
            End::Tied => embed,
            End::Head => l.block(&[("lm_head.weight".to_owned(), c.vocab_size)], hidden, std),
            End::Score => l.block(&[(SCORE.to_owned(), 1)], hidden, std),
        };
        let decayed = l.next;
        for (i, layer) in layers.iter_mut().enumerate() {
            let name = |part: &str| format!("model.layers.{i}.{part}.weight");
            layer.input_norm = l.block(&[(name("input_layernorm"), 1)], hidden, None);
            layer.post_norm = l.block(&[(name("post_attention_layernorm"), 1)], hidden, None);
        }
        let norm = l.block(&[("model.norm.weight".to_owned(), 1)], hidden, None);
        ParamTable { tensors: l.tensors, slab_len: l.next, decayed, embed, head, norm, layers, end }
    }

    /// The trunk of a language model with a score of N(0, `std`) by counter: the initial weights of a reward model or
    /// value net. `self` is a scalar table; `slab` has the layout of `lm`. With a `std` of 0 all scores are 0.
    pub fn from_language_model(
        &self,
        lm: &ParamTable,
        slab: &[f32],
        std: f32,
        seed: u64,
    ) -> Result<Vec<f32>, ConfigError> {
        let mut ours = vec![0.0; self.slab_len];
        if slab.len() != lm.slab_len {
            return Err(ConfigError(format!("{} parameters were given, {} are expected", slab.len(), lm.slab_len)));
        }
        for (stream, tensor) in self.tensors.iter().enumerate() {
            let part = &mut ours[tensor.offset..tensor.offset + tensor.len()];
            if tensor.name == SCORE {
                fill_normal(part, std, seed, stream);
                continue;
            }
            let theirs = lm.tensors.iter().find(|t| t.name == tensor.name && t.shape == tensor.shape);
            let theirs = theirs.ok_or_else(|| {
                ConfigError(format!("the language model has no {} of shape {:?}", tensor.name, tensor.shape))
            })?;
            part.copy_from_slice(lm.slice(slab, theirs));
        }
        Ok(ours)
    }

    /// Number of parameters, padding excluded.
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(ParamTensor::len).sum()
    }

    /// The elements of a tensor in a slab on the host.
    pub fn slice<'a>(&self, slab: &'a [f32], tensor: &ParamTensor) -> &'a [f32] {
        &slab[tensor.offset..tensor.offset + tensor.len()]
    }

    /// Initial values of the whole slab: N(0, std) by counter, 1 in norms, 0 in padding.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut slab = vec![0.0; self.slab_len];
        for (stream, tensor) in self.tensors.iter().enumerate() {
            let part = &mut slab[tensor.offset..tensor.offset + tensor.len()];
            match tensor.std {
                None => part.fill(1.0),
                Some(std) => fill_normal(part, std, seed, stream),
            }
        }
        slab
    }
}

/// A slab on a device with its blocks: parameters, or gradients with the same layout.
///
/// On a device that multiplies in f16 parameters exist twice: the slab itself in f32, and a copy for products, which
/// the optimiser and [`Weights::write`] keep up to date.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The whole slab.
    pub(super) slab: Tensor,
    /// The same in f16.
    pub(super) shadow: Option<Tensor>,
    table: Arc<ParamTable>,
}

impl Weights {
    /// Zeroed parameters.
    pub fn alloc(device: &mut Device, name: &str, table: &Arc<ParamTable>) -> Result<Weights, ComputeError> {
        let mut made = Weights::gradients(device, name, table)?;
        let act = device.traits().act;
        if act != DType::F32 {
            made.shadow = Some(device.alloc(&format!("{name}.operands"), &[table.slab_len], act)?);
        }
        Ok(made)
    }

    /// Zeroed gradients: f32 on every device.
    pub(super) fn gradients(device: &mut Device, name: &str, table: &Arc<ParamTable>) -> Result<Weights, ComputeError> {
        let slab = device.alloc(name, &[table.slab_len], DType::F32)?;
        Ok(Weights { slab, shadow: None, table: Arc::clone(table) })
    }

    /// Writes the whole slab.
    pub fn write(&self, device: &mut Device, slab: &[f32]) -> Result<(), ComputeError> {
        device.write(&self.slab, slab)?;
        if let Some(shadow) = &self.shadow {
            // By the device, as in the optimiser: the driver determines the rounding to f16.
            let mut rec = Recording::new(device);
            ops::narrow(&mut rec, &self.slab, shadow, None)?;
            let program = rec.compile()?;
            device.replay(&[&program])?;
        }
        Ok(())
    }

    /// Reads the whole slab.
    pub fn read(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        device.read(&self.slab)
    }

    /// A matrix as an operand of products.
    fn operand(&self, name: &str, b: Block) -> Tensor {
        self.shadow.as_ref().unwrap_or(&self.slab).part(
            &format!("{}.{name}", self.slab.name),
            b.offset,
            &[b.rows, b.cols],
        )
    }

    /// The table.
    pub fn table(&self) -> &Arc<ParamTable> {
        &self.table
    }

    fn block(&self, name: &str, b: Block) -> Tensor {
        self.slab.part(&format!("{}.{name}", self.slab.name), b.offset, &[b.rows, b.cols])
    }

    /// \[V, C\], the embedding table for lookups, in f32.
    pub fn embed(&self) -> Tensor {
        self.block("embed_tokens", self.table.embed)
    }

    /// \[V, C\]: the embedding table as an output layer, whatever the model's output is.
    pub fn tied_head(&self) -> Tensor {
        self.operand("embed_tokens", self.table.embed)
    }

    /// \[V, C\]: the output layer; the embedding table if tied.
    pub fn head(&self) -> Tensor {
        self.operand("lm_head", self.table.head)
    }

    /// \[1, C\]: the score of a scalar model; an error for a language model.
    pub fn score(&self) -> Result<Tensor, ComputeError> {
        if self.table.end != End::Score {
            let what = "these are the weights of a language model, not of a scalar one".to_owned();
            return Err(ComputeError::Shape { op: "score", what });
        }
        Ok(self.operand("score", self.table.head))
    }

    /// \[1, C\].
    pub fn norm(&self, at: NormAt) -> Tensor {
        let block = match at {
            NormAt::Input(layer) => self.table.layers[layer].input_norm,
            NormAt::PostAttention(layer) => self.table.layers[layer].post_norm,
            NormAt::Last => self.table.norm,
        };
        self.block(&at.to_string(), block)
    }

    /// \[(Hq+2Hk)·D, C\].
    pub fn qkv(&self, layer: usize) -> Tensor {
        self.operand("qkv_proj", self.table.layers[layer].qkv)
    }

    /// \[C, Hq·D\].
    pub fn o(&self, layer: usize) -> Tensor {
        self.operand("o_proj", self.table.layers[layer].o)
    }

    /// \[2F, C\].
    pub fn gate_up(&self, layer: usize) -> Tensor {
        self.operand("gate_up_proj", self.table.layers[layer].gate_up)
    }

    /// \[C, F\].
    pub fn down(&self, layer: usize) -> Tensor {
        self.operand("down_proj", self.table.layers[layer].down)
    }
}
