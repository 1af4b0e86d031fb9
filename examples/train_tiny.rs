//! Trains a very small model on the built-in Chinese poems, through the library:
//!
//!     cargo run --release --example train_tiny            (which engine: `-- cpu`, or part of an adapter's name)

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, sync::Arc};

use danlu::{
    compute::Device,
    data::{Batcher, History, Shape, builtin_sources, pack, split, train_char, training_texts},
    nn::{AdamW, Decoder, Learner, MicroBatch, ModelConfig, Sampling, StepOutcome, sample},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut device = Device::open(&std::env::args().nth(1).unwrap_or_else(|| "auto".into()))?;
    println!("engine: {} ({})", device.info().adapter, device.info().engine);

    // Text to token streams: sources, a tokenizer of single characters, packed documents.
    let sources: Vec<_> = builtin_sources()?.into_iter().filter(|s| s.name == "poems-short").collect();
    let parts = split(&sources, &[]);
    let tokenizer = train_char(&training_texts(&sources, &parts), 1024)?;
    let packed = Arc::new(pack(&sources, &parts, &tokenizer)?);

    // Layers, hidden, query heads, key/value heads, feed-forward, vocabulary, positions.
    let config = ModelConfig::llama(2, 64, 2, 2, 192, tokenizer.vocab_size(), 64);
    let (rows, context, steps, seed) = (16, 32, 300, 1);
    let mut learner = Learner::new(&mut device, &config, rows, context, AdamW::default())?;
    let start = learner.table().initial(seed);
    learner.write_params(&mut device, &start)?;
    println!("{} parameters, {} kernel calls a step", learner.table().parameters(), learner.calls());

    // A batch is a function of seed and step: the same program draws the same batches every time.
    let history = History::new(&[1.0], Shape { rows, window: context, micros: 1 })?;
    let mut batcher = Batcher::new(packed, seed, history)?;
    for step in 0..steps {
        let batch = batcher.batch(step as u64, 0)?;
        let micro = MicroBatch { ids: &batch.ids, targets: &batch.targets, starts: None };
        let mut ticket = learner.step(&mut device, &[micro], 5e-3, seed, step)?;
        // A loop for speed would collect the answer a step or two later.
        let control = device.collect(&mut ticket, true)?.unwrap_or_default();
        let outcome = StepOutcome::from_control(&control);
        if step == 0 || (step + 1) % 50 == 0 {
            println!("step {:>4}  loss {:.4}  grad_norm {:.3}", step + 1, outcome.loss, outcome.grad_norm);
        }
    }

    // The live weights continue a line greedily.
    let mut decoder = Decoder::new(&mut device, &config, learner.params(), context)?;
    let mut ids = tokenizer.encode("春眠不觉晓，")?;
    let mut logits = decoder.feed(&mut device, &ids)?;
    while ids.len() < 24 {
        ids.push(sample(&logits, &ids, &Sampling::greedy(), ids.len() as u64));
        logits = decoder.feed(&mut device, &ids[ids.len() - 1..])?;
    }
    println!("{}", tokenizer.decode(&ids, true));
    Ok(())
}
