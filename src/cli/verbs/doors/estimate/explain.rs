//! The estimate worked out line by line.

use super::{
    Sums,
    page::{costs, duration, energy, memory, money, others, power, speed},
    title,
};
use crate::{
    cli::verbs::doors::inspect::tables::aligned,
    nn::{Architecture, Group, Weight},
    ui::{Lang, strings::Tr, text::grouped},
};

/// The whole derivation.
pub(super) fn page(sums: &Sums, lang: Lang) -> String {
    let say = |zh, en| Tr(zh, en).get(lang);
    let shape = sums.shape();
    let groups = shape.groups();
    let mut page = format!("{}\n\n", sums.subject.name);
    let Architecture { layers, hidden, heads, kv_heads, head_dim, ffn, vocab, positions, .. } = shape;
    page.extend([match lang {
        Lang::Zh => format!(
            "{layers} 层，宽度 {hidden}，{heads} 个查询头、{kv_heads} 个键值头（每头 {head_dim}），前馈宽度 {ffn}，词表 {vocab}，位置 {positions}\n"
        ),
        Lang::En => format!(
            "{layers} layers, width {hidden}, {heads} query heads, {kv_heads} key/value heads of {head_dim}, feed-forward width {ffn}, vocabulary {vocab}, {positions} positions\n"
        ),
    }]);
    page.extend([format!("\n1. {}\n", say("参数", "Parameters"))]);
    let line =
        |group: &Group| vec![title(group.weight).get(lang).to_owned(), formula(group, lang), grouped(group.each())];
    let (layered, single): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|group| group.layered);
    let layer: u64 = layered.iter().map(|group| group.each()).sum();
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.extend(single.iter().filter(|g| before(g.weight)).map(|g| line(g)));
    rows.extend(layered.iter().map(|group| {
        let mut row = line(group);
        row[0] = format!("  {}", row[0]);
        row
    }));
    rows.push(vec![say("  一层合计", "  one layer").to_owned(), String::new(), grouped(layer)]);
    rows.push(vec![
        say("所有层", "all layers").to_owned(),
        format!("{} × {}", shape.layers, grouped(layer)),
        grouped(shape.layers * layer),
    ]);
    rows.extend(single.iter().filter(|g| !before(g.weight)).map(|g| line(g)));
    if shape.tied {
        rows.push(vec![
            say("输出层", "output layer").to_owned(),
            say("与词嵌入共用", "shares the embedding table").to_owned(),
            "0".to_owned(),
        ]);
    }
    rows.push(vec![say("参数总数 N", "all parameters, N").to_owned(), String::new(), grouped(shape.parameters())]);
    page.push_str(&aligned("||", rows));
    page.push_str(&operations(sums, lang));
    page.extend([format!("\n3. {}\n{}", say("显存", "Memory"), bytes_each(sums, lang))]);
    page.push_str(&memory(sums, lang));
    page.extend([format!("\n4. {}\n", say("时间、能耗、费用", "Time, energy, money"))]);
    match sums.first() {
        None => page.push_str(&costs(sums, lang)),
        Some(cost) => {
            let (adapter, source, rate) = (&cost.rate.adapter, &cost.rate.source, speed(cost.rate.flops_per_second));
            let (flops, seconds, watts) = (power(sums.training_flops), cost.seconds, cost.watts);
            let (hours, time, energy) = (seconds / 3600.0, duration(seconds, lang), energy(cost.energy_wh));
            let (price, sum) = (money(sums, cost.price_per_hour), money(sums, cost.money));
            page.extend([match lang {
                Lang::Zh => format!(
                    "  {adapter}（{rate}，测自“{source}”）\n  时间 = {flops} ÷ {rate} = {seconds:.3e} 秒 = {time}\n  能耗 = {hours:.3e} 小时 × {watts} W = {energy}\n  费用 = {hours:.3e} 小时 × {price} = {sum}\n"
                ),
                Lang::En => format!(
                    "  {adapter} ({rate}, measured by {source:?})\n  time = {flops} / {rate} = {seconds:.3e} s = {time}\n  energy = {hours:.3e} h × {watts} W = {energy}\n  money = {hours:.3e} h × {price} = {sum}\n"
                ),
            }]);
        }
    }
    page.extend([format!("\n5. {}\n", say("以上的假设", "What this rests on"))]);
    for assumption in super::page::assumptions(sums) {
        page.extend([format!("  · {}\n", assumption.get(lang))]);
    }
    page.push_str(&others(sums, lang));
    page
}

/// Whether a group lies before the layers.
fn before(weight: Weight) -> bool {
    matches!(weight, Weight::Embedding | Weight::Position)
}

/// `12,288 × 49,152 + 49,152`, times the experts.
fn formula(group: &Group, lang: Lang) -> String {
    let mut text = format!("{} × {}", grouped(group.rows), grouped(group.cols));
    if group.bias > 0 {
        text.extend([format!(" + {}", grouped(group.bias))]);
    }
    if group.times > 1 {
        text = match lang {
            Lang::Zh => format!("{} 个专家 × {text}", group.times),
            Lang::En => format!("{} experts × {text}", group.times),
        };
    }
    text
}

fn operations(sums: &Sums, lang: Lang) -> String {
    let shape = sums.shape();
    let (n, tokens) = (grouped(shape.active_parameters()), grouped(sums.tokens.number()));
    let (training, attention) = (power(sums.training_flops), power(sums.attention_flops));
    let (layers, heads, size, context) = (shape.layers, shape.heads, shape.head_dim, grouped(sums.context));
    let mut text = match lang {
        Lang::Zh => format!(
            "\n2. 算力\n  每个参数对每个词元：前向 1 次乘、1 次加 = 2；反向对输入、对权重各求一次梯度 = 4；合计 6\n  6 × {n} × {tokens} = {} = {training} FLOPs\n  另有注意力（QKᵀ 和加权求和，因果掩码减半）：6 × {layers} 层 × {heads} 头 × {size} × {context} 上下文 × {tokens} = {attention}\n",
            sums.training_flops
        ),
        Lang::En => format!(
            "\n2. Operations\n  a parameter on a token: forward a multiplication and an addition = 2; backward the gradients of inputs and of weights = 4; 6 together\n  6 × {n} × {tokens} = {} = {training} FLOPs\n  attention beside it (QKᵀ and the weighted sum, half under the causal mask): 6 × {layers} layers × {heads} heads × {size} × {context} context × {tokens} = {attention}\n",
            sums.training_flops
        ),
    };
    if shape.active_parameters() < shape.parameters() {
        text.push_str(match lang {
            Lang::Zh => "  N 只算每个词元经过的参数：没有选中的专家不参与运算\n",
            Lang::En => "  N counts the parameters a token passes through: experts that are not chosen do no work\n",
        });
    }
    text
}

fn bytes_each(sums: &Sums, lang: Lang) -> String {
    match (lang, sums.half) {
        (Lang::Zh, false) => "  每个参数 16 字节：权重 4 + 梯度 4 + 两个矩 8；激活、logits 随批大小增长\n",
        (Lang::Zh, true) => "  每个参数 18 字节：f32 主权重 4 + f16 副本 2 + 梯度 4 + 两个矩 8；激活用 f16\n",
        (Lang::En, false) => "  16 bytes a parameter: weight 4 + gradient 4 + two moments 8; activations and logits grow with the batch\n",
        (Lang::En, true) => "  18 bytes a parameter: f32 master 4 + f16 copy 2 + gradient 4 + two moments 8; activations in f16\n",
    }
    .to_owned()
}
