//! A stage as a folder for torchrun.

use serde_json::{Map, Value, json};

use super::{files, plan::plan};
use crate::{
    base::{StageId, clean},
    compute::Device,
    store::{Book, NewFile, Run},
    train::{
        config::{RunConfig, SourceConfig, UNKNOWN, setup::Setup},
        error::TrainError,
        export::{BUILTIN_LICENCE, is_builtin},
        run::tokenizer::heal_tokenizer,
        stages::{
            self,
            given::{Given, GivenRows, Work},
            opening::Opening,
        },
    },
};

/// The version of handover.json.
pub(super) const FORMAT: u64 = 1;
/// Tokens beyond which the texts are given in place of rows: the rows would take 12 bytes a token.
const MOST_ROWS: u64 = 10_000_000_000;
/// A hash before it is known.
const HASH: usize = 64;

const SCRIPT: &str = include_str!("../../../../assets/handover/train.py");
const HELPERS: &str = include_str!("../../../../assets/handover/danlu_handover.py");
const REQUIREMENTS: &str = include_str!("../../../../assets/handover/requirements.txt");
const ACCELERATE: &str = include_str!("../../../../assets/handover/accelerate.yaml");
const README: [&str; 2] =
    [include_str!("../../../../assets/handover/README.md"), include_str!("../../../../assets/handover/README.zh.md")];

/// A stage as files.
pub struct HandOver {
    /// The files; handover.json, which has the hashes of the others, is the last.
    pub files: Vec<NewFile<'static>>,
    /// What a reader should know, a sentence each.
    pub notes: Vec<String>,
    /// Steps.
    pub steps: usize,
    /// Rows or pairs, with a word for what they are.
    pub rows: (u64, &'static str),
}

/// The stage of `setup` as files: everything from its newest checkpoint on, or from its start. The device serves the
/// stages of preferences, whose pairs the run's own model may have to answer first. `chinese`: the language of the
/// README.
///
/// # Errors
/// If the stage cannot be opened, or has something that the other trainer cannot do.
pub fn hand_over(
    run: &Run,
    device: &mut Device,
    config: &RunConfig,
    setup: &Setup,
    chinese: bool,
) -> Result<HandOver, TrainError> {
    let stage = setup.stage;
    stages::may_give(stage)?;
    let (model, stage_plan) = (config.model()?, config.plan(stage)?);
    let mut notes = Vec::new();
    if let Some(missing) = crate::train::run::lineage::missing(run.view(), stage, false)? {
        return Err(TrainError::Input(missing));
    }
    heal_tokenizer(run, &mut notes)?;
    let mut opening = Opening { run, device, config, setup, stage, plan: &stage_plan, model, notes: &mut notes };
    let given = stages::give(&mut opening)?;
    let numbers = plan(config, stage, &stage_plan, &given)?;
    let (steps, done, sources) = (given.steps, given.state.step as usize, sources(config, stage, &given));
    let Given { model, head, table, params, tokenizer, state, epoch_tokens, work, .. } = given;
    let parameters = table.parameters();
    let mut files = files::model((&model, head), table, params, &tokenizer, stage)?;
    let (mut packed, mut shards, mut held) = (false, Vec::new(), Map::new());
    let rows = match work {
        Work::Rows(given) => {
            packed = given.packed;
            let shape = given.batcher.history().at(state.step).shape;
            let count = (steps * shape.rows * shape.micros) as u64;
            let tokens = count * shape.window as u64;
            let too_many = tokens > MOST_ROWS;
            if too_many && packed {
                return Err(TrainError::Input(format!(
                    "{stage} would draw {tokens} tokens, more than the {MOST_ROWS} that are written as rows, and rows of conversations cannot be drawn by the script; lower --steps"
                )));
            }
            if too_many {
                let (streams, told) = files::shards(&given, shape.window)?;
                files.extend(streams);
                shards = told;
                notes.push(format!(
                    "{tokens} tokens are more than {MOST_ROWS}: the texts are given in place of rows, and the script draws windows by the sources' shares in an order of its own, so that its losses cannot be compared with danlu's step by step"
                ));
            }
            let GivenRows { batcher, sample, whole, .. } = *given;
            for (name, rows) in [("sample", sample), ("whole", whole)] {
                let (file, told) = files::held_out(name, rows, shape.window);
                files.push(file);
                held.insert(name.to_owned(), told);
            }
            if !too_many {
                files.extend(files::rows(batcher, shape, done, steps));
            }
            (count, "rows")
        }
        Work::Pairs(given) => {
            files.extend(files::pairs(&given)?);
            (given.order.iter().map(|step| step.len() as u64).sum(), "pairs")
        }
        Work::Prompts(given) => {
            notes.push(
                "the answers of grpo are the script's own: its figures are like danlu's, not the same draws".to_owned(),
            );
            files.extend(files::prompts(&given)?);
            (given.asked.len() as u64, "prompts")
        }
    };
    if stage.draws_text() {
        notes.push("edits of run.toml and of the texts from now on do not reach the hand-over".to_owned());
    }
    let book = Book::default();
    let mut files: Vec<NewFile<'static>> = files.into_iter().map(|file| file.noted(&book)).collect();
    let told = json!({
        "format": FORMAT,
        "danlu": env!("CARGO_PKG_VERSION"),
        "run": run.view().name(),
        "stage": stage,
        "size": config.size,
        "seed": config.seed,
        "step": done,
        "total_tokens": state.total_tokens,
        "parent": state.parent,
        "parent_digest": state.parent_digest,
        "reward_model": state.reward_model,
        "history": state.history,
        "data": state.data,
        "plan": numbers,
        "parameters": parameters,
        "packed": packed,
        "epoch_tokens": epoch_tokens,
        "sources": sources,
        "shards": shards,
        "heldout": held,
        "notes": notes,
    });
    let readme = README[usize::from(chinese)].replace("{stage}", stage.name()).replace("{run}", &run.view().name());
    let texts = [
        ("README.md", readme.as_str()),
        ("train.py", SCRIPT),
        ("danlu_handover.py", HELPERS),
        ("requirements.txt", REQUIREMENTS),
        ("accelerate.yaml", ACCELERATE),
    ];
    let last = index(told, &files, book)?;
    files.extend(texts.map(|(name, text)| NewFile::bytes(name, text)));
    files.push(last);
    Ok(HandOver { files, notes, steps, rows })
}

/// handover.json, which gets the hashes of the files that were written before it.
fn index(told: Value, files: &[NewFile<'_>], book: Book) -> Result<NewFile<'static>, TrainError> {
    let text = |told: &Value, files: Map<String, Value>| {
        let mut told = told.clone();
        told["files"] = files.into();
        clean::json_pretty(&told).map(|text| text + "\n")
    };
    let unknown = "0".repeat(HASH);
    let before = files.iter().map(|file| (file.name().to_owned(), json!({"bytes": file.len(), "blake3": unknown})));
    let length = text(&told, before.collect()).map_err(|e| TrainError::Input(format!("handover.json: {e}")))?.len();
    Ok(NewFile::writer("handover.json", length as u64, move |to| {
        let files = book.read().into_iter().map(|(name, info)| (name, json!(info))).collect();
        to.write_all(text(&told, files)?.as_bytes())
    }))
}

/// The sources of a stage with their shares and licences.
fn sources(config: &RunConfig, stage: StageId, given: &Given) -> Vec<Value> {
    let origin = |name: &str| {
        let known = config.source.iter().chain(&config.stage(stage).source).find(|source| source.name == name);
        known.map_or([UNKNOWN, UNKNOWN], SourceConfig::origin)
    };
    let pair = |[license, url]: [&str; 2]| (license.to_owned(), url.to_owned());
    let licence = |name: &str| {
        let builtin = is_builtin(config, stage);
        pair(if builtin { [BUILTIN_LICENCE, UNKNOWN] } else { origin(name) })
    };
    match &given.work {
        Work::Rows(rows) => {
            let told = rows.sources.iter().map(|source| {
                let (license, url) = licence(&source.name);
                json!({"name": source.name, "weight": source.weight, "documents": source.documents,
                    "tokens": source.tokens, "held_out_tokens": source.held_out_tokens, "license": license, "url": url})
            });
            told.collect()
        }
        Work::Pairs(pairs) => {
            let written = &config.stage(StageId::Reward).source;
            let names: Vec<&str> = written.iter().map(|source| source.name.as_str()).collect();
            let (license, url) = match written.first() {
                None => pair([BUILTIN_LICENCE, UNKNOWN]),
                Some(first) if written.len() == 1 => pair(first.origin()),
                Some(_) => (names.join(", "), UNKNOWN.to_owned()),
            };
            vec![json!({"name": "pairs", "weight": 1.0, "documents": pairs.train.len(),
                "tokens": given.epoch_tokens, "held_out_tokens": pairs.held_out_tokens, "license": license, "url": url})]
        }
        Work::Prompts(prompts) => vec![json!({"name": "prompts", "weight": 1.0, "documents": prompts.different,
            "tokens": 0, "held_out_tokens": 0, "license": BUILTIN_LICENCE, "url": UNKNOWN})],
    }
}
