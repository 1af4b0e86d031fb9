//! Every key of the data view, and the trainer's answers.

use super::*;
use crate::protocol::{
    Cause, DocumentView, Documents, DroppedDocument, DroppedView, Edit, Funnel, RoomSource, RoomView, RuleView,
    SourceInfo, TokenView, Trial,
};
use crate::ui::state::{Change, data::PAGE};

fn source(name: &str, weight: f64) -> SourceInfo {
    SourceInfo { name: name.to_owned(), weight, documents: 9, tokens: 90, held_out_tokens: 9 }
}

/// A stage with two text sources.
fn with_sources(stage: StageId) -> AppState {
    started_with(RunInfo { sources: vec![source("诗", 0.6), source("文", 0.4)], ..info(stage) })
}

fn view(bound: f64) -> Event {
    let source = |name: &str, weight: f64| {
        let mut funnel = Funnel { documents_in: 10, bytes_in: 100, ..Funnel::default() };
        funnel.kept = Documents { documents: 7, bytes: 80 };
        funnel.dropped.insert("too_short".to_owned(), Documents { documents: 2, bytes: 10 });
        funnel.dropped.insert("near_duplicate".to_owned(), Documents { documents: 1, bytes: 10 });
        let (name, rule_name, table) = (name.to_owned(), "too_short".to_owned(), "Gopher".to_owned());
        let rule = RuleView { name: rule_name, at_least: true, threshold: bound, published: 50.0, source: table };
        RoomSource { name, weight, funnel, rules: vec![rule], ..RoomSource::default() }
    };
    let watching = "notify".to_owned();
    let sources = vec![source("诗", 0.6), source("文", 0.4)];
    Event::Room(Box::new(RoomView { sources, watching, ..RoomView::default() }))
}

fn document(source: &str, index: usize) -> Event {
    let token = |text: &str| TokenView { text: text.to_owned(), trained: true, loss: Some(1.0), first: false };
    let (source, tokens) = (source.to_owned(), vec![token("春"), token("晓")]);
    let text = "春晓".to_owned();
    Event::Document(Box::new(DocumentView {
        source,
        index,
        of: 3,
        step: 4,
        text,
        tokens,
        shown: 2,
        loss: Some(1.0),
        length: 2,
        mark: None,
    }))
}

fn shows(source: &str, index: usize) -> Cmd {
    Cmd::Send(Command::ShowDocument { source: source.to_owned(), index, find: None })
}

fn edited(step: usize, cause: Cause) -> Event {
    let sources = vec![source("诗", 0.65), source("文", 0.35), source("新", 0.0)];
    let text = "诗 60 % → 65 %".to_owned();
    Event::Edited(Box::new(Edit {
        step,
        cause,
        text,
        sources,
        learning_rate: 2e-3,
        batch: 0,
        seconds: Some(0.2),
        replayed: false,
    }))
}

/// An opened data view with data.
fn opened() -> AppState {
    let mut state = with_sources(Pretrain);
    press(&mut state, &[Key::char('1')]);
    event(&mut state, view(50.0));
    event(&mut state, document("诗", 0));
    state
}

#[test]
fn looking_at_the_data_asks_and_changes_nothing_else() {
    let mut state = with_sources(Pretrain);
    let asked = [Cmd::Send(Command::ShowRoom), Cmd::Send(Command::ShowNextBatch), shows("诗", 0)];
    assert_eq!(press(&mut state, &[Key::char('１')]), asked, "full-width, too");
    assert_eq!((state.mode(), state.focus), (Mode::Data, Panel::SOURCES));
    event(&mut state, view(50.0));
    event(&mut state, document("诗", 0));
    assert!(!state.awaits(&Request::Data) && !state.awaits(&Request::Document) && state.awaits(&Request::NextBatch));
    // The data view is not a stage: the stages' keys leave it.
    press(&mut state, &[Key::char('3')]);
    assert_eq!((state.data.open, state.shown().id), (false, Some(Sft)));
    press(&mut state, &[Key::alt(Code::Char('1'))]);
    assert_eq!((state.data.open, state.shown().id), (true, Some(Pretrain)), "the stage that has the trainer");
    press(&mut state, &[Key::char('2')]);
    assert_eq!((state.data.open, state.mode(), state.focus), (false, Mode::Nav, Panel::LOSS));
}

#[test]
fn go_in_the_room_is_about_the_stage_that_has_the_trainer() {
    let mut state = opened();
    assert_eq!(press(&mut state, &[Key::char('g')]), []);
    event(&mut state, Event::Paused { step: 3 });
    assert_eq!(press(&mut state, &[Key::char('g')]), [Cmd::Send(Command::Resume)]);
}

#[test]
fn a_source_is_chosen_weighed_and_shown_as_requested_until_it_is_there() {
    let mut state = opened();
    assert_eq!(press(&mut state, &[Key::char('j')]), [shows("文", 0)]);
    let weigh = |source: &str, by| Cmd::Send(Command::Weigh { source: source.to_owned(), by });
    assert_eq!(press(&mut state, &[Key::char('＋'), Key::char('-')]), [weigh("文", 1), weigh("文", -1)]);
    assert!(state.awaits(&Request::Weigh("文".to_owned())));
    event(&mut state, document("文", 0));
    let cmds = event(&mut state, edited(5, Cause::Key));
    assert!(
        cmds.contains(&Cmd::Send(Command::ShowDocument { source: "文".to_owned(), index: 0, find: None })),
        "{cmds:?}"
    );
    assert!(!state.awaits(&Request::Weigh("文".to_owned())), "however many presses became one change");
    let run = state.live().run.as_ref().map(|r| (r.info.learning_rate, r.sources.len(), r.sources[1].weight));
    assert_eq!(run, Some((2e-3, 3, 0.35)));
    // The log and the chart show it.
    assert!(state.log.iter().any(|l| l.text.get(Lang::Zh).contains("诗 60 % -> 65 %")));
    assert!(matches!(state.live().changes[..], [Change { step: 5, cause: Some(Cause::Key), .. }]));
    // A refusal answers the oldest request and is shown.
    press(&mut state, &[Key::char('+')]);
    state.requests.retain(|w| matches!(w, Request::Weigh(_)));
    event(&mut state, Event::Refused { text: "nothing is left to give".to_owned() });
    assert!(state.requests.is_empty() && state.notice.is_some());
    // A stage with tasks has no weights to change.
    let mut tuning = with_sources(Sft);
    press(&mut tuning, &[Key::char('1')]);
    assert_eq!(press(&mut tuning, &[Key::char('+')]), []);
}

#[test]
fn the_mix_of_pretraining_is_weighed_in_its_own_view_too() {
    let mut state = with_sources(Pretrain);
    assert_eq!(press(&mut state, &[Key::char('+')]), [], "only where the mix has the keys");
    state.focus = Panel::MIX;
    let weigh = |source: &str| Cmd::Send(Command::Weigh { source: source.to_owned(), by: 1 });
    assert_eq!(press(&mut state, &[Key::char('+')]), [weigh("诗")]);
    assert_eq!(press(&mut state, &[Key::plain(Code::Down), Key::char('=')]), [weigh("文")]);
}

#[test]
fn what_was_drawn_stays_with_its_source() {
    let mut state = with_sources(Pretrain);
    let used = |tokens| crate::protocol::SourceUse { tokens, epoch: 0.5 };
    let step = StepReport { sources: vec![used(70), used(30)], ..step(4, 2.0) };
    event(&mut state, Event::Steps(vec![step]));
    event(&mut state, edited(5, Cause::Files));
    let tokens: Vec<u64> = state.live().step.iter().flat_map(|s| &s.sources).map(|u| u.tokens).collect();
    assert_eq!(tokens, [70, 30, 0]);
    let replayed = |state: &mut AppState| {
        let Event::Edited(mut edit) = edited(5, Cause::Files) else { return };
        edit.replayed = true;
        event(state, Event::Edited(edit));
    };
    replayed(&mut state);
    assert_eq!(state.live().changes.len(), 1, "sent again, it is listed once");
    event(&mut state, Event::Broken { step: 4, text: "run.toml:3: no such key".to_owned() });
    assert!(state.live().changes[1].cause.is_none());
}

#[test]
fn another_bound_is_tried_applied_and_given_up() {
    let mut state = opened();
    press(&mut state, &[Key::plain(Code::Tab)]);
    assert_eq!(state.focus, Panel::FILTERS);
    let tries =
        |threshold| Cmd::Send(Command::TryRule { source: "诗".to_owned(), rule: "too_short".to_owned(), threshold });
    let sets =
        |threshold| Cmd::Send(Command::SetRule { source: "诗".to_owned(), rule: "too_short".to_owned(), threshold });
    assert_eq!(press(&mut state, &[Key::char('0')]), [], "the table's bound holds already");
    assert_eq!(press(&mut state, &[Key::char('-'), Key::char('-')]), [tries(49.0), tries(48.0)]);
    let trial = |threshold, documents| {
        let (source, rule, gone) = ("诗".to_owned(), "too_short".to_owned(), Vec::new());
        let back = vec![(48.5, "回来".to_owned())];
        Event::Tried(Box::new(Trial {
            source,
            rule,
            threshold,
            documents,
            dropped_now: 2,
            dropped_then: 1,
            back,
            gone,
            done: true,
        }))
    };
    // A trial that was replaced is not shown.
    event(&mut state, trial(49.0, 3));
    assert!(state.data.trying.as_ref().is_some_and(|t| t.trial.is_none()) && state.awaits(&Request::Try));
    event(&mut state, trial(48.0, 10));
    assert!(state.data.trying.as_ref().is_some_and(|t| t.back.len() == 1) && !state.awaits(&Request::Try));
    press(&mut state, &[ESC]);
    assert!(state.data.trying.is_none() && state.focus == Panel::FILTERS);
    press(&mut state, &[Key::char('+')]);
    assert_eq!(press(&mut state, &[ENTER, ENTER]), [sets(Some(51.0))], "asked once");
    event(&mut state, edited(5, Cause::Key));
    event(&mut state, view(51.0));
    assert!(state.data.trying.is_none() && !state.awaits(&Request::SetRule));
    assert_eq!(press(&mut state, &[Key::char('0')]), [sets(None)]);
    // A trial that is refused ends.
    state.requests.clear();
    press(&mut state, &[Key::char('+')]);
    event(&mut state, Event::Refused { text: "no such rule".to_owned() });
    assert!(state.data.trying.is_none());
    // All sources together have no common threshold, and a row without threshold cannot be changed.
    assert_eq!(press(&mut state, &[Key::char('a'), Key::char('+')]), []);
    assert_eq!(press(&mut state, &[Key::char('a'), Key::plain(Code::Down), Key::char('+')]), []);
}

#[test]
fn the_dropped_are_browsed_page_by_page_and_marked() {
    let mut state = opened();
    press(&mut state, &[Key::plain(Code::Tab), Key::plain(Code::Down)]);
    let (of, source, rule) = (PAGE + 3, Some("诗".to_owned()), Some("near_duplicate".to_owned()));
    let asks = |from| Cmd::Send(Command::ShowDropped { source: source.clone(), rule: rule.clone(), from, count: PAGE });
    assert_eq!(press(&mut state, &[ENTER]), [asks(0)]);
    assert_eq!(state.focus, Panel::DROPPED);
    let page = |from: usize| {
        let item = |at: usize| DroppedDocument { text: Some(format!("第 {at} 篇")), ..DroppedDocument::default() };
        let items = (from..of.min(from + PAGE)).map(item).collect();
        Event::Dropped(Box::new(DroppedView { source: source.clone(), rule: rule.clone(), from, of, items }))
    };
    assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(1))), [], "asked once");
    event(&mut state, page(0));
    assert_eq!(press(&mut state, &[Key::plain(Code::Down), Key::plain(Code::Down)]), []);
    assert_eq!(press(&mut state, &[Key::plain(Code::End)]), [asks(PAGE)]);
    event(&mut state, page(PAGE));
    let text = format!("第 {} 篇", of - 1);
    let marks = |keep| Cmd::Send(Command::Mark { text: text.clone(), keep });
    assert_eq!(press(&mut state, &[Key::char('y')]), [marks(Some(true))]);
    assert_eq!(state.mark(), None, "asked, not there");
    event(&mut state, Event::Marked { keep: 1, drop: 0 });
    assert_eq!((state.mark(), state.data.marks), (Some(true), Some((1, 0))));
    assert_eq!(press(&mut state, &[Key::char('u')]), [marks(None)]);
    event(&mut state, Event::Marked { keep: 0, drop: 0 });
    assert_eq!(press(&mut state, &[Key::char('u')]), [], "no mark to take away");
    assert_eq!(press(&mut state, &[Key::plain(Code::Home)]), [asks(0)]);
    press(&mut state, &[ESC]);
    assert_eq!(state.focus, Panel::FILTERS);
}

#[test]
fn documents_are_leafed_through_and_measured_again_as_it_learns() {
    let mut state = opened();
    event(&mut state, Event::Steps(vec![step(4, 2.0)]));
    press(&mut state, &[ENTER]);
    assert_eq!(state.focus, Panel::PREVIEW);
    assert_eq!(press(&mut state, &[Key::plain(Code::Left)]), [shows("诗", 2)], "round to the last");
    assert_eq!(press(&mut state, &[Key::plain(Code::Right)]), [shows("诗", 0)]);
    event(&mut state, document("诗", 2));
    event(&mut state, document("诗", 0));
    assert_eq!(
        press(&mut state, &[Key::char('x')]),
        [Cmd::Send(Command::Mark { text: "春晓".to_owned(), keep: Some(false) })]
    );
    state.requests.clear();
    // Requested while visible and training, but at most every few seconds.
    see(&mut state, Panel::PREVIEW);
    assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(30))), [], "no step since it was measured");
    event(&mut state, Event::Steps(vec![step(5, 2.0)]));
    assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(31))), [shows("诗", 0)]);
    assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(32))), []);
    state.drawn = Drawn::default();
    state.requests.clear();
    assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(90))), [], "nobody sees it");
}

#[test]
fn a_stage_that_draws_no_text_says_so_where_the_data_would_stand() {
    let mut state = with_sources(Pretrain);
    press(&mut state, &[Key::char('1')]);
    for _ in 0..3 {
        event(&mut state, Event::Refused { text: "this stage draws no text".to_owned() });
    }
    assert_eq!(state.data.refused.as_ref().map(|r| r.get(Lang::Zh).as_str()), Some("this stage draws no text"));
    assert!(state.notice.is_none(), "no key was refused");
    let said = state.log.iter().filter(|l| l.text.get(Lang::Zh).contains("draws no text")).count();
    assert_eq!((said, state.requests.len()), (1, 0));
    assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(9))), [], "it is not asked again");
    // Another stage's data are requested again.
    let cmds = event(&mut state, Event::Started(Box::new(info(Sft))));
    assert!(cmds.contains(&Cmd::Send(Command::ShowRoom)) && state.data.refused.is_none());
}

/// The trainer would log every refusal in the run's files.
#[test]
fn a_stage_without_the_runs_text_is_not_asked_for_it() {
    let mut state = with_sources(Reward);
    for _ in 0..3 {
        assert_eq!(press(&mut state, &[Key::char('1')]), []);
        assert_eq!(press(&mut state, &[Key::char('2')]), []);
    }
    press(&mut state, &[Key::char('1')]);
    assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(9))), []);
    let said = state.data.refused.as_ref().map(|r| r.get(Lang::En).to_string()).unwrap_or_default();
    assert!(said.contains("pretrain and sft do") && state.log.iter().all(|l| l.level != Level::Alert), "{said}");
    let cmds = event(&mut state, Event::Started(Box::new(info(Sft))));
    assert!(cmds.contains(&Cmd::Send(Command::ShowRoom)) && state.data.refused.is_none());
}

#[test]
fn text_typed_in_the_room_goes_to_the_model() {
    let mut state = opened();
    press(&mut state, &[Key::char('春')]);
    assert!(state.typing && state.focus == Panel::CHAT && state.data.open);
    press(&mut state, &[ESC]);
    assert_eq!(state.mode(), Mode::Data);
    assert_eq!(press(&mut state, &[Key::char('r')]), [Cmd::Send(Command::Reread)]);
}
