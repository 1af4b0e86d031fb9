//! The state of one stage: its curves, scores, probes and batch are kept while another stage runs, and continue when it
//! does.

use std::{ops::Range, time::Duration};

use super::{
    batch::{Batch, Spot},
    feedback::Feedback,
    frame::View,
    log::Both,
    steps::Charts,
    vote::differences,
};
use crate::base::{StageId, StageKind};
use crate::protocol::{Cause, Edit, LineChance, RunInfo, SourceInfo, SourceUse, StageInfo, StepReport, TaskReport};
use crate::ui::{
    chart::Pace,
    series::Series,
    strings::{self, Lang},
    text::Clean,
};

/// Changes of the data that are kept.
const CHANGES: usize = 500;
/// Completions kept per probe; when full, every second one is dropped.
const PROBES: usize = 4096;

/// What the stage is doing; `Pausing` and `Resuming` were requested but not confirmed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// No event from the trainer yet.
    #[default]
    Starting,
    /// Stepping.
    Running,
    /// Pause requested.
    Pausing,
    /// Paused.
    Paused,
    /// Resume requested.
    Resuming,
    /// Another stage is live, or has been since the screen opened.
    Resting,
    /// Ended together with the trainer.
    Finished {
        /// The reason.
        reason: Clean,
        /// Whether the work itself failed.
        failed: bool,
    },
}

/// A source's name, cleaned, with its numbers.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: Clean,
    /// Its configured share of drawn tokens.
    pub weight: f64,
    /// Tokens per pass.
    pub tokens: usize,
    /// Its validation loss.
    pub valid: Series,
    /// The loss on a sample of its training text.
    pub train: Series,
    /// When its weight or files last changed since the screen opened.
    pub edited: Option<Duration>,
}

impl Source {
    fn new(info: &SourceInfo) -> Source {
        let (weight, tokens) = (info.weight, info.tokens);
        let (valid, train) = (Series::default(), Series::default());
        Source { name: Clean::line(&info.name), weight, tokens, valid, train, edited: None }
    }
}

/// The run, with its texts cleaned.
#[derive(Clone, Debug)]
pub struct Run {
    /// The trainer's data. Its texts are not cleaned: never display them.
    pub info: RunInfo,
    /// The run's name.
    pub name: Clean,
    /// The size preset.
    pub size: Clean,
    /// `cpu` or `wgpu`.
    pub engine: Clean,
    /// Type of activations and products.
    pub precision: Clean,
    /// The adapter.
    pub adapter: Clean,
    /// The data.
    pub sources: Vec<Source>,
}

impl Run {
    /// Cleans the data that the trainer sent.
    pub fn new(info: RunInfo) -> Run {
        let sources = info.sources.iter().map(Source::new).collect();
        Run {
            name: Clean::line(&info.name),
            size: Clean::line(&info.size),
            engine: Clean::line(&info.engine),
            precision: Clean::line(&info.precision),
            adapter: Clean::line(&info.adapter),
            sources,
            info,
        }
    }

    /// Adds a source of which only the name is known; returns its held-out curve.
    pub fn add_source(&mut self, name: &str) -> &mut Series {
        let info = SourceInfo { name: name.to_owned(), weight: f64::NAN, ..SourceInfo::default() };
        self.sources.push(Source::new(&info));
        self.info.sources.push(info);
        let newest = self.sources.len() - 1;
        &mut self.sources[newest].valid
    }

    /// The source with this name, or the first.
    pub fn chosen(&self, raw: &str) -> Option<&Source> {
        let at = self.info.sources.iter().position(|s| s.name == raw).unwrap_or(0);
        self.sources.get(at)
    }

    /// Applies a change: the weights and tokens are new, the curves continue. Sources that it names or whose text is
    /// another one are marked with the time `now`; the shares of the others follow.
    fn edit(&mut self, edit: &Edit, now: Option<Duration>) {
        let touched = |before: &SourceInfo, info: &SourceInfo| {
            let text = |s: &SourceInfo| (s.documents, s.tokens, s.held_out_tokens);
            text(before) != text(info) || before.weight != info.weight && edit.text.contains(&info.name)
        };
        let old: Vec<(SourceInfo, Source)> = self.info.sources.drain(..).zip(self.sources.drain(..)).collect();
        for info in &edit.sources {
            let mut source = Source::new(info);
            if let Some((before, known)) = old.iter().find(|o| o.0.name == info.name) {
                (source.valid, source.train) = (known.valid.clone(), known.train.clone());
                source.edited = now.filter(|_| touched(before, info)).or(known.edited);
            } else {
                source.edited = now;
            }
            self.sources.push(source);
        }
        self.info.sources.clone_from(&edit.sources);
        self.info.learning_rate = edit.learning_rate;
        if edit.batch > 0 {
            self.info.batch = edit.batch;
        }
    }
}

/// A change of data, mix or learning rate, or an edit that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When it was made, in Unix seconds, if known.
    pub at: Option<f64>,
    /// The first step it applies to; for an unusable edit, the steps done.
    pub step: usize,
    /// The cause; None for an unusable edit.
    pub cause: Option<Cause>,
    /// What changed.
    pub text: Both,
    /// Seconds from the disk to the batch.
    pub seconds: Option<f64>,
    /// Whether the step is repeated after a resume.
    pub replayed: bool,
}

/// A task and its scores.
#[derive(Clone, Debug)]
pub struct Task {
    raw: String,
    name: Clean,
    /// The newest scores.
    pub newest: Option<TaskReport>,
    /// The scores before those.
    pub before: Option<TaskReport>,
}

impl Task {
    fn new(raw: &str) -> Task {
        Task { raw: raw.to_owned(), name: Clean::line(raw), newest: None, before: None }
    }

    /// Its name in the screen's language, else the trainer's.
    pub fn name(&self, lang: Lang) -> &str {
        strings::task(&self.raw).map_or(&self.name, |t| t.get(lang))
    }

    /// The change of a score since the previous evaluation.
    pub fn change(&self, score: fn(&TaskReport) -> f64) -> Option<f64> {
        Some(score(self.newest.as_ref()?) - score(self.before.as_ref()?))
    }
}

/// One completion of a probe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeEntry {
    /// After this step.
    pub step: usize,
    /// The completion.
    pub text: Clean,
    /// The parts of it that are right, as byte ranges.
    pub right: Vec<Range<usize>>,
    /// Number of right characters, less those too many.
    pub score: usize,
    /// Characters too many and too few; None unless most of them are right.
    pub astray: Option<(usize, usize)>,
    /// The lines of a reference that is trained on, each with its probability.
    pub lines: Vec<(Clean, f64)>,
}

impl ProbeEntry {
    /// Compares a completion with the expected text: a character too many or too few shifts the rest and does not make
    /// it wrong.
    fn new(said: &Said) -> ProbeEntry {
        let text = Clean::line(said.text);
        let count =
            |ranges: &[Range<usize>], of: &str| -> usize { ranges.iter().map(|r| of[r.clone()].chars().count()).sum() };
        let [more, fewer] = differences(&text, said.expected);
        let (extra, missing) = (count(&more, &text), count(&fewer, said.expected));
        let aligned = said.length.saturating_sub(missing).saturating_sub(extra);
        let whole = said.matched == said.length;
        let near = !whole && 3 * aligned >= 2 * said.length;
        let right = if near {
            let mut right = Vec::new();
            let mut at = 0;
            for range in more {
                right.push(at..range.start);
                at = range.end;
            }
            right.push(at..text.len());
            right
        } else {
            let end = text.char_indices().nth(said.matched).map_or(text.len(), |(at, _)| at);
            std::iter::once(0..end).collect()
        };
        let score = if near { aligned.max(said.matched) } else { said.matched };
        let lines = said.lines.iter().map(|line| (Clean::line(&line.text), line.probability)).collect();
        ProbeEntry { step: said.step, text, right, score, astray: near.then_some((extra, missing)), lines }
    }
}

/// The completions of a probe over time.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The prompt as the trainer sent it, which identifies the probe.
    raw: String,
    /// Its task, as the trainer names it.
    task: Option<String>,
    task_name: Clean,
    /// The fixed prompt.
    pub prompt: Clean,
    /// The expected continuation.
    pub expected: Clean,
    /// Its length in characters.
    pub length: usize,
    /// Whether the text is trained on.
    pub recall: bool,
    /// Its completions in order.
    pub entries: Vec<ProbeEntry>,
}

impl Probe {
    /// Whether a completion is the first one that recalled everything.
    pub fn came_true(&self, entry: &ProbeEntry) -> bool {
        let first = self.entries.iter().find(|entry| entry.score == self.length);
        self.recall && first.is_some_and(|first| first.step == entry.step)
    }

    /// Its task in the screen's language.
    pub fn task(&self, lang: Lang) -> Option<&str> {
        let raw = self.task.as_ref()?;
        Some(strings::task(raw).map_or(&self.task_name, |t| t.get(lang)))
    }
}

/// A durable checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps in it.
    pub step: usize,
    /// Its folder.
    pub path: Clean,
}

/// One stage.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// Its id; None before the trainer's first event.
    pub id: Option<StageId>,
    /// Steps in its newest checkpoint when a stage last started.
    pub start_step: Option<usize>,
    /// The run, if this stage ran since the screen opened.
    pub run: Option<Run>,
    /// What it is doing.
    pub phase: Phase,
    /// When its first event arrived.
    pub started: Option<Duration>,
    /// Paused time up to the last resume.
    pub paused_for: Duration,
    /// When the current pause began.
    pub paused_since: Option<Duration>,
    /// When it ended or another stage took over.
    pub ended: Option<Duration>,
    /// The newest step.
    pub step: Option<StepReport>,
    /// Training loss.
    pub loss: Series,
    /// Validation loss over all sources.
    pub valid: Series,
    /// Validation loss on pretraining text in later stages, which measures forgetting.
    pub kept: Series,
    /// Its first value in this stage.
    pub kept_first: Option<f64>,
    /// Lowest validation loss and its step.
    pub best: Option<(usize, f64)>,
    /// Learning rate.
    pub rate: Series,
    /// Gradient norm.
    pub grad: Series,
    /// Tokens per second.
    pub speed: Series,
    /// What is visible of its charts.
    pub charts: Charts,
    /// Whether it has made a step since it was opened.
    pub stepped: bool,
    /// Step events so far, for the pulse of the header.
    pub beats: usize,
    /// Tasks, in the run's order.
    pub tasks: Vec<Task>,
    /// Probes in order of first appearance.
    pub probes: Vec<Probe>,
    /// The selected probe.
    pub probe: usize,
    /// Whether a probe was requested.
    pub probing: bool,
    /// The newest batch.
    pub batch: Option<Batch>,
    /// The selected token.
    pub spot: Option<Spot>,
    /// When a batch was last requested while the panel is visible.
    pub batch_asked: Option<Duration>,
    /// What a stage of human feedback reports.
    pub feedback: Feedback,
    /// Changes of the data, oldest first.
    pub changes: Vec<Change>,
    /// Demonstrations written in the workbench.
    pub demonstrations: usize,
    /// The newest checkpoint since the screen opened.
    pub saved: Option<Checkpoint>,
}

impl Stage {
    /// Its name on the screen.
    pub fn title(&self, lang: Lang) -> String {
        self.id.map_or_else(String::new, |id| strings::stage(id, lang))
    }

    /// The probe with this prompt of plain text, as the trainer sent it.
    pub fn probe_of(&self, prompt: &str) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.task.is_none() && probe.raw == prompt)
    }

    /// Its short name.
    pub fn short(&self) -> &'static str {
        self.id.map_or("", StageId::name)
    }

    /// Whether it trains on tasks instead of text.
    pub fn is_tuning(&self) -> bool {
        self.id.map(StageId::kind) == Some(StageKind::Answers) || !self.tasks.is_empty()
    }

    /// The view of this kind of stage.
    pub fn view(&self) -> View {
        match self.id.map(StageId::kind) {
            Some(StageKind::Reward) => View::Reward,
            Some(StageKind::Pairs) => View::Direct,
            Some(StageKind::Policy) => View::Align,
            Some(StageKind::Answers) => View::Tune,
            Some(StageKind::Text) | None if self.is_tuning() => View::Tune,
            Some(StageKind::Text) | None => View::Pretrain,
        }
    }

    /// Whether it optimises a policy against preferences.
    pub fn aligns(&self) -> bool {
        self.id.is_some_and(StageId::aligns)
    }

    /// Whether it answers in the chat template.
    pub fn talks(&self) -> bool {
        self.run.as_ref().is_some_and(|r| r.info.chat)
    }

    /// The stage whose checkpoint it started from, by its short name.
    pub fn parent(&self) -> Option<&str> {
        self.run.as_ref()?.info.parent.as_deref()
    }

    /// Whether it ended together with the trainer.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished { .. })
    }

    /// Whether it is paused, or a pause was requested.
    pub fn is_paused(&self) -> bool {
        matches!(self.phase, Phase::Paused | Phase::Pausing)
    }

    /// Whether it can resume.
    pub fn resumes(&self) -> bool {
        self.phase == Phase::Paused && !self.is_complete() && self.feedback.guard.as_ref().is_none_or(|g| g.may_go_on)
    }

    /// Whether all planned steps are done.
    pub fn is_complete(&self) -> bool {
        // Of a training elsewhere the plan may be unknown.
        self.run.as_ref().is_some_and(|r| r.info.steps > 0 && self.steps_done() >= r.info.steps)
    }

    /// Steps done, if known.
    pub fn steps_done(&self) -> usize {
        let run = self.run.as_ref().map(|r| r.info.resumed_at);
        self.step.as_ref().map(|s| s.step).or(run).or(self.start_step).unwrap_or(0)
    }

    /// Steps since the newest checkpoint known to the screen.
    pub fn unsaved_steps(&self) -> usize {
        let resumed_at = self.run.as_ref().map_or(0, |r| r.info.resumed_at);
        let saved = self.saved.as_ref().map_or(0, |c| c.step);
        self.steps_done().saturating_sub(saved.max(resumed_at))
    }

    /// Time spent training, without pauses.
    pub fn elapsed(&self, now: Duration) -> Duration {
        let Some(started) = self.started else { return Duration::ZERO };
        let until = self.ended.unwrap_or(now);
        let pause = self.paused_since.map_or(Duration::ZERO, |since| until.saturating_sub(since));
        until.saturating_sub(started).saturating_sub(self.paused_for).saturating_sub(pause)
    }

    /// Seconds to the end of the stage at the measured speed.
    pub fn seconds_left(&self) -> Option<f64> {
        let (run, step) = (self.run.as_ref()?, self.step.as_ref()?);
        let still = self.is_finished() || self.phase == Phase::Resting || self.is_complete();
        let left = run.info.steps.saturating_sub(step.step) as f64;
        if !still && (run.info.batch == 0 || run.info.context == 0 || step.absent.tokens_per_second) {
            // Of a training elsewhere: from the time of a step, if that is known.
            return Some(left * step.step_ms / 1e3).filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        }
        if still || step.tokens_per_second <= 0.0 || !step.tokens_per_second.is_finite() {
            return None;
        }
        let tokens_a_step = run.info.batch as f64 * run.info.context as f64;
        Some(left * tokens_a_step / step.tokens_per_second)
    }

    /// Starts, or continues after another stage was live.
    fn begin(&mut self, info: RunInfo, now: Duration) {
        if let (Some(_), Some(ended)) = (self.started, self.ended.take()) {
            let since = self.paused_since.take().unwrap_or(ended);
            self.paused_for += now.saturating_sub(since);
        }
        self.started = self.started.or(Some(now));
        self.phase = Phase::Running;
        (self.feedback.guard, self.feedback.rollout_refused, self.stepped) = (None, None, false);
        // It was reopened from an earlier checkpoint, so that step no longer counts.
        self.step.take_if(|step| step.step > info.resumed_at);
        self.demonstrations = info.demonstrations;
        for task in &info.tasks {
            if self.tasks.iter().all(|t| t.raw != task.name) {
                self.tasks.push(Task::new(&task.name));
            }
        }
        self.describe(info);
    }

    /// Stops being live.
    pub fn rest(&mut self, now: Duration) {
        self.phase = Phase::Resting;
        self.ended = Some(now);
        self.probing = false;
        self.batch_asked = None;
        self.feedback.rollout_asked = None;
    }

    /// Applies a change of the data made at the time `at`, in Unix seconds.
    pub fn edit(&mut self, edit: &Edit, now: Duration, at: f64) {
        if let Some(run) = &mut self.run {
            // The usage counts stay with their sources.
            if let Some(step) = &mut self.step {
                let before = &run.info.sources;
                let used = |name: &str| step.sources.get(before.iter().position(|s| s.name == name)?).copied();
                let none = SourceUse { tokens: 0, epoch: 0.0 };
                step.sources = edit.sources.iter().map(|s| used(&s.name).unwrap_or(none)).collect();
            }
            run.edit(edit, Some(now));
        }
        self.note_edit(edit, Some(at));
    }

    /// The same for a change in an earlier launch.
    pub fn edit_before(&mut self, edit: &Edit, at: Option<f64>) {
        if let Some(run) = self.run.as_mut().filter(|_| !edit.sources.is_empty()) {
            run.edit(edit, None);
        }
        self.note_edit(edit, at);
    }

    /// Adds a change of the data to the list of changes.
    pub fn note_edit(&mut self, edit: &Edit, at: Option<f64>) {
        let change = Change {
            at,
            step: edit.step,
            cause: Some(edit.cause),
            text: Both::new(|lang| strings::change(lang, &edit.text)),
            seconds: edit.seconds,
            replayed: edit.replayed,
        };
        self.change(change);
    }

    /// Adds a change. If its step is repeated after a resume, it replaces the earlier one.
    pub fn change(&mut self, change: Change) {
        self.changes.retain(|c| !(change.replayed && c.step == change.step && c.text == change.text));
        if self.changes.len() == CHANGES {
            self.changes.remove(0);
        }
        self.changes.push(change);
    }

    /// Adds a step.
    pub fn add_step(&mut self, step: StepReport) {
        let absent = step.absent;
        for (series, value, absent) in [
            (&mut self.loss, step.loss, absent.loss),
            (&mut self.rate, step.learning_rate, absent.learning_rate),
            (&mut self.grad, step.grad_norm, absent.grad_norm),
            (&mut self.speed, step.tokens_per_second, absent.tokens_per_second),
        ] {
            if !absent {
                series.push(step.step, value);
            }
        }
        self.charts.pace.push(step.step, step.total_tokens, step.step_ms / 1e3);
        self.feedback.add_metrics(step.step, &step.extra);
        self.step = Some(step);
    }

    /// Forgets what its files hold: its past is about to be read from them.
    pub fn forget(&mut self) {
        (self.loss, self.valid, self.kept) = (Series::default(), Series::default(), Series::default());
        (self.rate, self.grad, self.speed) = (Series::default(), Series::default(), Series::default());
        (self.kept_first, self.best, self.charts.pace) = (None, None, Pace::default());
        self.tasks.iter_mut().for_each(|t| (t.newest, t.before) = (None, None));
        self.probes.clear();
        self.changes.clear();
        self.feedback.forget();
        for source in self.run.iter_mut().flat_map(|r| &mut r.sources) {
            (source.valid, source.train) = (Series::default(), Series::default());
        }
    }

    /// Sets the run as an earlier launch of the stage described it; the curves of its sources continue.
    pub fn describe(&mut self, info: RunInfo) {
        let old = self.run.take();
        let mut run = Run::new(info);
        for source in &mut run.sources {
            if let Some(known) = old.iter().flat_map(|o| &o.sources).find(|s| s.name == source.name) {
                (source.valid, source.train) = (known.valid.clone(), known.train.clone());
            }
        }
        self.run = Some(run);
    }

    /// Adds a task's scores.
    pub fn add_scores(&mut self, report: TaskReport) {
        let at = self.tasks.iter().position(|t| t.raw == report.task).unwrap_or_else(|| {
            self.tasks.push(Task::new(&report.task));
            self.tasks.len() - 1
        });
        let task = &mut self.tasks[at];
        // Scores measured again at the same step replace the earlier ones; the change is relative to the previous
        // evaluation.
        if task.newest.as_ref().is_some_and(|n| n.step != report.step) {
            task.before = task.newest.take();
        }
        task.newest = Some(report);
    }

    /// Adds a probe's completion.
    pub fn add_probe(&mut self, said: Said) {
        let known = |p: &Probe| p.raw == said.prompt && p.task.as_deref() == said.task;
        let at = self.probes.iter().position(known).unwrap_or_else(|| {
            // Probes of recall come first.
            let at = if said.recall { self.probes.iter().take_while(|p| p.recall).count() } else { self.probes.len() };
            let probe = Probe {
                raw: said.prompt.to_owned(),
                task: said.task.map(str::to_owned),
                task_name: Clean::line(said.task.unwrap_or_default()),
                prompt: Clean::line(said.prompt),
                expected: Clean::default(),
                length: said.length,
                recall: said.recall,
                entries: Vec::new(),
            };
            self.probes.insert(at, probe);
            at
        });
        let probe = &mut self.probes[at];
        (probe.length, probe.recall) = (said.length, said.recall);
        probe.expected = Clean::line(said.expected);
        // Completions of an older checkpoint may come after those of a newer one.
        let at = probe.entries.partition_point(|e| e.step <= said.step);
        probe.entries.insert(at, ProbeEntry::new(&said));
        if probe.entries.len() > PROBES {
            let mut index = 0;
            probe.entries.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }
}

/// A probe's completion as the trainer sends it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "as in Event::Probe")]
pub struct Said<'a> {
    pub step: usize,
    pub task: Option<&'a str>,
    pub prompt: &'a str,
    pub text: &'a str,
    pub expected: &'a str,
    pub matched: usize,
    pub length: usize,
    pub recall: bool,
    pub lines: &'a [LineChance],
}

/// The stages, the live one and the one in view. Never empty.
#[derive(Debug)]
pub struct Stages {
    all: Vec<Stage>,
    live: usize,
    shown: usize,
}

impl Default for Stages {
    fn default() -> Stages {
        Stages { all: vec![Stage::default()], live: 0, shown: 0 }
    }
}

impl Stages {
    /// All stages in order.
    pub fn all(&self) -> &[Stage] {
        &self.all
    }

    /// The live stage.
    pub fn live(&self) -> &Stage {
        &self.all[self.live]
    }

    /// The live stage.
    pub fn live_mut(&mut self) -> &mut Stage {
        &mut self.all[self.live]
    }

    /// The stage in view.
    pub fn shown(&self) -> &Stage {
        &self.all[self.shown]
    }

    /// The stage in view.
    pub fn shown_mut(&mut self) -> &mut Stage {
        &mut self.all[self.shown]
    }

    /// Whether the live stage is in view.
    pub fn live_is_shown(&self) -> bool {
        self.live == self.shown
    }

    /// Whether this stage is live.
    pub fn is_live(&self, stage: &Stage) -> bool {
        std::ptr::eq(stage, self.live())
    }

    /// Whether this stage is in view.
    pub fn is_shown(&self, stage: &Stage) -> bool {
        std::ptr::eq(stage, self.shown())
    }

    /// A stage, if the run has it.
    pub fn find_mut(&mut self, stage: StageId) -> Option<&mut Stage> {
        self.all.iter_mut().find(|s| s.id == Some(stage))
    }

    /// The index of a stage, if the run has it.
    pub fn find(&self, stage: StageId) -> Option<usize> {
        self.all.iter().position(|s| s.id == Some(stage))
    }

    /// The alignment stage to view next: the one after that in view, or the live one, or the first.
    pub fn next_aligned(&self) -> Option<StageId> {
        let mut there: Vec<StageId> = self.all.iter().filter_map(|s| s.id).filter(|stage| stage.aligns()).collect();
        there.sort();
        if let Some(at) = there.iter().position(|stage| Some(*stage) == self.shown().id) {
            return there.into_iter().cycle().nth(at + 1);
        }
        self.live().id.filter(|stage| stage.aligns()).or(there.first().copied())
    }

    /// Views another stage, if the run has it.
    pub fn show(&mut self, stage: StageId) {
        self.shown = self.find(stage).unwrap_or(self.shown);
    }

    /// Views the live stage.
    pub fn show_live(&mut self) {
        self.shown = self.live;
    }

    /// Makes a stage live and views it.
    pub fn begin(&mut self, info: RunInfo, now: Duration) {
        for StageInfo { stage, step } in &info.stages {
            let at = self.place(*stage);
            self.all[at].start_step = *step;
        }
        self.place(info.stage);
        self.all.sort_by_key(|s| s.id);
        self.live = self.place(info.stage);
        self.shown = self.live;
        self.all[self.live].begin(info, now);
    }

    /// The index of a stage, which is added if missing; the stage without an id is removed.
    fn place(&mut self, stage: StageId) -> usize {
        if let Some(at) = self.find(stage) {
            return at;
        }
        self.all.retain(|s| s.id.is_some());
        self.all.push(Stage { id: Some(stage), phase: Phase::Resting, ..Stage::default() });
        self.all.len() - 1
    }
}
