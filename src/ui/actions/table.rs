//! The table itself.

use super::{Act, Mode};
use crate::ui::{
    keys::{Code, Key},
    state::Panel,
    strings::Tr,
};

/// One row of the table.
#[derive(Debug)]
pub struct Action {
    /// What is done.
    pub act: Act,
    /// Its name in help and palette.
    pub name: Tr,
    /// Its name in the footer; empty if it never stands there.
    pub hint: Tr,
    /// Where which keys do it; the first is the one shown.
    pub keys: &'static [(Mode, &'static [Key])],
    /// Whether the palette lists it.
    pub palette: bool,
}

const NONE: Tr = Tr("", "");

const fn key(code: Code) -> Key {
    Key::plain(code)
}

const fn c(c: char) -> Key {
    Key::char(c)
}

const fn ctrl(c: char) -> Key {
    Key::ctrl(c)
}

macro_rules! action {
    ($act:ident, $zh:literal, $en:literal, hint $hint_zh:literal $hint_en:literal, $palette:literal, $($mode:ident: $keys:expr),*) => {
        Action {
            act: Act::$act,
            name: Tr($zh, $en),
            hint: Tr($hint_zh, $hint_en),
            keys: &[$((Mode::$mode, &$keys)),*],
            palette: $palette,
        }
    };
    ($act:ident, $zh:literal, $en:literal, $palette:literal, $($mode:ident: $keys:expr),*) => {
        Action { act: Act::$act, name: Tr($zh, $en), hint: NONE, keys: &[$((Mode::$mode, &$keys)),*], palette: $palette }
    };
}

macro_rules! show {
    ($panel:ident, $zh:literal, $en:literal) => {
        Action { act: Act::Show(Panel::$panel), name: Tr($zh, $en), hint: NONE, keys: &[], palette: true }
    };
}

/// Every action. Hints stand in this order, and the last fall off first where the footer is short.
#[rustfmt::skip]
pub const ACTIONS: &[Action] = &[
    action!(VoteA, "A 更好", "A is better", hint "A" "A", false, Pick: [key(Code::Left), c('a')]),
    action!(VoteB, "B 更好", "B is better", hint "B" "B", false, Pick: [key(Code::Right), c('b')]),
    action!(VoteTie, "差不多", "about equal", hint "平" "equal", false, Pick: [key(Code::Down), c('=')]),
    action!(VoteBothBad, "都不好", "both are bad", hint "都差" "both bad", false, Pick: [c('x'), ctrl('x')]),
    action!(Skip, "跳过这一对，或再要一对", "skip the pair, or ask for one", hint "跳过" "skip", false, Pick: [c('n'), ctrl('n')]),
    action!(Unvote, "收回上一票", "take the last vote back", hint "撤销" "undo", true, Pick: [c('u'), key(Code::Backspace)]),
    action!(Rewrite, "改写成示范，拿去训练", "rewrite into a demonstration", hint "改写" "rewrite", false, Pick: [c('e'), ctrl('e')]),
    action!(OwnPrompt, "自己出题", "ask with a prompt of your own", hint "自己出题" "own prompt", false, Pick: [c('i'), key(Code::Enter)]),
    action!(Marks, "标出两边的差异", "mark what differs", hint "差异" "differences", false, Pick: [c('t'), ctrl('t')]),
    action!(VoteMuchA, "A 好得多", "A is much better", false, Pick: [c('A'), Key::alt(Code::Left)]),
    action!(VoteMuchB, "B 好得多", "B is much better", false, Pick: [c('B'), Key::alt(Code::Right)]),
    action!(Refit, "现在就用投票重训奖励模型", "refit the reward model to the votes now", hint "重训" "refit", true, Pick: [c('r'), ctrl('r')]),
    action!(Open, "打开：预览、看丢掉的、采用界限", "open: preview, the dropped, apply the bound", hint "打开" "open", true, Room: [key(Code::Enter)]),
    action!(More, "加一分权重，或放大界限试试", "more weight, or try a greater bound", hint "加权重" "more weight", true, Nav: [c('+'), c('=')], Room: [c('+'), c('=')]),
    action!(Less, "减一分权重，或缩小界限试试", "less weight, or try a smaller bound", hint "减权重" "less", true, Nav: [c('-')], Room: [c('-')]),
    action!(Published, "用回规则表里的界限", "set the table's own bound again", hint "原界限" "table's bound", true, Room: [c('0')]),
    action!(AllSources, "漏斗：所有来源或一个来源", "funnel of all sources or of one", hint "所有来源" "all sources", true, Room: [c('a')]),
    action!(KeepText, "标记：要这样的文字", "mark: texts like this are wanted", hint "要" "keep", true, Room: [c('y')]),
    action!(DropText, "标记：不要这样的文字", "mark: texts like this are not wanted", hint "不要" "drop", true, Room: [c('x')]),
    action!(Unmark, "收回标记", "take the mark away", hint "收回" "unmark", true, Room: [c('u')]),
    action!(Pause, "暂停或继续训练", "pause or resume training", hint "暂停" "pause", true, Nav: [c(' '), ctrl('g')], Pick: [c(' '), ctrl('g')], Room: [c(' '), ctrl('g')]),
    action!(Save, "存盘", "save a checkpoint", hint "存盘" "save", true, Nav: [c('w'), ctrl('w')], Pick: [c('w'), ctrl('w')], Room: [c('w'), ctrl('w')]),
    action!(Prompt, "输入一句，让模型接着写", "type a prompt", hint "输入" "prompt", true, Nav: [c('i'), key(Code::Enter)], Room: [c('i')]),
    action!(Go, "训练正在看的阶段", "train the stage in view", hint "训练这个阶段" "train this stage", true, Nav: [c('g')], Room: [c('g')]),
    action!(Data, "看数据", "view the data", hint "数据" "data", true, Nav: [c('1'), Key::alt(Code::Char('1'))], Pick: [c('1'), Key::alt(Code::Char('1'))], Room: [c('1'), Key::alt(Code::Char('1'))]),
    action!(Pretrain, "看预训练", "view pretraining", hint "预训练" "pretrain", true, Nav: [c('2'), Key::alt(Code::Char('2'))], Pick: [c('2'), Key::alt(Code::Char('2'))], Room: [c('2'), Key::alt(Code::Char('2'))]),
    action!(Sft, "看微调", "view fine-tuning", hint "微调" "fine-tune", true, Nav: [c('3'), Key::alt(Code::Char('3'))], Pick: [c('3'), Key::alt(Code::Char('3'))], Room: [c('3'), Key::alt(Code::Char('3'))]),
    action!(Reward, "看奖励模型", "view the reward model", hint "奖励" "reward", true, Nav: [c('4'), Key::alt(Code::Char('4'))], Pick: [c('4'), Key::alt(Code::Char('4'))], Room: [c('4'), Key::alt(Code::Char('4'))]),
    action!(Align, "看对齐；再按一次换 PPO、DPO、GRPO", "view alignment; again: PPO, DPO, GRPO", hint "对齐" "align", true, Nav: [c('5'), Key::alt(Code::Char('5'))], Pick: [c('5'), Key::alt(Code::Char('5'))], Room: [c('5'), Key::alt(Code::Char('5'))]),
    action!(Pick, "评选：在两个回答里挑好的那个", "choose the better of two answers", hint "评选" "vote", true, Nav: [c('v')], Room: [c('v')]),
    action!(Correct, "把回答改写成示范，拿去训练", "correct the answer; train on it", hint "改写" "correct", true, Nav: [c('e'), ctrl('e')]),
    action!(NewChat, "开始新的对话", "start a new conversation", hint "新对话" "new chat", true, Nav: [c('n'), ctrl('n')]),
    action!(Beside, "同时让它的起点作答，并排看", "ask its starting point as well", hint "并排" "side by side", true, Nav: [c('b'), ctrl('b')]),
    action!(Quit, "退出", "quit", hint "退出" "quit", true, Nav: [c('q')], Pick: [c('q')], Room: [c('q')]),
    action!(Help, "帮助", "help", hint "帮助" "help", true, Nav: [c('?'), key(Code::F(1))], Pick: [c('?'), key(Code::F(1))], Room: [c('?'), key(Code::F(1))]),
    action!(Accept, "发送、选定", "send, choose", hint "发送" "send", false, Text: [key(Code::Enter)], Edit: [key(Code::Enter), ctrl('s')], Palette: [key(Code::Enter)], Dialog: [key(Code::Enter)]),
    action!(NewLine, "换行", "new line", hint "换行" "new line", false, Text: [ctrl('j'), Key::alt(Code::Enter)], Edit: [ctrl('j'), Key::alt(Code::Enter)]),
    action!(NextPanel, "下一栏", "next panel", hint "换栏" "panel", false, Nav: [key(Code::Tab)], Room: [key(Code::Tab)]),
    action!(Expand, "放大或还原这一栏", "expand or restore the panel", hint "放大" "expand", true, Nav: [c('z')], Room: [c('z')]),
    action!(Smoothing, "换一种平滑", "change smoothing", hint "平滑" "smooth", true, Nav: [c('m')]),
    action!(LogY, "对数或线性纵轴", "log or linear loss axis", hint "对数" "log y", true, Nav: [c('y')]),
    action!(Probe, "现在做一次探针", "complete the probe now", hint "探针" "probe", true, Nav: [c('p')]),
    action!(Reread, "重新读数据和 run.toml", "read the data and run.toml again", hint "重读" "re-read", true, Room: [c('r'), ctrl('r')]),
    action!(Palette, "命令板", "command palette", hint "命令" "commands", false, Nav: [c(':'), ctrl('p')], Pick: [c(':'), ctrl('p')], Room: [c(':'), ctrl('p')]),
    action!(Back, "退一层；输入的草稿留着", "one level back; a draft is kept", hint "返回" "back", false, Nav: [key(Code::Esc)], Text: [key(Code::Esc)], Edit: [key(Code::Esc)], Palette: [key(Code::Esc)], Dialog: [key(Code::Esc)], Help: [key(Code::Esc), c('q'), c('?'), key(Code::F(1)), key(Code::Enter)], Pick: [key(Code::Esc)], Room: [key(Code::Esc)]),
    action!(OtherAnswer, "从另一个回答改起", "start from the other answer", hint "换一个" "other answer", false, Edit: [key(Code::Tab)]),
    action!(PrevPanel, "上一栏", "previous panel", false, Nav: [key(Code::BackTab)], Room: [key(Code::BackTab)]),
    action!(Up, "向上", "up", false, Nav: [key(Code::Up), c('k')], Edit: [key(Code::Up)], Palette: [key(Code::Up)], Dialog: [key(Code::Up), key(Code::Left), key(Code::BackTab)], Help: [key(Code::Up), c('k')], Room: [key(Code::Up), c('k')]),
    action!(Down, "向下", "down", false, Nav: [key(Code::Down), c('j')], Edit: [key(Code::Down)], Palette: [key(Code::Down)], Dialog: [key(Code::Down), key(Code::Right), key(Code::Tab)], Help: [key(Code::Down), c('j')], Room: [key(Code::Down), c('j')]),
    action!(PageUp, "上一页", "page up", false, Nav: [key(Code::PageUp)], Text: [key(Code::PageUp)], Help: [key(Code::PageUp)], Pick: [key(Code::PageUp)], Room: [key(Code::PageUp)]),
    action!(PageDown, "下一页", "page down", false, Nav: [key(Code::PageDown)], Text: [key(Code::PageDown)], Help: [key(Code::PageDown)], Pick: [key(Code::PageDown)], Room: [key(Code::PageDown)]),
    action!(First, "到开头", "to the start", false, Nav: [key(Code::Home)], Help: [key(Code::Home)], Room: [key(Code::Home)]),
    action!(Last, "到最新", "to the newest", false, Nav: [key(Code::End)], Help: [key(Code::End)], Room: [key(Code::End)]),
    action!(Previous, "上一个探针、回答、词元、采样", "previous probe, answer, rollout", false, Nav: [key(Code::Left), c('h')], Room: [key(Code::Left), c('h')]),
    action!(Next, "下一个探针、回答、词元、采样", "next probe, answer, rollout", false, Nav: [key(Code::Right), c('l')], Room: [key(Code::Right), c('l')]),
    action!(Older, "更早的一句", "an older prompt", false, Text: [key(Code::Up)]),
    action!(Newer, "更晚的一句", "a newer prompt", false, Text: [key(Code::Down)]),
    action!(Left, "左移", "left", false, Text: [key(Code::Left)], Edit: [key(Code::Left)], Palette: [key(Code::Left)]),
    action!(Right, "右移", "right", false, Text: [key(Code::Right)], Edit: [key(Code::Right)], Palette: [key(Code::Right)]),
    action!(Home, "到行首", "to the line's start", false, Text: [ctrl('a'), key(Code::Home)], Edit: [ctrl('a'), key(Code::Home)], Palette: [ctrl('a'), key(Code::Home)]),
    action!(End, "到行尾", "to the line's end", false, Text: [ctrl('e'), key(Code::End)], Edit: [ctrl('e'), key(Code::End)], Palette: [ctrl('e'), key(Code::End)]),
    action!(Backspace, "删前一字", "delete back", false, Text: [key(Code::Backspace), ctrl('h')], Edit: [key(Code::Backspace), ctrl('h')], Palette: [key(Code::Backspace), ctrl('h')]),
    action!(Delete, "删后一字", "delete", false, Text: [key(Code::Delete), ctrl('d')], Edit: [key(Code::Delete), ctrl('d')], Palette: [key(Code::Delete), ctrl('d')]),
    action!(KillBefore, "删到行首", "delete to the line's start", false, Text: [ctrl('u')], Edit: [ctrl('u')], Palette: [ctrl('u')]),
    action!(KillAfter, "删到行尾", "delete to the line's end", false, Text: [ctrl('k')], Edit: [ctrl('k')], Palette: [ctrl('k')]),
    action!(KillWord, "删前一词", "delete the word before", false, Text: [ctrl('w')], Edit: [ctrl('w')], Palette: [ctrl('w')]),
    action!(Interrupt, "停下回答、清空或关闭；否则问是否退出", "stop, clear, close; or ask to quit", false, Nav: [ctrl('c')], Text: [ctrl('c')], Edit: [ctrl('c')], Palette: [ctrl('c')], Dialog: [ctrl('c')], Help: [ctrl('c')], Pick: [ctrl('c')], Room: [ctrl('c')]),
    action!(Redraw, "重画屏幕", "redraw", true, Nav: [ctrl('l')], Text: [ctrl('l')], Edit: [ctrl('l')], Palette: [ctrl('l')], Dialog: [ctrl('l')], Help: [ctrl('l')], Pick: [ctrl('l')], Room: [ctrl('l')]),
    action!(Suspend, "挂起到 shell，训练也停住", "suspend; training stops too", true, Nav: [ctrl('z')], Text: [ctrl('z')], Edit: [ctrl('z')], Palette: [ctrl('z')], Dialog: [ctrl('z')], Help: [ctrl('z')], Pick: [ctrl('z')], Room: [ctrl('z')]),
    action!(Lang, "English 界面", "用中文 (Chinese)", true,),
    action!(Theme, "换配色", "change theme", true,),
    show!(Loss, "看损失", "show loss"),
    show!(Tasks, "看各任务的分数", "show the tasks' scores"),
    show!(Probe, "看探针", "show probe"),
    show!(Batch, "看这一批词元", "show the batch's tokens"),
    show!(Accuracy, "看判对的比例", "show the reward model's accuracy"),
    show!(Margins, "看分差", "show margins"),
    show!(Votes, "看投票", "show votes"),
    show!(Score, "看得分", "show true score and reward"),
    show!(Drift, "看 KL、熵、收尾、长度", "show KL, entropy, ends, length"),
    show!(Frontier, "看得分与 KL", "show score against KL"),
    show!(Lamps, "看自检与护栏", "show checks and guard"),
    show!(Rollout, "显微镜：逐个词元看一个回答", "show one rollout, token by token"),
    show!(Chat, "看对话", "show chat"),
    show!(Mix, "看数据配比", "show data mix"),
    show!(Sources, "看来源", "show sources"),
    show!(Filters, "看清洗的漏斗", "show the funnel"),
    show!(Dropped, "看丢掉的文字", "show dropped documents"),
    show!(Losses, "看各来源的损失", "show loss by source"),
    show!(Tokenizer, "看分词", "show tokenizer"),
    show!(Preview, "看一篇文字和每个字的损失", "preview a document with its losses"),
    show!(NextBatch, "看下一批", "show the next batch"),
    show!(Changes, "看改动", "show changes"),
    show!(Run, "看引擎", "show engine"),
    show!(Log, "看事件", "show log"),
];
