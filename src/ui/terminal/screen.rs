//! Draws frames, each in a single write.

#[cfg(unix)]
use std::{fs::File, os::fd::AsFd as _};
use std::{
    io::{self, BufWriter, Write},
    mem::ManuallyDrop,
};

use crossterm::{
    queue,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
};
use ratatui::{Terminal, backend::CrosstermBackend, buffer::Buffer, layout::Rect};

use crate::ui::state::Drawn;

/// The terminal for drawing.
pub(crate) struct Screen {
    /// Never dropped: dropping shows the cursor, which [`super::restore`] has done; on a stalled terminal it would wait
    /// forever, and on a closed one it prints to standard error and panics.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Out>>>>,
}

/// Standard output without a buffer of its own. It takes nothing more once the handler of a fatal signal has given the
/// terminal back: the rest of a frame that this thread is writing would go to the shell's screen.
struct Out {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: io::Stdout,
}

impl Out {
    fn new() -> io::Result<Out> {
        #[cfg(unix)]
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        #[cfg(not(unix))]
        let file = io::stdout();
        Ok(Out { file })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(unix)]
        if !super::fatal::is_held() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Buffer for a whole frame of a large terminal, so that it is written at once.
const FRAME: usize = 256 * 1024;

impl Screen {
    pub(crate) fn new() -> io::Result<Screen> {
        let out = BufWriter::with_capacity(FRAME, Out::new()?);
        Ok(Screen { terminal: ManuallyDrop::new(Terminal::new(CrosstermBackend::new(out))?) })
    }

    /// Redraws everything at the next frame. Not `Terminal::clear`, which queries the cursor position and waits up to
    /// two seconds for the answer.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        let area = self.terminal.get_frame().area();
        self.terminal.resize(area)
    }

    /// Draws a frame inside a synchronized update, including the cursor, so that neither the frame nor the input
    /// method's window flickers.
    pub(crate) fn draw(&mut self, paint: impl FnOnce(Rect, &mut Buffer) -> Drawn) -> io::Result<Drawn> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        let mut drawn = Drawn::default();
        self.terminal.draw(|frame| {
            drawn = paint(frame.area(), frame.buffer_mut());
            if let Some(caret) = drawn.caret {
                frame.set_cursor_position(caret);
            }
        })?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.terminal.backend_mut().flush()?;
        Ok(drawn)
    }
}
