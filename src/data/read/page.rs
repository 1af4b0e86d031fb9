//! Recognises web pages where a data file was expected: a login, a missing file, a server that is down.

/// What is known about a page.
pub(super) struct Page {
    /// Its title.
    pub title: Option<String>,
}

/// Longest title that is reported.
const LONGEST: usize = 80;

/// The page, if a text with this beginning is one.
pub(super) fn of(head: &[u8]) -> Option<Page> {
    let head = String::from_utf8_lossy(head);
    let opens = |text: &str, with: &str| text.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
    let start = head.trim_start();
    let lower = head.to_ascii_lowercase();
    // Object stores return errors as XML.
    if opens(start, "<?xml") && lower.contains("<error>") {
        return Some(Page { title: Some("access denied or not found".to_owned()) });
    }
    if !opens(start, "<!doctype html") && !opens(start, "<html") {
        return None;
    }
    let title = lower.find("<title").and_then(|at| {
        let from = at + lower[at..].find('>')? + 1;
        let to = from + lower[from..].find("</title")?;
        Some(head[from..to].split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect())
    });
    Some(Page { title })
}

impl Page {
    /// Whether its title indicates an error. Other pages may be text to learn from.
    pub(super) fn is_error(&self) -> bool {
        const WORDS: [&str; 12] = [
            "not found",
            "forbidden",
            "unauthorized",
            "access denied",
            "bad gateway",
            "unavailable",
            "gateway time",
            "too many requests",
            "internal server error",
            "just a moment",
            "sign in",
            "log in",
        ];
        let title = self.title.as_deref().unwrap_or_default().to_lowercase();
        let code = title
            .split(|c: char| !c.is_ascii_digit())
            .any(|n| n.len() == 3 && (n.starts_with('4') || n.starts_with('5')));
        code || WORDS.iter().any(|word| title.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_page_is_recognized() {
        let page = of(b"\n<!DOCTYPE HTML>\n<html><head><title>404  Not\nFound</title>").unwrap();
        assert!(page.is_error() && page.title.as_deref() == Some("404 Not Found"));
        assert!(!of("<html lang=\"zh\"><title>春晓</title><p>春眠不觉晓".as_bytes()).unwrap().is_error());
        assert!(of(b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>").unwrap().is_error());
        assert!(of(b"<?xml version=\"1.0\"?>\n<poem/>").is_none());
        assert!(of(b"A page begins with <html>.").is_none() && of(b"").is_none());
    }
}
