//! Commands with arguments, typed into the palette: `lr 2e-4`, `temp 0.7`, `step 10`.

use super::why;
use crate::{
    base::{StageId, fold::half_width},
    protocol::Command,
    ui::{
        state::{
            AppState, Both, ConfigKey, Panel, Request,
            charts::{Export, Format},
        },
        strings::{self, Lang, Tr},
        text::grouped,
        theme::Palette,
        update::{Cmd, questions, requests, stages, tree},
    },
};

/// What a command did, or why not: one sentence, shown in the palette, which stays open.
type Done = Result<Vec<Cmd>, Both>;

/// A command.
pub struct Spoken {
    /// Its names, the first one shown.
    names: &'static [&'static str],
    /// Its arguments, for the palette and the help.
    pub usage: Tr,
    /// What it does.
    pub title: Tr,
    /// Why it does not apply now.
    refused: fn(&AppState) -> Option<Tr>,
    /// What an argument may be, or its value now: offered by Tab.
    offers: fn(&AppState) -> Vec<String>,
    /// Carries it out.
    run: fn(&mut AppState, &[&str]) -> Done,
}

impl Spoken {
    /// The shown name.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }
}

/// Sets a key of run.toml; with `reopens` the stage is opened again if the key waits for that.
fn set(state: &mut AppState, key: &str, value: &str, reopens: bool) -> Vec<Cmd> {
    let command = Command::Set { key: key.to_owned(), value: value.to_owned() };
    requests::send(state, Request::Set { reopens }, command)
}

/// The only argument.
fn one<'a>(args: &[&'a str], usage: Tr) -> Result<&'a str, Both> {
    match args {
        [only] => Ok(only),
        _ => Err(spoken_usage(usage)),
    }
}

/// A number within bounds.
fn number(args: &[&str], usage: Tr, holds: fn(f64) -> bool, range: Tr) -> Result<String, Both> {
    let text: String = one(args, usage)?.chars().map(half_width).collect();
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && holds(x) => Ok(text),
        _ => Err(spoken_number(&text, range)),
    }
}

/// A whole number.
fn whole(args: &[&str], usage: Tr, least: usize) -> Result<String, Both> {
    let text: String = one(args, usage)?.chars().map(half_width).filter(|c| *c != ',').collect();
    match text.parse::<usize>() {
        Ok(n) if n >= least && n < 1 << 40 => Ok(text),
        _ => Err(spoken_whole(&text, least)),
    }
}

/// The value in effect of a key, as the config pane shows it.
fn now(state: &AppState, path: &str) -> Vec<String> {
    let own = format!("{}.{path}", state.live().short());
    state.config.iter().filter(|k| k.path() == path || k.path() == own).map(|k| k.value.to_string()).take(1).collect()
}

/// Nothing is refused.
fn free(_: &AppState) -> Option<Tr> {
    None
}

/// Refused while nothing can be commanded.
fn commanded(state: &AppState) -> Option<Tr> {
    (!state.is_commanded()).then(|| why::not_now(state).unwrap_or(strings::WHY_NOT_NOW))
}

/// Refused besides where the live stage has no such key of its own.
fn has(state: &AppState, name: &str) -> Option<Tr> {
    let stage = state.live().short();
    let there = state.config.iter().any(|k| k.table == stage && k.name == name);
    commanded(state).or((!there).then_some(strings::WHY_NO_SUCH_KEY))
}

/// Refused besides where the live stage trains without dropout.
fn drops(state: &AppState) -> Option<Tr> {
    let text = state.live().id.is_none_or(StageId::draws_text);
    commanded(state).or((!text).then_some(strings::WHY_NO_DROPOUT))
}

fn charted(state: &AppState) -> Option<Tr> {
    (!state.has_charts()).then_some(strings::WHY_NO_CHART)
}

const ABOVE_ZERO: Tr = Tr("大于 0 的数", "a number above 0");
const NOT_NEGATIVE: Tr = Tr("不小于 0 的数", "a number of at least 0");
const SHARE: Tr = Tr("大于 0、不大于 1 的数", "a number above 0 and at most 1");
const BELOW_ONE: Tr = Tr("不小于 0、小于 1 的数", "a number of at least 0 and below 1");

/// The rows of keys with a number.
macro_rules! key {
    ($names:expr, $usage:literal, $zh:literal, $en:literal, $path:literal, $holds:expr, $range:expr, $reopens:literal, $refused:expr) => {
        Spoken {
            names: &$names,
            usage: Tr($usage, $usage),
            title: Tr($zh, $en),
            refused: $refused,
            offers: |s| now(s, $path),
            run: |s, args| {
                let value = number(args, Tr($usage, $usage), $holds, $range)?;
                Ok(set(s, $path, &value, $reopens))
            },
        }
    };
}

/// The same with a whole number.
macro_rules! count {
    ($names:expr, $usage:literal, $zh:literal, $en:literal, $path:literal, $least:literal, $reopens:literal, $refused:expr) => {
        Spoken {
            names: &$names,
            usage: Tr($usage, $usage),
            title: Tr($zh, $en),
            refused: $refused,
            offers: |s| now(s, $path),
            run: |s, args| {
                let value = whole(args, Tr($usage, $usage), $least)?;
                Ok(set(s, $path, &value, $reopens))
            },
        }
    };
}

/// All commands with arguments.
pub const SPOKEN: &[Spoken] = &[
    key!(
        ["lr", "learning_rate", "学习率"],
        "lr 2e-4",
        "学习率的峰值，从下一步起",
        "peak learning rate, from the next step on",
        "learning_rate",
        |x| x > 0.0,
        ABOVE_ZERO,
        false,
        commanded
    ),
    count!(
        ["batch", "batch_size", "批大小"],
        "batch 16",
        "每批行数：预训练和微调从下一步起，其他阶段保存后重新打开",
        "rows of a batch: of pretraining and fine-tuning from the next step on; other stages are opened again",
        "batch_size",
        1,
        true,
        commanded
    ),
    count!(
        ["accumulation", "gradient_accumulation_steps", "梯度累积"],
        "accumulation 2",
        "每步的微批数，从下一步起",
        "micro-batches of a step, from the next step on",
        "gradient_accumulation_steps",
        1,
        true,
        |s| has(s, "gradient_accumulation_steps")
    ),
    key!(
        ["dropout"],
        "dropout 0.1",
        "残差分支的 dropout，从下一步起",
        "dropout on the residual branches, from the next step on",
        "model.dropout",
        |x| (0.0..1.0).contains(&x),
        BELOW_ONE,
        false,
        drops
    ),
    key!(
        ["kl", "kl_coef"],
        "kl 0.1",
        "奖励里 KL 项的系数，从下一次更新起",
        "coefficient of the KL term, from the next update on",
        "kl_coef",
        |x| x >= 0.0,
        NOT_NEGATIVE,
        false,
        |s| has(s, "kl_coef")
    ),
    key!(
        ["temp", "temperature", "温度"],
        "temp 0.7",
        "采样温度",
        "temperature of answers",
        "sampling.temperature",
        |x| x >= 0.0,
        NOT_NEGATIVE,
        false,
        commanded
    ),
    count!(
        ["topk", "top_k"],
        "topk 40",
        "只从最可能的这么多词元里采样",
        "sample from so many tokens",
        "sampling.top_k",
        0,
        false,
        commanded
    ),
    key!(
        ["topp", "top_p"],
        "topp 0.9",
        "只从累计概率达到它的词元里采样",
        "sample from tokens with this probability together",
        "sampling.top_p",
        |x| x > 0.0 && x <= 1.0,
        SHARE,
        false,
        commanded
    ),
    count!(
        ["length", "max_new_tokens"],
        "length 200",
        "一次回答最多的词元数",
        "most tokens of an answer",
        "sampling.max_new_tokens",
        1,
        false,
        commanded
    ),
    count!(
        ["probes", "probe_steps", "探针"],
        "probes 50",
        "每隔多少步运行探针；0 为不运行",
        "steps between probes; 0 for none",
        "probe_steps",
        0,
        false,
        |s| has(s, "probe_steps")
    ),
    count!(
        ["evals", "eval_steps", "验证"],
        "evals 100",
        "每隔多少步验证；0 为不验证",
        "steps between evaluations; 0 for none",
        "eval_steps",
        0,
        false,
        |s| has(s, "eval_steps")
    ),
    count!(
        ["saves", "save_steps"],
        "saves 200",
        "每隔多少步保存；0 为只在结尾保存",
        "steps between checkpoints; 0 for one at the end",
        "save_steps",
        0,
        false,
        |s| has(s, "save_steps")
    ),
    Spoken {
        names: &["set", "设置"],
        usage: Tr("set 键 值", "set KEY VALUE"),
        title: Tr("设置 run.toml 的一个键", "set a key of run.toml"),
        refused: commanded,
        offers: |s| s.config.iter().map(ConfigKey::path).collect(),
        run: |s, args| match args {
            [key, value @ ..] if !value.is_empty() => Ok(set(s, key, &value.join(" "), false)),
            _ => Err(spoken_usage(Tr("set 键 值", "set KEY VALUE"))),
        },
    },
    Spoken {
        names: &["step", "单步"],
        usage: Tr("step 10", "step 10"),
        title: Tr("暂停时训练这么多步，然后再暂停", "while paused: train so many steps, then pause"),
        refused: commanded,
        offers: |_| vec!["1".to_owned()],
        run: |s, args| {
            let steps = if args.is_empty() { Ok("1".to_owned()) } else { whole(args, Tr("step 10", "step 10"), 1) }?;
            Ok(stages::take_steps(s, steps.parse().unwrap_or(1)))
        },
    },
    Spoken {
        names: &["reopen", "重新打开"],
        usage: Tr("reopen", "reopen"),
        title: Tr(
            "保存并重新打开这个阶段，采用等待中的设置",
            "save and open the stage again, with the settings that wait",
        ),
        refused: commanded,
        offers: |_| Vec::new(),
        run: |s, _| Ok(stages::reopen(s)),
    },
    Spoken {
        names: &["goto", "转到"],
        usage: Tr("goto 1200", "goto 1200"),
        title: Tr("十字线转到这一步", "put the crosshair at a step"),
        refused: charted,
        offers: |s| vec![s.shown().steps_done().to_string()],
        run: |s, args| {
            let step: usize = whole(args, Tr("goto 1200", "goto 1200"), 0)?.parse().unwrap_or(0);
            let done = s.shown().steps_done();
            if step > done {
                return Err(spoken_beyond(step, done));
            }
            s.stages.shown_mut().point(step);
            Ok(Vec::new())
        },
    },
    Spoken {
        names: &["fork", "分叉"],
        usage: Tr("fork 键=值 ...", "fork KEY=VALUE ..."),
        title: Tr("从最新的检查点分叉出新的 run", "fork a new run at the newest checkpoint"),
        refused: commanded,
        offers: |_| Vec::new(),
        run: |s, args| {
            let mut sets = Vec::new();
            for pair in args {
                let Some((key, value)) = pair.split_once('=') else {
                    return Err(Both::new(|lang| strings::no_pair(lang, pair)));
                };
                sets.push((key.to_owned(), value.to_owned()));
            }
            tree::fork_newest(s, sets).ok_or_else(|| Both::from(strings::SPOKEN_NO_CHECKPOINT))
        },
    },
    Spoken {
        names: &["export", "导出"],
        usage: Tr("export svg|txt|csv [screen] [文件]", "export svg|txt|csv [screen] [FILE]"),
        title: Tr("导出正在看的面板，或整个屏幕", "export the focused panel, or the screen"),
        refused: |s| if s.is_read_only() { None } else { commanded(s) },
        offers: |_| ["svg", "txt", "csv"].map(str::to_owned).to_vec(),
        run: export,
    },
    Spoken {
        names: &["lang", "语言"],
        usage: Tr("lang zh|en", "lang zh|en"),
        title: Tr("界面语言", "language of the screen"),
        refused: free,
        offers: |_| ["zh", "en"].map(str::to_owned).to_vec(),
        run: |s, args| {
            s.speak(match args {
                [] => s.lang.other(),
                ["zh" | "中文"] => Lang::Zh,
                ["en" | "English" | "english"] => Lang::En,
                _ => return Err(spoken_usage(Tr("lang zh|en", "lang zh|en"))),
            });
            Ok(Vec::new())
        },
    },
    Spoken {
        names: &["theme", "配色"],
        usage: Tr("theme 名字", "theme NAME"),
        title: Tr("配色", "colours"),
        refused: free,
        offers: |s| Palette::ALL.iter().map(|p| p.name().get(s.lang).to_owned()).collect(),
        run: |s, args| {
            let name = one(args, Tr("theme 名字", "theme NAME"))?;
            let of = |p: &&Palette| p.name().0 == name || p.name().1 == name;
            let Some(palette) = Palette::ALL.iter().find(of) else {
                let all = |lang: Lang| Palette::ALL.iter().map(|p| p.name().get(lang)).collect::<Vec<_>>().join(", ");
                return Err(Both::new(|lang| strings::spoken_none(lang, name, &all(lang))));
            };
            s.colour(*palette);
            Ok(Vec::new())
        },
    },
];

fn export(state: &mut AppState, args: &[&str]) -> Done {
    let usage = Tr("export svg|txt|csv [screen] [文件]", "export svg|txt|csv [screen] [FILE]");
    let format = match args.first() {
        Some(&"svg") => Format::Svg,
        Some(&("txt" | "text")) => Format::Text,
        Some(&"csv") => Format::Csv,
        _ => return Err(spoken_usage(usage)),
    };
    let (whole, rest) = match &args[1..] {
        ["screen" | "屏幕", rest @ ..] => (true, rest),
        ["panel" | "面板", rest @ ..] | rest => (false, rest),
    };
    let path = match rest {
        [] => None,
        words => Some(words.join(" ")),
    };
    let (panel, figures) = state.exportable();
    let panel: Option<Panel> = panel.filter(|_| !whole);
    if format == Format::Csv && (panel.is_none() || !figures) {
        return Err(strings::SPOKEN_NO_FIGURES.into());
    }
    Ok(questions::export(state, Export { panel, format, path }))
}

/// The command that a typed line names, and its arguments.
pub fn parse(typed: &str) -> Option<(&'static Spoken, Vec<&str>)> {
    let mut words = typed.split_whitespace();
    let name: String = words.next()?.chars().map(half_width).flat_map(char::to_lowercase).collect();
    let spoken = SPOKEN.iter().find(|s| s.names.contains(&name.as_str()))?;
    Some((spoken, words.collect()))
}

/// Carries out a typed line, or says why it does not apply now.
pub(super) fn run(state: &mut AppState, spoken: &Spoken, args: &[&str]) -> Done {
    match (spoken.refused)(state) {
        Some(why) => Err(why.into()),
        None => (spoken.run)(state, args),
    }
}

/// Whether a command is offered now.
pub(super) fn offered(state: &AppState, spoken: &Spoken) -> bool {
    (spoken.refused)(state).is_none()
}

/// The line with its last word completed, or the next of the words that it may be; None if there is nothing to complete.
pub(super) fn completed(state: &AppState, typed: &str) -> Option<String> {
    let (spoken, args) = parse(typed)?;
    if args.is_empty() && !typed.ends_with(char::is_whitespace) {
        return Some(format!("{typed} "));
    }
    let offers = (spoken.offers)(state);
    let (head, last) = match args.last() {
        Some(last) if !typed.ends_with(char::is_whitespace) => {
            (typed.trim_end().strip_suffix(last).unwrap_or(typed).to_owned(), *last)
        }
        Some(_) => return None,
        None => (format!("{} ", typed.trim_end()), ""),
    };
    let exact = offers.iter().position(|offer| offer == last);
    let next = match exact {
        // Again: the next one.
        Some(at) => offers.get((at + 1) % offers.len()),
        None => offers.iter().find(|offer| offer.starts_with(last)),
    };
    next.map(|next| format!("{head}{next}"))
}

/// How a command with arguments is written.
fn spoken_usage(usage: Tr) -> Both {
    Both::new(|lang| match lang {
        Lang::Zh => format!("写法：{}", usage.get(lang)),
        Lang::En => format!("write it as: {}", usage.get(lang)),
    })
}

/// A word that is not such a number.
fn spoken_number(word: &str, range: Tr) -> Both {
    Both::new(|lang| match lang {
        Lang::Zh => format!("{word:?} 不是{}", range.0),
        Lang::En => format!("{word:?} is not {}", range.1),
    })
}

/// A word that is not such a whole number.
fn spoken_whole(word: &str, least: usize) -> Both {
    Both::new(|lang| match lang {
        Lang::Zh => format!("{word:?} 不是不小于 {least} 的整数"),
        Lang::En => format!("{word:?} is not a whole number of at least {least}"),
    })
}

/// A step that is not done yet.
fn spoken_beyond(step: usize, done: usize) -> Both {
    let (step, done) = (grouped(step as u64), grouped(done as u64));
    Both::new(|lang| match lang {
        Lang::Zh => format!("第 {step} 步还没有训练，现在是第 {done} 步"),
        Lang::En => format!("step {step} is not trained yet; {done} are done"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_one_commands() {
        let mut seen = HashSet::new();
        for spoken in SPOKEN {
            for name in spoken.names {
                assert!(seen.insert(*name), "{name}");
                assert_eq!(name.to_lowercase(), *name);
            }
            assert!(spoken.usage.1.starts_with(spoken.name()), "{}", spoken.usage.1);
        }
    }
}
