//! The same bits every time, with any number of threads.

use danlu::compute::{Layout, Tensor, matmul, ops};

use crate::rig::{Rig, bits, heads, noise};

/// Pool sizes that are compared with the default one.
const THREADS: &[usize] = &[1, 2, 3];

/// Every operation once, large enough to be split into tasks; all outputs as bits.
fn everything() -> Vec<(&'static str, Vec<u32>)> {
    let mut rig = Rig::new();
    let (b, t, n, c, f, v) = (3, 129, 387, 96, 160, 1031);
    let heads = heads(6, 2, 20);
    let mut stream = 100;
    let mut put = |rig: &mut Rig, shape: &[usize]| {
        stream += 1;
        let len = shape.iter().product();
        rig.put(shape, &noise(stream, len))
    };
    let (x, y, w) = (put(&mut rig, &[n, c]), put(&mut rig, &[n, c]), put(&mut rig, &[c]));
    let (long, other) = (put(&mut rig, &[100_003]), put(&mut rig, &[100_003]));
    let (qkv, dout) = (put(&mut rig, &[n, heads.qkv()]), put(&mut rig, &[n, heads.out()]));
    let (weight, table, rope_table) = (put(&mut rig, &[f, c]), put(&mut rig, &[v, c]), put(&mut rig, &[t, heads.size]));
    let (gate_up, dact, logits) = (put(&mut rig, &[n, 2 * f]), put(&mut rig, &[n, f]), put(&mut rig, &[n, v]));
    let (params, grads) = (put(&mut rig, &[100_003]), put(&mut rig, &[100_003]));
    let ids: Vec<u32> = (0..n as u32).map(|i| i * 53 % v as u32).collect();
    let (order, starts) = crate::reference::sort_ids(&ids, v);
    let (ids, order, starts) = (rig.words(&ids), rig.words(&order), rig.words(&starts));
    let positions = rig.words(&(0..n as u32).map(|i| i % t as u32).collect::<Vec<_>>());
    // One text, texts of three lengths, and the last few rows.
    let packed = (0..t as u32).map(|i| [0, 40, 81][usize::from(i >= 40) + usize::from(i >= 81)]);
    let begins = (0..t).map(|_| 0).chain(packed).chain((0..t as u32).map(|i| i.saturating_sub(11)));
    let begins = rig.words(&begins.collect::<Vec<_>>());
    let (targets, clock) = (rig.words(&(0..n as u32).collect::<Vec<_>>()), rig.words(&[1, 2, 3, 4]));
    let hyper = rig.put(&[ops::HYPER], &[0.01, 0.5, 0.1, 0.9, 0.95, 1e-8, 1.0, 0.0]);
    let mut outputs: Vec<(&'static str, Tensor)> = Vec::new();
    let mut out = |rig: &mut Rig, name: &'static str, shape: &[usize]| {
        let len = shape.iter().product();
        let made = rig.put(shape, &vec![0.25; len]);
        outputs.push((name, made.clone()));
        made
    };
    let (added, dropped) = (out(&mut rig, "add", &[100_003]), out(&mut rig, "dropout", &[100_003]));
    let (total, columns) = (out(&mut rig, "sum", &[1]), out(&mut rig, "column_sum", &[c]));
    let (embedded, dtable) =
        (out(&mut rig, "embedding_forward", &[n, c]), out(&mut rig, "embedding_backward", &[v, c]));
    let (normed, rstd) = (out(&mut rig, "rmsnorm_forward", &[n, c]), out(&mut rig, "rstd", &[n]));
    let (summed, normed2, rstd2) =
        (out(&mut rig, "add_rmsnorm", &[n, c]), out(&mut rig, "its y", &[n, c]), out(&mut rig, "its rstd", &[n]));
    let (dx, dw) = (out(&mut rig, "rmsnorm_backward", &[n, c]), out(&mut rig, "its dw", &[c]));
    let (attended, lse) =
        (out(&mut rig, "attention_forward", &[n, heads.out()]), out(&mut rig, "lse", &[b, heads.query, t]));
    let dqkv = out(&mut rig, "attention_backward", &[n, heads.qkv()]);
    let cache = out(&mut rig, "cache_append", &[b, t, 2 * heads.key * heads.size]);
    let decoded = out(&mut rig, "attention_decode", &[n, heads.out()]);
    let (act, dgate_up) = (out(&mut rig, "swiglu_forward", &[n, f]), out(&mut rig, "swiglu_backward", &[n, 2 * f]));
    let (plain, losses) = (out(&mut rig, "loss", &[n]), out(&mut rig, "loss with gradient", &[n]));
    let entropies = out(&mut rig, "entropy", &[n]);
    let (m, second) = (out(&mut rig, "m", &[100_003]), out(&mut rig, "v", &[100_003]));
    let (loss, control) = (rig.put(&[1], &[3.0]), rig.put(&[ops::CONTROL], &[0.0; ops::CONTROL]));
    let (nt, nn, tn) =
        (out(&mut rig, "matmul_nt", &[n, f]), out(&mut rig, "matmul_nn", &[n, c]), out(&mut rig, "matmul_tn", &[f, c]));
    let vector = out(&mut rig, "matmul_nt of one row", &[1, v]);
    let filled = out(&mut rig, "fill", &[100_003]);
    let (row, row_weights) = (put(&mut rig, &[1, c]), put(&mut rig, &[n]));
    outputs.extend([
        ("rope", qkv.clone()),
        ("scale", other.clone()),
        ("cross_entropy", logits.clone()),
        ("adamw", params.clone()),
        ("control", control.clone()),
    ]);
    let slope = Some(ops::Slope { weights: &row_weights, control: &control });
    rig.run(|r| {
        ops::fill(r, &filled, 0.1)?;
        ops::add(r, &long, &other, &added)?;
        ops::dropout(r, &clock, &long, &dropped, 5, 0.3)?;
        ops::sum(r, &long, &total, true)?;
        ops::scale(r, &other, 0.7)?;
        ops::column_sum(r, &x, &columns, true)?;
        ops::embedding_forward(r, &ids, &table, &embedded)?;
        ops::embedding_backward(r, &order, &starts, &y, &dtable)?;
        ops::rmsnorm_forward(r, &x, &w, &normed, &rstd, 1e-5)?;
        ops::add_rmsnorm_forward(r, &x, &y, &w, &summed, &normed2, &rstd2, 1e-5)?;
        ops::rmsnorm_backward(r, &y, &x, &w, &rstd, &dx, &dw, None, true)?;
        ops::rope(r, &positions, &rope_table, &qkv, heads, false)?;
        ops::attention_forward(r, &qkv, &begins, &attended, &lse, b, heads)?;
        ops::attention_backward(r, &qkv, &begins, &attended, &lse, &dout, &dqkv, b, heads)?;
        ops::cache_append(r, &qkv, &positions, &cache, b, heads)?;
        ops::attention_decode(r, &qkv, &cache, &positions, &decoded, b, heads)?;
        ops::swiglu_forward(r, &gate_up, &act)?;
        ops::swiglu_backward(r, &gate_up, &dact, &dgate_up)?;
        ops::cross_entropy(r, &targets, &hyper, &logits, &plain, None)?;
        ops::entropy(r, &targets, &logits, &entropies)?;
        ops::cross_entropy(r, &targets, &hyper, &logits, &losses, slope)?;
        matmul(r, Layout::NT, &x, &weight, &nt, true)?;
        matmul(r, Layout::NN, &dact, &weight, &nn, false)?;
        matmul(r, Layout::TN, &dact, &x, &tn, true)?;
        matmul(r, Layout::NT, &row, &table, &vector, true)?;
        let update = ops::Update {
            shadow: None,
            params: &params,
            grads: &grads,
            m: &m,
            v: &second,
            decayed: 70_001,
            loss: &loss,
            hyper: &hyper,
            control: &control,
        };
        ops::adamw(r, &update)?;
        ops::adamw(r, &update)
    });
    outputs.iter().map(|(name, tensor)| (*name, bits(&rig.read(tensor)))).collect()
}

fn compare(what: &str, first: &[(&str, Vec<u32>)], second: &[(&str, Vec<u32>)]) {
    assert_eq!(first.len(), second.len());
    for ((name, a), (_, b)) in first.iter().zip(second) {
        let apart = a.iter().zip(b).filter(|(a, b)| a != b).count();
        assert_eq!(apart, 0, "{what}: {name} differs in {apart} of {} elements", a.len());
    }
}

#[test]
fn two_runs_give_the_same_bits() {
    let first = everything();
    assert!(
        first.iter().all(|(_, b)| b.iter().all(|b| f32::from_bits(*b).is_finite())),
        "finite, so that bits mean something"
    );
    compare("run again", &first, &everything());
}

#[test]
fn threads_do_not_change_bits() {
    let here = everything();
    for &threads in THREADS {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for turn in 0..2 {
            compare(&format!("{threads} threads, turn {turn}"), &here, &pool.install(everything));
        }
    }
}

/// Matrix products may be split by the number of cores: the split must not change the bits, even if the last task is
/// one row and the inner size spans several of the product's blocks.
#[test]
fn cuts_of_matmul_do_not_change_bits() {
    for (m, n, k) in [
        (17, 1025, 257),
        (9, 4096, 64),
        (65, 64, 1000),
        (1025, 1, 300),
        (387, 97, 600),
        (1, 1031, 384),
        (2, 300, 513),
        (33, 65, 2049),
    ] {
        for layout in [Layout::NN, Layout::NT, Layout::TN] {
            let product = || {
                let mut rig = Rig::new();
                let (sa, sb) = (
                    if layout == Layout::TN { [k, m] } else { [m, k] },
                    if layout == Layout::NT { [n, k] } else { [k, n] },
                );
                let (a, b) = (rig.put(&sa, &noise(200, m * k)), rig.put(&sb, &noise(201, k * n)));
                let (once, more) = (rig.blank(&[m, n]), rig.put(&[m, n], &noise(202, m * n)));
                rig.run(|r| {
                    matmul(r, layout, &a, &b, &once, false)?;
                    matmul(r, layout, &a, &b, &more, true)
                });
                [bits(&rig.read(&once)), bits(&rig.read(&more))]
            };
            let here = product();
            for threads in [1, 2, 3, 5, 8] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert!(here == pool.install(product), "{layout:?} {m}×{n}×{k} on {threads} threads");
            }
        }
    }
}
