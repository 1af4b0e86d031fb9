//! The tensors as an outline of the parts of their names. Neighbours that are numbered and alike are one row.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::contents::{Contents, Item};

/// Deepest level that is shown; a name may have hundreds of dots.
const DEEPEST: usize = 16;

/// A part of a name: sorted by number where it is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Number(u64),
    Text(String),
}

impl Piece {
    fn of(text: &str) -> Piece {
        match text.parse() {
            Ok(number) if text.len() < 7 && (text == "0" || !text.starts_with('0')) => Piece::Number(number),
            _ => Piece::Text(text.to_owned()),
        }
    }
}

/// A row of the outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineRow {
    /// How deep it is, from 0.
    pub depth: usize,
    /// The part of the name, `0–11 (12×)` for layers that are alike.
    pub name: String,
    /// Dimensions and element type of a tensor; None for what only has parts.
    pub tensor: Option<(Vec<u64>, String)>,
    /// Elements of it and of all below it; of one of several that are alike.
    pub elements: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Default)]
struct Node<'a> {
    elements: u64,
    bytes: u64,
    tensor: Option<&'a Item>,
    children: BTreeMap<Piece, Node<'a>>,
}

impl<'a> Node<'a> {
    fn insert(&mut self, name: &str, depth: usize, tensor: &'a Item) {
        self.elements = self.elements.saturating_add(tensor.elements);
        self.bytes = self.bytes.saturating_add(tensor.bytes);
        if name.is_empty() {
            self.tensor = Some(tensor);
            return;
        }
        let (first, rest) = if depth == DEEPEST { (name, "") } else { name.split_once('.').unwrap_or((name, "")) };
        self.children.entry(Piece::of(first)).or_default().insert(rest, depth + 1, tensor);
    }

    /// A hash of what is below: equal for layers of the same structure.
    fn likeness(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Some(tensor) = self.tensor {
            (&tensor.dtype, &tensor.shape).hash(&mut hasher);
        }
        for (piece, child) in &self.children {
            match piece {
                Piece::Number(n) => n.hash(&mut hasher),
                Piece::Text(text) => text.hash(&mut hasher),
            }
            child.likeness().hash(&mut hasher);
        }
        hasher.finish()
    }

    fn rows(&self, depth: usize, rows: &mut Vec<OutlineRow>) {
        let mut children = self.children.iter().peekable();
        while let Some((piece, child)) = children.next() {
            let mut name = match piece {
                Piece::Text(text) => text.clone(),
                Piece::Number(first) => {
                    let (like, mut last) = (child.likeness(), *first);
                    while let Some((Piece::Number(next), other)) = children.peek()
                        && *next == last + 1
                        && other.likeness() == like
                    {
                        last = *next;
                        children.next();
                    }
                    if last == *first {
                        first.to_string()
                    } else {
                        format!("{first}–{last} ({}×)", last - first + 1)
                    }
                }
            };
            // A name with a single continuation takes one line.
            let mut node = child;
            while let (None, [(Piece::Text(only), below)]) =
                (node.tensor, node.children.iter().take(2).collect::<Vec<_>>().as_slice())
            {
                name = format!("{name}.{only}");
                node = below;
            }
            let tensor = node.tensor.map(|tensor| (tensor.shape.clone(), tensor.dtype.clone()));
            rows.push(OutlineRow { depth, name, tensor, elements: node.elements, bytes: node.bytes });
            node.rows(depth + 1, rows);
        }
    }
}

impl Contents {
    /// The tensors as an outline.
    pub fn outline(&self) -> Vec<OutlineRow> {
        let mut root = Node::default();
        for tensor in &self.tensors {
            root.insert(&tensor.name, 0, tensor);
        }
        let mut rows = Vec::new();
        root.rows(0, &mut rows);
        rows
    }
}
