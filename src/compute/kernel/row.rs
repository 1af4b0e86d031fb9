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

/// The element type of a binding.
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
    /// Its element type.
    pub cell: Cell,
}

/// What a row requires of a device besides limits; each includes those before it.
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
    /// File name in `shaders/`, without extension; the entry point is `main`.
    pub source: &'static str,
    /// What the preprocessor defines, in groups.
    pub defines: &'static [Defines],
    /// Storage bindings 1, 2, … in order, reads first; the parameter block is binding 0.
    pub bindings: &'static [Binding],
    /// The members of `struct Params`, in order.
    pub params: &'static [&'static str],
    /// The same computation on the CPU.
    pub twin: Twin,
    /// Upper bound on its workgroup memory in bytes.
    pub storage: u32,
    /// What the device must support.
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

    /// Whether a device with these traits can run it.
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

    /// Whether it may bind a tensor of that type there.
    pub fn binds(&self, binding: &Binding, dtype: DType) -> bool {
        match binding.cell {
            Cell::Word => dtype != DType::F16,
            Cell::Act => dtype == self.act(),
        }
    }

    /// Whether it may bind tensors of these types.
    pub fn takes(&self, types: &[DType]) -> bool {
        types.len() == self.bindings.len() && types.iter().zip(self.bindings).all(|(t, b)| self.binds(b, *t))
    }

    /// Number of read-only bindings, which precede the others.
    pub fn reads(&self) -> usize {
        self.bindings.iter().filter(|b| b.access == Access::Read).count()
    }

    /// A constant of the row; 0 if it has none of that name.
    pub fn constant(&self, name: &str) -> usize {
        let found = self.defines.iter().flat_map(|group| group.iter()).find(|(n, _)| *n == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }
}

/// The properties of a device by which recordings choose variants and segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// True on the CPU engine: no variants, no splits.
    pub cpu: bool,
    /// True on a software rasteriser (llvmpipe), where barriers are expensive.
    pub software: bool,
    /// Bytes that one storage binding may span.
    pub max_binding: u64,
    /// Workgroups in one grid dimension.
    pub max_groups: u32,
    /// Bytes of workgroup memory.
    pub workgroup_storage: u32,
    /// Invocations in one workgroup.
    pub max_invocations: u32,
    /// Its optional capabilities, as far as it was opened for them.
    pub offers: Needs,
    /// The type of activations and operands: f16 on a device opened in half precision.
    pub act: DType,
    /// Approximate number of multiprocessors to keep busy; WebGPU does not report it.
    pub units: u32,
}

impl Traits {
    /// A one-dimensional grid of `groups`, folded into y beyond the limit of x. Kernels compute their group as `wg.x +
    /// wg.y * num_workgroups.x` and return if it is past the end.
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
