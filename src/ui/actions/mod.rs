//! What a person can do, in one table: the dispatcher, the hints, the help and the palette all read
//! it, so no key is undocumented and nothing is offered that does not work.

mod table;

pub use self::table::{ACTIONS, Action};
use crate::ui::{
    keys::{Key, half_width},
    state::{ALIGNED, AppState, Panel, Phase, Wish},
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
    /// Choosing between two answers.
    Pick,
    /// Looking at the data.
    Room,
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
    Data,
    Pretrain,
    Sft,
    Reward,
    Align,
    Pick,
    VoteA,
    VoteB,
    VoteMuchA,
    VoteMuchB,
    VoteTie,
    VoteBothBad,
    Skip,
    Unvote,
    Rewrite,
    OtherAnswer,
    OwnPrompt,
    Marks,
    Refit,
    Open,
    More,
    Less,
    Published,
    AllSources,
    KeepText,
    DropText,
    Unmark,
    Reread,
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
    Show(Panel),
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

/// What a key does in a mode.
pub fn lookup(mode: Mode, pressed: Key) -> Option<Act> {
    let bound = |a: &&Action| a.keys.iter().any(|(m, keys)| *m == mode && keys.contains(&pressed));
    ACTIONS.iter().find(bound).map(|a| a.act)
}

/// Whether it could do something at some time in this run.
pub fn exists(state: &AppState, act: Act) -> bool {
    let stage = |name: &str| state.stages.find(name).is_some();
    match act {
        Act::Pretrain => stage("pretrain"),
        Act::Align => ALIGNED.iter().any(|name| stage(name)),
        Act::Sft | Act::Correct | Act::NewChat | Act::Beside => stage("sft"),
        Act::Reward | Act::Pick | Act::Refit | Act::Unvote => stage("reward"),
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
    let votes = here && live.talks() && exists(state, Act::Pick);
    let room = here && state.room.open;
    let pair = here && state.pick.open && state.pick.pair.is_some();
    match act {
        Act::Pause => here && live.feedback.guard.as_ref().is_none_or(|g| g.may_go_on),
        Act::Save => here && live.feedback.guard.is_none(),
        Act::Prompt | Act::Probe => here,
        Act::Pretrain | Act::Sft | Act::Reward | Act::Align | Act::Suspend => exists(state, act),
        Act::Go if state.failed_here() => state.reopens() && state.leaving.is_none() && state.switching().is_none(),
        Act::Go => here && (!state.stages.live_is_shown() || state.reopens() || live.resumes()),
        Act::Correct => here && live.talks() && state.focus == Panel::Chat && state.chat.correctable().is_some(),
        Act::NewChat => here && state.chat.exchanges.back().is_some_and(|e| e.talk) && !state.chat.fresh,
        Act::Beside => here && live.parent().is_some(),
        Act::Previous | Act::Next => match state.focus {
            Panel::Chat => !state.chat.exchanges.is_empty(),
            Panel::Batch => shown.batch.is_some(),
            Panel::Rollout => shown.feedback.rollout.is_some(),
            Panel::Sources | Panel::Preview => state.room.document.is_some(),
            Panel::Dropped => state.room.page.is_some(),
            _ if state.room.open => false,
            _ => shown.probes.len() > 1,
        },
        Act::Show(panel) => state.panels().contains(&panel),
        Act::Open => room && opens(state).is_some(),
        Act::More | Act::Less => here && (state.weighed().is_some() || moves_a_bound(state)),
        Act::Published => room && moves_a_bound(state) && state.room.bound().is_some_and(|(_, b)| b.is_moved()),
        Act::AllSources => state.room.open && state.room.sources.len() > 1,
        Act::KeepText | Act::DropText => room && state.marked_text().is_some(),
        Act::Unmark => room && state.marked_text().is_some() && state.mark().is_some(),
        Act::Reread => room,
        Act::Pick => votes && !state.pick.open,
        Act::VoteA
        | Act::VoteB
        | Act::VoteMuchA
        | Act::VoteMuchB
        | Act::VoteTie
        | Act::VoteBothBad
        | Act::Rewrite
        | Act::Marks => pair,
        // Without a pair, it asks for one.
        Act::Skip => pair || votes && state.pick.open && !state.awaits(&Wish::Offer),
        Act::OwnPrompt => votes && state.pick.open,
        Act::Unvote => votes && state.pick.has_votes() && !state.awaits(&Wish::Unvote),
        Act::Refit => votes && state.pick.has_votes() && !state.awaits(&Wish::Refit),
        Act::OtherAnswer => state.pick.edits(&state.chat),
        Act::Quit => state.leaving.is_none(),
        _ => true,
    }
}

/// What Enter opens in the data room.
fn opens(state: &AppState) -> Option<Tr> {
    match state.focus {
        Panel::Sources => Some(Tr("预览", "preview")),
        Panel::Filters if state.room.trying.is_some() => Some(Tr("采用这个界限", "apply the bound")),
        Panel::Filters => (!state.room.funnel().cuts.is_empty()).then_some(Tr("看丢掉的", "see the dropped")),
        _ => None,
    }
}

/// Whether a rule's bound can be moved.
fn moves_a_bound(state: &AppState) -> bool {
    state.room.open && state.focus == Panel::Filters && state.room.bound().is_some()
}

/// Whether a hint would tell something that the screen does not say already.
fn worth_a_hint(state: &AppState, act: Act) -> bool {
    let shown = if state.room.open { "" } else { state.shown().name.as_str() };
    match act {
        Act::Data => !state.room.open,
        Act::AllSources => state.focus == Panel::Filters,
        Act::Back => {
            let held = state.shown().spot.is_some() || state.shown().feedback.token.is_some();
            let looking = matches!(state.mode(), Mode::Nav | Mode::Room);
            let inside = state.room.open && matches!(state.focus, Panel::Dropped | Panel::Preview);
            let tried = inside || state.room.trying.is_some();
            !looking || state.expanded || held || state.chat.picked.is_some() || tried
        }
        Act::Pretrain => shown != "pretrain",
        Act::Sft => shown != "sft",
        Act::Reward => shown != "reward",
        Act::Align => state.stages.next_aligned().is_some_and(|name| name != shown),
        Act::Go => !state.stages.live_is_shown() || state.reopens(),
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
            Act::Beside if state.chat.beside >= state.ancestors().len() => Tr("不并排", "alone"),
            Act::Accept if mode == Mode::Edit => Tr("作为示范", "demonstrate"),
            Act::Accept if mode != Mode::Text => Tr("选定", "choose"),
            Act::Go if state.reopens() => Tr("从存盘接着练", "reopen"),
            Act::Skip if state.pick.pair.is_none() => Tr("要一对", "ask for a pair"),
            Act::More if state.focus == Panel::Filters => Tr("试大些", "try higher"),
            Act::Less if state.focus == Panel::Filters => Tr("试小些", "try lower"),
            Act::Open => opens(state).unwrap_or(action.hint),
            Act::AllSources if state.room.all => Tr("只看一个来源", "one source"),
            Act::Back if mode == Mode::Room && state.room.trying.is_some() => Tr("不要了", "give up"),
            Act::Back if mode == Mode::Pick => Tr("返回训练", "back to training"),
            Act::Back if mode == Mode::Nav && !state.expanded => Tr("放开", "let go"),
            _ => action.hint,
        };
        let keys = action.keys.iter().find(|(m, _)| *m == mode).map(|(_, keys)| *keys);
        if let Some(first) = keys.and_then(|keys| keys.first()) {
            let hint = (*first, hint.get(state.lang));
            // What gives a trial up stands beside what applies it.
            let beside = action.act == Act::Back && mode == Mode::Room && state.room.trying.is_some();
            hints.insert(if beside { hints.len().min(1) } else { hints.len() }, hint);
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
        name if ALIGNED.contains(&name) => Act::Align,
        _ => return None,
    };
    key_of(act)
}

/// The key shown for an action.
pub fn key_of(act: Act) -> Option<Key> {
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

/// Whether its keys in a mode do the same while looking.
pub fn is_told(action: &Action, mode: Mode) -> bool {
    let keys = |of: Mode| action.keys.iter().find(|(m, _)| *m == of).map_or(&[][..], |(_, keys)| *keys);
    keys(mode).iter().all(|k| keys(Mode::Nav).contains(k))
}

/// A name for help: the language's own.
pub fn name(action: &Action, lang: Lang) -> &'static str {
    action.name.get(lang)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MODES: [Mode; 8] =
        [Mode::Nav, Mode::Text, Mode::Edit, Mode::Pick, Mode::Room, Mode::Palette, Mode::Dialog, Mode::Help];

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
                let listed = action.palette && lookup(*mode, Key::ctrl('p')) == Some(Act::Palette);
                assert!(other_road || listed, "{:?} in {mode:?}", action.act);
            }
        }
        for mode in [Mode::Nav, Mode::Pick, Mode::Room] {
            assert_eq!(lookup(mode, Key::ctrl('p')), Some(Act::Palette), "the palette itself needs no letter");
        }
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
