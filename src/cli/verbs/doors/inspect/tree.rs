//! The outline of the tensors as lines.

use super::tables::{aligned, shape};
use crate::{
    store::Contents,
    ui::text::{bytes, grouped},
};

/// The outline as lines.
pub(super) fn page(found: &Contents) -> String {
    let rows = found.outline().into_iter().map(|row| {
        let what = row.tensor.map_or(String::new(), |(sizes, dtype)| format!("{} {dtype}", shape(&sizes)));
        vec![format!("{}{}", "  ".repeat(row.depth), row.name), what, grouped(row.elements), bytes(row.bytes)]
    });
    aligned("|||", rows)
}
