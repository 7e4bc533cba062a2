//! What the restored databases hold, and what in them is wrong by itself: indexes and foreign keys that are not in
//! force, sequences that are behind, extensions whose libraries this host lacks.

use std::collections::BTreeMap;

use crate::{
    domain::logical::{
        census,
        validate::{integrity, sequences},
    },
    error::{Error, Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, sql::identifier},
    repo::{
        document::FORMAT,
        drill::{Drilled, DrilledDatabase},
        dump::{DumpTable, RowCounts},
        verified::{CheckState, VerifiedCheck},
    },
    util::{cancel::Cancel, process::NO_LIMIT},
};

use super::session;

/// Tables that are asked for rows by one statement.
const AT_ONCE: usize = 50;

const SCHEMAS: &str = "SELECT nspname FROM pg_catalog.pg_namespace \
     WHERE left(nspname, 3) <> 'pg_' AND nspname <> 'information_schema' ORDER BY 1";

const SEQUENCES: &str = "SELECT count(*) FROM pg_catalog.pg_sequence";

/// Libraries of functions in C, which extensions bring.
const LIBRARIES: &str = "SELECT DISTINCT p.probin FROM pg_catalog.pg_proc p \
     JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
     WHERE l.lanname = 'c' AND p.probin IS NOT NULL ORDER BY 1";

/// What was seen.
pub struct Seen {
    pub held: Drilled,
    /// What could not be asked, or read.
    wrong: Vec<String>,
}

impl Seen {
    pub fn unreadable(&self) -> Option<VerifiedCheck> {
        match self.wrong.is_empty() {
            true => None,
            false => Some(VerifiedCheck::of(
                "contents",
                self.wrong.clone(),
                String::new(),
            )),
        }
    }
}

/// One check over all databases.
#[derive(Default)]
struct Merged {
    wrong: Vec<String>,
    fine: u64,
}

/// Looks at all databases.
pub fn look(info: &ConnInfo, cancel: &Cancel) -> Result<(Vec<VerifiedCheck>, Seen)> {
    let mut seen = Seen {
        held: Drilled {
            format: FORMAT,
            databases: BTreeMap::new(),
        },
        wrong: Vec::new(),
    };
    const NAMES: [&str; 4] = ["indexes", "foreign_keys", "sequences", "extensions"];
    let mut merged: [Merged; 4] = Default::default();
    let mut left_out = Vec::new();
    for database in session::databases(info, cancel)? {
        let info = info.clone().with_database(&database);
        match look_at(&info, &mut seen.wrong, &database, cancel) {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                seen.wrong
                    .push(format!("{database}: {}", error.in_one_line()));
                left_out.push(database);
            }
            Ok((held, checks)) => {
                for (merged, (wrong, fine)) in merged.iter_mut().zip(checks) {
                    let of_database = wrong.into_iter().map(|one| format!("{database}: {one}"));
                    merged.wrong.extend(of_database);
                    merged.fine += fine;
                }
                seen.held.databases.insert(database, held);
            }
        }
    }
    let words = [
        "indexes are valid",
        "foreign keys are validated",
        "sequences are not behind their columns",
        "libraries of extensions can be loaded",
    ];
    let checks = merged
        .into_iter()
        .zip(NAMES)
        .zip(words)
        .map(|((merged, name), words)| match left_out.is_empty() {
            // What nobody looked at is not well.
            false if merged.wrong.is_empty() => {
                let databases = left_out.join(", ");
                VerifiedCheck::skipped(name, format!("could not be looked at in {databases}"))
            }
            _ => VerifiedCheck::of(name, merged.wrong, format!("{} {words}", merged.fine)),
        });
    Ok((checks.collect(), seen))
}

/// What is wrong, and how much was looked at.
type Judged = (Vec<String>, u64);

fn look_at(
    info: &ConnInfo,
    wrong: &mut Vec<String>,
    database: &str,
    cancel: &Cancel,
) -> Result<(DrilledDatabase, [Judged; 4])> {
    const NOTHING: &str = "the restored cluster itself is looked at";
    let session = Session::connect(info, cancel)?;
    let (found, _) = session.with_limit(NO_LIMIT, |session| {
        census::look(session, None, RowCounts::None)
    })?;
    let texts = |sql: &str| -> Result<Vec<String>> {
        session
            .query_rows(sql, &[])?
            .iter()
            .map(|row| row.text(0))
            .collect()
    };
    let sequences: u64 = session.query_one(SEQUENCES, &[])?.parse(0)?;
    let libraries = texts(LIBRARIES)?;
    let judged = [
        (
            of(integrity::indexes(&session, Err(NOTHING), &found)?),
            found.counts.indexes,
        ),
        (
            of(integrity::foreign_keys(&session, Err(NOTHING), &found)?),
            found.counts.foreign_keys,
        ),
        (of(sequences::behind(&session)?), sequences),
        (not_loaded(&session, &libraries)?, libraries.len() as u64),
    ];
    let held = DrilledDatabase {
        schemas: texts(SCHEMAS)?,
        counts: found.counts,
        sequences,
        tables: filled(&session, &found.tables, |problem| {
            wrong.push(format!("{database}: {problem}"));
        })?,
        extensions: found.extensions,
    };
    Ok((held, judged))
}

fn of(check: VerifiedCheck) -> Vec<String> {
    match check.result {
        CheckState::Failed => check.details,
        CheckState::Passed | CheckState::Skipped => Vec::new(),
    }
}

/// Libraries that this host lacks, or that are of another PostgreSQL. One that must be loaded at the start is no
/// fault.
fn not_loaded(session: &Session, libraries: &[String]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for library in libraries {
        let name = library.replace('\'', "''");
        match session.execute(&format!("LOAD '{name}'"), &[]) {
            Ok(_) => {}
            Err(error) if is_over(&error) => return Err(error),
            Err(error) => {
                let told = error.in_one_line();
                if !told.contains("shared_preload_libraries") {
                    wrong.push(format!("{library}: {told}"));
                }
            }
        }
    }
    Ok(wrong)
}

/// Whether the session is of no use any more.
fn is_over(error: &Error) -> bool {
    matches!(error.kind(), Kind::Interrupted | Kind::TimedOut)
}

/// Whether each table with rows of its own has any.
fn filled(
    session: &Session,
    tables: &[DumpTable],
    mut unreadable: impl FnMut(String),
) -> Result<BTreeMap<String, bool>> {
    let mut filled = BTreeMap::new();
    let own = tables.iter().filter(|table| table.kind == "r");
    let own: Vec<&DumpTable> = own.collect();
    for own in own.chunks(AT_ONCE) {
        let named = |table: &&DumpTable| format!("{}.{}", table.schema, table.name);
        let names: Vec<String> = own.iter().map(named).collect();
        let asked = own.iter().map(|table| {
            let (schema, name) = (identifier(&table.schema), identifier(&table.name));
            format!("EXISTS (SELECT FROM ONLY {schema}.{name})")
        });
        let asked: Vec<String> = asked.collect();
        let sql = format!("SELECT {}", asked.join(", "));
        let answer = session.with_limit(NO_LIMIT, |session| session.query_one(&sql, &[]));
        match answer {
            Ok(row) => {
                for (number, name) in names.iter().enumerate() {
                    filled.insert(name.clone(), is_true(&row.text(number)?));
                }
            }
            Err(error) if is_over(&error) => return Err(error),
            // One of them can't be read: which?
            Err(_) => {
                for (name, asked) in names.iter().zip(&asked) {
                    let sql = format!("SELECT {asked}");
                    match session.with_limit(NO_LIMIT, |session| session.query_one(&sql, &[])) {
                        Ok(row) => {
                            filled.insert(name.clone(), is_true(&row.text(0)?));
                        }
                        Err(error) if is_over(&error) => return Err(error),
                        Err(error) => {
                            unreadable(format!("{name} can't be read: {}", error.in_one_line()));
                        }
                    }
                }
            }
        }
    }
    Ok(filled)
}

fn is_true(text: &str) -> bool {
    matches!(text, "t" | "true")
}
