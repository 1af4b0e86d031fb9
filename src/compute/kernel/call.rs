//! A kernel call and its cost: arithmetic and memory traffic, from its row and its sizes. Submits are split by it
//! (`gpu/replay.rs`), profiles report it, and `ops/matmul.rs` chooses tiles by the rates they reach.

use std::collections::HashMap;

use super::row::{Access, Kernel};
use crate::compute::{cpu::Params, tensor::Tensor};

/// A kernel call: which kernel, on what, over which grid.
#[derive(Clone, Debug)]
pub struct Call {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its scalar parameters.
    pub params: Params,
    /// Its tensors, in binding order (reads first, then writes).
    pub args: Vec<Tensor>,
    /// Workgroups in x, y, z; the CPU twin ignores it.
    pub grid: [u32; 3],
}

/// Arithmetic and memory traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Multiplications and additions of matrix products and attention; elementwise work counts by its bytes only.
    pub flop: f64,
    /// Bytes of the bound tensors, each once.
    pub bytes: f64,
}

/// The work of one call.
pub(in crate::compute) fn work(call: &Call) -> Work {
    let [a, b, c, _, e] = call.params.sizes().map(|x| x as f64);
    // Products in causal attention: q·kᵀ and p·v; s, dp and dq; additionally dv and dk.
    let attention = |products: f64| products * a * b * b * c * e;
    let flop = match call.kernel.base() {
        name if name.starts_with("matmul") => 2.0 * a * b * c,
        "attention_forward" => attention(2.0),
        "attention_backward_q" => attention(3.0),
        "attention_backward_kv" => attention(4.0),
        _ => 0.0,
    };
    Work { flop, bytes: call.args.iter().map(|t| t.bytes() as f64).sum() }
}

impl Work {
    /// Milliseconds at `flop` operations and `bytes` bytes per second, without overlap.
    pub(in crate::compute) fn ms(self, (flop, bytes): (f64, f64)) -> f64 {
        (self.flop / flop + self.bytes / bytes) * 1e3
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.flop += other.flop;
        self.bytes += other.bytes;
    }
}

/// Barriers that wgpu inserts before calls in one command buffer: one if a buffer that was written before is bound, or
/// one that was read before is written. Each waits for everything before it.
pub(in crate::compute) fn barriers<'a>(calls: impl Iterator<Item = &'a Call>) -> usize {
    let mut states: HashMap<usize, Access> = HashMap::new();
    let mut count = 0;
    for call in calls {
        let mut waits = false;
        for (tensor, binding) in call.args.iter().zip(call.kernel.bindings) {
            let before = states.insert(tensor.buffer, binding.access);
            waits |= before.is_some_and(|before| before == Access::Write || binding.access == Access::Write);
        }
        count += usize::from(waits);
    }
    count
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::compute::{DType, Device, Layout, Recording, matmul, ops};

    #[test]
    fn products_and_attention_are_counted() {
        let mut device = Device::cpu();
        let heads = ops::Heads { query: 4, key: 2, size: 8 };
        let mut make = |shape: &[usize]| device.alloc("t", shape, DType::F32).expect("it fits");
        let (x, w, qkv) = (make(&[6, 16]), make(&[heads.qkv(), 16]), make(&[6, heads.qkv()]));
        let (out, lse, begins) = (make(&[6, heads.out()]), make(&[2, 4, 3]), make(&[6]));
        let mut rec = Recording::new(&mut device);
        matmul(&mut rec, Layout::NT, &x, &w, &qkv, false).expect("it fits");
        ops::attention_forward(&mut rec, &qkv, &begins, &out, &lse, 2, heads).expect("it fits");
        let of: Vec<Work> = rec.calls().iter().map(work).collect();
        assert_eq!(of[0].flop, 2.0 * 6.0 * 64.0 * 16.0);
        assert_eq!(of[0].bytes, 4.0 * (6.0 * 16.0 + 64.0 * 16.0 + 6.0 * 64.0));
        assert_eq!(of[1].flop, 2.0 * 2.0 * 9.0 * 4.0 * 8.0, "half of the square, two products of two operations");
    }
}
