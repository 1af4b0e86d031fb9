//! Writes text into cells. Every glyph on the screen goes through [`put`], which never writes outside its line, never
//! splits a wide glyph, and drops control characters.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::ui::{
    text::{shorten, width},
    theme::{Glyphs, Role, Theme},
};

/// Writes `text` from `x` up to before `end`; returns where it ended.
pub fn put(buf: &mut Buffer, x: u16, y: u16, end: u16, text: &str, style: Style) -> u16 {
    let end = end.min(buf.area.right());
    if y < buf.area.top() || y >= buf.area.bottom() || x < buf.area.left() || x >= end {
        return x;
    }
    // Overwriting the second half of a wide glyph would leave half a glyph.
    if x > buf.area.left() && buf[(x - 1, y)].symbol().width() > 1 {
        buf[(x - 1, y)].set_symbol(" ");
    }
    let mut at = x;
    for grapheme in text.graphemes(true) {
        let wide = grapheme.width() as u16;
        if wide == 0 || grapheme.chars().any(char::is_control) {
            continue;
        }
        if at.saturating_add(wide) > end {
            break;
        }
        let over = buf[(at + wide - 1, y)].symbol().width() as u16;
        for covered in at + 1..(at + wide - 1 + over.max(1)).min(buf.area.right()) {
            buf[(covered, y)].reset();
        }
        let cell = &mut buf[(at, y)];
        cell.reset();
        cell.set_symbol(grapheme).set_style(style);
        for covered in at + 1..at + wide {
            buf[(covered, y)].set_style(style);
        }
        at += wide;
    }
    at
}

/// Writes `text` right-aligned before `end`; returns where it begins.
pub fn put_right(buf: &mut Buffer, left: u16, y: u16, end: u16, text: &str, style: Style) -> u16 {
    let room = end.saturating_sub(left) as usize;
    let text = shorten(text, room);
    let x = end.saturating_sub(width(&text) as u16).max(left);
    put(buf, x, y, end, &text, style);
    x
}

/// Pieces of text with their styles.
pub type Pieces<'a> = Vec<(std::borrow::Cow<'a, str>, Style)>;

/// The width of pieces in cells.
pub fn pieces_width(pieces: &Pieces) -> usize {
    pieces.iter().map(|p| width(&p.0)).sum()
}

/// Writes pieces in sequence.
pub fn put_pieces(buf: &mut Buffer, x: u16, y: u16, end: u16, pieces: &Pieces) -> u16 {
    pieces.iter().fold(x, |x, (text, style)| put(buf, x, y, end, text, *style))
}

/// Draws a rule across the area's first row, with a title and right-aligned facts.
pub fn rule(buf: &mut Buffer, area: Rect, title: &str, facts: &Pieces, focused: bool, theme: Theme, glyphs: &Glyphs) {
    let dim = theme.style(Role::Dim);
    for x in area.left()..area.right() {
        put(buf, x, area.y, area.right(), glyphs.rule, dim);
    }
    if area.width < 4 {
        return;
    }
    let style = theme.style(if focused { Role::Focus } else { Role::Text });
    let title = shorten(title, area.width as usize - 4);
    let mut x = area.x + 1;
    x = put(buf, x, area.y, area.right(), if focused { glyphs.chosen } else { " " }, style);
    x = put(buf, x, area.y, area.right(), &title, style);
    x = put(buf, x, area.y, area.right(), " ", dim);
    // Without enough room, facts are dropped from the front.
    let room = area.right().saturating_sub(x + 3) as usize;
    let mut kept: Pieces = facts.clone();
    while !kept.is_empty() && pieces_width(&kept) > room {
        kept.remove(0);
        // What separated it from the next goes with it.
        while kept.first().is_some_and(|piece| [" ", "", glyphs.dot].contains(&piece.0.trim())) {
            kept.remove(0);
        }
    }
    if let Some(first) = kept.first_mut() {
        first.0 = first.0.trim_start().to_owned().into();
    }
    if kept.is_empty() {
        return;
    }
    let mut x = area.right() - pieces_width(&kept) as u16 - 3;
    x = put(buf, x, area.y, area.right(), " ", dim);
    x = put_pieces(buf, x, area.y, area.right(), &kept);
    put(buf, x, area.y, area.right(), " ", dim);
}

/// Clears an area for a popup. A wide glyph across its edge is removed whole.
pub fn clear(buf: &mut Buffer, area: Rect) {
    let area = area.intersection(buf.area);
    if area.width == 0 {
        return;
    }
    for y in area.top()..area.bottom() {
        if area.x > buf.area.x && buf[(area.x - 1, y)].symbol().width() > 1 {
            buf[(area.x - 1, y)].reset();
        }
        let cut = area.right() < buf.area.right() && buf[(area.right() - 1, y)].symbol().width() > 1;
        for x in area.left()..area.right() + u16::from(cut) {
            buf[(x, y)].reset();
        }
    }
}

/// Draws a bar of `cells` cells, of which the share `share` is full.
pub fn bar(buf: &mut Buffer, x: u16, y: u16, cells: u16, share: f64, styles: (Style, Style), glyphs: &Glyphs) {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let full = (share * f64::from(cells)).round() as u16;
    for cell in 0..cells {
        let (glyph, style) = if cell < full { (glyphs.full, styles.0) } else { (glyphs.empty, styles.1) };
        put(buf, x + cell, y, x + cells, glyph, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(buf: &Buffer) -> String {
        let mut text = String::new();
        let mut x = 0;
        while x < buf.area.width {
            let symbol = buf[(x, 0)].symbol();
            text.push_str(symbol);
            x += symbol.width().max(1) as u16;
        }
        text
    }

    #[test]
    fn wide_glyphs_are_never_halved() {
        for at in 0..10 {
            let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
            put(&mut buf, 0, 0, 10, "春眠不觉晓", Style::new());
            put(&mut buf, at, 0, 10, "|", Style::new());
            assert_eq!(width(&row(&buf)), 10, "{at}: {:?}", row(&buf));
            assert!(row(&buf).contains('|'));
            let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
            put(&mut buf, 0, 0, 10, "春眠不觉晓", Style::new());
            put(&mut buf, at, 0, 10, "夜", Style::new());
            assert_eq!(width(&row(&buf)), 10, "{at}: {:?}", row(&buf));
        }
    }

    #[test]
    fn a_popup_over_han_text_keeps_its_edges() {
        for at in 0..8 {
            let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
            put(&mut buf, 0, 0, 10, "春眠不觉晓", Style::new());
            clear(&mut buf, Rect::new(at, 0, 3, 1));
            put(&mut buf, at, 0, at + 3, "[ ]", Style::new());
            assert_eq!(width(&row(&buf)), 10);
            assert!(row(&buf).contains("[ ]"), "{}", row(&buf));
        }
    }

    #[test]
    fn controls_never_reach_a_cell() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
        put(&mut buf, 0, 0, 10, "a\x1b[2Jb\u{9b}c", Style::new());
        assert_eq!(row(&buf).trim_end(), "a[2Jbc");
    }

    #[test]
    fn text_stops_before_its_end() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
        assert_eq!(put(&mut buf, 0, 0, 5, "春眠不觉晓", Style::new()), 4);
        assert_eq!(put(&mut buf, 20, 0, 30, "x", Style::new()), 20);
        assert_eq!(put(&mut buf, 0, 7, 30, "x", Style::new()), 0);
        assert_eq!(put_right(&mut buf, 0, 0, 10, "晓", Style::new()), 8);
    }
}
