//! The tensors as a list, and their totals by part, by layer and by type.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::parts::{Part, layer};
use crate::{
    base::clean,
    store::{Contents, Item},
    ui::{
        Lang,
        strings::Tr,
        text::{bytes, grouped, percent, width},
    },
};

/// Tensors, elements and bytes of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub tensors: u64,
    pub elements: u64,
    pub bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, tensor: &Item) {
        self.tensors += 1;
        self.elements = self.elements.saturating_add(tensor.elements);
        self.bytes = self.bytes.saturating_add(tensor.bytes);
    }

    fn object(self) -> Value {
        json!({"tensors": self.tensors, "parameters": self.elements, "bytes": self.bytes})
    }
}

fn groups<K: Ord>(found: &Contents, key: impl Fn(&Item) -> Option<K>) -> BTreeMap<K, Sum> {
    let mut all: BTreeMap<K, Sum> = BTreeMap::new();
    for tensor in &found.tensors {
        if let Some(key) = key(tensor) {
            all.entry(key).or_default().add(tensor);
        }
    }
    all
}

fn by_part(found: &Contents) -> BTreeMap<Part, Sum> {
    groups(found, |tensor| Some(Part::of(&tensor.name)))
}

/// Runs of neighbouring layers with equal sums: first, last, the sum of each.
fn by_layer(found: &Contents) -> Vec<(u64, u64, Sum)> {
    let mut runs: Vec<(u64, u64, Sum)> = Vec::new();
    for (number, sum) in groups(found, |tensor| layer(&tensor.name)) {
        match runs.last_mut() {
            Some((_, last, same)) if *same == sum && *last + 1 == number => *last = number,
            _ => runs.push((number, number, sum)),
        }
    }
    runs
}

/// A shape as `[4096, 128]`.
pub(super) fn shape(shape: &[u64]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// A text in one line without anything that moves the cursor: a tab would break the columns.
pub(super) fn one_line(text: &str) -> String {
    clean::line(text).replace('\t', "␉")
}

/// Rows under a head (titles separated by `|`, or nothing but these); the first column to the left, the others to the
/// right.
pub(in crate::cli::verbs::doors) fn aligned(head: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut all: Vec<Vec<String>> = vec![head.split('|').map(str::to_owned).collect()];
    all.extend(rows.into_iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()));
    let mut widths = vec![0; all[0].len()];
    for row in &all {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut text = String::new();
    let untitled = usize::from(all[0].iter().all(String::is_empty));
    for row in &all[untitled..] {
        text.push_str("  ");
        for (at, (cell, widest)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(widest - width(cell));
            if at == 0 {
                text.extend([format!("{cell}{space}")]);
            } else {
                text.extend([format!("  {space}{cell}")]);
            }
        }
        text.push('\n');
    }
    text
}

/// One line a tensor.
pub(super) fn tensors(found: &Contents, lang: Lang) -> String {
    let many = found.files.len() > 1;
    let head = match (lang, many) {
        (Lang::Zh, false) => "张量|形状|类型|字节",
        (Lang::Zh, true) => "张量|形状|类型|字节|文件",
        (Lang::En, false) => "tensor|shape|type|bytes",
        (Lang::En, true) => "tensor|shape|type|bytes|file",
    };
    let row = |tensor: &Item| {
        let mut row = vec![tensor.name.clone(), shape(&tensor.shape), tensor.dtype.clone(), bytes(tensor.bytes)];
        if many {
            row.push(found.files[tensor.file].clone());
        }
        row
    };
    aligned(head, found.tensors.iter().map(row))
}

/// The totals by part, by layer and by type.
pub(super) fn totals(found: &Contents, lang: Lang) -> String {
    let say = |zh, en| Tr(zh, en).get(lang);
    let all = found.parameters().max(1) as f64;
    let line = |name: String, sum: &Sum| {
        vec![name, grouped(sum.elements), percent(sum.elements as f64 / all), bytes(sum.bytes)]
    };
    let parts = by_part(found);
    let parts = parts.iter().map(|(part, sum)| line(part.title().get(lang).to_owned(), sum));
    let mut text = format!("\n{}", aligned(say("部分|参数|占比|字节", "part|parameters|share|bytes"), parts));
    let layers = by_layer(found);
    if !layers.is_empty() {
        let rows = layers.iter().map(|(first, last, sum)| {
            let name = if first == last { first.to_string() } else { format!("{first}–{last}") };
            vec![name, (last - first + 1).to_string(), grouped(sum.tensors), grouped(sum.elements), bytes(sum.bytes)]
        });
        let head = say("层|层数|每层张量|每层参数|每层字节", "layer|layers|tensors each|parameters each|bytes each");
        text.extend([format!("\n{}", aligned(head, rows))]);
    }
    let types = groups(found, |tensor| Some(tensor.dtype.clone()));
    let types = types.into_iter().map(|(name, sum)| line(name, &sum));
    text.extend([format!("\n{}\n", aligned(say("类型|参数|占比|字节", "type|parameters|share|bytes"), types))]);
    text
}

/// The same for JSON.
pub(super) fn objects(found: &Contents) -> Map<String, Value> {
    let parts: Map<String, Value> =
        by_part(found).into_iter().map(|(part, sum)| (part.name().to_owned(), sum.object())).collect();
    let layers: Vec<Value> = by_layer(found)
        .into_iter()
        .map(|(first, last, sum)| {
            let mut object = sum.object();
            object["first"] = json!(first);
            object["last"] = json!(last);
            object
        })
        .collect();
    let types: Map<String, Value> =
        groups(found, |tensor| Some(tensor.dtype.clone())).into_iter().map(|(name, s)| (name, s.object())).collect();
    Map::from_iter([
        ("parts".to_owned(), Value::Object(parts)),
        ("layers".to_owned(), Value::Array(layers)),
        ("dtypes".to_owned(), Value::Object(types)),
    ])
}
