//! A metric over a run of any length in constant memory: buckets of minimum, maximum and mean. Their width is a power
//! of two steps, aligned to step 0, so that a spike stays visible and the curve does not shimmer. The newest steps are
//! also kept in narrower buckets, so that a part near the end can be enlarged down to single steps.

/// Most buckets over the whole run; when they are full the width doubles.
const MOST: usize = 4096;
/// The widths, as powers of two, in which the newest buckets are kept once the whole is wider.
const FINE: [u32; 3] = [0, 3, 6];
/// Buckets kept of each of them, at least; at most twice as many.
const NEWEST: usize = 512;

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

/// Buckets of one width, in order.
#[derive(Clone, Debug, Default)]
struct Level {
    shift: u32,
    buckets: Vec<Bucket>,
}

impl Level {
    /// The bucket of a step: the newest, or a new one after it. Earlier buckets stay as they are.
    fn place(&mut self, step: usize) -> &mut Bucket {
        let index = (step >> self.shift).max(self.buckets.last().map_or(0, |b| b.index));
        if self.buckets.last().is_none_or(|b| b.index < index) {
            self.buckets.push(Bucket::new(index));
        }
        let newest = self.buckets.len() - 1;
        &mut self.buckets[newest]
    }

    /// Drops the oldest buckets beyond the newest.
    fn trim(&mut self) {
        if self.buckets.len() > 2 * NEWEST {
            self.buckets.drain(..self.buckets.len() - NEWEST);
        }
    }

    fn span(&self, bucket: &Bucket) -> (f64, f64) {
        let width = (1_u64 << self.shift) as f64;
        (bucket.index as f64 * width, bucket.index as f64 * width + width - 1.0)
    }

    /// The buckets that reach into a range, and one more on each side, to which lines lead.
    fn within(&self, from: f64, to: f64) -> Buckets<'_> {
        let first = self.buckets.partition_point(|b| self.span(b).1 < from).saturating_sub(1);
        let last = (self.buckets.partition_point(|b| self.span(b).0 <= to) + 1).min(self.buckets.len());
        Buckets { level: self, buckets: &self.buckets[first.min(last)..last] }
    }
}

/// Buckets of a part of a series.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a> {
    level: &'a Level,
    /// The buckets, in order.
    pub buckets: &'a [Bucket],
}

impl Buckets<'_> {
    /// The first and last step that a bucket stands for.
    pub fn span(&self, bucket: &Bucket) -> (f64, f64) {
        self.level.span(bucket)
    }

    /// The step in the middle of a bucket.
    pub fn middle(&self, bucket: &Bucket) -> f64 {
        let (first, last) = self.level.span(bucket);
        f64::midpoint(first, last)
    }

    /// Steps in a bucket.
    pub fn width(&self) -> usize {
        1 << self.level.shift
    }
}

/// One metric.
#[derive(Clone, Debug, Default)]
pub struct Series {
    whole: Level,
    /// The newest buckets of the widths of [`FINE`] that the whole has left behind.
    fine: Vec<Level>,
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
        while self.whole.buckets.len() >= MOST
            && self.whole.buckets.last().is_some_and(|b| b.index < step >> self.whole.shift)
        {
            self.widen();
        }
        self.last = Some((step, value));
        let mut smooth = None;
        if value.is_finite() {
            self.count = self.count.saturating_add(1);
            let mut newest = [0.0; SMOOTHINGS.len()];
            for ((biased, smooth), beta) in self.biased.iter_mut().zip(&mut newest).zip(SMOOTHINGS) {
                *biased = beta * *biased + (1.0 - beta) * value;
                *smooth = *biased / (1.0 - beta.powi(self.count));
            }
            smooth = Some(newest);
        }
        for level in std::iter::once(&mut self.whole).chain(&mut self.fine) {
            let bucket = level.place(step);
            if let Some(smooth) = smooth {
                bucket.smooth = smooth;
                bucket.min = bucket.min.min(value);
                bucket.max = bucket.max.max(value);
                bucket.sum += value;
                bucket.count += 1;
            } else {
                bucket.broken += 1;
            }
        }
        self.fine.iter_mut().for_each(Level::trim);
    }

    /// Adds a value with its confidence interval, which widens the bucket's range.
    pub fn push_within(&mut self, step: usize, value: f64, interval: (f64, f64)) {
        self.push(step, value);
        if !interval.0.is_finite() || !interval.1.is_finite() {
            return;
        }
        for level in std::iter::once(&mut self.whole).chain(&mut self.fine) {
            let bucket = level.place(step);
            bucket.min = bucket.min.min(interval.0);
            bucket.max = bucket.max.max(interval.1);
        }
    }

    /// Doubles the width of the whole; of a width of [`FINE`] the newest buckets are kept.
    fn widen(&mut self) {
        if FINE.contains(&self.whole.shift) {
            let newest = self.whole.buckets[self.whole.buckets.len().saturating_sub(NEWEST)..].to_vec();
            self.fine.push(Level { shift: self.whole.shift, buckets: newest });
        }
        self.whole.shift += 1;
        let mut merged: Vec<Bucket> = Vec::with_capacity(MOST);
        for bucket in &self.whole.buckets {
            let index = bucket.index / 2;
            match merged.last_mut() {
                Some(last) if last.index == index => last.merge(bucket),
                _ => merged.push(Bucket { index, ..*bucket }),
            }
        }
        self.whole.buckets = merged;
    }

    /// All buckets of the whole run, in order.
    pub fn buckets(&self) -> &[Bucket] {
        &self.whole.buckets
    }

    /// The narrowest buckets that cover a range of steps from its beginning; those of the whole run if none does.
    pub fn within(&self, from: f64, to: f64) -> Buckets<'_> {
        let covers = |level: &&Level| level.buckets.first().is_some_and(|b| level.span(b).0 <= from);
        self.fine.iter().find(covers).unwrap_or(&self.whole).within(from, to)
    }

    /// The bucket that a step is in, or the newest before it, with its first and last step.
    pub fn at(&self, step: f64) -> Option<(&Bucket, (f64, f64))> {
        let mut levels = self.fine.iter().chain(std::iter::once(&self.whole));
        levels.find_map(|level| {
            let at = level.buckets.partition_point(|b| level.span(b).0 <= step).checked_sub(1)?;
            let bucket = &level.buckets[at];
            Some((bucket, level.span(bucket)))
        })
    }

    /// The number of buckets in memory.
    pub fn stored(&self) -> usize {
        self.whole.buckets.len() + self.fine.iter().map(|level| level.buckets.len()).sum::<usize>()
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
        self.whole.buckets.iter().rev().find(|b| b.count > 0).map(|b| b.line(smoothing))
    }

    /// Whether it has no values yet.
    pub fn is_empty(&self) -> bool {
        self.whole.buckets.is_empty()
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
        let (first, _) = series.whole.span(&series.buckets()[0]);
        assert!((999_990.0..1_000_010.0).contains(&first), "{first}");
    }

    /// A million steps whose extremes are known: memory is bounded, and every extreme is found exactly where it was, in
    /// the whole and enlarged.
    #[test]
    fn any_part_of_a_long_run_keeps_its_exact_extremes() {
        let value = |step: usize| (step.wrapping_mul(2_654_435_761) % 100_003) as f64 / 7.0;
        let mut series = Series::default();
        let most = 1_000_000;
        for step in 0..most {
            series.push(step, value(step));
            assert!(step % 997 > 0 || series.stored() <= MOST + FINE.len() * (2 * NEWEST + 1));
        }
        assert!(size_of::<Bucket>() * series.stored() < 500_000, "{} buckets", series.stored());
        for span in [1, 40, 511, 4_000, 30_000, 400_000, most] {
            let part = series.within((most - span) as f64, (most - 1) as f64);
            let [first, last] = [part.buckets[0], part.buckets[part.buckets.len() - 1]].map(|b| part.span(&b));
            let steps = first.0 as usize..=(last.1 as usize).min(most - 1);
            let values = || steps.clone().map(value);
            let found = part.buckets.iter().fold((f64::MAX, f64::MIN), |(l, h), b| (l.min(b.min), h.max(b.max)));
            let exact = values().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
            assert_eq!(found, exact, "the newest {span} steps");
            assert_eq!(part.buckets.iter().map(|b| b.count as usize).sum::<usize>(), values().count());
            assert!(*steps.start() <= most - span);
            // A bucket for every eighth of a hundred columns at least, or one for every step.
            assert!(part.width() == 1 || part.width() * 100 / 8 <= span.max(200), "{span}: {}", part.width());
        }
        let (bucket, span) = series.at(999_983.0).expect("a step of the run");
        assert_eq!((bucket.min, bucket.max, span), (value(999_983), value(999_983), (999_983.0, 999_983.0)));
        let (bucket, span) = series.at(123_456.0).expect("a step of the run");
        assert!(bucket.min <= value(123_456) && value(123_456) <= bucket.max && span.0 <= 123_456.0);
        assert!(Series::default().at(3.0).is_none() && Series::default().within(0.0, 9.0).buckets.is_empty());
    }
}
