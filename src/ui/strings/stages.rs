//! Names of the stages on the screen.

use super::lang::{Lang, Tr};
use crate::base::{StageId, StageKind};

/// The four milestones from random weights to a finished assistant.
pub const PATH: [Tr; 4] =
    [Tr("婴儿", "newborn"), Tr("小学中学", "school"), Tr("大学", "university"), Tr("工作", "work")];

/// The milestone in [`PATH`] that a stage leads to.
pub fn path(stage: StageId) -> usize {
    match stage.kind() {
        StageKind::Text => 1,
        StageKind::Answers => 2,
        StageKind::Reward | StageKind::Policy | StageKind::Pairs => 3,
    }
}

/// A stage's short title.
pub fn stage_word(stage: StageId) -> Tr {
    let [en, zh] = stage.title();
    Tr(zh, en)
}

/// A stage's title: in Chinese its kind and its name.
pub fn stage(stage: StageId, lang: Lang) -> String {
    match lang {
        Lang::En => stage.to_string(),
        Lang::Zh if stage.aligns() => format!("对齐 {stage}"),
        Lang::Zh => format!("{} {stage}", stage_word(stage).get(lang)),
    }
}

/// A stage cannot begin yet.
pub fn train_first(lang: Lang, wanted: StageId, first: StageId) -> String {
    let (wanted, first) = (stage(wanted, lang), stage(first, lang));
    match lang {
        Lang::Zh => format!("{wanted} 需要 {first} 的检查点，请先训练 {first}"),
        Lang::En => format!("{wanted} needs a checkpoint of {first}; train {first} first"),
    }
}
