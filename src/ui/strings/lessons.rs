//! What a stage that was never trained will learn, with two examples of the built-in data.

use super::lang::Tr;
use crate::base::{StageId, StageKind};

/// A lesson: what it is about, and examples as question, answer, and a worse answer where the stage learns from both.
pub struct Lesson {
    /// What is learned.
    pub about: Tr,
    /// Two lines of the built-in data.
    pub examples: [(&'static str, &'static str, Option<&'static str>); 2],
}

/// What a stage teaches.
pub fn lesson(stage: StageId) -> Lesson {
    let pairs = [
        ("去金华旅行，有哪些好玩的地点？", "去金华可以看武侯祠、断桥和漓江。", Some("去北京可以看武侯祠和断桥。")),
        ("续写：欢笑情如旧，", "绿树村边合。", Some("Why does he need to make lunch?")),
    ];
    let (about, examples) = match stage.kind() {
        StageKind::Text => (
            Tr("学习预测下一个词元", "Learns to predict the next token"),
            [("春眠不觉晓，", "处处闻啼鸟。夜来风雨声，花落知多少。", None), ("床前明月光，", "疑是地上霜。", None)],
        ),
        StageKind::Answers => (
            Tr("学习按指令回答", "Learns to answer instructions"),
            [("翻译：农民喜欢画树。", "The farmer likes to draw trees.", None), ("哪里有马？", "草原上有马。", None)],
        ),
        StageKind::Reward => (Tr("学习给回答打分：好的分高", "Learns to score answers: better ones higher"), pairs),
        StageKind::Pairs => (Tr("学习偏向较好的回答", "Learns to prefer the better of two answers"), pairs),
        StageKind::Policy => (
            Tr("从自己的回答中学习：奖励模型打分", "Learns from its own answers, which the reward model scores"),
            [("我想到南山旅行，你推荐哪里？", "", None), ("续写：星临万户动，", "", None)],
        ),
    };
    Lesson { about, examples }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{fs, path::Path};

    use super::*;

    /// The examples are lines of the built-in data.
    #[test]
    fn the_examples_are_real() {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let read =
            |names: &[&str]| names.iter().map(|n| fs::read_to_string(assets.join(n)).unwrap()).collect::<String>();
        for stage in StageId::ALL {
            let text = match stage.kind() {
                StageKind::Text => read(&["corpus/poems-short.jsonl"]),
                StageKind::Answers => read(&["sft/train/zh-en.jsonl", "sft/train/qa.jsonl"]),
                StageKind::Reward | StageKind::Pairs => read(&["preference/pairs.jsonl"]),
                StageKind::Policy => read(&["preference/prompts.jsonl"]),
            };
            for (question, answer, worse) in lesson(stage).examples {
                let together =
                    |line: &&str| [question, answer, worse.unwrap_or("")].iter().all(|part| line.contains(part));
                assert!(text.lines().any(|line| together(&line)), "{stage}: {question}");
            }
        }
    }
}
