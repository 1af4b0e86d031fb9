//! The model against transformers: numbers written by `tests/golden/make.py`, reproduced by all engines of this
//! machine. A masked step over packed rows comes from `tests/golden/make_chat.py --step`; human feedback has separate
//! numbers in `golden/feedback.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "golden/feedback.rs"]
mod feedback;
#[path = "golden/learners.rs"]
mod learners;

use std::{collections::BTreeMap, path::PathBuf};

use danlu::{
    compute::{AdapterKind, Device},
    data::{Example, PackedRow, fill_row},
    nn::{
        AdamW, Decoder, Evaluator, IGNORE_INDEX, Learner, MicroBatch, ModelConfig, ParamTable, StepOutcome, Weights,
        shift_labels,
    },
};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

const CASES: &[&str] = &["gqa_untied", "tied", "head_dim"];

fn folder(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case)
}

struct Case {
    config: ModelConfig,
    tensors: BTreeMap<String, Vec<f32>>,
    golden: Value,
    ids: Vec<Vec<u32>>,
    labels: Vec<Vec<i32>>,
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn case(name: &str) -> Case {
    let text = std::fs::read_to_string(folder(name).join("config.json")).expect("config.json");
    let bytes = std::fs::read(folder(name).join("model.safetensors")).expect("model.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let tensors = file.tensors().into_iter().map(|(n, t)| (n, values(t.data()))).collect();
    let golden: Value =
        serde_json::from_str(&std::fs::read_to_string(folder(name).join("golden.json")).unwrap()).unwrap();
    let ids = serde_json::from_value(golden["input_ids"].clone()).unwrap();
    let labels = serde_json::from_value(golden["labels"].clone()).unwrap();
    Case { config: ModelConfig::from_json(&text).expect("a config"), tensors, golden, ids, labels }
}

impl Case {
    fn slab(&self, table: &ParamTable) -> Vec<f32> {
        let mut slab = vec![0.0; table.slab_len];
        for t in &table.tensors {
            slab[t.offset..t.offset + t.len()].copy_from_slice(&self.tensors[&t.name]);
        }
        slab
    }

    fn learner(&self, device: &mut Device, adamw: AdamW) -> Learner {
        let learner = Learner::new(device, &self.config, self.ids.len(), self.ids[0].len(), adamw).expect("a learner");
        let slab = self.slab(learner.table());
        learner.write_params(device, &slab).unwrap();
        learner
    }

    fn flat(&self) -> (Vec<u32>, Vec<i32>, Vec<i32>) {
        let ids: Vec<u32> = self.ids.concat();
        let own: Vec<i32> = ids.iter().map(|i| *i as i32).collect();
        let context = self.ids[0].len();
        (ids, shift_labels(&own, context), shift_labels(&self.labels.concat(), context))
    }
}

fn close(what: &str, got: f64, want: f64, bound: f64) -> Result<(), Failed> {
    if (got - want).abs() <= bound {
        Ok(())
    } else {
        Err(format!("{what}: {got} where transformers has {want} (bound {bound})").into())
    }
}

fn logprobs(case: &str, mut device: Device) -> Result<(), Failed> {
    let c = self::case(case);
    let learner = c.learner(&mut device, AdamW::default());
    let (ids, own, labels) = c.flat();
    let context = c.ids[0].len();
    let mut eval = Evaluator::new(&mut device, &c.config, learner.params(), c.ids.len(), context)?;
    let losses = eval.losses(&mut device, &ids, &own, None)?;
    for (r, row) in c.golden["logprobs"].as_array().unwrap().iter().enumerate() {
        for (t, want) in floats(row).into_iter().enumerate() {
            close(&format!("logprob {r},{t}"), -f64::from(losses[r * context + t]), want, 1e-4)?;
        }
    }
    let mean = |losses: &[f32], targets: &[i32]| {
        let n = targets.iter().filter(|t| **t != IGNORE_INDEX).count();
        losses.iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64
    };
    close("loss_all", mean(&losses, &own), c.golden["loss_all"].as_f64().unwrap(), 1e-4)?;
    let losses = eval.losses(&mut device, &ids, &labels, None)?;
    close("loss", mean(&losses, &labels), c.golden["loss"].as_f64().unwrap(), 1e-4)
}

fn gradients(case: &str, mut device: Device) -> Result<(), Failed> {
    let c = self::case(case);
    let mut learner = c.learner(&mut device, AdamW::default());
    let (ids, _, targets) = c.flat();
    learner.step(&mut device, &[MicroBatch { ids: &ids, targets: &targets, starts: None }], 0.0, 0, 0)?;
    let grads = learner.read_grads(&mut device)?;
    let norms = c.golden["grad_norms"].as_object().unwrap();
    assert_eq!(norms.len(), learner.table().tensors.len(), "every tensor has a golden norm");
    for t in &learner.table().tensors {
        let norm = learner.table().slice(&grads, t).iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let want = norms[&t.name].as_f64().unwrap();
        close(&t.name, norm, want, 1e-3 * want)?;
    }
    Ok(())
}

fn twenty_steps(case: &str, mut device: Device) -> Result<(), Failed> {
    let c = self::case(case);
    let spec = &c.golden["adamw"];
    let number = |key: &str| spec[key].as_f64().unwrap() as f32;
    let betas = floats(&spec["betas"]);
    let adamw = AdamW {
        beta1: betas[0] as f32,
        beta2: betas[1] as f32,
        eps: number("eps"),
        weight_decay: number("weight_decay"),
        clip: number("clip"),
    };
    let mut learner = c.learner(&mut device, adamw);
    let (ids, _, targets) = c.flat();
    let (losses, norms) = (floats(&spec["loss"]), floats(&spec["grad_norm"]));
    for (step, (loss, norm)) in losses.into_iter().zip(norms).enumerate() {
        let batch = [MicroBatch { ids: &ids, targets: &targets, starts: None }];
        let mut ticket = learner.step(&mut device, &batch, number("learning_rate"), 0, step)?;
        let control = device.collect(&mut ticket, true)?.expect("a waited ticket");
        let got = StepOutcome::from_control(&control);
        close(&format!("loss {step}"), got.loss.into(), loss, 1e-4)?;
        close(&format!("grad_norm {step}"), got.grad_norm.into(), norm, 1e-3 * norm)?;
    }
    Ok(())
}

fn greedy(case: &str, mut device: Device) -> Result<(), Failed> {
    let c = self::case(case);
    let learner = c.learner(&mut device, AdamW::default());
    let weights: &Weights = learner.params();
    let prompts: Vec<Vec<u32>> = serde_json::from_value(c.golden["greedy"]["prompts"].clone()).unwrap();
    let wanted: Vec<Vec<u32>> = serde_json::from_value(c.golden["greedy"]["ids"].clone()).unwrap();
    for (prompt, wanted) in prompts.into_iter().zip(wanted) {
        let mut decoder = Decoder::new(&mut device, &c.config, weights, wanted.len())?;
        let mut ids = prompt.clone();
        let mut logits = decoder.feed(&mut device, &prompt)?;
        loop {
            ids.push(danlu::nn::sample(&logits, &ids, &danlu::nn::Sampling::greedy(), 0));
            if ids.len() == wanted.len() {
                break;
            }
            logits = decoder.feed(&mut device, &ids[ids.len() - 1..])?;
        }
        if ids != wanted {
            return Err(format!("{ids:?} where transformers has {wanted:?}").into());
        }
    }
    Ok(())
}

/// Three micro-batches of one row equal one micro-batch of three rows.
fn accumulation(mut device: Device) -> Result<(), Failed> {
    let c = case("gqa_untied");
    let (ids, _, targets) = c.flat();
    let mut large = c.learner(&mut device, AdamW::default());
    large.step(&mut device, &[MicroBatch { ids: &ids, targets: &targets, starts: None }], 1e-3, 0, 0)?;
    let context = c.ids[0].len();
    let mut small = Learner::new(&mut device, &c.config, 1, context, AdamW::default())?;
    let slab = c.slab(small.table());
    small.write_params(&mut device, &slab)?;
    let rows: Vec<MicroBatch<'_>> = ids
        .chunks(context)
        .zip(targets.chunks(context))
        .map(|(ids, targets)| MicroBatch { ids, targets, starts: None })
        .collect();
    small.step(&mut device, &rows, 1e-3, 0, 0)?;
    let (a, b) = (large.read_grads(&mut device)?, small.read_grads(&mut device)?);
    let top = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    for (x, y) in a.iter().zip(&b) {
        close("gradient", f64::from(*y), f64::from(*x), 1e-5 * f64::from(top))?;
    }
    Ok(())
}

/// Packed rows with masked labels (`make_chat.py --step`): loss, gradients and log-probabilities of transformers' Llama
/// with attention inside each example and positions counted from its start.
fn packed_step(case: &str, mut device: Device) -> Result<(), Failed> {
    let all: Value =
        serde_json::from_str(&std::fs::read_to_string(folder("packed_step.json")).expect("packed_step.json")).unwrap();
    let g = &all[case];
    let rows = |key: &str| g[key].as_array().expect("rows").iter().flat_map(|row| row.as_array().unwrap().clone());
    let ids: Vec<u32> = rows("ids").map(|x| x.as_u64().unwrap() as u32).collect();
    let targets: Vec<i32> = rows("targets").map(|x| x.as_i64().unwrap() as i32).collect();
    let starts: Vec<u32> = rows("starts").map(|x| x.as_u64().unwrap() as u32).collect();
    let wanted: Vec<f64> = rows("logprobs").map(|x| x.as_f64().unwrap()).collect();
    let number = |key: &str| g[key].as_f64().expect("a number");
    let window = g["window"].as_u64().unwrap() as usize;
    assert!((number("loss_naive") - number("loss")).abs() > 1e-3, "the layout matters");

    // The rows are danlu's too: packing the same examples in the same order gives them.
    let examples: Vec<Example> = g["examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| Example {
            ids: serde_json::from_value(e["ids"].clone()).unwrap(),
            labels: serde_json::from_value(e["labels"].clone()).unwrap(),
        })
        .collect();
    let packed: Vec<PackedRow> = g["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let members: Vec<&Example> =
                row.as_array().unwrap().iter().map(|at| &examples[at.as_u64().unwrap() as usize]).collect();
            fill_row(&members, window, number("pad") as u32).unwrap()
        })
        .collect();
    assert_eq!(packed.iter().flat_map(|r| r.ids.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(packed.iter().flat_map(|r| r.targets.clone()).collect::<Vec<_>>(), targets);
    assert_eq!(packed.iter().flat_map(|r| r.starts.clone()).collect::<Vec<_>>(), starts);
    assert_eq!(examples.iter().map(Example::trained).sum::<usize>() as f64, number("trained"));

    let c = self::case(case);
    let mut learner = Learner::new(&mut device, &c.config, packed.len(), window, AdamW::default())?;
    let slab = c.slab(learner.table());
    learner.write_params(&mut device, &slab)?;
    let batch = [MicroBatch { ids: &ids, targets: &targets, starts: Some(&starts) }];
    let mut ticket = learner.step(&mut device, &batch, 0.0, 0, 0)?;
    let control = device.collect(&mut ticket, true)?.expect("a waited ticket");
    let outcome = StepOutcome::from_control(&control);
    close("loss", outcome.loss.into(), number("loss"), 1e-5 * number("loss"))?;
    close("grad_norm", outcome.grad_norm.into(), number("grad_norm"), 1e-4 * number("grad_norm"))?;
    let grads = learner.read_grads(&mut device)?;
    let norms = g["grad_norms"].as_object().unwrap();
    assert_eq!(norms.len(), learner.table().tensors.len(), "every tensor has a golden norm");
    for t in &learner.table().tensors {
        let ours = learner.table().slice(&grads, t);
        let norm = ours.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let want = norms[&t.name].as_f64().unwrap();
        close(&t.name, norm, want, 1e-4 * want)?;
        let ends = ours[..4].iter().chain(&ours[ours.len() - 4..]);
        let golden = floats(&g["grads"][&t.name]);
        assert_eq!(golden.len(), 8);
        for (i, (x, want)) in ends.zip(golden).enumerate() {
            // Relative to the mean size in this tensor; sums of many terms are not more precise.
            let size = norm / (ours.len() as f64).sqrt();
            close(&format!("{} value {i}", t.name), f64::from(*x), want, 1e-4 * want.abs() + 1e-4 * size)?;
        }
    }
    let mut eval = Evaluator::new(&mut device, &c.config, learner.params(), packed.len(), window)?;
    let losses = eval.losses(&mut device, &ids, &targets, Some(&starts))?;
    for (at, (loss, want)) in losses.iter().zip(&wanted).enumerate() {
        close(&format!("logprob {at}"), -f64::from(*loss), *want, 1e-4)?;
    }
    let mean = losses.iter().map(|x| f64::from(*x)).sum::<f64>() / number("trained");
    close("mean of the losses", mean, number("loss"), 1e-5 * number("loss"))
}

fn old_rope_spelling() -> Result<(), Failed> {
    let text = std::fs::read_to_string(folder("tied").join("config.rope_theta.json"))?;
    assert_eq!(ModelConfig::from_json(&text).unwrap(), case("tied").config);
    Ok(())
}

type Test = fn(&str, Device) -> Result<(), Failed>;
type Alone = fn(Device) -> Result<(), Failed>;

fn main() {
    let args = Arguments::from_args();
    let required = std::env::var_os("DANLU_REQUIRE_ADAPTER").is_some_and(|v| v == "1");
    let adapter = Device::adapters().into_iter().find(|a| a.kind != AdapterKind::Cpu).map(|a| a.name);
    let mut trials =
        vec![Trial::test("old_rope_spelling", old_rope_spelling), Trial::test("feedback_losses", feedback::losses)];
    let tests: [(&str, Test); 4] =
        [("logprobs", logprobs), ("gradients", gradients), ("twenty_steps", twenty_steps), ("greedy", greedy)];
    for engine in ["cpu", "gpu"] {
        let name = if engine == "cpu" { Some("cpu".to_owned()) } else { adapter.clone() };
        let open = move || -> Result<Device, Failed> {
            let name = name.clone().ok_or("no adapter is there, and DANLU_REQUIRE_ADAPTER=1 asks for one")?;
            Ok(Device::open(&name)?)
        };
        let ignored = engine == "gpu" && adapter.is_none() && !required;
        for case in CASES {
            for (name, test) in tests {
                let open = open.clone();
                trials.push(
                    Trial::test(format!("{engine}/{case}/{name}"), move || test(case, open()?))
                        .with_ignored_flag(ignored),
                );
            }
        }
        for case in ["gqa_untied", "tied"] {
            let open = open.clone();
            trials.push(
                Trial::test(format!("{engine}/{case}/packed_step"), move || packed_step(case, open()?))
                    .with_ignored_flag(ignored),
            );
        }
        let feedback: [(&str, Test); 4] =
            [("score", feedback::score), ("step", feedback::step), ("pairs", feedback::pairs), ("ptx", feedback::ptx)];
        for case in ["gqa_untied", "tied"] {
            for (name, test) in feedback {
                let open = open.clone();
                let run = move || test(case, open()?);
                trials.push(Trial::test(format!("{engine}/{case}/feedback_{name}"), run).with_ignored_flag(ignored));
            }
        }
        let learners: [(&str, Alone); 7] = [
            ("supervised", learners::supervised),
            ("accumulation", learners::accumulation),
            ("scalars", learners::scalars),
            ("slopes", learners::slopes),
            ("rollouts", learners::rollouts),
            ("draws", learners::draws),
            ("refusals", learners::refusals),
        ];
        for (name, test) in learners {
            let open = open.clone();
            let run = move || test(open()?);
            trials.push(Trial::test(format!("{engine}/learners/{name}"), run).with_ignored_flag(ignored));
        }
        trials.push(
            Trial::test(format!("{engine}/accumulation"), move || accumulation(open()?)).with_ignored_flag(ignored),
        );
    }
    libtest_mimic::run(&args, trials).exit();
}
