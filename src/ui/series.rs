//! A metric over a run of any length in constant memory: buckets of minimum, maximum and mean. Their width is a power
//! of two steps, aligned to step 0, so that a spike stays visible and the curve does not shimmer.

/// Most buckets; when they are full the width doubles.
const MOST: usize = 4096;

/// The smoothing factors; the first means none.
pub const SMOOTHINGS: [f64; 3] = [0.0, 0.9, 0.98];

/// The values of `1 << shift` steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Index of the bucket: its first step divided by the width.
    pub index: usize,
    /// Least finite value.
    pub min: f64,
    /// Greatest finite value.
    pub max: f64,
    /// Sum of the finite values.
    pub sum: f64,
    /// Number of finite values.
    pub count: u32,
    /// Number of others.
    pub broken: u32,
    /// Smoothed values after the bucket's last step, one for each of [`SMOOTHINGS`].
    pub smooth: [f64; SMOOTHINGS.len()],
}

impl Bucket {
    fn new(index: usize) -> Bucket {
        Bucket {
            index,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            count: 0,
            broken: 0,
            smooth: [f64::NAN; SMOOTHINGS.len()],
        }
    }

    fn merge(&mut self, later: &Bucket) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.count += later.count;
        self.broken += later.broken;
        if later.count > 0 {
            self.smooth = later.smooth;
        }
    }

    /// The curve's value in the bucket: smoothed, or the mean without smoothing.
    pub fn line(&self, smoothing: usize) -> f64 {
        if smoothing == 0 { self.sum / self.count as f64 } else { self.smooth[smoothing] }
    }
}

/// One metric.
#[derive(Clone, Debug, Default)]
pub struct Series {
    buckets: Vec<Bucket>,
    shift: u32,
    /// Exponential moving averages, biased to 0 at first.
    biased: [f64; SMOOTHINGS.len()],
    /// Number of finite values, for correcting that bias (Kingma & Ba 2015, §3).
    count: i32,
    last: Option<(usize, f64)>,
}

impl Series {
    /// Adds the value at `step`. Steps are ascending; a repeated step (after a rollback) is kept beside the earlier
    /// value.
    pub fn push(&mut self, step: usize, value: f64) {
        while self.buckets.len() >= MOST && self.buckets.last().is_some_and(|b| b.index < step >> self.shift) {
            self.widen();
        }
        let index = (step >> self.shift).max(self.buckets.last().map_or(0, |b| b.index));
        if self.buckets.last().is_none_or(|b| b.index < index) {
            self.buckets.push(Bucket::new(index));
        }
        self.last = Some((step, value));
        let Some(bucket) = self.buckets.last_mut() else { return };
        if !value.is_finite() {
            bucket.broken += 1;
            return;
        }
        self.count = self.count.saturating_add(1);
        for ((biased, smooth), beta) in self.biased.iter_mut().zip(&mut bucket.smooth).zip(SMOOTHINGS) {
            *biased = beta * *biased + (1.0 - beta) * value;
            *smooth = *biased / (1.0 - beta.powi(self.count));
        }
        bucket.min = bucket.min.min(value);
        bucket.max = bucket.max.max(value);
        bucket.sum += value;
        bucket.count += 1;
    }

    /// Adds a value with its confidence interval, which widens the bucket's range.
    pub fn push_within(&mut self, step: usize, value: f64, interval: (f64, f64)) {
        self.push(step, value);
        if let Some(bucket) = self.buckets.last_mut().filter(|_| interval.0.is_finite() && interval.1.is_finite()) {
            bucket.min = bucket.min.min(interval.0);
            bucket.max = bucket.max.max(interval.1);
        }
    }

    fn widen(&mut self) {
        self.shift += 1;
        let mut merged: Vec<Bucket> = Vec::with_capacity(MOST);
        for bucket in &self.buckets {
            let index = bucket.index / 2;
            match merged.last_mut() {
                Some(last) if last.index == index => last.merge(bucket),
                _ => merged.push(Bucket { index, ..*bucket }),
            }
        }
        self.buckets = merged;
    }

    /// Buckets in order.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The step in the middle of a bucket.
    pub fn middle(&self, bucket: &Bucket) -> f64 {
        let width = (1_u64 << self.shift) as f64;
        bucket.index as f64 * width + (width - 1.0) / 2.0
    }

    /// The newest step and value, finite or not.
    pub fn last(&self) -> Option<(usize, f64)> {
        self.last
    }

    /// The newest smoothed value.
    pub fn smoothed(&self, smoothing: usize) -> Option<f64> {
        if smoothing == 0 {
            return self.last.map(|l| l.1);
        }
        self.buckets.iter().rev().find(|b| b.count > 0).map(|b| b.line(smoothing))
    }

    /// Whether it has no values yet.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_spike_survives_a_long_run() {
        let mut series = Series::default();
        for step in 1..=1_000_000 {
            series.push(step, if step == 123_457 { 99.0 } else { 2.0 });
        }
        assert!(series.buckets().len() <= MOST);
        assert_eq!(series.buckets().iter().map(|b| b.max).fold(0.0, f64::max), 99.0);
        assert_eq!(series.buckets().iter().map(|b| b.count).sum::<u32>(), 1_000_000);
    }

    #[test]
    fn the_mean_is_not_biased_to_zero() {
        let mut series = Series::default();
        series.push(1, 8.0);
        for smoothing in 0..SMOOTHINGS.len() {
            assert!((series.smoothed(smoothing).expect("a value") - 8.0).abs() < 1e-9);
        }
        series.push(2, 4.0);
        let mean = (0.1 * 0.9 * 8.0 + 0.1 * 4.0) / (1.0 - 0.81);
        assert!((series.smoothed(1).expect("a value") - mean).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_finite_is_counted_not_drawn() {
        let mut series = Series::default();
        series.push(1, 3.0);
        series.push(2, f64::NAN);
        series.push(3, f64::INFINITY);
        series.push(4, 2.0);
        assert_eq!(series.buckets().iter().map(|b| b.broken).sum::<u32>(), 2);
        assert_eq!(series.buckets().iter().map(|b| b.count).sum::<u32>(), 2);
        assert!((series.smoothed(2).expect("a value")).is_finite());
    }

    #[test]
    fn a_resumed_run_starts_where_it_is() {
        let mut series = Series::default();
        for step in 1_000_000..1_010_000 {
            series.push(step, 1.0);
        }
        assert!(series.buckets().len() <= MOST);
        let first = series.middle(&series.buckets()[0]);
        assert!((999_990.0..1_000_010.0).contains(&first), "{first}");
    }
}
