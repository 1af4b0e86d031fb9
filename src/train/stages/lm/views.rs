//! Views of a stage's text for the screen: batches and documents, token by token.

use super::run::Lm;
use crate::{
    base::fold::folded,
    compute::Device,
    data::{BY_HAND, Batch, Packed, Tokenizer},
    nn::IGNORE_INDEX,
    protocol::{BatchView, DocumentView, DroppedView, Find, RoomView, TokenView},
    train::{
        config::RunConfig,
        corpus::{self, Marks},
        error::TrainError,
        stages::stage_run::TextViews,
    },
};

/// Tokens that one search decodes at most, so that training waits for half a second and not for a whole corpus.
const LOOKED_THROUGH: usize = 1 << 19;

impl Lm {
    /// A source with training documents.
    fn documents_of(&self, source: &str) -> Result<&Packed, TrainError> {
        let Some(packed) = self.corpus.packed.iter().find(|s| s.name == source) else {
            return TrainError::refused(format!(
                "{source} is not a source of text; conversations are shown in the batch"
            ));
        };
        if packed.train.documents() == 0 {
            return TrainError::refused(format!("{source} has no document to train on"));
        }
        Ok(packed)
    }

    /// The rows of a batch without padding, with the loss of each target if `losses` are given.
    fn rows(&self, batch: &Batch, losses: Option<&[f32]>) -> Vec<(String, Vec<TokenView>)> {
        let tokenizer = &self.corpus.tokenizer;
        let window = batch.shape.window;
        let mut rows = Vec::with_capacity(batch.shape.rows);
        for (row, source) in batch.sources.iter().enumerate() {
            let mut tokens = Vec::with_capacity(window + 1);
            for at in row * window..(row + 1) * window {
                let place = (at - row * window) as u32;
                let start = batch.starts.as_ref().map_or(0, |s| s[at]);
                let alone = start == place && batch.starts.as_ref().is_some_and(|s| s.get(at + 1) != Some(&start));
                if alone && batch.targets[at] == IGNORE_INDEX {
                    continue; // padding
                }
                if start == place {
                    let text = tokenizer.written(batch.ids[at]);
                    tokens.push(TokenView { text, trained: false, loss: None, first: true });
                }
                // A position predicts the next token, to which its loss belongs.
                let target = batch.targets[at];
                let trained = target != IGNORE_INDEX;
                let next = batch.starts.as_ref().is_none_or(|s| (at + 1) % window != 0 && s[at + 1] == start);
                let id = match u32::try_from(target) {
                    Ok(id) => id,
                    Err(_) if next && (at + 1) % window != 0 => batch.ids[at + 1],
                    Err(_) => continue,
                };
                let loss = losses.filter(|_| trained).and_then(|l| l.get(at).copied());
                tokens.push(TokenView { text: tokenizer.written(id), trained, loss, first: false });
            }
            rows.push((self.source_name(*source), tokens));
        }
        rows
    }

    fn source_name(&self, source: usize) -> String {
        let texts = self.corpus.packed.len();
        match (self.corpus.packed.get(source), &self.chats) {
            (Some(text), _) => text.name.clone(),
            (None, Some(c)) => c.sets.get(source - texts).map_or(BY_HAND, |s| s.name.as_str()).to_owned(),
            (None, None) => String::new(),
        }
    }
}

impl TextViews for Lm {
    fn batch_view(&mut self, device: &mut Device, done: usize) -> Result<Option<BatchView>, TrainError> {
        let Some(batch) = &self.shown else { return Ok(None) };
        let losses = self.learner.losses(device)?;
        Ok(Some(BatchView { step: done, rows: self.rows(batch, Some(&losses)) }))
    }

    fn next_batch(&mut self, step: usize) -> Result<BatchView, TrainError> {
        let batch = self.batcher.batch(step as u64, 0)?;
        if batch.starts.is_some() {
            return Ok(BatchView { step: step + 1, rows: self.rows(&batch, None) });
        }
        let rows = batch.ids.chunks_exact(batch.shape.window).zip(&batch.sources);
        let read =
            |(row, source): (&[u32], &usize)| (self.source_name(*source), whole(row, &[], &self.corpus.tokenizer));
        Ok(BatchView { step: step + 1, rows: rows.map(read).collect() })
    }

    fn document(
        &mut self,
        device: &mut Device,
        source: &str,
        index: usize,
        done: usize,
    ) -> Result<DocumentView, TrainError> {
        let packed = self.documents_of(source)?;
        let of = packed.train.documents();
        let index = index % of;
        let range = packed.train.document(index);
        let length = range.len().saturating_sub(1);
        let mut ids = Vec::new();
        packed.train.read(range.start..range.end.min(range.start + self.shape.window + 1), &mut ids)?;
        let losses = self.validation.losses(device, &[&ids])?.pop().unwrap_or_default();
        let tokenizer = &self.corpus.tokenizer;
        if ids.last().is_some_and(|id| Some(*id) == tokenizer.end_of_text()) {
            ids.pop();
        }
        let (shown, text) = (ids.len(), tokenizer.decode(&ids, true));
        let scored: Vec<f64> = losses.iter().take(shown.saturating_sub(1)).map(|l| f64::from(*l)).collect();
        let loss = (!scored.is_empty()).then(|| scored.iter().sum::<f64>() / scored.len() as f64);
        let tokens = whole(&ids, &losses, tokenizer);
        // Unreadable marks are reported where they are counted and written.
        let mark = Marks::read(&self.run).ok().and_then(|marks| marks.of(&text));
        Ok(DocumentView { source: source.to_owned(), index, of, step: done, text, tokens, shown, loss, length, mark })
    }

    fn find_document(&self, source: &str, from: usize, find: &Find) -> Result<usize, TrainError> {
        let packed = self.documents_of(source)?;
        let (of, wanted) = (packed.train.documents(), folded(&find.text));
        let (mut ids, mut decoded) = (Vec::new(), 0);
        for count in 0..of {
            let at = if find.back { from % of + of - count } else { from % of + count } % of;
            let range = packed.train.document(at);
            ids.clear();
            packed.train.read(range.start..range.end.min(range.start + LOOKED_THROUGH), &mut ids)?;
            if folded(&self.corpus.tokenizer.decode(&ids, true)).contains(&wanted) {
                return Ok(at);
            }
            decoded += ids.len();
            if decoded >= LOOKED_THROUGH && count + 1 < of {
                let text = format!(
                    "`{}` is not in the {} documents of {source} from number {} to {}",
                    find.text,
                    count + 1,
                    from % of + 1,
                    at + 1
                );
                return TrainError::refused(text);
            }
        }
        TrainError::refused(format!("`{}` is in no document of {source}", find.text))
    }

    fn dropped(&self, asked: &DroppedView, count: usize) -> Result<DroppedView, TrainError> {
        let of = (asked.source.as_deref(), asked.rule.as_deref());
        corpus::dropped(&self.run, &self.settings.data, of, asked.from, count)
    }

    fn data_view(&self, config: &RunConfig) -> Result<RoomView, TrainError> {
        let mut view = corpus::room(&self.corpus, config, &self.batcher.history().newest().weights)?;
        self.live.how().clone_into(&mut view.watching);
        Ok(view)
    }
}

/// Ids as text, each with its loss (`losses` begin with the second id); parts of one character are joined.
fn whole(ids: &[u32], losses: &[f32], tokenizer: &Tokenizer) -> Vec<TokenView> {
    let mut stream = tokenizer.stream(false);
    let (mut tokens, mut loss): (Vec<TokenView>, Option<f32>) = (Vec::new(), None);
    for (at, id) in ids.iter().enumerate() {
        if let Some(more) = at.checked_sub(1).and_then(|before| losses.get(before)) {
            loss = Some(loss.unwrap_or_default() + more);
        }
        if let Some(text) = stream.push(*id) {
            let first = tokens.is_empty();
            tokens.push(TokenView { text, trained: !first, loss: loss.take(), first });
        }
    }
    tokens
}
