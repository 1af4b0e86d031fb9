//! Drawing a token from logits.

use std::borrow::Cow;

use crate::compute::{
    exponentials,
    ops::{Among, MOST_LIKELIEST, Pick},
    rng,
};

/// How tokens are drawn from the model's distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Sampling temperature; 0 takes the likeliest token.
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

    /// Whether the likeliest token is always taken.
    fn is_greedy(&self) -> bool {
        // Below 2.9e-39 the reciprocal is infinite: that is the limit, the likeliest token.
        self.temperature <= 0.0 || !(1.0 / self.temperature).is_finite() || self.top_k == 1
    }

    /// The same settings for a device, among the first `known` ids and after a prompt of `prompt` tokens; `None` if
    /// only the host supports them: a repetition penalty, more of the likeliest than [`MOST_LIKELIEST`], top-p over the
    /// whole vocabulary.
    pub(super) fn pick(&self, known: usize, prompt: usize) -> Option<Pick> {
        let among = match (self.top_k, self.top_p) {
            _ if self.repetition_penalty != 1.0 => return None,
            _ if self.is_greedy() => Among::Best,
            (0, 1.0..) => Among::All,
            (1..=MOST_LIKELIEST, p) => Among::Likeliest { k: self.top_k, p },
            _ => return None,
        };
        Some(Pick { seed: self.seed, inverse_temperature: 1.0 / self.temperature, among, known, prompt })
    }
}

/// A token, and how likely it was to be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// The token.
    pub id: u32,
    /// The logarithm of its probability in the distribution it was drawn from: after penalty, temperature
    /// and filters, so 0 where the likeliest is taken. At temperature 1 without filters it is the model's.
    pub logprob: f32,
}

/// The token of [`draw`].
pub fn sample(logits: &[f32], seen: &[u32], how: &Sampling, index: u64) -> u32 {
    draw(logits, seen, how, index).id
}

/// Draws the token at place `index` of a text, after `seen`, in Hugging Face's order: repetition
/// penalty, temperature, top-k, top-p. A pure function of its arguments; ties go to the lower id.
///
/// Without filters nothing is sorted; with top-k only what it keeps.
pub fn draw(logits: &[f32], seen: &[u32], how: &Sampling, index: u64) -> Drawn {
    let mut logits = Cow::Borrowed(logits);
    if how.repetition_penalty != 1.0 {
        let mut done = std::collections::HashSet::new();
        for id in seen {
            if let (true, Some(x)) = (done.insert(*id), logits.to_mut().get_mut(*id as usize)) {
                let penalised = if *x > 0.0 { *x / how.repetition_penalty } else { *x * how.repetition_penalty };
                // An extreme penalty leaves the number line; what was a number stays one, or it could not be drawn.
                *x = if x.is_finite() { penalised.clamp(f32::MIN, f32::MAX) } else { *x };
            }
        }
    }
    let logits = &*logits;
    if how.is_greedy() {
        return likeliest(logits);
    }
    let lot = f64::from(rng::uniform(how.seed, rng::Purpose::Sample, 0, index));
    if how.top_k == 0 && how.top_p >= 1.0 {
        return draw_from_all(logits, how.temperature, lot);
    }
    let finite = |i: &u32| logits[*i as usize].is_finite();
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(finite).collect();
    let down = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if how.top_k > 0 && how.top_k < order.len() {
        let (_, least, _) = order.select_nth_unstable_by(how.top_k - 1, down);
        // Tokens as likely as the k-th stay, as in Hugging Face.
        let least = logits[*least as usize];
        order.retain(|i| logits[*i as usize] >= least);
    }
    order.sort_unstable_by(down);
    let Some(top) = order.first().map(|i| logits[*i as usize]) else { return likeliest(logits) };
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
    let total = weights.iter().sum::<f64>();
    let mut rest = lot * total;
    let past = weights.iter().position(|weight| {
        rest -= weight;
        rest < 0.0
    });
    let at = past.unwrap_or(weights.len() - 1);
    Drawn { id: order[at], logprob: (weights[at] / total).ln() as f32 }
}

/// The likeliest token, for certain; what is not finite is never drawn.
fn likeliest(logits: &[f32]) -> Drawn {
    let finite = logits.iter().enumerate().filter(|(_, v)| v.is_finite());
    let best = finite.fold(None, |best, (i, v)| match best {
        Some((_, most)) if *v <= most => best,
        _ => Some((i, *v)),
    });
    Drawn { id: best.map_or(0, |(i, _)| i as u32), logprob: 0.0 }
}

/// Tokens that are summed up together.
const PART: usize = 64;

/// A token of the whole distribution: ids are passed in their order until `lot` of the whole is reached.
fn draw_from_all(logits: &[f32], temperature: f32, lot: f64) -> Drawn {
    // What is not finite is never drawn.
    let finite = |x: &f32| x.is_finite();
    let top = logits.iter().copied().filter(finite).fold(f32::NEG_INFINITY, f32::max);
    if top == f32::NEG_INFINITY {
        return likeliest(logits);
    }
    let mut weights = exponentials(logits, top, 1.0 / temperature);
    for (weight, x) in weights.iter_mut().zip(logits) {
        *weight = if finite(x) { *weight } else { 0.0 };
    }
    let sum = |part: &[f32]| part.iter().map(|w| f64::from(*w)).sum::<f64>();
    let parts: Vec<f64> = weights.chunks(PART).map(sum).collect();
    let total: f64 = parts.iter().sum();
    // Whole parts first, then tokens.
    let mut rest = lot * total;
    let mut part = 0;
    while part + 1 < parts.len() && rest >= parts[part] {
        rest -= parts[part];
        part += 1;
    }
    let past = weights.iter().skip(part * PART).position(|weight| {
        rest -= f64::from(*weight);
        rest < 0.0
    });
    // Past the end by a rounding: the last that could be drawn.
    let last = || weights.iter().rposition(|w| *w > 0.0);
    let at = past.map(|at| part * PART + at).or_else(last).unwrap_or(0);
    let exponent = f64::from(logits[at] - top) / f64::from(temperature);
    Drawn { id: at as u32, logprob: (exponent - total.ln()) as f32 }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
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
    fn no_temperature_and_no_penalty_leaves_the_number_line() {
        let logits = [0.5, 2.0, f32::NAN, 1.0, -3.0];
        let plain = Sampling { top_k: 0, ..Sampling::default() };
        for temperature in [0.0, 1e-45, 1e-44, 2e-39, 2.9e-39, 3e-39, 1.2e-38, 1e-30] {
            for how in [plain, Sampling { top_k: 3, ..plain }, Sampling { top_p: 1e-45, ..plain }] {
                let how = Sampling { temperature, ..how };
                assert!((0..50).all(|i| draw(&logits, &[], &how, i) == Drawn { id: 1, logprob: 0.0 }), "{how:?}");
            }
        }
        for temperature in [1e30, f32::MAX] {
            let how = Sampling { temperature, ..plain };
            let drawn: std::collections::BTreeSet<u32> = (0..400).map(|i| sample(&logits, &[], &how, i)).collect();
            assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 1, 3, 4]);
        }
        for repetition_penalty in [f32::MIN_POSITIVE, 1e-45, 1e38, f32::MAX] {
            for how in [Sampling { repetition_penalty, ..plain }, Sampling { repetition_penalty, ..Sampling::greedy() }]
            {
                let drawn = draw(&logits, &[1, 4], &how, 3);
                assert!(drawn.id != 2 && drawn.logprob.is_finite(), "{how:?}: {drawn:?}");
                if repetition_penalty < 1.0 {
                    assert_eq!(drawn.id, 1, "{how:?}");
                }
            }
        }
        assert_eq!(sample(&[f32::NAN, 1.0, 3.0], &[], &Sampling::greedy(), 0), 2);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.0, (3.0_f32).ln()];
        let how = Sampling { temperature: 1.0, top_k: 0, ..Sampling::default() };
        let ones = (0..4000).filter(|i| sample(&logits, &[], &how, *i) == 1).count();
        assert!((2850..3150).contains(&ones), "{ones} of 4000 where 3000 are expected");
    }

    /// The whole vocabulary in order of likelihood: what top-k and top-p are defined on.
    fn by_sorting(logits: &[f32], how: &Sampling, index: u64) -> u32 {
        let mut order: Vec<u32> = (0..logits.len() as u32).filter(|i| logits[*i as usize].is_finite()).collect();
        order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
        if how.top_k > 0 {
            let least = order.get(how.top_k - 1).map_or(f32::NEG_INFINITY, |i| logits[*i as usize]);
            order.retain(|i| logits[*i as usize] >= least);
        }
        let top = logits[order[0] as usize];
        let weights: Vec<f64> =
            order.iter().map(|i| f64::from((logits[*i as usize] - top) / how.temperature).exp()).collect();
        let mut rest = f64::from(rng::uniform(how.seed, rng::Purpose::Sample, 0, index)) * weights.iter().sum::<f64>();
        for (id, weight) in order.iter().zip(&weights) {
            rest -= weight;
            if rest < 0.0 {
                return *id;
            }
        }
        order[weights.len() - 1]
    }

    /// Logits of few values, so that many are equal, and some that are none.
    fn crowded(row: u64, v: usize) -> Vec<f32> {
        let value = |i: usize| match rng::below(3, rng::Purpose::Bench, row, i as u64, 40) {
            0 => f32::NEG_INFINITY,
            1 => f32::NAN,
            n => n as f32 / 8.0,
        };
        (0..v).map(value).collect()
    }

    #[test]
    fn top_k_draws_what_sorting_everything_draws() {
        for row in 0..60 {
            let logits = crowded(row, 300);
            for top_k in [2, 5, 40, 299, 300, 1000] {
                let how = Sampling { temperature: 0.7, top_k, ..Sampling::default() };
                for index in 0..20 {
                    assert_eq!(sample(&logits, &[], &how, index), by_sorting(&logits, &how, index));
                }
            }
        }
    }

    /// Draws without filters and their log-probabilities, against the softmax.
    #[test]
    fn the_whole_distribution_is_drawn_from() {
        let logits = [1.0, f32::NAN, -0.5, 2.0, f32::NEG_INFINITY, 0.0, 2.0];
        let how = Sampling { temperature: 0.5, top_k: 0, ..Sampling::default() };
        let weight = |x: f32| if x.is_finite() { (2.0 * f64::from(x)).exp() } else { 0.0 };
        let total: f64 = logits.iter().map(|x| weight(*x)).sum();
        let n = 40_000;
        let mut seen = [0; 7];
        for i in 0..n {
            let drawn = draw(&logits, &[], &how, i);
            let share = weight(logits[drawn.id as usize]) / total;
            assert!((f64::from(drawn.logprob) - share.ln()).abs() < 1e-6);
            seen[drawn.id as usize] += 1;
        }
        for (count, x) in seen.iter().zip(logits) {
            let share = weight(x) / total;
            let deviation = (n as f64 * share * (1.0 - share)).sqrt();
            assert!((f64::from(*count) - n as f64 * share).abs() <= 4.0 * deviation, "{count} of {n}, share {share}");
        }
        assert_eq!(draw(&[f32::NAN; 3], &[], &how, 0).id, 0);
        assert_eq!(draw(&[f32::NEG_INFINITY, 5.0], &[], &how, 7), Drawn { id: 1, logprob: 0.0 });
    }

    #[test]
    fn log_probabilities_are_those_of_what_the_filters_keep() {
        let logits = [0.0, 3.0, 2.0, 1.0, -5.0];
        let plain = Sampling { temperature: 1.0, top_k: 0, ..Sampling::default() };
        for (how, kept) in [(Sampling { top_k: 2, ..plain }, 2), (Sampling { top_p: 0.9, ..plain }, 3)] {
            let total: f64 = [3.0_f64, 2.0, 1.0].iter().take(kept).map(|x| x.exp()).sum();
            for index in 0..50 {
                let drawn = draw(&logits, &[], &how, index);
                let want = f64::from(logits[drawn.id as usize]) - total.ln();
                assert!((f64::from(drawn.logprob) - want).abs() < 1e-6, "{drawn:?}, want {want}");
            }
        }
        assert_eq!(draw(&logits, &[], &Sampling::greedy(), 0), Drawn { id: 1, logprob: 0.0 });
    }

    /// The device's choice, by its twin, agrees with the host's.
    #[test]
    fn what_a_device_can_draw_it_draws_as_the_host() {
        use crate::compute::{
            DType, Device, Recording,
            ops::{self, PICK},
        };
        let (rows, v) = (200, 300);
        let mut device = Device::cpu();
        let mut make = |shape: &[usize], dtype| device.alloc("t", shape, dtype).expect("memory");
        let (picks, prompts) = (make(&[rows, PICK], DType::U32), make(&[rows, 1], DType::U32));
        let (ids, positions) = (make(&[rows], DType::U32), make(&[rows], DType::U32));
        let (logits, drawn) = (make(&[rows, v], DType::F32), make(&[4, rows, 2], DType::U32));
        let plain = Sampling { temperature: 0.9, top_k: 0, ..Sampling::default() };
        let all: Vec<Vec<f32>> = (0..rows as u64).map(|row| crowded(row, v)).collect();
        device.write(&logits, &all.concat()).expect("memory");
        for how in [
            Sampling::greedy(),
            plain,
            Sampling { top_k: 1, ..plain },
            Sampling { top_k: 40, ..plain },
            Sampling { top_k: 90, top_p: 0.5, ..plain },
        ] {
            let how = |row: usize| Sampling { seed: row as u64 * 0x1_0000_0001, ..how };
            let words = |row| how(row).pick(v, 0).expect("a device can").words();
            device.write(&picks, (0..rows).map(words).collect::<Vec<_>>().as_flattened()).expect("memory");
            device.write(&positions, &vec![6_u32; rows]).expect("memory");
            let mut rec = Recording::new(&mut device);
            ops::sample(&mut rec, &picks, &logits, &prompts, &ids, &positions, &drawn).expect("shapes");
            let program = rec.compile().expect("a program");
            device.replay(&[&program]).expect("it runs");
            let (got, words) = (device.read::<u32>(&ids).expect("ids"), device.read::<u32>(&drawn).expect("words"));
            for row in 0..rows {
                let (want, slot) = (draw(&all[row], &[], &how(row), 7), 2 * (3 * rows + row));
                assert_eq!((got[row], words[slot]), (want.id, want.id), "{:?}", how(row));
                assert!((f32::from_bits(words[slot + 1]) - want.logprob).abs() < 1e-5, "{:?}", how(row));
            }
            assert_eq!(device.read::<u32>(&positions).expect("positions"), vec![7; rows]);
        }
        for how in [
            Sampling { top_p: 0.9, ..plain },
            Sampling { top_k: 129, ..plain },
            Sampling { repetition_penalty: 1.1, ..plain },
        ] {
            assert_eq!(how.pick(v, 0), None, "the host's");
        }
    }
}
