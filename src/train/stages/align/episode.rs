//! Answers as a policy learns from them, with numbers per token.
//!
//! An *action* is a sampled token, including the one that ends the answer. In a model's rows the numbers of an action
//! are at the position before it (see [`crate::nn::feedback`]).

use crate::{
    data::{Example, Side},
    nn::IGNORE_INDEX,
    train::{
        error::TrainError,
        stages::packed_rows::{self, Micro},
    },
};

/// One answer to one question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Episode {
    /// The conversation, and the index at which the answer starts.
    pub ids: Vec<u32>,
    pub start: usize,
    /// Whether it ended by itself.
    pub ended: bool,
    /// The sampler's log-probability of each action; empty for an answer that was not sampled.
    pub sampled: Vec<f32>,
}

impl Episode {
    /// A side of a pair.
    pub(crate) fn of_side(side: &Side) -> Episode {
        Episode { ids: side.ids.clone(), start: side.first, ended: true, sampled: Vec::new() }
    }

    /// The number of its actions.
    pub(crate) fn actions(&self) -> usize {
        self.ids.len() - self.start
    }

    /// As training example of a language model: the actions are its targets.
    fn example(&self) -> Example {
        let mut labels = vec![IGNORE_INDEX; self.ids.len()];
        for (label, id) in labels.iter_mut().zip(&self.ids).skip(self.start) {
            *label = *id as i32;
        }
        Example { ids: self.ids.clone(), labels }
    }
}

/// A number for every action of every episode.
pub(crate) type Actions = Vec<Vec<f32>>;

/// Zeros for all actions.
pub(crate) fn zeros(all: &[Episode]) -> Actions {
    all.iter().map(|e| vec![0.0; e.actions()]).collect()
}

/// The number of actions of each selected episode.
pub(crate) fn lengths(all: &[Episode], which: &[usize]) -> Vec<usize> {
    which.iter().map(|i| all[*i].actions()).collect()
}

/// The numbers of the selected episodes, concatenated.
pub(crate) fn flat(values: &Actions, which: &[usize]) -> Vec<f32> {
    which.iter().flat_map(|i| values[*i].iter().copied()).collect()
}

/// The inverse of [`flat`].
pub(crate) fn unflat(values: &[f32], all: &[Episode], which: &[usize], into: &mut Actions) {
    let mut rest = values;
    for i in which {
        let (these, more) = rest.split_at(all[*i].actions());
        into[*i].copy_from_slice(these);
        rest = more;
    }
}

/// Packs selected episodes into rows of micro-batches; spans refer to `all`.
pub(crate) fn pack(
    all: &[Episode],
    which: &[usize],
    (rows, context, pad): (usize, usize, u32),
) -> Result<Vec<Micro>, TrainError> {
    let examples: Vec<Example> = which.iter().map(|i| all[*i].example()).collect();
    let mut micros = packed_rows::micros(&examples, rows, context, pad)?;
    for span in micros.iter_mut().flat_map(|m| &mut m.spans) {
        span.0 = which[span.0];
    }
    Ok(micros)
}

/// Extracts the actions' numbers from the rows of a micro-batch.
pub(crate) fn gather(all: &[Episode], micro: &Micro, rows: &[f32], into: &mut Actions) {
    for (i, place) in &micro.spans {
        let from = place + all[*i].start - 1;
        into[*i].copy_from_slice(&rows[from..from + all[*i].actions()]);
    }
}

/// Writes the actions' numbers into rows; zeros elsewhere.
pub(crate) fn scatter(all: &[Episode], micro: &Micro, values: &Actions) -> Vec<f32> {
    let mut rows = vec![0.0; micro.ids.len()];
    for (i, place) in &micro.spans {
        let from = place + all[*i].start - 1;
        rows[from..from + all[*i].actions()].copy_from_slice(&values[*i]);
    }
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_to_their_actions() {
        let episode = |n: usize, start: usize, of: u32| Episode {
            ids: (0..n as u32).map(|i| of * 100 + i).collect(),
            start,
            ended: true,
            sampled: Vec::new(),
        };
        let all = [episode(5, 2, 1), episode(9, 1, 2), episode(3, 2, 3), episode(8, 7, 4)];
        let which = [3, 0, 2];
        let mut seen = zeros(&all);
        for micro in pack(&all, &which, (2, 10, 0)).unwrap() {
            // The target at the position before an action is its id.
            let targets: Vec<f32> = micro.targets.iter().map(|t| *t as f32).collect();
            gather(&all, &micro, &targets, &mut seen);
            let trained: f32 = targets.iter().filter(|t| **t >= 0.0).sum();
            assert_eq!(scatter(&all, &micro, &seen).iter().sum::<f32>(), trained);
        }
        for i in which {
            let want: Vec<f32> = all[i].ids[all[i].start..].iter().map(|id| *id as f32).collect();
            assert_eq!(seen[i], want);
        }
        assert_eq!(seen[1], [0.0; 8]);
        let mut back = zeros(&all);
        unflat(&flat(&seen, &which), &all, &which, &mut back);
        assert_eq!(back, seen);
        assert_eq!(lengths(&all, &which), [1, 3, 1]);
    }
}
