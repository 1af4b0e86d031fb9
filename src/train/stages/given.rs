//! What a stage gives to another trainer, and takes back from it: the model it begins with, and what its steps draw.

use std::{path::PathBuf, sync::Arc};

use super::{opening::Opening, reward::pairs::Pairs};
use crate::{
    base::shell,
    compute::ops::CONTROL_F32,
    data::{Batcher, DataError, Packed, PairExample, Preference, Tokenizer},
    nn::{Head, ModelConfig, ParamTable},
    protocol::{Event, SourceInfo},
    train::{
        error::TrainError,
        run::{
            checkpoint::{Part, State},
            model_folder,
        },
    },
};

/// What a stage gives to another trainer.
pub(crate) struct Given {
    /// The model.
    pub model: ModelConfig,
    /// Its output.
    pub head: Head,
    /// The layout of its parameters.
    pub table: Arc<ParamTable>,
    /// The parameters that the first step changes.
    pub params: Vec<f32>,
    /// The run's tokenizer.
    pub tokenizer: Tokenizer,
    /// The state before the first step: parent, mix, data.
    pub state: State,
    /// Steps to train.
    pub steps: usize,
    /// Tokens of a pass over the data.
    pub epoch_tokens: u64,
    /// What the steps draw.
    pub work: Work,
}

/// What the steps of a stage draw.
pub(crate) enum Work {
    /// Rows of tokens.
    Rows(Box<GivenRows>),
    /// Pairs of answers.
    Pairs(GivenPairs),
    /// Prompts, to which the other trainer answers.
    Prompts(GivenPrompts),
}

/// Rows of tokens.
pub(crate) struct GivenRows {
    /// Draws the rows of a step.
    pub batcher: Batcher,
    /// Whether a row may hold several examples.
    pub packed: bool,
    /// The sources with their shares of the drawn tokens.
    pub sources: Vec<SourceInfo>,
    /// The texts of the run.
    pub texts: Arc<Vec<Packed>>,
    /// The held-out rows that are measured during training.
    pub sample: HeldRows,
    /// Those that are measured at the end.
    pub whole: HeldRows,
}

/// Held-out rows.
#[derive(Default)]
pub(crate) struct HeldRows {
    /// Ids, targets and starts of one row after another.
    pub rows: Vec<i32>,
    /// What is measured on them, in their order.
    pub of: Vec<HeldOf>,
    /// Bits per byte of a loss of 1 over all that count, if it is not the mean of their own.
    pub bits_per_nat: Option<f64>,
}

/// A source or task that is measured.
pub(crate) struct HeldOf {
    /// Its name in the log; several parts may have the same.
    pub source: String,
    /// Its rows.
    pub rows: usize,
    /// Targets on them.
    pub scored: usize,
    /// Bits per byte of a loss of 1.
    pub bits_per_nat: f64,
    /// Whether it counts towards the loss over all.
    pub counts: bool,
}

impl HeldRows {
    /// Appends a row.
    pub(crate) fn push(&mut self, ids: &[u32], targets: &[i32], starts: Option<&[u32]>) {
        self.rows.extend(numbers(ids, targets, starts));
    }
}

/// Ids, targets and starts of a row, in this order.
pub(crate) fn numbers<'a>(
    ids: &'a [u32],
    targets: &'a [i32],
    starts: Option<&'a [u32]>,
) -> impl Iterator<Item = i32> + 'a {
    let starts = (0..ids.len()).map(move |at| starts.map_or(0, |starts| starts[at] as i32));
    ids.iter().map(|id| *id as i32).chain(targets.iter().copied()).chain(starts)
}

/// Pairs of answers as texts.
pub(crate) struct GivenPairs {
    /// Pairs to train on.
    pub train: Vec<Preference>,
    /// Held-out pairs.
    pub held_out: Vec<Preference>,
    /// The pairs of each step, as indices.
    pub order: Vec<Vec<usize>>,
    /// Tokens of each pair to train on.
    pub tokens: Vec<usize>,
    /// Tokens of the held-out pairs.
    pub held_out_tokens: usize,
}

impl GivenPairs {
    /// The texts of pairs that fit the context.
    pub(crate) fn new(pairs: &Pairs, [train, held_out]: &[Vec<Preference>; 2], order: Vec<Vec<usize>>) -> GivenPairs {
        let texts = |of: &[PairExample], texts: &[Preference]| of.iter().map(|pair| texts[pair.at].clone()).collect();
        let length = |pair: &PairExample| pair.chosen.ids.len() + pair.rejected.ids.len();
        GivenPairs {
            train: texts(&pairs.train, train),
            held_out: texts(&pairs.held_out, held_out),
            order,
            tokens: pairs.train.iter().map(length).collect(),
            held_out_tokens: pairs.held_out.iter().map(length).sum(),
        }
    }
}

/// Prompts.
pub(crate) struct GivenPrompts {
    /// Those of one update after another.
    pub asked: Vec<String>,
    /// How many different ones there are.
    pub different: usize,
    /// The checkpoint of the reward model.
    pub reward: PathBuf,
}

/// A stage that another trainer trained, ready to be saved.
pub(crate) struct Taken {
    /// The model.
    pub part: Part,
    /// Its configuration.
    pub model: ModelConfig,
    /// The run's tokenizer.
    pub tokenizer: Tokenizer,
    /// The state after the last step.
    pub state: State,
    /// What was measured on it here.
    pub events: Vec<Event>,
}

/// How many steps are given from step `done` on: those of `--steps`, else those that the stage has left.
pub(crate) fn target(o: &Opening<'_>, done: usize) -> Result<usize, TrainError> {
    match o.setup.steps {
        Some(n) if n > done => Ok(n - done),
        Some(n) => Ok(n),
        None if o.plan.steps > done => Ok(o.plan.steps - done),
        None => Err(TrainError::Input(format!(
            "{} is complete at step {done}; give --steps N for N more steps, or export a stage after it",
            o.stage
        ))),
    }
}

/// Refuses a stage of preferences that has begun: beside its moments it would leave its reference, its guard and its
/// votes behind.
pub(crate) fn not_begun(o: &Opening<'_>) -> Result<(), TrainError> {
    let there = o.run.view().checkpoints().list()?;
    let Some(newest) = there.iter().filter(|id| id.stage == o.stage).max_by_key(|id| id.step) else { return Ok(()) };
    let (stage, dir) = (o.stage, shell::path(o.run.view().dir()));
    let parent = stage.parent().unwrap_or(stage);
    Err(TrainError::Input(format!(
        "{stage} of this run has begun ({newest}), and {stage} can be handed over only at its start; hand it over from a fork that has not begun it: danlu fork {dir} --at {parent}-STEP"
    )))
}

/// A language model that another trainer trained; its moments begin at zero.
pub(super) fn take(o: &Opening<'_>, state: State, params: Vec<f32>) -> Result<Taken, TrainError> {
    let tokenizer = o.known_tokenizer()?;
    let mut model = o.model.clone();
    model_folder::name_tokens(&mut model, &tokenizer);
    let table = Arc::new(ParamTable::new(&model));
    let zeros = vec![0.0; params.len()];
    let slabs = [params, zeros.clone(), zeros, vec![0.0; CONTROL_F32]];
    let part = Part { folder: "", config: model.to_json(), table, slabs, also: None, divisor: None };
    Ok(Taken { part, model, tokenizer, state, events: Vec::new() })
}

/// An error of drawing rows as one of writing them.
pub(crate) fn as_io(e: DataError) -> std::io::Error {
    std::io::Error::other(e)
}
