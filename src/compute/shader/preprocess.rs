//! The preprocessor of `shaders/`: imports, conditions, constants and textual repetition.
//!
//! `#import name` includes another file, once; `#ifdef X`, `#ifndef X`, `#else`, `#endif` select; `#for i in 0..4` …
//! `#endfor` repeats, with `${i}` in its body; `${NAME}` is a constant of the kernel's row. Repetition is textual
//! because WGSL cannot request loop unrolling, and an accumulator in an array need not be kept in a register. Anything
//! unknown is an error.

use super::sources::Sources;

/// Definitions: a constant has a value, a flag an empty one.
pub(super) type Define = (&'static str, &'static str);

/// Expanded WGSL.
#[derive(Debug, Default)]
pub(in crate::compute) struct Expanded {
    pub text: String,
    /// The files it consists of.
    files: Vec<String>,
    /// For each line its file and line number.
    lines: Vec<(usize, usize)>,
}

impl Expanded {
    /// WGSL that is not from a file.
    pub(in crate::compute) fn of(text: String) -> Expanded {
        Expanded { text, ..Expanded::default() }
    }

    /// The file and line of line `number` of the text, counted from 1.
    pub(in crate::compute) fn origin(&self, number: usize) -> Option<String> {
        let (file, line) = self.lines.get(number.checked_sub(1)?).filter(|(_, line)| *line > 0)?;
        Some(format!("{}:{line}", self.files.get(*file)?))
    }

    fn push(&mut self, line: &str, origin: (usize, usize)) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines.push(origin);
    }
}

/// Expands `source` with `defines`, after the lines of `head`.
pub(super) fn expand(sources: &Sources, source: &str, defines: &[Define], head: &str) -> Result<Expanded, String> {
    let mut state =
        Expansion { sources, defines, variables: Vec::new(), imported: Vec::new(), out: Expanded::default() };
    for line in head.lines() {
        state.out.push(line, (0, 0));
    }
    state.import(source, 0)?;
    Ok(state.out)
}

struct Expansion<'a> {
    sources: &'a Sources,
    defines: &'a [Define],
    /// Loop variables, innermost last.
    variables: Vec<(String, usize)>,
    imported: Vec<String>,
    out: Expanded,
}

/// A line and its number in the file.
type Line<'a> = (usize, &'a str);

impl Expansion<'_> {
    fn import(&mut self, name: &str, depth: usize) -> Result<(), String> {
        if self.imported.iter().any(|i| i == name) {
            return Ok(());
        }
        self.imported.push(name.to_owned());
        let (text, file) = self.sources.text(name)?;
        let lines: Vec<Line<'_>> = text.lines().enumerate().map(|(i, l)| (i + 1, l)).collect();
        self.out.files.push(file);
        self.run(self.out.files.len() - 1, &lines, depth)
    }

    fn run(&mut self, file: usize, lines: &[Line<'_>], depth: usize) -> Result<(), String> {
        if depth > 32 {
            return Err(format!("{}: nested too deeply", self.out.files[file]));
        }
        let mut at = 0;
        while let Some(&(number, line)) = lines.get(at) {
            let name = self.out.files[file].clone();
            let wrong = |what: String| format!("{name}:{number}: {what}");
            if !line.trim_start().starts_with('#') {
                let line = self.substitute(line).map_err(wrong)?;
                self.out.push(&line, (file, number));
                at += 1;
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match *words.as_slice() {
                ["#import", name] => {
                    let name = self.substitute(name).map_err(wrong)?;
                    self.import(&name, depth + 1)?;
                }
                [word @ ("#ifdef" | "#ifndef"), name] => {
                    let (middle, end) = matching(lines, at).map_err(wrong)?;
                    let defined = self.defines.iter().any(|(n, _)| *n == name);
                    let chosen =
                        if defined == (word == "#ifdef") { at + 1..middle } else { (middle + 1).min(end)..end };
                    self.run(file, &lines[chosen], depth + 1)?;
                    at = end;
                }
                ["#for", name, "in", range] => {
                    let (middle, end) = matching(lines, at).map_err(wrong)?;
                    if middle != end {
                        return Err(wrong("#else inside #for".into()));
                    }
                    let range = self.substitute(range).map_err(wrong)?;
                    let bounds = range.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                    let (first, last): (usize, usize) = bounds.ok_or_else(|| wrong(format!("{range} is no range")))?;
                    for i in first..last {
                        self.variables.push((name.to_owned(), i));
                        self.run(file, &lines[at + 1..end], depth + 1)?;
                        self.variables.pop();
                    }
                    at = end;
                }
                _ => return Err(wrong(format!("{} is not understood", line.trim()))),
            }
            at += 1;
        }
        Ok(())
    }

    fn substitute(&self, line: &str) -> Result<String, String> {
        let mut out = String::with_capacity(line.len());
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, after) = after.split_once('}').ok_or("${ without }")?;
            if let Some((_, i)) = self.variables.iter().rev().find(|(n, _)| n == name) {
                out.push_str(&i.to_string());
            } else {
                match self.defines.iter().find(|(n, _)| *n == name) {
                    Some((_, "")) => return Err(format!("{name} is a flag and has no value")),
                    Some((_, value)) => out.push_str(value),
                    None => return Err(format!("{name} is not defined")),
                }
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The positions of `#else` (or of the end, if there is none) and of the end of the block opened at `open`.
fn matching(lines: &[Line<'_>], open: usize) -> Result<(usize, usize), String> {
    let ends = |line: &str| if line.starts_with("#for") { "#endfor" } else { "#endif" };
    let mut stack = Vec::new();
    let mut middle = None;
    for (at, (_, line)) in lines.iter().enumerate().skip(open) {
        let line = line.trim();
        if line.starts_with("#if") || line.starts_with("#for") {
            stack.push(ends(line));
        } else if line == "#else" && stack.len() == 1 && middle.replace(at).is_some() {
            return Err("two #else in one block".into());
        } else if line == "#endif" || line == "#endfor" {
            if stack.pop() != Some(line) {
                return Err(format!("{line} ends another kind of block"));
            }
            if stack.is_empty() {
                return Ok((middle.unwrap_or(at), at));
            }
        }
    }
    Err("the block does not end".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, String> {
        let mut state = Expansion {
            sources: &Sources::default(),
            defines: &[("N", "3"), ("FLAG", "")],
            variables: Vec::new(),
            imported: Vec::new(),
            out: Expanded { files: vec!["test.wgsl".to_owned()], ..Expanded::default() },
        };
        let lines: Vec<Line<'_>> = text.lines().enumerate().map(|(i, l)| (i + 1, l)).collect();
        state.run(0, &lines, 0)?;
        Ok(state.out.text)
    }

    #[test]
    fn chooses_and_nests() {
        assert_eq!(run("#ifdef FLAG\na\n#else\nb\n#endif\nc").unwrap(), "a\nc\n");
        assert_eq!(run("#ifndef FLAG\na\n#ifdef N\nx\n#else\ny\n#endif\n#else\nb\n#endif").unwrap(), "b\n");
        assert_eq!(run("#ifdef OTHER\n${UNKNOWN}\n#endif").unwrap(), "", "what is left out is not read");
    }

    #[test]
    fn repeats_with_variables() {
        let text = "#for i in 0..2\n#for j in 1..${N}\nx${i}_${j}\n#endfor\n#endfor";
        assert_eq!(run(text).unwrap(), "x0_1\nx0_2\nx1_1\nx1_2\n");
        assert_eq!(run("#for i in 0..0\nx\n#endfor").unwrap(), "");
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        for text in [
            "${M}",
            "${FLAG}",
            "${N",
            "#define X",
            "#import nothing",
            "#ifdef",
            "#ifdef N",
            "#ifdef N\n#endfor",
            "#for i in 0..x\n#endfor",
            "#for i in 0..2\n#else\n#endfor",
            "#ifdef N\n#else\n#else\n#endif",
            "#endif",
        ] {
            assert!(run(text).is_err(), "{text}");
        }
        let error = run("a\n${M}").unwrap_err();
        assert_eq!(error, "test.wgsl:2: M is not defined");
    }

    #[test]
    fn lines_are_traced_to_their_files() {
        let all = expand(&Sources::default(), "elementwise", &[("SCALE", ""), ("ACT", "f32")], "enable f16;").unwrap();
        assert_eq!(all.origin(1), None, "of no file");
        let text = include_str!("../../../shaders/elementwise.wgsl");
        for (i, line) in all.text.lines().enumerate().skip(1) {
            let origin = all.origin(i + 1).unwrap();
            let (file, number) = origin.split_once(':').unwrap();
            assert_eq!(file, "shaders/elementwise.wgsl");
            let source = text.lines().nth(number.parse::<usize>().unwrap() - 1).unwrap();
            assert!(source.contains("${") || source == line, "{origin} is {source:?}, not {line:?}");
        }
    }
}
