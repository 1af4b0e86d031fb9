//! `danlu data`: the cleaning funnel, dropped documents, the mix, the tokenizer. Training uses the same prepared data.

use std::{path::PathBuf, time::Instant};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    base::StageId,
    cli::{
        Common, Outcome, output, reading,
        signals::{self, Stopping},
    },
    data::clean::Funnel,
    store::Run,
    train::{
        Corpus, Setup, TrainError, config::UNKNOWN, corpus, export::BUILTIN_LICENCE, heal_tokenizer, keeps_tokenizer,
        open_run, prune_data,
    },
};

/// Clean and tokenize a run's text: the funnel, the mix, the tokenizer
#[derive(Args)]
pub(in crate::cli) struct Data {
    /// The run's folder; created if missing. Default: the newest in ./runs, or a new one there
    #[arg(long)]
    run: Option<PathBuf>,
    /// One JSON object per line: a source each, the tokenizer, and the funnel
    #[arg(long)]
    json: bool,
    /// Also list the dropped documents, each with its rule, value and bound; with RULE only those
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "")]
    dropped: Option<String>,
}

impl Data {
    pub(super) fn run(&self, common: &Common) -> Outcome {
        let began = Instant::now();
        let stopping = Stopping::default();
        let setup = Setup {
            stage: StageId::Pretrain,
            seed: common.seed,
            stop: stopping.flag(),
            progress: reading::progress(common.language()),
            ..Setup::default()
        };
        signals::on_stop(&stopping, || {})?;
        let mut device = common.device()?;
        let (run, config) = open_run(self.run.as_deref(), &setup, &mut device)?;
        drop(device);
        let mut healed = Vec::new();
        heal_tokenizer(&run, &mut healed)?;
        for text in &healed {
            output::note(text);
        }
        let vocab_size = config.model().map_err(TrainError::from)?.vocab_size;
        let corpus = match Corpus::load(&config, &run, &run.view().data_dir(), vocab_size, false, &setup.monitor()) {
            Err(stop @ TrainError::Stopped) => {
                output::note(&stop.to_string());
                return Ok(());
            }
            loaded => loaded?,
        };
        if run.view().data_dir().join("tokenizer.json").is_file() {
            keeps_tokenizer(&config, &corpus.tokenizer, &run.view().config().map_err(TrainError::from)?)?;
        }
        prune_data(&run, &corpus.version)?;
        let mut whole = Funnel::default();
        corpus.funnels.iter().for_each(|(_, _, funnel)| whole.merge(funnel));
        let origin = |name: &str| match config.source.iter().find(|s| s.name == name) {
            Some(source) => source.origin().map(str::to_owned),
            None => [BUILTIN_LICENCE, UNKNOWN].map(str::to_owned),
        };
        let weights: Vec<f64> = corpus.funnels.iter().map(|(_, weight, _)| *weight).collect();
        let tokenizer = corpus::room(&corpus, &config, &weights)?.tokenizer;
        let tokens: usize = corpus.packed.iter().map(|s| s.train.len() + s.held_out.len()).sum();
        let seconds = began.elapsed().as_secs_f64();
        if self.json {
            corpus.notes.iter().for_each(|text| output::json(&json!({"event": "note", "text": text})));
            for (name, weight, funnel) in &corpus.funnels {
                let packed = corpus.packed.iter().find(|s| s.name == *name);
                let held_out = packed.map_or(0, |s| s.held_out.len());
                let mut line = counts(funnel);
                line["name"] = name.as_str().into();
                line["weight"] = (*weight).into();
                [line["license"], line["url"]] = origin(name).map(Value::from);
                line["tokens"] = (packed.map_or(0, |s| s.train.len()) + held_out).into();
                line["held_out_tokens"] = held_out.into();
                line["held_out_documents"] = packed.map_or(0, |s| s.held_out.documents()).into();
                event("source", &line);
            }
            event("tokenizer", &tokenizer);
            self.tell_dropped(&run, &corpus.version)?;
            let mut line = counts(&whole);
            line["tokens"] = tokens.into();
            line["seconds"] = seconds.into();
            event("funnel", &line);
            return Ok(());
        }
        corpus.notes.iter().for_each(|text| output::note(text));
        for (name, weight, funnel) in &corpus.funnels {
            let packed = corpus.packed.iter().find(|s| s.name == *name);
            let (train, held_out) = packed.map_or((0, 0), |s| (s.train.len(), s.held_out.len()));
            let [license, url] = origin(name);
            output::text(&format!(
                "{name}  weight {weight}  {} of {} documents  {train} tokens to train on, {held_out} held out  license {license}  url {url}",
                funnel.kept.documents, funnel.documents_in
            ));
        }
        output::text(&format!("in        {:>12} documents  {:>14} bytes", whole.documents_in, whole.bytes_in));
        for (rule, tally) in &whole.dropped {
            output::text(&format!("  {:>12} documents  {:>14} bytes  {rule}", tally.documents, tally.bytes));
        }
        output::text(&format!("out       {:>12} documents  {:>14} bytes", whole.kept.documents, whole.kept.bytes));
        output::text(&format!(
            "tokenizer {} of {} tokens: {:.2} characters and {:.2} bytes per token, {:.3} % byte fallback, {:.3} % unknown",
            tokenizer.kind,
            tokenizer.vocab_size,
            tokenizer.characters_per_token,
            tokenizer.bytes_per_token,
            100.0 * tokenizer.fallback_share,
            100.0 * tokenizer.unknown_share,
        ));
        self.tell_dropped(&run, &corpus.version)?;
        output::text(&format!("{tokens} tokens in {seconds:.1} s"));
        Ok(())
    }

    /// Prints the requested dropped documents.
    fn tell_dropped(&self, run: &Run, version: &str) -> Result<(), TrainError> {
        let Some(rule) = &self.dropped else { return Ok(()) };
        let (mut from, rule) = (0, Some(rule.as_str()).filter(|rule| !rule.is_empty()));
        loop {
            let page = corpus::dropped(run.view(), version, (None, rule), from, PAGE)?;
            for one in &page.items {
                if self.json {
                    event("dropped", one);
                    continue;
                }
                let text: String = one.text.iter().flat_map(|t| t.chars()).take(BEGINNING).collect();
                let twin = one.twin.as_ref().map_or_else(String::new, |t| format!("  of {} {}", t.file, t.place));
                let (file, place, value) = (&one.file, one.place, one.value);
                let line = format!("{file} {place}  {} {value:.3} ({}){twin}  {text}", one.rule, one.threshold);
                output::text(&line);
            }
            from += page.items.len();
            if page.items.is_empty() || from >= page.of {
                return Ok(());
            }
        }
    }
}

/// Dropped documents read at a time.
const PAGE: usize = 4096;
/// Characters of a dropped document per line.
const BEGINNING: usize = 40;

/// Prints an event.
fn event(name: &str, fields: &impl Serialize) {
    let mut line = json!(fields);
    line["event"] = name.into();
    output::json(&line);
}

/// A funnel as JSON: documents read = documents kept + documents dropped by each rule.
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
