//! The settings of a stage that draws text, and their changes: `edits.jsonl`.
//!
//! An entry has the settings from a step on: mix, version of the data, batch, learning rate, dropout. It is on disk
//! before it takes effect, so that a stage continued from any checkpoint, even after a kill, uses the same settings at
//! the same steps. The first entry of a stage has its initial settings. An entry for an earlier step replaces later ones: those were
//! undone.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::mix::Shares;
use crate::{
    base::{StageId, StageName},
    data::Shape,
    protocol::{Cause, Edit, Event, Line, StagePast},
    store::{Log, Run, RunView, each_record},
    train::{corpus, error::TrainError},
};

/// Longest list of names in a description.
const NAMED: usize = 4;

/// The description of a data change without details.
pub(crate) const OTHER_DATA: &str = "other data";

/// The settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LiveSettings {
    /// The sources: texts, sets of conversations, demonstrations.
    pub sources: Vec<String>,
    /// The share of each.
    pub shares: Shares,
    /// The batches' shape. The window is in every buffer of the stage, so it cannot change while the stage is open.
    pub shape: Shape,
    /// The version of the texts.
    pub data: String,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The dropout; None in logs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
}

/// The step from which settings apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The stage.
    pub stage: StageName,
    /// The first step with these settings, counted from 0.
    pub step: u64,
    /// The cause.
    pub cause: Cause,
    /// A description of the change.
    pub text: String,
    /// The settings.
    #[serde(flatten)]
    pub settings: LiveSettings,
}

/// The entries of a stage that apply, in order.
pub(crate) fn line(view: &RunView, stage: StageId) -> Result<Vec<Entry>, TrainError> {
    let mut line: Vec<Entry> = Vec::new();
    for entry in entries::<Entry>(view)?.into_iter().filter(|e| e.stage == stage) {
        line.retain(|e| e.step < entry.step);
        line.push(entry);
    }
    Ok(line)
}

/// Fills in the dropout where an earlier version left it out: that of the next entry which has it, else `now`.
pub(crate) fn fill_dropout(line: &mut [Entry], now: Option<f32>) {
    let mut known = now;
    for entry in line.iter_mut().rev() {
        known = entry.settings.dropout.or(known);
        entry.settings.dropout = known;
    }
}

/// Adds the changes that were found when the stage was opened, which no event reported, to its past.
pub(crate) fn add_unreported(view: &RunView, past: &mut StagePast) -> Result<(), TrainError> {
    let step = |line: &Line<Event>| match &line.record {
        Event::Edited(edit) => Some(edit.step),
        _ => None,
    };
    // The first entry of a stage is its beginning.
    for entry in line(view, past.stage)?.into_iter().skip(1).filter(|e| e.cause == Cause::Reopened) {
        let first = (entry.step as usize).saturating_add(1);
        if past.events.iter().any(|l| step(l) == Some(first)) {
            continue;
        }
        let at = past.events.iter().position(|l| step(l).is_some_and(|s| s > first)).unwrap_or(past.events.len());
        let edit = Edit {
            step: first,
            cause: entry.cause,
            text: entry.text,
            sources: Vec::new(),
            learning_rate: entry.settings.learning_rate,
            batch: entry.settings.shape.rows * entry.settings.shape.micros,
            seconds: None,
            replayed: false,
        };
        let record = Event::Edited(Box::new(edit));
        past.events.insert(at, Line { stage: past.stage, time: None, record });
    }
    Ok(())
}

/// The first step (counted from 0) with the value that a setting has at step `step`, if it has changed since the stage
/// began.
pub(crate) fn since<T: PartialEq>(line: &[Entry], step: u64, of: impl Fn(&LiveSettings) -> T) -> Option<u64> {
    let changes = line.windows(2).filter(|pair| of(&pair[0].settings) != of(&pair[1].settings));
    changes.map(|pair| pair[1].step).rfind(|at| *at <= step)
}

/// All entries in file order, undone ones included. Other lines, written by the user or a newer version, are skipped.
fn entries<T: DeserializeOwned>(view: &RunView) -> Result<Vec<T>, TrainError> {
    let mut all = Vec::new();
    each_record(&**view.disk(), &view.edits_path(), |record| all.extend(T::deserialize(record)))?;
    Ok(all)
}

/// Writes an entry to disk.
pub(crate) fn write(run: &Run, entry: &Entry) -> Result<(), TrainError> {
    let mut log: Log = run.edits()?;
    log.append(entry)?;
    log.sync()?;
    Ok(())
}

/// A learning rate that was raised after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Raise {
    /// The first step with a higher rate, counted from 0.
    pub since: u64,
    /// The highest rate since.
    pub high: f64,
    /// The rate before.
    pub low: f64,
    /// The newest rate, as run.toml has it.
    pub newest: f64,
}

impl Raise {
    /// How the rate changes in these pairs of step and rate, in order; None if it was never raised.
    pub(crate) fn of(low: f64, later: impl Iterator<Item = (u64, f64)> + Clone) -> Option<Raise> {
        let since = later.clone().find(|(_, rate)| *rate > low)?.0;
        let high = later.clone().map(|(_, rate)| rate).fold(low, f64::max);
        let newest = later.last().map_or(low, |(_, rate)| rate);
        Some(Raise { since, high, low, newest })
    }

    /// That it is taken back, for the step that the stage returns to: what is later is moved out of the log.
    pub(crate) fn taken_back(&self, step: usize) -> Event {
        let (Raise { high, low, .. }, since) = (self, self.since + 1);
        Event::Note {
            step,
            text: format!("learning_rate {high:e} of step {since} is not repeated; it is {low:e} again"),
        }
    }
}

/// The entries from a step on, where the learning rate was raised since: the one that holds at the step, and those of
/// later steps, each with a rate that is at most that from before the step.
pub(crate) fn lowered(view: &RunView, stage: StageId, step: u64) -> Result<Option<(Raise, Vec<Entry>)>, TrainError> {
    let mut line = line(view, stage)?;
    let later = line.split_off(line.iter().rposition(|e| e.step < step).map_or(1, |at| at + 1).min(line.len()));
    let Some(held) = line.pop() else { return Ok(None) };
    let low = held.settings.learning_rate;
    let Some(raise) = Raise::of(low, later.iter().map(|e| (e.step, e.settings.learning_rate))) else { return Ok(None) };
    let text = format!("learning_rate {:e} → {low:e}", raise.high);
    let mut all = vec![Entry { step: step.max(held.step), cause: Cause::Key, text, ..held }];
    for mut entry in later {
        entry.settings.learning_rate = entry.settings.learning_rate.min(low);
        let Some(before) = all.last().filter(|before| before.settings != entry.settings) else { continue };
        entry.text = difference(&before.settings, &entry.settings);
        all.push(entry);
    }
    Ok(Some((raise, all)))
}

/// A key that was set while a stage trained: one that no step's result depends on (how answers are sampled, how often
/// probes are made), or one for which the stage was opened again. Its value is run.toml's; the line says since when.
#[derive(Serialize)]
pub(crate) struct KeySet {
    /// The stage.
    pub stage: StageName,
    /// The first step with it, counted from 0.
    pub step: u64,
    /// The cause.
    pub cause: Cause,
    /// A description of the change.
    pub text: String,
    /// The key and its value as TOML.
    pub set: [String; 2],
}

/// Writes that a key was set to disk.
pub(crate) fn write_set(run: &Run, set: &KeySet) -> Result<(), TrainError> {
    let mut log: Log = run.edits()?;
    log.append(set)?;
    log.sync()?;
    Ok(())
}

/// A description of the differences.
pub(crate) fn difference(old: &LiveSettings, new: &LiveSettings) -> String {
    let mut words = Vec::new();
    let (before, now) = (old.weights(), new.weights());
    if old.sources == new.sources {
        let moved = old.sources.iter().zip(before.iter().zip(&now)).filter(|(_, (a, b))| a != b);
        // If one share grows the others shrink; the one that changed most describes it.
        let all: Vec<_> = moved.collect();
        let most = all.iter().rev().max_by(|a, b| (a.1.0 - a.1.1).abs().total_cmp(&(b.1.0 - b.1.1).abs()));
        if let Some((name, (a, b))) = most {
            words.push(format!("{name} {} → {}", percent(**a), percent(**b)));
        }
    } else {
        for (sign, these, those) in [("+", &new.sources, &old.sources), ("−", &old.sources, &new.sources)] {
            let other: Vec<&str> = these.iter().filter(|s| !those.contains(s)).map(String::as_str).collect();
            let more = other.len().saturating_sub(NAMED);
            if !other.is_empty() {
                let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
                words.push(format!("{sign} {}{rest}", other[..other.len() - more].join(", ")));
            }
        }
    }
    if old.learning_rate != new.learning_rate {
        words.push(format!("learning_rate {:e} → {:e}", old.learning_rate, new.learning_rate));
    }
    if old.shape != new.shape {
        words.push(format!("batch {} → {}", old.shape, new.shape));
    }
    if let (Some(old), Some(new)) = (old.dropout, new.dropout)
        && old != new
    {
        words.push(format!("dropout {old} → {new}"));
    }
    if old.data != new.data {
        words.push(OTHER_DATA.to_owned());
    }
    if words.is_empty() {
        words.push("shares of texts, conversations and demonstrations".to_owned());
    }
    words.join(", ")
}

/// Removes prepared data except the version `current` and those that a checkpoint may return to.
pub fn prune_data(run: &Run, current: &str) -> Result<(), TrainError> {
    Ok(corpus::prune(&run.preparer(), current, &needed(run.view())?)?)
}

/// An entry of any version: its stage, and the version of the data.
#[derive(Deserialize)]
struct DataOf {
    stage: StageName,
    data: String,
}

/// Versions of the data that a checkpoint may return to.
fn needed(view: &RunView) -> Result<Vec<String>, TrainError> {
    let there = view.checkpoints().list()?;
    // Which versions the stages of a newer danlu return to is unknown here.
    let foreign = |e: &DataOf| matches!(e.stage, StageName::Other(_));
    let mut all: Vec<String> = entries(view)?.into_iter().filter(foreign).map(|e| e.data).collect();
    for stage in StageId::ALL.into_iter().filter(|s| s.draws_text()) {
        let oldest = there.iter().filter(|id| id.stage == stage).map(|id| id.step).min();
        let line = line(view, stage)?;
        // From the entry that applied at the oldest checkpoint; without a checkpoint the stage starts over.
        let from = line.iter().rposition(|e| e.step <= oldest.unwrap_or(0)).unwrap_or(0);
        all.extend(line.into_iter().skip(from).map(|e| e.settings.data));
    }
    Ok(all)
}

fn percent(share: f64) -> String {
    let percent = (share * 1000.0).round() / 10.0;
    format!("{percent} %")
}

impl LiveSettings {
    /// Each source's share without demonstrations, normalised to 1.
    fn weights(&self) -> Vec<f64> {
        let weights = self.shares.of(false);
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / sum.max(f64::MIN_POSITIVE)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::store::RealFs;

    fn entry(step: u64, rate: f64) -> Entry {
        let settings = LiveSettings {
            sources: vec!["a".into(), "b".into()],
            shares: Shares::of_texts(vec![0.1 + 0.2, 0.7]),
            shape: Shape { rows: 2, window: 8, micros: 1 },
            data: "x".into(),
            learning_rate: rate,
            dropout: Some(0.1),
        };
        Entry { stage: StageId::Pretrain.into(), step, cause: Cause::Key, text: String::new(), settings }
    }

    #[test]
    fn a_later_line_for_an_earlier_step_undoes_what_came_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::create(RealFs::shared(), &dir.path().join("r"), "").unwrap();
        for (step, rate) in [(0, 1e-3), (5, 2e-3), (9, 3e-3), (7, 4e-3), (7, 5e-3)] {
            write(&run, &entry(step, rate)).unwrap();
        }
        write(&run, &Entry { stage: StageId::Sft.into(), ..entry(1, 1.0) }).unwrap();
        let line = line(run.view(), StageId::Pretrain).unwrap();
        assert_eq!(line, [entry(0, 1e-3), entry(5, 2e-3), entry(7, 5e-3)], "floats come back as they were");
        let rate = |step| since(&line, step, |s| s.learning_rate);
        assert_eq!([4, 5, 6, 7, 90].map(rate), [None, Some(5), Some(5), Some(7), Some(7)]);
        assert_eq!(since(&line[..1], 90, |s| s.learning_rate), None, "what a stage begins with is no change");
    }

    /// A log of an earlier version says nothing about the dropout, which was that of run.toml.
    #[test]
    fn a_dropout_that_was_not_logged_is_that_of_run_toml() {
        let of = |known: [Option<f32>; 3]| -> Vec<Entry> {
            let entry = |(step, dropout)| {
                let mut entry = entry(step as u64, 1e-3);
                entry.settings.dropout = dropout;
                entry
            };
            known.into_iter().enumerate().map(entry).collect()
        };
        let filled = |known| {
            let mut line = of(known);
            fill_dropout(&mut line, Some(0.5));
            line
        };
        assert_eq!(filled([None, None, None]), of([Some(0.5); 3]));
        assert_eq!(filled([None, Some(0.1), Some(0.2)]), of([Some(0.1), Some(0.1), Some(0.2)]));
        let text = serde_json::to_string(&entry(0, 1e-3)).unwrap();
        assert!(text.contains("\"dropout\":0.1"), "{text}");
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry(0, 1e-3));
    }

    #[test]
    fn data_that_a_stage_of_a_newer_version_names_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::create(RealFs::shared(), &dir.path().join("r"), "").unwrap();
        write(&run, &entry(0, 1e-3)).unwrap();
        run.edits().unwrap().append(&serde_json::json!({"stage": "distill", "step": 3, "data": "y"})).unwrap();
        assert_eq!(needed(run.view()).unwrap(), ["y", "x"]);
    }

    #[test]
    fn the_log_of_version_0_1_is_read() {
        for line in include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/logs-1/edits.jsonl")).lines() {
            let entry: Entry = serde_json::from_str(line).unwrap();
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_value(entry).unwrap(), line);
        }
    }

    #[test]
    fn changes_are_described() {
        let (old, mut new) = (entry(0, 1e-3).settings, entry(0, 5e-4).settings);
        new.shares = Shares::of_texts(vec![0.5, 0.5]);
        assert_eq!(difference(&old, &new), "a 30 % → 50 %, learning_rate 1e-3 → 5e-4");
        new.sources = vec!["a".into(), "c".into()];
        (new.shape.micros, new.dropout) = (3, Some(0.25));
        assert_eq!(
            difference(&old, &LiveSettings { sources: old.sources.clone(), learning_rate: 1e-3, ..new.clone() }),
            "a 30 % → 50 %, batch 2 × 8 tokens → 3 × 2 × 8 tokens, dropout 0.1 → 0.25"
        );
        (new.shape.micros, new.dropout) = (1, Some(0.1));
        new.data = "y".into();
        assert_eq!(difference(&old, &new), "+ c, − b, learning_rate 1e-3 → 5e-4, other data");
    }
}
