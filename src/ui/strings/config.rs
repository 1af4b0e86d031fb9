//! Texts of the config pane.

use super::lang::{Lang, Tr, strings};
use crate::{
    protocol::Origin,
    ui::text::{grouped, plural},
};

strings! {
    CONFIG_TITLE = "配置 run.toml", "configuration run.toml";
    CONFIG_KEY = "键", "key";
    CONFIG_VALUE = "正在使用", "in use";
    CONFIG_DEFAULT = "默认值", "default";
    CONFIG_ORIGIN = "来自", "set by";
    CONFIG_CHANGED = "训练中改于", "changed live";
    CONFIG_TOP = "顶层", "top level";
    CONFIG_LIVE = "正在训练", "trains now";
    CONFIG_WAITS = "下次打开", "next time";
    CONFIG_UNSET = "未设", "not set";
    CONFIG_NONE = "没有匹配的键", "no matching key";
    CONFIG_NONE_CHANGED = "没有改过的键：全部是默认值", "no changed key: all values are the defaults";
    CONFIG_HOW = "修改：训练时编辑 run.toml，或启动时加 --set 键=值", "change: edit run.toml live or start with --set KEY=VALUE";
}

/// Where a value comes from.
pub fn origin(origin: Origin) -> Tr {
    match origin {
        Origin::Default => Tr("默认", "default"),
        Origin::File => Tr("run.toml", "run.toml"),
        Origin::Option => Tr("命令行", "--set"),
    }
}

/// Where a value comes from, in a sentence.
pub fn set_by(lang: Lang, origin: Origin) -> &'static str {
    let text = match origin {
        Origin::Default => Tr("默认值", "the default"),
        Origin::File => Tr("在 run.toml 里设定", "set in run.toml"),
        Origin::Option => Tr("由命令行设定（--set 或同名选项）", "set on the command line (--set or its own option)"),
    };
    text.get(lang)
}

/// The number of keys, and of those with another value than the default.
pub fn config_count(lang: Lang, keys: usize, differ: usize) -> String {
    match lang {
        Lang::Zh => format!("{keys} 个键，{differ} 个不是默认值"),
        Lang::En => format!("{}, {differ} not default", plural(keys as u64, "key")),
    }
}

/// Since which step a changed value is in use.
pub fn changed_since(lang: Lang, step: usize) -> String {
    let step = grouped(step as u64);
    match lang {
        Lang::Zh => format!("训练中改过，从第 {step} 步起使用"),
        Lang::En => format!("changed live, in use since step {step}"),
    }
}

/// A saved value that the stage uses only when it is opened again.
pub fn config_next(lang: Lang, value: &str) -> String {
    match lang {
        Lang::Zh => format!("重新打开本阶段时变为 {value}"),
        Lang::En => format!("becomes {value} when the stage is opened again"),
    }
}
