//! From a folder and flags to an open run with a settled size.

use std::{path::Path, sync::Arc, time::Instant};

use super::{
    footprint::{Wanted, fit},
    precision,
};
use crate::{
    base::{StageId, shell},
    compute::Device,
    data::TurnText,
    nn::{AdamW, Learner, MicroBatch, PRESETS, estimate, preset},
    store::{RUNS, RealFs, Run, RunView, StoreError, newest_run},
    train::{
        config::{ChatFormat, ConfigIssue, ModelOverrides, RunConfig, TokenizerKind, setup::Setup, toml_patch},
        corpus,
        error::TrainError,
        run::model_folder,
    },
};

/// Opens the run in `dir` (created if missing, with the flags in its run.toml); without `dir` the newest in ./runs, or
/// a new one there. A size of `auto` is settled here, once, and written.
pub fn open_run(dir: Option<&Path>, setup: &Setup, device: &mut Device) -> Result<(Run, RunConfig), TrainError> {
    open_line(dir, setup, &[setup.stage], device)
}

/// The same for `stages` that will be trained in sequence, the first of them `setup`'s; a plan that is invalid for any
/// of them is refused now.
pub fn open_line(
    dir: Option<&Path>,
    setup: &Setup,
    stages: &[StageId],
    device: &mut Device,
) -> Result<(Run, RunConfig), TrainError> {
    let disk = RealFs::shared();
    let pairs = setup.pairs();
    if let (Some(start), None) = (setup.start, setup.stage.parent())
        && stages.len() == 1
    {
        return Err(TrainError::Input(format!(
            "{} begins from random weights, so --start {start} has no effect; leave it out",
            setup.stage
        )));
    }
    // Refuse unusable settings before a folder with them is created.
    let fresh = |device: &mut Device, dir: &Path| -> Result<(RunConfig, String), TrainError> {
        let mut config = RunConfig::parse_for("", &pairs, setup.stage, |c| planned(c, stages))?;
        let stage = setup.stage;
        match &setup.from {
            Some(from) => {
                if let Some(needed) = stage.needs().filter(|needed| !stages.contains(needed)) {
                    return Err(needs_too(stage, needed, from, dir));
                }
                adopt(&mut config, from)?;
                comes_with(from, &config, &pairs, setup.stage)?;
            }
            None => {
                if let Some(parent) = stage.parent() {
                    return Err(no_parent(stage, parent, dir));
                }
            }
        }
        if config.size == "auto" {
            auto_size(device)?.clone_into(&mut config.size);
            let settled = format!("size = {:?}", config.size);
            RunConfig::parse_for(&settled, &pairs, setup.stage, |c| planned(c, stages))?;
        }
        for &stage in stages {
            precision::settle(device, None, stage, &config, &mut Vec::new())?;
            let rewards = stages.contains(&StageId::Reward);
            fit(device, Wanted { stage, config: &config, rewards, drawn: false })?;
        }
        config.begin();
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
        match Run::create(Arc::clone(&disk), &dir, &text) {
            // Another process created the run since the check: open it like any other, or find it locked.
            Err(StoreError::Input { .. }) if dir.join("run.toml").is_file() => {}
            made => return Ok((made?, config)),
        }
    }
    let run = Run::open(disk, &dir)?;
    if let Some(from) = &setup.from {
        not_begun(&run, setup.stage, &format!("--from {}", from.display()))?;
    }
    if let Some(start) = setup.start.filter(|_| stages.len() == 1) {
        not_begun(&run, setup.stage, &format!("--start {start}"))?;
    }
    let config = settled(&run, setup, device)?;
    RunConfig::parse_for(&run.view().config()?, &pairs, setup.stage, |c| planned(c, stages))?;
    if stages.len() > 1 {
        // In an unattended run, report missing sources of later stages before the first one starts.
        corpus::find_sources(&config, &dir)?;
    }
    Ok((run, config))
}

/// Checks that all stages can be planned.
fn planned(config: &RunConfig, stages: &[StageId]) -> Result<(), ConfigIssue> {
    // An imported model, or a size that is settled later, changes the shape.
    if config.size == "auto" {
        return Ok(());
    }
    config.model()?;
    stages.iter().try_for_each(|stage| config.plan(*stage).map(drop))
}

/// `--from` and `--start` begin a stage; one with a checkpoint cannot use them.
fn not_begun(run: &Run, stage: StageId, option: &str) -> Result<(), TrainError> {
    let there = run.view().checkpoints().list()?;
    let Some(newest) = there.iter().filter(|id| id.stage == stage).max_by_key(|id| id.step) else { return Ok(()) };
    Err(TrainError::Input(format!(
        "{stage} of this run has the checkpoint {newest} and continues from it, so {option} has no effect; leave it out, or use it with a new run (--run)"
    )))
}

/// The configuration in an open run's current run.toml, with a size of `auto` settled.
pub fn settled(run: &Run, setup: &Setup, device: &mut Device) -> Result<RunConfig, TrainError> {
    let mut text = run.view().config()?;
    let mut config = RunConfig::parse(&text, &setup.pairs(), setup.stage)?;
    // A folder that holds only a run.toml is a new run.
    let mut new = Vec::new();
    if (config.splits.is_none() || config.turns.is_none()) && run.view().checkpoints().list()?.is_empty() {
        if config.splits.is_none() {
            new.push(("splits".to_owned(), "\"by-name\"".to_owned()));
        }
        if let (Some(from), None, true) = (&setup.from, config.turns, config.keeps_chat())
            && model_folder::tokenizer(from)?.is_some_and(|tokenizer| tokenizer.own_template().is_some())
        {
            new.push(("turns".to_owned(), "\"as-written\"".to_owned()));
        }
    }
    if !new.is_empty() {
        text = toml_patch::keys(&text, &new)?;
        config = RunConfig::parse(&text, &setup.pairs(), setup.stage)?;
        run.write_config(&text)?;
    }
    if config.size == "auto" {
        auto_size(device)?.clone_into(&mut config.size);
        let text = toml_patch::size(&text, &config.size)?;
        RunConfig::parse(&text, &setup.pairs(), setup.stage)?;
        run.write_config(&text)?;
    }
    Ok(config)
}

/// The default stage: the furthest one with a checkpoint.
pub fn furthest_stage(dir: Option<&Path>) -> Result<StageId, TrainError> {
    let dir = match dir {
        Some(dir) => Some(dir.to_owned()),
        None => newest_run(&RealFs, Path::new(RUNS))?,
    };
    let Some(dir) = dir.filter(|dir| dir.join("run.toml").is_file()) else { return Ok(StageId::Pretrain) };
    let there = RunView::open(RealFs::shared(), &dir)?.checkpoints().list()?;
    let trained = |s: &StageId| there.iter().any(|id| id.stage == *s);
    Ok(StageId::ALL.into_iter().rev().find(trained).unwrap_or(StageId::Pretrain))
}

/// The error for a stage with a parent in a run that does not exist yet.
fn no_parent(stage: StageId, parent: StageId, dir: &Path) -> TrainError {
    let (shown, dir) = (dir.display(), shell::path(dir));
    TrainError::Input(format!(
        "{stage} starts from a checkpoint of {parent}, and {shown} is not a run yet; train it first: danlu train --stage {parent} --run {dir}; or give a model's folder with --from"
    ))
}

/// The error for a stage that needs more than weights from outside, in a run that does not exist yet.
fn needs_too(stage: StageId, needed: StageId, from: &Path, dir: &Path) -> TrainError {
    let (shown, from, dir) = (dir.display(), shell::path(from), shell::path(dir));
    TrainError::Input(format!(
        "{stage} needs a checkpoint of {needed} too, and {shown} is not a run yet; train that first: danlu train --stage {needed} --run {dir} --from {from}"
    ))
}

/// Uses the model in a folder for a new run: its shape, and a vocabulary with room for the chat template tokens. The
/// size, which sets batch and learning rate, becomes the nearest preset.
fn adopt(config: &mut RunConfig, from: &Path) -> Result<(), TrainError> {
    let (theirs, table, _) = model_folder::load(from)?;
    let mut vocab_size = theirs.vocab_size;
    if let Some(tokenizer) = model_folder::tokenizer(from)? {
        config.tokenizer = if tokenizer.is_char() { TokenizerKind::Char } else { TokenizerKind::Bpe };
        let own = tokenizer.own_template().is_some();
        let chat = *config.chat.get_or_insert(if own { ChatFormat::Own } else { ChatFormat::Danlu });
        if own && chat == ChatFormat::Own {
            config.turns.get_or_insert(TurnText::AsWritten);
        }
        vocab_size = vocab_size.max(tokenizer.with_template(config.keeps_chat())?.vocab_size());
    }
    if config.size == "auto" {
        let far = |p: &&crate::nn::Preset| {
            let ours = crate::nn::ParamTable::new(&p.config()).parameters() as f64;
            ((ours / table.parameters() as f64).ln().abs() * 1e6) as u64
        };
        PRESETS.iter().min_by_key(far).map_or("1m", |p| p.name).clone_into(&mut config.size);
    }
    let given = std::mem::take(&mut config.model);
    config.model = ModelOverrides {
        vocab_size: Some(vocab_size),
        hidden_size: Some(theirs.hidden_size),
        intermediate_size: Some(theirs.intermediate_size),
        num_hidden_layers: Some(theirs.num_hidden_layers),
        num_attention_heads: Some(theirs.num_attention_heads),
        num_key_value_heads: Some(theirs.num_key_value_heads),
        head_dim: Some(theirs.head_dim),
        max_position_embeddings: Some(theirs.max_position_embeddings),
        rms_norm_eps: Some(theirs.rms_norm_eps),
        rope_theta: Some(theirs.rope_theta),
        tie_word_embeddings: Some(theirs.tie_word_embeddings),
        initializer_range: given.initializer_range,
        dropout: given.dropout,
    };
    // Its training text is not available here, and the built-in text would be new to it.
    if config.source.is_empty() {
        config.stage_mut(StageId::Sft).pretrain_share.get_or_insert(0.0);
        config.stage_mut(StageId::Ppo).ptx_coef.get_or_insert(0.0);
    }
    Ok(())
}

/// Rejects an option that would change the model from `from` or its tokenizer.
fn comes_with(from: &Path, config: &RunConfig, pairs: &[(String, String)], stage: StageId) -> Result<(), TrainError> {
    let text = config.to_toml()?;
    for pair in pairs {
        let (key, value) = pair;
        let shapes = key == "tokenizer" || (key.starts_with("model.") && key != "model.vocab_size");
        if shapes && RunConfig::parse(&text, std::slice::from_ref(pair), stage)? != *config {
            return Err(TrainError::Input(format!(
                "--set {key}={value} contradicts --from {}, which sets model and tokenizer; leave one of them out",
                from.display()
            )));
        }
    }
    Ok(())
}

/// The size for `auto`: `1m` on the CPU engine; on a GPU the largest one whose default pretraining takes at most half a
/// minute, judged by the speed of `1m` measured now.
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
        let (model, plan) = (run.model()?, run.plan(StageId::Pretrain)?);
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
