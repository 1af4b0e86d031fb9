//! Pages of dropped documents: first those dropped by rules, from the units, then those of the version.

use super::prepare::{
    clean::{Dropped, clipped},
    library::{named, open_unit, unit_name},
    version::{Gone, Version},
};
use crate::{
    data::{
        DataError,
        clean::Verdict,
        stored::unit::{Entry, Unit},
    },
    protocol::{DroppedDocument, DroppedView, Twin},
    store::RunView,
    train::error::TrainError,
};

/// The dropped documents `from` to `from + count` of a version, in the order of its sources and units: of one source or
/// of all, by one rule or by any. Empty if the version does not exist.
pub fn dropped(
    view: &RunView,
    version: &str,
    (source, rule): (Option<&str>, Option<&str>),
    from: usize,
    count: usize,
) -> Result<DroppedView, TrainError> {
    let mut page =
        DroppedView { source: source.map(Into::into), rule: rule.map(Into::into), from, ..DroppedView::default() };
    let Some(version) = Version::read(view, version) else { return Ok(page) };
    let is_wanted = |name: &str| rule.is_none_or(|rule| rule == name);
    let mut reader = Reader { view, version: &version, tables: Vec::new() };
    let named_units = version.header.sources.iter().flat_map(|s| s.units.iter().map(move |_| s.name.as_str()));
    for (name, (unit, first)) in named_units.zip(version.units()) {
        if source.is_some_and(|source| source != name) {
            continue;
        }
        let by_rules: u64 = unit.dropped.iter().filter(|(rule, _)| is_wanted(rule)).map(|(_, n)| n).sum();
        let by_rules = by_rules as usize;
        let gone: Vec<&Gone> = version.gone_in(unit, first).filter(|g| is_wanted(g.why.rule())).collect();
        let begins = page.of;
        page.of += by_rules + gone.len();
        let wanted = from.saturating_sub(begins)..(from + count).saturating_sub(begins).min(by_rules + gone.len());
        if wanted.is_empty() {
            continue;
        }
        let mut opened = open_unit(view, &unit.key)?;
        let mut of_unit = || -> Result<Vec<DroppedDocument>, DataError> {
            let mut items = Vec::new();
            if wanted.start < by_rules {
                let some = wanted.start..wanted.end.min(by_rules);
                items.extend(judged(&mut opened, name, some, is_wanted)?);
            }
            for gone in
                gone.iter().take(wanted.end.saturating_sub(by_rules)).skip(wanted.start.saturating_sub(by_rules))
            {
                items.push(reader.repeated(&mut opened, (name, &unit.key), gone, first)?);
            }
            Ok(items)
        };
        page.items.extend(of_unit().map_err(named(&unit_name(&unit.key)))?);
    }
    Ok(page)
}

/// Documents of a unit that rules dropped.
fn judged(
    unit: &mut Unit,
    source: &str,
    wanted: std::ops::Range<usize>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<DroppedDocument>, DataError> {
    let (mut items, mut at) = (Vec::new(), 0);
    for block in 0..unit.index().blocks() {
        for line in unit.verdicts(block)?.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let found: Dropped =
                serde_json::from_slice(line).map_err(|e| DataError::Damaged(format!("a verdict: {e}")))?;
            if !is_wanted(&found.verdict.rule) {
                continue;
            }
            if wanted.contains(&at) {
                let Verdict { rule, value, threshold } = found.verdict;
                let (file, place) = (file_of(unit, found.file), found.place);
                let source = source.to_owned();
                items.push(DroppedDocument {
                    source,
                    file,
                    place,
                    rule,
                    value,
                    threshold,
                    text: found.text,
                    twin: None,
                });
            }
            at += 1;
            if at >= wanted.end {
                return Ok(items);
            }
        }
    }
    Ok(items)
}

fn file_of(unit: &Unit, file: u32) -> String {
    unit.index().summary().files.get(file as usize).cloned().unwrap_or_default()
}

/// Most cached block tables.
const TABLES: usize = 64;

struct Reader<'a> {
    view: &'a RunView,
    version: &'a Version,
    /// Recently read tables, by unit and block, since many documents share them.
    tables: Vec<(&'a str, usize, Vec<Entry>)>,
}

impl<'a> Reader<'a> {
    /// A document that is not used, with the one that it repeats.
    fn repeated(
        &mut self,
        unit: &mut Unit,
        (source, key): (&str, &'a str),
        gone: &Gone,
        first: u32,
    ) -> Result<DroppedDocument, DataError> {
        let (file, place, text) = self.beginning(unit, key, gone.document - first)?;
        let twin = gone.of.map(|of| self.twin(of)).transpose()?;
        let (rule, source) = (gone.why.rule().to_owned(), source.to_owned());
        let (value, threshold) = (gone.value, gone.threshold);
        Ok(DroppedDocument { source, file, place, rule, value, threshold, text: Some(text), twin })
    }

    fn twin(&mut self, document: u32) -> Result<Twin, DataError> {
        let version = self.version;
        let sources = version.header.sources.iter().flat_map(|s| s.units.iter().map(move |_| &s.name));
        let mut units = sources.zip(version.units());
        let here = units.find(|(_, (unit, first))| document - (*first).min(document) < unit.documents);
        let Some((source, (unit, first))) = here else { return Ok(Twin::default()) };
        let mut opened = open_unit(self.view, &unit.key)?;
        let found = self.beginning(&mut opened, &unit.key, document - first);
        let (file, place, text) = found.map_err(named(&unit_name(&unit.key)))?;
        Ok(Twin { source: source.clone(), file, place, text })
    }
    /// File, place and beginning of the text of a document.
    fn beginning(&mut self, unit: &mut Unit, key: &'a str, row: u32) -> Result<(String, u64, String), DataError> {
        let mut row = row as usize;
        for block in 0..unit.index().blocks() {
            let rows = unit.index().rows(block);
            if row < rows {
                let held = self.tables.iter().position(|(k, b, _)| (*k, *b) == (key, block));
                let table = match held {
                    Some(at) => self.tables.remove(at),
                    None => (key, block, unit.entries(block)?),
                };
                let entry = table.2[row];
                if self.tables.len() >= TABLES {
                    self.tables.remove(0);
                }
                self.tables.push(table);
                let text = unit.text(block, &entry)?;
                return Ok((file_of(unit, entry.file), entry.place, clipped(&text).to_owned()));
            }
            row -= rows;
        }
        Err(DataError::Damaged("a document of the version is not in it".into()))
    }
}
