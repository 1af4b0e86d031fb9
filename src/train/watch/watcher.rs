//! A log as the events of a screen that only watches.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    feed::{End, Feed},
    folders::{Done, Folders, Job},
    history::{History, Place},
    place::{self, Source, Watched},
    reader::{Read, What},
};
use crate::{
    base::StageId,
    nn::{ModelConfig, ParamTable},
    protocol::{Command, Event, Follows, Line, Past, RunInfo, SourceInfo, StageInfo, StepReport, Watching, unix_time},
    store::holder,
    train::{
        error::TrainError,
        film,
        run::{model_folder::read_text, replay::is_drawn},
        tree,
    },
};

/// Lines that are read at once, so that a long log does not keep a command waiting.
const PORTION: usize = 4000;
/// Interval at which a run's lock is read.
const LOCK: Duration = Duration::from_secs(1);
/// A run whose log grew within this time is trained, whatever its lock says: its trainer may be on another machine.
const ALIVE: f64 = 60.0;

/// Watches a log.
pub struct Watcher {
    watched: Watched,
    feed: Feed,
    history: History,
    folders: Folders,
    /// The stage of lines that name none, as the user named it.
    asked: Option<StageId>,
    /// The training as it was shown last.
    info: Option<RunInfo>,
    /// Whether the log says when a stage is launched.
    launched: bool,
    /// Whether everything that was there at the start was read and shown.
    begun: bool,
    shown: Option<Watching>,
    state: Follows,
    newest: Option<f64>,
    /// When the lock was read, and whether a process held it.
    lock: Option<(Instant, bool)>,
    /// Whether the log does not show what is trained.
    assumed: bool,
    /// What is said once.
    said: Vec<String>,
}

impl Watcher {
    /// Watches what was opened; `stage` is that of lines that name none, and `stream` what is watched as a stream.
    ///
    /// # Errors
    /// If no thread can be started that reads the stream.
    pub fn new(
        watched: Watched,
        stage: Option<StageId>,
        stream: Option<Box<dyn std::io::Read + Send>>,
    ) -> Result<Watcher, TrainError> {
        let feed = Feed::new(&watched, stage, stream)?;
        Ok(Watcher {
            watched,
            feed,
            history: History::default(),
            folders: Folders::new(),
            asked: stage,
            info: None,
            launched: false,
            begun: false,
            shown: None,
            state: Follows::Awaited,
            newest: None,
            lock: None,
            assumed: false,
            said: Vec::new(),
        })
    }

    /// The folder that is watched.
    pub fn dir(&self) -> Option<&Path> {
        self.watched.dir.as_deref()
    }

    /// The step of the newest line.
    pub fn step(&self) -> usize {
        self.info.as_ref().map_or(0, |info| self.history.done(info.stage))
    }

    /// Reads on; returns what has happened. Until everything that is there at the start was read, nothing; then it as a
    /// whole. The second value is false if there is more to read at once. A file that cannot be read now is read the next
    /// time, and said once.
    pub fn advance(&mut self) -> (Vec<Event>, bool) {
        let (mut events, mut read, mut failed) = (Vec::new(), 0, None);
        while read < PORTION {
            match self.feed.next() {
                Ok(Some(entry)) => self.take(entry, &mut events),
                Ok(None) => break,
                Err(e) => {
                    failed = Some(e.to_string());
                    break;
                }
            }
            read += 1;
        }
        let all = read < PORTION;
        if !self.begun {
            events.clear();
            if all {
                self.begun = true;
                self.begin(&mut events);
            }
        }
        if let Some(text) = failed {
            self.say(text, &mut events);
        }
        if all {
            self.look(&mut events);
        }
        (events, all)
    }

    /// What there was at the start.
    fn begin(&mut self, events: &mut Vec<Event>) {
        if let Some(info) = &mut self.info {
            info.resumed_at = self.history.done(info.stage);
            info.steps = info.steps.max(self.feed.planned().unwrap_or(0));
            info.sources = sources(std::mem::take(&mut info.sources), &self.history.past());
        }
        if let Some(info) = self.info.clone() {
            let info = RunInfo { stages: self.stages(), ..info };
            events.push(Event::Started(Box::new(info)));
            events.push(Event::Past(Box::new(self.history.past())));
        }
    }

    /// What is said beside the log's lines: folders that appeared, and whether more can be expected.
    fn look(&mut self, events: &mut Vec<Event>) {
        let stage = self.info.as_ref().map(|info| info.stage);
        for event in self.folders.look(&self.watched, stage, &self.history) {
            let stage = stage.unwrap_or_default();
            self.keep(stage, None, event, events);
        }
        if self.assumed {
            let text = format!(
                "the log does not show what is trained: it is shown as {}; danlu watch --stage names another stage",
                StageId::default()
            );
            self.say(text, events);
        }
        if self.feed.is_counted() {
            let text = "the lines name no step: the steps shown are the numbers of the lines";
            self.say(text.to_owned(), events);
        }
        match self.feed.end() {
            End::Ended => self.say("the stream has ended".to_owned(), events),
            End::Broken(why) => {
                let text = format!("the stream broke off: {why}");
                self.say(text, events);
            }
            End::Open => {}
        }
        let state = self.follows();
        let now = Watching { state, newest: self.newest, passed: self.feed.passed() };
        if self.shown.as_ref() != Some(&now) {
            self.shown = Some(now.clone());
            events.push(Event::Watching(now));
        }
    }

    /// Whether more lines can be expected.
    fn follows(&mut self) -> Follows {
        if *self.feed.end() != End::Open && !matches!(self.state, Follows::Over { .. }) {
            return Follows::Ended;
        }
        let Source::Run(view) = &self.watched.source else { return self.state.clone() };
        let held = match self.lock {
            Some((at, held)) if at.elapsed() < LOCK => held,
            _ => holder(&**view.disk(), view.dir()).is_some(),
        };
        if self.lock.is_none_or(|(at, _)| at.elapsed() >= LOCK) {
            self.lock = Some((Instant::now(), held));
        }
        let alive = self.newest.is_some_and(|newest| unix_time() - newest < ALIVE);
        if held || alive && self.state == Follows::Lines { self.state.clone() } else { self.unattended() }
    }

    /// The state of a run that no process trains.
    fn unattended(&self) -> Follows {
        if matches!(self.state, Follows::Over { .. }) { self.state.clone() } else { Follows::Nobody }
    }

    fn say(&mut self, text: String, events: &mut Vec<Event>) {
        if !self.said.contains(&text) {
            self.said.push(text.clone());
            events.push(Event::Note { step: self.step(), text });
        }
    }

    /// Takes in an entry of the log.
    fn take(&mut self, read: Read, events: &mut Vec<Event>) {
        let Read { stage, time, step, hash, what } = read;
        let assumed = stage.is_none() && self.info.is_none() && self.asked.is_none();
        let stage = stage.or(self.info.as_ref().map(|info| info.stage)).or(self.asked).unwrap_or_default();
        let new = match what {
            What::Step(report) => self.take_step(stage, report, hash, events),
            What::Event(Event::Started(info)) => self.take_launch(Line { stage, time, record: *info }, hash, events),
            What::Event(event) => self.take_event(Line { stage, time, record: event }, hash, events),
            What::Over(seconds) => {
                let step = step.unwrap_or_else(|| self.history.done(stage));
                let event = Event::Finished { step, reason: "done".to_owned(), failed: false, seconds };
                self.take_event(Line { stage, time, record: event }, hash, events)
            }
        };
        if assumed && self.info.is_some() {
            self.assumed = true;
        }
        if new {
            let arrived = self.begun.then(unix_time);
            let newest = time.or(arrived).into_iter().chain(self.newest);
            self.newest = newest.reduce(f64::max);
        }
    }

    fn take_step(&mut self, stage: StageId, report: StepReport, hash: u64, events: &mut Vec<Event>) -> bool {
        let other = self.info.as_ref().is_none_or(|info| info.stage != stage);
        // A line of another stage that is read again starts nothing. Of a log with launches they start the stages: the
        // reward model may learn from votes beside the stage that runs.
        if other && !self.launched && !self.history.knows(stage, report.step, hash) {
            let info = self.about(stage);
            self.start(info, events);
        }
        let shown = self.info.as_ref().is_some_and(|info| info.stage == stage);
        match self.history.add_step(stage, report.clone(), hash) {
            Place::Known => return false,
            Place::Next if !shown => {}
            Place::Next => match events.last_mut() {
                Some(Event::Steps(steps)) => steps.push(report),
                _ => events.push(Event::Steps(vec![report])),
            },
            Place::Back => self.again(stage, events),
        }
        self.go_on();
        true
    }

    fn take_launch(&mut self, line: Line<RunInfo>, hash: u64, events: &mut Vec<Event>) -> bool {
        let Line { stage, time, record: info } = line;
        let info = match &self.watched.source {
            // A run.toml that cannot be read now says nothing about the launch.
            Source::Run(view) => film::described(view, stage, info.clone()).unwrap_or(RunInfo { stage, ..info }),
            _ => self.completed(stage, info),
        };
        let line = Line { stage, time, record: Event::Started(Box::new(info.clone())) };
        if !self.history.add_event(&line, hash) {
            return false;
        }
        // Of a stream the launch may come after the lines of its steps: only what is older was taken back.
        let late = time.zip(self.newest).is_some_and(|(launch, newest)| launch < newest);
        if !late {
            self.history.cut(stage, info.resumed_at);
        }
        self.launched = true;
        self.start(info, events);
        self.go_on();
        true
    }

    fn take_event(&mut self, line: Line<Event>, hash: u64, events: &mut Vec<Event>) -> bool {
        if self.info.is_none() && !matches!(self.watched.source, Source::Run(_)) {
            let info = self.about(line.stage);
            self.start(info, events);
        }
        if let Event::Probe { step, prompt, .. } = &line.record
            && self.history.has_probe(line.stage, *step, prompt)
        {
            return false;
        }
        if !self.history.add_event(&line, hash) {
            return false;
        }
        if self.state == Follows::Awaited {
            self.state = Follows::Lines;
        }
        // The figures of another stage are not those of the stage that runs.
        let shown = self.info.as_ref().is_some_and(|info| info.stage == line.stage);
        if shown || !is_drawn(&line.record) {
            self.tell(line.record, events);
        }
        true
    }

    /// A line has arrived: the training is not over, whatever an earlier line said.
    fn go_on(&mut self) {
        self.history.over = false;
        self.state = Follows::Lines;
    }

    /// A launch, or the first line of a stage.
    fn start(&mut self, info: RunInfo, events: &mut Vec<Event>) {
        let stage = info.stage;
        let info = RunInfo { stages: self.stages(), read_only: true, watched: true, ..info };
        self.info = Some(info.clone());
        if !self.begun {
            return;
        }
        events.push(Event::Started(Box::new(info)));
        if !self.history.is_new(stage) {
            self.again(stage, events);
        }
    }

    /// Sends a stage's past again: the training went back.
    fn again(&self, stage: StageId, events: &mut Vec<Event>) {
        if self.begun {
            let stages = self.history.past_of(stage).into_iter().collect();
            events.push(Event::Past(Box::new(Past { stages, log: None })));
        }
    }

    /// An event that did not come from the log.
    fn keep(&mut self, stage: StageId, time: Option<f64>, event: Event, events: &mut Vec<Event>) {
        let line = Line { stage, time: time.or(Some(unix_time())), record: event };
        // No line of a log is the same.
        let hash = u64::from_le_bytes(
            blake3::hash(format!("{line:?}").as_bytes()).as_bytes()[..8].try_into().unwrap_or_default(),
        );
        if self.history.add_event(&line, hash) {
            self.tell(line.record, events);
        }
    }

    /// What the screen is sent of an event.
    fn tell(&mut self, event: Event, events: &mut Vec<Event>) {
        let step = event.step().unwrap_or_else(|| self.step());
        events.push(match event {
            Event::SetBack { .. } | Event::Resumed { .. } => {
                self.go_on();
                event
            }
            Event::SaveFailed { error: text, .. } | Event::StoreFailed { error: text, .. } => {
                Event::Note { step, text }
            }
            Event::Guarded { reason: text, .. } | Event::Refused { text } => Event::Note { step, text },
            Event::Finished { reason, .. } if reason == "switched" => return,
            Event::Finished { step, reason, failed, .. } => {
                self.history.over = true;
                self.state = Follows::Over { step, reason, failed };
                return;
            }
            event => event,
        });
    }

    /// The stages with their newest steps.
    fn stages(&self) -> Vec<StageInfo> {
        let step = |stage: StageId| self.history.stages().find(|of| of.0 == stage).map(|of| of.1);
        let all = StageId::ALL.into_iter().map(|stage| StageInfo { stage, step: step(stage) });
        match &self.watched.source {
            Source::Run(_) => all.collect(),
            _ => all.filter(|info| info.step.is_some()).collect(),
        }
    }

    /// What is known of a stage without a launch.
    fn about(&self, stage: StageId) -> RunInfo {
        if let Source::Run(view) = &self.watched.source
            && let Ok(info) = film::described(view, stage, RunInfo::default())
        {
            return info;
        }
        self.completed(stage, RunInfo::default())
    }

    /// A launch with what its line leaves out, as far as handover.json and a config.json say it.
    fn completed(&self, stage: StageId, info: RunInfo) -> RunInfo {
        let plan = |key: &str| self.watched.handover.as_ref().and_then(|h| h.plan(key)).unwrap_or(0.0);
        let text = |key: &str| self.watched.handover.as_ref().and_then(|h| h.text(key)).unwrap_or_default();
        let or = |there: usize, else_: f64| if there > 0 { there } else { else_ as usize };
        let model = self.model();
        let named = if info.name.is_empty() { self.watched.name.clone() } else { info.name };
        RunInfo {
            name: named,
            path: self.watched.dir.clone().unwrap_or_default(),
            stage,
            size: if info.size.is_empty() { text("size").to_owned() } else { info.size },
            parameters: or(info.parameters, model.parameters as f64),
            vocab_size: model.vocab_size,
            layers: model.layers,
            hidden_size: model.hidden_size,
            heads: model.heads,
            batch: or(info.batch, plan("batch_size") * plan("accumulation").max(1.0)),
            context: or(info.context, plan("context")),
            learning_rate: plan("learning_rate"),
            steps: or(info.steps, self.feed.planned().map_or(plan("steps"), |steps| steps as f64)),
            chat: stage.chat(),
            parent: info.parent.or_else(|| Some(text("parent").to_owned()).filter(|parent| !parent.is_empty())),
            ..info
        }
    }

    /// The shape of the model, from a config.json beside the log; zeros if there is none.
    fn model(&self) -> RunInfo {
        let mut folders: Vec<std::path::PathBuf> = Vec::new();
        if let Some(dir) = &self.watched.dir {
            let newest = place::numbered(&*self.watched.disk, dir).pop().map(|(_, folder)| folder);
            folders.extend(newest.into_iter().chain([dir.join("model"), dir.clone()]));
        }
        folders.extend(self.watched.handover.as_ref().map(|h| h.home.join("model")));
        let text = folders.iter().find_map(|folder| read_text(folder, "config.json").ok().flatten());
        let Some(text) = text else { return RunInfo::default() };
        let fields: Value = serde_json::from_str(&text).unwrap_or_default();
        let number = |key: &str| fields.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
        let parameters = ModelConfig::from_json(&text).map_or(0, |config| ParamTable::new(&config).parameters());
        RunInfo {
            parameters,
            vocab_size: number("vocab_size"),
            layers: number("num_hidden_layers"),
            hidden_size: number("hidden_size"),
            heads: number("num_attention_heads"),
            ..RunInfo::default()
        }
    }

    /// The next checkpoint whose probes are to be completed.
    pub fn next_job(&mut self) -> Option<Job> {
        if self.begun { self.folders.next(&self.watched, &self.history) } else { None }
    }

    /// Takes in a checkpoint's probes.
    pub fn completed_job(&mut self, done: Done) -> Vec<Event> {
        let mut events = Vec::new();
        let (job, result) = (done.job, done.result);
        if let Some(text) = self.folders.done(&job.folder, result.as_ref().map(|_| ())) {
            self.say(text, &mut events);
        }
        for event in result.unwrap_or_default() {
            // Its trainer may have completed it in the meantime.
            let Event::Probe { step, prompt, .. } = &event else { continue };
            if !self.history.has_probe(job.stage, *step, prompt) {
                self.keep(job.stage, None, event, &mut events);
            }
        }
        // The screen adds what it is sent to the stage that is live.
        if self.info.as_ref().is_some_and(|info| info.stage != job.stage) && !events.is_empty() {
            events.retain(|event| !matches!(event, Event::Probe { .. }));
            self.again(job.stage, &mut events);
        }
        events
    }

    /// The answer to a request that only reads; None for others.
    pub fn answer(&self, command: &Command) -> Option<Event> {
        let Source::Run(view) = &self.watched.source else { return None };
        let answer = tree::look(view.disk(), view.dir(), command)?;
        Some(answer.unwrap_or_else(|e| Event::Refused { text: e.to_string() }))
    }
}

/// The sources of a training that names none: those that it was measured on.
fn sources(known: Vec<SourceInfo>, past: &Past) -> Vec<SourceInfo> {
    if !known.is_empty() {
        return known;
    }
    let mut names: Vec<&str> = Vec::new();
    for line in past.stages.iter().flat_map(|stage| &stage.events) {
        if let Event::Eval { source, .. } = &line.record
            && source != "all"
            && !names.contains(&source.as_str())
        {
            names.push(source);
        }
    }
    let unknown = |name: &str| SourceInfo { name: name.to_owned(), weight: f64::NAN, ..SourceInfo::default() };
    names.into_iter().map(unknown).collect()
}
