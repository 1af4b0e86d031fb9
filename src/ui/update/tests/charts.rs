//! The charts: enlarging, moving, the crosshair, and the way between it and the log.

use super::*;
use crate::protocol::{Cause, Edit};
use crate::ui::chart::Abscissa;

fn c(c: char) -> Key {
    Key::char(c)
}

const LEFT: Key = Key::plain(Code::Left);
const RIGHT: Key = Key::plain(Code::Right);

/// A stage of 1,000 planned steps, so many of them done.
fn trained(steps: usize) -> AppState {
    let mut state = started_with(RunInfo { steps: 1000, ..info(Pretrain) });
    event(&mut state, Event::Steps((1..=steps).map(|at| step(at, 5.0)).collect()));
    state
}

#[test]
fn zooming_follows_the_newest_step_until_the_charts_are_moved() {
    let mut state = trained(400);
    assert_eq!(state.shown().visible(), (0.0, 500.0));
    press(&mut state, &[c('+')]);
    assert_eq!(state.shown().visible(), (150.0, 400.0));
    event(&mut state, Event::Steps(vec![step(401, 5.0)]));
    assert_eq!(state.shown().visible(), (151.0, 401.0));
    press(&mut state, &[LEFT, LEFT]);
    let held = state.shown().visible();
    assert_eq!(held.1 - held.0, 250.0);
    event(&mut state, Event::Steps(vec![step(402, 5.0)]));
    assert_eq!(state.shown().visible(), held, "it stays where it was moved to");
    press(&mut state, &[Key::plain(Code::End)]);
    event(&mut state, Event::Steps(vec![step(403, 5.0)]));
    assert_eq!(state.shown().visible(), (153.0, 403.0), "and follows again at the end");
    press(&mut state, &[Key::plain(Code::Home), LEFT, LEFT]);
    assert_eq!(state.shown().visible(), (0.0, 250.0));
    press(&mut state, &[c('-'), c('-'), c('-')]);
    assert_eq!(state.shown().visible(), (0.0, 500.0));
    press(&mut state, &[c('0')]);
    assert_eq!(state.shown().visible(), (0.0, 1000.0), "to the plan's end");
    press(&mut state, &[c('0')]);
    assert_eq!(state.shown().visible(), (0.0, 500.0));
}

#[test]
fn no_key_leaves_the_steps_that_there_are() {
    for steps in [1, 7, 400, 1000, 3000] {
        let mut state = trained(steps);
        let keys = [c('+'), c('-'), LEFT, RIGHT, c('0'), c('c'), Key::plain(Code::Home), Key::plain(Code::End), c('x')];
        let mut at = 7_usize;
        for _ in 0..4000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            press(&mut state, &[keys[(at >> 33) % keys.len()]]);
            let stage = state.shown();
            let (from, to) = stage.visible();
            assert!(from >= 0.0 && to > from && to <= 4000.0, "{steps}: {from} to {to}");
            assert!(stage.charts.cursor.is_none_or(|cursor| cursor <= steps), "{steps}");
        }
    }
}

#[test]
fn the_crosshair_moves_by_columns_and_at_least_by_one_step() {
    let mut state = trained(400);
    press(&mut state, &[c('c')]);
    assert_eq!(state.shown().charts.cursor, Some(400));
    press(&mut state, &[LEFT]);
    assert_eq!(state.shown().charts.cursor, Some(396), "a hundred-and-twentieth of 500 steps");
    press(&mut state, &[c('+'), c('+'), c('+'), c('+'), LEFT]);
    assert_eq!(state.shown().charts.cursor, Some(395));
    let (from, to) = state.shown().visible();
    assert!((from..=to).contains(&395.0) && to - from < 40.0, "enlarged around it: {from} to {to}");
    press(&mut state, &[LEFT; 60]);
    let (from, to) = state.shown().visible();
    assert!((from..=to).contains(&335.0), "the visible part goes along: {from} to {to}");
    press(&mut state, &[ESC]);
    assert_eq!(state.shown().charts.cursor, None);
    assert!(state.shown().charts.window.is_some(), "Esc takes one thing back at a time");
}

#[test]
fn with_the_focus_on_probes_left_and_right_stay_theirs() {
    let mut state = trained(400);
    for prompt in ["a", "b"] {
        let (text, expected) = (String::new(), "x".to_owned());
        let prompt = prompt.to_owned();
        let (matched, length, recall, task) = (0, 1, true, None);
        event(
            &mut state,
            Event::Probe { step: 1, task, prompt, text, expected, matched, length, recall, lines: Vec::new() },
        );
    }
    state.focus_on(Panel::PROBE);
    press(&mut state, &[c('+'), RIGHT]);
    assert_eq!((state.shown().probe, state.shown().visible()), (1, (150.0, 400.0)));
    // With the crosshair they are its.
    press(&mut state, &[c('c'), LEFT]);
    assert_eq!((state.shown().probe, state.shown().charts.cursor), (1, Some(398)));
}

#[test]
fn the_log_and_the_crosshair_lead_to_each_other() {
    let mut state = trained(100);
    for (at, name) in [(120, "a"), (160, "b")] {
        event(&mut state, Event::Steps((at - 20..=at).map(|at| step(at, 5.0)).collect()));
        let edit = Edit {
            step: at,
            cause: Cause::Files,
            text: name.to_owned(),
            sources: Vec::new(),
            learning_rate: 1e-3,
            batch: 0,
            seconds: None,
            replayed: false,
        };
        event(&mut state, Event::Edited(Box::new(edit)));
    }
    let chosen = |state: &AppState| {
        let first = state.logged - state.log.len() as u64;
        let line = &state.log[(state.log_chosen.expect("a line") - first) as usize];
        (line.place.expect("a place").1, state.focus)
    };
    press(&mut state, &[c('c'), Key::plain(Code::Home)]);
    (0..65).for_each(|_| drop(press(&mut state, &[RIGHT])));
    let cursor = state.shown().charts.cursor.expect("a crosshair");
    assert!((121..160).contains(&cursor), "{cursor}");
    press(&mut state, &[c('L')]);
    assert_eq!(chosen(&state), (120, Panel::LOG));
    assert_eq!(state.shown().charts.cursor, Some(cursor), "it stays until another line is chosen");
    press(&mut state, &[c('j')]);
    assert_eq!((chosen(&state).0, state.shown().charts.cursor), (160, Some(160)));
    press(&mut state, &[c('k'), c('k')]);
    assert_eq!((chosen(&state).0, state.shown().charts.cursor), (0, Some(0)), "the start of the stage");
    press(&mut state, &[c('L')]);
    assert_eq!((state.focus, state.shown().charts.cursor), (Panel::LOSS, Some(0)));
    // Without a crosshair: from the newest line.
    press(&mut state, &[c('c'), c('L')]);
    assert_eq!((chosen(&state), state.shown().charts.cursor), ((160, Panel::LOG), Some(160)));
}

#[test]
fn the_abscissa_goes_round() {
    let mut state = trained(3);
    let units = [Abscissa::Tokens, Abscissa::Time, Abscissa::Step];
    for unit in units {
        press(&mut state, &[c('x')]);
        assert_eq!(state.abscissa, unit);
    }
    // Without steps there is nothing to look at.
    let mut state = started();
    for key in ['+', '0', 'c', 'L', 'x'] {
        press(&mut state, &[c(key)]);
        assert!(state.notice.take().is_some(), "{key} says why");
    }
}

/// The film runs through the probes' completions with the crosshair, is moved by keys, and closes.
#[test]
fn the_film_runs_and_is_moved_by_keys() {
    let mut state = trained(400);
    press(&mut state, &[c('R')]);
    assert_eq!(state.film, None, "without completions there is none");
    for at in [0, 100, 200, 400] {
        let probe = Event::Probe {
            step: at,
            task: None,
            prompt: "春眠不觉晓，".to_owned(),
            text: "处".to_owned(),
            expected: "处处闻啼鸟".to_owned(),
            matched: 1,
            length: 5,
            recall: true,
            lines: Vec::new(),
        };
        event(&mut state, probe);
    }
    let at = |state: &AppState| {
        let stage = state.shown();
        let shown = stage.completion(&stage.probes[0]).map(|entry| entry.step);
        (stage.charts.cursor, shown, state.film_runs())
    };
    assert_eq!(at(&state), (None, Some(400), false));
    let tick = |state: &mut AppState, ms: u64| update(state, Msg::Tick(Duration::from_millis(ms)));
    tick(&mut state, 1000);
    press(&mut state, &[c('R')]);
    assert_eq!(at(&state), (Some(0), Some(0), true));
    tick(&mut state, 1100);
    assert_eq!(at(&state), (Some(0), Some(0), true), "a completion can be read");
    tick(&mut state, 1400);
    assert_eq!(at(&state), (Some(100), Some(100), true));
    press(&mut state, &[Key::plain(Code::Down)]);
    assert!(state.film_runs(), "other keys do not stop it");
    press(&mut state, &[RIGHT]);
    assert_eq!(at(&state), (Some(200), Some(200), false));
    press(&mut state, &[c('R')]);
    tick(&mut state, 1800);
    tick(&mut state, 2200);
    assert_eq!(at(&state), (Some(400), Some(400), false), "it stops at the end");
    press(&mut state, &[c('R')]);
    assert_eq!(at(&state), (Some(0), Some(0), true), "and starts again");
    press(&mut state, &[Key::plain(Code::Esc)]);
    assert_eq!(at(&state), (None, Some(400), false));
    // The crosshair's own key ends the film, too.
    press(&mut state, &[c('R'), c('c')]);
    assert_eq!(state.film, None);
}
