//! `danlu data`: the cleaning funnel, the mix, the tokenizer. What it prepares is what training reads.

use std::{path::PathBuf, time::Instant};

use clap::Args;
use serde_json::{Value, json};

use super::{Common, Outcome, output, signals::Stopping, train::visible};
use crate::{
    data::clean::Funnel,
    train::{Corpus, Setup, TrainError, corpus, open_run},
};

/// Clean and tokenise a run's text: the funnel, the mix, the tokenizer
#[derive(Args)]
pub(super) struct Data {
    /// The run's folder; made if it is missing. Without it: the newest in ./runs, or a new one there
    #[arg(long)]
    run: Option<PathBuf>,
    /// One JSON object a line: a source each, the tokenizer, and the funnel
    #[arg(long)]
    json: bool,
}

impl Data {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        let began = Instant::now();
        let stopping = Stopping::default();
        let setup =
            Setup { stage: "pretrain".to_owned(), seed: common.seed, stop: stopping.flag(), ..Setup::default() };
        super::signals::on_stop(&stopping, || {})?;
        let mut device = common.device()?;
        let (run, config) = open_run(self.run.as_deref(), &setup, &mut device)?;
        drop(device);
        let vocab_size = config.model().map_err(TrainError::from)?.vocab_size;
        let corpus = match Corpus::load(&config, &run, &run.view().data_dir(), vocab_size, false, &stopping.flag()) {
            Err(stop @ TrainError::Stopped) => {
                output::note(&stop.to_string());
                return Ok(());
            }
            loaded => loaded?,
        };
        corpus::prune(&run.preparer(), &corpus.version, &[]).map_err(TrainError::from)?;
        let mut whole = Funnel::default();
        corpus.funnels.iter().for_each(|(_, _, funnel)| whole.merge(funnel));
        let tokenizer = measured(&corpus)?;
        let tokens: usize = corpus.packed.iter().map(|s| s.train.len() + s.held_out.len()).sum();
        let seconds = began.elapsed().as_secs_f64();
        if self.json {
            corpus.notes.iter().for_each(|text| output::json(&json!({"event": "note", "text": text})));
            for (name, weight, funnel) in &corpus.funnels {
                let packed = corpus.packed.iter().find(|s| s.name == *name);
                let held_out = packed.map_or(0, |s| s.held_out.len());
                let mut line = counts(funnel);
                line["event"] = "source".into();
                line["name"] = name.as_str().into();
                line["weight"] = (*weight).into();
                line["tokens"] = (packed.map_or(0, |s| s.train.len()) + held_out).into();
                line["held_out_tokens"] = held_out.into();
                line["held_out_documents"] = packed.map_or(0, |s| s.held_out.documents()).into();
                output::json(&line);
            }
            output::json(&tokenizer);
            let mut line = counts(&whole);
            line["event"] = "funnel".into();
            line["tokens"] = tokens.into();
            line["seconds"] = seconds.into();
            output::json(&line);
            return Ok(());
        }
        corpus.notes.iter().for_each(|text| output::note(&visible(text)));
        for (name, weight, funnel) in &corpus.funnels {
            let packed = corpus.packed.iter().find(|s| s.name == *name);
            let (train, held_out) = packed.map_or((0, 0), |s| (s.train.len(), s.held_out.len()));
            output::text(&visible(&format!(
                "{name}  weight {weight}  {} of {} documents  {train} tokens to train on, {held_out} held out",
                funnel.kept.documents, funnel.documents_in
            )));
        }
        output::text(&format!("in        {:>12} documents  {:>14} bytes", whole.documents_in, whole.bytes_in));
        for (rule, tally) in &whole.dropped {
            output::text(&format!("  {:>12} documents  {:>14} bytes  {rule}", tally.documents, tally.bytes));
        }
        output::text(&format!("out       {:>12} documents  {:>14} bytes", whole.kept.documents, whole.kept.bytes));
        output::text(&format!(
            "tokenizer {} of {} tokens: {:.2} characters and {:.2} bytes a token, {:.3} % byte fallback",
            tokenizer["kind"].as_str().unwrap_or_default(),
            tokenizer["vocab_size"],
            tokenizer["characters_per_token"].as_f64().unwrap_or_default(),
            tokenizer["bytes_per_token"].as_f64().unwrap_or_default(),
            100.0 * tokenizer["fallback_share"].as_f64().unwrap_or_default(),
        ));
        output::text(&format!("{tokens} tokens in {seconds:.1} s"));
        Ok(())
    }
}

/// A funnel's numbers: what came in is what went out and what the rules dropped.
fn counts(funnel: &Funnel) -> Value {
    let rules: serde_json::Map<String, Value> =
        funnel.dropped.iter().map(|(rule, tally)| (rule.clone(), tally.documents.into())).collect();
    let [emails, addresses, phones, identities] = funnel.masked;
    json!({
        "documents_in": funnel.documents_in,
        "documents_out": funnel.kept.documents,
        "bytes_in": funnel.bytes_in,
        "bytes_out": funnel.kept.bytes,
        "bytes_read": funnel.bytes_read,
        "rules": rules,
        "masked": {"emails": emails, "addresses": addresses, "phones": phones, "identities": identities},
    })
}

/// Ids of every source that the tokenizer is measured on.
const MEASURED: usize = 1 << 20;

/// The tokenizer on the beginning of every source's training text, all alike.
fn measured(corpus: &Corpus) -> Result<Value, TrainError> {
    let tokenizer = &corpus.tokenizer;
    let (mut ids, mut characters, mut bytes, mut fallback) = (0, 0, 0, 0);
    for source in corpus.packed.iter() {
        let mut some = Vec::new();
        source.train.read(0..MEASURED, &mut some)?;
        some.retain(|id| !tokenizer.is_special(*id));
        let text = tokenizer.decode(&some, true);
        ids += some.len();
        characters += text.chars().count();
        bytes += text.len();
        let is_byte = |id: &&u32| tokenizer.token(**id).is_some_and(|t| t.starts_with("<0x") && t.len() == 6);
        fallback += if tokenizer.is_char() { some.iter().filter(is_byte).count() } else { 0 };
    }
    let per = |n: usize| n as f64 / ids.max(1) as f64;
    Ok(json!({
        "event": "tokenizer",
        "kind": if tokenizer.is_char() { "char" } else { "bpe" },
        "vocab_size": tokenizer.vocab_size(),
        "characters_per_token": per(characters),
        "bytes_per_token": per(bytes),
        "fallback_share": per(fallback),
    }))
}
