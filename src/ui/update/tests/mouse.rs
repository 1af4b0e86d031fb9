//! The mouse over drawn frames, and what is copied.

use ratatui::{buffer::Buffer, layout::Rect};

use super::*;
use crate::ui::{
    actions::{self, Act},
    keys::{Mouse, MouseAct},
    state::{Click, Overlay, Question},
    view,
};

/// A stage of 1,000 planned steps, 400 of them done, drawn at this size.
fn drawn(wide: u16, high: u16) -> AppState {
    let mut state = started_with(RunInfo { steps: 1000, ..info(Pretrain) });
    state.lang = Lang::En;
    event(&mut state, Event::Steps((1..=400).map(|at| step(at, 5.0 - at as f64 / 200.0)).collect()));
    draw(&mut state, wide, high);
    state
}

fn draw(state: &mut AppState, wide: u16, high: u16) {
    let area = Rect::new(0, 0, wide, high);
    state.drawn = view::draw(state, area, &mut Buffer::empty(area));
}

fn mouse(state: &mut AppState, act: MouseAct, at: (u16, u16)) -> Vec<Cmd> {
    update(state, Msg::Mouse(Mouse { act, at }))
}

fn place(state: &AppState, panel: Panel) -> Rect {
    state.drawn.panels.iter().find(|p| p.0 == panel).map(|p| p.1).unwrap_or_default()
}

fn middle(place: Rect) -> (u16, u16) {
    (place.x + place.width / 2, place.y + place.height / 2)
}

/// The place of a click that is the same as this action's key.
fn key_place(state: &AppState, act: Act) -> (u16, u16) {
    let is = |target: &&(Rect, Click)| matches!(target.1, Click::Key(key) if Some(key) == act.key());
    middle(state.drawn.targets.iter().find(is).map(|target| target.0).unwrap_or_default())
}

#[test]
fn a_click_focuses_a_panel_and_puts_the_crosshair() {
    let mut state = drawn(120, 36);
    let log = middle(place(&state, Panel::LOG));
    mouse(&mut state, MouseAct::Press, log);
    assert_eq!((state.focus, state.shown().charts.cursor), (Panel::LOG, None));
    let chart = state.drawn.charts[0];
    let (from, to) = state.shown().visible();
    assert_eq!((from, to), (0.0, 500.0));
    for (column, step) in [(chart.x, 0), (chart.x + chart.width / 2, 250), (chart.right() - 1, 400)] {
        mouse(&mut state, MouseAct::Press, (column, chart.y + 1));
        let cursor = state.shown().charts.cursor.unwrap_or(9999) as i64;
        assert!((cursor - step).abs() <= 500 / i64::from(chart.width) + 1, "{column}: {cursor}");
    }
    assert_eq!(state.focus, Panel::LOSS);
    // It follows the button, beyond the chart's ends to its first and newest step.
    mouse(&mut state, MouseAct::Drag, (0, 0));
    assert_eq!(state.shown().charts.cursor, Some(0));
    mouse(&mut state, MouseAct::Drag, (119, 35));
    assert_eq!(state.shown().charts.cursor, Some(400));
    mouse(&mut state, MouseAct::Release, (119, 35));
    mouse(&mut state, MouseAct::Drag, (0, 0));
    assert_eq!(state.shown().charts.cursor, Some(400), "the button is up");
}

#[test]
fn the_wheel_enlarges_around_the_pointer_and_scrolls() {
    let mut state = drawn(120, 36);
    let chart = state.drawn.charts[0];
    let at = (chart.x + chart.width / 4, chart.y + 1);
    let under = |state: &AppState| {
        let share = f64::from(at.0 - chart.x) / f64::from(chart.width - 1);
        state.shown().axis(state.abscissa).step_at(share)
    };
    let before = under(&state);
    for _ in 0..3 {
        mouse(&mut state, MouseAct::WheelUp, at);
    }
    let (from, to) = state.shown().visible();
    assert!(to - from < 100.0 && (under(&state) - before).abs() < 2.0, "{before} {}", under(&state));
    for _ in 0..4 {
        mouse(&mut state, MouseAct::WheelDown, at);
    }
    assert_eq!(state.shown().visible(), (0.0, 500.0));
    for number in 0..50 {
        state.record(Level::Note, Both::same(&format!("line {number}")));
    }
    draw(&mut state, 120, 36);
    let log = middle(place(&state, Panel::LOG));
    mouse(&mut state, MouseAct::WheelUp, log);
    assert_eq!((state.focus, state.scroll), (Panel::LOG, 0));
    draw(&mut state, 120, 36);
    mouse(&mut state, MouseAct::WheelUp, log);
    assert_eq!(state.scroll, 3);
    mouse(&mut state, MouseAct::WheelDown, log);
    assert_eq!(state.scroll, 0);
    // Beside everything nothing happens.
    assert!(mouse(&mut state, MouseAct::WheelUp, (500, 500)).is_empty());
    assert!(mouse(&mut state, MouseAct::Press, (500, 500)).is_empty());
}

#[test]
fn stages_hints_and_rows_are_clicked() {
    let mut state = drawn(120, 36);
    let school = key_place(&state, Act::Sft);
    mouse(&mut state, MouseAct::Press, school);
    assert_eq!(state.shown().id, Some(Sft));
    // In a text field a click on the header is a view and no letter.
    press(&mut state, &[Key::char('2'), Key::char('i'), Key::char('春')]);
    draw(&mut state, 120, 36);
    mouse(&mut state, MouseAct::Press, school);
    assert_eq!((state.field.text(), state.typing, state.shown().id), ("春", false, Some(Sft)));
    press(&mut state, &[Key::char('2')]);
    draw(&mut state, 120, 36);
    let help = key_place(&state, Act::Help);
    mouse(&mut state, MouseAct::Press, help);
    assert_eq!(state.mode(), Mode::Help);
    press(&mut state, &[ESC, Key::char(':')]);
    for c in "save".chars() {
        press(&mut state, &[Key::char(c)]);
    }
    draw(&mut state, 120, 36);
    let row = state.drawn.targets.iter().find(|t| t.1 == Click::Row(0)).map(|t| middle(t.0)).unwrap_or_default();
    assert_eq!(mouse(&mut state, MouseAct::Press, row), [Cmd::Send(Command::Save)]);
    press(&mut state, &[Key::char('q')]);
    draw(&mut state, 120, 36);
    assert!(matches!(state.overlay, Some(Overlay::Ask { question: Question::Quit, .. })));
    let stay = state.drawn.targets.iter().find(|t| t.1 == Click::Row(2)).map(|t| middle(t.0)).unwrap_or_default();
    assert!(mouse(&mut state, MouseAct::Press, stay).is_empty());
    assert!(state.overlay.is_none() && state.leaving.is_none());
}

#[test]
fn no_click_anywhere_breaks_anything() {
    for (wide, high) in [(200, 60), (120, 36), (80, 24), (60, 16), (20, 5), (1, 1)] {
        for open in [None, Some('1'), Some('?'), Some(':'), Some('s'), Some('q'), Some('C'), Some('T'), Some('v')] {
            let mut state = drawn(wide, high);
            open.map(|key| press(&mut state, &[Key::char(key)]));
            let acts = [MouseAct::Press, MouseAct::Drag, MouseAct::Release, MouseAct::WheelUp, MouseAct::WheelDown];
            for at in 0..u32::from(wide) * u32::from(high) {
                let at = ((at % u32::from(wide)) as u16, (at / u32::from(wide)) as u16);
                if (at.0 + at.1).is_multiple_of(7) {
                    draw(&mut state, wide, high);
                    for act in acts {
                        drop(mouse(&mut state, act, at));
                    }
                }
            }
        }
    }
}

#[test]
fn f2_gives_the_mouse_to_the_terminal_and_takes_it_back() {
    let mut state = drawn(120, 36);
    state.recall(crate::ui::Settings::default());
    assert_eq!(press(&mut state, &[Key::plain(Code::F(2))]), [Cmd::Mouse(false)]);
    assert!(!state.settings().mouse);
    assert_eq!(press(&mut state, &[Key::char('i'), Key::plain(Code::F(2))]), [Cmd::Mouse(true)]);
    assert_eq!(state.settings(), crate::ui::Settings::default());
    // What is chosen is remembered, what was detected is not.
    press(&mut state, &[ESC, Key::char('m'), Key::char('x')]);
    let settings = state.settings();
    assert_eq!((settings.smoothing, settings.lang, settings.theme), (2, None, None));
    (Act::Lang.row().perform)(&mut state);
    (Act::Theme.row().perform)(&mut state);
    assert!(state.settings().lang.is_some() && state.settings().theme.is_some());
}

#[test]
fn what_a_panel_is_about_is_copied() {
    let mut state = drawn(120, 36);
    let yank = |state: &mut AppState| press(state, &[Key::char('Y')]);
    assert_eq!(yank(&mut state), [Cmd::Copy(None)], "of a chart its characters");
    press(&mut state, &[Key::char('春'), ENTER]);
    event(&mut state, Event::PromptText { id: 1, text: "夜来\n风雨声".to_owned(), step: Some(7) });
    press(&mut state, &[ESC]);
    state.focus_on(Panel::CHAT);
    assert_eq!(yank(&mut state), [Cmd::Copy(Some("夜来\n风雨声".to_owned()))]);
    state.record(Level::Note, Both::same("a line"));
    state.focus_on(Panel::LOG);
    assert_eq!(yank(&mut state), [Cmd::Copy(Some("a line".to_owned()))]);
}

#[test]
fn a_hung_up_terminal_ends_what_only_a_user_waits_for() {
    let mut state = started();
    assert!(!leaving::has_nothing_to_train(&state));
    press(&mut state, &[Key::char('春'), ENTER]);
    assert_eq!(update(&mut state, Msg::HangUp), [Cmd::Send(Command::Cancel { id: 1 })]);
    assert!(state.leaving.is_none() && !state.typing);
    event(&mut state, Event::Paused { step: 3 });
    assert!(leaving::has_nothing_to_train(&state), "nobody will resume it");
}

#[test]
fn esc_gives_up_a_stage_that_is_being_prepared() {
    for (view, work) in [('2', Work::Answers), ('1', Work::Clean)] {
        let mut state = started();
        press(&mut state, &[Key::char(view)]);
        event(&mut state, Event::Paused { step: 3 });
        state.requests = [Request::Stage(Reward)].into();
        assert!(press(&mut state, &[ESC]).is_empty(), "nothing reports progress yet");
        event(&mut state, Event::Opening(Preparation { work, done: 7, of: 100 }));
        let shown = actions::hints(&state).into_iter().any(|(key, words)| key == ESC && words == "放弃打开");
        assert!(shown, "{:?}", actions::hints(&state));
        assert_eq!(press(&mut state, &[ESC]), [Cmd::GiveUp]);
        event(&mut state, Event::Refused { text: "reward was not opened".to_owned() });
        assert!(state.opening.is_none() && state.switching().is_none());
        assert!(press(&mut state, &[ESC]).is_empty());
    }
}

#[test]
fn a_stage_that_completes_shows_its_card_unless_the_user_is_busy() {
    for busy in [false, true] {
        let mut state = drawn(120, 36);
        event(&mut state, Event::Steps((401..=1000).map(|at| step(at, 3.0)).collect()));
        if busy {
            press(&mut state, &[Key::char('i')]);
        }
        event(&mut state, Event::Paused { step: 1000 });
        assert_eq!(matches!(state.overlay, Some(Overlay::Card)), !busy);
        press(&mut state, &[ESC]);
        assert!(state.overlay.is_none());
        press(&mut state, &[Key::char('C')]);
        assert_eq!(state.mode(), Mode::Card);
        let exported = press(&mut state, &[Key::char('E')]);
        assert!(matches!(&exported[..], [Cmd::Export(_)]) && state.mode() == Mode::Card, "{exported:?}");
        // Its keys work at once.
        press(&mut state, &[Key::char('3')]);
        assert_eq!((state.mode(), state.shown().id), (Mode::Nav, Some(Sft)));
    }
    // While the user does something else the card waits; it comes once.
    let mut state = drawn(120, 36);
    event(&mut state, Event::Steps((401..=1000).map(|at| step(at, 3.0)).collect()));
    press(&mut state, &[Key::char('i')]);
    event(&mut state, Event::Paused { step: 1000 });
    let tick = |state: &mut AppState, at: u64| drop(update(state, Msg::Tick(Duration::from_secs(at))));
    tick(&mut state, 1000);
    assert!(state.overlay.is_none() && state.mode() == Mode::Text);
    press(&mut state, &[ESC]);
    tick(&mut state, 1001);
    assert_eq!(state.mode(), Mode::Card);
    press(&mut state, &[ESC]);
    tick(&mut state, 1002);
    assert!(state.overlay.is_none());
    // A pause in the middle is no end.
    let mut state = drawn(120, 36);
    event(&mut state, Event::Paused { step: 400 });
    assert!(state.overlay.is_none());
}

#[test]
fn the_first_whole_recall_is_told_once() {
    let mut state = started();
    let mut probe = |at: usize, text: &str| {
        let (expected, length) = ("处处闻啼鸟。".to_owned(), 6);
        let matched = text.chars().zip(expected.chars()).take_while(|(a, b)| a == b).count();
        let (task, prompt, text) = (None, "春眠不觉晓，".to_owned(), text.to_owned());
        let lines = Vec::new();
        let probe = Event::Probe { step: at, task, prompt, text, expected, matched, length, recall: true, lines };
        event(&mut state, probe);
        let told = state.log.iter().filter(|line| line.text.get(Lang::En).contains("for the first time")).count();
        (told, state.live().probes[0].entries.last().is_some_and(|e| state.live().probes[0].came_true(e)))
    };
    assert_eq!(probe(1, "处处"), (0, false));
    assert_eq!(probe(2, "处处闻啼鸟。"), (1, true));
    assert_eq!(probe(3, "处处闻啼鸟。"), (1, false));
    assert_eq!(probe(4, "处"), (1, false));
    assert_eq!(probe(5, "处处闻啼鸟。"), (1, false));
}

#[test]
fn a_question_at_the_guard_says_what_is_not_saved() {
    let shown = |keys: &[Key]| {
        let mut state = drawn(120, 36);
        let reason = "the loss is 9".to_owned();
        event(&mut state, Event::Guarded { step: 400, reason, checkpoint: None, may_go_on: true });
        press(&mut state, &[ESC]);
        press(&mut state, keys);
        let mut buf = Buffer::empty(Rect::new(0, 0, 120, 36));
        view::draw(&state, buf.area, &mut buf);
        buf.content().iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    let words = "the guard has stopped the stage";
    for (keys, asked) in [(&[Key::char('q')][..], true), (&[][..], false)] {
        assert_eq!(shown(keys).contains(words), asked, "{keys:?}");
    }
}
