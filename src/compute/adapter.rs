//! What an adapter is, how it is opened, and what is known of it then.

use std::{path::PathBuf, time::Duration};

/// What an adapter is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// A GPU with memory of its own.
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

/// One adapter of this machine.
#[derive(Clone, Debug)]
pub struct AdapterInfo {
    /// The name that `--adapter` matches a part of.
    pub name: String,
    /// What it is made of.
    pub kind: AdapterKind,
    /// `vulkan`, `metal`, `dx12` or `cpu`.
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// Largest storage binding in bytes; 0 where there is no limit.
    pub max_binding: u64,
    /// Optional features that danlu can use there, by name.
    pub features: Vec<String>,
}

/// The engine that runs, for the screen and for state.json.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    /// `cpu` or `wgpu`.
    pub engine: &'static str,
    /// The adapter's name.
    pub adapter: String,
    /// Backend and driver.
    pub driver: String,
}

/// The type in which activations and operands are kept and multiplied. Sums, master weights and the
/// optimiser are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// What danlu holds to be best on the adapter: f32, for now.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats; an adapter without them is an error.
    F16,
}

/// How to open an adapter. The default is what training takes.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// wgpu's default limits and no optional features: what every adapter has.
    pub minimal: bool,
    /// Keep runtime checks in the kernels that usually go without.
    pub checked: bool,
    /// The type of activations and operands.
    pub precision: Precision,
    /// A folder whose WGSL files take the place of the built-in ones of the same name, when the device is opened
    /// and whenever they are written. The CPU engine has no use for it.
    pub shaders: Option<PathBuf>,
}

/// What is known of a device's cooperative matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matrices {
    /// The adapter has none of the form that the kernels take, or was not opened for them.
    Absent,
    /// They computed what the CPU twins do when the device was opened, in a trial that took so long.
    Passed(Duration),
    /// They did not, and are not used.
    Failed(String),
}
