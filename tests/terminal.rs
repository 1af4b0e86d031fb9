//! The screen on a real pseudo-terminal: its output, and that the terminal is restored.
//!
//! The program under test is this test binary running the workbench on the fake trainer: the same `ui::run` and
//! process, without a model. `workbench` is `#[ignore]`d and only run by the other tests.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail by panicking")]

mod common;
mod fake;

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use danlu::ui::{self, UiOptions, strings::Lang};
use portable_pty::{CommandBuilder, PtySize};

use common::pty::{Pty, SIZE, cells};

/// Not a test: the program under test.
#[test]
#[ignore = "run by the tests of this file, on a terminal of their own"]
#[allow(clippy::print_stdout, reason = "what a shell would see")]
fn workbench() {
    let var = |name: &str, or: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or);
    let lang = if std::env::var("FAKE_LANG").is_ok_and(|l| l == "en") { Lang::En } else { Lang::Zh };
    let line = std::env::var("FAKE_STAGE").unwrap_or_default();
    let session = fake::play(fake::Script {
        pace: Duration::from_millis(var("FAKE_PACE", 20)),
        line: fake::Line::ALL.into_iter().find(|l| l.id().name() == line).unwrap_or(fake::Line::Pretrain),
        from: var("FAKE_FROM", 0) as usize,
        guard: var("FAKE_GUARD", 0) > 0,
        reopened: var("FAKE_REOPENED", 0) > 0,
    });
    if std::env::var("FAKE_PANIC").is_ok() {
        thread::spawn(|| {
            thread::sleep(Duration::from_millis(500));
            panic!("a helper thread fell");
        });
    }
    let stderr = std::env::var_os("FAKE_STDERR").map(|path| std::fs::File::create(path).expect("a file"));
    if stderr.is_some() {
        thread::spawn(|| {
            thread::sleep(Duration::from_millis(800));
            std::io::stderr().write_all(b"a driver's noise\n").expect("a line");
        });
    }
    let outcome = ui::run(session, UiOptions { lang, stderr, ..UiOptions::default() }).expect("a terminal");
    if !outcome.terminal_gone {
        println!("{:?} {}", outcome.end, outcome.summary.join(" | "));
    }
    std::process::exit(i32::from(outcome.failed));
}

#[test]
fn q_asks_saves_and_gives_the_terminal_back() {
    let mut pty = Pty::open(&[]);
    assert!(pty.screen.screen().alternate_screen() && pty.screen.screen().bracketed_paste());
    pty.send(b"q");
    pty.wait_for("保存并退出");
    pty.send(b"\r");
    pty.wait_for("正在保存");
    let shell = pty.gives_back(0);
    assert!(shell.contains("Stopped") && shell.contains("检查点"), "{shell}");
}

#[test]
fn signals_save_and_give_the_terminal_back() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let pty = Pty::open(&[]);
        pty.signal(signal);
        let shell = pty.gives_back(0);
        assert!(shell.contains("Signalled") && shell.contains("检查点"), "{shell}");
    }
}

#[test]
fn ctrl_c_twice_saves_and_leaves() {
    let mut pty = Pty::open(&[]);
    pty.send(b"\x03");
    pty.wait_for("保存并退出");
    pty.send(b"\x03");
    assert!(pty.gives_back(0).contains("Stopped"));
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_takes_it_back() {
    let mut pty = Pty::open(&[]);
    pty.send(b"\x1a");
    let stat = format!("/proc/{}/stat", pty.pid().as_raw_nonzero());
    if cfg!(target_os = "linux") {
        pty.until("a stopped process", |_| {
            std::fs::read_to_string(&stat).is_ok_and(|s| s.rsplit(')').next().is_some_and(|s| s.starts_with(" T")))
        });
    }
    pty.until("the shell's screen", |pty| !pty.screen.screen().alternate_screen());
    pty.is_given_back();
    rustix::process::kill_process_group(pty.pid(), rustix::process::Signal::CONT).expect("a signal");
    pty.until("the workbench's screen", |pty| pty.screen.screen().alternate_screen());
    pty.wait_for("训练中");
    pty.send(b"?");
    pty.wait_for("帮助 help");
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// A stop from outside (SIGSTOP cannot be caught) leaves the terminal to the shell, which changes it.
#[test]
fn continuing_after_a_stop_takes_the_terminal_again() {
    let mut pty = Pty::open(&[]);
    pty.signal(rustix::process::Signal::STOP);
    thread::sleep(Duration::from_millis(200));
    while pty.bytes.try_recv().is_ok() {}
    pty.screen.process(b"\x1b[?1049l\x1b[2J\x1b[H");
    pty.signal(rustix::process::Signal::CONT);
    pty.until("the workbench's screen", |pty| pty.screen.screen().alternate_screen());
    pty.wait_for("探针 probe");
    pty.send(b"q");
    pty.wait_for("保存并退出");
    pty.send(b"\r");
    pty.gives_back(0);
}

#[test]
fn han_typed_anywhere_prompts_and_the_caret_follows() {
    let mut pty = Pty::open(&[]);
    pty.send("春眠不觉晓，".as_bytes());
    pty.wait_for("❯ 春眠不觉晓，");
    pty.until("the caret behind the text", |pty| {
        let screen = pty.screen.screen();
        let (row, column) = screen.cursor_position();
        let before = screen.cell(row, column.saturating_sub(2)).map(|c| c.contents().to_owned());
        !screen.hide_cursor() && before.as_deref() == Some("，")
    });
    pty.send(b"\r");
    pty.wait_for("处处闻啼鸟。夜来风雨声，");
    pty.wait_for("54 tok");
    pty.send(b"\x1b[200~\xe5\xba\x8a\xe5\x89\x8d\n?q\x1b[201~");
    pty.wait_for("❯ 床前");
    pty.wait_for("?q");
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// With an input method on, letters are full-width and Ctrl combinations are unchanged.
#[test]
fn full_width_keys_and_ctrl_keys_work() {
    let mut pty = Pty::open(&[]);
    pty.send("　".as_bytes());
    pty.wait_for("已暂停");
    pty.send(b"\x07");
    pty.wait_for("训练中");
    pty.send("？".as_bytes());
    pty.wait_for("帮助 help");
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

#[test]
fn a_new_size_is_painted_at_once() {
    let mut pty = Pty::open(&[("FAKE_LANG", "zh")]);
    for (rows, cols) in [(24, 80), (16, 60), (3, 12), (1, 1), (40, 140)] {
        pty.screen.screen_mut().set_size(cells(rows), cells(cols));
        let size = PtySize { rows, cols, ..SIZE };
        pty.master.as_ref().expect("a terminal").resize(size).expect("a size");
        thread::sleep(Duration::from_millis(150));
    }
    pty.until("the new width", |pty| {
        pty.screen.screen().rows(0, 140).nth(38).is_some_and(|r| r.starts_with("────") && r.len() >= 140)
    });
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// A key after a new size is not held back until the next one, however soon it is pressed.
#[test]
fn the_first_key_after_a_new_size_acts() {
    let mut pty = Pty::start(&[("FAKE_REOPENED", "1")], true);
    pty.wait_for("已暂停");
    for (turn, rest) in [300, 0, 20, 150, 0, 60].into_iter().enumerate() {
        let (rows, cols) = if turn % 2 == 0 { (30, 100) } else { (36, 120) };
        pty.screen.screen_mut().set_size(cells(rows), cells(cols));
        let size = PtySize { rows, cols, ..SIZE };
        pty.master.as_ref().expect("a terminal").resize(size).expect("a size");
        thread::sleep(Duration::from_millis(rest));
        pty.send(b"?");
        pty.wait_for("帮助 help");
        pty.send(b"q");
        pty.until("no help", |pty| !pty.contents().contains("帮助 help"));
    }
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// Terminals send a line end of a pasted text as a carriage return.
#[test]
fn a_pasted_line_end_is_a_line_end() {
    let mut pty = Pty::open(&[]);
    pty.send("\x1b[200~白日\r依山\r\n黄河\n入海\x1b[201~".as_bytes());
    for line in ["❯ 白日", "依山", "黄河", "入海"] {
        pty.wait_for(line);
    }
    assert!(!pty.contents().contains('␍'), "{}", pty.contents());
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// A finished policy that is opened again has no answers to show: that is asked once, not every second.
#[test]
fn what_was_refused_is_not_asked_for_again() {
    let vars = [("FAKE_STAGE", "ppo"), ("FAKE_FROM", "40"), ("FAKE_REOPENED", "1")];
    let mut pty = Pty::start(&vars, true);
    pty.wait_for("采样回答 rollout");
    pty.wait_for("下一次更新后");
    let end = Instant::now() + Duration::from_millis(3500);
    pty.until("three seconds", |_| Instant::now() >= end);
    assert!(!pty.contents().contains("asked again"), "{}", pty.contents());
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

#[test]
fn no_color_keeps_bold_and_reverse() {
    let mut pty = Pty::open(&[("NO_COLOR", "1")]);
    pty.send(b"q");
    pty.wait_for("保存并退出");
    let (mut reversed, mut bold) = (false, false);
    for row in 0..SIZE.rows {
        for column in 0..SIZE.cols {
            let cell = pty.screen.screen().cell(row, column).expect("a cell");
            assert_eq!(cell.fgcolor(), vt100::Color::Default, "row {row}: {}", cell.contents());
            (reversed, bold) = (reversed || cell.inverse(), bold || cell.bold());
        }
    }
    assert!(reversed, "the chosen answer is not to be seen");
    assert!(bold);
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

#[test]
fn a_terminal_of_cjk_widths_gets_safe_glyphs() {
    let mut pty = Pty::start(&[], true);
    pty.cursor_report = Some(b"\x1b[1;3R");
    pty.wait_for("训练中");
    pty.wait_for("╌╌╌");
    assert!(!pty.contents().contains('─') && !pty.contents().contains('│'));
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// The output is not read (Ctrl-S, a stalled link): a signal still saves and exits.
#[test]
fn a_stalled_terminal_does_not_hold_a_signal_up() {
    let mut pty = Pty::start(&[("FAKE_PACE", "5")], false);
    thread::sleep(Duration::from_secs(3));
    pty.signal(rustix::process::Signal::TERM);
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(status) = pty.child.try_wait().expect("a status") {
            assert_eq!(status.exit_code(), 0);
            break;
        }
        assert!(Instant::now() < end, "still there after a minute");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A panic of another thread becomes a log line and leaves the screen intact.
#[test]
fn a_helpers_panic_is_logged_and_the_screen_lives() {
    let mut pty = Pty::open(&[("FAKE_PANIC", "1")]);
    pty.wait_for("helper thread fell");
    assert!(pty.screen.screen().alternate_screen());
    pty.send(b"?");
    pty.wait_for("帮助 help");
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// Drivers print to standard error; redirected to a file, nothing of it reaches the screen.
#[test]
fn standard_error_goes_to_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stderr.log");
    let mut pty = Pty::open(&[("FAKE_STDERR", path.to_str().expect("UTF-8"))]);
    pty.until("the noise in the file", |_| std::fs::read_to_string(&path).is_ok_and(|s| s.contains("driver's noise")));
    assert!(!String::from_utf8_lossy(&pty.raw).contains("driver's noise"));
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// From pretraining to fine-tuning and back by keystrokes: viewing changes nothing, switching asks, saves and switches,
/// a conversation works on the way, and the old curve continues.
#[test]
fn stages_are_looked_at_gone_to_and_come_back_to() {
    let mut pty = Pty::open(&[("FAKE_FROM", "40")]);
    pty.send(b"3");
    pty.wait_for("尚未训练");
    pty.wait_for("▸2 小学中学 pretrain");
    pty.send(b"g");
    pty.wait_for("切换阶段");
    pty.send(b"\r");
    pty.wait_for("正在切换到");
    pty.wait_for("▸3 大学 sft");
    pty.wait_for("‹user›杭州在哪个省？");
    pty.send("你好\r".as_bytes());
    pty.wait_for("我是答话1号。");
    pty.wait_for("达到长度上限");
    pty.send(b"\x1b");
    thread::sleep(Duration::from_millis(200));
    pty.send(b"b");
    pty.wait_for("微调 + 基座");
    pty.send("再见\r".as_bytes());
    pty.wait_for("我是答话2号。");
    pty.until("both to end", |pty| pty.contents().matches("达到长度上限").count() >= 3);
    pty.send(b"\x1b");
    thread::sleep(Duration::from_millis(200));
    pty.send("e\x7f呀\r".as_bytes());
    pty.wait_for("已修改");
    pty.send(b"2");
    pty.wait_for("停在这里");
    pty.send(b"g\r");
    pty.wait_for("▸2 小学中学 pretrain");
    pty.wait_for("训练中");
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// The data view during pretraining: a source's weight, a document, a threshold tried and applied, near duplicates, a
/// label, and the change on the loss chart.
#[test]
fn data_are_looked_at_and_steered_while_it_trains() {
    let mut pty = Pty::open(&[("FAKE_FROM", "40")]);
    pty.send(b"1");
    pty.wait_for("监听文件");
    pty.wait_for("春眠不觉晓");
    pty.send("＋".as_bytes());
    pty.wait_for(" 45%");
    pty.wait_for("k 按键");
    pty.send(b"\r\x1b[C");
    pty.wait_for("2 / 300");
    pty.send(b"x");
    pty.wait_for("已标注丢弃");
    pty.send(b"\x1b");
    thread::sleep(Duration::from_millis(200));
    pty.send(b"\t+");
    pty.wait_for("已全部统计");
    pty.send(b"\r");
    pty.wait_for(">= 15");
    pty.send(b"\x1b[F\r");
    pty.wait_for("相似度 0.94");
    pty.send(b"r");
    pty.wait_for("f 文件");
    pty.send(b"2");
    pty.wait_for("tang300.txt +2 -0");
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// Voting while PPO runs: votes by arrows and full-width letters, the fit, a vote taken back and cast again, an answer
/// rewritten, a typed prompt, and back.
#[test]
fn pairs_are_voted_on_while_the_policy_learns() {
    let mut pty = Pty::start(&[("FAKE_STAGE", "ppo"), ("FAKE_FROM", "5"), ("FAKE_PACE", "50")], true);
    pty.wait_for("得分与 KL frontier");
    pty.wait_for("采样回答 rollout");
    pty.wait_for("西湖、灵隐寺");
    pty.send(b"v");
    pty.wait_for("正在生成两个回答");
    pty.wait_for("#1");
    assert!(!pty.contents().contains("RM "), "no opinion before the vote");
    let votes: [&[u8]; 5] = [b"\x1b[D", b"\x1b[C", "ａ".as_bytes(), b"B", b"a"];
    for (at, key) in votes.into_iter().enumerate() {
        pty.send(key);
        pty.wait_for(&format!("#{}", at + 2));
    }
    pty.wait_for("你 A 更好");
    pty.wait_for("v1");
    pty.wait_for("62.0% → 81.0%");
    pty.send(b"u");
    pty.wait_for("已撤销一票");
    pty.wait_for("#5");
    pty.send(b"=");
    pty.wait_for("你 差不多");
    pty.wait_for("#6");
    pty.send("e好\r".as_bytes());
    pty.wait_for("示范共 3 条");
    pty.wait_for("#7");
    pty.send("苏州呢？\r".as_bytes());
    pty.wait_for("#8");
    pty.wait_for("苏州呢？");
    pty.send(b"4");
    pty.wait_for("准确率 accuracy");
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// The guard's stop is shown with its reason and advice, and `g` follows it.
#[test]
fn a_policy_that_was_stopped_is_opened_from_its_checkpoint() {
    let vars = [("FAKE_STAGE", "ppo"), ("FAKE_FROM", "9"), ("FAKE_PACE", "50"), ("FAKE_GUARD", "1")];
    let mut pty = Pty::start(&vars, true);
    pty.wait_for("守卫停止");
    pty.wait_for("the answers become one");
    pty.wait_for("按 g 从 ppo-00000005 继续训练");
    pty.send(b"g");
    pty.wait_for("正在切换到");
    pty.wait_for("训练中");
    pty.until("the guard's word to go", |pty| !pty.contents().contains("守卫停止了训练"));
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// A step changes little on the screen: ten frames per second must work over a slow link.
#[test]
fn updates_are_small() {
    let pty = Pty::open(&[("FAKE_PACE", "100"), ("FAKE_FROM", "640")]);
    thread::sleep(Duration::from_millis(500));
    while pty.bytes.try_recv().is_ok() {}
    thread::sleep(Duration::from_secs(3));
    let mut total = 0;
    while let Ok(bytes) = pty.bytes.try_recv() {
        total += bytes.len();
    }
    assert!(total > 0 && total / 30 <= 1024, "{} bytes a frame", total / 30);
    pty.signal(rustix::process::Signal::TERM);
    pty.gives_back(0);
}

/// The program on a new run: it trains, answers meanwhile, saves and restores the terminal.
#[test]
fn danlu_trains_answers_and_leaves() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
    command.args(["--adapter", "cpu", "--lang", "zh", "--run"]);
    command.arg(folder.path().join("run"));
    let mut pty = Pty::spawn(command, &[], true);
    pty.wait_for("训练中");
    pty.until("a first step", |pty| pty.contents().contains("tok/s") && !pty.contents().contains("第一步尚未完成"));
    pty.send("春眠不觉晓，\r".as_bytes());
    pty.until("an answer's stamp", |pty| pty.contents().contains(" tok "));
    // Separately: Esc followed at once by q is Alt-q.
    pty.send(b"\x1b");
    thread::sleep(Duration::from_millis(200));
    pty.send(b"q");
    pty.wait_for("保存并退出");
    pty.send(b"\r");
    let shell = pty.gives_back(0);
    assert!(shell.contains("检查点"), "{shell}");
}

/// From pretraining to fine-tuning and back with the real program: 2, 3, 2 by keystrokes. Nothing is lost, and both
/// stages equal, to the bit, training without a screen or a stop.
#[test]
fn danlu_goes_to_fine_tuning_and_back_and_loses_nothing() {
    use common::{checkpoints, counting, danlu, json_file, stage_checkpoint, stage_metrics, tensors, text};
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let mut sets: Vec<String> = common::TINY[..6].iter().map(|s| (*s).to_owned()).collect();
    for stage in ["pretrain", "sft"] {
        let each = ["steps=100000", "batch_size=8", "context=64", "warmup_steps=2", "eval_steps=0", "probe_steps=50"];
        sets.extend(each.map(|set| format!("{stage}.{set}")));
    }
    sets.push(counting(folder.path()));
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
    command.args(["--adapter", "cpu", "--lang", "zh", "--size", "1m", "--run", &text(&run)]);
    command.args(&sets);
    let lines = |stage: &str| {
        let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
        log.lines().filter(|line| line.contains(&format!("\"stage\":\"{stage}\""))).count()
    };

    let mut pty = Pty::spawn(command, &[], true);
    pty.wait_for("训练中");
    pty.until("some steps", |_| lines("pretrain") >= 10);
    pty.send(b"3");
    pty.wait_for("尚未训练");
    pty.send(b"g");
    pty.wait_for("切换阶段");
    pty.send(b"\r");
    pty.wait_for("▸3 大学 sft");
    pty.until("steps of fine-tuning", |_| lines("sft") >= 10);
    let left_at = lines("pretrain");
    pty.send(b"2");
    pty.wait_for("停在这里");
    pty.send(b"g");
    pty.wait_for("切换阶段");
    pty.send(b"\r");
    pty.wait_for("▸2 小学中学 pretrain");
    pty.until("more steps of pretraining", |_| lines("pretrain") >= left_at + 10);
    pty.send(b"q");
    pty.wait_for("保存并退出");
    pty.send(b"\r");
    let shell = pty.gives_back(0);
    assert!(shell.contains("检查点"), "{shell}");

    let (school, university) = (lines("pretrain"), lines("sft"));
    assert!(school > left_at);
    let names = [("pretrain", left_at), ("pretrain", school), ("sft", university)];
    assert_eq!(checkpoints(&run), names.map(|(stage, step)| format!("{stage}-{step:08}")));
    let parent = format!("pretrain-{left_at:08}");
    let state = json_file(&stage_checkpoint(&run, "sft", university).join("state.json"));
    assert_eq!(state["parent"], parent);
    common::no_leftovers(&run);

    // The same without a screen: pretraining in one launch; fine-tuning from where it began.
    let train = |run: &std::path::Path, stage: &str, steps: usize| {
        let (run, steps) = (text(run), steps.to_string());
        let all = ["train", "--json", "--size", "1m", "--run", &run, "--stage", stage, "--steps", &steps];
        danlu([&all[..], &sets].concat()).good();
    };
    let (whole, line) = (folder.path().join("whole"), folder.path().join("line"));
    train(&whole, "pretrain", school);
    train(&line, "pretrain", left_at);
    train(&line, "sft", university);
    let same = |other: &std::path::Path, stage: &str, step: usize| {
        let metrics = (stage_metrics(&run, stage), stage_metrics(other, stage));
        assert_eq!(metrics.0.len(), step);
        assert!(metrics.0 == metrics.1, "{stage}: other steps");
        let weights = [&run, other].map(|run| tensors(&stage_checkpoint(run, stage, step)));
        assert!(weights[0] == weights[1], "{stage}: other tensors at step {step}");
    };
    same(&whole, "pretrain", school);
    same(&line, "sft", university);
    // They also continue equally.
    for (other, stage, step) in [(&whole, "pretrain", school + 3), (&line, "sft", university + 3)] {
        train(&run, stage, step);
        train(other, stage, step);
        same(other, stage, step);
    }
}

/// A tiny line of stages up to PPO, with fixed answers.
fn line_of_stages(folder: &std::path::Path) -> Vec<String> {
    let pairs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/preference/pairs.jsonl");
    let pairs = std::fs::read_to_string(pairs).expect("pairs");
    let answers =
        ["杭州有西湖、断桥和灵隐寺，都很好玩。", "我推荐西湖。", "去杭州可以看西湖、断桥和灵隐寺。", "我推荐长城。"];
    let line = |(i, line): (usize, &str)| {
        let pair: serde_json::Value = serde_json::from_str(line).expect("a pair");
        serde_json::json!({"task": "canned", "prompt": pair["prompt"], "completion": answers[i % 4]}).to_string() + "\n"
    };
    let path = folder.join("canned.jsonl");
    std::fs::write(&path, pairs.lines().enumerate().map(line).collect::<String>()).expect("written");
    let sets = [
        "model.num_hidden_layers=2 model.hidden_size=32 model.num_attention_heads=2 model.intermediate_size=64",
        "model.vocab_size=1500 model.max_position_embeddings=128 guard.enabled=false",
        "pretrain.steps=4 pretrain.batch_size=2 pretrain.context=32 pretrain.eval_steps=0 pretrain.probe_steps=0",
        "sft.steps=150 sft.batch_size=4 sft.learning_rate=1e-2 sft.warmup_steps=2 sft.eval_steps=0 sft.probe_steps=0",
        "reward.steps=30 reward.batch_size=16 reward.learning_rate=2e-3 reward.eval_steps=0 reward.vote_fit=\"network\"",
        "ppo.steps=100000 ppo.rollouts=8 ppo.response_length=24 ppo.num_ppo_epochs=1 ppo.num_mini_batches=1",
        "ppo.value_warmup_steps=1 ppo.learning_rate=1e-4 ppo.eval_steps=0 ppo.save_steps=0",
    ];
    let sets = sets.iter().flat_map(|some| some.split(' ')).map(str::to_owned);
    let talk = format!("sft.source=[{{name=\"canned\",path={:?}}}]", common::text(&path));
    sets.chain([talk]).flat_map(|set| ["--set".to_owned(), set]).collect()
}

/// The whole line by keystrokes: 2, 3, 4, 5, five votes while PPO runs, the fit, and quit. PPO and the reward model
/// equal, to the bit, training without a screen.
#[test]
fn danlu_goes_the_whole_line_learns_from_votes_and_loses_nothing() {
    use common::{checkpoints, danlu, json_file, stage_checkpoint, tensors, text};
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let sets = line_of_stages(folder.path());
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_danlu"));
    command.args(["--adapter", "cpu", "--lang", "zh", "--size", "1m", "--run", &text(&run)]);
    command.args(&sets);
    let mut pty = Pty::spawn(command, &[], true);
    pty.wait_for("已完成");
    for (key, live) in [(b"3", "▸3 大学 sft"), (b"4", "▸4 工作 reward")] {
        pty.send(key);
        pty.wait_for("尚未训练");
        pty.send(b"g");
        pty.wait_for("切换阶段");
        pty.send(b"\r");
        pty.wait_for(live);
        pty.until("the stage's end", |pty| pty.contents().contains(live) && pty.contents().contains("已完成"));
    }
    pty.send(b"5");
    pty.wait_for("尚未训练");
    pty.send(b"g");
    pty.wait_for("切换阶段");
    pty.send(b"\r");
    pty.wait_for("▸5 ppo");
    pty.wait_for("采样回答 rollout");
    pty.send(b"v");
    for vote in 1..=5 {
        pty.wait_for(&format!("#{vote} "));
        pty.send(b"a");
        pty.wait_for("你 A 更好");
    }
    pty.wait_for("v1");
    pty.until("the fit on disk", |_| checkpoints(&run).contains(&"reward-00000050".to_owned()));
    pty.send(b"\x1b");
    thread::sleep(Duration::from_millis(200));
    pty.send(b"q");
    pty.wait_for("保存并退出");
    pty.send(b"\r");
    pty.gives_back(0);
    common::no_leftovers(&run);
    let votes = std::fs::read_to_string(run.join("preferences.jsonl")).expect("votes");
    assert_eq!(votes.lines().filter(|line| line.contains("\"choice\":\"a\"")).count(), 5, "{votes}");
    let newest = checkpoints(&run).into_iter().filter(|name| name.starts_with("ppo-")).max().expect("a checkpoint");
    let updates: usize = newest.trim_start_matches("ppo-").parse().expect("a number");
    let state = json_file(&stage_checkpoint(&run, "ppo", updates).join("state.json"));
    assert_eq!(state["reward_model"][0], "reward-00000030", "PPO keeps the one that it learns from");

    // Without the screen: PPO in one launch, and the fit from the votes in the file.
    let other = folder.path().join("other");
    common::copy_all(&run, &other);
    for name in checkpoints(&other) {
        if name.starts_with("ppo-") || name == "reward-00000050" {
            std::fs::remove_dir_all(other.join("checkpoints").join(name)).expect("removed");
        }
    }
    let train = |run: &std::path::Path, stage: &str, more: &[&str]| {
        let all = ["train", "--json", "--run", &text(run), "--stage", stage];
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        danlu([&all[..], &sets, more].concat()).good();
    };
    let same = |stage: &str, step: usize| {
        let [ours, theirs] = [&run, &other].map(|run| tensors(&stage_checkpoint(run, stage, step)));
        assert!(ours == theirs, "{stage}: other tensors at step {step}");
    };
    train(&other, "ppo", &["--steps", &updates.to_string()]);
    same("ppo", updates);
    train(&other, "reward", &[]);
    same("reward", 50);
    // They also continue equally.
    let further = updates + 2;
    train(&run, "ppo", &["--steps", &further.to_string()]);
    train(&other, "ppo", &["--steps", &further.to_string()]);
    same("ppo", further);
}
