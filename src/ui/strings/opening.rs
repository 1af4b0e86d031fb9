//! What the opening of a stage is busy with.

use super::lang::{Lang, Tr};
use crate::{
    protocol::{Preparation, Work},
    ui::text::{bytes, grouped},
};

/// What takes long, and how far it is: `cleaning text 120.0 MiB / 1.2 GiB`.
pub fn preparation(lang: Lang, Preparation { work, done, of }: Preparation) -> String {
    let words = match work {
        Work::Hash => Tr("检查文件", "checking files"),
        Work::Clean => Tr("清洗文本", "cleaning text"),
        Work::Select => Tr("去重并划分文档", "removing duplicates"),
        Work::Tokenizer => Tr("训练 tokenizer", "training the tokenizer"),
        Work::Tokenize => Tr("转为 token", "tokenizing"),
        Work::Chats => Tr("读取对话", "reading conversations"),
        Work::Answers => Tr("先生成模型自己的回答", "the model first writes answers:"),
    };
    let words = words.get(lang);
    if of == 0 {
        return words.to_owned();
    }
    let count = match work {
        Work::Hash | Work::Clean | Work::Chats => bytes,
        Work::Select | Work::Tokenizer | Work::Tokenize | Work::Answers => grouped,
    };
    format!("{words} {} / {}", count(done), count(of))
}
