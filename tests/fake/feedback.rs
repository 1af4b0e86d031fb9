//! The fake trainer's stages of human feedback: a reward model, policies, votes.

use std::{collections::VecDeque, path::PathBuf};

use danlu::protocol::{
    ActionView, Choice, Event, Pair, PolicyReport, Refit, RewardReport, RolloutView, RunInfo, SanityCheck, SourceInfo,
    SourceUse, StepReport, Tally, Vote,
};

use super::{Line, info, noise, stages_at, step};

pub const HANGZHOU: &str = "我想去杭州玩，有哪些好玩的地点呢？";
const A: &str = "杭州是一个充满魅力和历史的城市，有很多值得一去的地方。以下是一些推荐：西湖、灵隐寺、雷峰塔、河坊街。";
const B: &str =
    "杭州是一个充满魅力和历史的城市，有很多值得一去的地方。以下是一些推荐：西溪湿地公园、千岛湖、宋城、胡雪岩故居。";

pub fn feedback_info(line: Line, resumed_at: usize) -> RunInfo {
    RunInfo {
        stage: line.id(),
        learning_rate: 1e-4,
        steps: line.steps(),
        resumed_at,
        chat: true,
        parent: Some("sft-00000400".to_owned()),
        stages: stages_at([1200, 400, 60, 0, 0, 0]),
        sources: vec![SourceInfo {
            name: if line == Line::Reward { "pairs" } else { "prompts" }.to_owned(),
            weight: 1.0,
            documents: 480,
            tokens: 31_000,
            held_out_tokens: 9_000,
        }],
        ..info()
    }
}

pub fn reward_step(at: usize) -> StepReport {
    let t = at as f64;
    let learned = 1.0 - (-t / 18.0).exp();
    StepReport {
        loss: 0.69 - 0.5 * learned + noise(at) * 0.05,
        learning_rate: 1e-4 * (t / 6.0).min(1.0),
        grad_norm: 1.4 - learned + noise(at + 7).abs() * 0.3,
        sources: vec![SourceUse { tokens: at as u64 * 2100, epoch: t * 0.06 }],
        extra: vec![
            ("accuracy".into(), (0.52 + 0.41 * learned + noise(at + 3) * 0.06).min(1.0)),
            ("margin".into(), 2.1 * learned),
            ("mean_reward".into(), 0.1 * noise(at)),
        ],
        ..step(at)
    }
}

pub fn reward_report(step: usize) -> Event {
    let learned = 1.0 - (-(step as f64) / 18.0).exp();
    let bell = |i: usize| (0..6).map(|k| noise(i * 6 + k)).sum::<f64>() / 2.4;
    let margins: Vec<f32> = (0..240).map(|i| (2.2 * learned + (0.9 + learned * 1.4) * bell(i)) as f32).collect();
    let accuracy = margins.iter().filter(|m| **m > 0.0).count() as f64 / margins.len() as f64;
    let half = 1.96 * (accuracy * (1.0 - accuracy) / 240.0).sqrt();
    Event::Reward(RewardReport {
        step,
        pairs: margins.len(),
        accuracy,
        ci95: (accuracy - half, (accuracy + half).min(1.0)),
        by_length: 0.583,
        margin: margins.iter().map(|m| f64::from(*m)).sum::<f64>() / margins.len() as f64,
        margins,
    })
}

/// The progress of a policy after `at` updates.
fn gone(line: Line, at: usize) -> f64 {
    let speed = if line == Line::Dpo { 60.0 } else { 11.0 };
    1.0 - (-(at as f64) / speed).exp()
}

pub fn policy_step(line: Line, at: usize) -> StepReport {
    let gone = gone(line, at);
    let (kl, score) = (2.6 * gone + noise(at) * 0.1, -0.2 + 1.1 * gone + noise(at + 1) * 0.12);
    let mut extra = match line {
        Line::Dpo => vec![
            ("rewards/chosen".into(), 0.3 * gone),
            ("rewards/rejected".into(), -0.4 * gone),
            ("rewards/accuracies".into(), 0.5 + 0.4 * gone + noise(at) * 0.04),
            ("rewards/margins".into(), 0.7 * gone + noise(at) * 0.03),
        ],
        Line::Grpo => vec![
            ("reward".into(), score),
            ("reward_std".into(), 0.8 - 0.3 * gone),
            ("frac_reward_zero_std".into(), 0.1 * gone),
            ("kl".into(), kl / 24.0),
            ("entropy".into(), 2.3 - 0.4 * gone),
        ],
        _ => vec![
            ("objective/entropy".into(), 41.0 - 9.0 * gone + noise(at + 2)),
            ("objective/scores".into(), score),
            ("policy/approxkl_avg".into(), 0.004 + 0.002 * noise(at).abs()),
            ("policy/clipfrac_avg".into(), 0.06 + 0.03 * noise(at).abs()),
            ("loss/value_avg".into(), 0.4 - 0.3 * gone),
            ("val/num_eos_tokens".into(), 126.0),
            ("kl_coef".into(), 0.05),
        ],
    };
    extra.push(("objective/kl".into(), kl));
    if line != Line::Dpo {
        extra.extend([
            ("guard/distinct2".into(), 0.49 - 0.08 * gone),
            ("guard/repetition".into(), 0.01 + 0.02 * gone),
            ("guard/length".into(), 21.0 + 4.0 * gone),
            ("guard/end_rate".into(), 0.99),
            ("guard/strikes".into(), 0.0),
        ]);
    }
    StepReport {
        loss: -0.01 + noise(at) * 0.02,
        learning_rate: 2e-5,
        grad_norm: 0.4 + noise(at + 7).abs() * 0.2,
        tokens_per_second: 2_300.0 + noise(at) * 90.0,
        step_ms: 1_240.0,
        sources: vec![SourceUse { tokens: 0, epoch: at as f64 * 0.27 }],
        extra,
        ..step(at)
    }
}

pub fn policy_reports(line: Line, step: usize) -> Vec<Event> {
    let gone = gone(line, step);
    let report = |task: &str, prompts: usize, shift: f64| {
        let true_score = (0.205 + 0.34 * gone + shift).clamp(0.0, 1.0);
        let half = 1.96 * (true_score * (1.0 - true_score) / prompts as f64).sqrt();
        Event::Policy(PolicyReport {
            step,
            task: task.to_owned(),
            prompts,
            true_score,
            ci95: (true_score - half, true_score + half),
            reward: -0.21 + 1.13 * gone,
            kl: 2.6 * gone,
            end_rate: 0.985 + 0.011 * gone,
            distinct2: 0.49 - 0.08 * gone,
            length: 21.3 + 3.9 * gone,
        })
    };
    vec![report("recommend", 130, 0.08), report("continue", 130, -0.08), report("all", 260, 0.0)]
}

pub fn checks(step: usize) -> Event {
    let check = |name, value, bound| SanityCheck::new(name, value, bound);
    let checks = vec![
        check("kl", 2.1e-6, 1e-4),
        check("ratio", 6e-8, 1e-6),
        check("clipfrac", 0.0, 0.0),
        check("sampler", 3.4e-6, 1e-3),
    ];
    Event::SanityChecks { step, checks }
}

pub fn guarded(step: usize) -> Event {
    Event::Guarded {
        step,
        reason: "the answers become one: distinct-2 is 0.112, at the start 0.490 (3 updates in a row out of bounds)"
            .to_owned(),
        checkpoint: Some("ppo-00000005".to_owned()),
        may_go_on: false,
    }
}

pub fn rollout(step: usize, which: usize) -> Event {
    let text = ["西湖、灵隐寺、雷峰塔，都值得一去。", "Try 西湖 and 灵隐寺.", "好好好好好"][which % 3];
    let ended = which % 3 != 2;
    let mut texts: Vec<String> = text.chars().map(|c| c.to_string()).collect();
    if ended {
        texts.push("<|im_end|>".to_owned());
    }
    let last = texts.len() - 1;
    let actions = texts.into_iter().enumerate().map(|(at, text)| {
        let seed = step * 100 + which * 10 + at;
        let logprob = (-2.0 * noise(seed).abs()) as f32;
        let reference = logprob - (0.3 * noise(seed + 1)) as f32;
        let ratio = 1.0 + (0.25 * noise(seed + 2)) as f32;
        ActionView {
            text,
            logprob,
            reference,
            value: Some((0.4 + 0.2 * noise(seed + 3)) as f32),
            reward: -0.05 * (logprob - reference) + if at == last { 0.83 } else { 0.0 },
            advantage: (1.2 * noise(seed + 4)) as f32,
            ratio,
            clipped: (ratio - 1.0).abs() > 0.2,
        }
    });
    Event::Rollout(Box::new(RolloutView {
        step,
        which: which % 128,
        of: 128,
        prompt: HANGZHOU.to_owned(),
        score: if ended { 0.83 } else { -1.2 },
        ended,
        actions: actions.collect(),
    }))
}

/// The events of a reward model up to `last`.
pub fn reward_until(last: usize) -> Vec<Event> {
    let mut events = vec![Event::Started(Box::new(feedback_info(Line::Reward, 0))), reward_report(0)];
    for at in 1..=last {
        events.extend(Line::Reward.step(at));
    }
    events
}

/// The events of a policy up to `last`.
pub fn policy_until(line: Line, last: usize) -> Vec<Event> {
    let mut events = vec![Event::Started(Box::new(feedback_info(line, 0)))];
    events.extend(policy_reports(line, 0));
    for at in 1..=last {
        events.extend(line.step(at));
    }
    if line != Line::Dpo && last > 0 {
        events.push(rollout(last, 0));
    }
    events
}

/// The votes of a run, and a reward model that prefers the answer with more names.
#[derive(Default)]
pub struct Votes {
    next: u64,
    on_offer: VecDeque<Pair>,
    cast: Vec<Vote>,
    agreed: Vec<bool>,
    version: usize,
    learned: usize,
}

const REFIT_AFTER: usize = 5;

impl Votes {
    /// Two answers; sides alternate.
    pub fn offer(&mut self, step: usize, prompt: Option<String>) -> Event {
        self.next += 1;
        let (a, b) = if self.next.is_multiple_of(2) { (A, B) } else { (B, A) };
        let offer = Pair {
            id: self.next,
            step: step as u64,
            prompt: prompt.unwrap_or_else(|| HANGZHOU.to_owned()),
            answers: [a, b].map(str::to_owned),
            ..Pair::default()
        };
        self.on_offer.push_back(offer.clone());
        Event::Offered(Box::new(offer))
    }

    fn sides(&self) -> impl Iterator<Item = (&Pair, usize)> {
        self.cast.iter().filter_map(|v| v.choice.side().map(|side| (&v.pair, side)))
    }

    fn tally(&self) -> Tally {
        let count = |which: Choice| self.cast.iter().filter(|v| v.choice == which).count();
        let sides: Vec<_> = self.sides().collect();
        let longer = |(pair, side): &&(&Pair, usize)| pair.answers[*side].len() > pair.answers[1 - *side].len();
        let recent = &self.agreed[self.agreed.len().saturating_sub(25)..];
        Tally {
            decided: sides.len(),
            left: sides.iter().filter(|s| s.1 == 0).count(),
            longer: (sides.iter().filter(longer).count(), sides.len()),
            ties: count(Choice::Tie),
            both_bad: count(Choice::BothBad),
            skipped: count(Choice::Skip),
            agreement: (recent.iter().filter(|a| **a).count(), recent.len()),
            repeats: (sides.len() / 10, sides.len() / 10),
            agreed: self.agreed.clone(),
            seconds: self.cast.iter().map(|v| v.pair.seconds).sum::<f64>() / self.cast.len().max(1) as f64,
            version: self.version,
            until_refit: REFIT_AFTER.saturating_sub(sides.len() - self.learned.min(sides.len())),
            weight: 8.0,
            cast: self.cast.clone(),
        }
    }

    /// A vote, and a fit if it is due.
    pub fn vote(&mut self, pair: u64, choice: Choice, seconds: f64) -> Vec<Event> {
        let Some(at) = self.on_offer.iter().position(|o| o.id == pair) else {
            return vec![Event::Refused { text: format!("pair {pair} is not on offer any more; take another one") }];
        };
        let Some(mut pair) = self.on_offer.remove(at) else { return Vec::new() };
        let scores = if pair.answers[0] == B { [0.91, 0.08] } else { [0.08, 0.91] };
        if let Some(side) = choice.side() {
            self.agreed.push(scores[side] > scores[1 - side]);
        }
        pair.scores = Some(scores);
        pair.lengths = [0, 1].map(|side| pair.answers[side].chars().count());
        pair.logprobs = [-1.92, -2.2];
        pair.swapped = pair.id.is_multiple_of(2);
        pair.seconds = seconds;
        let vote = Vote { pair, choice, ..Vote::default() };
        self.cast.push(vote.clone());
        let tally = self.tally();
        let due = tally.until_refit == 0;
        let mut events = vec![Event::Voted { vote: Box::new(vote), tally }];
        if due {
            events.push(self.refit());
        }
        events
    }

    pub fn unvote(&mut self) -> Event {
        let Some(Vote { pair, choice, .. }) = self.cast.pop() else {
            return Event::Refused { text: "there is no vote to take back".to_owned() };
        };
        if choice.side().is_some() {
            self.agreed.pop();
        }
        let id = pair.id;
        self.on_offer.push_back(pair);
        Event::Unvoted { pair: id, tally: self.tally() }
    }

    pub fn refit(&mut self) -> Event {
        let votes = self.sides().count();
        if votes == 0 {
            return Event::Refused { text: "there is no vote for a side yet, so nothing to learn from".to_owned() };
        }
        (self.version, self.learned) = (self.version + 1, votes);
        Event::Refitted(Refit {
            version: self.version,
            votes,
            pairs: 432,
            weight: 8.0,
            steps: 12,
            seconds: 3.1,
            agreement: (0.62, 0.81),
            accuracy: (0.942, 0.938),
            checkpoint: "reward-00000072".to_owned(),
            predicted: None,
            taught: Vec::new(),
        })
    }
}

pub fn checkpoint(line: Line, step: usize) -> Event {
    let path = PathBuf::from(format!("runs/chunxiao-0007/checkpoints/{}-{step:08}", line.id()));
    Event::Saved { step, path, seconds: 0.3, bytes: 15_820_000, best: false }
}
