//! What a dump is asked for, and how pg_dump is told.

use super::class::ClassWish;
use crate::{
    error::{Error, Result},
    repo::{
        codec::{Codec, Compression},
        dump::RowCounts,
        dump_name::{DumpFormat, DumpPrefix, PathFormat},
    },
};

/// Which databases. Names may be patterns with `*` and `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// None: all of them.
    pub names: Vec<String>,
    pub exclude: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    All,
    Schema,
    Data,
}

/// What of each database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub content: Content,
    /// Patterns as pg_dump takes them.
    pub tables: Vec<String>,
    pub exclude_tables: Vec<String>,
    pub schemas: Vec<String>,
    pub exclude_schemas: Vec<String>,
    /// Options of pg_dump that are none of ours.
    pub further: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub choice: Choice,
    pub selection: Selection,
    /// Roles and tablespaces, too.
    pub globals: bool,
    pub class: ClassWish,
    pub format: DumpFormat,
    /// Of plain dumps and of globals.
    pub compression: Compression,
    /// pg_dump's own, of the other formats; None: its default.
    pub level: Option<u32>,
    /// Workers of pg_dump, for the directory format.
    pub jobs: usize,
    pub row_counts: RowCounts,
    /// Read what was stored once more before it counts.
    pub reread: bool,
    pub path: PathFormat,
    pub prefix: DumpPrefix,
}

impl Request {
    /// Refuses what pg_dump would do in another way than we think.
    pub fn check(&self) -> Result<()> {
        for (at, option) in self.selection.further.iter().enumerate() {
            if at == 0 && !option.starts_with('-') {
                return Err(
                    Error::usage(format!("not an option of pg_dump: {option:?}"))
                        .hint("name databases before `--`, and options of pg_dump behind it."),
                );
            }
            if let Some(ours) = takes_over(option, self.format) {
                return Err(Error::usage(format!(
                    "{option} can't be given to pg_dump: {ours} is pgstow's business"
                ))
                .hint("use pgstow's own options and settings for it."));
            }
        }
        Ok(())
    }

    /// How the object is compressed by us.
    pub fn own_compression(&self) -> Compression {
        match self.format {
            DumpFormat::Plain => self.compression,
            _ => Compression {
                codec: Codec::None,
                level: 0,
            },
        }
    }

    /// pg_dump's options but for the connection and the snapshot.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec![format!("--format={}", self.format)];
        options.extend(match (self.format, self.level) {
            // Plain SQL that a pg_dump of 16 would compress by itself if it were told a level.
            (DumpFormat::Plain | DumpFormat::Tar, _) | (_, None) => None,
            (_, Some(level)) => Some(format!("--compress={level}")),
        });
        options.extend(self.selection.options());
        options
    }
}

impl Selection {
    /// Whether nothing of a database is left out.
    pub fn is_all(&self) -> bool {
        self.options().is_empty()
    }

    pub fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        match self.content {
            Content::All => {}
            Content::Schema => options.push("--schema-only".to_owned()),
            Content::Data => options.push("--data-only".to_owned()),
        }
        for (option, patterns) in [
            ("--table", &self.tables),
            ("--exclude-table", &self.exclude_tables),
            ("--schema", &self.schemas),
            ("--exclude-schema", &self.exclude_schemas),
        ] {
            options.extend(patterns.iter().map(|pattern| format!("{option}={pattern}")));
        }
        options.extend(self.further.iter().cloned());
        options
    }
}

/// Long options of pg_dump that would lead it elsewhere, and their short forms
/// (`long_options` in `src/bin/pg_dump/pg_dump.c`).
const OURS: [(&str, char); 13] = [
    ("dbname", 'd'),
    ("file", 'f'),
    ("format", 'F'),
    ("help", '?'),
    ("host", 'h'),
    ("jobs", 'j'),
    ("password", 'W'),
    ("port", 'p'),
    // Such a transaction can't take over a snapshot.
    ("serializable-deferrable", '\0'),
    ("snapshot", '\0'),
    ("username", 'U'),
    ("version", 'V'),
    ("no-password", 'w'),
];

/// Short options that take no value: others may follow in the same word.
const FLAGS: &str = "abBcCORsvxwW?V";

/// The option of ours that `word` is, if it is one; getopt_long takes any beginning of a name for it.
fn takes_over(word: &str, format: DumpFormat) -> Option<String> {
    // Whoever reads the object goes by its name's ending; a script goes into a database that somebody chose.
    let of_scripts = [("compress", 'Z'), ("clean", 'c'), ("create", 'C')];
    let ours = OURS.iter().chain(match format {
        DumpFormat::Plain => &of_scripts[..],
        DumpFormat::Tar => &of_scripts[..1],
        DumpFormat::Custom | DumpFormat::Directory => &[],
    });
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or(long);
        let mut found = ours.filter(|(ours, _)| !name.is_empty() && ours.starts_with(name));
        return found.next().map(|(name, _)| format!("--{name}"));
    }
    let letters = word.strip_prefix('-')?;
    let ours: Vec<char> = ours.map(|(_, short)| *short).collect();
    for letter in letters.chars() {
        if ours.contains(&letter) {
            return Some(format!("-{letter}"));
        }
        if !FLAGS.contains(letter) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_would_lead_pg_dump_elsewhere_are_seen() {
        for (word, ours) in [
            ("--file=x", Some("--file")),
            ("--fil", Some("--file")),
            ("-fx", Some("-f")),
            ("-vFp", Some("-F")),
            ("-tf", None),
            ("--filter=x", None),
            ("--no-owner", None),
            ("--host", Some("--host")),
            ("-h", Some("-h")),
            ("--snapshot=x", Some("--snapshot")),
            ("--serial", Some("--serializable-deferrable")),
            ("--section=data", None),
            ("--compress=9", None),
            ("--", None),
            ("x", None),
        ] {
            assert_eq!(
                takes_over(word, DumpFormat::Custom).as_deref(),
                ours,
                "{word}"
            );
        }
        for (word, plain, tar) in [
            ("-Z9", Some("-Z"), Some("-Z")),
            ("-C", Some("-C"), None),
            ("--cle", Some("--clean"), None),
            ("--create", Some("--create"), None),
            ("--column-inserts", None, None),
        ] {
            assert_eq!(
                takes_over(word, DumpFormat::Plain).as_deref(),
                plain,
                "{word}"
            );
            assert_eq!(takes_over(word, DumpFormat::Tar).as_deref(), tar, "{word}");
        }
    }
}
