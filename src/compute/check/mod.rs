//! Compares every kernel with its CPU twin on a device: for `danlu check` and tests/kernels/main.rs.
//!
//! A case makes tensors, records an operation and runs its calls one by one; before each, the bound tensors are read
//! back and passed to the twin, so that the error of one call does not affect the next.

mod attention;
mod bench;
mod case;
mod decoding;
mod elementwise;
mod optimizer;
mod products;
mod rows;

use super::{
    device::Device,
    error::ComputeError,
    kernel::{KERNELS, Kernel, kernel},
};
use bench::Bench;
use case::{Case, Done};

pub use self::{bench::CheckRow, case::Mutant};

/// Every case, by family.
const CASES: [&[Case]; 6] =
    [elementwise::CASES, rows::CASES, attention::CASES, decoding::CASES, products::CASES, optimizer::CASES];

/// Wrong kernels: each must fail its check, or the check proves nothing.
pub fn mutants() -> impl Iterator<Item = &'static Mutant> {
    CASES.into_iter().flatten().flat_map(|case| case.mutants)
}

/// Runs the case of a kernel.
fn judge(b: &mut Bench<'_>) -> Done {
    let name = b.kernel.base();
    match CASES.into_iter().flatten().find(|case| case.kernels.contains(&name)) {
        Some(case) => (case.run)(b),
        None => Err(ComputeError::Kernel { kernel: name.into(), reason: "no case checks it".into() }),
    }
}

/// Checks every kernel that this device can run.
pub fn run(device: &mut Device) -> Result<Vec<CheckRow>, ComputeError> {
    let traits = device.traits();
    let mut rows = Vec::new();
    for kernel in KERNELS.iter().filter(|k| k.runs_on(&traits)) {
        rows.extend(check(device, kernel)?);
    }
    Ok(rows)
}

/// Checks one kernel over its shapes.
pub fn check(device: &mut Device, kernel: &'static Kernel) -> Result<Vec<CheckRow>, ComputeError> {
    let mut bench = Bench::new(device, kernel);
    let done = judge(&mut bench);
    bench.clear();
    done.map(|()| bench.rows)
}

/// The kernels that are run when a device is opened for cooperative matrices.
const TRIED: [&str; 6] = [
    "matmul_nt.128c",
    "matmul_nn.128c",
    "matmul_tn_split.128c",
    "attention_forward.64c",
    "attention_backward_q.64c",
    "attention_backward_kv.64c",
];

/// How often each of them is run, with identical bits required.
const REPEATS: usize = 25;

/// Checks cooperative matrices against the CPU twins: products with ragged edges in each layout, and attention forward
/// and backward, whose accumulators pass through workgroup memory and become operands again, over two hundred
/// workgroups, which must give the same bits for the same rows. A driver may offer such matrices and compute something
/// else. The error names the row and its deviation.
pub(super) fn gate(device: &mut Device) -> Result<(), String> {
    let tried: Vec<&'static Kernel> = TRIED.iter().filter_map(|name| kernel(name)).collect();
    let (mark, traits) = (device.mark(), device.traits());
    if let Some(small) = tried.iter().find(|row| !row.runs_on(&traits)) {
        return Err(format!("{} does not fit the device", small.name));
    }
    let outcome = device.prepare(&tried).and_then(|()| {
        let mut rows = Vec::new();
        for kernel in tried {
            let mut bench = Bench::new(device, kernel);
            bench.repeats = REPEATS;
            let trial = if kernel.has("EXACT") { attention::trial } else { products::trial };
            let done = trial(&mut bench);
            bench.clear();
            done?;
            rows.append(&mut bench.rows);
        }
        Ok(rows)
    });
    device.release(mark);
    let rows = outcome.map_err(|e| e.to_string())?;
    match rows.iter().find(|row| !row.passed) {
        Some(r) => Err(format!("{} is off by {:.1e} at {}, {:.1e} is allowed", r.kernel, r.error, r.shape, r.bound)),
        None => Ok(()),
    }
}
