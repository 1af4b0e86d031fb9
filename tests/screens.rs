//! The contents of the screen, by size, language and state; nothing may make it fail.
#![allow(
    clippy::expect_used,
    clippy::format_push_string,
    reason = "a test may fail by panicking, and need not be fast"
)]

mod fake;

use fake::{
    Line,
    charts::{chart_states, exported, long},
    screen::{paint, painted, press, rows, screen, shown, type_in},
    tuning::{rambling, scored, tuning_states},
};
use std::time::Duration;

use danlu::{
    protocol::{
        ActionView, BatchView, Command, Event, LineChance, Pair, PolicyReport, RolloutView, Setting, TaskReport,
        TokenView,
    },
    ui::{
        keys::{Code, Key},
        panels::{self, PANELS},
        state::{AppState, ConfigPane, Overlay, Panel},
        strings::Lang,
        theme::{Depth, GlyphSet},
        update::{Cmd, Msg, update},
        view,
    },
};
use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};
use unicode_width::UnicodeWidthStr as _;

#[test]
fn a_long_answer_hides_no_answer_beside_it() {
    for (wide, high) in [(120, 36), (200, 60), (100, 30), (80, 24), (60, 16)] {
        let mut state = rambling(Lang::Zh);
        state.focus = Panel::CHAT;
        let text = shown(&state, wide, high);
        for part in ["翻译：我喜欢喝茶。", "I like to", "第1首", "（空）"] {
            assert!(text.contains(part), "{part} at {wide}x{high}:\n{text}");
        }
        // Selected, it is shown to its end.
        paint(&mut state, wide, high);
        press(&mut state, &[Key::plain(Code::Left)]);
        let seen = (0..60).any(|_| {
            press(&mut state, &[Key::plain(Code::Down)]);
            paint(&mut state, wide, high);
            shown(&state, wide, high).contains("第39首")
        }) || (0..60).any(|_| {
            press(&mut state, &[Key::plain(Code::Up)]);
            paint(&mut state, wide, high);
            shown(&state, wide, high).contains("第39首")
        });
        assert!(seen, "its end at {wide}x{high}:\n{}", shown(&state, wide, high));
    }
}

/// The states a screen can be in.
fn states(lang: Lang) -> Vec<(&'static str, AppState)> {
    let mut states = vec![
        ("empty", screen(lang, Vec::new())),
        ("one_point", screen(lang, fake::run_until(1))),
        ("running", screen(lang, fake::run_until(640))),
    ];
    let mut nan = fake::run_until(300);
    for at in 301..=320 {
        let mut step = fake::step(at);
        (step.loss, step.grad_norm, step.applied) = (f64::NAN, f64::INFINITY, at < 318);
        nan.push(Event::Steps(vec![step]));
    }
    nan.extend((321..=400).map(|at| Event::Steps(vec![fake::step(at)])));
    nan.push(Event::SaveFailed { step: 400, error: "disk full: 12.0 MiB needed, 3.1 MiB free".to_owned() });
    states.push(("not_finite", screen(lang, nan)));
    let mut paused = fake::run_until(640);
    paused.push(Event::Paused { step: 640 });
    states.push(("paused", screen(lang, paused)));
    let mut done = fake::run_until(fake::STEPS);
    done.push(Event::Finished { step: fake::STEPS, reason: "done".to_owned(), failed: false, seconds: 0.0 });
    states.push(("finished", screen(lang, done)));
    for (name, key) in [("help", Key::char('?')), ("quit", Key::char('q')), ("palette", Key::char(':'))] {
        let mut state = screen(lang, fake::run_until(640));
        press(&mut state, &[key]);
        states.push((name, state));
    }
    let config = || {
        let mut state = screen(lang, fake::run_until(640));
        update(&mut state, Msg::Event(fake::config::edited()));
        press(&mut state, &[Key::char('s')]);
        state
    };
    let mut chosen = config();
    press(&mut chosen, &[Key::plain(Code::PageDown), Key::plain(Code::Down)]);
    states.push(("config", chosen));
    let mut filtered = config();
    press(&mut filtered, &[Key::plain(Code::Tab), Key::char('/')]);
    type_in(&mut filtered, "steps");
    states.push(("config_filter", filtered));
    let mut chat = screen(lang, fake::run_until(640));
    type_in(&mut chat, "春眠不觉晓，");
    press(&mut chat, &[Key::plain(Code::Enter)]);
    for text in ["处处闻啼鸟。", "夜来", "风雨声，花落"] {
        update(&mut chat, Msg::Event(Event::PromptText { id: 1, text: text.to_owned(), step: Some(640) }));
    }
    type_in(&mut chat, "床前明月光");
    states.push(("chat", chat));
    states.extend(chart_states(lang));
    states.extend(tuning_states(lang));
    states.extend(feedback_states(lang));
    states.extend(data_states(lang));
    states
}

/// States of the data view.
fn data_states(lang: Lang) -> Vec<(&'static str, AppState)> {
    let (enter, down, tab) = (Key::plain(Code::Enter), Key::plain(Code::Down), Key::plain(Code::Tab));
    let open = || {
        let mut state = screen(lang, fake::run_until(640));
        let mut data = fake::data::Data::default();
        keys(&mut state, &mut data, &[Key::char('1')]);
        (state, data)
    };
    let mut states = Vec::new();

    let mut waiting = screen(lang, fake::run_until(640));
    press(&mut waiting, &[Key::char('1')]);
    states.push(("data_waiting", waiting));

    let mut refused = screen(lang, fake::feedback::reward_until(45));
    press(&mut refused, &[Key::char('1')]);
    states.push(("data_refused", refused));

    states.push(("data", open().0));

    // A requested weight, one in effect, a saved file and a broken one.
    let edited = || {
        let (mut edited, mut data) = open();
        keys(&mut edited, &mut data, &[Key::char('+')]);
        for (seconds, told) in [(9, data.save_file(640)), (40, data.break_file(640))] {
            let later = edited.now + Duration::from_secs(seconds);
            update(&mut edited, Msg::Tick(later));
            for event in told {
                update(&mut edited, Msg::Event(event));
            }
        }
        press(&mut edited, &[down, Key::char('-'), down]);
        edited
    };
    states.push(("data_edited", edited()));
    let mut charted = edited();
    press(&mut charted, &[Key::char('2')]);
    for at in 641..=720 {
        update(&mut charted, Msg::Event(Event::Steps(vec![fake::step(at)])));
    }
    states.push(("edits_on_the_chart", charted));

    // A threshold on trial.
    let (mut trial, mut data) = open();
    keys(&mut trial, &mut data, &[tab, down, down, down, Key::char('+'), Key::char('+')]);
    states.push(("data_trial", trial));

    // Pairs of near duplicates.
    let (mut pair, mut data) = open();
    keys(&mut pair, &mut data, &[tab, Key::plain(Code::End), enter, down, down]);
    states.push(("data_pair", pair));

    // Documents dropped by a rule, over all sources; one is labelled.
    let (mut dropped, mut data) = open();
    keys(&mut dropped, &mut data, &[tab, Key::char('a'), down, down, down, down, enter, down, Key::char('y')]);
    states.push(("data_dropped", dropped));

    let (mut preview, mut data) = open();
    keys(&mut preview, &mut data, &[enter, Key::plain(Code::Right), Key::char('x')]);
    states.push(("data_preview", preview));

    let (mut changes, mut data) = open();
    keys(&mut changes, &mut data, &[Key::char('+'), Key::char('r')]);
    changes.focus = Panel("changes");
    states.push(("data_changes", changes));

    let (mut help, mut data) = open();
    keys(&mut help, &mut data, &[Key::char('?')]);
    states.push(("data_help", help));
    states
}

/// Presses keys; the fake trainer answers the requests.
fn keys(state: &mut AppState, data: &mut fake::data::Data, keys: &[Key]) {
    for key in keys {
        let cmds = press(state, &[*key]);
        hear(state, data, cmds);
    }
}

fn hear(state: &mut AppState, data: &mut fake::data::Data, cmds: Vec<Cmd>) {
    let at = state.live().steps_done();
    for cmd in cmds {
        let told = match cmd {
            Cmd::Send(Command::ShowRoom) => vec![data.view()],
            Cmd::Send(Command::ShowNextBatch) => vec![data.next_batch(at)],
            Cmd::Send(Command::ShowDocument { source, index, .. }) => vec![data.document(&source, index, at)],
            Cmd::Send(Command::ShowDropped { source, rule, from, count }) => {
                vec![data.dropped(source, rule, from, count)]
            }
            Cmd::Send(Command::TryRule { source, rule, threshold }) => data.tried(&source, &rule, threshold),
            Cmd::Send(Command::SetRule { source, rule, threshold }) => data.set_rule(&source, &rule, threshold, at),
            Cmd::Send(Command::Weigh { source, by }) => data.weigh(&source, by, at),
            Cmd::Send(Command::Mark { text, keep }) => vec![data.mark(text, keep)],
            Cmd::Send(Command::Reread) => data.save_file(at),
            _ => Vec::new(),
        };
        for event in told {
            let more = update(state, Msg::Event(event));
            hear(state, data, more);
        }
    }
}

/// States of human feedback.
fn feedback_states(lang: Lang) -> Vec<(&'static str, AppState)> {
    let (esc, enter) = (Key::plain(Code::Esc), Key::plain(Code::Enter));
    let mut states = vec![
        ("reward_before", screen(lang, fake::feedback::reward_until(0))),
        ("reward", screen(lang, fake::feedback::reward_until(45))),
        ("ppo_before", screen(lang, vec![Event::Started(Box::new(fake::feedback::feedback_info(Line::Ppo, 0)))])),
        ("ppo", screen(lang, fake::feedback::policy_until(Line::Ppo, 22))),
    ];
    // DPO after PPO: the frontiers are drawn over each other.
    let mut dpo = fake::feedback::policy_until(Line::Ppo, 22);
    dpo.push(Event::Finished { step: 22, reason: "switched".to_owned(), failed: false, seconds: 0.0 });
    dpo.extend(fake::feedback::policy_until(Line::Dpo, 60));
    let mut dpo = screen(lang, dpo);
    dpo.focus = Panel("frontier");
    states.push(("dpo", dpo));

    let mut guarded = fake::feedback::policy_until(Line::Ppo, 12);
    guarded.extend([fake::feedback::guarded(12), Event::Paused { step: 12 }]);
    states.push(("guarded", screen(lang, guarded)));

    let mut rollout = screen(lang, fake::feedback::policy_until(Line::Grpo, 12));
    rollout.focus = Panel::ROLLOUT;
    press(&mut rollout, &[Key::plain(Code::Down); 6]);
    states.push(("rollout", rollout));

    let mut three = screen(lang, fake::feedback::policy_until(Line::Ppo, 22));
    press(&mut three, &[Key::char('b'), Key::char('b')]);
    type_in(&mut three, fake::feedback::HANGZHOU);
    press(&mut three, &[enter, esc]);
    scored(&mut three, 1, "西湖、灵隐寺、雷峰塔，都值得一去。", 22, Some(0.914));
    scored(&mut three, 2, "杭州很好。", 400, Some(-0.08));
    scored(&mut three, 3, "我想去杭州玩，不知何处是他乡。", 1200, Some(-1.3));
    states.push(("three_beside", three));

    let mut waiting = screen(lang, fake::feedback::policy_until(Line::Ppo, 8));
    press(&mut waiting, &[Key::char('v')]);
    states.push(("vote_waiting", waiting));

    let mut refused = screen(lang, fake::feedback::policy_until(Line::Ppo, 8));
    press(&mut refused, &[Key::char('v')]);
    let text =
        "6 answers to \"嗯\" were all the same: there is nothing to choose between; ask something else".to_owned();
    update(&mut refused, Msg::Event(Event::Refused { text }));
    states.push(("vote_refused", refused));

    let choices = [('a', true), ('b', true), ('=', true), ('B', true), ('a', true), ('x', true), ('b', false)];
    let (mut pick, mut votes) = picking(lang, &choices);
    press(&mut pick, &[Key::char('t')]);
    states.push(("vote", pick));

    let (mut own, _) = picking(lang, &[('a', true)]);
    press(&mut own, &[Key::char('i')]);
    type_in(&mut own, "苏州有什么好玩的？");
    states.push(("vote_own", own));

    let (mut rewrite, _) = picking(lang, &[('a', true)]);
    press(&mut rewrite, &[Key::char('e'), Key::plain(Code::Tab)]);
    type_in(&mut rewrite, "春天去最好。");
    states.push(("vote_rewrite", rewrite));

    // A prompt and answers that are larger than the screen.
    let (mut long, _) = picking(lang, &[('a', true)]);
    press(&mut long, &[Key::char('n')]);
    if let Event::Offered(mut offer) = votes.offer(9, Some(fake::feedback::HANGZHOU.repeat(20))) {
        offer.answers = [offer.answers[0].repeat(30), "Yes.".to_owned()];
        update(&mut long, Msg::Event(Event::Offered(offer)));
    }
    paint(&mut long, 120, 36);
    press(&mut long, &[Key::plain(Code::PageDown)]);
    states.push(("vote_long", long));

    let (mut voted, _) = picking(lang, &choices);
    press(&mut voted, &[Key::char('5')]);
    voted.focus = Panel::VOTES;
    states.push(("votes", voted));
    states
}

/// Voting while PPO runs: these votes, each after five seconds; the last is taken back if requested.
fn picking(lang: Lang, choices: &[(char, bool)]) -> (AppState, fake::feedback::Votes) {
    let mut state = screen(lang, fake::feedback::policy_until(Line::Ppo, 8));
    let mut votes = fake::feedback::Votes::default();
    let mut cmds = press(&mut state, &[Key::char('v')]);
    for (key, keeps) in choices {
        answer(&mut state, &mut votes, cmds);
        let later = state.now + Duration::from_secs(5);
        update(&mut state, Msg::Tick(later));
        cmds = press(&mut state, &[Key::char(*key)]);
        if !keeps {
            answer(&mut state, &mut votes, std::mem::take(&mut cmds));
            cmds = press(&mut state, &[Key::char('u')]);
        }
    }
    answer(&mut state, &mut votes, cmds);
    (state, votes)
}

/// The trainer's answers.
fn answer(state: &mut AppState, votes: &mut fake::feedback::Votes, cmds: Vec<Cmd>) {
    for cmd in cmds {
        let told = match cmd {
            Cmd::Send(Command::Offer { prompt }) => vec![votes.offer(8, prompt)],
            Cmd::Send(Command::Vote { pair, choice, seconds }) => votes.vote(pair, choice, seconds),
            Cmd::Send(Command::Unvote { .. }) => vec![votes.unvote()],
            _ => Vec::new(),
        };
        for event in told {
            update(state, Msg::Event(event));
        }
    }
}

/// States whose picture on a small terminal, one panel at a time, differs in more than its width.
const SMALL: [&str; 18] = [
    "config",
    "running",
    "help",
    "quit",
    "palette",
    "chat",
    "refused",
    "batch_cursor",
    "correcting",
    "side_by_side",
    "guarded",
    "rollout",
    "vote",
    "vote_own",
    "data",
    "data_trial",
    "data_pair",
    "data_preview",
];
/// Views that are dense enough to check their English texts in two columns too.
const DENSE: [&str; 8] = ["running", "tuning", "reward", "ppo", "vote", "data", "help", "config"];

/// The tree with the cursor on an older checkpoint, and the same with two runs compared.
fn trees(lang: Lang) -> [AppState; 2] {
    let mut state = screen(lang, fake::run_until(640));
    press(&mut state, &[Key::char('T')]);
    update(&mut state, Msg::Event(Event::Runs { runs: fake::tree::runs(), unread: Vec::new() }));
    press(&mut state, &[Key::plain(Code::Down), Key::plain(Code::Left)]);
    let mut compared = screen(lang, fake::run_until(640));
    press(&mut compared, &[Key::char('T')]);
    update(&mut compared, Msg::Event(Event::Runs { runs: fake::tree::runs(), unread: Vec::new() }));
    press(
        &mut compared,
        &[Key::char(' '), Key::plain(Code::Down), Key::plain(Code::Down), Key::plain(Code::Down), Key::char(' ')],
    );
    update(&mut compared, Msg::Event(Event::Compared(Box::new(fake::tree::comparison()))));
    [state, compared]
}

#[test]
fn the_tree_of_runs() {
    for (lang, word) in [(Lang::Zh, "zh"), (Lang::En, "en")] {
        for (wide, high) in [(60, 16), (80, 24), (120, 36), (200, 60)] {
            let [tree, compared] = trees(lang);
            if (word, wide) != ("en", 200) {
                insta::assert_snapshot!(format!("tree_{word}_{wide}x{high}"), shown(&tree, wide, high));
            }
            if matches!((word, wide), ("zh", 120 | 200) | ("en", 80)) {
                insta::assert_snapshot!(format!("tree_compared_{word}_{wide}x{high}"), shown(&compared, wide, high));
            }
        }
    }
}

/// Each state in Chinese in two columns and in English in one; the tests below draw every state at many sizes.
#[test]
fn snapshots() {
    for (lang, language) in [(Lang::Zh, "zh"), (Lang::En, "en")] {
        for (name, state) in states(lang) {
            let mut sizes = vec![if lang == Lang::Zh { (120, 36) } else { (80, 24) }];
            sizes.extend((lang == Lang::Zh && SMALL.contains(&name)).then_some((60, 16)));
            sizes.extend((lang == Lang::En && DENSE.contains(&name)).then_some((120, 36)));
            for (wide, high) in sizes {
                insta::assert_snapshot!(format!("{name}_{language}_{wide}x{high}"), shown(&state, wide, high));
            }
        }
    }
}

#[test]
fn other_glyph_sets() {
    let mut state = screen(Lang::Zh, fake::run_until(640));
    state.log_y = true;
    state.glyph_set = GlyphSet::Safe;
    insta::assert_snapshot!("safe_glyphs_120x36", shown(&state, 120, 36));
    state.glyph_set = GlyphSet::Ascii;
    insta::assert_snapshot!("ascii_glyphs_80x24", shown(&state, 80, 24));
}

/// In the safe glyph set, nothing that danlu draws may be two cells wide on a terminal set to CJK widths.
#[test]
fn the_safe_set_keeps_its_promise() {
    for (name, mut state) in states(Lang::Zh) {
        state.glyph_set = GlyphSet::Safe;
        let (buf, _) = painted(&state, 120, 36);
        for row in rows(&buf) {
            assert_eq!(row.width(), row.width_cjk(), "{name}: {row}");
        }
    }
}

/// The same for every key of run.toml, whose texts come from the trainer.
#[test]
fn the_safe_set_keeps_its_promise_for_every_key_of_the_configuration() {
    for lang in [Lang::Zh, Lang::En] {
        let mut state = screen(lang, fake::run_until(1));
        state.glyph_set = GlyphSet::Safe;
        let keys = fake::config::all();
        let count = keys.len();
        update(&mut state, Msg::Event(Event::Config(keys)));
        press(&mut state, &[Key::char('s')]);
        for _ in 0..count {
            let rows = rows(&painted(&state, 120, 36).0);
            assert!(rows.iter().all(|row| row.width() == row.width_cjk()), "{rows:#?}");
            press(&mut state, &[Key::plain(Code::Down)]);
        }
    }
}

/// What can be said about a key is said in full on the smallest supported terminal.
#[test]
fn no_key_of_the_configuration_is_cut() {
    for lang in [Lang::Zh, Lang::En] {
        let mut state = screen(lang, fake::run_until(1));
        let keys = fake::config::all();
        update(&mut state, Msg::Event(Event::Config(keys.clone())));
        press(&mut state, &[Key::char('s')]);
        for key in &keys {
            let bare = |text: &str| text.replace(['`', ' ', '\n'], "");
            let shown = bare(&rows(&painted(&state, 80, 24).0).concat());
            assert!(shown.contains(&bare(key.help[usize::from(lang == Lang::Zh)])), "{}.{}", key.table, key.name);
            assert!(shown.contains(&bare(key.name)), "{}.{}", key.table, key.name);
            press(&mut state, &[Key::plain(Code::Down)]);
        }
    }
}

#[test]
fn every_panel_alone_and_expanded() {
    for (name, mut state) in states(Lang::Zh).into_iter().chain(states(Lang::En)) {
        for panel in PANELS.iter() {
            state.focus = panel.id;
            for expanded in [false, true] {
                state.expanded = expanded;
                for (wide, high) in [(60, 16), (80, 24), (120, 36), (200, 60), (300, 100)] {
                    let (buf, _) = painted(&state, wide, high);
                    assert_eq!(rows(&buf).len(), high as usize, "{name}");
                }
            }
        }
    }
}

#[test]
fn no_size_makes_it_panic() {
    for (_, mut state) in states(Lang::Zh) {
        for panel in panels::of(state.view()) {
            state.focus = panel;
            for wide in 1..=40 {
                for high in [1, 2, 3, 4, 5, 8, 13, 20] {
                    rows(&painted(&state, wide, high).0);
                }
            }
            for (wide, high) in [(70, 20), (99, 29), (100, 30), (101, 31), (1, 100), (300, 1), (300, 100)] {
                rows(&painted(&state, wide, high).0);
            }
        }
    }
    painted(&screen(Lang::En, Vec::new()), 0, 0);
}

/// Correct characters are marked by more than colour.
#[test]
fn matched_characters_are_underlined() {
    let state = screen(Lang::Zh, fake::run_until(640));
    let (buf, _) = painted(&state, 120, 36);
    let underlined =
        buf.content().iter().filter(|c| c.modifier.contains(Modifier::UNDERLINED) && c.symbol() == "处").count();
    assert!(underlined >= 2, "both characters of 处处, in the newest completion at least");
    let mut mono = state;
    mono.theme.depth = Depth::Mono;
    let (buf, _) = painted(&mono, 120, 36);
    assert!(buf.content().iter().all(|c| c.fg == ratatui::style::Color::Reset), "NO_COLOR means none");
    assert!(buf.content().iter().any(|c| c.modifier.contains(Modifier::UNDERLINED)));
}

/// All texts of the trainer are full of escape sequences; none reaches a cell.
#[test]
fn hostile_text_is_shown_not_obeyed() {
    let evil = "\x1b]0;x\x07\x1b[2J\u{202e}春\u{200b}\r\n\u{9b}31m";
    let text = || evil.to_owned();
    let mut info = fake::sft_info(0);
    info.tasks.iter_mut().for_each(|t| t.name = text());
    (info.name, info.size) = (text(), text());
    (info.engine, info.adapter, info.path) = (text(), text(), evil.into());
    info.sources.iter_mut().for_each(|s| s.name = text());
    let mut events = vec![Event::Started(Box::new(info)), Event::Steps(vec![fake::step(1)])];
    events.push(Event::Eval {
        step: 1,
        source: text(),
        eval_loss: 2.0,
        eval_bits_per_byte: 1.0,
        train_loss: None,
        sampled_loss: None,
    });
    events.push(Event::Probe {
        step: 1,
        task: Some(text()),
        prompt: text(),
        text: text(),
        expected: text(),
        matched: 3,
        length: 9,
        recall: true,
        lines: vec![LineChance { text: text(), probability: f64::NAN }],
    });
    let token = TokenView { text: text(), trained: true, loss: Some(f32::NAN), first: true };
    let drawn = vec![(text(), vec![token; 9])];
    events.push(Event::Batch(Box::new(BatchView { step: 1, rows: drawn })));
    events.push(Event::Task(TaskReport {
        step: 1,
        task: text(),
        examples: 1,
        exact_match: f64::NAN,
        char_f1: f64::INFINITY,
        end_rate: -1.0,
        eval_loss: f64::NAN,
    }));
    events.push(Event::Policy(PolicyReport {
        step: 1,
        task: text(),
        prompts: 0,
        true_score: f64::NAN,
        ci95: (f64::NAN, f64::INFINITY),
        reward: f64::NAN,
        kl: f64::NAN,
        end_rate: f64::NAN,
        distinct2: f64::NAN,
        length: f64::NAN,
    }));
    let action = ActionView {
        text: text(),
        logprob: f32::NAN,
        reference: f32::INFINITY,
        value: Some(f32::NAN),
        reward: f32::NAN,
        advantage: f32::NAN,
        ratio: f32::NAN,
        clipped: true,
    };
    let rollout = RolloutView {
        step: 1,
        which: 0,
        of: 0,
        prompt: text(),
        score: f64::NAN,
        ended: false,
        actions: vec![action; 40],
    };
    events.push(Event::Rollout(Box::new(rollout)));
    events.extend(fake::data::hostile(evil));
    let answers = [text(), text().repeat(99)];
    let pair = Pair { id: 1, step: 1, prompt: text(), answers, ..Pair::default() };
    events.push(Event::Offered(Box::new(pair)));
    events.push(Event::Guarded { step: 1, reason: text(), checkpoint: Some(text()), may_go_on: false });
    events.push(Event::Refused { text: text() });
    events.push(Event::Note { step: 1, text: text() });
    events.push(Event::Saved { step: 1, path: evil.into(), seconds: 0.1, bytes: 1, best: false });
    events.push(Event::SaveFailed { step: 1, error: text() });
    let mut state = screen(Lang::Zh, events);
    update(&mut state, Msg::Paste(text()));
    assert!(matches!(&press(&mut state, &[Key::plain(Code::Enter)])[..], [Cmd::Send(_)]));
    update(&mut state, Msg::Event(Event::PromptText { id: 1, text: text(), step: Some(1) }));
    update(
        &mut state,
        Msg::Event(Event::PromptDone {
            id: 1,
            step: Some(1),
            tokens: 1,
            seconds: 1.0,
            finish_reason: text(),
            score: None,
        }),
    );
    update(&mut state, Msg::Background(text()));
    update(&mut state, Msg::Paste(text()));
    // In the data view, with a trial and a page of dropped documents.
    press(&mut state, &[Key::plain(Code::Esc), Key::plain(Code::Esc), Key::plain(Code::Esc), Key::char('1')]);
    state.focus = Panel::FILTERS;
    press(&mut state, &[Key::char('+')]);
    state.data.browse = state.data.page.as_ref().map(|p| p.browse.clone()).unwrap_or_default();
    for tried in [false, true] {
        if tried {
            for event in fake::data::hostile(evil) {
                update(&mut state, Msg::Event(event));
            }
        }
        for panel in panels::of(state.view()) {
            state.focus = panel;
            for (wide, high) in [(60, 16), (80, 24), (120, 36)] {
                let all = rows(&painted(&state, wide, high).0).concat();
                assert!(!all.contains('\u{202e}') && !all.contains('\u{200b}'), "{panel:?}");
            }
        }
    }
    state.voting.open = true;
    for (wide, high) in [(60, 16), (80, 24), (120, 36)] {
        let all = rows(&painted(&state, wide, high).0).concat();
        assert!(!all.contains('\u{202e}') && !all.contains('\u{200b}'));
    }
    update(&mut state, Msg::Event(Event::Finished { step: 1, reason: text(), failed: true, seconds: 0.0 }));
    for panel in PANELS.iter() {
        state.focus = panel.id;
        for (wide, high) in [(60, 16), (80, 24), (120, 36)] {
            let all = rows(&painted(&state, wide, high).0).concat();
            assert!(!all.contains('\u{202e}') && !all.contains('\u{200b}'), "{:?}", panel.id);
        }
    }
    let setting = Setting { value: text(), default: text(), next: Some(text()), ..Setting::default() };
    update(&mut state, Msg::Event(Event::Config(vec![setting])));
    state.overlay = Some(Overlay::Config(ConfigPane::default()));
    for (wide, high) in [(60, 16), (80, 24), (120, 36)] {
        let all = rows(&painted(&state, wide, high).0).concat();
        assert!(!all.contains('\u{202e}') && !all.contains('\u{200b}'));
    }
    let summary = danlu::ui::update::summary(&state).concat();
    assert!(!summary.chars().any(char::is_control), "{summary:?}");
}

/// A token's loss is shown by the height of its bar, not only by hue.
#[test]
fn a_documents_losses_are_seen_without_colour() {
    let (_, mut state) = data_states(Lang::Zh).into_iter().find(|s| s.0 == "data_preview").expect("a preview");
    state.theme.depth = Depth::Mono;
    let text = shown(&state, 120, 36);
    let heights = ["⣀", "⣄", "⣤", "⣦", "⣶"].iter().filter(|bar| text.contains(**bar)).count();
    assert!(heights >= 3, "{text}");
    let (buf, _) = painted(&state, 120, 36);
    assert!(buf.content().iter().all(|c| c.fg == ratatui::style::Color::Reset));
    state.glyph_set = GlyphSet::Ascii;
    assert!(rows(&painted(&state, 120, 36).0).concat().contains("22"));
}

/// Differences between near duplicates are marked by more than hue.
#[test]
fn a_pairs_differences_are_underlined() {
    let (_, mut state) = data_states(Lang::Zh).into_iter().find(|s| s.0 == "data_pair").expect("a pair");
    state.theme.depth = Depth::Mono;
    let (buf, _) = painted(&state, 120, 36);
    for only in ["嗁", "啼", "昨"] {
        let marked = |c: &&ratatui::buffer::Cell| c.symbol() == only && c.modifier.contains(Modifier::UNDERLINED);
        assert_eq!(buf.content().iter().filter(marked).count(), 1, "{only}");
    }
}

/// The caret is in the field, after the text, measured in cells.
#[test]
fn the_caret_is_where_the_text_ends() {
    for (wide, high) in [(60, 16), (80, 24), (120, 36)] {
        let mut state = screen(Lang::Zh, fake::run_until(10));
        type_in(&mut state, "春眠");
        let (buf, drawn) = painted(&state, wide, high);
        let (x, y) = drawn.caret.expect("the field has the keys");
        assert_eq!((buf[(x - 4, y)].symbol(), buf[(x - 2, y)].symbol()), ("春", "眠"), "{wide}x{high}");
        press(&mut state, &[Key::plain(Code::Esc)]);
        assert_eq!(painted(&state, wide, high).1.caret, None);
        assert!(shown(&state, wide, high).contains("春眠"), "the draft is kept and shown");
    }
}

/// Ten frames per second may cost one percent of a core: a frame must be drawn within a millisecond (measured: 0.2 ms),
/// however long the run.
#[test]
fn a_million_steps_are_drawn_from_a_bounded_number_of_buckets() {
    let mut state = screen(Lang::Zh, fake::run_until(600));
    for at in 601..1_000_000 {
        state.stages.live_mut().loss.push(at, 2.0 + (at % 97) as f64 / 50.0);
    }
    let buckets = state.live().loss.buckets().len();
    assert!(buckets <= 4096, "{buckets} buckets");
    let mut buf = Buffer::empty(Rect::new(0, 0, 120, 36));
    view::draw(&state, buf.area, &mut buf);
}

/// A million steps at 200 × 60: `cargo test --release --test screens -- --ignored frame --nocapture` prints the time of a
/// frame with four charts, and of three of them: twelve charts, and three times everything else.
#[test]
#[ignore = "measures"]
fn a_frame_over_a_million_steps_takes_at_most_four_milliseconds() {
    let mut state = long(Lang::En, 1_000_000);
    press(&mut state, &[Key::char('c')]);
    let area = Rect::new(0, 0, 200, 60);
    let mut medians = Vec::new();
    for frames in [1, 3] {
        let mut times: Vec<f64> = (0..200)
            .map(|at| {
                // Every second frame is enlarged.
                press(&mut state, &[Key::char(if at % 2 == 0 { '+' } else { '0' })]);
                let mut buf = Buffer::empty(area);
                let start = std::time::Instant::now();
                (0..frames).for_each(|_| drop(view::draw(&state, area, &mut buf)));
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{} charts in {frames} frames, median {:.2} ms, slowest {:.2} ms", 4 * frames, times[100], times[199]);
        medians.push(times[100]);
    }
    assert!(medians[1] <= 4.0, "{medians:?} ms");
}

/// What is exported is what is shown.
#[test]
fn a_panel_and_the_screen_are_exported_as_they_are() {
    for (lang, word) in [(Lang::Zh, "春眠不觉晓"), (Lang::En, "probe")] {
        let mut state = screen(lang, fake::run_until(640));
        paint(&mut state, 120, 36);
        let (enter, down) = (Key::plain(Code::Enter), Key::plain(Code::Down));
        let (name, csv) = exported(&mut state, &[Key::char('E'), enter]).expect("figures");
        assert_eq!(name, "pretrain-000640-loss.csv");
        let rows: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
        let last = rows.iter().rfind(|row| row[0] == "loss").expect("the loss");
        assert_eq!((last[2], last[3], last[8]), ("640", "1310720", fake::step(640).loss.to_string().as_str()));
        let whole = shown(&state, 120, 36);
        let (name, text) = exported(&mut state, &[Key::char('E'), down, down, down, down, enter]).expect("a text");
        assert_eq!(name, "pretrain-000640-screen.txt");
        assert_eq!(text.trim_end(), whole.trim_end());
        let (_, part) = exported(&mut state, &[Key::char('E'), down, down, enter]).expect("a text");
        assert!(part.lines().count() < 36 && part.contains("loss") && !part.contains(word), "{part}");
        let (name, svg) = exported(&mut state, &[Key::char('E'), down, down, down, enter]).expect("a picture");
        assert!(name.ends_with("-screen.svg") && svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(word.chars().all(|c| svg.contains(c)), "{svg}");
    }
}

/// A token's loss is shown by more than hue, and untrained tokens are dimmed.
#[test]
fn a_batchs_losses_are_seen_without_colour() {
    let mut state = screen(Lang::Zh, fake::sft_until(200));
    state.theme.depth = Depth::Mono;
    state.focus = Panel::BATCH;
    state.expanded = true;
    let (buf, _) = painted(&state, 120, 36);
    let looks = |symbol: &str| -> Vec<Modifier> {
        let mut looks: Vec<Modifier> =
            buf.content().iter().filter(|c| c.symbol() == symbol).map(|c| c.modifier).collect();
        looks.sort_by_key(Modifier::bits);
        looks.dedup();
        looks
    };
    assert!(looks("›").iter().all(|m| *m == Modifier::DIM || !m.contains(Modifier::DIM)));
    assert!(looks("e").len() >= 3, "{:?}", looks("e"));
}

/// The selected token is visible, with its numbers.
#[test]
fn a_held_token_says_what_it_cost() {
    let mut state = screen(Lang::En, fake::sft_until(200));
    state.focus = Panel::BATCH;
    paint(&mut state, 80, 24);
    // Past the prompt to the answer's first token.
    press(&mut state, &[Key::plain(Code::Right); 27]);
    let text = shown(&state, 80, 24);
    assert!(text.contains("[浙]  loss") && text.contains("trained on"), "{text}");
    let (buf, _) = painted(&state, 80, 24);
    assert!(buf.content().iter().any(|c| c.symbol() == "浙" && c.modifier.contains(Modifier::REVERSED)));
}
