//! Where the examples of a row begin: what keeps packed texts apart.

use super::forward::Shape;
use crate::compute::{ComputeError, DType, Device, Tensor};

/// The layout of a micro-batch's rows on the device, written when it changes.
pub(super) struct Layout {
    /// \[N\] (u32): the first row, within its sequence, that a row sees.
    pub begins: Tensor,
    /// \[N\] (u32): a row's place in its example.
    pub positions: Tensor,
    /// Positions of a sequence, T.
    t: usize,
    /// The begins that stand on the device; none while they are written.
    now: Vec<u32>,
}

impl Layout {
    /// Allocates both for plain rows: one text a sequence.
    pub(super) fn new(device: &mut Device, owner: &str, shape: Shape) -> Result<Layout, ComputeError> {
        let mut make = |part: &str| device.alloc(&format!("{owner}{part}"), &[shape.rows()], DType::U32);
        let (begins, positions) = (make("begins")?, make("positions")?);
        let mut layout = Layout { begins, positions, t: shape.t, now: Vec::new() };
        layout.write(device, None)?;
        Ok(layout)
    }

    /// Refuses starts that are no layout of these rows: see [`super::MicroBatch::starts`].
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

    /// Puts checked starts in place, none being all zeros, unless they stand there already.
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
