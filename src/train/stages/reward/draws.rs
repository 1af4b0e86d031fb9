//! Which pairs a step of the reward model draws: whole prompts in shuffled order, epoch after epoch.
//!
//! All pairs of a prompt are in the same step (Ouyang et al. 2022, §3.5: if they were drawn separately, an answer that
//! occurs in several pairs would be trained several times per epoch and overfit). The number of pairs per step is
//! approximate. A step's draw is a function of the seed and of the budgets of the steps before, so a resume repeats it.

use std::collections::HashMap;

use crate::{
    compute::rng::Stream,
    data::{PairExample, tokens::shuffle::permute},
};

/// The pairs to draw from.
#[derive(Debug)]
pub(crate) struct Draws {
    seed: u64,
    /// Pairs of each prompt, as indices.
    groups: Vec<Vec<usize>>,
    /// Groups drawn before each step, computed so far.
    before: Vec<usize>,
}

impl Draws {
    pub(crate) fn new(seed: u64, pairs: &[PairExample]) -> Draws {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut place = HashMap::new();
        for (at, pair) in pairs.iter().enumerate() {
            let group = *place.entry(pair.group).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(at);
        }
        Draws { seed, groups, before: vec![0] }
    }

    /// The pairs of a step, about as many as `budget` returns for it; `budget` is called for all earlier steps too and
    /// must be deterministic.
    pub(crate) fn step(&mut self, step: usize, budget: impl Fn(usize) -> usize) -> Vec<usize> {
        let first = self.drawn(step, &budget);
        let groups = first..first + self.takes(first, budget(step));
        groups.flat_map(|at| self.group(at).to_vec()).collect()
    }

    /// Passes over all prompts before a step.
    pub(crate) fn epochs(&mut self, step: usize, budget: impl Fn(usize) -> usize) -> f64 {
        self.drawn(step, &budget) as f64 / self.groups.len().max(1) as f64
    }

    fn drawn(&mut self, step: usize, budget: &impl Fn(usize) -> usize) -> usize {
        while self.before.len() <= step {
            let (at, first) = (self.before.len() - 1, self.before.last().copied().unwrap_or(0));
            self.before.push(first + self.takes(first, budget(at)));
        }
        self.before[step]
    }

    /// The group at a position of the infinite order.
    fn group(&self, at: usize) -> &[usize] {
        let n = self.groups.len();
        &self.groups[permute(self.seed, Stream::Examples((at / n) as u64), n, at % n)]
    }

    /// How many groups from `first` on have about `budget` pairs; at least one, and none twice.
    fn takes(&self, first: usize, budget: usize) -> usize {
        let (mut pairs, mut groups) = (0, 0);
        while pairs < budget && groups < self.groups.len() {
            let more = self.group(first + groups).len();
            // Whichever is closer, with or without this one.
            if groups > 0 && pairs + more > budget && pairs + more - budget > budget - pairs {
                break;
            }
            pairs += more;
            groups += 1;
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Side;

    fn pairs(groups: &[usize]) -> Vec<PairExample> {
        let side = Side { ids: vec![1, 2], first: 1, last: 1 };
        let pair = |group: usize| PairExample {
            chosen: side.clone(),
            rejected: side.clone(),
            group: group as u64,
            votes: false,
            at: 0,
        };
        // Pairs of a prompt are not adjacent in the file.
        let most = groups.iter().copied().max().unwrap_or(0);
        (0..most).flat_map(|i| (0..groups.len()).filter(move |g| i < groups[*g]).map(pair)).collect()
    }

    #[test]
    fn all_pairs_of_a_prompt_stand_in_one_step_and_each_once_an_epoch() {
        let sizes = [3, 1, 4, 2, 3, 8, 1, 1, 3, 3, 2, 5];
        let all = pairs(&sizes);
        let mut draws = Draws::new(7, &all);
        let mut seen = vec![0; all.len()];
        let mut groups = 0;
        let mut step = 0;
        while groups < 3 * sizes.len() {
            let drawn = draws.step(step, |_| 6);
            assert!((1..=10).contains(&drawn.len()), "{}", drawn.len());
            let mut of: Vec<u64> = drawn.iter().map(|i| all[*i].group).collect();
            of.dedup();
            groups += of.len();
            for group in &of {
                let n = drawn.iter().filter(|i| all[**i].group == *group).count();
                assert_eq!(n % sizes[*group as usize], 0, "a prompt is whole");
            }
            for i in &drawn {
                seen[*i] += 1;
            }
            step += 1;
        }
        assert!(seen.iter().all(|n| (3..=4).contains(n)), "{seen:?}");
        // The same result when starting in the middle, and after the budget of later steps changed.
        let (from, budget) = (step / 2, |at: usize| if at < 3 { 6 } else { 2 });
        let mut other = Draws::new(7, &all);
        assert_eq!(other.step(2, |_| 6), draws.step(2, |_| 6));
        let late = other.step(from, budget);
        assert_eq!(Draws::new(7, &all).step(from, budget), late);
    }

    #[test]
    fn a_step_never_takes_a_prompt_twice() {
        let all = pairs(&[1, 2]);
        let mut draws = Draws::new(1, &all);
        assert_eq!(draws.step(5, |_| 100).len(), 3);
        assert!((draws.epochs(5, |_| 100) - 5.0).abs() < 1e-12);
    }
}
