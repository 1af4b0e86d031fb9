//! Documents, the unit of reading, holding out and shuffling, and named sources of documents.

/// A text, optionally with a first line that only names it (a poem's title and poet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    text: String,
    body: usize,
}

impl Document {
    /// A plain text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), body: 0 }
    }

    /// A poem: "春晓　孟浩然" (ideographic space) on the first line, then the body.
    pub fn poem(title: &str, author: &str, body: &str) -> Self {
        let mut text = String::with_capacity(title.len() + author.len() + body.len() + 4);
        text.push_str(title);
        text.push('\u{3000}');
        text.push_str(author);
        text.push('\n');
        let start = text.len();
        text.push_str(body);
        Self { text, body: start }
    }

    /// The document with head and body each mapped by a function.
    pub fn mapped<E>(&self, mut by: impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        let mut text = if self.body == 0 { String::new() } else { by(self.head())? };
        let body = text.len();
        text.push_str(&by(self.body())?);
        Ok(Self { text, body })
    }

    /// The whole text, including the head.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line that names the document, with its line break; empty if there is none.
    pub fn head(&self) -> &str {
        &self.text[..self.body]
    }

    /// Whether it is a Chinese poem, whose lines are joined.
    pub fn is_joined_verse(&self) -> bool {
        self.body > 0 && mostly_han(self.body())
    }

    /// The text without its head.
    pub fn body(&self) -> &str {
        &self.text[self.body..]
    }
}

/// A named set of documents.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its documents.
    pub documents: Vec<Document>,
    /// Its share of drawn tokens, relative to the other sources' weights.
    pub weight: f64,
    /// Whether some documents may be held out; `false` where all are to be memorised.
    pub hold_out: bool,
}

/// Whether most letters of a text are Han characters.
pub(crate) fn mostly_han(text: &str) -> bool {
    let (mut han, mut letters) = (0_usize, 0_usize);
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        letters += 1;
        han += usize::from(is_han(c));
    }
    han * 2 > letters
}

/// Whether a character is a Han ideograph (the unified blocks, and 〇).
pub fn is_han(c: char) -> bool {
    matches!(c, '\u{3007}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poem_keeps_its_head_apart() {
        let poem = Document::poem("春晓", "孟浩然", "春眠不觉晓，处处闻啼鸟。");
        assert_eq!(poem.text(), "春晓　孟浩然\n春眠不觉晓，处处闻啼鸟。");
        assert_eq!(poem.head(), "春晓　孟浩然\n");
        assert_eq!(poem.body(), "春眠不觉晓，处处闻啼鸟。");
    }
}
