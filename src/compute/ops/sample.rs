//! Samples an entry of each row of logits.

use super::push::{Done, expect_len, push, wrong};
use crate::compute::{cpu::Params, device::Recording, tensor::Tensor};

/// How an entry of a row is chosen: a row of [`sample`]'s `picks`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Seed of the random numbers.
    pub seed: u64,
    /// Factor on the logits.
    pub inverse_temperature: f32,
    /// Which entries it is chosen among.
    pub among: Among,
    /// The number of entries to choose among, from the first on.
    pub known: usize,
    /// Length of the row's prompt.
    pub prompt: usize,
}

/// Which entries an entry is chosen among.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Among {
    /// The likeliest only.
    Best,
    /// All entries.
    All,
    /// The `k` likeliest, at most [`MOST_LIKELIEST`], and those as likely as the last of them; of these the likeliest
    /// whose probabilities reach `p`. If more than 256 remain, all of them, whatever `p` is.
    Likeliest {
        /// How many.
        k: usize,
        /// The share of probability.
        p: f32,
    },
}

/// Largest `k` of [`Among::Likeliest`].
pub const MOST_LIKELIEST: usize = 128;

/// Words of a row's [`Pick`].
pub const PICK: usize = 8;

impl Pick {
    /// The words of its row.
    pub fn words(&self) -> [u32; PICK] {
        let (kind, k, p) = match self.among {
            Among::Best => (0, 0, 0.0),
            Among::All => (1, 0, 0.0),
            Among::Likeliest { k, p } => (2, k.clamp(1, MOST_LIKELIEST) as u32, p),
        };
        let Pick { seed, inverse_temperature, known, prompt, .. } = *self;
        let [known, prompt] = [known, prompt].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        [seed as u32, (seed >> 32) as u32, inverse_temperature.to_bits(), k, p.to_bits(), known, prompt, kind]
    }
}

/// Chooses the next entry of B rows. Row i is at `positions[i]`; its next place is one further. If that lies
/// within its prompt, the next entry is the prompt's, and else drawn by its [`Pick`] with the random number of
/// (seed, place): see [`crate::compute::rng::uniform`] of `Purpose::Sample` and stream 0.
///
/// picks \[B, PICK\] (u32), logits \[B, V\], prompts \[B, P\] (u32) → ids \[B\], positions \[B\] (u32; of the next
/// place), drawn \[R, B, 2\] (u32): in slot (place mod R) the entry and the bits of the logarithm of its
/// probability among those it was chosen from, where it was drawn. One workgroup a row.
pub fn sample(
    rec: &mut Recording<'_>,
    picks: &Tensor,
    logits: &Tensor,
    prompts: &Tensor,
    ids: &Tensor,
    positions: &Tensor,
    drawn: &Tensor,
) -> Done {
    let b = ids.len();
    expect_len("sample", picks, b * PICK)?;
    expect_len("sample", positions, b)?;
    for (what, tensor, each) in [("logits", logits, b), ("prompts", prompts, b), ("drawn", drawn, 2 * b)] {
        if tensor.is_empty() || each == 0 || !tensor.len().is_multiple_of(each) {
            return Err(wrong("sample", format!("{what} {:?} are not those of {b} rows", tensor.shape)));
        }
    }
    let params = Params::new(&[b, logits.len() / b, prompts.len() / b, drawn.len() / (2 * b)]);
    let grid = rec.traits().grid(b);
    push(rec, "sample", params, &[picks, logits, prompts, ids, positions, drawn], grid)
}
