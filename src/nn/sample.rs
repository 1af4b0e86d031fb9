//! Drawing a token from logits.

use crate::compute::rng;

/// How tokens are drawn from the model's distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Keeps the k likeliest; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of likeliest tokens whose probabilities reach p; 1 keeps all.
    pub top_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen before; 1 changes nothing
    /// (Keskar et al. 2019, CTRL).
    pub repetition_penalty: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { temperature: 0.8, top_k: 40, top_p: 1.0, repetition_penalty: 1.0, seed: 42 }
    }
}

impl Sampling {
    /// The likeliest token every time.
    pub fn greedy() -> Sampling {
        Sampling { temperature: 0.0, top_k: 0, ..Sampling::default() }
    }
}

/// Draws the token at place `index` of a text, after `seen`, in Hugging Face's order: repetition
/// penalty, temperature, top-k, top-p. A pure function of its arguments; ties go to the lower id.
pub fn sample(logits: &[f32], seen: &[u32], how: &Sampling, index: u64) -> u32 {
    let mut logits = logits.to_vec();
    if how.repetition_penalty != 1.0 {
        let mut done = std::collections::HashSet::new();
        for id in seen {
            if let (true, Some(x)) = (done.insert(*id), logits.get_mut(*id as usize)) {
                *x = if *x > 0.0 { *x / how.repetition_penalty } else { *x * how.repetition_penalty };
            }
        }
    }
    let best = |x: &[f32]| x.iter().enumerate().fold(0, |b, (i, v)| if *v > x[b] { i } else { b }) as u32;
    if how.temperature <= 0.0 || how.top_k == 1 {
        return best(&logits);
    }
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|i| logits[*i as usize].is_finite()).collect();
    order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
    if how.top_k > 0 {
        // Tokens as likely as the k-th stay, as in Hugging Face.
        let least = order.get(how.top_k - 1).map_or(f32::NEG_INFINITY, |i| logits[*i as usize]);
        order.retain(|i| logits[*i as usize] >= least);
    }
    let Some(top) = order.first().map(|i| logits[*i as usize]) else { return best(&logits) };
    let mut weights: Vec<f64> =
        order.iter().map(|i| f64::from((logits[*i as usize] - top) / how.temperature).exp()).collect();
    if how.top_p < 1.0 {
        let goal = f64::from(how.top_p.max(0.0)) * weights.iter().sum::<f64>();
        let mut reached = 0.0;
        let keep = weights
            .iter()
            .take_while(|w| {
                let more = reached < goal;
                reached += **w;
                more
            })
            .count();
        weights.truncate(keep.max(1));
    }
    let mut draw = f64::from(rng::uniform(how.seed, rng::Purpose::Sample, 0, index)) * weights.iter().sum::<f64>();
    for (id, weight) in order.iter().zip(&weights) {
        draw -= weight;
        if draw < 0.0 {
            return *id;
        }
    }
    order[weights.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_what_they_should() {
        let logits = [0.0, 3.0, 2.0, 1.0, -5.0];
        let draw =
            |how: Sampling| (0..400).map(|i| sample(&logits, &[], &how, i)).collect::<std::collections::BTreeSet<_>>();
        let all = Sampling { temperature: 1.5, top_k: 0, ..Sampling::default() };
        assert_eq!(draw(Sampling::greedy()).into_iter().collect::<Vec<_>>(), [1]);
        assert!(draw(all).len() >= 4);
        assert_eq!(draw(Sampling { top_k: 2, ..all }).into_iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(draw(Sampling { top_p: 0.1, ..all }).into_iter().collect::<Vec<_>>(), [1]);
        let penalty = Sampling { repetition_penalty: 10.0, ..Sampling::greedy() };
        assert_eq!(sample(&logits, &[1, 1], &penalty, 0), 2);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.0, (3.0_f32).ln()];
        let how = Sampling { temperature: 1.0, top_k: 0, ..Sampling::default() };
        let ones = (0..4000).filter(|i| sample(&logits, &[], &how, *i) == 1).count();
        assert!((2850..3150).contains(&ones), "{ones} of 4000 where 3000 are expected");
    }
}
