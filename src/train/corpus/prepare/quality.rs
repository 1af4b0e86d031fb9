//! Applies the quality classifier to a run's documents: its training samples, and the documents it drops.
//!
//! Positives are documents of the reference source and texts labelled keep; negatives are documents of the filtered
//! sources and texts labelled drop. Samples are selected by their keys, so the classifier is retrained only when a
//! sample or a label is added or removed. There are two classifiers, each trained on one half of the documents and
//! applied to the other half, because a classifier memorises the class of the texts it was trained on.
//!
//! ```text
//! data/quality-<key>   a line of JSON: samples and accuracy; the weights of both; blake3 (32 bytes)
//! ```

use std::{collections::HashMap, fmt};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    duplicates::located,
    library::{Library, named, quality_name, unit_name},
    units::short,
    version::{Gone, QualityMeta, Version, Why},
};
use crate::{
    data::{
        DataError,
        quality::{Classifier, Features, Sample, Selection, auc},
        split::Key,
    },
    store::{Links, Preparer, RunView, read_limited},
    train::{config::RunConfig, corpus::marks::Marks, error::TrainError},
};

/// Raise it when the same documents would be dropped differently.
const VERSION: &str = "1";
/// Most documents per class used for training.
const DRAWN: usize = 20_000;
/// Minimum number of positives; with fewer the classifier does not generalise.
const FEWEST: usize = 10;
/// Weight of a label in documents, as long as a class's labels together weigh no more than its documents. A document
/// says something about its source on average; a label answers the question itself, and there are few.
const MARK: f64 = 100.0;
/// Limit on the size of a classifier file.
const LONGEST: u64 = 8 << 20;

/// The filtered sources and their settings.
pub(crate) struct Filter<'a> {
    config: &'a RunConfig,
    reference: Option<usize>,
    /// Whether each source is filtered.
    filtered: Vec<bool>,
    marks: Marks,
}

/// The documents that the classifier dropped, sorted, and its metadata.
#[derive(Default)]
pub(crate) struct Judged {
    pub gone: Vec<Gone>,
    pub meta: QualityMeta,
}

/// Training samples and accuracy of a classifier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Report {
    /// Number of samples: negatives, positives.
    documents: [usize; 2],
    marks: [usize; 2],
    /// The AUC over these documents, each scored by the classifier that was not trained on it, and the mean of both
    /// classes' accuracies at ½; None if a class is empty.
    auc: Option<f64>,
    accuracy: Option<f64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bad, good], [drop, keep]) = (self.documents, self.marks);
        write!(
            f,
            "quality: trained on {good} wanted documents and {keep} marks, {bad} unwanted documents and {drop} marks; "
        )?;
        match (self.auc, self.accuracy) {
            (Some(auc), Some(accuracy)) => {
                write!(f, "on held-out documents AUC {auc:.3}, accuracy {accuracy:.3}")
            }
            _ => f.write_str("its accuracy is not measured: [quality] names no reference"),
        }
    }
}

/// A sampled document: its rank (the lowest are selected) and its number.
type Drawn = (u128, u32);

/// The key with those bytes first that decide neither the held-out split nor the Pareto draw.
fn rank(key: &Key) -> u128 {
    u128::from_be_bytes(*key).rotate_left(32)
}

/// Which classifier scores a document: the last bit of its key.
fn half(rank: u128) -> usize {
    ((rank >> 32) & 1) as usize
}

/// The two classifiers.
type Halves = [Classifier; 2];

impl<'a> Filter<'a> {
    /// The filter of a run; None if no source uses it. Positives are required.
    pub(crate) fn of(config: &'a RunConfig, view: &RunView) -> Result<Option<Self>, TrainError> {
        let Some(first) = config.source.iter().find(|s| s.quality) else { return Ok(None) };
        let marks = Marks::read(view)?;
        let reference = config.quality.reference.as_ref();
        let reference = reference.and_then(|name| config.source.iter().position(|s| s.name == *name));
        let keep = marks.count().0;
        if reference.is_none() && keep < FEWEST {
            return Err(TrainError::Input(format!(
                "source {}: quality = true needs wanted texts: set reference in [quality] to the name of a source, or mark {FEWEST} texts to be kept ({} has {keep})",
                first.name,
                view.marks_path().display()
            )));
        }
        let filtered = config.source.iter().map(|s| s.quality).collect();
        Ok(Some(Self { config, reference, filtered, marks }))
    }

    /// A hash of everything except the documents that the verdicts depend on.
    pub(crate) fn key(&self) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{VERSION}\n{:?} {:?} {:?}", self.reference, self.filtered, self.selection()).as_bytes());
        self.hash_marks(&mut hash);
        short(&hash)
    }

    fn selection(&self) -> Selection {
        self.config.selection()
    }

    fn hash_marks(&self, hash: &mut blake3::Hasher) {
        for (text, keep) in &self.marks.texts {
            hash.update(format!("\n{keep} {} ", text.len()).as_bytes()).update(text.as_bytes());
        }
    }

    /// Judges the documents of filtered sources; verdicts of an earlier version are reused where nothing changed.
    pub(crate) fn judge(
        &self,
        library: &Library<'_>,
        preparer: &Preparer,
        before: Option<&Version>,
    ) -> Result<Judged, TrainError> {
        let drawn = self.draw(library)?;
        let [bad, good] = &drawn;
        if bad.is_empty() {
            return Ok(Judged::default());
        }
        let wanted = good.len() + self.marks.count().0;
        if wanted < FEWEST {
            return Err(TrainError::Input(format!(
                "quality: {wanted} wanted texts; expected {FEWEST} or more: add documents to the source {:?}, or mark texts to be kept",
                self.config.quality.reference.as_deref().unwrap_or_default()
            )));
        }
        let model = self.model_key(&drawn);
        let (halves, report) = match read(preparer.view(), &model) {
            Some(found) => found,
            None => self.learn(library, &drawn, preparer, &model)?,
        };
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{model} {:?}", self.selection()).as_bytes());
        for (source, _) in self.config.source.iter().zip(&self.filtered).filter(|(_, filtered)| **filtered) {
            hash.update(format!("\n{:?}", source.name).as_bytes());
        }
        let meta = QualityMeta { key: short(&hash), model, note: report.to_string() };
        let known = before.filter(|version| version.header.quality.key == meta.key);
        let gone = self.verdicts(library, &halves, &known.map(carried).unwrap_or_default())?;
        Ok(Judged { gone, meta })
    }

    /// The training documents: negatives, positives; each sorted by rank.
    fn draw(&self, library: &Library<'_>) -> Result<[Vec<Drawn>; 2], DataError> {
        let lowest = |mut some: Vec<Drawn>| {
            some.sort_unstable();
            // Duplicates count once.
            some.dedup_by_key(|d| d.0);
            some.truncate(DRAWN);
            some
        };
        let of_units = library.each(|number, unit| {
            let held = &library.units[number];
            if !self.filtered[held.source] && self.reference != Some(held.source) {
                return Ok(Vec::new());
            }
            let mut ranks = Vec::new();
            for block in 0..unit.index().blocks() {
                ranks.extend(unit.keys(block)?.iter().map(rank));
            }
            Ok(lowest(ranks.into_iter().zip(held.first..).collect()))
        })?;
        let (mut bad, mut good) = (Vec::new(), Vec::new());
        for (held, some) in library.units.iter().zip(of_units) {
            if self.filtered[held.source] { bad.extend(some) } else { good.extend(some) }
        }
        let good = lowest(good);
        // A text that is in the reference too is not a negative.
        bad.retain(|d| good.binary_search_by_key(&d.0, |g| g.0).is_err());
        Ok([lowest(bad), good])
    }

    fn model_key(&self, drawn: &[Vec<Drawn>; 2]) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(VERSION.as_bytes());
        for side in drawn {
            hash.update(&(side.len() as u64).to_le_bytes());
            for (rank, _) in side {
                hash.update(&rank.to_le_bytes());
            }
        }
        self.hash_marks(&mut hash);
        short(&hash)
    }

    fn learn(
        &self,
        library: &Library<'_>,
        drawn: &[Vec<Drawn>; 2],
        preparer: &Preparer,
        key: &str,
    ) -> Result<(Halves, Report), TrainError> {
        let mut report = Report::default();
        let (mut documents, mut marks) = (Vec::new(), Vec::new());
        for (side, good) in [(0, false), (1, true)] {
            let numbers: Vec<u32> = drawn[side].iter().map(|d| d.1).collect();
            let halves = drawn[side].iter().map(|d| half(d.0));
            let of_side = features(library, &numbers)?.into_iter().zip(halves);
            documents.extend(of_side.map(|(features, half)| (half, Sample { features, good, weight: 1.0 })));
            let marked: Vec<&str> =
                self.marks.texts.iter().filter(|(_, keep)| *keep == good).map(|(text, _)| text.as_str()).collect();
            (report.documents[side], report.marks[side]) = (numbers.len(), marked.len());
            let share = numbers.len() as f64 / marked.len() as f64;
            let weight = if numbers.is_empty() { 1.0 } else { MARK.min(share) };
            marks.extend(marked.iter().map(|text| Sample { features: Features::of(text), good, weight }));
        }
        // With very few documents one half may have no sample of a class; then it is trained on all.
        let of = |half: Option<usize>| -> Vec<Sample> {
            let seen = documents.iter().filter(|(h, _)| Some(*h) != half).map(|(_, sample)| sample);
            seen.chain(&marks).cloned().collect()
        };
        let train = |half: usize| {
            let some = of(Some(half));
            let has_both = some.iter().any(|s| s.good) && some.iter().any(|s| !s.good);
            Classifier::train(&if has_both { some } else { of(None) })
        };
        let halves = [train(0)?, train(1)?];
        let scores: Vec<(f64, bool)> =
            documents.iter().map(|(half, s)| (halves[*half].score(&s.features), s.good)).collect();
        let right = |good: bool| {
            let side: Vec<&(f64, bool)> = scores.iter().filter(|s| s.1 == good).collect();
            side.iter().filter(|s| (s.0 >= 0.5) == good).count() as f64 / side.len() as f64
        };
        report.auc = auc(&scores);
        report.accuracy = report.auc.map(|_| 0.5 * (right(false) + right(true)));
        let mut bytes = serde_json::to_vec(&report).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend(halves.iter().flat_map(Classifier::to_bytes));
        bytes.extend(*blake3::hash(&bytes).as_bytes());
        preparer.write(&quality_name(key), &bytes)?;
        Ok((halves, report))
    }

    /// The dropped documents of all filtered units; `known` has earlier verdicts.
    fn verdicts(
        &self,
        library: &Library<'_>,
        halves: &Halves,
        known: &HashMap<(&str, &str), Vec<Gone>>,
    ) -> Result<Vec<Gone>, DataError> {
        let selection = self.selection();
        let of_units = library.each(|number, unit| {
            let held = &library.units[number];
            if !self.filtered[held.source] {
                return Ok(Vec::new());
            }
            if let Some(before) = known.get(&(self.config.source[held.source].name.as_str(), held.key.as_str())) {
                return Ok(before.iter().map(|g| Gone { document: held.first + g.document, ..*g }).collect());
            }
            let (mut gone, mut first) = (Vec::new(), held.first);
            for block in 0..unit.index().blocks() {
                let (keys, texts) = (unit.keys(block)?, unit.texts(block, |_| true)?);
                gone.par_extend(texts.par_iter().filter_map(|(row, entry, text)| {
                    let score = halves[half(rank(&keys[*row]))].score(&Features::of(&text[entry.head as usize..]));
                    let verdict = selection.verdict(score, &keys[*row])?;
                    let document = first + *row as u32;
                    Some(Gone { document, of: None, why: Why::Quality, value: score, threshold: verdict.threshold })
                }));
                first += keys.len() as u32;
            }
            Ok(gone)
        })?;
        Ok(of_units.into_iter().flatten().collect())
    }
}

/// The documents that the classifier dropped in each unit of an earlier version, relative to the unit's first document;
/// by source and unit.
fn carried(version: &Version) -> HashMap<(&str, &str), Vec<Gone>> {
    let names = version.header.sources.iter().flat_map(|s| s.units.iter().map(move |_| s.name.as_str()));
    let units = names.zip(version.units()).map(|(name, (unit, first))| {
        let gone = version.gone_in(unit, first).filter(|g| g.why == Why::Quality);
        ((name, unit.key.as_str()), gone.map(|g| Gone { document: g.document - first, ..*g }).collect())
    });
    units.collect()
}

/// The features of documents, in order.
fn features(library: &Library<'_>, documents: &[u32]) -> Result<Vec<Features>, DataError> {
    let mut ascending = documents.to_vec();
    ascending.sort_unstable();
    let rows: Vec<_> = ascending.iter().copied().zip(located(library, &ascending)?).collect();
    let found: Result<Vec<HashMap<u32, Features>>, DataError> = rows
        .par_chunk_by(|a, b| library.unit_of(a.0) == library.unit_of(b.0))
        .map(|some| {
            let number = library.unit_of(some[0].0);
            let mut unit = library.unit(number)?;
            let one = |(document, (block, entry)): &(u32, (usize, crate::data::stored::unit::Entry))| {
                let text = unit.text(*block, entry)?;
                Ok((*document, Features::of(&text[entry.head as usize..])))
            };
            some.iter().map(one).collect::<Result<_, _>>().map_err(named(&unit_name(&library.units[number].key)))
        })
        .collect();
    let mut found: HashMap<u32, Features> = found?.into_iter().flatten().collect();
    Ok(documents.iter().map(|d| found.remove(d).unwrap_or_default()).collect())
}

/// Reads a stored classifier if it is intact.
fn read(view: &RunView, key: &str) -> Option<(Halves, Report)> {
    let path = view.data_dir().join(quality_name(key));
    let bytes = read_limited(&**view.disk(), &path, LONGEST, Links::Refuse).ok()?;
    let (body, hash) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body).as_bytes() != hash {
        return None;
    }
    let end = body.iter().position(|b| *b == b'\n')?;
    let report = serde_json::from_slice(&body[..end]).ok()?;
    let (first, second) = body[end + 1..].split_at((body.len() - end - 1) / 2);
    Some(([Classifier::from_bytes(first)?, Classifier::from_bytes(second)?], report))
}
