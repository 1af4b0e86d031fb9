//! The rows of pretraining and fine-tuning for another trainer: drawn as here, and the held-out rows that are measured
//! here.

use std::{f64::consts::LN_2, sync::Arc};

use super::{
    drawing::{Drawing, Texts},
    live_edits,
    run::{PRETRAIN, source_infos},
    task_scores::{self, MOST, SOME},
    validation::{MOST_ROWS, ROWS},
};
use crate::{
    base::shell,
    data::{self, Example, History, fill_row, plan},
    nn::{Head, ParamTable},
    train::{
        error::TrainError,
        stages::{
            given::{self, Given, GivenRows, HeldOf, HeldRows, Work},
            opening::Opening,
        },
    },
};

/// What the stage gives to another trainer.
pub(crate) fn give(o: &mut Opening<'_>) -> Result<Given, TrainError> {
    let (stage, dir) = (o.stage, shell::path(o.run.view().dir()));
    if o.model.dropout > 0.0 {
        return Err(TrainError::Input(format!(
            "model.dropout is {}, and LlamaForCausalLM has no dropout; set model.dropout = 0 in run.toml, or train {stage} in danlu",
            o.model.dropout
        )));
    }
    // Before anything is read or written: how far the newest checkpoint is.
    let there = o.run.view().checkpoints().list()?;
    given::target(o, there.iter().filter(|id| id.stage == stage).map(|id| id.step as usize).max().unwrap_or(0))?;
    let mut texts = Texts::read(o)?;
    let table = Arc::new(ParamTable::new(&texts.model));
    let now = live_edits::settings(&texts.corpus, texts.chats.as_ref(), o.plan);
    let first = History::new(&now.shares.of(false), live_edits::shape(o.plan))?;
    let resumed = o.resume(&texts.model, &table, &texts.corpus.tokenizer, first)?;
    let (mut state, slabs) = (resumed.state, resumed.slabs);
    let drawing = Drawing::new(o, &mut texts, &mut state, &now)?;
    let Drawing { mut batcher, settings, coming, first_by_hand, .. } = drawing;
    if let Some(entry) = coming.front() {
        return Err(TrainError::Input(format!(
            "{stage} was set back to step {}, and its edits from step {} on apply again, which a hand-over cannot carry; train past them first: danlu train --stage {stage} --run {dir} --steps {}",
            state.step,
            entry.step + 1,
            coming.back().map_or(entry.step, |last| last.step) + 1
        )));
    }
    let done = state.step as usize;
    let steps = given::target(o, done)?;
    // Demonstrations that the mix takes up at a later step, as the trainer would at that step.
    if let Some(first) = first_by_hand.filter(|first| (state.step + 1..state.step + steps as u64).contains(first)) {
        batcher.turn_to(first, &settings.shares.of(true), live_edits::shape(o.plan))?;
    }
    if done > 0 {
        o.notes.push(format!(
            "{stage} is handed over at step {done}: the moments of AdamW stay here and begin at zero there"
        ));
    }
    state.history = batcher.history().clone();
    let shares = batcher.history().newest().weights.clone();
    let pad = texts.model.pad_token_id.unwrap_or(0);
    let held = |rows, most| held_out(&texts, o.plan.context, pad, (rows, most));
    let (sample, whole) = (held(ROWS, SOME)?, held(MOST_ROWS, MOST)?);
    let Texts { corpus, chats, model } = texts;
    let sources = source_infos(&corpus, chats.as_ref(), &shares);
    let epoch_tokens = sources.iter().filter(|s| s.name != data::BY_HAND).map(|s| s.tokens as u64).sum();
    let packed = chats.is_some();
    let work = GivenRows { batcher, packed, sources, texts: Arc::clone(&corpus.packed), sample, whole };
    Ok(Given {
        model,
        head: Head::Language,
        table,
        params: slabs.map_or(resumed.params, |[params, ..]| params),
        tokenizer: corpus.tokenizer,
        state,
        steps,
        epoch_tokens,
        work: Work::Rows(Box::new(work)),
    })
}

/// The rows that validation measures: at most `rows` of each text and `most` examples of each task.
fn held_out(
    Texts { corpus, chats, .. }: &Texts,
    context: usize,
    pad: u32,
    (rows, most): (usize, usize),
) -> Result<HeldRows, TrainError> {
    let mut held = HeldRows::default();
    for source in corpus.packed.iter() {
        let w = data::windows(&source.held_out, context, pad, rows)?;
        if w.scored == 0 {
            continue;
        }
        for (ids, targets) in w.ids.chunks_exact(context).zip(w.targets.chunks_exact(context)) {
            held.push(ids, targets, None);
        }
        // Fine-tuning logs one number for all text, which measures forgetting.
        held.of.push(HeldOf {
            source: if chats.is_some() { PRETRAIN.to_string() } else { source.name.clone() },
            rows: w.rows,
            scored: w.scored,
            bits_per_nat: data::bits_per_byte(1.0, &source.held_out),
            counts: chats.is_none(),
        });
    }
    let Some(chats) = chats else { return Ok(held) };
    let (mut all_scored, mut all_bytes) = (0, 0);
    for (task, _, examples) in task_scores::by_task(&chats.sets) {
        let some = task_scores::some(&examples, most);
        let examples: Vec<&Example> = some.iter().map(|h| &h.example).collect();
        let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
        let order: Vec<usize> = (0..examples.len()).collect();
        let packing = plan(&lengths, &order, context)?;
        let mut scored = 0;
        for members in &packing {
            let members: Vec<&Example> = members.iter().map(|at| examples[*at]).collect();
            let row = fill_row(&members, context, pad)?;
            scored += row.targets.iter().filter(|target| **target >= 0).count();
            held.push(&row.ids, &row.targets, Some(&row.starts));
        }
        let answers = some.iter().flat_map(|h| &h.conversation.turns).filter(|turn| turn.is_learned());
        let bytes: usize = answers.map(|turn| turn.content.len()).sum();
        (all_scored, all_bytes) = (all_scored + scored, all_bytes + bytes);
        let bits_per_nat = scored as f64 / LN_2 / bytes.max(1) as f64;
        held.of.push(HeldOf { source: task, rows: packing.len(), scored, bits_per_nat, counts: true });
    }
    held.bits_per_nat = Some(all_scored as f64 / LN_2 / all_bytes.max(1) as f64);
    Ok(held)
}
