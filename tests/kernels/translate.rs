//! A row's WGSL by naga: valid, translatable for Vulkan, Metal and Direct3D, and bound as the row says.

use danlu::compute::{Access, Binding, Cell, DType, Kernel, Needs, PARAM_WORDS};
use libtest_mimic::Failed;
use naga::{
    AddressSpace, Module, StorageAccess, TypeInner,
    back::{hlsl, msl, spv},
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};

/// Workgroup memory of any adapter, and invocations of a workgroup.
const INVOCATIONS: u32 = 256;

pub(super) fn run(kernel: &'static Kernel) -> Result<(), Failed> {
    let source = kernel.wgsl()?;
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string(&source))?;
    let capabilities = match kernel.needs {
        Needs::Common => Capabilities::empty(),
        Needs::Half => Capabilities::SHADER_FLOAT16,
        Needs::Matrix => Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX,
    };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| e.emit_to_string(&source))?;
    if kernel.needs == Needs::Matrix {
        matrices(&module, &info)?;
    } else {
        translate(&module, &info)?;
    }
    bindings(kernel, &module)?;
    workgroup(kernel, &module)
}

fn translate(module: &Module, info: &ModuleInfo) -> Result<(), Failed> {
    spv::write_vec(module, info, &spv::Options::default(), None).map_err(|e| format!("SPIR-V: {e}"))?;
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    msl::write_string(module, info, &options, &msl::PipelineOptions::default()).map_err(|e| format!("Metal: {e}"))?;
    // The first model with 16-bit floats.
    let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..Default::default() };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None).map_err(|e| format!("HLSL: {e}"))?;
    Ok(())
}

/// What a driver does not report about a kernel with cooperative matrices: naga takes a matrix's component type from
/// the pointer it is loaded through, and after a workgroup variable whose size is not a multiple of 16 bytes a matrix
/// is loaded from a wrong place.
fn matrices(module: &Module, info: &ModuleInfo) -> Result<(), Failed> {
    let words = spv::write_vec(module, info, &spv::Options::default(), None).map_err(|e| format!("SPIR-V: {e}"))?;
    let (mut halves, mut floats, mut components) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 5;
    while let Some(&first) = words.get(at) {
        let length = (first >> 16) as usize;
        let Some(operands) = words.get(at + 1..at + length) else { return Err("SPIR-V is cut off".into()) };
        match (first & 0xffff, operands) {
            // OpTypeFloat, OpTypeCooperativeMatrixKHR
            (22, [id, 16, ..]) => halves.push(*id),
            (22, [id, 32, ..]) => floats.push(*id),
            (4456, [_, component, ..]) => components.push(*component),
            // OpCapability: GroupNonUniform and related capabilities crash a driver together with matrices.
            (17, [capability]) if (61..=68).contains(capability) => {
                return Err(format!("capability {capability} is asked for").into());
            }
            _ => {}
        }
        at += length.max(1);
    }
    if components.is_empty() || components.iter().any(|c| !halves.contains(c) && !floats.contains(c)) {
        return Err("a matrix is of other numbers than f16 or f32".into());
    }
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| e.to_string())?;
    for (_, global) in module.global_variables.iter().filter(|(_, g)| g.space == AddressSpace::WorkGroup) {
        if !layouter[global.ty].size.is_multiple_of(16) {
            return Err(format!("{:?} is not a multiple of 16 bytes", global.name).into());
        }
    }
    let size: u32 = module.entry_points.iter().map(|e| e.workgroup_size.iter().product::<u32>()).sum();
    if !size.is_multiple_of(32) {
        return Err(format!("{size} invocations are no whole subgroups").into());
    }
    Ok(())
}

fn bindings(kernel: &Kernel, module: &Module) -> Result<(), Failed> {
    let mut found: Vec<Option<Binding>> = vec![None; kernel.bindings.len()];
    let mut params = false;
    for (_, global) in module.global_variables.iter() {
        let Some(at) = &global.binding else { continue };
        if at.group != 0 {
            return Err(format!("group {} is bound", at.group).into());
        }
        match global.space {
            AddressSpace::Uniform if at.binding == 0 => {
                params = true;
                let TypeInner::Struct { members, .. } = &module.types[global.ty].inner else {
                    return Err("Params is no struct".into());
                };
                let names: Vec<&str> = members.iter().filter_map(|m| m.name.as_deref()).collect();
                if names != kernel.params || members.len() > PARAM_WORDS {
                    return Err(format!("Params has {names:?}, the row {:?}", kernel.params).into());
                }
                for (i, member) in members.iter().enumerate() {
                    let scalar = matches!(module.types[member.ty].inner, TypeInner::Scalar(s) if s.width == 4);
                    if !scalar || member.offset != i as u32 * 4 {
                        return Err(format!("{:?} is not word {i}", member.name).into());
                    }
                }
            }
            AddressSpace::Storage { access } => {
                let writes = access.contains(StorageAccess::STORE);
                let slot = found
                    .get_mut((at.binding as usize).wrapping_sub(1))
                    .ok_or_else(|| format!("binding {} is not in the row", at.binding))?;
                let access = if writes { Access::Write } else { Access::Read };
                *slot = Some(Binding { access, cell: cell(kernel, module, global.ty, slot_cell(kernel, at.binding))? });
            }
            other => return Err(format!("binding {} is in {other:?}", at.binding).into()),
        }
    }
    let expected: Vec<Option<Binding>> = kernel.bindings.iter().copied().map(Some).collect();
    if found != expected {
        return Err(format!("bindings are {found:?}, the row says {expected:?}").into());
    }
    // A kernel that does not use its parameters would lose the block; none does.
    if params { Ok(()) } else { Err("no parameter block".into()) }
}

/// The element type of a binding, by its width; in f32 rows both types have the same width, and the row is trusted.
fn cell(kernel: &Kernel, module: &Module, ty: naga::Handle<naga::Type>, row: Cell) -> Result<Cell, Failed> {
    let TypeInner::Array { base, .. } = module.types[ty].inner else { return Err("a binding is no array".into()) };
    let scalar = module.types[base].inner.scalar().ok_or("a binding is no array of numbers")?;
    match scalar.width {
        4 if kernel.act() == DType::F32 => Ok(row),
        4 => Ok(Cell::Word),
        2 => Ok(Cell::Act),
        width => Err(format!("a binding has elements of {width} bytes").into()),
    }
}

/// What the row says of a binding.
fn slot_cell(kernel: &Kernel, binding: u32) -> Cell {
    kernel.bindings.get((binding as usize).wrapping_sub(1)).map_or(Cell::Word, |b| b.cell)
}

fn workgroup(kernel: &Kernel, module: &Module) -> Result<(), Failed> {
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| e.to_string())?;
    let shared = module.global_variables.iter().filter(|(_, g)| g.space == AddressSpace::WorkGroup);
    let bytes: u32 = shared.map(|(_, g)| layouter[g.ty].size.next_multiple_of(16)).sum();
    if bytes > kernel.storage {
        return Err(format!("{bytes} bytes of workgroup memory, the row says {}", kernel.storage).into());
    }
    let size: u32 = module.entry_points.iter().map(|e| e.workgroup_size.iter().product::<u32>()).sum();
    if module.entry_points.len() != 1 || module.entry_points[0].name != "main" || size > INVOCATIONS {
        return Err(format!("{} entry points, {size} invocations", module.entry_points.len()).into());
    }
    Ok(())
}
