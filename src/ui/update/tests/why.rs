//! Keys that cannot act say why, and other faults that a demanding user found.

use super::{
    vote::{feedback_info, started_with_feedback},
    *,
};
use crate::protocol::Pair;

fn notice(state: &AppState) -> String {
    state.notice.as_ref().map_or_else(String::new, |n| n.0.get(state.lang).to_string())
}

/// What is said after these keys.
fn said(state: &mut AppState, keys: &str) -> String {
    state.notice = None;
    let cmds: Vec<Cmd> = keys.chars().flat_map(|c| press(state, &[Key::char(c)])).collect();
    assert_eq!(cmds, [], "{keys} acts");
    notice(state)
}

#[test]
fn a_key_that_cannot_act_says_why() {
    let mut state = started_with(feedback_info(Pretrain));
    event(&mut state, Event::Steps(vec![step(1, 2.0)]));
    for (key, words) in [
        ("v", "微调及之后"),
        ("e", "微调之后才有对话"),
        ("n", "微调之后才有对话"),
        ("b", "没有上游模型"),
        ("g", "已经在训练"),
        ("u", "取消标注"),
        ("Q", "没有这个按键"),
        ("ｖ", "微调及之后"),
    ] {
        let said = said(&mut state, key);
        assert!(said.contains(words), "{key}: {said:?}");
        state.lang = Lang::En;
        assert!(!notice(&state).is_empty() && notice(&state) != said, "{key} in English");
        state.lang = Lang::Zh;
    }
    let mut tuned = started_with_feedback(Sft);
    assert!(said(&mut tuned, "e").contains("还没有可以修改的回答"));
    event(&mut tuned, Event::Finished { step: 3, reason: "done".to_owned(), failed: false, seconds: 0.0 });
    for key in [" ", "w", "i", "p", "v"] {
        assert!(said(&mut tuned, key).contains("训练已经结束"), "{key}");
    }
}

#[test]
fn keys_of_movement_and_leaving_stay_silent() {
    let mut state = started();
    for key in [Key::plain(Code::Left), Key::plain(Code::Right), Key::plain(Code::F(5)), ESC, Key::ctrl('y')] {
        press(&mut state, &[key]);
        assert_eq!(notice(&state), "", "{key}");
    }
}

/// Keys in the room are about the sources, whatever had the focus.
#[test]
fn the_room_opens_with_the_sources_in_focus() {
    for panel in [Panel::CHAT, Panel::LOG, Panel::LOSS] {
        let mut state = started();
        state.focus_on(panel);
        press(&mut state, &[Key::char('1')]);
        assert_eq!(state.focus, Panel::SOURCES, "{panel:?}");
    }
    let mut state = started();
    press(&mut state, &[Key::char('1'), Key::plain(Code::Tab)]);
    let there = state.focus;
    press(&mut state, &[Key::char('1')]);
    assert_eq!(state.focus, there, "in the room it changes nothing");
}

fn offer(pair: u64) -> Event {
    let text = str::to_owned;
    let answers = [text("西湖。"), text("西溪。")];
    Event::Offered(Box::new(Pair { id: pair, step: 4, prompt: text("去哪里？"), answers, ..Pair::default() }))
}

/// A draft of the chat is not the beginning of a prompt for a pair.
#[test]
fn the_chat_and_the_pairs_have_their_own_drafts() {
    let mut state = started_with_feedback(Ppo);
    press(&mut state, &[Key::char('你'), Key::char('好'), ESC, Key::char('v')]);
    event(&mut state, offer(1));
    press(&mut state, &[Key::char('i'), Key::char('杭')]);
    assert_eq!((state.field.text(), state.voting.field.text()), ("你好", "杭"));
    let sent = press(&mut state, &[ENTER]);
    assert_eq!(sent, [Cmd::Send(Command::Offer { prompt: Some("杭".to_owned()) })]);
    press(&mut state, &[ESC, Key::char('i')]);
    assert_eq!(state.field.text(), "你好", "and the chat's is still there");
}

/// After a vote was taken back, the pair of an own prompt comes before the one that was set aside.
#[test]
fn an_own_pair_comes_next() {
    let mut state = started_with_feedback(Ppo);
    press(&mut state, &[Key::char('v')]);
    event(&mut state, offer(1));
    press(&mut state, &[Key::char('a')]);
    event(&mut state, offer(2));
    press(&mut state, &[Key::char('u')]);
    event(&mut state, Event::Unvoted { pair: 1, tally: crate::protocol::Tally::default() });
    assert_eq!(state.voting.pair.as_ref().map(|p| p.of.id), Some(1));
    press(&mut state, &[Key::char('i'), Key::char('杭'), ENTER]);
    assert!(state.voting.pair.is_none() && state.awaits(&Request::Offer), "two answers are being written");
    event(&mut state, offer(3));
    assert_eq!(state.voting.pair.as_ref().map(|p| p.of.id), Some(3));
    press(&mut state, &[Key::char('a')]);
    assert_eq!(state.voting.pair.as_ref().map(|p| p.of.id), Some(2));
}

#[test]
fn opening_a_stage_says_what_takes_long() {
    let mut state = started_with_feedback(Sft);
    press(&mut state, &[Key::char('4'), Key::char('g'), ENTER]);
    for (work, of, en, zh) in [
        (Work::Answers, 2984, "the model first writes answers: 1,204 / 2,984", "先生成模型自己的回答 1,204 / 2,984"),
        (Work::Clean, 3 << 30, "cleaning text 1.2 KiB / 3.0 GiB", "清洗文本 1.2 KiB / 3.0 GiB"),
        (Work::Select, 0, "removing duplicates", "去重并划分文档"),
    ] {
        let preparation = Preparation { work, done: 1204, of };
        event(&mut state, Event::Opening(preparation));
        assert_eq!(state.opening, Some(preparation));
        assert_eq!([Lang::En, Lang::Zh].map(|lang| strings::preparation(lang, preparation)), [en, zh]);
    }
    event(&mut state, Event::Started(Box::new(feedback_info(Reward))));
    assert_eq!(state.opening, None);
}

/// A reward model cannot talk: the model that it started from answers, and is named.
#[test]
fn beside_a_reward_model_its_parent_talks() {
    let state = started_with_feedback(Reward);
    assert_eq!(state.whose(Who::Live, Some(Reward)), "微调");
    assert_eq!(state.ancestors(), [Who::Base], "the parent answers already");
}

/// What was refused is requested again by a key or after a change, not by the clock.
#[test]
fn data_that_were_refused_are_not_asked_for_again_and_again() {
    let mut state = started();
    event(&mut state, Event::Steps(vec![step(1, 2.0)]));
    state.data.chosen = "poems".to_owned();
    press(&mut state, &[Key::char('1')]);
    for panel in [Panel::NEXT_BATCH, Panel::PREVIEW] {
        see(&mut state, panel);
        event(&mut state, Event::Refused { text: "no".to_owned() });
        for second in 1..20 {
            event(&mut state, Event::Steps(vec![step(1 + second as usize, 2.0)]));
            assert_eq!(update(&mut state, Msg::Tick(Duration::from_secs(10 * second))), []);
        }
    }
}

/// The end of PPO in the shell: scores, not the loss of a policy.
#[test]
fn the_summary_of_a_policy_has_its_scores() {
    let mut state = started_with_feedback(Ppo);
    event(&mut state, Event::Steps(vec![step(3, -0.0203)]));
    let report = crate::protocol::PolicyReport {
        step: 3,
        task: "all".to_owned(),
        true_score: 0.27,
        reward: 0.5,
        kl: 2.1,
        ..crate::protocol::PolicyReport::default()
    };
    event(&mut state, Event::Policy(report));
    let text = summary(&state).join("\n");
    assert!(text.contains("真实得分 0.270") && text.contains("KL 2.10") && !text.contains("损失"), "{text}");
}

#[test]
fn a_probe_is_scored_by_its_alignment() {
    const POEM: &str = "处处闻啼鸟。夜来风雨声，花落知多少。";
    let mut state = started();
    for (text, matched, score, astray) in [
        (POEM, 18, 18, None),
        ("处处处闻啼鸟。夜来风雨声，花落知多少", 2, 16, Some((1, 1))),
        ("处处闻啼。夜来风雨声，花落知多少。", 4, 17, Some((0, 1))),
        ("处处闻啼鸟，不知何处去，春风吹又生。", 5, 5, None),
        ("，，，，，，", 0, 0, None),
        ("", 0, 0, None),
    ] {
        event(
            &mut state,
            Event::Probe {
                step: 1,
                task: None,
                prompt: "春眠不觉晓，".to_owned(),
                text: text.to_owned(),
                expected: POEM.to_owned(),
                matched,
                length: 18,
                recall: true,
                lines: Vec::new(),
            },
        );
        let entry = state.live().probes[0].entries.last().cloned().unwrap_or_default();
        assert_eq!((entry.score, entry.astray), (score, astray), "{text}");
        let right: usize = entry.right.iter().map(|r| entry.text[r.clone()].chars().count()).sum();
        assert!(right >= entry.score, "{text}");
    }
}
