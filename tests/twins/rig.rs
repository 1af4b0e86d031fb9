//! The test rig: tensors in, a recording run on the CPU engine, numbers out; and the judge.

use danlu::compute::{
    ComputeError, DType, Device, Recording, Tensor,
    ops::Heads,
    rng::{Purpose, normal},
};

/// Lengths for the cases "1, odd, tile ± 1, larger" of elementwise kernels; the last two are cut
/// among several tasks.
pub(crate) const LENGTHS: &[usize] = &[1, 3, 63, 64, 65, 1023, 1024, 1025, 16_385, 100_003];
/// Head sizes.
pub(crate) const HEAD_SIZES: &[usize] = &[2, 8, 16, 20, 32, 64];
/// Positions a sequence: around the tiles of 32 and 64.
pub(crate) const POSITIONS: &[usize] = &[1, 2, 31, 63, 64, 65, 129];
/// (query heads, key heads) of groups 1, 2 and 3.
pub(crate) const GROUPS: &[(usize, usize)] = &[(1, 1), (2, 2), (2, 1), (4, 2), (3, 1), (6, 2)];

pub(crate) fn heads(query: usize, key: usize, size: usize) -> Heads {
    Heads { query, key, size }
}

/// Begins of `t` rows packed with texts of these lengths, repeated.
pub(crate) fn packed(lengths: &[usize], t: usize) -> Vec<u32> {
    let mut all = Vec::new();
    for length in lengths.iter().cycle() {
        if all.len() >= t {
            break;
        }
        all.resize(all.len() + length, all.len() as u32);
    }
    all.truncate(t);
    all
}

/// Rows and the begins of a sequence: one text; a text per row; short ones of odd lengths; ones that end at the edge of
/// a tile of 64 and next to it; pieces of about the size the twin uses; and only the last few rows.
pub(crate) fn layouts() -> Vec<(usize, Vec<u32>)> {
    let mut all = Vec::new();
    for &t in POSITIONS {
        let mut these = vec![
            vec![0; t],
            packed(&[1], t),
            packed(&[5, 1, 11, 3, 23], t),
            packed(&[40], t),
            packed(&[16, 1, 15, 17], t),
            packed(&[63, 1, 1, 63, 1], t),
            packed(&[65], t),
            (0..t as u32).map(|i| i.saturating_sub(9)).collect(),
        ];
        these.sort();
        these.dedup();
        all.extend(these.into_iter().map(|begins| (t, begins)));
    }
    all
}

/// A CPU engine.
pub(crate) struct Rig {
    pub(crate) device: Device,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig { device: Device::cpu() }
    }

    pub(crate) fn put(&mut self, shape: &[usize], data: &[f32]) -> Tensor {
        let tensor = self.device.alloc("x", shape, DType::F32).expect("memory");
        assert_eq!(tensor.len(), data.len(), "a test's own shapes");
        self.device.write(&tensor, data).expect("it fits");
        tensor
    }

    pub(crate) fn words(&mut self, data: &[u32]) -> Tensor {
        let tensor = self.device.alloc("words", &[data.len()], DType::U32).expect("memory");
        self.device.write(&tensor, data).expect("it fits");
        tensor
    }

    /// An output full of NaN, so that an unwritten element, or one read before, is detected.
    pub(crate) fn blank(&mut self, shape: &[usize]) -> Tensor {
        let len = shape.iter().product();
        self.put(shape, &vec![f32::NAN; len])
    }

    pub(crate) fn run(&mut self, record: impl FnOnce(&mut Recording<'_>) -> Result<(), ComputeError>) {
        let mut rec = Recording::new(&mut self.device);
        record(&mut rec).expect("shapes fit");
        let program = rec.compile().expect("it compiles");
        self.device.replay(&[&program]).expect("it runs");
    }

    pub(crate) fn read(&mut self, tensor: &Tensor) -> Vec<f32> {
        self.device.read(tensor).expect("it reads")
    }
}

/// `n` standard normal numbers of a stream.
pub(crate) fn noise(stream: u64, n: usize) -> Vec<f32> {
    (0..n).map(|i| normal(77, Purpose::Bench, stream, i as u64)).collect()
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

pub(crate) fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |a, v| a.max(v.abs()))
}

/// Compares results with references and keeps the largest relative error of an operation.
pub(crate) struct Judge {
    op: &'static str,
    worst: f64,
    at: String,
    cases: usize,
}

impl Judge {
    pub(crate) fn new(op: &'static str) -> Judge {
        Judge { op, worst: 0.0, at: String::new(), cases: 0 }
    }

    /// The bound of the module documentation, size being the reference's largest magnitude.
    pub(crate) fn check(&mut self, case: &str, got: &[f32], want: &[f64], terms: usize) {
        self.check_floor(case, got, want, terms, 0.0);
    }

    /// The same for results that may cancel: size is at least `floor`, the magnitude of the terms.
    pub(crate) fn check_floor(&mut self, case: &str, got: &[f32], want: &[f64], terms: usize, floor: f64) {
        assert_eq!(got.len(), want.len(), "{} {case}: lengths", self.op);
        self.cases += 1;
        let size = largest(want).max(floor);
        let bound = 1e-5 * size * (terms as f64 / 1024.0).sqrt().max(1.0);
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            let error = (f64::from(*g) - w).abs();
            assert!(
                error <= bound,
                "{} {case}: element {i} is {g:e}, want {w:e}; error {error:e} > {bound:e}",
                self.op
            );
            if error > 0.0 && error / size > self.worst {
                self.worst = error / size;
                case.clone_into(&mut self.at);
            }
        }
    }

    /// All bits must be equal.
    pub(crate) fn exact(&mut self, case: &str, got: &[f32], want: &[f32]) {
        self.cases += 1;
        assert_eq!(got.len(), want.len(), "{} {case}: lengths", self.op);
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!(g.to_bits() == w.to_bits(), "{} {case}: element {i} is {g:e}, want exactly {w:e}", self.op);
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            eprintln!(
                "twins: {:<28} {:>5} comparisons, largest relative error {:.2e} {}",
                self.op, self.cases, self.worst, self.at
            );
        }
    }
}
