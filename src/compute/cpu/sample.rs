//! The twin of sampling, directly by the definition and in f64.

use super::args::{Args, Arity, Params, Ran};
use crate::compute::rng;

/// Most entries that are sorted.
const KEPT: usize = 256;

pub(in crate::compute) fn sample(p: &Params, args: Args<'_>) -> Ran {
    let (&[picks, logits, prompts], [ids, positions, drawn]) = (args.read, args.write) else { return Err(Arity) };
    let [_, v, places, ring] = p.sizes();
    let picks: &[[u32; 8]] = bytemuck::cast_slice(picks);
    let prompts: &[u32] = bytemuck::cast_slice(prompts);
    let (ids, positions): (&mut [u32], &mut [u32]) =
        (bytemuck::cast_slice_mut(ids), bytemuck::cast_slice_mut(positions));
    let drawn: &mut [u32] = bytemuck::cast_slice_mut(drawn);
    for (row, pick) in picks.iter().enumerate() {
        let next = positions[row].wrapping_add(1);
        let at = next as usize;
        positions[row] = next;
        if at < (pick[6] as usize).min(places) {
            ids[row] = prompts[row * places + at];
            continue;
        }
        let known = (pick[5] as usize).min(v);
        let (id, logprob) = chosen(&logits[row * v..][..known], pick, next);
        let slot = 2 * (at % ring * picks.len() + row);
        (drawn[slot], drawn[slot + 1]) = (id, logprob.to_bits());
        ids[row] = id;
    }
    Ok(())
}

/// The chosen entry of one row and the logarithm of its probability.
fn chosen(logits: &[f32], &[low, high, inverse, top_k, top_p, .., kind]: &[u32; 8], index: u32) -> (u32, f32) {
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|i| logits[*i as usize].is_finite()).collect();
    let of = |i: u32| logits[i as usize];
    let Some(best) = order.iter().copied().reduce(|best, i| if of(i) > of(best) { i } else { best }) else {
        return (0, 0.0);
    };
    if kind == 0 {
        return (best, 0.0);
    }
    let weight = |i: u32| f64::from((of(i) - of(best)) * f32::from_bits(inverse)).exp();
    if kind == 2 {
        let mut down = order.clone();
        down.sort_by(|a, b| of(*b).partial_cmp(&of(*a)).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b)));
        // Entries as likely as the k-th are kept.
        let least = down.get((top_k as usize).max(1) - 1).map_or(f32::NEG_INFINITY, |i| of(*i));
        down.retain(|i| of(*i) >= least);
        order.retain(|i| of(*i) >= least);
        if down.len() <= KEPT {
            order = down;
            let goal = f64::from(f32::from_bits(top_p)) * order.iter().map(|i| weight(*i)).sum::<f64>();
            let mut reached = 0.0;
            let keep = order.iter().take_while(|i| {
                let more = reached < goal;
                reached += weight(**i);
                more
            });
            let keep = if f32::from_bits(top_p) < 1.0 { keep.count().max(1) } else { order.len() };
            order.truncate(keep);
        }
    }
    let total: f64 = order.iter().map(|i| weight(*i)).sum();
    let seed = (u64::from(high) << 32) | u64::from(low);
    let lot = f64::from(rng::uniform(seed, rng::Purpose::Sample, 0, u64::from(index)));
    let mut rest = lot * total;
    let past = order.iter().copied().find(|i| {
        rest -= weight(*i);
        rest < 0.0
    });
    let id = past.or(order.last().copied()).unwrap_or(best);
    (id, (weight(id) / total).ln() as f32)
}
