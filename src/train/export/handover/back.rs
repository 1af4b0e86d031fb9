//! What the script of a hand-over saved, as a checkpoint of the run.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::give::FORMAT;
use crate::{
    base::{StageId, shell},
    compute::Device,
    data::History,
    nn::{Head, ParamTable},
    protocol::{Event, Line, StepReport},
    store::{CheckpointId, Links, Log, RealFs, Run, each_record, open_limited, read_limited},
    train::{
        config::{RunConfig, setup::Setup},
        error::TrainError,
        run::{
            checkpoint::{self, State, Stay},
            lineage, model_folder,
        },
        stages::{
            self,
            given::Taken,
            opening::{Opening, same_tokenizer},
        },
    },
};

/// The file that says what was handed over.
const NAME: &str = "handover.json";
/// Limit on its length.
const LIMIT: u64 = 64 << 20;
/// Most characters of a name of what trained.
const LONGEST: usize = 120;
/// The files that the script puts beside the weights, and that are checked before anything is used.
const FILES: [&str; 6] =
    ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "metrics.jsonl", "events.jsonl"];

/// What was taken back.
#[derive(Clone, Debug)]
pub struct Back {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// Steps in it.
    pub step: u64,
    /// What trained them.
    pub engine: String,
    /// Steps added to the run's log.
    pub logged: usize,
    /// What a reader should know, a sentence each.
    pub notes: Vec<String>,
}

/// handover.json of a hand-over, with what the script added at the end.
#[derive(Deserialize)]
struct Told {
    run: String,
    stage: StageId,
    seed: u64,
    step: u64,
    parent: Option<String>,
    parent_digest: Option<String>,
    reward_model: Option<(String, String)>,
    history: History,
    data: String,
    result: Option<Trained>,
}

/// What the script says of its training.
#[derive(Deserialize)]
struct Trained {
    step: u64,
    engine: String,
    adapter: String,
    driver: String,
    files: BTreeMap<String, Measure>,
}

/// A file as it was written.
#[derive(Deserialize)]
struct Measure {
    bytes: u64,
    /// None where the script had no blake3.
    blake3: Option<String>,
}

/// A checkpoint of the stage of `setup` from the folder of a hand-over, from its out/model, or from one of its
/// checkpoints. The device serves a reward model, which is measured on the run's held-out pairs.
///
/// # Errors
/// If the folder is none, is incomplete, or belongs to another run, or if the stage has trained since. Then nothing is
/// written.
pub fn take_back(
    run: &Run,
    device: &mut Device,
    config: &RunConfig,
    setup: &Setup,
    dir: &Path,
) -> Result<Back, TrainError> {
    let stage = setup.stage;
    let (from, told, trained) = find(dir, run, stage)?;
    let wrong = |what: String| TrainError::Input(format!("{}: {what}", from.display()));
    belongs(run, config, &told).map_err(wrong)?;
    if trained.step <= told.step {
        return Err(wrong(format!("it is at step {}, where the hand-over began; nothing was trained", told.step)));
    }
    whole(&from, &trained).map_err(wrong)?;
    let lines = logged(&from, stage, told.step, trained.step)?;

    let (mut notes, mut model, plan) = (Vec::new(), config.model()?, config.plan(stage)?);
    let mut opening =
        Opening { run, device, config, setup, stage, plan: &plan, model: model.clone(), notes: &mut notes };
    let tokenizer = opening.known_tokenizer()?;
    same_tokenizer(&from.display().to_string(), &from, &tokenizer, opening.notes)?;
    model_folder::name_tokens(&mut model, &tokenizer);
    let (head, table) = match stage {
        StageId::Reward => (Head::Score, ParamTable::scalar(&model)),
        _ => (Head::Language, ParamTable::new(&model)),
    };
    let params = lineage::weights_as(&from, head, &model, &table)?;
    let mut state = State::new(stage, config.seed, told.history, told.data);
    (state.step, state.total_tokens) = (trained.step, lines.total_tokens);
    (state.parent, state.parent_digest) = (told.parent, told.parent_digest);
    state.reward_model = told.reward_model;
    (state.engine, state.adapter, state.driver) = (trained.engine.clone(), trained.adapter, trained.driver);
    state.fork = lineage::fork_point(run.view())?;
    let Taken { part, model, tokenizer, state, events } = stages::take(&mut opening, state, params)?;

    let parts = vec![part];
    if let Some(what) = checkpoint::non_finite(&parts) {
        return Err(TrainError::Input(format!("{}: {what}; train it with a lower learning_rate", from.display())));
    }
    let engine = trained.engine;
    let logged = append(run, stage, told.step, &lines, events, &engine)?;
    let stay = Stay { pinned: lineage::pinned(run.view())?, ..Stay::default() };
    let written = checkpoint::save(&run.saver(), parts, &model, &tokenizer, &state, &stay)?;
    notes.extend(written.left);
    let path = written.saved.checkpoint.path;
    Ok(Back { checkpoint: path, step: trained.step, engine, logged, notes })
}

/// The folder with the weights, what was handed over, and what was trained.
fn find(dir: &Path, run: &Run, stage: StageId) -> Result<(PathBuf, Told, Trained), TrainError> {
    let wrong = |dir: &Path, what: &str| TrainError::Input(format!("{}: {what}", dir.display()));
    let Some(mut told) = read(dir)? else {
        return Err(wrong(
            dir,
            "there is no handover.json; expected the folder of danlu export --for trl, its out/model, or one of its checkpoints",
        ));
    };
    if told.stage != stage {
        let (theirs, word) = (told.stage, shell::path(run.view().dir()));
        return Err(wrong(
            dir,
            &format!(
                "it is a hand-over of {theirs}, not of {stage}; import it as such: danlu import --run {word} --stage {theirs} {}",
                shell::path(dir)
            ),
        ));
    }
    if let Some(trained) = told.result.take() {
        return Ok((dir.to_owned(), told, trained));
    }
    let model = dir.join("out").join("model");
    let made = read(&model)?.and_then(|mut made| Some((made.result.take()?, made)));
    match made {
        Some((trained, made)) => Ok((model, made, trained)),
        None => Err(wrong(
            dir,
            "train.py has not written out/model yet; let it train to its end, or import one of out/checkpoint-N",
        )),
    }
}

/// The handover.json of a folder; None if it has none.
fn read(dir: &Path) -> Result<Option<Told>, TrainError> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Version {
        format: u64,
        danlu: String,
    }
    let path = dir.join(NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |what: String| TrainError::Input(format!("{}: {what}", path.display()));
    let bytes = read_limited(&RealFs, &path, LIMIT, Links::Follow)?;
    let version: Version =
        serde_json::from_slice(&bytes).map_err(|e| wrong(format!("it is not a handover.json of danlu: {e}")))?;
    if version.format != FORMAT {
        let (format, danlu) = (version.format, version.danlu);
        return Err(wrong(format!("it has format {format}, and this danlu reads {FORMAT}; use danlu {danlu}")));
    }
    let mut told: Told = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("{e}; copy the folder again")))?;
    if let Some(trained) = &mut told.result {
        // They are shown in lines.
        for name in [&mut trained.engine, &mut trained.adapter, &mut trained.driver] {
            *name = name.chars().take(LONGEST).collect();
        }
    }
    Ok(Some(told))
}

/// Whether the run is the one that was handed over, at the step at which it was, or why not.
fn belongs(run: &Run, config: &RunConfig, told: &Told) -> Result<(), String> {
    let (view, stage, started) = (run.view(), told.stage, told.step);
    let (dir, checkpoints) = (shell::path(view.dir()), view.checkpoints());
    if told.seed != config.seed {
        return Err(format!(
            "it was handed over by the run {} with seed {}, and the seed of this run is {}; import it into that run",
            told.run, told.seed, config.seed
        ));
    }
    let there = checkpoints.list().map_err(|e| e.to_string())?;
    let newest = there.iter().filter(|id| id.stage == stage).map(|id| id.step).max();
    if let Some(newest) = newest.filter(|newest| *newest > started) {
        return Err(format!(
            "{stage} of this run is at step {newest}, past step {started} where it was handed over; import into a fork that lacks these steps, or remove its checkpoints of {stage}"
        ));
    }
    if started > 0 && newest != Some(started) {
        return Err(format!(
            "{stage} was handed over at step {started}, and this run has no checkpoint of that step; import it into the run {}",
            told.run
        ));
    }
    for (name, digest) in told
        .parent
        .iter()
        .map(|name| (name, told.parent_digest.as_ref()))
        .chain(told.reward_model.iter().map(|(name, digest)| (name, Some(digest))))
    {
        if CheckpointId::parse(name).is_none() {
            // A folder outside the run.
            continue;
        }
        let found = checkpoints.named(name).map_err(|e| e.to_string())?;
        let same = match found {
            Some(id) => {
                let found = checkpoints.verify(&id).map_err(|e| e.to_string())?;
                digest.is_none_or(|digest| *digest == found.digest)
            }
            None => false,
        };
        if !same {
            return Err(format!(
                "it starts from {name} of the run {}, and {dir} does not have that checkpoint; import it into the run that handed it over",
                told.run
            ));
        }
    }
    Ok(())
}

/// Whether every file is there with its bytes.
fn whole(from: &Path, trained: &Trained) -> Result<(), String> {
    for name in FILES {
        let Some(told) = trained.files.get(name) else {
            return Err(format!("handover.json says nothing of {name}; copy the folder again"));
        };
        let path = from.join(name);
        let Ok((mut reader, bytes)) = open_limited(&RealFs, &path, u64::MAX, Links::Follow) else {
            return Err(format!("{name} is missing; copy the folder again as a whole"));
        };
        if bytes != told.bytes {
            let expected = told.bytes;
            return Err(format!(
                "{name} has {bytes} bytes, and handover.json names {expected}; copy the folder again as a whole"
            ));
        }
        let Some(expected) = &told.blake3 else { continue };
        let (mut hash, mut piece) = (blake3::Hasher::new(), vec![0; 1 << 20]);
        loop {
            match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => drop(hash.update(&piece[..read])),
                Err(e) => return Err(format!("{name} cannot be read: {e}")),
            }
        }
        if hash.finalize().to_hex().as_str() != expected {
            return Err(format!("{name} has other bytes than handover.json says; copy the folder again"));
        }
    }
    Ok(())
}

/// What the script logged between two steps.
struct Logged {
    steps: Vec<Value>,
    events: Vec<Value>,
    total_tokens: u64,
}

/// The log beside the weights, of the steps after `start` up to `end`.
fn logged(from: &Path, stage: StageId, start: u64, end: u64) -> Result<Logged, TrainError> {
    let (mut steps, mut events, mut at, mut total_tokens) = (Vec::new(), Vec::new(), start, 0);
    let metrics = from.join("metrics.jsonl");
    each_record(&RealFs, &metrics, |line| {
        if let Some(Line { stage: of, record, .. }) = Line::<StepReport>::read(line)
            && of == stage
            && record.step as u64 == at + 1
            && at < end
            && record.total_tokens <= checkpoint::MOST
        {
            (at, total_tokens) = (at + 1, record.total_tokens);
            steps.push(line.clone());
        }
    })?;
    if at != end {
        return Err(TrainError::Input(format!(
            "{}: it has the steps {} to {at}, and the model was trained up to step {end}; copy the folder again as a whole",
            metrics.display(),
            start + 1
        )));
    }
    each_record(&RealFs, &from.join("events.jsonl"), |line| {
        let step = line.get("step").and_then(Value::as_u64);
        if let Some(Line { stage: of, record, .. }) = Line::<Event>::read(line)
            && of == stage
            && step.is_some_and(|step| (start..=end).contains(&step))
            // The script's own checkpoints stay where they are.
            && !matches!(record, Event::Saved { .. })
        {
            events.push(line.clone());
        }
    })?;
    Ok(Logged { steps, events, total_tokens })
}

/// Appends the script's log to that of the run, and what was measured here. A run that was killed between this and its
/// checkpoint moves the lines aside when it continues.
fn append(
    run: &Run,
    stage: StageId,
    start: u64,
    lines: &Logged,
    events: Vec<Event>,
    engine: &str,
) -> Result<usize, TrainError> {
    let cut = |log: &mut Log| {
        if start > 0 { log.truncate_after_step(Some(stage), start) } else { log.truncate_stage(stage) }
    };
    let (mut metrics, mut told) = (run.metrics()?, run.events()?);
    cut(&mut metrics)?;
    cut(&mut told)?;
    for line in &lines.steps {
        metrics.append(line)?;
    }
    metrics.sync()?;
    for line in &lines.events {
        told.append(line)?;
    }
    let step = start as usize + lines.steps.len();
    let note = Event::Note { step, text: format!("steps {} to {step} were trained by {engine}", start + 1) };
    for event in events.into_iter().chain([note]) {
        told.append(&Line::now(stage, event))?;
    }
    told.sync()?;
    Ok(lines.steps.len())
}
