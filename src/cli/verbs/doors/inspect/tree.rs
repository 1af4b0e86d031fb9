//! The tensors as a tree of the parts of their names. Neighbours that are numbered and alike are shown once.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::tables::{Sum, aligned, shape};
use crate::{
    store::{Contents, Item},
    ui::text::{bytes, grouped},
};

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

#[derive(Default)]
struct Node<'a> {
    sum: Sum,
    tensor: Option<&'a Item>,
    children: BTreeMap<Piece, Node<'a>>,
}

impl<'a> Node<'a> {
    fn insert(&mut self, name: &str, depth: usize, tensor: &'a Item) {
        self.sum.add(tensor);
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

    fn rows(&self, depth: usize, rows: &mut Vec<Vec<String>>) {
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
            let what = node.tensor.map_or(String::new(), |tensor| format!("{} {}", shape(&tensor.shape), tensor.dtype));
            let sum = node.sum;
            rows.push(vec![format!("{}{name}", "  ".repeat(depth)), what, grouped(sum.elements), bytes(sum.bytes)]);
            node.rows(depth + 1, rows);
        }
    }
}

/// The tree as lines.
pub(super) fn page(found: &Contents) -> String {
    let mut root = Node::default();
    for tensor in &found.tensors {
        root.insert(&tensor.name, 0, tensor);
    }
    let mut rows = Vec::new();
    root.rows(0, &mut rows);
    aligned("|||", rows)
}
