//! From a folder and some wishes to a trainer that is ready to step.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{
    checkpoint::{self, State},
    config::{RunConfig, StagePlan},
    corpus::{self, Corpus},
    error::TrainError,
    event::{RunInfo, SourceInfo},
};
use crate::{
    compute::Device,
    data::{Batcher, History, Shape},
    nn::{AdamW, Decoder, Learner, MicroBatch, ModelConfig, estimate, preset},
    store::{RealFs, Run, newest_run},
};

/// Where runs are made and looked for.
const RUNS: &str = "runs";

/// Wishes that come from the command line.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The stage.
    pub stage: String,
    /// `--size`.
    pub size: Option<String>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--set` pairs.
    pub sets: Vec<(String, String)>,
    /// `--from`: the folder whose weights and tokenizer a stage without checkpoints starts from.
    pub from: Option<PathBuf>,
    /// `--steps`: up to this step, or as many more where the stage is already there.
    pub steps: Option<usize>,
    /// Whether a person watches: then a failed save pauses, and the end waits.
    pub interactive: bool,
}

impl Setup {
    /// All pairs: those given, and the options that are keys of run.toml as well.
    fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = self.sets.clone();
        pairs.extend(self.size.iter().map(|s| ("size".to_owned(), format!("{s:?}"))));
        pairs.extend(self.seed.iter().map(|s| ("seed".to_owned(), s.to_string())));
        pairs
    }
}

/// Takes the run in `dir` (made if it is missing, with the wishes in its run.toml), or without one the
/// newest in ./runs, or a new one there. A size of `auto` is settled here, once, and written.
pub fn open_run(dir: Option<&Path>, setup: &Setup, device: &mut Device) -> Result<(Run, RunConfig), TrainError> {
    let disk = RealFs::shared();
    let pairs = setup.pairs();
    // A setting that cannot be trained with is refused before there is a folder that holds it.
    let fresh = |device: &mut Device, dir: &Path| -> Result<(RunConfig, String), TrainError> {
        let mut config = RunConfig::parse("", &pairs, &setup.stage)?;
        if config.size == "auto" {
            auto_size(device)?.clone_into(&mut config.size);
        }
        fit(device, &config.model()?, &config.pretrain()?)?;
        corpus::find_sources(&config, dir)?;
        let text = config.to_toml()?;
        Ok((config, text))
    };
    let newest = || newest_run(&RealFs, Path::new(RUNS));
    let (dir, exists) = match dir {
        Some(dir) => (Some(dir.to_owned()), dir.join("run.toml").is_file()),
        None => newest()?.map_or((None, false), |dir| (Some(dir), true)),
    };
    let Some(dir) = dir else {
        let (config, text) = fresh(device, &Path::new(RUNS).join("run"))?;
        return Ok((Run::create_next(disk, Path::new(RUNS), &text)?, config));
    };
    if !exists {
        let (config, text) = fresh(device, &dir)?;
        return Ok((Run::create(disk, &dir, &text)?, config));
    }
    let run = Run::open(disk, &dir)?;
    let text = run.view().config()?;
    let mut config = RunConfig::parse(&text, &pairs, &setup.stage)?;
    if config.size == "auto" {
        auto_size(device)?.clone_into(&mut config.size);
        run.write_config(&settle(&text, &config.size))?;
    }
    Ok((run, config))
}

/// The text of run.toml with `size` settled; everything else stays as the person wrote it.
fn settle(text: &str, size: &str) -> String {
    let line = format!("size = {size:?}");
    let is_size = |l: &&str| l.split('=').next().is_some_and(|k| k.trim() == "size");
    // A top-level key stands before the first table.
    let top = text.lines().take_while(|l| !l.trim_start().starts_with('[')).find(is_size);
    match top {
        Some(old) => text.replacen(old, &line, 1),
        None => format!("{line}\n{text}"),
    }
}

/// The size that `auto` means here: `1m` on the CPU engine; on a GPU the largest one whose default
/// pretraining, at the speed measured now on `1m`, stays within half a minute.
fn auto_size(device: &mut Device) -> Result<&'static str, TrainError> {
    const SECONDS: f64 = 30.0;
    if device.traits().cpu {
        return Ok("1m");
    }
    let config = preset("1m")?.config();
    let (batch, context) = (32, 128);
    let mark = device.mark();
    let mut learner = Learner::new(device, &config, batch, context, AdamW::default())?;
    let ids = vec![1; batch * context];
    let targets = vec![2; batch * context];
    let mut seconds = f64::INFINITY;
    for step in 0..6 {
        device.wait()?;
        let start = Instant::now();
        learner.step(device, &[MicroBatch { ids: &ids, targets: &targets, starts: None }], 0.0, 0, step)?;
        device.wait()?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    drop(learner);
    device.release(mark);
    let speed = estimate(&config, batch, context, 0).flops_per_token as f64 * (batch * context) as f64 / seconds;
    let fits = |size: &&str| -> Result<bool, TrainError> {
        let run = RunConfig { size: (*size).to_owned(), ..RunConfig::default() };
        let (model, plan) = (run.model()?, run.pretrain()?);
        let tokens = (plan.steps * plan.batch_size * plan.accumulation * plan.context) as f64;
        Ok(estimate(&model, plan.batch_size, plan.context, 0).flops_per_token as f64 * tokens / speed < SECONDS)
    };
    for size in ["12m", "5m"] {
        if fits(&size)? {
            return Ok(size);
        }
    }
    Ok("1m")
}

/// Everything a trainer works with, made and loaded.
pub(super) struct Ready {
    pub run: Run,
    pub config: RunConfig,
    pub model: ModelConfig,
    pub plan: StagePlan,
    pub device: Device,
    pub corpus: Corpus,
    pub learner: Learner,
    pub decoder: Decoder,
    pub batcher: Batcher,
    pub state: State,
    pub info: RunInfo,
    /// Step at which the stage ends.
    pub target: usize,
    pub notes: Vec<String>,
}

/// Reads data, makes the model, and loads the newest checkpoint that verifies.
pub(super) fn prepare(run: Run, config: RunConfig, mut device: Device, setup: &Setup) -> Result<Ready, TrainError> {
    let mut model = config.model()?;
    let plan = config.pretrain()?;
    let mut notes: Vec<String> =
        run.swept().iter().map(|name| format!("{name}, left by a killed save, was removed")).collect();
    let data_dir = run.view().data_dir();
    let begun = data_dir.join("tokenizer.json").is_file();
    let known = setup.from.as_deref().filter(|_| !begun).unwrap_or(&data_dir);
    let corpus = Corpus::load(&config, run.view().dir(), known, model.vocab_size)?;
    notes.extend(corpus.notes.iter().cloned());
    model.eos_token_id = corpus.tokenizer.end_of_text();
    model.pad_token_id = corpus.tokenizer.pad();
    fit(&device, &model, &plan)?;

    let learner = Learner::new(&mut device, &model, plan.batch_size, plan.context, plan.adamw)?;
    let decoder = Decoder::new(&mut device, &model, learner.params(), model.max_position_embeddings)?;
    let found =
        run.view().checkpoints().newest_that(Some(&setup.stage), |c| checkpoint::load(&c, &model, learner.table()))?;
    for s in &found.skipped {
        notes.push(format!("checkpoint {} was passed over: {}", s.id, s.error));
    }
    if let (None, Some(first)) = (&found.found, found.skipped.first()) {
        return Err(TrainError::Input(format!(
            "no checkpoint of this run can be gone on from; the newest, {}: {}",
            first.id, first.error
        )));
    }
    let shape = Shape { rows: plan.batch_size, window: plan.context, micros: plan.accumulation };
    let weights: Vec<f64> = corpus.packed.iter().map(|s| s.weight).collect();
    let history = History::new(&weights, shape)?;
    let mut state = State::new(&setup.stage, config.seed, history, corpus.digest.clone());
    if let Some((saved, slabs)) = found.found {
        learner.write_state(&mut device, &slabs)?;
        if saved.data != corpus.digest {
            notes.push("the data have changed since the checkpoint: from here on the batches are others".to_owned());
        }
        if saved.seed != config.seed {
            return Err(TrainError::Input(format!(
                "the run's seed is {}, {} was asked for; a run keeps its seed",
                saved.seed, config.seed
            )));
        }
        state = saved;
    } else {
        let slab = match &setup.from {
            None => learner.table().initial(config.seed),
            Some(from) => {
                state.parent = Some(from.display().to_string());
                parent(from, &model)?
            }
        };
        learner.write_params(&mut device, &slab)?;
        run.write_data("tokenizer.json", corpus.tokenizer.json().as_bytes())?;
        run.write_data(
            "tokenizer_config.json",
            corpus.tokenizer.config_json(model.max_position_embeddings, None).as_bytes(),
        )?;
    }
    let engine = device.info().clone();
    let same =
        (state.engine.as_str(), &state.adapter, &state.driver) == (engine.engine, &engine.adapter, &engine.driver);
    if state.step > 0 && !same {
        notes.push(format!(
            "the checkpoint was made on {} ({}); on {} the losses go on, but not to the bit",
            state.adapter, state.driver, engine.adapter
        ));
    }
    engine.engine.clone_into(&mut state.engine);
    state.adapter.clone_from(&engine.adapter);
    state.driver.clone_from(&engine.driver);
    state.data.clone_from(&corpus.digest);
    let history = mixed(&state, &weights, shape, &mut notes)?;
    let batcher = Batcher::new(Arc::clone(&corpus.packed), config.seed, history)?;

    let done = state.step as usize;
    let target = match setup.steps {
        Some(n) if n > done => n,
        Some(n) => done + n,
        None => plan.steps,
    };
    let info = info(&run, &config, &model, &plan, &device, &corpus, &batcher, &learner, target, done, &setup.stage);
    // A stage taken past its length decays at its new end.
    let mut plan = plan;
    plan.schedule.steps = plan.schedule.steps.max(target);
    Ok(Ready { run, config, model, plan, device, corpus, learner, decoder, batcher, state, info, target, notes })
}

/// The weights of another checkpoint or model, if it is the same model.
fn parent(from: &Path, model: &ModelConfig) -> Result<Vec<f32>, TrainError> {
    let (theirs, _, slab) = super::model_folder::load(from)?;
    let mut same = theirs.clone();
    // What training may change, or what the tokenizer settles, is no matter of shape.
    (same.dropout, same.initializer_range) = (model.dropout, model.initializer_range);
    (same.eos_token_id, same.pad_token_id) = (model.eos_token_id, model.pad_token_id);
    same.max_position_embeddings = model.max_position_embeddings;
    if same != *model {
        return Err(TrainError::Input(format!(
            "--from {}: its config.json is another model than run.toml describes; set size and [model] to {}",
            from.display(),
            theirs.to_json()
        )));
    }
    Ok(slab)
}

/// The history of a state, with today's weights and shape from its step on if they differ.
fn mixed(state: &State, weights: &[f64], shape: Shape, notes: &mut Vec<String>) -> Result<History, TrainError> {
    let mut history = state.history.clone();
    if history.sources() != weights.len() {
        // Other sources: counts of old ones mean nothing for them.
        notes.push("the sources have changed since the checkpoint: the mix starts anew".to_owned());
        return Ok(History::new(weights, shape)?);
    }
    let now = History::new(weights, shape)?;
    if history.newest().weights != now.newest().weights || history.newest().shape != shape {
        history.change(state.step, weights, shape)?;
        notes.push(format!("mix and batch of run.toml hold from step {}", state.step + 1));
    }
    Ok(history)
}

/// Refuses a run that does not fit, naming a setting that does.
fn fit(device: &Device, model: &ModelConfig, plan: &StagePlan) -> Result<(), TrainError> {
    let need = |batch: usize| {
        let e =
            estimate(model, batch, plan.context, crate::nn::logit_rows(device, model.vocab_size, batch * plan.context));
        e.state_bytes + e.activation_bytes
    };
    let (used, budget) = device.memory();
    let there = budget.saturating_sub(used);
    let wanted = need(plan.batch_size);
    if wanted <= there {
        return Ok(());
    }
    let mut batch = plan.batch_size;
    while batch > 1 && need(batch) > there {
        batch /= 2;
    }
    let advice = if need(batch) <= there {
        let times = plan.batch_size.div_ceil(batch) * plan.accumulation;
        format!("--set batch_size={batch} --set gradient_accumulation_steps={times} fits ({} bytes)", need(batch))
    } else {
        "even one row does not fit; choose a smaller --size or context".to_owned()
    };
    Err(crate::compute::ComputeError::Memory { what: "training".to_owned(), need: wanted, there, advice }.into())
}

#[allow(clippy::too_many_arguments, reason = "it gathers what is spread over all of them")]
fn info(
    run: &Run,
    config: &RunConfig,
    model: &ModelConfig,
    plan: &StagePlan,
    device: &Device,
    corpus: &Corpus,
    batcher: &Batcher,
    learner: &Learner,
    target: usize,
    done: usize,
    stage: &str,
) -> RunInfo {
    let shares = &batcher.history().newest().weights;
    let sources = corpus.packed.iter().zip(shares).map(|(s, share)| SourceInfo {
        name: s.name.clone(),
        weight: *share,
        documents: s.train.documents(),
        tokens: s.train.tokens().len(),
        held_out_tokens: s.held_out.tokens().len(),
    });
    RunInfo {
        name: run.view().name(),
        path: run.view().dir().to_owned(),
        stage: stage.to_owned(),
        size: config.size.clone(),
        engine: device.info().engine.to_owned(),
        adapter: device.info().adapter.clone(),
        parameters: learner.table().parameters(),
        vocab_size: model.vocab_size,
        layers: model.num_hidden_layers,
        hidden_size: model.hidden_size,
        heads: model.num_attention_heads,
        batch: plan.batch_size * plan.accumulation,
        context: plan.context,
        learning_rate: plan.schedule.peak,
        steps: target,
        resumed_at: done,
        memory: device.memory().0,
        sources: sources.collect(),
    }
}
