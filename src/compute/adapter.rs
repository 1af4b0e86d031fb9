//! Adapters, how they are opened, and their properties.

use std::{path::PathBuf, time::Duration};

/// The kind of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// A GPU with separate memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A virtual GPU.
    Virtual,
    /// A driver that computes on the CPU (llvmpipe, WARP).
    Software,
    /// danlu's own CPU twins.
    Cpu,
}

/// An adapter of this machine.
#[derive(Clone, Debug)]
pub struct AdapterInfo {
    /// Its name; `--adapter` matches a part of it.
    pub name: String,
    /// Its kind.
    pub kind: AdapterKind,
    /// `vulkan`, `metal`, `dx12` or `cpu`.
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// Largest storage binding in bytes; 0 where there is no limit.
    pub max_binding: u64,
    /// Optional features that danlu can use, by name.
    pub features: Vec<String>,
}

/// The engine in use, for the screen and state.json.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    /// `cpu` or `wgpu`.
    pub engine: &'static str,
    /// The adapter's name.
    pub adapter: String,
    /// Backend and driver.
    pub driver: String,
    /// Revision of the engine's arithmetic: raised by a change of what a kernel rounds or of the order of its sums, so
    /// that a run which another revision began continues with a note.
    pub revision: u32,
}

impl EngineInfo {
    /// The CPU engine's revision.
    pub(super) const CPU_REVISION: u32 = 1;
    /// The wgpu engine's revision. 2: δ of attention from the unrounded output in f16, decoding by
    /// `matmul_few`, `attention_row` and `mlp_row`.
    pub(super) const GPU_REVISION: u32 = 2;
}

/// The type of activations and operands. Sums, master weights and the optimiser are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Opens what the adapter offers and begins with 32-bit floats; [`Device::set_precision`](super::Device::set_precision)
    /// changes to 16-bit ones.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats; an adapter without them is an error.
    F16,
}

/// Options for opening an adapter. The default is that of training.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// wgpu's default limits and no optional features: what every adapter has.
    pub minimal: bool,
    /// Keeps runtime checks in the kernels that usually omit them.
    pub checked: bool,
    /// The type of activations and operands.
    pub precision: Precision,
    /// A folder whose WGSL files override the built-in ones of the same name, when the device is opened and whenever
    /// they change. The CPU engine ignores it.
    pub shaders: Option<PathBuf>,
}

/// The state of a device's cooperative matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matrices {
    /// The adapter has none of the required form, or was not opened for them.
    Absent,
    /// They agreed with the CPU twins in the check on opening, which took this long.
    Passed(Duration),
    /// They did not agree and are not used.
    Failed(String),
}
