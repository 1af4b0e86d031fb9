//! Every operation against an f64 reference over a grid of shapes, including backward operations.

use danlu::compute::{Layout, matmul, ops};

use crate::{
    reference::{self, Attention},
    rig::{GROUPS, HEAD_SIZES, Judge, LENGTHS, POSITIONS, Rig, heads, largest, layouts, noise, wide},
};

const EPS: f32 = 1e-5;

#[test]
fn fill_add_scale_are_exact() {
    let mut judge = Judge::new("fill, add, scale");
    for &n in LENGTHS {
        let mut rig = Rig::new();
        let (a, b) = (noise(1, n), noise(2, n));
        let (ta, tb) = (rig.put(&[n], &a), rig.put(&[n], &b));
        let (filled, sum) = (rig.blank(&[n]), rig.blank(&[n]));
        rig.run(|r| {
            ops::fill(r, &filled, -2.5)?;
            ops::add(r, &ta, &tb, &sum)?;
            ops::scale(r, &ta, 0.3)
        });
        let added: Vec<f32> = a.iter().zip(&b).map(|(x, y)| x + y).collect();
        let scaled: Vec<f32> = a.iter().map(|x| x * 0.3).collect();
        judge.exact(&format!("fill {n}"), &rig.read(&filled), &vec![-2.5; n]);
        judge.exact(&format!("add {n}"), &rig.read(&sum), &added);
        judge.exact(&format!("scale {n}"), &rig.read(&ta), &scaled);
        // One buffer may be read twice.
        rig.run(|r| ops::add(r, &tb, &tb, &sum));
        let twice: Vec<f32> = b.iter().map(|x| x + x).collect();
        judge.exact(&format!("add to itself {n}"), &rig.read(&sum), &twice);
    }
}

#[test]
fn dropout_is_its_formula() {
    let mut judge = Judge::new("dropout");
    let clock = [0xdead_beef, 7, 123, 2];
    for &n in LENGTHS {
        for (stream, p) in [(0, 0.0), (1, 0.1), (5, 0.5), (9, 0.9), (2, 1.0)] {
            let mut rig = Rig::new();
            let x = noise(3, n);
            let (tc, tx, out) = (rig.words(&clock), rig.put(&[n], &x), rig.blank(&[n]));
            rig.run(|r| ops::dropout(r, &tc, &tx, &out, stream, p));
            let p = f64::from(p);
            let keep = |i: usize| reference::kept(clock, stream as u32, i as u32, p);
            let want: Vec<f64> = (0..n).map(|i| if keep(i) { f64::from(x[i]) / (1.0 - p) } else { 0.0 }).collect();
            let got = rig.read(&out);
            judge.check(&format!("n {n} p {p}"), &got, &want, 1);
            assert!(got.iter().zip(&want).all(|(g, w)| (*g == 0.0) == (*w == 0.0)), "n {n} p {p}: another mask");
        }
    }
}

#[test]
fn sums_follow_the_reference() {
    let mut judge = Judge::new("sum, square_sum");
    for &n in LENGTHS {
        let mut rig = Rig::new();
        let x = noise(4, n);
        let exact: f64 = wide(&x).iter().sum();
        let squares: f64 = wide(&x).iter().map(|v| v * v).sum();
        let tx = rig.put(&[n], &x);
        let (once, more) = (rig.blank(&[1]), rig.put(&[1], &[2.5]));
        let mut partials = None;
        rig.run(|r| {
            ops::sum(r, &tx, &once, false)?;
            ops::sum(r, &tx, &more, true)
        });
        // A sum of n terms of unit variance is √n large.
        let floor = (n as f64).sqrt();
        judge.check_floor(&format!("sum {n}"), &rig.read(&once), &[exact], n, floor);
        judge.check_floor(&format!("sum += {n}"), &rig.read(&more), &[exact + 2.5], n, floor);
        rig.run(|r| {
            let made = ops::norm_partials(r, n);
            let t = r.scratch(&[made])?;
            ops::fill(r, &t, f32::NAN)?;
            partials = Some(t.clone());
            ops::square_sum(r, &tx, &t)
        });
        let parts = rig.read(&partials.expect("it was recorded"));
        let total = wide(&parts).iter().sum::<f64>() as f32;
        judge.check(&format!("square_sum {n}"), &[total], &[squares], n);
    }
}

#[test]
fn column_sums_follow_the_reference() {
    let mut judge = Judge::new("column_sum");
    for (g, c) in [(1, 1), (1, 97), (3, 1), (31, 257), (64, 63), (128, 65), (129, 256), (512, 64), (4, 4096)] {
        let mut rig = Rig::new();
        let (x, start) = (noise(5, g * c), noise(6, c));
        let (tx, once, more) = (rig.put(&[g, c], &x), rig.blank(&[c]), rig.put(&[c], &start));
        rig.run(|r| {
            ops::column_sum(r, &tx, &once, false)?;
            ops::column_sum(r, &tx, &more, true)
        });
        let want: Vec<f64> = (0..c).map(|j| (0..g).map(|i| f64::from(x[i * c + j])).sum()).collect();
        let more_want: Vec<f64> = want.iter().zip(&start).map(|(w, s)| w + f64::from(*s)).collect();
        let floor = (g as f64).sqrt();
        judge.check_floor(&format!("{g}×{c}"), &rig.read(&once), &want, g, floor);
        judge.check_floor(&format!("{g}×{c} +="), &rig.read(&more), &more_want, g, floor);
    }
}

#[test]
fn embedding_follows_the_reference() {
    let mut forward = Judge::new("embedding_forward");
    let mut backward = Judge::new("embedding_backward");
    for n in [1, 2, 31, 65, 300] {
        for v in [1, 97, 4096] {
            for c in [1, 20, 64, 65] {
                let mut rig = Rig::new();
                let case = format!("n {n} v {v} c {c}");
                // A third of the ids are close together, so that rows repeat; the rest are anywhere.
                let ids: Vec<u32> = (0..n as u32)
                    .map(|i| if i % 3 == 0 { (i / 9) % v } else { i.wrapping_mul(2_654_435_761) % v })
                    .collect();
                let (table, dout, start) = (noise(7, v as usize * c), noise(8, n * c), noise(9, v as usize * c));
                let (order, starts) = reference::sort_ids(&ids, v as usize);
                let (ti, tt, out) = (rig.words(&ids), rig.put(&[v as usize, c], &table), rig.blank(&[n, c]));
                let (to, ts, td) = (rig.words(&order), rig.words(&starts), rig.put(&[n, c], &dout));
                let grad = rig.put(&[v as usize, c], &start);
                rig.run(|r| {
                    ops::embedding_forward(r, &ti, &tt, &out)?;
                    ops::embedding_backward(r, &to, &ts, &td, &grad)
                });
                forward.check(&case, &rig.read(&out), &reference::embedding(&wide(&table), &ids, c), 1);
                let mut want = wide(&start);
                for (i, id) in ids.iter().enumerate() {
                    for j in 0..c {
                        want[*id as usize * c + j] += f64::from(dout[i * c + j]);
                    }
                }
                backward.check_floor(&case, &rig.read(&grad), &want, n, if v == 1 { (n as f64).sqrt() } else { 0.0 });
            }
        }
    }
}

#[test]
fn rmsnorm_follows_the_reference() {
    let mut forward = Judge::new("rmsnorm_forward");
    let mut summed = Judge::new("add_rmsnorm_forward");
    let mut backward = Judge::new("rmsnorm_backward");
    for n in [1, 2, 31, 127, 128, 129, 300] {
        for c in [1, 2, 20, 63, 64, 65, 97, 768] {
            let mut rig = Rig::new();
            let case = format!("n {n} c {c}");
            let (x, delta, w) = (noise(10, n * c), noise(11, n * c), noise(12, c));
            let (dy, dx0, dw0) = (noise(13, n * c), noise(14, n * c), noise(15, c));
            let (tx, tdelta, tw) = (rig.put(&[n, c], &x), rig.put(&[n, c], &delta), rig.put(&[c], &w));
            let (y, rstd) = (rig.blank(&[n, c]), rig.blank(&[n]));
            let (total, y2, rstd2) = (rig.blank(&[n, c]), rig.blank(&[n, c]), rig.blank(&[n]));
            let (tdy, dx, dx_more) = (rig.put(&[n, c], &dy), rig.blank(&[n, c]), rig.put(&[n, c], &dx0));
            let (dw, dw_more) = (rig.put(&[c], &vec![0.0; c]), rig.put(&[c], &dw0));
            rig.run(|r| {
                ops::rmsnorm_forward(r, &tx, &tw, &y, &rstd, EPS)?;
                ops::add_rmsnorm_forward(r, &tx, &tdelta, &tw, &total, &y2, &rstd2, EPS)?;
                ops::rmsnorm_backward(r, &tdy, &tx, &tw, &rstd, &dx, &dw, None, false)?;
                ops::rmsnorm_backward(r, &tdy, &tx, &tw, &rstd, &dx_more, &dw_more, None, true)
            });
            let eps = f64::from(EPS);
            let (want, want_rstd) = reference::rmsnorm(&wide(&x), &wide(&w), eps);
            forward.check(&case, &rig.read(&y), &want, c);
            forward.check(&format!("{case} rstd"), &rig.read(&rstd), &want_rstd, c);
            let sum: Vec<f32> = x.iter().zip(&delta).map(|(a, b)| a + b).collect();
            let (want2, want_rstd2) = reference::rmsnorm(&wide(&sum), &wide(&w), eps);
            summed.exact(&format!("{case} sum"), &rig.read(&total), &sum);
            summed.check(&case, &rig.read(&y2), &want2, c);
            summed.check(&format!("{case} rstd"), &rig.read(&rstd2), &want_rstd2, c);
            let (want_dx, want_dw) = reference::rmsnorm_backward(&wide(&dy), &wide(&x), &wide(&w), eps);
            // dx is the remainder of dy·w·rstd after subtracting its component along x: almost nothing for c = 1.
            let terms: Vec<f64> =
                (0..n * c).map(|i| f64::from(dy[i]) * f64::from(w[i % c]) * want_rstd[i / c]).collect();
            let plus = |a: &[f64], b: &[f32]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + f64::from(*b)).collect() };
            let floor = if c == 1 { largest(&terms) } else { 0.0 };
            backward.check_floor(&format!("{case} dx"), &rig.read(&dx), &want_dx, c, floor);
            backward.check_floor(&format!("{case} dx +="), &rig.read(&dx_more), &plus(&want_dx, &dx0), c, floor);
            let floor = if c == 1 { (n as f64).sqrt() } else { 0.0 };
            backward.check_floor(&format!("{case} dw"), &rig.read(&dw), &want_dw, n, floor);
            backward.check_floor(&format!("{case} dw +="), &rig.read(&dw_more), &plus(&want_dw, &dw0), n, floor);
        }
    }
}

#[test]
fn rope_follows_the_reference() {
    let mut judge = Judge::new("rope");
    for &t in POSITIONS {
        for &(hq, hk) in GROUPS {
            for &d in HEAD_SIZES {
                let heads = heads(hq, hk, d);
                let mut rig = Rig::new();
                let known = 100;
                let table = reference::rope_table(known, d);
                let x = noise(16, t * heads.qkv());
                // Unordered, and some beyond the table: those read its last row.
                let positions: Vec<u32> = (0..t as u32).map(|i| i * 37 % 113).collect();
                let (tp, tt) = (rig.words(&positions), rig.put(&[known, d], &table));
                let (there, back) = (rig.put(&[t, heads.qkv()], &x), rig.put(&[t, heads.qkv()], &x));
                rig.run(|r| {
                    ops::rope(r, &tp, &tt, &there, heads, false)?;
                    ops::rope(r, &tp, &tt, &back, heads, true)
                });
                let case = format!("t {t} {heads:?}");
                for (inverse, tensor) in [(false, &there), (true, &back)] {
                    let want = reference::rope(&wide(&x), &wide(&table), &positions, heads, inverse);
                    judge.check(&case, &rig.read(tensor), &want, 1);
                }
            }
        }
    }
}

#[test]
fn attention_follows_the_reference() {
    let mut forward = Judge::new("attention_forward");
    let mut backward = Judge::new("attention_backward");
    for (t, layout) in layouts() {
        for &(hq, hk) in GROUPS {
            for &d in HEAD_SIZES {
                let b = if t % 2 == 1 { 2 } else { 1 };
                let heads = heads(hq, hk, d);
                let mut rig = Rig::new();
                // A second sequence is plain.
                let mut begins = layout.clone();
                begins.resize(b * t, 0);
                let ts = rig.words(&begins);
                let (qkv, dout) = (noise(17, b * t * heads.qkv()), noise(18, b * t * heads.out()));
                let tq = rig.put(&[b * t, heads.qkv()], &qkv);
                let (out, lse) = (rig.blank(&[b * t, heads.out()]), rig.blank(&[b, hq, t]));
                let (td, grad) = (rig.put(&[b * t, heads.out()], &dout), rig.blank(&[b * t, heads.qkv()]));
                rig.run(|r| {
                    ops::attention_forward(r, &tq, &ts, &out, &lse, b, heads)?;
                    ops::attention_backward(r, &tq, &ts, &out, &lse, &td, &grad, b, heads)
                });
                let case = format!("b {b} t {t} {heads:?} begins {layout:?}");
                let wide_qkv = wide(&qkv);
                let reference = Attention { qkv: &wide_qkv, begins: &begins, b, heads };
                let (want, want_lse) = reference.forward();
                forward.check(&case, &rig.read(&out), &want, t);
                // With one key the lse is a single score, which may be small beside its terms.
                forward.check_floor(&format!("{case} lse"), &rig.read(&lse), &want_lse, d, 1.0);
                backward.check(&case, &rig.read(&grad), &reference.backward(&wide(&dout)), t);
            }
        }
    }
}

#[test]
fn decode_follows_the_reference() {
    let mut judge = Judge::new("attention_decode");
    let mut copies = Judge::new("cache_append");
    for &known in &[1, 2, 31, 64, 65, 129] {
        for &(hq, hk) in GROUPS {
            for &d in HEAD_SIZES {
                for (b, n) in [(1, 1), (2, 3), (3, 1)] {
                    let heads = heads(hq, hk, d);
                    let (width, rows) = (2 * hk * d, b * n);
                    let mut rig = Rig::new();
                    let (qkv, old) = (noise(19, rows * heads.qkv()), noise(20, b * known * width));
                    // Different positions per sequence; the last row's is beyond the cache.
                    let mut positions: Vec<u32> = (0..rows).map(|i| ((i * 29 + known - 1) % known) as u32).collect();
                    if rows > 1 {
                        positions[rows - 1] = known as u32 + 5;
                    }
                    let (tq, tp) = (rig.put(&[rows, heads.qkv()], &qkv), rig.words(&positions));
                    let (cache, out) = (rig.put(&[b, known, width], &old), rig.blank(&[rows, heads.out()]));
                    rig.run(|r| {
                        ops::cache_append(r, &tq, &tp, &cache, b, heads)?;
                        ops::attention_decode(r, &tq, &cache, &tp, &out, b, heads)
                    });
                    let mut want = old.clone();
                    for (i, p) in positions.iter().enumerate().filter(|(_, p)| (**p as usize) < known) {
                        let at = (i / n * known + *p as usize) * width;
                        want[at..at + width].copy_from_slice(&qkv[i * heads.qkv() + hq * d..(i + 1) * heads.qkv()]);
                    }
                    let case = format!("b {b} n {n} p {known} {heads:?}");
                    copies.exact(&case, &rig.read(&cache), &want);
                    let want = reference::decode(&wide(&qkv), &wide(&want), &positions, b, heads);
                    judge.check(&case, &rig.read(&out), &want, known);
                }
            }
        }
    }
}

#[test]
fn swiglu_follows_the_reference() {
    let mut forward = Judge::new("swiglu_forward");
    let mut backward = Judge::new("swiglu_backward");
    for n in [1, 2, 31, 64, 129] {
        for f in [1, 3, 63, 64, 65, 384, 1025] {
            let mut rig = Rig::new();
            let (x, dact) = (noise(21, n * 2 * f), noise(22, n * f));
            let x: Vec<f32> = x.iter().map(|v| v * 3.0).collect();
            let (tx, td) = (rig.put(&[n, 2 * f], &x), rig.put(&[n, f], &dact));
            let (act, grad) = (rig.blank(&[n, f]), rig.blank(&[n, 2 * f]));
            rig.run(|r| {
                ops::swiglu_forward(r, &tx, &act)?;
                ops::swiglu_backward(r, &tx, &td, &grad)
            });
            let case = format!("n {n} f {f}");
            forward.check(&case, &rig.read(&act), &reference::swiglu(&wide(&x), f), 1);
            backward.check(&case, &rig.read(&grad), &reference::swiglu_backward(&wide(&x), &wide(&dact), f), 1);
        }
    }
}

#[test]
fn cross_entropy_follows_the_reference() {
    let mut judge = Judge::new("cross_entropy");
    for n in [1, 2, 31, 65] {
        for v in [1, 2, 15, 16, 17, 97, 4096, 4097] {
            let mut rig = Rig::new();
            let logits: Vec<f32> = noise(23, n * v).iter().map(|x| x * 2.0).collect();
            let targets: Vec<i32> = (0..n).map(|i| if i % 5 == 4 { -100 } else { (i * 7919 % v) as i32 }).collect();
            let scale = 0.25_f32;
            let words: Vec<u32> = targets.iter().map(|t| *t as u32).collect();
            let weights = noise(27, n);
            let (tw, spread) = (rig.put(&[n], &weights), rig.blank(&[n]));
            let hyper = rig.put(&[ops::HYPER], &[9.0, scale, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]);
            let (tt, plain) = (rig.words(&words), rig.put(&[n, v], &logits));
            let (taught, losses, again) = (rig.put(&[n, v], &logits), rig.blank(&[n]), rig.blank(&[n]));
            let control = rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]);
            let slope = Some(ops::Slope { weights: &tw, control: &control });
            rig.run(|r| {
                ops::cross_entropy(r, &tt, &hyper, &plain, &losses, None)?;
                ops::entropy(r, &tt, &plain, &spread)?;
                ops::cross_entropy(r, &tt, &hyper, &taught, &again, slope)
            });
            let case = format!("r {n} v {v}");
            let (want, mut grads) = reference::cross_entropy(&wide(&logits), &targets, v, f64::from(scale));
            grads.chunks_mut(v).zip(&weights).for_each(|(g, w)| g.iter_mut().for_each(|g| *g *= f64::from(*w)));
            let entropies = reference::entropy(&wide(&logits), &targets, v);
            judge.check_floor(&format!("{case} entropy"), &rig.read(&spread), &entropies, v, 1.0);
            judge.exact(&format!("{case}: logits stay without gradient"), &rig.read(&plain), &logits);
            judge.check(&format!("{case} loss"), &rig.read(&losses), &want, v);
            judge.check(&format!("{case} loss with gradient"), &rig.read(&again), &want, v);
            judge.check(&format!("{case} gradient"), &rig.read(&taught), &grads, v);
        }
    }
}

/// All three layouts at one size, plain and accumulating.
fn matmul_case(judge: &mut Judge, m: usize, n: usize, k: usize) {
    for layout in [Layout::NN, Layout::NT, Layout::TN] {
        let mut rig = Rig::new();
        let (a, b, start) = (noise(24, m * k), noise(25, k * n), noise(26, m * n));
        let (sa, sb) = match layout {
            Layout::NN => ([m, k], [k, n]),
            Layout::NT => ([m, k], [n, k]),
            Layout::TN => ([k, m], [k, n]),
        };
        let (ta, tb) = (rig.put(&sa, &a), rig.put(&sb, &b));
        let (once, more) = (rig.blank(&[m, n]), rig.put(&[m, n], &start));
        rig.run(|r| {
            matmul(r, layout, &ta, &tb, &once, false)?;
            matmul(r, layout, &ta, &tb, &more, true)
        });
        let want = reference::matmul(layout, &wide(&a), &wide(&b), m, n, k);
        let plus: Vec<f64> = want.iter().zip(&start).map(|(w, s)| w + f64::from(*s)).collect();
        // An element sums k products of unit variance.
        let floor = (k as f64).sqrt();
        judge.check_floor(&format!("{layout:?} {m}×{n}×{k}"), &rig.read(&once), &want, k, floor);
        judge.check_floor(&format!("{layout:?} {m}×{n}×{k} +="), &rig.read(&more), &plus, k, floor);
    }
}

#[test]
fn matmul_follows_the_reference() {
    let mut judge = Judge::new("matmul");
    let sizes = [1, 3, 8, 63, 64, 65, 129];
    for m in sizes {
        for n in sizes {
            for k in sizes {
                matmul_case(&mut judge, m, n, k);
            }
        }
    }
    // Split into tasks, the last of which is shorter; and long inner sizes.
    for (m, n, k) in [
        (257, 300, 97),
        (1025, 33, 65),
        (9, 4096, 64),
        (65, 64, 4096),
        (1, 4097, 384),
        (4097, 1, 65),
        (1, 1, 16_385),
        (2, 3, 16_385),
    ] {
        matmul_case(&mut judge, m, n, k);
    }
}
