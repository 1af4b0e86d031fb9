//! Records a list of kernel calls, replays it and prints the time of each kernel. The same list runs on every engine:
//!
//! ```text
//! cargo run --release --example own_kernel            (to choose an engine: `-- cpu`, or part of an adapter's name)
//! ```
//!
//! Your own kernel is added like these: a shader in `shaders/`, a twin in `src/compute/cpu/`, a row in `KERNELS` and a
//! checked function in `ops/` (CONTRIBUTING.md).

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use danlu::compute::{DType, Device, Layout, Recording, matmul, ops, rng};

fn main() -> Result<(), Box<dyn Error>> {
    let mut device = Device::open(&std::env::args().nth(1).unwrap_or_else(|| "auto".into()))?;
    println!("engine: {} ({}, {})", device.info().adapter, device.info().engine, device.info().driver);

    // Half of a feed-forward block: gate and up in one product, SwiGLU, and the sum of the result.
    let (n, c, f) = (512, 256, 704);
    let x = device.alloc("x", &[n, c], DType::F32)?;
    let w = device.alloc("gate_up.weight", &[2 * f, c], DType::F32)?;
    let gate_up = device.alloc("gate_up", &[n, 2 * f], DType::F32)?;
    let act = device.alloc("act", &[n, f], DType::F32)?;
    let total = device.alloc("total", &[1], DType::F32)?;
    for (stream, tensor) in [&x, &w].into_iter().enumerate() {
        // Random numbers are a function of (seed, purpose, stream, index): no generator has a state.
        let value = |i| rng::below(1, rng::Purpose::Bench, stream as u64, i, 2001) as f32 / 1000.0 - 1.0;
        device.write(tensor, &(0..tensor.len() as u64).map(value).collect::<Vec<f32>>())?;
    }

    // Shapes are checked while recording; pipelines and bind groups are made once, by `compile`.
    let mut rec = Recording::new(&mut device);
    matmul(&mut rec, Layout::NT, &x, &w, &gate_up, false)?;
    ops::swiglu_forward(&mut rec, &gate_up, &act)?;
    ops::sum(&mut rec, &act, &total, false)?;
    let program = rec.compile()?;

    device.replay(&[&program])?;
    println!("sum of the activations: {:?}", device.read::<f32>(&total)?);
    for kernel in device.profile(&[&program])? {
        println!("{:<16}{:>9.3} ms{:>4} calls", kernel.name, kernel.ms, kernel.calls);
    }

    // A call that does not fit is refused before anything runs.
    let mut rec = Recording::new(&mut device);
    let refused = matmul(&mut rec, Layout::NN, &x, &w, &gate_up, false);
    println!("a product of the wrong layout: {}", refused.err().map_or("was taken".to_owned(), |e| e.to_string()));
    Ok(())
}
