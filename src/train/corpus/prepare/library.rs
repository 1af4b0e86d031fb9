//! The units of a run in the order of its sources, with all documents numbered.

use std::sync::Arc;

use rayon::prelude::*;

use crate::{
    data::{
        DataError,
        stored::unit::{Index, Unit},
    },
    store::{ReadSeek, RunView},
};

/// The file name of a shard.
pub(crate) fn ids_name(unit: &str, tokenizer: &str) -> String {
    format!("ids-{unit}-{tokenizer}")
}

/// The file name of a classifier.
pub(crate) fn quality_name(key: &str) -> String {
    format!("quality-{key}")
}

/// The file name of a unit.
pub(crate) fn unit_name(key: &str) -> String {
    format!("unit-{key}")
}

/// Opens prepared data; a missing file counts as damaged.
pub(crate) fn open(view: &RunView, name: &str) -> Result<Box<dyn ReadSeek>, DataError> {
    view.open_prepared(name).map_err(|e| DataError::Damaged(e.to_string()))
}

/// Adds the file's name to an error. A truncated file counts as damaged.
pub(crate) fn named(name: &str) -> impl Fn(DataError) -> DataError + '_ {
    move |e| match e {
        DataError::Damaged(what) => DataError::Damaged(format!("{name}: {what}")),
        DataError::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            DataError::Damaged(format!("{name}: it is too short"))
        }
        e => e,
    }
}

/// Opens a unit.
pub(crate) fn open_unit(view: &RunView, key: &str) -> Result<Unit, DataError> {
    let name = unit_name(key);
    Unit::open(open(view, &name)?).map_err(named(&name))
}

/// A unit in the library.
#[derive(Clone)]
pub(crate) struct Held {
    /// Its source.
    pub source: usize,
    pub key: String,
    /// The number of its first document.
    pub first: u32,
    pub index: Arc<Index>,
}

/// All units.
pub(crate) struct Library<'a> {
    pub view: &'a RunView,
    pub units: Vec<Held>,
    /// Number of all documents.
    pub documents: u32,
}

impl<'a> Library<'a> {
    /// The units with these keys, by source.
    pub(crate) fn open(view: &'a RunView, keys: &[Vec<String>]) -> Result<Self, DataError> {
        let all: Vec<(usize, &String)> =
            keys.iter().enumerate().flat_map(|(source, keys)| keys.iter().map(move |key| (source, key))).collect();
        let opened: Result<Vec<Arc<Index>>, DataError> =
            all.par_iter().map(|(_, key)| Ok(Arc::clone(open_unit(view, key)?.index()))).collect();
        let (mut units, mut documents) = (Vec::with_capacity(all.len()), 0_u32);
        for ((source, key), index) in all.into_iter().zip(opened?) {
            let next = documents.checked_add(index.documents()).filter(|n| *n < u32::MAX);
            units.push(Held { source, key: key.clone(), first: documents, index });
            documents = next.ok_or_else(|| {
                DataError::Shape(format!("the sources have more than {} documents; use fewer", u32::MAX - 1))
            })?;
        }
        Ok(Self { view, units, documents })
    }

    /// Opens the unit with this index.
    pub(crate) fn unit(&self, number: usize) -> Result<Unit, DataError> {
        let held = &self.units[number];
        Ok(Unit::again(open(self.view, &unit_name(&held.key))?, Arc::clone(&held.index)))
    }

    /// Applies a function to all units, several at a time; results are in order.
    pub(crate) fn each<T: Send>(
        &self,
        work: impl Fn(usize, &mut Unit) -> Result<T, DataError> + Sync,
    ) -> Result<Vec<T>, DataError> {
        (0..self.units.len())
            .into_par_iter()
            .map(|number| {
                let done = self.unit(number).and_then(|mut unit| work(number, &mut unit));
                done.map_err(named(&unit_name(&self.units[number].key)))
            })
            .collect()
    }

    /// The unit of a document.
    pub(crate) fn unit_of(&self, document: u32) -> usize {
        self.units.partition_point(|held| held.first <= document).saturating_sub(1)
    }

    /// The document numbers of a unit.
    pub(crate) fn range(&self, number: usize) -> std::ops::Range<u32> {
        let held = &self.units[number];
        held.first..held.first + held.index.documents()
    }
}
