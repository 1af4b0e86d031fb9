//! Backward operations against central differences of the f64 forward pass, for every element: the gradient of Σ weight
//! · forward(x) with random weights. No derivative formula is used.

use danlu::compute::{Layout, matmul, ops};

use crate::{
    reference::{self, Attention, inner, slope},
    rig::{Judge, Rig, heads, noise, packed, wide},
};

#[test]
fn rmsnorm() {
    let mut judge = Judge::new("slope of rmsnorm");
    for (n, c) in [(1, 2), (3, 5), (7, 20), (130, 3), (5, 64)] {
        let mut rig = Rig::new();
        let (x, w, dy) = (noise(30, n * c), noise(31, c), noise(32, n * c));
        let (tx, tw, tdy) = (rig.put(&[n, c], &x), rig.put(&[c], &w), rig.put(&[n, c], &dy));
        let (y, rstd) = (rig.blank(&[n, c]), rig.blank(&[n]));
        let (dx, dw) = (rig.blank(&[n, c]), rig.put(&[c], &vec![0.0; c]));
        rig.run(|r| {
            ops::rmsnorm_forward(r, &tx, &tw, &y, &rstd, 1e-5)?;
            ops::rmsnorm_backward(r, &tdy, &tx, &tw, &rstd, &dx, &dw, None, false)
        });
        let (x, w, dy, eps) = (wide(&x), wide(&w), wide(&dy), f64::from(1e-5_f32));
        let of_x = slope(&x, |x| inner(&dy, &reference::rmsnorm(x, &w, eps).0));
        let of_w = slope(&w, |w| inner(&dy, &reference::rmsnorm(&x, w, eps).0));
        judge.check(&format!("n {n} c {c} dx"), &rig.read(&dx), &of_x, c);
        judge.check(&format!("n {n} c {c} dw"), &rig.read(&dw), &of_w, n);
    }
}

#[test]
fn rope() {
    let mut judge = Judge::new("slope of rope");
    for (t, hq, hk, d) in [(1, 1, 1, 2), (5, 3, 1, 8), (4, 4, 2, 20)] {
        let mut rig = Rig::new();
        let heads = heads(hq, hk, d);
        let n = t * heads.qkv();
        let (x, dout, table) = (noise(33, n), noise(34, n), reference::rope_table(16, d));
        let positions: Vec<u32> = (0..t as u32).map(|i| i * 3).collect();
        let (tp, tt, grad) = (rig.words(&positions), rig.put(&[16, d], &table), rig.put(&[t, heads.qkv()], &dout));
        rig.run(|r| ops::rope(r, &tp, &tt, &grad, heads, true));
        let (dout, table) = (wide(&dout), wide(&table));
        let want = slope(&wide(&x), |x| inner(&dout, &reference::rope(x, &table, &positions, heads, false)));
        judge.check(&format!("t {t} {heads:?}"), &rig.read(&grad), &want, 1);
    }
}

#[test]
fn attention() {
    let mut judge = Judge::new("slope of attention");
    for (b, t, hq, hk, d, lengths) in [
        (1, 1, 1, 1, 2, [1, 1, 1].as_slice()),
        (2, 2, 2, 1, 8, &[2]),
        (2, 2, 2, 1, 8, &[1]),
        (1, 7, 3, 1, 20, &[7]),
        (1, 7, 3, 1, 20, &[1, 3, 2, 1]),
        (2, 5, 4, 2, 4, &[5]),
        (2, 5, 4, 2, 4, &[2, 3]),
        (1, 33, 2, 2, 8, &[33]),
        (1, 33, 2, 2, 8, &[17, 15, 1]),
        (1, 65, 2, 1, 2, &[65]),
        (1, 65, 2, 1, 2, &[63, 2]),
        (1, 65, 2, 1, 2, &[20, 20]),
        (1, 66, 2, 1, 2, &[65, 1]),
    ] {
        let mut rig = Rig::new();
        let heads = heads(hq, hk, d);
        let begins = packed(lengths, t).repeat(b);
        let ts = rig.words(&begins);
        let (qkv, dout) = (noise(35, b * t * heads.qkv()), noise(36, b * t * heads.out()));
        let (tq, td) = (rig.put(&[b * t, heads.qkv()], &qkv), rig.put(&[b * t, heads.out()], &dout));
        let (out, lse) = (rig.blank(&[b * t, heads.out()]), rig.blank(&[b, hq, t]));
        let grad = rig.blank(&[b * t, heads.qkv()]);
        rig.run(|r| {
            ops::attention_forward(r, &tq, &ts, &out, &lse, b, heads)?;
            ops::attention_backward(r, &tq, &ts, &out, &lse, &td, &grad, b, heads)
        });
        let dout = wide(&dout);
        let want = slope(&wide(&qkv), |qkv| inner(&dout, &Attention { qkv, begins: &begins, b, heads }.forward().0));
        judge.check(&format!("b {b} t {t} {heads:?} texts {lengths:?}"), &rig.read(&grad), &want, t);
        // The reference for larger shapes is checked by the same differences.
        let formula = Attention { qkv: &wide(&qkv), begins: &begins, b, heads }.backward(&dout);
        assert!(formula.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-7), "the reference's own gradient");
    }
}

#[test]
fn swiglu() {
    let mut judge = Judge::new("slope of swiglu");
    for (n, f) in [(1, 1), (3, 5), (2, 65)] {
        let mut rig = Rig::new();
        let (x, dact) = (noise(37, n * 2 * f), noise(38, n * f));
        let (tx, td, grad) = (rig.put(&[n, 2 * f], &x), rig.put(&[n, f], &dact), rig.blank(&[n, 2 * f]));
        rig.run(|r| ops::swiglu_backward(r, &tx, &td, &grad));
        let dact = wide(&dact);
        let want = slope(&wide(&x), |x| inner(&dact, &reference::swiglu(x, f)));
        judge.check(&format!("n {n} f {f}"), &rig.read(&grad), &want, 1);
    }
}

#[test]
fn cross_entropy() {
    let mut judge = Judge::new("slope of cross_entropy");
    for (n, v) in [(1, 2), (2, 5), (5, 17), (3, 97)] {
        let mut rig = Rig::new();
        let logits = noise(39, n * v);
        let targets: Vec<i32> = (0..n).map(|i| if i == 1 { -100 } else { (i * 11 % v) as i32 }).collect();
        let words: Vec<u32> = targets.iter().map(|t| *t as u32).collect();
        let scale = 1.0 / 3.0_f32;
        let (tt, tl, losses) = (rig.words(&words), rig.put(&[n, v], &logits), rig.blank(&[n]));
        let hyper = rig.put(&[ops::HYPER], &[0.0, scale, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        // Weights of both signs and 0, as a policy's.
        let mut weights = noise(47, n);
        weights[n / 2] = 0.0;
        let tw = rig.put(&[n], &weights);
        let control = rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]);
        let by = Some(ops::Slope { weights: &tw, control: &control });
        rig.run(|r| ops::cross_entropy(r, &tt, &hyper, &tl, &losses, by));
        let weights = wide(&weights);
        let loss = |x: &[f64]| inner(&weights, &reference::cross_entropy(x, &targets, v, 1.0).0) * f64::from(scale);
        judge.check(&format!("r {n} v {v}"), &rig.read(&tl), &slope(&wide(&logits), loss), v);
    }
}

#[test]
fn embedding() {
    let mut judge = Judge::new("slope of embedding");
    let (v, c) = (7, 5);
    // Id 4 occurs four times, 0 and 6 (the ends) once, 2 never.
    let ids = [4, 0, 4, 1, 3, 4, 5, 6, 4];
    let (table, dout) = (noise(40, v * c), noise(41, ids.len() * c));
    let (order, starts) = reference::sort_ids(&ids, v);
    let mut rig = Rig::new();
    let (to, ts) = (rig.words(&order), rig.words(&starts));
    let (td, grad) = (rig.put(&[ids.len(), c], &dout), rig.put(&[v, c], &vec![0.0; v * c]));
    rig.run(|r| ops::embedding_backward(r, &to, &ts, &td, &grad));
    let dout = wide(&dout);
    let want = slope(&wide(&table), |table| inner(&dout, &reference::embedding(table, &ids, c)));
    judge.check("9 ids", &rig.read(&grad), &want, 4);
}

/// The two gradients of a linear layer y = x·Wᵀ, in the layouts that training uses.
#[test]
fn linear_layer() {
    let mut judge = Judge::new("slope of matmul");
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (9, 8, 4), (17, 2, 31)] {
        let mut rig = Rig::new();
        let (x, w, dy) = (noise(42, rows * inputs), noise(43, outputs * inputs), noise(44, rows * outputs));
        let (tx, tw) = (rig.put(&[rows, inputs], &x), rig.put(&[outputs, inputs], &w));
        let tdy = rig.put(&[rows, outputs], &dy);
        let (dx, dw) = (rig.blank(&[rows, inputs]), rig.blank(&[outputs, inputs]));
        rig.run(|r| {
            matmul(r, Layout::NN, &tdy, &tw, &dx, false)?;
            matmul(r, Layout::TN, &tdy, &tx, &dw, false)
        });
        let (x, w, dy) = (wide(&x), wide(&w), wide(&dy));
        let loss = |x: &[f64], w: &[f64]| inner(&dy, &reference::matmul(Layout::NT, x, w, rows, outputs, inputs));
        judge.check(&format!("dx {rows}×{inputs}×{outputs}"), &rig.read(&dx), &slope(&x, |x| loss(x, &w)), outputs);
        judge.check(&format!("dw {rows}×{inputs}×{outputs}"), &rig.read(&dw), &slope(&w, |w| loss(&x, w)), rows);
    }
}

/// Dropout is linear and diagonal: its derivative is dropout of the gradient, and D(x + 2y) = Dx + 2Dy.
#[test]
fn dropout() {
    let mut judge = Judge::new("slope of dropout");
    let (n, p, clock) = (300, 0.25_f32, [1, 2, 3, 4]);
    let mut rig = Rig::new();
    let (x, y) = (noise(45, n), noise(46, n));
    let both: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + 2.0 * y).collect();
    let tc = rig.words(&clock);
    let mut apply = |v: &[f32]| {
        let (tv, out) = (rig.put(&[n], v), rig.blank(&[n]));
        rig.run(|r| ops::dropout(r, &tc, &tv, &out, 8, p));
        rig.read(&out)
    };
    let (dx, dy, dboth) = (apply(&x), apply(&y), apply(&both));
    let want: Vec<f64> = dx.iter().zip(&dy).map(|(a, b)| f64::from(*a) + 2.0 * f64::from(*b)).collect();
    judge.check("linear", &dboth, &want, 1);
    let keep = 1.0 / (1.0 - f64::from(p));
    let forward = |v: &[f64]| -> Vec<f64> {
        let kept = |i: usize| reference::kept(clock, 8, i as u32, f64::from(p));
        v.iter().enumerate().map(|(i, v)| if kept(i) { v * keep } else { 0.0 }).collect()
    };
    let weight = wide(&y);
    judge.check("backward", &dy, &slope(&wide(&x), |v| inner(&weight, &forward(v))), 1);
}
