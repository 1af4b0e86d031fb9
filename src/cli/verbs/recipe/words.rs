//! The report as text in Chinese or English: the content of report.md and of the terminal.

use std::path::Path;

use super::{
    document::Block,
    report::{Figures, Policy, Pretrain, Report, Reward, Sft},
};
use crate::{
    base::{StageId, shell},
    ui::{Lang, strings::Tr},
};

/// Characters of 春晓 after its first line.
const CHUNXIAO: f64 = 18.0;
/// Thresholds beyond which a policy looks like reward hacking: distinct-2 relative to the fine-tuned model's, share of
/// answers that end, nats per answer.
const LEAST_DISTINCT: f64 = 0.8;
const LEAST_ENDED: f64 = 0.95;
const MOST_KL: f64 = 10.0;

/// Shown for a figure that was not measured.
const NONE: &str = "–";

/// The whole document.
pub(super) fn document(report: &Report, dir: &Path, lang: Lang) -> Vec<Block> {
    let say = |zh, en| Tr(zh, en).get(lang).to_owned();
    let mut blocks = vec![
        Block::Title(format!("{}{}", say("炼丹报告：", "Report of the run "), report.run)),
        Block::Text(in_one_line(report, lang)),
    ];
    if let Some(failed) = &report.failed {
        let text =
            say("失败，原因如下；此前测得的数字仍然有效。", "failed; what was measured before it is still valid.");
        blocks.push(Block::Text(format!("{} {text} {}", failed.stage, failed.error)));
    }
    blocks.push(Block::Heading(say("各阶段", "Stages")));
    blocks.push(stages(report, lang));
    if let Some(tasks) = report.tuned().and_then(|sft| tasks(sft, lang)) {
        blocks.push(Block::Heading(say("微调之后：留出的题目", "After fine-tuning: held-out questions")));
        blocks.push(tasks);
    }
    let policies = report.policies();
    if let Some((_, first)) = policies.first() {
        blocks.push(Block::Heading(say("人类反馈：强化学习前后", "Human feedback: before and after")));
        blocks.push(before_and_after(&policies, lang));
        let [prompts, trained] =
            [first.prompts, first.prompts_trained].map(|n| n.map_or(NONE.to_owned(), |n| n.to_string()));
        let text = match lang {
            Lang::Zh => format!(
                "在 {prompts} 个不在任何训练文件里的提示词上各采样一个回答，采样方式与训练相同。“好回答”由代码里的规则判定；规则只用于评测，不参与训练。胜率：比微调模型的回答更好的比例，平局算一半。训练用的是另外 {trained} 个提示词。"
            ),
            Lang::En => format!(
                "Over {prompts} prompts that are in no training file, one answer each, sampled like the rollouts. The task's rule in code decides what is good; it only judges and trains nothing. Win rate: the share of prompts whose answer is better than the fine-tuned model's, ties counting half. The updates draw from {trained} other prompts."
            ),
        };
        blocks.push(Block::Text(text));
        blocks.push(Block::Heading(say("奖励作弊的迹象", "Signs of reward hacking")));
        blocks.push(signs(&policies, lang));
    }
    if report.tuned().is_some() {
        blocks.push(Block::Heading(say("与模型对话", "Talk to it")));
        let dir = shell::path(dir);
        let prompt = "我想去杭州玩，有哪些好玩的地点？";
        blocks.push(Block::Command(format!("danlu generate --run {dir} --chat --prompt {prompt}")));
    }
    blocks
}

/// The run, its engine and the time, in one line.
fn in_one_line(r: &Report, lang: Lang) -> String {
    let millions = r.parameters.map_or(NONE.to_owned(), |n| format!("{:.2}", n as f64 / 1e6));
    let (size, seed) = (&r.size, r.seed);
    // The CPU engine's adapter name includes the engine.
    let engine =
        if r.adapter.starts_with(r.engine) { r.adapter.clone() } else { format!("{} ({})", r.engine, r.adapter) };
    let again = r.seconds - r.launch_seconds > 0.05;
    let (all, now) = (time(r.seconds, lang), time(r.launch_seconds, lang));
    match (lang, again) {
        (Lang::Zh, false) => format!("{size} · {millions} M 参数 · 种子 {seed} · {engine} · 共 {all}"),
        (Lang::Zh, true) => {
            format!("{size} · {millions} M 参数 · 种子 {seed} · {engine} · 共 {all}，其中这一次 {now}")
        }
        (Lang::En, false) => {
            format!("{size} · {millions} M parameters · seed {seed} · {engine} · {all} in all")
        }
        (Lang::En, true) => {
            format!("{size} · {millions} M parameters · seed {seed} · {engine} · {all} in all, {now} of them now")
        }
    }
}

fn stages(r: &Report, lang: Lang) -> Block {
    let say = |zh, en| Tr(zh, en).get(lang).to_owned();
    let works = || r.stages.0.iter().map(|(_, figures)| figures.work());
    let came_to = |figures: &Figures| match figures {
        Figures::Text(p) => pretrained(p, lang),
        Figures::Answers(s) => tuned(s, lang),
        Figures::Reward(w) => rewarded(w, lang),
        Figures::Policy(p) => aligned(p, lang),
    };
    // If everything is from this launch and one engine, the columns are left out.
    let earlier = works().any(|w| w.launch != "this");
    let elsewhere = works().any(|w| w.adapter.as_ref().is_some_and(|a| *a != r.adapter));
    let mut head = vec![say("阶段", "stage"), say("结果", "result"), say("步数", "steps"), say("用时", "time")];
    if earlier {
        head.push(say("何时", "when"));
    }
    if elsewhere {
        head.push(say("引擎", "engine"));
    }
    let row = |(stage, figures): &(StageId, Figures)| {
        let work = figures.work();
        let mut row = vec![stage.to_string(), came_to(figures), work.steps.to_string(), time(work.seconds, lang)];
        if earlier {
            row.push(match work.launch {
                "this" => say("这一次", "now"),
                "both" => say("以前和这一次", "earlier and now"),
                _ => say("以前", "earlier"),
            });
        }
        if elsewhere {
            row.push(work.adapter.clone().unwrap_or_default());
        }
        row
    };
    Block::Table(head, r.stages.0.iter().map(row).collect())
}

fn pretrained(p: &Pretrain, lang: Lang) -> String {
    let matched = p.chunxiao_match.map_or(NONE.to_owned(), |m| format!("{:.0}", m * CHUNXIAO));
    let loss = figure(p.eval_loss, 3);
    match lang {
        Lang::Zh => format!("春晓 {matched}/18 字，验证损失 {loss}"),
        Lang::En => format!("春晓 {matched} of 18 characters, held-out loss {loss}"),
    }
}

fn tuned(s: &Sft, lang: Lang) -> String {
    let (exact, ended) = (percent(s.exact_match), percent(s.end_rate));
    match lang {
        Lang::Zh => format!("{exact} 的回答完全正确，{ended} 自行结束"),
        Lang::En => format!("{exact} of answers exact, {ended} end by themselves"),
    }
}

fn rewarded(w: &Reward, lang: Lang) -> String {
    let (right, longer) = (percent(w.heldout_accuracy), percent(w.length_accuracy));
    let interval = w.ci95.map_or(NONE.to_owned(), |[a, b]| format!("{} – {}", percent(Some(a)), percent(Some(b))));
    let pairs = w.pairs.map_or(NONE.to_owned(), |n| n.to_string());
    match lang {
        Lang::Zh => format!("{pairs} 个留出偏好对，准确率 {right}（95 % 区间 {interval}）；只看长短 {longer}"),
        Lang::En => {
            format!("accuracy {right} on {pairs} held-out pairs (95 %: {interval}); choosing the longer one {longer}")
        }
    }
}

fn aligned(p: &Policy, lang: Lang) -> String {
    let (before, after) = (percent(p.true_before), percent(p.true_after));
    match lang {
        Lang::Zh => format!("好回答 {before} → {after}"),
        Lang::En => format!("good answers {before} → {after}"),
    }
}

fn tasks(s: &Sft, lang: Lang) -> Option<Block> {
    let say = |zh, en| Tr(zh, en).get(lang).to_owned();
    let head = vec![
        say("任务", "task"),
        say("题数", "questions"),
        say("完全正确", "exact"),
        say("字符 F1", "character F1"),
        say("自行结束", "ended"),
        say("验证损失", "loss"),
    ];
    let rows = s.tasks.0.iter().map(|(name, t)| {
        vec![
            name.clone(),
            t.examples.to_string(),
            percent(Some(t.exact_match)),
            figure(Some(t.char_f1), 3),
            percent(Some(t.end_rate)),
            figure(Some(t.eval_loss), 3),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    (!rows.is_empty()).then_some(Block::Table(head, rows))
}

/// The fine-tuned model compared with each policy.
fn before_and_after(policies: &[(StageId, &Policy)], lang: Lang) -> Block {
    let say = |zh, en| Tr(zh, en).get(lang).to_owned();
    let mut head = vec![String::new(), StageId::Sft.to_string()];
    head.extend(policies.iter().map(|(name, _)| name.to_string()));
    let first = policies.first().map(|(_, p)| *p);
    let row = |name: String, before: String, after: &dyn Fn(&Policy) -> String| {
        let mut row = vec![name, before];
        row.extend(policies.iter().map(|(_, p)| after(p)));
        row
    };
    let was = |get: fn(&Policy) -> Option<f64>| first.and_then(get);
    let share = |x: Option<f64>, ci: Option<[f64; 2]>| match ci {
        Some([a, b]) => format!("{} ({} – {})", percent(x), percent(Some(a)), percent(Some(b))),
        None => percent(x),
    };
    let mut rows = vec![row(
        say("好回答（95 % 区间）", "good answers (95 % interval)"),
        share(was(|p| p.true_before), first.and_then(|p| p.ci95_before)),
        &|p| share(p.true_after, p.ci95_after),
    )];
    for (name, truth) in first.iter().flat_map(|p| &p.tasks.0) {
        let said = format!("{} {name}", say("其中", "of them"));
        rows.push(row(said, percent(truth.true_before), &|p| {
            percent(p.tasks.0.iter().find(|(n, _)| n == name).and_then(|(_, t)| t.true_after))
        }));
    }
    rows.extend([
        row(say("胜率：按奖励模型", "win rate by the reward model"), NONE.to_owned(), &|p| percent(p.win_rate)),
        row(say("胜率：按规则", "win rate by the rule"), NONE.to_owned(), &|p| percent(p.win_rate_true)),
        row(say("奖励模型打分", "reward model's score"), figure(was(|p| p.rm_before), 2), &|p| {
            figure(p.rm_after, 2)
        }),
        row(say("KL（nat / 回答）", "KL, nats per answer"), figure(Some(0.0), 2), &|p| figure(p.kl, 2)),
        row(say("自行结束", "end by themselves"), percent(was(|p| p.end_rate_before)), &|p| percent(p.end_rate)),
        row(say("distinct-2", "distinct-2"), figure(was(|p| p.distinct2_before), 3), &|p| figure(p.distinct2_after, 3)),
        row(say("每个回答的字数", "characters per answer"), figure(was(|p| p.length_before), 1), &|p| {
            figure(p.length_after, 1)
        }),
    ]);
    Block::Table(head, rows)
}

/// Indicators of reward hacking, each with its threshold.
fn signs(policies: &[(StageId, &Policy)], lang: Lang) -> Block {
    let say = |zh, en| Tr(zh, en).get(lang).to_owned();
    let verdict = |value: Option<f64>, good: fn(f64) -> bool| match value {
        Some(v) if good(v) => say("正常", "normal"),
        Some(_) => say("越界", "out of bounds"),
        None => NONE.to_owned(),
    };
    let mut rows = Vec::new();
    for (name, p) in policies {
        rows.push(vec![
            name.to_string(),
            say("distinct-2 与微调模型之比", "distinct-2, share of the fine-tuned model's"),
            figure(p.distinct2_ratio, 2),
            format!("≥ {LEAST_DISTINCT}"),
            verdict(p.distinct2_ratio, |v| v >= LEAST_DISTINCT),
        ]);
        rows.push(vec![
            name.to_string(),
            say("自行结束", "end by themselves"),
            percent(p.end_rate),
            format!("≥ {}", percent(Some(LEAST_ENDED))),
            verdict(p.end_rate, |v| v >= LEAST_ENDED),
        ]);
        rows.push(vec![
            name.to_string(),
            say("KL（nat / 回答）", "KL, nats per answer"),
            figure(p.kl, 2),
            format!("≤ {MOST_KL}"),
            verdict(p.kl, |v| v <= MOST_KL),
        ]);
    }
    let head =
        vec![say("阶段", "stage"), say("迹象", "sign"), say("测得", "measured"), say("界限", "bound"), String::new()];
    Block::Table(head, rows)
}

fn percent(share: Option<f64>) -> String {
    share.map_or(NONE.to_owned(), |s| format!("{:.1} %", 100.0 * s))
}

fn figure(value: Option<f64>, places: usize) -> String {
    value.map_or(NONE.to_owned(), |v| format!("{v:.places$}"))
}

fn time(seconds: f64, lang: Lang) -> String {
    let unit = Tr("秒", "s").get(lang);
    if seconds < 10.0 { format!("{seconds:.1} {unit}") } else { format!("{seconds:.0} {unit}") }
}
