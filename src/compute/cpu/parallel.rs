//! Splits work by shape only, so that sums do not depend on the number of threads.

use rayon::prelude::*;

/// Kernels with fewer elements stay on the calling thread: waking the pool costs some microseconds.
const SMALL: usize = 16_384;
/// Tasks of a large kernel; enough to balance a few cores, few enough to be cheap.
const TASKS: usize = 32;

/// Rows per task for `n` rows of about `cost` element operations each.
pub(super) fn rows_per_task(n: usize, cost: usize) -> usize {
    if n * cost <= SMALL {
        return n.max(1);
    }
    n.div_ceil(TASKS).max(SMALL / 4 / cost.max(1)).max(1)
}

/// Runs all tasks, on the pool if there are several.
pub(super) fn run<T: Send>(tasks: impl Iterator<Item = T>, work: impl Fn(T) + Sync + Send) {
    let tasks: Vec<T> = tasks.collect();
    if tasks.len() <= 1 {
        tasks.into_iter().for_each(work);
    } else {
        tasks.into_par_iter().with_max_len(1).for_each(work);
    }
}
