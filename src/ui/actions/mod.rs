//! All actions in one table. The dispatcher, the footer, the help, the palette and docs/keys.md read it, so that every
//! key is documented and every offered action works.

mod action;
mod docs;
pub mod palette;
pub mod spoken;
mod table;
mod why;

pub use self::{
    action::{Action, Keys},
    docs::keys_page,
    table::{ACTIONS, Act},
};
use crate::{
    base::{StageId, StageKind},
    ui::{
        keys::Key,
        state::{AppState, Both, Mode},
        strings,
    },
};

/// The action of a key in a mode.
pub fn lookup(mode: Mode, pressed: Key) -> Option<&'static Action> {
    ACTIONS.iter().find(|a| a.keys_in(mode).contains(&pressed))
}

/// What to say about a key that has no action in this mode: where it has one.
pub fn elsewhere(mode: Mode, key: Key) -> Both {
    let places = [(Mode::Nav, strings::HELP_NAV), (Mode::Data, strings::HELP_DATA), (Mode::Vote, strings::HELP_VOTE)];
    let found = places.into_iter().filter(|place| place.0 != mode).find_map(|(there, title)| {
        let action = ACTIONS.iter().find(|a| a.keys_in(there).contains(&key))?;
        Some((title, action.title))
    });
    Both::new(|lang| match found {
        Some((title, action)) => format!("{key}  {}: {}", title.get(lang), action.get(lang)),
        None => format!("{key}  {}", strings::WHY_UNKNOWN.get(lang)),
    })
}

/// The ways to everything else, in the footer's order.
const PINNED: [Act; 4] = [Act::NextPanel, Act::Help, Act::Quit, Act::Palette];

/// The footer's hints (key and label), most useful first.
pub fn hints(state: &AppState) -> Vec<(Key, &'static str)> {
    let mode = state.mode();
    let mut hints = Vec::new();
    // In a view the ways to everything else come early, and the stages, which the header shows with their keys, last.
    let rank = |act: &Act| match act {
        _ if !matches!(mode, Mode::Nav | Mode::Data) => 0,
        Act::NextPanel | Act::Help | Act::Quit | Act::Palette => 1,
        Act::Data | Act::Pretrain | Act::Sft | Act::Reward | Act::Align => 3,
        Act::Vote
        | Act::Correct
        | Act::NewChat
        | Act::Beside
        | Act::Expand
        | Act::Smoothing
        | Act::LogY
        | Act::Probe
        | Act::Find
        | Act::Reread
        | Act::Config => 2,
        _ => 0,
    };
    let mut acts: Vec<&Act> = Act::ALL.iter().collect();
    acts.sort_by_key(|act| (rank(act), if rank(act) == 1 { PINNED.iter().position(|p| p == *act) } else { None }));
    for act in acts {
        let action = act.row();
        let Some(key) = action.keys_in(mode).first() else { continue };
        let Some(hint) = (action.hint)(state).filter(|_| action.is_enabled(state)) else { continue };
        // The hint that discards a trial follows the one that applies it.
        let beside = *act == Act::Back && mode == Mode::Data && state.data.trying.is_some();
        hints.insert(if beside { hints.len().min(1) } else { hints.len() }, (*key, state.tr(hint)));
    }
    hints
}

/// The key for viewing a stage.
pub fn view_key(stage: StageId) -> Option<Key> {
    let act = match stage.kind() {
        StageKind::Text => Act::Pretrain,
        StageKind::Answers => Act::Sft,
        StageKind::Reward => Act::Reward,
        StageKind::Policy | StageKind::Pairs => Act::Align,
    };
    act.key()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::ui::{
        panels::{self, PANELS},
        state::Phase,
        strings::Lang,
    };

    #[test]
    fn no_key_does_two_things_in_one_mode() {
        for mode in Mode::ALL {
            let mut seen = HashSet::new();
            for action in ACTIONS {
                for keys in action.keys.iter().filter(|(modes, _)| modes.contains(&mode)).map(|k| k.1) {
                    for key in keys {
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
            for mode in Mode::ALL.into_iter().filter(|m| !action.keys_in(*m).is_empty()) {
                let other_road = action.keys_in(mode).iter().any(|k| !k.needs_a_letter());
                let palette = lookup(mode, Key::ctrl('p')).is_some_and(|a| a.title == Act::Palette.row().title);
                assert!(other_road || action.palette && palette, "{} in {mode:?}", action.title.1);
            }
        }
    }

    #[test]
    fn every_action_can_be_reached_and_has_two_names() {
        for action in ACTIONS {
            assert!(!action.keys.is_empty() || action.palette, "{}", action.title.1);
            assert!(!action.title.0.is_empty() && !action.title.1.is_empty());
        }
    }

    /// The title of the palette's first match.
    fn first(state: &AppState, typed: &str) -> Option<String> {
        palette::search(ACTIONS, state, typed).first().map(|e| e.title(Lang::En))
    }

    #[test]
    fn the_palette_finds_by_chinese_english_and_full_width() {
        let mut state = AppState::default();
        state.stages.live_mut().phase = Phase::Running;
        for (typed, act) in [
            ("保存", Act::Save),
            ("save", Act::Save),
            ("ｐａｕ", Act::Pause),
            ("平滑", Act::Smoothing),
            ("qt", Act::Quit),
        ] {
            assert_eq!(first(&state, typed).as_deref(), Some(act.row().title.1), "{typed}");
        }
        assert_eq!(first(&state, "查看日志").as_deref(), Some("show log"));
        assert_eq!(first(&state, "没有这个"), None);
        let offered = ACTIONS.iter().filter(|a| a.palette && a.is_enabled(&state)).count();
        let said = spoken::SPOKEN.iter().filter(|s| spoken::offered(&state, s)).count();
        let panels = PANELS.iter().filter(|p| panels::of(state.view()).contains(&p.id)).count();
        assert_eq!(palette::search(ACTIONS, &state, "").len(), offered + panels + said);
    }

    #[test]
    fn nothing_is_offered_that_cannot_be_done() {
        let mut state = AppState::default();
        state.finish("done", false);
        let offered: Vec<String> = palette::search(ACTIONS, &state, "").iter().map(|e| e.title(Lang::En)).collect();
        for gone in [Act::Pause, Act::Save, Act::Prompt, Act::Probe] {
            assert!(!offered.iter().any(|o| o == gone.row().title.1), "{gone:?}");
        }
        let enabled = |key: Key| lookup(Mode::Nav, key).is_some_and(|a| a.is_enabled(&state));
        assert!(hints(&state).iter().all(|(key, _)| enabled(*key)));
    }

    #[test]
    fn no_title_or_hint_holds_a_character_of_ambiguous_width() {
        use unicode_width::UnicodeWidthStr as _;
        let state = AppState::default();
        for text in spoken::SPOKEN.iter().flat_map(|s| [s.title.0, s.title.1, s.usage.0, s.usage.1]) {
            assert_eq!(text.width(), text.width_cjk(), "{text}");
        }
        for action in ACTIONS {
            let hint = (action.hint)(&state).map_or(["", ""], |h| [h.0, h.1]);
            for text in [action.title.0, action.title.1].into_iter().chain(hint) {
                assert_eq!(text.width(), text.width_cjk(), "{text}");
            }
        }
    }

    /// docs/keys.md and docs/keys.zh.md match the table. To write them: `DANLU_UPDATE=1 cargo test --lib keys_pages`.
    #[test]
    fn keys_pages_are_fresh() {
        for (lang, name) in [(Lang::En, "keys.md"), (Lang::Zh, "keys.zh.md")] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
            let page = keys_page(lang);
            if std::env::var_os("DANLU_UPDATE").is_some() {
                std::fs::write(&path, &page).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
            let there = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(there == page, "docs/{name} is stale: DANLU_UPDATE=1 cargo test --lib keys_pages");
        }
    }
}
