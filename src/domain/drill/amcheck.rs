//! `pg_amcheck` on tables and their B-tree indexes, as many as a time limit allows, in a new order each time: in the
//! long run all of them.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    time::{Duration, Instant},
};

use super::session;
use crate::{
    error::{Kind, Result},
    postgres::{
        connection::Session,
        conninfo::{ConnInfo, Host},
        programs::Programs,
    },
    repo::{drill::Phase, stopwatch::Stopwatch, verified::VerifiedCheck},
    util::{
        cancel::Cancel,
        meter::Meter,
        process::{self, run_to_any_end},
        units,
    },
};

const NAME: &str = "amcheck";

/// Of one call: more tables would make its command line too long, more bytes would be lost at its end.
const TABLES: usize = 400;
const BYTES: u64 = 1 << 30;

/// pg_amcheck found something (`src/bin/pg_amcheck/pg_amcheck.c`).
const FOUND: i32 = 2;

/// Findings of it that are kept, and bytes of one.
const MOST: usize = 100;
const LONGEST: usize = 2000;

/// Tables and what is stored like them, with the bytes that looking at them and their indexes reads.
const TABLES_SQL: &str = "SELECT n.nspname, c.relname, pg_catalog.pg_total_relation_size(c.oid) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'";

const AVAILABLE: &str =
    "SELECT count(*) FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'";

struct Table {
    database: String,
    /// As a pattern that stands for this one alone.
    pattern: String,
    bytes: u64,
}

pub fn look(
    info: &ConnInfo,
    programs: &Programs,
    limit: Duration,
    jobs: usize,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<(VerifiedCheck, Option<Phase>)> {
    let program = match programs.path("pg_amcheck") {
        Err(error) if error.kind() == Kind::NotFound => {
            return Ok((VerifiedCheck::skipped(NAME, error.in_one_line()), None));
        }
        program => program?,
    };
    let available: u64 = Session::connect(info, cancel)?
        .query_one(AVAILABLE, &[])?
        .parse(0)?;
    if available == 0 {
        let why = "the extension amcheck is not installed on this host (PostgreSQL's contrib)";
        return Ok((VerifiedCheck::skipped(NAME, why), None));
    }
    let watch = Stopwatch::start();
    let (tables, closed) = tables(info, cancel)?;
    let all = tables.len();
    let bytes: u64 = tables.iter().map(|table| table.bytes).sum();
    meter.begin("checking tables and indexes", bytes);
    let checker = Checker {
        program: &program,
        info,
        jobs,
        cancel,
    };
    let until = Instant::now() + limit;
    let (mut wrong, mut looked, mut read) = (Vec::new(), 0, 0);
    for batch in batches(&tables) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match checker.check(batch, left) {
            Ok(found) => wrong.extend(found),
            Err(error) if error.kind() == Kind::TimedOut => break,
            Err(error) => return Err(error),
        }
        looked += batch.len();
        let of_batch: u64 = batch.iter().map(|table| table.bytes).sum();
        read += of_batch;
        meter.add(of_batch);
        if wrong.len() > MOST {
            break;
        }
    }
    let phase = watch.stop(NAME, Some(read));
    let what = match looked == all {
        true => format!(
            "all {all} tables with their B-tree indexes ({})",
            units::bytes(bytes)
        ),
        false => format!(
            "{looked} of {all} tables with their B-tree indexes ({} of {}), in {}: others the next time",
            units::bytes(read),
            units::bytes(bytes),
            units::duration(limit)
        ),
    };
    let check = match looked {
        // What nobody looked at is not well.
        _ if !closed.is_empty() && wrong.is_empty() => VerifiedCheck::skipped(
            NAME,
            format!(
                "{} could not be looked at; {what} in the others",
                closed.join(", ")
            ),
        ),
        0 if all > 0 && wrong.is_empty() => VerifiedCheck::skipped(
            NAME,
            format!(
                "no table could be looked at within {}",
                units::duration(limit)
            ),
        ),
        _ => VerifiedCheck::of(NAME, wrong, what),
    };
    Ok((check, Some(phase)))
}

/// Of all databases, in any order, but those of one database behind one another; and the databases that keep us out.
fn tables(info: &ConnInfo, cancel: &Cancel) -> Result<(Vec<Table>, Vec<String>)> {
    let chance = RandomState::new();
    let (mut all, mut closed) = (Vec::new(), Vec::new());
    for database in session::databases(info, cancel)? {
        let own = info.clone().with_database(&database);
        let session = match Session::connect(&own, cancel) {
            Ok(session) => session,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            // The check of contents says why.
            Err(_) => {
                closed.push(database);
                continue;
            }
        };
        session.for_each_row(TABLES_SQL, &[], |row| {
            let (schema, name) = (row.text(0)?, row.text(1)?);
            all.push(Table {
                database: database.clone(),
                pattern: format!("{}.{}", quoted(&schema), quoted(&name)),
                bytes: row.parse(2)?,
            });
            Ok(())
        })?;
    }
    let rank = |text: &str| {
        let mut hasher = chance.build_hasher();
        hasher.write(text.as_bytes());
        hasher.finish()
    };
    all.sort_by_cached_key(|table| {
        (
            rank(&table.database),
            table.database.clone(),
            rank(&table.pattern),
        )
    });
    Ok((all, closed))
}

/// Exactly this name (processSQLNamePattern in `src/fe_utils/string_utils.c`).
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Runs of one database's tables.
fn batches(tables: &[Table]) -> impl Iterator<Item = &[Table]> {
    let mut rest = tables;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut bytes = 0;
        let mut count = 0;
        for table in rest {
            let fits = count == 0 || (count < TABLES && bytes + table.bytes <= BYTES);
            if table.database != first.database || !fits {
                break;
            }
            bytes += table.bytes;
            count += 1;
        }
        let (batch, others) = rest.split_at(count);
        rest = others;
        Some(batch)
    })
}

struct Checker<'a> {
    program: &'a Path,
    info: &'a ConnInfo,
    jobs: usize,
    cancel: &'a Cancel,
}

impl Checker<'_> {
    /// What is wrong with these.
    fn check(&self, tables: &[Table], limit: Duration) -> Result<Vec<String>> {
        let mut command = process::dying_with_us(self.program, "KILL");
        let database = tables.first().map_or("", |table| &table.database);
        if let Host::Socket(folder) = &self.info.host {
            command.arg("--host").arg(folder);
        }
        command
            .env("LC_ALL", "C")
            .args(["--port", &self.info.port.to_string()])
            .args(["--username", &self.info.user, "--no-password"])
            .args(["--install-missing", "--heapallindexed", "--parent-check"])
            .arg(format!("--jobs={}", self.jobs))
            // A name, not a connection string.
            .arg(format!("--database={}", quoted(database)));
        for table in tables {
            let pattern = format!("{}.{}", quoted(&table.database), table.pattern);
            command.arg(format!("--table={pattern}"));
        }
        let mut told = Vec::new();
        let end = run_to_any_end(&mut command, &mut told, limit, self.cancel)?;
        // None: it was killed, and that says nothing of what it looked at.
        let Some(code) = end.status.code() else {
            return Err(end.failure());
        };
        if end.status.success() {
            return Ok(Vec::new());
        }
        let found = findings(&String::from_utf8_lossy(&told));
        match code {
            FOUND if !found.is_empty() => Ok(found),
            _ => {
                let mut found = found;
                found.push(end.failure().in_one_line());
                Ok(found)
            }
        }
    }
}

/// A line names the relation, and lines that are set in say what is wrong with it.
fn findings(told: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in told.lines() {
        if !line.starts_with(' ') {
            if found.len() == MOST {
                break;
            }
            found.push(line.to_owned());
        } else if let Some(last) = found.last_mut().filter(|last| last.len() < LONGEST) {
            last.push(' ');
            last.push_str(line.trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(database: &str, bytes: u64) -> Table {
        Table {
            database: database.to_owned(),
            pattern: String::new(),
            bytes,
        }
    }

    #[test]
    fn batches_are_of_one_database_and_not_too_large() {
        let tables: Vec<Table> = [
            ("a", 2 * BYTES),
            ("a", 1),
            ("a", BYTES - 1),
            ("a", 1),
            ("b", 1),
        ]
        .into_iter()
        .map(|(database, bytes)| table(database, bytes))
        .collect();
        let lengths: Vec<usize> = batches(&tables).map(<[Table]>::len).collect();
        assert_eq!(lengths, [1, 2, 1, 1]);
        let many: Vec<Table> = (0..=TABLES).map(|_| table("a", 0)).collect();
        let lengths: Vec<usize> = batches(&many).map(<[Table]>::len).collect();
        assert_eq!(lengths, [TABLES, 1]);
    }

    #[test]
    fn what_is_set_in_belongs_to_the_line_before() {
        let told = "btree index \"a.public.i\":\n    ERROR:  item order\n    DETAIL:  x\nheap table \"b\":\n    y\n";
        assert_eq!(
            findings(told),
            [
                "btree index \"a.public.i\": ERROR:  item order DETAIL:  x",
                "heap table \"b\": y"
            ]
        );
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
