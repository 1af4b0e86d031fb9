//! Fine-tuning, and answers beside each other, for tests of the screen.

use danlu::{
    protocol::Event,
    ui::{
        keys::{Code, Key},
        state::AppState,
        strings::Lang,
        update::{Msg, update},
    },
};

use super::{
    Line,
    screen::{paint, press, screen, type_in},
};

pub fn said(state: &mut AppState, id: u64, text: &str, step: usize) {
    scored(state, id, text, step, None);
}

pub fn scored(state: &mut AppState, id: u64, text: &str, step: usize, score: Option<f64>) {
    update(state, Msg::Event(Event::PromptText { id, text: text.to_owned(), step: Some(step) }));
    let (tokens, seconds, finish_reason) = (text.chars().count(), 0.4, "stop".to_owned());
    update(state, Msg::Event(Event::PromptDone { id, step: Some(step), tokens, seconds, finish_reason, score }));
}

/// The base answers a question with a long text, beside a short answer and an empty one.
pub fn rambling(lang: Lang) -> AppState {
    let mut state = screen(lang, super::feedback::policy_until(Line::Ppo, 22));
    press(&mut state, &[Key::char('b'), Key::char('b')]);
    type_in(&mut state, "翻译：我喜欢喝茶。");
    press(&mut state, &[Key::plain(Code::Enter), Key::plain(Code::Esc)]);
    said(&mut state, 1, "I like to drink tea.", 22);
    said(&mut state, 2, "", 400);
    let poem = |at: usize| format!("第{at}首：春眠不觉晓，处处闻啼鸟。\n");
    said(&mut state, 3, &(1..40).map(poem).collect::<String>(), 1200);
    state
}

/// States of fine-tuning.
pub fn tuning_states(lang: Lang) -> Vec<(&'static str, AppState)> {
    let (esc, enter, tab) = (Key::plain(Code::Esc), Key::plain(Code::Enter), Key::plain(Code::Tab));
    let tuning = || screen(lang, super::sft_until(200));
    let mut states = vec![("tuning", tuning())];

    let mut before = screen(lang, super::run_until(640));
    press(&mut before, &[Key::char('3')]);
    states.push(("tuning_before", before));

    let mut ask = screen(lang, super::run_until(640));
    press(&mut ask, &[Key::char('3'), Key::char('g')]);
    states.push(("switch", ask));

    let mut switching = screen(lang, super::run_until(640));
    press(&mut switching, &[Key::char('3'), Key::char('g'), enter]);
    states.push(("switching", switching));

    let mut refused = screen(lang, super::run_until(1));
    press(&mut refused, &[Key::char('3'), Key::char('g'), enter]);
    let text = "sft starts from pretrain, which has no checkpoint yet: train pretrain first (2, then g)".to_owned();
    update(&mut refused, Msg::Event(Event::Refused { text }));
    states.push(("refused", refused));

    let mut back = tuning();
    press(&mut back, &[Key::char('2')]);
    states.push(("looking_back", back));

    let mut probe = tuning();
    press(&mut probe, &[tab, tab, Key::plain(Code::Right), Key::plain(Code::Right), Key::char('z')]);
    states.push(("probe_expanded", probe));

    let mut batch = tuning();
    press(&mut batch, &[tab, tab, tab]);
    paint(&mut batch, 120, 36);
    press(&mut batch, &[Key::plain(Code::Right); 22]);
    states.push(("batch_cursor", batch));

    let mut talk = tuning();
    type_in(&mut talk, "杭州在哪个省？");
    press(&mut talk, &[enter]);
    said(&mut talk, 1, "浙江省。", 200);
    press(&mut talk, &[esc, Key::char('n'), Key::char('b')]);
    type_in(&mut talk, "春天来了，请写两句话。");
    press(&mut talk, &[enter]);
    said(&mut talk, 2, "春天来了，花都开了。燕子从南方飞回来，在屋檐下做窝。", 200);
    said(&mut talk, 3, "春天来了，请写两句话。春天来了，请写两句话的人，不知道春天来了", 1200);
    states.push(("side_by_side", talk));

    states.push(("beside_rambling", rambling(lang)));

    let mut edit = tuning();
    type_in(&mut edit, "杭州在哪个省？");
    press(&mut edit, &[enter]);
    said(&mut edit, 1, "浙江省。", 200);
    type_in(&mut edit, "那里有什么好玩的？");
    press(&mut edit, &[enter]);
    said(&mut edit, 2, "有西湖。", 200);
    press(&mut edit, &[esc, Key::char('e'), Key::plain(Code::Backspace)]);
    type_in(&mut edit, "，还有灵隐寺和雷峰塔。");
    press(&mut edit, &[Key::ctrl('j')]);
    type_in(&mut edit, "春天去最好。");
    states.push(("correcting", edit));

    let mut corrected = tuning();
    type_in(&mut corrected, "杭州在哪个省？");
    press(&mut corrected, &[enter]);
    said(&mut corrected, 1, "江苏省。", 200);
    press(&mut corrected, &[esc, Key::char('e'), Key::ctrl('u')]);
    type_in(&mut corrected, "浙江省。");
    press(&mut corrected, &[enter]);
    update(&mut corrected, Msg::Event(Event::Demonstrated { step: 201, count: 3 }));
    states.push(("corrected", corrected));
    states
}
