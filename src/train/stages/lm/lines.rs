//! The probability of each line of what a probe is to recall, given its prompt and the lines before it.

use super::validation::Validation;
use crate::{
    compute::Device,
    data::{Tokenizer, Words, read_in},
    protocol::LineChance,
    train::{config::ProbeConfig, error::TrainError},
};

/// Marks at which a line ends.
const ENDS: &str = "，。！？；,.!?;\n";

/// The lines of each probe's reference with their probabilities; none for a probe that is not trained on or that does
/// not fit the context.
pub(super) fn chances(
    device: &mut Device,
    validation: &mut Validation,
    tokenizer: &Tokenizer,
    probes: &[ProbeConfig],
) -> Result<Vec<Vec<LineChance>>, TrainError> {
    let mut rows = Vec::new();
    for probe in probes {
        let expected = tokenizer.encode_rest(&probe.expected)?;
        let read = read_in(Words::Text(&probe.prompt), tokenizer, validation.context(), expected.len())?;
        let (start, mut row) = (read.ids.len(), read.ids);
        row.extend(expected);
        let fits = start > 0 && read.left_out.tokens == 0 && row.len() <= validation.context();
        rows.push((probe.recall && fits).then_some((row, start)));
    }
    let scored: Vec<&[u32]> = rows.iter().flatten().map(|(row, _)| row.as_slice()).collect();
    let mut losses = validation.losses(device, &scored)?.into_iter();
    let of = |row: Option<(Vec<u32>, usize)>| {
        let Some(((row, start), losses)) = row.and_then(|row| Some((row, losses.next()?))) else { return Vec::new() };
        let mut stream = tokenizer.stream_rest(&row[..start], true);
        let mut lines = Vec::new();
        let (mut text, mut sum) = (String::new(), 0.0);
        for (id, loss) in row[start..].iter().zip(&losses[start - 1..]) {
            text.push_str(&stream.push(*id).unwrap_or_default());
            sum -= f64::from(*loss);
            if text.ends_with(|c| ENDS.contains(c)) {
                lines.push((std::mem::take(&mut text), std::mem::take(&mut sum)));
            }
        }
        text.extend(stream.finish());
        if !text.is_empty() {
            lines.push((text, sum));
        }
        lines.into_iter().map(|(text, sum)| LineChance { text, probability: sum.exp() }).collect()
    };
    Ok(rows.into_iter().map(of).collect())
}
