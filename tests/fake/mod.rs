//! A fake trainer: plausible events for tests of the screen.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

pub mod charts;
pub mod config;
pub mod data;
pub mod feedback;
pub mod screen;
pub mod tree;
pub mod tuning;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use danlu::{
    base::StageId,
    protocol::{
        Ask, BatchView, Command, Event, LineChance, Manner, RunInfo, SourceInfo, SourceUse, StageInfo, StepReport,
        TaskInfo, TaskReport, TokenView, Who,
    },
    session::{COMMANDS, EVENTS, Session},
};

use self::{data::Data, feedback::Votes};

pub const POEM: &str = "处处闻啼鸟。夜来风雨声，花落知多少。";
pub const STEPS: usize = 1200;

pub fn info() -> RunInfo {
    let source = |name: &str, weight, tokens| SourceInfo {
        name: name.to_owned(),
        weight,
        documents: 300,
        tokens,
        held_out_tokens: tokens / 20,
    };
    RunInfo {
        name: "chunxiao-0007".to_owned(),
        path: PathBuf::from("runs/chunxiao-0007"),
        stage: StageId::Pretrain,
        size: "1m".to_owned(),
        engine: "cpu".to_owned(),
        precision: "f32".to_owned(),
        adapter: "2 threads, AVX-512".to_owned(),
        parameters: 1_318_272,
        vocab_size: 4096,
        layers: 4,
        hidden_size: 128,
        heads: 4,
        batch: 16,
        context: 128,
        learning_rate: 3e-3,
        steps: STEPS,
        resumed_at: 0,
        chat: false,
        parent: None,
        stages: stages(None, None),
        tasks: Vec::new(),
        demonstrations: 0,
        memory: 43_830_000,
        host_memory: 43_830_000,
        sources: vec![
            source("唐诗 tang300", 0.4, 48_200),
            source("古文 guwen", 0.35, 1_900_000),
            source("百科 wiki-zh", 0.25, 1_840_000),
        ],
        manner: Manner::default(),
        read_only: false,
        watched: false,
    }
}

/// Reproducible noise.
pub fn noise(step: usize) -> f64 {
    let mut x = (step as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 32;
    (x % 10_000) as f64 / 5000.0 - 1.0
}

pub fn step(step: usize) -> StepReport {
    let t = step as f64;
    let done = t / STEPS as f64;
    let total = step as u64 * 16 * 128;
    let of = |share: f64, tokens: f64| SourceUse {
        tokens: (total as f64 * share) as u64,
        epoch: total as f64 * share / tokens,
    };
    StepReport {
        step,
        loss: 2.1 + 6.2 * (-t / 130.0).exp() + 0.5 * (-t / 700.0).exp() + noise(step) * 0.22,
        learning_rate: 3e-3 * (t / 60.0).min(1.0) * if done > 0.8 { (1.0 - done) / 0.2 } else { 1.0 },
        grad_norm: 0.7 + 2.0 * (-t / 90.0).exp() + noise(step + 7).abs() * 0.4,
        applied: true,
        tokens_per_second: 18_400.0 + noise(step + 3) * 600.0,
        total_tokens: total,
        epoch: total as f64 / 3_788_200.0,
        step_ms: 111.3 + noise(step) * 4.0,
        sources: vec![of(0.4, 48_200.0), of(0.35, 1_900_000.0), of(0.25, 1_840_000.0)],
        ..StepReport::default()
    }
}

/// The poem's lines, which become more probable from the first to the last.
fn lines(right: usize) -> Vec<LineChance> {
    let of = |(at, text): (usize, &str)| {
        let learned = (right as f64 - 6.0 * at as f64).clamp(0.0, 6.0);
        LineChance { text: text.to_owned(), probability: 1e-4 + 0.98 * (learned / 6.0).powi(3) }
    };
    ["处处闻啼鸟。", "夜来风雨声，", "花落知多少。"].into_iter().enumerate().map(of).collect()
}

pub fn probe(step: usize) -> Event {
    let right = (step * 18 / 900).min(18);
    let wrong = "人山水一不有风的中大是在了和这";
    let mut text: String = POEM.chars().take(right).collect();
    text.extend(wrong.chars().cycle().skip(step / 50 % 7).take(18 - right));
    Event::Probe {
        step,
        task: None,
        prompt: "春眠不觉晓，".to_owned(),
        matched: right,
        text,
        expected: POEM.to_owned(),
        length: 18,
        recall: true,
        lines: lines(right),
    }
}

pub fn evals(step: usize) -> Vec<Event> {
    let loss = 2.25 + 6.0 * (-(step as f64) / 130.0).exp() + 0.5 * (-(step as f64) / 700.0).exp();
    let eval = |source: &str, loss: f64| Event::Eval {
        step,
        source: source.to_owned(),
        eval_loss: loss,
        eval_bits_per_byte: loss / 2.08,
        train_loss: (source != "all").then_some(loss - 0.0008 * step as f64),
        sampled_loss: None,
    };
    vec![
        eval("唐诗 tang300", loss - 0.4),
        eval("古文 guwen", loss + 0.1),
        eval("百科 wiki-zh", loss + 0.3),
        eval("all", loss),
    ]
}

pub fn stages(pretrain: Option<usize>, sft: Option<usize>) -> Vec<StageInfo> {
    stages_at([pretrain.unwrap_or(0), sft.unwrap_or(0), 0, 0, 0, 0])
}

/// All stages with their progress.
pub fn stages_at(done: [usize; 6]) -> Vec<StageInfo> {
    let info = |(stage, step): (StageId, usize)| StageInfo { stage, step: (step > 0).then_some(step) };
    StageId::ALL.into_iter().zip(done).map(info).collect()
}

pub const SFT_STEPS: usize = 400;
pub const TASKS: [(&str, f64); 6] =
    [("zh-en", 0.62), ("en-zh", 0.55), ("rewrite", 0.8), ("qa", 0.71), ("recite", 0.95), ("by-hand", 0.4)];

pub fn sft_info(resumed_at: usize) -> RunInfo {
    let source = |name: &str| SourceInfo {
        name: name.to_owned(),
        weight: 1.0 / 6.0,
        documents: 400,
        tokens: 24_000,
        held_out_tokens: 1200,
    };
    RunInfo {
        stage: StageId::Sft,
        learning_rate: 5e-4,
        steps: SFT_STEPS,
        resumed_at,
        chat: true,
        parent: Some("pretrain-001200".to_owned()),
        stages: stages(Some(STEPS), (resumed_at > 0).then_some(resumed_at)),
        tasks: TASKS.map(|(name, _)| TaskInfo { name: name.to_owned(), examples: 400, held_out: 24 }).to_vec(),
        demonstrations: 2,
        sources: TASKS.map(|(name, _)| source(name)).to_vec(),
        ..info()
    }
}

pub fn sft_step(at: usize) -> StepReport {
    let t = at as f64;
    StepReport {
        loss: 0.6 + 2.4 * (-t / 60.0).exp() + noise(at) * 0.12,
        learning_rate: 5e-4 * (t / 20.0).min(1.0),
        grad_norm: 0.5 + 1.5 * (-t / 40.0).exp() + noise(at + 7).abs() * 0.2,
        sources: vec![SourceUse { tokens: at as u64 * 340, epoch: t * 340.0 / 24_000.0 }; TASKS.len()],
        ..step(at)
    }
}

pub fn sft_evals(step: usize) -> Vec<Event> {
    let learned = 1.0 - (-(step as f64) / 120.0).exp();
    let eval = |source: &str, loss: f64| Event::Eval {
        step,
        source: source.to_owned(),
        eval_loss: loss,
        eval_bits_per_byte: loss / 2.08,
        train_loss: None,
        sampled_loss: None,
    };
    let mut events = Vec::new();
    for (at, (task, best)) in TASKS.iter().enumerate() {
        let share = best * learned - if at == 2 && step > 150 { 0.02 } else { 0.0 };
        events.push(Event::Task(TaskReport {
            step,
            task: (*task).to_owned(),
            examples: 24,
            exact_match: share.max(0.0),
            char_f1: (0.3 + 0.7 * share).max(0.0),
            end_rate: 0.5 + 0.5 * learned,
            eval_loss: 2.9 - 2.2 * share,
        }));
        events.push(eval(task, 2.9 - 2.2 * share));
    }
    events.push(eval("all", 2.9 - 1.9 * learned));
    events.push(eval("pretrain", 2.252 + 0.13 * learned));
    events
}

pub fn sft_probes(step: usize) -> Vec<Event> {
    let probe = |task: &str, prompt: &str, expected: &str, speed: usize| {
        let length = expected.chars().count();
        let matched = (step * length / speed).min(length);
        let mut text: String = expected.chars().take(matched).collect();
        text.extend("的一是不了人我在有他这".chars().cycle().take((length - matched).min(9)));
        let (task, prompt) = (Some(task.to_owned()), prompt.to_owned());
        Event::Probe {
            step,
            task,
            prompt,
            text,
            expected: expected.to_owned(),
            matched,
            length,
            recall: false,
            lines: Vec::new(),
        }
    };
    vec![
        probe(
            "zh-en",
            "翻译：他每天早上六点起床，然后去跑步。",
            "He gets up at six every morning and goes running.",
            300,
        ),
        probe("qa", "杭州在哪个省？", "浙江省。", 100),
        probe("recite", "背诵《春晓》", "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", 220),
    ]
}

pub fn batch(step: usize) -> Event {
    let mut drawn = step;
    let mut row = |source: &str, turns: &[(&str, &str)]| {
        let mut tokens = Vec::new();
        let mut token = |text: &str, trained: bool, first: bool| {
            drawn += 1;
            let loss = trained.then(|| (noise(drawn).abs() * noise(drawn + 50).abs() * 6.0) as f32);
            tokens.push(TokenView { text: text.to_owned(), trained, loss, first });
        };
        for (user, assistant) in turns {
            for (role, text) in [("user", user), ("assistant", assistant)] {
                token("<|im_start|>", false, role == "user");
                role.chars().for_each(|c| token(&c.to_string(), false, false));
                token("\n", false, false);
                text.chars().for_each(|c| token(&c.to_string(), role == "assistant", false));
                token("<|im_end|>", role == "assistant", false);
                token("\n", false, false);
            }
        }
        (source.to_owned(), tokens)
    };
    let rows = vec![
        row("qa", &[("杭州在哪个省？", "浙江省。"), ("水在多少度结冰？", "水在零度结冰。")]),
        row("zh-en", &[("翻译：我们明天去看电影，你来吗？", "We are going to the cinema tomorrow. Are you coming?")]),
        row("recite", &[("背诵《春晓》", "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。")]),
        row("rewrite", &[("改得客气一点：把门关上。", "请您把门关上，好吗？谢谢。")]),
    ];
    Event::Batch(Box::new(BatchView { step, rows }))
}

/// The events of fine-tuning from `from` to `last`.
pub fn sft_between(from: usize, last: usize) -> Vec<Event> {
    let mut events = vec![Event::Started(Box::new(sft_info(from)))];
    if from == 0 {
        events.extend(sft_evals(0));
        events.extend(sft_probes(0));
    }
    for at in from + 1..=last {
        events.push(Event::Steps(vec![sft_step(at)]));
        if at % 40 == 0 {
            events.extend(sft_evals(at));
            events.extend(sft_probes(at));
        }
    }
    events
}

/// Pretraining to its end, then fine-tuning up to `last`.
pub fn sft_until(last: usize) -> Vec<Event> {
    let mut events = run_until(STEPS);
    events.push(saved(STEPS));
    events.push(Event::Finished { step: STEPS, reason: "switched".to_owned(), failed: false, seconds: 0.0 });
    events.extend(sft_between(0, last));
    events.push(batch(last));
    events
}

/// The events of a run up to `last`, without prompts.
pub fn run_until(last: usize) -> Vec<Event> {
    let mut events = vec![Event::Started(Box::new(info())), probe(0)];
    for at in 1..=last {
        events.push(Event::Steps(vec![step(at)]));
        if at % 50 == 0 {
            events.extend(evals(at));
            events.push(probe(at));
        }
        if at % 400 == 0 {
            events.push(saved(at));
        }
    }
    events
}

pub fn saved(step: usize) -> Event {
    let path = PathBuf::from(format!("runs/chunxiao-0007/checkpoints/pretrain-{step:06}"));
    Event::Saved { step, path, seconds: 0.3, bytes: 15_820_000, best: false }
}

/// A stage of the fake trainer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line {
    Pretrain,
    Sft,
    Reward,
    Ppo,
    Dpo,
    Grpo,
}

impl Line {
    pub const ALL: [Line; 6] = [Line::Pretrain, Line::Sft, Line::Reward, Line::Ppo, Line::Dpo, Line::Grpo];

    pub fn id(self) -> StageId {
        StageId::ALL[self as usize]
    }

    pub fn steps(self) -> usize {
        [STEPS, SFT_STEPS, 60, 40, 120, 40][self as usize]
    }

    /// The events of one step.
    pub fn step(self, at: usize) -> Vec<Event> {
        let every = [50, 40, 10, 5, 20, 5][self as usize];
        let due = at.is_multiple_of(every);
        match self {
            Line::Pretrain => {
                let told = if due { [evals(at), vec![probe(at)]].concat() } else { Vec::new() };
                [vec![Event::Steps(vec![step(at)])], told].concat()
            }
            Line::Sft => {
                let told = if due { [sft_evals(at), sft_probes(at)].concat() } else { Vec::new() };
                [vec![Event::Steps(vec![sft_step(at)])], told].concat()
            }
            Line::Reward => {
                let all = || Event::Eval {
                    step: at,
                    source: "all".to_owned(),
                    eval_loss: 0.68 - 0.48 * (1.0 - (-(at as f64) / 18.0).exp()),
                    eval_bits_per_byte: 0.0,
                    train_loss: None,
                    sampled_loss: None,
                };
                let told = if due { vec![all(), feedback::reward_report(at)] } else { Vec::new() };
                [vec![Event::Steps(vec![feedback::reward_step(at)])], told].concat()
            }
            Line::Ppo | Line::Dpo | Line::Grpo => {
                let mut told = vec![Event::Steps(vec![feedback::policy_step(self, at)])];
                if at == 1 {
                    told.push(feedback::checks(1));
                }
                if due {
                    told.extend(feedback::policy_reports(self, at));
                }
                told
            }
        }
    }

    fn saved(self, at: usize) -> Event {
        match self {
            Line::Pretrain => saved(at),
            line => feedback::checkpoint(line, at),
        }
    }

    /// Its first event when switched to.
    fn started(self, done: [usize; 6]) -> Event {
        let at = done[self as usize];
        let mut info = match self {
            Line::Pretrain => RunInfo { resumed_at: at, ..info() },
            Line::Sft => sft_info(at),
            line => feedback::feedback_info(line, at),
        };
        info.stages = stages_at(done);
        Event::Started(Box::new(info))
    }

    /// Why it cannot be switched to, if so.
    fn missing(self, done: [usize; 6]) -> Option<String> {
        let needs: &[Line] = match self {
            Line::Pretrain => &[],
            Line::Sft => &[Line::Pretrain],
            Line::Reward | Line::Dpo => &[Line::Sft],
            Line::Ppo | Line::Grpo => &[Line::Sft, Line::Reward],
        };
        let parent = needs.iter().find(|l| done[**l as usize] == 0)?.id();
        Some(format!("{} starts from {parent}, which has no checkpoint yet: train it first", self.id()))
    }
}

/// The answer: a poem to a text, turns to a conversation; the parent continues the poem.
fn answer_to(line: Line, ask: &Ask, who: Who) -> String {
    match ask {
        Ask::Text(text) if text.contains('\u{1b}') => "?".repeat(3),
        Ask::Text(_) => POEM.repeat(3),
        Ask::Chat(_) if who == Who::Base || who == Who::Parent && line == Line::Sft => POEM.to_owned(),
        Ask::Chat(_) if who == Who::Parent => "去西湖玩吧。".to_owned(),
        Ask::Chat(turns) => format!("我是答话{}号。", turns.len().div_ceil(2)),
    }
}

/// The behaviour of a fake trainer.
#[derive(Clone, Copy)]
pub struct Script {
    /// Between steps.
    pub pace: Duration,
    /// The first stage; those before it are trained.
    pub line: Line,
    /// Steps done when the screen opens.
    pub from: usize,
    /// The policy's guard stops it, once, after update 12.
    pub guard: bool,
    /// It is paused at first, and has no answers of a policy before its next update, as after reopening.
    pub reopened: bool,
}

/// A trainer on a thread that steps every `pace` and answers commands like the real one.
pub fn play(script: Script) -> Session {
    let (to_trainer, commands) = crossbeam_channel::bounded(COMMANDS);
    let (to_screen, events) = crossbeam_channel::bounded(EVENTS);
    thread::spawn(move || Player::new(script, to_screen).run(&commands));
    Session { commands: to_trainer, events, stop: Arc::default(), back: Arc::default() }
}

struct Player {
    script: Script,
    to_screen: Sender<Event>,
    line: Line,
    done: [usize; 6],
    paused: bool,
    guarded: bool,
    by_hand: usize,
    /// Requests refused so far.
    refused: usize,
    answers: Vec<(u64, Vec<char>, usize, Instant)>,
    /// Pairs being sampled: their prompts, and turns until they are complete.
    drafts: VecDeque<(Option<String>, usize)>,
    votes: Votes,
    data: Data,
}

impl Player {
    fn new(script: Script, to_screen: Sender<Event>) -> Player {
        let mut done = [0; 6];
        for before in Line::ALL.into_iter().take(script.line as usize) {
            // The stages after the reward model are siblings, not a sequence.
            done[before as usize] = if before as usize > Line::Reward as usize { 0 } else { before.steps() };
        }
        done[script.line as usize] = script.from;
        Player {
            script,
            to_screen,
            line: script.line,
            done,
            paused: script.reopened,
            guarded: false,
            by_hand: 2,
            refused: 0,
            answers: Vec::new(),
            drafts: VecDeque::new(),
            votes: Votes::default(),
            data: Data::default(),
        }
    }

    fn tell(&self, event: Event) -> bool {
        self.to_screen.send(event).is_ok()
    }

    fn tell_all(&self, events: Vec<Event>) {
        for event in events {
            self.tell(event);
        }
    }

    fn refuse(&self, text: &str) {
        self.tell(Event::Refused { text: text.to_owned() });
    }

    fn finish(&self, reason: &str) {
        self.tell(Event::Finished { step: self.at(), reason: reason.to_owned(), failed: false, seconds: 0.0 });
    }

    fn at(&self) -> usize {
        self.done[self.line as usize]
    }

    fn ended(&self, id: u64, tokens: usize, since: Instant, reason: &str) -> Event {
        Event::PromptDone {
            id,
            step: Some(self.at()),
            tokens,
            seconds: since.elapsed().as_secs_f64(),
            finish_reason: reason.to_owned(),
            score: (self.line as usize >= Line::Reward as usize).then_some(0.1 * id as f64 - 0.2),
        }
    }

    fn begin(&self) {
        let before = match self.line {
            Line::Pretrain => run_until(self.script.from),
            Line::Sft => sft_between(0, self.script.from),
            Line::Reward => feedback::reward_until(self.script.from),
            line => feedback::policy_until(line, self.script.from),
        };
        for mut event in before {
            if let Event::Started(info) = &mut event {
                info.stages = stages_at(self.done);
            }
            if !self.script.reopened || !matches!(event, Event::Rollout(_)) {
                self.tell(event);
            }
        }
        if self.paused {
            self.tell(Event::Paused { step: self.at() });
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        thread::sleep(self.script.pace);
        self.begin();
        let mut next = Instant::now();
        loop {
            match commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Command::Stop { save }) => {
                    if save {
                        thread::sleep(Duration::from_millis(400));
                        self.tell(self.line.saved(self.at()));
                    }
                    return self.finish("stopped");
                }
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    next = Instant::now() + self.script.pace;
                    if self.turn() {
                        return self.finish("done");
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let at = self.at();
        let chats = self.line != Line::Pretrain;
        match command {
            Command::ShowRoom | Command::ShowNextBatch | Command::ShowDocument { .. }
                if self.line as usize > Line::Sft as usize =>
            {
                self.refuse("this stage draws no text");
            }
            Command::ShowRoom => {
                self.tell(self.data.view());
            }
            Command::Weigh { source, by } => {
                let told = self.data.weigh(&source, by, at);
                self.tell_all(told);
            }
            Command::ShowDocument { source, index, .. } => {
                self.tell(self.data.document(&source, index, at));
            }
            Command::ShowNextBatch => {
                self.tell(self.data.next_batch(at));
            }
            Command::ShowDropped { source, rule, from, count } => {
                self.tell(self.data.dropped(source, rule, from, count));
            }
            Command::TryRule { source, rule, threshold } => {
                self.tell_all(self.data.tried(&source, &rule, threshold));
            }
            Command::SetRule { source, rule, threshold } => {
                let told = self.data.set_rule(&source, &rule, threshold, at);
                self.tell_all(told);
            }
            Command::Mark { text, keep } => {
                let told = self.data.mark(text, keep);
                self.tell(told);
            }
            Command::Reread => {
                let told = self.data.save_file(at);
                self.tell_all(told);
            }
            Command::Pause => {
                self.paused = true;
                self.tell(Event::Paused { step: at });
            }
            Command::Resume | Command::Save if self.guarded => self.refuse("the guard has stopped it; open it again"),
            Command::Resume => {
                self.paused = false;
                self.tell(Event::Resumed { step: at });
            }
            Command::Save => {
                thread::sleep(Duration::from_millis(300));
                self.tell(self.line.saved(at));
            }
            Command::Probe => {
                let probes = if self.line == Line::Sft { sft_probes(at) } else { vec![probe(at)] };
                self.tell_all(probes);
            }
            Command::Prompt { id, ask, who, .. } => {
                self.answers.push((id, answer_to(self.line, &ask, who).chars().collect(), 0, Instant::now()));
            }
            Command::Cancel { id } => {
                if let Some(i) = self.answers.iter().position(|a| a.0 == id) {
                    let (id, _, tokens, since) = self.answers.remove(i);
                    self.tell(self.ended(id, tokens, since, "cancelled"));
                }
            }
            Command::ShowRollout { .. } if self.script.reopened && at == self.script.from => {
                self.refused += 1;
                self.refuse("no update in this launch yet; look again after the next");
                if self.refused > 1 {
                    self.tell(Event::Note { step: at, text: "asked again".to_owned() });
                }
            }
            Command::ShowRuns => {
                self.tell(Event::Runs { runs: Vec::new(), unread: Vec::new() });
            }
            Command::ShowTrained { .. } => {
                self.tell(Event::Trained(Vec::new()));
            }
            Command::Compare { .. } | Command::Inspect { .. } | Command::Fork { .. } | Command::Care(_) => {
                self.refuse("there are no other runs");
            }
            Command::ShowRollout { which } => {
                self.tell(feedback::rollout(at, which));
            }
            Command::Offer { .. } if !chats => {
                self.refuse("pretrain answers no questions yet; fine-tune the model first");
            }
            Command::Offer { prompt } => self.drafts.push_back((prompt, 4)),
            Command::Vote { pair, choice, seconds } => {
                let told = self.votes.vote(pair, choice, seconds);
                self.tell_all(told);
            }
            Command::Unvote { .. } => {
                let told = self.votes.unvote();
                self.tell(told);
            }
            Command::Refit => {
                let told = self.votes.refit();
                self.tell(told);
            }
            Command::ShowBatch => {
                self.tell(batch(at));
            }
            Command::Demonstrate { .. } => {
                self.by_hand += 1;
                self.tell(Event::Demonstrated { step: at + 1, count: self.by_hand });
            }
            Command::Stage { stage } => self.switch(Line::ALL[stage as usize]),
            Command::Set { key, .. } => {
                self.tell(Event::Set { key, waits: false });
            }
            Command::Export { name, path, .. } => {
                self.tell(Event::Exported { path: path.unwrap_or_else(|| name.into()) });
            }
            Command::Step { .. } | Command::Reopen | Command::Stop { .. } => {}
        }
    }

    fn switch(&mut self, to: Line) {
        if let Some(why) = to.missing(self.done) {
            return self.refuse(&why);
        }
        thread::sleep(Duration::from_millis(300));
        if self.guarded {
            self.done[self.line as usize] = 5;
        } else {
            self.tell(self.line.saved(self.at()));
        }
        self.finish("switched");
        thread::sleep(Duration::from_millis(300));
        (self.line, self.paused, self.script.guard) = (to, false, self.script.guard && !self.guarded);
        (self.guarded, self.drafts) = (false, VecDeque::new());
        self.tell(to.started(self.done));
    }

    /// A turn of the loop; true at the end of the line.
    fn turn(&mut self) -> bool {
        let at = self.at();
        let mut answers = std::mem::take(&mut self.answers);
        answers.retain_mut(|(id, text, drawn, since)| {
            if let Some(c) = text.get(*drawn) {
                *drawn += 1;
                return self.tell(Event::PromptText { id: *id, text: c.to_string(), step: Some(at) });
            }
            self.tell(self.ended(*id, *drawn, *since, "length"));
            false
        });
        self.answers = answers;
        if let Some((prompt, left)) = self.drafts.pop_front() {
            if left > 0 {
                self.drafts.push_front((prompt, left - 1));
            } else {
                let offered = self.votes.offer(at, prompt);
                self.tell(offered);
            }
        }
        if self.paused {
            return false;
        }
        self.done[self.line as usize] += 1;
        self.tell_all(self.line.step(at + 1));
        if self.script.guard && self.line == Line::Ppo && at + 1 == 12 {
            (self.guarded, self.paused) = (true, true);
            self.tell(feedback::guarded(at + 1));
            self.tell(Event::Paused { step: at + 1 });
        }
        if at + 1 < self.line.steps() {
            return false;
        }
        self.tell(self.line.saved(at + 1));
        // A feedback stage stays open at its end, as the real one does: voting continues.
        if self.line as usize >= Line::Reward as usize {
            self.paused = true;
            self.tell(Event::Paused { step: at + 1 });
            return false;
        }
        true
    }
}
