//! Draws batches: a pure function of seed, step, micro-batch and the mix's history.
//!
//! A source of short documents (poems) is drawn by document: every row starts at the start of a document and is filled
//! with further documents, so that a prompt at the start of a row is what the model has seen in training. In each epoch
//! one row starts with each document, in shuffled order, and a document's head (title and poet) is left out of every
//! second row at random: a prompt is usually the poem's first words, without its title. A long stream is cut into
//! windows, which are shuffled and shifted differently in every epoch.

use std::sync::Arc;

use crate::compute::rng::{self, Purpose};
use crate::data::{
    chat::rows::ChatRows,
    error::DataError,
    tokens::{
        mix::{Cursor, History, Shape, shares},
        pack::Packed,
        shuffle::permute,
        stream::Stream,
    },
};

/// One micro-batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Input ids, rows × window.
    pub ids: Vec<u32>,
    /// The token that follows each input, rows × window; −100 where it is not trained on.
    pub targets: Vec<i32>,
    /// For every position the first position of its row that it attends to; None: the row's first for all.
    pub starts: Option<Vec<u32>>,
    /// The source of each row: texts first, then conversations.
    pub sources: Vec<usize>,
    /// Positions that are not padding.
    pub tokens: usize,
    /// Its rows and window; `micros` as for the step.
    pub shape: Shape,
}

/// Draws batches from packed sources.
#[derive(Clone, Debug)]
pub struct Batcher {
    sources: Arc<Vec<Packed>>,
    chats: Option<ChatRows>,
    seed: u64,
    history: History,
    /// Avoids counting from the first row again; never changes a batch.
    cursor: Cursor,
    /// The window of the layouts.
    window: usize,
    layouts: Vec<Layout>,
}

/// How a source is cut into rows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    /// Rows start at documents; long ones are cut into parts: (document, first token).
    Documents(Vec<(usize, usize)>),
    /// Rows are windows: their number per epoch, and the spare tokens by which they can be shifted.
    Windows { count: usize, slack: usize },
}

impl Batcher {
    /// A batcher of texts. Every source with a positive weight must have training text.
    pub fn new(sources: Arc<Vec<Packed>>, seed: u64, history: History) -> Result<Self, DataError> {
        Self::with_chats(sources, None, seed, history)
    }

    /// A batcher of texts and conversations: the sources of the history are the texts, then the sets of conversations,
    /// then the demonstrations.
    pub fn with_chats(
        sources: Arc<Vec<Packed>>,
        chats: Option<ChatRows>,
        seed: u64,
        history: History,
    ) -> Result<Self, DataError> {
        check(&sources, chats.as_ref(), &history)?;
        let cursor = Cursor::new(&history);
        Ok(Self { sources, chats, seed, history, cursor, window: 0, layouts: Vec::new() })
    }

    /// The conversations, for adding demonstrations.
    pub fn chats_mut(&mut self) -> Option<&mut ChatRows> {
        self.chats.as_mut()
    }

    /// The mix's history, for saving.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The sources drawn from.
    pub fn sources(&self) -> &Arc<Vec<Packed>> {
        &self.sources
    }

    /// Changes the mix from a step on (the next to be drawn).
    pub fn change(&mut self, from_step: u64, weights: &[f64], shape: Shape) -> Result<(), DataError> {
        let mut history = self.history.clone();
        history.change(from_step, weights, shape)?;
        self.follow(history)
    }

    /// Sets the mix from a step on (the next to be drawn), unless it is in effect already; see [`History::turn_to`].
    pub fn turn_to(&mut self, from_step: u64, weights: &[f64], shape: Shape) -> Result<(), DataError> {
        let mut history = self.history.clone();
        history.turn_to(from_step, weights, shape)?;
        self.follow(history)
    }

    /// Whether a step uses this mix and shape.
    pub fn draws_by(&self, step: u64, weights: &[f64], shape: Shape) -> Result<bool, DataError> {
        let phase = self.history.at(step);
        Ok(phase.shape == shape && phase.weights == shares(weights)?)
    }

    /// Switches to other texts with their own history; row counts continue.
    pub fn draw_from(&mut self, sources: Arc<Vec<Packed>>, history: History) -> Result<(), DataError> {
        check(&sources, self.chats.as_ref(), &history)?;
        (self.sources, self.window) = (sources, 0);
        self.cursor = Cursor::new(&history);
        self.history = history;
        Ok(())
    }

    fn follow(&mut self, history: History) -> Result<(), DataError> {
        check(&self.sources, self.chats.as_ref(), &history)?;
        self.cursor = Cursor::new(&history);
        self.history = history;
        Ok(())
    }

    /// The batch of a step's micro-batch. Calls may come in any order; ascending steps are fast.
    pub fn batch(&mut self, step: u64, micro: usize) -> Result<Batch, DataError> {
        let shape = self.history.at(step).shape;
        if micro >= shape.micros {
            return Err(DataError::Mix(format!("step {step} has {} micro-batches, not {}", shape.micros, micro + 1)));
        }
        self.lay_out(shape.window);
        self.move_to(step, micro);
        let size = shape.rows * shape.window;
        let mut batch = Batch {
            ids: Vec::with_capacity(size),
            targets: Vec::with_capacity(size),
            starts: self.chats.is_some().then(|| Vec::with_capacity(size)),
            sources: Vec::with_capacity(shape.rows),
            tokens: 0,
            shape,
        };
        let mut row = Vec::with_capacity(shape.window + 1);
        for _ in 0..shape.rows {
            let phase = self.cursor.phase(&self.history);
            let (source, ordinal) = self.cursor.draw(phase);
            batch.sources.push(source);
            if let (Some(chats), Some(starts)) = (&mut self.chats, &mut batch.starts)
                && source >= self.sources.len()
            {
                let packed = chats.row(source - self.sources.len(), ordinal, step)?;
                batch.tokens += packed.places;
                batch.ids.extend(packed.ids);
                batch.targets.extend(packed.targets);
                starts.extend(packed.starts);
                continue;
            }
            row.clear();
            self.fill(source, ordinal, shape.window, &mut row)?;
            batch.ids.extend_from_slice(&row[..shape.window]);
            batch.targets.extend(row[1..].iter().map(|id| *id as i32));
            if let Some(starts) = &mut batch.starts {
                starts.resize(starts.len() + shape.window, 0);
            }
            batch.tokens += shape.window;
        }
        Ok(batch)
    }

    /// Trained tokens of each source before a step.
    pub fn tokens_drawn(&mut self, step: u64) -> Vec<u64> {
        self.move_to(step, 0);
        self.cursor.tokens().to_vec()
    }

    /// Completed passes over each source before a step.
    pub fn epochs(&mut self, step: u64) -> Vec<f64> {
        let window = self.history.at(step).shape.window as f64;
        let drawn = self.tokens_drawn(step);
        let texts = self.sources.len();
        let size = |i: usize| match (self.sources.get(i), &self.chats) {
            (Some(p), _) => p.train.len().max(1) as f64,
            (None, Some(chats)) => chats.rows_per_epoch(i - texts) as f64 * window,
            (None, None) => 1.0,
        };
        drawn.iter().enumerate().map(|(i, n)| *n as f64 / size(i)).collect()
    }

    fn move_to(&mut self, step: u64, micro: usize) {
        if !self.cursor.is_before(&self.history, step, micro) {
            self.cursor = Cursor::new(&self.history);
        }
        self.cursor.advance(&self.history, step, micro);
    }

    fn lay_out(&mut self, window: usize) {
        if self.window != window {
            self.layouts = self.sources.iter().map(|p| layout(&p.train, window)).collect();
            self.window = window;
        }
    }

    /// Appends window + 1 tokens: the source's row of that ordinal.
    fn fill(&self, source: usize, ordinal: u64, window: usize, row: &mut Vec<u32>) -> Result<(), DataError> {
        let train = &self.sources[source].train;
        match &self.layouts[source] {
            Layout::Windows { count, slack } => {
                let epoch = ordinal / *count as u64;
                let at = (ordinal % *count as u64) as usize;
                let slot = permute(self.seed, rng::Stream::TextRows(source, epoch), *count, at);
                let shift =
                    rng::below(self.seed, Purpose::Batch, rng::Stream::TextShift(source, epoch).number(), 0, slack + 1);
                let start = shift + slot * window;
                train.read(start..start + window + 1, row)?;
            }
            Layout::Documents(parts) => {
                let epoch = ordinal / parts.len() as u64;
                let at = (ordinal % parts.len() as u64) as usize;
                let (first, offset) = parts[permute(self.seed, rng::Stream::TextRows(source, epoch), parts.len(), at)];
                let heads = rng::Stream::TextHeads(source, ordinal).number();
                let mut chosen = 0;
                let mut take = |row: &mut Vec<u32>, document: usize, offset: usize| -> Result<(), DataError> {
                    let bare = offset == 0
                        && train.has_head(document)
                        && rng::bits(self.seed, Purpose::Batch, heads, chosen) >> 31 == 1;
                    chosen += 1;
                    let mut tokens = if bare { train.body(document) } else { train.document(document) };
                    tokens.start += offset;
                    tokens.end = tokens.end.min(tokens.start + window + 1 - row.len());
                    train.read(tokens, row)
                };
                take(row, first, offset)?;
                let documents = train.documents();
                let filling = rng::Stream::TextFilling(source, ordinal);
                let mut next = 0;
                while row.len() <= window {
                    let document = permute(self.seed, filling, documents, next % documents);
                    next += 1;
                    // A row repeats its first document only when all others are used up.
                    if document != first || documents == 1 || next > documents {
                        take(row, document, 0)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn check(sources: &[Packed], chats: Option<&ChatRows>, history: &History) -> Result<(), DataError> {
    // The demonstrations come after the last set.
    let all = sources.len() + chats.map_or(0, |c| c.sets() + 1);
    if all != history.sources() {
        return Err(DataError::Mix(format!("{} weights for {all} sources", history.sources())));
    }
    for phase in history.phases() {
        for (i, share) in phase.weights.iter().enumerate() {
            let empty = match sources.get(i) {
                Some(source) => source.train.is_empty(),
                // For past phases only the counts are needed, and a source's file may be gone.
                None => phase == history.newest() && chats.is_none_or(|c| c.is_empty(i - sources.len())),
            };
            if *share > 0.0 && empty {
                let name = sources.get(i).map_or("conversations", |s| s.name.as_str());
                return Err(DataError::Mix(format!("the source {name:?} has a weight but nothing to train on")));
            }
        }
    }
    Ok(())
}

/// Poems and other documents shorter than a window are drawn by document, and so are streams too short to cut.
fn layout(train: &Stream, window: usize) -> Layout {
    let (tokens, documents) = (train.len(), train.documents());
    let headed = (0..documents).filter(|i| train.has_head(*i)).count();
    if headed * 2 <= documents && tokens > documents.saturating_mul(window) && tokens > 2 * window {
        let count = ((tokens - 1) / window - 1).max(1);
        return Layout::Windows { count, slack: tokens - 1 - count * window };
    }
    let parts = (0..documents).flat_map(|i| {
        // The last token is only a target.
        let length = train.document(i).len() - 1;
        (0..length.div_ceil(window).max(1)).map(move |part| (i, part * window))
    });
    Layout::Documents(parts.collect())
}
