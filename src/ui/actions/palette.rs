//! The palette: finds actions and panels by typed text.

use super::{
    action::Action,
    spoken::{self, SPOKEN, Spoken},
};
use crate::base::fold::half_width;
use crate::ui::{
    editor::Editor,
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
    /// Carries out a command with the arguments of the typed line, or begins such a line.
    Say(&'static Spoken, bool),
}

impl Entry {
    /// Its name.
    pub fn title(&self, lang: Lang) -> String {
        match (self, lang) {
            (Entry::Do(action), lang) => action.title.get(lang).to_owned(),
            (Entry::Show(_, title), Lang::Zh) => format!("查看{}", title.0),
            (Entry::Show(_, title), Lang::En) => format!("show {}", title.1),
            (Entry::Say(spoken, _), lang) => spoken.title.get(lang).to_owned(),
        }
    }

    /// Its keys, if any.
    pub fn keys(&self, lang: Lang) -> Option<String> {
        match self {
            Entry::Do(action) => action.keys_text(Mode::Nav),
            Entry::Show(..) => None,
            Entry::Say(spoken, _) => Some(spoken.usage.get(lang).to_owned()),
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
            Entry::Say(..) => Vec::new(),
        }
    }
}

/// The rows that match the typed text, best first.
pub fn search(actions: &'static [Action], state: &AppState, typed: &str) -> Vec<Entry> {
    let line = spoken::parse(typed);
    let said = line.as_ref().map(|(spoken, args)| (*spoken, !args.is_empty()));
    // A line with arguments is nothing else.
    if let Some((spoken, true)) = said {
        return vec![Entry::Say(spoken, true)];
    }
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
    for spoken in SPOKEN.iter().filter(|s| spoken::offered(state, s)) {
        let named = said.is_some_and(|(said, _)| std::ptr::eq(said, spoken));
        if named {
            continue;
        }
        let score = best(&[spoken.name(), spoken.title.0, spoken.title.1]);
        // Behind the keys' actions where nothing is typed yet.
        let late = if typed.is_empty() { usize::MAX } else { 0 };
        found.extend(score.map(|score| (score.max(late), Entry::Say(spoken, false))));
    }
    found.sort_by_key(|f| f.0);
    // One that does not apply now says why, behind what has such a name and does.
    if let Some((spoken, _)) = said {
        let at = if spoken::offered(state, spoken) { 0 } else { found.partition_point(|f| f.0 == 0) };
        found.insert(at, (0, Entry::Say(spoken, true)));
    }
    found.into_iter().map(|f| f.1).collect()
}

/// Selects the row below or above.
pub(crate) fn step(actions: &'static [Action], state: &mut AppState, on: bool) {
    let Some(Overlay::Palette { field, chosen, .. }) = &state.overlay else { return };
    let (typed, at) = (field.text().to_owned(), *chosen);
    let last = search(actions, state, &typed).len().saturating_sub(1);
    if let Some(Overlay::Palette { chosen, .. }) = &mut state.overlay {
        *chosen = if on { at + 1 } else { at.saturating_sub(1) }.min(last);
    }
}

/// Closes the palette and runs the selected row. A command that misses arguments is written into the line; one whose
/// arguments are wrong says why, and the palette stays open.
pub(super) fn run(actions: &'static [Action], state: &mut AppState) -> Vec<Cmd> {
    let Some(Overlay::Palette { field, chosen, .. }) = state.overlay.take() else { return Vec::new() };
    let found = search(actions, state, field.text());
    let Some(Entry::Say(spoken, named)) = found.get(chosen) else {
        return found.get(chosen).map_or_else(Vec::new, |entry| entry.run(state));
    };
    let typed = field.text().to_owned();
    let (mut field, why) = if *named {
        let args = spoken::parse(&typed).map(|(_, args)| args).unwrap_or_default();
        match spoken::run(state, spoken, &args) {
            Ok(cmds) => return cmds,
            Err(why) => (field, Some(why)),
        }
    } else {
        let mut line = Editor::default();
        line.insert(spoken.name());
        (line, None)
    };
    if !field.text().ends_with(' ') && why.is_none() {
        field.insert(" ");
    }
    state.overlay = Some(Overlay::Palette { field, chosen: 0, why });
    Vec::new()
}

/// Completes the line: the selected command's name, or the last argument.
pub(super) fn complete(actions: &'static [Action], state: &mut AppState) {
    let Some(Overlay::Palette { field, chosen, .. }) = &state.overlay else { return };
    let typed = field.text().to_owned();
    let line = match spoken::completed(state, &typed) {
        Some(line) => line,
        None => match search(actions, state, &typed).get(*chosen) {
            Some(Entry::Say(spoken, false)) => format!("{} ", spoken.name()),
            _ => return,
        },
    };
    let mut field = Editor::default();
    field.insert(&line);
    state.overlay = Some(Overlay::Palette { field, chosen: 0, why: None });
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
