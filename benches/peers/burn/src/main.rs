//! One training step of a Llama-layout decoder in burn on Vulkan: what `danlu bench` measures, for comparison.
//!
//!     burn_step --mode f32|f16 [--layers 4 --hidden 128 --heads 4 --ffn 384 --ctx 128 --vocab 4096 --batch 32 --steps 20]
//!
//! Forward, loss, backward, clipping of the global norm to 1.0 and AdamW on random tokens, embeddings tied.
//! The last line is one JSON object: tokens_per_second and ms_per_step (median of windows of five steps, as in
//! torch_step.py), first_step_s (autotuning and compilation included) and the last loss, null if it is not
//! finite. In `f16` the products and what lies between them are f16; weights, optimizer, residual stream,
//! norms and loss are f32, and the loss is scaled by the number of its tokens.

#![recursion_limit = "256"]

use std::time::Instant;

use burn::module::{Initializer, Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::module::linear;
use burn::tensor::{activation, Device, DeviceKind, FloatDType, Int, Tensor, TensorData};

const WARM_UP: usize = 10;
const WINDOW: usize = 5;
const BATCHES: usize = 8;
/// A Vulkan binding ends at 2 GiB: logits are made in pieces of at most this many bytes in f32.
const LOGITS: usize = 1 << 30;

#[derive(Clone, Copy)]
struct Shape {
    layers: usize,
    hidden: usize,
    heads: usize,
    ffn: usize,
    ctx: usize,
    vocab: usize,
    batch: usize,
}

/// What a forward pass needs beside the weights, made once.
struct Constants {
    /// The type of products and of what lies between them.
    half: FloatDType,
    /// Pieces that the logits are made in.
    chunks: usize,
    /// Of the rotary embedding: [1, T, 1, 2, D/2]; the sine is negated for the first half.
    cos: Tensor<5>,
    sin: Tensor<5>,
    /// [1, 1, T, T]: 0 where a position attends, a large negative number where it may not.
    mask: Tensor<4>,
}

#[derive(Module, Debug)]
struct Block {
    input_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    post_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct Model {
    embed: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
}

fn product(c: &Constants, x: Tensor<3>, layer: &Linear) -> Tensor<3> {
    linear(x.cast(c.half), layer.weight.val().cast(c.half), None)
}

fn normed(c: &Constants, x: &Tensor<3>, norm: &RmsNorm) -> Tensor<3> {
    norm.forward(x.clone()).cast(c.half)
}

/// Rotates the halves of every head: [B, T, H·D] to [B, H, T, D].
fn rotate(c: &Constants, x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [rows, length, hidden] = x.dims();
    let size = hidden / heads;
    let x = x.reshape([rows, length, heads, 2, size / 2]);
    let turned = x.clone() * c.cos.clone() + x.flip([3]) * c.sin.clone();
    turned.reshape([rows, length, heads, size]).swap_dims(1, 2)
}

impl Block {
    fn forward(&self, x: Tensor<3>, c: &Constants) -> Tensor<3> {
        let [rows, length, hidden] = x.dims();
        let size = hidden / self.heads;
        let y = normed(c, &x, &self.input_norm);
        let q = rotate(c, product(c, y.clone(), &self.q), self.heads);
        let k = rotate(c, product(c, y.clone(), &self.k), self.heads);
        let v = product(c, y, &self.v).reshape([rows, length, self.heads, size]).swap_dims(1, 2);
        // burn's attention module has no fused backward pass, so the plain form is the faster one.
        let scores = q.mul_scalar(1.0 / (size as f64).sqrt()).matmul(k.swap_dims(2, 3)) + c.mask.clone();
        let attended = activation::softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([rows, length, hidden]);
        let x = x + product(c, attended, &self.o).cast(FloatDType::F32);
        let y = normed(c, &x, &self.post_norm);
        let inner = activation::silu(product(c, y.clone(), &self.gate)) * product(c, y, &self.up);
        x + product(c, inner, &self.down).cast(FloatDType::F32)
    }
}

impl Model {
    fn new(s: Shape, device: &Device) -> Self {
        let normal = || Initializer::Normal { mean: 0.0, std: 0.02 };
        let linear = |from, to| LinearConfig::new(from, to).with_bias(false).with_initializer(normal()).init(device);
        let norm = || RmsNormConfig::new(s.hidden).with_epsilon(1e-5).init(device);
        let block = |_| Block {
            input_norm: norm(),
            q: linear(s.hidden, s.hidden),
            k: linear(s.hidden, s.hidden),
            v: linear(s.hidden, s.hidden),
            o: linear(s.hidden, s.hidden),
            post_norm: norm(),
            gate: linear(s.hidden, s.ffn),
            up: linear(s.hidden, s.ffn),
            down: linear(s.ffn, s.hidden),
            heads: s.heads,
        };
        Model {
            embed: EmbeddingConfig::new(s.vocab, s.hidden).with_initializer(normal()).init(device),
            blocks: (0..s.layers).map(block).collect(),
            norm: norm(),
        }
    }

    /// The mean cross-entropy of the targets.
    fn forward(&self, ids: Tensor<2, Int>, targets: Tensor<1, Int>, c: &Constants, device: &Device) -> Tensor<1> {
        let [rows, length] = ids.dims();
        let table = self.embed.weight.val();
        let hidden = table.dims()[1];
        let mut x = self.embed.forward(ids);
        for block in &self.blocks {
            x = block.forward(x, c);
        }
        let x = normed(c, &x, &self.norm).reshape([rows * length, hidden]);
        let head = table.cast(c.half).transpose();
        let each = rows * length / c.chunks;
        let loss = CrossEntropyLossConfig::new().init(device);
        let part = |i: usize| {
            let logits = linear(x.clone().slice([i * each..(i + 1) * each]), head.clone(), None);
            let wanted = targets.clone().slice([i * each..(i + 1) * each]);
            loss.forward(logits.cast(FloatDType::F32), wanted).div_scalar(c.chunks as f64)
        };
        (1..c.chunks).fold(part(0), |sum, i| sum + part(i))
    }
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(parameter.id) {
            self.sums.push(gradient.cast(FloatDType::F32).square().sum());
        }
    }
}

struct Scaled<'a> {
    gradients: &'a mut GradientsParams,
    by: Tensor<1>,
}

impl ModuleVisitor for Scaled<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(parameter.id) {
            let scaled = gradient.cast(FloatDType::F32) * self.by.clone().unsqueeze();
            self.gradients.register::<D>(parameter.id, scaled);
        }
    }
}

/// Clips the global norm to 1 and undoes the scale of the loss; burn itself clips by parameter only.
fn clip(model: &Model, mut gradients: GradientsParams, scale: f64) -> GradientsParams {
    let mut squares = Squares { gradients: &gradients, sums: Vec::new() };
    model.visit(&mut squares);
    let sum = squares.sums.into_iter().reduce(|a, b| a + b).expect("a model has gradients");
    let norm = sum.sqrt().div_scalar(scale);
    let by = norm.add_scalar(1e-6).recip().clamp_max(1.0).div_scalar(scale);
    model.visit(&mut Scaled { gradients: &mut gradients, by });
    gradients
}

fn constants(s: Shape, half: FloatDType, device: &Device) -> Constants {
    let size = s.hidden / s.heads;
    let angle = |place: usize, i: usize| place as f32 / 10000f32.powf(2.0 * i as f32 / size as f32);
    let (mut cos, mut sin, mut mask) = (Vec::new(), Vec::new(), Vec::new());
    for place in 0..s.ctx {
        for sign in [-1.0, 1.0] {
            cos.extend((0..size / 2).map(|i| angle(place, i).cos()));
            sin.extend((0..size / 2).map(|i| sign * angle(place, i).sin()));
        }
        mask.extend((0..s.ctx).map(|other| if other > place { -1e4f32 } else { 0.0 }));
    }
    let turn = [1, s.ctx, 1, 2, size / 2];
    let mut chunks = (s.batch * s.ctx * s.vocab * 4).div_ceil(LOGITS);
    while s.batch * s.ctx % chunks != 0 {
        chunks += 1;
    }
    Constants {
        half,
        chunks,
        cos: Tensor::<5>::from_data(TensorData::new(cos, turn), device).cast(half),
        sin: Tensor::<5>::from_data(TensorData::new(sin, turn), device).cast(half),
        mask: Tensor::<4>::from_data(TensorData::new(mask, [1, 1, s.ctx, s.ctx]), device).cast(half),
    }
}

/// Random ids and targets, the same in every run.
fn batches(s: Shape, device: &Device) -> Vec<(Tensor<2, Int>, Tensor<1, Int>)> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut token = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 33) % s.vocab as u64) as i32
    };
    let mut tokens = || (0..s.batch * s.ctx).map(|_| token()).collect::<Vec<i32>>();
    (0..BATCHES)
        .map(|_| {
            let ids = TensorData::new(tokens(), [s.batch, s.ctx]);
            let targets = TensorData::new(tokens(), [s.batch * s.ctx]);
            (Tensor::from_data(ids, device), Tensor::from_data(targets, device))
        })
        .collect()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn main() {
    let mut shape = Shape { layers: 4, hidden: 128, heads: 4, ffn: 384, ctx: 128, vocab: 4096, batch: 32 };
    let (mut steps, mut half) = (20, FloatDType::F32);
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let value = given.next().unwrap_or_default();
        let number = || value.parse::<usize>().unwrap_or_else(|_| panic!("{flag} wants a number, not `{value}`"));
        match flag.as_str() {
            "--layers" => shape.layers = number(),
            "--hidden" => shape.hidden = number(),
            "--heads" => shape.heads = number(),
            "--ffn" => shape.ffn = number(),
            "--ctx" => shape.ctx = number(),
            "--vocab" => shape.vocab = number(),
            "--batch" => shape.batch = number(),
            "--steps" => steps = number(),
            "--mode" if value == "f32" => half = FloatDType::F32,
            "--mode" if value == "f16" => half = FloatDType::F16,
            _ => panic!("unknown argument {flag} {value}"),
        }
    }
    let plain = Device::vulkan(DeviceKind::DefaultDevice);
    let device = plain.clone().autodiff();
    device.seed(0);
    let c = constants(shape, half, &device);
    let mut model = Model::new(shape, &device);
    let parameters = model.num_params();
    let mut optimizer: ModuleOptimizer =
        AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95).with_epsilon(1e-8).with_weight_decay(0.1).init();
    let batches = batches(shape, &device);
    let tokens = shape.batch * shape.ctx;
    let scale = if half == FloatDType::F16 { tokens as f64 } else { 1.0 };
    let mut count = 0;
    let mut step = |model: Model| {
        let (ids, targets) = batches[count % BATCHES].clone();
        count += 1;
        let loss = model.forward(ids, targets, &c, &device);
        let gradients = loss.clone().mul_scalar(scale).backward();
        let gradients = clip(&model, GradientsParams::from_grads(gradients, &model), scale);
        (optimizer.step(3e-4, model, gradients), loss.detach())
    };
    let wait = || plain.sync().expect("the device works");
    let start = Instant::now();
    let mut loss;
    (model, loss) = step(model);
    wait();
    let first = start.elapsed().as_secs_f64();
    for _ in 1..WARM_UP {
        (model, loss) = step(model);
    }
    wait();
    let mut windows = Vec::new();
    for _ in 0..steps.div_ceil(WINDOW) {
        let start = Instant::now();
        for _ in 0..WINDOW {
            (model, loss) = step(model);
        }
        wait();
        windows.push(start.elapsed().as_secs_f64() / WINDOW as f64);
    }
    let seconds = median(windows);
    let loss = loss.into_scalar::<f32>();
    let loss = if loss.is_finite() { loss.to_string() } else { "null".to_owned() };
    println!(
        r#"{{"params": {parameters}, "tokens_per_second": {}, "ms_per_step": {}, "first_step_s": {first}, "loss": {loss}}}"#,
        tokens as f64 / seconds,
        seconds * 1e3
    );
}
