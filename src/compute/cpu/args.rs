//! The arguments of a twin.

/// 32-bit words in a call's parameter block.
pub const PARAM_WORDS: usize = 16;

/// The scalar parameters of one call: words in the order of [`Kernel::params`](crate::compute::kernel::Kernel::params), floats by their bits.
/// On a GPU they are one uniform block, so the WGSL `struct Params` has the same members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params(pub [u32; PARAM_WORDS]);

impl Params {
    /// From integers; the rest is zero.
    pub fn new(words: &[usize]) -> Params {
        let mut all = [0; PARAM_WORDS];
        for (slot, word) in all.iter_mut().zip(words) {
            *slot = *word as u32;
        }
        Params(all)
    }

    /// Sets word `index` to a float.
    #[must_use]
    pub fn with_f32(mut self, index: usize, value: f32) -> Params {
        if let Some(slot) = self.0.get_mut(index) {
            *slot = value.to_bits();
        }
        self
    }

    /// The first `N` words as sizes.
    pub fn sizes<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|i| self.0.get(i).copied().unwrap_or(0) as usize)
    }

    /// Word `index` as a float.
    pub fn f32(&self, index: usize) -> f32 {
        f32::from_bits(self.0.get(index).copied().unwrap_or(0))
    }
}

/// The arguments of a CPU twin: the bound views, reads first, in the kernel's binding order.
pub struct Args<'a> {
    /// Views bound for reading.
    pub read: &'a [&'a [f32]],
    /// Views bound for writing (and reading).
    pub write: &'a mut [&'a mut [f32]],
}

/// A twin was called with a wrong number of views: a bug in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity;

/// A CPU twin: the same name and arguments as the WGSL kernel.
pub(in crate::compute) type Twin = fn(&Params, Args<'_>) -> Ran;

/// The result of a twin.
pub(in crate::compute) type Ran = Result<(), Arity>;
