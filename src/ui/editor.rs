//! A text field. Pure, so that `update` can own it. The terminal's cursor is placed where [`Editor::layout`] says,
//! because input methods open their window there.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::ui::text::{Clean, unix_lines};

/// Most bytes of a field.
const LONGEST: usize = 16_384;
/// Size of the history.
const HISTORY: usize = 100;

/// Text, caret and history.
#[derive(Clone, Debug, Default)]
pub struct Editor {
    text: String,
    at: usize,
    history: Vec<String>,
    browsing: Option<usize>,
    draft: String,
}

impl Editor {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the field is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Inserts typed or pasted text at the caret. Control characters become pictures here, so that the field shows what
    /// will be sent.
    pub fn insert(&mut self, text: &str) {
        let text = Clean::block(&unix_lines(text));
        let room = LONGEST.saturating_sub(self.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.insert_str(self.at, &text[..end]);
        self.at += end;
    }

    /// Empties the field.
    pub fn clear(&mut self) {
        self.text.clear();
        self.at = 0;
        self.browsing = None;
    }

    /// Takes the text for sending and adds it to the history.
    pub fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        self.clear();
        if self.history.last() != Some(&text) {
            self.history.push(text.clone());
        }
        if self.history.len() > HISTORY {
            self.history.remove(0);
        }
        text
    }

    fn left_of(&self, at: usize) -> usize {
        self.text[..at].grapheme_indices(true).next_back().map_or(0, |(i, _)| i)
    }

    fn right_of(&self, at: usize) -> usize {
        self.text[at..].graphemes(true).next().map_or(at, |g| at + g.len())
    }

    fn line_start(&self) -> usize {
        self.text[..self.at].rfind('\n').map_or(0, |i| i + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.at..].find('\n').map_or(self.text.len(), |i| self.at + i)
    }

    /// One character left.
    pub fn left(&mut self) {
        self.at = self.left_of(self.at);
    }

    /// One character right.
    pub fn right(&mut self) {
        self.at = self.right_of(self.at);
    }

    /// To the line's start.
    pub fn home(&mut self) {
        self.at = self.line_start();
    }

    /// To the line's end.
    pub fn end(&mut self) {
        self.at = self.line_end();
    }

    /// Deletes the character before the caret.
    pub fn backspace(&mut self) {
        let from = self.left_of(self.at);
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    /// Deletes the character under the caret.
    pub fn delete(&mut self) {
        let to = self.right_of(self.at);
        self.text.replace_range(self.at..to, "");
    }

    /// Deletes from the line's start to the caret.
    pub fn kill_before(&mut self) {
        let from = self.line_start();
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    /// Deletes from the caret to the line's end.
    pub fn kill_after(&mut self) {
        let to = self.line_end();
        self.text.replace_range(self.at..to, "");
    }

    /// Deletes the word before the caret.
    pub fn kill_word(&mut self) {
        let before = &self.text[..self.at];
        let from = before.unicode_word_indices().next_back().map_or(0, |(i, _)| i);
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    /// Shows the previous text of the history.
    pub fn older(&mut self) {
        let index = match self.browsing {
            Some(0) => return,
            Some(index) => index - 1,
            None if self.history.is_empty() => return,
            None => {
                self.draft.clone_from(&self.text);
                self.history.len() - 1
            }
        };
        self.show(Some(index));
    }

    /// Shows the next text of the history; after the newest, the draft.
    pub fn newer(&mut self) {
        match self.browsing {
            Some(index) if index + 1 < self.history.len() => self.show(Some(index + 1)),
            Some(_) => self.show(None),
            None => {}
        }
    }

    fn show(&mut self, index: Option<usize>) {
        self.browsing = index;
        self.text = index.map_or_else(|| std::mem::take(&mut self.draft), |i| self.history[i].clone());
        self.at = self.text.len();
    }

    /// Moves one row up in rows of `cells` cells; from the first row, to the start.
    pub fn up(&mut self, cells: usize) {
        let (_, (row, column)) = self.layout(cells);
        self.at = if row == 0 { 0 } else { self.place(cells, row - 1, column) };
    }

    /// Moves one row down; from the last row, to the end.
    pub fn down(&mut self, cells: usize) {
        let (rows, (row, column)) = self.layout(cells);
        self.at = if row + 1 >= rows.len() { self.text.len() } else { self.place(cells, row + 1, column) };
    }

    /// The last position in a row that is not beyond `column`.
    fn place(&self, cells: usize, row: usize, column: usize) -> usize {
        let mut found = self.at;
        self.walk(cells, |at, place| {
            if place.0 == row && place.1 <= column {
                found = at;
            }
        });
        found
    }

    /// Rows of at most `cells` cells, and the caret's row and column.
    pub fn layout(&self, cells: usize) -> (Vec<String>, (usize, usize)) {
        let (mut rows, mut caret) = (Vec::new(), (0, 0));
        self.walk(cells, |at, (row, column)| {
            rows.resize(row + 1, String::new());
            if let Some(grapheme) = self.text[at..].graphemes(true).next().filter(|g| *g != "\n") {
                rows[row].push_str(grapheme);
            }
            if at == self.at {
                caret = (row, column);
            }
        });
        (rows, caret)
    }

    /// Visits every caret position with its row and column.
    fn walk(&self, cells: usize, mut visit: impl FnMut(usize, (usize, usize))) {
        let cells = cells.max(2);
        let (mut row, mut used) = (0, 0);
        for (at, grapheme) in self.text.grapheme_indices(true) {
            let wide = if grapheme == "\n" { 0 } else { grapheme.width() };
            if used + wide > cells {
                (row, used) = (row + 1, 0);
            }
            visit(at, (row, used));
            if grapheme == "\n" {
                (row, used) = (row + 1, 0);
            } else {
                used += wide;
            }
        }
        if used >= cells {
            (row, used) = (row + 1, 0);
        }
        visit(self.text.len(), (row, used));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn the_caret_counts_cells() {
        assert_eq!(with("春眠不觉晓").layout(40), (vec!["春眠不觉晓".to_owned()], (0, 10)));
        let mut editor = with("春眠不觉晓");
        assert_eq!(editor.layout(5), (vec!["春眠".into(), "不觉".into(), "晓".into()], (2, 2)));
        assert_eq!(editor.layout(2).1, (5, 0), "the caret stays inside the field");
        editor.home();
        assert_eq!(editor.layout(40).1, (0, 0));
        editor.right();
        assert_eq!(editor.layout(40).1, (0, 2));
    }

    #[test]
    fn rows_are_walked_by_cells() {
        let mut editor = with("春眠不觉晓\nab");
        assert_eq!(editor.layout(6), (vec!["春眠不".into(), "觉晓".into(), "ab".into()], (2, 2)));
        editor.up(6);
        assert_eq!(editor.layout(6).1, (1, 2));
        editor.up(6);
        editor.up(6);
        assert_eq!(editor.layout(6).1, (0, 0), "from the first row to the start");
        editor.end();
        editor.down(6);
        editor.down(6);
        assert_eq!(editor.layout(6).1, (2, 2), "from the last row to the end");
        let mut empty = Editor::default();
        empty.up(6);
        empty.down(6);
        assert_eq!(empty.layout(6), (vec![String::new()], (0, 0)));
    }

    #[test]
    fn editing_goes_by_graphemes() {
        let mut editor = with("ae\u{301}春");
        editor.backspace();
        editor.backspace();
        assert_eq!(editor.text(), "a");
        editor.insert("bc");
        editor.left();
        editor.delete();
        assert_eq!(editor.text(), "ab");
        editor.kill_before();
        assert_eq!(editor.text(), "");
        editor.backspace();
        editor.delete();
        editor.kill_word();
        assert!(editor.is_empty());
    }

    #[test]
    fn words_and_lines_are_killed() {
        let mut editor = with("one two\nthree four");
        editor.kill_word();
        assert_eq!(editor.text(), "one two\nthree ");
        editor.kill_before();
        assert_eq!(editor.text(), "one two\n");
        editor.left();
        editor.home();
        editor.kill_after();
        assert_eq!(editor.text(), "\n");
    }

    #[test]
    fn history_keeps_the_draft() {
        let mut editor = with("一");
        editor.take();
        editor.insert("二");
        editor.take();
        editor.insert("草稿");
        editor.older();
        editor.older();
        editor.older();
        assert_eq!(editor.text(), "一");
        editor.newer();
        editor.newer();
        assert_eq!(editor.text(), "草稿");
    }

    #[test]
    fn pasted_controls_are_seen_and_the_length_has_a_bound() {
        assert_eq!(with("a\x1b[2Jb\r\nc").text(), "a␛[2Jb\nc");
        let mut editor = Editor::default();
        for _ in 0..10 {
            editor.insert(&"春".repeat(3000));
        }
        assert!(editor.text().len() <= LONGEST);
    }
}
