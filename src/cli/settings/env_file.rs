//! The env file of the old scripts: shell assignments, read without a shell.
//!
//! `export`, quotes and comments are understood; nothing is expanded or executed.

use std::path::Path;

use crate::error::{Error, Result};

/// One assignment.
#[derive(Debug, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    pub value: String,
    pub line: usize,
}

/// All assignments in their order; the last of a name counts, as in a shell.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Assignment>> {
    let mut found = Vec::new();
    let mut rest = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    while !rest.is_empty() {
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let wrong = |what: &str| {
            Error::usage(format!("{}:{line}: {what}", path.display())).hint(
                "an env file has lines such as NAME=value or export NAME='two words'; \
                 nothing in it is executed.",
            )
        };
        let start = rest.trim_start_matches([' ', '\t', '\r']);
        if start.is_empty() || start.starts_with(['\n', '#']) {
            rest = behind_line(start);
            continue;
        }
        let assignment = match start.strip_prefix("export") {
            Some(behind) if behind.starts_with([' ', '\t']) => {
                behind.trim_start_matches([' ', '\t'])
            }
            _ => start,
        };
        let (name, behind) = assignment
            .split_once('=')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| wrong("not an assignment"))?;
        let (value, behind) = value(behind).ok_or_else(|| wrong("a quote isn't closed"))?;
        let remainder = behind.split('\n').next().unwrap_or_default().trim();
        if !remainder.is_empty() && !remainder.starts_with('#') {
            return Err(wrong(
                "words behind the value: quote a value that has spaces",
            ));
        }
        found.push(Assignment {
            name: name.to_owned(),
            value,
            line,
        });
        rest = behind_line(behind);
    }
    Ok(found)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn behind_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, behind)| behind)
}

/// The value at the start of `text` and what follows it; None where a quote isn't closed.
fn value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => return Some((value, &text[at..])),
            '\'' => loop {
                match chars.next()?.1 {
                    '\'' => break,
                    c => value.push(c),
                }
            },
            '"' => loop {
                match chars.next()?.1 {
                    '"' => break,
                    '\\' => match chars.next()?.1 {
                        c @ ('"' | '\\' | '$' | '`') => value.push(c),
                        '\n' => {}
                        c => value.extend(['\\', c]),
                    },
                    c => value.push(c),
                }
            },
            '\\' => match chars.next()?.1 {
                '\n' => {}
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    Some((value, ""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_shells_accept_without_expanding() {
        for (text, expected) in [
            ("A=b", vec![("A", "b", 1)]),
            (
                "# c\n\n  A=b # why\r\nB='x # y'\n",
                vec![("A", "b", 3), ("B", "x # y", 4)],
            ),
            (
                "export A=\"b \\\"c\\\" \\$d \\n\"",
                vec![("A", "b \"c\" $d \\n", 1)],
            ),
            ("\texport  A=a'b c'\"d\"\\ e", vec![("A", "ab cd e", 1)]),
            (
                "A='two\nlines'\nB=$HOME/`x`#y",
                vec![("A", "two\nlines", 1), ("B", "$HOME/`x`#y", 3)],
            ),
            ("A=\nexport_me=1", vec![("A", "", 1), ("export_me", "1", 2)]),
            ("\u{FEFF}A=ü", vec![("A", "ü", 1)]),
        ] {
            let found = parse(Path::new("x.env"), text).unwrap();
            let found: Vec<_> = found
                .iter()
                .map(|a| (a.name.as_str(), a.value.as_str(), a.line))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_refused_with_its_line() {
        for (text, message) in [
            ("A=b\nset -a", "x.env:2: not an assignment"),
            ("A = b", "x.env:1: not an assignment"),
            ("1A=b", "x.env:1: not an assignment"),
            ("\nA='b\nB=c", "x.env:2: a quote isn't closed"),
            ("A=b c", "x.env:1: words behind the value"),
        ] {
            let error = parse(Path::new("x.env"), text).unwrap_err();
            assert!(error.message().starts_with(message), "{text}: {error}");
        }
    }
}
