//! Packs examples into the fixed rows of a learner and records their positions.

use crate::{
    data::{Example, fill_row, plan},
    nn::{MicroBatch, TokenRows},
    train::error::TrainError,
};

/// One micro-batch of whole examples.
pub(crate) struct Micro {
    pub ids: Vec<u32>,
    pub targets: Vec<i32>,
    pub starts: Vec<u32>,
    /// The examples in it, and the position at which each starts.
    pub spans: Vec<(usize, usize)>,
}

impl Micro {
    pub(crate) fn batch(&self) -> MicroBatch<'_> {
        MicroBatch { ids: &self.ids, targets: &self.targets, starts: Some(&self.starts) }
    }

    pub(crate) fn rows(&self) -> TokenRows<'_> {
        TokenRows { ids: &self.ids, starts: Some(&self.starts) }
    }
}

/// Packs examples into as many micro-batches of `rows` × `context` as needed. An example of n tokens takes n − 1
/// positions.
pub(crate) fn micros(examples: &[Example], rows: usize, context: usize, pad: u32) -> Result<Vec<Micro>, TrainError> {
    let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
    let order: Vec<usize> = (0..examples.len()).collect();
    let mut all = Vec::new();
    for group in plan(&lengths, &order, context)?.chunks(rows) {
        let size = rows * context;
        let mut micro = Micro {
            ids: Vec::with_capacity(size),
            targets: Vec::with_capacity(size),
            starts: Vec::with_capacity(size),
            spans: Vec::new(),
        };
        for at in 0..rows {
            let members = group.get(at).map(Vec::as_slice).unwrap_or_default();
            let mut place = at * context;
            for example in members {
                micro.spans.push((*example, place));
                place += lengths[*example].saturating_sub(1);
            }
            let members: Vec<&Example> = members.iter().map(|i| &examples[*i]).collect();
            let row = fill_row(&members, context, pad)?;
            micro.ids.extend(row.ids);
            micro.targets.extend(row.targets);
            micro.starts.extend(row.starts);
        }
        all.push(micro);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn spans_point_at_their_examples() {
        let example = |n: u32, of: u32| {
            let ids: Vec<u32> = (0..n).map(|i| of * 100 + i).collect();
            Example { labels: ids.iter().map(|id| *id as i32).collect(), ids }
        };
        let all: Vec<Example> = [5, 9, 3, 8, 2, 6].iter().enumerate().map(|(i, n)| example(*n, i as u32 + 1)).collect();
        let micros = micros(&all, 2, 10, 0).unwrap();
        let mut seen = 0;
        for micro in &micros {
            assert_eq!(micro.ids.len(), 20);
            for (i, place) in &micro.spans {
                let n = all[*i].ids.len() - 1;
                assert_eq!(micro.ids[*place..place + n], all[*i].ids[..n]);
                assert_eq!(micro.targets[*place..place + n], all[*i].labels[1..]);
                seen += 1;
            }
        }
        assert_eq!(seen, all.len());
    }
}
