mod charts;
mod config;
mod data;
mod feedback;
mod find;
mod mouse;
mod past;
mod spoken;
mod tree;
mod vote;
mod watch;
mod why;

use std::time::Duration;

use ratatui::layout::Rect;

use super::*;
use crate::base::StageId::{self, Dpo, Grpo, Ppo, Pretrain, Reward, Sft};
use crate::protocol::{Ask, Command, Event, Manner, Preparation, RunInfo, StageInfo, StepReport, Turn, Who, Work};
use crate::ui::{
    keys::Code,
    state::{Drawn, Fault, Panel, Phase, Request, Target},
    strings::Lang,
};

const ENTER: Key = Key::plain(Code::Enter);
const ESC: Key = Key::plain(Code::Esc);

fn info(stage: StageId) -> RunInfo {
    let tuning = stage == Sft;
    RunInfo {
        name: "r".to_owned(),
        path: "runs/r".into(),
        stage,
        batch: 2,
        context: 8,
        steps: 100,
        chat: tuning,
        parent: tuning.then(|| "pretrain-000003".to_owned()),
        stages: [Pretrain, Sft].map(|stage| StageInfo { stage, step: None }).to_vec(),
        ..RunInfo::default()
    }
}

fn started_with(info: RunInfo) -> AppState {
    let mut state = AppState::new(Lang::Zh, crate::ui::theme::Theme::default(), crate::ui::theme::GlyphSet::Line);
    event(&mut state, Event::Started(Box::new(info)));
    state
}

fn started_in(stage: StageId) -> AppState {
    started_with(info(stage))
}

fn started() -> AppState {
    started_in(Pretrain)
}

fn step(step: usize, loss: f64) -> StepReport {
    StepReport {
        step,
        loss,
        learning_rate: 1e-3,
        grad_norm: 1.0,
        applied: loss.is_finite(),
        tokens_per_second: 16.0,
        step_ms: 1.0,
        ..StepReport::default()
    }
}

/// Draws a frame with this panel visible.
fn see(state: &mut AppState, panel: Panel) {
    state.drawn = Drawn { panels: vec![(panel, Rect::new(0, 0, 44, 8))], batch_cells: 40, ..Drawn::default() };
}

fn event(state: &mut AppState, event: Event) -> Vec<Cmd> {
    update(state, Msg::Event(event))
}

fn press(state: &mut AppState, keys: &[Key]) -> Vec<Cmd> {
    keys.iter().flat_map(|key| update(state, Msg::Key(*key))).collect()
}

fn saved(step: usize) -> Event {
    Event::Saved { step, path: "runs/r/checkpoints/pretrain-000001".into(), seconds: 0.1, bytes: 9, best: false }
}

#[test]
fn a_wish_is_shown_at_once_and_done_when_answered() {
    let mut state = started();
    assert_eq!(press(&mut state, &[Key::char(' ')]), [Cmd::Send(Command::Pause)]);
    assert_eq!(state.live().phase, Phase::Pausing);
    event(&mut state, Event::Paused { step: 3 });
    assert_eq!(state.live().phase, Phase::Paused);
    assert_eq!(press(&mut state, &[Key::ctrl('g')]), [Cmd::Send(Command::Resume)]);
    event(&mut state, Event::Resumed { step: 3 });
    assert_eq!(state.live().phase, Phase::Running);
    assert_eq!(press(&mut state, &[Key::char('w'), Key::char('w')]), [Cmd::Send(Command::Save)], "one save at a time");
    event(&mut state, saved(3));
    assert!(!state.saving);
    assert_eq!(press(&mut state, &[Key::char('p'), Key::char('p')]), [Cmd::Send(Command::Probe)]);
}

#[test]
fn a_han_character_opens_the_prompt_with_itself() {
    let mut state = started();
    press(&mut state, &[Key::char('春'), Key::char('q'), Key::char('？')]);
    assert_eq!((state.mode(), state.field.text()), (Mode::Text, "春q？"));
    press(&mut state, &[ESC]);
    assert_eq!((state.mode(), state.field.text()), (Mode::Nav, "春q？"), "the draft is kept");
    press(&mut state, &[Key::char('i')]);
    let sent = press(&mut state, &[ENTER]);
    assert!(matches!(&sent[..], [Cmd::Send(Command::Prompt { id: 1, ask: Ask::Text(text), .. })] if text == "春q？"));
    assert_eq!(state.mode(), Mode::Text, "one prompt after the other");
    event(&mut state, Event::PromptText { id: 1, text: "夜来".to_owned(), step: Some(7) });
    assert_eq!(state.chat.exchanges[0].answer.text.as_str(), "夜来");
    assert_eq!(press(&mut state, &[Key::ctrl('c')]), [Cmd::Send(Command::Cancel { id: 1 })]);
}

#[test]
fn an_empty_prompt_is_not_sent() {
    let mut state = started();
    assert!(press(&mut state, &[Key::char('i'), Key::char(' '), ENTER]).is_empty());
}

#[test]
fn a_paste_into_commands_is_a_prompt_not_commands() {
    let mut state = started();
    assert!(update(&mut state, Msg::Paste("qq\nw".to_owned())).is_empty());
    assert_eq!((state.mode(), state.field.text()), (Mode::Text, "qq\nw"));
}

#[test]
fn quitting_asks_saves_and_waits() {
    let mut state = started();
    event(&mut state, Event::Steps(vec![step(1, 2.0)]));
    assert!(press(&mut state, &[Key::char('q')]).is_empty());
    assert_eq!(state.mode(), Mode::Dialog);
    assert_eq!(press(&mut state, &[ENTER]), [Cmd::Send(Command::Stop { save: true })]);
    assert!(press(&mut state, &[Key::char(' '), Key::char('q'), Key::char('w')]).is_empty(), "too late for more");
    assert!(event(&mut state, saved(1)).is_empty(), "not before the stage has ended");
    let end = Event::Finished { step: 1, reason: "stopped".to_owned(), failed: false, seconds: 0.0 };
    assert_eq!(event(&mut state, end), [Cmd::Close]);
}

#[test]
fn quitting_can_be_taken_back_or_go_without_saving() {
    let mut state = started();
    press(&mut state, &[Key::char('q'), ESC]);
    assert_eq!(state.mode(), Mode::Nav);
    let third = [Key::char('q'), Key::plain(Code::Down), Key::plain(Code::Down), ENTER];
    assert!(press(&mut state, &third).is_empty());
    assert!(state.leaving.is_none());
    let second = [Key::char('q'), Key::plain(Code::Right), ENTER];
    assert_eq!(press(&mut state, &second), [Cmd::Send(Command::Stop { save: false })]);
}

#[test]
fn ctrl_c_climbs_from_cancelling_to_leaving_at_once() {
    let mut state = started();
    let ctrl_c = Key::ctrl('c');
    press(&mut state, &[Key::char('i'), Key::char('x')]);
    press(&mut state, &[ctrl_c]);
    assert!(state.field.is_empty() && state.typing);
    press(&mut state, &[ctrl_c]);
    assert_eq!(state.mode(), Mode::Nav);
    press(&mut state, &[ctrl_c]);
    assert_eq!(state.mode(), Mode::Dialog);
    assert_eq!(press(&mut state, &[ctrl_c]), [Cmd::Send(Command::Stop { save: true })]);
    assert_eq!(press(&mut state, &[ctrl_c]), [Cmd::Abandon]);
}

#[test]
fn a_save_that_fails_on_the_way_out_asks_again() {
    let mut state = started();
    press(&mut state, &[Key::char('q'), ENTER]);
    event(&mut state, Event::SaveFailed { step: 1, error: "disk full".to_owned() });
    assert_eq!(state.mode(), Mode::Dialog);
    assert!(state.trouble.is_some() && state.leaving.is_none());
    press(&mut state, &[ENTER]);
    event(&mut state, saved(1));
    assert!(state.trouble.is_none(), "the next good save settles it");
}

#[test]
fn a_signal_asks_nobody() {
    let mut state = started();
    press(&mut state, &[Key::char('q')]);
    assert_eq!(update(&mut state, Msg::Leave), [Cmd::Send(Command::Stop { save: true })]);
    assert!(update(&mut state, Msg::Leave).is_empty(), "once is enough");
    let failed = Event::SaveFailed { step: 1, error: "disk full".to_owned() };
    assert_eq!(event(&mut state, failed), [Cmd::Send(Command::Stop { save: false })], "nobody is there to mend it");
    let end = Event::Finished { step: 1, reason: "stopped".to_owned(), failed: false, seconds: 0.0 };
    assert_eq!(event(&mut state, end), [Cmd::Close]);
    assert!(state.trouble.is_some(), "the exit code shows it");
}

#[test]
fn a_disk_error_is_shown_until_the_stage_continues() {
    let mut state = started();
    press(&mut state, &[Key::char('p')]);
    event(&mut state, Event::StoreFailed { step: 3, error: "cannot append: no space".to_owned() });
    event(&mut state, Event::Paused { step: 3 });
    assert!(!state.live().probing, "what was asked for can be asked for again");
    let trouble = |state: &AppState| state.trouble.as_ref().map(|t| (t.fault, t.read));
    assert_eq!(trouble(&state), Some((Fault::Store, false)));
    press(&mut state, &[ESC]);
    assert_eq!(trouble(&state), Some((Fault::Store, true)), "put away, and not forgotten");
    assert_eq!(press(&mut state, &[Key::char(' ')]), [Cmd::Send(Command::Resume)]);
    // Not cleared: shown again in full.
    event(&mut state, Event::StoreFailed { step: 3, error: "cannot append: no space".to_owned() });
    event(&mut state, Event::Paused { step: 3 });
    assert_eq!(trouble(&state), Some((Fault::Store, false)));
    assert_eq!(press(&mut state, &[Key::char('w')]), [Cmd::Send(Command::Save)]);
    event(&mut state, Event::Resumed { step: 3 });
    assert_eq!((trouble(&state), &state.live().phase), (None, &Phase::Running));
    // A failed save stays pending until one succeeds.
    event(&mut state, Event::SaveFailed { step: 4, error: "disk full".to_owned() });
    event(&mut state, Event::Resumed { step: 4 });
    assert_eq!(trouble(&state), Some((Fault::Save, true)));
    event(&mut state, saved(5));
    assert_eq!(trouble(&state), None);
}

#[test]
fn a_stage_that_failed_is_opened_again_with_g() {
    let mut state = started();
    event(&mut state, Event::Steps(vec![step(7, 2.0)]));
    let end = Event::Finished { step: 7, reason: "failed: a bug".to_owned(), failed: true, seconds: 0.0 };
    assert!(event(&mut state, end).is_empty());
    assert_eq!(state.live().steps_done(), 7);
    assert_eq!(press(&mut state, &[Key::char('g')]), [Cmd::Send(Command::Stage { stage: Pretrain })]);
    assert!(press(&mut state, &[Key::char('g')]).is_empty(), "once");
    // It cannot be opened: the reason is shown, and it can be tried again.
    event(&mut state, Event::Refused { text: "no checkpoint".to_owned() });
    assert_eq!(press(&mut state, &[ESC, Key::char('g')]).len(), 1);
    event(&mut state, Event::Started(Box::new(RunInfo { resumed_at: 4, ..info(Pretrain) })));
    assert_eq!((state.live().steps_done(), &state.live().phase, &state.trouble), (4, &Phase::Running, &None));
    // If the trainer's thread has ended nothing can be opened.
    update(&mut state, Msg::TrainerGone);
    assert!(press(&mut state, &[Key::char('g')]).is_empty());
}

#[test]
fn a_finished_run_stays_until_the_person_goes() {
    let mut state = started();
    let end = Event::Finished { step: 100, reason: "done".to_owned(), failed: false, seconds: 0.0 };
    assert!(event(&mut state, end).is_empty());
    assert!(press(&mut state, &[Key::char(' '), Key::char('w'), Key::char('i'), Key::char('春')]).is_empty());
    assert_eq!(state.mode(), Mode::Nav, "nobody answers any more");
    assert!(update(&mut state, Msg::TrainerGone).is_empty());
    assert_eq!(press(&mut state, &[Key::char('q')]), [Cmd::Close]);
}

#[test]
fn a_trainer_that_dies_is_a_failure() {
    let mut state = started();
    update(&mut state, Msg::TrainerGone);
    assert!(matches!(state.live().phase, Phase::Finished { failed: true, .. }));
}

#[test]
fn pauses_are_not_counted_as_training() {
    let mut state = started();
    update(&mut state, Msg::Tick(Duration::from_secs(10)));
    event(&mut state, Event::Paused { step: 1 });
    update(&mut state, Msg::Tick(Duration::from_secs(70)));
    assert_eq!(state.live().elapsed(state.now), Duration::from_secs(10));
    event(&mut state, Event::Resumed { step: 1 });
    update(&mut state, Msg::Tick(Duration::from_secs(75)));
    assert_eq!(state.live().elapsed(state.now), Duration::from_secs(15));
}

#[test]
fn the_time_left_comes_from_the_measured_rate() {
    let mut state = started();
    assert_eq!(state.live().seconds_left(), None, "no number that no code measured");
    event(&mut state, Event::Steps(vec![step(40, 2.0)]));
    assert_eq!(state.live().seconds_left(), Some(60.0));
}

#[test]
fn a_step_that_was_not_applied_is_an_alert() {
    let mut state = started();
    event(&mut state, Event::Steps(vec![step(1, 2.0), step(2, f64::NAN)]));
    assert_eq!(state.log.back().map(|l| l.level), Some(Level::Alert));
    assert_eq!(state.live().loss.last().map(|l| l.0), Some(2));
}

#[test]
fn the_palette_runs_what_it_shows() {
    let mut state = started();
    press(&mut state, &[Key::ctrl('p')]);
    press(&mut state, &[Key::char('存')]);
    assert_eq!(press(&mut state, &[ENTER]), [Cmd::Send(Command::Save)]);
    press(&mut state, &[Key::char('：'), Key::char('E'), Key::char('n'), Key::char('g'), ENTER]);
    assert_eq!(state.lang, Lang::En);
    press(&mut state, &[Key::char(':'), Key::plain(Code::Up), ESC]);
    assert_eq!(state.mode(), Mode::Nav);
}

#[test]
fn keys_before_the_first_word_do_no_harm() {
    let mut state = AppState::default();
    for act in actions::ACTIONS {
        for (_, keys) in act.keys {
            for key in *keys {
                press(&mut state, &[*key]);
            }
        }
    }
}

fn switched(state: &mut AppState, to: StageId) {
    let step = state.live().steps_done();
    event(state, Event::Finished { step, reason: "switched".to_owned(), failed: false, seconds: 0.0 });
    event(state, Event::Started(Box::new(info(to))));
}

/// A stage whose parent was never trained is not asked about, since it would be refused; what is missing is named.
#[test]
fn a_stage_that_cannot_begin_yet_says_what_to_train_first() {
    let stages = |trained: &[StageId]| {
        let step = |stage| StageInfo { stage, step: trained.contains(&stage).then_some(3) };
        StageId::ALL.map(step).to_vec()
    };
    let asked = |trained: &[StageId], key: char| {
        let mut state = started_with(RunInfo { stages: stages(trained), ..info(Pretrain) });
        press(&mut state, &[Key::char(key), Key::char('g')]);
        (state.overlay.is_some(), state.notice.map(|n| n.0.get(Lang::En).to_string()).unwrap_or_default())
    };
    assert_eq!(asked(&[], '4'), (false, "reward needs a checkpoint of sft; train sft first".to_owned()));
    assert_eq!(asked(&[Sft], '5'), (false, "ppo needs a checkpoint of reward; train reward first".to_owned()));
    // The live stage is saved before the switch; what is trained already can be trained further.
    for (trained, key) in [(&[][..], '3'), (&[Sft], '4'), (&[Sft, Reward], '5'), (&[Reward], '4')] {
        assert!(asked(trained, key).0, "{trained:?} {key}");
    }
}

#[test]
fn looking_at_a_stage_changes_nothing() {
    let mut state = started();
    event(&mut state, Event::Steps(vec![step(1, 2.0)]));
    assert!(press(&mut state, &[Key::char('３')]).is_empty(), "full-width digits count");
    assert_eq!((state.shown().id, state.live().id), (Some(Sft), Some(Pretrain)));
    assert!(press(&mut state, &[Key::char('4'), Key::char('5')]).is_empty());
    assert_eq!(state.shown().id, Some(Sft), "what does not exist is not looked at");
    event(&mut state, Event::Steps(vec![step(2, 2.0)]));
    assert_eq!(state.live().steps_done(), 2, "steps belong to the stage that runs");
    assert!(state.shown().loss.is_empty());
    press(&mut state, &[Key::alt(Code::Char('2'))]);
    assert_eq!(state.shown().id, Some(Pretrain));
}

#[test]
fn g_asks_and_then_goes_to_the_stage_in_view() {
    let mut state = started();
    event(&mut state, Event::Steps(vec![step(3, 2.0)]));
    assert!(press(&mut state, &[Key::char('g')]).is_empty(), "it runs already");
    assert_eq!(state.mode(), Mode::Nav);
    assert!(press(&mut state, &[Key::char('3'), Key::char('g')]).is_empty());
    assert_eq!(state.mode(), Mode::Dialog);
    press(&mut state, &[Key::plain(Code::Down), ENTER]);
    assert_eq!(state.switching(), None, "one can stay");
    let go = Cmd::Send(Command::Stage { stage: Sft });
    assert_eq!(press(&mut state, &[Key::char('g'), ENTER]), [go]);
    assert_eq!(state.switching(), Some(Sft));
    assert!(press(&mut state, &[Key::char(' '), Key::char('g'), Key::char('w')]).is_empty(), "one wish at a time");
    event(&mut state, saved(3));
    event(&mut state, Event::Finished { step: 3, reason: "switched".to_owned(), failed: false, seconds: 0.0 });
    assert!(!state.is_finished());
    assert!(press(&mut state, &[Key::char('q'), ESC]).is_empty(), "the trainer is still there");
    event(&mut state, Event::Started(Box::new(info(Sft))));
    assert_eq!((state.switching(), state.live().id, &state.live().phase), (None, Some(Sft), &Phase::Running));
}

#[test]
fn curves_go_on_where_they_stopped() {
    let mut state = started();
    event(&mut state, Event::Steps(vec![step(1, 5.0), step(2, 4.0)]));
    update(&mut state, Msg::Tick(Duration::from_secs(10)));
    switched(&mut state, Sft);
    event(&mut state, Event::Steps(vec![step(1, 9.0)]));
    event(
        &mut state,
        Event::Eval {
            step: 1,
            source: "all".to_owned(),
            eval_loss: 3.0,
            eval_bits_per_byte: 1.0,
            train_loss: None,
            sampled_loss: None,
        },
    );
    for loss in [2.0, 2.5] {
        let source = Pretrain.to_string();
        event(
            &mut state,
            Event::Eval {
                step: 1,
                source,
                eval_loss: loss,
                eval_bits_per_byte: 1.0,
                train_loss: None,
                sampled_loss: None,
            },
        );
    }
    assert_eq!((state.live().kept.last(), state.live().kept_first), (Some((1, 2.5)), Some(2.0)), "forgetting");
    assert_eq!(state.live().valid.last(), Some((1, 3.0)), "and not the stage's own validation");
    update(&mut state, Msg::Tick(Duration::from_secs(30)));
    press(&mut state, &[Key::char('2')]);
    assert_eq!(state.shown().loss.last(), Some((2, 4.0)));
    assert_eq!(state.shown().elapsed(state.now), Duration::from_secs(10), "time elsewhere is not its own");
    switched(&mut state, Pretrain);
    event(&mut state, Event::Steps(vec![step(3, 3.0)]));
    assert_eq!(state.live().loss.buckets().iter().map(|b| b.count).sum::<u32>(), 3);
    update(&mut state, Msg::Tick(Duration::from_secs(35)));
    assert_eq!(state.live().elapsed(state.now), Duration::from_secs(15));
    press(&mut state, &[Key::char('3')]);
    assert_eq!(state.shown().loss.last(), Some((1, 9.0)));
}

#[test]
fn a_refusal_is_shown_until_it_was_read() {
    let mut state = started();
    press(&mut state, &[Key::char('3'), Key::char('g'), ENTER]);
    event(&mut state, Event::Refused { text: "train pretrain first".to_owned() });
    assert_eq!(state.switching(), None);
    assert_eq!(state.notice.as_ref().map(|n| n.1), Some(Level::Alert));
    assert!(
        state
            .log
            .back()
            .is_some_and(|l| l.level == Level::Alert && l.text.get(Lang::Zh).contains("train pretrain first"))
    );
    press(&mut state, &[ESC]);
    assert!(state.notice.is_none());
    assert_eq!(press(&mut state, &[Key::char(' ')]), [Cmd::Send(Command::Pause)], "training continues");
}

#[test]
fn g_resumes_the_stage_in_view() {
    let mut state = started();
    event(&mut state, Event::Paused { step: 0 });
    assert_eq!(press(&mut state, &[Key::char('g')]), [Cmd::Send(Command::Resume)]);
}

fn asked(sent: &[Cmd]) -> Vec<(u64, Who, Vec<String>)> {
    let prompt = |cmd: &Cmd| match cmd {
        Cmd::Send(Command::Prompt { id, ask: Ask::Chat(turns), who, .. }) => {
            (*id, *who, turns.iter().map(|t| t.content.clone()).collect())
        }
        other => panic!("no chat: {other:?}"),
    };
    sent.iter().map(prompt).collect()
}

fn answer(state: &mut AppState, id: u64, text: &str) {
    event(state, Event::PromptText { id, text: text.to_owned(), step: Some(7) });
    let finish_reason = "stop".to_owned();
    event(state, Event::PromptDone { id, step: Some(7), tokens: 2, seconds: 0.1, finish_reason, score: None });
}

#[test]
fn what_is_left_out_of_a_prompt_and_how_it_is_answered_reach_the_screen() {
    let mut state = started_in(Sft);
    let sampling = crate::protocol::Sampling { temperature: 0.3, ..crate::protocol::Sampling::default() };
    let manner = Manner { sampling, max_new_tokens: 9 };
    event(&mut state, Event::Manner(manner));
    assert_eq!(state.chat.manner, manner);
    state.chat.ask("问".to_owned(), Some(Sft), true, &[]);
    let left_out = crate::protocol::LeftOut { tokens: 131, exchanges: 2 };
    event(&mut state, Event::PromptCut { id: 1, left_out });
    assert_eq!(state.chat.answer_mut(1).map(|a| a.left_out), Some(left_out));
    assert!(strings::left_out(Lang::Zh, left_out).contains("2 轮对话（131 词元）"));
    assert!(strings::left_out(Lang::En, left_out).contains("oldest 2 exchanges"));
}

#[test]
fn a_conversation_is_sent_whole_and_to_both_if_wished() {
    let mut state = started_in(Sft);
    let first = press(&mut state, &[Key::char('你'), ENTER]);
    assert_eq!(asked(&first), [(1, Who::Live, vec!["你".to_owned()])]);
    assert!(press(&mut state, &[Key::char('好'), ENTER]).is_empty(), "not before it has answered");
    assert_eq!(state.field.text(), "好", "and the draft is kept");
    answer(&mut state, 1, "我");
    let both = press(&mut state, &[ESC, Key::char('b'), Key::char('i'), ENTER]);
    let turns = || ["你", "我", "好"].map(str::to_owned).to_vec();
    assert_eq!(asked(&both), [(2, Who::Live, turns()), (3, Who::Parent, turns())]);
    answer(&mut state, 2, "好");
    assert_eq!(press(&mut state, &[Key::ctrl('c')]), [Cmd::Send(Command::Cancel { id: 3 })]);
    answer(&mut state, 3, "");
    assert_eq!(press(&mut state, &[ESC, Key::char('n'), Key::char('早'), ENTER]).len(), 2);
    assert!(state.chat.exchanges[2].first);
}

#[test]
fn a_corrected_answer_becomes_a_demonstration() {
    let mut state = started_in(Sft);
    press(&mut state, &[Key::char('你'), ENTER]);
    answer(&mut state, 1, "我");
    press(&mut state, &[ESC, Key::char('e')]);
    assert_eq!(state.mode(), Mode::Edit);
    press(&mut state, &[Key::char('们'), Key::char('q'), ESC]);
    assert_eq!(state.mode(), Mode::Nav);
    press(&mut state, &[Key::ctrl('e'), Key::plain(Code::Backspace)]);
    let sent = press(&mut state, &[Key::ctrl('s')]);
    let turn = |role, content: &str| Turn::new(role, content);
    let turns = vec![turn(crate::protocol::Role::User, "你"), turn(crate::protocol::Role::Assistant, "我们")];
    assert_eq!(sent, [Cmd::Send(Command::Demonstrate { turns })]);
    event(&mut state, Event::Refused { text: "disk full".to_owned() });
    assert!(state.requests.is_empty() && state.chat.edit.is_some(), "the draft survives a refusal");
    press(&mut state, &[ESC, Key::char('e'), ENTER]);
    assert_eq!(state.requests.front(), Some(&Request::Demonstrate(Target::Answer(1), "我们".to_owned())));
    event(&mut state, Event::Demonstrated { step: 9, count: 4 });
    let exchange = &state.chat.exchanges[0];
    assert_eq!((exchange.answer.text.as_str(), exchange.corrected), ("我们", Some(9)));
    assert_eq!((state.live().demonstrations, state.chat.edit.is_none()), (4, true));
}

#[test]
fn a_plain_text_cannot_be_corrected() {
    let mut state = started();
    press(&mut state, &[Key::char('春'), ENTER]);
    answer(&mut state, 1, "眠");
    press(&mut state, &[ESC, Key::char('e'), Key::char('n'), Key::char('b')]);
    assert_eq!(state.mode(), Mode::Nav);
    assert!(!state.chat.fresh && state.chat.beside == 0);
    press(&mut state, &[Key::char('z')]);
    assert!(state.expanded);
}

#[test]
fn the_batch_is_requested_while_visible_and_held_while_read() {
    let mut state = started_in(Sft);
    let tick = |state: &mut AppState, ms: u64| update(state, Msg::Tick(Duration::from_millis(ms)));
    let show = [Cmd::Send(Command::ShowBatch)];
    see(&mut state, Panel::BATCH);
    assert!(tick(&mut state, 0).is_empty(), "no step, no batch");
    event(&mut state, Event::Steps(vec![step(1, 2.0)]));
    assert_eq!(tick(&mut state, 100), show);
    assert!(tick(&mut state, 600).is_empty(), "once a second");
    assert_eq!(tick(&mut state, 1100), show);
    state.drawn = Drawn::default();
    assert!(tick(&mut state, 5000).is_empty(), "out of sight");
    see(&mut state, Panel::BATCH);
    assert_eq!(tick(&mut state, 5100), show, "at once when it comes into sight");
    event(&mut state, Event::Paused { step: 1 });
    assert!(tick(&mut state, 9000).is_empty(), "nothing new while nothing is done");
    event(&mut state, Event::Resumed { step: 1 });
    let token =
        |text: &str| crate::protocol::TokenView { text: text.to_owned(), trained: true, loss: None, first: false };
    let rows = vec![("qa".to_owned(), vec![token("早"), token("安")])];
    event(&mut state, Event::Batch(Box::new(crate::protocol::BatchView { step: 1, rows })));
    press(&mut state, &[Key::plain(Code::Tab), Key::plain(Code::Tab), Key::plain(Code::Tab)]);
    assert_eq!(state.focus, Panel::BATCH);
    press(&mut state, &[Key::plain(Code::Right), Key::plain(Code::Right)]);
    assert_eq!(state.shown().spot.map(|s| s.token), Some(1));
    assert!(tick(&mut state, 12_000).is_empty(), "a token is held");
    let late = crate::protocol::BatchView { step: 9, rows: Vec::new() };
    event(&mut state, Event::Batch(Box::new(late)));
    assert_eq!(state.shown().batch.as_ref().map(|b| b.step), Some(1), "nor taken away");
    press(&mut state, &[ESC]);
    assert_eq!(tick(&mut state, 12_100), show);
}
