//! A trainer that only tells: a plausible stream of events for tests of the screen.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use danlu::session::{COMMANDS, Command, EVENTS, Event, RunInfo, Session, SourceInfo, SourceUse, StepReport};

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
        stage: "pretrain".to_owned(),
        size: "1m".to_owned(),
        engine: "cpu".to_owned(),
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
        memory: 43_830_000,
        sources: vec![
            source("唐诗 tang300", 0.4, 48_200),
            source("古文 guwen", 0.35, 1_900_000),
            source("百科 wiki-zh", 0.25, 1_840_000),
        ],
    }
}

/// Noise that is the same everywhere.
fn noise(step: usize) -> f64 {
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
    }
}

pub fn probe(step: usize) -> Event {
    let right = (step * 18 / 900).min(18);
    let wrong = "人山水一不有风的中大是在了和这";
    let mut text: String = POEM.chars().take(right).collect();
    text.extend(wrong.chars().cycle().skip(step / 50 % 7).take(18 - right));
    Event::Probe {
        step,
        prompt: "春眠不觉晓，".to_owned(),
        matched: right,
        text,
        expected: POEM.to_owned(),
        length: 18,
    }
}

pub fn evals(step: usize) -> Vec<Event> {
    let loss = 2.25 + 6.0 * (-(step as f64) / 130.0).exp() + 0.5 * (-(step as f64) / 700.0).exp();
    let eval = |source: &str, loss: f64| Event::Eval {
        step,
        source: source.to_owned(),
        eval_loss: loss,
        eval_bits_per_byte: loss / 2.08,
    };
    vec![
        eval("唐诗 tang300", loss - 0.4),
        eval("古文 guwen", loss + 0.1),
        eval("百科 wiki-zh", loss + 0.3),
        eval("all", loss),
    ]
}

/// What a run tells up to `last`, without prompts.
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
    Event::Saved { step, path, seconds: 0.3, bytes: 15_820_000 }
}

/// A trainer on a thread that steps every `pace` and answers commands like the real one.
pub fn play(pace: Duration, from: usize) -> Session {
    let (to_trainer, commands) = crossbeam_channel::bounded(COMMANDS);
    let (to_screen, events) = crossbeam_channel::bounded(EVENTS);
    thread::spawn(move || {
        let tell = |event| to_screen.send(event).is_ok();
        thread::sleep(pace);
        for event in run_until(from) {
            tell(event);
        }
        let (mut at, mut paused) = (from, false);
        let mut answers: Vec<(u64, Vec<char>, usize, Instant)> = Vec::new();
        let mut next = Instant::now();
        let finish = |at: usize, reason: &str| {
            tell(Event::Finished { step: at, reason: reason.to_owned(), failed: false });
        };
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            match commands.recv_timeout(wait) {
                Ok(Command::Pause) => {
                    paused = true;
                    tell(Event::Paused { step: at });
                }
                Ok(Command::Resume) => {
                    paused = false;
                    tell(Event::Resumed { step: at });
                }
                Ok(Command::Save) => {
                    thread::sleep(Duration::from_millis(300));
                    tell(saved(at));
                }
                Ok(Command::Probe) => {
                    tell(probe(at));
                }
                Ok(Command::Prompt { id, text, .. }) => {
                    let answer = if text.contains('\u{1b}') { "?" } else { POEM };
                    answers.push((id, answer.repeat(3).chars().collect(), 0, Instant::now()));
                }
                Ok(Command::Cancel { id }) => {
                    if let Some(i) = answers.iter().position(|a| a.0 == id) {
                        let (id, _, tokens, since) = answers.remove(i);
                        let seconds = since.elapsed().as_secs_f64();
                        tell(Event::PromptDone {
                            id,
                            step: at,
                            tokens,
                            seconds,
                            finish_reason: "cancelled".to_owned(),
                        });
                    }
                }
                Ok(Command::Stop { save }) => {
                    if save {
                        thread::sleep(Duration::from_millis(400));
                        tell(saved(at));
                    }
                    return finish(at, "stopped");
                }
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                    next = Instant::now() + pace;
                    answers.retain_mut(|(id, text, drawn, since)| {
                        if let Some(c) = text.get(*drawn) {
                            *drawn += 1;
                            return tell(Event::PromptText { id: *id, text: c.to_string(), step: at });
                        }
                        let seconds = since.elapsed().as_secs_f64();
                        tell(Event::PromptDone {
                            id: *id,
                            step: at,
                            tokens: *drawn,
                            seconds,
                            finish_reason: "length".to_owned(),
                        });
                        false
                    });
                    if paused {
                        continue;
                    }
                    at += 1;
                    tell(Event::Steps(vec![step(at)]));
                    if at % 50 == 0 {
                        for event in evals(at) {
                            tell(event);
                        }
                        tell(probe(at));
                    }
                    if at == STEPS {
                        tell(saved(at));
                        return finish(at, "done");
                    }
                }
            }
        }
    });
    Session { commands: to_trainer, events }
}
