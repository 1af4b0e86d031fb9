//! Viewing alignment: sibling stages, rollouts, the guard, answers side by side.

use super::{
    vote::{feedback_info, started_with_feedback},
    *,
};
use Who::{Base, Live, Parent};

use crate::protocol::{ActionView, RolloutView};

#[test]
fn five_goes_from_sibling_to_sibling() {
    let mut state = started_with_feedback(Sft);
    let mut seen = Vec::new();
    for _ in 0..4 {
        press(&mut state, &[Key::char('5')]);
        seen.extend(state.shown().id);
    }
    assert_eq!(seen, [Ppo, Dpo, Grpo, Ppo]);
    let mut live = started_with_feedback(Grpo);
    press(&mut live, &[Key::char('2'), Key::char('5')]);
    assert_eq!(live.shown().id, Some(Grpo), "the one that runs comes first");
}

fn rollout(step: usize, which: usize) -> Event {
    let action = |text: &str| ActionView {
        text: text.to_owned(),
        logprob: -1.0,
        reference: -1.5,
        value: None,
        reward: 0.0,
        advantage: 0.5,
        ratio: 1.0,
        clipped: false,
    };
    let actions = vec![action("西"), action("湖"), action("<|im_end|>")];
    let prompt = "去哪里？".to_owned();
    Event::Rollout(Box::new(RolloutView { step, which, of: 3, prompt, score: 0.5, ended: true, actions }))
}

#[test]
fn a_rollout_is_requested_while_visible_and_held_while_read() {
    let mut state = started_with_feedback(Ppo);
    let tick = |state: &mut AppState, ms: u64| update(state, Msg::Tick(Duration::from_millis(ms)));
    let show = |which| [Cmd::Send(Command::ShowRollout { which })];
    see(&mut state, Panel::ROLLOUT);
    assert!(tick(&mut state, 0).is_empty(), "no update, no answers");
    event(&mut state, Event::Steps(vec![step(1, 0.1)]));
    assert_eq!(tick(&mut state, 100), show(0));
    assert!(tick(&mut state, 2000).is_empty(), "one wish at a time");
    event(&mut state, rollout(1, 0));
    assert!(tick(&mut state, 4000).is_empty(), "nothing newer is known");
    event(&mut state, Event::Steps(vec![step(2, 0.1)]));
    assert_eq!(tick(&mut state, 4100), show(0));
    event(&mut state, rollout(2, 0));
    state.focus = Panel::ROLLOUT;
    assert_eq!(press(&mut state, &[Key::plain(Code::Right)]), show(1));
    event(&mut state, rollout(2, 1));
    assert_eq!(press(&mut state, &[Key::char('h'), Key::char('h')]), [show(0), show(2)].concat());
    event(&mut state, rollout(2, 0));
    event(&mut state, rollout(2, 2));
    press(&mut state, &[Key::plain(Code::Down), Key::char('j')]);
    assert_eq!(state.shown().feedback.token, Some(1));
    event(&mut state, Event::Steps(vec![step(3, 0.1)]));
    assert!(tick(&mut state, 9000).is_empty(), "a token is held");
    event(&mut state, rollout(3, 2));
    assert_eq!(state.shown().feedback.rollout.as_ref().map(|r| r.step), Some(2), "nor taken away");
    press(&mut state, &[Key::plain(Code::End), ESC]);
    assert_eq!(tick(&mut state, 9100), show(2));
    event(&mut state, Event::Refused { text: "not yet".to_owned() });
    assert!(state.notice.is_none() && state.requests.is_empty(), "nobody asked by a key");
}

#[test]
fn a_stage_that_the_guard_stopped_is_opened_again() {
    let mut state = started_with_feedback(Ppo);
    let reason = "the answers become one".to_owned();
    event(
        &mut state,
        Event::Guarded { step: 12, reason, checkpoint: Some("ppo-00000005".to_owned()), may_go_on: false },
    );
    event(&mut state, Event::Paused { step: 12 });
    assert!(press(&mut state, &[Key::char(' '), Key::char('w')]).is_empty(), "it cannot go on, nor be saved");
    press(&mut state, &[ESC]);
    assert!(state.live().feedback.guard.as_ref().is_some_and(|g| g.read));
    let go = Cmd::Send(Command::Stage { stage: Ppo });
    assert_eq!(press(&mut state, &[Key::char('g')]), [go]);
    event(&mut state, Event::Finished { step: 12, reason: "switched".to_owned(), failed: false, seconds: 0.0 });
    event(&mut state, Event::Started(Box::new(feedback_info(Ppo))));
    assert!(state.live().feedback.guard.is_none() && state.switching().is_none());
    assert_eq!(press(&mut state, &[Key::char(' ')]), [Cmd::Send(Command::Pause)]);
}

#[test]
fn b_asks_the_fine_tuned_model_and_then_the_base_as_well() {
    let mut state = started_with_feedback(Ppo);
    let ask = |state: &mut AppState| {
        let sent = press(state, &[Key::char('早'), ENTER]);
        let who: Vec<Who> = asked(&sent).iter().map(|a| a.1).collect();
        let ids: Vec<u64> = asked(&sent).iter().map(|a| a.0).collect();
        for id in ids {
            answer(state, id, "好");
        }
        press(state, &[ESC]);
        who
    };
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(ask(&mut state));
        press(&mut state, &[Key::char('b')]);
    }
    assert_eq!(all, [vec![Live], vec![Live, Parent], vec![Live, Parent, Base], vec![Live]]);
    assert_eq!([Live, Parent, Base].map(|who| state.whose(who, Some(Ppo))), ["PPO", "微调", "基座"]);
    assert_eq!([Live, Parent].map(|who| state.whose(who, Some(Sft))), ["微调", "基座"]);
}
