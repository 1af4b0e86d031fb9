//! Documented properties other than numbers.

use danlu::compute::{
    Layout, Tensor, matmul, ops,
    rng::{Purpose, below},
};

use crate::{
    reference::{self, AdamW, Attention},
    rig::{Judge, Rig, bits, heads, noise, packed, wide},
};

/// −100 and everything outside 0..V: no loss, a zero gradient row, and no effect on other rows.
#[test]
fn cross_entropy_ignores() {
    let v = 97;
    let targets: [i32; 9] = [5, -100, 97, i32::MAX, i32::MIN, -1, 96, 0, 98];
    let mut logits = noise(60, targets.len() * v);
    // Not even a NaN leaves an ignored row.
    logits[v + 3] = f32::NAN;
    logits[2 * v] = f32::INFINITY;
    let mut rig = Rig::new();
    let words: Vec<u32> = targets.iter().map(|t| *t as u32).collect();
    let (tt, plain, taught) = (rig.words(&words), rig.put(&[9, v], &logits), rig.put(&[9, v], &logits));
    let (hyper, one, two) =
        (rig.put(&[ops::HYPER], &[0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), rig.blank(&[9]), rig.blank(&[9]));
    let weights = rig.put(&[9], &[2.0, f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN, 1.0, 0.5, f32::NAN]);
    let control = rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]);
    let slope = Some(ops::Slope { weights: &weights, control: &control });
    rig.run(|r| {
        ops::cross_entropy(r, &tt, &hyper, &plain, &one, None)?;
        ops::cross_entropy(r, &tt, &hyper, &taught, &two, slope)
    });
    let (one, two, grads) = (rig.read(&one), rig.read(&two), rig.read(&taught));
    assert_eq!(bits(&rig.read(&plain)), bits(&logits), "without gradient the logits stay");
    for (i, target) in targets.iter().enumerate() {
        let row = &grads[i * v..(i + 1) * v];
        if (0..v as i32).contains(target) {
            assert!(one[i] > 0.0 && two[i] > 0.0, "row {i} has a loss");
            let sum: f32 = row.iter().sum();
            assert!(sum.abs() < 1e-6 && row[*target as usize] < 0.0, "row {i}: a gradient that sums to zero");
        } else {
            assert_eq!((one[i], two[i]), (0.0, 0.0), "row {i} is ignored");
            assert!(row.iter().all(|g| *g == 0.0), "row {i} has no gradient");
        }
    }
}

/// One AdamW on the device.
struct Trainee {
    rig: Rig,
    params: Tensor,
    grads: Tensor,
    m: Tensor,
    v: Tensor,
    loss: Tensor,
    hyper: Tensor,
    control: Tensor,
    decayed: usize,
}

const RATE: f32 = 0.05;

impl Trainee {
    fn new(n: usize, decayed: usize, hyper: &[f32; 8]) -> Trainee {
        let mut rig = Rig::new();
        let params = rig.put(&[n], &noise(61, n));
        let (m, v) = (rig.put(&[n], &vec![0.0; n]), rig.put(&[n], &vec![0.0; n]));
        let (grads, loss) = (rig.blank(&[n]), rig.put(&[1], &[8.0]));
        let (hyper, control) = (rig.put(&[ops::HYPER], hyper), rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]));
        Trainee { rig, params, grads, m, v, loss, hyper, control, decayed }
    }

    fn step(&mut self, grads: &[f32], loss: f32) {
        self.rig.device.write(&self.grads, grads).unwrap();
        self.rig.device.write(&self.loss, &[loss]).unwrap();
        let Trainee { rig, params, grads, m, v, loss, hyper, control, decayed } = self;
        let (shadow, decayed) = (None, *decayed);
        rig.run(|r| ops::adamw(r, &ops::Update { params, shadow, grads, m, v, decayed, loss, hyper, control }));
    }

    /// Parameters and moments, by their bits.
    fn state(&mut self) -> Vec<u32> {
        [self.params.clone(), self.m.clone(), self.v.clone()].iter().flat_map(|t| bits(&self.rig.read(t))).collect()
    }

    fn control(&mut self) -> Vec<f32> {
        self.rig.read(&self.control.clone())
    }
}

/// Learning rate, loss scale, weight decay, β₁, β₂, ε, clip.
fn hyper(clip: f32) -> [f32; 8] {
    [RATE, 0.25, 0.1, 0.9, 0.95, 1e-8, clip, 0.0]
}

#[test]
fn adamw_is_torchs_over_ten_steps() {
    let mut judge = Judge::new("adamw, 10 steps");
    let mut norms = Judge::new("adamw control block");
    for (n, decayed) in [(1, 1), (3, 0), (65, 64), (1025, 1000), (5000, 5000), (100_003, 70_001), (100_003, 0)] {
        // No clipping; clipping at every step; clipping at every other step.
        for clip in [0.0, 1.0, (n as f32).sqrt()] {
            let case = format!("n {n} decayed {decayed} clip {clip}");
            let hyper = hyper(clip);
            let mut trainee = Trainee::new(n, decayed, &hyper);
            let start = noise(61, n);
            let wide_hyper: [f64; 8] = std::array::from_fn(|i| f64::from(hyper[i]));
            let mut torch =
                AdamW { params: wide(&start), m: vec![0.0; n], v: vec![0.0; n], steps: 0, decayed, hyper: wide_hyper };
            for step in 0..10 {
                let size = if step % 2 == 0 { 3.0 } else { 0.5 };
                let grads: Vec<f32> = noise(70 + step, n).iter().map(|g| g * size).collect();
                let loss = 4.0 + step as f32;
                trainee.step(&grads, loss);
                let (norm, factor) = torch.step(&wide(&grads));
                let control = trainee.control();
                norms.check(&format!("{case} norm"), &control[..1], &[norm], n);
                norms.check(&format!("{case} factor"), &control[1..2], &[factor], n);
                assert_eq!(
                    (control[2], control[3], control[6], control[7]),
                    (1.0, step as f32 + 1.0, loss * 0.25, 0.0),
                    "{case}"
                );
                let powers = [f64::from(hyper[3]).powi(torch.steps), f64::from(hyper[4]).powi(torch.steps)];
                norms.check(&format!("{case} powers"), &control[4..6], &powers, 1);
            }
            // The distance moved, not the position: a parameter is large relative to its updates.
            let way: Vec<f32> =
                trainee.rig.read(&trainee.params.clone()).iter().zip(&start).map(|(p, s)| p - s).collect();
            let want: Vec<f64> = torch.params.iter().zip(&start).map(|(p, s)| p - f64::from(*s)).collect();
            judge.check(&format!("{case} params"), &way, &want, 1);
            judge.check(&format!("{case} m"), &trainee.rig.read(&trainee.m.clone()), &torch.m, 1);
            judge.check(&format!("{case} v"), &trainee.rig.read(&trainee.v.clone()), &torch.v, 1);
        }
    }
}

/// β₂ᵗ is kept in f32, so 1 − β₂ᵗ is least precise when β₂ is near 1 and t is small.
#[test]
fn adamw_bias_correction_holds_near_one() {
    let mut judge = Judge::new("adamw, β₂ 0.999");
    let n = 257;
    let hyper = [0.01, 0.25, 0.0, 0.9, 0.999, 1e-8, 0.0, 0.0];
    let mut trainee = Trainee::new(n, 0, &hyper);
    let start = noise(61, n);
    let wide_hyper: [f64; 8] = std::array::from_fn(|i| f64::from(hyper[i]));
    let mut torch =
        AdamW { params: wide(&start), m: vec![0.0; n], v: vec![0.0; n], steps: 0, decayed: 0, hyper: wide_hyper };
    for step in 1..=2000 {
        let grads: Vec<f32> = noise(1000 + step, n).iter().map(|g| g + 0.5).collect();
        trainee.step(&grads, 1.0);
        torch.step(&wide(&grads));
        if [1, 2, 3, 10, 30, 100, 300, 1000, 2000].contains(&step) {
            let control = trainee.control();
            let corrections =
                [1.0 - f64::from(hyper[3]).powi(torch.steps), 1.0 - f64::from(hyper[4]).powi(torch.steps)];
            // AdamW's divisors; the second is under a root.
            judge.check(&format!("step {step} β₁"), &[1.0 - control[4]], &corrections[..1], 1);
            judge.check(&format!("step {step} √β₂"), &[(1.0 - control[5]).sqrt()], &[corrections[1].sqrt()], 1);
            judge.check(&format!("step {step} m"), &trainee.rig.read(&trainee.m.clone()), &torch.m, 1);
            judge.check(&format!("step {step} v"), &trainee.rig.read(&trainee.v.clone()), &torch.v, 1);
            let way: Vec<f32> =
                trainee.rig.read(&trainee.params.clone()).iter().zip(&start).map(|(p, s)| p - s).collect();
            let want: Vec<f64> = torch.params.iter().zip(&start).map(|(p, s)| p - f64::from(*s)).collect();
            // A parameter is rounded once per step: it moves 10⁻² per step at values up to 4.
            judge.check_floor(&format!("step {step} params"), &way, &want, 1, 4.0);
        }
    }
}

/// NaN or infinity anywhere in gradient or loss: nothing changes, the step counts as skipped, and the next step is as
/// if it had not happened.
#[test]
fn adamw_skips_what_is_not_finite() {
    for n in [1, 65, 5000, 100_003] {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in ["first", "last", "loss"] {
                for before in [0, 2] {
                    let case = format!("n {n}, {poison} in {place}, after {before} steps");
                    let mut clean = Trainee::new(n, n / 2, &hyper(1.0));
                    let mut struck = Trainee::new(n, n / 2, &hyper(1.0));
                    for step in 0..before {
                        clean.step(&noise(80 + step, n), 2.0);
                        struck.step(&noise(80 + step, n), 2.0);
                    }
                    let (kept, counts) = (struck.state(), struck.control());
                    let mut grads = noise(90, n);
                    match place {
                        "first" => grads[0] = poison,
                        "last" => grads[n - 1] = poison,
                        _ => {}
                    }
                    struck.step(&grads, if place == "loss" { poison } else { 2.0 });
                    struck.step(&grads, if place == "loss" { poison } else { 2.0 });
                    assert!(struck.state() == kept, "{case}: something moved");
                    let control = struck.control();
                    assert_eq!(control[2], 0.0, "{case}: finite flag");
                    assert_eq!(control[3..6], counts[3..6], "{case}: step count and powers");
                    assert_eq!(control[7], 2.0, "{case}: skipped steps");
                    clean.step(&noise(91, n), 2.0);
                    struck.step(&noise(91, n), 2.0);
                    assert!(clean.state() == struck.state(), "{case}: the next step");
                    assert_eq!(struck.control()[2..6], clean.control()[2..6], "{case}: the next step's control");
                    assert_eq!(struck.control()[7], 2.0, "{case}: the count stays");
                }
            }
        }
    }
}

#[test]
fn dropout_keeps_its_fraction_and_is_pure() {
    let n = 1 << 18;
    let mut rig = Rig::new();
    let ones = rig.put(&[n], &vec![1.0; n]);
    let mut mask = |clock: [u32; 4], stream: usize, p: f32| {
        let (tc, out) = (rig.words(&clock), rig.blank(&[n]));
        rig.run(|r| ops::dropout(r, &tc, &ones, &out, stream, p));
        rig.read(&out)
    };
    let base = [11, 0, 5, 0];
    for p in [0.0_f32, 0.1, 0.5, 0.9] {
        let out = mask(base, 3, p);
        let dropped = out.iter().filter(|x| **x == 0.0).count() as f64;
        let (mean, spread) = (f64::from(p) * n as f64, (n as f64 * f64::from(p) * (1.0 - f64::from(p))).sqrt());
        assert!((dropped - mean).abs() <= 5.0 * spread, "p {p}: {dropped} dropped of {n}");
        assert!(out.iter().all(|x| *x == 0.0 || *x == 1.0 / (1.0 - p)), "p {p}: what is kept is scaled");
    }
    let first = mask(base, 3, 0.5);
    assert_eq!(bits(&first), bits(&mask(base, 3, 0.5)), "the same clock and stream give the same mask");
    for (clock, stream) in [([12, 0, 5, 0], 3), ([11, 1, 5, 0], 3), ([11, 0, 6, 0], 3), ([11, 0, 5, 1], 3), (base, 4)] {
        let other = mask(clock, stream, 0.5);
        let same = first.iter().zip(&other).filter(|(a, b)| a == b).count() as f64;
        let spread = (n as f64 * 0.25).sqrt();
        assert!(
            (same - n as f64 / 2.0).abs() <= 5.0 * spread,
            "{clock:?}/{stream} is not independent of {base:?}/3: {same} agree"
        );
    }
}

#[test]
fn sums_accumulate() {
    let mut rig = Rig::new();
    let x = rig.put(&[3, 2], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
    let (total, columns) = (rig.put(&[1], &[0.5]), rig.put(&[2], &[0.5, 0.25]));
    rig.run(|r| {
        ops::sum(r, &x, &total, true)?;
        ops::sum(r, &x, &total, true)?;
        ops::column_sum(r, &x, &columns, true)?;
        ops::column_sum(r, &x, &columns, true)
    });
    assert_eq!(rig.read(&total), [132.5]);
    assert_eq!(rig.read(&columns), [12.5, 120.25]);
    rig.run(|r| {
        ops::sum(r, &x, &total, false)?;
        ops::column_sum(r, &x, &columns, false)
    });
    assert_eq!(rig.read(&total), [66.0]);
    assert_eq!(rig.read(&columns), [6.0, 60.0]);
}

/// Generation equals training: a prompt read into the cache at once, then row by row.
#[test]
fn decode_equals_forward() {
    let mut judge = Judge::new("decode beside forward");
    for (hq, hk, d) in [(1, 1, 2), (4, 2, 20), (6, 2, 32), (3, 1, 64)] {
        for (t, prompt) in [(1, 1), (2, 1), (65, 64), (70, 31), (129, 128)] {
            let (b, heads) = (2, heads(hq, hk, d));
            let qkv = noise(62, b * t * heads.qkv());
            let mut rig = Rig::new();
            let all = rig.put(&[b * t, heads.qkv()], &qkv);
            let (out, lse) = (rig.blank(&[b * t, heads.out()]), rig.blank(&[b, hq, t]));
            // The cache is longer than the text, and what is beyond it must not be read.
            let cache = rig.blank(&[b, t + 3, 2 * hk * d]);
            let begins = rig.words(&vec![0; b * t]);
            rig.run(|r| ops::attention_forward(r, &all, &begins, &out, &lse, b, heads));
            let whole = wide(&rig.read(&out));
            let mut done = 0;
            while done < t {
                let n = if done == 0 { prompt } else { 1 };
                let rows = |s: usize| (s * t + done) * heads.qkv()..(s * t + done + n) * heads.qkv();
                let part: Vec<f32> = (0..b).flat_map(|s| qkv[rows(s)].to_vec()).collect();
                let positions: Vec<u32> = (0..b).flat_map(|_| (done..done + n).map(|p| p as u32)).collect();
                let (tq, tp) = (rig.put(&[b * n, heads.qkv()], &part), rig.words(&positions));
                let new = rig.blank(&[b * n, heads.out()]);
                rig.run(|r| {
                    ops::cache_append(r, &tq, &tp, &cache, b, heads)?;
                    ops::attention_decode(r, &tq, &cache, &tp, &new, b, heads)
                });
                let want: Vec<f64> = (0..b)
                    .flat_map(|s| whole[(s * t + done) * heads.out()..(s * t + done + n) * heads.out()].to_vec())
                    .collect();
                judge.check(&format!("t {t} row {done} {heads:?}"), &rig.read(&new), &want, t);
                done += n;
            }
        }
    }
}

#[test]
fn embedding_ids_past_the_table_read_its_last_row() {
    let mut rig = Rig::new();
    let table = rig.put(&[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let (ids, out) = (rig.words(&[2, 3, 0, u32::MAX]), rig.blank(&[4, 2]));
    rig.run(|r| ops::embedding_forward(r, &ids, &table, &out));
    assert_eq!(rig.read(&out), [4.0, 5.0, 4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
}

#[test]
fn rope_turns_back_and_leaves_values_alone() {
    let heads = heads(4, 2, 20);
    let (t, known) = (33, 64);
    let x = noise(63, t * heads.qkv());
    let mut rig = Rig::new();
    let (table, qkv) = (rig.put(&[known, 20], &reference::rope_table(known, 20)), rig.put(&[t, heads.qkv()], &x));
    let positions = rig.words(&(0..t as u32).collect::<Vec<_>>());
    rig.run(|r| ops::rope(r, &positions, &table, &qkv, heads, false));
    let turned = rig.read(&qkv);
    for (i, (a, b)) in turned.iter().zip(&x).enumerate() {
        let value = i % heads.qkv() >= 6 * 20;
        assert!(!value || a.to_bits() == b.to_bits(), "a value moved");
    }
    assert_eq!(bits(&turned[..heads.qkv()]), bits(&x[..heads.qkv()]), "position 0 is not turned");
    assert_ne!(turned[heads.qkv()], x[heads.qkv()], "position 1 is");
    rig.run(|r| ops::rope(r, &positions, &table, &qkv, heads, true));
    Judge::new("rope, there and back").check("all", &rig.read(&qkv), &wide(&x), 1);
}

/// A row of zeros (padding) has a norm of only ε: the outputs are zero and the gradient finite.
#[test]
fn rmsnorm_of_zeros_is_finite() {
    let mut rig = Rig::new();
    let (x, w, dy) =
        (rig.put(&[2, 65], &[0.0; 130]), rig.put(&[65], &noise(68, 65)), rig.put(&[2, 65], &noise(69, 130)));
    let (y, rstd, dx, dw) = (rig.blank(&[2, 65]), rig.blank(&[2]), rig.blank(&[2, 65]), rig.put(&[65], &[0.0; 65]));
    rig.run(|r| {
        ops::rmsnorm_forward(r, &x, &w, &y, &rstd, 1e-5)?;
        ops::rmsnorm_backward(r, &dy, &x, &w, &rstd, &dx, &dw, None, false)
    });
    assert!(rig.read(&y).iter().chain(&rig.read(&dw)).all(|v| *v == 0.0));
    let want: Vec<f64> = noise(69, 130)
        .iter()
        .zip(noise(68, 65).iter().cycle())
        .map(|(d, w)| f64::from(*d) * f64::from(*w) / f64::from(1e-5_f32).sqrt())
        .collect();
    Judge::new("rmsnorm of zeros").check("dx", &rig.read(&dx), &want, 65);
}

/// Row i attends to keys 0..=i only: later keys do not change a bit of it.
#[test]
fn attention_is_causal() {
    let heads = heads(4, 2, 16);
    let t = 70;
    let mut qkv = noise(64, t * heads.qkv());
    let forward = |qkv: &[f32]| {
        let mut rig = Rig::new();
        let tq = rig.put(&[t, heads.qkv()], qkv);
        let (out, lse) = (rig.blank(&[t, heads.out()]), rig.blank(&[1, 4, t]));
        let begins = rig.words(&vec![0; t]);
        rig.run(|r| ops::attention_forward(r, &tq, &begins, &out, &lse, 1, heads));
        rig.read(&out)
    };
    let before = forward(&qkv);
    for row in [69, 65, 64, 63, 31, 1] {
        qkv[row * heads.qkv()..(row + 1) * heads.qkv()].iter_mut().for_each(|x| *x = -*x + 1.0);
        let after = forward(&qkv);
        assert_eq!(
            bits(&before[..row * heads.out()]),
            bits(&after[..row * heads.out()]),
            "row {row} is seen from before it"
        );
        assert_ne!(before[row * heads.out()], after[row * heads.out()], "row {row} sees itself");
    }
}

/// Row i attends to keys begins\[i\]..=i: a packed text gives, within rounding, what it gives alone, and no bit depends
/// on the texts around it.
#[test]
fn packed_texts_do_not_see_each_other() {
    let mut forward = Judge::new("packed beside alone, forward");
    let mut backward = Judge::new("packed beside alone, backward");
    let heads = heads(4, 2, 16);
    for (t, lengths) in [(130, [40, 25, 1, 64].as_slice()), (128, &[63, 1, 64]), (128, &[64]), (129, &[65]), (7, &[1])]
    {
        let begins = packed(lengths, t);
        let run = |qkv: &[f32], dout: &[f32], begins: &[u32]| {
            let mut rig = Rig::new();
            let t = begins.len();
            let (tq, td, ts) = (rig.put(&[t, heads.qkv()], qkv), rig.put(&[t, heads.out()], dout), rig.words(begins));
            let (out, lse, grad) = (rig.blank(&[t, heads.out()]), rig.blank(&[1, 4, t]), rig.blank(&[t, heads.qkv()]));
            rig.run(|r| {
                ops::attention_forward(r, &tq, &ts, &out, &lse, 1, heads)?;
                ops::attention_backward(r, &tq, &ts, &out, &lse, &td, &grad, 1, heads)
            });
            (rig.read(&out), rig.read(&grad))
        };
        let (qkv, dout) = (noise(171, t * heads.qkv()), noise(172, t * heads.out()));
        let (out, grad) = run(&qkv, &dout, &begins);
        let mut first = 0;
        while first < t {
            let end = (first..t).find(|i| begins[*i] as usize > first).unwrap_or(t);
            let (rows, outs) = (first * heads.qkv()..end * heads.qkv(), first * heads.out()..end * heads.out());
            let case = format!("t {t} rows {first}..{end}");
            let (one, one_grad) = run(&qkv[rows.clone()], &dout[outs.clone()], &vec![0; end - first]);
            forward.check(&case, &out[outs.clone()], &wide(&one), end - first);
            backward.check_floor(&case, &grad[rows.clone()], &wide(&one_grad), end - first, 0.1);
            // Other texts around it.
            let (mut other, mut pull) = (noise(173, t * heads.qkv()), noise(174, t * heads.out()));
            other[rows.clone()].copy_from_slice(&qkv[rows.clone()]);
            pull[outs.clone()].copy_from_slice(&dout[outs.clone()]);
            let (among, among_grad) = run(&other, &pull, &begins);
            assert_eq!(bits(&out[outs.clone()]), bits(&among[outs]), "{case}: another text is seen");
            assert_eq!(bits(&grad[rows.clone()]), bits(&among_grad[rows]), "{case}: another text is seen, backward");
            first = end;
        }
    }
}

/// Begins beyond the row count as the row, and decreasing ones stay within bounds and finite.
#[test]
fn begins_out_of_contract_stay_inside() {
    let (heads, t) = (heads(2, 1, 8), 150);
    let (qkv, dout) = (noise(175, t * heads.qkv()), noise(176, t * heads.out()));
    let run = |begins: &[u32]| {
        let mut rig = Rig::new();
        let (tq, td, ts) = (rig.put(&[t, heads.qkv()], &qkv), rig.put(&[t, heads.out()], &dout), rig.words(begins));
        let (out, lse, grad) = (rig.blank(&[t, heads.out()]), rig.blank(&[1, 2, t]), rig.blank(&[t, heads.qkv()]));
        rig.run(|r| {
            ops::attention_forward(r, &tq, &ts, &out, &lse, 1, heads)?;
            ops::attention_backward(r, &tq, &ts, &out, &lse, &td, &grad, 1, heads)
        });
        [bits(&rig.read(&out)), bits(&rig.read(&lse)), bits(&rig.read(&grad))]
    };
    let own: Vec<u32> = (0..t as u32).collect();
    let past: Vec<u32> = (0..t as u32).map(|i| if i % 4 == 1 { u32::MAX } else { i + i % 3 }).collect();
    assert!(run(&past) == run(&own), "a begin past the row is the row");
    for seed in 0..20 {
        let wild: Vec<u32> = (0..t).map(|i| below(seed, Purpose::Bench, 3, i as u64, 2 * t) as u32).collect();
        for (i, x) in run(&wild).concat().iter().enumerate() {
            assert!(f32::from_bits(*x).is_finite(), "seed {seed}: number {i} was not written");
        }
    }
}

/// The sequences of a batch are independent.
#[test]
fn sequences_do_not_mix() {
    let (heads, b, t) = (heads(2, 1, 8), 3, 65);
    let (qkv, dout) = (noise(65, b * t * heads.qkv()), noise(66, b * t * heads.out()));
    let both = |b: usize, qkv: &[f32], dout: &[f32]| {
        let mut rig = Rig::new();
        let (tq, td) = (rig.put(&[b * t, heads.qkv()], qkv), rig.put(&[b * t, heads.out()], dout));
        let (out, lse, grad) =
            (rig.blank(&[b * t, heads.out()]), rig.blank(&[b, 2, t]), rig.blank(&[b * t, heads.qkv()]));
        let begins = rig.words(&vec![0; b * t]);
        rig.run(|r| {
            ops::attention_forward(r, &tq, &begins, &out, &lse, b, heads)?;
            ops::attention_backward(r, &tq, &begins, &out, &lse, &td, &grad, b, heads)
        });
        (rig.read(&out), rig.read(&grad))
    };
    let (out, grad) = both(b, &qkv, &dout);
    for s in 0..b {
        let (rows, outs) =
            (s * t * heads.qkv()..(s + 1) * t * heads.qkv(), s * t * heads.out()..(s + 1) * t * heads.out());
        let (one, one_grad) = both(1, &qkv[rows.clone()], &dout[outs.clone()]);
        assert_eq!(bits(&out[outs]), bits(&one), "sequence {s}, forward");
        assert_eq!(bits(&grad[rows]), bits(&one_grad), "sequence {s}, backward");
    }
    // The references are independent too.
    assert_eq!(Attention { qkv: &wide(&qkv), begins: &[], b, heads }.t(), t);
}

/// Aligned parts of a buffer are ordinary tensors, and a call does not touch anything outside them.
#[test]
fn parts_stay_within_themselves() {
    let mut rig = Rig::new();
    let (slab, w) = (noise(67, 6 * 64), noise(68, 64 * 64));
    let (inputs, tw) = (rig.put(&[6, 64], &slab), rig.put(&[64, 64], &w));
    let outputs = rig.put(&[6, 64], &[7.0; 6 * 64]);
    rig.run(|r| matmul(r, Layout::NT, &inputs.slice_rows(1, 2), &tw, &outputs.slice_rows(3, 2), false));
    let got = rig.read(&outputs);
    let want = reference::matmul(Layout::NT, &wide(&slab[64..3 * 64]), &wide(&w), 2, 64, 64);
    Judge::new("matmul of parts").check("rows 1..3 into 3..5", &got[3 * 64..5 * 64], &want, 64);
    assert!(got[..3 * 64].iter().chain(&got[5 * 64..]).all(|x| *x == 7.0), "something beside the part was written");
    assert_eq!(bits(&rig.read(&inputs.slice_rows(2, 1))), bits(&slab[2 * 64..3 * 64]));
}
