//! A screen without a terminal.

use std::time::Duration;

use danlu::{
    protocol::Event,
    ui::{
        keys::Key,
        state::{AppState, Drawn},
        strings::Lang,
        theme::{Depth, GlyphSet, Theme},
        update::{Cmd, Msg, update},
        view,
    },
};
use ratatui::{buffer::Buffer, layout::Rect};
use unicode_width::UnicodeWidthStr as _;

pub fn screen(lang: Lang, events: Vec<Event>) -> AppState {
    let mut state = AppState::new(lang, Theme { depth: Depth::Cube, ..Theme::default() }, GlyphSet::Line);
    let mut now = Duration::ZERO;
    for event in events {
        if let Event::Steps(steps) = &event {
            now += Duration::from_millis(112) * steps.len() as u32;
            update(&mut state, Msg::Tick(now));
        }
        update(&mut state, Msg::Event(event));
    }
    state
}

pub fn press(state: &mut AppState, keys: &[Key]) -> Vec<Cmd> {
    keys.iter().flat_map(|key| update(state, Msg::Key(*key))).collect()
}

pub fn type_in(state: &mut AppState, text: &str) {
    for c in text.chars() {
        press(state, &[Key::char(c)]);
    }
}

pub fn painted(state: &AppState, wide: u16, high: u16) -> (Buffer, Drawn) {
    let mut buf = Buffer::empty(Rect::new(0, 0, wide, high));
    let drawn = view::draw(state, buf.area, &mut buf);
    (buf, drawn)
}

/// Draws, so that the following keys know the layout.
pub fn paint(state: &mut AppState, wide: u16, high: u16) -> Buffer {
    let (buf, drawn) = painted(state, wide, high);
    state.drawn = drawn;
    buf
}

/// The rows as a terminal would show them. Every row must have exactly the screen's width.
pub fn rows(buf: &Buffer) -> Vec<String> {
    (0..buf.area.height)
        .map(|y| {
            let (mut row, mut x) = (String::new(), 0);
            while x < buf.area.width {
                let symbol = buf[(x, y)].symbol();
                assert!(!symbol.chars().any(char::is_control), "a control character in row {y}: {symbol:?}");
                row.push_str(symbol);
                for covered in x + 1..x + symbol.width().max(1) as u16 {
                    assert_eq!(buf[(covered, y)].symbol(), " ", "a wide glyph is halved in row {y}: {row}");
                }
                x += symbol.width().max(1) as u16;
            }
            assert_eq!(row.width(), buf.area.width as usize, "row {y}: {row:?}");
            row
        })
        .collect()
}

pub fn shown(state: &AppState, wide: u16, high: u16) -> String {
    let (buf, drawn) = painted(state, wide, high);
    let mut text = rows(&buf).iter().map(|r| r.trim_end()).collect::<Vec<_>>().join("\n");
    if let Some((x, y)) = drawn.caret {
        text.extend(["\ncaret ", &x.to_string(), ",", &y.to_string()]);
    }
    text
}
