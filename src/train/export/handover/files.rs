//! The files of a hand-over.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::plan::width;
use crate::{
    base::{StageId, clean},
    data::{Batcher, Role, Shape, Tokenizer},
    nn::{Head, ModelConfig, ParamTable},
    store::{NewFile, tensors_len, write_tensors},
    train::{
        error::TrainError,
        export::{
            dataset::{line, messages_of_pair},
            folder,
            npy::npy,
        },
        run::{checkpoint::for_use, model_folder},
        stages::given::{GivenPairs, GivenPrompts, GivenRows, HeldRows, as_io, numbers},
    },
};

/// Bytes of a part of the rows.
const PART: usize = 256 << 20;
/// Numbers of a token in a row: its id, its target, the start of its example.
const NUMBERS: usize = 3;

/// The model that the first step changes.
pub(super) fn model(
    (config, head): (&ModelConfig, Head),
    table: Arc<ParamTable>,
    params: Vec<f32>,
    tokenizer: &Tokenizer,
    stage: StageId,
) -> Result<Vec<NewFile<'static>>, TrainError> {
    let text = clean::json_pretty(&config.to_json_as(head)).unwrap_or_default() + "\n";
    let bytes = tensors_len(&model_folder::tensors(&table, &params), &BTreeMap::new())?;
    let mut files = vec![
        NewFile::bytes("config.json", text),
        NewFile::writer("model.safetensors", bytes, move |to| {
            write_tensors(to, &model_folder::tensors(&table, &params), &BTreeMap::new())
        }),
    ];
    files.extend(for_use(config, tokenizer, stage));
    Ok(files.into_iter().map(|file| file.within("model")).collect())
}

/// The rows of all steps, in parts of whole steps, and the tokens of each micro-batch.
pub(super) fn rows(batcher: Batcher, shape: Shape, done: usize, steps: usize) -> Vec<NewFile<'static>> {
    let each = shape.rows * shape.micros;
    let in_part = (PART / (each * shape.window * NUMBERS * size_of::<i32>())).max(1);
    // The parts are written one after another, so that they can share what draws them.
    let batcher = Arc::new(Mutex::new(batcher));
    let tokens = Arc::new(Mutex::new(Vec::with_capacity(steps * shape.micros)));
    let mut files = Vec::new();
    for (part, first) in (0..steps).step_by(in_part).enumerate() {
        let last = (first + in_part).min(steps);
        let (batcher, tokens) = (Arc::clone(&batcher), Arc::clone(&tokens));
        let lengths = [(last - first) * each, NUMBERS, shape.window];
        files.push(npy(&format!("rows/rows-{part:05}.npy"), "<i4", &lengths, move |to| {
            let mut batcher = batcher.lock().unwrap_or_else(PoisonError::into_inner);
            for step in first..last {
                for micro in 0..shape.micros {
                    let batch = batcher.batch((done + step) as u64, micro).map_err(as_io)?;
                    for row in 0..shape.rows {
                        let cut = row * shape.window..(row + 1) * shape.window;
                        let starts = batch.starts.as_ref().map(|starts| &starts[cut.clone()]);
                        let row: Vec<i32> = numbers(&batch.ids[cut.clone()], &batch.targets[cut], starts).collect();
                        to.write_all(bytemuck::cast_slice(&row))?;
                    }
                    tokens.lock().unwrap_or_else(PoisonError::into_inner).push(batch.tokens as i32);
                }
            }
            Ok(())
        }));
    }
    files.push(npy("rows/tokens.npy", "<i4", &[steps * shape.micros], move |to| {
        to.write_all(bytemuck::cast_slice(&tokens.lock().unwrap_or_else(PoisonError::into_inner)))
    }));
    files
}

/// Token streams in place of rows, and what the script knows of each.
pub(super) fn shards(given: &GivenRows, context: usize) -> Result<(Vec<NewFile<'static>>, Vec<Value>), TrainError> {
    let (mut files, mut told) = (Vec::new(), Vec::new());
    for (at, (text, source)) in given.texts.iter().zip(&given.sources).enumerate() {
        if source.weight <= 0.0 {
            continue;
        }
        if text.train.len() <= context + 1 {
            return Err(TrainError::Input(format!(
                "the source {} has {} tokens, fewer than a row of {context}; leave it out or lower --steps, so that rows are written",
                text.name,
                text.train.len()
            )));
        }
        let (name, stream) = (format!("shards/source-{at:02}.npy"), text.train.clone());
        told.push(json!({"source": text.name, "ids": name, "share": source.weight, "tokens": stream.len()}));
        files.push(npy(&name, "<u4", &[stream.len()], move |to| {
            let mut result = Ok(());
            let each = stream.each(|ids| {
                if result.is_ok() {
                    result = to.write_all(bytemuck::cast_slice(ids));
                }
            });
            result.and(each.map_err(as_io))
        }));
    }
    Ok((files, told))
}

/// Held-out rows, and what the script knows of them.
pub(super) fn held_out(name: &str, held: HeldRows, window: usize) -> (NewFile<'static>, Value) {
    let of: Vec<Value> = held
        .of
        .iter()
        .map(|of| {
            json!({"source": of.source, "rows": of.rows, "scored": of.scored, "bits_per_nat": of.bits_per_nat, "counts": of.counts})
        })
        .collect();
    let lengths = [held.rows.len() / (NUMBERS * window), NUMBERS, window];
    let rows = held.rows;
    let file =
        npy(&format!("heldout/{name}.npy"), "<i4", &lengths, move |to| to.write_all(bytemuck::cast_slice(&rows)));
    (file, json!({"sources": of, "bits_per_nat": held.bits_per_nat}))
}

/// Pairs as messages, the held-out ones, and which each step draws.
pub(super) fn pairs(given: &GivenPairs) -> Result<Vec<NewFile<'static>>, TrainError> {
    let mut texts = [String::new(), String::new()];
    for (text, pairs) in texts.iter_mut().zip([&given.train, &given.held_out]) {
        for pair in pairs {
            line(text, &messages_of_pair(pair))?;
        }
    }
    let [train, held_out] = texts;
    let (width, steps) = (width(&given.order), given.order.len());
    let (mut order, mut tokens) = (Vec::with_capacity(steps * width), Vec::with_capacity(steps));
    for step in &given.order {
        let drawn = step.iter().map(|at| *at as i32);
        order.extend(drawn.chain(std::iter::repeat(-1)).take(width));
        tokens.push(step.iter().map(|at| given.tokens[*at]).sum::<usize>() as i32);
    }
    Ok(vec![
        NewFile::bytes("preferences.jsonl", train),
        NewFile::bytes("heldout.jsonl", held_out),
        npy("rows/order.npy", "<i4", &[steps, width], move |to| to.write_all(bytemuck::cast_slice(&order))),
        npy("rows/tokens.npy", "<i4", &[steps], move |to| to.write_all(bytemuck::cast_slice(&tokens))),
    ])
}

/// Prompts as messages, one update after another, and the reward model.
pub(super) fn prompts(given: &GivenPrompts) -> Result<Vec<NewFile<'static>>, TrainError> {
    let mut text = String::new();
    for prompt in &given.asked {
        line(&mut text, &json!({"prompt": [{"role": Role::User, "content": prompt}]}))?;
    }
    let mut files = vec![NewFile::bytes("prompts.jsonl", text)];
    // What votes add to the scores is read by danlu alone.
    let model = folder(&given.reward)?.into_iter().filter(|file| file.name() != "taste.json");
    files.extend(model.map(|file| file.within("reward")));
    Ok(files)
}
