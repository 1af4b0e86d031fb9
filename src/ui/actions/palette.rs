//! The palette: finds actions and panels by typed text.

use super::action::Action;
use crate::ui::{
    keys::half_width,
    panels::{self, PANELS},
    state::{AppState, Mode, Overlay, Panel},
    strings::{Lang, Tr},
    update::Cmd,
};

/// A row of the palette.
pub enum Entry {
    /// Runs an action.
    Do(&'static Action),
    /// Focuses a panel.
    Show(Panel, Tr),
}

impl Entry {
    /// Its name.
    pub fn title(&self, lang: Lang) -> String {
        match (self, lang) {
            (Entry::Do(action), lang) => action.title.get(lang).to_owned(),
            (Entry::Show(_, title), Lang::Zh) => format!("查看{}", title.0),
            (Entry::Show(_, title), Lang::En) => format!("show {}", title.1),
        }
    }

    /// Its keys, if any.
    pub fn keys(&self) -> Option<String> {
        match self {
            Entry::Do(action) => action.keys_text(Mode::Nav),
            Entry::Show(..) => None,
        }
    }

    fn run(&self, state: &mut AppState) -> Vec<Cmd> {
        match self {
            Entry::Do(action) => (action.perform)(state),
            Entry::Show(panel, _) => {
                state.voting.open = false;
                state.focus_on(*panel);
                Vec::new()
            }
        }
    }
}

/// The rows that match the typed text, best first.
pub fn search(actions: &'static [Action], state: &AppState, typed: &str) -> Vec<Entry> {
    let typed = folded(typed);
    let mut found: Vec<(usize, Entry)> = Vec::new();
    let best = |names: &[&str]| names.iter().filter_map(|name| score(&folded(name), &typed)).min();
    for action in actions.iter().filter(|a| a.palette && a.is_enabled(state)) {
        let Tr(zh, en) = (action.hint)(state).unwrap_or(Tr("", ""));
        found.extend(best(&[action.title.0, action.title.1, zh, en]).map(|score| (score, Entry::Do(action))));
    }
    let here = panels::of(state.view());
    for spec in PANELS.iter().filter(|p| here.contains(&p.id)) {
        let entry = Entry::Show(spec.id, spec.title);
        let names = [Lang::Zh, Lang::En].map(|lang| entry.title(lang));
        found.extend(best(&[&names[0], &names[1]]).map(|score| (score, entry)));
    }
    found.sort_by_key(|f| f.0);
    found.into_iter().map(|f| f.1).collect()
}

/// Selects the row below or above.
pub(super) fn step(actions: &'static [Action], state: &mut AppState, on: bool) {
    let Some(Overlay::Palette { field, chosen }) = &state.overlay else { return };
    let (typed, at) = (field.text().to_owned(), *chosen);
    let last = search(actions, state, &typed).len().saturating_sub(1);
    if let Some(Overlay::Palette { chosen, .. }) = &mut state.overlay {
        *chosen = if on { at + 1 } else { at.saturating_sub(1) }.min(last);
    }
}

/// Closes the palette and runs the selected row.
pub(super) fn run(actions: &'static [Action], state: &mut AppState) -> Vec<Cmd> {
    let Some(Overlay::Palette { field, chosen }) = state.overlay.take() else { return Vec::new() };
    let found = search(actions, state, field.text());
    found.get(chosen).map_or_else(Vec::new, |entry| entry.run(state))
}

/// Half-width, lower case, no spaces: `ｐａｕｓｅ` finds `pause`.
fn folded(text: &str) -> String {
    text.chars().map(half_width).filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// The distance between `typed` and `name`: its characters must occur in order; gaps count. None without a match.
fn score(name: &str, typed: &str) -> Option<usize> {
    let (mut gaps, mut last) = (0, None);
    let mut chars = name.chars().enumerate();
    for wanted in typed.chars() {
        let (at, _) = chars.find(|(_, c)| *c == wanted)?;
        gaps += last.map_or(at.min(3), |l: usize| 4 * (at - l - 1));
        last = Some(at);
    }
    Some(gaps)
}
