//! A row of the table of kernels: WGSL, bindings, parameters and CPU twin.

use crate::compute::{cpu::Twin, tensor::DType};

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
}

/// What a binding is an array of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// f32, u32 or i32: sums, master weights, ids.
    Word,
    /// The row's activation type, `${ACT}` in its WGSL: f32, or f16 in the rows that need it.
    Act,
}

/// One storage binding of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// How the kernel uses it.
    pub access: Access,
    /// What it is an array of.
    pub cell: Cell,
}

/// What a row asks of a device beside limits; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// What every adapter has.
    Common,
    /// 16-bit floats in storage and arithmetic.
    Half,
    /// Cooperative matrices, 16×16×16, f16 × f16 → f32.
    Matrix,
}

/// What the preprocessor defines: `("TILE", "64")` for a constant, `("TN", "")` for a flag.
pub type Defines = &'static [(&'static str, &'static str)];

/// One kernel, or one variant of it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Unique name; variants of one kernel differ after a dot (`matmul_nt.128v`), and the f16 row of a
    /// variant ends in `.h`.
    pub name: &'static str,
    /// Entry in `shaders/`, without the ending; the entry point is `main`.
    pub source: &'static str,
    /// What the preprocessor defines, in groups.
    pub defines: &'static [Defines],
    /// Storage bindings 1, 2, … in order, reads first; the parameter block is binding 0.
    pub bindings: &'static [Binding],
    /// The members of `struct Params`, in order.
    pub params: &'static [&'static str],
    /// The same computation on the CPU.
    pub twin: Twin,
    /// Bytes of workgroup memory that it takes at most.
    pub storage: u32,
    /// What the device must have.
    pub needs: Needs,
}

impl Kernel {
    /// The name without the variant.
    pub fn base(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// True when a flag is defined.
    pub fn has(&self, flag: &str) -> bool {
        self.defines.iter().any(|group| group.iter().any(|(name, _)| *name == flag))
    }

    /// True when a device of these traits can run it.
    pub fn runs_on(&self, traits: &Traits) -> bool {
        match self.needs {
            Needs::Common if traits.cpu => true,
            needs => needs <= traits.offers && self.storage <= traits.workgroup_storage,
        }
    }

    /// The type of the [`Cell::Act`] bindings.
    pub fn act(&self) -> DType {
        if self.needs == Needs::Common { DType::F32 } else { DType::F16 }
    }

    /// True when it may bind a tensor of that type there.
    pub fn binds(&self, binding: &Binding, dtype: DType) -> bool {
        match binding.cell {
            Cell::Word => dtype != DType::F16,
            Cell::Act => dtype == self.act(),
        }
    }

    /// True when it may bind tensors of these types.
    pub fn takes(&self, types: &[DType]) -> bool {
        types.len() == self.bindings.len() && types.iter().zip(self.bindings).all(|(t, b)| self.binds(b, *t))
    }

    /// Number of bindings that are only read: those before the others.
    pub fn reads(&self) -> usize {
        self.bindings.iter().filter(|b| b.access == Access::Read).count()
    }

    /// A constant of the row; 0 where it has none of that name.
    pub fn constant(&self, name: &str) -> usize {
        let found = self.defines.iter().flat_map(|group| group.iter()).find(|(n, _)| *n == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }
}

/// What a recording must know of its device to choose variants and segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// True on the CPU engine: no variants, no splits.
    pub cpu: bool,
    /// True on a software rasteriser (llvmpipe): barriers are dear there.
    pub software: bool,
    /// Bytes that one storage binding may span.
    pub max_binding: u64,
    /// Workgroups in one grid dimension.
    pub max_groups: u32,
    /// Bytes of workgroup memory.
    pub workgroup_storage: u32,
    /// Invocations in one workgroup.
    pub max_invocations: u32,
    /// What it has beside limits, as far as it was opened for it.
    pub offers: Needs,
    /// The type of activations and operands there: f16 on a device opened in half precision.
    pub act: DType,
    /// Multiprocessors that want work at once, about: nothing in WebGPU tells.
    pub units: u32,
}

impl Traits {
    /// A one-dimensional grid of `groups`, folded into y past the limit of x. Kernels compute their
    /// group as `wg.x + wg.y * num_workgroups.x` and leave when it is past the end.
    pub fn grid(&self, groups: usize) -> [u32; 3] {
        let limit = self.max_groups as usize;
        if groups <= limit {
            return [groups.max(1) as u32, 1, 1];
        }
        [limit as u32, groups.div_ceil(limit) as u32, 1]
    }
}

/// Workgroup memory that every adapter has.
const COMMON: u32 = 16_384;

pub(super) const fn row(
    name: &'static str,
    source: &'static str,
    defines: &'static [Defines],
    bindings: &'static [Binding],
    params: &'static [&'static str],
    twin: Twin,
) -> Kernel {
    Kernel { name, source, defines, bindings, params, twin, storage: COMMON, needs: Needs::Common }
}

impl Kernel {
    pub(super) const fn storage(mut self, bytes: u32) -> Kernel {
        self.storage = bytes;
        self
    }

    /// The row over f16.
    pub(super) const fn half(mut self) -> Kernel {
        self.needs = Needs::Half;
        self
    }
}
