//! Packed examples compared with the same examples in separate rows: the same loss and gradient, on all engines of this
//! machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use danlu::{
    compute::{
        AdapterKind, ComputeError, Device,
        rng::{Purpose, below},
    },
    nn::{AdamW, Evaluator, IGNORE_INDEX, Learner, MicroBatch, ModelConfig, StepOutcome},
};
use libtest_mimic::{Arguments, Failed, Trial};

/// Positions of a row: more than a tile of any kernel, and not a multiple of one.
const T: usize = 100;
/// Lengths of the examples of each row: across tiles, to their edge, of one token, and with room left over.
const ROWS: [&[usize]; 4] = [&[40, 1, 33, 26], &[64, 36], &[17, 16, 15, 17, 3], &[100]];
const VOCAB: usize = 211;

/// Rows as a step takes them.
#[derive(Default)]
struct Block {
    ids: Vec<u32>,
    targets: Vec<i32>,
    starts: Vec<u32>,
}

impl Block {
    /// Adds a row: its examples from `first` on, then padding, which counts as an example.
    fn row(&mut self, lengths: &[usize], first: usize) {
        let end = self.ids.len() + T;
        let mut start = 0;
        for (e, length) in lengths.iter().enumerate() {
            let id = |i: usize| below(3, Purpose::Bench, (first + e) as u64, i as u64, VOCAB) as u32;
            self.ids.extend((0..*length).map(id));
            // The last token of an example has no target, and every fifth is not trained.
            let target = |i: usize| if i == *length || i % 5 == 4 { IGNORE_INDEX } else { id(i) as i32 };
            self.targets.extend((1..=*length).map(target));
            self.starts.resize(self.ids.len(), start);
            start += *length as u32;
        }
        self.ids.resize(end, 7);
        self.targets.resize(end, IGNORE_INDEX);
        self.starts.resize(end, start);
    }

    fn batch(&self, packed: bool) -> MicroBatch<'_> {
        MicroBatch { ids: &self.ids, targets: &self.targets, starts: packed.then_some(&self.starts) }
    }
}

/// The examples packed, and one per row.
fn blocks() -> [Block; 2] {
    let [mut packed, mut alone] = [Block::default(), Block::default()];
    let mut first = 0;
    for lengths in ROWS {
        packed.row(lengths, first);
        for (e, length) in lengths.iter().enumerate() {
            alone.row(&[*length], first + e);
        }
        first += lengths.len();
    }
    [packed, alone]
}

/// Heads of this size, two per key head.
fn config(size: usize) -> ModelConfig {
    let keys = if size < 64 { 2 } else { 1 };
    let config = ModelConfig::llama(2, 2 * keys * size, 2 * keys, keys, 96, VOCAB, T);
    assert_eq!((config.head_dim, config.dropout), (size, 0.0));
    config
}

fn learner(device: &mut Device, config: &ModelConfig, block: &Block) -> Result<Learner, ComputeError> {
    let learner = Learner::new(device, config, block.ids.len() / T, T, AdamW::default())?;
    // Larger than initial weights, so that attention is not uniform.
    let slab: Vec<f32> = learner.table().initial(5).iter().map(|x| x * 3.0).collect();
    learner.write_params(device, &slab)?;
    Ok(learner)
}

/// Loss and gradients of one batch; the weights stay the same.
fn step(device: &mut Device, learner: &mut Learner, batch: MicroBatch<'_>) -> Result<(f32, Vec<f32>), ComputeError> {
    let mut ticket = learner.step(device, &[batch], 0.0, 0, 0)?;
    let control = device.collect(&mut ticket, true)?.expect("it waited");
    Ok((StepOutcome::from_control(&control).loss, learner.read_grads(device)?))
}

fn near(what: &str, got: &[f32], want: &[f32]) -> Result<(), Failed> {
    let size = want.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    let error = got.iter().zip(want).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    if error <= 1e-5 * size && got.iter().all(|x| x.is_finite()) && got.len() == want.len() && size > 0.0 {
        Ok(())
    } else {
        Err(format!("{what}: off by {error:e}, the largest is {size:e}").into())
    }
}

fn gradients(size: usize, mut device: Device) -> Result<(), Failed> {
    let (config, [packed, alone]) = (config(size), blocks());
    let mut one = learner(&mut device, &config, &packed)?;
    let mut other = learner(&mut device, &config, &alone)?;
    let (loss, grads) = step(&mut device, &mut one, packed.batch(true))?;
    let (want_loss, want) = step(&mut device, &mut other, alone.batch(false))?;
    near("loss", &[loss], &[want_loss])?;
    for t in &one.table().tensors {
        near(&t.name, one.table().slice(&grads, t), one.table().slice(&want, t))?;
    }
    // Starts in rows of one example change only the padding, which is not trained.
    let (same_loss, same) = step(&mut device, &mut other, alone.batch(true))?;
    near("loss of single rows with starts", &[same_loss], &[want_loss])?;
    near("gradients of single rows with starts", &same, &want)?;
    // Without starts the examples of a row are one text, with another loss.
    let (mixed, mixed_grads) = step(&mut device, &mut one, packed.batch(false))?;
    assert!((mixed - loss).abs() > 1e-3 * loss, "the layout does not matter: {mixed} and {loss}");
    // A learner that has only seen plain rows agrees to the bit, and so does a return to packed ones.
    let mut fresh = learner(&mut device, &config, &packed)?;
    let plain = step(&mut device, &mut fresh, packed.batch(false))?;
    assert!(plain == (mixed, mixed_grads), "plain rows after packed ones are not plain");
    assert!(step(&mut device, &mut one, packed.batch(true))? == (loss, grads), "packed rows after plain ones");
    // The micro-batches of a step have separate layouts: plain and packed in turn, half of each.
    one.step(&mut device, &[packed.batch(true), packed.batch(false)], 0.0, 0, 0)?;
    let both = one.read_grads(&mut device)?;
    fresh.step(&mut device, &[packed.batch(false), packed.batch(true)], 0.0, 0, 0)?;
    near("micro-batches of two layouts", &both, &fresh.read_grads(&mut device)?)
}

fn losses(size: usize, mut device: Device) -> Result<(), Failed> {
    let (config, [packed, alone]) = (config(size), blocks());
    let weights = learner(&mut device, &config, &packed)?;
    let mut score = |block: &Block, starts: bool| -> Result<Vec<Vec<f32>>, ComputeError> {
        let mut eval = Evaluator::new(&mut device, &config, weights.params(), block.ids.len() / T, T)?;
        let starts = starts.then_some(block.starts.as_slice());
        let mut all = Vec::new();
        for starts in [starts, None, starts] {
            all.push(eval.losses(&mut device, &block.ids, &block.targets, starts)?);
        }
        Ok(all)
    };
    let trained = |losses: &[f32], block: &Block| -> Vec<f32> {
        losses.iter().zip(&block.targets).filter(|(_, t)| **t != IGNORE_INDEX).map(|(l, _)| *l).collect()
    };
    let (one, other) = (score(&packed, true)?, score(&alone, false)?);
    near("losses", &trained(&one[0], &packed), &trained(&other[0], &alone))?;
    assert!(one[0] == one[2] && other[0] == other[1], "a layout that returns gives the same losses");
    assert!(one[0] != one[1], "the layout does not matter");
    Ok(())
}

/// Invalid starts are refused with a message and change nothing.
fn refusals(mut device: Device) -> Result<(), Failed> {
    let (config, [packed, _]) = (config(32), blocks());
    let mut learner = learner(&mut device, &config, &packed)?;
    let mut eval = Evaluator::new(&mut device, &config, learner.params(), ROWS.len(), T)?;
    let before = step(&mut device, &mut learner, packed.batch(true))?;
    let change = |at: usize, start: u32| {
        let mut starts = packed.starts.clone();
        starts[at] = start;
        starts
    };
    for (starts, words) in [
        (vec![0; ROWS.len() * T - 1], "399 starts were given, 400 are expected"),
        (Vec::new(), "0 starts were given, 400 are expected"),
        (change(0, 1), "row 0, place 0: its example starts at 1, which is after it"),
        (change(T + 70, 71), "row 1, place 70: its example starts at 71, which is after it"),
        (change(T + 70, u32::MAX), "row 1, place 70: its example starts at 4294967295, which is after it"),
        (change(T + 70, 63), "row 1, place 70: its example starts at 63, after one at 64"),
    ] {
        let batch = MicroBatch { starts: Some(&starts), ..packed.batch(false) };
        let first = learner.step(&mut device, &[batch], 1.0, 0, 0).err();
        let second = eval.losses(&mut device, &packed.ids, &packed.targets, Some(&starts)).err();
        for error in [first, second] {
            let error = error.ok_or(format!("{words}: it was taken"))?;
            assert!(matches!(error, ComputeError::Shape { .. }) && error.to_string().contains(words), "{error}");
        }
    }
    assert!(step(&mut device, &mut learner, packed.batch(true))? == before, "a refused layout left a trace");
    Ok(())
}

fn main() {
    let args = Arguments::from_args();
    let required = std::env::var_os("DANLU_REQUIRE_ADAPTER").is_some_and(|v| v == "1");
    let adapter = Device::adapters().into_iter().find(|a| a.kind != AdapterKind::Cpu).map(|a| a.name);
    let mut trials = Vec::new();
    for engine in ["cpu", "gpu"] {
        let name = if engine == "cpu" { Some("cpu".to_owned()) } else { adapter.clone() };
        let open = move || -> Result<Device, Failed> {
            let name = name.clone().ok_or("no adapter is there, and DANLU_REQUIRE_ADAPTER=1 asks for one")?;
            Ok(Device::open(&name)?)
        };
        let ignored = engine == "gpu" && adapter.is_none() && !required;
        let mut add = |name: String, run: Box<dyn FnOnce(Device) -> Result<(), Failed> + Send>| {
            let open = open.clone();
            trials.push(Trial::test(format!("{engine}/{name}"), move || run(open()?)).with_ignored_flag(ignored));
        };
        for size in [32, 64, 20] {
            add(format!("gradients of heads of {size}"), Box::new(move |device| gradients(size, device)));
            add(format!("losses of heads of {size}"), Box::new(move |device| losses(size, device)));
        }
        add("refusals".to_owned(), Box::new(refusals));
    }
    libtest_mimic::run(&args, trials).exit();
}
