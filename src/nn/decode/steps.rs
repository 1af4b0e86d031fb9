//! Recorded decoding steps: one new token for each of B texts, read over a cache, and the next one sampled on the
//! device, so that several steps run without the host.

use std::time::Duration;

use super::sample::{Drawn, Sampling};
use crate::{
    compute::{
        ComputeError, DType, Device, KernelTime, Program, Recording, Tensor, Ticket,
        ops::{self, PICK},
    },
    nn::{
        config::ModelConfig,
        params::Weights,
        rows::{Attend, Pass, Shape},
        trunk::{Trunk, rope_table},
    },
};

/// Most steps between two read-backs of the sampled tokens.
pub(super) const MOST: usize = 64;
/// Steps per submit: the device starts with the first ones while the host encodes the next.
const SUBMIT: usize = 4;
/// Cost of requesting the tokens of some steps, beside the steps: their first submit and the read-back.
pub(super) const READ_BACK: Duration = Duration::from_micros(200);
/// The same where further steps are submitted before the read-back.
pub(super) const QUEUED: Duration = Duration::from_micros(40);

/// The state that the steps of a device and model share with other passes over the same texts.
pub(super) struct Cache {
    /// \[P, D\]: the table of rotations.
    pub rope: Tensor,
    /// \[B, P, 2·Hk·D\] per layer.
    pub layers: Vec<Tensor>,
}

impl Cache {
    /// Room for `rows` texts of `capacity` tokens.
    pub(super) fn alloc(
        device: &mut Device,
        config: &ModelConfig,
        rows: usize,
        capacity: usize,
    ) -> Result<Cache, ComputeError> {
        let (act, rope) = (device.traits().act, rope_table(device, config, capacity)?);
        let width = 2 * config.num_key_value_heads * config.head_dim;
        let layers = (0..config.num_hidden_layers)
            .map(|i| device.alloc(&format!("cache.{i}"), &[rows, capacity, width], act))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Cache { rope, layers })
    }
}

/// A recorded pass over `shape` new tokens, up to their logits.
pub(super) struct Reader {
    /// \[N\] (u32).
    pub ids: Tensor,
    /// \[N\] (u32).
    pub positions: Tensor,
    /// \[N, V\].
    pub logits: Tensor,
    trunk: Program,
    head: Program,
}

impl Reader {
    pub(super) fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        cache: &Cache,
        shape: Shape,
    ) -> Result<Reader, ComputeError> {
        let (act, n) = (device.traits().act, shape.rows());
        let ids = device.alloc("decode.ids", &[n], DType::U32)?;
        let positions = device.alloc("decode.positions", &[n], DType::U32)?;
        let logits = device.alloc("decode.logits", &[n, config.vocab_size], act)?;
        let trunk = Trunk::alloc(device, config, weights, shape, false)?;
        let mut rec = Recording::new(device);
        let attend = Attend::Cache(&cache.layers);
        let pass = Pass { shape, positions: &positions, rope: &cache.rope, attend, dropout: None };
        trunk.forward(&mut rec, &ids, &pass)?;
        let (passed, mut rec) = (rec.compile()?, Recording::new(device));
        ops::matmul_few(&mut rec, trunk.output(), &weights.head(), &logits)?;
        let head = rec.compile()?;
        Ok(Reader { ids, positions, logits, trunk: passed, head })
    }

    /// Reads tokens at their positions; computes logits only if requested.
    pub(super) fn read(
        &self,
        device: &mut Device,
        ids: &[u32],
        positions: &[u32],
        logits: bool,
    ) -> Result<(), ComputeError> {
        device.write(&self.ids, ids)?;
        device.write(&self.positions, positions)?;
        if logits { device.replay(&[&self.trunk, &self.head]) } else { device.replay(&[&self.trunk]) }
    }
}

/// Steps over B rows.
pub(super) struct Steps {
    pub reader: Reader,
    /// The sampling on the device; None on the CPU engine, where the host samples.
    lots: Option<Lots>,
    /// Seconds per step, once measured.
    pace: Option<f64>,
}

/// The pick of an idle row, whose prompt never ends.
const IDLE: [u32; PICK] = [0, 0, 0, 0, 0, 0, u32::MAX, 0];

/// Sampling on the device.
struct Lots {
    /// \[B, PICK\] (u32).
    picks: Tensor,
    /// \[B, P\] (u32): the rows' prompts.
    prompts: Tensor,
    /// \[MOST, B, 2\] (u32): the sampled tokens, by position.
    drawn: Tensor,
    sample: Program,
    /// What the next submit changes.
    changes: Vec<Change>,
}

/// A row that begins another text.
struct Change {
    row: usize,
    id: u32,
    position: u32,
    prompt: Vec<u32>,
    pick: [u32; PICK],
}

impl Steps {
    pub(super) fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        cache: &Cache,
        rows: usize,
        prompt: usize,
    ) -> Result<Steps, ComputeError> {
        let reader = Reader::new(device, config, weights, cache, Shape { b: rows, t: 1 })?;
        let lots = if device.traits().cpu { None } else { Some(Lots::new(device, &reader, rows, prompt)?) };
        Ok(Steps { reader, lots, pace: None })
    }

    /// Kernel calls per step.
    pub(super) fn calls(&self) -> usize {
        let sample = self.lots.as_ref().map_or(0, |lots| lots.sample.len());
        self.reader.trunk.len() + self.reader.head.len() + sample
    }

    /// Times every kernel of one step.
    pub(super) fn profile(&self, device: &mut Device) -> Result<Vec<KernelTime>, ComputeError> {
        let mut programs = vec![&self.reader.trunk, &self.reader.head];
        programs.extend(self.lots.as_ref().map(|lots| &lots.sample));
        device.profile(&programs)
    }

    /// Whether the device supports these settings.
    pub(super) fn draws(&self, how: &Sampling) -> bool {
        self.lots.is_some() && how.pick(0, 0).is_some()
    }

    /// Has a row read token `id` at `position` with the next submit, and sample after it among the first `known` ids;
    /// with a prompt, whose tokens are read before anything is sampled.
    pub(super) fn start(
        &mut self,
        row: usize,
        (id, position): (u32, usize),
        prompt: &[u32],
        how: &Sampling,
        known: usize,
    ) {
        let Some(lots) = &mut self.lots else { return };
        let prompt = &prompt[..prompt.len().min(lots.prompts.cols())];
        let pick = how.pick(known, prompt.len()).map_or(IDLE, |pick| pick.words());
        let position = position as u32;
        lots.change(Change { row, id, position, prompt: prompt.to_vec(), pick });
    }

    /// Leaves a row idle.
    pub(super) fn rest(&mut self, row: usize) {
        if let Some(lots) = &mut self.lots {
            lots.change(Change { row, id: 0, position: 0, prompt: Vec::new(), pick: IDLE });
        }
    }

    /// Submits `n` steps; the first `silent` of them sample nothing in any row.
    pub(super) fn submit(&mut self, device: &mut Device, n: usize, silent: usize) -> Result<Ticket, ComputeError> {
        let Steps { reader, lots: Some(lots), .. } = self else {
            return Err(ComputeError::Shape { op: "generate", what: "the host draws on the CPU engine".to_owned() });
        };
        lots.apply(device, &reader.ids, &reader.positions)?;
        let mut programs = Vec::with_capacity(3 * SUBMIT);
        for step in 0..n {
            programs.push(&reader.trunk);
            programs.extend((step >= silent).then_some(&reader.head));
            programs.push(&lots.sample);
            if (step + 1) % SUBMIT == 0 && step + 1 < n {
                device.replay(&programs)?;
                programs.clear();
            }
        }
        device.replay_and_request(&programs, &lots.drawn)
    }

    /// The tokens of submitted steps.
    pub(super) fn collect(&self, device: &mut Device, mut ticket: Ticket) -> Result<Ring, ComputeError> {
        let words = device.collect::<u32>(&mut ticket, true)?.unwrap_or_default();
        Ok(Ring { words, rows: self.reader.ids.len() })
    }

    /// Notes how long `n` steps took.
    pub(super) fn took(&mut self, n: usize, time: Duration) {
        self.pace = Some(time.as_secs_f64() / n.max(1) as f64);
    }

    /// Steps until the next read-back, with at most `left` to come: so many that a read-back, at a cost of `overhead`,
    /// costs about as much as the tokens sampled past an end, and no more than fit into `within`.
    pub(super) fn stride(&self, left: usize, overhead: Duration, within: Option<Duration>) -> usize {
        let Some(pace) = self.pace.filter(|pace| *pace > 0.0) else { return left.clamp(1, SUBMIT) };
        let balanced = (2.0 * left as f64 * overhead.as_secs_f64() / pace).sqrt();
        let fits = within.map_or(f64::INFINITY, |within| within.as_secs_f64() / pace);
        (balanced.min(fits) as usize).clamp(1, MOST).min(left.max(1))
    }
}

impl Lots {
    fn new(device: &mut Device, reader: &Reader, rows: usize, prompt: usize) -> Result<Lots, ComputeError> {
        let picks = device.alloc("decode.picks", &[rows, PICK], DType::U32)?;
        let prompts = device.alloc("decode.prompts", &[rows, prompt.max(1)], DType::U32)?;
        let drawn = device.alloc("decode.drawn", &[MOST, rows, 2], DType::U32)?;
        let mut rec = Recording::new(device);
        ops::sample(&mut rec, &picks, &reader.logits, &prompts, &reader.ids, &reader.positions, &drawn)?;
        let sample = rec.compile()?;
        Ok(Lots { picks, prompts, drawn, sample, changes: Vec::new() })
    }

    /// A later change of a row replaces an earlier one.
    fn change(&mut self, change: Change) {
        self.changes.retain(|earlier| earlier.row != change.row);
        self.changes.push(change);
    }

    /// Writes the changed rows: all at once if every row changes, since a write costs more than its bytes.
    fn apply(&mut self, device: &mut Device, ids: &Tensor, positions: &Tensor) -> Result<(), ComputeError> {
        let (rows, width) = (ids.len(), self.prompts.cols());
        let changes = std::mem::take(&mut self.changes);
        if changes.len() < rows || !changes.iter().enumerate().all(|(i, change)| change.row == i) {
            for Change { row, id, position, prompt, pick } in changes {
                device.write(&ids.part("id", row, &[1]), &[id])?;
                device.write(&positions.part("position", row, &[1]), &[position])?;
                device.write(&self.picks.part("pick", row * PICK, &[PICK]), &pick)?;
                if !prompt.is_empty() {
                    device.write(&self.prompts.part("prompt", row * width, &[prompt.len()]), &prompt)?;
                }
            }
            return Ok(());
        }
        let mut prompts = vec![0; rows * width];
        for (prompt, change) in prompts.chunks_exact_mut(width).zip(&changes) {
            prompt[..change.prompt.len()].copy_from_slice(&change.prompt);
        }
        let picks: Vec<u32> = changes.iter().flat_map(|change| change.pick).collect();
        device.write(ids, &changes.iter().map(|change| change.id).collect::<Vec<_>>())?;
        device.write(positions, &changes.iter().map(|change| change.position).collect::<Vec<_>>())?;
        device.write(&self.picks, &picks)?;
        device.write(&self.prompts, &prompts)
    }
}

/// The tokens of the last steps.
pub(super) struct Ring {
    words: Vec<u32>,
    rows: usize,
}

impl Ring {
    /// The token of a row at a position.
    pub(super) fn at(&self, row: usize, place: usize) -> Drawn {
        let slot = 2 * (place % MOST * self.rows + row);
        let word = |i: usize| self.words.get(i).copied().unwrap_or(0);
        Drawn { id: word(slot), logprob: f32::from_bits(word(slot + 1)) }
    }
}
