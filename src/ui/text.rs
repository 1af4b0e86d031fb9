//! Text on a grid of cells: widths, wrapping, shortening, numbers.
//!
//! Text from data, models and file names must have passed through [`Clean`] before.

use std::ops::Range;

use unicode_linebreak::{BreakOpportunity, linebreaks};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use crate::base::clean::{Clean, LONGEST_BLOCK};

/// The width of a text in cells.
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// `text` with the line ends of other systems, and those that a terminal sends for a pasted text (`\r`), as `\n`.
pub fn unix_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace(['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'], "\n")
}

/// The longest prefix of `text` that fits in `cells`.
pub fn fit(text: &str, cells: usize) -> &str {
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        used += grapheme.width();
        if used > cells {
            return &text[..at];
        }
    }
    text
}

/// `text`, or a prefix with an ellipsis, within `cells`.
pub fn shorten(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    if cells == 0 {
        return String::new();
    }
    format!("{}⋯", fit(text, cells - 1))
}

/// `text`, or an ellipsis with its end, within `cells`.
pub fn shorten_front(text: &str, cells: usize) -> String {
    let all = width(text);
    if all <= cells {
        return text.to_owned();
    }
    let mut left = all;
    for (at, grapheme) in text.grapheme_indices(true) {
        if left < cells {
            return format!("⋯{}", &text[at..]);
        }
        left -= grapheme.width();
    }
    String::new()
}

/// `text` padded with spaces to `cells`; cut if longer.
pub fn pad(text: &str, cells: usize) -> String {
    let mut padded = shorten(text, cells);
    let missing = cells.saturating_sub(width(&padded));
    padded.extend(std::iter::repeat_n(' ', missing));
    padded
}

/// Closing punctuation that may hang in the margin, as in Chinese typesetting.
fn hangs(c: char) -> bool {
    matches!(
        c,
        '，' | '。'
            | '、'
            | '；'
            | '：'
            | '？'
            | '！'
            | '）'
            | '》'
            | '」'
            | '』'
            | '】'
            | '”'
            | '’'
            | '…'
            | '．'
    )
}

/// Lines of at most `cells` cells as byte ranges, broken by UAX 14; closing punctuation may hang up to `hang` cells in
/// the margin. `Paragraph::wrap` breaks at spaces only, so a Chinese sentence is one word to it.
pub fn wrap(text: &str, cells: usize, hang: usize) -> Vec<Range<usize>> {
    let cells = cells.max(2);
    let mut lines = Vec::new();
    let (mut start, mut end, mut used) = (0, 0, 0);
    let mut from = 0;
    for (to, kind) in linebreaks(text) {
        let piece = &text[from..to];
        let shown = piece.trim_end_matches(['\n', '\r', ' ', '\u{b}', '\u{c}', '\u{85}']);
        let wide = width(shown);
        let last = shown.chars().next_back().filter(|&c| hangs(c)).and_then(UnicodeWidthChar::width).unwrap_or(0);
        let fits = |used: usize| used + wide <= cells || (used + wide - last <= cells && used + wide <= cells + hang);
        if used > 0 && wide > 0 && !fits(used) {
            lines.push(start..end);
            (start, end, used) = (from, from, 0);
        }
        if fits(used) {
            used += wide;
        } else {
            // A piece without break opportunities that is longer than a line is cut between graphemes.
            for (at, grapheme) in shown.grapheme_indices(true) {
                if used > 0 && used + grapheme.width() > cells {
                    lines.push(start..from + at);
                    (start, used) = (from + at, 0);
                }
                used += grapheme.width();
            }
        }
        if wide > 0 {
            end = from + shown.len();
        }
        used += piece[shown.len()..].matches(' ').count();
        from = to;
        if kind == BreakOpportunity::Mandatory && (to < text.len() || text.ends_with('\n') || end > start) {
            lines.push(start..end);
            (start, end, used) = (to, to, 0);
        }
    }
    lines
}

/// A time: `112.4 ms`, `1.24 s`.
pub fn milliseconds(ms: f64) -> String {
    if ms >= 999.95 { format!("{:.2} s", ms / 1000.0) } else { format!("{} ms", figure(ms)) }
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}%", 100.0 * share) } else { "-".to_owned() }
}

/// `1 run`, `2 runs`, `1,204 runs`: a number in English with a noun that takes an s.
pub fn plural(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// `12402` as `12,402`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `18400` as `18.4k`: at most five cells, so that columns stay aligned.
pub fn short(n: f64) -> String {
    if !n.is_finite() {
        return "-".to_owned();
    }
    let (value, unit) = match n.abs() {
        a if a >= 999_500_000.0 => (n / 1e9, "B"),
        a if a >= 999_500.0 => (n / 1e6, "M"),
        a if a >= 999.5 => (n / 1e3, "k"),
        _ => (n, ""),
    };
    match value.abs() {
        _ if unit.is_empty() && value.fract() == 0.0 => format!("{value:.0}"),
        a if a >= 99.95 => format!("{value:.0}{unit}"),
        a if a >= 9.995 => format!("{value:.1}{unit}"),
        _ => format!("{value:.2}{unit}"),
    }
}

/// A loss, norm or other metric in at most six cells; infinities and NaN are named, and a small value is not shown as
/// zero.
pub fn figure(x: f64) -> String {
    match x.abs() {
        _ if x.is_nan() => "NaN".to_owned(),
        _ if x.is_infinite() => "inf".to_owned(),
        a if a >= 999.95 => short(x),
        a if a >= 99.995 => format!("{x:.1}"),
        a if a >= 9.9995 => format!("{x:.2}"),
        a if !(1e-99..0.0005).contains(&a) => format!("{x:.3}"),
        _ => {
            let text = format!("{x:.1e}");
            if text.len() > 6 { format!("{x:.0e}") } else { text }
        }
    }
}

/// A learning rate: `2.41e-4`.
pub fn rate(x: f64) -> String {
    if x == 0.0 { "0".to_owned() } else { format!("{x:.2e}") }
}

/// Bytes in binary units.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1023.95 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Seconds as `00:42:17`, preceded by days if any.
pub fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let hms = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}d {hms}") } else { hms }
}

/// The time of the day, `14:52:07`, of local seconds since 1970.
pub fn time_of_day(local: f64) -> String {
    clock(local.rem_euclid(86_400.0) as u64)
}

/// The date, `2026-11-28`, of local seconds since 1970; empty beyond the calendar.
pub fn date(local: f64) -> String {
    chrono::DateTime::from_timestamp(local.floor() as i64, 0).map_or_else(String::new, |t| t.date_naive().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, cells: usize, hang: usize) -> Vec<&str> {
        wrap(text, cells, hang).into_iter().map(|r| &text[r]).collect()
    }

    #[test]
    fn han_text_wraps_by_cells_and_punctuation_hangs() {
        assert_eq!(lines("处处闻啼鸟。夜来风雨声，", 10, 2), ["处处闻啼鸟。", "夜来风雨声，"]);
        assert_eq!(lines("处处闻啼鸟。夜来风雨声，", 10, 0), ["处处闻啼", "鸟。夜来风", "雨声，"]);
        assert_eq!(lines("GPT 是一种模型", 8, 0), ["GPT 是一", "种模型"]);
        assert_eq!(lines("one two three", 7, 0), ["one two", "three"]);
        assert_eq!(lines("abcdefghij", 4, 0), ["abcd", "efgh", "ij"]);
        assert_eq!(lines("春\n\n秋", 4, 0), ["春", "", "秋"]);
        assert_eq!(lines("春\n", 4, 0), ["春"]);
        assert_eq!(lines("", 4, 0), Vec::<&str>::new());
        assert_eq!(lines("xx abcdefghij yy", 4, 0), ["xx", "abcd", "efgh", "ij", "yy"]);
    }

    #[test]
    fn every_line_end_becomes_a_line_feed() {
        assert_eq!(unix_lines("一\r二\r\n三\n四\u{2028}五\u{85}"), "一\n二\n三\n四\n五\n");
        assert_eq!(unix_lines("\r\r\n\n"), "\n\n\n");
    }

    #[test]
    fn texts_are_cut_by_cells() {
        assert_eq!(fit("春眠不觉晓", 5), "春眠");
        assert_eq!(shorten("春眠不觉晓", 5), "春眠⋯");
        assert_eq!(shorten_front("春眠不觉晓", 5), "⋯觉晓");
        assert_eq!(shorten_front("春眠", 4), "春眠");
        assert_eq!(shorten_front("春眠", 0), "");
        assert_eq!(pad("春", 4), "春  ");
        assert_eq!(pad("春眠不觉晓", 4), "春⋯ ");
    }

    #[test]
    fn times_are_local_times_of_the_calendar() {
        assert_eq!((date(0.0), time_of_day(0.0)), ("1970-01-01".to_owned(), "00:00:00".to_owned()));
        assert_eq!(
            (date(1_795_963_397.5), time_of_day(1_795_963_397.5)),
            ("2026-11-29".to_owned(), "14:43:17".to_owned())
        );
        assert_eq!((date(-1.0), time_of_day(-1.0)), ("1969-12-31".to_owned(), "23:59:59".to_owned()));
        assert_eq!(date(1e300), "");
    }

    #[test]
    fn numbers_keep_their_width() {
        assert_eq!(grouped(12_402), "12,402");
        assert_eq!(grouped(7), "7");
        assert_eq!(short(18_400.0), "18.4k");
        assert_eq!(short(999_999.0), "1.00M");
        assert_eq!(short(12.0), "12");
        assert_eq!(figure(f64::NAN), "NaN");
        for (x, text) in [(9.9996, "10.00"), (99.996, "100.0"), (999.96, "1.00k"), (-999.96, "-1.00k"), (0.0, "0.000")]
        {
            assert_eq!(figure(x), text);
        }
        for (ms, text) in [(0.04, "0.040 ms"), (999.9, "999.9 ms"), (999.96, "1.00 s"), (11_100.0, "11.10 s")] {
            assert_eq!(milliseconds(ms), text);
        }
        assert_eq!(figure(2.4137), "2.414");
        let small = [(8.18e-6, "8.2e-6"), (-8.18e-6, "-8e-6"), (3.1e-10, "3e-10"), (-4.9e-4, "-5e-4"), (0.0, "0.000")];
        for (x, text) in small {
            assert_eq!(figure(x), text);
        }
        assert_eq!(bytes(43_830_000), "41.8 MiB");
        assert_eq!(clock(2537), "00:42:17");
        assert_eq!(clock(90_000), "1d 01:00:00");
    }
}
