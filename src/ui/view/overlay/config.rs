//! The config pane: every key of run.toml, table by table, and what is known about the selected one.

use ratatui::layout::Rect;

use crate::ui::view::pen::{Canvas, Pen, below};
use crate::ui::{
    paint::{Pieces, clear, put, rule},
    state::{Click, ConfigKey, ConfigPane},
    strings,
    text::{pad, shorten, wrap},
    theme::{GlyphSet, Role},
};

/// Cells for the longest name of a key and the marks before it.
const NAME: usize = 27;
/// Rows of the list that the details of the selected key leave.
const LIST: u16 = 5;

/// The width of each column after the name, in cells.
struct Columns {
    value: usize,
    default: usize,
    /// Where the value comes from; 0 in a narrow pane, where a step of a change takes its place.
    origin: usize,
    changed: usize,
}

impl Columns {
    fn of(cells: usize) -> Columns {
        let (origin, changed) = if cells >= 84 { (10, 13) } else { (0, 10) };
        let rest = cells.saturating_sub(NAME + origin + changed);
        let value = rest * 3 / 5;
        Columns { value, default: rest - value, origin, changed }
    }
}

/// A row of the list.
enum Row<'k> {
    Table(&'static str),
    /// With its place among the keys that are listed.
    Key(&'k ConfigKey, usize),
}

/// Covers everything between header and footer.
pub(super) fn draw(pen: &Pen, pane: &ConfigPane, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let edge = u16::from(area.height > 3);
    let place = Rect { y: area.y + edge, height: area.height - 2 * edge, ..area };
    clear(buf, place);
    let keys = &state.config;
    let found = pane.found(keys);
    let chosen = pane.chosen.min(found.len().saturating_sub(1));
    let mut facts: Pieces = Vec::new();
    if !keys.is_empty() {
        let differ = keys.iter().filter(|key| key.differs()).count();
        facts.push(pen.piece(strings::config_count(state.lang, keys.len(), differ), Role::Dim));
        let at = (chosen + 1).min(found.len());
        facts.push(pen.piece(format!("  {at} / {}", found.len()), Role::Bright));
    }
    rule(buf, place, state.tr(strings::CONFIG_TITLE), &facts, false, state.theme, pen.glyphs);
    let mut inner = Rect { x: place.x + 2, width: place.width.saturating_sub(4), ..below(place, 1) };
    if inner.width < 4 || inner.height == 0 {
        return;
    }
    if pane.typing || !pane.filter.is_empty() {
        filter(pen, pane, inner, buf);
        inner = below(inner, 1);
    }
    let Some(selected) = found.get(chosen) else {
        let words = if keys.is_empty() && state.is_read_only() {
            strings::CONFIG_READ_ONLY
        } else if keys.is_empty() {
            strings::NO_RUN
        } else if pane.filter.is_empty() {
            strings::CONFIG_NONE_CHANGED
        } else {
            strings::CONFIG_NONE
        };
        put(buf, inner.x, inner.y, inner.right(), state.tr(words), pen.style(Role::Dim));
        return;
    };
    let details = details(pen, selected, inner.width as usize);
    let high = (details.len() as u16 + 1).min(inner.height.saturating_sub(LIST));
    let list_area = Rect { height: inner.height - high, ..inner };
    list(pen, &found, chosen, list_area, buf);
    if high > 1 {
        let whole = Rect { x: place.x, width: place.width, ..below(inner, list_area.height) };
        let range = shorten(&plain(pen, selected.range(state.lang)), inner.width as usize / 2);
        let facts = if range.is_empty() { Vec::new() } else { vec![pen.piece(range, Role::Dim)] };
        let under = pen.subtitle(buf, whole, &selected.path(), &facts);
        for (row, (text, role)) in details.iter().take(under.height as usize).enumerate() {
            put(buf, inner.x, under.y + row as u16, inner.right(), text, pen.style(*role));
        }
    }
}

/// The field of the filter.
fn filter(pen: &Pen, pane: &ConfigPane, area: Rect, buf: &mut Canvas) {
    let role = if pane.typing { Role::Focus } else { Role::Dim };
    let x = put(buf, area.x, area.y, area.right(), "/ ", pen.style(role));
    let cells = area.right().saturating_sub(x + 1) as usize;
    let (lines, (row, column)) = pane.filter.layout(cells);
    put(buf, x, area.y, area.right(), &lines[row], pen.style(if pane.typing { Role::Bright } else { Role::Text }));
    if pane.typing {
        buf.drawn.field_cells = cells;
        buf.drawn.caret = Some(((x + column as u16).min(area.right() - 1), area.y));
    }
}

/// The list around the selected key, under the names of its tables.
fn list(pen: &Pen, found: &[&ConfigKey], chosen: usize, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let columns = Columns::of(area.width as usize);
    let mut area = area;
    if area.height > LIST {
        let changed = if columns.origin == 0 { strings::CONFIG_ORIGIN } else { strings::CONFIG_CHANGED };
        let heads = [strings::CONFIG_VALUE, strings::CONFIG_DEFAULT, strings::CONFIG_ORIGIN, changed];
        let heads = heads.map(|head| state.tr(head));
        cells(pen, (&format!("   {}", state.tr(strings::CONFIG_KEY)), heads), [Role::Dim; 5], &columns, area, buf);
        area = below(area, 1);
    }
    let (mut rows, mut at, mut table) = (Vec::new(), 0, None);
    for (index, key) in found.iter().enumerate() {
        if table != Some(key.table) {
            table = Some(key.table);
            rows.push(Row::Table(key.table));
        }
        if index == chosen {
            at = rows.len();
        }
        rows.push(Row::Key(key, index));
    }
    // The selected row stays in the middle, so that its neighbours are seen on both sides.
    let high = area.height as usize;
    let first = at.saturating_sub(high / 2).min(rows.len().saturating_sub(high));
    for (row, item) in rows.iter().skip(first).take(high).enumerate() {
        let line = Rect { y: area.y + row as u16, height: 1, ..area };
        match item {
            Row::Table(table) => title(pen, table, line, buf),
            Row::Key(key, index) => {
                buf.drawn.targets.push((line, Click::Row(*index)));
                row_of(pen, key, *index == chosen, &columns, line, buf);
            }
        }
    }
}

/// The name of a table.
fn title(pen: &Pen, table: &str, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let name = if table.is_empty() { state.tr(strings::CONFIG_TOP).to_owned() } else { format!("[{table}]") };
    let x = put(buf, area.x, area.y, area.right(), &name, pen.style(Role::Focus));
    if state.live().id.is_some_and(|id| id.name() == table) {
        put(buf, x + 2, area.y, area.right(), state.tr(strings::CONFIG_LIVE), pen.style(Role::Good));
    }
}

fn row_of(pen: &Pen, key: &ConfigKey, chosen: bool, columns: &Columns, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let mark = if chosen { pen.glyphs.chosen } else { " " };
    let name = format!("{mark}{} {}", if key.differs() { "*" } else { " " }, key.name);
    let origin = state.tr(strings::origin(key.origin));
    let (changed, changed_role) = match (key.changed, &key.next) {
        (_, Some(_)) => (state.tr(strings::CONFIG_WAITS).to_owned(), Role::Valid),
        (Some(step), None) => (strings::at_step(state.lang, step), Role::Good),
        // A narrow pane has one column for both.
        (None, None) if columns.origin == 0 => (origin.to_owned(), Role::Dim),
        (None, None) => (String::new(), Role::Dim),
    };
    let unset = state.tr(strings::CONFIG_UNSET);
    let or_unset = |text: &str| if text.is_empty() { unset.to_owned() } else { text.to_owned() };
    let (value, default) = (or_unset(&key.value), or_unset(&key.default));
    let roles = match (chosen, key.differs()) {
        (true, _) => [Role::Chosen; 5],
        (false, true) => [Role::Bright, Role::Bright, Role::Dim, Role::Text, changed_role],
        (false, false) => [Role::Text, Role::Text, Role::Dim, Role::Dim, changed_role],
    };
    cells(pen, (&name, [&value, &default, origin, &changed]), roles, columns, area, buf);
}

/// Draws the columns of a row.
fn cells(pen: &Pen, texts: (&str, [&str; 4]), roles: [Role; 5], columns: &Columns, area: Rect, buf: &mut Canvas) {
    let (name, [value, default, origin, changed]) = texts;
    let all = [
        (name, NAME),
        (value, columns.value),
        (default, columns.default),
        (origin, columns.origin),
        (changed, columns.changed),
    ];
    let mut x = area.x;
    for ((text, wide), role) in all.into_iter().zip(roles).filter(|((_, wide), _)| *wide > 0) {
        // The last cell of a column stays empty.
        let text = pad(&shorten(text, wide - 1), wide);
        x = put(buf, x, area.y, area.right(), &text, pen.style(role));
    }
}

/// The meaning of a key, its value in full, where it comes from, and how to change it.
fn details(pen: &Pen, key: &ConfigKey, cells: usize) -> Vec<(String, Role)> {
    let state = pen.state;
    let unset = state.tr(strings::CONFIG_UNSET);
    let or_unset = |text: &str| if text.is_empty() { unset.to_owned() } else { text.to_owned() };
    let mut facts = vec![format!("{} = {}", key.name, or_unset(&key.value))];
    if key.differs() {
        facts.push(format!("{} {}", state.tr(strings::CONFIG_DEFAULT), or_unset(&key.default)));
    }
    facts.push(strings::set_by(state.lang, key.origin).to_owned());
    facts.extend(key.changed.map(|step| strings::changed_since(state.lang, step)));
    facts.extend(key.next.as_ref().map(|next| strings::config_next(state.lang, &or_unset(next))));
    let facts = facts.join(&format!(" {} ", pen.glyphs.dot));
    let role = if key.differs() { Role::Bright } else { Role::Text };
    let texts = [
        (plain(pen, key.help(state.lang)), Role::Text),
        (facts, role),
        (state.tr(strings::CONFIG_HOW).to_owned(), Role::Dim),
    ];
    let mut lines = Vec::new();
    for (text, role) in texts {
        lines.extend(wrap(&text, cells, 0).into_iter().map(|line| (text[line].to_owned(), role)));
    }
    lines
}

/// A text of the table of keys: without the marks of Markdown, and where the glyph set avoids characters of ambiguous
/// width, without those.
fn plain(pen: &Pen, text: &str) -> String {
    let text = text.replace('`', "");
    if pen.state.glyph_set == GlyphSet::Line {
        return text;
    }
    let plain = [("≥", ">="), ("×", "x"), ("÷", "/"), ("₁", "1"), ("₂", "2"), ("α", "alpha"), ("β", "beta")];
    let greek = [("ε", "epsilon"), ("λ", "lambda")];
    plain.into_iter().chain(greek).fold(text, |text, (from, to)| text.replace(from, to))
}
