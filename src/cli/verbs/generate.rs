//! `danlu generate`: continue a text or token ids.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::json;

use super::{doors::source, ids};
use crate::{
    base::StageId,
    cli::{Common, Failure, Outcome, output},
    compute::Device,
    data::{Role, Turn, Words, read_in},
    nn::{Decoder, ModelConfig, Sampling, Weights},
    train::{TrainError, model_folder},
};

/// Text is printed at least this often, if the model is fast enough.
const SHOWN: Duration = Duration::from_millis(30);

/// Continue a text (or token ids) with a run's newest checkpoint or a model's folder
#[derive(Args)]
pub(in crate::cli) struct Generate {
    /// A run's folder; uses its newest checkpoint of the furthest stage
    #[arg(long, conflicts_with = "model")]
    run: Option<PathBuf>,
    /// A model's folder: config.json and model.safetensors
    #[arg(long)]
    model: Option<PathBuf>,
    /// The stage whose newest checkpoint is used
    #[arg(long, conflicts_with = "model")]
    stage: Option<StageId>,
    /// Text to continue
    #[arg(long, conflicts_with = "ids")]
    prompt: Option<String>,
    /// File of {"input_ids": [[…]]}
    #[arg(long)]
    ids: Option<PathBuf>,
    /// Most tokens to draw
    #[arg(long, default_value_t = 64)]
    max_new_tokens: usize,
    /// Sampling temperature; 0 takes the likeliest token
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// Keep the k likeliest tokens; 0 keeps all
    #[arg(long, default_value_t = 40)]
    top_k: usize,
    /// Keep the likeliest tokens up to this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Penalty on the logits of tokens seen before; 1 changes nothing
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f32,
    /// Use the chat template: the prompt is the user's turn, the answer ends with its turn
    #[arg(long, conflicts_with = "ids")]
    chat: bool,
    /// Do not stop at the end-of-text token (in a chat: at the end of the turn)
    #[arg(long)]
    ignore_eos: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Most tokens of a prompt with its continuation, which is the longest context that is created.
const MOST_TOKENS: usize = 1 << 20;

/// An opened model.
struct Opened {
    folder: PathBuf,
    config: ModelConfig,
    device: Device,
    weights: Weights,
}

impl Generate {
    /// The prompt to continue.
    #[cfg(test)]
    pub(super) fn asked(&self) -> Option<&str> {
        self.prompt.as_deref()
    }

    pub(super) fn run(&self, common: &Common) -> Outcome {
        let sampling = self.sampling(common)?;
        let folder = self.folder()?;
        let (config, table, slab) = model_folder::load(&folder)?;
        let mut device = common.device()?;
        let weights = Weights::alloc(&mut device, "params", &table.into())?;
        weights.write(&mut device, &slab)?;
        let mut model = Opened { folder, config, device, weights };
        match (&self.prompt, &self.ids) {
            (Some(prompt), None) => self.text(&mut model, prompt, &sampling),
            (None, Some(path)) => self.rows(&mut model, path, &sampling),
            _ => Err(Failure::usage("give --prompt TEXT or --ids FILE")),
        }
    }

    fn sampling(&self, common: &Common) -> Result<Sampling, Failure> {
        let s = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            seed: common.seed.unwrap_or(42),
        };
        let wrong = |what: String| Err(Failure::usage(what));
        if !(s.temperature.is_finite() && s.temperature >= 0.0) {
            return wrong(format!("--temperature is {}; expected 0 or more, and finite", s.temperature));
        }
        if !(s.top_p > 0.0 && s.top_p <= 1.0) {
            return wrong(format!("--top-p is {}; expected more than 0, at most 1", s.top_p));
        }
        if !(s.repetition_penalty.is_finite() && s.repetition_penalty > 0.0) {
            return wrong(format!(
                "--repetition-penalty is {}; expected more than 0, and finite",
                s.repetition_penalty
            ));
        }
        Ok(s)
    }

    /// The model's folder: the named one, or a run's newest checkpoint that verifies.
    fn folder(&self) -> Result<PathBuf, Failure> {
        match &self.model {
            Some(model) => Ok(model.clone()),
            None => source::folder(self.run.as_deref(), self.stage, None),
        }
    }

    fn text(&self, model: &mut Opened, prompt: &str, how: &Sampling) -> Outcome {
        let Some(tokenizer) = model_folder::tokenizer(&model.folder)? else {
            return Err(Failure::usage(format!(
                "{} has no tokenizer.json; --prompt needs one, --ids does not",
                model.folder.display()
            )));
        };
        if let Some(remark) = tokenizer.remark() {
            output::note(remark);
        }
        if prompt.is_empty() {
            return Err(Failure::usage("--prompt is empty; give at least one character"));
        }
        let mut ends = model_folder::ends(&model.folder, &model.config)?;
        if ends.is_empty() {
            ends.extend(tokenizer.end_of_text());
        }
        let question = [Turn::new(Role::User, prompt)];
        let words = if self.chat {
            let Some(end) = tokenizer.turn_end() else {
                let why = tokenizer.refused_template().map_or_else(
                    || "lacks the tokens of the chat template in tokenizer.json".to_owned(),
                    |why| format!("has a chat template that cannot be used: {why}"),
                );
                return Err(Failure::usage(format!(
                    "{} {why}; leave --chat out, or train it: danlu train --stage sft",
                    model.folder.display()
                )));
            };
            ends.push(end);
            Words::Chat(&question)
        } else {
            Words::Text(prompt)
        };
        let window = model.config.max_position_embeddings;
        let asked = read_in(words, &tokenizer, window, self.max_new_tokens).map_err(TrainError::from)?;
        let (tokens, left_out) = (asked.ids, asked.left_out.tokens);
        if tokens.len() == tokenizer.begin().len() {
            return Err(Failure::usage("--prompt encodes to no token; give another text"));
        }
        if left_out > 0 {
            output::note(&format!(
                "the first {left_out} tokens of the prompt are left out: the model has {window} positions (max_position_embeddings), some reserved for the answer; a smaller --max-new-tokens leaves more of them for the prompt"
            ));
        }
        if tokenizer.ends_texts() && !self.chat {
            output::note(
                "the tokenizer puts the end-of-text token after every text; it is left out, since the prompt is continued",
            );
        }
        let known = tokenizer.vocab_size().min(model.config.vocab_size);
        let mut stream = tokenizer.stream_rest(&tokens, true);
        let mut text = String::new();
        let mut shown = (!self.json).then(output::Flowing::default);
        let mut show = |piece: Option<String>| {
            if let Some(piece) = piece {
                if let Some(shown) = &mut shown {
                    shown.push(&piece);
                }
                text.push_str(&piece);
            }
        };
        let (ids, reason) = self.draw(model, &tokens, known, &ends, how, |id| show(stream.push(id)))?;
        show(stream.finish());
        match shown {
            Some(shown) => shown.finish(),
            None => output::json(&json!({"text": text, "ids": ids[tokens.len()..], "finish_reason": reason})),
        }
        past_the_window(ids.len(), window);
        Ok(())
    }

    fn rows(&self, model: &mut Opened, path: &Path, how: &Sampling) -> Outcome {
        let ids = ids::read(path, model.config.vocab_size)?;
        let known = model.config.vocab_size;
        let ends = model_folder::ends(&model.folder, &model.config)?;
        let rows = ids
            .rows()
            .iter()
            .map(|row| Ok(self.draw(model, row, known, &ends, how, |_| ())?.0))
            .collect::<Result<Vec<_>, Failure>>()?;
        past_the_window(rows.iter().map(Vec::len).max().unwrap_or(0), model.config.max_position_embeddings);
        if self.json {
            output::json(&json!({"ids": rows}));
        } else {
            for row in rows {
                output::text(&row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            }
        }
        Ok(())
    }

    /// Continues `tokens`, sampling among the first `known` ids; returns the whole text and the reason it ended.
    fn draw(
        &self,
        model: &mut Opened,
        tokens: &[u32],
        known: usize,
        ends: &[u32],
        how: &Sampling,
        mut each: impl FnMut(u32),
    ) -> Result<(Vec<u32>, &'static str), Failure> {
        let mut all = tokens.to_vec();
        let mark = model.device.mark();
        let capacity = tokens.len().checked_add(self.max_new_tokens).filter(|all| *all <= MOST_TOKENS).ok_or_else(|| {
            let (new, read) = (self.max_new_tokens, tokens.len());
            Failure::usage(format!("--max-new-tokens {new} and the {read} tokens of the prompt are more than {MOST_TOKENS}; choose fewer"))
        })?;
        let mut decoder = Decoder::new(&mut model.device, &model.config, &model.weights, capacity)?;
        let mut reason = "length";
        'text: while all.len() < capacity {
            let left = capacity - all.len();
            for next in decoder.draw(&mut model.device, &all, how, known, left, Some(SHOWN))? {
                if ends.contains(&next.id) && !self.ignore_eos {
                    reason = "stop";
                    break 'text;
                }
                all.push(next.id);
                each(next.id);
            }
        }
        drop(decoder);
        model.device.release(mark);
        Ok((all, reason))
    }
}

/// A warning that a text exceeds the model's context.
pub(super) fn past_the_window(tokens: usize, window: usize) {
    if tokens > window {
        output::note(&format!(
            "the text has {tokens} tokens and the model {window} positions (max_position_embeddings): expect worse output past them"
        ));
    }
}
