//! The WGSL of a kernel: the files of `shaders/` through the preprocessor.

mod preprocess;
mod sources;

use super::{
    error::ComputeError,
    kernel::{Cell, Kernel, Needs},
    tensor::DType,
};

impl Kernel {
    /// Its WGSL, expanded by the preprocessor.
    pub fn wgsl(&self) -> Result<String, ComputeError> {
        let mut defines: Vec<preprocess::Define> =
            self.defines.iter().flat_map(|group| group.iter().copied()).collect();
        let act = if self.act() == DType::F16 { "f16" } else { "f32" };
        let last = self.bindings.last().map(|b| b.cell);
        // The type of activations, and of what the last binding holds.
        defines.extend([("ACT", act), ("OUT", if last == Some(Cell::Act) { act } else { "f32" })]);
        if self.act() == DType::F16 {
            defines.push(("HALF", ""));
        }
        let text = preprocess::expand(self.source, &defines)
            .map_err(|reason| ComputeError::Kernel { kernel: self.name.into(), reason })?;
        Ok(match self.needs {
            Needs::Common => text,
            Needs::Half => format!("enable f16;\n{text}"),
            Needs::Matrix => format!("enable f16;\nenable wgpu_cooperative_matrix;\n{text}"),
        })
    }
}
