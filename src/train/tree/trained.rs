//! The training losses of runs, for the chart that lays other runs over its own.

use std::collections::BTreeMap;

use crate::{
    base::StageId,
    protocol::{Line, StepReport, TrainedCurve, TrainedRun},
    store::{RunView, each_line},
};

/// Most points of a curve; when there are more, the width of each doubles.
const MOST: usize = 1024;

/// The mean loss of every so many steps, in constant memory.
#[derive(Debug)]
struct Means {
    every: u64,
    /// The index of the interval, the sum of the losses there, and their number.
    sums: Vec<(u64, f64, u32)>,
}

impl Means {
    fn new() -> Means {
        Means { every: 1, sums: Vec::new() }
    }

    /// Adds a step. One that was taken again counts beside the first.
    fn push(&mut self, step: u64, loss: f64) {
        if !loss.is_finite() {
            return;
        }
        self.add(step / self.every, loss, 1);
        while self.sums.len() > MOST {
            self.every *= 2;
            for (index, sum, count) in std::mem::take(&mut self.sums) {
                self.add(index / 2, sum, count);
            }
        }
    }

    fn add(&mut self, index: u64, sum: f64, count: u32) {
        match self.sums.last_mut() {
            Some(last) if last.0 >= index => (last.1, last.2) = (last.1 + sum, last.2 + count),
            _ => self.sums.push((index, sum, count)),
        }
    }

    fn curve(self, stage: StageId) -> TrainedCurve {
        let every = self.every;
        let point = |(index, sum, count): (u64, f64, u32)| (index * every + every / 2, sum / f64::from(count));
        TrainedCurve { stage: stage.into(), every, points: self.sums.into_iter().map(point).collect() }
    }
}

/// The training losses of a run's stages; none of a run that cannot be read.
pub(super) fn trained(view: &RunView) -> TrainedRun {
    let mut stages: BTreeMap<StageId, Means> = BTreeMap::new();
    let read = each_line(&**view.disk(), &view.metrics_path(), |line| {
        if let Some(Line { stage, record, .. }) = StepReport::read(line) {
            stages.entry(stage).or_insert_with(Means::new).push(record.step as u64, record.loss);
        }
    });
    if read.is_err() {
        stages.clear();
    }
    let curves = stages.into_iter().map(|(stage, means)| means.curve(stage)).filter(|curve| !curve.points.is_empty());
    TrainedRun { path: view.dir().to_owned(), curves: curves.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_of_any_length_has_few_points_with_the_means_of_its_parts() {
        for steps in [0_u64, 1, 1000, 1024, 1025, 100_000] {
            let mut means = Means::new();
            let loss = |step: u64| 1.0 + (step % 10) as f64;
            (1..=steps).for_each(|step| means.push(step, loss(step)));
            means.push(steps + 1, f64::NAN);
            let curve = means.curve(StageId::Pretrain);
            assert!(curve.points.len() <= MOST && curve.points.len() as u64 * 2 * curve.every >= steps, "{steps}");
            for (middle, mean) in &curve.points {
                let first = middle - curve.every / 2;
                let part: Vec<f64> = (first.max(1)..first + curve.every).filter(|s| *s <= steps).map(loss).collect();
                let exact = part.iter().sum::<f64>() / part.len() as f64;
                assert!((mean - exact).abs() < 1e-9, "{steps}: {mean} and {exact} from {first}");
            }
        }
    }

    /// A stage that was set back repeats steps; the curve does not go backwards.
    #[test]
    fn a_curve_goes_forward_only() {
        let mut means = Means::new();
        for step in [1, 2, 3, 2, 3, 4] {
            means.push(step, step as f64);
        }
        let curve = means.curve(StageId::Sft);
        assert_eq!(curve.points.iter().map(|p| p.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}
