//! Tensors, kernels, recordings: the engine room.
//!
//! Purpose: run a fixed list of kernel calls over named buffers, on a GPU through wgpu or on the
//! CPU through twins of the same kernels. Owns every device buffer. It has never heard of a token,
//! a model or a file.
//!
//! The path of a number: [`ops`] check shapes and append [`Call`]s to a [`Recording`];
//! [`Recording::compile`] turns the recording into a [`Program`] once; [`Device::replay`] runs it.

pub mod check;
mod cost;
pub mod cpu;
mod device;
mod error;
mod gpu;
mod host_memory;
mod kernel;
mod matmul;
mod matrix;
mod memory;
pub mod ops;
mod record;
pub mod rng;

pub use cost::Work;
pub use cpu::exponentials;
pub use device::{AdapterInfo, AdapterKind, Device, EngineInfo, Matrices, Opening, Precision, Ticket};
pub use error::ComputeError;
pub use host_memory::{Bound, Resident, Room, resident, room, room_under};
pub use kernel::{Access, Arity, Binding, Cell, Defines, KERNELS, Kernel, Needs, kernel};
pub use matmul::{Layout, matmul, matmul_rope, matmul_swiglu, matmul_swiglu_backward};
pub use memory::{ALIGNMENT, DType, Tensor};
pub use record::{Args, Call, KernelTime, PARAM_WORDS, Params, Program, Recording, Traits};
