//! Every key of voting.

use super::*;
use crate::protocol::{Choice, Pair, Refit, Tally, Vote};

pub(super) fn started_with_feedback(stage: StageId) -> AppState {
    started_with(feedback_info(stage))
}

pub(super) fn feedback_info(stage: StageId) -> RunInfo {
    let parent = stage.parent().map(|parent| format!("{parent}-00000003"));
    let stages = StageId::ALL.map(|stage| StageInfo { stage, step: Some(3) }).to_vec();
    RunInfo { chat: stage.chat(), parent, stages, ..info(stage) }
}

fn offer(pair: u64) -> Event {
    let text = |t: &str| t.to_owned();
    let answers = [text("西湖。"), text("西溪。")];
    Event::Offered(Box::new(Pair { id: pair, step: 4, prompt: text("去哪里？"), answers, ..Pair::default() }))
}

fn tally(decided: usize) -> Tally {
    Tally { decided, left: decided, agreed: vec![true; decided], until_refit: 5, weight: 8.0, ..Tally::default() }
}

fn voted(pair: u64, choice: Choice) -> Event {
    let pair =
        Pair { id: pair, scores: Some([0.5, -0.25]), lengths: [3, 3], logprobs: [-1.0, -2.0], ..Pair::default() };
    Event::Voted { vote: Box::new(Vote { pair, choice, ..Vote::default() }), tally: tally(1) }
}

fn asks(prompt: Option<&str>) -> Cmd {
    Cmd::Send(Command::Offer { prompt: prompt.map(str::to_owned) })
}

/// A state with a pair on the screen.
fn choosing() -> AppState {
    let mut state = started_with_feedback(Ppo);
    assert_eq!(press(&mut state, &[Key::char('v')]), [asks(None)]);
    event(&mut state, offer(7));
    assert_eq!(state.mode(), Mode::Vote);
    state
}

#[test]
fn every_vote_has_its_keys_and_the_next_pair_is_requested_at_once() {
    let keys = [
        (Key::plain(Code::Left), Choice::A),
        (Key::char('a'), Choice::A),
        (Key::char('ａ'), Choice::A),
        (Key::plain(Code::Right), Choice::B),
        (Key::char('b'), Choice::B),
        (Key::char('A'), Choice::MuchA),
        (Key::alt(Code::Left), Choice::MuchA),
        (Key::char('Ｂ'), Choice::MuchB),
        (Key::alt(Code::Right), Choice::MuchB),
        (Key::plain(Code::Down), Choice::Tie),
        (Key::char('＝'), Choice::Tie),
        (Key::char('x'), Choice::BothBad),
        (Key::ctrl('x'), Choice::BothBad),
        (Key::char('n'), Choice::Skip),
        (Key::ctrl('n'), Choice::Skip),
    ];
    for (key, choice) in keys {
        let mut state = choosing();
        update(&mut state, Msg::Tick(Duration::from_millis(2500)));
        let vote = Cmd::Send(Command::Vote { pair: 7, choice, seconds: 2.5 });
        assert_eq!(press(&mut state, &[key]), [vote, asks(None)], "{key}");
        assert!(press(&mut state, &[key]).is_empty(), "{key}: no pair, no vote, no second wish");
        event(&mut state, voted(7, choice));
        event(&mut state, offer(8));
        assert!(state.requests.is_empty(), "{key}");
        assert_eq!(state.voting.last.as_ref().map(|l| (l.pair.id, l.choice)), Some((7, choice)));
    }
}

#[test]
fn nothing_of_it_is_there_before_fine_tuning() {
    let mut state = started_with_feedback(Pretrain);
    assert!(press(&mut state, &[Key::char('v')]).is_empty());
    assert_eq!(state.mode(), Mode::Nav);
    let mut old = started_in(Sft);
    assert!(press(&mut old, &[Key::char('v')]).is_empty(), "a run without a reward stage has no votes");
}

#[test]
fn a_vote_taken_back_can_be_given_again() {
    let mut state = choosing();
    assert!(press(&mut state, &[Key::char('u')]).is_empty(), "no vote yet");
    press(&mut state, &[Key::char('a')]);
    event(&mut state, voted(7, Choice::A));
    event(&mut state, offer(8));
    assert_eq!(
        press(&mut state, &[Key::char('u'), Key::plain(Code::Backspace)]),
        [Cmd::Send(Command::Unvote { pair: None })]
    );
    event(&mut state, Event::Unvoted { pair: 7, tally: tally(0) });
    assert_eq!(state.voting.pair.as_ref().map(|p| p.of.id), Some(7));
    assert!(state.voting.last.is_none());
    let again = press(&mut state, &[Key::char('b')]);
    assert!(matches!(&again[..], [Cmd::Send(Command::Vote { pair: 7, choice: Choice::B, .. })]), "{again:?}");
    assert_eq!(state.voting.pair.as_ref().map(|p| p.of.id), Some(8), "the pair set aside is back");
}

#[test]
fn a_pair_is_rewritten_into_a_demonstration() {
    for key in [Key::char('e'), Key::ctrl('e')] {
        let mut state = choosing();
        press(&mut state, &[key]);
        assert_eq!(state.mode(), Mode::Edit);
        let field = |s: &AppState| s.chat.edit.as_ref().map(|e| e.field.text().to_owned());
        assert_eq!(field(&state).as_deref(), Some("西湖。"));
        press(&mut state, &[Key::plain(Code::Tab)]);
        assert_eq!(field(&state).as_deref(), Some("西溪。"));
        press(&mut state, &[Key::plain(Code::Backspace), Key::char('吧')]);
        press(&mut state, &[Key::plain(Code::Tab)]);
        assert_eq!(field(&state).as_deref(), Some("西溪吧"), "what was written is not lost");
        press(&mut state, &[ESC]);
        assert_eq!(state.mode(), Mode::Vote, "the draft waits");
        let sent = press(&mut state, &[key, ENTER]);
        let turn = |role, content: &str| Turn::new(role, content);
        let turns =
            vec![turn(crate::protocol::Role::User, "去哪里？"), turn(crate::protocol::Role::Assistant, "西溪吧")];
        assert_eq!(sent, [Cmd::Send(Command::Demonstrate { turns }), asks(None)]);
        event(&mut state, Event::Demonstrated { step: 9, count: 1 });
        event(&mut state, offer(8));
        assert!(state.requests.is_empty() && state.chat.edit.is_none());
        assert_eq!(state.mode(), Mode::Vote);
    }
}

#[test]
fn a_typed_prompt_is_sent_from_any_cursor_position() {
    for open in [vec![Key::char('i')], vec![ENTER], vec![]] {
        let mut state = choosing();
        press(&mut state, &open);
        press(&mut state, &[Key::char('杭'), Key::char('a')]);
        assert_eq!((state.mode(), state.voting.field.text()), (Mode::Text, "杭a"), "letters are text there");
        press(&mut state, &[ESC]);
        assert_eq!((state.mode(), state.voting.field.text()), (Mode::Vote, "杭a"));
        assert_eq!(press(&mut state, &[Key::char('i'), ENTER]), [asks(Some("杭a"))]);
        assert!(state.voting.pair.is_none() && state.mode() == Mode::Vote);
    }
    let mut state = choosing();
    update(&mut state, Msg::Paste("苏州呢？".to_owned()));
    assert_eq!(press(&mut state, &[ENTER]), [asks(Some("苏州呢？"))]);
}

#[test]
fn digits_stay_stages_and_esc_goes_back() {
    let mut state = choosing();
    assert!(press(&mut state, &[Key::char('4')]).is_empty());
    assert_eq!((state.mode(), state.shown().id), (Mode::Nav, Some(Reward)));
    assert!(press(&mut state, &[Key::char('v')]).is_empty(), "the pair is still there");
    press(&mut state, &[ESC]);
    assert_eq!((state.mode(), state.shown().id), (Mode::Nav, Some(Reward)));
    assert_eq!(press(&mut state, &[Key::char('v'), Key::char(' ')]), [Cmd::Send(Command::Pause)]);
    press(&mut state, &[Key::char('t')]);
    assert!(state.voting.marked);
    press(&mut state, &[Key::ctrl('t')]);
    assert!(!state.voting.marked);
}

#[test]
fn a_refused_offer_shows_why_and_can_be_requested_again() {
    let mut state = started_with_feedback(Reward);
    press(&mut state, &[Key::char('v')]);
    event(&mut state, Event::Refused { text: "all the same".to_owned() });
    assert_eq!(state.voting.refused.as_ref().map(|r| r.get(Lang::Zh).as_str()), Some("all the same"));
    assert!(press(&mut state, &[Key::char('a'), Key::char('e'), Key::char('t')]).is_empty());
    assert_eq!(press(&mut state, &[Key::char('n')]), [asks(None)]);
    assert!(state.voting.refused.is_none());
}

#[test]
fn the_reward_model_is_refitted_by_votes_or_a_key() {
    let mut state = choosing();
    assert!(press(&mut state, &[Key::char('r')]).is_empty(), "nothing to learn from");
    press(&mut state, &[Key::char('a')]);
    event(&mut state, voted(7, Choice::A));
    event(&mut state, offer(8));
    assert_eq!(press(&mut state, &[Key::char('r'), Key::ctrl('r')]), [Cmd::Send(Command::Refit)]);
    let checkpoint = "reward-00000072".to_owned();
    let refit = Refit {
        version: 2,
        votes: 6,
        pairs: 40,
        weight: 8.0,
        steps: 9,
        seconds: 2.0,
        agreement: (0.5, 0.75),
        accuracy: (0.9, 0.9),
        checkpoint,
        predicted: None,
        taught: Vec::new(),
    };
    event(&mut state, Event::Refitted(refit));
    assert!(state.requests.is_empty());
    assert_eq!(state.voting.tally.as_ref().map(|t| t.version), Some(2));
    assert!(state.log.back().is_some_and(|l| l.text.get(Lang::Zh).contains("50% > 75%")));
}

#[test]
fn any_vote_can_be_selected_and_taken_back() {
    let mut state = choosing();
    let cast = |id| {
        let pair = Pair { id, prompt: "去哪里？".to_owned(), ..Pair::default() };
        Vote { pair, choice: Choice::A, ..Vote::default() }
    };
    let with = |pairs: &[u64]| Tally { cast: pairs.iter().map(|p| cast(*p)).collect(), ..tally(pairs.len()) };
    assert!(press(&mut state, &[Key::char('['), Key::char(']')]).is_empty(), "no vote yet");
    event(&mut state, Event::Counted(Box::new(with(&[3, 5, 6]))));
    let selected = |state: &AppState| state.voting.to_undo().map(|v| v.pair.id);
    assert_eq!((selected(&state), state.voting.chosen), (Some(6), None));
    press(&mut state, &[Key::char('['), Key::char('['), Key::char('[')]);
    assert_eq!(selected(&state), Some(3), "the oldest is the last");
    press(&mut state, &[Key::char(']')]);
    assert_eq!(press(&mut state, &[Key::char('u')]), [Cmd::Send(Command::Unvote { pair: Some(5) })]);
    event(&mut state, Event::Unvoted { pair: 5, tally: with(&[3, 6]) });
    assert_eq!((selected(&state), state.voting.chosen), (Some(6), None));
    press(&mut state, &[Key::char('['), Key::char(']')]);
    assert_eq!(state.voting.chosen, None, "the newest needs no selection");
}

#[test]
fn another_stage_offers_its_answers() {
    let mut state = choosing();
    press(&mut state, &[Key::char('a')]);
    event(&mut state, Event::Finished { step: 4, reason: "switched".to_owned(), failed: false, seconds: 0.0 });
    assert!(state.voting.pair.is_none() && state.requests.is_empty());
    assert_eq!(event(&mut state, Event::Started(Box::new(feedback_info(Grpo)))), [asks(None)]);
    assert_eq!(state.mode(), Mode::Vote);
    event(&mut state, Event::Finished { step: 4, reason: "done".to_owned(), failed: false, seconds: 0.0 });
    assert_eq!(state.mode(), Mode::Nav);
}
