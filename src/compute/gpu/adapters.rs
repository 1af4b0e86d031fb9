//! Lists the adapters of this machine: once, in a stable order, each device once.

use std::sync::OnceLock;

use crate::compute::{
    adapter::{AdapterInfo, AdapterKind},
    kernel::Needs,
};

/// An adapter of wgpu with danlu's description.
pub(super) struct Found {
    pub(super) adapter: wgpu::Adapter,
    pub(super) info: AdapterInfo,
}

/// All adapters that can compute, best kind first. The instance lives as long as the process: creating it takes tens of
/// milliseconds, and a driver may not survive being loaded twice.
pub(super) fn all() -> &'static [Found] {
    static FOUND: OnceLock<Vec<Found>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12,
            flags: wgpu::InstanceFlags::DISCARD_HAL_LABELS,
            memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
                for_resource_creation: Some(95),
                for_device_loss: None,
            },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        sift(adapters.into_iter().filter(computes).map(describe).collect(), key)
    })
}

/// Whether it supports compute shaders within the limits that all kernels keep.
fn computes(adapter: &wgpu::Adapter) -> bool {
    let flags = adapter.get_downlevel_capabilities().flags;
    flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        && wgpu::Limits::default().check_limits(&needed(&adapter.limits()))
}

/// The limits that kernels depend on; the rest are the defaults, for comparison.
fn needed(there: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_storage_buffers_per_shader_stage: there.max_storage_buffers_per_shader_stage,
        max_storage_buffer_binding_size: there.max_storage_buffer_binding_size,
        max_compute_workgroup_storage_size: there.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: there.max_compute_invocations_per_workgroup,
        max_compute_workgroups_per_dimension: there.max_compute_workgroups_per_dimension,
        ..wgpu::Limits::default()
    }
}

/// Optional features that the engine uses if available.
pub(super) fn useful() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY
}

/// The optional capabilities of an adapter. Cooperative matrices count only with subgroups of 32 invocations, which the
/// kernels that use them assume.
pub(super) fn offers(adapter: &wgpu::Adapter) -> Needs {
    let there = adapter.features();
    if !there.contains(features(Needs::Half)) {
        return Needs::Common;
    }
    let info = adapter.get_info();
    let half = wgpu::CooperativeScalarType::F16;
    let fits = |p: &wgpu::CooperativeMatrixProperties| {
        [p.m_size, p.n_size, p.k_size] == [16; 3] && p.ab_type == half && p.cr_type == wgpu::CooperativeScalarType::F32
    };
    let matrices = there.contains(features(Needs::Matrix))
        && (info.subgroup_min_size, info.subgroup_max_size) == (32, 32)
        && adapter.cooperative_matrix_properties().iter().any(fits);
    if matrices { Needs::Matrix } else { Needs::Half }
}

/// The features for a capability.
pub(super) fn features(needs: Needs) -> wgpu::Features {
    match needs {
        Needs::Common => wgpu::Features::empty(),
        Needs::Half => wgpu::Features::SHADER_F16,
        Needs::Matrix => wgpu::Features::SHADER_F16 | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
    }
}

/// wgpu's token for experimental features, used only for cooperative matrices.
#[allow(unsafe_code, reason = "wgpu marks experimental features so; nothing else makes the token")]
pub(super) fn experimental(needs: Needs) -> wgpu::ExperimentalFeatures {
    if needs < Needs::Matrix {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: the only experimental feature requested is EXPERIMENTAL_COOPERATIVE_MATRIX. Its kernels keep pointers and
    // strides of cooperative loads aligned, which tests/kernels/main.rs checks on their WGSL.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

fn describe(adapter: wgpu::Adapter) -> Found {
    let info = adapter.get_info();
    let software = ["llvmpipe", "lavapipe", "swiftshader", "basic render"];
    let name = info.name.to_lowercase();
    let kind = match info.device_type {
        _ if software.iter().any(|s| name.contains(s)) => AdapterKind::Software,
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => AdapterKind::Virtual,
    };
    let known = useful() | features(Needs::Matrix);
    let features = (adapter.features() & known).iter_names().map(|(name, _)| name.to_owned()).collect();
    let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned();
    let info = AdapterInfo {
        name: info.name,
        kind,
        backend: info.backend.to_str().to_owned(),
        driver,
        max_binding: adapter.limits().max_storage_buffer_binding_size,
        features,
    };
    Found { adapter, info }
}

/// Identifies a device across backends.
fn key(found: &Found) -> (u32, u32, String) {
    let info = found.adapter.get_info();
    (info.vendor, info.device, found.info.name.to_lowercase())
}

/// Sorts by kind, then backend, then the driver's order, and keeps each device under its first backend. Two equal cards
/// under one backend are two devices.
fn sift(mut found: Vec<Found>, key: impl Fn(&Found) -> (u32, u32, String)) -> Vec<Found> {
    found.sort_by_key(|f| (kind_rank(f.info.kind), backend_rank(&f.info.backend)));
    let mut kept: Vec<Found> = Vec::new();
    for f in found {
        let elsewhere = kept.iter().any(|k| k.info.backend != f.info.backend && key(k) == key(&f));
        if !elsewhere {
            kept.push(f);
        }
    }
    kept
}

fn kind_rank(kind: AdapterKind) -> u8 {
    match kind {
        AdapterKind::Discrete => 0,
        AdapterKind::Integrated => 1,
        AdapterKind::Virtual => 2,
        AdapterKind::Software => 3,
        AdapterKind::Cpu => 4,
    }
}

fn backend_rank(backend: &str) -> u8 {
    match backend {
        "metal" => 0,
        "vulkan" => 1,
        _ => 2,
    }
}
