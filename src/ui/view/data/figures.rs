//! How the data panels write numbers and rules.

use crate::ui::{
    state::AppState,
    strings::{self, Lang},
    text::grouped,
};

/// A bound or a measured value: whole numbers grouped, others to four decimals at most.
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

/// A share in percent, small ones with a digit more.
pub(crate) fn percent(part: u64, of: u64) -> String {
    let share = if of > 0 { 100.0 * part as f64 / of as f64 } else { return "-".to_owned() };
    if share > 0.0 && share < 0.05 { "<0.1%".to_owned() } else { format!("{share:.1}%") }
}

/// A rule's name in the screen's language; its own where it has none there.
pub(crate) fn rule_name<'a>(state: &AppState, raw: &str, name: &'a str) -> &'a str {
    strings::rule(raw).filter(|_| state.lang == Lang::Zh).unwrap_or(name)
}

/// The first row shown of a list whose chosen row has to be seen.
pub(crate) fn first(chosen: usize, rows: usize) -> usize {
    (chosen + 1).saturating_sub(rows.max(1))
}
