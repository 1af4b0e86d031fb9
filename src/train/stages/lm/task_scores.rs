//! Scores held-out questions: exact match, character F1, share of answers that end, loss.

use std::collections::HashMap;

use crate::{
    compute::Device,
    data::{Example, ExampleSet, HeldOut, Tokenizer, encode_prompt, fill_row, plan},
    nn::{BatchDecoder, Completion, Evaluator, ModelConfig, Prompt, Sampling, Weights},
    protocol::TaskReport,
    train::error::TrainError,
};

/// Texts generated at a time; a probe has few questions.
const ROWS: usize = 64;
const FEW: usize = 12;
/// Held-out examples per task in a measurement during training.
pub(crate) const SOME: usize = 16;
/// Held-out examples per task in the final measurement, which delays the last checkpoint.
pub(crate) const MOST: usize = 1000;
/// Tokens that an answer may have beyond its reference before it counts as not ending.
const BEYOND: usize = 24;
/// Tokens per pass of the loss.
const TOKENS: usize = 2048;

/// Recorded passes over the live weights.
pub(crate) struct Examiner {
    decoder: BatchDecoder,
    few: BatchDecoder,
    evaluator: Evaluator,
    context: usize,
    pad: u32,
    /// Number of ids of the tokenizer.
    known: usize,
    /// The token that ends an answer.
    end: u32,
}

/// The held-out examples of each task: its name, its source's index, the examples. A source whose records name tasks is
/// divided into several.
pub(crate) fn by_task(sets: &[ExampleSet]) -> Vec<(String, usize, Vec<&HeldOut>)> {
    let mut all: Vec<(String, usize, Vec<&HeldOut>)> = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        for held in &set.held_out {
            let name = held.conversation.task.as_ref().unwrap_or(&set.name);
            match all.iter_mut().find(|(task, of, _)| *of == at && task == name) {
                Some((_, _, examples)) => examples.push(held),
                None => all.push((name.clone(), at, vec![held])),
            }
        }
    }
    all
}

/// Up to `most` of a task's examples, evenly spread.
pub(crate) fn some<'a>(held: &[&'a HeldOut], most: usize) -> Vec<&'a HeldOut> {
    let n = held.len().min(most);
    (0..n).map(|i| held[i * held.len() / n]).collect()
}

/// Sums over the examples of a task.
#[derive(Clone, Debug, Default)]
struct Marks {
    examples: usize,
    exact: usize,
    f1: f64,
    ended: usize,
}

/// The recorded passes: over many texts, over few, and of the loss.
pub(crate) fn passes(
    device: &mut Device,
    model: &ModelConfig,
    weights: &Weights,
    context: usize,
) -> Result<(BatchDecoder, BatchDecoder, Evaluator), TrainError> {
    let decoder = BatchDecoder::new(device, model, weights, ROWS, model.max_position_embeddings)?;
    let few = BatchDecoder::new(device, model, weights, FEW, model.max_position_embeddings)?;
    let evaluator = Evaluator::new(device, model, weights, (TOKENS / context).max(1), context)?;
    Ok((decoder, few, evaluator))
}

impl Examiner {
    /// Records the passes.
    pub(crate) fn new(
        device: &mut Device,
        model: &ModelConfig,
        weights: &Weights,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Examiner, TrainError> {
        let end = tokenizer.turn_end().ok_or_else(|| {
            TrainError::Input("the tokenizer has no tokens of the chat template; start a new run".to_owned())
        })?;
        let (decoder, few, evaluator) = passes(device, model, weights, context)?;
        let known = tokenizer.vocab_size().min(model.vocab_size);
        Ok(Examiner { decoder, few, evaluator, context, pad: model.pad_token_id.unwrap_or(0), known, end })
    }

    /// Tokens of a question with its answer.
    pub(crate) fn window(&self) -> usize {
        self.decoder.capacity()
    }

    /// Answers questions greedily.
    pub(crate) fn answers(
        &mut self,
        device: &mut Device,
        questions: Vec<(Vec<u32>, usize)>,
    ) -> Result<Vec<Completion>, TrainError> {
        let capacity = self.decoder.capacity();
        let prompt = |(ids, new): (Vec<u32>, usize)| Prompt {
            max_new_tokens: new.min(capacity.saturating_sub(ids.len())),
            ids,
            sampling: Sampling::greedy(),
        };
        let prompts: Vec<Prompt> = questions.into_iter().map(prompt).collect();
        let decoder = if prompts.len() <= FEW { &mut self.few } else { &mut self.decoder };
        Ok(decoder.complete(device, &prompts, self.known, Some(self.end))?)
    }

    /// Scores of every task, over at most `most` held-out examples of each.
    pub(crate) fn examine(
        &mut self,
        device: &mut Device,
        tokenizer: &Tokenizer,
        sets: &[ExampleSet],
        step: usize,
        most: usize,
    ) -> Result<Vec<TaskReport>, TrainError> {
        let tasks: Vec<(String, Vec<&HeldOut>)> =
            by_task(sets).into_iter().map(|(name, _, held)| (name, some(&held, most))).collect();
        let mut questions = Vec::new();
        let mut references = Vec::new();
        for (task, (_, held)) in tasks.iter().enumerate() {
            for h in held {
                let Some((answer, before)) = h.conversation.turns.split_last() else { continue };
                let ids = encode_prompt(before, tokenizer)?;
                // A question longer than the model's context cannot be asked.
                if ids.len() >= self.decoder.capacity() {
                    continue;
                }
                let reference = tokenizer.encode_turn(&answer.content)?.len();
                references.push((task, answer.content.as_str(), ids.clone()));
                questions.push((ids, reference + BEYOND));
            }
        }
        let answers = self.answers(device, questions)?;
        let mut marks = vec![Marks::default(); tasks.len()];
        for ((task, reference, before), answer) in references.into_iter().zip(answers) {
            let text = tokenizer.decode_turn(&before, &answer.ids, false);
            let m = &mut marks[task];
            m.examples += 1;
            m.exact += usize::from(answer.ended && text == reference);
            m.f1 += char_f1(&text, reference);
            m.ended += usize::from(answer.ended);
        }
        let mut reports = Vec::new();
        for ((task, held), m) in tasks.into_iter().zip(marks) {
            let examples: Vec<&Example> = held.iter().map(|h| &h.example).collect();
            let (eval_loss, _) = self.loss(device, &examples)?;
            let n = m.examples.max(1) as f64;
            reports.push(TaskReport {
                step,
                task,
                examples: m.examples,
                exact_match: m.exact as f64 / n,
                char_f1: m.f1 / n,
                end_rate: m.ended as f64 / n,
                eval_loss,
            });
        }
        Ok(reports)
    }

    /// Mean loss per trained token over examples in nats, and the number of these tokens.
    pub(crate) fn loss(&mut self, device: &mut Device, examples: &[&Example]) -> Result<(f64, usize), TrainError> {
        let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
        let order: Vec<usize> = (0..examples.len()).collect();
        let (mut total, mut trained) = (0.0, 0);
        let rows = self.evaluator.shape().0;
        for group in plan(&lengths, &order, self.context)?.chunks(rows) {
            let (mut ids, mut targets, mut starts) = (Vec::new(), Vec::new(), Vec::new());
            for at in 0..rows {
                let members: Vec<&Example> =
                    group.get(at).map(|row| row.iter().map(|i| examples[*i]).collect()).unwrap_or_default();
                let row = fill_row(&members, self.context, self.pad)?;
                ids.extend(row.ids);
                targets.extend(row.targets);
                starts.extend(row.starts);
            }
            let losses = self.evaluator.losses(device, &ids, &targets, Some(&starts))?;
            total += losses.iter().map(|x| f64::from(*x)).sum::<f64>();
            trained += targets.iter().filter(|t| **t >= 0).count();
        }
        Ok((total / trained.max(1) as f64, trained))
    }
}

/// F1 over characters as a multiset, ignoring spaces: 2 · common characters / all characters.
pub(crate) fn char_f1(answer: &str, reference: &str) -> f64 {
    let bag = |text: &str| {
        let mut counts: HashMap<char, usize> = HashMap::new();
        text.chars().filter(|c| !c.is_whitespace()).for_each(|c| *counts.entry(c).or_default() += 1);
        counts
    };
    let (a, b) = (bag(answer), bag(reference));
    let size = |m: &HashMap<char, usize>| m.values().sum::<usize>();
    let common: usize = a.iter().map(|(c, n)| (*n).min(b.get(c).copied().unwrap_or(0))).sum();
    match size(&a) + size(&b) {
        0 => 1.0,
        both => 2.0 * common as f64 / both as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_counts_characters_as_a_bag() {
        assert_eq!(char_f1("", ""), 1.0);
        assert_eq!(char_f1("a", ""), 0.0);
        assert_eq!(char_f1("I like tea.", "I like tea."), 1.0);
        assert_eq!(char_f1("ab", "bc"), 0.5);
        assert!((char_f1("aab", "ab") - 0.8).abs() < 1e-12);
    }
}
