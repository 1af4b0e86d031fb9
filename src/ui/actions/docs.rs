//! Generates docs/keys.md and docs/keys.zh.md from the table of actions.

use std::fmt::Write as _;

use super::{spoken::SPOKEN, table::ACTIONS};
use crate::ui::{
    keys::Key,
    state::Mode,
    strings::{self, Lang, Tr},
};

/// Sections of the page, in order.
const SECTIONS: [(Mode, Tr); 12] = [
    (Mode::Nav, strings::HELP_NAV),
    (Mode::Data, strings::HELP_DATA),
    (Mode::Vote, strings::HELP_VOTE),
    (Mode::Tree, strings::HELP_TREE),
    (Mode::Name, Tr("在谱系里输入时", "Typing in the lineage")),
    (Mode::Text, strings::HELP_TEXT),
    (Mode::Edit, strings::HELP_EDIT),
    (Mode::Palette, Tr("命令面板", "The command palette")),
    (Mode::Dialog, Tr("回答问题时", "Answering a question")),
    (Mode::Help, Tr("阅读帮助时", "Reading the help")),
    (Mode::Config, Tr("查看配置时", "Reading the configuration")),
    (Mode::Filter, Tr("筛选配置时", "Filtering the configuration")),
];

/// The page of keys in one language, as Markdown.
pub fn keys_page(lang: Lang) -> String {
    let intro = match lang {
        Lang::Zh => {
            "# 按键\n\n[English](keys.md)\n\n<!-- 由 src/ui/actions/table.rs 生成：DANLU_UPDATE=1 cargo test --lib keys_pages -->\n\n\
             全角按键同样有效；直接输入汉字会开始一条提示词。标 * 的命令也在命令面板（`:` 或 `Ctrl-P`）里。\n"
        }
        Lang::En => {
            "# Keys\n\n[中文](keys.zh.md)\n\n<!-- made from src/ui/actions/table.rs: DANLU_UPDATE=1 cargo test --lib keys_pages -->\n\n\
             Full-width keys work too; typing a Han character starts a prompt. Commands marked * are also in the command \
             palette (`:` or `Ctrl-P`).\n"
        }
    };
    let mut page = intro.to_owned();
    let heads = match lang {
        Lang::Zh => ["按键", "命令"],
        Lang::En => ["Keys", "Command"],
    };
    for (mode, title) in SECTIONS {
        let _ = write!(page, "\n## {}\n\n| {} | {} |\n| --- | --- |\n", title.get(lang), heads[0], heads[1]);
        for action in ACTIONS {
            let keys = action.keys_in(mode);
            if !keys.is_empty() {
                row(&mut page, keys, action.title.get(lang), action.palette);
            }
        }
    }
    let only = match lang {
        Lang::Zh => "\n## 只在命令面板里\n\n",
        Lang::En => "\n## Only in the command palette\n\n",
    };
    page.push_str(only);
    for action in ACTIONS.iter().filter(|a| a.keys.is_empty()) {
        let _ = writeln!(page, "- {}", action.title.get(lang));
    }
    page.push_str(match lang {
        Lang::Zh => {
            "- 查看任一面板\n\n## 带参数的命令\n\n在命令面板里输入；`Tab` 补全。\n\n| 写法 | 命令 |\n| --- | --- |\n"
        }
        Lang::En => {
            "- show any panel of the view\n\n## Commands with arguments\n\nTyped into the palette; `Tab` completes.\n\n\
             | Written as | Command |\n| --- | --- |\n"
        }
    });
    for spoken in SPOKEN {
        let usage = spoken.usage.get(lang).replace('|', "\\|");
        let _ = writeln!(page, "| `{usage}` | {} |", spoken.title.get(lang));
    }
    page
}

fn row(page: &mut String, keys: &[Key], title: &str, palette: bool) {
    let keys: Vec<String> = keys.iter().map(|k| format!("`{}`", k.to_string().replace('|', "\\|"))).collect();
    let mark = if palette { " *" } else { "" };
    let _ = writeln!(page, "| {} | {title}{mark} |", keys.join(" "));
}
