//! Opens a Hugging Face folder (config.json and model.safetensors), scores a row of token ids and continues
//! it greedily:
//!
//!     cargo run --release --example load_hf -- DIR [ID …]

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, path::PathBuf};

use danlu::{
    compute::Device,
    nn::{Decoder, Evaluator, Sampling, Weights, sample, shift_labels},
    train::model_folder,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let tied = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tied");
    let folder = PathBuf::from(args.next().unwrap_or_else(|| tied.to_owned()));
    let mut ids = args.map(|a| a.parse::<u32>()).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        ids = vec![62, 83, 13, 122, 21, 5];
    }

    // A folder that cannot be computed exactly is refused here, with the reason.
    let (config, table, slab) = model_folder::load(&folder)?;
    println!("{}: {} tensors, {} parameters", folder.display(), table.tensors.len(), table.parameters());

    let mut device = Device::open("auto")?;
    let weights = Weights::alloc(&mut device, "params", &table.into())?;
    weights.write(&mut device, &slab)?;

    // The target of a position is the token after it; the last one has none.
    let own: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    let targets = shift_labels(&own, ids.len());
    let mut evaluator = Evaluator::new(&mut device, &config, &weights, 1, ids.len())?;
    let losses = evaluator.losses(&mut device, &ids, &targets, None)?;
    for (next, loss) in ids.iter().skip(1).zip(&losses) {
        println!("log p({next} | the tokens before) = {:.6}", -loss);
    }

    let wanted = (ids.len() + 12).min(config.max_position_embeddings);
    let mut decoder = Decoder::new(&mut device, &config, &weights, wanted)?;
    let mut logits = decoder.feed(&mut device, &ids)?;
    while ids.len() < wanted {
        ids.push(sample(&logits, &ids, &Sampling::greedy(), ids.len() as u64));
        if ids.len() < wanted {
            logits = decoder.feed(&mut device, &ids[ids.len() - 1..])?;
        }
    }
    println!("greedy: {ids:?}");
    Ok(())
}
