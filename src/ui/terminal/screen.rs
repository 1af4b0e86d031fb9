//! The painted side: one frame, one write.

use std::{
    io::{self, BufWriter, Stdout, Write as _},
    mem::ManuallyDrop,
};

use crossterm::{
    queue,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
};
use ratatui::{Terminal, backend::CrosstermBackend, buffer::Buffer, layout::Rect};

use crate::ui::state::Drawn;

/// The terminal as it is painted.
pub(crate) struct Screen {
    /// Never dropped: its drop shows the cursor, which [`super::restore`] has done; on a stalled terminal it
    /// would wait for ever, and on a dead one it prints to standard error and panics.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
}

/// Bytes of a whole frame of a large terminal, so that it leaves in one piece.
const FRAME: usize = 256 * 1024;

impl Screen {
    pub(crate) fn new() -> io::Result<Screen> {
        let out = BufWriter::with_capacity(FRAME, io::stdout());
        Ok(Screen { terminal: ManuallyDrop::new(Terminal::new(CrosstermBackend::new(out))?) })
    }

    /// Paints everything again at the next frame. Not `Terminal::clear`, which asks the terminal where
    /// its cursor is and waits up to two seconds for the answer.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        let area = self.terminal.get_frame().area();
        self.terminal.resize(area)
    }

    /// One frame inside a synchronized update, the caret with it, so that neither flicker nor the
    /// input method's window chases the painting.
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
