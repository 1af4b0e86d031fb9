//! A row of the table of actions.

use super::why::not_now;
use crate::ui::{
    keys::Key,
    state::{AppState, Mode},
    strings::Tr,
    update::Cmd,
};

/// The modes in which an action has keys, and those keys; the first is displayed.
pub type Keys = &'static [(&'static [Mode], &'static [Key])];

/// An action, run by a key or from the palette.
#[derive(Debug)]
pub struct Action {
    /// Its title in help, palette and docs.
    pub title: Tr,
    /// Its keys.
    pub keys: Keys,
    /// Its current label in the footer; None hides it there.
    pub hint: fn(&AppState) -> Option<Tr>,
    /// Whether it is in the palette.
    pub palette: bool,
    /// Whether it applies to this run at all.
    pub exists: fn(&AppState) -> bool,
    /// Whether it would have an effect now, if it exists.
    pub enabled: fn(&AppState) -> bool,
    /// Why it would have none, shown when its key is pressed; None says nothing.
    pub why: fn(&AppState) -> Option<Tr>,
    /// Runs it.
    pub perform: fn(&mut AppState) -> Vec<Cmd>,
}

impl Action {
    /// An action that is always enabled, is in the palette, and has no effect yet.
    pub(super) const fn new(zh: &'static str, en: &'static str) -> Action {
        Action {
            title: Tr(zh, en),
            keys: &[],
            hint: |_| None,
            palette: true,
            exists: |_| true,
            enabled: |_| true,
            why: not_now,
            perform: |_| Vec::new(),
        }
    }

    /// Whether it would have an effect now.
    pub fn is_enabled(&self, state: &AppState) -> bool {
        (self.exists)(state) && (self.enabled)(state)
    }

    /// Its keys in a mode.
    pub fn keys_in(&self, mode: Mode) -> &'static [Key] {
        self.keys.iter().find(|(modes, _)| modes.contains(&mode)).map_or(&[], |(_, keys)| *keys)
    }

    /// Its keys in a mode as text.
    pub fn keys_text(&self, mode: Mode) -> Option<String> {
        let keys = self.keys_in(mode);
        (!keys.is_empty()).then(|| keys.iter().map(Key::to_string).collect::<Vec<_>>().join("  "))
    }

    /// The displayed key.
    pub fn key(&self) -> Option<Key> {
        self.keys.first()?.1.first().copied()
    }

    /// Whether its keys in this mode are the same as in the view of a stage.
    pub fn has_nav_keys(&self, mode: Mode) -> bool {
        self.keys_in(mode).iter().all(|k| self.keys_in(Mode::Nav).contains(k))
    }
}
