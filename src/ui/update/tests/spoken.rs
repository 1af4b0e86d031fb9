//! Commands with arguments, typed into the palette.

use super::*;
use crate::ui::state::Overlay;

/// Types a line into the palette, and Enter.
fn say(state: &mut AppState, line: &str) -> Vec<Cmd> {
    press(state, &[Key::ctrl('p')]);
    for c in line.chars() {
        press(state, &[Key::char(c)]);
    }
    press(state, &[ENTER])
}

/// Why the line was not carried out.
fn why(state: &mut AppState, lang: Lang) -> String {
    let Some(Overlay::Palette { why: Some(why), .. }) = &state.overlay else { return String::new() };
    let why = why.get(lang).to_string();
    press(state, &[ESC]);
    why
}

fn set(key: &str, value: &str) -> Vec<Cmd> {
    vec![Cmd::Send(Command::Set { key: key.to_owned(), value: value.to_owned() })]
}

#[test]
fn a_value_is_sent_as_it_was_typed() {
    for (line, key, value) in [
        ("lr 2e-4", "learning_rate", "2e-4"),
        ("LR 0.001", "learning_rate", "0.001"),
        ("ｌｒ　２ｅ－４", "learning_rate", "2e-4"),
        ("学习率 2e-4", "learning_rate", "2e-4"),
        ("temp 0", "sampling.temperature", "0"),
        ("topk 1,000", "sampling.top_k", "1000"),
        ("set pretrain.eval_steps 7", "pretrain.eval_steps", "7"),
        ("set watch poll", "watch", "poll"),
    ] {
        let mut state = started();
        assert_eq!(say(&mut state, line), set(key, value), "{line}");
        assert!(state.overlay.is_none() && state.awaits(&Request::Set { reopens: false }));
    }
}

#[test]
fn a_bad_value_is_one_sentence_and_the_line_stays() {
    let mut state = started();
    for (line, words) in [
        ("lr", "write it as: lr 2e-4"),
        ("lr x", "\"x\" is not a number above 0"),
        ("lr 0", "\"0\" is not a number above 0"),
        ("lr nan", "\"nan\" is not a number above 0"),
        ("lr 1 2", "write it as: lr 2e-4"),
        ("dropout 1", "\"1\" is not a number of at least 0 and below 1"),
        ("batch 0", "\"0\" is not a whole number of at least 1"),
        ("batch 1.5", "\"1.5\" is not a whole number of at least 1"),
        ("step -3", "\"-3\" is not a whole number of at least 1"),
        ("lang fr", "write it as: lang zh|en"),
        ("theme blue", "there is no \"blue\"; there are furnace, light, terminal, mono"),
        ("export png", "write it as: export svg|txt|csv [screen] [FILE]"),
        ("fork x", "\"x\": expected key=value"),
    ] {
        assert_eq!(say(&mut state, line), Vec::new(), "{line}");
        let Some(Overlay::Palette { field, .. }) = &state.overlay else { panic!("{line}: the palette has closed") };
        assert_eq!(field.text(), line);
        let told = why(&mut state, Lang::En);
        assert!(told == words || line.starts_with("fork") && told.contains("key=value"), "{line}: {told}");
        assert!(state.requests.is_empty(), "{line}");
    }
    // Editing the line takes the reason away.
    say(&mut state, "lr x");
    press(&mut state, &[Key::plain(Code::Backspace)]);
    assert!(matches!(state.overlay, Some(Overlay::Palette { why: None, .. })));
}

/// A bug: a command that the stage has no use for was named nowhere, and Enter did nothing.
#[test]
fn a_command_that_does_not_apply_says_why() {
    let mut state = started();
    for (line, words) in [
        ("kl 0.1", "this stage has no such setting"),
        ("accumulation 2", "this stage has no such setting"),
        ("goto 3", "there is no curve here yet"),
    ] {
        assert_eq!(say(&mut state, line), Vec::new(), "{line}");
        assert_eq!(why(&mut state, Lang::En), words, "{line}");
    }
    assert_eq!(say(&mut state, "dropout 0.1"), set("model.dropout", "0.1"));
    // Without arguments, too, and not by running what has a similar name.
    for line in ["fork", "lr", "batch", "temp", "probes", "reopen"] {
        let mut state = started_with(RunInfo { read_only: true, ..info(Pretrain) });
        assert_eq!(say(&mut state, line), Vec::new(), "{line}");
        assert!(!why(&mut state, Lang::En).is_empty(), "{line}");
    }
    let mut state = started();
    event(&mut state, Event::Started(Box::new(info(Ppo))));
    say(&mut state, "dropout 0.1");
    assert!(why(&mut state, Lang::Zh).contains("只有预训练和微调用 dropout"));
    assert!(state.requests.is_empty());
}

#[test]
fn a_key_that_waits_opens_the_stage_again() {
    let mut state = started();
    assert_eq!(say(&mut state, "batch 8"), set("batch_size", "8"));
    let cmds = event(&mut state, Event::Set { key: "pretrain.batch_size".to_owned(), waits: true });
    assert_eq!(cmds, [Cmd::Send(Command::Reopen)]);
    assert_eq!(state.switching(), Some(Pretrain));
    event(&mut state, Event::Started(Box::new(info(Pretrain))));
    assert_eq!(state.switching(), None);
    // Set by name it only says so.
    say(&mut state, "set batch_size 16");
    assert_eq!(event(&mut state, Event::Set { key: "pretrain.batch_size".to_owned(), waits: true }), []);
    assert!(state.notice.take().is_some_and(|n| n.0.get(Lang::En).contains(":reopen")));
    // A refusal is shown, and nothing is opened.
    say(&mut state, "batch 9");
    assert_eq!(event(&mut state, Event::Refused { text: "no".to_owned() }), []);
    assert_eq!(state.requests.len(), 0);
}

#[test]
fn steps_and_places() {
    let mut state = started();
    event(&mut state, Event::Steps((1..=30).map(|at| step(at, 5.0)).collect()));
    assert_eq!(say(&mut state, "step"), [Cmd::Send(Command::Step { steps: 1 })]);
    event(&mut state, Event::Resumed { step: 30 });
    assert_eq!(say(&mut state, "step 12"), [Cmd::Send(Command::Step { steps: 12 })]);
    event(&mut state, Event::Resumed { step: 31 });
    assert!(state.requests.is_empty());
    say(&mut state, "goto 7");
    assert_eq!(state.shown().charts.cursor, Some(7));
    say(&mut state, "goto 31");
    assert_eq!(why(&mut state, Lang::En), "step 31 is not trained yet; 30 are done");
    say(&mut state, "lang en");
    assert_eq!(state.lang, Lang::En);
    say(&mut state, "fork learning_rate=1e-3");
    assert_eq!(why(&mut state, Lang::En), "the stage has no checkpoint yet; save one with w first");
    event(
        &mut state,
        Event::Saved { step: 30, path: "runs/r/checkpoints/x".into(), seconds: 0.1, bytes: 9, best: false },
    );
    let fork = Command::Fork {
        run: "runs/r".into(),
        checkpoint: "pretrain-30".to_owned(),
        sets: vec![("learning_rate".to_owned(), "1e-3".to_owned())],
        open: false,
    };
    assert_eq!(say(&mut state, "fork learning_rate=1e-3"), [Cmd::Send(fork)]);
}

#[test]
fn tab_completes_names_and_values() {
    let mut state = started();
    let tab = Key::plain(Code::Tab);
    let line = |state: &AppState| match &state.overlay {
        Some(Overlay::Palette { field, .. }) => field.text().to_owned(),
        _ => String::new(),
    };
    press(&mut state, &[Key::ctrl('p')]);
    "temp".chars().for_each(|c| drop(press(&mut state, &[Key::char(c)])));
    press(&mut state, &[tab]);
    assert_eq!(line(&state), "temp ");
    press(&mut state, &[ESC, Key::ctrl('p')]);
    "lang ".chars().for_each(|c| drop(press(&mut state, &[Key::char(c)])));
    press(&mut state, &[tab]);
    assert_eq!(line(&state), "lang zh");
    press(&mut state, &[tab]);
    assert_eq!(line(&state), "lang en");
    press(&mut state, &[ENTER]);
    assert_eq!(state.lang, Lang::En);
    // A command chosen from the list is written into the line.
    press(&mut state, &[Key::ctrl('p')]);
    "peak learn".chars().for_each(|c| drop(press(&mut state, &[Key::char(c)])));
    press(&mut state, &[ENTER]);
    assert_eq!(line(&state), "lr ");
}
