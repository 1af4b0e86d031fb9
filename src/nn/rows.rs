//! Rows of tokens: their shape, the inputs of a pass, and where packed examples begin.

use crate::compute::{ComputeError, DType, Device, Tensor};

/// A label that is not trained on, as in PyTorch and Hugging Face.
pub const IGNORE_INDEX: i32 = -100;

/// Targets for rows of ids: the label of the next position (shifted here), [`IGNORE_INDEX`] at the end.
pub fn shift_labels(labels: &[i32], context: usize) -> Vec<i32> {
    let row = |row: &[i32]| row.iter().skip(1).copied().chain([IGNORE_INDEX]).collect::<Vec<_>>();
    labels.chunks(context).flat_map(row).collect()
}

/// Sizes of one micro-batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Sequences.
    pub b: usize,
    /// Positions of each.
    pub t: usize,
}

impl Shape {
    pub(super) fn rows(self) -> usize {
        self.b * self.t
    }
}

/// A micro-batch: ids and already shifted targets, B·T each, and how its rows are laid out.
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch<'a> {
    /// Token ids, row by row.
    pub ids: &'a [u32],
    /// The id that follows each, or −100.
    pub targets: &'a [i32],
    /// For rows packed with several examples, B·T: for each token the position within its row at which its example
    /// starts. It is at most the token's own position and does not decrease along a row. A token attends to its own
    /// example only, and its position is counted from the start. `None`: each row is one text.
    pub starts: Option<&'a [u32]>,
}

/// Rows of token ids, B·T, and how examples are packed in them (see [`MicroBatch::starts`]).
#[derive(Clone, Copy, Debug)]
pub struct TokenRows<'a> {
    /// Token ids, row by row.
    pub ids: &'a [u32],
    /// For each token the position within its row at which its example starts; `None`: each row is one text.
    pub starts: Option<&'a [u32]>,
}

/// The inputs that all layers of a pass share, besides the stream.
pub(super) struct Pass<'a> {
    pub shape: Shape,
    /// \[N\] (u32).
    pub positions: &'a Tensor,
    /// \[P, D\]: cos and sin of the rotations.
    pub rope: &'a Tensor,
    pub attend: Attend<'a>,
    /// Dropout on the branches, in training.
    pub dropout: Option<Dropout<'a>>,
}

/// The source of attention's keys and values.
#[derive(Clone, Copy)]
pub(super) enum Attend<'a> {
    /// The rows themselves, causally, each from its begin on: \[N\] (u32).
    Rows(&'a Tensor),
    /// A cache per layer, \[B, P, 2·Hk·D\], to which the rows are appended first.
    Cache(&'a [Tensor]),
}

/// Dropout: the clock tensor and the rate.
#[derive(Clone, Copy)]
pub(super) struct Dropout<'a> {
    pub clock: &'a Tensor,
    pub rate: f32,
}

/// The layout of a micro-batch's rows on the device, written when it changes.
pub(super) struct Layout {
    /// \[N\] (u32): the first row of its sequence that a row attends to.
    pub begins: Tensor,
    /// \[N\] (u32): a row's position in its example.
    pub positions: Tensor,
    /// Positions of a sequence, T.
    t: usize,
    /// The begins on the device; None while they are being written.
    now: Vec<u32>,
}

impl Layout {
    /// Allocates both for plain rows: one text per sequence.
    pub(super) fn new(device: &mut Device, owner: &str, shape: Shape) -> Result<Layout, ComputeError> {
        let mut make = |part: &str| device.alloc(&format!("{owner}{part}"), &[shape.rows()], DType::U32);
        let (begins, positions) = (make("begins")?, make("positions")?);
        let mut layout = Layout { begins, positions, t: shape.t, now: Vec::new() };
        layout.write(device, None)?;
        Ok(layout)
    }

    /// Rejects starts that are not a valid layout of these rows: see [`MicroBatch::starts`].
    pub(super) fn check(&self, op: &'static str, starts: Option<&[u32]>) -> Result<(), ComputeError> {
        let Some(starts) = starts else { return Ok(()) };
        let wrong = |what: String| Err(ComputeError::Shape { op, what });
        let n = self.begins.len();
        if starts.len() != n {
            return wrong(format!("{} starts were given, {n} are expected", starts.len()));
        }
        for (r, row) in starts.chunks(self.t).enumerate() {
            let mut before = 0;
            for (i, start) in row.iter().enumerate() {
                if *start as usize > i {
                    return wrong(format!("row {r}, place {i}: its example starts at {start}, which is after it"));
                }
                if *start < before {
                    return wrong(format!("row {r}, place {i}: its example starts at {start}, after one at {before}"));
                }
                before = *start;
            }
        }
        Ok(())
    }

    /// Writes checked starts (None is all zeros), unless they are on the device already.
    pub(super) fn write(&mut self, device: &mut Device, starts: Option<&[u32]>) -> Result<(), ComputeError> {
        let n = self.begins.len();
        let same = self.now.len() == n && starts.map_or_else(|| self.now.iter().all(|s| *s == 0), |s| s == self.now);
        if same {
            return Ok(());
        }
        let wanted = starts.map_or_else(|| vec![0; n], <[u32]>::to_vec);
        let positions: Vec<u32> = wanted.iter().enumerate().map(|(i, s)| (i % self.t) as u32 - s).collect();
        self.now.clear();
        device.write(&self.begins, &wanted)?;
        device.write(&self.positions, &positions)?;
        self.now = wanted;
        Ok(())
    }
}
