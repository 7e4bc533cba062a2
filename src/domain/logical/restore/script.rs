//! What a plain dump says of itself, learned while it streams by: whether it is whole, which roles it
//! speaks of, and whether it would leave the database that it is restored into.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use super::lexer::Lexer;
use crate::repo::dump::DumpLocale;

/// What is looked at of a line: pg_dump's own are shorter.
const LONGEST: usize = 8192;

/// Roles beyond these are not remembered.
const MOST_ROLES: usize = 10_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// pg_dump's heading is there.
    pub of_pg_dump: bool,
    /// It holds roles and tablespaces, or all databases.
    pub of_pg_dumpall: bool,
    /// The last line that pg_dump or pg_dumpall writes is there.
    pub complete: bool,
    /// The first line that goes to another database.
    pub connects: Option<String>,
    pub encoding: Option<String>,
    /// Of the database that was dumped, as its description tells: it says no more of it than an encoding itself.
    pub locale: Option<DumpLocale>,
    /// Such as `15.19`.
    pub server_version: Option<String>,
    pub client_version: Option<String>,
    /// That tables are put into.
    pub tablespaces: BTreeSet<String>,
    /// That something is to belong to, or that are given rights: perhaps some more.
    pub roles: BTreeSet<String>,
}

impl Script {
    /// Cut off behind its heading.
    pub fn is_cut_off(&self) -> bool {
        (self.of_pg_dump || self.of_pg_dumpall) && !self.complete
    }

    /// `is_quoted`: it begins within a text, a name or a comment.
    fn line(&mut self, line: &str, is_quoted: bool) {
        let first = line.split(' ').next().unwrap_or_default();
        match first {
            "--" => self.comment(line),
            "\\connect" | "\\c" if self.connects.is_none() && !is_quoted => {
                self.connects = Some(line.chars().take(200).collect());
            }
            "SET" => {
                let encoding = line.strip_prefix("SET client_encoding = '");
                if let Some(encoding) = encoding.and_then(|rest| rest.strip_suffix("';"))
                    && self.encoding.is_none()
                {
                    self.encoding = Some(encoding.to_owned());
                }
                let tablespace = line.strip_prefix("SET default_tablespace = ");
                if let Some(name) = tablespace.and_then(|rest| rest.strip_suffix(';')) {
                    self.tablespace(name);
                }
            }
            "ALTER" | "GRANT" | "REVOKE" | "CREATE" => roles(line, &mut self.roles),
            _ => {}
        }
    }

    fn tablespace(&mut self, name: &str) {
        let name = match name
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_owned(),
        };
        if name != "''" && self.tablespaces.len() < MOST_ROLES {
            self.tablespaces.insert(name);
        }
    }

    fn comment(&mut self, line: &str) {
        let version = |begin| line.strip_prefix(begin).map(str::to_owned);
        match line {
            "-- PostgreSQL database dump" => self.of_pg_dump = true,
            "-- PostgreSQL database cluster dump" => self.of_pg_dumpall = true,
            "-- PostgreSQL database dump complete" => self.complete |= !self.of_pg_dumpall,
            "-- PostgreSQL database cluster dump complete" => self.complete = true,
            _ if self.server_version.is_none() || self.client_version.is_none() => {
                let server = version("-- Dumped from database version ");
                let client = version("-- Dumped by pg_dump version ");
                self.server_version = self.server_version.take().or(server);
                self.client_version = self.client_version.take().or(client);
            }
            _ => {}
        }
    }
}

/// Adds the roles that a statement of pg_dump speaks of: what follows `TO`, `FROM` and `FOR ROLE`.
pub fn roles(statement: &str, found: &mut BTreeSet<String>) {
    let mut words = Words(statement);
    let mut listing = false;
    let mut for_whom = false;
    while let Some(word) = words.next() {
        match word {
            Word::Plain("TO" | "FROM" | "BY") => listing = true,
            Word::Plain("FOR") => for_whom = true,
            Word::Plain("ROLE") if for_whom => listing = true,
            Word::Plain(word) if word.chars().any(|c| c.is_ascii_uppercase()) => {
                listing = false;
                for_whom = false;
            }
            Word::Comma => {}
            Word::Other => listing = false,
            Word::Plain(name) if listing && found.len() < MOST_ROLES => {
                found.insert(name.to_owned());
            }
            Word::Quoted(name) if listing && found.len() < MOST_ROLES => {
                found.insert(name);
            }
            Word::Plain(_) | Word::Quoted(_) => {}
        }
    }
}

enum Word<'a> {
    /// A key word, or a name that needs no quotes, which has no capitals.
    Plain(&'a str),
    Quoted(String),
    Comma,
    Other,
}

struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<Word<'a>> {
        self.0 = self.0.trim_start();
        let first = self.0.chars().next()?;
        if first == '"' {
            return Some(self.quoted());
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let end = self.0.find(|c| !is_word(c)).unwrap_or(self.0.len());
        if end > 0 {
            let (word, rest) = self.0.split_at(end);
            self.0 = rest;
            return Some(Word::Plain(word));
        }
        self.0 = &self.0[first.len_utf8()..];
        Some(if first == ',' {
            Word::Comma
        } else {
            Word::Other
        })
    }

    fn quoted(&mut self) -> Word<'a> {
        let mut name = String::new();
        let mut letters = self.0[1..].char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            if letter == '"' && letters.next_if(|(_, next)| *next == '"').is_none() {
                self.0 = &self.0[1 + at + 1..];
                return Word::Quoted(name);
            }
            name.push(letter);
        }
        self.0 = "";
        Word::Other
    }
}

/// Learns from what is written to it.
#[derive(Default)]
pub struct Scan {
    script: Script,
    /// The beginning of the present line.
    line: Vec<u8>,
    /// The end of the present line: the statement before rows may be longer.
    tail: Vec<u8>,
    /// Where the present line ends so far, and whether it began in quotes.
    lexer: Lexer,
    is_quoted: bool,
    /// Among rows: no line of them begins with a single backslash, but the last.
    in_rows: bool,
}

/// What ends a statement that rows follow.
const ROWS: &[u8] = b" FROM stdin;";

impl Scan {
    pub fn finish(mut self) -> Script {
        self.end_line();
        self.script
    }

    fn end_line(&mut self) {
        // Rows are most of it, and none of them is of interest.
        if matches!(
            self.line.first(),
            Some(b'-' | b'\\' | b'S' | b'A' | b'G' | b'R' | b'C')
        ) {
            let line = String::from_utf8_lossy(&self.line);
            self.script
                .line(line.trim_end_matches('\r'), self.is_quoted || self.in_rows);
        }
        if self
            .line
            .starts_with(b"SET standard_conforming_strings = off")
        {
            self.lexer.escapes = true;
        }
        self.in_rows = match self.in_rows {
            true => self.line != b"\\.",
            false => {
                !self.is_quoted && self.line.starts_with(b"COPY ") && self.tail.ends_with(ROWS)
            }
        };
        self.is_quoted = self.lexer.is_inside();
        self.line.clear();
        self.tail.clear();
    }

    /// Keeps as much of a line's end as is asked for.
    fn note_end(&mut self, text: &[u8]) {
        let from = text.len().saturating_sub(ROWS.len());
        self.tail.extend_from_slice(&text[from..]);
        let more = self.tail.len().saturating_sub(ROWS.len());
        self.tail.drain(..more);
    }
}

impl Write for Scan {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LONGEST - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if !self.in_rows {
                self.note_end(text);
                self.lexer.read(part);
            }
            if ends {
                self.end_line();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Script {
        // However it comes.
        let mut scan = Scan::default();
        for piece in text.as_bytes().chunks(3) {
            scan.write_all(piece).unwrap();
        }
        scan.finish()
    }

    #[test]
    fn a_dump_tells_of_itself() {
        let whole = "--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\n\
             -- Dumped from database version 15.19 (Debian)\n-- Dumped by pg_dump version 16.1\n\n\
             SET client_encoding = 'LATIN1';\nSET default_tablespace = '';\n\
             SET default_tablespace = \"a b\";\nCOPY public.t (x) FROM stdin;\n\\N\n\\\\connect y\n\\.\n\
             ALTER TABLE public.t OWNER TO \"o \"\"x\";\n--\n-- PostgreSQL database dump complete\n--\n";
        let script = scanned(whole);
        assert!(script.of_pg_dump && script.complete && !script.is_cut_off());
        assert_eq!(script.encoding.as_deref(), Some("LATIN1"));
        assert_eq!(script.server_version.as_deref(), Some("15.19 (Debian)"));
        assert_eq!(script.client_version.as_deref(), Some("16.1"));
        assert!(script.tablespaces.iter().eq(["a b"]));
        assert_eq!(script.connects, None);
        assert!(script.roles.contains("o \"x"), "{:?}", script.roles);
        let cut = scanned(&whole[..whole.len() - 10]);
        assert!(cut.is_cut_off());
        assert!(!scanned("SELECT 1;\n").is_cut_off());
        let quoted = "CREATE TABLE t (x text DEFAULT 'a\n\\connect b\n');\nCOPY t (x) FROM stdin;\nit's\n\\.\n\
             COMMENT ON TABLE t IS E'\\'\n\\connect c';\nCREATE FUNCTION f() AS $_$\n\\connect d\n$_$;\n";
        assert_eq!(scanned(quoted).connects, None);
        let behind = format!("{quoted}\\connect e\n");
        assert_eq!(scanned(&behind).connects.as_deref(), Some("\\connect e"));
        let script = scanned("\\connect -reuse-previous=on \"dbname='x'\"");
        assert!(script.connects.unwrap().starts_with("\\connect "));
        let all = "-- PostgreSQL database cluster dump\n-- PostgreSQL database dump complete\n";
        assert!(scanned(all).is_cut_off());
    }

    #[test]
    fn roles_of_statements() {
        for (statement, expected) in [
            ("ALTER TABLE public.t OWNER TO ann;", &["ann"][..]),
            (
                "GRANT SELECT,INSERT(\"TO x\") ON TABLE public.t TO ann WITH GRANT OPTION;",
                &["ann"],
            ),
            ("REVOKE ALL ON FUNCTION f() FROM PUBLIC;", &[]),
            (
                "CREATE POLICY p ON public.t TO ann, \"Bob C\" USING ((x = CURRENT_USER));",
                &["Bob C", "ann"],
            ),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE ann IN SCHEMA public GRANT SELECT ON TABLES TO bob;",
                &["ann", "bob"],
            ),
            ("GRANT ann TO bob GRANTED BY carl;", &["bob", "carl"]),
            ("ALTER TABLE \"", &[]),
        ] {
            let mut found = BTreeSet::new();
            roles(statement, &mut found);
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            assert_eq!(found, expected, "{statement}");
        }
    }
}
