//! Sets up check cases and judges their results.

use half::f16;

use crate::compute::{
    cpu::Args,
    device::{Device, Recording},
    error::ComputeError,
    kernel::{Call, Kernel, Needs},
    rng::{Purpose, uniform},
    tensor::{DType, Element, Tensor},
};

/// One kernel on one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRow {
    /// The kernel.
    pub kernel: &'static str,
    /// The sizes it ran on.
    pub shape: String,
    /// Largest difference between the outputs of kernel and twin; infinite if either is not a number, or if the kernel
    /// wrote past its output.
    pub error: f64,
    /// The largest allowed difference: 10⁻⁵ of the largest output, times √(K/1024) for longer sums; for an f16 output,
    /// 10⁻³ of the largest, and of the root of the sum of squares.
    pub bound: f64,
    /// True when the error is within the bound.
    pub passed: bool,
}

/// Guard elements behind each tensor that must not be written.
const GUARD: usize = 64;

/// The guard bits behind tensor `i`: a NaN, so that a kernel that reads them is detected, and different for each
/// tensor, so that moving one is.
fn sentinel(i: usize) -> u32 {
    0x7fc0_0001 + i as u32
}

/// The same for a tensor in f16.
fn narrow_sentinel(i: usize) -> f16 {
    f16::from_bits(0x7e01 + i as u16)
}

/// Sets up cases and judges them.
pub(super) struct Bench<'d> {
    pub(super) device: &'d mut Device,
    pub(super) kernel: &'static Kernel,
    pub(super) rows: Vec<CheckRow>,
    /// Every tensor with its guard.
    tensors: Vec<Tensor>,
    /// The size of an output's terms if they may cancel: the bound is at least relative to it.
    pub(super) terms: f64,
    /// Number of tensors made: each has its own stream of random numbers.
    made: u64,
    /// How often a call is repeated, which must not change a bit.
    pub(super) repeats: usize,
}

impl<'d> Bench<'d> {
    pub(super) fn new(device: &'d mut Device, kernel: &'static Kernel) -> Bench<'d> {
        Bench { device, kernel, rows: Vec::new(), tensors: Vec::new(), terms: 0.0, made: 0, repeats: 0 }
    }

    /// Whether this is a real GPU, on which larger shapes are cheap.
    pub(super) fn large(&self) -> bool {
        let traits = self.device.traits();
        !traits.cpu && !traits.software
    }

    pub(super) fn put<T: Element>(&mut self, shape: &[usize], data: &[T], guard: T) -> Result<Tensor, ComputeError> {
        let len: usize = shape.iter().product();
        let whole = self.device.alloc("checked", &[len + GUARD], T::DTYPE)?;
        let mut all = data.to_vec();
        all.resize(len + GUARD, guard);
        self.device.write(&whole, &all)?;
        self.tensors.push(whole.clone());
        Ok(whole.part("checked", 0, shape))
    }

    /// A tensor of these numbers.
    pub(super) fn floats(&mut self, shape: &[usize], data: &[f32]) -> Result<Tensor, ComputeError> {
        self.put(shape, data, f32::from_bits(sentinel(self.tensors.len())))
    }

    /// A tensor of these numbers in the kernel's activation type.
    pub(super) fn acts(&mut self, shape: &[usize], data: &[f32]) -> Result<Tensor, ComputeError> {
        if self.kernel.act() != DType::F16 {
            return self.floats(shape, data);
        }
        let rounded: Vec<f16> = data.iter().map(|x| f16::from_f32(*x)).collect();
        self.put(shape, &rounded, narrow_sentinel(self.tensors.len()))
    }

    /// A tensor of these words.
    pub(super) fn words(&mut self, data: &[u32]) -> Result<Tensor, ComputeError> {
        self.put(&[data.len()], data, sentinel(self.tensors.len()))
    }

    /// Random numbers in −`size`..`size`, the same in every run.
    pub(super) fn random(&mut self, len: usize, size: f32) -> Vec<f32> {
        let stream = self.made;
        self.made += 1;
        (0..len).map(|i| (uniform(5, Purpose::Bench, stream, i as u64) * 2.0 - 1.0) * size).collect()
    }

    /// Random numbers in −1..1.
    pub(super) fn noise(&mut self, shape: &[usize]) -> Result<Tensor, ComputeError> {
        let data = self.random(shape.iter().product(), 1.0);
        self.floats(shape, &data)
    }

    /// Random numbers in −`size`..`size` in the kernel's activation type.
    pub(super) fn noise_act(&mut self, shape: &[usize], size: f32) -> Result<Tensor, ComputeError> {
        let data = self.random(shape.iter().product(), size);
        self.acts(shape, &data)
    }

    /// [`Bench::blank`] in the kernel's activation type.
    pub(super) fn blank_act(&mut self, shape: &[usize]) -> Result<Tensor, ComputeError> {
        let len = shape.iter().product();
        self.acts(shape, &vec![f32::NAN; len])
    }

    /// An output tensor filled with NaN, so that reading or not writing it is detected.
    pub(super) fn blank(&mut self, shape: &[usize]) -> Result<Tensor, ComputeError> {
        let len = shape.iter().product();
        self.floats(shape, &vec![f32::NAN; len])
    }

    /// Records an operation and judges every call of the kernel being checked. `inner` is the length of the longest
    /// sum.
    pub(super) fn judge(
        &mut self,
        shape: &str,
        inner: usize,
        record: impl FnOnce(&mut Recording<'_>) -> Result<(), ComputeError>,
    ) -> Result<(), ComputeError> {
        let mut rec = Recording::new(self.device);
        rec.force(self.kernel);
        record(&mut rec)?;
        let calls = rec.calls().to_vec();
        drop(rec);
        for call in &calls {
            let (error, bound) = self.call(call, inner)?;
            if call.kernel.name == self.kernel.name {
                self.rows.push(CheckRow {
                    kernel: call.kernel.name,
                    shape: shape.to_owned(),
                    error,
                    bound,
                    passed: error <= bound,
                });
            }
        }
        self.clear();
        Ok(())
    }

    /// Runs one call and its twin; returns error and bound of the worst output.
    pub(super) fn call(&mut self, call: &Call, inner: usize) -> Result<(f64, f64), ComputeError> {
        let mut values: Vec<Vec<f32>> = Vec::new();
        for t in &call.args {
            values.push(self.view(t)?);
        }
        let split = call.kernel.reads();
        let (reads, writes) = values.split_at_mut(split);
        let read: Vec<&[f32]> = reads.iter().map(Vec::as_slice).collect();
        let mut write: Vec<&mut [f32]> = writes.iter_mut().map(Vec::as_mut_slice).collect();
        (call.kernel.twin)(&call.params, Args { read: &read, write: &mut write }).map_err(|_| {
            ComputeError::Kernel { kernel: call.kernel.name.into(), reason: "the CPU twin binds other tensors".into() }
        })?;
        let program = self.device.compile(vec![call.clone()])?;
        self.device.replay(&[&program])?;
        let mut worst = (0.0, f64::MIN_POSITIVE);
        for (t, expected) in call.args.iter().zip(&values).skip(split) {
            let got = self.view(t)?;
            // An f32 output beside its f16 copy is a sum over f16 operands, on matrix units.
            let beside = |o: &&Tensor| o.dtype == DType::F16 && o.len() == t.len();
            let coarse = call.kernel.needs == Needs::Matrix && call.args.iter().skip(split).any(|o| beside(&o));
            let compared = if t.dtype == DType::F16 || coarse { compare_narrow } else { compare };
            let (error, bound) = compared(&got, expected, inner, self.terms);
            if error / bound > worst.0 / worst.1 {
                worst = (error, bound);
            }
            if !self.guarded(t)? {
                worst = (f64::INFINITY, bound);
            }
            for _ in 0..if call.kernel.name == self.kernel.name { self.repeats } else { 0 } {
                self.device.replay(&[&program])?;
                let again = self.view(t)?;
                if again.iter().zip(&got).any(|(a, b)| a.to_bits() != b.to_bits()) {
                    worst = (f64::INFINITY, bound);
                }
            }
        }
        Ok(worst)
    }

    /// A tensor as a twin reads it: f16 widened, u32 by its bits.
    fn view(&mut self, tensor: &Tensor) -> Result<Vec<f32>, ComputeError> {
        match tensor.dtype {
            DType::U32 => Ok(bytemuck::cast_vec(self.device.read::<u32>(tensor)?)),
            DType::F32 | DType::F16 => self.device.read_floats(tensor),
        }
    }

    /// Whether the guard behind a tensor is intact (scratch has none).
    pub(super) fn guarded(&mut self, tensor: &Tensor) -> Result<bool, ComputeError> {
        let Some(i) = self.tensors.iter().position(|t| t.buffer == tensor.buffer) else { return Ok(true) };
        let all = self.view(&self.tensors[i].clone())?;
        let whole = match tensor.dtype {
            DType::F16 => narrow_sentinel(i).to_f32().to_bits(),
            DType::F32 | DType::U32 => sentinel(i),
        };
        Ok(all[all.len() - GUARD..].iter().all(|x| x.to_bits() == whole))
    }

    pub(super) fn clear(&mut self) {
        for t in self.tensors.drain(..) {
            self.device.free(&t);
        }
    }
}

/// The same for numbers rounded to f16: the largest difference relative to the largest number, or the root mean square
/// of the differences relative to that of the numbers, whichever is worse.
fn compare_narrow(got: &[f32], expected: &[f32], inner: usize, terms: f64) -> (f64, f64) {
    let (most, strict) = compare(got, expected, inner, terms);
    let bound = strict.max(1e-3 * expected.iter().fold(terms, |a, x| a.max(f64::from(x.abs()))));
    let root = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
    let away = root(&mut got.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    // Below 2⁻¹⁴ the spacing of f16 is 2⁻²⁴.
    let size = root(&mut expected.iter().map(|x| f64::from(*x))) + (got.len() as f64).sqrt() * 6e-5;
    let share = away / (1e-3 * size);
    if share > most / bound { (share * bound, bound) } else { (most, bound) }
}

/// The largest difference, and the allowed one.
fn compare(got: &[f32], expected: &[f32], inner: usize, terms: f64) -> (f64, f64) {
    let mut error = 0.0_f64;
    let mut largest = terms;
    for (a, b) in got.iter().zip(expected) {
        if b.is_finite() {
            largest = largest.max(f64::from(b.abs()));
        }
        // Equal bits are equal, even if both are NaN.
        if a.to_bits() != b.to_bits() {
            let difference = (f64::from(*a) - f64::from(*b)).abs();
            let unequal = if a.is_nan() && b.is_nan() { 0.0 } else { f64::INFINITY };
            error = error.max(if difference.is_nan() { unequal } else { difference });
        }
    }
    let bound = 1e-5 * largest * (inner as f64 / 1024.0).sqrt().max(1.0);
    (error, bound.max(f64::MIN_POSITIVE))
}
