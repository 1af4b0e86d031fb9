//! Finds duplicates over all units: in full, or only around documents that were added or removed.
//!
//! Decisions are made within groups of documents that share a fingerprint or a band, so documents that are not
//! connected to a change keep theirs. Connected ones are found by scanning the columns of all units repeatedly, each
//! time for the hashes found in the previous pass.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    num::NonZeroU128,
};

use rayon::prelude::*;

use super::library::{Held, Library, named, open, unit_name};
use crate::{
    data::{
        DataError,
        dedup::{BANDS, Shingling, bands::HELD, candidates, exact, verified},
        stored::unit::{Entry, Unit},
    },
    train::config::RunConfig,
};

/// Units read at a time, which limits the columns in memory.
const UNITS_AT_ONCE: usize = 64;
/// Up to this many documents an incremental update is always tried; beyond it only for less than a quarter of them.
const FEW: usize = 4096;
/// Columns of a document: the fingerprint and the bands.
const COLUMNS: usize = 1 + BANDS;

/// A document that repeats another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Repeat {
    /// The document that is dropped.
    pub document: u32,
    /// The document that is kept.
    pub kept: u32,
    /// Their similarity; None for exact duplicates.
    pub similarity: Option<f64>,
}

/// The previous result and the units it was for.
pub(crate) struct Before<'a> {
    /// Key, first document and number of documents of each unit, in order.
    pub units: Vec<(&'a str, u32, u32)>,
    /// Documents that were excluded, sorted.
    pub out: &'a [u32],
    /// The duplicates found, sorted by document.
    pub repeats: Vec<Repeat>,
}

/// The duplicates found, sorted by document, and the number of documents that were decided.
pub(crate) type Found = (Vec<Repeat>, usize);

/// Finds duplicates among the documents that are not in `out` (sorted).
pub(crate) fn duplicates(
    library: &Library<'_>,
    config: &RunConfig,
    out: &[u32],
    before: Option<&Before<'_>>,
) -> Result<Found, DataError> {
    if let Some(before) = before
        && let Some(moved) = moves(library, before)
        && let Some(members) = touched(library, out, before, &moved)?
    {
        let count = members.len();
        let mut found = among(library, config, members)?;
        // For the others only the numbering has changed.
        let again: HashSet<u32> = found.decided.iter().copied().collect();
        let carried = before.repeats.iter().filter_map(|r| {
            let document = number_now(library, before, &moved, r.document).filter(|d| !again.contains(d))?;
            Some(Repeat { document, kept: number_now(library, before, &moved, r.kept)?, similarity: r.similarity })
        });
        found.repeats.extend(carried);
        found.repeats.sort_unstable_by_key(|r| r.document);
        return Ok((found.repeats, count));
    }
    Ok((of_all(library, config, out)?, library.documents as usize))
}

fn is_in(sorted: &[u32], document: u32) -> bool {
    sorted.binary_search(&document).is_ok()
}

/// Compares all documents.
fn of_all(library: &Library<'_>, config: &RunConfig, out: &[u32]) -> Result<Vec<Repeat>, DataError> {
    let mut gone = vec![false; library.documents as usize];
    for document in out {
        gone[*document as usize] = true;
    }
    let exact = {
        let mut fingerprints: Vec<Option<NonZeroU128>> = Vec::with_capacity(library.documents as usize);
        in_order(library, Unit::fingerprints, &mut |_, some| fingerprints.extend(some))?;
        fingerprints.iter_mut().zip(&gone).filter(|(_, gone)| **gone).for_each(|(f, _)| *f = None);
        exact::duplicates(&fingerprints)
    };
    for (document, _) in &exact {
        gone[*document as usize] = true;
    }
    let pairs = candidates(gone.len(), HELD, |band, take| {
        in_order(library, |unit, block| unit.band(block, band), &mut |first, column| {
            for (document, hash) in (first..).zip(column) {
                if hash != 0 && !gone[document as usize] {
                    take(document, hash);
                }
            }
        })
    })?;
    drop(gone);
    joined(exact, &pairs, library, config)
}

/// Passes on the result of `read` for every block, in order, with the block's first document.
fn in_order<T: Send>(
    library: &Library<'_>,
    read: impl Fn(&mut Unit, usize) -> Result<Vec<T>, DataError> + Sync,
    take: &mut dyn FnMut(u32, Vec<T>),
) -> Result<(), DataError> {
    let numbers: Vec<usize> = (0..library.units.len()).collect();
    for some in numbers.chunks(UNITS_AT_ONCE) {
        let columns: Result<Vec<Vec<T>>, DataError> = some
            .par_iter()
            .map(|number| {
                let mut column = Vec::new();
                let mut all = || {
                    let mut unit = library.unit(*number)?;
                    (0..unit.index().blocks()).try_for_each(|block| {
                        column.extend(read(&mut unit, block)?);
                        Ok(())
                    })
                };
                all().map_err(named(&unit_name(&library.units[*number].key)))?;
                Ok(column)
            })
            .collect();
        for (number, column) in some.iter().zip(columns?) {
            take(library.units[*number].first, column);
        }
    }
    Ok(())
}

/// The result of an incremental update.
struct Again {
    repeats: Vec<Repeat>,
    /// The documents that were decided, sorted.
    decided: Vec<u32>,
}

/// Compares only some documents: sorted, with their columns.
fn among(library: &Library<'_>, config: &RunConfig, members: Vec<Member>) -> Result<Again, DataError> {
    let fingerprints: Vec<Option<NonZeroU128>> = members.iter().map(|m| m.1).collect();
    let same = exact::duplicates(&fingerprints);
    let mut gone = vec![false; members.len()];
    for (at, _) in &same {
        gone[*at as usize] = true;
    }
    let pairs = candidates(members.len(), HELD, |band, take| {
        for (member, _) in members.iter().zip(&gone).filter(|(m, gone)| !**gone && m.2[band] != 0) {
            take(member.0, member.2[band]);
        }
        Ok(())
    })?;
    let exact = same.into_iter().map(|(d, k)| (members[d as usize].0, members[k as usize].0)).collect();
    let repeats = joined(exact, &pairs, library, config)?;
    Ok(Again { repeats, decided: members.into_iter().map(|m| m.0).collect() })
}

/// Exact duplicates, and the near duplicates among the candidates.
fn joined(
    exact: Vec<(u32, u32)>,
    pairs: &[(u32, u32)],
    library: &Library<'_>,
    config: &RunConfig,
) -> Result<Vec<Repeat>, DataError> {
    let mut repeats: Vec<Repeat> =
        exact.into_iter().map(|(document, kept)| Repeat { document, kept, similarity: None }).collect();
    let mut wanted: Vec<u32> = pairs.iter().flat_map(|p| [p.0, p.1]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let rows = located(library, &wanted)?;
    let at = |document: u32| wanted.binary_search(&document).unwrap_or_default();
    let near = verified(
        pairs,
        |document| rows[at(document)].1.length as usize,
        |some| {
            by_unit(library, some, |held, unit, documents| {
                let shingling = Shingling::of(config.source[held.source].profile);
                let set = |document: &u32| {
                    let (block, entry) = &rows[at(*document)];
                    let text = unit.text(*block, entry).map_err(named(&unit_name(&held.key)))?;
                    Ok(shingling.shingles(&text[entry.head as usize..]))
                };
                documents.iter().map(set).collect()
            })
        },
    )?;
    repeats.extend(near.iter().map(|p| Repeat { document: p.dropped, kept: p.kept, similarity: Some(p.similarity) }));
    repeats.sort_unstable_by_key(|r| r.document);
    Ok(repeats)
}

/// Ranges of equal numbers.
fn runs(numbers: &[usize]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    numbers.chunk_by(|a, b| a == b).map(move |run| {
        start += run.len();
        start - run.len()..start
    })
}

/// Block and row of documents given in ascending order.
pub(crate) fn located(library: &Library<'_>, documents: &[u32]) -> Result<Vec<(usize, Entry)>, DataError> {
    by_unit(library, documents, |held, unit, documents| {
        let mut found = Vec::with_capacity(documents.len());
        let (mut rest, mut first) = (documents, held.first);
        for block in 0..unit.index().blocks() {
            let next = first + unit.index().rows(block) as u32;
            let (here, later) = rest.split_at(rest.partition_point(|d| *d < next));
            if !here.is_empty() {
                let entries = unit.entries(block).map_err(named(&unit_name(&held.key)))?;
                found.extend(here.iter().map(|d| (block, entries[(d - first) as usize])));
            }
            (rest, first) = (later, next);
        }
        Ok(found)
    })
}

/// Reads documents given in ascending order, unit by unit and several units at a time; results are in order.
fn by_unit<T: Send>(
    library: &Library<'_>,
    documents: &[u32],
    read: impl Fn(&Held, &mut Unit, &[u32]) -> Result<Vec<T>, DataError> + Sync,
) -> Result<Vec<T>, DataError> {
    let numbers: Vec<usize> = documents.iter().map(|d| library.unit_of(*d)).collect();
    let groups: Vec<(usize, &[u32])> = runs(&numbers).map(|run| (numbers[run.start], &documents[run])).collect();
    let read = |(number, some): &(usize, &[u32])| read(&library.units[*number], &mut library.unit(*number)?, some);
    let all: Result<Vec<Vec<T>>, DataError> = groups.par_iter().map(read).collect();
    Ok(all?.into_iter().flatten().collect())
}

/// The new index of each previous unit; None if the order of kept units changed.
fn moves(library: &Library<'_>, before: &Before<'_>) -> Option<Vec<Option<usize>>> {
    let mut places: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (number, held) in library.units.iter().enumerate() {
        places.entry(&held.key).or_default().push_back(number);
    }
    let moved: Vec<Option<usize>> =
        before.units.iter().map(|(key, _, _)| places.get_mut(key).and_then(VecDeque::pop_front)).collect();
    moved.iter().flatten().is_sorted().then_some(moved)
}

/// The new number of a previous document.
fn number_now(library: &Library<'_>, before: &Before<'_>, moved: &[Option<usize>], document: u32) -> Option<u32> {
    let unit = before.units.partition_point(|u| u.1 <= document).checked_sub(1)?;
    moved[unit].map(|now| library.units[now].first + (document - before.units[unit].1))
}

/// What happened to a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Excluded both times, or everything that depends on it is known already.
    Past,
    /// Unchanged.
    Stays,
    /// Added, removed, or not excluded any more.
    Changed,
}

/// A previous or current unit with the fate of its documents.
struct Scanned {
    held: Held,
    /// The current number of its first document; None if it was removed.
    now: Option<u32>,
    fates: Vec<Fate>,
}

/// A document with its columns.
type Member = (u32, Option<NonZeroU128>, [u64; BANDS]);

/// The documents connected with an added or removed one, sorted; None if they are so many that deciding all is as fast.
fn touched(
    library: &Library<'_>,
    out: &[u32],
    before: &Before<'_>,
    moved: &[Option<usize>],
) -> Result<Option<Vec<Member>>, DataError> {
    let most = FEW.max(library.documents as usize / 4);
    let mut stayed: HashMap<usize, usize> = HashMap::new();
    let mut scanned = Vec::new();
    for (old, (key, first, documents)) in before.units.iter().enumerate() {
        if let Some(new) = moved[old] {
            stayed.insert(new, old);
            continue;
        }
        let Ok(unit) = super::library::open_unit(library.view, key) else { return Ok(None) };
        let looked_at = |row: u32| if is_in(before.out, first + row) { Fate::Past } else { Fate::Changed };
        let held = Held { source: 0, key: (*key).to_owned(), first: *first, index: unit.index().clone() };
        scanned.push(Scanned { held, now: None, fates: (0..*documents).map(looked_at).collect() });
    }
    for (new, held) in library.units.iter().enumerate() {
        let old = stayed.get(&new).map(|old| before.units[*old].1);
        let fate = |row: u32| {
            let now = !is_in(out, held.first + row);
            let then = old.is_some_and(|first| !is_in(before.out, first + row));
            match (then, now) {
                (false, false) => Fate::Past,
                (true, true) => Fate::Stays,
                _ => Fate::Changed,
            }
        };
        let fates = (0..held.index.documents()).map(fate).collect();
        scanned.push(Scanned { held: held.clone(), now: Some(held.first), fates });
    }
    let changed = |s: &Scanned| s.fates.iter().filter(|f| **f == Fate::Changed).count();
    if scanned.iter().map(changed).sum::<usize>() > most {
        return Ok(None);
    }
    let mut members = Vec::new();
    let mut wanted: Option<Wanted> = None;
    loop {
        let found: Result<Vec<Vec<Member>>, DataError> = scanned
            .par_iter_mut()
            .map(|unit| {
                let name = unit_name(&unit.held.key);
                scan(library, unit, wanted.as_ref()).map_err(named(&name))
            })
            .collect();
        let found: Vec<Member> = found?.into_iter().flatten().collect();
        if found.is_empty() && wanted.is_some() {
            break;
        }
        wanted = Some(Wanted::new(&found));
        // Removed documents have no current number; they are marked by a number that no document has.
        members.extend(found.into_iter().filter(|m| m.0 != u32::MAX && !is_in(out, m.0)));
        if members.len() > most {
            return Ok(None);
        }
    }
    members.sort_unstable_by_key(|m| m.0);
    Ok(Some(members))
}

/// The documents of a unit that share a wanted hash; in the first pass those that changed.
fn scan(library: &Library<'_>, unit: &mut Scanned, wanted: Option<&Wanted>) -> Result<Vec<Member>, DataError> {
    let looked_for = if wanted.is_some() { Fate::Stays } else { Fate::Changed };
    let mut found = Vec::new();
    if !unit.fates.contains(&looked_for) {
        return Ok(found);
    }
    let file = open(library.view, &unit_name(&unit.held.key))?;
    let mut reader = Unit::again(Box::new(file), unit.held.index.clone());
    let mut first = 0;
    for block in 0..unit.held.index.blocks() {
        let rows = unit.held.index.rows(block);
        let fates = &mut unit.fates[first..first + rows];
        if fates.contains(&looked_for) {
            let columns = reader.columns(block)?;
            for (row, fate) in fates.iter_mut().enumerate().filter(|(_, fate)| **fate == looked_for) {
                let (fingerprint, bands) = (columns.fingerprint(row), columns.bands(row));
                if wanted.is_none_or(|wanted| wanted.has(fingerprint, &bands)) {
                    *fate = Fate::Past;
                    let number = unit.now.map_or(u32::MAX, |now| now + (first + row) as u32);
                    found.push((number, fingerprint, bands));
                }
            }
        }
        first += rows;
    }
    Ok(found)
}

/// The hashes to search for, by column.
struct Wanted {
    /// A bitmap over the leading bits: it excludes most hashes at once.
    bits: Vec<u64>,
    sets: Vec<HashSet<u64>>,
}

/// Number of leading bits used in the bitmap.
const FIRST_BITS: u32 = 20;

impl Wanted {
    fn new(members: &[Member]) -> Self {
        let mut wanted = Self { bits: vec![0; 1 << (FIRST_BITS - 6)], sets: vec![HashSet::new(); COLUMNS] };
        for (_, fingerprint, bands) in members {
            for (column, hash) in columns(*fingerprint, bands).into_iter().enumerate().filter(|(_, hash)| *hash != 0) {
                let bit = (hash >> (64 - FIRST_BITS)) as usize;
                wanted.bits[bit / 64] |= 1 << (bit % 64);
                wanted.sets[column].insert(hash);
            }
        }
        wanted
    }

    fn has(&self, fingerprint: Option<NonZeroU128>, bands: &[u64; BANDS]) -> bool {
        columns(fingerprint, bands).iter().enumerate().any(|(column, hash)| {
            let bit = (hash >> (64 - FIRST_BITS)) as usize;
            self.bits[bit / 64] >> (bit % 64) & 1 == 1 && self.sets[column].contains(hash)
        })
    }
}

/// A document's hashes by column, 0 for none. Half of a fingerprint is enough to find connections.
fn columns(fingerprint: Option<NonZeroU128>, bands: &[u64; BANDS]) -> [u64; COLUMNS] {
    let mut columns = [0; COLUMNS];
    columns[0] = fingerprint.map_or(0, |f| (f.get() >> 64) as u64);
    columns[1..].copy_from_slice(bands);
    columns
}
