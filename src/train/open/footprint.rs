//! Computes the memory of a stage before it is allocated.
//!
//! The models of the stage are built on a device that only counts, so the figure comes from the code that allocates. On
//! the CPU engine it is the memory of the process; otherwise the device's, and the host's separately. A save copies
//! parameters and moments to the host, which is included.

use crate::{
    base::StageId,
    compute::{ComputeError, Device, Resident, resident, room},
    nn::{PRESETS, estimate, logit_rows},
    train::{
        config::{RunConfig, StageOverrides},
        error::TrainError,
        stages::{self, opening::Counting},
    },
};

/// Bytes per parameter of its value and both moments, which a save copies.
const SAVED: u64 = 12;
/// Bytes that steps and saves need besides the models: code, stacks, write buffers. Measured (docs/testing.md).
const BESIDE: u64 = 3 << 19;
/// Host memory that a GPU driver allocates with the first work, and the size of a read-back chunk, which exists twice
/// and a half: in the staging buffer, as numbers, and in part in the driver. Measured on an H200 (docs/testing.md).
const DRIVER: u64 = 66 << 20;
const PIECE: u64 = 64 << 20;
/// Most bytes of a matrix that a thread of the CPU engine copies for a product; fewer in a small model.
const PACKED: u64 = 5 << 18;
/// Beyond this many bytes a model is not built for counting; a lower bound is reported instead.
const ABSURD: u64 = 1 << 38;

/// A stage whose memory is counted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub stage: StageId,
    pub config: &'a RunConfig,
    /// See [`Counting`].
    pub rewards: bool,
    /// See [`Counting`].
    pub drawn: bool,
}

/// The memory of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Most bytes of tensors.
    pub tensors: u64,
    /// Parameters with optimiser state.
    pub trained: u64,
}

/// The memory reported for a run, once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    /// Bytes on the device; on the CPU engine, of the process.
    pub device: u64,
    /// Most bytes of the process.
    pub host: u64,
}

impl Footprint {
    /// Counts a stage on a device like `device`.
    pub(crate) fn count(device: &Device, wanted: Wanted<'_>) -> Result<Footprint, TrainError> {
        let (model, plan) = (wanted.config.model()?, wanted.config.plan(wanted.stage)?);
        // Recording a model with a million layers would take minutes before it is refused.
        let rows = logit_rows(device, model.vocab_size, plan.batch_size * plan.context);
        let least = estimate(&model, plan.batch_size, plan.context, rows);
        let tensors = least.state_bytes.saturating_add(least.activation_bytes);
        if tensors > ABSURD {
            return Ok(Footprint { tensors, trained: least.state_bytes / 16 });
        }
        let mut counting = device.counting();
        let Wanted { stage, config, rewards, drawn } = wanted;
        let mut on = Counting { device: &mut counting, stage, config, model: &model, plan: &plan, rewards, drawn };
        let trained = stages::count(&mut on)? as u64;
        Ok(Footprint { tensors: counting.most(), trained })
    }

    /// Bytes of host memory.
    fn on_host(&self, device: &Device) -> u64 {
        let tensors = if device.shares_memory() { self.tensors } else { 0 };
        tensors.saturating_add(self.later(device))
    }

    /// Bytes that an open stage will allocate in addition to the current ones.
    fn later(&self, device: &Device) -> u64 {
        let engine = if device.traits().cpu {
            PACKED.min(self.tensors / 64).saturating_mul(rayon::current_num_threads() as u64)
        } else {
            let piece = PIECE.min(self.trained.saturating_mul(4));
            let staged = piece / 2 + piece.next_power_of_two();
            match device.worked() {
                // Earlier work left the driver a block from which a small staging buffer is allocated.
                true if piece <= PIECE / 2 => piece,
                true => piece + staged,
                false => DRIVER + piece + staged,
            }
        };
        self.trained.saturating_mul(SAVED).saturating_add(BESIDE).saturating_add(engine)
    }

    /// The most that an open stage will use: the current memory, measured, plus the needs of a save.
    pub(crate) fn memory_use(self, device: &Device) -> MemoryUse {
        let here = |Resident { now, peak }| peak.max(now + self.later(device));
        let host = resident().map_or_else(|| self.on_host(device), here);
        let tensors = device.most().max(device.reserved().unwrap_or(0));
        MemoryUse { device: if device.traits().cpu { host } else { tensors }, host }
    }
}

/// Refuses a stage that does not fit, with a setting that does.
pub(crate) fn fit(device: &Device, wanted: Wanted<'_>) -> Result<(), TrainError> {
    let Some(room) = room() else { return Ok(()) };
    // An earlier stage of this launch frees its memory before this one allocates.
    let held = if device.shares_memory() { device.memory().0 } else { 0 };
    let there = room.usable().saturating_add(held);
    let need = |config: &RunConfig| -> Result<u64, TrainError> {
        Ok(Footprint::count(device, Wanted { config, ..wanted })?.on_host(device))
    };
    let first = need(wanted.config)?;
    if first <= there {
        return Ok(());
    }
    let mut advice = "no smaller batch, context or --size fits; free some memory".to_owned();
    for (setting, config) in smaller(wanted) {
        // Do not suggest a setting that the stage would reject.
        if let Ok(bytes) = need(&config)
            && bytes <= there
        {
            advice = format!("{setting} fits ({bytes} bytes)");
            break;
        }
    }
    let (bound, left) = (&room.bound, room.bytes);
    let advice = format!("{advice}. {bound} leaves {left} bytes, a fifth of which stays free");
    Err(ComputeError::Memory { what: wanted.stage.to_string(), need: first, there, advice }.into())
}

/// Smaller settings, most valuable first: fewer rows per micro-batch, then shorter rows, then a smaller model.
fn smaller(wanted: Wanted<'_>) -> Vec<(String, RunConfig)> {
    let Wanted { stage, config, .. } = wanted;
    let Ok(plan) = config.plan(stage) else { return Vec::new() };
    let mut all = Vec::new();
    let halves = |from: usize, least: usize| {
        std::iter::successors(Some(from / 2), |n| Some(n / 2)).take_while(move |n| *n >= least)
    };
    if StageOverrides::has("rollouts", stage) {
        for rollouts in halves(config.settings(stage).rollouts, 8) {
            let mut config = config.clone();
            config.stage_mut(stage).rollouts = Some(rollouts);
            all.push((format!("--set {stage}.rollouts={rollouts}"), config));
        }
    }
    if StageOverrides::has("context", stage) {
        let table = |config: &RunConfig, rows: usize, context: usize| {
            let mut config = config.clone();
            let table = config.stage_mut(stage);
            (table.batch_size, table.context) = (Some(rows), Some(context));
            config
        };
        let rows: Vec<usize> =
            if stage.draws_text() { halves(plan.batch_size, 1).collect() } else { vec![plan.batch_size] };
        let set = |rows: usize| {
            let times = plan.batch_size.div_ceil(rows) * plan.accumulation;
            format!("--set batch_size={rows} --set gradient_accumulation_steps={times}")
        };
        all.extend(rows.iter().map(|rows| (set(*rows), table(config, *rows, plan.context))));
        let least = rows.last().copied().unwrap_or(plan.batch_size);
        let before = if least == plan.batch_size { String::new() } else { set(least) + " " };
        let shorter = halves(plan.context, 16);
        all.extend(shorter.map(|c| (format!("{before}--set context={c}"), table(config, least, c))));
    }
    let before = PRESETS.iter().take_while(|p| p.name != config.size);
    let sizes: Vec<_> = before.collect();
    all.extend(sizes.iter().rev().map(|p| {
        let config = RunConfig { size: p.name.to_owned(), ..config.clone() };
        (format!("a new run with --size {}", p.name), config)
    }));
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use crate::train::{OpenRun, Setup, Trainer, open::prepare::prepare, open_run, stages::reward::pairs};

    fn setup(stage: StageId, sets: &[&str]) -> Setup {
        let tiny = [
            "model.num_hidden_layers=1",
            "model.hidden_size=16",
            "model.num_attention_heads=2",
            "model.intermediate_size=24",
            "model.vocab_size=900",
            "model.max_position_embeddings=256",
        ];
        let quiet = ["eval_steps=0"];
        let pair = |s: &&str| s.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
        Setup {
            stage,
            size: Some("1m".to_owned()),
            sets: tiny.iter().chain(&quiet).chain(sets).map(pair).collect(),
            steps: Some(1),
            ..Setup::default()
        }
    }

    /// The count equals what the stage allocates when it is opened, to the byte, for all stages in the order of a run.
    #[test]
    fn what_is_counted_is_what_is_allocated() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("run");
        let few: &[&str] = &["rollouts=8", "response_length=4"];
        for stage in StageId::ALL {
            let sets = if stage.needs().is_some() { few } else { &[] };
            let setup = setup(stage, sets);
            let mut device = Device::cpu();
            let (run, config) = open_run(Some(&dir), &setup, &mut device).unwrap();
            let mut open = OpenRun::new(run, device);
            let rewards = stage.aligns();
            let drawn = pairs::has_own(open.run.view());
            let wanted = Wanted { stage, config: &config, rewards, drawn };
            let counted = Footprint::count(&open.device, wanted).unwrap();
            let ready = prepare(&mut open, config.clone(), &setup).unwrap();
            assert_eq!(open.device.most(), counted.tensors, "{stage}");
            let mut work = ready.work;
            let parts = work.parts(&mut open.device).unwrap();
            let saved: usize = parts.iter().map(|p| p.slabs[..3].iter().map(Vec::len).sum::<usize>()).sum();
            assert_eq!(saved as u64 * 4, counted.trained * SAVED, "{stage}");
            drop((work, parts));
            open.clear().unwrap();
            let trainer = Trainer::new(open, config, &setup).unwrap_or_else(|e| panic!("{stage}: {}", e.error));
            let (_send, commands) = crossbeam_channel::unbounded();
            trainer.run(&commands, &mut |_| {}).0.unwrap();
        }
    }

    /// A refusal names a setting that fits.
    #[test]
    fn smaller_settings_become_smaller() {
        let device = Device::cpu();
        let plain = setup(StageId::Pretrain, &[]);
        for (stage, sizes) in [StageId::Pretrain, StageId::Sft, StageId::Reward, StageId::Ppo].map(|stage| (stage, 2)) {
            let config = RunConfig { size: "12m".to_owned(), ..RunConfig::parse("", &plain.pairs(), stage).unwrap() };
            let wanted = Wanted { stage, config: &config, rewards: true, drawn: true };
            let bytes =
                |config: &RunConfig| Footprint::count(&device, Wanted { config, ..wanted }).unwrap().on_host(&device);
            let all = smaller(wanted);
            assert!(all.len() > sizes, "{stage}");
            let first = bytes(&config);
            for (setting, config) in &all {
                assert!(bytes(config) <= first, "{stage}: {setting} takes more");
            }
            // The model is overridden: of the size only batch and context change.
            assert!(all.iter().rev().take(sizes).all(|(setting, _)| setting.contains("--size")), "{stage}");
        }
    }
}
