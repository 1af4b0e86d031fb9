//! A simple document of headings, lines and tables, as Markdown and as plain text for a terminal.

use unicode_width::UnicodeWidthStr;

use crate::base::clean::line;

/// A piece of a document.
#[derive(Clone, Debug)]
pub(super) enum Block {
    /// The title.
    Title(String),
    /// A heading.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A command to type.
    Command(String),
    /// A table: its header, and rows of the same length.
    Table(Vec<String>, Vec<Vec<String>>),
}

/// As Markdown. Names may come from a run's data, so markup in them is escaped.
pub(super) fn markdown(blocks: &[Block]) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|c| escaped(c)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let one = |block: &Block| match block {
        Block::Title(text) => format!("# {}\n", escaped(text)),
        Block::Heading(text) => format!("## {}\n", escaped(text)),
        Block::Text(text) => format!("{}\n", escaped(text)),
        Block::Command(text) => format!("```sh\n{}\n```\n", line(text)),
        Block::Table(head, rows) => {
            let rule = vec!["---".to_owned(); head.len()];
            let rule = format!("| {} |\n", rule.join(" | "));
            row(head) + &rule + &rows.iter().map(|r| row(r)).collect::<String>()
        }
    };
    blocks.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// For a terminal: no control characters, aligned columns (a Chinese character is two cells wide).
pub(super) fn plain(blocks: &[Block]) -> String {
    let one = |block: &Block| match block {
        Block::Title(text) | Block::Heading(text) | Block::Text(text) => format!("{}\n", line(text)),
        Block::Command(text) => format!("  {}\n", line(text)),
        Block::Table(head, rows) => {
            let all: Vec<Vec<String>> =
                [head].into_iter().chain(rows).map(|r| r.iter().map(|c| line(c)).collect()).collect();
            let wide = |at: usize| all.iter().filter_map(|r| r.get(at)).map(|c| c.width()).max().unwrap_or(0);
            let padded = |cells: &Vec<String>| {
                let cells = cells.iter().enumerate().map(|(at, cell)| {
                    let room = wide(at).saturating_sub(cell.width());
                    format!("{cell}{}", " ".repeat(room))
                });
                format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
            };
            all.iter().map(padded).collect()
        }
    };
    blocks.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in line(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '[' | ']' => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cells: [&str; 4]) -> Block {
        let [a, b, c, d] = cells.map(str::to_owned);
        Block::Table(vec![a, b], vec![vec![c, d]])
    }

    #[test]
    fn a_table_of_markdown_has_a_rule_under_its_head() {
        let text = markdown(&[Block::Title("T".to_owned()), table(["a", "b", "c", "d"])]);
        assert_eq!(text, "# T\n\n| a | b |\n| --- | --- |\n| c | d |\n");
    }

    #[test]
    fn names_out_of_data_are_no_markup() {
        let text = markdown(&[table(["a", "b", "x|y\n<b>", "`*`"])]);
        assert!(text.ends_with("| x\\|y␊&lt;b> | \\`\\*\\` |\n"), "{text}");
        let text = plain(&[table(["a", "b", "\x1b[31m", "d"])]);
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn columns_stand_under_one_another() {
        assert_eq!(plain(&[table(["阶段", "b", "c", "d"])]), "  阶段  b\n  c     d\n");
    }
}
