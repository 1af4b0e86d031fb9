//! The fast e^x of the twins, tested through public operations in units in the last place.

use danlu::compute::ops;

use crate::{
    reference::{self, Attention},
    rig::{Judge, Rig, heads, noise, wide},
};

/// |got − want| in units in the last place of `want` as f32.
fn ulps(got: f32, want: f64) -> f64 {
    let near = (want as f32).abs().max(f32::MIN_POSITIVE);
    let unit = f64::from(f32::from_bits(near.to_bits() + 1)) - f64::from(near);
    (f64::from(got) - want).abs() / unit
}

/// softmax([x, 0]) by cross_entropy: the gradient of a row whose target is the 0, scale 1, is
/// (p(x), −p(x)), and p(x) = e^x / (1 + e^x) has e^x itself for x ≪ 0.
fn softmax_of_two(x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut rig = Rig::new();
    let rows: Vec<f32> = x.iter().flat_map(|x| [*x, 0.0]).collect();
    let (targets, logits) = (rig.words(&vec![1; x.len()]), rig.put(&[x.len(), 2], &rows));
    let (hyper, losses) = (rig.put(&[ops::HYPER], &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), rig.blank(&[x.len()]));
    let ones = rig.put(&[x.len()], &vec![1.0; x.len()]);
    let control = rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]);
    let slope = Some(ops::Slope { weights: &ones, control: &control });
    rig.run(|r| ops::cross_entropy(r, &targets, &hyper, &logits, &losses, slope));
    (rig.read(&logits).chunks(2).map(|row| row[0]).collect(), rig.read(&losses))
}

/// Values from `low` to `high`, not on round numbers, and the ends.
fn sweep(low: f32, high: f32, n: usize) -> Vec<f32> {
    (0..=n).map(|i| low + (high - low) * (i as f32 / n as f32)).collect()
}

#[test]
fn softmax_is_good_to_four_units() {
    let x = sweep(-87.0, 0.0, 200_000);
    let (p, losses) = softmax_of_two(&x);
    let mut worst = (0.0, 0.0);
    for (x, p) in x.iter().zip(&p) {
        let e = f64::from(*x).exp();
        let error = ulps(*p, e / (1.0 + e));
        worst = if error > worst.0 { (error, *x) } else { worst };
    }
    eprintln!("twins: e^x through softmax: {:.2} ulp at {}", worst.0, worst.1);
    assert!(worst.0 <= 4.0, "{} ulp at {}", worst.0, worst.1);
    let mut judge = Judge::new("loss of two logits");
    let want: Vec<f64> = x.iter().map(|x| f64::from(*x).exp().ln_1p()).collect();
    judge.check("target is the larger", &losses, &want, 2);
}

#[test]
fn softmax_far_below_is_all_but_nothing_and_never_less() {
    let (p, losses) = softmax_of_two(&sweep(-1e4, -87.0, 10_000));
    assert!(p.iter().all(|p| (0.0..=1.7e-38).contains(p)), "e^x below −87 is within 0 and e^−87");
    assert!(losses.iter().all(|l| *l == 0.0), "nothing beside 1 is nothing");
    let (p, losses) = softmax_of_two(&sweep(17.5, 1e4, 10_000));
    assert!(p.iter().all(|p| *p == 1.0), "e^−x beside 1 is nothing");
    let want: Vec<f64> = wide(&sweep(17.5, 1e4, 10_000));
    Judge::new("loss of two logits, far").check(
        "target is the smaller",
        &losses,
        &want.iter().map(|x| x + (-x).exp().ln_1p()).collect::<Vec<_>>(),
        2,
    );
}

#[test]
fn softmax_rises_with_its_input() {
    let (p, _) = softmax_of_two(&sweep(-87.0, 40.0, 100_000));
    // Neighbours may be out of order within their error, not beyond.
    let falls = p.windows(2).filter(|w| w[1] < w[0] * (1.0 - 4.0 * f32::EPSILON)).count();
    assert_eq!(falls, 0);
    assert_eq!(p.last(), Some(&1.0));
}

#[test]
fn silu_and_its_slope_from_minus_to_plus_hundred() {
    let gate = sweep(-100.0, 100.0, 200_000);
    let n = gate.len();
    let mut rig = Rig::new();
    let rows: Vec<f32> = gate.iter().flat_map(|g| [*g, 1.0]).collect();
    let (x, dact) = (rig.put(&[n, 2], &rows), rig.put(&[n, 1], &vec![1.0; n]));
    let (act, grad) = (rig.blank(&[n, 1]), rig.blank(&[n, 2]));
    rig.run(|r| {
        ops::swiglu_forward(r, &x, &act)?;
        ops::swiglu_backward(r, &x, &dact, &grad)
    });
    let (act, grad) = (rig.read(&act), rig.read(&grad));
    let mut worst = (0.0, 0.0);
    for (i, g) in gate.iter().enumerate() {
        let want = reference::silu(f64::from(*g));
        if *g > -87.0 {
            let error = ulps(act[i], want).max(ulps(grad[2 * i + 1], want));
            worst = if error > worst.0 { (error, *g) } else { worst };
        } else {
            assert!(act[i] <= 0.0 && act[i] > -1e-35, "silu({g}) = {}", act[i]);
        }
    }
    eprintln!("twins: silu: {:.2} ulp at {}", worst.0, worst.1);
    assert!(worst.0 <= 5.0, "{} ulp at {}", worst.0, worst.1);
    let want = reference::swiglu_backward(&wide(&rows), &vec![1.0; n], 1);
    Judge::new("silu and slope, ±100").check("all", &grad, &want, 1);
}

/// All logits equal: the softmax is exactly 1/V if V is a power of two, whatever the logit is.
#[test]
fn equal_logits_are_uniform() {
    let mut judge = Judge::new("equal logits");
    for v in [1, 2, 97, 1024, 4096] {
        for value in [0.0, -0.0, 1e4, -1e4, 88.0, -100.0, 3.3, 3e38, -3e38] {
            let mut rig = Rig::new();
            let (targets, logits) = (rig.words(&[0]), rig.put(&[1, v], &vec![value; v]));
            let (hyper, loss) = (rig.put(&[ops::HYPER], &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), rig.blank(&[1]));
            let one = rig.put(&[1], &[1.0]);
            let control = rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]);
            let slope = Some(ops::Slope { weights: &one, control: &control });
            rig.run(|r| ops::cross_entropy(r, &targets, &hyper, &logits, &loss, slope));
            let share = 1.0 / v as f32;
            let mut want = vec![share; v];
            want[0] = share - 1.0;
            judge.exact(&format!("v {v} of {value}"), &rig.read(&logits), &want);
            judge.check("loss", &rig.read(&loss), &[(v as f64).ln()], v);
        }
    }
}

#[test]
fn huge_logits_choose_one() {
    let mut judge = Judge::new("cross_entropy, ±1e4");
    for v in [2, 97, 4096] {
        let mut rig = Rig::new();
        let rows = 4;
        let logits: Vec<f32> = noise(50, rows * v).iter().map(|x| if *x > 0.0 { 1e4 } else { -1e4 } + x).collect();
        let targets: Vec<i32> = (0..rows as i32).map(|i| i * 31 % v as i32).collect();
        let words: Vec<u32> = targets.iter().map(|t| *t as u32).collect();
        let (tt, tl) = (rig.words(&words), rig.put(&[rows, v], &logits));
        let (hyper, losses) = (rig.put(&[ops::HYPER], &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), rig.blank(&[rows]));
        let ones = rig.put(&[rows], &vec![1.0; rows]);
        let control = rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]);
        let slope = Some(ops::Slope { weights: &ones, control: &control });
        rig.run(|r| ops::cross_entropy(r, &tt, &hyper, &tl, &losses, slope));
        let (want, grads) = reference::cross_entropy(&wide(&logits), &targets, v, 1.0);
        judge.check_floor(&format!("v {v} loss"), &rig.read(&losses), &want, v, 1.0);
        judge.check(&format!("v {v} gradient"), &rig.read(&tl), &grads, v);
    }
}

/// Scores of ±1e4 whose products are exact in f32, so that only the softmax is judged; and equal scores.
#[test]
fn attention_with_huge_and_equal_scores() {
    let mut judge = Judge::new("attention, scores ±1e4");
    for t in [1, 2, 65, 129] {
        for kind in ["huge", "equal", "rising"] {
            let heads = heads(2, 1, 16);
            let d = heads.size;
            let (mut qkv, dout) = (noise(51, t * heads.qkv()), noise(52, t * heads.out()));
            for (i, row) in qkv.chunks_mut(heads.qkv()).enumerate() {
                row[..3 * d].fill(0.0);
                // Only the first column of a head is not zero: score = q · k / 4, at most 16384 · 2.5 / 4.
                row[0] = 16_384.0;
                row[d] = -16_384.0;
                row[2 * d] = match kind {
                    "huge" if i % 3 == 0 => 2.5,
                    "huge" => -2.5,
                    "equal" => 2.5,
                    _ => i as f32 / 64.0,
                };
            }
            let mut rig = Rig::new();
            let (tq, td) = (rig.put(&[t, heads.qkv()], &qkv), rig.put(&[t, heads.out()], &dout));
            let (out, lse, grad) = (rig.blank(&[t, heads.out()]), rig.blank(&[1, 2, t]), rig.blank(&[t, heads.qkv()]));
            let zeros = vec![0; t];
            let begins = rig.words(&zeros);
            let (cache, decoded) = (rig.blank(&[1, t, 2 * d]), rig.blank(&[t, heads.out()]));
            let positions = rig.words(&(0..t as u32).collect::<Vec<_>>());
            rig.run(|r| {
                ops::attention_forward(r, &tq, &begins, &out, &lse, 1, heads)?;
                ops::attention_backward(r, &tq, &begins, &out, &lse, &td, &grad, 1, heads)?;
                ops::cache_append(r, &tq, &positions, &cache, 1, heads)?;
                ops::attention_decode(r, &tq, &cache, &positions, &decoded, 1, heads)
            });
            let qkv = wide(&qkv);
            let reference = Attention { qkv: &qkv, begins: &zeros, b: 1, heads };
            let (want, want_lse) = reference.forward();
            let case = format!("{kind} t {t}");
            judge.check(&case, &rig.read(&out), &want, t);
            judge.check(&format!("{case} decoded"), &rig.read(&decoded), &want, t);
            judge.check(&format!("{case} lse"), &rig.read(&lse), &want_lse, t);
            // P = e^(score − lse) inherits the rounding of an lse of 1e4: half a unit is 5e-4; a key's
            // gradient sums terms of P · 16384.
            let (got, grads) = (rig.read(&grad), reference.backward(&wide(&dout)));
            let part = |i: usize| i % heads.qkv() / d;
            for (first, last, floor) in [(0, 2, 1.0), (2, 3, 16_384.0), (3, 4, 1.0)] {
                let inside = |i: &usize| (first..last).contains(&part(*i));
                let size = (0..grads.len()).filter(inside).fold(floor, |a: f64, i| a.max(grads[i].abs()));
                for i in (0..grads.len()).filter(inside) {
                    let error = (f64::from(got[i]) - grads[i]).abs();
                    assert!(error <= 1e-3 * size, "{case}: dqkv[{i}] is {}, want {}", got[i], grads[i]);
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    for poison in [f32::NAN, f32::INFINITY] {
        for place in [0, 5, 16, 32] {
            let mut rig = Rig::new();
            let mut row = noise(53, 33);
            row[place] = poison;
            let (targets, logits) = (rig.words(&[3]), rig.put(&[1, 33], &row));
            let (hyper, loss) = (rig.put(&[ops::HYPER], &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), rig.blank(&[1]));
            let one = rig.put(&[1], &[1.0]);
            let control = rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]);
            let slope = Some(ops::Slope { weights: &one, control: &control });
            rig.run(|r| {
                ops::fill(r, &loss, 0.0)?;
                ops::cross_entropy(r, &targets, &hyper, &logits, &loss, slope)
            });
            assert!(!rig.read(&loss)[0].is_finite(), "a loss over {poison} at {place} must not be finite");
        }
    }
}
