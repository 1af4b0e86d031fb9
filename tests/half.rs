//! Half precision of whole models, compared with f32 on the same adapter: gradients, the loss scale, and bits.
//!
//! Adapters without 16-bit floats are skipped; llvmpipe has them. Cooperative matrices are compared with the CPU twins
//! by tests/kernels/main.rs and `danlu check --precision f16`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it measured"
)]

use danlu::{
    compute::{
        AdapterInfo, AdapterKind, ComputeError, DType, Device, Layout, Opening, Precision, Recording, matmul, ops,
    },
    nn::{
        AdamW, Decoder, Evaluator, Learner, MicroBatch, ModelConfig, ParamTable, PolicyLearner, ScalarLearner,
        StepOutcome, TokenRows, Weights,
    },
};
use half::f16;
use libtest_mimic::{Arguments, Failed, Trial};

/// Rows and positions of a batch; half of its rows suffice for a head over trained rows only.
const SHAPE: (usize, usize) = (4, 32);

/// Whether an adapter is a GPU.
fn real(a: &AdapterInfo) -> bool {
    ![AdapterKind::Software, AdapterKind::Cpu].contains(&a.kind)
}

/// A model with vector-sized dimensions and one without; on a GPU also one large enough for cooperative matrices.
fn models() -> Vec<ModelConfig> {
    let mut all = vec![ModelConfig::llama(2, 64, 4, 2, 96, 128, 32), ModelConfig::llama(2, 40, 2, 1, 58, 101, 32)];
    if Device::adapters().iter().any(real) {
        all.push(ModelConfig::llama(2, 384, 6, 6, 1024, 4096, 32));
    }
    all
}

fn open(precision: Precision) -> Result<Option<Device>, Failed> {
    let found = Device::adapters().into_iter().find(|a| a.kind != AdapterKind::Cpu);
    let name = found.ok_or("no adapter is there, and DANLU_REQUIRE_ADAPTER=1 asks for one")?.name;
    match Device::open_with(&name, Opening { precision, ..Opening::default() }) {
        Err(ComputeError::Precision { .. }) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

/// Ids and targets of a batch; with `masked`, two of three rows have no target.
fn batch(vocab: usize, salt: usize, masked: bool) -> (Vec<u32>, Vec<i32>) {
    let n = SHAPE.0 * SHAPE.1;
    let id = |i: usize| (i * i * 7 + i * 3 + salt * 13) % vocab;
    let ids = (0..n).map(|i| id(i) as u32).collect();
    (ids, (0..n).map(|i| if masked && i % 3 > 0 { -100 } else { id(i + 1) as i32 }).collect())
}

fn learner(device: &mut Device, config: &ModelConfig) -> Result<Learner, Failed> {
    let learner = Learner::new(device, config, SHAPE.0, SHAPE.1, AdamW::default())?;
    let slab = learner.table().initial(3);
    learner.write_params(device, &slab)?;
    Ok(learner)
}

fn step(device: &mut Device, learner: &mut Learner, at: usize, rate: f32) -> Result<StepOutcome, Failed> {
    let (ids, targets) = batch(learner.config().vocab_size, at, at % 2 == 1);
    let micro = MicroBatch { ids: &ids, targets: &targets, starts: None };
    let mut ticket = learner.step(device, &[micro], rate, 5, at)?;
    Ok(StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited")))
}

/// Checks the cosine of each tensor's gradient with that of f32, and the ratio of their norms; returns the least cosine
/// and its tensor.
fn alike(table: &ParamTable, got: &[f32], want: &[f32], when: &str) -> (f64, String) {
    let mut least = (1.0, String::new());
    for t in &table.tensors {
        let (a, b) = (table.slice(got, t), table.slice(want, t));
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
        assert!(bb > 0.0, "{when}: {} has no gradient", t.name);
        let cosine = ab / (aa * bb).sqrt();
        assert!(cosine > 0.999, "{when}: {} has cosine {cosine}", t.name);
        let ratio = (aa / bb).sqrt();
        assert!((ratio - 1.0).abs() < 0.03, "{when}: {} is {ratio} times as long", t.name);
        if cosine < least.0 {
            least = (cosine, t.name.clone());
        }
    }
    least
}

fn gradients_are_those_of_f32() -> Result<(), Failed> {
    for config in models() {
        let (Some(mut narrow), Some(mut wide)) = (open(Precision::F16)?, open(Precision::F32)?) else {
            return Ok(());
        };
        assert_eq!((narrow.traits().act, wide.traits().act), (DType::F16, DType::F32));
        let (mut a, mut b) = (learner(&mut narrow, &config)?, learner(&mut wide, &config)?);
        let mut trained = 0;
        for more in [0, 30] {
            for _ in 0..more {
                step(&mut wide, &mut b, trained, 3e-3)?;
                trained += 1;
            }
            let [params, ..] = b.read_state(&mut wide)?;
            a.write_params(&mut narrow, &params)?;
            // Over all rows, and over those with a target only.
            for at in [100, 101] {
                let (x, y) = (step(&mut narrow, &mut a, at, 0.0)?, step(&mut wide, &mut b, at, 0.0)?);
                assert!(x.applied && !x.lowered, "{x:?}");
                assert!((x.loss - y.loss).abs() < 2e-3 * y.loss, "{x:?} where f32 has {y:?}");
                assert!((x.grad_norm - y.grad_norm).abs() < 0.01 * y.grad_norm, "{x:?} where f32 has {y:?}");
                let (got, want) = (a.read_grads(&mut narrow)?, b.read_grads(&mut wide)?);
                alike(a.table(), &got, &want, &format!("after {trained} steps, batch {at}"));
            }
        }
    }
    Ok(())
}

/// Batches of the built-in texts, one id for each of the most frequent characters.
struct Text {
    ids: Vec<u32>,
    vocab: usize,
}

impl Text {
    fn read(vocab: usize) -> Text {
        let text: String = ["classical", "english", "modern-zh"]
            .map(|name| std::fs::read_to_string(format!("assets/corpus/{name}.txt")).expect("a text of the repository"))
            .concat();
        let mut counts = std::collections::BTreeMap::new();
        text.chars().for_each(|c| *counts.entry(c).or_insert(0_usize) += 1);
        let mut order: Vec<(char, usize)> = counts.into_iter().collect();
        order.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let rank: std::collections::HashMap<char, usize> = order.iter().enumerate().map(|(i, o)| (o.0, i)).collect();
        Text { ids: text.chars().map(|c| rank[&c].min(vocab - 1) as u32).collect(), vocab }
    }

    /// Rows from scattered places; with `masked`, the first half of each row has no target.
    fn batch(&self, (b, t): (usize, usize), at: usize, masked: bool) -> (Vec<u32>, Vec<i32>) {
        assert!(self.ids.iter().all(|id| (*id as usize) < self.vocab));
        let begin = |row: usize| (at * b + row).wrapping_mul(2_654_435_761) % (self.ids.len() - t - 1);
        let window = |shift: usize| (0..b).flat_map(move |row| begin(row) + shift..begin(row) + shift + t);
        let target = |(i, at): (usize, usize)| if masked && i % t < t / 2 { -100 } else { self.ids[at] as i32 };
        (window(0).map(|at| self.ids[at]).collect(), window(1).enumerate().map(target).collect())
    }
}

/// Trains in f32 on text; at the start and after 100 and 1,000 steps the gradients of the same weights in both
/// precisions are compared on batches not trained on.
fn gradients_are_those_of_f32_after_1000_steps_on_text() -> Result<(), Failed> {
    for (config, shape) in [
        (ModelConfig::llama(4, 128, 4, 4, 384, 2048, 128), (32, 128)),
        (ModelConfig::llama(6, 384, 6, 6, 1024, 2048, 256), (16, 256)),
    ] {
        let text = Text::read(config.vocab_size);
        let (Some(mut narrow), Some(mut wide)) = (open(Precision::F16)?, open(Precision::F32)?) else {
            return Ok(());
        };
        let mut a = Learner::new(&mut narrow, &config, shape.0, shape.1, AdamW::default())?;
        let mut b = Learner::new(&mut wide, &config, shape.0, shape.1, AdamW::default())?;
        let slab = b.table().initial(3);
        b.write_params(&mut wide, &slab)?;
        let mut trained = 0;
        for until in [0, 100, 1000] {
            let mut last = f32::NAN;
            while trained < until {
                let (ids, targets) = text.batch(shape, trained, false);
                let micro = MicroBatch { ids: &ids, targets: &targets, starts: None };
                let rate = 1e-3 * ((trained + 1) as f32 / 50.0).min(1.0);
                let mut ticket = b.step(&mut wide, &[micro], rate, 5, trained)?;
                last = StepOutcome::from_control(&wide.collect(&mut ticket, true)?.expect("it waited")).loss;
                trained += 1;
            }
            let [params, ..] = b.read_state(&mut wide)?;
            a.write_params(&mut narrow, &params)?;
            for masked in [false, true] {
                let (ids, targets) = text.batch(shape, 1_000_000, masked);
                let micro = || MicroBatch { ids: &ids, targets: &targets, starts: None };
                a.step(&mut narrow, &[micro()], 0.0, 5, 0)?;
                b.step(&mut wide, &[micro()], 0.0, 5, 0)?;
                let (got, want) = (a.read_grads(&mut narrow)?, b.read_grads(&mut wide)?);
                let when = format!("hidden {}, {trained} steps, masked {masked}", config.hidden_size);
                let (cosine, name) = alike(a.table(), &got, &want, &when);
                println!("{when}: least cosine {cosine:.6} ({name}), last training loss {last:.3}");
            }
        }
    }
    Ok(())
}

/// Gradients of scores get the loss scale, and it is removed at the end.
fn scalars_are_those_of_f32() -> Result<(), Failed> {
    let config = &models()[0];
    let mut results = Vec::new();
    for precision in [Precision::F16, Precision::F32] {
        let Some(mut device) = open(precision)? else { return Ok(()) };
        let mut model = ScalarLearner::new(&mut device, config, SHAPE.0, SHAPE.1, AdamW::default())?;
        let slab = model.table().initial(4);
        model.write_params(&mut device, &slab)?;
        let (ids, _) = batch(config.vocab_size, 1, false);
        let rows = TokenRows { ids: &ids, starts: None };
        let scores = model.scores(&mut device, rows)?;
        let slopes: Vec<f32> = (0..scores.len()).map(|i| (i as f32 * 0.7).sin() / 50.0).collect();
        model.backward(&mut device, rows, &slopes)?;
        let before = model.read_grads(&mut device)?;
        let mut ticket = model.update(&mut device, 1e-3, 1.0)?;
        let outcome = StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited"));
        assert!(outcome.applied, "{outcome:?}");
        assert_eq!(before, model.read_grads(&mut device)?, "an update leaves the gradients as they were");
        results.push((scores, before, model));
    }
    let [(narrow, grads, model), (wide, want, _)] = &results[..] else { unreachable!("two precisions") };
    let most = wide.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
    for (x, y) in narrow.iter().zip(wide) {
        assert!((x - y).abs() < 5e-3 * most, "a score is {x} where f32 has {y}");
    }
    alike(model.table(), grads, want, "scores");
    Ok(())
}

/// One weight of 1e30 makes gradients overflow with a finite loss.
fn overflow(device: &mut Device, policy: &mut PolicyLearner) -> Result<StepOutcome, Failed> {
    finish(device, policy, 1e30)
}

fn finish(device: &mut Device, policy: &mut PolicyLearner, weight: f32) -> Result<StepOutcome, Failed> {
    let (ids, targets) = batch(policy.config().vocab_size, 2, false);
    let mut weights = vec![1.0 / ids.len() as f32; ids.len()];
    weights[9] *= weight;
    policy.backward(device, MicroBatch { ids: &ids, targets: &targets, starts: None }, &weights)?;
    let mut ticket = policy.update(device, 1e-3, 2.0)?;
    Ok(StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited")))
}

fn bits(state: &[Vec<f32>; 4]) -> [Vec<u32>; 4] {
    state.clone().map(|part| part.into_iter().map(f32::to_bits).collect())
}

fn an_overflow_halves_the_scale_and_nothing_else() -> Result<(), Failed> {
    let Some(mut device) = open(Precision::F16)? else { return Ok(()) };
    let config = &models()[0];
    let mut policy = PolicyLearner::new(&mut device, config, SHAPE.0, SHAPE.1, AdamW::default())?;
    let slab = policy.table().initial(6);
    policy.write_params(&mut device, &slab)?;
    assert!(finish(&mut device, &mut policy, 1.0)?.applied);
    let before = policy.read_state(&mut device)?;
    assert_eq!(before[3].len(), ops::CONTROL);
    assert_eq!((before[3][8], before[3][9]), (ops::FIRST_LOSS_SCALE, 1.0));

    let outcome = overflow(&mut device, &mut policy)?;
    assert!(outcome.lowered && !outcome.applied && outcome.loss.is_finite(), "{outcome:?}");
    let after = policy.read_state(&mut device)?;
    assert_eq!(bits(&before)[..3], bits(&after)[..3], "parameters and moments stay to the bit");
    assert_eq!(before[3][3..6], after[3][3..6], "and so does the step count");
    assert_eq!(after[3][7], 0.0, "it is no skipped step");
    assert_eq!(after[3][8..11], [ops::FIRST_LOSS_SCALE / 2.0, 0.0, 1.0]);

    // The next step has half the scale and the same gradient: the step is repeated.
    let outcome = finish(&mut device, &mut policy, 1.0)?;
    assert!(outcome.applied && !outcome.lowered, "{outcome:?}");

    // At the minimum an overflow is a skipped step; so is a NaN loss, at any scale.
    let mut state = policy.read_state(&mut device)?;
    state[3][8] = 2.0;
    policy.write_state(&mut device, &state)?;
    assert!(overflow(&mut device, &mut policy)?.lowered);
    let outcome = overflow(&mut device, &mut policy)?;
    assert!(!outcome.lowered && !outcome.applied, "{outcome:?}");
    let floor = policy.read_state(&mut device)?;
    assert_eq!((floor[3][7], floor[3][8]), (1.0, 1.0));
    assert_eq!(bits(&state)[..3], bits(&floor)[..3]);

    // A thousand applied steps double it, up to 2²⁴.
    for (scale, grown) in [(64.0, 128.0), (16_777_216.0, 16_777_216.0)] {
        let mut state = policy.read_state(&mut device)?;
        (state[3][8], state[3][9]) = (scale, 999.0);
        policy.write_state(&mut device, &state)?;
        let outcome = finish(&mut device, &mut policy, 1e-6)?;
        let state = policy.read_state(&mut device)?;
        if outcome.applied {
            assert_eq!((state[3][8], state[3][9]), (grown, 0.0), "from {scale}");
        } else {
            // 2²⁴ may be too much for these gradients.
            assert!(outcome.lowered && scale > 1e6, "{outcome:?}");
        }
    }
    Ok(())
}

fn the_same_seed_gives_the_same_bits_and_a_resume_continues_them() -> Result<(), Failed> {
    for config in models() {
        let config = ModelConfig { dropout: 0.1, ..config };
        let mut states = Vec::new();
        for stop in [None, None, Some(3)] {
            let Some(mut device) = open(Precision::F16)? else { return Ok(()) };
            let mut model = learner(&mut device, &config)?;
            for at in 0..6 {
                if Some(at) == stop {
                    // As after a restart: another device, only the saved state.
                    let state = model.read_state(&mut device)?;
                    device = open(Precision::F16)?.expect("it opened before");
                    model = learner(&mut device, &config)?;
                    model.write_state(&mut device, &state)?;
                }
                assert!(step(&mut device, &mut model, at, 2e-3)?.applied);
            }
            states.push(bits(&model.read_state(&mut device)?));
        }
        assert!(states[0] == states[1], "the same seed twice");
        assert!(states[0] == states[2], "a resume in the middle");
    }
    Ok(())
}

/// An f32 state continues in f16 with the initial loss scale; an f16 state continues in f32 without one.
fn states_of_either_precision_are_taken_up() -> Result<(), Failed> {
    let config = &models()[0];
    let (Some(mut narrow), Some(mut wide)) = (open(Precision::F16)?, open(Precision::F32)?) else { return Ok(()) };
    let (mut a, mut b) = (learner(&mut narrow, config)?, learner(&mut wide, config)?);
    step(&mut wide, &mut b, 0, 1e-3)?;
    let old = b.read_state(&mut wide)?;
    assert_eq!(old[3].len(), ops::CONTROL_F32, "f32 writes what it always wrote");
    a.write_state(&mut narrow, &old)?;
    let taken = a.read_state(&mut narrow)?;
    assert_eq!((&taken[3][..8], taken[3][8]), (&old[3][..], ops::FIRST_LOSS_SCALE));
    assert!(step(&mut narrow, &mut a, 1, 1e-3)?.applied);
    let back = a.read_state(&mut narrow)?;
    b.write_state(&mut wide, &back)?;
    assert_eq!(b.read_state(&mut wide)?[3], back[3][..8]);
    assert!(step(&mut wide, &mut b, 2, 1e-3)?.applied);
    Ok(())
}

/// Losses, and the logits of generation, also for weights whose products overflow f16.
fn forward_passes_are_those_of_f32() -> Result<(), Failed> {
    for config in models() {
        let mut results = Vec::new();
        for precision in [Precision::F16, Precision::F32] {
            let Some(mut device) = open(precision)? else { return Ok(()) };
            let table = std::sync::Arc::new(ParamTable::new(&config));
            let weights = Weights::alloc(&mut device, "weights", &table)?;
            let slab = table.initial(8);
            weights.write(&mut device, &slab)?;
            assert_eq!(weights.read(&mut device)?, slab, "the weights themselves are f32");
            let mut evaluator = Evaluator::new(&mut device, &config, &weights, SHAPE.0, SHAPE.1)?;
            let (ids, targets) = batch(config.vocab_size, 4, false);
            let losses = evaluator.losses(&mut device, &ids, &targets, None)?;
            let mut decoder = Decoder::new(&mut device, &config, &weights, 32)?;
            let logits = decoder.feed(&mut device, &ids[..21])?;
            let huge: Vec<f32> = slab.iter().map(|w| w * 3000.0).collect();
            weights.write(&mut device, &huge)?;
            let strained = evaluator.losses(&mut device, &ids, &targets, None)?;
            assert!(strained.iter().all(|x| x.is_finite()), "{precision:?}: large weights made no number");
            results.push((losses, logits));
        }
        let ((a, la), (b, lb)) = (&results[0], &results[1]);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 5e-3 * b.abs().max(1.0));
        assert!(close(a, b) && close(la, lb), "losses or logits are not those of f32");
    }
    Ok(())
}

fn a_mix_up_of_types_does_not_reach_the_device() -> Result<(), Failed> {
    let Some(mut device) = open(Precision::F16)? else { return Ok(()) };
    let mut tensor = |shape: &[usize], dtype| device.alloc("x", shape, dtype).expect("memory");
    let (wide, narrow) = (tensor(&[8, 8], DType::F32), tensor(&[8, 8], DType::F16));
    let (other, out) = (tensor(&[8, 8], DType::F16), tensor(&[8, 8], DType::F32));
    let double = tensor(&[8, 16], DType::F16);
    let mut rec = Recording::new(&mut device);
    for (what, done) in [
        ("scale of f16", ops::scale(&mut rec, &narrow, 2.0)),
        ("sum of both types", ops::add(&mut rec, &wide, &narrow, &out)),
        ("product of both types", matmul(&mut rec, Layout::NT, &narrow, &wide, &other, false)),
        ("swiglu into f32", ops::swiglu_forward(&mut rec, &double, &out)),
        ("narrowing of f16", ops::narrow(&mut rec, &narrow, &other, None)),
        ("norm of f16", ops::rmsnorm_forward(&mut rec, &narrow, &wide.view(&[64]), &other, &out, 1e-5)),
    ] {
        let error = done.err().ok_or_else(|| format!("{what} was taken"))?;
        assert!(matches!(error, ComputeError::Shape { .. }), "{what}: {error}");
    }
    assert!(rec.calls().is_empty());
    drop(rec);
    assert!(device.write(&narrow, &[1.0_f32; 64]).is_err(), "f32 into f16");
    assert!(device.write(&wide, &[f16::ONE; 64]).is_err(), "f16 into f32");
    assert!(device.read::<u32>(&wide).is_err(), "f32 as words");
    assert!(device.read::<f32>(&narrow).is_err(), "f16 as f32");
    Ok(())
}

/// Copies are in whole words; an odd number of halves leaves the neighbour unchanged.
fn odd_numbers_of_halves_are_moved() -> Result<(), Failed> {
    let Some(mut device) = open(Precision::F16)? else { return Ok(()) };
    let x = device.alloc("x", &[71], DType::F16)?;
    let ramp: Vec<f16> = (0..71_u16).map(|i| f16::from_f32(f32::from(i) - 0.5)).collect();
    device.write(&x, &ramp)?;
    let part = x.part("part", 64, &[7]);
    device.write(&part, &[f16::from_f32(100.0); 3])?;
    device.write(&x.part("one", 1, &[1]), &[f16::from_f32(-9.0)])?;
    let mut want = ramp.clone();
    want[64..67].fill(f16::from_f32(100.0));
    want[1] = f16::from_f32(-9.0);
    assert_eq!(device.read::<f16>(&x)?, want);
    assert_eq!(device.read_floats(&x)?, want.iter().map(|h| h.to_f32()).collect::<Vec<_>>());
    assert_eq!(device.read::<f16>(&x.part("odd", 65, &[5]))?, want[65..70]);
    let mut ticket = device.request(&x.part("odd", 3, &[2]))?;
    assert_eq!(device.collect::<f16>(&mut ticket, true)?.expect("it waited"), want[3..5]);
    Ok(())
}

fn the_cpu_engine_refuses_f16() -> Result<(), Failed> {
    let opening = Opening { precision: Precision::F16, ..Opening::default() };
    let error = Device::open_with("cpu", opening).err().ok_or("it opened")?;
    assert!(matches!(error, ComputeError::Precision { .. }), "{error}");
    assert!(error.to_string().contains("--precision"), "{error}");
    let mut device = Device::cpu();
    assert!(device.alloc("x", &[4], DType::F16).is_err());
    Ok(())
}

type Test = fn() -> Result<(), Failed>;

fn main() {
    let arguments = Arguments::from_args();
    let required = std::env::var("DANLU_REQUIRE_ADAPTER").as_deref() == Ok("1");
    let ignored = !required && Device::adapters().iter().all(|a| a.kind == AdapterKind::Cpu);
    let long = "gradients_are_those_of_f32_after_1000_steps_on_text";
    let tests: [(&str, Test); 8] = [
        ("a_mix_up_of_types_does_not_reach_the_device", a_mix_up_of_types_does_not_reach_the_device),
        ("odd_numbers_of_halves_are_moved", odd_numbers_of_halves_are_moved),
        ("gradients_are_those_of_f32", gradients_are_those_of_f32),
        ("scalars_are_those_of_f32", scalars_are_those_of_f32),
        ("an_overflow_halves_the_scale_and_nothing_else", an_overflow_halves_the_scale_and_nothing_else),
        (
            "the_same_seed_gives_the_same_bits_and_a_resume_continues_them",
            the_same_seed_gives_the_same_bits_and_a_resume_continues_them,
        ),
        ("states_of_either_precision_are_taken_up", states_of_either_precision_are_taken_up),
        ("forward_passes_are_those_of_f32", forward_passes_are_those_of_f32),
    ];
    let mut trials = vec![Trial::test("the_cpu_engine_refuses_f16", the_cpu_engine_refuses_f16)];
    trials.extend(tests.map(|(name, test)| Trial::test(name, test).with_ignored_flag(ignored)));
    // Minutes on a software adapter.
    let test = gradients_are_those_of_f32_after_1000_steps_on_text;
    trials.push(Trial::test(long, test).with_ignored_flag(!Device::adapters().iter().any(real)));
    libtest_mimic::run(&arguments, trials).exit();
}
