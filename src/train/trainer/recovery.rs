//! Recovery from spikes: nothing is saved meanwhile, and the stage returns to a checkpoint from before. In the
//! workbench it waits for the user's decision.

use std::collections::BTreeSet;

use super::{
    core::Core,
    spikes::{REACH, Seen, Spike, Spikes},
};
use crate::{
    base::StageId,
    protocol::{Event, Line, StepReport},
    store::{Checkpoint, CheckpointId, RunView, StoreError, each_record_back},
    train::{
        config::{GuardSettings, RunConfig, toml_patch},
        error::TrainError,
        run::{
            checkpoint, pins,
            rollbacks::{Chain, Rollback},
        },
        stages::{
            edit_log::{self, Raise},
            knobs,
        },
    },
};

/// The reason of a stage that continues from an earlier checkpoint.
pub(super) const SET_BACK: &str = "set back";

/// The metric of a step that was not applied because it only lowered the loss scale of f16: it counts towards no limit
/// and does not prevent a save.
pub(super) const LOWERED: &str = "loss_scale_lowered";

/// The spike detector and rollbacks of a stage.
pub(super) struct Recovery {
    plan: GuardSettings,
    spikes: Spikes,
    chain: Chain,
    /// Steps, counted from 0, at which data or batch change: losses before and after are not comparable.
    turns: BTreeSet<u64>,
    /// A spike that has not been handled.
    seen: Option<Spike>,
    /// The spike that stopped the stage, until the user decides.
    stopped: Option<Spike>,
    /// Checkpoints written since the stage was opened.
    saved: Vec<CheckpointId>,
    /// Whether a save was scheduled while none was allowed.
    pub overdue: bool,
}

impl Recovery {
    /// The state after `done` steps, from the run's logs; `turns` are the steps at which data or batch change, and
    /// `vocab_size` is that of a stage that predicts text.
    pub(super) fn open(
        view: &RunView,
        (stage, done, vocab_size): (StageId, u64, Option<usize>),
        plan: GuardSettings,
        turns: BTreeSet<u64>,
    ) -> Result<Recovery, TrainError> {
        let (spikes, chain) = (Spikes::new(plan.clone(), vocab_size), Chain::read(view, stage)?);
        let (seen, stopped, saved) = (None, None, Vec::new());
        let mut recovery = Recovery { plan, spikes, chain, turns, seen, stopped, saved, overdue: false };
        let mut past: Vec<Seen> = Vec::new();
        each_record_back(&**view.disk(), &view.metrics_path(), |record| {
            if let Some(Line { stage: of, record: step, .. }) = Line::<StepReport>::read(record)
                && of == stage
                && step.step as u64 <= done
                && !step.extra.iter().any(|(name, _)| name == LOWERED)
            {
                past.push(Seen::of(&step));
            }
            past.len() < REACH
        })?;
        for step in past.into_iter().rev() {
            recovery.look(step);
        }
        Ok(recovery)
    }

    fn look(&mut self, seen: Seen) -> Option<Spike> {
        if self.turns.contains(&seen.step.saturating_sub(1)) {
            self.spikes.start_over();
        }
        self.spikes.see(seen)
    }

    /// Examines a completed step.
    pub(super) fn see(&mut self, step: &StepReport) {
        if let Some(spike) = self.look(Seen::of(step)) {
            self.spoilt(spike);
        }
    }

    /// Whether spikes stop the stage.
    pub(super) fn guards(&self) -> bool {
        self.plan.spikes
    }

    /// Records a spike, or weights that cannot be saved.
    pub(super) fn spoilt(&mut self, spike: Spike) {
        if self.stopped.is_none() {
            self.seen.get_or_insert(spike);
        }
    }

    /// Whether a spike has not been handled.
    pub(super) fn spiked(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether a spike stopped the stage.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Sets the steps at which data or batch change, after an edit.
    pub(super) fn turn_at(&mut self, turns: BTreeSet<u64>) {
        self.turns = turns;
    }

    /// Continues with the current weights.
    pub(super) fn go_on(&mut self) {
        self.stopped = None;
    }

    /// Why nothing can be saved now.
    pub(super) fn unsavable(&self, step: usize) -> Option<String> {
        if self.stopped.is_some() {
            return Some(
                "the guard has stopped the stage; continue it, or return to the checkpoint from before the spike"
                    .to_owned(),
            );
        }
        self.spikes.skipped().then(|| {
            format!(
                "step {step} was not applied, since its loss or gradient is not finite; nothing is saved until a step is applied again"
            )
        })
    }

    /// Whether a scheduled save is overdue.
    pub(super) fn waits(&self) -> bool {
        self.spikes.skipped() || (self.plan.spikes && self.spikes.striking())
    }

    /// Records a written checkpoint.
    pub(super) fn saved(&mut self, id: &CheckpointId) {
        self.saved.push(id.clone());
    }

    /// Checkpoints before this step have weights from before the newest spike.
    pub(super) fn before(&self) -> Option<u64> {
        // The loss of a step belongs to the weights after the step before.
        self.spikes.trouble().or(self.chain.spike()).map(|step| step.saturating_sub(1))
    }

    /// The factor on the learning rate of a step.
    pub(super) fn factor(&self, step: usize, peak: f64) -> f64 {
        self.chain.factor(step as u64, peak)
    }

    /// Handles a spike: without a screen the stage is rolled back, up to a few times, and true is returned; in the
    /// workbench it waits.
    pub(super) fn answer(&mut self, core: &mut Core<'_>) -> Result<bool, TrainError> {
        let Some(spike) = self.seen.take() else { return Ok(false) };
        let (step, peak) = (core.done, core.work.peak(&core.plan));
        if !self.plan.spikes {
            if self.spikes.skipped() {
                return Err(TrainError::Work(format!(
                    "step {}: {}; the newest checkpoint is kept. Lower learning_rate (now {peak:.1e}) or look at the data of these steps",
                    spike.since, spike.reason
                )));
            }
            core.note(format!("from step {} on {}; [guard] spikes is false", spike.since, spike.reason));
            return Ok(false);
        }
        let back = self.way_back(core, &spike)?;
        let text = format!("from step {} on {}", spike.since, spike.reason);
        if core.interactive() {
            let checkpoint = back.map(|c| c.id.to_string());
            self.stopped = Some(spike);
            core.out.emit(Event::Guarded { step, reason: text, checkpoint, may_go_on: true });
            core.pause();
            return Ok(false);
        }
        let tries = self.chain.tries(spike.since);
        if tries >= self.plan.rollbacks {
            let kept = before(core, spike.since)?.pop();
            let kept = kept.map_or("no checkpoint is older".to_owned(), |id| format!("{id} is kept"));
            let entry = self.entry(core, &spike, back.as_ref(), peak)?;
            self.withdraw(core, &spike);
            Chain::write(&core.open.run, &Rollback { given_up: true, ..entry })?;
            return Err(TrainError::Work(format!(
                "{text}, after {tries} returns to a checkpoint with a lower rate; {kept}. Lower learning_rate (now {peak:.1e}) or max_grad_norm, or look at the data of these steps; the bounds are [guard] spike_loss, spike_deviations and spike_grad_norm"
            )));
        }
        self.set_back(core, &spike, back.as_ref(), None)?;
        Ok(true)
    }

    /// Rolls back to the checkpoint from before the spike that stopped the stage.
    pub(super) fn go_back(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        let Some(spike) = self.stopped.take() else { return Ok(()) };
        let back = self.way_back(core, &spike)?;
        let raised = undo_raise(core, back.as_ref().map_or(0, |checkpoint| checkpoint.id.step))?;
        self.set_back(core, &spike, back.as_ref(), raised)
    }

    /// The newest loadable checkpoint from before a spike.
    fn way_back(&self, core: &Core<'_>, spike: &Spike) -> Result<Option<Checkpoint>, TrainError> {
        let found = core.view().checkpoints().newest_that(Some(core.stage), |c| {
            if !self.chain.may_serve(&c.id, spike.since) {
                return Err(StoreError::Input { path: c.path, what: "it is not from before the spike".to_owned() });
            }
            checkpoint::sound(&c).map(|()| c)
        })?;
        Ok(found.found)
    }

    /// Checkpoints that must be kept: other stages started from them, or a rollback used them and its spike is not
    /// passed yet.
    pub(super) fn pinned(&self, core: &Core<'_>) -> Vec<CheckpointId> {
        let mut pinned = core.pinned.clone();
        // If the folder cannot be listed, the save itself fails, or nothing is removed.
        let early = self.chain.open_at(core.done as u64).and_then(|spike| before(core, spike).ok());
        pinned.extend(early.into_iter().flatten());
        // The user may pin one at any time. If the file cannot be read, the save itself fails or nothing is removed.
        pinned.extend(pins::read(core.view()).unwrap_or_default());
        pinned
    }

    fn entry(
        &self,
        core: &Core<'_>,
        spike: &Spike,
        back: Option<&Checkpoint>,
        peak: f64,
    ) -> Result<Rollback, TrainError> {
        let (stage, id) = (core.stage, back.map(|c| &c.id));
        let there = core.view().checkpoints().list()?;
        let newer = there.iter().filter(|other| other.stage == stage && id.is_none_or(|id| *other > id));
        let passed = newer.map(ToString::to_string).collect();
        Ok(self.chain.next((stage, peak), (spike.since, &spike.reason), id, passed))
    }

    /// Returns to a checkpoint; `raised` is the learning rate that was taken back, whose steps need no lower one.
    fn set_back(
        &mut self,
        core: &mut Core<'_>,
        spike: &Spike,
        back: Option<&Checkpoint>,
        raised: Option<Raise>,
    ) -> Result<(), TrainError> {
        let peak = core.work.peak(&core.plan);
        let entry = self.entry(core, spike, back, peak)?;
        Chain::write(&core.open.run, &entry)?;
        self.withdraw(core, spike);
        let Rollback { checkpoint, step, spike, until, factor, reason, .. } = entry;
        let (step, spike, until) = (step as usize, spike as usize, until as usize);
        if checkpoint.is_some() {
            // `--from` applies only to a stage without checkpoints.
            core.setup.from = None;
        }
        let factor = if raised.is_some() { 1.0 } else { factor };
        core.out.emit(Event::SetBack { step, spike, until, factor, reason, checkpoint });
        if let Some(raise) = raised {
            core.out.emit(raise.taken_back(step));
        }
        Ok(())
    }

    /// Removes the checkpoints written since the stage was opened that have weights of the spike.
    fn withdraw(&mut self, core: &mut Core<'_>, spike: &Spike) {
        let saver = core.open.run.saver();
        let spoilt = |id: &&CheckpointId| id.step + 1 >= spike.since && !core.pinned.contains(id);
        let spoilt: Vec<CheckpointId> = self.saved.iter().filter(spoilt).cloned().collect();
        for id in spoilt {
            core.note(match saver.remove(&id) {
                Ok(()) => format!("checkpoint {id} was written after the weights went wrong, and is removed"),
                Err(e) => format!("checkpoint {id} was written after the weights went wrong: {e}"),
            });
        }
    }
}

/// Undoes that the user raised the learning rate after a step: repeated, the raise would lead to the same spike. The
/// file of the settings comes first: what it does not have is not repeated, even after a kill.
fn undo_raise(core: &Core<'_>, step: u64) -> Result<Option<Raise>, TrainError> {
    let (stage, run) = (core.stage, &core.open.run);
    let (raise, entries, turns) = if stage.draws_text() {
        let Some((raise, entries)) = edit_log::lowered(run.view(), stage, step)? else { return Ok(None) };
        (raise, entries, Vec::new())
    } else {
        let Some((raise, turns)) = knobs::lowered(run.view(), stage, step)? else { return Ok(None) };
        (raise, Vec::new(), turns)
    };
    let Raise { low, newest, .. } = raise;
    if newest > low {
        let key = (format!("{stage}.learning_rate"), format!("{low:e}"));
        let text = toml_patch::keys(&run.view().config()?, &[key])?;
        RunConfig::parse(&text, &[], stage)?;
        if RunConfig::parse(&text, &core.setup.pairs(), stage)?.plan(stage)?.schedule.peak > low {
            // An option set it, and would set it again.
            return Ok(None);
        }
        run.write_config(&text)?;
    }
    entries.iter().try_for_each(|entry| edit_log::write(run, entry))?;
    turns.iter().try_for_each(|turn| knobs::write(run, turn))?;
    Ok(Some(raise))
}

/// After the guard of a stage of feedback stopped it: what was set meanwhile applies from the checkpoint that the stage
/// returns to, or the same updates would follow; a rate that was raised after the checkpoint is taken back.
pub(super) fn return_of_the_guard(core: &mut Core<'_>) -> Result<(), TrainError> {
    let (view, stage) = (core.view().clone(), core.stage);
    let Some(newest) = view.checkpoints().newest_verified(Some(stage))?.found else { return Ok(()) };
    let step = newest.id.step;
    if let Some(raise) = undo_raise(core, step)? {
        core.out.emit(raise.taken_back(step as usize));
    } else if let Some(turn) = knobs::at_once(&view, stage, step)? {
        knobs::write(&core.open.run, &turn)?;
        let text = format!("{}: from step {} on", turn.text, step + 1);
        core.out.emit(Event::Note { step: step as usize, text });
    }
    Ok(())
}

impl Seen {
    fn of(step: &StepReport) -> Seen {
        let (loss, grad_norm, skipped) = (step.loss, step.grad_norm, !step.applied);
        Seen { step: step.step as u64, loss, grad_norm, skipped }
    }
}

/// The stage's checkpoints whose weights are from before this step, oldest first.
fn before(core: &Core<'_>, step: u64) -> Result<Vec<CheckpointId>, StoreError> {
    let mut there = core.view().checkpoints().list()?;
    there.retain(|id| id.stage == core.stage && id.step + 2 <= step);
    Ok(there)
}

#[cfg(test)]
mod tests {
    //! Logs with any change in any line: every reader passes over what it cannot use.
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::{fs, path::Path};

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        compute::rng::{self, Purpose},
        data::{Role, Turn},
        store::RealFs,
        train::{
            corpus::{Marks, conversations},
            run::{best::Figures, replay},
            stages::{edit_log, reward::votes},
            trainer::voting::Voting,
            tree::survey_run,
        },
    };

    /// Numbers below `n` by counter.
    struct Chance(u64, u64);

    impl Chance {
        fn below(&mut self, n: usize) -> usize {
            self.1 += 1;
            rng::bits(self.0, Purpose::Shuffle, 7, self.1) as usize % n.max(1)
        }
    }

    /// Another value in its place.
    fn odd(chance: &mut Chance) -> Value {
        let all = [
            json!(null),
            json!(true),
            json!(-1),
            json!(0),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e308),
            json!(-1e-308),
            json!(""),
            json!("\u{0}\u{1b}[2J\u{202e}"),
            json!("春".repeat(5000)),
            json!([]),
            json!({}),
            json!([[[[[[[[{"a": [null]}]]]]]]]]),
            json!("9".repeat(400)),
        ];
        all[chance.below(all.len())].clone()
    }

    /// Changes one value, key or element somewhere in `value`.
    fn change(value: &mut Value, chance: &mut Chance) {
        let inside = chance.below(4) > 0;
        match value {
            Value::Object(fields) if inside && !fields.is_empty() => {
                let key = fields.keys().nth(chance.below(fields.len())).unwrap().clone();
                match chance.below(6) {
                    0 => drop(fields.remove(&key)),
                    1 => {
                        let moved = fields.remove(&key).unwrap();
                        fields.insert(format!("{key}_"), moved);
                    }
                    _ => change(fields.get_mut(&key).unwrap(), chance),
                }
            }
            Value::Array(all) if inside && !all.is_empty() => {
                let at = chance.below(all.len());
                match chance.below(6) {
                    0 => drop(all.remove(at)),
                    1 => all.push(all[at].clone()),
                    _ => change(&mut all[at], chance),
                }
            }
            other => *other = odd(chance),
        }
    }

    /// A log with some of its lines changed, lost, repeated, cut or no JSON.
    fn changed(lines: &[Value], chance: &mut Chance) -> Vec<u8> {
        let mut text = Vec::new();
        for line in lines {
            let mut line = line.clone();
            let mut times = 1;
            match chance.below(8) {
                0 | 1 => (0..=chance.below(3)).for_each(|_| change(&mut line, chance)),
                2 => times = chance.below(3),
                _ => {}
            }
            for _ in 0..times {
                text.extend(line.to_string().into_bytes());
                text.push(b'\n');
            }
            if chance.below(20) == 0 {
                text.extend(
                    [&b"\xff\xfe{]\n"[..], b"\0\0\0\n", b"{\"step\":", b"\n\n", b"[]\n", b"7\n"][chance.below(6)],
                );
            }
        }
        if chance.below(4) == 0 {
            text.truncate(chance.below(text.len()));
        }
        text
    }

    /// Reads a run's logs as the opening of every stage, the workbench and `danlu runs` do.
    fn read(dir: &Path) -> Result<usize, TrainError> {
        let view = RunView::open(RealFs::shared(), dir)?;
        let mut notes = Vec::new();
        let mut count = survey_run(&view).checkpoints.len();
        let there = view.checkpoints().list()?;
        for figures in Figures::of_all(&view)?.values() {
            count += figures.ranked(&there).len() + figures.stale();
        }
        for stage in StageId::ALL {
            let line = edit_log::line(&view, stage)?;
            let turns = line.iter().map(|entry| entry.step).collect();
            let guard = RunConfig::default().guard_settings();
            let recovery = Recovery::open(&view, (stage, 2, Some(600)), guard, turns)?;
            count += usize::from(recovery.before().is_some()) + recovery.factor(3, 1e-3).to_bits() as usize % 2;
            edit_log::since(&line, 2, |s| s.learning_rate);
            for mut past in replay::past(&view, stage, 2, true)?.stages {
                edit_log::add_unreported(&view, &mut past)?;
                count += past.events.len();
            }
        }
        let read = votes::read(&view, &mut notes)?;
        count += format!("{:?}", votes::tally(&read)).len();
        for vote in &read {
            votes::line(vote).unwrap();
        }
        Voting::new(&view, &mut notes)?;
        count += conversations::count_by_hand(dir)? + Marks::read(&view)?.count().0 + pins::read(&view)?.len();
        Ok(count)
    }

    #[test]
    fn any_line_of_any_log_is_read_or_passed_over() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/state-2");
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("run");
        fs::create_dir_all(dir.join("data/sft")).unwrap();
        for name in ["run.toml", "data/tokenizer.json", "data/tokenizer_config.json"] {
            fs::copy(fixture.join(name), dir.join(name)).unwrap();
        }
        let written = |name: &str| -> Vec<Value> {
            let text = fs::read_to_string(fixture.join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let rollback = |step: u64, given_up: bool| {
            json!(Rollback {
                stage: StageId::Pretrain,
                checkpoint: Some(format!("pretrain-{step:08}")),
                step,
                spike: step + 9,
                until: step + 137,
                factor: 0.25,
                learning_rate: 3e-3,
                reason: "the loss is 9".to_owned(),
                passed: vec!["pretrain-00000012".to_owned()],
                given_up
            })
        };
        let vote = |pair: u64, choice: &str| {
            json!({"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": "b"}], "answers": ["a", "b"], "choice": choice,
                "pair": pair, "from": 2, "step": 1, "stage": "sft", "seed": 1, "scores": [0.5, 0.25], "seen": false})
        };
        let turns = [Turn::new(Role::User, "q"), Turn::new(Role::Assistant, "a")];
        let logs: [(&str, Vec<Value>); 8] = [
            ("metrics.jsonl", written("metrics.jsonl")),
            ("events.jsonl", written("events.jsonl")),
            ("edits.jsonl", written("edits.jsonl")),
            ("rollbacks.jsonl", vec![rollback(3, false), rollback(9, false), rollback(9, true), rollback(20, false)]),
            ("preferences.jsonl", vec![vote(1, "a"), vote(2, "much_b"), vote(3, "tie"), votes::unvote_line(1, 3)]),
            ("data/sft/by-hand.jsonl", vec![conversations::demonstration(&turns, 3); 3]),
            (
                "data/marks.jsonl",
                vec![json!({"text": "x", "keep": true, "time": 1}), json!({"text": "x", "keep": null})],
            ),
            ("pins.jsonl", vec![json!({"checkpoint": "pretrain-00000002", "pinned": true}); 2]),
        ];
        for (name, lines) in &logs {
            fs::write(dir.join(name), changed(&[], &mut Chance(0, 0))).unwrap();
            let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
            fs::write(dir.join(name), text).unwrap();
        }
        assert!(read(&dir).unwrap() > 10);
        let mut refused = 0;
        for case in 0..400 {
            let chance = &mut Chance(case, 0);
            let (name, lines) = &logs[case as usize % logs.len()];
            fs::write(dir.join(name), changed(lines, chance)).unwrap();
            if let Err(e) = read(&dir) {
                assert!(e.exit_code() == 2, "case {case} of {name}: {e}");
                refused += 1;
            }
        }
        assert!(refused < 40, "{refused} of 400 refused: a line that cannot be used is passed over");
    }
}
