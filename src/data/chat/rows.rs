//! Rows of examples: a pure function of seed, source, ordinal and, for demonstrations, the step.
//!
//! A source is read in epochs. Each epoch has its own shuffled order and packing, so that an example shares its row
//! with different ones each time; a row is identified by its number over the whole run. Demonstrations written in the
//! workbench are a source that grows: at a step it contains those added before, and each of its rows begins with the
//! newest.

use super::{
    examples::ExampleSet,
    packing::{self, PackedRow},
};
use crate::{
    compute::rng::Stream,
    data::{
        error::DataError,
        tokens::{example::Example, shuffle::permute},
    },
};

/// The name of the growing source of demonstrations.
pub const BY_HAND: &str = "by-hand";

/// The examples that rows are made of.
#[derive(Clone, Debug)]
pub struct ChatRows {
    sets: Vec<Set>,
    /// The demonstrations in order, each with the first step at which it can be drawn.
    by_hand: Vec<(u64, Example)>,
    seed: u64,
    window: usize,
    packing: bool,
    pad: u32,
}

/// A source with the plan of the current epoch.
#[derive(Clone, Debug)]
struct Set {
    examples: Vec<Example>,
    lengths: Vec<usize>,
    /// The epoch, the number of its first row over the whole run, and its rows.
    epoch: u64,
    first: u64,
    rows: Vec<Vec<usize>>,
}

impl ChatRows {
    /// Rows of `window` positions; without `packing` each contains one example.
    pub fn new(sets: &[ExampleSet], seed: u64, window: usize, packing: bool, pad: u32) -> Result<ChatRows, DataError> {
        let set = |s: &ExampleSet| Set {
            lengths: s.examples.iter().map(|e| e.ids.len()).collect(),
            examples: s.examples.clone(),
            epoch: 0,
            first: 0,
            rows: Vec::new(),
        };
        let mut rows =
            ChatRows { sets: sets.iter().map(set).collect(), by_hand: Vec::new(), seed, window, packing, pad };
        for at in 0..rows.sets.len() {
            rows.plan(at, 0, 0)?;
        }
        Ok(rows)
    }

    /// The number of sources without the demonstrations.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Whether a source has no examples.
    pub fn is_empty(&self, source: usize) -> bool {
        self.sets.get(source).map_or(self.by_hand.is_empty(), |s| s.examples.is_empty())
    }

    /// Rows per pass over a source.
    pub fn rows_per_epoch(&self, source: usize) -> usize {
        self.sets.get(source).map_or(self.by_hand.len(), |s| s.rows.len()).max(1)
    }

    /// Adds a demonstration that can be drawn from `step` on, after those with the same step.
    pub fn demonstrate(&mut self, step: u64, example: Example) {
        // After a resume from an earlier step, some demonstrations may have later steps.
        let at = self.by_hand.partition_point(|(from, _)| *from <= step);
        self.by_hand.insert(at, (step, example));
    }

    /// Row `ordinal` of a source at a step; the index after the last set is the demonstrations.
    pub fn row(&mut self, source: usize, ordinal: u64, step: u64) -> Result<PackedRow, DataError> {
        if source < self.sets.len() {
            self.seek(source, ordinal)?;
            let set = &self.sets[source];
            let row = &set.rows[(ordinal - set.first) as usize];
            let examples: Vec<&Example> = row.iter().map(|i| &set.examples[*i]).collect();
            return packing::fill_row(&examples, self.window, self.pad);
        }
        self.by_hand_row(source, ordinal, step)
    }

    /// Makes the plan for the epoch that contains a row.
    fn seek(&mut self, source: usize, ordinal: u64) -> Result<(), DataError> {
        if ordinal < self.sets[source].first {
            self.plan(source, 0, 0)?;
        }
        loop {
            let set = &self.sets[source];
            let next = set.first + set.rows.len() as u64;
            if ordinal < next {
                return Ok(());
            }
            if set.rows.is_empty() {
                return Err(DataError::Mix(format!("source {} has no example to draw", source + 1)));
            }
            let epoch = set.epoch + 1;
            self.plan(source, epoch, next)?;
        }
    }

    fn plan(&mut self, source: usize, epoch: u64, first: u64) -> Result<(), DataError> {
        let n = self.sets[source].examples.len();
        let order: Vec<usize> = (0..n).map(|at| permute(self.seed, Stream::Chats(source, epoch), n, at)).collect();
        let rows = if self.packing {
            packing::plan(&self.sets[source].lengths, &order, self.window)?
        } else {
            order.into_iter().map(|i| vec![i]).collect()
        };
        let set = &mut self.sets[source];
        (set.epoch, set.first, set.rows) = (epoch, first, rows);
        Ok(())
    }

    /// The newest demonstration, then random others until the row is full.
    fn by_hand_row(&self, source: usize, ordinal: u64, step: u64) -> Result<PackedRow, DataError> {
        let there = self.by_hand.partition_point(|(from, _)| *from <= step);
        let Some((_, newest)) = self.by_hand[..there].last() else {
            return Err(DataError::Mix(format!("step {step} draws a demonstration before there is one")));
        };
        let mut examples = vec![newest];
        let mut used = newest.ids.len().saturating_sub(1);
        for at in 0..there - 1 {
            let (_, other) = &self.by_hand[permute(self.seed, Stream::Chats(source, ordinal), there - 1, at)];
            let places = other.ids.len().saturating_sub(1);
            if self.packing && used + places <= self.window {
                examples.push(other);
                used += places;
            }
        }
        packing::fill_row(&examples, self.window, self.pad)
    }
}
