//! The operations of `compute/ops/` in f64, directly by their formulas, without regard to speed.

use danlu::compute::{Layout, ops::Heads};

/// A·B in a layout; see [`Layout`].
pub(crate) fn matmul(layout: Layout, a: &[f64], b: &[f64], m: usize, n: usize, k: usize) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            for l in 0..k {
                let x = if layout == Layout::TN { a[l * m + i] } else { a[i * k + l] };
                let y = if layout == Layout::NT { b[j * k + l] } else { b[l * n + j] };
                out[i * n + j] += x * y;
            }
        }
    }
    out
}

/// y = x · rstd · w over rows of `c`, and rstd.
pub(crate) fn rmsnorm(x: &[f64], w: &[f64], eps: f64) -> (Vec<f64>, Vec<f64>) {
    let c = w.len();
    let mut y = Vec::new();
    let mut rstds = Vec::new();
    for row in x.chunks(c) {
        let mean = row.iter().map(|v| v * v).sum::<f64>() / c as f64;
        let rstd = 1.0 / (mean + eps).sqrt();
        y.extend(row.iter().zip(w).map(|(v, w)| v * rstd * w));
        rstds.push(rstd);
    }
    (y, rstds)
}

/// (dx, dw) of [`rmsnorm`], by the chain rule on rstd: ∂rstd/∂x = −rstd³ x / c.
pub(crate) fn rmsnorm_backward(dy: &[f64], x: &[f64], w: &[f64], eps: f64) -> (Vec<f64>, Vec<f64>) {
    let c = w.len();
    let (_, rstds) = rmsnorm(x, w, eps);
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; c]);
    for (i, rstd) in rstds.iter().enumerate() {
        let drstd: f64 = (0..c).map(|j| dy[i * c + j] * w[j] * x[i * c + j]).sum();
        for j in 0..c {
            let at = i * c + j;
            dx[at] = dy[at] * w[j] * rstd - drstd * rstd.powi(3) * x[at] / c as f64;
            dw[j] += dy[at] * x[at] * rstd;
        }
    }
    (dx, dw)
}

/// Rows of (cos, sin) of position · 10000^(−2i/D), rounded to what the device is given.
pub(crate) fn rope_table(positions: usize, d: usize) -> Vec<f32> {
    let angle = |p: usize, i: usize| p as f64 / 10_000_f64.powf(2.0 * i as f64 / d as f64);
    let row = |p: usize| {
        let cos = (0..d / 2).map(move |i| angle(p, i).cos() as f32);
        cos.chain((0..d / 2).map(move |i| angle(p, i).sin() as f32))
    };
    (0..positions).flat_map(row).collect()
}

/// Rotates pairs (j, j + D/2) of the query and key heads as complex numbers.
pub(crate) fn rope(qkv: &[f64], table: &[f64], positions: &[u32], heads: Heads, inverse: bool) -> Vec<f64> {
    let (d, stride) = (heads.size, heads.qkv());
    let mut out = qkv.to_vec();
    for (row, position) in positions.iter().enumerate() {
        let entry = (*position as usize).min(table.len() / d - 1) * d;
        for head in 0..heads.query + heads.key {
            for i in 0..d / 2 {
                let (at, half) = (row * stride + head * d + i, d / 2);
                let (cos, sin) = (table[entry + i], table[entry + half + i]);
                let sin = if inverse { -sin } else { sin };
                out[at] = qkv[at] * cos - qkv[at + half] * sin;
                out[at + half] = qkv[at + half] * cos + qkv[at] * sin;
            }
        }
    }
    out
}

/// One attention: qkv rows, the first key that each sees, and where the heads lie in them.
pub(crate) struct Attention<'a> {
    pub(crate) qkv: &'a [f64],
    /// B·T, counted within the sequence.
    pub(crate) begins: &'a [u32],
    pub(crate) b: usize,
    pub(crate) heads: Heads,
}

impl Attention<'_> {
    pub(crate) fn t(&self) -> usize {
        self.qkv.len() / self.b / self.heads.qkv()
    }

    /// Where query head h, its key head and its value head start in row (b, t) of qkv.
    fn places(&self, b: usize, t: usize, h: usize) -> [usize; 3] {
        let Heads { query, key, size } = self.heads;
        let row = (b * self.t() + t) * self.heads.qkv();
        let k = h / (query / key);
        [row + h * size, row + (query + k) * size, row + (query + key + k) * size]
    }

    fn dot(&self, x: usize, y: usize) -> f64 {
        (0..self.heads.size).map(|i| self.qkv[x + i] * self.qkv[y + i]).sum()
    }

    /// The keys that row i sees.
    fn keys(&self, b: usize, i: usize) -> std::ops::RangeInclusive<usize> {
        self.begins[b * self.t() + i] as usize..=i
    }

    /// The probabilities of one query over its keys, and the logarithm of their denominator.
    fn row(&self, b: usize, i: usize, h: usize) -> (Vec<f64>, f64) {
        let scale = 1.0 / (self.heads.size as f64).sqrt();
        let q = self.places(b, i, h)[0];
        let scores: Vec<f64> = self.keys(b, i).map(|j| self.dot(q, self.places(b, j, h)[1]) * scale).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + scores.iter().map(|s| (s - top).exp()).sum::<f64>().ln();
        (scores.iter().map(|s| (s - lse).exp()).collect(), lse)
    }

    /// (out \[B·T, Hq·D\], lse \[B, Hq, T\]).
    pub(crate) fn forward(&self) -> (Vec<f64>, Vec<f64>) {
        let Heads { query, size, .. } = self.heads;
        let t = self.t();
        let (mut out, mut lse) = (vec![0.0; self.b * t * query * size], vec![0.0; self.b * query * t]);
        for b in 0..self.b {
            for h in 0..query {
                for i in 0..t {
                    let (p, sum) = self.row(b, i, h);
                    lse[(b * query + h) * t + i] = sum;
                    for (j, p) in self.keys(b, i).zip(&p) {
                        let v = self.places(b, j, h)[2];
                        for c in 0..size {
                            out[((b * t + i) * query + h) * size + c] += p * self.qkv[v + c];
                        }
                    }
                }
            }
        }
        (out, lse)
    }

    /// The gradient of Σ dout · out.
    pub(crate) fn backward(&self, dout: &[f64]) -> Vec<f64> {
        let Heads { query, size, .. } = self.heads;
        let (t, scale) = (self.t(), 1.0 / (size as f64).sqrt());
        let mut grad = vec![0.0; self.qkv.len()];
        for b in 0..self.b {
            for h in 0..query {
                for i in 0..t {
                    let (p, _) = self.row(b, i, h);
                    let o = ((b * t + i) * query + h) * size;
                    let q = self.places(b, i, h)[0];
                    let value = |j: usize| self.places(b, j, h)[2];
                    let dp: Vec<f64> = self
                        .keys(b, i)
                        .map(|j| (0..size).map(|c| dout[o + c] * self.qkv[value(j) + c]).sum())
                        .collect();
                    let mean: f64 = p.iter().zip(&dp).map(|(p, d)| p * d).sum();
                    for ((j, p), dp) in self.keys(b, i).zip(&p).zip(&dp) {
                        let [_, k, v] = self.places(b, j, h);
                        let ds = p * (dp - mean) * scale;
                        for c in 0..size {
                            grad[v + c] += p * dout[o + c];
                            grad[q + c] += ds * self.qkv[k + c];
                            grad[k + c] += ds * self.qkv[q + c];
                        }
                    }
                }
            }
        }
        grad
    }
}

/// Attention over a cache \[B, P, 2·Hk·D\]: the row at position i sees 0..=i, at most P.
pub(crate) fn decode(qkv: &[f64], cache: &[f64], positions: &[u32], b: usize, heads: Heads) -> Vec<f64> {
    let Heads { query, key, size } = heads;
    let (n, width) = (positions.len() / b, 2 * key * size);
    let known = cache.len() / b / width;
    let mut out = vec![0.0; positions.len() * query * size];
    for (row, position) in positions.iter().enumerate() {
        let seen = (*position as usize + 1).min(known);
        for h in 0..query {
            let q = &qkv[row * heads.qkv() + h * size..][..size];
            let entry = |j: usize| (row / n * known + j) * width + h / (query / key) * size;
            let score = |j: usize| (0..size).map(|c| q[c] * cache[entry(j) + c]).sum::<f64>() / (size as f64).sqrt();
            let scores: Vec<f64> = (0..seen).map(score).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            for (j, s) in scores.iter().enumerate() {
                for c in 0..size {
                    out[(row * query + h) * size + c] += (s - top).exp() / total * cache[entry(j) + key * size + c];
                }
            }
        }
    }
    out
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// silu(gate) · up of rows \[gate, up\] of 2f.
pub(crate) fn swiglu(gate_up: &[f64], f: usize) -> Vec<f64> {
    gate_up.chunks(2 * f).flat_map(|row| (0..f).map(move |i| silu(row[i]) * row[f + i])).collect()
}

pub(crate) fn swiglu_backward(gate_up: &[f64], dact: &[f64], f: usize) -> Vec<f64> {
    let mut out = vec![0.0; gate_up.len()];
    for (r, row) in gate_up.chunks(2 * f).enumerate() {
        for i in 0..f {
            let (g, up, d) = (row[i], row[f + i], dact[r * f + i]);
            let s = sigmoid(g);
            out[r * 2 * f + i] = d * up * (s + g * s * (1.0 - s));
            out[r * 2 * f + f + i] = d * silu(g);
        }
    }
    out
}

/// (losses, gradients · scale) of rows of `v` logits; a target outside 0..v is ignored.
pub(crate) fn cross_entropy(logits: &[f64], targets: &[i32], v: usize, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut losses, mut grads) = (Vec::new(), Vec::new());
    for (row, target) in logits.chunks(v).zip(targets) {
        let Some(target) = usize::try_from(*target).ok().filter(|t| *t < v) else {
            losses.push(0.0);
            grads.extend(vec![0.0; v]);
            continue;
        };
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        losses.push(lse - row[target]);
        grads.extend(row.iter().enumerate().map(|(i, x)| ((x - lse).exp() - f64::from(u8::from(i == target))) * scale));
    }
    (losses, grads)
}

/// −Σ p log p of the softmax of rows of `v` logits, 0 where the target is ignored.
pub(crate) fn entropy(logits: &[f64], targets: &[i32], v: usize) -> Vec<f64> {
    let row = |(row, target): (&[f64], &i32)| {
        if !usize::try_from(*target).is_ok_and(|t| t < v) {
            return 0.0;
        }
        let total: f64 = row.iter().map(|x| x.exp()).sum();
        -row.iter().map(|x| x.exp() / total).map(|p| p * p.ln()).sum::<f64>()
    };
    logits.chunks(v).zip(targets).map(row).collect()
}

pub(crate) fn embedding(table: &[f64], ids: &[u32], c: usize) -> Vec<f64> {
    let last = table.len() / c - 1;
    ids.iter().flat_map(|id| table[(*id as usize).min(last) * c..][..c].iter().copied()).collect()
}

/// Positions sorted by id, and where each id's begin: what the host gives to `embedding_backward`.
pub(crate) fn sort_ids(ids: &[u32], v: usize) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_by_key(|i| ids[*i as usize]);
    let starts = (0..=v as u32).map(|id| ids.iter().filter(|other| **other < id).count() as u32);
    (order, starts.collect())
}

/// One round of "pcg hash", from its paper, in 64-bit arithmetic cut to 32 bits.
fn pcg(word: u32) -> u32 {
    const LOW: u64 = 0xffff_ffff;
    let state = (u64::from(word) * 747_796_405 + 2_891_336_453) & LOW;
    let shifted = (((state >> ((state >> 28) + 4)) ^ state) * 277_803_737) & LOW;
    ((shifted >> 22) ^ shifted) as u32
}

/// Whether dropout keeps element i, as `ops::dropout` documents; p · 2²⁴ is cut to an integer.
pub(crate) fn kept(clock: [u32; 4], stream: u32, i: u32, p: f64) -> bool {
    let [low, high, step, micro] = clock;
    let h = pcg(pcg(pcg(pcg(pcg(pcg(low) ^ high) ^ step) ^ micro) ^ stream) ^ i);
    f64::from(h >> 8) >= (p * f64::from(1 << 24)).floor()
}

/// torch.optim.AdamW after torch.nn.utils.clip_grad_norm_, in f64.
pub(crate) struct AdamW {
    pub(crate) params: Vec<f64>,
    pub(crate) m: Vec<f64>,
    pub(crate) v: Vec<f64>,
    pub(crate) steps: i32,
    pub(crate) decayed: usize,
    /// In the order of the hyper-parameter block.
    pub(crate) hyper: [f64; 8],
}

impl AdamW {
    /// One step; returns the norm and the clip factor.
    pub(crate) fn step(&mut self, grads: &[f64]) -> (f64, f64) {
        let [rate, _, decay, beta1, beta2, eps, clip, _] = self.hyper;
        let norm = grads.iter().map(|g| g * g).sum::<f64>().sqrt();
        let factor = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        self.steps += 1;
        let (c1, c2) = (1.0 - beta1.powi(self.steps), 1.0 - beta2.powi(self.steps));
        for (i, g) in grads.iter().enumerate() {
            let g = g * factor;
            if i < self.decayed {
                self.params[i] *= 1.0 - rate * decay;
            }
            self.m[i] += (1.0 - beta1) * (g - self.m[i]);
            self.v[i] = beta2 * self.v[i] + (1.0 - beta2) * g * g;
            let denominator = self.v[i].sqrt() / c2.sqrt() + eps;
            self.params[i] -= rate / c1 * self.m[i] / denominator;
        }
        (norm, factor)
    }
}

/// Central differences of `f` at `x`, one element after another.
pub(crate) fn slope(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut at = x.to_vec();
    let mut out = Vec::with_capacity(x.len());
    for i in 0..x.len() {
        at[i] = x[i] + STEP;
        let above = f(&at);
        at[i] = x[i] - STEP;
        let below = f(&at);
        at[i] = x[i];
        out.push((above - below) / (2.0 * STEP));
    }
    out
}

pub(crate) fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
