//! How work is cut: by shape alone, so that sums do not depend on the number of threads.

use rayon::prelude::*;

/// Elements below which a kernel stays on the calling thread: waking the pool costs some microseconds.
const SMALL: usize = 16_384;
/// Tasks a large kernel is cut into; enough to balance a few cores, few enough to cost nothing.
const TASKS: usize = 32;

/// Rows of one task for `n` rows that cost about `cost` element operations each.
pub(super) fn rows_per_task(n: usize, cost: usize) -> usize {
    if n * cost <= SMALL {
        return n.max(1);
    }
    n.div_ceil(TASKS).max(SMALL / 4 / cost.max(1)).max(1)
}

/// Runs every task, on the pool if there are several.
pub(super) fn run<T: Send>(tasks: impl Iterator<Item = T>, work: impl Fn(T) + Sync + Send) {
    let tasks: Vec<T> = tasks.collect();
    if tasks.len() <= 1 {
        tasks.into_iter().for_each(work);
    } else {
        tasks.into_par_iter().with_max_len(1).for_each(work);
    }
}
