//! A pseudo-terminal that runs a program, and an emulated screen of its output.

use std::{
    io::Read as _,
    num::NonZero,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// A terminal that runs the workbench.
pub struct Pty {
    pub master: Option<Box<dyn MasterPty + Send>>,
    pub child: Box<dyn Child + Send + Sync>,
    pub bytes: Receiver<Vec<u8>>,
    pub keys: Box<dyn std::io::Write + Send>,
    pub screen: vt100::Parser,
    pub raw: Vec<u8>,
    pub termios: String,
    /// The terminal's answer to a cursor position query.
    pub cursor_report: Option<&'static [u8]>,
}

/// Terminals so far, for a config folder of each.
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub const SIZE: PtySize = PtySize { rows: 36, cols: 120, pixel_width: 0, pixel_height: 0 };

pub fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a size")
}

impl Pty {
    pub fn open(vars: &[(&str, &str)]) -> Pty {
        let mut pty = Pty::start(vars, true);
        pty.wait_for("训练中");
        pty
    }

    /// With `read`, a thread reads the program's output; without, the terminal is blocked.
    pub fn start(vars: &[(&str, &str)], read: bool) -> Pty {
        let mut command = CommandBuilder::new(std::env::current_exe().expect("a path"));
        command.args(["--ignored", "--exact", "workbench", "--nocapture"]);
        Pty::spawn(command, vars, read)
    }

    pub fn spawn(mut command: CommandBuilder, vars: &[(&str, &str)], read: bool) -> Pty {
        let pair = native_pty_system().openpty(SIZE).expect("a pty");
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "");
        command.env("LC_ALL", "zh_CN.UTF-8");
        command.env_remove("NO_COLOR");
        command.env_remove("COLORFGBG");
        // Not the settings of the user who runs the tests, nor those that another test leaves.
        let own = format!("config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        command.env("XDG_CONFIG_HOME", std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(own));
        for (name, value) in vars {
            command.env(name, value);
        }
        let termios = format!("{:?}", pair.master.get_termios());
        let child = pair.slave.spawn_command(command).expect("a process");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let (to, bytes) = channel();
        if read {
            thread::spawn(move || {
                let mut buf = vec![0; 65536];
                while let Ok(n @ 1..) = reader.read(&mut buf) {
                    if to.send(buf[..n].to_vec()).is_err() {
                        return;
                    }
                }
            });
        }
        let screen = vt100::Parser::new(cells(SIZE.rows), cells(SIZE.cols), 0);
        let raw = Vec::new();
        Pty { master: Some(pair.master), child, bytes, keys, screen, raw, termios, cursor_report: None }
    }

    pub fn pid(&self) -> rustix::process::Pid {
        let pid = self.child.process_id().expect("a process id");
        rustix::process::Pid::from_raw(pid as i32).expect("not zero")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("a signal");
    }

    pub fn send(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("a key");
        self.keys.flush().expect("a key");
    }

    pub fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    /// Reads output until `done`, for at most a minute.
    pub fn until(&mut self, what: &str, done: impl Fn(&Pty) -> bool) {
        let end = Instant::now() + Duration::from_mins(1);
        while !done(self) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; the screen:\n{}", self.contents());
            if let Ok(bytes) = self.bytes.recv_timeout(left.min(Duration::from_millis(50))) {
                if let Some(report) = self.cursor_report.filter(|_| bytes.windows(4).any(|w| w == b"\x1b[6n")) {
                    self.send(report);
                }
                self.screen.process(&bytes);
                self.raw.extend(bytes);
            }
        }
    }

    pub fn wait_for(&mut self, text: &str) {
        self.until(text, |pty| pty.contents().contains(text));
    }

    /// Waits for the exit; the terminal must be restored.
    pub fn gives_back(mut self, code: u32) -> String {
        let end = Instant::now() + Duration::from_mins(1);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            assert!(Instant::now() < end, "still there after a minute:\n{}", self.contents());
            thread::sleep(Duration::from_millis(20));
        };
        self.read_to_end();
        assert_eq!(status.exit_code(), code, "{}", self.contents());
        self.is_given_back();
        self.contents()
    }

    /// Reads what a program that has ended left: without a program the reader meets the end of the terminal.
    pub fn read_to_end(&mut self) {
        while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_secs(10)) {
            self.screen.process(&bytes);
            self.raw.extend(bytes);
        }
    }

    /// Waits until the terminal is as it was. A program that continues undoes its modes one after the other.
    pub fn is_given_back(&mut self) {
        self.until("the terminal as it was", |pty| pty.held().is_empty());
    }

    /// What the program has not given back.
    fn held(&self) -> Vec<&'static str> {
        let screen = self.screen.screen();
        let master = self.master.as_ref().expect("a terminal");
        [
            ("the alternate screen", screen.alternate_screen()),
            ("the cursor", screen.hide_cursor()),
            ("bracketed pastes", screen.bracketed_paste()),
            ("the mouse", !matches!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None)),
            ("the line discipline", format!("{:?}", master.get_termios()) != self.termios),
        ]
        .into_iter()
        .filter_map(|(name, held)| held.then_some(name))
        .collect()
    }
}
