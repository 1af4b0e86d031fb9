//! Formats numbers and rules for the data panels.

use crate::ui::{
    state::AppState,
    strings::{self, Lang},
    text::grouped,
};

/// A threshold or measured value: integers grouped, others with up to four decimals.
pub(crate) fn number(x: f64) -> String {
    if !x.is_finite() {
        return "-".to_owned();
    }
    if x.fract() == 0.0 && (0.0..1e15).contains(&x) {
        return grouped(x as u64);
    }
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share in percent; small ones with one more digit.
pub(crate) fn percent(part: u64, of: u64) -> String {
    let share = if of > 0 { 100.0 * part as f64 / of as f64 } else { return "-".to_owned() };
    if share > 0.0 && share < 0.05 { "<0.1%".to_owned() } else { format!("{share:.1}%") }
}

/// A rule's name in the screen's language, else its own.
pub(crate) fn rule_name<'a>(state: &AppState, raw: &str, name: &'a str) -> &'a str {
    strings::rule(raw).filter(|_| state.lang == Lang::Zh).unwrap_or(name)
}

/// The first visible row of a list, such that the selected row is visible.
pub(crate) fn first(chosen: usize, rows: usize) -> usize {
    (chosen + 1).saturating_sub(rows.max(1))
}
