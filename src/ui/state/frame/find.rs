//! What is looked for in the log, the documents or the metrics.

use super::Panel;
use crate::{
    base::fold::folded,
    ui::{
        editor::Editor,
        state::{AppState, LogLine},
    },
};

/// A text that is looked for in a panel: its lines are those that have every word of it; in the documents it leads from
/// one to the next.
#[derive(Clone, Debug)]
pub struct Find {
    /// The panel.
    pub panel: Panel,
    /// The field.
    pub field: Editor,
    /// Whether the field has the keys.
    pub typing: bool,
}

impl AppState {
    /// The panel whose contents can be looked through from the focused one.
    pub fn findable(&self) -> Option<Panel> {
        match self.focus {
            Panel::SOURCES if self.data.open => Some(Panel::PREVIEW),
            focus if [Panel::LOG, Panel::PREVIEW, Panel::METRICS].contains(&focus) => Some(focus),
            _ => None,
        }
    }

    /// What is looked for in a panel.
    pub fn found_in(&self, panel: Panel) -> Option<&Find> {
        self.find.as_ref().filter(|find| find.panel == panel && (find.typing || !find.field.is_empty()))
    }

    /// Which lines of a panel have what is looked for there.
    pub fn keeper(&self, panel: Panel) -> impl Fn(&str) -> bool {
        let find = self.found_in(panel).map(|find| folded(find.field.text()));
        move |line| {
            let Some(find) = &find else { return true };
            let line = folded(line);
            find.split_whitespace().all(|word| line.contains(word))
        }
    }

    /// Which lines of the log have what is looked for there, in any column of their row.
    pub fn log_keeper(&self) -> impl Fn(&LogLine) -> bool + '_ {
        let (looks, keeps) = (self.found_in(Panel::LOG).is_some(), self.keeper(Panel::LOG));
        // Without a filter no row is put together: every frame asks.
        move |line| !looks || keeps(&line.row(self.clock, self.lang).join(" "))
    }
}
