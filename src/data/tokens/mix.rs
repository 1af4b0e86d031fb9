//! How often each source is drawn, now and earlier in a run.
//!
//! A weight is a source's share of drawn tokens. Each row goes to the source with the largest deficit, whose count is
//! furthest below its share so far. Nothing is random, so after any number of rows every source is within about one row
//! of its share; and since the counts follow from the history alone, a resume recomputes them. Shares are integral
//! millionths: equal deficits are common, and a weight that lost its last bit in a file would break ties differently.

use serde::{Deserialize, Serialize};

use crate::data::error::DataError;

/// Most tokens of a step.
pub const MOST_TOKENS: usize = 1 << 28;
/// Parts into which all shares together are divided.
const PARTS: u32 = 1_000_000;

/// Most sources of a mix.
const MOST_SOURCES: usize = 1000;

/// A batch's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Rows of one micro-batch.
    pub rows: usize,
    /// Trained tokens per row.
    pub window: usize,
    /// Micro-batches per step.
    pub micros: usize,
}

impl std::fmt::Display for Shape {
    /// Rows and their tokens, such as `16 × 64 tokens`; several micro-batches in front.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.micros != 1 {
            write!(f, "{} × ", self.micros)?;
        }
        write!(f, "{} × {} tokens", self.rows, self.window)
    }
}

/// The mix from a step on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The first step it applies to.
    pub from_step: u64,
    /// Each source's share of drawn tokens, in the sources' order; in a [`History`] rounded to millionths that sum to
    /// 1.
    pub weights: Vec<f64>,
    /// The shape of its batches; a resume on other hardware may need another.
    pub shape: Shape,
}

/// All phases of a run, the first from step 0. Saved with the run's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Phase>", into = "Vec<Phase>")]
pub struct History {
    phases: Vec<Phase>,
}

impl TryFrom<Vec<Phase>> for History {
    type Error = DataError;

    fn try_from(phases: Vec<Phase>) -> Result<Self, DataError> {
        let mut phases = phases.into_iter();
        let Some(first) = phases.next() else {
            return Err(DataError::Mix("the history holds no phase".into()));
        };
        if first.from_step != 0 {
            return Err(DataError::Mix(format!("the history starts at step {}, not 0", first.from_step)));
        }
        let mut history = Self::new(&first.weights, first.shape)?;
        for phase in phases {
            history.change(phase.from_step, &phase.weights, phase.shape)?;
        }
        Ok(history)
    }
}

impl From<History> for Vec<Phase> {
    fn from(history: History) -> Self {
        history.phases
    }
}

impl History {
    /// The first mix of a run.
    pub fn new(weights: &[f64], shape: Shape) -> Result<Self, DataError> {
        Ok(Self { phases: vec![Phase { from_step: 0, weights: shares(weights)?, shape: checked(shape)? }] })
    }

    /// Changes mix or shape from a step on. A change at the newest phase's first step replaces it; an earlier step is
    /// an error, since those batches were drawn.
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
        if phase.from_step < newest.from_step {
            return Err(DataError::Mix(format!(
                "step {} lies before the newest change, at step {}",
                phase.from_step, newest.from_step
            )));
        }
        if phase.from_step == newest.from_step {
            self.phases.pop();
        }
        self.phases.push(phase);
        Ok(())
    }

    /// Sets mix and shape from a step on, unless they are in effect already. Later phases, which were planned but never
    /// drawn, are removed.
    pub fn turn_to(&mut self, from_step: u64, weights: &[f64], shape: Shape) -> Result<(), DataError> {
        self.phases.retain(|p| p.from_step <= from_step);
        let newest = self.newest();
        if newest.weights == shares(weights)? && newest.shape == shape {
            return Ok(());
        }
        self.change(from_step, weights, shape)
    }

    /// The phases, oldest first.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The phase of a step.
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

/// Weights as shares of 1, in integral millionths. A positive weight gets at least one.
pub fn shares(weights: &[f64]) -> Result<Vec<f64>, DataError> {
    Ok(parts(weights)?.into_iter().map(|p| f64::from(p) / f64::from(PARTS)).collect())
}

/// Weights as parts that sum to [`PARTS`]; shares made of parts give the same parts again.
fn parts(weights: &[f64]) -> Result<Vec<u32>, DataError> {
    if let Some((at, bad)) = weights.iter().enumerate().find(|(_, w)| !w.is_finite() || **w < 0.0) {
        return Err(DataError::Mix(format!("weight {} is {bad}; weights are numbers of 0 or more", at + 1)));
    }
    if weights.len() > MOST_SOURCES {
        return Err(DataError::Mix(format!("{} sources, more than {MOST_SOURCES}", weights.len())));
    }
    let (largest, greatest) =
        weights.iter().enumerate().fold((0, 0.0), |best, (i, w)| if *w > best.1 { (i, *w) } else { best });
    if greatest == 0.0 {
        return Err(DataError::Mix("no source has a weight above 0".into()));
    }
    // Normalised before summing, because the sum of huge weights overflows.
    let sum: f64 = weights.iter().map(|w| w / greatest).sum();
    let part = |w: &f64| if *w == 0.0 { 0 } else { ((w / greatest / sum * f64::from(PARTS)).round() as u32).max(1) };
    let mut parts: Vec<u32> = weights.iter().map(part).collect();
    // The remainder of rounding goes to the largest, which can spare it.
    let others: u32 = parts.iter().enumerate().filter(|(i, _)| *i != largest).map(|(_, p)| p).sum();
    parts[largest] = PARTS - others;
    Ok(parts)
}

fn checked(shape: Shape) -> Result<Shape, DataError> {
    if shape.rows == 0 || shape.window == 0 || shape.micros == 0 {
        return Err(DataError::Mix(format!("a batch of {shape} holds no token")));
    }
    let tokens = shape.rows.checked_mul(shape.window).and_then(|n| n.checked_mul(shape.micros));
    if tokens.is_none_or(|n| n > MOST_TOKENS) {
        return Err(DataError::Mix(format!("a batch of {shape} holds more than {MOST_TOKENS} tokens a step")));
    }
    Ok(shape)
}

/// A phase's shares as parts.
fn whole(phase: &Phase) -> Vec<i64> {
    phase.weights.iter().map(|w| (w * f64::from(PARTS)).round() as i64).collect()
}

/// Counts of rows per source up to a position in the run; moves forward only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cursor {
    phase: usize,
    /// Rows drawn in the phase.
    row: u64,
    /// The phase's shares.
    parts: Vec<i64>,
    /// How far each source is below its share, in parts of a row, within the phase.
    deficits: Vec<i64>,
    /// Rows of each source, and their tokens, over the whole run.
    rows: Vec<u64>,
    tokens: Vec<u64>,
}

impl Cursor {
    pub(crate) fn new(history: &History) -> Self {
        let zeros = vec![0; history.sources()];
        Self {
            phase: 0,
            row: 0,
            parts: whole(&history.phases[0]),
            deficits: vec![0; history.sources()],
            rows: zeros.clone(),
            tokens: zeros,
        }
    }

    /// Whether the cursor is at or before a batch of the history.
    pub(crate) fn is_before(&self, history: &History, step: u64, micro: usize) -> bool {
        let Some(phase) = history.phases.get(self.phase) else { return false };
        let drawn = self.row / phase.shape.rows as u64;
        let at = (phase.from_step + drawn / phase.shape.micros as u64, drawn % phase.shape.micros as u64);
        at <= (step, micro as u64)
    }

    /// Moves to a batch: draws and discards every row before it.
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
            self.parts = whole(&history.phases[self.phase]);
            self.deficits.fill(0);
        }
    }

    /// The next row's source, and its ordinal among the source's rows over the whole run.
    pub(crate) fn draw(&mut self, phase: &Phase) -> (usize, u64) {
        // The deficits sum to one row here, so the largest is positive and its source has a share.
        let (mut best, mut largest) = (0, i64::MIN);
        for (source, (parts, deficit)) in self.parts.iter().zip(&mut self.deficits).enumerate() {
            *deficit += parts;
            if *deficit > largest {
                (best, largest) = (source, *deficit);
            }
        }
        let ordinal = self.rows[best];
        self.deficits[best] -= i64::from(PARTS);
        self.row += 1;
        self.rows[best] += 1;
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
