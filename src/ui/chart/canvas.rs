//! Braille dots (or ASCII) on a grid of cells.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::ui::{paint::put, theme::Glyphs};

/// The bit of a braille character for a dot, by column and row.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Dots on a grid of cells; a later layer replaces an earlier one in a cell.
pub(super) struct Canvas {
    area: Rect,
    cells: Vec<(u8, u8)>,
}

impl Canvas {
    pub(super) fn new(area: Rect) -> Canvas {
        Canvas { area, cells: vec![(0, 0); area.width as usize * area.height as usize] }
    }

    pub(super) fn dots_wide(&self) -> usize {
        self.area.width as usize * 2
    }

    pub(super) fn dots_high(&self) -> usize {
        self.area.height as usize * 4
    }

    pub(super) fn dot(&mut self, layer: u8, x: usize, y: usize) {
        if x >= self.dots_wide() || y >= self.dots_high() {
            return;
        }
        let cell = &mut self.cells[y / 4 * self.area.width as usize + x / 2];
        if cell.0 != layer {
            *cell = (layer, 0);
        }
        cell.1 |= DOTS[x % 2][y % 4];
    }

    /// A line between two dots (Bresenham 1965).
    pub(super) fn line(&mut self, layer: u8, from: (usize, usize), to: (usize, usize)) {
        let (mut x, mut y) = (from.0 as i64, from.1 as i64);
        let (to_x, to_y) = (to.0 as i64, to.1 as i64);
        let (dx, dy) = ((to_x - x).abs(), -(to_y - y).abs());
        let (step_x, step_y) = ((to_x - x).signum(), (to_y - y).signum());
        let mut error = dx + dy;
        loop {
            self.dot(layer, x as usize, y as usize);
            if (x, y) == (to_x, to_y) {
                return;
            }
            let twice = 2 * error;
            if twice >= dy {
                error += dy;
                x += step_x;
            }
            if twice <= dx {
                error += dx;
                y += step_y;
            }
        }
    }

    pub(super) fn paint(&self, buf: &mut Buffer, glyphs: &Glyphs, styles: &[Style], ascii: &[&str]) {
        for (at, &(layer, dots)) in self.cells.iter().enumerate().filter(|(_, c)| c.1 != 0) {
            let x = self.area.x + (at % self.area.width as usize) as u16;
            let y = self.area.y + (at / self.area.width as usize) as u16;
            let layer = layer as usize - 1;
            let braille = char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ');
            let mut utf8 = [0; 4];
            let glyph = if glyphs.braille { braille.encode_utf8(&mut utf8) } else { ascii[layer] };
            put(buf, x, y, self.area.right(), glyph, styles[layer]);
        }
    }
}
