//! Generation with a key/value cache: tokens in, logits of the next one out.

use crate::{
    compute::{ComputeError, DType, Device, Layout, Program, Recording, Tensor, matmul},
    nn::{
        config::ModelConfig,
        params::Weights,
        rows::{self, Attend, Shape},
        trunk::{Trunk, rope_table},
    },
};

/// Rows that a prompt is read in at a time.
const CHUNK: usize = 16;

/// One recorded pass over n new rows.
struct Reader {
    rows: usize,
    ids: Tensor,
    positions: Tensor,
    logits: Tensor,
    program: Program,
}

/// One sequence under generation over live weights.
pub struct Decoder {
    passes: [Reader; 2],
    vocab: usize,
    capacity: usize,
    length: usize,
}

impl Decoder {
    /// Records passes over `weights` for texts of at most `capacity` tokens.
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        capacity: usize,
    ) -> Result<Decoder, ComputeError> {
        let act = device.traits().act;
        let rope = rope_table(device, config, capacity)?;
        let width = 2 * config.num_key_value_heads * config.head_dim;
        let caches = (0..config.num_hidden_layers)
            .map(|i| device.alloc(&format!("cache.{i}"), &[1, capacity, width], act))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pass = |rows: usize| -> Result<Reader, ComputeError> {
            let shape = Shape { b: 1, t: rows };
            let ids = device.alloc("decode.ids", &[rows], DType::U32)?;
            let positions = device.alloc("decode.positions", &[rows], DType::U32)?;
            let logits = device.alloc("decode.logits", &[rows, config.vocab_size], act)?;
            let trunk = Trunk::alloc(device, config, weights, shape, false)?;
            let mut rec = Recording::new(device);
            let attend = Attend::Cache(&caches);
            let pass = rows::Pass { shape, positions: &positions, rope: &rope, attend, dropout: None };
            trunk.forward(&mut rec, &ids, &pass)?;
            matmul(&mut rec, Layout::NT, trunk.output(), &weights.head(), &logits, false)?;
            Ok(Reader { rows, ids, positions, logits, program: rec.compile()? })
        };
        let passes = [pass(1)?, pass(CHUNK)?];
        Ok(Decoder { passes, vocab: config.vocab_size, capacity, length: 0 })
    }

    /// Forgets the text.
    pub fn reset(&mut self) {
        self.length = 0;
    }

    /// Tokens read so far.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True before the first token.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tokens there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Reads more tokens and returns the logits \[V\] after the last of them.
    pub fn feed(&mut self, device: &mut Device, tokens: &[u32]) -> Result<Vec<f32>, ComputeError> {
        let wrong = |what: String| ComputeError::Shape { op: "decode", what };
        if tokens.is_empty() || self.length + tokens.len() > self.capacity {
            return Err(wrong(format!(
                "{} tokens after {} do not fit in {}",
                tokens.len(),
                self.length,
                self.capacity
            )));
        }
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.vocab) {
            return Err(wrong(format!("token id {id} is outside the vocabulary of {}", self.vocab)));
        }
        let mut rest = tokens;
        loop {
            let pass = if rest.len() == 1 { &self.passes[0] } else { &self.passes[1] };
            let (now, later) = rest.split_at(pass.rows.min(rest.len()));
            // A short chunk is filled with its last token; the positions past the text lie past what
            // any row sees, and are overwritten by the tokens that come there.
            let mut ids = now.to_vec();
            ids.resize(pass.rows, now[now.len() - 1]);
            let positions: Vec<u32> = (0..pass.rows).map(|i| (self.length + i) as u32).collect();
            device.write(&pass.ids, &ids)?;
            device.write(&pass.positions, &positions)?;
            device.replay(&[&pass.program])?;
            self.length += now.len();
            if later.is_empty() {
                return device.read_floats(&pass.logits.part("logits", (now.len() - 1) * self.vocab, &[self.vocab]));
            }
            rest = later;
        }
    }
}
