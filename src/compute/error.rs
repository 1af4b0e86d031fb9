//! Errors of the compute layer: shapes, devices, memory.

/// An error of the compute layer. Every variant has what was requested and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError {
    /// The shapes of an operation's tensors do not match.
    #[error("{op}: {what}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Which tensor, what was found and what was expected.
        what: String,
    },
    /// No adapter has the requested name.
    #[error("no adapter matches {wanted:?}; available: {available}. Choose one of them, \"cpu\" or \"auto\"")]
    NoAdapter {
        /// The requested name.
        wanted: String,
        /// The names that exist, joined by commas.
        available: String,
    },
    /// The driver refused to open the device.
    #[error("the adapter {adapter:?} cannot be opened: {reason}. Try --adapter cpu")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// The driver's message.
        reason: String,
    },
    /// The adapter cannot compute in half precision.
    #[error("the adapter {adapter:?} cannot compute in f16; use --precision f32 or auto, or another --adapter")]
    Precision {
        /// The adapter's name.
        adapter: String,
    },
    /// More memory was requested than the device (or its limit) has.
    #[error("out of device memory: {what} needs {need} bytes, {there} available; {advice}")]
    Memory {
        /// The purpose of the memory.
        what: String,
        /// Bytes requested.
        need: u64,
        /// Bytes available.
        there: u64,
        /// A setting that would fit, or what to try.
        advice: String,
    },
    /// A tensor is larger than one binding of this adapter.
    #[error(
        "{tensor} takes {need} bytes in one binding, but this adapter binds at most {limit}; choose a smaller model or --adapter cpu"
    )]
    Binding {
        /// The tensor's name.
        tensor: String,
        /// Bytes of the binding.
        need: u64,
        /// The adapter's limit.
        limit: u64,
    },
    /// A kernel's WGSL could not be compiled.
    #[error("kernel {kernel}: {reason}")]
    Kernel {
        /// The kernel's name.
        kernel: String,
        /// The compiler's message.
        reason: String,
    },
    /// The device was lost or reported an error.
    #[error("the device failed: {reason}. The last checkpoint is intact; start again, or use --adapter cpu")]
    Lost {
        /// The driver's message.
        reason: String,
    },
}
