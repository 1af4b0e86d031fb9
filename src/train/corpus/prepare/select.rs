//! Decides the use of every document: duplicates and probes are removed, some documents are held out, the rest is
//! trained on.

use std::collections::HashSet;

use rayon::prelude::*;

use super::{
    clean::by_rule,
    duplicates::{Before, Repeat, duplicates},
    library::Library,
    quality::Judged,
    units::short,
    version::{GONE, Gone, HELD_OUT, Header, RECALLED, STATE, SourceMeta, TRAINED, UNSEEN, UnitMeta, Version, Why},
};
use crate::{
    data::{
        DataError,
        dedup::LEAST,
        read::Unread,
        split::{self, Key},
        stored::unit::Unit,
    },
    train::config::{ProbeConfig, RunConfig},
};

/// Raise it when the same units would give a different result.
const VERSION: &str = "1";
/// A probe's answer with at least this many letters is recognised without its question.
const TELLING: usize = 13;
/// Notes kept per source.
const NOTES: usize = 20;
/// Unreadable files per source whose names are kept.
const FAILED: usize = 1000;

/// The hash of everything that the selection depends on.
pub(crate) fn selection_key(config: &RunConfig, keys: &[Vec<String>], probes: &[ProbeConfig], filter: &str) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{VERSION}\n{} {filter}", probes_key(probes)).as_bytes());
    for (_, keys) in config.source.iter().zip(keys) {
        hash.update(b"\nsource");
        for key in keys {
            hash.update(key.as_bytes());
        }
    }
    short(&hash)
}

fn probes_key(probes: &[ProbeConfig]) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(VERSION.as_bytes());
    for probe in probes {
        hash.update(format!("\n{:?} {:?} {}", probe.prompt, probe.expected, probe.recall).as_bytes());
    }
    short(&hash)
}

/// Decides the use of all documents that the classifier keeps; decisions of an earlier version are reused where nothing
/// changed. `named` says which units are held out by the names of their files. Also returns the number of documents
/// compared for duplicates.
pub(crate) fn select(
    library: &Library<'_>,
    config: &RunConfig,
    selection: String,
    probes: &[ProbeConfig],
    judged: Judged,
    before: Option<&Version>,
    named: &[bool],
) -> Result<(Version, usize), DataError> {
    let mut header = Header {
        selection,
        probes: probes_key(probes),
        sources: sources(library, config),
        quality: judged.meta,
        ..Header::default()
    };
    // Documents removed before duplicates are searched for.
    let out: Vec<u32> = judged.gone.iter().map(|g| g.document).collect();
    let out_before: Vec<u32> = before
        .iter()
        .flat_map(|version| version.gone.iter().filter(|g| g.why == Why::Quality).map(|g| g.document))
        .collect();
    let earlier = before.map(|version| {
        let repeats = version.gone.iter().filter_map(|g| {
            let similarity = match g.why {
                Why::Exact => None,
                Why::Near => Some(g.value),
                Why::Probe | Why::Quality => return None,
            };
            Some(Repeat { document: g.document, kept: g.of?, similarity })
        });
        let units = version.units().map(|(unit, first)| (unit.key.as_str(), first, unit.documents)).collect();
        Before { units, out: &out_before, repeats: repeats.collect() }
    });
    let (repeats, decided) = duplicates(library, config, &out, earlier.as_ref())?;
    drop(earlier);
    let mut states = marks(library, probes, &header, before)?;
    let mut gone = judged.gone;
    gone.extend(repeats.into_iter().map(|Repeat { document, kept, similarity }| {
        let same = (Why::Exact, 1.0, 1.0);
        let (why, value, threshold) = similarity.map_or(same, |similarity| (Why::Near, similarity, LEAST));
        Gone { document, of: Some(kept), why, value, threshold }
    }));
    for g in &gone {
        states[g.document as usize] |= GONE;
    }
    hold_out(library, config.source.len(), named, &mut states)?;
    for (document, state) in (0..).zip(&mut states) {
        // A poem that is to be memorised stays, whatever else it contains.
        if *state & STATE != GONE && *state & UNSEEN != 0 && *state & RECALLED == 0 {
            *state = *state & !STATE | GONE;
            gone.push(Gone { document, of: None, why: Why::Probe, value: 0.0, threshold: 0.0 });
        }
    }
    gone.sort_unstable_by_key(|g| g.document);
    count(library, &mut header, &gone)?;
    Ok((Version { header, states, gone }, decided))
}

/// The sources as described by their units.
fn sources(library: &Library<'_>, config: &RunConfig) -> Vec<SourceMeta> {
    let mut metas: Vec<SourceMeta> =
        config.source.iter().map(|s| SourceMeta { name: s.name.clone(), ..SourceMeta::default() }).collect();
    let mut faults = vec![(0, None); metas.len()];
    let mut unread = vec![Unread::default(); metas.len()];
    for held in &library.units {
        let (meta, summary) = (&mut metas[held.source], held.index.summary());
        meta.units.push(UnitMeta {
            key: held.key.clone(),
            documents: held.index.documents(),
            dropped: by_rule(summary),
        });
        meta.funnel.merge(&summary.funnel);
        unread[held.source].join(summary.unread.clone());
        let room = FAILED.saturating_sub(meta.failed.len());
        meta.failed.extend(summary.failed.iter().take(room).cloned());
        let room = NOTES.saturating_sub(meta.notes.len());
        meta.notes.extend(summary.notes.iter().take(room).cloned());
        let (count, first) = &mut faults[held.source];
        *count += summary.faults;
        if let (None, Some((file, place, reason))) = (&first, &summary.first_fault) {
            *first = summary.files.get(*file as usize).map(|path| (path, place, reason));
        }
    }
    for ((meta, (count, first)), unread) in metas.iter_mut().zip(faults).zip(unread) {
        meta.notes.extend(unread.summary());
        meta.first = first.map(|(path, place, reason)| {
            format!("{count} records were rejected, the first at {place} of {path}: {reason}")
        });
    }
    metas
}

/// Whether each document contains a probe: known from before, or searched for now.
fn marks(
    library: &Library<'_>,
    probes: &[ProbeConfig],
    header: &Header,
    before: Option<&Version>,
) -> Result<Vec<u8>, DataError> {
    let looked_for = LookedFor::new(probes);
    let mut states = vec![TRAINED; library.documents as usize];
    if looked_for.is_nothing() {
        return Ok(states);
    }
    let known = before.filter(|version| version.header.probes == header.probes);
    let known: std::collections::HashMap<&str, &[u8]> = known
        .iter()
        .flat_map(|version| {
            version.units().map(|(unit, first)| {
                (unit.key.as_str(), &version.states[first as usize..(first + unit.documents) as usize])
            })
        })
        .collect();
    let found = library.each(|number, unit| match known.get(library.units[number].key.as_str()) {
        Some(marks) => Ok(marks.iter().map(|mark| mark & (RECALLED | UNSEEN)).collect()),
        None => looked_for.in_unit(unit),
    })?;
    for (number, marks) in found.into_iter().enumerate() {
        let range = library.range(number);
        states[range.start as usize..range.end as usize].copy_from_slice(&marks);
    }
    Ok(states)
}

/// The probes as search strings: letters only, in simplified characters.
struct LookedFor {
    recalled: Vec<String>,
    unseen: Vec<String>,
}

impl LookedFor {
    fn new(probes: &[ProbeConfig]) -> Self {
        let plain = |text: &str| split::normalise_in_one_script(text);
        let (mut recalled, mut unseen) = (Vec::new(), Vec::new());
        for p in probes {
            let whole = plain(&format!("{}{}", p.prompt, p.expected));
            let answer = plain(&p.expected);
            if p.recall {
                recalled.push(whole);
            } else {
                unseen.push(if answer.chars().count() >= TELLING { answer } else { whole });
            }
        }
        recalled.retain(|t| !t.is_empty());
        unseen.retain(|t| !t.is_empty());
        Self { recalled, unseen }
    }

    fn is_nothing(&self) -> bool {
        self.recalled.is_empty() && self.unseen.is_empty()
    }

    fn in_unit(&self, unit: &mut Unit) -> Result<Vec<u8>, DataError> {
        let mut marks = Vec::with_capacity(unit.index().documents() as usize);
        for block in 0..unit.index().blocks() {
            let texts = unit.texts(block, |_| true)?;
            marks.par_extend(texts.par_iter().map(|(_, entry, text)| {
                let body = split::normalise_in_one_script(&text[entry.head as usize..]);
                let holds = |probes: &[String]| probes.iter().any(|p| body.contains(p.as_str()));
                let mark = |is: bool, bit: u8| if is { bit } else { 0 };
                mark(holds(&self.recalled), RECALLED) | mark(holds(&self.unseen), UNSEEN)
            }));
        }
        Ok(marks)
    }
}

/// Holds out some of the remaining documents: of a source with units `named` as held out those and no others, of the
/// other sources a share chosen by hash. A document that a named unit has, also as a duplicate of one elsewhere, is
/// trained on nowhere.
fn hold_out(library: &Library<'_>, sources: usize, named: &[bool], states: &mut [u8]) -> Result<(), DataError> {
    let mut keys: Vec<Vec<Key>> = vec![Vec::new(); sources];
    let mut numbers: Vec<Vec<u32>> = vec![Vec::new(); sources];
    let mut keep = HashSet::new();
    let is_named = |number: usize| named.get(number).copied().unwrap_or_default();
    let mut split = vec![false; sources];
    library.units.iter().enumerate().for_each(|(number, held)| split[held.source] |= is_named(number));
    let mut measured: HashSet<Key> = HashSet::new();
    if split.contains(&true) {
        let of_units = library.each(|number, unit| {
            let mut keys = Vec::new();
            for block in (0..unit.index().blocks()).filter(|_| is_named(number)) {
                keys.extend(unit.keys(block)?);
            }
            Ok(keys)
        })?;
        measured.extend(of_units.into_iter().flatten());
    }
    let of_units = library.each(|number, unit| {
        let mut keys = Vec::new();
        for block in 0..unit.index().blocks() {
            keys.extend(unit.keys(block)?);
        }
        let states = &states[library.range(number).start as usize..];
        let left = (0..).zip(keys).filter(|(row, _): &(u32, Key)| states[*row as usize] & STATE != GONE);
        Ok(left.collect::<Vec<(u32, Key)>>())
    })?;
    for (held, some) in library.units.iter().zip(of_units) {
        for (row, key) in some {
            if measured.contains(&key) {
                let state = &mut states[(held.first + row) as usize];
                *state = *state & !STATE | HELD_OUT;
                continue;
            }
            if split[held.source] {
                keep.insert(key);
            }
            if states[(held.first + row) as usize] & RECALLED != 0 {
                keep.insert(key);
            }
            keys[held.source].push(key);
            numbers[held.source].push(held.first + row);
        }
    }
    for (numbers, held) in numbers.iter().zip(split::split_keys(&keys, keep).held_out) {
        for at in held {
            let state = &mut states[numbers[at] as usize];
            *state = *state & !STATE | HELD_OUT;
        }
    }
    Ok(())
}

/// Counts removed documents in the sources' funnels.
fn count(library: &Library<'_>, header: &mut Header, gone: &[Gone]) -> Result<(), DataError> {
    let documents: Vec<u32> = gone.iter().map(|g| g.document).collect();
    let rows = super::duplicates::located(library, &documents)?;
    for (gone, (_, entry)) in gone.iter().zip(rows) {
        let source = library.units[library.unit_of(gone.document)].source;
        header.sources[source].funnel.drop_kept(gone.why.rule(), entry.bytes);
    }
    Ok(())
}
