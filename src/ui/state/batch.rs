//! A batch as it was trained on: tokens flowing as text, row by row, and the token under the cursor.

use crate::protocol::{BatchView, TokenView};
use crate::ui::text::{Clean, width};

/// Displayed rows of a batch.
const ROWS: usize = 64;
/// Most tokens between the start of a turn and the end of its role.
const ROLE: usize = 12;
/// Probabilities that separate the heat levels of a token's loss, likeliest first.
pub const LIKELY: [f64; 4] = [0.6, 0.2, 0.05, 0.01];

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// As the trainer spells it.
    pub text: Clean,
    /// The text as displayed; special tokens are shortened.
    pub shown: Clean,
    /// Whether it belongs to the template.
    pub special: bool,
    /// Whether it is a target.
    pub trained: bool,
    /// Its −ln p, if it is a target.
    pub loss: Option<f32>,
    /// Whether it is the first token of an example.
    pub first: bool,
}

impl Token {
    /// Its heat level by loss: 0 is likely, 4 a surprise. None if it is not a target.
    pub fn heat(&self) -> Option<usize> {
        let p = f64::from(-self.loss.filter(|_| self.trained)?).exp();
        Some(LIKELY.iter().take_while(|least| p.is_nan() || p < **least).count())
    }
}

/// A row and its source.
#[derive(Clone, Debug)]
pub struct Row {
    /// The source, as the trainer names it.
    pub raw: String,
    /// The source, cleaned.
    pub source: Clean,
    /// Its tokens without padding.
    pub tokens: Vec<Token>,
}

/// A batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The step it belongs to.
    pub step: usize,
    /// Its rows.
    pub rows: Vec<Row>,
    /// Rows that are not included.
    pub more: usize,
}

/// The position of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// The row.
    pub row: usize,
    /// The token's index in the row.
    pub token: usize,
}

/// `<|im_end|>` as `end`; other special tokens by their names.
pub(super) fn special(text: &str) -> Option<String> {
    let name = text.strip_prefix("<|").and_then(|t| t.strip_suffix("|>"))?;
    Some(match name {
        "im_start" => "‹".to_owned(),
        "im_end" => "‹end›".to_owned(),
        "endoftext" => "‹eot›".to_owned(),
        name => format!("‹{name}›"),
    })
}

/// The byte of a token `<0xNN>`.
fn byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// The tokens with the bytes of each character as one: its losses are added.
fn joined(tokens: &[TokenView]) -> Vec<TokenView> {
    let mut all = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let bytes: Vec<u8> = tokens[at..].iter().take(4).map_while(|t| byte(&t.text)).collect();
        let whole = (2..=bytes.len())
            .find(|n| std::str::from_utf8(&bytes[..*n]).is_ok() && tokens[at + 1..at + n].iter().all(|t| !t.first));
        let Some(n) = whole else {
            all.push(tokens[at].clone());
            at += 1;
            continue;
        };
        let parts = &tokens[at..at + n];
        let losses: Option<Vec<f32>> = parts.iter().map(|t| t.loss).collect();
        all.push(TokenView {
            text: String::from_utf8_lossy(&bytes[..n]).into_owned(),
            trained: parts.iter().all(|t| t.trained),
            loss: losses.map(|losses| losses.iter().sum()),
            first: parts[0].first,
        });
        at += n;
    }
    all
}

/// Whether a line may break between two tokens.
fn may_break(before: &Token, after: &Token) -> bool {
    let (Some(last), Some(first)) = (before.shown.chars().next_back(), after.shown.chars().next()) else { return true };
    let in_a_word = last.is_ascii_alphanumeric() && first.is_ascii_alphanumeric();
    let closes = "›，。、；：？！）》」』】”’…,.;:?!)".contains(first);
    !in_a_word && !closes && last != '‹'
}

impl Batch {
    /// Cleans a batch and shortens the template's tokens.
    pub fn new(view: &BatchView) -> Batch {
        let rows = view.rows.iter().take(ROWS).map(|(source, tokens)| {
            // The opening of a turn is shown as `‹user›`: the role is between the opening token and the end of the
            // line.
            let mut opening = 0;
            let mut shown_tokens = Vec::with_capacity(tokens.len());
            for token in &joined(tokens) {
                let mut shown = special(&token.text);
                if token.text == "<|im_start|>" {
                    opening = ROLE;
                } else if opening > 0 {
                    opening -= 1;
                    let role = token.text.strip_suffix('\n');
                    if shown.is_some() || token.trained {
                        opening = 0;
                    } else if let Some(role) = role {
                        shown = Some(format!("{role}›"));
                        opening = 0;
                    } else {
                        shown = Some(token.text.clone());
                    }
                }
                let special = shown.is_some();
                let text = Clean::line(&token.text);
                let shown = shown.map_or_else(|| text.clone(), |s| Clean::line(&s));
                let (trained, loss, first) = (token.trained, token.loss, token.first);
                shown_tokens.push(Token { text, shown, special, trained, loss, first });
            }
            Row { raw: source.clone(), source: Clean::line(source), tokens: shown_tokens }
        });
        Batch { step: view.step, rows: rows.collect(), more: view.rows.len().saturating_sub(ROWS) }
    }

    /// The token at a position.
    pub fn token(&self, spot: Spot) -> Option<&Token> {
        self.rows.get(spot.row)?.tokens.get(spot.token)
    }

    /// The nearest valid position.
    pub fn nearest(&self, spot: Spot) -> Spot {
        let row = spot.row.min(self.rows.len().saturating_sub(1));
        let last = self.rows.get(row).map_or(0, |r| r.tokens.len().saturating_sub(1));
        Spot { row, token: spot.token.min(last) }
    }

    /// Lines of a row in `cells` cells, as ranges of tokens. Words stay whole where possible, and no line begins with
    /// closing punctuation.
    pub fn lines(&self, row: usize, cells: usize) -> Vec<std::ops::Range<usize>> {
        let Some(row) = self.rows.get(row) else { return Vec::new() };
        let wide = |at: usize| width(&row.tokens[at].shown).min(cells);
        let mut lines = Vec::new();
        // Start of the line, cells used, and the last position where it may break.
        let (mut from, mut used, mut soft) = (0, 0, 0);
        for at in 0..row.tokens.len() {
            if at > from && row.tokens[at].first {
                lines.push(from..at);
                (from, used, soft) = (at, 0, at);
            } else if at > from && may_break(&row.tokens[at - 1], &row.tokens[at]) {
                soft = at;
            }
            if at > from && used + wide(at) > cells {
                let next = if soft > from { soft } else { at };
                lines.push(from..next);
                from = next;
                used = (from..at).map(wide).sum();
                soft = from;
            }
            used += wide(at);
        }
        if from < row.tokens.len() {
            lines.push(from..row.tokens.len());
        }
        lines
    }

    /// The next or previous token.
    pub fn beside(&self, spot: Spot, on: bool) -> Spot {
        let Spot { row, token } = self.nearest(spot);
        let last = |row: usize| self.rows.get(row).map_or(0, |r| r.tokens.len().saturating_sub(1));
        match on {
            true if token < last(row) => Spot { row, token: token + 1 },
            true if row + 1 < self.rows.len() => Spot { row: row + 1, token: 0 },
            false if token > 0 => Spot { row, token: token - 1 },
            false if row > 0 => Spot { row: row - 1, token: last(row - 1) },
            _ => Spot { row, token },
        }
    }

    /// The token below or above in lines of `cells` cells.
    pub fn below(&self, spot: Spot, on: bool, cells: usize) -> Spot {
        let spot = self.nearest(spot);
        let lines = self.lines(spot.row, cells);
        let Some(at) = lines.iter().position(|l| l.contains(&spot.token)) else { return spot };
        let column = |row: usize, tokens: std::ops::Range<usize>| -> usize {
            self.rows[row].tokens[tokens].iter().map(|t| width(&t.shown)).sum()
        };
        let wanted = column(spot.row, lines[at].start..spot.token);
        let (row, line) = match on {
            true if at + 1 < lines.len() => (spot.row, lines[at + 1].clone()),
            true if spot.row + 1 < self.rows.len() => {
                (spot.row + 1, self.lines(spot.row + 1, cells).first().cloned().unwrap_or(0..0))
            }
            false if at > 0 => (spot.row, lines[at - 1].clone()),
            false if spot.row > 0 => (spot.row - 1, self.lines(spot.row - 1, cells).last().cloned().unwrap_or(0..0)),
            _ => return spot,
        };
        let token = line.clone().rev().find(|t| column(row, line.start..*t) <= wanted).unwrap_or(line.start);
        Spot { row, token }
    }

    /// The first or last token of the row.
    pub fn edge(&self, spot: Spot, last: bool) -> Spot {
        self.nearest(Spot { token: if last { usize::MAX } else { 0 }, ..spot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(texts: &[&str]) -> Batch {
        let tokens = texts
            .iter()
            .enumerate()
            .map(|(at, text)| TokenView {
                text: (*text).to_owned(),
                trained: at > 5,
                loss: (at > 5).then_some(at as f32 / 3.0),
                first: at == 0,
            })
            .collect();
        Batch::new(&BatchView { step: 1, rows: vec![("qa".to_owned(), tokens)] })
    }

    #[test]
    fn the_bytes_of_a_character_are_one_token() {
        let token =
            |text: &str, loss: f32| TokenView { text: text.to_owned(), trained: true, loss: Some(loss), first: false };
        let tokens =
            [token("刺", 1.0), token("<0xE7>", 2.0), token("<0x8C>", 0.5), token("<0xAC>", 0.25), token("<0xE7>", 1.0)];
        let batch = Batch::new(&BatchView { step: 1, rows: vec![("a".to_owned(), tokens.to_vec())] });
        let seen: Vec<_> = batch.rows[0].tokens.iter().map(|t| (t.text.as_str(), t.loss)).collect();
        assert_eq!(seen, [("刺", Some(1.0)), ("猬", Some(2.75)), ("<0xE7>", Some(1.0))]);
    }

    #[test]
    fn a_turns_opening_reads_as_one_word() {
        let batch = view(&["<|im_start|>", "us", "er", "\n", "早", "<|im_end|>", "\n", "<|custom|>"]);
        let shown: Vec<&str> = batch.rows[0].tokens.iter().map(|t| t.shown.as_str()).collect();
        assert_eq!(shown, ["‹", "us", "er", "›", "早", "‹end›", "␊", "‹custom›"]);
        assert!(batch.rows[0].tokens[..4].iter().all(|t| t.special) && !batch.rows[0].tokens[4].special);
        let merged = view(&["<|im_start|>", "user\n", "早"]);
        assert_eq!(merged.rows[0].tokens[1].shown.as_str(), "user›");
    }

    #[test]
    fn loss_has_five_steps_and_none_where_nothing_is_learned() {
        let token = |loss: f32| Token {
            text: Clean::default(),
            shown: Clean::default(),
            special: false,
            trained: true,
            loss: Some(loss),
            first: false,
        };
        for (loss, heat) in [(0.0, 0), (0.5, 0), (1.0, 1), (2.0, 2), (4.0, 3), (9.0, 4), (f32::NAN, 4)] {
            assert_eq!(token(loss).heat(), Some(heat), "{loss}");
        }
        assert_eq!(Token { trained: false, ..token(1.0) }.heat(), None);
    }

    #[test]
    fn the_cursor_walks_tokens_and_lines() {
        let batch = view(&["春", "眠", "不", "觉", "晓", "，"]);
        assert_eq!(batch.lines(0, 6), [0..3, 3..6]);
        assert_eq!(batch.lines(0, 10), [0..4, 4..6], "a comma begins no line");
        assert_eq!(view(&["我", "a", "b", "c"]).lines(0, 4), [0..1, 1..4], "a word stays whole");
        assert_eq!(view(&["a", "b", "c", "d", "e", "f"]).lines(0, 4), [0..4, 4..6], "if it fits");
        let at = |token| Spot { row: 0, token };
        assert_eq!(batch.below(at(1), true, 6), at(4));
        assert_eq!(batch.below(at(4), false, 6), at(1));
        assert_eq!(batch.below(at(4), true, 6), at(4));
        assert_eq!(batch.beside(at(5), true), at(5));
        assert_eq!(batch.beside(at(0), false), at(0));
        assert_eq!(batch.beside(at(2), true), at(3));
        assert_eq!(batch.edge(at(2), true), at(5));
        assert_eq!(Batch::new(&BatchView { step: 0, rows: Vec::new() }).beside(at(3), true), at(0));
    }
}
