//! Invalid calls are refused with an error when they are recorded, without a panic.

use danlu::compute::{ComputeError, DType, Device, Layout, Recording, Tensor, matmul, ops};

use crate::rig::heads;

/// Records one call on new tensors and reports the result.
struct Desk {
    device: Device,
    failures: Vec<String>,
    cases: usize,
}

impl Desk {
    fn new() -> Desk {
        Desk { device: Device::cpu(), failures: Vec::new(), cases: 0 }
    }

    fn t(&mut self, shape: &[usize]) -> Tensor {
        self.device.alloc("t", shape, DType::F32).unwrap()
    }

    fn many<const N: usize>(&mut self, shapes: [&[usize]; N]) -> [Tensor; N] {
        shapes.map(|shape| self.t(shape))
    }

    fn refused(&mut self, what: &str, record: impl FnOnce(&mut Recording<'_>) -> Result<(), ComputeError>) {
        self.cases += 1;
        match record(&mut Recording::new(&mut self.device)) {
            Err(ComputeError::Shape { .. }) => {}
            other => self.failures.push(format!("{what}: {other:?}")),
        }
    }

    fn taken(&mut self, what: &str, record: impl FnOnce(&mut Recording<'_>) -> Result<(), ComputeError>) {
        if let Err(error) = record(&mut Recording::new(&mut self.device)) {
            self.failures.push(format!("{what} was refused: {error}"));
        }
    }

    /// Each list of shapes in turn: the first is valid, the others are not.
    fn sort<const N: usize>(
        &mut self,
        op: &str,
        fits: [&[usize]; N],
        record: impl Fn(&mut Recording<'_>, &[Tensor; N]) -> Result<(), ComputeError>,
        wrong: &[usize],
    ) {
        let tensors = self.many(fits);
        self.taken(op, |r| record(r, &tensors));
        for &i in wrong {
            for change in [-1, 1] {
                let mut tensors = self.many(fits);
                let mut shape = fits[i].to_vec();
                let last = shape.last_mut().unwrap();
                *last = last.saturating_add_signed(change);
                tensors[i] = self.t(&shape);
                self.refused(&format!("{op}: tensor {i} as {shape:?}"), |r| record(r, &tensors));
            }
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.failures.is_empty(), "of {} calls:\n{}", self.cases, self.failures.join("\n"));
        }
    }
}

#[test]
fn sizes_that_do_not_fit() {
    let mut d = Desk::new();
    let all = |n: usize| (0..n).collect::<Vec<_>>();
    d.sort("add", [&[70], &[70], &[70]], |r, [a, b, o]| ops::add(r, a, b, o), &all(3));
    d.sort("dropout", [&[4], &[70], &[70]], |r, [c, x, o]| ops::dropout(r, c, x, o, 0, 0.5), &all(3));
    d.sort("sum", [&[70], &[1]], |r, [x, o]| ops::sum(r, x, o, false), &[1]);
    d.sort("column_sum", [&[7, 10], &[10]], |r, [x, o]| ops::column_sum(r, x, o, false), &all(2));
    d.sort("square_sum", [&[70], &[ops::NORM_PARTIALS]], |r, [x, o]| ops::square_sum(r, x, o), &[1]);
    d.sort("embedding_forward", [&[5], &[9, 6], &[5, 6]], |r, [i, t, o]| ops::embedding_forward(r, i, t, o), &all(3));
    let backward = |r: &mut Recording<'_>, [o, s, d, t]: &[Tensor; 4]| ops::embedding_backward(r, o, s, d, t);
    d.sort("embedding_backward", [&[5], &[10], &[5, 6], &[9, 6]], backward, &all(4));
    let forward = |r: &mut Recording<'_>, [x, w, y, s]: &[Tensor; 4]| ops::rmsnorm_forward(r, x, w, y, s, 1e-5);
    d.sort("rmsnorm_forward", [&[5, 6], &[6], &[5, 6], &[5]], forward, &all(4));
    let forward =
        |r: &mut Recording<'_>, [x, e, w, s, y, q]: &[Tensor; 6]| ops::add_rmsnorm_forward(r, x, e, w, s, y, q, 1e-5);
    d.sort("add_rmsnorm_forward", [&[5, 6], &[5, 6], &[6], &[5, 6], &[5, 6], &[5]], forward, &all(6));
    let backward = |r: &mut Recording<'_>, [dy, x, w, s, dx, dw]: &[Tensor; 6]| {
        ops::rmsnorm_backward(r, dy, x, w, s, dx, dw, None, false)
    };
    d.sort("rmsnorm_backward", [&[5, 6], &[5, 6], &[6], &[5], &[5, 6], &[6]], backward, &all(6));
    d.sort("swiglu_forward", [&[5, 12], &[5, 6]], |r, [g, a]| ops::swiglu_forward(r, g, a), &all(2));
    d.sort("swiglu_backward", [&[5, 12], &[5, 6], &[5, 12]], |r, [g, a, o]| ops::swiglu_backward(r, g, a, o), &all(3));
    let loss = |r: &mut Recording<'_>, [t, h, weights, l, o, control]: &[Tensor; 6]| {
        ops::cross_entropy(r, t, h, l, o, Some(ops::Slope { weights, control }))
    };
    // Logits of other whole rows are another vocabulary; 31 elements are not 5 rows.
    d.sort("cross_entropy", [&[5], &[8], &[5], &[5, 6], &[5], &[12]], loss, &[0, 1, 2, 4, 5]);
    d.sort("cross_entropy", [&[5], &[8], &[5], &[30], &[5], &[12]], loss, &[3]);
    d.sort("entropy", [&[5], &[5, 6], &[5]], |r, [t, l, o]| ops::entropy(r, t, l, o), &[0, 2]);
    d.sort("entropy", [&[5], &[30], &[5]], |r, [t, l, o]| ops::entropy(r, t, l, o), &[1]);
    let adamw = |r: &mut Recording<'_>, [params, grads, m, v, loss, hyper, control]: &[Tensor; 7]| {
        ops::adamw(r, &ops::Update { params, shadow: None, grads, m, v, decayed: 3, loss, hyper, control })
    };
    d.sort("adamw", [&[70], &[70], &[70], &[70], &[1], &[8], &[12]], adamw, &[0, 1, 2, 3, 5, 6]);
    let h = heads(4, 2, 8);
    let rope = |r: &mut Recording<'_>, [p, t, x]: &[Tensor; 3]| ops::rope(r, p, t, x, h, false);
    d.sort("rope", [&[6], &[9, 8], &[6, 64]], rope, &all(3));
    let forward = |r: &mut Recording<'_>, [x, s, o, l]: &[Tensor; 4]| ops::attention_forward(r, x, s, o, l, 2, h);
    d.sort("attention_forward", [&[6, 64], &[6], &[6, 32], &[2, 4, 3]], forward, &all(4));
    let backward =
        |r: &mut Recording<'_>, [x, s, o, l, g, dx]: &[Tensor; 6]| ops::attention_backward(r, x, s, o, l, g, dx, 2, h);
    d.sort("attention_backward", [&[6, 64], &[6], &[6, 32], &[2, 4, 3], &[6, 32], &[6, 64]], backward, &all(6));
    let append = |r: &mut Recording<'_>, [x, p, c]: &[Tensor; 3]| ops::cache_append(r, x, p, c, 2, h);
    d.sort("cache_append", [&[6, 64], &[6], &[2, 9, 32]], append, &all(3));
    let decode = |r: &mut Recording<'_>, [x, c, p, o]: &[Tensor; 4]| ops::attention_decode(r, x, c, p, o, 2, h);
    d.sort("attention_decode", [&[6, 64], &[2, 9, 32], &[6], &[6, 32]], decode, &all(4));
    for (layout, a, b) in [(Layout::NN, [5, 7], [7, 3]), (Layout::NT, [5, 7], [3, 7]), (Layout::TN, [7, 5], [7, 3])] {
        let product = |r: &mut Recording<'_>, [a, b, o]: &[Tensor; 3]| matmul(r, layout, a, b, o, false);
        d.sort(&format!("{layout:?}"), [&a, &b, &[5, 3]], product, &all(3));
    }
}

#[test]
fn heads_that_do_not_fit() {
    let mut d = Desk::new();
    for (b, h) in [
        (0, heads(4, 2, 8)),
        (2, heads(4, 0, 8)),
        (2, heads(3, 2, 8)),
        (2, heads(4, 2, 0)),
        (2, heads(0, 2, 8)),
        (5, heads(4, 2, 8)),
    ] {
        let case = format!("b {b} {h:?}");
        let [x, o, l] = d.many([&[6, 64], &[6, 32], &[2, 4, 3]]);
        let [g, dx, p, c] = d.many([&[6, 32], &[6, 64], &[6], &[2, 9, 32]]);
        d.refused(&format!("attention_forward {case}"), |r| ops::attention_forward(r, &x, &p, &o, &l, b, h));
        d.refused(&format!("attention_backward {case}"), |r| ops::attention_backward(r, &x, &p, &o, &l, &g, &dx, b, h));
        d.refused(&format!("cache_append {case}"), |r| ops::cache_append(r, &x, &p, &c, b, h));
        d.refused(&format!("attention_decode {case}"), |r| ops::attention_decode(r, &x, &c, &p, &o, b, h));
    }
    // Rotary embedding needs an even head size.
    let [p, t, x] = d.many([&[6], &[9, 7], &[6, 56]]);
    d.refused("rope of an odd head", |r| ops::rope(r, &p, &t, &x, heads(4, 2, 7), false));
}

#[test]
fn nothing_is_not_a_tensor() {
    let mut d = Desk::new();
    let [none, rows, x, w, k] = d.many([&[0], &[0, 8], &[3, 8], &[8], &[3, 0]]);
    d.refused("add", |r| ops::add(r, &none, &rows.view(&[0]), &k.view(&[0])));
    d.refused("scale", |r| ops::scale(r, &none, 2.0));
    d.refused("sum", |r| ops::sum(r, &none, &w.part("one", 0, &[1]), false));
    d.refused("column_sum into nothing", |r| ops::column_sum(r, &x, &none, false));
    d.refused("rmsnorm of no rows", |r| ops::rmsnorm_forward(r, &rows, &w, &k.view(&[0, 8]), &none, 1e-5));
    d.refused("rmsnorm_backward of no rows", |r| {
        let dx = k.view(&[0, 8]);
        ops::rmsnorm_backward(r, &rows, &rows, &w, &none, &dx, &x.part("dw", 0, &[8]), None, false)
    });
    d.refused("cross_entropy of no rows", |r| ops::cross_entropy(r, &none, &w, &rows, &k.view(&[0]), None));
    d.refused("cross_entropy of no vocabulary", |r| {
        ops::cross_entropy(r, &w.part("t", 0, &[3]), &w, &k, &x.part("l", 0, &[3]), None)
    });
    d.refused("matmul over nothing", |r| matmul(r, Layout::NN, &k, &rows, &x.part("out", 0, &[3, 8]), false));
    d.refused("embedding of an empty table", |r| ops::embedding_forward(r, &w.part("ids", 0, &[3]), &rows, &x));
}

#[test]
fn parts_that_start_between_alignments() {
    let mut d = Desk::new();
    let [a, b, wide, out] = d.many([&[8, 20], &[8, 20], &[8, 64], &[8, 64]]);
    d.refused("read", |r| ops::add(r, &a.slice_rows(1, 2), &b.slice_rows(0, 2), &out.part("o", 0, &[2, 20])));
    d.refused("read, second", |r| ops::add(r, &a.slice_rows(0, 2), &b.slice_rows(3, 2), &out.part("o", 0, &[2, 20])));
    d.refused("written", |r| ops::add(r, &a.slice_rows(0, 2), &b.slice_rows(0, 2), &out.part("o", 32, &[2, 20])));
    d.refused("in place", |r| ops::scale(r, &a.slice_rows(1, 2), 2.0));
    // 16 rows of 20 are 320 elements: aligned; rows of 64 always are.
    d.taken("aligned rows", |r| ops::scale(r, &wide.slice_rows(3, 2), 2.0));
    let tall = d.t(&[40, 20]);
    d.taken("aligned by chance", |r| ops::scale(r, &tall.slice_rows(16, 3), 2.0));
}

#[test]
fn one_buffer_written_and_bound_again() {
    let mut d = Desk::new();
    let [a, b, o] = d.many([&[4, 64], &[4, 64], &[8, 64]]);
    d.refused("add onto its input", |r| ops::add(r, &a, &b, &a));
    d.refused("add onto its second input", |r| ops::add(r, &a, &b, &b));
    d.refused("disjoint parts of one buffer", |r| ops::add(r, &o.slice_rows(0, 4), &b, &o.slice_rows(4, 4)));
    let [w, rstd] = d.many([&[64], &[4]]);
    d.refused("rmsnorm in place", |r| ops::rmsnorm_forward(r, &a, &w, &a, &rstd, 1e-5));
    d.refused("two outputs in one buffer", |r| {
        ops::rmsnorm_forward(r, &a, &w, &o.slice_rows(0, 4), &o.part("rstd", 256, &[4]), 1e-5)
    });
    let [sq, out] = d.many([&[64, 64], &[64, 64]]);
    d.refused("matmul onto its input", |r| matmul(r, Layout::NN, &sq, &out, &sq, true));
    d.taken("matmul of one with itself", |r| matmul(r, Layout::NT, &sq, &sq, &out, false));
    let [p, g, m, loss, hyper, control] = d.many([&[70], &[70], &[70], &[1], &[8], &[12]]);
    d.refused("adamw with one tensor for both moments", |r| {
        ops::adamw(
            r,
            &ops::Update {
                shadow: None,
                params: &p,
                grads: &g,
                m: &m,
                v: &m,
                decayed: 0,
                loss: &loss,
                hyper: &hyper,
                control: &control,
            },
        )
    });
    let h = heads(2, 1, 16);
    let [x, s, y, l, dy] = d.many([&[4, 64], &[4], &[4, 32], &[1, 2, 4], &[4, 32]]);
    d.refused("attention_backward onto qkv", |r| ops::attention_backward(r, &x, &s, &y, &l, &dy, &x, 1, h));
}

#[test]
fn writing_more_than_there_is() {
    let mut device = Device::cpu();
    let t = device.alloc("t", &[3], DType::F32).unwrap();
    assert!(matches!(device.write(&t, &[0.0_f32; 4]), Err(ComputeError::Shape { .. })), "too many elements");
    assert!(matches!(device.write(&t, &[0_u32; 1]), Err(ComputeError::Shape { .. })), "words into floats");
    device.write(&t, &[1.0_f32, 2.0]).unwrap();
    assert_eq!(device.read::<f32>(&t).unwrap(), [1.0, 2.0, 0.0]);
}

/// Found here: a part or view beyond its buffer's end used to panic at the replay.
#[test]
fn views_past_their_buffer() {
    let mut device = Device::cpu();
    let t = device.alloc("t", &[4, 64], DType::F32).unwrap();
    let gone = device.alloc("gone", &[64], DType::F32).unwrap();
    device.free(&gone);
    for view in
        [t.slice_rows(3, 2), t.slice_rows(9, 1), t.part("p", 0, &[257]), t.part("p", usize::MAX / 64 * 64, &[64]), gone]
    {
        let mut rec = Recording::new(&mut device);
        ops::scale(&mut rec, &view, 2.0).unwrap();
        let ran = rec.compile().and_then(|program| device.replay(&[&program]));
        assert!(matches!(ran, Err(ComputeError::Shape { .. })), "{} {:?}: {ran:?}", view.name, view.shape);
    }
    // A refused call has no effect.
    assert_eq!(device.read::<f32>(&t).unwrap(), [0.0; 256]);
}
