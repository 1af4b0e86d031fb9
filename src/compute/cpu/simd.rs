//! Inner loops for the widest vectors of the machine.
//!
//! A closure passed to [`wide`] is compiled for AVX-512, AVX2 and the baseline, and the version is chosen at run time;
//! functions that it calls must be `#[inline(always)]` to be included.

/// Runs `work` compiled for this machine's vectors.
#[inline(always)]
pub(super) fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// e^x to about 2 ulp, without branches, so that loops over it become vector code. Inputs are clamped
/// to ±87.3, where f32 still has normal numbers. Cody–Waite reduction and a degree-6 polynomial
/// (coefficients of Cephes' expf, public domain).
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the constants are stated as their source gives them")]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer, which is then in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_375, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_15e-4_f32;
    p = p.mul_add(r, 1.398_199_95e-3);
    p = p.mul_add(r, 8.333_451_9e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_55e-1);
    p = p.mul_add(r, 5.000_000_1e-1);
    let e = (p * r).mul_add(r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits().wrapping_add(127)) << 23);
    e * power
}

/// e^((x − shift)·scale) of every element, to about 2 ulp and with the same bits on every machine; exponents below −87
/// count as −87. For logits on the host.
pub fn exponentials(x: &[f32], shift: f32, scale: f32) -> Vec<f32> {
    let mut out = x.to_vec();
    wide(
        #[inline(always)]
        || {
            for v in &mut out {
                *v = exp((*v - shift) * scale);
            }
        },
    );
    out
}

/// (Σ eˣ, Σ x·eˣ) of the elements minus `top`, in lanes combined in a fixed order.
#[inline(always)]
pub(super) fn exp_moments(x: &[f32], top: f32) -> (f32, f32) {
    let (mut sums, mut moments) = ([0.0_f32; 16], [0.0_f32; 16]);
    let chunks = x.chunks_exact(16);
    let (mut sum, mut moment) = (0.0, 0.0);
    for v in chunks.remainder() {
        let e = exp(v - top);
        sum += e;
        moment = e.mul_add(v - top, moment);
    }
    for chunk in chunks {
        for l in 0..16 {
            let e = exp(chunk[l] - top);
            sums[l] += e;
            moments[l] = e.mul_add(chunk[l] - top, moments[l]);
        }
    }
    for width in [8, 4, 2, 1] {
        for l in 0..width {
            sums[l] += sums[l + width];
            moments[l] += moments[l + width];
        }
    }
    (sums[0] + sum, moments[0] + moment)
}

/// Σ f(i) over 0..n in eight lanes, combined in a fixed order.
#[inline(always)]
pub(super) fn sum_by(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let whole = n / 16 * 16;
    let mut i = 0;
    while i < whole {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += f(i + l);
        }
        i += 16;
    }
    let mut rest = 0.0;
    for j in whole..n {
        rest += f(j);
    }
    for width in [8, 4, 2, 1] {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
    }
    lanes[0] + rest
}

/// The dot product of two rows.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut lanes = [0.0_f32; 16];
    let (ac, bc) = (a.chunks_exact(16), b.chunks_exact(16));
    let mut rest = 0.0;
    for (x, y) in ac.remainder().iter().zip(bc.remainder()) {
        rest = x.mul_add(*y, rest);
    }
    for (x, y) in ac.zip(bc) {
        for l in 0..16 {
            lanes[l] = x[l].mul_add(y[l], lanes[l]);
        }
    }
    for width in [8, 4, 2, 1] {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
    }
    lanes[0] + rest
}

/// out += factor · x.
#[inline(always)]
pub(super) fn axpy(factor: f32, x: &[f32], out: &mut [f32]) {
    for (o, v) in out.iter_mut().zip(x) {
        *o = factor.mul_add(*v, *o);
    }
}

/// The largest element; −∞ for an empty row.
#[inline(always)]
pub(super) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = x.chunks_exact(16);
    let mut top = f32::NEG_INFINITY;
    for v in chunks.remainder() {
        top = if *v > top { *v } else { top };
    }
    for chunk in chunks {
        for l in 0..16 {
            lanes[l] = if chunk[l] > lanes[l] { chunk[l] } else { lanes[l] };
        }
    }
    lanes.iter().fold(top, |a, b| if *b > a { *b } else { a })
}

/// x ← e^(x·scale − shift) in place; returns the sum.
#[inline(always)]
pub(super) fn exp_sum(x: &mut [f32], scale: f32, shift: f32) -> f32 {
    for v in x.iter_mut() {
        *v = exp(v.mul_add(scale, -shift));
    }
    let x = &*x;
    sum_by(x.len(), |i| x[i])
}
