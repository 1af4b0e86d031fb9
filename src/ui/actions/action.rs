//! What a row of the table of actions says.

use crate::ui::{
    keys::Key,
    state::{AppState, Mode},
    strings::Tr,
    update::Cmd,
};

/// The modes in which keys do something, and the keys; the first is the one shown.
pub type Keys = &'static [(&'static [Mode], &'static [Key])];

/// One thing that can be done with a key or from the palette.
#[derive(Debug)]
pub struct Action {
    /// Its name in help, palette and docs.
    pub title: Tr,
    /// Its keys.
    pub keys: Keys,
    /// Its name in the footer now; none where the footer need not say it.
    pub hint: fn(&AppState) -> Option<Tr>,
    /// Whether the palette lists it.
    pub palette: bool,
    /// Whether it can do something at some time in this run.
    pub exists: fn(&AppState) -> bool,
    /// Whether it would do something now, if it exists.
    pub enabled: fn(&AppState) -> bool,
    /// Does it.
    pub perform: fn(&mut AppState) -> Vec<Cmd>,
}

impl Action {
    /// An action that is always enabled, is in the palette, and does nothing yet.
    pub(super) const fn new(zh: &'static str, en: &'static str) -> Action {
        Action {
            title: Tr(zh, en),
            keys: &[],
            hint: |_| None,
            palette: true,
            exists: |_| true,
            enabled: |_| true,
            perform: |_| Vec::new(),
        }
    }

    /// Whether it would do something now.
    pub fn is_enabled(&self, state: &AppState) -> bool {
        (self.exists)(state) && (self.enabled)(state)
    }

    /// Its keys in a mode.
    pub fn keys_in(&self, mode: Mode) -> &'static [Key] {
        self.keys.iter().find(|(modes, _)| modes.contains(&mode)).map_or(&[], |(_, keys)| *keys)
    }

    /// Its keys in a mode, as text.
    pub fn keys_text(&self, mode: Mode) -> Option<String> {
        let keys = self.keys_in(mode);
        (!keys.is_empty()).then(|| keys.iter().map(Key::to_string).collect::<Vec<_>>().join("  "))
    }

    /// The key shown for it.
    pub fn key(&self) -> Option<Key> {
        self.keys.first()?.1.first().copied()
    }

    /// Whether its keys in a mode do the same while looking at a stage.
    pub fn is_told(&self, mode: Mode) -> bool {
        self.keys_in(mode).iter().all(|k| self.keys_in(Mode::Nav).contains(k))
    }
}
