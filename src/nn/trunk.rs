//! The recordings of the model: trunk, head and loss, and the way back.
//!
//! Nothing here runs: operations are appended to a [`Recording`] once and replayed every step.

use super::{ModelConfig, Weights};
use crate::compute::{
    ComputeError, DType, Device, Layout, Recording, Tensor, matmul, matmul_rope, matmul_swiglu, matmul_swiglu_backward,
    ops::{self, Heads, Slope},
};

type Done = Result<(), ComputeError>;

/// Bytes of one chunk of logits: small enough to stay in a CPU's cache, large enough to fill a GPU.
const CPU_LOGITS: usize = 8 << 20;
const GPU_LOGITS: usize = 256 << 20;
/// In f16: every chunk reads and writes the output layer's gradient once more, so few are better. In f32 the
/// size stays, for the order of those sums is in the bits of every run.
const HALF_LOGITS: usize = 1 << 30;

/// Sizes of one micro-batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Sequences.
    pub b: usize,
    /// Positions of each.
    pub t: usize,
}

impl Shape {
    pub(super) fn rows(self) -> usize {
        self.b * self.t
    }
}

/// What a layer leaves for its way back.
#[derive(Clone)]
pub(super) struct LayerActs {
    /// \[N, C\] the stream before the layer.
    x: Tensor,
    /// \[N, C\] its norm, and \[N\] the reciprocal deviations.
    y1: Tensor,
    rstd1: Tensor,
    /// \[N, (Hq+2Hk)·D\], rotated.
    qkv: Tensor,
    /// \[N, Hq·D\].
    attn: Tensor,
    /// \[B, Hq, T\].
    lse: Tensor,
    /// \[N, C\] the stream between attention and feed-forward, its norm and deviations.
    mid: Tensor,
    y2: Tensor,
    rstd2: Tensor,
    /// \[N, 2F\], \[N, F\].
    gate_up: Tensor,
    act: Tensor,
}

/// The activations of one micro-batch: the stream and sums in f32, what products read and write in the
/// device's type.
pub(super) struct Acts {
    layers: Vec<LayerActs>,
    /// \[N, C\] the stream after the last layer, its norm and deviations.
    last: Tensor,
    pub(super) y: Tensor,
    rstd: Tensor,
    /// \[N, C\] the branch that is added next.
    delta: Tensor,
}

impl Acts {
    /// Allocates activations: every layer its own where `keep` (training), one set for all otherwise.
    pub(super) fn alloc(device: &mut Device, c: &ModelConfig, s: Shape, keep: bool) -> Result<Acts, ComputeError> {
        let (n, heads, act) = (s.rows(), c.heads(), device.traits().act);
        let mut make = |name: &str, cols: usize, dtype| device.alloc(name, &[n, cols], dtype);
        let mut layer = |i: usize| -> Result<LayerActs, ComputeError> {
            let mut make = |part: &str, cols: usize, dtype| make(&format!("layers.{i}.{part}"), cols, dtype);
            Ok(LayerActs {
                x: make("x", c.hidden_size, DType::F32)?,
                y1: make("y1", c.hidden_size, act)?,
                rstd1: make("rstd1", 1, DType::F32)?.view(&[n]),
                qkv: make("qkv", heads.qkv(), act)?,
                attn: make("attn", heads.out(), act)?,
                lse: make("lse", heads.query, DType::F32)?,
                mid: make("mid", c.hidden_size, DType::F32)?,
                y2: make("y2", c.hidden_size, act)?,
                rstd2: make("rstd2", 1, DType::F32)?.view(&[n]),
                gate_up: make("gate_up", 2 * c.intermediate_size, act)?,
                act: make("act", c.intermediate_size, act)?,
            })
        };
        let layers: Vec<LayerActs> = if keep {
            (0..c.num_hidden_layers).map(&mut layer).collect::<Result<_, _>>()?
        } else {
            vec![layer(0)?; c.num_hidden_layers]
        };
        // Without `keep` the stream swings between `x` and `mid` of the one set.
        let last = if keep { make("last", c.hidden_size, DType::F32)? } else { layers[0].x.clone() };
        Ok(Acts {
            layers,
            last,
            y: make("y", c.hidden_size, act)?,
            rstd: make("rstd", 1, DType::F32)?.view(&[n]),
            delta: make("delta", c.hidden_size, act)?,
        })
    }
}

/// Where attention gets its keys from.
pub(super) enum Attend<'a> {
    /// The rows themselves, causally, each from its begin on: \[N\] (u32).
    Rows(&'a Tensor),
    /// A cache a layer, \[B, P, 2·Hk·D\], which the rows are appended to first.
    Cache(&'a [Tensor]),
}

/// Dropout on the residual branches: the clock tensor and the rate.
#[derive(Clone, Copy)]
pub(super) struct Dropout<'a> {
    pub clock: &'a Tensor,
    pub rate: f32,
}

/// What the trunk reads.
pub(super) struct Inputs<'a> {
    /// \[N\] (u32).
    pub ids: &'a Tensor,
    /// \[N\] (u32).
    pub positions: &'a Tensor,
    /// \[P, D\]: [`rope_table`].
    pub rope: &'a Tensor,
}

/// cos and sin of position × frequency, \[P, D\]: cos in the first half of a row. Computed in f32 in
/// transformers' order, so that long contexts round alike.
pub(super) fn rope_table(device: &mut Device, c: &ModelConfig, positions: usize) -> Result<Tensor, ComputeError> {
    let half = c.head_dim / 2;
    let mut table = vec![0.0_f32; positions * c.head_dim];
    for (p, row) in table.chunks_exact_mut(c.head_dim).enumerate() {
        for i in 0..half {
            let frequency = 1.0 / c.rope_theta.powf((2 * i) as f32 / c.head_dim as f32);
            let angle = p as f32 * frequency;
            row[i] = angle.cos();
            row[half + i] = angle.sin();
        }
    }
    let tensor = device.alloc("rope", &[positions, c.head_dim], DType::F32)?;
    device.write(&tensor, &table)?;
    Ok(tensor)
}

/// The model.
pub(super) struct Trunk<'a> {
    pub config: &'a ModelConfig,
    pub weights: &'a Weights,
    pub acts: &'a Acts,
    pub shape: Shape,
}

impl Trunk<'_> {
    /// Embedding, layers and final norm: fills `acts`, ending in `acts.y` \[N, C\].
    pub(super) fn forward(
        &self,
        rec: &mut Recording<'_>,
        inputs: &Inputs<'_>,
        attend: &Attend<'_>,
        dropout: Option<Dropout<'_>>,
    ) -> Done {
        let (w, a, eps) = (self.weights, self.acts, self.config.rms_norm_eps);
        let heads = self.config.heads();
        let Some(first) = a.layers.first() else {
            return Err(ops_shape("the model has no layers"));
        };
        ops::embedding_forward(rec, inputs.ids, &w.embed(), &first.x)?;
        ops::rmsnorm_forward(rec, &first.x, &w.input_norm(0), &first.y1, &first.rstd1, eps)?;
        for (i, l) in a.layers.iter().enumerate() {
            matmul_rope(rec, &l.y1, &w.qkv(i), inputs.positions, inputs.rope, &l.qkv, heads)?;
            match attend {
                Attend::Rows(begins) => {
                    ops::attention_forward(rec, &l.qkv, begins, &l.attn, &l.lse, self.shape.b, heads)?;
                }
                Attend::Cache(caches) => {
                    ops::cache_append(rec, &l.qkv, inputs.positions, &caches[i], self.shape.b, heads)?;
                    ops::attention_decode(rec, &l.qkv, &caches[i], inputs.positions, &l.attn, self.shape.b, heads)?;
                }
            }
            let delta = self.branch(rec, &l.attn, &w.o(i), dropout, 2 * i)?;
            ops::add_rmsnorm_forward(rec, &l.x, &delta, &w.post_norm(i), &l.mid, &l.y2, &l.rstd2, eps)?;
            matmul_swiglu(rec, &l.y2, &w.gate_up(i), &l.gate_up, &l.act)?;
            let delta = self.branch(rec, &l.act, &w.down(i), dropout, 2 * i + 1)?;
            let (x, norm, y, rstd) = match a.layers.get(i + 1) {
                Some(next) => (&next.x, w.input_norm(i + 1), &next.y1, &next.rstd1),
                None => (&a.last, w.norm(), &a.y, &a.rstd),
            };
            ops::add_rmsnorm_forward(rec, &l.mid, &delta, &norm, x, y, rstd, eps)?;
        }
        Ok(())
    }

    /// input·Wᵀ, with dropout where there is any.
    fn branch(
        &self,
        rec: &mut Recording<'_>,
        input: &Tensor,
        w: &Tensor,
        dropout: Option<Dropout<'_>>,
        stream: usize,
    ) -> Result<Tensor, ComputeError> {
        let delta = &self.acts.delta;
        matmul(rec, Layout::NT, input, w, delta, false)?;
        let Some(d) = dropout else { return Ok(delta.clone()) };
        let dropped = rec.scratch_as(&delta.shape, delta.dtype)?;
        ops::dropout(rec, d.clock, delta, &dropped, stream, d.rate)?;
        Ok(dropped)
    }

    /// The way back of [`Attend::Rows`]: from `grads.dy` = ∂loss/∂acts.y to every gradient of the slab
    /// (added to).
    pub(super) fn backward(
        &self,
        rec: &mut Recording<'_>,
        inputs: &Inputs<'_>,
        begins: &Tensor,
        back: &Backward,
        sorted: &Sorted<'_>,
        dropout: Option<Dropout<'_>>,
    ) -> Done {
        let (w, g, a) = (self.weights, &back.grads, self.acts);
        let heads: Heads = self.config.heads();
        let (dx, narrow) = (&back.dx, back.narrow.as_ref());
        ops::rmsnorm_backward(rec, &back.dy, &a.last, &w.norm(), &a.rstd, dx, &g.norm(), narrow, false)?;
        for (i, l) in a.layers.iter().enumerate().rev() {
            let ddelta = self.branch_backward(rec, back, dropout, 2 * i + 1)?;
            // A weight's gradient after the gradient that the next call needs: it may run beside that.
            matmul_swiglu_backward(rec, &ddelta, &w.down(i), &l.gate_up, &back.dact, &back.dgate_up)?;
            matmul(rec, Layout::TN, &ddelta, &l.act, &g.down(i), true)?;
            matmul(rec, Layout::NN, &back.dgate_up, &w.gate_up(i), &back.dy, false)?;
            matmul(rec, Layout::TN, &back.dgate_up, &l.y2, &g.gate_up(i), true)?;
            let (norm, grad) = (w.post_norm(i), g.post_norm(i));
            ops::rmsnorm_backward(rec, &back.dy, &l.mid, &norm, &l.rstd2, dx, &grad, narrow, true)?;
            let ddelta = self.branch_backward(rec, back, dropout, 2 * i)?;
            matmul(rec, Layout::NN, &ddelta, &w.o(i), &back.dattn, false)?;
            matmul(rec, Layout::TN, &ddelta, &l.attn, &g.o(i), true)?;
            let (dattn, dqkv) = (&back.dattn, &back.dqkv);
            ops::attention_backward(rec, &l.qkv, begins, &l.attn, &l.lse, dattn, dqkv, self.shape.b, heads)?;
            ops::rope(rec, inputs.positions, inputs.rope, dqkv, heads, true)?;
            matmul(rec, Layout::NN, dqkv, &w.qkv(i), &back.dy, false)?;
            matmul(rec, Layout::TN, dqkv, &l.y1, &g.qkv(i), true)?;
            let (norm, grad) = (w.input_norm(i), g.input_norm(i));
            ops::rmsnorm_backward(rec, &back.dy, &l.x, &norm, &l.rstd1, dx, &grad, narrow, true)?;
        }
        ops::embedding_backward(rec, sorted.order, sorted.starts, dx, &g.embed())
    }

    fn branch_backward(
        &self,
        rec: &mut Recording<'_>,
        back: &Backward,
        dropout: Option<Dropout<'_>>,
        stream: usize,
    ) -> Result<Tensor, ComputeError> {
        let dx = back.narrow.as_ref().unwrap_or(&back.dx);
        let Some(d) = dropout else { return Ok(dx.clone()) };
        // The forward branch is spent by now; its buffer holds the masked gradient.
        ops::dropout(rec, d.clock, dx, &self.acts.delta, stream, d.rate)?;
        Ok(self.acts.delta.clone())
    }
}

fn ops_shape(what: &str) -> ComputeError {
    ComputeError::Shape { op: "model", what: what.to_owned() }
}

/// Positions sorted by id, for the embedding's gradient.
pub(super) struct Sorted<'a> {
    /// \[N\] (u32).
    pub order: &'a Tensor,
    /// \[V+1\] (u32).
    pub starts: &'a Tensor,
}

/// Gradients under way, shared by all layers.
pub(super) struct Backward {
    /// The slab's gradients.
    pub grads: Weights,
    /// \[N, C\] the gradient of the stream, and the same in f16 where products take that.
    dx: Tensor,
    narrow: Option<Tensor>,
    pub(super) dy: Tensor,
    dact: Tensor,
    dgate_up: Tensor,
    dattn: Tensor,
    dqkv: Tensor,
}

impl Backward {
    pub(super) fn alloc(
        device: &mut Device,
        c: &ModelConfig,
        s: Shape,
        grads: Weights,
    ) -> Result<Backward, ComputeError> {
        let act = device.traits().act;
        let dx = device.alloc("dx", &[s.rows(), c.hidden_size], DType::F32)?;
        let mut make = |name: &str, cols: usize| device.alloc(name, &[s.rows(), cols], act);
        Ok(Backward {
            grads,
            dx,
            narrow: if act == DType::F32 { None } else { Some(make("dx.narrow", c.hidden_size)?) },
            dy: make("dy", c.hidden_size)?,
            dact: make("dact", c.intermediate_size)?,
            dgate_up: make("dgate_up", 2 * c.intermediate_size)?,
            dattn: make("dattn", c.heads().out())?,
            dqkv: make("dqkv", c.heads().qkv())?,
        })
    }
}

/// Output layer and loss over chunks of rows, so that logits never exceed a binding.
pub(super) struct Head<'a> {
    /// \[N, C\].
    pub y: &'a Tensor,
    /// \[V, C\].
    pub weight: Tensor,
    /// \[N\] (i32).
    pub targets: &'a Tensor,
    /// \[HYPER\].
    pub hyper: &'a Tensor,
    /// \[N\].
    pub losses: &'a Tensor,
}

/// Rows of one chunk of logits on this device: a multiple of the alignment.
pub fn logit_rows(device: &Device, vocab: usize, rows: usize) -> usize {
    let traits = device.traits();
    let bytes = match traits.act {
        _ if traits.cpu => CPU_LOGITS,
        DType::F16 => HALF_LOGITS,
        DType::F32 | DType::U32 => GPU_LOGITS,
    };
    let fit = bytes.min(traits.max_binding as usize) / traits.act.bytes() / vocab.max(1) / 64 * 64;
    fit.max(64).min(rows.next_multiple_of(64))
}

/// What becomes of each chunk of logits.
pub(super) enum Ending<'a> {
    /// Losses alone, and entropies \[N\] where they are wanted.
    Score(Option<&'a Tensor>),
    /// Losses and gradients.
    Train {
        /// \[N\]: what each row's gradient is multiplied with.
        weights: &'a Tensor,
        /// \[CONTROL\]: holds the loss scale.
        control: &'a Tensor,
        /// \[V, C\]: the output layer's gradient is added to.
        grad: &'a Tensor,
        /// \[N, C\] or longer: becomes ∂loss/∂y.
        dy: &'a Tensor,
    },
}

impl Head<'_> {
    /// Losses of every row, and what the ending asks for.
    pub(super) fn record(&self, rec: &mut Recording<'_>, logits: &Tensor, ending: &Ending<'_>) -> Done {
        let (n, v) = (self.y.rows(), self.weight.rows());
        let each = logits.len() / v;
        for start in (0..n).step_by(each.max(1)) {
            let rows = each.min(n - start);
            let y = self.y.slice_rows(start, rows);
            let logits = logits.part("logits", 0, &[rows, v]);
            matmul(rec, Layout::NT, &y, &self.weight, &logits, false)?;
            let cut = |t: &Tensor| t.part(&t.name, start, &[rows]);
            let (targets, losses) = (cut(self.targets), cut(self.losses));
            match ending {
                Ending::Score(entropies) => {
                    ops::cross_entropy(rec, &targets, self.hyper, &logits, &losses, None)?;
                    if let Some(entropies) = entropies {
                        ops::entropy(rec, &targets, &logits, &cut(entropies))?;
                    }
                }
                Ending::Train { weights, control, grad, dy } => {
                    let slope = Slope { weights: &cut(weights), control };
                    ops::cross_entropy(rec, &targets, self.hyper, &logits, &losses, Some(slope))?;
                    matmul(rec, Layout::TN, &logits, &y, grad, true)?;
                    matmul(rec, Layout::NN, &logits, &self.weight, &dy.slice_rows(start, rows), false)?;
                }
            }
        }
        Ok(())
    }
}
