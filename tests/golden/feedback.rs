//! Human feedback against PyTorch and transformers: numbers written by `tests/golden/make_feedback.py`.

use danlu::{
    compute::Device,
    nn::{
        AdamW, Evaluator, IGNORE_INDEX, MicroBatch, ParamTable, ParamTensor, PolicyLearner, ScalarEvaluator,
        ScalarLearner, StepOutcome, TokenRows,
        feedback::{
            DpoPair, Mean, Objective, Pair, PolicyTokens, dpo_loss, gae, group_advantages, kl_rewards, pairwise_loss,
            policy_loss, spread, sums, value_loss, whiten,
        },
    },
};
use libtest_mimic::Failed;
use serde_json::Value;

use super::{Case, case, close, floats, folder};

pub(crate) fn golden() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder("feedback.json")).expect("feedback.json")).unwrap()
}

fn singles(v: &Value) -> Vec<f32> {
    floats(v).into_iter().map(|x| x as f32).collect()
}

fn sizes(v: &Value) -> Vec<usize> {
    serde_json::from_value(v.clone()).expect("whole numbers")
}

fn number(v: &Value) -> f64 {
    v.as_f64().expect("a number")
}

/// Every element within 10⁻⁶ of its size, or of 1.
fn alike(what: &str, got: &[f32], want: &Value) -> Result<(), Failed> {
    let want = floats(want);
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        close(&format!("{what} {i}"), f64::from(*got), want, 1e-6 * want.abs().max(1.0))?;
    }
    Ok(())
}

fn alike_number(what: &str, got: f64, want: &Value) -> Result<(), Failed> {
    close(what, got, number(want), 1e-6 * number(want).abs().max(1.0))
}

fn negated(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| -x).collect()
}

/// GAE, whitening and all losses with their gradients.
pub(crate) fn losses() -> Result<(), Failed> {
    let all = golden();
    let g = &all["losses"];
    let lengths = sizes(&g["lengths"]);
    let [old, new, reference, advantages, values, scores] =
        ["old", "new", "reference", "advantages", "values", "scores"].map(|k| singles(&g[k]));

    let beta = number(&g["kl_rewards"]["beta"]) as f32;
    let paid = kl_rewards(&old, &reference, &scores, &lengths, beta)?;
    alike("kl reward", &paid.rewards, &g["kl_rewards"]["rewards"])?;
    alike("kl", &paid.kl, &g["kl_rewards"]["kl"])?;
    for c in g["gae"].as_array().unwrap() {
        let got = gae(&paid.rewards, &values, &lengths, number(&c["gamma"]) as f32, number(&c["lambda"]) as f32)?;
        alike("advantage", &got.advantages, &c["advantages"])?;
        alike("return", &got.returns, &c["returns"])?;
    }
    for (shift, name) in [(true, "shifted"), (false, "kept")] {
        let mut whitened: Vec<f32> = values.iter().map(|x| x * 3.0 + 2.0).collect();
        whiten(&mut whitened, shift);
        alike(name, &whitened, &g["whiten"][name])?;
    }

    for c in g["policy"].as_array().unwrap() {
        let mean = match c["mean"].as_str().unwrap() {
            "tokens" => Mean::Tokens,
            "answers" => Mean::Answers,
            _ => Mean::Fixed((lengths.len() * lengths.iter().max().unwrap()) as f64),
        };
        let objective = Objective {
            clip_low: number(&c["clip_low"]) as f32,
            clip_high: number(&c["clip_high"]) as f32,
            kl: number(&c["kl"]) as f32,
            mean,
        };
        let tokens =
            PolicyTokens { new: &new, old: &old, reference: &reference, advantages: &advantages, lengths: &lengths };
        let got = policy_loss(&tokens, &objective)?;
        alike("policy gradient", &negated(&got.weights), &c["gradient"])?;
        for (name, got) in [
            ("loss", got.loss),
            ("clip_fraction", got.clip_fraction),
            ("approx_kl", got.approx_kl),
            ("old_kl", got.old_kl),
            ("reference_kl", got.reference_kl),
            ("ratio", got.ratio),
        ] {
            alike_number(&format!("policy {name} of {}", c["mean"]), got, &c[name])?;
        }
    }
    for c in g["value"].as_array().unwrap() {
        let got = value_loss(&singles(&c["new"]), &values, &singles(&c["returns"]), number(&c["clip"]) as f32)?;
        alike_number("value loss", got.loss, &c["loss"])?;
        alike_number("value clip", got.clip_fraction, &c["clip_fraction"])?;
        alike("value gradient", &got.dvalues, &c["gradient"])?;
    }
    let grouped = singles(&g["groups"]["scores"]);
    let groups = vec![number(&g["groups"]["size"]) as usize; 4];
    let scaled = group_advantages(&grouped, &groups, true)?;
    alike("group", &scaled.advantages, &g["groups"]["scaled"])?;
    alike("plain group", &group_advantages(&grouped, &groups, false)?.advantages, &g["groups"]["plain"])?;
    assert_eq!(scaled.flat, 0.25);

    let r = &g["reward"];
    let [chosen, rejected, margins] = ["chosen", "rejected", "margins"].map(|k| singles(&r[k]));
    let pairs = |use_margin: bool| -> Vec<Pair> {
        let margin = |i: usize| if use_margin { margins[i] } else { 0.0 };
        (0..chosen.len()).map(|i| Pair { margin: margin(i), ..Pair::new(chosen[i], rejected[i]) }).collect()
    };
    for c in r["cases"].as_array().unwrap() {
        let got = pairwise_loss(&pairs(c["margin"].as_bool().unwrap()), number(&c["centre"]) as f32);
        alike_number("reward loss", got.loss, &c["loss"])?;
        alike("chosen", &got.dchosen, &c["dchosen"])?;
        alike("rejected", &got.drejected, &c["drejected"])?;
    }
    // The excerpt in LLMBook, as printed, is this loss with the answers swapped.
    let inverted: Vec<Pair> = pairs(false).iter().map(|p| Pair::new(p.rejected, p.chosen)).collect();
    let got = pairwise_loss(&inverted, 0.0);
    alike_number("labels of 0", got.loss, &r["labels_0"]["loss"])?;
    alike("labels of 0", &got.drejected, &r["labels_0"]["dchosen"])?;

    let sums: Vec<Vec<f32>> = g["dpo"]["sums"].as_array().unwrap().iter().map(singles).collect();
    let pair = |i: usize| DpoPair {
        chosen: sums[0][i],
        rejected: sums[1][i],
        chosen_reference: sums[2][i],
        rejected_reference: sums[3][i],
    };
    let pairs: Vec<DpoPair> = (0..sums[0].len()).map(pair).collect();
    for c in g["dpo"]["cases"].as_array().unwrap() {
        let got = dpo_loss(&pairs, number(&c["beta"]) as f32, number(&c["label_smoothing"]) as f32);
        alike("dpo chosen", &negated(&got.chosen_weights), &c["dchosen"])?;
        alike("dpo rejected", &negated(&got.rejected_weights), &c["drejected"])?;
        for (name, got) in [
            ("loss", got.loss),
            ("rewards/chosen", got.chosen),
            ("rewards/rejected", got.rejected),
            ("rewards/margins", got.margins),
            ("rewards/accuracies", got.accuracies),
        ] {
            alike_number(&format!("dpo {name}"), got, &c[name])?;
        }
    }
    Ok(())
}

fn adamw(all: &Value) -> (AdamW, f32) {
    let spec = &all["adamw"];
    let betas = singles(&spec["betas"]);
    let at = |key: &str| number(&spec[key]) as f32;
    let adamw =
        AdamW { beta1: betas[0], beta2: betas[1], eps: at("eps"), weight_decay: at("weight_decay"), clip: at("clip") };
    (adamw, at("learning_rate"))
}

/// First and last four values of a tensor, and its norm.
fn ends(table: &ParamTable, slab: &[f32], t: &ParamTensor) -> ([f32; 8], f64) {
    let all = table.slice(slab, t);
    let mut ends = [0.0; 8];
    ends[..4].copy_from_slice(&all[..4]);
    ends[4..].copy_from_slice(&all[all.len() - 4..]);
    (ends, all.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt())
}

/// Gradients and the parameters after a step, each by norm and eight values.
fn learnt(g: &Value, rate: f32, table: &ParamTable, slabs: [&[f32]; 3]) -> Result<(), Failed> {
    let [before, grads, after] = slabs;
    assert_eq!(g["grad_norms"].as_object().unwrap().len(), table.tensors.len(), "every tensor has a golden norm");
    let moved: Vec<f32> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    for t in &table.tensors {
        let (values, norm) = ends(table, grads, t);
        let want = number(&g["grad_norms"][&t.name]);
        close(&format!("gradient of {}", t.name), norm, want, 1e-4 * want)?;
        // Relative to the mean size in this tensor; sums of many terms are not more precise.
        let size = norm / (t.len() as f64).sqrt();
        for (i, (x, want)) in values.iter().zip(floats(&g["grads"][&t.name])).enumerate() {
            close(&format!("gradient {i} of {}", t.name), f64::from(*x), want, 1e-4 * (want.abs() + size))?;
        }
        let (values, _) = ends(table, after, t);
        for (i, (x, want)) in values.iter().zip(floats(&g["after"][&t.name])).enumerate() {
            // A step of AdamW is about as large as the learning rate.
            close(&format!("{} after, {i}", t.name), f64::from(*x), want, 1e-2 * f64::from(rate))?;
        }
        let want = number(&g["moved"][&t.name]);
        close(&format!("way of {}", t.name), ends(table, &moved, t).1, want, 1e-3 * want)?;
    }
    Ok(())
}

/// The policy's step: log-probabilities, entropies, the clipped loss and its gradient.
pub(crate) fn step(name: &str, mut device: Device) -> Result<(), Failed> {
    let all = golden();
    let (adamw, rate) = adamw(&all);
    let g = &all["step"][name];
    let c: Case = case(name);
    let rows: Vec<Vec<u32>> = serde_json::from_value(g["ids"].clone()).unwrap();
    let targets: Vec<Vec<i32>> = serde_json::from_value(g["targets"].clone()).unwrap();
    let (b, t) = (rows.len(), rows[0].len());
    let (ids, targets) = (rows.concat(), targets.concat());
    let acted = |all: &[f32]| -> Vec<f32> {
        all.iter().zip(&targets).filter(|(_, t)| **t != IGNORE_INDEX).map(|(x, _)| *x).collect()
    };
    let batch = MicroBatch { ids: &ids, targets: &targets, starts: None };
    let mut policy = PolicyLearner::new(&mut device, &c.config, b, t, adamw)?;
    let slab = c.slab(policy.table());
    policy.write_params(&mut device, &slab)?;

    let logprobs = policy.logprobs(&mut device, batch)?;
    let new = acted(&logprobs);
    for (got, want) in new.iter().zip(floats(&g["logprobs"])) {
        close("logprob", f64::from(*got), want, 1e-5 * want.abs().max(1.0))?;
    }
    let entropies = policy.entropies(&mut device)?;
    for (got, want) in acted(&entropies).iter().zip(floats(&g["entropies"])) {
        close("entropy", f64::from(*got), want, 1e-5 * want.abs().max(1.0))?;
    }
    let elsewhere = logprobs.iter().chain(&entropies).zip(targets.iter().cycle());
    assert!(elsewhere.filter(|(_, t)| **t == IGNORE_INDEX).all(|(x, _)| *x == 0.0), "rows without a target are 0");
    // The reference is scored by an evaluator: at the start the two must agree.
    let mut eval = Evaluator::new(&mut device, &c.config, policy.params(), b, t)?;
    for (a, b) in eval.losses(&mut device, &ids, &targets, None)?.iter().zip(&logprobs) {
        close("evaluator", f64::from(-a), f64::from(*b), 1e-6)?;
    }

    let (old, advantages) = (singles(&g["old"]), singles(&g["advantages"]));
    let tokens = PolicyTokens { new: &new, old: &old, reference: &[], advantages: &advantages, lengths: &[new.len()] };
    let loss = policy_loss(&tokens, &Objective::ppo(number(&g["clip"]) as f32))?;
    assert!(loss.clip_fraction > 0.1 && loss.clip_fraction < 0.9, "{}", loss.clip_fraction);
    close("loss", loss.loss, number(&g["loss"]), 1e-5)?;
    let mut rest = loss.weights.iter();
    let mut weight = |t: &i32| if *t == IGNORE_INDEX { f32::NAN } else { *rest.next().unwrap() };
    let weights: Vec<f32> = targets.iter().map(&mut weight).collect();
    policy.backward(&mut device, batch, &weights)?;
    let grads = policy.read_grads(&mut device)?;
    let mut ticket = policy.update(&mut device, rate, loss.loss as f32)?;
    let outcome = StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited"));
    assert!(outcome.applied && outcome.loss == loss.loss as f32);
    close("grad_norm", outcome.grad_norm.into(), number(&g["grad_norm"]), 1e-4 * number(&g["grad_norm"]))?;
    let [after, ..] = policy.read_state(&mut device)?;
    learnt(g, rate, policy.table(), [&slab, &grads, &after])?;

    // The same in two micro-batches, both scored before the first backward pass.
    let mut halves = PolicyLearner::new(&mut device, &c.config, b / 2, t, adamw)?;
    halves.write_params(&mut device, &slab)?;
    let half = ids.len() / 2;
    let batches: Vec<MicroBatch<'_>> = ids
        .chunks(half)
        .zip(targets.chunks(half))
        .map(|(ids, targets)| MicroBatch { ids, targets, starts: None })
        .collect();
    for (batch, want) in batches.iter().zip(logprobs.chunks(half)) {
        for (got, want) in halves.logprobs(&mut device, *batch)?.iter().zip(want) {
            close("logprob of a half", f64::from(*got), f64::from(*want), 1e-6 * f64::from(want.abs().max(1.0)))?;
        }
    }
    for (batch, weights) in batches.iter().zip(weights.chunks(half)) {
        halves.backward(&mut device, *batch, weights)?;
    }
    let grads = halves.read_grads(&mut device)?;
    halves.update(&mut device, rate, 0.0)?;
    let [after, ..] = halves.read_state(&mut device)?;
    learnt(g, rate, halves.table(), [&slab, &grads, &after])
}

/// DPO's step: sums over answers, the loss and its gradient; the first two rows are preferred to the last two.
pub(crate) fn pairs(name: &str, mut device: Device) -> Result<(), Failed> {
    let all = golden();
    let (adamw, rate) = adamw(&all);
    let g = &all["pairs"][name];
    let c: Case = case(name);
    let rows: Vec<Vec<u32>> = serde_json::from_value(g["ids"].clone()).unwrap();
    let targets: Vec<Vec<i32>> = serde_json::from_value(g["targets"].clone()).unwrap();
    let lengths: Vec<usize> = targets.iter().map(|row| row.iter().filter(|t| **t != IGNORE_INDEX).count()).collect();
    let (b, t) = (rows.len(), rows[0].len());
    let (ids, targets) = (rows.concat(), targets.concat());
    let batch = MicroBatch { ids: &ids, targets: &targets, starts: None };
    let mut policy = PolicyLearner::new(&mut device, &c.config, b, t, adamw)?;
    let slab = c.slab(policy.table());
    policy.write_params(&mut device, &slab)?;
    let logprobs = policy.logprobs(&mut device, batch)?;
    let acted: Vec<f32> = logprobs.iter().zip(&targets).filter(|(_, t)| **t != IGNORE_INDEX).map(|(x, _)| *x).collect();
    let ours = sums(&acted, &lengths)?;
    for (got, want) in ours.iter().zip(floats(&g["sums"])) {
        close("sum", f64::from(*got), want, 1e-5 * want.abs())?;
    }
    let reference = singles(&g["reference"]);
    let pair = |i: usize| DpoPair {
        chosen: ours[i],
        rejected: ours[i + 2],
        chosen_reference: reference[i],
        rejected_reference: reference[i + 2],
    };
    let loss = dpo_loss(&[pair(0), pair(1)], number(&g["beta"]) as f32, 0.0);
    close("loss", loss.loss, number(&g["loss"]), 1e-5)?;
    let mut rest = spread(&[loss.chosen_weights, loss.rejected_weights].concat(), &lengths)?.into_iter();
    let weights: Vec<f32> =
        targets.iter().map(|t| if *t == IGNORE_INDEX { f32::NAN } else { rest.next().unwrap() }).collect();
    policy.backward(&mut device, batch, &weights)?;
    let grads = policy.read_grads(&mut device)?;
    policy.update(&mut device, rate, loss.loss as f32)?;
    let [after, ..] = policy.read_state(&mut device)?;
    learnt(g, rate, policy.table(), [&slab, &grads, &after])
}

/// PPO with a pretraining term: the gradients of both losses are summed before one update.
pub(crate) fn ptx(name: &str, mut device: Device) -> Result<(), Failed> {
    let all = golden();
    let (adamw, rate) = adamw(&all);
    let g = &all["ptx"][name];
    let c: Case = case(name);
    let texts: Vec<Vec<Vec<u32>>> = serde_json::from_value(g["texts"].clone()).unwrap();
    let (b, t) = (texts[0].len(), texts[0][0].len() - 1);
    let mut policy = PolicyLearner::new(&mut device, &c.config, b, t, adamw)?;
    let slab = c.slab(policy.table());
    policy.write_params(&mut device, &slab)?;
    for (i, rows) in texts.iter().enumerate() {
        let ids: Vec<u32> = rows.iter().flat_map(|row| row[..t].to_vec()).collect();
        let targets: Vec<i32> = rows.iter().flat_map(|row| row[1..].iter().map(|id| *id as i32)).collect();
        let batch = MicroBatch { ids: &ids, targets: &targets, starts: None };
        let new = policy.logprobs(&mut device, batch)?;
        let weights = if i == 0 {
            let advantages = singles(&g["advantages"]);
            let tokens =
                PolicyTokens { new: &new, old: &new, reference: &[], advantages: &advantages, lengths: &[new.len()] };
            let loss = policy_loss(&tokens, &Objective::ppo(0.2))?;
            close("policy loss", loss.loss, number(&g["policy"]), 1e-5)?;
            loss.weights
        } else {
            let mean = -new.iter().map(|x| f64::from(*x)).sum::<f64>() / new.len() as f64;
            close("language loss", mean, number(&g["language"]), 1e-5)?;
            vec![(number(&g["coefficient"]) / new.len() as f64) as f32; new.len()]
        };
        policy.backward(&mut device, batch, &weights)?;
    }
    let grads = policy.read_grads(&mut device)?;
    policy.update(&mut device, rate, 0.0)?;
    let [after, ..] = policy.read_state(&mut device)?;
    learnt(g, rate, policy.table(), [&slab, &grads, &after])
}

/// The reward model: scores at the last token, a pairwise loss and its gradient.
pub(crate) fn score(name: &str, mut device: Device) -> Result<(), Failed> {
    let all = golden();
    let (adamw, rate) = adamw(&all);
    let g = &all["score"][name];
    let c: Case = case(name);
    let rows: Vec<Vec<u32>> = serde_json::from_value(g["ids"].clone()).unwrap();
    let lengths = sizes(&g["lengths"]);
    let (b, t, ids) = (rows.len(), rows[0].len(), rows.concat());
    let mut model = ScalarLearner::new(&mut device, &c.config, b, t, adamw)?;
    let table = ParamTable::new(&c.config);
    let mut slab = model.table().from_language_model(&table, &c.slab(&table), 0.0, 1)?;
    let rows = TokenRows { ids: &ids, starts: None };
    model.write_params(&mut device, &slab)?;
    assert!(model.scores(&mut device, rows)?.iter().all(|s| *s == 0.0), "a head of zeros scores zero");
    let head = model.table().tensors.iter().find(|t| t.name == "score.weight").expect("a score");
    assert_eq!(head.shape, [1, c.config.hidden_size]);
    slab[head.offset..head.offset + head.len()].copy_from_slice(&singles(&g["head"]));
    model.write_params(&mut device, &slab)?;

    let scores = model.scores(&mut device, rows)?;
    for (row, (want, length)) in g["every"].as_array().unwrap().iter().zip(&lengths).enumerate() {
        assert_eq!(want.as_array().unwrap().len(), *length);
        for (i, want) in floats(want).into_iter().enumerate() {
            close(&format!("score {row},{i}"), f64::from(scores[row * t + i]), want, 1e-5 * want.abs().max(1.0))?;
        }
    }
    let last: Vec<usize> = lengths.iter().enumerate().map(|(row, n)| row * t + n - 1).collect();
    alike_loosely(&last.iter().map(|at| scores[*at]).collect::<Vec<_>>(), &g["scores"])?;
    let mut eval = ScalarEvaluator::new(&mut device, &c.config, model.params(), b, t)?;
    for (a, b) in eval.scores(&mut device, rows)?.iter().zip(&scores) {
        close("evaluator", f64::from(*a), f64::from(*b), 1e-6 * f64::from(b.abs().max(1.0)))?;
    }

    let pairs: Vec<Pair> = (0..3).map(|i| Pair::new(scores[last[i]], scores[last[i + 3]])).collect();
    let loss = pairwise_loss(&pairs, number(&g["centre"]) as f32);
    close("loss", loss.loss, number(&g["loss"]), 1e-5)?;
    let mut dscores = vec![0.0; ids.len()];
    for (at, d) in last.iter().zip(loss.dchosen.iter().chain(&loss.drejected)) {
        dscores[*at] = *d;
    }
    model.backward(&mut device, rows, &dscores)?;
    let grads = model.read_grads(&mut device)?;
    let mut ticket = model.update(&mut device, rate, loss.loss as f32)?;
    let outcome = StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited"));
    assert!(outcome.applied && outcome.loss == loss.loss as f32);
    let [after, ..] = model.read_state(&mut device)?;
    learnt(g, rate, model.table(), [&slab, &grads, &after])
}

fn alike_loosely(got: &[f32], want: &Value) -> Result<(), Failed> {
    for (got, want) in got.iter().zip(floats(want)) {
        close("pooled score", f64::from(*got), want, 1e-5 * want.abs().max(1.0))?;
    }
    Ok(())
}
