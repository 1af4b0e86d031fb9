//! The config pane.

use super::*;
use crate::protocol::{Origin, Setting};
use crate::ui::state::{ConfigPane, Overlay};

fn setting(table: &'static str, name: &'static str, value: &str, default: &str, help: [&'static str; 2]) -> Setting {
    let origin = if value == default { Origin::Default } else { Origin::File };
    Setting { table, name, value: value.to_owned(), default: default.to_owned(), origin, help, ..Setting::default() }
}

fn settings() -> Vec<Setting> {
    vec![
        setting("", "seed", "0", "0", ["seed of everything random", "所有随机数的种子"]),
        setting("pretrain", "steps", "100", "1200", ["length of the stage", "训练步数"]),
        setting("pretrain", "weight_decay", "0.1", "0.1", ["shrinks the matrices", "权重衰减"]),
        setting("guard", "kl", "40.0", "40.0", ["largest KL", "最大的 KL"]),
    ]
}

fn opened() -> AppState {
    let mut state = started();
    event(&mut state, Event::Config(settings()));
    press(&mut state, &[Key::char('s')]);
    assert_eq!(state.mode(), Mode::Config);
    state
}

fn pane(state: &AppState) -> &ConfigPane {
    let Some(Overlay::Config(pane)) = &state.overlay else { panic!("the pane is closed") };
    pane
}

fn listed(state: &AppState) -> Vec<String> {
    pane(state).found(&state.config).iter().map(|key| key.path()).collect()
}

#[test]
fn every_key_is_listed_and_the_list_ends_at_its_ends() {
    let mut state = opened();
    assert_eq!(listed(&state), ["seed", "pretrain.steps", "pretrain.weight_decay", "guard.kl"]);
    for (key, chosen) in [
        (Code::Up, 0),
        (Code::Down, 1),
        (Code::PageDown, 3),
        (Code::Down, 3),
        (Code::PageUp, 0),
        (Code::End, 3),
        (Code::Home, 0),
    ] {
        press(&mut state, &[Key::plain(key)]);
        assert_eq!(pane(&state).chosen, chosen, "{key:?}");
    }
    for close in [ESC, Key::char('q'), Key::char('s'), Key::ctrl('c')] {
        press(&mut state, &[close]);
        assert_eq!(state.mode(), Mode::Nav);
        press(&mut state, &[Key::char('s')]);
    }
    assert!(state.leaving.is_none());
}

#[test]
fn the_filter_finds_names_and_meanings_in_both_languages() {
    let mut state = opened();
    for (typed, found) in [
        ("decay", &["pretrain.weight_decay"][..]),
        ("ＰＲＥ", &["pretrain.steps", "pretrain.weight_decay"]),
        ("length stage", &["pretrain.steps"]),
        ("种子", &["seed"]),
        ("kl", &["guard.kl"]),
        ("nothing", &[]),
    ] {
        press(&mut state, &[Key::plain(Code::End), Key::char('/')]);
        assert_eq!(state.mode(), Mode::Filter);
        for c in typed.chars() {
            press(&mut state, &[Key::char(c)]);
        }
        assert_eq!(
            (listed(&state), pane(&state).chosen),
            (found.iter().map(|f| (*f).to_owned()).collect(), 0),
            "{typed}"
        );
        press(&mut state, &[ENTER]);
        assert_eq!((state.mode(), listed(&state).len()), (Mode::Config, found.len()), "the filter stays in effect");
        press(&mut state, &[Key::plain(Code::Down), ESC]);
        assert_eq!((state.mode(), listed(&state).len()), (Mode::Config, 4), "Esc clears the filter first");
    }
    press(&mut state, &[Key::char('种')]);
    assert_eq!(
        (state.mode(), listed(&state)),
        (Mode::Filter, vec!["seed".to_owned()]),
        "Han characters begin a filter"
    );
    assert!(state.field.is_empty(), "and no prompt");
    press(&mut state, &[ESC, ESC]);
    assert_eq!(state.mode(), Mode::Nav);
}

#[test]
fn only_changed_keys_are_listed_on_request() {
    let mut state = opened();
    press(&mut state, &[Key::plain(Code::End), Key::char('c')]);
    assert_eq!((listed(&state), pane(&state).chosen), (vec!["pretrain.steps".to_owned()], 0));
    let mut edited = settings();
    edited[2].changed = Some(41);
    edited[3].next = Some("9.0".to_owned());
    event(&mut state, Event::Config(edited));
    assert_eq!(listed(&state), ["pretrain.steps", "pretrain.weight_decay", "guard.kl"], "live changes and what waits");
    press(&mut state, &[Key::plain(Code::Tab)]);
    assert_eq!(listed(&state).len(), 4);
}

#[test]
fn the_pane_shows_the_newest_values_while_it_is_open() {
    let mut state = opened();
    press(&mut state, &[Key::plain(Code::End)]);
    event(&mut state, Event::Config(settings().drain(..2).collect()));
    press(&mut state, &[Key::plain(Code::Up)]);
    assert_eq!(pane(&state).chosen, 0, "the selection stays within the list");
    event(&mut state, Event::Config(Vec::new()));
    press(&mut state, &[Key::plain(Code::Down), Key::plain(Code::End)]);
    assert_eq!(pane(&state).chosen, 0);
}
