//! Tensors, kernels, recordings.
//!
//! Runs a fixed list of kernel calls over named buffers, on a GPU through wgpu or on the CPU through twins of the same
//! kernels. Owns every device buffer. Independent of tokens, models and files.
//!
//! [`ops`] check shapes and append [`Call`]s to a [`Recording`]; [`Recording::compile`] turns the recording into a
//! [`Program`] once; [`Device::replay`] runs it.

mod adapter;
pub mod check;
mod cpu;
mod device;
mod error;
mod gpu;
mod host;
mod kernel;
mod open;
pub mod ops;
pub mod rng;
mod shader;
mod tensor;

pub use adapter::{AdapterInfo, AdapterKind, EngineInfo, Matrices, Opening, Precision};
pub use cpu::{Args, Arity, PARAM_WORDS, Params, exponentials};
pub use device::{Device, KernelTime, Program, Recording, Ticket};
pub use error::ComputeError;
pub use host::{Bound, Resident, Room, resident, room, room_under};
pub use kernel::{Access, Binding, Call, Cell, Defines, KERNELS, Kernel, Needs, Traits, Work, kernel};
pub use ops::{Layout, matmul, matmul_rope, matmul_swiglu, matmul_swiglu_backward};
pub use tensor::{ALIGNMENT, DType, Element, Tensor};
