//! Texts of the tree of runs.

use super::lang::{Lang, Tr, strings};
use crate::ui::text::{grouped, plural};

strings! {
    HELP_TREE = "谱系", "The lineage";
    TREE_TITLE = "谱系 lineage", "lineage";
    TENSORS = "张量", "tensors of";
    READING = "正在读取", "reading";
    TREE_NO_CHECKPOINT = "选中一个检查点，查看它的张量", "choose a checkpoint to see its tensors";
    TREE_LOADING = "正在读取各个 run", "reading the runs";
    TREE_OPEN = "已打开", "open";
    TREE_IN_USE = "使用中", "in use";
    TREE_FROM = "来自", "from";
    TREE_NEEDED = "被用于", "needed by";
    TREE_BEST = "最好", "the best";
    TREE_PINNED = "已固定", "pinned";
    TREE_CHECKPOINT = "检查点", "checkpoint";
    TREE_BEGUN = "后面从这里开始", "something began from it";
    TREE_LIVE = "打开的阶段", "the open stage";
    TREE_HELD_OUT = "留出集 held out", "held out";
    TREE_NO_FIGURES = "还没有评测", "no evaluation yet";
    TREE_COMPARED = "比较 compare", "compare";
    TREE_HERE = "就在这里", "this is where the run is";
    TREE_MOST = "最多比较四个 run", "at most four runs are compared";
    TREE_NEW_NAME = "新名字", "new name";
    TREE_SETTINGS = "分叉时改的设置：键=值，用空格分开；可以不写", "settings of the fork: key=value, separated by spaces; may be empty";
    GO_BACK_TITLE = "回到这里", "go back to here";
    GO_BACK_KEPT = "从这个检查点分叉出新的 run 并打开；现在的 run 保存后关闭，内容不变",
        "a new run is forked at this checkpoint and opened; this run is saved, closed and stays as it is";
    GO_BACK_GO = "分叉并打开", "fork and open";
    OPEN_TITLE = "打开另一个 run", "open another run";
    OPEN_KEPT = "现在的 run 会先保存", "this run is saved first";
    OPEN_GO = "保存并打开", "save and open";
    REMOVE_TITLE = "删除", "delete";
    REMOVE_GO = "删除", "delete";
    STAY = "返回", "back";
}

/// What stands for checkpoints that are out of sight.
pub const CUT: &str = "⋯";

/// The title's facts.
pub fn tree_facts(lang: Lang, runs: usize, checkpoints: usize, bytes: &str) -> String {
    match lang {
        Lang::Zh => format!("{runs} 个 run  {checkpoints} 个检查点  {bytes}"),
        Lang::En => format!("{}  {}  {bytes}", plural(runs as u64, "run"), plural(checkpoints as u64, "checkpoint")),
    }
}

/// A fork was made.
pub fn forked(lang: Lang, name: &str) -> String {
    match lang {
        Lang::Zh => format!("已分叉：{name}"),
        Lang::En => format!("forked: {name}"),
    }
}

/// A run was renamed.
pub fn renamed(lang: Lang, old: &str, new: &str) -> String {
    match lang {
        Lang::Zh => format!("{old} 改名为 {new}"),
        Lang::En => format!("{old} is now {new}"),
    }
}

/// A checkpoint was pinned, or no longer is.
pub fn pinned(lang: Lang, name: &str, pinned: bool) -> String {
    match (lang, pinned) {
        (Lang::Zh, true) => format!("{name} 已固定，不会被清理"),
        (Lang::Zh, false) => format!("{name} 不再固定"),
        (Lang::En, true) => format!("{name} is pinned and stays"),
        (Lang::En, false) => format!("{name} is no longer pinned"),
    }
}

/// The totals of a checkpoint.
pub fn inspected_total(lang: Lang, tensors: u64, parameters: u64, bytes: &str) -> String {
    match lang {
        Lang::Zh => format!("{tensors} 个张量  {} 个参数  {bytes}", grouped(parameters)),
        Lang::En => format!("{}  {}  {bytes}", plural(tensors, "tensor"), plural(parameters, "parameter")),
    }
}

/// A run or checkpoint was removed.
pub fn removed(lang: Lang, name: &str, bytes: &str) -> String {
    match lang {
        Lang::Zh => format!("{name} 已删除，释放 {bytes}"),
        Lang::En => format!("{name} is deleted; {bytes} freed"),
    }
}

/// What is about to be removed.
pub fn remove_what(lang: Lang, name: &str, bytes: &str) -> String {
    match lang {
        Lang::Zh => format!("{name}（{bytes}）会被永久删除"),
        Lang::En => format!("{name} ({bytes}) will be deleted for good"),
    }
}

/// A typed word is no setting.
pub fn no_pair(lang: Lang, word: &str) -> String {
    match lang {
        Lang::Zh => format!("{word:?} 不是 键=值"),
        Lang::En => format!("{word:?} is not key=value"),
    }
}
