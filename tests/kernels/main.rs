//! All kernels of the table: WGSL against CPU twin on the available adapter, bindings and parameters against the row,
//! translation for every backend, and mutants to show that a wrong kernel fails.
//!
//! `DANLU_TEST_ADAPTER` names the adapter (a part of its name); by default the best one is used, if need be a software
//! driver. Without any adapter the trials that need one are shown as ignored, unless `DANLU_REQUIRE_ADAPTER=1`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod engine;
mod mutants;
mod translate;

use danlu::compute::{AdapterKind, ComputeError, Device, KERNELS, Kernel, Needs, Opening, Precision, check};
use libtest_mimic::{Arguments, Failed, Trial};

/// The adapter under test, by a name that [`Device::open`] takes.
fn adapter() -> Option<String> {
    let wanted = std::env::var("DANLU_TEST_ADAPTER").unwrap_or_default().to_lowercase();
    let found = Device::adapters().into_iter().filter(|a| a.kind != AdapterKind::Cpu);
    found.map(|a| a.name).find(|name| name.to_lowercase().contains(&wanted))
}

/// Opens the adapter; the trials that call this do not run without one.
fn open(opening: Opening) -> Device {
    let name = adapter().expect("DANLU_REQUIRE_ADAPTER is set, but there is no adapter");
    Device::open_with(&name, opening).expect("the adapter opens")
}

/// The precision that a kernel's row belongs to.
fn precision(kernel: &Kernel) -> Precision {
    if kernel.needs == Needs::Common { Precision::F32 } else { Precision::F16 }
}

/// Runs a kernel's cases; every row must be within its bound.
fn judge(kernel: &'static Kernel, opening: Opening) -> Result<(), Failed> {
    let name = adapter().expect("DANLU_REQUIRE_ADAPTER is set, but there is no adapter");
    let mut device = match Device::open_with(&name, opening) {
        Err(ComputeError::Precision { .. }) => return Ok(()),
        opened => opened?,
    };
    if !kernel.runs_on(&device.traits()) {
        return Ok(());
    }
    let rows = check::check(&mut device, kernel).map_err(|e| e.to_string())?;
    if rows.is_empty() {
        return Err("no case ran".into());
    }
    let wrong: Vec<String> = rows
        .iter()
        .filter(|r| !r.passed)
        .map(|r| format!("{} {}: error {:.3e}, bound {:.3e}", r.kernel, r.shape, r.error, r.bound))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn main() {
    let arguments = Arguments::from_args();
    let ignored = adapter().is_none() && std::env::var("DANLU_REQUIRE_ADAPTER").as_deref() != Ok("1");
    let mut trials = Vec::new();
    for kernel in KERNELS {
        trials.push(Trial::test(format!("translate::{}", kernel.name), || translate::run(kernel)));
        // With everything the adapter offers, as in training.
        let full = Opening { precision: precision(kernel), ..Opening::default() };
        trials.push(
            Trial::test(format!("twin::{}", kernel.name), move || judge(kernel, full)).with_ignored_flag(ignored),
        );
        if kernel.needs != Needs::Common {
            // The same WGSL as an f32 row's.
            continue;
        }
        // With only what every adapter offers, and runtime checks; large tiles keep only the checks.
        let minimal = Opening {
            minimal: kernel.storage <= 16_384,
            checked: true,
            precision: Precision::F32,
            ..Opening::default()
        };
        let name = if minimal.minimal { "minimal" } else { "checked" };
        trials.push(
            Trial::test(format!("{name}::{}", kernel.name), move || judge(kernel, minimal)).with_ignored_flag(ignored),
        );
    }
    for (name, test) in engine::TESTS {
        trials.push(Trial::test(format!("engine::{name}"), test).with_ignored_flag(ignored));
    }
    trials.extend(mutants::trials(ignored));
    trials.push(Trial::test("every_kernel_has_a_mutant", mutants::complete));
    libtest_mimic::run(&arguments, trials).exit();
}
