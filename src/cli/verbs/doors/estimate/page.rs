//! The estimate as a page.

use super::{
    Cost, Sums, published,
    subject::{PER_PARAMETER, Tokens},
};
use crate::{
    cli::verbs::doors::inspect::tables::aligned,
    ui::{
        Lang,
        strings::Tr,
        text::{bytes, grouped, percent},
    },
};

/// A text in Chinese and English, made of figures.
pub(super) struct Both(pub String, pub String);

impl Both {
    fn new(zh: impl Into<String>, en: impl Into<String>) -> Both {
        Both(zh.into(), en.into())
    }

    pub(super) fn get(&self, lang: Lang) -> &str {
        match lang {
            Lang::Zh => &self.0,
            Lang::En => &self.1,
        }
    }
}

/// A number in at most four digits: `3.143e23`, `1.75 B`.
pub(super) fn power(n: u128) -> String {
    format!("{:.3e}", n as f64)
}

/// A time in the unit that people use.
pub(super) fn duration(seconds: f64, lang: Lang) -> String {
    let units: [(f64, Tr); 5] = [
        (365.25 * 86_400.0, Tr("年", "years")),
        (86_400.0, Tr("天", "days")),
        (3600.0, Tr("小时", "hours")),
        (60.0, Tr("分钟", "minutes")),
        (0.0, Tr("秒", "seconds")),
    ];
    let (size, unit) = units.iter().find(|(size, _)| seconds >= 2.0 * size).unwrap_or(&units[4]);
    let value = if *size > 0.0 { seconds / size } else { seconds };
    format!("{} {}", figure(value), unit.get(lang))
}

/// Three significant digits, groups of thousands for large numbers.
pub(super) fn figure(x: f64) -> String {
    match x.abs() {
        a if a >= 1e15 => format!("{x:.2e}"),
        a if a >= 100.0 => grouped(x.round() as u64),
        a if a >= 10.0 => format!("{x:.1}"),
        a if a >= 0.1 || a == 0.0 => format!("{x:.2}"),
        _ => format!("{x:.2e}"),
    }
}

/// Watt-hours in the unit that fits.
pub(super) fn energy(wh: f64) -> String {
    match wh {
        w if w >= 1e6 => format!("{} MWh", figure(w / 1e6)),
        w if w >= 1e3 => format!("{} kWh", figure(w / 1e3)),
        w => format!("{} Wh", figure(w)),
    }
}

/// Operations a second.
pub(super) fn speed(flops: f64) -> String {
    if flops >= 1e12 { format!("{} TFLOP/s", figure(flops / 1e12)) } else { format!("{} GFLOP/s", figure(flops / 1e9)) }
}

/// Money.
pub(super) fn money(sums: &Sums, amount: f64) -> String {
    format!("{}{}", sums.account.currency, figure(amount))
}

/// The page.
pub(super) fn page(sums: &Sums, lang: Lang) -> String {
    let say = |zh, en| Tr(zh, en).get(lang);
    let (shape, tokens) = (sums.shape(), sums.tokens.number());
    let parameters = shape.parameters();
    let mut page = format!("{}: {} {}\n", sums.subject.name, grouped(parameters), say("个参数", "parameters"));
    if shape.active_parameters() < parameters {
        let active = grouped(shape.active_parameters());
        page.extend([match lang {
            Lang::Zh => {
                format!("每个词元只经过其中 {active} 个（{} 个专家里的 {} 个）\n", shape.experts, shape.active)
            }
            Lang::En => {
                format!("a token passes through {active} of them ({} of {} experts)\n", shape.active, shape.experts)
            }
        }]);
    }
    let parts = sums.parts();
    let rows = parts.iter().map(|(part, n)| {
        vec![part.title().get(lang).to_owned(), grouped(*n), percent(*n as f64 / parameters.max(1) as f64)]
    });
    page.extend([format!("\n{}", aligned(say("部分|参数|占比", "part|parameters|share"), rows))]);
    let rows = [
        (say("训练（6·N·词元数）", "training (6·N·tokens)"), sums.training_flops),
        (say("另有注意力的两个乘积", "attention's two products, beside it"), sums.attention_flops),
    ];
    let rows = rows.into_iter().map(|(name, n)| vec![name.to_owned(), power(n)]);
    let head = match lang {
        Lang::Zh => format!("{} 个词元的运算量|FLOPs", grouped(tokens)),
        Lang::En => format!("operations on {} tokens|FLOPs", grouped(tokens)),
    };
    page.extend([format!("\n{}", aligned(&head, rows))]);
    page.extend([format!("\n{}", memory(sums, lang))]);
    page.extend([format!("\n{}", costs(sums, lang))]);
    page.extend([format!("\n{}\n", say("假设", "assumptions"))]);
    for assumption in assumptions(sums) {
        page.extend([format!("  · {}\n", assumption.get(lang))]);
    }
    page.push_str(&others(sums, lang));
    page
}

/// The bytes of training and of generation.
pub(super) fn memory(sums: &Sums, lang: Lang) -> String {
    let b = sums.bytes;
    let rows = [
        (Tr("权重", "weights"), b.weights),
        (Tr("梯度", "gradients"), b.gradients),
        (Tr("AdamW 的两个矩", "AdamW's two moments"), b.moments),
        (Tr("激活", "activations"), b.activations),
        (Tr("logits", "logits"), b.logits),
        (Tr("训练合计", "training, all of it"), b.total()),
        (Tr("生成时的 KV 缓存（另计）", "KV cache while generating (apart)"), b.kv_cache),
    ];
    let rows = rows.into_iter().map(|(name, n)| vec![name.get(lang).to_owned(), bytes(n)]);
    let precision = if sums.half { "f16" } else { "f32" };
    let head = match lang {
        Lang::Zh => format!("显存，{precision}，{} × {} 个词元|字节", sums.batch, sums.context),
        Lang::En => format!("memory in {precision}, {} × {} tokens|bytes", sums.batch, sums.context),
    };
    aligned(&head, rows)
}

/// Time, energy and money on each adapter that was measured.
pub(super) fn costs(sums: &Sums, lang: Lang) -> String {
    if sums.costs.is_empty() {
        return match lang {
            Lang::Zh => "时间：这里没有任何测得的速度。先训练一个 run（danlu train），或者加 --measure 现测几秒。\n",
            Lang::En => {
                "time: nothing was measured here. Train a run (danlu train), or add --measure for some seconds now.\n"
            }
        }
        .to_owned();
    }
    let head = match lang {
        Lang::Zh => "设备|测得速度|来源|时间|能耗|费用",
        Lang::En => "adapter|measured rate|measured by|time|energy|money",
    };
    let row = |cost: &Cost| {
        let rate = &cost.rate;
        let precision = if rate.precision.is_empty() { String::new() } else { format!(", {}", rate.precision) };
        vec![
            format!("{}{precision}", rate.adapter),
            speed(rate.flops_per_second),
            rate.source.clone(),
            duration(cost.seconds, lang),
            energy(cost.energy_wh),
            money(sums, cost.money),
        ]
    };
    aligned(head, sums.costs.iter().map(row))
}

/// What the figures rest on.
pub(super) fn assumptions(sums: &Sums) -> Vec<Both> {
    let tokens = grouped(sums.tokens.number());
    let mut all = vec![match sums.tokens {
        Tokens::Given(_) => {
            Both::new(format!("{tokens} 个词元：由 --tokens 给出"), format!("{tokens} tokens: given by --tokens"))
        }
        Tokens::Published(_) => Both::new(
            format!("{tokens} 个词元：作者公布"),
            format!("{tokens} tokens: published by the model's authors"),
        ),
        Tokens::Planned(_) => Both::new(
            format!("{tokens} 个词元：预训练的计划步数"),
            format!("{tokens} tokens: the planned steps of pretraining"),
        ),
        Tokens::Assumed(_) => Both::new(
            format!("{tokens} 个词元：没有公布，按每个参数 {PER_PARAMETER} 个（Chinchilla）；--tokens 可改"),
            format!(
                "{tokens} tokens: not published; {PER_PARAMETER} a parameter as for Chinchilla; --tokens changes it"
            ),
        ),
    }];
    all.push(Both::new(
        "每个词元、每个参数 6 次运算：前向一乘一加，反向各两次；注意力按因果掩码只算一半，另列",
        "6 operations a token and parameter: a multiplication and an addition forward, twice that backward; attention, half of it under the causal mask, is listed apart",
    ));
    all.push(Both::new(
        "显存按 danlu 的存法：f32 的梯度和矩，保留全部激活，不重算、不切分；一块设备装得下才算数",
        "memory as danlu lays it out: gradients and moments in f32, all activations kept, nothing recomputed or split; that one device holds it is not checked",
    ));
    for cost in &sums.costs {
        let (adapter, watts, price) = (&cost.rate.adapter, cost.watts, money(sums, cost.price_per_hour));
        let origin = |given: bool, zh: &str, en: &str| {
            if given {
                Both::new("给定", "given")
            } else {
                Both::new(format!("假设，{zh} 可改"), format!("assumed; {en} changes it"))
            }
        };
        let (w, p) = (
            origin(sums.account.watts.is_some(), "--watts", "--watts"),
            origin(sums.account.price.is_some(), "--price", "--price"),
        );
        all.push(Both::new(
            format!("{adapter}：{watts} W（{}），每小时 {price}（{}）；速度取自“{}”，假设大模型也跑这么快", w.0, p.0, cost.rate.source),
            format!(
                "{adapter}: {watts} W ({}), {price} an hour ({}); the rate is that of {:?}, and a larger model is assumed to reach it",
                w.1, p.1, cost.rate.source
            ),
        ));
    }
    all
}

/// The published figures beside it.
pub(super) fn others(sums: &Sums, lang: Lang) -> String {
    let all: Vec<String> = published::of(&sums.subject.name)
        .map(|figure| format!("  · {} — {}\n", figure.what.get(lang), figure.source))
        .collect();
    if all.is_empty() {
        return String::new();
    }
    format!("\n{}\n{}", Tr("公布的数字", "published figures").get(lang), all.concat())
}
