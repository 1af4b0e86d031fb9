//! Chooses and opens an engine: wgpu on an adapter, or the CPU twins. `auto` prefers a discrete GPU, then an integrated
//! one, then the CPU twins. A software Vulkan driver is used only if named, since it is several times slower than the
//! twins.

use std::time::Instant;

use tracing::{info, warn};

use super::{
    adapter::{AdapterInfo, AdapterKind, EngineInfo, Matrices, Opening, Precision},
    check,
    device::Device,
    error::ComputeError,
    gpu::Gpu,
    host::Host,
    kernel::Needs,
};

impl Device {
    /// All adapters of this machine; the CPU twins are last.
    pub fn adapters() -> Vec<AdapterInfo> {
        let mut all = Gpu::list();
        all.push(Host::info());
        all
    }

    /// The adapter that `auto` selects among `adapters`, and why.
    pub fn choose(adapters: &[AdapterInfo]) -> (usize, &'static str) {
        let find = |kind| adapters.iter().position(|a: &AdapterInfo| a.kind == kind);
        if let Some(i) = find(AdapterKind::Discrete) {
            return (i, "a discrete GPU");
        }
        if let Some(i) = find(AdapterKind::Integrated) {
            return (i, "an integrated GPU; no discrete one is there");
        }
        let cpu = find(AdapterKind::Cpu).unwrap_or(adapters.len().saturating_sub(1));
        (cpu, "no GPU is there; a software driver is taken only when named")
    }

    /// Opens `auto`, `cpu`, or the first adapter whose name contains `wanted`, ignoring case.
    pub fn open(wanted: &str) -> Result<Device, ComputeError> {
        Device::open_with(wanted, Opening::default())
    }

    /// [`Device::open`] with options.
    pub fn open_with(wanted: &str, opening: Opening) -> Result<Device, ComputeError> {
        let cpu = || match opening.precision {
            Precision::F16 => Err(ComputeError::Precision { adapter: Host::info().name }),
            Precision::Auto | Precision::F32 => Ok(Device::cpu()),
        };
        if wanted.eq_ignore_ascii_case("cpu") {
            return cpu();
        }
        let adapters = Device::adapters();
        let index = if wanted.is_empty() || wanted.eq_ignore_ascii_case("auto") {
            Device::choose(&adapters).0
        } else {
            let needle = wanted.to_lowercase();
            let found = adapters.iter().position(|a| a.name.to_lowercase().contains(&needle));
            found.ok_or_else(|| ComputeError::NoAdapter {
                wanted: wanted.to_owned(),
                available: adapters.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", "),
            })?
        };
        match adapters.get(index) {
            Some(a) if a.kind != AdapterKind::Cpu => {
                let precision = opening.precision;
                let gpu = Gpu::open(index, opening)?;
                let info = EngineInfo {
                    engine: "wgpu",
                    adapter: a.name.clone(),
                    driver: format!("{} {}", a.backend, a.driver),
                    revision: EngineInfo::GPU_REVISION,
                };
                info!(adapter = info.adapter, driver = info.driver, "adapter opened");
                let mut device = Device::on_gpu(gpu, info);
                device.set_precision(precision)?;
                Ok(device)
            }
            _ => cpu(),
        }
    }

    /// Changes the type of activations and operands of everything that is allocated and recorded from now on; what
    /// exists keeps its type and must not be used beside the new. `Auto` is 32-bit floats.
    ///
    /// The first change to 16-bit floats checks the cooperative matrices, and they are not used where they fail.
    ///
    /// # Errors
    /// [`ComputeError::Precision`] if the adapter has no 16-bit floats or was opened without them.
    pub fn set_precision(&mut self, precision: Precision) -> Result<(), ComputeError> {
        let half = precision == Precision::F16;
        if !self.set_half(half) {
            return if half { Err(ComputeError::Precision { adapter: self.info().adapter.clone() }) } else { Ok(()) };
        }
        if half && self.traits().offers == Needs::Matrix && *self.matrices() == Matrices::Absent {
            let start = Instant::now();
            let tried = check::gate(self);
            self.judge(match tried {
                Ok(()) => Matrices::Passed(start.elapsed()),
                Err(reason) => {
                    warn!(reason, "cooperative matrices are not used");
                    Matrices::Failed(reason)
                }
            });
        }
        Ok(())
    }
}
