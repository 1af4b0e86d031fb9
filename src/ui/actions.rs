//! What a person can do, in one table: the dispatcher, the hints, the help and the palette all read
//! it, so no key is undocumented and nothing is offered that does not work.

use crate::ui::{
    keys::{Code, Key, half_width},
    state::{AppState, Panel, Phase},
    strings::{Lang, Tr},
};

/// Who gets the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Looking: keys are commands.
    Nav,
    /// Typing a prompt.
    Text,
    /// Correcting an answer.
    Edit,
    /// Typing into the palette.
    Palette,
    /// Answering a question.
    Dialog,
    /// Reading the help.
    Help,
}

impl Mode {
    /// Whether printable keys are text here.
    pub fn is_text(self) -> bool {
        matches!(self, Mode::Text | Mode::Edit | Mode::Palette)
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named in ACTIONS, in two languages")]
pub enum Act {
    Pause,
    Save,
    Prompt,
    Pretrain,
    Sft,
    Reward,
    Ppo,
    Go,
    Correct,
    NewChat,
    Beside,
    Probe,
    NextPanel,
    PrevPanel,
    Expand,
    Smoothing,
    LogY,
    Palette,
    Help,
    Quit,
    Up,
    Down,
    Older,
    Newer,
    Previous,
    Next,
    PageUp,
    PageDown,
    First,
    Last,
    Redraw,
    Suspend,
    Back,
    Interrupt,
    Lang,
    Theme,
    ShowLoss,
    ShowTasks,
    ShowProbe,
    ShowBatch,
    ShowChat,
    ShowMix,
    ShowRun,
    ShowLog,
    Accept,
    NewLine,
    Left,
    Right,
    Home,
    End,
    Backspace,
    Delete,
    KillBefore,
    KillAfter,
    KillWord,
}

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

/// Every action. Hints stand in this order, and the last fall off first where the footer is short.
#[rustfmt::skip]
pub const ACTIONS: &[Action] = &[
    action!(Pause, "暂停或继续训练", "pause or resume training", hint "暂停" "pause", true, Nav: [c(' '), ctrl('g')]),
    action!(Save, "存盘", "save a checkpoint", hint "存盘" "save", true, Nav: [c('w'), ctrl('w')]),
    action!(Prompt, "输入一句，让模型接着写", "type a prompt", hint "输入" "prompt", true, Nav: [c('i'), key(Code::Enter)]),
    action!(Go, "训练正在看的阶段", "train the stage in view", hint "训练这个阶段" "train this stage", true, Nav: [c('g')]),
    action!(Pretrain, "看预训练", "view pretraining", hint "预训练" "pretrain", true, Nav: [c('2'), Key::alt(Code::Char('2'))]),
    action!(Sft, "看微调", "view fine-tuning", hint "微调" "fine-tune", true, Nav: [c('3'), Key::alt(Code::Char('3'))]),
    action!(Reward, "看奖励模型", "view the reward model", hint "奖励" "reward", true, Nav: [c('4'), Key::alt(Code::Char('4'))]),
    action!(Ppo, "看对齐", "view PPO", hint "对齐" "PPO", true, Nav: [c('5'), Key::alt(Code::Char('5'))]),
    action!(Correct, "把回答改写成示范，拿去训练", "correct the answer; train on it", hint "改写" "correct", true, Nav: [c('e'), ctrl('e')]),
    action!(NewChat, "开始新的对话", "start a new conversation", hint "新对话" "new chat", true, Nav: [c('n'), ctrl('n')]),
    action!(Beside, "同时让它的起点作答，并排看", "ask its starting point as well", hint "并排" "side by side", true, Nav: [c('b'), ctrl('b')]),
    action!(Quit, "退出", "quit", hint "退出" "quit", true, Nav: [c('q')]),
    action!(Help, "帮助", "help", hint "帮助" "help", true, Nav: [c('?'), key(Code::F(1))]),
    action!(Accept, "发送、选定", "send, choose", hint "发送" "send", false, Text: [key(Code::Enter)], Edit: [key(Code::Enter), ctrl('s')], Palette: [key(Code::Enter)], Dialog: [key(Code::Enter)]),
    action!(NewLine, "换行", "new line", hint "换行" "new line", false, Text: [ctrl('j'), Key::alt(Code::Enter)], Edit: [ctrl('j'), Key::alt(Code::Enter)]),
    action!(NextPanel, "下一栏", "next panel", hint "换栏" "panel", false, Nav: [key(Code::Tab)]),
    action!(Expand, "放大或还原这一栏", "expand or restore the panel", hint "放大" "expand", true, Nav: [c('z')]),
    action!(Smoothing, "换一种平滑", "change smoothing", hint "平滑" "smooth", true, Nav: [c('m')]),
    action!(LogY, "对数或线性纵轴", "log or linear loss axis", hint "对数" "log y", true, Nav: [c('y')]),
    action!(Probe, "现在做一次探针", "complete the probe now", hint "探针" "probe", true, Nav: [c('p')]),
    action!(Palette, "命令板", "command palette", hint "命令" "commands", false, Nav: [c(':'), ctrl('p')]),
    action!(Back, "退一层；输入的草稿留着", "one level back; a draft is kept", hint "返回" "back", false, Nav: [key(Code::Esc)], Text: [key(Code::Esc)], Edit: [key(Code::Esc)], Palette: [key(Code::Esc)], Dialog: [key(Code::Esc)], Help: [key(Code::Esc), c('q'), c('?'), key(Code::F(1)), key(Code::Enter)]),
    action!(PrevPanel, "上一栏", "previous panel", false, Nav: [key(Code::BackTab)]),
    action!(Up, "向上", "up", false, Nav: [key(Code::Up), c('k')], Edit: [key(Code::Up)], Palette: [key(Code::Up)], Dialog: [key(Code::Up), key(Code::Left), key(Code::BackTab)], Help: [key(Code::Up), c('k')]),
    action!(Down, "向下", "down", false, Nav: [key(Code::Down), c('j')], Edit: [key(Code::Down)], Palette: [key(Code::Down)], Dialog: [key(Code::Down), key(Code::Right), key(Code::Tab)], Help: [key(Code::Down), c('j')]),
    action!(PageUp, "上一页", "page up", false, Nav: [key(Code::PageUp)], Text: [key(Code::PageUp)], Help: [key(Code::PageUp)]),
    action!(PageDown, "下一页", "page down", false, Nav: [key(Code::PageDown)], Text: [key(Code::PageDown)], Help: [key(Code::PageDown)]),
    action!(First, "到开头", "to the start", false, Nav: [key(Code::Home)], Help: [key(Code::Home)]),
    action!(Last, "到最新", "to the newest", false, Nav: [key(Code::End)], Help: [key(Code::End)]),
    action!(Previous, "上一个探针、回答、词元", "previous probe, answer, token", false, Nav: [key(Code::Left), c('h')]),
    action!(Next, "下一个探针、回答、词元", "next probe, answer, token", false, Nav: [key(Code::Right), c('l')]),
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
    action!(Interrupt, "停下回答、清空或关闭；否则问是否退出", "stop, clear, close; or ask to quit", false, Nav: [ctrl('c')], Text: [ctrl('c')], Edit: [ctrl('c')], Palette: [ctrl('c')], Dialog: [ctrl('c')], Help: [ctrl('c')]),
    action!(Redraw, "重画屏幕", "redraw", true, Nav: [ctrl('l')], Text: [ctrl('l')], Edit: [ctrl('l')], Palette: [ctrl('l')], Dialog: [ctrl('l')], Help: [ctrl('l')]),
    action!(Suspend, "挂起到 shell，训练也停住", "suspend; training stops too", true, Nav: [ctrl('z')], Text: [ctrl('z')], Edit: [ctrl('z')], Palette: [ctrl('z')], Dialog: [ctrl('z')], Help: [ctrl('z')]),
    action!(Lang, "English 界面", "用中文 (Chinese)", true,),
    action!(Theme, "换配色", "change theme", true,),
    action!(ShowLoss, "看损失", "show loss", true,),
    action!(ShowTasks, "看各任务的分数", "show the tasks' scores", true,),
    action!(ShowProbe, "看探针", "show probe", true,),
    action!(ShowBatch, "看这一批词元", "show the batch's tokens", true,),
    action!(ShowChat, "看对话", "show chat", true,),
    action!(ShowMix, "看数据配比", "show data mix", true,),
    action!(ShowRun, "看引擎", "show engine", true,),
    action!(ShowLog, "看事件", "show log", true,),
];

/// What a key does in a mode.
pub fn lookup(mode: Mode, pressed: Key) -> Option<Act> {
    let bound = |a: &&Action| a.keys.iter().any(|(m, keys)| *m == mode && keys.contains(&pressed));
    ACTIONS.iter().find(bound).map(|a| a.act)
}

/// Whether it could do something at some time in this run.
pub fn exists(state: &AppState, act: Act) -> bool {
    match act {
        Act::Pretrain => state.stages.find("pretrain").is_some(),
        Act::Reward => state.stages.find("reward").is_some(),
        Act::Ppo => state.stages.find("ppo").is_some(),
        Act::Sft | Act::Correct | Act::NewChat | Act::Beside => state.stages.find("sft").is_some(),
        Act::Go => state.stages.all().len() > 1,
        Act::Suspend => cfg!(unix),
        _ => true,
    }
}

/// Whether it would do something now.
pub fn enabled(state: &AppState, act: Act) -> bool {
    let (live, shown) = (state.live(), state.shown());
    let works = !live.is_finished() && state.leaving.is_none() && live.phase != Phase::Starting;
    let here = works && state.switching().is_none();
    match act {
        Act::Pause | Act::Save | Act::Prompt | Act::Probe => here,
        Act::Pretrain | Act::Sft | Act::Reward | Act::Ppo | Act::Suspend => exists(state, act),
        Act::Go => here && (!state.stages.live_is_shown() || live.phase == Phase::Paused && !live.is_complete()),
        Act::Correct => here && live.talks() && state.focus == Panel::Chat && state.chat.correctable().is_some(),
        Act::NewChat => here && state.chat.exchanges.back().is_some_and(|e| e.talk) && !state.chat.fresh,
        Act::Beside => here && live.parent().is_some(),
        Act::Previous | Act::Next => match state.focus {
            Panel::Chat => !state.chat.exchanges.is_empty(),
            Panel::Batch => shown.batch.is_some(),
            _ => shown.probes.len() > 1,
        },
        Act::ShowTasks => shown.is_tuning(),
        Act::Quit => state.leaving.is_none(),
        _ => true,
    }
}

/// Whether a hint would tell something that the screen does not say already.
fn worth_a_hint(state: &AppState, act: Act) -> bool {
    match act {
        Act::Back => {
            state.mode() != Mode::Nav || state.expanded || state.shown().spot.is_some() || state.chat.picked.is_some()
        }
        Act::Pretrain => state.shown().name != "pretrain",
        Act::Sft => state.shown().name != "sft",
        Act::Reward => state.shown().name != "reward",
        Act::Ppo => state.shown().name != "ppo",
        Act::Go => !state.stages.live_is_shown(),
        Act::NewChat => state.focus == Panel::Chat,
        _ => true,
    }
}

/// The footer's hints: key and name, most wanted first.
pub fn hints(state: &AppState) -> Vec<(Key, &'static str)> {
    let mode = state.mode();
    let mut hints = Vec::new();
    for action in ACTIONS.iter().filter(|a| !a.hint.0.is_empty() && enabled(state, a.act)) {
        if !worth_a_hint(state, action.act) {
            continue;
        }
        let hint = match action.act {
            Act::Pause if state.live().is_paused() => Tr("继续", "resume"),
            Act::Expand if state.expanded => Tr("还原", "restore"),
            Act::LogY if state.log_y => Tr("线性", "linear"),
            Act::Beside if state.chat.beside => Tr("不并排", "alone"),
            Act::Accept if mode == Mode::Edit => Tr("作为示范", "demonstrate"),
            Act::Accept if mode != Mode::Text => Tr("选定", "choose"),
            Act::Back if mode == Mode::Nav && !state.expanded => Tr("放开", "let go"),
            _ => action.hint,
        };
        let keys = action.keys.iter().find(|(m, _)| *m == mode).map(|(_, keys)| *keys);
        if let Some(first) = keys.and_then(|keys| keys.first()) {
            hints.push((*first, hint.get(state.lang)));
        }
    }
    hints
}

/// The key that looks at a stage, if one does.
pub fn view_key(stage: &str) -> Option<Key> {
    let act = match stage {
        "pretrain" => Act::Pretrain,
        "sft" => Act::Sft,
        "reward" => Act::Reward,
        "ppo" => Act::Ppo,
        _ => return None,
    };
    ACTIONS.iter().find(|a| a.act == act)?.keys.first()?.1.first().copied()
}

/// The palette's rows for what was typed, best first.
pub fn search(state: &AppState, typed: &str) -> Vec<&'static Action> {
    let typed = folded(typed);
    let mut found: Vec<(usize, &Action)> = ACTIONS
        .iter()
        .filter(|a| a.palette && enabled(state, a.act))
        .filter_map(|a| {
            let names = [a.name.0, a.name.1, a.hint.0, a.hint.1];
            names.iter().filter_map(|name| score(&folded(name), &typed)).min().map(|score| (score, a))
        })
        .collect();
    found.sort_by_key(|f| f.0);
    found.into_iter().map(|f| f.1).collect()
}

/// Half-width, lower case, no spaces: `ｐａｕｓｅ` finds `pause`.
fn folded(text: &str) -> String {
    text.chars().map(half_width).filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// How badly `typed` matches `name`: its characters in order, with the gaps between them counted.
fn score(name: &str, typed: &str) -> Option<usize> {
    let (mut gaps, mut last) = (0, None);
    let mut chars = name.chars().enumerate();
    for wanted in typed.chars() {
        let (at, _) = chars.find(|(_, c)| *c == wanted)?;
        gaps += last.map_or(at.min(3), |l: usize| 4 * (at - l - 1));
        last = Some(at);
    }
    Some(gaps)
}

/// An action's keys in a mode, as text.
pub fn keys_text(action: &Action, mode: Mode) -> Option<String> {
    let (_, keys) = action.keys.iter().find(|(m, _)| *m == mode)?;
    Some(keys.iter().map(Key::to_string).collect::<Vec<_>>().join("  "))
}

/// A name for help: the language's own.
pub fn name(action: &Action, lang: Lang) -> &'static str {
    action.name.get(lang)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MODES: [Mode; 6] = [Mode::Nav, Mode::Text, Mode::Edit, Mode::Palette, Mode::Dialog, Mode::Help];

    #[test]
    fn no_key_does_two_things_in_one_mode() {
        for mode in MODES {
            let mut seen = HashSet::new();
            for action in ACTIONS {
                for (_, keys) in action.keys.iter().filter(|(m, _)| *m == mode) {
                    for key in *keys {
                        assert!(seen.insert(*key), "{key} twice in {mode:?}");
                        assert!(!mode.is_text() || !key.needs_a_letter(), "{key} cannot be typed in {mode:?}");
                        assert_eq!(key.normalised(), *key, "{key} could never be looked up");
                    }
                }
            }
        }
    }

    #[test]
    fn every_letter_command_has_a_road_without_letters() {
        for action in ACTIONS {
            for (mode, keys) in action.keys {
                let other_road = keys.iter().any(|k| !k.needs_a_letter());
                assert!(other_road || action.palette && *mode == Mode::Nav, "{:?} in {mode:?}", action.act);
            }
        }
        assert_eq!(lookup(Mode::Nav, Key::ctrl('p')), Some(Act::Palette), "the palette itself needs no letter");
    }

    #[test]
    fn every_action_can_be_reached_and_has_two_names() {
        let mut seen = HashSet::new();
        for action in ACTIONS {
            assert!(seen.insert(action.act), "{:?} stands twice", action.act);
            assert!(!action.keys.is_empty() || action.palette, "{:?}", action.act);
            assert!(!action.name.0.is_empty() && !action.name.1.is_empty());
        }
    }

    #[test]
    fn the_palette_finds_by_chinese_english_and_full_width() {
        let mut state = AppState::default();
        state.stages.live_mut().phase = Phase::Running;
        for (typed, act) in [
            ("存", Act::Save),
            ("save", Act::Save),
            ("ｐａｕ", Act::Pause),
            ("平滑", Act::Smoothing),
            ("qt", Act::Quit),
        ] {
            assert_eq!(search(&state, typed).first().map(|a| a.act), Some(act), "{typed}");
        }
        assert!(search(&state, "没有这个").is_empty());
        let offered = ACTIONS.iter().filter(|a| a.palette && enabled(&state, a.act)).count();
        assert_eq!(search(&state, "").len(), offered);
    }

    #[test]
    fn nothing_is_offered_that_cannot_be_done() {
        let mut state = AppState::default();
        state.finish("done", false);
        let acts: Vec<Act> = search(&state, "").iter().map(|a| a.act).collect();
        for gone in [Act::Pause, Act::Save, Act::Prompt, Act::Probe] {
            assert!(!acts.contains(&gone), "{gone:?}");
        }
        assert!(hints(&state).iter().all(|(key, _)| lookup(Mode::Nav, *key).is_some_and(|a| enabled(&state, a))));
    }
}
