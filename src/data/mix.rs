//! How often each source is drawn, now and in the past of a run.
//!
//! A weight is a source's share of drawn tokens. Rows are given to sources by the largest deficit:
//! each row goes to the source whose count lies furthest below its share so far. No draw is left to
//! chance, so after any number of rows every source is within a row or so of its share; and since
//! the counts follow from the history alone, a resume replays them.

use serde::{Deserialize, Serialize};

use crate::data::error::DataError;

/// Tokens a step may hold.
pub const MOST_TOKENS: usize = 1 << 28;

/// A batch's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Rows of one micro-batch.
    pub rows: usize,
    /// Tokens a row trains on.
    pub window: usize,
    /// Micro-batches of one step.
    pub micros: usize,
}

/// The mix from a step on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The first step it holds for.
    pub from_step: u64,
    /// A weight per source, in the sources' order; scaled to a sum of 1 by [`History`].
    pub weights: Vec<f64>,
    /// The shape of its batches, for a resume elsewhere may need another.
    pub shape: Shape,
}

/// Every phase of a run, the first from step 0. Saved with the run's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Phase>", into = "Vec<Phase>")]
pub struct History {
    phases: Vec<Phase>,
}

impl TryFrom<Vec<Phase>> for History {
    type Error = DataError;

    fn try_from(phases: Vec<Phase>) -> Result<Self, DataError> {
        // Weights stay the very numbers they were: scaled a second time they would differ in the last
        // bit, and a resume would take that for a change of the mix.
        let Some(first) = phases.first() else {
            return Err(DataError::Mix("the history holds no phase".into()));
        };
        if first.from_step != 0 {
            return Err(DataError::Mix(format!("the history starts at step {}, not 0", first.from_step)));
        }
        let sources = first.weights.len();
        for (at, phase) in phases.iter().enumerate() {
            let sum: f64 = shares(&phase.weights).and(checked(phase.shape)).map(|_| phase.weights.iter().sum())?;
            if phase.weights.len() != sources || (sum - 1.0).abs() > 1e-9 {
                let what = format!("the history's phase {} has {} weights with a sum of {sum}", at + 1, phase.weights.len());
                return Err(DataError::Mix(format!("{what}; {sources} with a sum of 1 are expected")));
            }
            if at > 0 && phase.from_step <= phases[at - 1].from_step {
                return Err(DataError::Mix(format!("the history's phase {} does not start after the one before", at + 1)));
            }
        }
        Ok(Self { phases })
    }
}

impl From<History> for Vec<Phase> {
    fn from(history: History) -> Self {
        history.phases
    }
}

impl History {
    /// A run's first mix.
    pub fn new(weights: &[f64], shape: Shape) -> Result<Self, DataError> {
        Ok(Self { phases: vec![Phase { from_step: 0, weights: shares(weights)?, shape: checked(shape)? }] })
    }

    /// Another mix or shape from a step on. Changing the newest phase's own step replaces it;
    /// changing an earlier one is refused, since those batches are drawn.
    pub fn change(&mut self, from_step: u64, weights: &[f64], shape: Shape) -> Result<(), DataError> {
        let phase = Phase { from_step, weights: shares(weights)?, shape: checked(shape)? };
        let newest = self.newest();
        if phase.weights.len() != newest.weights.len() {
            return Err(DataError::Mix(format!(
                "{} weights for {} sources",
                phase.weights.len(),
                newest.weights.len()
            )));
        }
        if from_step < newest.from_step {
            return Err(DataError::Mix(format!(
                "step {from_step} lies before the newest change, at step {}",
                newest.from_step
            )));
        }
        if from_step == newest.from_step {
            self.phases.pop();
        }
        self.phases.push(phase);
        Ok(())
    }

    /// The phases, oldest first.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The phase a step belongs to.
    pub fn at(&self, step: u64) -> &Phase {
        let after = self.phases.partition_point(|p| p.from_step <= step);
        &self.phases[after.saturating_sub(1)]
    }

    /// The newest phase.
    pub fn newest(&self) -> &Phase {
        &self.phases[self.phases.len() - 1]
    }

    /// The number of sources.
    pub fn sources(&self) -> usize {
        self.phases[0].weights.len()
    }
}

/// Weights scaled to a sum of 1.
pub fn shares(weights: &[f64]) -> Result<Vec<f64>, DataError> {
    if let Some((at, bad)) = weights.iter().enumerate().find(|(_, w)| !w.is_finite() || **w < 0.0) {
        return Err(DataError::Mix(format!("weight {} is {bad}; weights are numbers of 0 or more", at + 1)));
    }
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(DataError::Mix("no source has a weight above 0".into()));
    }
    // Scaled twice, for the plain sum of huge weights overflows.
    let scaled: Vec<f64> = weights.iter().map(|w| w / largest).collect();
    let sum: f64 = scaled.iter().sum();
    Ok(scaled.into_iter().map(|w| w / sum).collect())
}

fn checked(shape: Shape) -> Result<Shape, DataError> {
    if shape.rows == 0 || shape.window == 0 || shape.micros == 0 {
        return Err(DataError::Mix(format!("batches of {shape:?} hold no token")));
    }
    let tokens = shape.rows.checked_mul(shape.window).and_then(|n| n.checked_mul(shape.micros));
    if tokens.is_none_or(|n| n > MOST_TOKENS) {
        return Err(DataError::Mix(format!("batches of {shape:?} hold more than {MOST_TOKENS} tokens a step")));
    }
    Ok(shape)
}

/// Counts of rows per source up to a place in the run; moves forward only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cursor {
    phase: usize,
    /// Rows drawn within the phase.
    row: u64,
    /// Rows of each source within the phase, and in all.
    within: Vec<u64>,
    total: Vec<u64>,
    tokens: Vec<u64>,
}

impl Cursor {
    pub(crate) fn new(history: &History) -> Self {
        let zeros = vec![0; history.sources()];
        Self { phase: 0, row: 0, within: zeros.clone(), total: zeros.clone(), tokens: zeros }
    }

    /// Whether the cursor stands at or before a batch of the history.
    pub(crate) fn is_before(&self, history: &History, step: u64, micro: usize) -> bool {
        let Some(phase) = history.phases.get(self.phase) else { return false };
        let drawn = self.row / phase.shape.rows as u64;
        let at = (phase.from_step + drawn / phase.shape.micros as u64, drawn % phase.shape.micros as u64);
        at <= (step, micro as u64)
    }

    /// Moves to a batch: draws and forgets every row before it.
    pub(crate) fn advance(&mut self, history: &History, step: u64, micro: usize) {
        loop {
            let phase = &history.phases[self.phase];
            let next = history.phases.get(self.phase + 1).filter(|p| p.from_step <= step);
            let (to_step, to_micro) = next.map_or((step, micro), |p| (p.from_step, 0));
            let steps = to_step.saturating_sub(phase.from_step);
            let batches = steps.saturating_mul(phase.shape.micros as u64).saturating_add(to_micro as u64);
            let target = batches.saturating_mul(phase.shape.rows as u64);
            while self.row < target {
                self.draw(phase);
            }
            if next.is_none() {
                return;
            }
            self.phase += 1;
            self.row = 0;
            self.within.fill(0);
        }
    }

    /// The next row's source and which of the source's rows it is, counted over the whole run.
    pub(crate) fn draw(&mut self, phase: &Phase) -> (usize, u64) {
        let due = (self.row + 1) as f64;
        let mut best = 0;
        let mut deficit = f64::NEG_INFINITY;
        for (source, (share, drawn)) in phase.weights.iter().zip(&self.within).enumerate() {
            let short = share * due - *drawn as f64;
            if *share > 0.0 && short > deficit {
                (best, deficit) = (source, short);
            }
        }
        let ordinal = self.total[best];
        self.row += 1;
        self.within[best] += 1;
        self.total[best] += 1;
        self.tokens[best] += phase.shape.window as u64;
        (best, ordinal)
    }

    pub(crate) fn phase<'a>(&self, history: &'a History) -> &'a Phase {
        &history.phases[self.phase]
    }

    pub(crate) fn tokens(&self) -> &[u64] {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A resume compared shares that had been scaled once more, and read with an error in the last bit,
    /// with fresh ones, and began a new phase: every later batch was another than without the stop.
    #[test]
    fn a_saved_history_reads_back_to_the_bit() {
        let shape = Shape { rows: 3, window: 8, micros: 2 };
        for n in 1..200_u32 {
            let weights: Vec<f64> = (1..=5).map(|i| f64::from(n * i % 17 + 1) / f64::from(n)).collect();
            let mut history = History::new(&weights, shape).unwrap();
            history.change(7, &[0.35, 0.25, 0.15, 0.15, 0.10], shape).unwrap();
            let text = serde_json::to_string(&history).unwrap();
            assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
        }
    }

    #[test]
    fn a_history_that_no_run_has_is_refused() {
        let phase = |from_step, weights: &str| {
            format!("{{\"from_step\":{from_step},\"weights\":{weights},\"shape\":{{\"rows\":1,\"window\":4,\"micros\":1}}}}")
        };
        let good = phase(0, "[0.5,0.5]");
        serde_json::from_str::<History>(&format!("[{good}]")).unwrap();
        for bad in [String::new(), phase(1, "[1]"), phase(0, "[1,1]"), format!("{good},{}", phase(4, "[1]")), format!("{good},{good}")] {
            serde_json::from_str::<History>(&format!("[{bad}]")).unwrap_err();
        }
    }
}
