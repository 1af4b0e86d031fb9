//! What the screen remembers from one start to the next.

use serde::{Deserialize, Serialize};

use crate::ui::{chart::Abscissa, series::SMOOTHINGS, state::AppState, strings::Lang, theme::Palette};

/// Settings of the screen, as `screen.toml` in the user's config folder has them. A key that is missing has its
/// default; an unknown one is kept by none and does no harm, so that versions of danlu can share the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The language, if the user chose one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<Lang>,
    /// The theme, if the user chose one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<Palette>,
    /// Whether the screen takes the mouse.
    pub mouse: bool,
    /// Index into [`SMOOTHINGS`].
    pub smoothing: usize,
    /// Whether the loss axis is logarithmic.
    pub log_loss: bool,
    /// What the charts' abscissa counts.
    pub abscissa: Abscissa,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { lang: None, theme: None, mouse: true, smoothing: 1, log_loss: true, abscissa: Abscissa::Step }
    }
}

impl AppState {
    /// Takes remembered settings; the language is the caller's choice.
    pub fn recall(&mut self, settings: Settings) {
        self.mouse = settings.mouse;
        self.smoothing = settings.smoothing.min(SMOOTHINGS.len() - 1);
        (self.log_y, self.abscissa) = (settings.log_loss, settings.abscissa);
        if let Some(palette) = settings.theme {
            self.theme.palette = palette;
        }
        self.remembered = settings;
    }

    /// Changes the language, and remembers it.
    pub(crate) fn speak(&mut self, lang: Lang) {
        self.lang = lang;
        self.remembered.lang = Some(lang);
    }

    /// Changes the theme, and remembers it.
    pub(crate) fn colour(&mut self, palette: Palette) {
        self.theme.palette = palette;
        self.remembered.theme = Some(palette);
    }

    /// The settings to remember: those of the start with what the user has changed since.
    pub fn settings(&self) -> Settings {
        Settings {
            mouse: self.mouse,
            smoothing: self.smoothing,
            log_loss: self.log_y,
            abscissa: self.abscissa,
            ..self.remembered
        }
    }
}
