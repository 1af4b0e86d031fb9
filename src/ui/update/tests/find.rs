//! Looking for a text in the log, the documents and the metrics.

use super::*;
use crate::protocol::Find;
use crate::ui::state::LogLine;

fn typed(state: &mut AppState, text: &str) {
    for c in text.chars() {
        press(state, &[Key::char(c)]);
    }
}

#[test]
fn the_log_keeps_lines_with_every_word() {
    let mut state = started();
    for line in ["saved checkpoint 20", "note: rate 3e-4", "Saved CHECKPOINT 40"] {
        state.record(Level::Note, Both::same(line));
    }
    let kept = |state: &AppState| {
        let keeps = state.log_keeper();
        state.log.iter().filter(|line| keeps(line)).count()
    };
    let all = kept(&state);
    state.focus_on(Panel::LOG);
    press(&mut state, &[Key::char('/')]);
    assert_eq!(state.mode(), Mode::Find);
    typed(&mut state, "ｃheck 40");
    assert_eq!(kept(&state), 1, "half-width and any case");
    press(&mut state, &[Key::plain(Code::Backspace), Key::plain(Code::Backspace)]);
    assert_eq!(kept(&state), 2);
    press(&mut state, &[ENTER]);
    assert_eq!((state.mode(), kept(&state)), (Mode::Nav, 2), "it stays filtered");
    // Another panel is not, and keeps the keys' meaning.
    assert!(state.keeper(Panel::METRICS)("loss"));
    press(&mut state, &[Key::char('/'), ESC]);
    assert_eq!((state.mode(), kept(&state)), (Mode::Nav, all));
    press(&mut state, &[Key::ctrl('f')]);
    typed(&mut state, "x");
    press(&mut state, &[Key::ctrl('c')]);
    assert!(state.find.is_none() && state.leaving.is_none() && state.overlay.is_none());
    // Where nothing can be looked through, the key says so.
    state.focus_on(Panel::LOSS);
    press(&mut state, &[Key::char('/')]);
    assert!(state.find.is_none() && state.notice.is_some());
    state.focus_on(Panel::METRICS);
    update(&mut state, Msg::Key(Key::char('/')));
    update(&mut state, Msg::Paste("a\nb".to_owned()));
    assert_eq!(state.find.as_ref().map(|find| find.field.text()), Some("a b"));
}

/// Kind and time stand on a row as well as its text.
#[test]
fn the_log_is_filtered_by_kind_and_time_too() {
    let mut state = started();
    state.log.clear();
    for (at, level, text) in
        [(0.0, Level::Alert, "loss is NaN"), (3661.0, Level::Save, "loss 3.1"), (9.0, Level::Alert, "spike")]
    {
        state.log_line(LogLine { at: Some(at), level, place: None, text: Both::same(text) });
    }
    state.focus_on(Panel::LOG);
    let mut kept = |text: &str| {
        press(&mut state, &[Key::char('/')]);
        typed(&mut state, text);
        let keeps = state.log_keeper();
        let count = state.log.iter().filter(|line| keeps(line)).count();
        drop(keeps);
        press(&mut state, &[ESC]);
        count
    };
    let [alert, save] = [Level::Alert, Level::Save].map(|level| level.tag().get(Lang::Zh));
    assert_eq!((kept(alert), kept(save), kept(&format!("{alert} loss"))), (2, 1, 1));
    assert_eq!((kept("01:01"), kept(&format!("{save} spike")), kept("77:77")), (1, 0, 0));
}

#[test]
fn documents_with_a_text_are_walked_through() {
    let mut state = started_with(RunInfo {
        sources: vec![crate::protocol::SourceInfo { name: "文".to_owned(), weight: 1.0, ..Default::default() }],
        ..info(Pretrain)
    });
    press(&mut state, &[Key::char('1')]);
    // What the view asks for by itself is answered.
    state.requests.clear();
    state.focus_on(Panel::PREVIEW);
    let find = |index: usize, back: bool| {
        let find = Some(Find { text: "明月".to_owned(), back });
        Cmd::Send(Command::ShowDocument { source: "文".to_owned(), index, find })
    };
    let document = |index: usize| {
        let view = crate::protocol::DocumentView {
            source: "文".to_owned(),
            index,
            of: 10,
            step: 1,
            text: "明月".to_owned(),
            tokens: Vec::new(),
            shown: 0,
            loss: None,
            length: 0,
            mark: None,
        };
        Event::Document(Box::new(view))
    };
    event(&mut state, document(3));
    press(&mut state, &[Key::char('/')]);
    typed(&mut state, "明月");
    assert_eq!(press(&mut state, &[ENTER]), [find(3, false)], "from the one in view on");
    event(&mut state, document(7));
    assert_eq!(state.data.index, 7);
    assert_eq!(press(&mut state, &[Key::plain(Code::Right)]), [find(8, false)]);
    event(&mut state, document(9));
    assert_eq!(press(&mut state, &[Key::plain(Code::Right)]), [find(0, false)], "over the end");
    event(&mut state, document(7));
    assert_eq!(press(&mut state, &[Key::plain(Code::Left)]), [find(6, true)]);
    // A refusal belongs to the search, and the document stays.
    event(&mut state, Event::Refused { text: "`明月` is in no document of 文".to_owned() });
    assert!(state.notice.is_some() && state.data.document.is_some() && state.data.refused.is_none());
    press(&mut state, &[ESC, ESC]);
    let plain = Cmd::Send(Command::ShowDocument { source: "文".to_owned(), index: 8, find: None });
    assert_eq!(press(&mut state, &[Key::plain(Code::Right)]), [plain]);
}
