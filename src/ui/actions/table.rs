//! The table of actions. To add one, add a row: its titles, and the fields in which it differs from
//! [`Action::new`]. `docs/keys.md` is made from this table.

use super::{action::Action, palette, why};
use crate::{
    base::StageId,
    protocol::Choice,
    ui::{
        editor::Editor,
        keys::{Code, Key},
        series::SMOOTHINGS,
        state::{
            AppState, Mode, Overlay, Panel, Request,
            charts::{Export, Format},
            steps::Walk,
        },
        strings::{self, Tr},
        theme::Palette,
        update::{
            Cmd, config, copy, data, field, leaving,
            moving::{find, focus, walk::walk},
            questions, stages, talk, tree, vote,
        },
    },
};
use Mode::{Config, Data, Dialog, Edit, Filter, Help, Name, Nav, Text, Tree, Vote};

const fn key(code: Code) -> Key {
    Key::plain(code)
}

const fn c(c: char) -> Key {
    Key::char(c)
}

const fn ctrl(c: char) -> Key {
    Key::ctrl(c)
}

const fn alt(c: char) -> Key {
    Key::alt(Code::Char(c))
}

/// The modes that show panels or pairs.
const LOOKING: &[Mode] = &[Nav, Vote, Data];
/// All modes.
const ALWAYS: &[Mode] = &Mode::ALL;
/// The modes with a text field.
const TYPING: &[Mode] = &[Text, Edit, Mode::Palette, Filter, Mode::Find, Name];
/// The modes from which the program can be left, helped and commanded.
const OUTSIDE: &[Mode] = &[Nav, Vote, Data, Tree];

/// Makes an action's function of one that sends no command.
macro_rules! quietly {
    ($state:ident, $body:expr) => {
        |$state: &mut AppState| -> Vec<Cmd> {
            $body;
            Vec::new()
        }
    };
}

macro_rules! actions {
    ($($act:ident, $zh:literal, $en:literal, { $($field:ident: $value:expr,)* })*) => {
        /// The actions, each a row of [`ACTIONS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Act {
            $(#[doc = $en] $act,)*
        }

        impl Act {
            /// All of them, in the table's order.
            pub const ALL: &[Act] = &[$(Act::$act),*];
        }

        /// All actions. The footer shows hints in this order and drops the last ones if it is too narrow.
        pub const ACTIONS: &[Action] = &[$(Action { $($field: $value,)* ..Action::new($zh, $en) },)*];
    };
}

impl Act {
    /// Its row.
    pub fn row(self) -> &'static Action {
        &ACTIONS[self as usize]
    }

    /// The displayed key.
    pub fn key(self) -> Option<Key> {
        self.row().key()
    }
}

/// The label for Enter in the data view.
fn opens(s: &AppState) -> Option<Tr> {
    match s.focus {
        Panel::SOURCES => Some(Tr("预览", "preview")),
        Panel::FILTERS if s.data.trying.is_some() => Some(Tr("应用这个界限", "apply the bound")),
        Panel::FILTERS if !s.data.funnel().cuts.is_empty() => Some(Tr("看丢弃的", "see the dropped")),
        _ => None,
    }
}

/// Whether the selected rule has an adjustable threshold.
fn moves_a_bound(s: &AppState) -> bool {
    s.data.open && s.focus == Panel::FILTERS && s.data.bound().is_some()
}

/// Whether there is a weight, a threshold or a chart to change.
fn more_or_less(s: &AppState) -> bool {
    if !s.changes_data() {
        return s.has_charts();
    }
    s.is_commanded() && (s.weighed().is_some() || moves_a_bound(s))
}

/// Whether another view is shown, so that the stage's key has an effect.
fn leads_to(s: &AppState, stage: StageId) -> bool {
    s.data.open || s.shown().id != Some(stage)
}

/// Whether Left and Right have something to move through.
fn walks_sideways(s: &AppState) -> bool {
    if s.tree.open {
        return true;
    }
    if s.film.is_some() || s.slides() {
        return true;
    }
    match s.focus {
        Panel::CHAT => !s.chat.exchanges.is_empty(),
        Panel::BATCH => s.shown().batch.is_some(),
        Panel::ROLLOUT => s.shown().feedback.rollout.is_some(),
        Panel::SOURCES | Panel::PREVIEW => s.data.document.is_some(),
        Panel::DROPPED => s.data.page.is_some(),
        _ => !s.data.open && s.shown().probes.len() > 1,
    }
}

/// The label for Esc, if a hint is useful.
fn back_hint(s: &AppState) -> Option<Tr> {
    let held = s.has_charts() && s.shown().charts.cursor.is_some()
        || s.shown().spot.is_some()
        || s.shown().feedback.token.is_some()
        || s.chat.picked.is_some();
    match s.mode() {
        _ if s.gives_up() => Some(Tr("放弃打开", "give up opening")),
        Vote => Some(Tr("返回训练", "back to training")),
        Data if s.data.trying.is_some() => Some(Tr("放弃", "discard")),
        Data if !matches!(s.focus, Panel::DROPPED | Panel::PREVIEW) && !s.expanded && !held => None,
        Nav if s.expanded => Some(Tr("返回", "back")),
        Nav => held.then_some(Tr("取消选择", "deselect")),
        _ => Some(Tr("返回", "back")),
    }
}

actions! {
    VoteA, "A 更好", "A is better", {
        keys: &[(&[Vote], &[key(Code::Left), c('a')])], hint: |_| Some(Tr("A", "A")), palette: false,
        enabled: AppState::has_pair, why: why::no_pair, perform: |s| vote::vote(s, Choice::A), }
    VoteB, "B 更好", "B is better", {
        keys: &[(&[Vote], &[key(Code::Right), c('b')])], hint: |_| Some(Tr("B", "B")), palette: false,
        enabled: AppState::has_pair, why: why::no_pair, perform: |s| vote::vote(s, Choice::B), }
    VoteTie, "差不多", "about equal", {
        keys: &[(&[Vote], &[key(Code::Down), c('=')])], hint: |_| Some(Tr("差不多", "equal")), palette: false,
        enabled: AppState::has_pair, why: why::no_pair, perform: |s| vote::vote(s, Choice::Tie), }
    VoteBothBad, "都不好", "both are bad", {
        keys: &[(&[Vote], &[c('x'), ctrl('x')])], hint: |_| Some(Tr("都不好", "both bad")), palette: false,
        enabled: AppState::has_pair, why: why::no_pair, perform: |s| vote::vote(s, Choice::BothBad), }
    Skip, "跳过这一对；没有时再要一对", "skip the pair, or ask for one", {
        keys: &[(&[Vote], &[c('n'), ctrl('n')])],
        hint: |s| Some(if s.voting.pair.is_some() { Tr("跳过", "skip") } else { Tr("要一对", "ask for a pair") }),
        palette: false, enabled: |s| s.has_pair() || s.takes_votes() && s.voting.open && !s.awaits(&Request::Offer),
        why: why::no_pair, perform: vote::skip, }
    Unvote, "撤销上一票或选中的一票", "undo the last vote, or the selected one", {
        keys: &[(&[Vote], &[c('u'), key(Code::Backspace)])], hint: |_| Some(Tr("撤销", "undo")),
        exists: |s| s.has_stage(StageId::Reward),
        enabled: |s| s.takes_votes() && s.voting.has_votes() && !s.awaits(&Request::Unvote),
        why: why::no_votes, perform: vote::unvote, }
    CorrectPair, "修改回答，用作示范", "correct an answer and train on it", {
        keys: &[(&[Vote], &[c('e'), ctrl('e')])], hint: |_| Some(Tr("修改", "correct")), palette: false,
        enabled: AppState::has_pair, why: why::no_pair, perform: quietly!(s, vote::correct(s)), }
    OwnPrompt, "自己写提示词", "type your own prompt", {
        keys: &[(&[Vote], &[c('i'), key(Code::Enter)])], hint: |_| Some(Tr("自己写提示词", "own prompt")),
        palette: false, enabled: |s| s.takes_votes() && s.voting.open, perform: quietly!(s, s.typing = true), }
    Marks, "标出两边的差异", "mark the differences", {
        keys: &[(&[Vote], &[c('t'), ctrl('t')])], hint: |_| Some(Tr("差异", "differences")), palette: false,
        enabled: AppState::has_pair, why: why::no_pair, perform: quietly!(s, s.voting.marked = !s.voting.marked), }
    VoteMuchA, "A 好得多", "A is much better", {
        keys: &[(&[Vote], &[c('A'), Key::alt(Code::Left)])], palette: false, enabled: AppState::has_pair,
        why: why::no_pair, perform: |s| vote::vote(s, Choice::MuchA), }
    VoteMuchB, "B 好得多", "B is much better", {
        keys: &[(&[Vote], &[c('B'), Key::alt(Code::Right)])], palette: false, enabled: AppState::has_pair,
        why: why::no_pair, perform: |s| vote::vote(s, Choice::MuchB), }
    OlderVote, "选更早的一票来撤销", "select an older vote to undo", {
        keys: &[(&[Vote], &[c('[')])],
        enabled: |s| s.takes_votes() && s.voting.has_votes(), why: why::no_votes,
        perform: quietly!(s, s.voting.choose(-1)), }
    NewerVote, "选更新的一票来撤销", "select a newer vote to undo", {
        keys: &[(&[Vote], &[c(']')])],
        enabled: |s| s.takes_votes() && s.voting.has_votes(), why: why::no_votes,
        perform: quietly!(s, s.voting.choose(1)), }
    Refit, "立即用投票重训奖励模型", "refit the reward model to the votes now", {
        keys: &[(&[Vote], &[c('r'), ctrl('r')])], hint: |_| Some(Tr("重训", "refit")),
        exists: |s| s.has_stage(StageId::Reward),
        enabled: |s| s.takes_votes() && s.voting.has_votes() && !s.awaits(&Request::Refit), why: why::no_votes, perform: vote::refit, }
    Open, "打开：预览、查看丢弃的文档、应用界限", "open: preview, dropped documents, apply the bound", {
        keys: &[(&[Data], &[key(Code::Enter)])], hint: opens,
        enabled: |s| s.is_commanded() && s.data.open && opens(s).is_some(), why: |_| None, perform: data::open_chosen, }
    More, "放大曲线；在数据上增大权重或界限", "zoom in; on data more weight, or a higher bound", {
        keys: &[(&[Nav, Data], &[c('+'), c('=')])],
        hint: |s| match s.focus {
            _ if !s.changes_data() => None,
            Panel::FILTERS => Some(Tr("试大些", "try higher")),
            _ => Some(Tr("加权重", "more weight")),
        },
        enabled: more_or_less, why: why::not_weighed,
        perform: |s| if s.changes_data() { data::change(s, true) } else { s.zoom(true); Vec::new() }, }
    Less, "缩小曲线；在数据上减小权重或界限", "zoom out; on data less weight, or a lower bound", {
        keys: &[(&[Nav, Data], &[c('-')])],
        hint: |s| match s.focus {
            _ if !s.changes_data() => None,
            Panel::FILTERS => Some(Tr("试小些", "try lower")),
            _ => Some(Tr("减权重", "less")),
        },
        enabled: more_or_less, why: why::not_weighed,
        perform: |s| if s.changes_data() { data::change(s, false) } else { s.zoom(false); Vec::new() }, }
    Published, "恢复默认界限", "restore the default bound", {
        keys: &[(&[Data], &[c('0')])], hint: |_| Some(Tr("默认界限", "default bound")),
        enabled: |s| s.is_commanded() && moves_a_bound(s) && s.data.bound().is_some_and(|(_, b)| b.is_moved()),
        why: why::not_weighed, perform: |s| data::set_rule(s, true), }
    AllSources, "漏斗：所有数据源或一个数据源", "funnel of all sources or of one", {
        keys: &[(&[Data], &[c('a')])],
        hint: |s| {
            let words = if s.data.all { Tr("只看一个数据源", "one source") } else { Tr("所有数据源", "all sources") };
            (s.focus == Panel::FILTERS).then_some(words)
        },
        enabled: |s| s.data.open && s.data.sources.len() > 1, why: |_| None, perform: data::all_sources, }
    KeepText, "标注：保留这样的文字", "mark: keep texts like this", {
        keys: &[(&[Data], &[c('y')])], hint: |_| Some(Tr("保留", "keep")),
        enabled: |s| s.is_commanded() && s.data.open && s.marked_text().is_some(),
        why: why::not_marked, perform: |s| data::mark(s, Some(true)), }
    DropText, "标注：丢弃这样的文字", "mark: drop texts like this", {
        keys: &[(&[Data], &[c('x')])], hint: |_| Some(Tr("丢弃", "drop")),
        enabled: |s| s.is_commanded() && s.data.open && s.marked_text().is_some(),
        why: why::not_marked, perform: |s| data::mark(s, Some(false)), }
    Unmark, "取消标注", "remove the mark", {
        keys: &[(&[Data], &[c('u')])], hint: |_| Some(Tr("取消标注", "unmark")),
        enabled: |s| s.is_commanded() && s.data.open && s.marked_text().is_some() && s.mark().is_some(),
        why: why::not_marked, perform: |s| data::mark(s, None), }
    Pause, "暂停或继续训练", "pause or resume training", {
        keys: &[(LOOKING, &[c(' '), ctrl('g')])],
        hint: |s| {
            // A replay that shows everything at once has nothing to resume.
            let over = s.live().is_paused() && (s.live().is_complete() || s.is_read_only());
            let words = if s.live().is_paused() { Tr("继续", "resume") } else { Tr("暂停", "pause") };
            (!over).then_some(words)
        },
        enabled: |s| {
            let waits = s.is_read_only() && s.live().is_complete();
            s.is_answered() && !waits && !s.is_watched() && s.live().feedback.guard.as_ref().is_none_or(|g| g.may_go_on)
        },
        perform: stages::pause, }
    Save, "保存检查点", "save a checkpoint", {
        keys: &[(LOOKING, &[c('w'), ctrl('w')])], hint: |_| Some(Tr("保存", "save")),
        enabled: |s| s.is_commanded() && s.live().feedback.guard.is_none(), perform: stages::save, }
    Prompt, "输入提示词，让模型回答", "type a prompt", {
        keys: &[(&[Nav], &[c('i'), key(Code::Enter)]), (&[Data], &[c('i')])], hint: |_| Some(Tr("输入", "prompt")),
        enabled: AppState::is_commanded, perform: quietly!(s, talk::open_prompt(s)), }
    Go, "训练正在查看的阶段", "train the stage in view", {
        keys: &[(&[Nav, Data], &[c('g')])],
        hint: |s| {
            let other = (!s.stages.live_is_shown()).then_some(Tr("训练这个阶段", "train this stage"));
            if s.reopens() { Some(Tr("从检查点继续", "reopen")) } else { other }
        },
        exists: |s| s.stages.all().len() > 1,
        enabled: |s| {
            let failed = s.failed_here() && s.leaving.is_none() && s.switching().is_none();
            failed && s.reopens()
                || s.is_commanded() && (!s.stages.live_is_shown() || s.reopens() || s.live().resumes())
        },
        why: why::not_trained, perform: stages::go, }
    Data, "查看数据", "view the data", {
        keys: &[(LOOKING, &[c('1'), alt('1')])], hint: |s| (!s.data.open).then_some(Tr("数据", "data")),
        perform: data::open, }
    Pretrain, "查看预训练", "view pretraining", {
        keys: &[(LOOKING, &[c('2'), alt('2')])], hint: |s| leads_to(s, StageId::Pretrain).then_some(Tr("预训练", "pretrain")),
        exists: |s| s.has_stage(StageId::Pretrain), perform: quietly!(s, stages::view(s, StageId::Pretrain)), }
    Sft, "查看微调", "view fine-tuning", {
        keys: &[(LOOKING, &[c('3'), alt('3')])], hint: |s| leads_to(s, StageId::Sft).then_some(Tr("微调", "fine-tune")),
        exists: |s| s.has_stage(StageId::Sft), perform: quietly!(s, stages::view(s, StageId::Sft)), }
    Reward, "查看奖励模型", "view the reward model", {
        keys: &[(LOOKING, &[c('4'), alt('4')])], hint: |s| leads_to(s, StageId::Reward).then_some(Tr("奖励", "reward")),
        exists: |s| s.has_stage(StageId::Reward), perform: quietly!(s, stages::view(s, StageId::Reward)), }
    Align, "查看对齐；再按切换 PPO、DPO、GRPO", "view alignment; again: PPO, DPO, GRPO", {
        keys: &[(LOOKING, &[c('5'), alt('5')])],
        hint: |s| s.stages.next_aligned().filter(|stage| leads_to(s, *stage)).map(|_| Tr("对齐", "align")),
        exists: |s| s.stages.next_aligned().is_some(), perform: quietly!(s, stages::view_aligned(s)), }
    Vote, "投票：在两个回答中选更好的一个", "vote: choose the better of two answers", {
        keys: &[(&[Nav, Data], &[c('v')])], hint: |_| Some(Tr("投票", "vote")), exists: |s| s.has_stage(StageId::Reward),
        enabled: |s| s.takes_votes() && !s.voting.open, why: why::not_voted, perform: vote::open, }
    Correct, "修改回答，用作示范", "correct the answer and train on it", {
        keys: &[(&[Nav], &[c('e'), ctrl('e')])], hint: |_| Some(Tr("修改", "correct")), exists: |s| s.has_stage(StageId::Sft),
        enabled: |s| {
            let here = s.is_commanded() && s.live().talks() && s.focus == Panel::CHAT;
            here && s.chat.correctable().is_some()
        },
        why: why::not_corrected, perform: quietly!(s, s.chat.open_edit()), }
    NewChat, "开始新对话", "start a new conversation", {
        keys: &[(&[Nav], &[c('n'), ctrl('n')])],
        hint: |s| (s.focus == Panel::CHAT).then_some(Tr("新对话", "new chat")), exists: |s| s.has_stage(StageId::Sft),
        enabled: |s| s.is_commanded() && s.chat.exchanges.back().is_some_and(|e| e.talk) && !s.chat.fresh,
        why: why::no_talk, perform: quietly!(s, talk::new_chat(s)), }
    Beside, "同时由它的起点回答，并排比较", "compare with the model it started from", {
        keys: &[(&[Nav], &[c('b'), ctrl('b')])],
        hint: |s| {
            let all = s.chat.beside >= s.ancestors().len();
            Some(if all { Tr("取消并排", "alone") } else { Tr("并排", "side by side") })
        },
        exists: |s| s.has_stage(StageId::Sft), enabled: |s| s.is_commanded() && s.live().parent().is_some(),
        why: why::no_parent, perform: quietly!(s, talk::ask_others(s)), }
    TreeEnter, "回到这个检查点，或打开这个 run", "go back to the checkpoint, or open the run", {
        keys: &[(&[Tree], &[key(Code::Enter)])],
        hint: |s| Some(if s.tree.checkpoint().is_some() { Tr("回到这里", "go back here") } else { Tr("打开", "open") }),
        palette: false, enabled: |s| s.leaving.is_none() && s.tree.run().is_some(), perform: tree::enter, }
    TreeFork, "从这个检查点分叉", "fork at the checkpoint", {
        keys: &[(&[Tree], &[c('f')])], hint: |_| Some(Tr("分叉", "fork")),
        enabled: |s| s.is_commanded() && s.tree.open && s.tree.checkpoint().is_some(),
        perform: quietly!(s, tree::ask_fork(s)), }
    TreePick, "加入或移出比较，最多四个", "add to the comparison, or take out; at most four", {
        keys: &[(&[Tree], &[c(' ')])], hint: |_| Some(Tr("比较", "compare")),
        enabled: |s| s.is_answered() && s.tree.open && s.tree.run().is_some(), perform: tree::pick, }
    TreeInspect, "看检查点里的张量，翻页键滚动", "look into the checkpoint: its tensors; PgUp and PgDn scroll", {
        keys: &[(&[Tree], &[c('i')])], hint: |_| Some(Tr("张量", "tensors")),
        enabled: |s| s.is_answered() && s.tree.open && (s.tree.inspecting || s.tree.checkpoint().is_some()),
        perform: tree::inspect, }
    TreeRename, "给 run 改名", "rename the run", {
        keys: &[(&[Tree], &[c('n')])], hint: |_| Some(Tr("改名", "rename")),
        enabled: |s| s.is_commanded() && s.tree.open && s.tree.run().is_some(),
        perform: quietly!(s, tree::ask_name(s)), }
    TreePin, "固定检查点，不被清理；再按取消", "pin the checkpoint so that it stays; again: unpin", {
        keys: &[(&[Tree], &[c('p')])], hint: |_| Some(Tr("固定", "pin")),
        enabled: |s| s.is_commanded() && s.tree.open && s.tree.checkpoint().is_some(), perform: tree::pin, }
    TreeRemove, "删除检查点或 run，先询问", "delete the checkpoint or run, after a question", {
        keys: &[(&[Tree], &[c('d'), key(Code::Delete)])], hint: |_| Some(Tr("删除", "delete")),
        enabled: |s| s.is_commanded() && s.tree.open && s.tree.run().is_some(),
        perform: quietly!(s, tree::ask_remove(s)), }
    TreeRefresh, "重新读取各个 run", "read the runs again", {
        keys: &[(&[Tree], &[c('r')])], enabled: |s| s.is_answered() && s.tree.open, perform: tree::refresh, }
    Named, "确定", "confirm", {
        keys: &[(&[Name], &[key(Code::Enter)])], hint: |_| Some(Tr("确定", "confirm")), palette: false,
        perform: tree::named, }
    Tree, "查看各个 run 和检查点", "view the runs and checkpoints", {
        keys: &[(LOOKING, &[c('T')])], enabled: |s| s.is_answered() && !s.tree.open,
        perform: tree::open, }
    Export, "导出面板或屏幕：图片、文本、CSV", "export the panel or the screen: picture, text, CSV", {
        keys: &[(&[Nav, Vote, Data, Tree], &[c('E')])], enabled: AppState::is_answered,
        perform: quietly!(s, questions::ask_export(s)), }
    Copy, "复制面板的内容（OSC 52）", "copy what the panel shows (OSC 52)", {
        keys: &[(&[Nav, Vote, Data, Tree], &[c('Y')])], perform: copy::copy, }
    Quit, "退出", "quit", {
        keys: &[(OUTSIDE, &[c('q')])], hint: |_| Some(Tr("退出", "quit")), enabled: |s| s.leaving.is_none(),
        why: |_| None, perform: leaving::ask_to_quit, }
    Help, "帮助", "help", {
        keys: &[(OUTSIDE, &[c('?'), key(Code::F(1))])], hint: |_| Some(Tr("帮助", "help")),
        perform: quietly!(s, s.overlay = Some(Overlay::Help { scroll: 0 })), }
    Send, "发送", "send", {
        keys: &[(&[Text], &[key(Code::Enter)])], hint: |_| Some(Tr("发送", "send")), palette: false,
        perform: |s| if s.voting.open { vote::ask_own(s) } else { talk::send_prompt(s) }, }
    Demonstrate, "用作示范", "train on it", {
        keys: &[(&[Edit], &[key(Code::Enter), ctrl('s')])], hint: |_| Some(Tr("用作示范", "train on it")),
        palette: false, perform: talk::demonstrate, }
    Choose, "选定", "choose", {
        keys: &[(&[Mode::Palette, Dialog], &[key(Code::Enter)])], hint: |_| Some(Tr("选定", "choose")),
        palette: false,
        perform: |s| if s.mode() == Mode::Palette { palette::run(ACTIONS, s) } else { questions::answer(s) }, }
    NewLine, "换行", "new line", {
        keys: &[(&[Text, Edit], &[ctrl('j'), Key::alt(Code::Enter)])], hint: |_| Some(Tr("换行", "new line")),
        palette: false, perform: quietly!(s, field::insert(s, "\n")), }
    NextPanel, "下一个面板", "next panel", {
        keys: &[(&[Nav, Data], &[key(Code::Tab)])], hint: |_| Some(Tr("面板", "panel")), palette: false,
        perform: quietly!(s, focus::step(s, true)), }
    Expand, "放大或还原面板", "expand or restore the panel", {
        keys: &[(&[Nav, Data], &[c('z')])],
        hint: |s| Some(if s.expanded { Tr("还原", "restore") } else { Tr("放大", "expand") }),
        perform: quietly!(s, s.expanded = !s.expanded), }
    Smoothing, "切换平滑", "change smoothing", {
        keys: &[(&[Nav], &[c('m')])], hint: |_| Some(Tr("平滑", "smooth")),
        perform: quietly!(s, s.smoothing = (s.smoothing + 1) % SMOOTHINGS.len()), }
    LogY, "对数或线性纵轴", "log or linear loss axis", {
        keys: &[(&[Nav], &[c('y')])],
        hint: |s| Some(if s.log_y { Tr("线性", "linear") } else { Tr("对数", "log y") }),
        perform: quietly!(s, s.log_y = !s.log_y), }
    Whole, "曲线：全部并跟随最新；再按显示到计划末尾", "charts: all steps, following; again: the plan", {
        keys: &[(&[Nav], &[c('0')])],
        hint: |s| s.shown().charts.window.map(|_| Tr("全部曲线", "all steps")), enabled: AppState::has_charts,
        why: why::no_chart, perform: quietly!(s, s.whole()), }
    Cross, "曲线上的十字线，用左右移动", "crosshair on the charts, moved by Left and Right", {
        keys: &[(&[Nav], &[c('c')])], enabled: AppState::has_charts,
        why: why::no_chart, perform: quietly!(s, s.crosshair()), }
    CrossLog, "从十字线到日志，再按返回", "from the crosshair to the log, and back", {
        keys: &[(&[Nav], &[c('L')])],
        hint: |s| s.shown().charts.cursor.filter(|_| s.has_charts()).map(|_| Tr("日志", "log")),
        enabled: AppState::has_log_places, why: why::no_log_place, perform: quietly!(s, s.to_log()), }
    Card, "这个阶段的小结", "what the stage has reached", {
        keys: &[(&[Nav], &[c('C')])], enabled: |s| s.shown().is_drawn(), why: why::no_chart,
        perform: quietly!(s, s.overlay = Some(Overlay::Card)), }
    CardExport, "把小结导出为图片", "export the card as a picture", {
        keys: &[(&[Mode::Card], &[c('E'), ctrl('e')])], hint: |_| Some(Tr("导出", "export")), palette: false,
        enabled: AppState::is_commanded,
        perform: |s| questions::export(s, Export { panel: None, format: Format::Svg, path: None }), }
    Film, "回放探针的历史：从头播放，再按暂停；左右逐次", "film of the probes: play from the start; again: stop; Left and Right one by one", {
        keys: &[(&[Nav], &[c('R')])], hint: |s| s.film.map(|f| if f.running { Tr("停", "stop") } else { Tr("播放", "play") }),
        enabled: AppState::has_film, why: why::no_film, perform: quietly!(s, s.run_film()), }
    Abscissa, "横轴：步、词元或训练时间", "abscissa: steps, tokens or time", {
        keys: &[(&[Nav], &[c('x')])], enabled: AppState::has_charts, why: why::no_chart,
        perform: quietly!(s, s.next_abscissa()), }
    Probe, "立即运行探针", "run the probes now", {
        keys: &[(&[Nav], &[c('p')])], hint: |_| Some(Tr("探针", "probe")), enabled: AppState::is_commanded,
        perform: stages::probe, }
    Reread, "重新读取数据和 run.toml", "re-read the data and run.toml", {
        keys: &[(&[Data], &[c('r'), ctrl('r')])], hint: |_| Some(Tr("重读", "re-read")),
        enabled: |s| s.is_commanded() && s.data.open, perform: data::reread, }
    Palette, "命令面板", "command palette", {
        keys: &[(OUTSIDE, &[c(':'), ctrl('p')])], hint: |_| Some(Tr("命令", "commands")), palette: false,
        perform: quietly!(s, s.overlay = Some(Overlay::Palette { field: Editor::default(), chosen: 0, why: None })), }
    Config, "查看配置：每个键和正在使用的值", "view the configuration in use", {
        keys: &[(LOOKING, &[c('s')])], hint: |_| Some(Tr("配置", "config")), perform: quietly!(s, config::open(s)), }
    Complete, "补全命令或参数", "complete the command or argument", {
        keys: &[(&[Mode::Palette], &[key(Code::Tab)])], hint: |_| Some(Tr("补全", "complete")), palette: false,
        perform: quietly!(s, palette::complete(ACTIONS, s)), }
    Filter, "按名字或含义筛选", "filter by name or meaning", {
        keys: &[(&[Config], &[c('/'), ctrl('f')])], hint: |_| Some(Tr("筛选", "filter")), palette: false,
        perform: quietly!(s, config::filter(s, true)), }
    Find, "在日志、文档或指标里查找", "look for a text in log, documents or metrics", {
        keys: &[(&[Nav, Data], &[c('/'), ctrl('f')])],
        hint: |s| s.findable().map(|_| Tr("查找", "find")), enabled: |s| s.findable().is_some(),
        why: why::not_findable, perform: quietly!(s, find::open(s)), }
    Found, "查找；清空则显示全部", "find; with nothing typed, show everything", {
        keys: &[(&[Mode::Find], &[key(Code::Enter)])], hint: |_| Some(Tr("查找", "find")), palette: false,
        perform: find::done, }
    Filtered, "回到列表，保留筛选", "back to the list, filtered", {
        keys: &[(&[Filter], &[key(Code::Enter)])], hint: |_| Some(Tr("回到列表", "to the list")), palette: false,
        perform: quietly!(s, config::filter(s, false)), }
    Changed, "只看改过的键，或看所有键", "only the changed keys, or all", {
        keys: &[(&[Config], &[c('c'), key(Code::Tab)]), (&[Filter], &[key(Code::Tab)])],
        hint: |s| {
            let only = matches!(&s.overlay, Some(Overlay::Config(pane)) if pane.changed);
            Some(if only { Tr("所有键", "all keys") } else { Tr("只看改过的", "only changed") })
        },
        palette: false, perform: quietly!(s, config::changed(s)), }
    Back, "返回上一层；输入的草稿会保留", "one level back; a draft is kept", {
        keys: &[
            (&[Nav, Text, Edit, Mode::Palette, Dialog, Vote, Data, Filter, Mode::Find, Mode::Card, Tree, Name], &[key(Code::Esc)]),
            (&[Mode::Card], &[key(Code::Enter)]),
            (&[Config], &[key(Code::Esc), c('q'), c('s')]),
            (&[Help], &[key(Code::Esc), c('q'), c('?'), key(Code::F(1)), key(Code::Enter)]),
        ],
        hint: back_hint, palette: false, perform: leaving::back, }
    OtherAnswer, "换成另一个回答", "take the other answer", {
        keys: &[(&[Edit], &[key(Code::Tab)])], hint: |_| Some(Tr("另一个回答", "other answer")), palette: false,
        enabled: |s| s.voting.edits(&s.chat), why: |_| None, perform: quietly!(s, vote::other_answer(s)), }
    PrevPanel, "上一个面板", "previous panel", {
        keys: &[(&[Nav, Data], &[key(Code::BackTab)])], palette: false, perform: quietly!(s, focus::step(s, false)), }
    Up, "向上", "up", {
        keys: &[(&[Nav, Help, Data, Config, Tree], &[key(Code::Up), c('k')]), (&[Filter], &[key(Code::Up)])], palette: false,
        perform: |s| walk(s, Walk::Up), }
    Down, "向下", "down", {
        keys: &[(&[Nav, Help, Data, Config, Tree], &[key(Code::Down), c('j')]), (&[Filter], &[key(Code::Down)])], palette: false,
        perform: |s| walk(s, Walk::Down), }
    PageUp, "上一页", "page up", {
        keys: &[(&[Nav, Text, Help, Vote, Data, Config, Filter, Tree], &[key(Code::PageUp)])], palette: false,
        perform: |s| walk(s, Walk::PageUp), }
    PageDown, "下一页", "page down", {
        keys: &[(&[Nav, Text, Help, Vote, Data, Config, Filter, Tree], &[key(Code::PageDown)])], palette: false,
        perform: |s| walk(s, Walk::PageDown), }
    First, "到开头", "to the start", {
        keys: &[(&[Nav, Help, Data, Config, Tree], &[key(Code::Home)])], palette: false, perform: |s| walk(s, Walk::First), }
    Last, "到末尾", "to the end", {
        keys: &[(&[Nav, Help, Data, Config, Tree], &[key(Code::End)])], palette: false, perform: |s| walk(s, Walk::Last), }
    Previous, "上一个探针、回答、词元、采样回答、文档；移动十字线或曲线", "previous probe, answer, token, rollout, document; move crosshair or charts", {
        keys: &[(&[Nav, Data, Tree], &[key(Code::Left), c('h')])], palette: false, enabled: walks_sideways,
        why: |_| None, perform: |s| walk(s, Walk::Previous), }
    Next, "下一个探针、回答、词元、采样回答、文档；移动十字线或曲线", "next probe, answer, token, rollout, document; move crosshair or charts", {
        keys: &[(&[Nav, Data, Tree], &[key(Code::Right), c('l')])], palette: false, enabled: walks_sideways,
        why: |_| None, perform: |s| walk(s, Walk::Next), }
    Above, "选上一项", "choose the one above", {
        keys: &[(&[Mode::Palette], &[key(Code::Up)]),
            (&[Dialog], &[key(Code::Up), key(Code::Left), key(Code::BackTab)])],
        palette: false, perform: quietly!(s, { palette::step(ACTIONS, s, false); questions::step(s, false) }), }
    Below, "选下一项", "choose the one below", {
        keys: &[(&[Mode::Palette], &[key(Code::Down)]),
            (&[Dialog], &[key(Code::Down), key(Code::Right), key(Code::Tab)])],
        palette: false, perform: quietly!(s, { palette::step(ACTIONS, s, true); questions::step(s, true) }), }
    Older, "上一条提示词", "an older prompt", {
        keys: &[(&[Text], &[key(Code::Up)])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.older())), }
    Newer, "下一条提示词", "a newer prompt", {
        keys: &[(&[Text], &[key(Code::Down)])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.newer())), }
    LineUp, "上一行", "line up", {
        keys: &[(&[Edit], &[key(Code::Up)])], palette: false, perform: quietly!(s, field::edit(s, Editor::up)), }
    LineDown, "下一行", "line down", {
        keys: &[(&[Edit], &[key(Code::Down)])], palette: false, perform: quietly!(s, field::edit(s, Editor::down)), }
    Left, "左移", "left", {
        keys: &[(TYPING, &[key(Code::Left)])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.left())), }
    Right, "右移", "right", {
        keys: &[(TYPING, &[key(Code::Right)])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.right())), }
    Home, "到行首", "to the start of the line", {
        keys: &[(TYPING, &[ctrl('a'), key(Code::Home)])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.home())), }
    End, "到行尾", "to the end of the line", {
        keys: &[(TYPING, &[ctrl('e'), key(Code::End)])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.end())), }
    Backspace, "删除前一字", "delete back", {
        keys: &[(TYPING, &[key(Code::Backspace), ctrl('h')])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.backspace())), }
    Delete, "删除后一字", "delete", {
        keys: &[(TYPING, &[key(Code::Delete), ctrl('d')])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.delete())), }
    KillBefore, "删除到行首", "delete to the start of the line", {
        keys: &[(TYPING, &[ctrl('u')])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.kill_before())), }
    KillAfter, "删除到行尾", "delete to the end of the line", {
        keys: &[(TYPING, &[ctrl('k')])], palette: false,
        perform: quietly!(s, field::edit(s, |f, _| f.kill_after())), }
    KillWord, "删除前一词", "delete the word before", {
        keys: &[(TYPING, &[ctrl('w')])], palette: false, perform: quietly!(s, field::edit(s, |f, _| f.kill_word())), }
    Interrupt, "停止、清空或关闭；否则询问是否退出", "stop, clear or close; else ask to quit", {
        keys: &[(ALWAYS, &[ctrl('c')])], palette: false, perform: leaving::interrupt, }
    Redraw, "重绘屏幕", "redraw", {
        keys: &[(ALWAYS, &[ctrl('l')])], perform: |_| vec![Cmd::Redraw], }
    Suspend, "挂起到 shell，训练也会停止", "suspend; training stops too", {
        keys: &[(ALWAYS, &[ctrl('z')])], exists: |_| cfg!(unix), perform: |_| vec![Cmd::Suspend], }
    Mouse, "鼠标：交给终端来选字，再按取回", "mouse: leave it to the terminal, to select text; again: take it", {
        keys: &[(ALWAYS, &[key(Code::F(2))])],
        perform: |s| {
            s.mouse = !s.mouse;
            s.remark(if s.mouse { strings::MOUSE_TAKEN } else { strings::MOUSE_FREE });
            vec![Cmd::Mouse(s.mouse)]
        }, }
    Lang, "English 界面", "用中文 (Chinese)", {
        perform: quietly!(s, s.speak(s.lang.other())), }
    Theme, "切换配色", "change theme", {
        perform: quietly!(s, {
            let at = Palette::ALL.iter().position(|p| *p == s.theme.palette).unwrap_or(0);
            s.colour(Palette::ALL[(at + 1) % Palette::ALL.len()]);
            s.remark(s.theme.palette.name());
        }), }
}
