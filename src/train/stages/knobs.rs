//! The settings that a stage without the run's sources can change while it trains, and their changes: lines of
//! `edits.jsonl` with `knobs`. As with [`super::edit_log`], a line is on disk before it takes effect, applies from its
//! step on, and replaces later ones; a stage continued from any checkpoint uses the same values at the same steps.
//!
//! A run whose settings were never changed while they trained has no such line.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::edit_log::Raise;
use crate::{
    base::{StageId, StageName},
    protocol::Cause,
    store::{Run, RunView, each_record},
    train::error::TrainError,
};

/// The values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Values {
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The coefficient of the KL term of the reward, of a stage that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_coef: Option<f64>,
}

impl Values {
    /// A description of the differences.
    fn difference(&self, new: &Values) -> String {
        let mut words = Vec::new();
        if self.learning_rate != new.learning_rate {
            words.push(format!("learning_rate {:e} → {:e}", self.learning_rate, new.learning_rate));
        }
        if let (Some(old), Some(new)) = (self.kl_coef, new.kl_coef)
            && old != new
        {
            words.push(format!("kl_coef {old} → {new}"));
        }
        words.join(", ")
    }
}

/// The step from which values apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// The stage.
    pub stage: StageName,
    /// The first step with these values, counted from 0.
    pub step: u64,
    /// The cause.
    pub cause: Cause,
    /// A description of the change.
    pub text: String,
    /// The values.
    pub knobs: Values,
}

/// The values in use, and those of steps that are repeated.
#[derive(Debug)]
pub(crate) struct Knobs {
    stage: StageId,
    now: Values,
    coming: VecDeque<Turn>,
    /// Whether the file has lines of this stage.
    begun: bool,
}

impl Knobs {
    /// The values of a stage that continues at `step`; `saved` are those of run.toml. If they were changed while the
    /// run was closed, that is logged and returned: they apply after all steps that are repeated.
    pub(crate) fn open(
        run: &Run,
        stage: StageId,
        step: u64,
        saved: Values,
    ) -> Result<(Knobs, Option<Turn>), TrainError> {
        let mut line = line(run.view(), stage)?;
        let mut found = None;
        if let Some(newest) = line.last().filter(|newest| newest.knobs != saved) {
            let turn = Turn {
                stage: stage.into(),
                step: newest.step.max(step),
                cause: Cause::Reopened,
                text: newest.knobs.difference(&saved),
                knobs: saved,
            };
            write(run, &turn)?;
            line.retain(|other| other.step < turn.step);
            line.push(turn.clone());
            found = Some(turn);
        }
        let begun = !line.is_empty();
        let mut coming: VecDeque<Turn> = line.into();
        let mut now = saved;
        // Before the first line nothing else was known.
        if let Some(first) = coming.front() {
            now = first.knobs;
        }
        while let Some(turn) = coming.pop_front_if(|turn| turn.step <= step) {
            now = turn.knobs;
        }
        Ok((Knobs { stage, now, coming, begun }, found))
    }

    /// The values in use.
    pub(crate) fn now(&self) -> Values {
        self.now
    }

    /// The newest values, which may apply after steps that are being repeated.
    pub(crate) fn newest(&self) -> Values {
        self.coming.back().map_or(self.now, |turn| turn.knobs)
    }

    /// Changes to other values from a step on, once that is on disk; None if they are the newest already.
    pub(crate) fn set(&mut self, run: &Run, step: u64, values: Values) -> Result<Option<Turn>, TrainError> {
        let newest = self.newest();
        if newest == values {
            return Ok(None);
        }
        if !self.begun {
            let (cause, text) = (Cause::Reopened, "the stage begins".to_owned());
            write(run, &Turn { stage: self.stage.into(), step: 0, cause, text, knobs: newest })?;
            self.begun = true;
        }
        let turn = Turn {
            stage: self.stage.into(),
            step: self.coming.back().map_or(step, |turn| turn.step.max(step)),
            cause: Cause::Key,
            text: newest.difference(&values),
            knobs: values,
        };
        write(run, &turn)?;
        if self.coming.is_empty() {
            self.now = values;
        } else {
            self.coming.retain(|other| other.step < turn.step);
            self.coming.push_back(turn.clone());
        }
        Ok(Some(turn))
    }

    /// The changes that apply from this step on while steps are repeated.
    pub(crate) fn at(&mut self, step: u64) -> Vec<Turn> {
        let mut turns = Vec::new();
        while let Some(turn) = self.coming.pop_front_if(|turn| turn.step <= step) {
            self.now = turn.knobs;
            turns.push(turn);
        }
        turns
    }
}

/// The lines of a stage that apply, in order. Other lines are passed over.
fn line(view: &RunView, stage: StageId) -> Result<Vec<Turn>, TrainError> {
    let mut line: Vec<Turn> = Vec::new();
    each_record(&**view.disk(), &view.edits_path(), |record| {
        if let Ok(turn) = Turn::deserialize(record)
            && turn.stage == stage
        {
            line.retain(|other| other.step < turn.step);
            line.push(turn);
        }
    })?;
    Ok(line)
}

/// The turns from a step on, where the learning rate was raised since: as [`super::edit_log::lowered`].
pub(crate) fn lowered(view: &RunView, stage: StageId, step: u64) -> Result<Option<(Raise, Vec<Turn>)>, TrainError> {
    let mut line = line(view, stage)?;
    let later = line.split_off(line.iter().rposition(|t| t.step < step).map_or(1, |at| at + 1).min(line.len()));
    let Some(held) = line.pop() else { return Ok(None) };
    let low = held.knobs.learning_rate;
    let Some(raise) = Raise::of(low, later.iter().map(|t| (t.step, t.knobs.learning_rate))) else { return Ok(None) };
    let text = format!("learning_rate {:e} → {low:e}", raise.high);
    let mut all = vec![Turn { step: step.max(held.step), cause: Cause::Key, text, ..held }];
    for mut turn in later {
        turn.knobs.learning_rate = turn.knobs.learning_rate.min(low);
        let Some(before) = all.last().filter(|before| before.knobs != turn.knobs) else { continue };
        turn.text = before.knobs.difference(&turn.knobs);
        all.push(turn);
    }
    Ok(Some((raise, all)))
}

/// The turn with which the newest values apply from a step on, if they differ from those that hold there.
pub(crate) fn at_once(view: &RunView, stage: StageId, step: u64) -> Result<Option<Turn>, TrainError> {
    let line = line(view, stage)?;
    let held = line.iter().rfind(|turn| turn.step < step).or(line.first());
    let (Some(held), Some(newest)) = (held, line.last()) else { return Ok(None) };
    let changed = newest.step > step && newest.knobs != held.knobs;
    let text = held.knobs.difference(&newest.knobs);
    Ok(changed.then(|| Turn { stage: stage.into(), step, cause: Cause::Key, text, knobs: newest.knobs }))
}

/// Writes a turn to disk.
pub(crate) fn write(run: &Run, turn: &Turn) -> Result<(), TrainError> {
    let mut log = run.edits()?;
    log.append(turn)?;
    log.sync()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::store::RealFs;

    fn values(learning_rate: f64, kl_coef: f64) -> Values {
        Values { learning_rate, kl_coef: Some(kl_coef) }
    }

    fn run() -> (tempfile::TempDir, Run) {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::create(RealFs::shared(), &dir.path().join("r"), "").unwrap();
        (dir, run)
    }

    /// The values of each step, as a stage that continues at `from` uses them.
    fn used(run: &Run, from: u64, until: u64, saved: Values) -> Vec<Values> {
        let (mut knobs, _) = Knobs::open(run, StageId::Ppo, from, saved).unwrap();
        (from..until)
            .map(|step| {
                knobs.at(step);
                knobs.now()
            })
            .collect()
    }

    #[test]
    fn a_stage_continued_anywhere_uses_the_same_values_at_the_same_steps() {
        let (_dir, run) = run();
        let [a, b, c] = [values(1e-3, 0.2), values(5e-4, 0.2), values(5e-4, 0.4)];
        let (mut knobs, found) = Knobs::open(&run, StageId::Ppo, 0, a).unwrap();
        assert_eq!((knobs.now(), found), (a, None));
        let turn = knobs.set(&run, 4, b).unwrap().unwrap();
        assert_eq!((turn.step, turn.text.as_str()), (4, "learning_rate 1e-3 → 5e-4"));
        assert_eq!(knobs.set(&run, 5, b).unwrap(), None, "no change, no line");
        assert_eq!(knobs.set(&run, 7, c).unwrap().unwrap().text, "kl_coef 0.2 → 0.4");
        let whole = [vec![a; 4], vec![b; 3], vec![c; 3]].concat();
        for from in 0..10 {
            assert_eq!(used(&run, from, 10, c), whole[from as usize..], "from {from}");
        }
        // Of another stage nothing is known.
        let (other, _) = Knobs::open(&run, StageId::Grpo, 9, a).unwrap();
        assert_eq!(other.now(), a);
    }

    #[test]
    fn a_change_while_the_run_was_closed_applies_after_the_repeated_steps() {
        let (_dir, run) = run();
        let [a, b, c] = [values(1e-3, 0.2), values(5e-4, 0.2), values(2e-3, 0.1)];
        let (mut knobs, _) = Knobs::open(&run, StageId::Ppo, 0, a).unwrap();
        knobs.set(&run, 6, b).unwrap();
        let (mut again, found) = Knobs::open(&run, StageId::Ppo, 3, c).unwrap();
        assert_eq!(found.map(|turn| (turn.step, turn.cause)), Some((6, Cause::Reopened)));
        assert_eq!((again.now(), again.newest()), (a, c));
        // A change while steps are repeated comes after them too.
        assert_eq!(again.set(&run, 4, b).unwrap().map(|turn| turn.step), Some(6));
        assert_eq!(used(&run, 3, 8, b), [a, a, a, b, b]);
    }

    /// What the user sets while the guard has stopped the stage is for the updates that are repeated.
    #[test]
    fn a_return_uses_what_was_set_since_and_no_raised_rate() {
        let [low, high, lower] = [values(1e-3, 0.2), values(1.0, 0.2), values(1e-4, 0.4)];
        // Raised before the checkpoint of step 4, lowered after the stop at 8.
        let (_dir, run) = run();
        let (mut knobs, _) = Knobs::open(&run, StageId::Ppo, 0, low).unwrap();
        knobs.set(&run, 3, high).unwrap();
        knobs.set(&run, 8, lower).unwrap();
        assert_eq!(lowered(run.view(), StageId::Ppo, 4).unwrap(), None, "nothing was raised since");
        let turn = at_once(run.view(), StageId::Ppo, 4).unwrap().unwrap();
        assert_eq!((turn.step, turn.text.as_str()), (4, "learning_rate 1e0 → 1e-4, kl_coef 0.2 → 0.4"));
        write(&run, &turn).unwrap();
        assert_eq!(used(&run, 2, 10, lower), [vec![low], vec![high], vec![lower; 6]].concat());
        assert_eq!(at_once(run.view(), StageId::Ppo, 4).unwrap(), None);
        // Raised after it, and lowered too late.
        let (_dir, run) = self::run();
        let (mut knobs, _) = Knobs::open(&run, StageId::Ppo, 0, low).unwrap();
        knobs.set(&run, 5, high).unwrap();
        knobs.set(&run, 8, lower).unwrap();
        let (raise, turns) = lowered(run.view(), StageId::Ppo, 4).unwrap().unwrap();
        assert_eq!(raise, Raise { since: 5, high: 1.0, low: 1e-3, newest: 1e-4 });
        for turn in &turns {
            write(&run, turn).unwrap();
        }
        assert_eq!(used(&run, 2, 10, lower), [vec![low; 6], vec![lower; 2]].concat());
    }

    #[test]
    fn a_run_that_was_never_changed_has_no_line() {
        let (_dir, run) = run();
        Knobs::open(&run, StageId::Ppo, 5, values(1e-3, 0.2)).unwrap();
        let (knobs, found) = Knobs::open(&run, StageId::Ppo, 5, values(1e-2, 0.2)).unwrap();
        assert_eq!((knobs.now(), found), (values(1e-2, 0.2), None));
        assert!(line(run.view(), StageId::Ppo).unwrap().is_empty());
    }
}
