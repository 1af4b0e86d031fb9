//! Learners compared with one another: results that must agree, to the bit where only the path differs.

use danlu::{
    compute::{
        ComputeError, Device,
        rng::{Purpose, below, normal},
    },
    nn::{
        AdamW, BatchDecoder, Decoder, IGNORE_INDEX, Learner, MicroBatch, ModelConfig, ParamTable, PolicyLearner,
        Prompt, Sampling, ScalarEvaluator, ScalarLearner, StepOutcome, TokenRows, draw,
    },
};
use libtest_mimic::Failed;

use super::close;

const VOCAB: usize = 101;
const B: usize = 4;
const T: usize = 64;

fn config() -> ModelConfig {
    ModelConfig { dropout: 0.3, ..ModelConfig::llama(2, 32, 4, 2, 80, VOCAB, T) }
}

/// Rows of two examples each, every `nth` position trained on.
struct Rows {
    ids: Vec<u32>,
    targets: Vec<i32>,
    starts: Vec<u32>,
}

fn rows(stream: u64, nth: usize) -> Rows {
    let id = |i: usize| below(5, Purpose::Bench, stream, i as u64, VOCAB) as u32;
    let target = |i: usize| if i.is_multiple_of(nth) { id(i + 1) as i32 } else { IGNORE_INDEX };
    let start = |i: usize| if i % T < 20 + i / T { 0 } else { (20 + i / T) as u32 };
    let all = 0..B * T;
    Rows {
        ids: all.clone().map(id).collect(),
        targets: all.clone().map(target).collect(),
        starts: all.map(start).collect(),
    }
}

impl Rows {
    fn batch(&self, packed: bool) -> MicroBatch<'_> {
        MicroBatch { ids: &self.ids, targets: &self.targets, starts: packed.then_some(&self.starts) }
    }

    fn tokens(&self, packed: bool) -> TokenRows<'_> {
        TokenRows { ids: &self.ids, starts: packed.then_some(&self.starts) }
    }

    fn trained(&self) -> usize {
        self.targets.iter().filter(|t| **t != IGNORE_INDEX).count()
    }
}

/// Larger than initial weights, so that attention is not uniform.
fn slab(table: &ParamTable) -> Vec<f32> {
    table.initial(5).iter().map(|x| x * 3.0).collect()
}

fn policy(device: &mut Device) -> Result<PolicyLearner, ComputeError> {
    let mut policy = PolicyLearner::new(device, &config(), B, T, AdamW::default())?;
    let slab = slab(policy.table());
    policy.write_params(device, &slab)?;
    Ok(policy)
}

fn noise(stream: u64, n: usize) -> Vec<f32> {
    (0..n).map(|i| normal(6, Purpose::Bench, stream, i as u64)).collect()
}

fn same(what: &str, a: &[f32], b: &[f32]) -> Result<(), Failed> {
    let differ = a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    if differ == 0 && a.len() == b.len() {
        Ok(())
    } else {
        Err(format!("{what}: {differ} of {} differ", a.len()).into())
    }
}

/// With weights of 1 / trained tokens a policy's step equals a learner's to the bit, whichever head is used.
pub(crate) fn supervised(mut device: Device) -> Result<(), Failed> {
    let plain = ModelConfig { dropout: 0.0, ..config() };
    let mut learner = Learner::new(&mut device, &plain, B, T, AdamW::default())?;
    let start = slab(learner.table());
    learner.write_params(&mut device, &start)?;
    let mut policy = policy(&mut device)?;
    // All rows; an eighth; more than half of them, in two micro-batches, plain and packed.
    let steps = [vec![rows(1, 1)], vec![rows(2, 9)], vec![rows(3, 1), rows(4, 3)]];
    for (i, step) in steps.iter().enumerate() {
        let batches: Vec<MicroBatch<'_>> = step.iter().map(|r| r.batch(i > 0)).collect();
        let mut ticket = learner.step(&mut device, &batches, 1e-2, 0, i)?;
        let want = StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited"));
        let share = 1.0 / step.iter().map(Rows::trained).sum::<usize>() as f32;
        let mut loss = 0.0;
        for batch in &batches {
            // With and without reading log-probabilities first.
            if i != 1 {
                loss -= policy.logprobs(&mut device, *batch)?.iter().map(|x| f64::from(*x)).sum::<f64>();
            }
            policy.backward(&mut device, *batch, &vec![share; B * T])?;
        }
        same("gradients", &policy.read_grads(&mut device)?, &learner.read_grads(&mut device)?)?;
        let loss = (loss * f64::from(share)) as f32;
        let mut ticket = policy.update(&mut device, 1e-2, loss)?;
        let got = StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited"));
        assert!(got.applied && got.grad_norm.to_bits() == want.grad_norm.to_bits(), "{got:?} and {want:?}");
        if i != 1 {
            close("loss", f64::from(got.loss), f64::from(want.loss), 1e-5)?;
        }
        let (a, b) = (policy.read_state(&mut device)?, learner.read_state(&mut device)?);
        for (a, b) in a.iter().zip(&b).take(3) {
            same("state", a, b)?;
        }
    }
    Ok(())
}

/// Gradients accumulate whatever is scored in between, and are cleared by an update.
pub(crate) fn accumulation(mut device: Device) -> Result<(), Failed> {
    let (one, two) = (rows(1, 1), rows(2, 9));
    let (w1, w2) = (noise(1, B * T), noise(2, B * T));
    let mut a = policy(&mut device)?;
    a.backward(&mut device, one.batch(true), &w1)?;
    a.backward(&mut device, two.batch(false), &w2)?;
    let want = a.read_grads(&mut device)?;
    let mut b = policy(&mut device)?;
    b.logprobs(&mut device, two.batch(true))?;
    let first = b.logprobs(&mut device, one.batch(true))?;
    b.logprobs(&mut device, two.batch(false))?;
    let entropies = b.entropies(&mut device)?;
    b.backward(&mut device, one.batch(true), &w1)?;
    same("entropies of what was scored last", &b.entropies(&mut device)?, &entropies)?;
    let among = |(h, t): (&f32, &i32)| (*t == IGNORE_INDEX) == (*h == 0.0) && *h <= (VOCAB as f32).ln();
    assert!(entropies.iter().zip(&two.targets).all(among), "entropies of the rows with a target");
    same("scored again", &b.logprobs(&mut device, one.batch(true))?, &first)?;
    b.backward(&mut device, two.batch(false), &w2)?;
    same("gradients", &b.read_grads(&mut device)?, &want)?;
    // After an update accumulation starts with the new parameters.
    b.update(&mut device, 1e-2, 0.0)?;
    assert!(b.logprobs(&mut device, one.batch(true))? != first, "the parameters are others");
    let state = b.read_state(&mut device)?;
    b.backward(&mut device, one.batch(true), &w1)?;
    a.write_state(&mut device, &state)?;
    a.backward(&mut device, one.batch(true), &w1)?;
    same("gradients after an update", &b.read_grads(&mut device)?, &a.read_grads(&mut device)?)?;
    // Continues from a saved state to the bit.
    a.update(&mut device, 1e-2, 1.0)?;
    b.update(&mut device, 1e-2, 1.0)?;
    for (a, b) in a.read_state(&mut device)?.iter().zip(&b.read_state(&mut device)?) {
        same("state", a, b)?;
    }
    Ok(())
}

/// Packed examples have the same scores as separate ones; the evaluator agrees; gradients match finite differences.
pub(crate) fn scalars(mut device: Device) -> Result<(), Failed> {
    let mut model = ScalarLearner::new(&mut device, &config(), B, T, AdamW::default())?;
    let lm = ParamTable::new(&config());
    let start = model.table().from_language_model(&lm, &slab(&lm), 0.3, 9)?;
    model.write_params(&mut device, &start)?;
    let packed = rows(1, 1);
    let scores = model.scores(&mut device, packed.tokens(true))?;
    assert!(scores != model.scores(&mut device, packed.tokens(false))?, "the layout matters");
    let mut eval = ScalarEvaluator::new(&mut device, &config(), model.params(), B, T)?;
    for (a, b) in eval.scores(&mut device, packed.tokens(true))?.iter().zip(&scores) {
        close("evaluator", f64::from(*a), f64::from(*b), 1e-6)?;
    }
    // The second example of each row, moved to its row's start.
    let mut alone = vec![7; B * T];
    for row in 0..B {
        let first = row * T + 20 + row;
        alone[row * T..][..T - 20 - row].copy_from_slice(&packed.ids[first..(row + 1) * T]);
    }
    let lone = eval.scores(&mut device, TokenRows { ids: &alone, starts: None })?;
    for row in 0..B {
        for i in 0..T - 20 - row {
            close("alone", f64::from(lone[row * T + i]), f64::from(scores[row * T + 20 + row + i]), 1e-5)?;
        }
    }
    // Along a random direction of the parameters Σ d · score changes as the gradient predicts.
    let d = noise(3, B * T);
    model.backward(&mut device, packed.tokens(true), &d)?;
    let grads = model.read_grads(&mut device)?;
    let direction = noise(4, start.len());
    let mut along = |h: f32| -> Result<f64, ComputeError> {
        let moved: Vec<f32> = start.iter().zip(&direction).map(|(x, v)| x + h * v).collect();
        model.write_params(&mut device, &moved)?;
        let scores = model.scores(&mut device, packed.tokens(true))?;
        Ok(scores.iter().zip(&d).map(|(s, d)| f64::from(*s) * f64::from(*d)).sum())
    };
    let h = 1e-4;
    let slope = (along(h)? - along(-h)?) / (2.0 * f64::from(h));
    let want: f64 = grads.iter().zip(&direction).map(|(g, v)| f64::from(*g) * f64::from(*v)).sum();
    let size = grads.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    close("slope", slope, want, 1e-2 * size)
}

/// Along a random direction of the parameters Σ weight · (−log p) changes as the gradient predicts.
pub(crate) fn slopes(mut device: Device) -> Result<(), Failed> {
    let mut policy = policy(&mut device)?;
    let start = slab(policy.table());
    for nth in [1, 9] {
        let (block, weights, direction) = (rows(1, nth), noise(3, B * T), noise(4, start.len()));
        policy.write_params(&mut device, &start)?;
        policy.backward(&mut device, block.batch(true), &weights)?;
        let grads = policy.read_grads(&mut device)?;
        let mut along = |h: f32| -> Result<f64, ComputeError> {
            let moved: Vec<f32> = start.iter().zip(&direction).map(|(x, v)| x + h * v).collect();
            policy.write_params(&mut device, &moved)?;
            let logprobs = policy.logprobs(&mut device, block.batch(true))?;
            Ok(logprobs.iter().zip(&weights).map(|(p, w)| -f64::from(*p) * f64::from(*w)).sum())
        };
        let h = 1e-4;
        let slope = (along(h)? - along(-h)?) / (2.0 * f64::from(h));
        let want: f64 = grads.iter().zip(&direction).map(|(g, v)| f64::from(*g) * f64::from(*v)).sum();
        let size = grads.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        close("slope", slope, want, 1e-2 * size)?;
    }
    Ok(())
}

/// Rollouts from the cache have the log-probabilities of the scoring pass, including each answer's end; another
/// temperature gives another distribution.
pub(crate) fn rollouts(mut device: Device) -> Result<(), Failed> {
    let mut policy = policy(&mut device)?;
    let mut decoder = BatchDecoder::new(&mut device, &config(), policy.params(), 3, T)?;
    let sampling = |seed: u64, temperature: f32| Sampling { temperature, top_k: 0, seed, ..Sampling::default() };
    // More prompts than rows, with different lengths.
    let prompt = |i: usize| -> Vec<u32> { (0..3 + 2 * i).map(|j| (i * 17 + j * 5) as u32 % 101).collect() };
    let prompts = |temperature: f32| -> Vec<Prompt> {
        let one = |i| Prompt { ids: prompt(i), max_new_tokens: 30, sampling: sampling(i as u64, temperature) };
        (0..2 * B).map(one).collect()
    };
    let end = 100;
    let (mut ends, mut compared) = (0, 0);
    let mut answers = decoder.complete(&mut device, &prompts(1.0), VOCAB, Some(end))?;
    // Seeds that reach an end are rare, so one answer is cut by using one of its tokens as the end.
    let cut = answers[0].ids[5];
    answers.truncate(B);
    answers.extend(decoder.complete(&mut device, &prompts(1.0), VOCAB, Some(cut))?.into_iter().skip(B));
    for (half, (answers, end)) in answers.chunks(B).zip([end, cut]).enumerate() {
        let (mut ids, mut targets) = (vec![0; B * T], vec![IGNORE_INDEX; B * T]);
        for (row, answer) in answers.iter().enumerate() {
            let prompt = prompt(half * B + row);
            let actions: Vec<u32> = answer.ids.iter().copied().chain(answer.ended.then_some(end)).collect();
            assert_eq!(actions.len(), answer.logprobs.len());
            ends += usize::from(answer.ended);
            let text: Vec<u32> = prompt.iter().copied().chain(answer.ids.iter().copied()).collect();
            ids[row * T..][..text.len()].copy_from_slice(&text);
            for (i, action) in actions.iter().enumerate() {
                targets[row * T + prompt.len() - 1 + i] = *action as i32;
            }
        }
        let batch = MicroBatch { ids: &ids, targets: &targets, starts: None };
        let scored = policy.logprobs(&mut device, batch)?;
        let mut scored = scored.iter().zip(&targets).filter(|(_, t)| **t != IGNORE_INDEX).map(|(p, _)| *p);
        for (drawn, scored) in answers.iter().flat_map(|a| &a.logprobs).zip(&mut scored) {
            close("sampler's log-probability", f64::from(*drawn), f64::from(scored), 1e-4)?;
            compared += 1;
        }
        assert_eq!(scored.next(), None);
    }
    assert!(compared > 100 && ends > 0, "{compared} tokens, {ends} ends");
    let cold = decoder.complete(&mut device, &prompts(0.5), VOCAB, Some(end))?;
    assert!(cold[0].logprobs != answers[0].logprobs, "the temperature matters");
    let greedy = decoder.complete(&mut device, &prompts(0.0), VOCAB, None)?;
    assert!(greedy.iter().all(|a| a.logprobs == [0.0; 30]), "the likeliest token is certain");
    Ok(())
}

/// Tokens sampled on the device equal those that the host samples from its logits with the same seed, and so do their
/// log-probabilities; alone or in a batch, and in successive texts of a row.
pub(crate) fn draws(mut device: Device) -> Result<(), Failed> {
    let policy = policy(&mut device)?;
    let plain = Sampling { temperature: 1.3, top_k: 0, ..Sampling::default() };
    let ways = [
        Sampling::greedy(),
        plain,
        Sampling { top_k: 20, ..plain },
        Sampling { top_k: 30, top_p: 0.7, ..plain },
        // Only the host supports this.
        Sampling { top_p: 0.8, ..plain },
        Sampling { repetition_penalty: 1.2, ..plain },
    ];
    let mut batch = BatchDecoder::new(&mut device, &config(), policy.params(), 3, T)?;
    let mut one = Decoder::new(&mut device, &config(), policy.params(), T)?;
    for how in ways {
        let prompt = |i: usize| Prompt {
            ids: (0..=3 * i).map(|j| (i * 17 + j * 5) as u32 % 101).collect(),
            max_new_tokens: 70 - 9 * i,
            sampling: Sampling { seed: 7 + i as u64, ..how },
        };
        let prompts: Vec<Prompt> = (0..7).map(prompt).collect();
        let completions = batch.complete(&mut device, &prompts, VOCAB - 3, Some(5))?;
        for (i, (p, completion)) in prompts.iter().zip(&completions).enumerate() {
            let (mut text, mut at, mut unread) = (p.ids.clone(), 0, p.ids.len());
            one.reset();
            loop {
                let logits = one.feed(&mut device, &text[text.len() - unread..])?;
                let want = draw(&logits[..VOCAB - 3], &text, &p.sampling, text.len() as u64);
                let got = completion.ids.get(at).copied().or(completion.ended.then_some(5));
                if got != Some(want.id) {
                    return Err(format!("{how:?}, prompt {i}, token {at}: {got:?}, the host draws {want:?}").into());
                }
                close("log-probability", f64::from(completion.logprobs[at]), f64::from(want.logprob), 1e-4)?;
                (text, at, unread) = ([text.as_slice(), &[want.id]].concat(), at + 1, 1);
                if want.id == 5 || at == p.max_new_tokens || text.len() > T {
                    break;
                }
            }
            assert_eq!(at, completion.logprobs.len(), "{how:?}, prompt {i} ends elsewhere");
            one.reset();
            let (mut alone, room) = (p.ids.clone(), p.ids.len() + p.max_new_tokens.min(T + 1 - p.ids.len()));
            while alone.len() < room && alone.get(p.ids.len()..).is_some_and(|new| !new.contains(&5)) {
                let left = room - alone.len();
                let drawn = one.draw(&mut device, &alone, &p.sampling, VOCAB - 3, left, None)?;
                assert!(!drawn.is_empty() && drawn.len() <= left);
                alone.extend(drawn.iter().map(|d| d.id));
            }
            assert_eq!(alone[..text.len()], text, "{how:?}, prompt {i} alone");
        }
    }
    Ok(())
}

/// Invalid calls are refused with a message, and a NaN weight changes nothing.
pub(crate) fn refusals(mut device: Device) -> Result<(), Failed> {
    let mut policy = policy(&mut device)?;
    let mut model = ScalarLearner::new(&mut device, &config(), B, T, AdamW::default())?;
    let block = rows(1, 9);
    let short = MicroBatch { ids: &block.ids[1..], ..block.batch(false) };
    let odd = MicroBatch { targets: &vec![VOCAB as i32; B * T], ..block.batch(false) };
    let after = vec![1; B * T];
    let late = TokenRows { ids: &block.ids, starts: Some(&after) };
    let strange = vec![VOCAB as u32; B * T];
    for (words, result) in [
        ("there is no gradient", policy.update(&mut device, 0.1, 0.0).map(|_| ())),
        ("there is no gradient", model.update(&mut device, 0.1, 0.0).map(|_| ())),
        ("255 ids and 256 targets", policy.logprobs(&mut device, short).map(|_| ())),
        ("target 101 is neither", policy.logprobs(&mut device, odd).map(|_| ())),
        ("1 weights were given", policy.backward(&mut device, block.batch(false), &[1.0])),
        ("255 ids were given", model.scores(&mut device, TokenRows { ids: short.ids, starts: None }).map(|_| ())),
        ("which is after it", model.scores(&mut device, late).map(|_| ())),
        ("outside the vocabulary", model.scores(&mut device, TokenRows { ids: &strange, starts: None }).map(|_| ())),
        ("2 gradients were given", model.backward(&mut device, block.tokens(false), &[1.0, 2.0])),
        ("not of a scalar", ScalarEvaluator::new(&mut device, &config(), policy.params(), B, T).map(|_| ())),
    ] {
        let error = result.err().ok_or(format!("{words}: it was taken"))?.to_string();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    }
    let lm = ParamTable::new(&config());
    assert!(model.table().from_language_model(&lm, &[0.0; 3], 0.0, 0).is_err(), "a short slab");
    let other = ParamTable::new(&ModelConfig::llama(2, 48, 4, 2, 80, VOCAB, T));
    let error = model.table().from_language_model(&other, &vec![0.0; other.slab_len], 0.0, 0);
    assert!(error.is_err_and(|e| e.to_string().contains("embed_tokens")), "another width");

    let before = policy.read_state(&mut device)?;
    let mut weights = vec![0.1; B * T];
    weights[9] = f32::NAN;
    policy.backward(&mut device, block.batch(false), &weights)?;
    let mut ticket = policy.update(&mut device, 0.1, 0.0)?;
    let outcome = StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited"));
    assert!(!outcome.applied, "{outcome:?}");
    policy.backward(&mut device, block.batch(false), &vec![0.1; B * T])?;
    let mut ticket = policy.update(&mut device, 0.1, f32::NAN)?;
    let outcome = StepOutcome::from_control(&device.collect(&mut ticket, true)?.expect("it waited"));
    assert!(!outcome.applied, "{outcome:?}");
    for (a, b) in policy.read_state(&mut device)?.iter().zip(&before).take(3) {
        same("state", a, b)?;
    }
    Ok(())
}
