//! Cuts held-out streams into windows, and computes the baselines for an evaluation loss.

use std::collections::HashMap;

use super::{example::IGNORED, stream::Stream};
use crate::data::error::DataError;

/// Windows of a stream, one per row. Every token except the first is a target exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Input ids, rows × window.
    pub ids: Vec<u32>,
    /// The following tokens, rows × window; [`IGNORED`] in the padding of the last row.
    pub targets: Vec<i32>,
    /// Rows.
    pub rows: usize,
    /// Tokens per row.
    pub window: usize,
    /// Targets that are scored.
    pub scored: usize,
}

/// Cuts a stream into non-overlapping windows, at most `most_rows`; the last one is padded with `pad`.
pub fn windows(stream: &Stream, window: usize, pad: u32, most_rows: usize) -> Result<Windows, DataError> {
    let targets = stream.len().saturating_sub(1);
    let rows = if window == 0 { 0 } else { targets.div_ceil(window).min(most_rows) };
    let scored = targets.min(rows * window);
    let mut tokens = Vec::new();
    stream.read(0..scored + 1, &mut tokens)?;
    let mut ids = tokens[..scored].to_vec();
    let mut labels: Vec<i32> = tokens.iter().skip(1).take(scored).map(|id| *id as i32).collect();
    ids.resize(rows * window, pad);
    labels.resize(rows * window, IGNORED);
    Ok(Windows { ids, targets: labels, rows, window, scored })
}

/// Up to `rows` whole windows spread evenly over a stream; none if the stream is shorter than a window.
pub fn spread(stream: &Stream, window: usize, rows: usize) -> Result<Windows, DataError> {
    let fit = stream.len().saturating_sub(1).checked_div(window).unwrap_or(0);
    let rows = rows.min(fit);
    let (mut ids, mut targets, mut row) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..rows {
        let start = at * (stream.len() - 1 - window) / rows.saturating_sub(1).max(1);
        row.clear();
        stream.read(start..start + window + 1, &mut row)?;
        ids.extend_from_slice(&row[..window]);
        targets.extend(row[1..].iter().map(|id| *id as i32));
    }
    Ok(Windows { scored: ids.len(), ids, targets, rows, window })
}

/// Bits per byte for a loss in nats per token.
pub fn bits_per_byte(loss: f64, stream: &Stream) -> f64 {
    loss / std::f64::consts::LN_2 / stream.bytes_per_token()
}

/// The loss of a unigram model, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// The entropy of the training stream's token frequencies.
    pub entropy: f64,
    /// Their cross-entropy on the held-out stream, with smoothing for unseen tokens.
    pub held_out: Option<f64>,
}

/// The unigram baseline of a source.
///
/// Witten-Bell smoothing (N tokens, D distinct): a seen token has probability c/(N+D), unseen ones share D/(N+D)
/// equally.
pub fn baseline(train: &Stream, held_out: &Stream, vocab_size: usize) -> Result<Baseline, DataError> {
    let mut counts: HashMap<u32, u64> = HashMap::new();
    train.each(|ids| ids.iter().for_each(|id| *counts.entry(*id).or_default() += 1))?;
    let total = train.len() as f64;
    let different = counts.len() as f64;
    let mut sorted: Vec<u64> = counts.values().copied().collect();
    // A fixed order of summation gives the same last bit every time.
    sorted.sort_unstable();
    let entropy = sorted.iter().map(|c| *c as f64 / total).map(|p| -p * p.ln()).sum();
    let unseen = (vocab_size as f64 - different).max(1.0);
    let loss = |id: &u32| match counts.get(id) {
        Some(c) => -(*c as f64 / (total + different)).ln(),
        None => -(different.max(1.0) / (total + different.max(1.0)) / unseen).ln(),
    };
    let mut sum = 0.0;
    held_out.each(|ids| ids.iter().for_each(|id| sum += loss(id)))?;
    let held_out = (!held_out.is_empty()).then(|| sum / held_out.len() as f64);
    Ok(Baseline { entropy, held_out })
}
