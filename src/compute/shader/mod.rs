//! The WGSL of a kernel: files of `shaders/` after the preprocessor.

mod preprocess;
mod sources;

use super::{
    error::ComputeError,
    kernel::{Cell, Kernel, Needs},
    tensor::DType,
};

pub(super) use preprocess::Expanded;
pub(super) use sources::Sources;

impl Kernel {
    /// Its built-in WGSL after the preprocessor.
    pub fn wgsl(&self) -> Result<String, ComputeError> {
        Ok(self.expand(&Sources::default())?.text)
    }

    /// Its WGSL from given sources.
    pub(super) fn expand(&self, sources: &Sources) -> Result<Expanded, ComputeError> {
        let mut defines: Vec<preprocess::Define> =
            self.defines.iter().flat_map(|group| group.iter().copied()).collect();
        let act = if self.act() == DType::F16 { "f16" } else { "f32" };
        let last = self.bindings.last().map(|b| b.cell);
        // The types of activations and of the last binding.
        defines.extend([("ACT", act), ("OUT", if last == Some(Cell::Act) { act } else { "f32" })]);
        if self.act() == DType::F16 {
            defines.push(("HALF", ""));
        }
        let head = match self.needs {
            Needs::Common => "",
            Needs::Half => "enable f16;",
            Needs::Matrix => "enable f16;\nenable wgpu_cooperative_matrix;",
        };
        preprocess::expand(sources, self.source, &defines, head)
            .map_err(|reason| ComputeError::Kernel { kernel: self.name.into(), reason })
    }
}
