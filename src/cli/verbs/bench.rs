//! `danlu bench`: a whole training step on random tokens, or decoding.

use std::{sync::Arc, time::Instant};

use clap::Args;
use serde_json::json;

use crate::{
    cli::{Common, Failure, Outcome, output},
    compute::{
        Device, KernelTime,
        rng::{self, Purpose},
    },
    nn::{AdamW, BatchDecoder, Learner, MicroBatch, ModelConfig, ParamTable, Prompt, Sampling, Weights, estimate},
};

/// Measure a training step on random tokens: forward, backward, clip, AdamW; embeddings tied. Or decoding
#[derive(Args)]
pub(in crate::cli) struct Bench {
    /// Layers
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// Width
    #[arg(long, default_value_t = 128)]
    hidden: usize,
    /// Query heads
    #[arg(long, default_value_t = 4)]
    heads: usize,
    /// Key/value heads (as many as query heads if not given)
    #[arg(long)]
    kv_heads: Option<usize>,
    /// Feed-forward width
    #[arg(long, default_value_t = 384)]
    ffn: usize,
    /// Tokens of a row
    #[arg(long, default_value_t = 128)]
    ctx: usize,
    /// Vocabulary
    #[arg(long, default_value_t = 4096)]
    vocab: usize,
    /// Rows of a batch
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Timed steps
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Time decoding instead: --batch texts at once, each of --ctx tokens, a few of them its prompt
    #[arg(long)]
    decode: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Most tokens of a step, as in the trainer.
const MOST_TOKENS: usize = crate::data::MOST_TOKENS;
/// Most timed steps.
const MOST_STEPS: usize = 1 << 20;

impl Bench {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        let kv = self.kv_heads.unwrap_or(self.heads);
        let config = ModelConfig::llama(self.layers, self.hidden, self.heads, kv, self.ffn, self.vocab, self.ctx);
        config.validate()?;
        if self.steps == 0 || self.batch == 0 || self.ctx == 0 {
            return Err(Failure::usage("--steps, --batch and --ctx are whole numbers from 1 up"));
        }
        if self.batch.checked_mul(self.ctx).is_none_or(|tokens| tokens > MOST_TOKENS) {
            return Err(Failure::usage(format!(
                "--batch {} times --ctx {} is more than {MOST_TOKENS} tokens per step; lower one of them",
                self.batch, self.ctx
            )));
        }
        if self.steps > MOST_STEPS {
            return Err(Failure::usage(format!("--steps is {}; expected 1 to {MOST_STEPS}", self.steps)));
        }
        let mut device = common.device()?;
        let seed = common.seed.unwrap_or(0);
        if self.decode {
            return self.decoding(&mut device, &config, seed);
        }
        let (learner, ms) = measured(&mut device, &config, [self.batch, self.ctx], self.steps, seed)?;
        let tokens = self.batch * self.ctx;
        let cost = estimate(&config, self.batch, self.ctx, 0);
        let rate = tokens as f64 / ms * 1e3;
        let tflops = cost.flops_per_token as f64 * rate / 1e12;
        let kernels = learner.profile(&mut device)?;
        let info = device.info();
        if self.json {
            output::json(&json!({
                "engine": info.engine, "adapter": info.adapter, "driver": info.driver, "precision": device.traits().act.name(),
                "params": cost.parameters, "tokens_per_second": rate, "ms_per_step": ms, "tflops": tflops,
                "dispatches": learner.calls(), "memory_bytes": device.memory().0,
                "kernels": table(&kernels),
            }));
            return Ok(());
        }
        output::text(&format!("{} · {} · {}", info.engine, info.adapter, info.driver));
        output::text(&format!(
            "{:.2} M parameters, {} kernel calls per step, {:.1} MiB",
            cost.parameters as f64 / 1e6,
            learner.calls(),
            device.memory().0 as f64 / 1_048_576.0
        ));
        list(kernels);
        output::text(&format!("{rate:.0} tokens/s · {ms:.2} ms per step · {tflops:.3} TFLOP/s"));
        Ok(())
    }

    /// Generates texts from the whole distribution, --steps rounds of --batch texts; the fastest round counts.
    fn decoding(&self, device: &mut Device, config: &ModelConfig, seed: u64) -> Outcome {
        let table_of = Arc::new(ParamTable::new(config));
        let weights = Weights::alloc(device, "weights", &table_of)?;
        weights.write(device, &table_of.initial(seed))?;
        let mut decoder = BatchDecoder::new(device, config, &weights, self.batch, self.ctx)?;
        let read = PROMPT.min(self.ctx);
        let prompt = |i: usize| Prompt {
            ids: (0..read).map(|j| rng::below(seed, Purpose::Bench, i as u64, j as u64, self.vocab) as u32).collect(),
            max_new_tokens: self.ctx - read + 1,
            sampling: Sampling { temperature: 1.0, top_k: 0, seed: i as u64, ..Sampling::default() },
        };
        let prompts: Vec<Prompt> = (0..self.batch).map(prompt).collect();
        let mut seconds = f64::INFINITY;
        for _ in 0..self.steps {
            let begun = Instant::now();
            decoder.complete(device, &prompts, self.vocab, None)?;
            seconds = seconds.min(begun.elapsed().as_secs_f64());
        }
        let tokens = self.batch * prompts[0].max_new_tokens;
        let (rate, steps) = (tokens as f64 / seconds, self.ctx);
        let kernels = decoder.profile(device)?;
        let info = device.info();
        if self.json {
            output::json(&json!({
                "engine": info.engine, "adapter": info.adapter, "driver": info.driver, "precision": device.traits().act.name(),
                "texts": self.batch, "drawn_tokens_per_second": rate, "ms_per_step": seconds * 1e3 / steps as f64,
                "dispatches": decoder.calls(), "kernels": table(&kernels),
            }));
            return Ok(());
        }
        output::text(&format!("{} · {} · {}", info.engine, info.adapter, info.driver));
        output::text(&format!("{} kernel calls for a token of each text", decoder.calls()));
        list(kernels);
        let ms = seconds * 1e3 / steps as f64;
        output::text(&format!("{rate:.0} drawn tokens/s · {} texts · {ms:.3} ms per token of each", self.batch));
        Ok(())
    }
}

/// Trains a new model on random tokens, `shape` being rows and tokens of each: the learner, and the milliseconds of a
/// step.
pub(super) fn measured(
    device: &mut Device,
    config: &ModelConfig,
    shape: [usize; 2],
    steps: usize,
    seed: u64,
) -> Result<(Learner, f64), Failure> {
    let [rows, context] = shape;
    let mut learner = Learner::new(device, config, rows, context, AdamW::default())?;
    let slab = learner.table().initial(seed);
    learner.write_params(device, &slab)?;
    let tokens = rows * context;
    let batches: Vec<(Vec<u32>, Vec<i32>)> = (0..8)
        .map(|b| {
            let id = |i: usize| rng::below(seed, Purpose::Bench, b, i as u64, config.vocab_size) as u32;
            let ids: Vec<u32> = (0..tokens).map(id).collect();
            let targets = (0..tokens).map(|i| id(tokens + i) as i32).collect();
            (ids, targets)
        })
        .collect();
    // A mark is taken when a step's numbers arrive, two steps behind the newest, as in the trainer: the time between
    // marks is the time of a step, however far the host is ahead.
    let mut marks = Vec::with_capacity(steps + 1);
    let warmup = 3.max(steps / 5);
    let mut waiting = std::collections::VecDeque::new();
    // The last steps only keep the device busy; they are not timed.
    for step in 0..warmup + steps + IN_FLIGHT {
        let (ids, targets) = &batches[step % batches.len()];
        let batch = MicroBatch { ids, targets, starts: None };
        waiting.push_back(learner.step(device, &[batch], 3e-4, seed, step)?);
        if waiting.len() > IN_FLIGHT
            && let Some(mut ticket) = waiting.pop_front()
        {
            device.collect::<f32>(&mut ticket, true)?;
            marks.push(Instant::now());
        }
    }
    device.wait()?;
    Ok((learner, median_step(&marks[warmup - 1..])))
}

/// Tokens of a prompt in the decoding benchmark.
const PROMPT: usize = 8;

/// The kernels as JSON.
fn table(kernels: &[KernelTime]) -> Vec<serde_json::Value> {
    let row = |k: &KernelTime| json!({"name": k.name, "ms": k.ms, "calls": k.calls, "flop": k.work.flop, "bytes": k.work.bytes});
    kernels.iter().map(row).collect()
}

/// The kernels as lines, longest first.
fn list(mut kernels: Vec<KernelTime>) {
    kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    for k in &kernels {
        let (tflops, gbytes) = k.rates();
        let tflops = if k.work.flop > 0.0 { format!("{tflops:>9.1} TFLOP/s") } else { String::new() };
        output::text(&format!("  {:<26}{:>9.3} ms{:>6} calls{gbytes:>9.0} GB/s{tflops}", k.name, k.ms, k.calls));
    }
}

/// Steps that the GPU queue may hold.
const IN_FLIGHT: usize = 2;
/// Steps per timing, because single steps vary.
const WINDOW: usize = 5;

/// The median, in milliseconds a step, over windows of marks.
fn median_step(marks: &[Instant]) -> f64 {
    let window = WINDOW.min(marks.len() - 1).max(1);
    let span = |w: &[Instant]| w[w.len() - 1].duration_since(w[0]).as_secs_f64() * 1e3 / window as f64;
    let mut times: Vec<f64> = marks.windows(window + 1).map(span).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
