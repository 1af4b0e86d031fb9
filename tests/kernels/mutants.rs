//! Wrong kernels: each must fail its check, or the check proves nothing.

use danlu::compute::{KERNELS, Kernel, Opening, check, kernel};
use libtest_mimic::{Failed, Trial};

/// Mutants that change nothing: they show that the alteration itself does not fail a check.
fn unchanged(from: &str, to: &str) -> bool {
    from == to
}

fn run(name: &'static str, from: &str, to: &str) -> Result<(), Failed> {
    let kernel = kernel(name).ok_or("no such kernel")?;
    let source = kernel.wgsl()?;
    if !source.contains(from) && !unchanged(from, to) {
        return Err(format!("{from:?} is not in the kernel any more").into());
    }
    let mut device = super::open(Opening { checked: true, precision: super::precision(kernel), ..Opening::default() });
    if !kernel.runs_on(&device.traits()) {
        return Ok(());
    }
    device.alter(name, source.replace(from, to));
    let rows = check::check(&mut device, kernel)?;
    let failed = rows.iter().filter(|r| !r.passed).count();
    match (failed, unchanged(from, to)) {
        (0, false) => Err(format!("{from:?} became {to:?}, and all {} checks passed", rows.len()).into()),
        (1.., true) => Err("the altered path fails an unchanged kernel".into()),
        _ => Ok(()),
    }
}

pub(super) fn trials(ignored: bool) -> Vec<Trial> {
    let trial = |(i, (name, from, to)): (usize, &(&'static str, &'static str, &'static str))| {
        let (name, from, to) = (*name, *from, *to);
        Trial::test(format!("mutant::{i:02}::{name}"), move || run(name, from, to)).with_ignored_flag(ignored)
    };
    check::mutants().enumerate().map(trial).collect()
}

/// Every kernel has a mutant in at least one variant.
pub(super) fn complete() -> Result<(), Failed> {
    let covered = |base: &str| check::mutants().any(|(name, ..)| name.split('.').next() == Some(base));
    let missing: Vec<&str> = KERNELS.iter().map(Kernel::base).filter(|base| !covered(base)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("no mutant of {missing:?}").into()) }
}
