//! A panel or the whole screen as the bytes of a file: a picture (SVG), its text, or the figures of its charts (CSV).

use std::{collections::BTreeMap, fmt::Write as _};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_width::UnicodeWidthStr as _;

use crate::ui::{
    chart::Abscissa,
    series::SMOOTHINGS,
    state::{
        AppState, Panel, Stage,
        charts::{Export, Format},
    },
    theme::Palette,
    view,
};

/// Cells of a picture, in pixels, and its margin.
const CELL: (f64, f64) = (8.43, 16.3);
const MARGIN: f64 = 14.0;
/// The size of its letters.
const SIZE: f64 = 14.0;
const FONT: &str =
    "'JetBrains Mono','Cascadia Mono',Menlo,Consolas,'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace";
/// The colours of a terminal's own ground and text, dark and light, which the screen never sets.
const GROUND: [&str; 2] = ["#16181d", "#ffffff"];
const INK: [&str; 2] = ["#d4d7dd", "#1f2328"];
/// The sixteen named colours on a dark terminal.
const NAMED: [&str; 16] = [
    "#1d1f21", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4", "#6b7280", "#f28b93",
    "#b5d99c", "#f0d399", "#8cc7f7", "#d9a3e8", "#7fd0da", "#ffffff",
];

/// The contents of an export, drawn as the screen is now.
pub fn render(state: &AppState, export: &Export) -> Vec<u8> {
    if let (Format::Csv, Some(panel)) = (export.format, export.panel) {
        return csv(state, panel).into_bytes();
    }
    let mut buf = Buffer::empty(state.drawn.area);
    let drawn = view::draw(state, buf.area, &mut buf);
    let of = |panel: Panel| drawn.panels.iter().find(|p| p.0 == panel).map(|p| p.1);
    let area = export.panel.and_then(of).unwrap_or(buf.area).intersection(buf.area);
    match export.format {
        Format::Svg => svg(&buf, area, state.theme.palette == Palette::Light),
        Format::Text | Format::Csv => text(&buf, area),
    }
    .into_bytes()
}

/// The characters of a row, each with its column and width.
fn row(buf: &Buffer, area: Rect, y: u16) -> Vec<(u16, u16, &str, Style)> {
    let (mut cells, mut x) = (Vec::new(), area.x);
    while x < area.right() {
        let cell = &buf[(x, y)];
        let wide = (cell.symbol().width() as u16).max(1);
        cells.push((x, wide, cell.symbol(), cell.style()));
        x += wide;
    }
    cells
}

fn text(buf: &Buffer, area: Rect) -> String {
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let line: String = row(buf, area, y).into_iter().map(|cell| cell.2).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn hex(color: Color) -> Option<String> {
    let named = |n: usize| Some(NAMED[n].to_owned());
    match color {
        Color::Reset => None,
        Color::Rgb(r, g, b) => Some(format!("#{r:02x}{g:02x}{b:02x}")),
        Color::Indexed(n @ 0..16) => named(n.into()),
        Color::Indexed(n @ 16..232) => {
            let step = |n: u8| [0, 95, 135, 175, 215, 255][usize::from(n % 6)];
            let n = n - 16;
            Some(format!("#{:02x}{:02x}{:02x}", step(n / 36), step(n / 6), step(n)))
        }
        Color::Indexed(n) => Some(format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (n - 232))),
        Color::Black => named(0),
        Color::Red => named(1),
        Color::Green => named(2),
        Color::Yellow => named(3),
        Color::Blue => named(4),
        Color::Magenta => named(5),
        Color::Cyan => named(6),
        Color::Gray => named(7),
        Color::DarkGray => named(8),
        Color::LightRed => named(9),
        Color::LightGreen => named(10),
        Color::LightYellow => named(11),
        Color::LightBlue => named(12),
        Color::LightMagenta => named(13),
        Color::LightCyan => named(14),
        Color::White => named(15),
    }
}

/// A style's colours, text and ground, and the attributes of its text.
fn look(style: Style, light: bool) -> (String, Option<String>, String) {
    let (ground, ink) = (GROUND[usize::from(light)], INK[usize::from(light)]);
    let has = |modifier| style.add_modifier.contains(modifier);
    let fg = style.fg.and_then(hex);
    let bg = style.bg.and_then(hex);
    let (fg, bg) = if has(Modifier::REVERSED) {
        (bg.unwrap_or_else(|| ground.to_owned()), Some(fg.unwrap_or_else(|| ink.to_owned())))
    } else {
        (fg.unwrap_or_else(|| ink.to_owned()), bg)
    };
    let mut more = String::new();
    for (modifier, attribute) in [
        (Modifier::BOLD, " font-weight=\"700\""),
        (Modifier::DIM, " opacity=\"0.6\""),
        (Modifier::UNDERLINED, " text-decoration=\"underline\""),
    ] {
        if has(modifier) {
            more.push_str(attribute);
        }
    }
    (fg, bg, more)
}

/// At most two digits after the point.
fn number(x: f64) -> String {
    let text = format!("{x:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn rect(x: f64, y: f64, wide: f64, high: f64) -> String {
    let (x, y, wide, high) = (number(x), number(y), number(wide), number(high));
    format!("M{x} {y}h{wide}v{high}h-{wide}z")
}

/// The path of a character that fonts do not join between cells: braille and lines; None for letters.
fn shape(symbol: &str, (x, y): (f64, f64)) -> Option<String> {
    let mut chars = symbol.chars();
    let (c, None) = (chars.next()?, chars.next()) else { return None };
    let (wide, high) = CELL;
    match c {
        '\u{2800}'..='\u{28ff}' => {
            let bits = c as u32 - 0x2800;
            let dots = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)];
            let at = |(column, row): (u8, u8)| {
                let (left, up) = (wide * (0.25 + f64::from(column) / 2.0), high * (0.125 + f64::from(row) / 4.0));
                rect(x + left - 1.15, y + up - 1.15, 2.3, 2.3)
            };
            Some(dots.into_iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, dot)| at(dot)).collect())
        }
        '─' => Some(rect(x, y + high / 2.0 - 0.5, wide, 1.0)),
        '│' => Some(rect(x + wide / 2.0 - 0.5, y, 1.0, high)),
        '╌' => Some([0.08, 0.58].map(|at| rect(x + wide * at, y + high / 2.0 - 0.5, wide * 0.34, 1.0)).concat()),
        '╎' => Some([0.08, 0.58].map(|at| rect(x + wide / 2.0 - 0.5, y + high * at, 1.0, high * 0.34)).concat()),
        _ => None,
    }
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            c => into.push(c),
        }
    }
}

/// The picture of an area, as a terminal with a dark or a light ground would show it.
fn svg(buf: &Buffer, area: Rect, light: bool) -> String {
    let ground = GROUND[usize::from(light)];
    let (wide, high) = CELL;
    let size = |cells: u16, cell: f64| number(f64::from(cells) * cell + 2.0 * MARGIN);
    let (width, height) = (size(area.width, wide), size(area.height, high));
    let mut grounds: BTreeMap<String, String> = BTreeMap::new();
    let mut shapes: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut letters = String::new();
    for y in area.top()..area.bottom() {
        let top = MARGIN + f64::from(y - area.y) * high;
        // Neighbours with one style are one text; its length is set, so that any font keeps the columns.
        let mut run: Option<(u16, u16, String, Style)> = None;
        let mut flush = |run: &mut Option<(u16, u16, String, Style)>| {
            let Some((x, cells, text, style)) = run.take() else { return };
            let text = text.trim_end();
            if text.is_empty() {
                return;
            }
            let cells = cells.min(text.width() as u16);
            let (fg, _, more) = look(style, light);
            let x = number(MARGIN + f64::from(x - area.x) * wide);
            let (base, length) = (number(top + high * 0.76), number(f64::from(cells) * wide));
            let _ = write!(letters, "<text x=\"{x}\" y=\"{base}\" fill=\"{fg}\"{more} textLength=\"{length}\">");
            escape(text, &mut letters);
            letters.push_str("</text>\n");
        };
        for (x, cells, symbol, style) in row(buf, area, y) {
            let left = MARGIN + f64::from(x - area.x) * wide;
            let (fg, bg, more) = look(style, light);
            if let Some(bg) = bg {
                grounds.entry(bg).or_default().push_str(&rect(left, top, f64::from(cells) * wide, high));
            }
            if let Some(path) = shape(symbol, (left, top)) {
                flush(&mut run);
                let opacity = if more.contains("opacity") { " opacity=\"0.6\"" } else { "" };
                shapes.entry((fg, opacity.to_owned())).or_default().push_str(&path);
                continue;
            }
            // A wide letter is a text of its own: fonts differ in its width.
            let joins = run.as_ref().is_some_and(|(_, _, _, of)| *of == style) && cells == 1 && symbol.is_ascii();
            match &mut run {
                Some((_, length, text, _)) if joins && text.is_ascii() => {
                    *length += 1;
                    text.push_str(symbol);
                }
                _ => {
                    flush(&mut run);
                    run = (symbol != " " || style.add_modifier.contains(Modifier::UNDERLINED))
                        .then(|| (x, cells, symbol.to_owned(), style));
                }
            }
        }
        flush(&mut run);
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{ground}\"/>\n"
    );
    for (fill, path) in grounds {
        let _ = writeln!(svg, "<path fill=\"{fill}\" d=\"{path}\"/>");
    }
    for ((fill, opacity), path) in shapes {
        let _ = writeln!(svg, "<path fill=\"{fill}\"{opacity} d=\"{path}\"/>");
    }
    let _ = writeln!(
        svg,
        "<g font-family=\"{FONT}\" font-size=\"{SIZE}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\">"
    );
    svg.push_str(&letters);
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// The figures of a panel's charts in the visible part: a row for each curve and bucket of steps, as the charts draw
/// them. `ema` is empty without smoothing; a bucket whose values are all not finite has `nan`.
fn csv(state: &AppState, panel: Panel) -> String {
    let stage: &Stage = state.shown();
    let (from, to) = stage.visible();
    let beta = SMOOTHINGS[state.smoothing];
    let mut csv = "curve,first_step,last_step,tokens,seconds,values,not_finite,min,mean,max,ema\n".to_owned();
    for (name, series) in stage.curves(panel) {
        let part = series.within(from, to);
        let newest = series.last().map_or(0, |last| last.0);
        for bucket in part.buckets {
            let (first, last) = part.span(bucket);
            if last < from || first > to {
                continue;
            }
            let last = last.min(newest as f64);
            let pace = &stage.charts.pace;
            let [tokens, seconds] = [Abscissa::Tokens, Abscissa::Time].map(|unit| pace.at(unit, last));
            let _ = write!(csv, "{},{first},{last},{tokens:.0},{seconds:.3},", quoted(&name));
            let _ = write!(csv, "{},{},", bucket.count, bucket.broken);
            if bucket.count > 0 {
                let _ = write!(csv, "{},{},{},", bucket.min, bucket.line(0), bucket.max);
            } else {
                csv.push_str("nan,nan,nan,");
            }
            if beta > 0.0 && bucket.count > 0 {
                let _ = write!(csv, "{}", bucket.line(state.smoothing));
            }
            csv.push('\n');
        }
    }
    csv
}

/// A field of a CSV file (RFC 4180).
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_has_a_value() {
        assert_eq!(hex(Color::Indexed(74)).as_deref(), Some("#5fafd7"));
        assert_eq!(hex(Color::Indexed(244)).as_deref(), Some("#808080"));
        assert_eq!(hex(Color::Indexed(255)).as_deref(), Some("#eeeeee"));
        assert_eq!(hex(Color::Indexed(9)).as_deref(), Some(NAMED[9]));
        assert_eq!(hex(Color::Rgb(1, 2, 255)).as_deref(), Some("#0102ff"));
        assert_eq!(hex(Color::Reset), None);
        let reversed = look(Style::new().add_modifier(Modifier::REVERSED).fg(Color::White), false);
        assert_eq!(reversed, (GROUND[0].to_owned(), Some("#ffffff".to_owned()), String::new()));
    }

    #[test]
    fn a_picture_has_every_letter_once_and_no_open_mark() {
        let area = Rect::new(0, 0, 24, 3);
        let mut buf = Buffer::empty(area);
        crate::ui::paint::put(&mut buf, 0, 0, 24, "a<b & c>d", Style::new());
        crate::ui::paint::put(&mut buf, 0, 1, 24, "春眠不觉晓 ⣿─╎", Style::new().fg(Color::Red));
        let svg = svg(&buf, area, false);
        assert!(svg.contains(">a&lt;b &amp; c&gt;d</text>"), "{svg}");
        for han in "春眠不觉晓".chars() {
            assert_eq!(svg.matches(han).count(), 1, "{svg}");
        }
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        // Eight dots, a line and two dashes.
        assert_eq!(svg.matches('M').count() - svg.matches("Mono").count() - svg.matches("Menlo").count(), 11, "{svg}");
        assert_eq!(text(&buf, area), "a<b & c>d\n春眠不觉晓 ⣿─╎\n\n");
    }

    #[test]
    fn fields_are_quoted() {
        assert_eq!(quoted("eval_loss:a,b \"c\""), "\"eval_loss:a,b \"\"c\"\"\"");
        assert_eq!(quoted("loss"), "loss");
    }
}
