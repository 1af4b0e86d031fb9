//! A text field in a panel.

use ratatui::layout::Rect;

use super::pen::{Canvas, Pen, below};
use crate::ui::{editor::Editor, paint::put, state::Panel, text::width, theme::Role};

/// Draws up to `most` rows around the caret; records the caret's position if the field has the keys; returns the number
/// of rows.
pub(crate) fn draw(
    pen: &Pen,
    editor: &Editor,
    mark: &str,
    has_keys: bool,
    most: u16,
    area: Rect,
    buf: &mut Canvas,
) -> u16 {
    let left = area.x + 3 + width(mark) as u16;
    let cells = area.right().saturating_sub(left + 1) as usize;
    if has_keys {
        buf.drawn.field_cells = cells;
    }
    let (rows, (caret_row, caret_column)) = editor.layout(cells);
    let high = rows.len().min(most.min(area.height) as usize);
    if high == 0 {
        return 0;
    }
    let first = (caret_row + 1).saturating_sub(high).min(rows.len() - high);
    let top = area.bottom() - high as u16;
    let (mark_role, role) = if has_keys { (Role::Focus, Role::Bright) } else { (Role::Dim, Role::Dim) };
    put(buf, area.x + 2, top, area.right(), mark, pen.style(mark_role));
    for (at, row) in rows[first..first + high].iter().enumerate() {
        put(buf, left, top + at as u16, area.right(), row, pen.style(role));
    }
    let x = (left + caret_column as u16).min(area.right().saturating_sub(1));
    if has_keys {
        buf.drawn.caret = Some((x, top + (caret_row - first) as u16));
    }
    high as u16
}

/// Draws the text that is looked for in a panel into the first row; returns the rows below, or all without one.
pub(crate) fn finding(pen: &Pen, panel: Panel, inner: Rect, buf: &mut Canvas) -> Rect {
    let Some(find) = pen.state.found_in(panel).filter(|_| inner.height > 0) else { return inner };
    draw(pen, &find.field, "/", find.typing, 1, Rect { height: 1, ..inner }, buf);
    below(inner, 1)
}
