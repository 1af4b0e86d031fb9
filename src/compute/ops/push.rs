//! Helpers of all operations: compare shapes, choose a row, append a call.

use crate::compute::{
    cpu::Params,
    device::Recording,
    error::ComputeError,
    kernel::{Call, Kernel, kernel_for},
    tensor::{ALIGNMENT, DType, Tensor},
};

pub(super) type Done = Result<(), ComputeError>;

pub(super) fn wrong(op: &'static str, what: String) -> ComputeError {
    ComputeError::Shape { op, what }
}

/// Rejects a tensor whose element count is not `len`.
pub(super) fn expect_len(op: &'static str, tensor: &Tensor, len: usize) -> Done {
    if tensor.len() == len {
        return Ok(());
    }
    Err(wrong(op, format!("{} has shape {:?}, {len} elements are needed", tensor.name, tensor.shape)))
}

/// Appends a call of the kernel `name` over `groups` workgroups in one dimension.
pub(super) fn push(
    rec: &mut Recording<'_>,
    name: &'static str,
    params: Params,
    args: &[&Tensor],
    grid: [u32; 3],
) -> Done {
    let row = kernel_for(name, &types(args)).ok_or_else(|| wrong(name, "no such kernel".to_owned()))?;
    push_row(rec, row, params, args, grid)
}

/// The element types of arguments.
pub(super) fn types(args: &[&Tensor]) -> Vec<DType> {
    args.iter().map(|t| t.dtype).collect()
}

/// Appends a call of a given row of the table.
pub(super) fn push_row(
    rec: &mut Recording<'_>,
    row: &'static Kernel,
    params: Params,
    args: &[&Tensor],
    grid: [u32; 3],
) -> Done {
    rec.push(Call { kernel: row, params, args: args.iter().map(|t| (*t).clone()).collect(), grid })
}

/// Workgroups for `n` elements with `each` per workgroup.
pub(super) fn line(rec: &Recording<'_>, n: usize, each: usize) -> [u32; 3] {
    rec.traits().grid(n.div_ceil(each))
}

/// Splits `len` elements of f32 into segments that fit one binding, each a multiple of the alignment.
pub(super) fn segments(rec: &Recording<'_>, len: usize) -> Vec<(usize, usize)> {
    let limit = (rec.traits().max_binding / DType::F32.bytes() as u64) as usize;
    let each = (limit / ALIGNMENT * ALIGNMENT).max(ALIGNMENT);
    (0..len.div_ceil(each)).map(|i| (i * each, each.min(len - i * each))).collect()
}

/// Elements per workgroup of an elementwise kernel: 256 invocations × 4.
pub const ELEMENTS: usize = 1024;
