//! States of the charts, and a stage of any length.

use std::time::Duration;

use danlu::{
    protocol::{Cause, Edit, Event},
    ui::{
        keys::{Code, Key},
        state::AppState,
        strings::Lang,
        update::{Cmd, Msg, update},
    },
};

use super::screen::{press, screen};

/// Two edits by keys and files, with steps after them.
fn edited(lang: Lang) -> AppState {
    let mut state = screen(lang, super::run_until(400));
    for (step, cause, text) in [
        (401, Cause::Key, "唐诗 tang300 40 % → 45 %"),
        (481, Cause::Config, "learning_rate 3e-3 → 2e-3"),
        (521, Cause::Files, "古文 guwen 312 → 318 documents"),
    ] {
        let (text, sources) = (text.to_owned(), super::info().sources);
        let edit =
            Edit { step, cause, text, sources, learning_rate: 2e-3, batch: 0, seconds: Some(0.2), replayed: false };
        update(&mut state, Msg::Event(Event::Edited(Box::new(edit))));
        let until = if step == 401 { 480 } else { 640 };
        if cause != Cause::Config {
            let from = if step == 401 { 401 } else { 481 };
            let steps = (from..=until).map(super::step).collect();
            update(&mut state, Msg::Event(Event::Steps(steps)));
        }
    }
    state
}

/// The charts enlarged, with the crosshair, by time, beside the log, under other runs' curves, and the export.
pub fn chart_states(lang: Lang) -> Vec<(&'static str, AppState)> {
    let [left, down] = [Code::Left, Code::Down].map(Key::plain);
    let mut zoomed = edited(lang);
    press(&mut zoomed, &[Key::char('+')]);
    let mut crosshair = edited(lang);
    press(&mut crosshair, &[Key::char('x'), Key::char('x'), Key::char('c')]);
    press(&mut crosshair, &[left; 30]);
    let mut logged = edited(lang);
    press(&mut logged, &[Key::char('c'), Key::char('L'), Key::char('k')]);
    let mut overlaid = edited(lang);
    press(&mut overlaid, &[Key::char('T')]);
    update(&mut overlaid, Msg::Event(Event::Runs { runs: super::tree::runs(), unread: Vec::new() }));
    press(&mut overlaid, &[Key::char(' '), down, down, down, Key::char(' '), down, down, down, Key::char(' ')]);
    update(&mut overlaid, Msg::Event(Event::Trained(super::tree::trained())));
    press(&mut overlaid, &[Key::plain(Code::Esc)]);
    let mut export = edited(lang);
    export.drawn.panels = vec![(export.focus, ratatui::layout::Rect::new(0, 1, 60, 20))];
    press(&mut export, &[Key::char('E')]);
    vec![
        ("charts_zoomed", zoomed),
        ("crosshair", crosshair),
        ("crosshair_log", logged),
        ("overlaid", overlaid),
        ("export", export),
    ]
}

/// A stage of so many steps.
pub fn long(lang: Lang, steps: usize) -> AppState {
    let mut state = screen(lang, super::run_until(2));
    for from in (3..=steps).step_by(10_000) {
        let reports = (from..=(from + 9_999).min(steps)).map(super::step).collect();
        update(&mut state, Msg::Event(Event::Steps(reports)));
    }
    update(&mut state, Msg::Tick(Duration::from_mins(1)));
    state
}

/// The contents that a command writes.
pub fn exported(state: &mut AppState, keys: &[Key]) -> Option<(String, String)> {
    let cmds = press(state, keys);
    cmds.into_iter().find_map(|cmd| match cmd {
        Cmd::Export(export) => {
            let bytes = danlu::ui::export::render(state, &export);
            let path = state.export_name(&export);
            update(state, Msg::Event(Event::Exported { path: path.clone().into() }));
            Some((path, String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => None,
    })
}
