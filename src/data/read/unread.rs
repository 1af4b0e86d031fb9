//! Counts fields of records that are not read, for a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most names that are kept, and most characters of a name.
const KEPT: usize = 40;
const LONGEST: usize = 40;

/// Unread fields, each with the number of records or messages that had it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    fields: BTreeMap<String, u64>,
    /// Fields whose names are not kept.
    others: u64,
}

impl Unread {
    /// Adds a field that occurred in `count` records, or in messages of the list `list`.
    pub(in crate::data) fn add(&mut self, list: &str, name: &str, count: u64) {
        if list.is_empty()
            && let Some(known) = self.fields.get_mut(name)
        {
            *known += count;
            return;
        }
        let name: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
        let name = if list.is_empty() { name } else { format!("{list}[].{name}") };
        self.put(name, count);
    }

    fn put(&mut self, name: String, count: u64) {
        let full = self.fields.len() >= KEPT;
        match self.fields.get_mut(&name) {
            Some(known) => *known += count,
            None if full => self.others += count,
            None => {
                self.fields.insert(name, count);
            }
        }
    }

    /// Adds the counts of another file.
    pub fn join(&mut self, other: Self) {
        self.others += other.others;
        for (name, count) in other.fields {
            self.put(name, count);
        }
    }

    /// The fields as a sentence for a note; None if there are none.
    pub fn summary(&self) -> Option<String> {
        if self.fields.is_empty() {
            return None;
        }
        let mut names: Vec<String> = self.fields.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        if self.others > 0 {
            names.push(format!("others ({})", self.others));
        }
        Some(format!("ignored fields: {}", names.join(", ")))
    }
}
