//! A training elsewhere: what only reads works, every key that would act says why it cannot, and what a log does not have
//! is shown as missing.

use ratatui::buffer::Buffer;

use super::{vote::feedback_info, *};
use crate::protocol::{Absent, Follows, Past, StagePast, Watching};
use crate::ui::{chart::Abscissa, strings, view};

fn watching(follows: Follows) -> Event {
    Event::Watching(Watching { state: follows, newest: None, passed: 0 })
}

fn watched(stage: StageId) -> AppState {
    let info = RunInfo { read_only: true, watched: true, ..feedback_info(stage) };
    let mut state = started_with(info);
    let past = StagePast { stage, steps: vec![step(1, 3.0), step(2, 2.5)], events: Vec::new() };
    event(&mut state, Event::Past(Box::new(Past { stages: vec![past], log: Some(Vec::new()) })));
    event(&mut state, watching(Follows::Lines));
    state
}

fn notice(state: &AppState) -> String {
    state.notice.as_ref().map_or_else(String::new, |n| n.0.get(state.lang).to_string())
}

fn drawn(state: &mut AppState, wide: u16, high: u16) -> String {
    let mut buf = Buffer::empty(Rect::new(0, 0, wide, high));
    state.drawn = view::draw(state, buf.area, &mut buf);
    buf.content().iter().map(ratatui::buffer::Cell::symbol).collect()
}

#[test]
fn every_key_that_would_act_says_why_it_cannot() {
    for lang in [Lang::Zh, Lang::En] {
        let mut state = watched(Sft);
        state.lang = lang;
        let why = state.tr(strings::WHY_WATCHED);
        let keys =
            [" ", "g", "w", "p", "i", "v", "e", "n", "b", "春"].map(|k| Key::char(k.chars().next().unwrap_or(' ')));
        for key in keys.into_iter().chain([ENTER, Key::ctrl('g'), Key::ctrl('w')]) {
            state.notice = None;
            assert_eq!(press(&mut state, &[key]), [], "{key} acts");
            assert_eq!(notice(&state), why, "{key}");
            assert_eq!(state.mode(), Mode::Nav, "{key}");
        }
        state.notice = None;
        assert_eq!(update(&mut state, Msg::Paste("春眠不觉晓".to_owned())), []);
        assert_eq!((notice(&state).as_str(), state.field.text()), (why, ""));
        press(&mut state, &[Key::char('1')]);
        for key in ['+', '-', 'y', 'x', 'u', 'r'] {
            state.notice = None;
            assert_eq!(press(&mut state, &[Key::char(key)]), [], "{key} acts on the data");
            assert_eq!(notice(&state), why, "{key} on the data");
        }
    }
}

#[test]
fn what_only_reads_works() {
    let mut state = watched(Pretrain);
    press(&mut state, &[Key::char('c')]);
    assert_eq!(state.shown().charts.cursor, Some(2));
    press(&mut state, &[ESC, Key::char('m'), Key::char('y'), Key::char('z')]);
    assert!(state.expanded && !state.log_y && state.smoothing == 2);
    press(&mut state, &[Key::char('z'), Key::char('E')]);
    assert!(drawn(&mut state, 120, 36).contains("写 入 当 前 文 件 夹"), "the target");
    assert!(matches!(press(&mut state, &[ENTER])[..], [Cmd::Export(_)]));
    press(&mut state, &[Key::char('q')]);
    assert!(state.leaving.as_ref().is_some_and(|l| !l.save), "it closes without a question");
    // Nothing of this process is lost.
    assert!(summary(&state).iter().all(|line| !line.contains("未保存")), "{:?}", summary(&state));
}

/// A past sent again, because the training went back, cuts the curve; the stage stays live.
#[test]
fn a_past_sent_again_cuts_the_curve() {
    let mut state = watched(Pretrain);
    event(&mut state, Event::Steps((3..=9).map(|at| step(at, 2.0)).collect()));
    let past = StagePast { stage: Pretrain, steps: vec![step(1, 3.0), step(2, 7.0)], events: Vec::new() };
    event(&mut state, Event::Past(Box::new(Past { stages: vec![past], log: None })));
    assert_eq!((state.live().steps_done(), state.live().loss.buckets().len()), (2, 2));
    assert_eq!(state.live().phase, Phase::Running);
}

#[test]
fn what_the_log_does_not_have_is_missing_on_the_screen() {
    let absent = Absent {
        learning_rate: true,
        grad_norm: true,
        tokens_per_second: true,
        total_tokens: true,
        epoch: true,
        step_ms: true,
        loss: false,
    };
    let info = RunInfo { stage: Pretrain, read_only: true, watched: true, name: "x".to_owned(), ..RunInfo::default() };
    let mut state = started_with(info);
    state.lang = Lang::En;
    event(&mut state, watching(Follows::Lines));
    for at in 1..=3 {
        let nan = f64::NAN;
        let step = StepReport {
            learning_rate: nan,
            grad_norm: nan,
            tokens_per_second: nan,
            step_ms: nan,
            epoch: nan,
            absent,
            ..step(at, 2.0)
        };
        event(&mut state, Event::Steps(vec![step]));
    }
    press(&mut state, &[Key::char('c')]);
    let screen = drawn(&mut state, 120, 36);
    for shown in ["tokens -", "time -", "step -", "- tok/s", "params -", "step 3 / -", "- tokens  - epochs"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    assert!(!screen.contains("NaN") && !screen.contains("100%"), "{screen}");
    assert!(!state.live().is_complete() && state.live().seconds_left().is_none());
    assert!(state.live().grad.is_empty() && state.live().speed.is_empty() && state.live().rate.is_empty());
    assert!(summary(&state)[0].contains("step 3 / -"), "{:?}", summary(&state));
    // There is nothing else to count.
    press(&mut state, &[Key::char('x')]);
    assert_eq!(state.abscissa, Abscissa::Step);
    assert_eq!(notice(&state), strings::WHY_STEPS_ALONE.get(Lang::En));
}

#[test]
fn the_header_says_what_the_log_does() {
    let mut state = AppState::new(Lang::En, crate::ui::theme::Theme::default(), crate::ui::theme::GlyphSet::Line);
    event(&mut state, watching(Follows::Awaited));
    assert!(drawn(&mut state, 120, 36).contains("waiting for the first line"));
    assert_eq!(press(&mut state, &[Key::char('w')]), []);
    assert_eq!(notice(&state), strings::WHY_WATCHED.get(Lang::En));
    let mut state = watched(Pretrain);
    state.lang = Lang::En;
    state.clock.opened = 1000.0;
    let over = |failed: bool, reason: &str| Follows::Over { step: 2, reason: reason.to_owned(), failed };
    for (follows, words) in [
        (Follows::Lines, "watching"),
        (Follows::Nobody, "no process trains this run"),
        (Follows::Ended, "stream ended"),
        (over(false, "done"), "done"),
        (over(true, "failed: x"), "failed"),
    ] {
        for (wide, high) in [(200, 60), (120, 36), (80, 24), (60, 16)] {
            event(&mut state, watching(follows.clone()));
            let row: String = drawn(&mut state, wide, high).chars().take(wide as usize).collect();
            assert!(row.contains(words), "{words} at {wide}: {row}");
        }
    }
    let old = Watching { state: Follows::Lines, newest: Some(1000.0 - 125.0), passed: 12 };
    event(&mut state, Event::Watching(old));
    // What fits depends on the frame before.
    drawn(&mut state, 120, 36);
    let row: String = drawn(&mut state, 120, 36).chars().take(120).collect();
    assert!(row.contains("newest line 00:02:05 ago") && row.contains("12 other lines"), "{row}");
    // The end is one line of the log, however often it is said.
    let before = state.log.len();
    for _ in 0..3 {
        event(&mut state, watching(over(false, "done")));
    }
    assert_eq!(state.log.len(), before + 1);
}

/// Probes of an older checkpoint may be completed after those of a newer one.
#[test]
fn completions_are_kept_in_the_order_of_steps() {
    let mut state = watched(Pretrain);
    for at in [8, 2, 4] {
        let (prompt, text, expected) = ("春".to_owned(), format!("{at}"), "眠".to_owned());
        let probe = Event::Probe {
            step: at,
            task: None,
            prompt,
            text,
            expected,
            matched: 0,
            length: 1,
            recall: true,
            lines: Vec::new(),
        };
        event(&mut state, probe);
    }
    let steps: Vec<usize> = state.live().probes[0].entries.iter().map(|e| e.step).collect();
    assert_eq!(steps, [2, 4, 8]);
}

/// A log of another trainer names its sources only where it measures them.
#[test]
fn a_held_out_set_that_is_new_becomes_a_source() {
    let info = RunInfo { read_only: true, watched: true, sources: Vec::new(), ..feedback_info(Pretrain) };
    let mut state = started_with(info);
    for (at, loss) in [(1, 4.0), (2, 3.0)] {
        let source = "news".to_owned();
        let (eval_bits_per_byte, train_loss, sampled_loss) = (f64::NAN, None, None);
        event(
            &mut state,
            Event::Eval { step: at, source, eval_loss: loss, eval_bits_per_byte, train_loss, sampled_loss },
        );
    }
    let run = state.live().run.as_ref();
    let sources: Vec<_> = run.iter().flat_map(|r| &r.sources).map(|s| (s.name.as_str(), s.valid.last())).collect();
    assert_eq!(sources, [("news", Some((2, 3.0)))]);
    assert!(drawn(&mut state, 120, 36).contains("news"));
}
